// The overview, and the small pages: licence, support, restart.

import {get, post, find, pause} from './api.js';
import {offers} from './app.js';
import {h, t, say, muted, fill, card, facts, progress, notice, fault, row, link, field, form, button, ask, date, number, duration} from './ui.js';
import {send, fileButton, isAway} from './job.js';

// From where a value is bad, and high.
const LIMITS = {cpu: [95, 80], memory: [95, 85], disk: [92, 80]};

// Fills itself: one slow or broken answer does not hold the others.
function filled(name, read) {
	const out = h('div', '…');
	read().then(children => fill(out, ...children)).catch(error => error.kind !== 'cancelled' && fill(out, fault(error)));
	return card(name, out);
}

async function identity() {
	const [version, build, settings] = await Promise.all([find('/version'), find('/build'), offers('settings') && find('/settings')]);
	const {hostname, interface: port, ip_address: ip} = settings?.network || {};
	const built = build?.builddate;
	return [facts([
		['hostname', hostname],
		['version', version?.version || '?'],
		['built', built > 0 ? date(built * 1000, {dateStyle: 'long'}) : built],
		['address', port && `${ip || t('dhcp')} (${port})`],
	])];
}

function measure(name, part = {}, detail = 'usedOf') {
	const value = Math.min(100, Math.max(0, part.percentage ?? part.cpu5min) || 0);
	const level = ['bad', 'warn'].find((_, i) => value >= LIMITS[name][i]) || 'good';
	const {element, set} = progress(t(name));
	set(value / 100, `${number(value)} % – ${t(level)}`);
	element.classList.add(level);
	element.append(muted(detail, {num: '?', load: '?', used: '?', total: '?', ...part}));
	return element;
}

async function health() {
	const health = await find('/health');
	if (!health) return [muted('none')];
	return [measure('cpu', health.cpu, 'cpuDetail'), measure('memory', health.memory), measure('disk', health.disk)];
}

async function services() {
	const rows = (await get('/services')).services.flatMap(Object.entries);
	const down = rows.filter(([, state]) => state !== 'running').length;
	return [say(!rows[0] ? 'none' : down ? 'servicesDown' : 'servicesUp', {down}),
		facts(rows.map(([name, state]) => [name, h(`span.state.${state === 'running' ? 'good' : 'bad'}`, state === 'running' ? t('up') : state === 'not running' ? t('down') : String(state))]), 'service ')];
}

const licenseFacts = license => license ? facts(Object.entries(license).map(([name, value]) => [name, typeof value === 'object' ? JSON.stringify(value) : String(value)]), 'license_') : muted('noLicense');

export async function home(view) {
	const told = h('div');
	const state = h('div.grid');
	const look = () => fill(state, filled('health', health), filled('services', services));
	look();
	fill(view, told, h('div.grid', filled('appliance', identity), offers('license') && filled('license', async () => [licenseFacts(await find('/license'))])), state,
		filled('changelog', async () => {
			const text = await find('/changelog', {text: true});
			return [text ? h('pre', {tabindex: 0, role: 'group', 'aria-label': t('changelog')}, text) : muted('none')];
		}));
	const update = await get('/update').catch(() => null);
	if (update?.status === 'running') fill(told, notice('info', 'updateRuns', {}, row(link('update', '#/update'))));
	view.ariaBusy = null;
	for (;;) {
		await pause(60000);
		if (!document.hidden) look();
	}
}

export async function license(view) {
	const now = h('div', licenseFacts(await find('/license')));
	fill(view, card('license', now), card('newLicense', form([field('license', {label: 'licenseFile', type: 'file'})], 'install', async ({license: file}, out) => {
		const one = send('license', '/license', {license: file}, file, 'checking');
		fill(out, one.element);
		fill(now, licenseFacts(await one.done));
		fill(out, notice('good', 'done'));
	})));
}

export function support(view) {
	fill(view, offers('logs') && card('logs', fileButton('logsFetch', '/logs', 'logs.tar.gz')),
		offers('debug') && card('debug', fileButton('debugFetch', '/debug', 'debug-bundle.tar')),
		card('docs', row(link('docsOpen', '/docs', {target: '_blank'}))));
}

export function restart(view, redraw) {
	fill(view, card('restart', row(button('restart', async () => {
		if (!await ask('restartAsk', 'restart')) return;
		await get('/reboot').catch(error => {
			// Where only a POST may restart it.
			if (error.status !== 400) throw error;
			return post('/reboot', {});
		});
		const began = Date.now();
		const bar = progress(t('restart'));
		bar.set(null);
		const words = h('p');
		fill(view, h('section.card', bar.element, words));
		// An answer alone may be the last one before it goes.
		for (let gone = false;;) {
			await pause(1500);
			const time = duration((Date.now() - began) / 1000);
			try {
				const answer = await find('/version', {seconds: 4});
				if (gone) return fill(view, notice('good', 'cameBack', {time, version: answer?.version || '?'}), row(button('back', redraw)));
				words.textContent = t('goingDown', {time});
			} catch (error) {
				if (!isAway(error)) throw error;
				gone = true;
				words.textContent = t('isDown', {time});
			}
		}
	}, 'danger'))));
}
