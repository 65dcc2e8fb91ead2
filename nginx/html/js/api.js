// The only place that talks to the appliance.

const PREFIX = '/api/v1/admin';
const ascii = text => new TextEncoder().encode(text);
const base64 = buffer => btoa(String.fromCharCode(...new Uint8Array(buffer)));
export const hex = buffer => Array.from(new Uint8Array(buffer), byte => byte.toString(16).padStart(2, '0')).join('');

// An answer that is no success, or none. kind: 'http', 'network' (no answer) or 'cancelled'.
export class ApiError extends Error {
	constructor(kind, status = 0, body = {}) {
		super(body['Error-Message'] || '');
		Object.assign(this, {kind, status, code: body['Error-Code'], field: body.Field, hint: body.Hint, firstRun: body['First-Run'] === true});
		// Who may not do everything, or has signed at a wrong time, is none.
		this.isStranger = status === 403 && /^Auth/.test(this.message) && /known key/.test(this.hint || 'known key');
	}
}

// The key signs and cannot be read back, not by us either.
let key = null;
let stays = false;
const tabs = new BroadcastChannel('session');
// ended(error): the key is gone.
export const session = {};

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

async function hold(newKey, stay) {
	[key, stays] = [newKey, stay];
	// A browser that keeps nothing still logs in, for this tab.
	await stored('readwrite', keys => stay ? keys.put(key, 'key') : keys.delete('key')).catch(() => {});
}

export const isLoggedIn = () => key !== null;

export async function resume() {
	key = await stored('readonly', keys => keys.get('key')).catch(() => null) || null;
	stays = isLoggedIn();
}

export async function logIn(token, stay) {
	const candidate = await keyOf(token);
	await get('/endpoints', {key: candidate});
	await hold(candidate, stay);
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
	if (!key) return;
	if (data) key = data;
	else forget({loggedOut: true});
};

// Unless told otherwise a request belongs to the visit of a page, and ends with it.
let visit = new AbortController();

export function leave() {
	visit.abort();
	visit = new AbortController();
}

export const pause = (ms, {signal} = visit) => new Promise((resolve, reject) => {
	setTimeout(resolve, ms);
	signal.addEventListener('abort', () => reject(new ApiError('cancelled')));
});

// Seconds by which the appliance's clock is before ours; it may be in 1970.
let ahead = 0;

// A request's address and headers: good for once, for it and all that is in it (RFC 9421).
async function signed(method, path, query, fields, signer) {
	const params = new URLSearchParams(query);
	const mac = text => crypto.subtle.sign('HMAC', signer, ascii(text));
	const headers = {};
	// WebCrypto wants all of a file in memory; one that is too large is not covered.
	if (fields.some(([, {size}]) => size > 3e8)) params.set('hash', hex(await mac(method + PREFIX + path)));
	else if (signer) {
		const parts = (await Promise.all(fields.map(async ([name, value]) => `${name}=:${base64(await crypto.subtle.digest('SHA-256', await new Blob([value]).arrayBuffer()))}:`))).join(', ');
		if (parts) headers['Part-Digest'] = parts;
		const input = `("@method" "@path" "@query"${parts && ' "part-digest"'});created=${Math.floor(Date.now() / 1000) + ahead};nonce="${crypto.randomUUID()}"`;
		headers['Signature-Input'] = `s=${input}`;
		headers.Signature = `s=:${base64(await mac(`"@method": ${method}\n"@path": ${PREFIX}${path}\n"@query": ?${params}\n${parts && `"part-digest": ${parts}\n`}"@signature-params": ${input}`))}:`;
	}
	return [`${PREFIX}${path}?${params}`, headers];
}

// A web server may replace the body; the header stays.
function refusal(status, text, header, signer) {
	let body = {'Error-Message': header};
	try {
		body = JSON.parse(text);
	} catch {}
	const error = new ApiError('http', status, body);
	if (error.isStranger && signer && signer === key) forget(error);
	return error;
}

const broken = (error, signal) => error instanceof ApiError ? error : new ApiError(signal.aborted ? 'cancelled' : 'network');

async function request(method, path, options = {}) {
	const {query, fields = [], seconds = 20, signal = visit.signal, key: signer = key, text, read = response => text ? response.text() : response.json()} = options;
	const stop = new AbortController();
	const abort = () => stop.abort();
	const timer = seconds && setTimeout(abort, seconds * 1000);
	signal.addEventListener('abort', abort);
	try {
		const [url, headers] = await signed(method, path, query, fields, signer);
		if (signal.aborted) abort();
		const response = await fetch(url, {method, headers, body: formOf(fields), signal: stop.signal, cache: 'no-store', credentials: 'omit'});
		// The time is for an answer to begin.
		clearTimeout(timer);
		const before = ahead;
		ahead = Math.round((Date.parse(response.headers.get('Date')) - Date.now()) / 1000) || 0;
		// Signed at a wrong time.
		if (response.status === 403 && signer && Math.abs(ahead - before) > 200) return await request(method, path, options);
		if (!response.ok) throw refusal(response.status, await response.text(), response.headers.get('Error-Message'), signer);
		return await read(response);
	} catch (error) {
		throw broken(error, signal);
	}
}

// Busy: asked for again.
export async function get(path, options) {
	for (let n = 0; ; n++) {
		try {
			return await request('GET', path, options);
		} catch (error) {
			if (n >= (error.code === 'E1004' ? 20 : error.status > 501 ? 2 : 0)) throw error;
			await pause(500);
		}
	}
}

// null: no such thing.
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

// fetch cannot tell how much it has sent.
export async function upload(path, fields, signal, progress) {
	const [signer, all] = [key, filledIn(fields)];
	const [url, headers] = await signed('POST', path, {}, all, signer).catch(error => {
		throw broken(error, signal);
	});
	if (signal.aborted) throw broken(0, signal);
	return new Promise((resolve, reject) => {
		const xhr = new XMLHttpRequest();
		xhr.open('POST', url);
		for (const header of Object.entries(headers)) xhr.setRequestHeader(...header);
		xhr.upload.onprogress = event => progress(event.loaded, event.total);
		xhr.onload = () => xhr.status < 300 ? resolve(JSON.parse(xhr.responseText)) : reject(refusal(xhr.status, xhr.responseText, xhr.getResponseHeader('Error-Message'), signer));
		xhr.onerror = xhr.onabort = () => reject(broken(0, signal));
		signal.addEventListener('abort', () => xhr.abort());
		xhr.send(formOf(all));
	});
}

// Not by a link: no signature stays in the browser's history, and a fault is told in words.
export const download = (path, name, signal, progress) => get(path, {signal, seconds: 0, read: async response => {
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
		// The browser may move a Blob to disk, never an array.
		if (held > 3e7) [parts, held] = [[new Blob(parts)], 0];
	}
	const link = document.createElement('a');
	link.href = URL.createObjectURL(new Blob(parts));
	link.download = name;
	link.click();
	setTimeout(() => URL.revokeObjectURL(link.href), 60000);
	return received;
}});
