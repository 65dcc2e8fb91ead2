// Backups: create, download, delete, restore.

import {find, post, pause} from './api.js';
import {h, t, muted, fill, card, facts, field, form, notice, live, focus, fault, failed, button, row, link, ask, logView, progress, date, guarded, may} from './ui.js';
import {sendLarge, leftOver, follow, fileButton, isAway, transfers} from './job.js';

export async function backup(view) {
	const now = h('div');
	const log = h('div');
	const undoable = h('div');
	const lost = live();
	const running = transfers.get('restore');
	const told = live(running?.element);
	const left = may('admin') && leftOver('restore');
	fill(view, card('backup', lost, now),
		card('restore', told, guarded('admin', () => h('div', left, form([field('archive', {type: 'file', accept: '.tar'})], 'restore', restore))), undoable),
		card('log', log));
	await show();

	// isOurs: started on this page.
	async function show(isOurs) {
		await showLog();
		const status = await find('/backup');
		if (status?.status === 'running') {
			const bar = progress(t('backupRuns'));
			bar.set(null);
			fill(now, bar.element, may('operate') && row(button('backupStop', () => act('STOP'))));
			if (isOurs) focus(now);
			await follow('/backup', lost, showLog).catch(error => {
				// Without a status, it was stopped.
				if (error.status !== 404) throw error;
			});
			return show(isOurs);
		}
		const start = kind => may('operate') && button('backupStart', () => act('START'), kind);
		const {jobs = []} = await find('/jobs').catch(() => null) || {};
		const last = argument => jobs.find(one => one.job === 'backup' && one.status === 'success' && [argument].flat().includes(one.argument));
		const made = status?.status === 'success' && last('START');
		if (status?.status === 'success') {
			fill(now, facts([['made', made && date(Date.parse(made.ended), {dateStyle: 'long', timeStyle: 'short'})], ['size', String(status.filesize)], ['SHA-256', h('code', String(status.sha256))]]),
				guarded('admin', () => fileButton('backupFetch', '/backup/download', nameOf(made), 'primary')),
				may('operate') && row(start(), button('backupDelete', async () => {
					if (await ask('backupDeleteAsk', 'backupDelete', {}, true)) await act('STOP');
				}, 'danger')));
		} else fill(now, status?.status === 'failed' ? failed(status) : muted('none'), guarded('operate', () => row(start('primary'))));
		if (isOurs) focus(now);
		fill(undoable, may('admin') && last(['RESTORE', 'UNDO'])?.argument === 'RESTORE' && row(button('undoRestore', undo)));
	}

	// With host and date, because many are stored in one folder.
	function nameOf(made) {
		const day = made && new Date(made.ended).toISOString().slice(0, 16).replace(/[-:]/g, '').replace('T', '-');
		return `${['backup', location.hostname.replace(/[^\w.-]/g, '-'), day].filter(Boolean).join('-')}.tar`;
	}

	async function act(action) {
		await post('/backup', {action});
		// The job starts after the answer, so its first status takes a moment.
		for (let n = 0; n < 10 && Boolean(await find('/backup')) !== (action === 'START'); n++) await pause(300);
		await show(true);
	}

	async function showLog() {
		const text = await find('/backup/log', {text: true});
		const {element} = logView(text);
		fill(log, text ? element : muted('none'));
		element.scrollTop = 1e9;
	}

	async function restore({archive}) {
		if (!await ask('restoreAsk', 'restore', {file: archive.name}, true)) return;
		const one = sendLarge('restore', '/backup/restore', archive, 'restoreRuns');
		fill(left);
		fill(told, one.element);
		focus(told);
		try {
			await one.done;
			fill(told, notice('good', 'restored', {}, row(link('restart', '#/restart'))));
		} catch (error) {
			const isCancelled = error.kind === 'cancelled';
			if (!isCancelled && !isAway(error)) fill(told, fault(error));
			else if (error.percent === 100) fill(told, notice('bad', 'restoreLost'));
			else fill(told, isCancelled ? notice('info', 'uploadCancelled') : notice('bad', 'uploadLost', error));
		}
		focus(told);
		left.look();
		await show();
	}

	async function undo() {
		if (!await ask('undoAsk', 'undo', {}, true)) return;
		await post('/backup/restore', {action: 'UNDO'}, {seconds: 0});
		fill(told, notice('good', 'undone', {}, row(link('restart', '#/restart'))));
		focus(told);
		await show();
	}
}
