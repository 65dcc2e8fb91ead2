// Backups: made, fetched, deleted, restored.

import {find, post, pause} from './api.js';
import {h, t, muted, fill, card, facts, field, form, notice, fault, failed, button, row, link, ask, logView, progress} from './ui.js';
import {send, follow, fileButton, isAway, transfers} from './job.js';

export async function backup(view) {
	const now = h('div');
	const log = h('div');
	const lost = h('div');
	const running = transfers.get('restore');
	const told = h('div', running?.element);
	fill(view, card('backup', lost, now),
		card('restore', told, form([field('archive', {type: 'file', accept: '.tar'})], 'restore', restore)),
		card('log', log));
	await show();

	async function show() {
		await showLog();
		const status = await find('/backup');
		if (status?.status === 'running') {
			const bar = progress(t('backupRuns'));
			bar.set(null);
			fill(now, bar.element, row(button('backupStop', () => act('STOP'))));
			await follow('/backup', lost, showLog).catch(error => {
				// Its status went with it: stopped.
				if (error.status !== 404) throw error;
			});
			return show();
		}
		const start = kind => button('backupStart', () => act('START'), kind);
		if (status?.status === 'success') {
			fill(now, facts([['size', String(status.filesize)], ['SHA-256', h('code', String(status.sha256))]]),
				fileButton('backupFetch', '/backup/download', 'backup.tar', 'primary'),
				row(start(), button('backupDelete', async () => {
					if (await ask('backupDeleteAsk', 'backupDelete')) await act('STOP');
				})));
		} else fill(now, status?.status === 'failed' ? failed(status) : muted('none'), row(start('primary')));
	}

	async function act(action) {
		await post('/backup', {action});
		// The job begins after its answer: give its first status a moment.
		for (let n = 0; n < 10 && Boolean(await find('/backup')) !== (action === 'START'); n++) await pause(300);
		await show();
	}

	async function showLog() {
		const text = await find('/backup/log', {text: true});
		const {element} = logView(text);
		fill(log, text ? element : muted('none'));
		element.scrollTop = 1e9;
	}

	async function restore({archive}) {
		if (!await ask('restoreAsk', 'restore', {file: archive.name})) return;
		const one = send('restore', '/backup/restore', {archive}, archive, 'restoreRuns');
		fill(told, one.element);
		try {
			await one.done;
			fill(told, notice('good', 'restored', {}, row(link('restart', '#/restart'), button('undo', undo))));
		} catch (error) {
			const isCancelled = error.kind === 'cancelled';
			if (!isCancelled && !isAway(error)) fill(told, fault(error));
			else if (error.percent === 100) fill(told, notice('bad', 'restoreLost'));
			else fill(told, isCancelled ? notice('info', 'uploadCancelled') : notice('bad', 'uploadLost', error));
		}
		await showLog();
	}

	async function undo() {
		if (!await ask('undoAsk', 'undo')) return;
		await post('/backup/restore', {action: 'UNDO'}, {seconds: 0});
		fill(told, notice('good', 'restored'));
	}
}
