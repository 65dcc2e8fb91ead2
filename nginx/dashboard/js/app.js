// The session, the frame around every page, and which page is shown.

import * as api from './api.js';
import {h, t, fill, button, fault, notice, row, link, ask, language, LANGUAGES, speak, duration, who, guarded} from './ui.js';

// The menu: name, module, the endpoint that the page needs, and the scope that looking at it needs.
const PAGES = ['home home', 'monitor monitor health', 'update update update', 'backup backup backup', 'network settings settings', 'certs certs certs', 'storage settings storage admin', 'license home license', 'tokens login setup', 'jobs jobs endpoints', 'audit jobs audit admin', 'support jobs', 'restart home reboot'].map(page => page.split(' '));
const load = module => import(`./${module}.js`);

let endpoints = [];
export const offers = name => endpoints.includes(name);
// From GET /machine, without link-local addresses.
export const interfacesOf = machine => [machine?.interfaces ?? []].flat().filter(one => one?.name).map(one => ({name: String(one.name), link: one.link, addresses: [one.addresses ?? []].flat().map(String).filter(address => !address.startsWith('fe80:'))}));
const pages = () => PAGES.filter(([, , needs]) => !needs || offers(needs));

const main = h('main', {id: 'main', tabindex: -1});
const menu = h('nav');
// On every page: pending changes, and running work.
const trial = h('div.trial', {tabindex: -1, 'aria-live': 'polite'});
const work = h('div.trial', {'aria-live': 'polite'});
let toggle;

// From vendor/vendor.json.
const vendor = {};

async function meet() {
	const {name, logo} = await fetch('/vendor/vendor.json').then(response => response.json()).catch(() => null) ?? {};
	if (typeof name === 'string' && name.trim()) vendor.name = name.trim().slice(0, 60);
	if (/^[\w-]+\.(svg|png)$/.test(logo)) vendor.logo = `/vendor/${logo}`;
}

const title = () => vendor.name || t('appliance');
const icon = () => h('img', {src: vendor.logo || document.querySelector('[rel=icon]').href, alt: ''});
const languages = () => h('select.quiet', {'aria-label': t('language'), onchange: async event => {
	await speak(event.target.value);
	render();
}}, Object.entries(LANGUAGES).map(([id, name]) => h('option', {value: id, selected: id === language, lang: id}, name)));

function open(isOpen) {
	menu.classList.toggle('open', isOpen);
	toggle.ariaExpanded = isOpen;
}

menu.addEventListener('keydown', event => {
	if (event.key !== 'Escape' || toggle.ariaExpanded !== 'true') return;
	open(false);
	toggle.focus();
});

async function logOut() {
	if (api.session.isBusy() && !await ask('logOutAsk', 'logOut', {}, true)) return;
	const {transfers} = await import('./job.js');
	// Discard what was sent, while there is still a key.
	await Promise.all([...transfers.values()].map(one => {
		one.stop();
		return one.done.catch(() => {});
	}));
	await api.logOut();
}

function frame() {
	work.dataset.text = '';
	toggle = button('menu', () => open(toggle.ariaExpanded !== 'true'), 'quiet menu');
	menu.ariaLabel = t('menu');
	fill(menu, pages().map(([name]) => h('a', {href: `#/${name}`}, t(name))));
	fill(document.body,
		h('a.skip', {href: '#main', onclick: event => {
			event.preventDefault();
			main.querySelector('h1').focus({preventScroll: true});
		}}, t('skip')),
		h('header', toggle, h('a.brand', {href: '#/home'}, icon(), h('span', title(), h('small', location.hostname))), who.name && h('span.muted', who.name, who.scope === 'read' && ` – ${t('readOnly')}`), languages(), button('logOut', logOut, 'quiet')),
		menu, h('div.bars', trial, work), main);
	toggle.addEventListener('keydown', event => event.key === 'Escape' && open(false));
}

function alone(...children) {
	api.leave();
	main.className = 'alone';
	fill(main, icon(), ...children);
	fill(document.body, main, h('footer', languages()));
	document.title = title();
}

async function show() {
	api.leave();
	look();
	seeJobs();
	main.className = '';
	document.querySelector('dialog')?.close();
	const [name, module, , needs = 'read'] = pages().find(([one]) => `#/${one}` === location.hash) || PAGES[0];
	for (const one of menu.children) one.ariaCurrent = one.hash === `#/${name}` ? 'page' : null;
	open(false);
	document.title = `${t(name)} – ${location.hostname}`;
	const heading = h('h1', {tabindex: -1}, t(name));
	const view = h('div.page');
	fill(main, heading, view);
	heading.focus();
	const draw = async () => {
		const hadFocus = view.contains(document.activeElement);
		view.ariaBusy = true;
		const again = () => row(button('again', draw), button('reload', () => location.reload()));
		// It does not load if the appliance is away, or was updated.
		const page = await load(module).catch(() => fill(view, notice('warn', 'changed'), again()));
		try {
			const denied = guarded(needs, () => null);
			if (denied) fill(view, denied);
			else if (page) await page[name](view, draw);
		} catch (error) {
			if (error.kind !== 'cancelled') fill(view, fault(error), again());
		} finally {
			view.ariaBusy = null;
			// The focused element may be gone.
			if (hadFocus && document.activeElement === document.body) heading.focus({preventScroll: true});
		}
	};
	await draw();
}

async function logIn(error) {
	const {entry} = await load('login');
	alone(entry(render, error));
}

// What the pages use and older browsers do not have.
const hasAll = () => [[].toReversed, [].findLastIndex, Object.hasOwn, URL.canParse, navigator.locks, crypto.subtle, crypto.randomUUID, window.HTMLDialogElement, 'ariaBusy' in document.body].every(Boolean);

async function render() {
	if (!window.isSecureContext) {
		const url = `https://${location.hostname}:8443/`;
		return alone(notice('bad', 'insecure', {}, row(h('a.button', {href: url}, url))));
	}
	if (!hasAll()) return alone(notice('bad', 'tooOld'));
	if (!api.isLoggedIn()) return logIn();
	try {
		const answer = await api.get('/endpoints');
		if (!Array.isArray(answer.endpoints)) throw new api.ApiError('odd', 200);
		({endpoints} = answer);
		Object.assign(who, {name: '', scope: 'admin'}, answer.token);
	} catch (error) {
		if (api.isLoggedIn()) alone(fault(error), row(button('again', render)));
		return;
	}
	endpoints = endpoints.map(path => String(path).split('/').pop());
	frame();
	// Load all now: they work while the appliance restarts, and have one version.
	for (const [, module] of pages()) load(module).catch(() => {});
	await show();
}

// The bar with pending changes, and the button that confirms them.
const ends = {};

const look = () => ['settings', 'certs'].filter(offers).forEach(kind => api.find(`/${kind}`).then(answer => onTrial(kind, answer), () => {}));

// answer: of GET /settings or /certs.
export function onTrial(kind, answer) {
	const left = answer?.pending?.['seconds-left'];
	const was = ends[kind];
	const what = {what: t(kind.replace('settings', 'network'))};
	const told = (tone, name) => {
		delete ends[kind];
		fill(trial, notice(tone, name, what, row(button('close', () => fill(trial)))));
	};
	if (left > 0) {
		ends[kind] = Date.now() + left * 1000;
		if (was > 0) return;
		fill(trial, notice('warn', 'trialBegun', what, h('p', {'data-kind': kind, 'aria-live': 'off'}), guarded('admin', () => row(button('keep', async () => {
			await api.post(`/${kind}/confirm`, {});
			told('good', 'trialKept');
			trial.focus();
		}, 'primary'), button('revertNow', async () => {
			await api.post(`/${kind}/revert`, {});
			ends[kind] = 0;
			fill(trial, notice('info', 'trialReverting', what));
			trial.focus();
		})))));
	} else if (left === 0) {
		// A rollback, even if this page has not seen the change.
		if (was !== 0) fill(trial, notice('info', 'trialReverting', what));
		ends[kind] = 0;
	} else if (was !== undefined) {
		delete ends[kind];
		if (answer?.status === 'failed') told('warn', 'trialReverted');
		// Confirmed or rolled back, perhaps elsewhere: ask its job.
		else api.get('/jobs').catch(() => ({})).then(({jobs = []}) => {
			const isUndone = jobs.find(one => one.job === kind && ['confirm', 'undo'].includes(one.argument))?.argument === 'undo';
			told('good', isUndone || was === 0 ? 'trialUndone' : 'trialKept');
		});
	}
}

setInterval(() => {
	const text = trial.querySelector('[data-kind]');
	if (text) {
		const left = (ends[text.dataset.kind] - Date.now()) / 1000;
		text.textContent = t('left', {time: duration(left)});
		if (left < 0) look();
	} else if (Object.values(ends).includes(0)) look();
}, 1000);

// Running transfers and jobs, on every page except their own.
const HOMES = {settings: 'network', reboot: 'restart', certs: 'certs', license: 'license', storage: 'storage', update: 'update', backup: 'backup', token: 'tokens'};
export const homeOf = ({job}) => offers(job) && HOMES[job] || 'jobs';
export const nameOf = ({job, argument}) => t(['job', job, argument].filter(Boolean).join('_'), {}, t(`job_${job}`, {}, job));

let running = [];

async function showWork() {
	const {transfers} = await import('./job.js');
	const here = location.hash.slice(2) || 'home';
	const places = {restore: 'backup', '/backup/download': 'backup', '/logs': 'support', '/debug': 'support'};
	const lines = [...transfers.values()].map(({label, path}) => ['transferRuns', label, places[path] || path]).filter(([, , place]) => place !== here);
	lines.push(...running.filter(one => ![homeOf(one), 'jobs'].includes(here)).map(one => ['jobRuns', nameOf(one), homeOf(one), one.percentage >= 0 ? `${one.percentage} %` : '']));
	const text = JSON.stringify(lines);
	if (work.dataset.text !== text) fill(work, lines.map(([name, what, href, step]) => notice('info', name, {what, step}, row(link('look', `#/${href}`)))));
	work.dataset.text = text;
}

async function seeJobs() {
	const answer = await api.get('/jobs', {seconds: 8, signal: new AbortController().signal}).catch(() => ({}));
	running = Array.isArray(answer.jobs) ? answer.jobs.filter(one => one?.status === 'running') : [];
	await showWork();
}

let n_looks = 0;
setInterval(() => {
	if (!menu.isConnected || document.hidden) return;
	if (running[0] || n_looks++ % 5 === 0) seeJobs();
	else showWork();
}, 2000);

api.session.ended = async error => {
	for (const one of (await import('./job.js')).transfers.values()) one.stop();
	for (const kind in ends) delete ends[kind];
	running = [];
	fill(trial);
	fill(work);
	await logIn(error);
};
api.session.began = () => render();
addEventListener('hashchange', () => menu.isConnected && show());
// Not awaited here: the pages need this module to be complete.
Promise.all([speak(), meet()]).then(() => window.isSecureContext && hasAll() && api.resume()).then(ended => ended ? logIn(ended) : render());
