// Tokens: whose this session is, the API token, and those with a name.

import {get, post, setToken} from './api.js';
import {offers} from './app.js';
import {newToken} from './login.js';
import {h, t, muted, fill, card, facts, field, form, notice, button, row, ask, copyable, focus, table, date, chars, guarded, SCOPES} from './ui.js';

const scope = name => t(`scope_${name}`, {}, String(name));
const when = end => end ? date(typeof end === 'number' ? end * 1000 : Date.parse(end), {dateStyle: 'long'}) : t('never');

export async function tokens(view, redraw) {
	const {you, tokens: all} = offers('tokens') ? await get('/tokens') : {};
	const again = async (name, values) => {
		await redraw();
		view.prepend(notice('good', name, values));
		focus(view.firstChild);
	};
	fill(view, you && card('you', facts([['tokenName', String(you.name)], ['scope', scope(you.scope)]])),
		Array.isArray(all) && named(all, again),
		card('changeToken', guarded('admin', () => newToken([], [], async values => {
			await setToken(values.newToken);
			return true;
		}, () => again('tokenChanged')))));
}

function named(all, again) {
	const rows = all.map(one => [String(one.name), scope(one.scope), when(one.expires), button('remove', async () => {
		if (!await ask('removeAsk', 'remove', {name: one.name}, true)) return;
		await post('/tokens/remove', {name: String(one.name)});
		await again('removed', {name: one.name});
	}, 'danger')]);
	const add = form([
		field('name', {label: 'tokenName', check: chars('A-Za-z0-9_-', 1, 32)}),
		field('scope', {choices: SCOPES.map(name => [name, scope(name)]), value: SCOPES[0]}),
		field('days', {type: 'number', min: 1, optional: true, check: value => value > 0 && value % 1 === 0 ? '' : t('needDays')}),
	], 'makeToken', async values => {
		const {token: secret} = await post('/tokens', values);
		const stored = button('tokenStored', () => again('tokenMade', values), 'primary');
		add.replaceWith(notice('warn', 'storeToken', {}, copyable(String(secret)), row(stored)));
		stored.focus();
	});
	return h('div', card('named', rows[0] ? table('named', ['tokenName', 'scope', 'ends', 'action'], rows) : muted('none')), card('newNamed', add));
}
