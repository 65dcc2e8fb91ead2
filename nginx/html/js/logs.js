// A log to search and to follow, and what goes to the vendor.

import {find, pause} from './api.js';
import {offers} from './app.js';
import {h, t, fill, card, muted, field, tick, link, row, logView, guarded} from './ui.js';
import {fileButton} from './job.js';

const LOGS = [['update', '/update/log'], ['backup', '/backup/log']];

export async function support(view) {
	fill(view, offers('logs') && card('logs', guarded('operate', () => fileButton('logsFetch', '/logs', 'logs.tar.gz'))),
		offers('debug') && card('debug', guarded('operate', () => fileButton('debugFetch', '/debug', 'debug-bundle.tar'))),
		viewer(), card('docs', row(link('docsOpen', '/docs', {target: '_blank'}))));
	view.ariaBusy = null;
	// It ends with the visit of this page.
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
