// The ways in: logging in, the first run, the token of a new appliance; and changing the token later.

import * as api from './api.js';
import {h, t, say, fill, card, field, form, tick, notice, fault, button, row, chars} from './ui.js';

const secret = (name, props) => field(name, {type: 'password', check: chars('!-~', 1), ...props});

function newToken(before, after, submit) {
	const token = secret('newToken', {autocomplete: 'new-password'});
	const again = secret('tokenAgain', {autocomplete: 'new-password', check: value => value === token.value ? '' : t('tokenDiffers')});
	const suggest = button('suggest', () => {
		token.input.value = again.input.value = api.hex(crypto.getRandomValues(new Uint8Array(12)));
		token.input.type = 'text';
	});
	return form([...before, token, row(suggest), again, ...after], 'setToken', async (values, out) => {
		await submit(values, out);
		token.input.value = again.input.value = '';
	});
}

// error: why a session ended, if one did.
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
			error && (error.loggedOut ? notice('good', 'loggedOut') : notice('warn', 'sessionEnded')),
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
				return;
			}
			await done();
		})), !passphrase && row(button('back', logIn)));
	}

	async function start() {
		if (error?.firstRun) return setUp('firstRun');
		logIn();
		// A stranger's request: its refusal says whether this is a first run.
		await api.get('/version', {key: null}).catch(refused => {
			if (refused.firstRun) setUp('firstRun');
			else if (refused.status !== 403) out.prepend(fault(refused), row(button('again', start)));
		});
	}
	queueMicrotask(start);
	return out;
}

export function token(view) {
	fill(view, card('changeToken', newToken([], [], async (values, out) => {
		await api.setToken(values.newToken);
		fill(out, notice('good', 'tokenChanged'));
	})));
}
