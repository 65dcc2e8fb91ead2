// Plots of the last hour to the last year.

import {get, pause} from './api.js';
import {h, t, muted, fill, card, notice, bytes, number, date} from './ui.js';

const WIDTH = 600, HEIGHT = 150;
const percent = value => `${number(value, 1)} %`;

// Its name, its series, how a value reads, and its top where that is fixed.
const PLOTS = [
	['cpu', ['cpu'], percent, 100],
	['memory', ['memory'], percent, 100],
	['disk', ['disk'], percent, 100],
	['network', ['network_in', 'network_out'], value => `${bytes(value)}/s`],
];

function plot([name, names, read, fixed], {start, step, series = {}}) {
	const all = names.map(one => (series[one] || []).map(value => Number.isFinite(value) ? value : null));
	const highest = Math.max(...all.flat(), 1);
	const last = all[0].length - 1;
	if (all.flat().every(value => value === null)) return card(name, muted('none'));
	const unit = 10 ** Math.floor(Math.log10(highest));
	const top = fixed || Math.ceil(highest / unit) * unit;
	const x = i => last ? i / last * WIDTH : 0;
	const at = i => date((start + i * step) * 1000, {dateStyle: 'short', timeStyle: 'short'});
	const label = one => names[1] ? `${t(one)}: ` : '';
	// A gap in the samples is a gap in the line; a sample alone is a dot.
	const line = values => values.map((value, i) => value === null ? '' : `${(values[i - 1] ?? null) === null ? 'M' : 'L'}${x(i)} ${HEIGHT * (1 - Math.min(value, top) / top)}h.1`).join('');
	const summary = names.map((one, k) => {
		const values = all[k].filter(value => value !== null);
		const peak = Math.max(...values);
		return values[0] >= 0 && h(`p.key.${one}`, label(one), t('summary', {last: read(values.at(-1)), mean: read(values.reduce((a, b) => a + b) / values.length), peak: read(peak), when: at(all[k].indexOf(peak))}));
	});
	const cursor = h('path.cursor');
	const reading = h('p.muted');
	const show = () => {
		const i = slider.value;
		cursor.setAttribute('d', `M${x(i)} 0V${HEIGHT}`);
		slider.ariaValueText = reading.textContent = `${at(i)}: ${names.map((one, k) => label(one) + (all[k][i] === null ? '–' : read(all[k][i]))).join(', ')}`;
	};
	// Over the plot: keys, a finger and a screen reader can read single samples.
	const slider = h('input', {type: 'range', max: last, 'aria-label': t(name), oninput: show, onpointermove: event => {
		slider.value = Math.round(event.offsetX / slider.clientWidth * last);
		show();
	}});
	slider.value = last;
	show();
	return card(name, summary, h('p.muted', read(top)),
		h('div.plot', h('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true'},
			h('path.grid', {d: [0, 1, 2, 3, 4].map(i => `M0 ${i * HEIGHT / 4}H${WIDTH}`).join('')}),
			names.map((one, k) => h(`path.${one}`, {d: line(all[k])})), cursor), slider),
		h('div.ends.muted', h('span', at(0)), h('span', at(last))), reading);
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
			if (asked === range) fill(out, PLOTS.map(one => plot(one, history)));
		} catch (error) {
			if (![400, 404].includes(error.status)) throw error;
			fill(out, notice('info', 'noMonitor', {}, h('p', error.message)));
		}
	}

	for (;;) {
		// Who reads a plot is not disturbed.
		if (!document.hidden && !out.contains(document.activeElement)) await load();
		view.ariaBusy = null;
		await pause(60000);
	}
}
