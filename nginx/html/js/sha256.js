// SHA-256 of a file of any size, piece by piece: WebCrypto wants all of it in memory.

const primes = Array.from({length: 312}, (_, n) => n).filter(n => n > 1 && !Array.from({length: n}, (_, i) => i).some(i => i > 1 && n % i === 0)).slice(0, 64);
const fraction = value => (value - Math.floor(value)) * 2 ** 32 | 0;
const K = Int32Array.from(primes, n => fraction(Math.cbrt(n)));

function block(state, bytes, at, w) {
	for (let i = 0; i < 16; i++, at += 4) w[i] = bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3];
	for (let i = 16; i < 64; i++) {
		const x = w[i - 15], y = w[i - 2];
		w[i] = w[i - 16] + w[i - 7] + ((x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3) + ((y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10) | 0;
	}
	let a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
	for (let i = 0; i < 64; i++) {
		const one = h + ((e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7)) + (e & f ^ ~e & g) + K[i] + w[i] | 0;
		const two = ((a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10)) + (a & b ^ a & c ^ b & c) | 0;
		h = g;
		g = f;
		f = e;
		e = d + one | 0;
		d = c;
		c = b;
		b = a;
		a = one + two | 0;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
	state[5] += f;
	state[6] += g;
	state[7] += h;
}

// The digest as bytes. progress(read, size) after each piece; stops when the signal says so.
export async function sha256(blob, progress = () => {}, signal) {
	const state = Int32Array.from(primes.slice(0, 8), n => fraction(Math.sqrt(n)));
	const w = new Int32Array(64);
	const rest = new Uint8Array(128);
	let held = 0, read = 0;
	const PIECE = 4 << 20;
	for (let from = 0; from < blob.size; from += PIECE) {
		signal?.throwIfAborted();
		const bytes = new Uint8Array(await blob.slice(from, from + PIECE).arrayBuffer());
		// Pieces are whole blocks, but for the last one.
		const whole = bytes.length - bytes.length % 64;
		for (let at = 0; at < whole; at += 64) block(state, bytes, at, w);
		held = bytes.length - whole;
		rest.set(bytes.subarray(whole));
		read += bytes.length;
		progress(read, blob.size);
	}
	rest[held] = 0x80;
	const end = held < 56 ? 64 : 128;
	new DataView(rest.buffer).setBigUint64(end - 8, BigInt(read) * 8n);
	for (let at = 0; at < end; at += 64) block(state, rest, at, w);
	const digest = new DataView(new ArrayBuffer(32));
	state.forEach((word, i) => digest.setInt32(4 * i, word));
	return digest.buffer;
}
