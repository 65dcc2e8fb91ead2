// The overview, and the small pages: license, restart.

import {get, post, find, pause, clock} from './api.js';
import {offers, homeOf, nameOf, interfacesOf} from './app.js';
import {h, t, say, muted, fill, card, facts, progress, notice, live as region, focus, fault, row, link, field, form, button, ask, date, number, duration, guarded} from './ui.js';
import {send, isAway} from './job.js';

// A value is bad, or high, from here.
const LIMITS = {cpu: [95, 80], memory: [95, 85], disk: [92, 80]};

// Loads by itself, so that a slow or broken answer does not delay the others.
function live(name, read) {
	const out = h('div', muted('loading'));
	const look = () => read().then(children => fill(out, ...children)).catch(error => error.kind !== 'cancelled' && fill(out, fault(error)));
	look();
	return {element: card(name, out), look};
}
const filled = (name, read) => live(name, read).element;

const text = value => typeof value === 'object' ? JSON.stringify(value) : String(value);

async function identity() {
	const [version, build, settings, machine] = await Promise.all([find('/version'), find('/build'), offers('settings') && find('/settings'), find('/machine').catch(() => {})]);
	const {hostname, interface: port, ip_address: ip} = settings?.network || {};
	const built = build?.builddate;
	const real = interfacesOf(machine).filter(one => one.addresses[0]);
	// In the appliance's time zone, if this browser knows it.
	const moment = ms => {
		const style = {day: 'numeric', month: 'long', year: 'numeric', hour: '2-digit', minute: '2-digit', timeZoneName: 'short'};
		try {
			return date(ms, {...style, timeZone: machine?.timezone || undefined});
		} catch {
			return date(ms, style);
		}
	};
	return [facts([
		['hostname', text(machine?.hostname ?? hostname ?? '')],
		['version', text(version?.version ?? '?')],
		['built', built > 0 ? date(built * 1000, {dateStyle: 'long'}) : built && text(built)],
		['address', real[0] ? real.map(({name, addresses}) => h('div', `${addresses.join(', ')} (${name})`)) : port && `${ip ? text(ip) : t('dhcp')} (${text(port)})`],
		['clock', [moment(Date.now() + clock() * 1000), machine?.timezone && ` – ${text(machine.timezone)}`]],
		['since', machine?.started && moment(Date.parse(machine.started))],
	])];
}

// Percent, or null if unknown.
const share = (part = {}) => {
	const value = part?.percentage ?? part?.cpu5min;
	return typeof value === 'number' && value >= 0 ? value : null;
};
const level = (name, value) => ['bad', 'warn'].find((_, i) => value >= LIMITS[name][i]) || 'good';

function measure(name, part, detail = 'usedOf') {
	const value = share(part);
	const {element, set} = progress(t(name));
	if (value === null) {
		element.querySelector('progress').remove();
		element.querySelector('.muted').textContent = t('noData');
	} else {
		set(Math.min(value, 100) / 100, `${number(value)} % – ${t(level(name, value))}`);
		element.classList.add(level(name, value));
	}
	if (part && (part.used || part.load)) element.append(muted(detail, {num: '?', load: '?', used: '?', total: '?', ...part}));
	return element;
}

function health(answer) {
	return [measure('cpu', answer?.cpu, 'cpuDetail'), measure('memory', answer?.memory), measure('disk', answer?.disk)];
}

const servicesOf = answer => answer.services.flatMap(Object.entries);

function services(rows) {
	const down = rows.filter(([, state]) => state !== 'running').length;
	return [say(!rows[0] ? 'servicesNone' : down ? 'servicesDown' : 'servicesUp', {down}),
		facts(rows.map(([name, state]) => [name, h(`span.state.${state === 'running' ? 'good' : 'bad'}`, state === 'running' ? t('up') : state === 'not running' ? t('down') : text(state))]), 'service ')];
}

// -- What needs attention, with a link to the page that fixes it.

const DAY = 86_400_000;
const daysUntil = ms => Math.ceil((ms - Date.now()) / DAY);
const problem = (kind, name, values, href) => ({kind, element: notice(kind, name, values, href && row(link('look', href)))});

function certProblems({certificate} = {}) {
	const days = certificate?.['days-left'];
	return [
		days < 30 && problem(days < 8 ? 'bad' : 'warn', days < 0 ? 'aCertOver' : days === 0 ? 'aCertToday' : 'aCert', {days}, '#/certs'),
		certificate?.served === false && problem('bad', 'aServed', {}, '#/certs'),
	];
}

function licenseProblems(license) {
	const days = daysUntil(Date.parse(license?.expires));
	return days < 30 ? [problem(days < 8 ? 'bad' : 'warn', days < 0 ? 'aLicenseOver' : 'aLicense', {days}, '#/license')] : [];
}

function jobProblems({jobs = []} = {}) {
	const out = [];
	const known = new Set();
	let restarted = 0, pending;
	const READS = ['logs', 'debug'];
	for (const one of jobs.filter(one => !READS.includes(one.job))) {
		const began = Date.parse(one.started);
		if (one.job === 'reboot' && one.status === 'success') restarted ||= began;
		const needsRestart = one.job === 'storage' || one.job === 'backup' && ['RESTORE', 'UNDO'].includes(one.argument);
		if (needsRestart && one.status === 'success' && !(began < restarted)) pending ||= one;
		// Only the last job of each kind counts.
		if (known.has(one.job)) continue;
		known.add(one.job);
		const what = nameOf(one);
		if (['failed', 'interrupted'].includes(one.status) && one['error-code'] !== 'E1001') out.push(problem('bad', 'aFailed', {what}, `#/${homeOf(one)}`));
		const silence = (Date.now() - Date.parse(one.heartbeat)) / 1000 + clock();
		if (one.status === 'running' && silence > 600) out.push(problem('bad', 'aSilent', {what, time: duration(silence)}, `#/${homeOf(one)}`));
	}
	if (pending) out.push(problem('warn', 'aRestart', {what: nameOf(pending)}, offers('reboot') && '#/restart'));
	return out;
}

function problems({health, services = [], certs, license, jobs}) {
	const down = services.filter(([, state]) => state !== 'running').map(([name]) => name);
	const measured = ['disk', 'memory', 'cpu'].map(name => [name, share(health?.[name])]).filter(([name, value]) => value !== null && level(name, value) === 'bad');
	const all = [
		down[0] && problem('bad', 'aServices', {names: down.join(', ')}, '#/support'),
		...measured.map(([name, value]) => problem('bad', 'aBad', {what: t(name), value: `${number(value)} %`}, offers('health') && '#/monitor')),
		...certProblems(certs), ...licenseProblems(license), ...jobProblems(jobs),
		Math.abs(clock()) > 300 && problem('warn', 'aClock', {time: duration(Math.abs(clock()))}, offers('settings') && '#/network'),
	].filter(Boolean);
	return ['bad', 'warn'].flatMap(kind => all.filter(one => one.kind === kind)).map(({element}) => element);
}

const licenseFacts = license => license ? facts(Object.entries(license).map(([name, value]) => [name, text(value)]), 'license_') : muted('noLicense');

export async function home(view) {
	// Takes its place at once, so that nothing moves.
	const attention = h('div.attention', h('section', {'aria-labelledby': 'attention'}, h('h2', {id: 'attention'}, t('attention')), muted('loading')));
	const known = {};
	const keep = async (name, read) => {
		const answer = await read();
		known[name] = answer ?? undefined;
		return answer;
	};
	const cards = [
		live('health', async () => health(await keep('health', () => find('/health')))),
		live('services', async () => services(await keep('services', async () => servicesOf(await get('/services'))))),
	];
	const look = () => {
		for (const [name, is] of [['certs', offers('certs')], ['license', offers('license')], ['jobs', true]]) if (is) keep(name, () => find(`/${name}`)).catch(() => {});
	};
	look();
	const tell = isLate => {
		// Do not call unknown things good.
		if (!known.health && !known.services && !known.jobs) {
			if (isLate) attention.querySelector('.muted')?.replaceChildren(t('noData'));
			return;
		}
		const all = problems(known);
		const seen = all.map(one => one.textContent).join();
		if (attention.dataset.seen === seen) return;
		attention.dataset.seen = seen;
		fill(attention, h('section', {'aria-labelledby': 'attention'}, h('h2', {id: 'attention'}, t('attention')), all[0] ? all : h('p.muted', h('span.state.good', t('attentionNone')))));
	};
	fill(view, attention, h('div.grid', cards.map(({element}) => element)), h('div.grid', filled('appliance', identity), offers('license') && filled('license', async () => [licenseFacts(await find('/license'))])),
		filled('changelog', async () => {
			const text = await find('/changelog', {text: true});
			return [text ? h('pre', {tabindex: 0, role: 'group', 'aria-label': t('changelog')}, text) : muted('none')];
		}));
	view.ariaBusy = null;
	// Slow answers come later.
	for (let n = 1; ; n++) {
		await pause(n < 20 ? 200 : 3000);
		if (n > 20 && n % 20 === 0 && !document.hidden) {
			look();
			for (const one of cards) one.look();
		}
		tell(n > 20);
	}
}

export async function license(view) {
	const now = h('div', licenseFacts(await find('/license')));
	fill(view, card('license', now), card('newLicense', guarded('admin', () => form([field('license', {label: 'licenseFile', type: 'file'})], 'install', async ({license: file}, out) => {
		const one = send('license', '/license', {license: file}, file, 'checking');
		fill(out, one.element);
		fill(now, licenseFacts(await one.done));
		fill(out, notice('good', 'done'));
	}))));
}

// If only a POST restarts it, the GET is refused.
const reboot = force => force ? post('/reboot', {force: 'yes'}) : get('/reboot', {once: true}).catch(error => {
	if (error.status !== 400 || error.code) throw error;
	return post('/reboot', {});
});

export function restart(view, redraw) {
	const out = region();
	fill(view, card('restart', guarded('operate', () => h('div', row(button('restart', async () => {
		fill(out);
		if (await ask('restartAsk', 'restart', {}, true)) await go();
	}, 'danger')), out))));

	async function go(force) {
		try {
			await reboot(force);
		} catch (error) {
			if (error.code !== 'E1004') throw error;
			return fill(out, fault(error, row(button('restartForce', async () => {
				if (await ask('restartForceAsk', 'restartForce', {}, true)) await go(true);
			}, 'danger'))));
		}
		const began = Date.now();
		const bar = progress(t('restart'));
		bar.set(null);
		const words = h('p');
		fill(view, h('section.card', bar.element, words));
		focus(view.firstChild);
		// An answer can also be the last one before it stops.
		for (let gone = false;;) {
			await pause(1500);
			const time = duration((Date.now() - began) / 1000);
			try {
				const answer = await find('/version', {seconds: 4});
				if (gone) {
					fill(view, notice('good', 'cameBack', {time, version: answer?.version || '?'}), row(button('back', redraw)));
					return focus(view.firstChild);
				}
				words.textContent = t('goingDown', {time});
			} catch (error) {
				if (!isAway(error)) throw error;
				gone = true;
				words.textContent = t('isDown', {time});
			}
		}
	}
}
