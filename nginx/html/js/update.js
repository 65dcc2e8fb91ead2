// Updating: the package's way up, the job, and what came of it.

import {find} from './api.js';
import {h, t, say, muted, fill, card, facts, field, form, notice, button, row, link, fault, failed, logView} from './ui.js';
import {send, transfers, follow, isAway, jobPanel} from './job.js';

// A transfer that failed while another page was shown.
let unseen;

function result(status) {
	if (status.status !== 'success') return failed(status);
	const [before, after] = [status['version-before'], status['version-after']];
	return notice('good', before && after ? 'updatedFrom' : 'updated', {before, after});
}

export async function update(view) {
	const lost = h('div');
	const version = h('span');
	const box = h('div');
	fill(view, card('appliance', facts([['version', version]])), lost, box);

	const now = async () => {
		const status = await follow('/update', lost, () => {}, false, () => true);
		version.textContent = (await find('/version'))?.version || '?';
		return status;
	};
	const status = await now();
	if (transfers.has('update')) await watch(transfers.get('update'), status);
	else if (unseen) await broken(...unseen);
	else if (status.status === 'running') finish(await job());
	else offer(status);

	async function watch(one, before) {
		fill(box, h('section.card', one.element, muted('mayLeave')));
		try {
			await one.done;
		} catch (error) {
			unseen = [error, before, one.again];
			if (box.isConnected) await broken(...unseen);
			return;
		}
		if (box.isConnected) finish(await job(null, true));
	}

	async function broken(error, before, again) {
		unseen = null;
		fill(box, isAway(error) ? notice('warn', 'uploadLostWait', error) : error.kind === 'http' && fault(error));
		const first = await now();
		if (error.kind === 'cancelled') return offer(first, notice('info', 'uploadCancelled'));
		const isRunning = first.status === 'running';
		if (!isRunning && !isAway(error)) return offer(first, fault(error));
		// The last bytes may have arrived, only the answer not.
		const after = isRunning ? await job(error.code && fault(error)) : first;
		if (JSON.stringify(after) === JSON.stringify(before)) offer(after, notice('bad', 'uploadLost', error, row(button('again', again, 'primary'))));
		else finish(after);
	}

	async function job(told, isNew) {
		const panel = jobPanel('installing');
		fill(box, told, h('section.card', say('keepPower'), panel.element));
		await follow('/update', lost, panel.show, isNew);
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
			card('newUpdate', form([field('package', {type: 'file'})], 'uploadInstall', ({package: file}) => {
				const go = () => watch(Object.assign(send('update', '/update', {update: file}, file, 'checking'), {again: go}), last);
				return go();
			})),
			card('lastChange', !told[0] && last.status && result(last), last.log ? h('div', log.element, row(whole)) : muted('none')));
		scrollTo(0, 0);
	}
}
