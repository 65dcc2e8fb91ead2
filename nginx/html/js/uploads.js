// Files that go up in pieces: what was sent stays sent, after a cut and after a reload of the page.

import {get, post, offsetOf, discard, sendPiece, pause, isLoggedIn, ApiError} from './api.js';

// What is known of a file that is on its way; the appliance knows only how long it is.
const noteOf = id => `upload ${id}`;
const about = ({name, size, lastModified}) => JSON.stringify({name, size, lastModified});
const nameIn = note => note && JSON.parse(note).name;

// Larger ones cost memory, and smaller ones questions; on a slow line a piece takes about ten seconds.
const [SMALLEST, LARGEST, SECONDS] = [1 << 20, 8 << 20, 10];

const isAway = ({kind, status}) => kind === 'network' || status >= 502 || [408, 409, 429].includes(status);

// Those of this token that nobody has finished. Notes of others are forgotten.
export async function unfinished(purpose, options) {
	const {uploads} = await get('/uploads', options);
	const all = Array.isArray(uploads) ? uploads : [];
	for (const name of Object.keys(localStorage)) if (name.startsWith('upload ') && !all.some(({id}) => noteOf(id) === name)) localStorage.removeItem(name);
	return all.filter(one => one.for === purpose).map(one => {
		const note = localStorage.getItem(noteOf(one.id));
		return {...one, note, name: nameIn(note)};
	});
}

export async function forget(id, options) {
	await discard(id, options);
	localStorage.removeItem(noteOf(id));
}

// Until all of it is there; then use(id), which says what is done with it.
// show(done, all); lost(since): nobody has answered since then, null: somebody has.
export async function deliver(purpose, file, signal, show, lost, use) {
	const known = (await unfinished(purpose, {signal})).find(({note}) => note === about(file));
	const id = known?.id || (await post('/uploads', {for: purpose, length: String(file.size)}, {signal})).Upload;
	if (!/^[0-9a-f]{32}$/.test(id)) throw new ApiError('odd', 201);
	localStorage.setItem(noteOf(id), about(file));
	// In one tab at a time.
	return navigator.locks.request(noteOf(id), {ifAvailable: true}, async lock => {
		if (!lock) throw new ApiError('twice');
		try {
			await send(id, file, signal, show, lost);
			const answer = await use(id);
			localStorage.removeItem(noteOf(id));
			return answer;
		} catch (error) {
			if (error.kind === 'cancelled' && isLoggedIn()) await forget(id, {signal: new AbortController().signal}).catch(() => {});
			throw error;
		}
	});
}

async function send(id, file, signal, show, lost) {
	let {offset, isComplete, piece} = await located(id, signal, lost);
	let size = SMALLEST;
	const most = Math.min(piece || LARGEST, LARGEST);
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
			if (!isAway(error)) throw error;
			// Whoever still writes it, has a moment to end.
			await pause(1000, {signal});
			({offset, isComplete} = await located(id, signal, lost));
		}
		show(offset, file.size);
	}
}

// Asks until somebody answers, through lost connections and restarts.
async function located(id, signal, lost) {
	for (let since = Date.now(); ; await pause(1000, {signal})) {
		try {
			const found = await offsetOf(id, signal);
			lost(null);
			if (!found) throw new ApiError('gone');
			return found;
		} catch (error) {
			if (!isAway(error)) throw error;
			lost(since);
		}
	}
}
