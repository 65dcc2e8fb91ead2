// Who is there, the frame around every page, and which page is shown.

import * as api from './api.js';
import {h, t, fill, button, fault, notice, row, language, LANGUAGES, speak, duration} from './ui.js';

// The menu: name, module, and the endpoint that the page needs.
const PAGES = ['home home', 'monitor monitor health', 'update update update', 'backup backup backup', 'network settings settings', 'certs certs certs', 'storage settings storage', 'license home license', 'token login setup', 'support home', 'restart home reboot'].map(page => page.split(' '));
const load = module => import(`./${module}.js`);

let endpoints = [];
export const offers = name => endpoints.includes(name);
const pages = () => PAGES.filter(([, , needs]) => !needs || offers(needs));

const main = h('main', {id: 'main', tabindex: -1});
const menu = h('nav');
const trial = h('div.trial');
let toggle;

const icon = () => h('img', {src: '/icon.svg', alt: ''});
const languages = () => h('select.quiet', {'aria-label': t('language'), onchange: async event => {
	await speak(event.target.value);
	render();
}}, Object.entries(LANGUAGES).map(([id, name]) => h('option', {value: id, selected: id === language, lang: id}, name)));

function open(isOpen) {
	menu.classList.toggle('open', isOpen);
	toggle.ariaExpanded = isOpen;
}

function frame() {
	toggle = button('menu', () => open(toggle.ariaExpanded !== 'true'), 'quiet menu');
	menu.ariaLabel = t('menu');
	fill(menu, pages().map(([name]) => h('a', {href: `#/${name}`}, t(name))));
	fill(document.body,
		h('a.skip', {href: '#main', onclick: event => {
			event.preventDefault();
			main.focus();
		}}, t('skip')),
		h('header', toggle, h('a.brand', {href: '#/home'}, icon(), h('span', t('appliance'), h('small', location.hostname))), languages(), button('logOut', api.logOut, 'quiet')),
		menu, trial, main);
}

function alone(...children) {
	api.leave();
	main.className = 'alone';
	fill(main, icon(), ...children);
	fill(document.body, main, h('footer', languages()));
	document.title = t('appliance');
}

async function show() {
	api.leave();
	look();
	main.className = '';
	document.querySelector('dialog')?.close();
	const [name, module] = pages().find(([one]) => `#/${one}` === location.hash) || PAGES[0];
	for (const one of menu.children) one.ariaCurrent = one.hash === `#/${name}` ? 'page' : null;
	open(false);
	document.title = `${t(name)} – ${location.hostname}`;
	const heading = h('h1', {tabindex: -1}, t(name));
	const view = h('div.page');
	fill(main, heading, view);
	heading.focus();
	const draw = async () => {
		view.ariaBusy = true;
		try {
			await (await load(module))[name](view, draw);
		} catch (error) {
			if (error.kind === 'cancelled') return;
			// A module that does not load: away, or updated meanwhile.
			fill(view, error.kind ? fault(error) : notice('warn', 'changed'), row(button('again', draw), button('reload', () => location.reload())));
			if (!error.kind) console.error(error);
		} finally {
			view.ariaBusy = null;
		}
	};
	await draw();
}

async function logIn(error) {
	const {entry} = await load('login');
	alone(entry(render, error));
}

async function render() {
	if (!window.isSecureContext) {
		const url = `https://${location.hostname}:8443/`;
		return alone(notice('bad', 'insecure', {}, row(h('a.button', {href: url}, url))));
	}
	if (!api.isLoggedIn()) return logIn();
	try {
		({endpoints} = await api.get('/endpoints'));
	} catch (error) {
		if (api.isLoggedIn()) alone(fault(error), row(button('again', render)));
		return;
	}
	endpoints = endpoints.map(path => path.split('/').pop());
	frame();
	// All now: they work while the appliance restarts, and are of one version.
	for (const [, module] of pages()) load(module).catch(() => {});
	await show();
}

// The bar on every page that says what is on trial, and keeps it.
const ends = {};

const look = () => ['settings', 'certs'].filter(offers).forEach(kind => api.find(`/${kind}`).then(answer => onTrial(kind, answer), () => {}));

// answer: that of GET /settings or /certs.
export function onTrial(kind, answer) {
	const left = answer?.pending?.['seconds-left'];
	const was = ends[kind];
	const what = {what: t(kind.replace('settings', 'network'))};
	const told = (tone, name) => {
		delete ends[kind];
		fill(trial, notice(tone, name, what, row(button('close', () => fill(trial)))));
	};
	// It is being taken back: what was told stays until that is over.
	if (left === 0) return;
	if (left > 0) {
		ends[kind] = Date.now() + left * 1000;
		if (!was) fill(trial, notice('warn', 'trialBegun', what, h('p', {'data-kind': kind}), row(button('keep', async () => {
			await api.post(`/${kind}/confirm`, {});
			told('good', 'trialKept');
		}, 'primary'))));
	} else if (was) told('warn', 'trialReverted');
}

setInterval(() => {
	const text = trial.querySelector('[data-kind]');
	if (!text) return;
	const left = (ends[text.dataset.kind] - Date.now()) / 1000;
	text.textContent = t('left', {time: duration(left)});
	// The job needs a moment to put the old state back.
	if (left < -3 && Math.round(left) % 5 === 0) look();
}, 1000);

api.session.ended = async error => {
	for (const one of (await import('./job.js')).transfers.values()) one.stop();
	fill(trial);
	await logIn(error);
};
addEventListener('hashchange', () => menu.isConnected && show());
speak().then(() => window.isSecureContext && api.resume()).then(render);
