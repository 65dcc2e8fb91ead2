// Network and storage.

import {find, post, pause} from './api.js';
import {offers, onTrial, interfacesOf} from './app.js';
import {h, t, fill, card, facts, field, form, tick, notice, live, focus, failed, logView, row, link, ask, button, duration, chars, ip, netmask, guarded} from './ui.js';
import {isAway, follow, followJob, jobPanel} from './job.js';

const TRIAL_SECONDS = 180;
const ORDER = ['interface', 'hostname', 'ip_address', 'netmask', 'gateway', 'dns1', 'dns2', 'ntpserver'];

const json = value => new Blob([JSON.stringify(value)]);
const pick = (values, names) => Object.fromEntries(names.filter(name => values[name]).map(name => [name, values[name]]));
const urlAt = address => `https://${address.includes(':') ? `[${address}]` : address}${location.port && `:${location.port}`}/#/network`;
const here = location.hostname.replace(/^\[|\]$/g, '');

// The members of a JSON value by their paths, as text.
function leaves(value, path, out = new Map()) {
	if (value && typeof value === 'object' && Object.keys(value)[0] !== undefined) for (const [name, one] of Object.entries(value)) leaves(one, `${path}.${name}`, out);
	else out.set(path, JSON.stringify(value));
	return out;
}

// Every difference, as [name, 'before → after'].
function changes(before, after, names) {
	const all = names.map(name => [name, before[name], after[name]]);
	const [old, now] = [leaves(before.app ?? {}, 'app'), leaves(after.app ?? {}, 'app')];
	for (const path of new Set([...old.keys(), ...now.keys()])) if (![old.get(path), now.get(path)].every(one => one === undefined || one === '{}')) all.push([path, old.get(path), now.get(path)]);
	return all.filter(([, one, other]) => (one || '') !== (other || '')).map(([name, one, other]) => [name, `${one || '–'} → ${other || '–'}`]);
}

// The new address of this page; null if unknown.
function goalOf(before, after) {
	if (after.ip_address !== before.ip_address) return after.ip_address || null;
	return here === before.hostname && here !== after.hostname ? after.ip_address || null : here;
}

function isObject(text) {
	try {
		return JSON.parse(text).constructor === Object;
	} catch {}
}

export async function network(view, redraw) {
	const [stored, machine] = await Promise.all([find('/settings'), find('/machine').catch(() => {})]);
	onTrial('settings', stored);
	if (stored?.pending) return onTrialHere(stored);
	const before = pick(stored?.network || {}, ORDER);
	const isInterface = chars('A-Za-z0-9', 3, 14);
	// The machine's interfaces, and the stored one, which another machine may have.
	const ports = interfacesOf(machine).filter(({name}) => !isInterface(name));
	const choices = ports.map(({name, link, addresses}) => [name, `${name} – ${link ? addresses.join(', ') || t('noAddress') : t('noLink')}`]);
	if (before.interface && !ports.some(({name}) => name === before.interface)) choices.unshift([before.interface, before.interface]);
	const one = (name, check, extra) => field(name, {value: before[name], check, ...extra});
	const fixed = h('div', {hidden: !before.ip_address});
	const mode = field('mode', {value: before.ip_address ? 'static' : 'dhcp', choices: ['dhcp', 'static'].map(name => [name, t(name)]), onchange: () => {
		fixed.hidden = mode.value === 'dhcp';
	}});
	const addresses = [one('ip_address', ip), one('netmask', netmask), one('gateway', ip), one('dns1', ip, {optional: true}), one('dns2', ip, {optional: true})];
	const app = field('app', {type: 'textarea', rows: 3, value: JSON.stringify(stored?.app || {}, null, 1), optional: true, check: text => isObject(text) ? '' : t('needObject')});
	const trial = tick('trial', true, {time: duration(TRIAL_SECONDS)});
	fixed.append(...addresses.map(({element}) => element));
	fill(view, !stored && notice('info', 'noSettings'), card('network', guarded('admin', () => form([
		one('hostname', chars('A-Za-z0-9.-')), one('interface', isInterface, ports[0] && {choices, value: before.interface || ports.find(({link}) => link)?.name}), mode,
		{element: fixed, fields: addresses}, one('ntpserver', chars('A-Za-z0-9.:-'), {optional: true}), app, trial,
	], 'review', async (values, out) => {
		const app = JSON.parse(values.app || '{}');
		// Keep members that this page does not know.
		const others = Object.fromEntries(Object.entries(stored?.network || {}).filter(([name]) => name !== 'mode' && !ORDER.includes(name)));
		const after = pick(values, ORDER);
		const differences = changes({...before, app: stored?.app}, {...after, app}, ORDER);
		if (stored && !differences[0]) return fill(out, notice('info', 'nothingChanges'));
		const goal = goalOf(before, after);
		const warning = goal === here ? '' : goal ? notice('warn', 'moves', {url: urlAt(goal)}) : notice('warn', 'movesUnknown');
		const isTrial = trial.input.checked;
		if (!await ask('applyAsk', 'apply', {}, false, facts(differences), warning, !isTrial && notice('warn', 'noTrial'))) return;
		await post('/settings', {settings: json({network: {...others, ...after}, app}), confirm: isTrial && String(TRIAL_SECONDS)});
		await applied(after, goal, warning);
	}))));

	// Meanwhile nothing else can be changed.
	async function onTrialHere(first) {
		const isBack = first.pending['seconds-left'] === 0;
		const lost = live();
		fill(view, notice(isBack ? 'warn' : 'info', isBack ? 'reverting' : 'onTrial', {}, h('p', t('pendingNote'))), lost,
			!isBack && card('network', facts(ORDER.map(name => [name, first.network?.[name] && String(first.network[name])]))));
		view.ariaBusy = null;
		await pause(1000);
		await follow('/settings', lost, answer => onTrial('settings', answer), 0, answer => !answer.pending || (answer.pending['seconds-left'] === 0) !== isBack);
		await redraw();
	}

	async function applied(after, goal, move) {
		const out = live();
		fill(view, h('section.card', out, move, goal && goal !== here && row(h('a.button', {href: urlAt(goal), target: '_blank'}, urlAt(goal)))));
		let now;
		const tell = (kind, name, log) => {
			if (now !== name) fill(out, notice(kind, name), log && logView(log).element);
			now = name;
		};
		tell('info', 'applying');
		focus(view.firstChild);
		for (let tried, ms = 0;; ms += 1500) {
			await pause(1500);
			try {
				const answer = await find('/settings', {seconds: 4});
				onTrial('settings', answer);
				const isSame = ORDER.every(name => (answer?.network?.[name] || '') === (after[name] || ''));
				if (answer?.pending?.['seconds-left'] > 0) {
					tried = true;
					tell('info', 'onTrial');
				} else if (answer?.pending) tell(...tried ? ['warn', 'reverting'] : ['info', 'applying']);
				else if (isSame && answer.status === 'stored') return tell('warn', 'stored');
				else if (answer?.status === 'failed') return tell('bad', 'notInForce', answer.log);
				else if (isSame && answer.status !== 'running' && (tried || ms > 4000)) return tell('good', 'inForce');
				// The ancestor's job has no status.
				else if (tried || ms > 45000) return tell('bad', 'notInForce', answer?.log);
			} catch (error) {
				if (!isAway(error)) throw error;
				tell('warn', 'gone');
			}
		}
	}
}

const path = chars('A-Za-z0-9._/-');

const KINDS = {
	local: {},
	nfs: {mount_options: chars('A-Za-z0-9.=,-'), ip, share: path},
	aoe: {device: chars('A-Za-z0-9.-')},
	iscsi: {target: chars('A-Za-z0-9._:-'), ip, username: chars('!-~'), password: chars('!-~')},
	nbd: {export_name: path, ip, port: chars('0-9', 1, 5)},
};

export async function storage(view, redraw) {
	const stored = await find('/storage');
	const now = stored?.storage || {type: 'local'};
	// Without stored settings, the API does not list the types.
	const kinds = (stored?.options || Object.keys(KINDS)).filter(kind => Object.hasOwn(KINDS, kind));
	const groups = kinds.map(kind => {
		const fields = Object.entries(KINDS[kind]).map(([name, check]) => field(name, {check, value: kind === now.type ? now[name] : '', type: name === 'password' ? name : 'text'}));
		return {kind, fields, element: h('div', {hidden: kind !== now.type}, fields.map(one => one.element))};
	});
	const type = field('type', {label: 'storageKind', value: now.type, choices: kinds.map(kind => [kind, t(kind)]), onchange: () => {
		for (const {kind, element} of groups) element.hidden = kind !== type.value;
	}});
	const out = h('div');
	// Only our own job can undo.
	const undo = () => row(button('storageUndo', async () => {
		if (!await ask('storageUndoAsk', 'undo')) return;
		await changed(await post('/storage/undo', {}), 'storageUndone');
	}));
	fill(view, !stored && notice('info', 'noSettings'), out, card('storage', form([type, ...groups], 'save', async (values, told) => {
		const differences = changes(now, values, [...new Set([...Object.keys(now), ...Object.keys(values)])])
			.map(([name, text]) => [name, name === 'password' ? '•••' : text]);
		if (stored && !differences[0]) return fill(told, notice('info', 'nothingChanges'));
		if (!await ask(values.type === now.type ? 'storageAsk' : 'storageMoves', 'save', {from: now.type, to: values.type}, false, facts(differences.map(([name, text]) => [name === 'type' ? 'storageKind' : name, text])))) return;
		await changed(await post('/storage', {settings: json({storage: values})}), 'storageDone');
	}), stored?.status === 'success' && undo()));
	if (stored?.status === 'failed') fill(out, failed(stored, 'storageFailed'));
	if (stored?.status === 'running') await watch({}, 'storageDone');

	async function changed(accepted, name) {
		fill(view, out);
		await watch(accepted, name);
	}

	// A 202 only says that the job has started.
	async function watch(accepted, name) {
		const panel = jobPanel('applying');
		const lost = live();
		fill(out, h('section.card', panel.element, lost));
		focus(out.firstChild);
		const job = await followJob(accepted, lost, panel.show);
		const end = await follow('/storage', lost, panel.show, job ? 0 : 5000).catch(error => {
			if (error.status !== 404) throw error;
			return error.body;
		});
		const isFailed = end.status === 'failed' || job && job.status !== 'success';
		await redraw();
		const warnings = (end.log || '').split('\n').slice((end.log || '').split('\n').findLastIndex(line => /Updating storage. Please/.test(line)) + 1).filter(line => /Warning:|Preflight:.* (not|nothing) /.test(line)).map(line => line.replace(/^(\[[^\]]*\])*\s*(Preflight|Warning):\s*/, ''));
		const told = isFailed ? failed({...job, ...end}, 'storageFailed') : notice(warnings[0] ? 'warn' : 'good', name, {}, offers('reboot') && row(link('restart', '#/restart')));
		view.querySelector('.notice.bad')?.remove();
		view.prepend(told, ...warnings[0] ? [notice('warn', 'warnings', {}, ...warnings.map(line => h('p', line)))] : [], card('log', logView(end.log).element));
		focus(told);
	}
}
