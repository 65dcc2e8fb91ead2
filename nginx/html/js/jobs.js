// What was done: jobs, and the audit log.

import {find, get, pause} from './api.js';
import {nameOf} from './app.js';
import {h, t, fill, card, muted, notice, focus, table, progress, button, row, date, duration, number} from './ui.js';

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
