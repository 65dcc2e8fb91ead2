// Updates: the upload of the package, the job, and the result.

import {find, post, ApiError} from './api.js';
import {h, t, ask, bytes, say, muted, fill, card, facts, field, form, notice, button, row, link, live, focus, fault, failed, logView, guarded} from './ui.js';
import {sendLarge, leftOver, transfers, follow, isAway, jobPanel} from './job.js';

// A transfer that failed while another page was open.
let unseen;

function result(status) {
	// There was no update.
	if (!status.status) return;
	const [before, after] = [status['version-before'], status['version-after']];
	if (status['error-code'] === 'E1001' && /already up-to-date/.test(status['error-message'])) return notice('info', 'installedAlready', {before});
	if (status.status !== 'success') return failed(status);
	return notice('good', before && after ? 'updatedFrom' : 'updated', {before, after});
}

// Shows the package before anything changes. If it cannot be inspected, the job refuses it with the reason.
async function inspect(id, file, signal) {
	const found = await post('/update/inspect', {upload: id}, {signal, seconds: 0}).catch(error => {
		if (error.kind !== 'http' || isAway(error)) throw error;
	});
	if (!found) return;
	const [before, after] = ['version-before', 'version'].map(name => String(found[name] ?? '?'));
	const about = h('div.package', facts([['version', `${before} → ${after}`], ['size', bytes(file.size)]]), found.changelog && h('pre', {tabindex: 0, role: 'group', 'aria-label': t('changelog')}, String(found.changelog)));
	if (!await ask('installAsk', 'install', {after}, false, about)) throw new ApiError('later');
}

export async function update(view) {
	const lost = live();
	const version = h('span');
	const box = h('div');
	fill(view, card('appliance', facts([['version', version]])), lost, box);

	const now = async patience => {
		const status = await follow('/update', lost, () => {}, patience, () => true);
		version.textContent = (await find('/version'))?.version || '?';
		return status;
	};
	const status = await now();
	if (transfers.has('update')) await watch(transfers.get('update'));
	else if (unseen) await broken(...unseen);
	else if (status.status === 'running') finish(await job());
	else offer(status);

	async function watch(one) {
		fill(box, h('section.card', one.element, muted('mayLeave')));
		focus(box.firstChild);
		try {
			await one.done;
		} catch (error) {
			if (error.kind === 'later') return box.isConnected && offer(one.before);
			unseen = [error, one];
			if (box.isConnected) await broken(...unseen);
			return;
		}
		if (box.isConnected) finish(await job(null, 5000));
	}

	async function broken(error, {before, again}) {
		unseen = null;
		const isCancelled = error.kind === 'cancelled';
		const isLost = isAway(error);
		const isSilent = isCancelled || isLost;
		// Perhaps only the answer was lost: then the job starts when the file is stored.
		const mayRun = isSilent && error.percent === 100;
		const told = isCancelled ? notice('info', 'uploadCancelled') : isLost ? notice('bad', 'uploadLost', error) : fault(error);
		fill(box, mayRun ? notice('warn', 'asking') : told);
		focus(box.firstChild);
		const first = await now(mayRun ? 15000 : 0);
		const isRunning = first.status === 'running';
		const after = isRunning ? await job(error.code && told) : first;
		if ((isRunning || isSilent) && JSON.stringify(after) !== JSON.stringify(before)) finish(after);
		else offer(after, told, isLost && row(button('again', again, 'primary')));
	}

	async function job(told, patience) {
		const panel = jobPanel('installing');
		fill(box, told, h('section.card', say('keepPower'), panel.element));
		focus(box.firstChild);
		await follow('/update', lost, panel.show, patience);
		return now();
	}

	function finish(end) {
		offer(end, result(end), end.status === 'success' && card('afterUpdate', row(link('restart', '#/restart'), button('reload', () => location.reload()))));
	}

	function offer(last, ...told) {
		const log = logView(last.log);
		const whole = button('wholeLog', async () => {
			log.element.replaceWith(logView(await find('/update/log', {text: true})).element);
			whole.remove();
		});
		fill(box, ...told,
			card('newUpdate', guarded('operate', () => h('div', leftOver('update'), form([field('package', {type: 'file'})], 'uploadInstall', ({package: file}) => {
				const go = () => watch(Object.assign(sendLarge('update', '/update', file, 'checking', (id, signal) => inspect(id, file, signal)), {before: last, again: go}));
				return go();
			})))),
			card('lastChange', !told[0] && result(last), last.log ? h('div', log.element, row(whole)) : muted('none')));
		scrollTo(0, 0);
		if (told[0]) focus(told[0]);
	}
}
