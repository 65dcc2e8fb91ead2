// Network and storage.

import {find, post, pause} from './api.js';
import {offers, onTrial} from './app.js';
import {h, t, say, fill, card, facts, field, form, tick, notice, logView, row, link, ask, duration, chars, ip, isIP, netmask} from './ui.js';
import {isAway} from './job.js';

const TRIAL_SECONDS = 180;
const ORDER = ['interface', 'hostname', 'ip_address', 'netmask', 'gateway', 'dns1', 'dns2', 'ntpserver'];

const json = value => new Blob([JSON.stringify(value)]);
const pick = (values, names) => Object.fromEntries(names.filter(name => values[name]).map(name => [name, values[name]]));
const urlAt = address => `https://${address.includes(':') ? `[${address}]` : address}${location.port && `:${location.port}`}/#/network`;
const here = location.hostname.replace(/^\[|\]$/g, '');

function changes(before, after) {
	const names = ORDER.filter(name => before[name] !== after[name]);
	return names[0] ? facts(names.map(name => [name, `${before[name] || '–'} → ${after[name] || '–'}`])) : say('nothingChanges');
}

// Where this page will be; null where nobody can know.
function goalOf(before, after) {
	if (after.ip_address !== before.ip_address) return after.ip_address || null;
	return here === before.hostname && here !== after.hostname ? after.ip_address || null : here;
}

function isObject(text) {
	try {
		return JSON.parse(text).constructor === Object;
	} catch {}
}

export async function network(view) {
	const stored = await find('/settings');
	onTrial('settings', stored);
	const before = pick(stored?.network || {}, ORDER);
	const one = (name, check, extra) => field(name, {value: before[name], check, ...extra});
	const fixed = h('div', {hidden: !before.ip_address});
	const mode = field('mode', {value: before.ip_address ? 'static' : 'dhcp', choices: ['dhcp', 'static'].map(name => [name, t(name)]), onchange: () => {
		fixed.hidden = mode.value === 'dhcp';
	}});
	const addresses = [one('ip_address', ip), one('netmask', netmask), one('gateway', ip), one('dns1', ip, {optional: true}), one('dns2', ip, {optional: true})];
	const app = field('app', {type: 'textarea', rows: 3, value: JSON.stringify(stored?.app || {}, null, 1), optional: true, check: text => isObject(text) ? '' : t('needObject')});
	const trial = tick('trial', true, {time: duration(TRIAL_SECONDS)});
	fixed.append(...addresses.map(({element}) => element));
	fill(view, !stored && notice('info', 'noSettings'), card('network', form([
		one('hostname', chars('A-Za-z0-9.-')), one('interface', chars('A-Za-z0-9', 3, 14)), mode,
		{element: fixed, fields: addresses}, one('ntpserver', chars('A-Za-z0-9.:-'), {optional: true}), app, trial,
	], 'review', async values => {
		const after = pick(values, ORDER);
		const goal = goalOf(before, after);
		const warning = goal === here ? '' : goal ? notice('warn', 'moves', {url: urlAt(goal)}) : notice('warn', 'movesUnknown');
		const isTrial = trial.input.checked;
		if (!await ask('applyAsk', 'apply', {}, changes(before, after), warning, !isTrial && notice('warn', 'noTrial'))) return;
		await post('/settings', {settings: json({network: after, app: JSON.parse(values.app || '{}')}), confirm: isTrial && String(TRIAL_SECONDS)});
		await applied(after, goal, warning);
	})));

	async function applied(after, goal, move) {
		const out = h('div');
		fill(view, h('section.card', out, move, goal && goal !== here && row(h('a.button', {href: urlAt(goal), target: '_blank'}, urlAt(goal)))));
		let now;
		const tell = (kind, name, log) => {
			if (now !== name) fill(out, notice(kind, name), log && logView(log).element);
			now = name;
		};
		tell('info', 'applying');
		for (let tried, ms = 0;; ms += 1500) {
			await pause(1500);
			try {
				const answer = await find('/settings', {seconds: 4});
				onTrial('settings', answer);
				const isSame = ORDER.every(name => (answer?.network[name] || '') === (after[name] || ''));
				if (answer?.pending?.['seconds-left'] > 0) {
					tried = true;
					tell('good', 'onTrial');
				} else if (answer?.pending) tell('info', 'applying');
				else if (isSame && answer.status === 'stored') return tell('warn', 'stored');
				else if (isSame && (tried || ms > 4000)) return tell('good', 'inForce');
				// The ancestor's job has no status.
				else if (tried || answer?.status === 'failed' || ms > 45000) return tell('bad', 'notInForce', answer?.log);
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

export async function storage(view) {
	const stored = await find('/storage');
	const now = stored?.storage || {type: 'local'};
	// Without stored settings the API does not tell which kinds there are.
	const kinds = (stored?.options || Object.keys(KINDS)).filter(kind => Object.hasOwn(KINDS, kind));
	const groups = kinds.map(kind => {
		const fields = Object.entries(KINDS[kind]).map(([name, check]) => field(name, {check, value: kind === now.type ? now[name] : '', type: name === 'password' ? name : 'text'}));
		return {kind, fields, element: h('div', {hidden: kind !== now.type}, fields.map(one => one.element))};
	});
	const type = field('type', {label: 'storageKind', value: now.type, choices: kinds.map(kind => [kind, t(kind)]), onchange: () => {
		for (const {kind, element} of groups) element.hidden = kind !== type.value;
	}});
	fill(view, !stored && notice('info', 'noSettings'), card('storage', form([type, ...groups], 'save', async (values, out) => {
		if (!await ask(values.type === now.type ? 'storageAsk' : 'storageMoves', 'save', {from: now.type, to: values.type})) return;
		await post('/storage', {settings: json({storage: values})});
		fill(out, notice('good', 'storageDone', {}, offers('reboot') && row(link('restart', '#/restart'))));
	})));
}
