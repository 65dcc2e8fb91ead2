// Plots of the last hour to the last year.

import {get, pause} from './api.js';
import {h, t, muted, fill, card, notice, bytes, number, date} from './ui.js';

const WIDTH = 600, HEIGHT = 150;
const percent = value => `${number(value, 1)} %`;

// Name, series, format of a value, and the maximum if it is fixed.
const PLOTS = [
	['cpu', ['cpu'], percent, 100],
	['memory', ['memory'], percent, 100],
	['disk', ['disk'], percent, 100],
	['network', ['network_in', 'network_out'], value => `${bytes(value)}/s`],
];

// Round steps from 0 to the maximum.
function ticks(highest, fixed) {
	if (fixed) return [0, 25, 50, 75, 100];
	const rough = Math.max(highest, 1) / 4;
	const unit = 10 ** Math.floor(Math.log10(rough));
	const step = [1, 2, 5, 10].find(n => n * unit >= rough) * unit;
	return Array.from({length: Math.ceil(Math.max(highest, 1) / step) + 1}, (_, i) => i * step);
}

// The format of times on the axis, by range.
const STYLES = {'1h': {timeStyle: 'short'}, '1d': {timeStyle: 'short'}, '1w': {weekday: 'short', day: 'numeric'}, '1m': {day: 'numeric', month: 'short'}, '1y': {month: 'short', year: '2-digit'}};

function plot([name, names, read, fixed], {range, start, step, series}) {
	const all = names.map(one => (Array.isArray(series?.[one]) ? series[one] : []).map(value => typeof value === 'number' ? value : null));
	const last = all[0].length - 1;
	if (all.flat().every(value => value === null)) return card(name, muted('noData'));
	const highest = Math.max(...all.flat());
	const marks = ticks(highest, fixed);
	const top = Math.max(marks.at(-1), fixed ? highest : 0);
	const x = i => last ? i / last * WIDTH : 0;
	const y = value => HEIGHT * (1 - value / top);
	const when = (i, style) => date((start + i * step) * 1000, style);
	const at = i => when(i, {dateStyle: 'medium', timeStyle: 'short'});
	const label = one => names[1] ? `${t(one)}: ` : '';
	// A gap in the samples is a gap in the line; a sample alone is a dot.
	const line = values => values.map((value, i) => value === null ? '' : `${(values[i - 1] ?? null) === null ? 'M' : 'L'}${x(i)} ${y(value)}h.1`).join('');
	const summary = names.map((one, k) => {
		const values = all[k].filter(value => value !== null);
		const peak = Math.max(...values);
		// Not a value from before a gap.
		const now = all[k].slice(-3).findLast(value => value !== null);
		return values[0] !== undefined && h(`p.key.${one}`, label(one), t('summary', {last: now === undefined ? t('noData') : read(now), mean: read(values.reduce((a, b) => a + b) / values.length), peak: read(peak), when: at(all[k].indexOf(peak))}));
	});
	const cursor = h('path.cursor');
	const reading = h('p.reading');
	const show = () => {
		const i = Number(slider.value);
		cursor.setAttribute('d', `M${x(i)} 0V${HEIGHT}`);
		slider.ariaValueText = reading.textContent = `${at(i)}: ${names.map((one, k) => label(one) + ((all[k][i] ?? null) === null ? t('noData') : read(all[k][i]))).join(', ')}`;
	};
	// Over the plot, so that keys, fingers and screen readers reach each sample.
	const slider = h('input', {type: 'range', max: last, 'aria-label': t(name), oninput: show, onpointermove: event => {
		slider.value = Math.round(event.offsetX / slider.clientWidth * last);
		show();
	}});
	slider.value = last;
	show();
	const shares = [0, .25, .5, .75, 1];
	return card(name, summary, h('div.axes',
		h('div.values', {'aria-hidden': 'true'}, marks.toReversed().map(value => h('span', read(value)))),
		h('div.plot', h('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true'},
			h('path.lines', {d: marks.map(value => `M0 ${y(value)}H${WIDTH}`).concat(shares.map(part => `M${part * WIDTH} 0V${HEIGHT}`)).join('')}),
			names.map((one, k) => h(`path.${one}`, {d: line(all[k])})), cursor), slider),
		h('div.times', {'aria-hidden': 'true'}, shares.map(part => h('span', when(Math.round(part * last), STYLES[range]))))), reading);
}

export async function monitor(view) {
	let range = '1h';
	const out = h('div.grid');
	fill(view, h('fieldset', h('legend', t('range')), ['1h', '1d', '1w', '1m', '1y'].map(one => h('label', h('input', {type: 'radio', name: 'range', checked: one === range, onchange: () => {
		range = one;
		load();
	}}), t(`range_${one}`)))), out, muted('plotTimes', {zone: Intl.DateTimeFormat().resolvedOptions().timeZone}));

	async function load() {
		const asked = range;
		try {
			const history = await get('/health/history', {query: {range}});
			if (asked === range) fill(out, PLOTS.map(one => plot(one, {...history, range})));
		} catch (error) {
			if (![400, 404].includes(error.status)) throw error;
			fill(out, notice('info', 'noMonitor', {}, h('p', error.message)));
		}
	}

	for (;;) {
		// Do not disturb somebody who reads a plot.
		if (!document.hidden && !out.contains(document.activeElement)) await load();
		view.ariaBusy = null;
		await pause(60000);
	}
}
