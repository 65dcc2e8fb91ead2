// Certificates.

import {get, find, post, pause, hex, save} from './api.js';
import {onTrial} from './app.js';
import {h, t, muted, fill, card, facts, field, form, tick, notice, live, focus, failed, row, link, ask, button, copyable, logView, date, duration, chars, may, guarded} from './ui.js';
import {follow, jobPanel} from './job.js';

const TRIAL_SECONDS = 300;

// Subject, names and dates, from the tags of the DER. Throws if it is not a certificate.
function readCertificate(pem) {
	const der = atob(/-----BEGIN CERTIFICATE-----([\w+/=\s]+)-----END CERTIFICATE-----/.exec(pem)[1].replace(/\s/g, ''));
	// Validity: two times, of 12 digits until 2049 and of 14 later.
	const [, from, to] = /\x30.((?:\x17\r\d{12}|\x18\x0f\d{14})Z)((?:\x17\r\d{12}|\x18\x0f\d{14})Z)/s.exec(der);
	const time = text => Date.parse((text[0] === '\x17' ? '20' : '').concat(text.slice(2)).replace(/^(....)(..)(..)(..)(..)/, '$1-$2-$3T$4:$5:'));
	// The first common name is the issuer's.
	const [, length, rest] = /\x06\x03\x55\x04\x03.(.)(.*)/s.exec(der) || ['', '\0', ''];
	const names = [];
	let [, list] = /\x06\x03\x55\x1d\x11(?:\x01\x01\xff)?\x04(?:[\0-\x7f]|\x81.|\x82..)\x30(?:[\0-\x7f]|\x81.|\x82..)(.*)/s.exec(der) || ['', ''];
	// 0x82 is a DNS name, 0x87 an address.
	for (; /^[\x81\x82\x86\x87][\0-\x7f]/.test(list); list = list.slice(2 + list.charCodeAt(1))) {
		const value = list.slice(2, 2 + list.charCodeAt(1));
		if (list[0] === '\x82') names.push(value);
		if (list[0] === '\x87') names.push(value.length === 4 ? Array.from(value, one => one.charCodeAt()).join('.') : plainHost(`[${value.match(/../gs).map(two => (two.charCodeAt() << 8 | two.charCodeAt(1)).toString(16)).join(':')}]`));
	}
	return {der, names, issuer: rest.slice(0, length.charCodeAt()), from: time(from), to: time(to)};
}

const plainHost = host => new URL(`http://${host}`).hostname.replace(/^\[|\]$/g, '');

function covers(names, host) {
	return names.some(name => name.toLowerCase() === host || name.startsWith('*.') && host.slice(host.indexOf('.')) === name.slice(1).toLowerCase());
}

// A file is read when it is chosen, because a check must answer at once.
function pemField(name, judge, extra) {
	let pem = '';
	const self = field(name, {type: 'file', check: () => judge(pem), onchange: async () => {
		pem = self.value ? await self.value.slice(0, 1e6).text() : '';
		self.pem = pem;
		if (pem) self.check();
		else self.fail('');
	}, ...extra});
	return self;
}

function judgeCertificate(pem) {
	try {
		readCertificate(pem);
		return '';
	} catch {
		return t(pem.includes('PRIVATE KEY') ? 'isKey' : 'needCert');
	}
}

const judgeKey = pem => pem.includes('ENCRYPTED') ? t('keyEncrypted') : /-----BEGIN (RSA |EC )?PRIVATE KEY-----/.test(pem) ? '' : t('needKey');

const day = ms => date(ms, {dateStyle: 'long'});

// What the appliance says of the certificate in force.
function inForce(one) {
	const days = one['days-left'];
	const text = value => value && String(value);
	return [facts([
		['certFor', Array.isArray(one.names) && one.names.join(', ')],
		['certBy', text(one.issuer)],
		['certFrom', one['not-before'] && day(Date.parse(one['not-before']))],
		['certTo', one['not-after'] && t('certDays', {date: day(Date.parse(one['not-after'])), days})],
		['SHA-256', one.sha256 && h('code', text(one.sha256))],
	]), one['self-signed'] && notice('info', 'certSelf'), one.served === false && notice('bad', 'aServed'), one.warning && notice(days < 8 ? 'bad' : 'warn', days < 0 ? 'aCertOver' : 'aCert', {days})];
}

export async function certs(view, redraw) {
	const status = await get('/certs');
	onTrial('certs', status);
	if (status.status === 'running') return job(0);
	const now = status.certificate && card('certNow', ...inForce(status.certificate));
	if (status.pending) return onTrialHere(status, now);
	const request = may('admin') && await find('/certs/csr', {text: true});
	const leaf = pemField('public', judgeCertificate);
	const trial = tick('trial', true, {time: duration(TRIAL_SECONDS)});
	fill(view, status.status === 'failed' && failed(status), now,
		card('newCerts', guarded('admin', () => form([leaf, pemField('private', judgeKey, request && {label: 'privateOrNot', optional: true}), pemField('ca', judgeCertificate, {optional: true}), trial], 'review', async (values, out) => {
			const {der, names, issuer, from, to} = readCertificate(leaf.pem);
			const print = hex(await crypto.subtle.digest('SHA-256', Uint8Array.from(der, one => one.charCodeAt())));
			if (!values.ca && print === String(status.certificate?.sha256).replaceAll(':', '').toLowerCase()) return fill(out, notice('info', 'certSame'));
			const faults = [
				to < Date.now() && notice('bad', 'certExpired'),
				from > Date.now() && notice('warn', 'certEarly'),
				!covers(names, plainHost(location.hostname)) && notice('warn', 'certNames', {host: location.hostname}),
				!trial.input.checked && notice('warn', 'noTrial'),
			];
			if (!await ask('applyAsk', 'apply', {}, false, facts([['certFor', names.join(', ') || '–'], ['certBy', issuer], ['certFrom', day(from)], ['certTo', day(to)]]), ...faults)) return;
			await post('/certs', {...values, confirm: trial.input.checked && String(TRIAL_SECONDS)}, {seconds: 60});
			await job(5000);
		}))),
		may('admin') && (request ? waiting(request) : asking()),
		card('lastChange', status.status === 'success' ? notice('good', 'done') : !status.status && muted('none'), logView(status.log).element));

	// A key that never leaves the appliance.
	function asking() {
		return card('csr', form([
		field('names', {value: location.hostname, check: chars('A-Za-z0-9.*:, -', 1, 4000)}),
		field('key', {label: 'keyKind', choices: [['ec', 'ECDSA P-256'], ['rsa', 'RSA 2048']]}),
	], 'csrMake', async values => {
		await post('/certs/csr', values, {text: true, seconds: 60});
		await redraw();
		focus(view.querySelector('.request'));
	}));
	}

	function waiting(text) {
		const one = card('csrWaits', copyable(text, 'pre'), row(button('csrSave', () => save(new Blob([text]), `${location.hostname.replace(/[^\w.-]/g, '-')}.csr`)),
			button('csrForget', async () => {
				if (!await ask('csrForgetAsk', 'csrForget', {}, true)) return;
				await post('/certs/csr', {action: 'FORGET'});
				await redraw();
			}, 'danger')));
		one.classList.add('request');
		return one;
	}

	// Not installed until it is confirmed.
	async function onTrialHere(first, card) {
		const isBack = first.pending['seconds-left'] === 0;
		const lost = live();
		fill(view, notice(isBack ? 'warn' : 'info', isBack ? 'reverting' : 'onTrial', {}, h('p', t('pendingNote'))), lost, card, logView(first.log).element);
		view.ariaBusy = null;
		await pause(1000);
		await follow('/certs', lost, answer => onTrial('certs', answer), 0, answer => !answer.pending || (answer.pending['seconds-left'] === 0) !== isBack);
		await redraw();
	}

	async function job(patience) {
		const panel = jobPanel('applying');
		const lost = live();
		const trust = notice('info', 'certsTrust', {}, row(link('home', '/', {target: '_blank'}), button('reload', () => location.reload())));
		trust.hidden = true;
		fill(view, h('section.card', panel.element, lost, trust));
		if (patience) focus(view.firstChild);
		// A browser lets no request through to a certificate that it does not trust.
		const slow = setTimeout(() => trust.hidden = !lost.firstChild, 6000);
		await follow('/certs', lost, panel.show, patience, answer => answer.pending || answer.status !== 'running').finally(() => clearTimeout(slow));
		await redraw();
	}
}
