// Texts in the visitor's language, and the parts of pages. Text is only set as text.

// Each language is one file. A line is a name, a space, a text, and optionally ` | ` and a second text.

export const LANGUAGES = {en: 'English', de: 'Deutsch'};
export let language;
let locale;
const words = new Map();

export async function speak(wish) {
	if (wish) localStorage.setItem('language', wish);
	language = [localStorage.getItem('language'), ...navigator.languages.map(tag => tag.slice(0, 2))].find(one => Object.keys(LANGUAGES).includes(one)) || 'en';
	locale = navigator.languages.find(tag => tag.startsWith(language)) || language;
	const {default: text} = await import(`/lang/${language}.js`);
	for (const line of text.split('\n')) words.set(line.split(' ', 1)[0], line.slice(line.indexOf(' ') + 1).split(' | '));
	document.documentElement.lang = language;
}

export const known = name => words.has(name);

const filled = (text, values = {}) => text.replace(/\{(\w+)\}/g, (_, value) => values[value]);
// other: if there is no such text.
export const t = (name, values, other) => known(name) ? filled(words.get(name)[0], values) : other;
const more = (name, values) => filled(words.get(name)?.[1] || '', values);

export const number = (value, digits = 0) => new Intl.NumberFormat(locale, {maximumFractionDigits: digits}).format(value);
export const date = (ms, style) => isNaN(ms) ? '?' : new Date(ms).toLocaleString(locale, style);

export function bytes(n) {
	let unit = 0;
	for (; n >= 1000 && unit < 4; unit++) n /= 1000;
	return `${number(n, unit && n < 100 ? 1 : 0)} ${['B', 'kB', 'MB', 'GB', 'TB'][unit]}`;
}

export function duration(seconds) {
	const s = Math.max(0, Math.round(seconds));
	return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min${s % 60 ? ` ${s % 60} s` : ''}`;
}

export const fill = (element, ...children) => element.replaceChildren(...children.flat().filter(child => child || child === 0));

// h('p.muted', {id: 'x'}, 'text', element)
export function h(tag, ...rest) {
	const [name, ...classes] = tag.split('.');
	const element = document.createElementNS(`http://www.w3.org/${/^(svg|path)$/.test(name) ? '2000/svg' : '1999/xhtml'}`, name);
	if (classes[0]) element.setAttribute('class', classes.join(' '));
	if (rest[0]?.constructor === Object) {
		for (const [key, value] of Object.entries(rest.shift())) {
			if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
			else if (key === 'value') element.value = value;
			else if (![null, undefined, false].includes(value)) element.setAttribute(key, value === true ? '' : value);
		}
	}
	fill(element, ...rest);
	return element;
}

let n_ids = 0;
const newId = () => `i${++n_ids}`;

export const say = (name, values) => h('p', t(name, values));
export const muted = (name, values) => h('p.muted', t(name, values));
export const row = (...children) => h('div.row', ...children);
export const link = (name, href, props) => h('a.button', {href, ...props}, t(name));

export function card(name, ...children) {
	const id = newId();
	return h('section.card', {'aria-labelledby': id}, h('h2', {id}, t(name)), more(name) && h('p', more(name)), ...children);
}

// A name without a text is shown as it is.
export const facts = (rows, prefix = '') => h('dl', rows.map(([name, value]) => value && h('div.fact', h('dt', known(prefix + name) ? t(prefix + name) : name), h('dd', value))));

// Screen readers announce its changes, if it exists before them.
export const live = (...children) => h('div', {'aria-live': 'polite'}, ...children);

// Moves the focus to what happens now.
export function focus(element) {
	element.tabIndex = -1;
	element.focus();
}

// A table; cards on narrow screens.
export const table = (name, columns, rows) => h('div.wide', {tabindex: 0, role: 'group', 'aria-label': t(name)}, h('table', h('thead', h('tr', columns.map(one => h('th', {scope: 'col'}, t(one))))),
	h('tbody', rows.map(cells => h('tr', cells.map((cell, i) => h('td', {'data-label': t(columns[i])}, cell)))))));

// kind: info, good, warn or bad. Only bad interrupts a screen reader; others need a live region, or the focus.
export const notice = (kind, name, values, ...children) => h(`div.notice.${kind}`, kind === 'bad' && {role: 'alert'},
	h('strong', t(name, values)), more(name) && h('p', more(name, values)), ...children);

// An error, and what to do about it.
export function fault(error, ...children) {
	const {kind, status, code, message, hint} = error;
	// Valid JSON of the wrong shape.
	if (!kind) console.warn(error);
	const name = !kind || kind === 'odd' ? 'errOdd' : known(`err_${kind}`) ? `err_${kind}` : known(code) ? code : status >= 502 ? 'errBusy' : known(`err${status}`) ? `err${status}` : 'errOther';
	return notice('bad', name, {}, kind && message && h('p', t('says'), ' ', h('q', message), code && ` (${code})`), hint && h('p', hint), ...children);
}

// The error in a status: the change had begun.
export const failed = (status, name = 'errFailed') => {
	const [code, message] = [status['error-code'], status['error-message']];
	return notice('bad', known(code) ? code : name, {}, message && h('p', t('says'), ' ', h('q', String(message)), code && ` (${code})`));
};

// What the token may do. Old servers do not tell, and refuse.
export const who = {scope: 'admin', name: ''};
export const SCOPES = ['read', 'operate', 'admin'];
export const may = needs => SCOPES.indexOf(who.scope) >= SCOPES.indexOf(needs);
// Shows the reason instead of what the token may not do.
export const guarded = (needs, make) => may(needs) ? make() : notice('info', 'mayNot', {...who, needs});

// Shows an error below itself.
export function button(name, act, kind = '') {
	const out = h('div');
	const self = h('button', {type: 'button', class: kind, onclick: async () => {
		if (self.ariaBusy) return;
		self.ariaBusy = true;
		out.remove();
		try {
			await act();
		} catch (error) {
			if (error.kind === 'cancelled') return;
			fill(out, fault(error));
			self.parentElement.after(out);
		} finally {
			self.ariaBusy = null;
		}
	}}, t(name));
	return self;
}

// check(value) returns an error text, or nothing.
export function field(name, {label = name, type = 'text', value = '', check = () => '', optional, choices, trimmed, ...attributes} = {}) {
	const id = newId();
	const wrong = h('p.fault', {id: `${id}f`});
	const props = {id, name, value, autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', 'aria-describedby': `${id}f ${id}h`, ...attributes};
	const input = choices ? h('select', props, choices.map(([choice, text]) => h('option', {value: choice, selected: choice === value}, text))) : type === 'textarea' ? h(type, props) : h('input', {type, ...props});
	const self = {
		name,
		input,
		element: h('div.field', h('label', {for: id}, t(label), optional && h('small', ` (${t('optional')})`)), h('p.muted', {id: `${id}h`}, more(label)),
			type === 'password' ? h('div.reveal', input, reveal(input)) : input, wrong),
		get value() {
			return type === 'file' ? input.files[0] : type === 'text' || trimmed ? input.value.trim() : input.value;
		},
		fail(text, isQuiet) {
			wrong.textContent = text;
			input.ariaInvalid = Boolean(text);
			if (text && !isQuiet) input.focus();
		},
		check(isQuiet) {
			const text = self.value ? check(self.value) : optional ? '' : t('need');
			self.fail(text, isQuiet);
			return !text;
		},
	};
	// Remove an error that is fixed.
	input.addEventListener('input', () => wrong.textContent && self.check(true));
	return self;
}

// A text with a button to copy it.
export function copyable(text, kind = 'code.secret') {
	const self = button('copy', async () => {
		await navigator.clipboard.writeText(text);
		self.textContent = t('copied');
	});
	return row(h(kind, text), self);
}

function reveal(input) {
	const self = button('show', () => {
		const isHidden = input.type === 'password';
		input.type = isHidden ? 'text' : 'password';
		self.textContent = t(isHidden ? 'hide' : 'show');
	}, 'quiet');
	return self;
}

export function tick(name, checked, values) {
	const input = h('input', {type: 'checkbox', checked});
	return {input, element: h('label.tick', input, h('span', t(name), h('small', more(name, values))))};
}

// Fields, groups of them ({element, fields}) and elements, then the button. Errors of submit are shown at their field.
export function form(parts, action, submit) {
	const out = live();
	const self = h('form', {novalidate: true, onsubmit: async event => {
		event.preventDefault();
		if (self.ariaBusy) return;
		out.replaceChildren();
		const used = parts.flatMap(part => part.fields || part).filter(part => part.check && !part.input.closest('[hidden]'));
		// Backwards, so that the first error gets the focus.
		if (used.toReversed().filter(one => !one.check()).length) return;
		self.ariaBusy = true;
		try {
			await submit(Object.fromEntries(used.map(one => [one.name, one.value])), out);
		} catch (error) {
			const at = error.kind === 'http' && used.find(({name}) => name === error.field || error.message.includes(`option: ${name}.`));
			if (at) at.fail(error.message);
			else if (error.kind !== 'cancelled') fill(out, fault(error));
		} finally {
			self.ariaBusy = null;
		}
	}}, parts.map(part => part.element ?? part), out, row(h('button.primary', t(action))));
	return self;
}

// Asks first.
// isDanger: cannot be undone, or disconnects people.
export function ask(name, yes, values, isDanger, ...children) {
	return new Promise(resolve => {
		const id = newId();
		const no = button('cancel', () => dialog.close());
		const dialog = h('dialog', {'aria-labelledby': id, onclose: () => {
			resolve(dialog.returnValue === 'yes');
			dialog.remove();
		}}, h('h2', {id}, t(name, values)), ...children, more(name) && h('p', more(name, values)), row(button(yes, () => dialog.close('yes'), isDanger ? 'danger' : 'primary'), no));
		document.body.append(dialog);
		dialog.showModal();
		no.focus();
	});
}

export function progress(label) {
	const id = newId();
	const bar = h('progress', {max: 1, 'aria-labelledby': id});
	const text = h('span.muted');
	return {
		element: h('div', h('div.ends', h('span', {id}, label), text), bar),
		// null: unknown.
		set(part, words = '') {
			if (part === null) bar.removeAttribute('value');
			else bar.value = part;
			text.textContent = words;
		},
	};
}

// Lines of the form [time][TYPE] text get a readable time.
export function logView(text) {
	const list = h('ol');
	const element = h('div.log', {tabindex: 0, role: 'group', 'aria-label': t('log')}, list);
	let seen = [];
	const self = {
		element,
		// The API shows the last ten lines; add the new ones.
		add(tail) {
			const lines = (tail || '').split('\n').filter(Boolean);
			let n = Math.min(lines.length, seen.length);
			while (n && !lines.slice(0, n).every((one, i) => one === seen[seen.length - n + i])) n--;
			list.append(...lines.slice(n).map(raw => {
				const [, time, rest = raw] = /^\[(\d{9,11})\](?:\[[^\]]*\])?\s*(.*)$/.exec(raw) || [];
				return h('li', time && h('time', date(time * 1000, {dateStyle: 'short', timeStyle: 'medium'})), rest);
			}));
			seen = [...seen, ...lines.slice(n)].slice(-10);
			element.hidden = !list.firstChild;
			element.scrollTop = 1e9;
		},
		set(text) {
			seen = [];
			fill(list);
			self.add(text);
		},
		last: () => list.lastChild?.lastChild.data || '',
	};
	self.add(text);
	return self;
}

// What the API accepts, checked before it is sent.

export function isIP(text) {
	if (/^\d+(\.\d+){3}$/.test(text)) return text.split('.').every(part => part <= 255 && part.length < 4);
	return /^[0-9a-f:.]*:[0-9a-f:.]*$/i.test(text) && URL.canParse(`http://[${text}]/`);
}

// A text of these characters.
export const chars = (set, min = 3, max = 255) => value => {
	if (!new RegExp(`^[${set}]*$`).test(value)) return t('needOnly', {set: set.replace(/(\w)-(\w)/g, '$1–$2 ').replace('!-~', 'ASCII 33–126')});
	return value.length < min || value.length > max ? t('needLength', {min, max}) : '';
};

export const ip = value => isIP(value) ? '' : t('needIP');

export function netmask(value) {
	if (/^\/?\d{1,3}$/.test(value)) return value.replace('/', '') <= 128 ? '' : t('needMask');
	const bits = value.split('.').map(part => Number(part).toString(2).padStart(8, '0')).join('');
	return isIP(value) && (value.includes(':') || /^1*0*$/.test(bits)) ? '' : t('needMask');
}
