// The only place that talks to the appliance.

const PREFIX = '/api/v1/admin';
const ascii = text => new TextEncoder().encode(text);
const base64 = buffer => btoa(String.fromCharCode(...new Uint8Array(buffer)));
export const hex = buffer => Array.from(new Uint8Array(buffer), byte => byte.toString(16).padStart(2, '0')).join('');

// An error. kind: 'http', 'network' (no answer), 'cancelled', 'odd' (an answer that makes no sense) or 'file' (cannot be read).
export class ApiError extends Error {
	constructor(kind, status = 0, body = {}) {
		const text = name => typeof body[name] === 'string' ? body[name] : undefined;
		super(text('Error-Message') || '');
		Object.assign(this, {kind, status, body, code: text('Error-Code'), field: text('Field'), hint: text('Hint'), firstRun: body['First-Run'] === true});
		// A small scope or a wrong clock is no reason to log out.
		this.isStranger = status === 403 && /^Auth/.test(this.message) && /known (key|token)/.test(this.hint || 'known key');
	}
}

// The key can sign, but nobody can read it, not even this page.
let key = null;
let stays = false;
// The last activity in any tab.
let seen = 0;
const IDLE = 30 * 60_000;
const tabs = new BroadcastChannel('session');
// ended(error): the key is gone. began(): another tab has one. isBusy(): a transfer is running.
export const session = {isBusy: () => false};

// The API's key is the hexadecimal text of SHA-256(token).
async function keyOf(token) {
	const text = hex(await crypto.subtle.digest('SHA-256', ascii(token)));
	return crypto.subtle.importKey('raw', ascii(text), {name: 'HMAC', hash: 'SHA-256'}, false, ['sign']);
}

const stored = (mode, act) => new Promise((resolve, reject) => {
	const open = indexedDB.open('dashboard', 1);
	open.onupgradeneeded = () => open.result.createObjectStore('keys');
	open.onerror = reject;
	open.onsuccess = () => {
		const work = open.result.transaction('keys', mode);
		const request = act(work.objectStore('keys'));
		work.onabort = reject;
		work.oncomplete = () => {
			open.result.close();
			resolve(request.result);
		};
	};
});

// If the browser stores nothing, the session is only in this tab.
const put = (value, name) => stored('readwrite', keys => value ? keys.put(value, name) : keys.delete(name)).catch(() => {});
const read = name => stored('readonly', keys => keys.get(name)).catch(() => null);

async function hold(newKey, stay) {
	[key, stays, seen] = [newKey, stay, Date.now()];
	await put(key, 'key');
	await put(key && {stay, seen}, 'about');
}

export const isLoggedIn = () => key !== null;

const isOver = about => !about?.stay && !(Math.abs(Date.now() - about?.seen) < IDLE);

export async function resume() {
	const [kept, about] = [await read('key'), await read('about')];
	if (kept && isOver(about)) {
		await hold(null, false);
		return {idle: true};
	}
	[key, stays, seen] = [kept || null, Boolean(about?.stay), Date.now()];
}

for (const one of ['pointerdown', 'keydown']) addEventListener(one, () => {
	if (!key || Date.now() - seen < 30_000) return;
	seen = Date.now();
	put({stay: stays, seen}, 'about');
}, true);

setInterval(async () => {
	if (!key || stays || session.isBusy() || Date.now() - seen < IDLE) return;
	// Another tab may be in use.
	const about = await read('about');
	if (isOver(about)) forget({idle: true});
	else ({seen} = about);
}, 30_000);

export async function logIn(token, stay) {
	const candidate = await keyOf(token);
	await get('/endpoints', {key: candidate});
	await hold(candidate, stay);
	tabs.postMessage(key);
}

// proof: a passphrase (first run), null (no token yet), nothing (logged in)
export async function setToken(newtoken, proof, stay = stays) {
	await post('/setup', {newtoken}, {key: proof ? await keyOf(proof) : proof});
	await hold(await keyOf(newtoken), stay);
	tabs.postMessage(key);
}

async function forget(error) {
	await hold(null, false);
	session.ended(error);
}

export function logOut() {
	tabs.postMessage(null);
	return forget({loggedOut: true});
}

// Another tab logged out, or changed the token.
tabs.onmessage = ({data}) => {
	if (!data) {
		if (key) forget({loggedOut: true});
		return;
	}
	const isNew = !key;
	[key, seen] = [data, Date.now()];
	if (isNew) session.began();
};

// By default, a request ends when its page is left.
let visit = new AbortController();

export function leave() {
	visit.abort();
	visit = new AbortController();
}

export const pause = (ms, {signal} = visit) => new Promise((resolve, reject) => {
	setTimeout(resolve, ms);
	signal.addEventListener('abort', () => reject(new ApiError('cancelled')));
});

// Seconds by which the appliance's clock is ahead of ours; it can be in 1970.
let ahead = 0;
export const clock = () => ahead;
const PIECE = 'application/partial-upload';

// The address and headers of a request: valid once, for this request with its content (RFC 9421).
// content: the fields of a form, or one piece of a file.
async function signed(method, path, query, {fields = [], piece}, signer) {
	const params = new URLSearchParams(query);
	const mac = text => crypto.subtle.sign('HMAC', signer, ascii(text));
	const headers = piece ? {'Content-Type': PIECE} : {};
	if (signer) {
		const digest = async value => crypto.subtle.digest('SHA-256', await new Blob([value]).arrayBuffer());
		const covered = [['@method', method], ['@path', PREFIX + path], ['@query', `?${params}`]];
		if (piece) {
			headers['Content-Digest'] = `sha-256=:${base64(await crypto.subtle.digest('SHA-256', piece))}:`;
			covered.push(['content-type', PIECE], ['content-digest', headers['Content-Digest']]);
		}
		if (fields[0]) {
			headers['Part-Digest'] = (await Promise.all(fields.map(async ([name, value]) => `${name}=:${base64(await digest(value))}:`))).join(', ');
			covered.push(['part-digest', headers['Part-Digest']]);
		}
		const input = `(${covered.map(([name]) => `"${name}"`).join(' ')});created=${Math.floor(Date.now() / 1000) + ahead};nonce="${crypto.randomUUID()}"`;
		headers['Signature-Input'] = `s=${input}`;
		headers.Signature = `s=:${base64(await mac(`${covered.map(([name, value]) => `"${name}": ${value}\n`).join('')}"@signature-params": ${input}`))}:`;
	}
	return [`${PREFIX}${path}?${params}`, headers];
}

// A web server may replace the body; the header stays.
function refusal(status, text, header, signer) {
	let body = {'Error-Message': header};
	try {
		const said = JSON.parse(text);
		if (said?.constructor === Object) body = said;
	} catch {}
	const error = new ApiError('http', status, body);
	if (error.isStranger && signer && signer === key) forget(error);
	return error;
}

// The content of an answer, which can be from a proxy or a login page.
function understood(status, type, text, asText) {
	const odd = new ApiError('odd', status);
	if (/html/.test(type)) throw odd;
	if (asText) return text;
	let value;
	try {
		value = JSON.parse(text);
	} catch {}
	if (value?.constructor !== Object) throw odd;
	return value;
}

const broken = (error, signal) => error instanceof ApiError ? error : new ApiError(signal.aborted ? 'cancelled' : 'network');

async function request(method, path, options = {}) {
	const {query, fields = [], seconds = 20, signal = visit.signal, key: signer = key, text, head, stream} = options;
	const stop = new AbortController();
	const abort = () => stop.abort();
	const timer = seconds && setTimeout(abort, seconds * 1000);
	signal.addEventListener('abort', abort);
	try {
		const [url, headers] = await signed(method, path, query, {fields}, signer);
		if (signal.aborted) abort();
		const response = await fetch(url, {method, headers, body: formOf(fields), signal: stop.signal, cache: 'no-store', credentials: 'omit'});
		if (stream) clearTimeout(timer);
		const before = ahead;
		ahead = Math.round((Date.parse(response.headers.get('Date')) - Date.now()) / 1000) || 0;
		// Signed with a wrong time.
		if (response.status === 403 && signer && Math.abs(ahead - before) > 200) return await request(method, path, options);
		if (!response.ok) throw refusal(response.status, await response.text(), response.headers.get('Error-Message'), signer);
		if (head) return response.headers;
		const type = response.headers.get('Content-Type');
		if (!stream) return understood(response.status, type, await response.text(), text);
		if (response.status !== 200 || /html/.test(type)) throw new ApiError('odd', response.status);
		return await stream(response);
	} catch (error) {
		throw broken(error, signal);
	} finally {
		clearTimeout(timer);
	}
}

// Repeats the request while the appliance is busy, unless the caller wants to know that (once).
export async function get(path, options) {
	for (let n = 0; ; n++) {
		try {
			return await request('GET', path, options);
		} catch (error) {
			if (options?.once || n >= (error.code === 'E1004' ? 20 : error.status > 501 ? 2 : 0)) throw error;
			await pause(500);
		}
	}
}

// null: not found.
export const find = (path, options) => get(path, options).catch(error => {
	if (error.status === 404) return null;
	throw error;
});

const filledIn = fields => Object.entries(fields).filter(([, value]) => value);

function formOf(fields) {
	if (!fields.length) return;
	const form = new FormData();
	for (const field of fields) form.append(...field);
	return form;
}

export const post = (path, fields, options) => request('POST', path, {...options, fields: filledIn(fields)});

export async function upload(path, fields, signal, progress) {
	const [signer, all] = [key, filledIn(fields)];
	const [url, headers] = await signed('POST', path, {}, {fields: all}, signer).catch(error => {
		throw broken(error, signal);
	});
	const xhr = await sent('POST', url, headers, formOf(all), signal, progress);
	if (xhr.status >= 300) throw refused(xhr, signer);
	return understood(xhr.status, xhr.getResponseHeader('Content-Type'), xhr.responseText);
}

const refused = (xhr, signer) => refusal(xhr.status, xhr.responseText, xhr.getResponseHeader('Error-Message'), signer);

// fetch cannot tell how much it has sent. patience: seconds without progress until it is cancelled.
function sent(method, url, headers, body, signal, progress, patience) {
	if (signal.aborted) throw broken(0, signal);
	return new Promise((resolve, reject) => {
		const xhr = new XMLHttpRequest();
		let timer;
		const wait = () => {
			clearTimeout(timer);
			if (patience) timer = setTimeout(() => xhr.abort(), patience * 1000);
		};
		xhr.open(method, url);
		for (const header of Object.entries(headers)) xhr.setRequestHeader(...header);
		xhr.upload.onprogress = event => {
			wait();
			progress(event.loaded, event.total);
		};
		xhr.onload = () => resolve(xhr);
		xhr.onerror = xhr.onabort = () => reject(broken(0, signal));
		const stop = () => xhr.abort();
		signal.addEventListener('abort', stop);
		xhr.onloadend = () => {
			clearTimeout(timer);
			signal.removeEventListener('abort', stop);
		};
		wait();
		xhr.send(body);
	});
}

// -- Uploads in pieces, which can be resumed.

// The offset of an upload and the maximum size of a piece; null if it is gone.
export async function offsetOf(id, signal) {
	const headers = await request('HEAD', `/uploads/${id}`, {signal, head: true, seconds: 10}).catch(error => {
		if (error.status === 404) return null;
		throw error;
	});
	return headers && {...progressIn(name => headers.get(name)), piece: Number(/max-append-size=(\d+)/.exec(headers.get('Upload-Limit'))?.[1])};
}

// Without an offset, the answer is not from the appliance.
function progressIn(header) {
	const offset = header('Upload-Offset');
	if (!/^\d{1,15}$/.test(offset)) throw new ApiError('odd', 200);
	return {offset: Number(offset), isComplete: header('Upload-Complete') === '?1'};
}

export const discard = (id, options) => request('DELETE', `/uploads/${id}`, {head: true, seconds: 5, ...options});

// Returns the new offset.
export async function sendPiece(id, file, from, to, signal, progress) {
	const signer = key;
	// The file was changed or removed after it was chosen.
	const piece = await file.slice(from, to).arrayBuffer().catch(() => {
		throw new ApiError('file');
	});
	const [url, headers] = await signed('PATCH', `/uploads/${id}`, {}, {piece}, signer).catch(error => {
		throw broken(error, signal);
	});
	const marks = {'Upload-Offset': from, 'Upload-Complete': to === file.size ? '?1' : '?0'};
	const xhr = await sent('PATCH', url, {...headers, ...marks}, piece, signal, progress, 60);
	if (xhr.status >= 300) throw refused(xhr, signer);
	return progressIn(name => xhr.getResponseHeader(name));
}

export function save(blob, name) {
	const link = document.createElement('a');
	link.href = URL.createObjectURL(blob);
	link.download = name;
	link.click();
	setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// Not with a link, so that no signature is in the browser's history, and errors can be explained.
export const download = (path, name, signal, progress) => get(path, {signal, seconds: 0, stream: async response => {
	const total = Number(response.headers.get('Content-Length'));
	const reader = response.body.getReader();
	let parts = [], held = 0, received = 0;
	for (;;) {
		const {done, value} = await reader.read();
		if (done) break;
		parts.push(value);
		received += value.length;
		held += value.length;
		progress(received, total);
		// The browser can move a Blob to disk, but not an array.
		if (held > 3e7) [parts, held] = [[new Blob(parts)], 0];
	}
	save(new Blob(parts), name);
	return received;
}});
