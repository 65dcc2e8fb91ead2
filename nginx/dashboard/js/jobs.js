// Jobs, the audit log, a log viewer, and files for the vendor.

import {find, get, pause} from './api.js';
import {nameOf, offers} from './app.js';
import {h, t, fill, card, muted, notice, focus, table, progress, field, tick, link, button, row, logView, date, duration, number, guarded} from './ui.js';
import {fileButton} from './job.js';

const time = text => text ? date(Date.parse(text), {dateStyle: 'medium', timeStyle: 'medium'}) : '–';
const text = value => value === undefined || value === null || value === '' ? '–' : String(value);

const tone = {success: 'good', running: 'info'};
const stage = one => [h(`span.state.${tone[one.status] || 'bad'}`, t(`stage_${one.status}`, {}, text(one.status))),
	one['error-message'] && h('p.muted', text(one['error-message']), one['error-code'] && ` (${one['error-code']})`)];

export async function jobs(view) {
	const now = h('div');
	const past = h('div');
	let seen;
	fill(view, card('jobsNow', now), card('jobsPast', past));
	for (;;) {
		const answer = await find('/jobs');
		const all = Array.isArray(answer?.jobs) ? answer.jobs : [];
		const isRunning = one => one.status === 'running';
		const state = JSON.stringify(all);
		if (state !== seen) {
			fill(now, ...all.filter(isRunning).map(one => {
				const bar = progress(nameOf(one));
				bar.set(one.percentage >= 0 ? one.percentage / 100 : null, one.percentage >= 0 ? `${number(one.percentage)} %` : '');
				return h('div', bar.element, h('p.muted', text(one.step)));
			}));
			if (!now.firstChild) fill(now, muted('jobsNone'));
			const rows = all.filter(one => !isRunning(one)).map(one => [nameOf(one), stage(one), time(one.started), one.ended ? duration((Date.parse(one.ended) - Date.parse(one.started)) / 1000) : '–', text(one.key)]);
			fill(past, rows[0] ? table('jobsPast', ['job', 'state', 'started', 'took', 'by'], rows) : muted('noJobs'));
		}
		seen = state;
		view.ariaBusy = null;
		await pause(all.some(isRunning) ? 2000 : 10_000);
	}
}

export async function audit(view) {
	const out = h('div');
	const entries = [];
	fill(view, card('audit', out));
	const more = async before => {
		const answer = await get('/audit', {query: before ? {before} : {}});
		const seen = entries.length;
		entries.push(...answer.entries);
		const rows = entries.map(one => [time(one.time), h('span', text(one.action), one.target && h('small', ` ${text(one.target)}`)), h(`span.state.${{done: 'good', noted: 'info'}[one.result] || 'bad'}`, text(one.result)), text(one.key), text(one.client)]);
		fill(out, rows[0] ? table('audit', ['when', 'action', 'state', 'who', 'from'], rows) : muted('none'), answer.next && row(button('older', () => more(answer.next))));
		if (seen && rows[seen]) focus(out.querySelectorAll('tbody tr')[seen]);
	};
	try {
		await more();
	} catch (error) {
		if (error.status !== 404) throw error;
		fill(out, notice('info', 'noAudit'));
	}
}

const LOGS = [['update', '/update/log'], ['backup', '/backup/log']];

export async function support(view) {
	fill(view, offers('logs') && card('logs', guarded('operate', () => fileButton('logsFetch', '/logs', 'logs.tar.gz'))),
		offers('debug') && card('debug', guarded('operate', () => fileButton('debugFetch', '/debug', 'debug-bundle.tar'))),
		viewer(), card('docs', row(link('docsOpen', '/docs', {target: '_blank'}))));
	view.ariaBusy = null;
	// Ends when this page is left.
	for (;;) {
		await pause(2000);
		if (!document.hidden) view.querySelector('.viewer').dispatchEvent(new Event('look'));
	}
}

function viewer() {
	const log = logView('');
	const count = h('p.muted', {role: 'status'});
	let lines = [], shown;
	const show = () => {
		const word = search.value.toLowerCase();
		const found = lines.filter(line => line.toLowerCase().includes(word));
		count.textContent = t('lines', {n: found.length, all: lines.length});
		const text = found.slice(-5000).join('\n');
		if (text === shown) return;
		shown = text;
		log.set(text);
	};
	const load = async () => {
		const which = choice.value;
		const text = await find(LOGS.find(([name]) => name === which)[1], {text: true}).catch(error => {
			if (error.kind !== 'cancelled') return null;
			throw error;
		});
		if (which !== choice.value) return;
		lines = (text || '').split('\n').filter(Boolean);
		show();
	};
	const again = () => load().catch(() => {});
	const choice = field('which', {label: 'logOf', choices: LOGS.filter(([name]) => offers(name)).map(([name]) => [name, t(name)]), value: 'update', onchange: again});
	const search = field('find', {type: 'search', oninput: show});
	const follow = tick('follow', true);
	const self = card('log', h('div.viewer', {onlook: () => follow.input.checked && again()}, choice.element, search.element, follow.element, count, log.element));
	again();
	return self;
}
