// Log in, first run, the token of a new appliance, and the page with tokens.

import * as api from './api.js';
import {h, t, say, muted, fill, card, facts, field, form, tick, notice, fault, button, row, ask, copyable, focus, table, date, chars, guarded, SCOPES} from './ui.js';

const SHORTEST = 16;

// Without pasted spaces.
const secret = (name, props) => field(name, {type: 'password', trimmed: true, check: chars('!-~', 1), ...props});
const strong = value => value.length < SHORTEST ? t('needLonger', {min: SHORTEST}) : chars('!-~', SHORTEST)(value);

// submit(values, out) returns whether the token is in use; then next(). A generated token stays on the screen until the
// visitor has stored it.
function newToken(before, after, submit, next) {
	const token = secret('newToken', {autocomplete: 'new-password', check: strong});
	const again = secret('tokenAgain', {autocomplete: 'new-password', check: value => value === token.value ? '' : t('tokenDiffers')});
	const made = h('div');
	let generated;
	const suggest = button('suggest', () => {
		generated = api.hex(crypto.getRandomValues(new Uint8Array(12)));
		token.input.value = again.input.value = generated;
		for (const one of [token, again]) one.fail('');
		fill(made, copyable(generated));
	});
	const self = form([...before, token, row(suggest), made, again, ...after], 'setToken', async (values, out) => {
		if (!await submit(values, out)) return;
		const isMade = values.newToken === generated;
		token.input.value = again.input.value = '';
		fill(made);
		if (!isMade) return next();
		const kept = button('tokenStored', next, 'primary');
		const told = notice('warn', 'storeToken', {}, copyable(values.newToken), row(kept));
		self.replaceWith(told);
		kept.focus();
	});
	return self;
}

// error: why the session ended.
export function entry(done, error) {
	const out = h('div.entry');
	const stay = tick('stay');
	const show = (...children) => {
		fill(out, ...children);
		out.querySelector('input')?.focus();
	};

	function logIn() {
		const token = secret('token', {autocomplete: 'current-password'});
		show(h('h1', t('logIn')),
			error && (error.loggedOut ? notice('good', 'loggedOut') : notice('warn', error.idle ? 'idle' : 'sessionEnded')),
			form([token, stay], 'logIn', async ({token: value}) => {
				token.input.value = '';
				try {
					await api.logIn(value, stay.input.checked);
				} catch (refused) {
					if (refused.firstRun) setUp('firstRun');
					else if (refused.isStranger) token.fail(t('tokenWrong'));
					else throw refused;
					return;
				}
				await done();
			}),
			h('details', h('summary', t('noToken')), say('noTokenDo'), row(button('isNew', () => setUp('newBox')))));
	}

	function setUp(kind) {
		const passphrase = kind === 'firstRun' && secret('passphrase');
		show(h('h1', t('setToken')), card(kind, newToken(passphrase ? [passphrase] : [], [stay], async (values, told) => {
			try {
				await api.setToken(values.newToken, passphrase ? values.passphrase : null, stay.input.checked);
			} catch (refused) {
				if (refused.status !== 403) throw refused;
				if (passphrase) passphrase.fail(t('passphraseWrong'));
				else fill(told, notice('bad', 'alreadySet'));
				return false;
			}
			return true;
		}, done)), !passphrase && row(button('back', logIn)));
	}

	async function start() {
		if (error?.firstRun) return setUp('firstRun');
		logIn();
		// An unauthorized request: the refusal says whether this is a first run.
		await api.get('/version', {key: null}).catch(refused => {
			if (refused.firstRun) setUp('firstRun');
			else if (refused.status !== 403) out.prepend(fault(refused), row(button('again', start)));
		});
	}
	queueMicrotask(start);
	return out;
}

// -- Tokens: the one in use, named tokens, and the API token.

const scope = name => t(`scope_${name}`, {}, String(name));
const when = end => end ? date(typeof end === 'number' ? end * 1000 : Date.parse(end), {dateStyle: 'long'}) : t('never');

export async function tokens(view, redraw) {
	const {you, tokens: all} = await api.find('/tokens') || {};
	const again = async (name, values) => {
		await redraw();
		view.prepend(notice('good', name, values));
		focus(view.firstChild);
	};
	fill(view, you && card('you', facts([['tokenName', String(you.name)], ['scope', scope(you.scope)]])),
		Array.isArray(all) && named(all, again),
		card('changeToken', guarded('admin', () => newToken([], [], async values => {
			await api.setToken(values.newToken);
			return true;
		}, () => again('tokenChanged')))));
}

function named(all, again) {
	const rows = all.map(one => [String(one.name), scope(one.scope), when(one.expires), button('remove', async () => {
		if (!await ask('removeAsk', 'remove', {name: one.name}, true)) return;
		await api.post('/tokens/remove', {name: String(one.name)});
		await again('removed', {name: one.name});
	}, 'danger')]);
	const add = form([
		field('name', {label: 'tokenName', check: chars('A-Za-z0-9_-', 1, 32)}),
		field('scope', {choices: SCOPES.map(name => [name, scope(name)]), value: SCOPES[0]}),
		field('days', {type: 'number', min: 1, optional: true, check: value => value > 0 && value % 1 === 0 ? '' : t('needDays')}),
	], 'makeToken', async values => {
		const {token: secret} = await api.post('/tokens', values);
		const stored = button('tokenStored', () => again('tokenMade', values), 'primary');
		add.replaceWith(notice('warn', 'storeToken', {}, copyable(String(secret)), row(stored)));
		stored.focus();
	});
	return h('div', card('named', rows[0] ? table('named', ['tokenName', 'scope', 'ends', 'action'], rows) : muted('none')), card('newNamed', add));
}
