// Shows transfers, and jobs until they end.

import {get, post, upload, download, offsetOf, discard, sendPiece, pause, session, isLoggedIn, ApiError} from './api.js';
import {h, t, bytes, duration, number, progress, button, notice, row, live, logView, fill} from './ui.js';

// Transfers continue on other pages.
export const transfers = new Map();

session.isBusy = () => transfers.size > 0;
addEventListener('beforeunload', event => transfers.size && event.preventDefault());

// after: the text between the last byte and the answer.
function transfer(name, label, run, after) {
	const stopper = new AbortController();
	const bar = progress(label);
	bar.set(null);
	const trouble = live();
	const self = {label, path: name, element: h('div', bar.element, trouble, row(button('cancel', () => stopper.abort()))), stop: () => stopper.abort()};
	// The rate of the last seconds, to show a stall.
	let samples = [];
	let done = 0, all = 0;
	const show = () => {
		if (!all && !done) return;
		if (after && done === all) return bar.set(null, t(after));
		const now = performance.now();
		// After a cut, it can continue at a smaller offset.
		if (done < samples.at(-1)?.[1]) samples = [];
		samples.push([now, done]);
		while (samples.length > 2 && now - samples[0][0] > 6000) samples.shift();
		const rate = (done - samples[0][1]) / Math.max(0.2, (now - samples[0][0]) / 1000);
		bar.set(all ? done / all : null, `${all ? t('ofBytes', {done: bytes(done), all: bytes(all)}) : bytes(done)}, ${bytes(rate)}/s${all && rate ? `, ${t('left', {time: duration((all - done) / rate)})}` : ''}`);
	};
	// Even if nothing is sent.
	const clock = setInterval(show, 1000);
	transfers.set(name, self);
	self.done = run(stopper.signal, (...now) => {
		[done, all] = now;
		show();
	}, since => unanswered(trouble, since)).catch(error => {
		throw Object.assign(error, {percent: all && Math.floor(100 * done / all)});
	}).finally(() => {
		clearInterval(clock);
		transfers.delete(name);
		self.element.remove();
	});
	return self;
}

export const send = (name, path, fields, file, after) => transfer(name, t('uploading', {file: file.name}), (signal, show) => upload(path, fields, signal, show), after);

// A file of any size, in pieces. before(id, signal): runs between its arrival and its use.
export const sendLarge = (name, path, file, after, before = () => {}) => transfer(name, t('uploading', {file: file.name}), (signal, show, lost) => deliver(name, file, signal, show, lost, async id => {
	await before(id, signal);
	return post(path, {upload: id}, {signal, seconds: 0});
}), after);

// Incomplete uploads, which wait for the same file, or to be discarded.
export function leftOver(purpose) {
	const out = live();
	out.look = async () => {
		const all = transfers.has(purpose) ? [] : await unfinished(purpose).catch(() => []);
		fill(out, all.map(one => notice('info', one.name ? 'uploadOpen' : 'uploadElsewhere', {file: one.name, done: bytes(one.offset), all: bytes(one.length)}, row(button('discard', async () => {
			await forget(one.id);
			await out.look();
		})))));
	};
	out.look();
	return out;
}

// since: the last answer; null if there is one now.
function unanswered(place, since) {
	if (since === null) return fill(place);
	// Do not announce what changes every second.
	if (!place.firstChild) fill(place, notice('warn', 'lost', {}, h('p', {'aria-live': 'off'})));
	place.querySelector('p:last-child').textContent = t('waiting', {time: duration((Date.now() - since) / 1000)});
}

export function fileButton(name, path, file, props) {
	const out = live();
	return h('div', row(button(name, async () => {
		const self = transfer(path, t('collecting'), (signal, show) => download(path, file, signal, show));
		fill(out, self.element);
		try {
			fill(out, notice('good', 'saved', {file, size: bytes(await self.done)}));
		} catch (error) {
			if (error.status !== 404) throw error;
			fill(out, notice('info', 'none'));
		}
	}, props)), out);
}

export const isAway = ({kind, status}) => kind === 'network' || status >= 502;

// Polls until the status is final, through lost connections and restarts.
// patience: ms in which the status can still be the previous job's.
export async function follow(path, lost, show = () => {}, patience = 0, until = ({status}) => status !== 'running') {
	let since, began;
	for (;;) {
		try {
			const status = await get(path, {seconds: 8});
			since = null;
			unanswered(lost, since);
			show(status);
			began ||= Date.now();
			if (status.status === 'running') patience = 0;
			if (Date.now() - began >= patience && until(status)) return status;
		} catch (error) {
			if (!isAway(error)) throw error;
			since ||= Date.now();
			unanswered(lost, since);
		}
		await pause(1000);
	}
}

export function jobPanel(label) {
	const bar = progress(t(label));
	const step = h('p.muted', {'aria-live': 'polite'});
	const log = logView();
	return {
		element: h('div', bar.element, step, log.element),
		show({percentage, log: tail, step: at}) {
			bar.set(percentage >= 0 ? percentage / 100 : null, percentage >= 0 ? `${number(percentage)} %` : '');
			log.add(tail);
			const last = tail === undefined ? at : log.last();
			if (last && step.textContent !== last) step.textContent = last;
		},
	};
}

// The final status of a job with an id; null if the image does not keep it.
export async function followJob(accepted, lost, show) {
	if (!accepted.Job) return null;
	return follow(`/jobs/${accepted.Job}`, lost, show).catch(error => {
		if (error.status === 404) return null;
		throw error;
	});
}

// -- Uploads in pieces, which continue after a cut and after a reload.

// Identifies the file of an upload; the appliance only knows its length.
const noteOf = id => `upload ${id}`;
const about = ({name, size, lastModified}) => JSON.stringify({name, size, lastModified});
const nameIn = note => note && JSON.parse(note).name;

// Large pieces cost memory, small ones requests. On a slow line, a piece takes about ten seconds.
const [SMALLEST, LARGEST, SECONDS] = [1 << 20, 32 << 20, 10];

const isCut = error => isAway(error) || [408, 409, 429].includes(error.status);

// This token's incomplete uploads. Removes notes of others.
async function unfinished(purpose, options) {
	const {uploads} = await get('/uploads', options);
	const all = Array.isArray(uploads) ? uploads : [];
	for (const name of Object.keys(localStorage)) if (name.startsWith('upload ') && !all.some(({id}) => noteOf(id) === name)) localStorage.removeItem(name);
	return all.filter(one => one.for === purpose).map(one => {
		const note = localStorage.getItem(noteOf(one.id));
		return {...one, note, name: nameIn(note)};
	});
}

async function forget(id, options) {
	await discard(id, options);
	localStorage.removeItem(noteOf(id));
}

// Sends all of it, then calls use(id).
// show(done, all); lost(since): no answer since then, or null.
async function deliver(purpose, file, signal, show, lost, use) {
	const known = (await unfinished(purpose, {signal})).find(({note}) => note === about(file));
	const id = known?.id || (await post('/uploads', {for: purpose, length: String(file.size)}, {signal})).Upload;
	if (!/^[0-9a-f]{32}$/.test(id)) throw new ApiError('odd', 201);
	localStorage.setItem(noteOf(id), about(file));
	// In one tab at a time.
	return navigator.locks.request(noteOf(id), {ifAvailable: true}, async lock => {
		if (!lock) throw new ApiError('twice');
		try {
			await sendPieces(id, file, signal, show, lost);
			const answer = await use(id);
			localStorage.removeItem(noteOf(id));
			return answer;
		} catch (error) {
			if (error.kind === 'cancelled' && isLoggedIn()) await forget(id, {signal: new AbortController().signal}).catch(() => {});
			throw error;
		}
	});
}

async function sendPieces(id, file, signal, show, lost) {
	let {offset, isComplete, piece} = await located(id, signal, lost);
	let size = SMALLEST;
	let most = Math.min(piece || LARGEST, LARGEST);
	show(offset, file.size);
	while (!isComplete) {
		const began = Date.now();
		const to = Math.min(offset + Math.min(size, most), file.size);
		try {
			const next = await sendPiece(id, file, offset, to, signal, sent => show(Math.min(offset + sent, to), file.size));
			if (!next.isComplete && next.offset <= offset) throw new ApiError('odd', 204);
			size = Math.max(SMALLEST, (next.offset - offset) / Math.max(1, Date.now() - began) * 1000 * SECONDS);
			({offset, isComplete} = next);
		} catch (error) {
			// The web server can have a smaller limit than the program.
			if (error.status === 413 && to - offset > SMALLEST) {
				most = (to - offset) >> 1;
				continue;
			}
			if (!isCut(error)) throw error;
			size = SMALLEST;
			// Another request may still be writing it.
			await pause(1000, {signal});
			({offset, isComplete} = await located(id, signal, lost));
		}
		show(offset, file.size);
	}
}

// Polls until there is an answer, through lost connections and restarts.
async function located(id, signal, lost) {
	for (let since = Date.now(); ; await pause(1000, {signal})) {
		try {
			const found = await offsetOf(id, signal);
			lost(null);
			if (!found) throw new ApiError('gone');
			return found;
		} catch (error) {
			if (!isCut(error)) throw error;
			lost(since);
		}
	}
}
