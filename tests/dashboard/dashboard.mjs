// What a person does with the dashboard and what they see, in Chromium. One line a test, the count at the end.

import assert from 'node:assert/strict';
import {createHash, createHmac} from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import {createRequire} from 'node:module';
import {chromium} from 'playwright-core';
import {World, ROOT, TOKEN, MAX_BODY, HOSTILE, until} from './world.mjs';
import {Firefox} from './firefox.mjs';

const HTML = path.join(ROOT, 'nginx/dashboard');
const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const FLAGS = '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync';
// Bytes: of all sources, and of what comes over the wire for the first view in one language.
const LIMIT = 200_000, FIRST_LIMIT = 60_000;
// What stands for a token: the key of its tags, and the verifier of a named one.
const keyOf = token => createHash('sha256').update(token).digest('hex');

const [words, pictures] = [process.argv.slice(2).filter(word => word !== '--pictures'), process.argv.includes('--pictures')];
const wanted = name => !words.length || words.some(word => name.includes(word));

// Longer than any test takes, on a slow machine too.
const DEADLINE = 60;
const launch = () => chromium.launch({executablePath: '/usr/bin/chromium', args: [...FLAGS.split(' '), '--host-resolver-rules=MAP *.test 127.0.0.1, MAP 192.0.2.21 127.0.0.1']});
// Resolves to undefined when the time is over, which what it waits for may never be.
const within = (seconds, promise) => Promise.race([promise, new Promise(resolve => setTimeout(resolve, seconds * 1000))]);

let browser = await launch();
const facts = [];
let passed = 0, failed = 0;

// A browser that no longer answers is not a page that is wrong: it is replaced, and the test made once more.
async function test(name, act, isLast) {
	if (!wanted(name)) return;
	const began = Date.now();
	try {
		if (await within(DEADLINE, act().then(() => true))) passed++;
		else if (isLast) throw new Error(`not done in ${DEADLINE} s, twice`);
		else {
			facts.push(`made twice, because nothing happened for ${DEADLINE} s: ${name}`);
			const text = await within(5, Promise.all(browser.contexts().flatMap(context => context.pages()).map(page => page.innerText('body').catch(() => ''))));
			console.log(`late    ${name}: ${JSON.stringify(text)}`);
			await within(10, browser.close());
			browser = await launch();
			return await test(name, act, true);
		}
		console.log(`ok      ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
	} catch (error) {
		// Nor is one that gives up a request of its own, as it does after a few attempts on a machine that has other work.
		if (!isLast && /ERR_TOO_MANY_RETRIES/.test(error)) {
			facts.push(`made twice, because the browser gave up a request: ${name}`);
			for (const context of browser.contexts()) await within(10, context.close().catch(() => {}));
			return await test(name, act, true);
		}
		failed++;
		console.log(`FAILED  ${name}\n${String(error.stack).replace(/^/gm, '        ')}`);
		for (const page of browser.contexts().flatMap(context => context.pages())) {
			const text = await within(5, page.innerText('body').catch(() => ''));
			console.log(`        ${page.url()}: ${JSON.stringify(text)}`);
		}
	} finally {
		// A browser that died cannot close anything, and the next test gets another one.
		for (const context of browser.contexts()) await within(10, context.close().catch(() => {}));
		if (!browser.isConnected()) browser = await launch();
	}
}

// -- What all pages have in common: nothing is executed that is not ours, nothing is thrown, nothing is fetched from elsewhere.

const allowed = new Set();

// installs: presses Install where a package is shown.
async function visitor(world, {token = TOKEN, at = 'home', installs = true, ...options} = {}) {
	const context = await browser.newContext({ignoreHTTPSErrors: true, locale: 'en-GB', viewport: {width: 1100, height: 800}, acceptDownloads: true, ...options});
	context.setDefaultTimeout(15_000);
	const faults = [];
	await context.addInitScript(() => addEventListener('securitypolicyviolation', event => console.error(`CSP ${event.violatedDirective} ${event.blockedURI}`)));
	if (installs) await context.addInitScript(() => new MutationObserver(() => document.querySelector('dialog:has(.package) .primary')?.click()).observe(document, {childList: true, subtree: true}));
	const watch = page => {
		page.on('console', message => {
			if (message.text().startsWith('CSP') || message.type() === 'error' && !message.text().startsWith('Failed to load resource')) faults.push(message.text());
		});
		page.on('pageerror', error => faults.push(`thrown: ${error.stack}`));
		page.on('dialog', dialog => dialog.type() === 'beforeunload' ? dialog.accept() : faults.push(`dialog: ${dialog.message()}`));
		page.on('request', request => {
			if (!/^(blob:|data:)/.test(request.url()) && new URL(request.url()).origin !== world.url && !allowed.has(request.url())) faults.push(`request to ${request.url()}`);
		});
	};
	context.on('page', watch);
	const page = await context.newPage();
	const self = {
		context,
		page,
		see: (text, options) => page.getByText(text, options).first().waitFor({timeout: 60_000, ...options}),
		card: title => page.locator('.card').filter({has: page.getByRole('heading', {name: title, exact: true})}),
		file: label => page.locator('input[type=file]').and(page.getByLabel(label)),
		press: name => page.getByRole('button', {name, exact: true}).click(),
		async go(name) {
			await page.goto(`${world.url}/#/${name}`);
			await page.locator('.page:not([aria-busy])').waitFor();
		},
		// Those that this appliance offers, in the order of the menu.
		async pages() {
			await page.getByRole('heading', {level: 1}).and(page.locator('[tabindex]')).waitFor();
			return page.locator('nav a').evaluateAll(links => links.map(link => link.hash.slice(2)));
		},
		async logIn(secret = TOKEN) {
			await page.goto(`${world.url}/`);
			await page.getByLabel('Token', {exact: true}).fill(secret);
			await self.press('Log in');
		},
		async end() {
			await context.close();
			assert.deepEqual(faults, []);
		},
	};
	if (token) {
		await self.logIn(token);
		await page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
		if (at !== 'home') await self.go(at);
	}
	return self;
}

const picture = async (page, name, options) => pictures && page.screenshot({path: path.join(process.env.PICTURES || '/tmp', `${name}.png`), ...options});

async function axe(context, page) {
	// By the debugger, because the page's own policy lets nobody add a script.
	const session = await context.newCDPSession(page);
	await session.send('Runtime.evaluate', {expression: AXE});
	const {result} = await session.send('Runtime.evaluate', {expression: 'axe.run().then(({violations}) => JSON.stringify(violations.map(({id, nodes}) => `${id}: ${nodes.map(node => node.html.slice(0, 200))}`)))', awaitPromise: true, returnByValue: true});
	await session.detach();
	return JSON.parse(result.value);
}

const files = directory => fs.readdirSync(directory, {withFileTypes: true}).flatMap(one => one.isDirectory() ? files(path.join(directory, one.name)) : path.join(directory, one.name));
const texts = language => new Map(/`([^]*)`/.exec(fs.readFileSync(path.join(HTML, 'lang', `${language}.js`), 'utf8'))[1].split('\n').map(line => [line.split(' ', 1)[0], line]));
const placeholders = line => (line.match(/\{\w+\}/g) || []).sort().join();

// -- The files

await test('all files together are smaller than the limit', async () => {
	const size = files(HTML).reduce((sum, file) => sum + fs.statSync(file).size, 0);
	facts.push(`size of all files: ${size} bytes`);
	assert.ok(size < LIMIT, `${size} bytes`);
});

await test('no file can make text into markup or fetch from elsewhere', async () => {
	for (const file of files(HTML)) {
		const text = fs.readFileSync(file, 'utf8').replace('http://www.w3.org/2000/svg', '');
		assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|DOMParser|srcdoc/, file);
		assert.doesNotMatch(text, /(src|href)="?(https?:)?\/\/|url\(|@import|document\.cookie|sessionStorage/, file);
		assert.doesNotMatch(text, /<script>|<style|\sstyle=|\son\w+="/, file);
	}
});

await test('all languages have the same texts with the same values in them', async () => {
	const english = texts('en');
	for (const language of ['de']) {
		const other = texts(language);
		assert.deepEqual([...other.keys()], [...english.keys()], language);
		for (const [name, line] of english) {
			assert.equal(placeholders(other.get(name)), placeholders(line), `${language}: ${name}`);
			assert.equal(other.get(name).includes(' | '), line.includes(' | '), `${language}: ${name}`);
		}
	}
});

await test('every text that is named exists, and none is left over', async () => {
	const code = files(path.join(HTML, 'js')).map(file => fs.readFileSync(file, 'utf8')).join('\n');
	const english = texts('en');
	const named = new Set([...code.matchAll(/['`]([A-Za-z][\w ]*)['`]/g)].flatMap(([, names]) => names.split(' ')).concat([...code.matchAll(/\b([a-z_]+): (?:\{|chars|path)|, (ip)[,}]/g)].map(([, a, b]) => a || b)));
	const made = /^(E1\d\d\d|err\w+|range_..|license_\w+|stage_\w+|job_\w+|scope_\w+)$/;
	assert.deepEqual([...english.keys()].filter(name => !named.has(name) && !made.test(name)), []);
	for (const [, name] of code.matchAll(/\b(?:t|say|muted|card|link|button|filled|jobPanel)\('(\w+)'/g)) assert.ok(english.has(name), name);
});

async function freePort() {
	const server = net.createServer().listen(0, '127.0.0.1');
	await new Promise(resolve => server.on('listening', resolve));
	const {port} = server.address();
	await new Promise(resolve => server.close(resolve));
	return port;
}

// A cable to a web server that can be cut and be mended.
async function cableTo(port) {
	const ends = new Set();
	let isCut = false;
	const server = net.createServer(client => {
		if (isCut) {
			client.destroy();
			return;
		}
		const far = net.connect(port, '127.0.0.1');
		for (const end of [client, far]) {
			ends.add(end);
			end.on('error', () => {}).on('close', () => {
				client.destroy();
				far.destroy();
			});
		}
		far.pipe(client).pipe(far);
	});
	await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
	return {
		url: `https://localhost:${server.address().port}`,
		cut() {
			isCut = true;
			for (const end of ends) end.resetAndDestroy();
		},
		mend() {
			isCut = false;
		},
		end() {
			this.cut();
			server.close();
		},
	};
}

// How fast a page may send, in bytes a second. It is the browser that holds back: from a slow cable the kernel takes up
// to 36 MB (tcp_rmem, tcp_wmem), and then all is sent as far as a page can know.
async function sendingAt(rate, one) {
	one.debugger ||= await one.context.newCDPSession(one.page);
	await one.debugger.send('Network.enable');
	await one.debugger.send('Network.emulateNetworkConditions', {offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: rate});
}

// With these, 8 MB take longer than any test, nothing comes after the first block, and a piece takes a second.
const SLOW = 8_000_000 / (2 * DEADLINE), STALLED = 1, MODERATE = 1_000_000, FULL = -1;

// -- Without WebCrypto

// The files, on a port of their own. A page from localhost is as good as one over TLS.
async function served(act) {
	const types = {'.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json'};
	const server = http.createServer((request, response) => {
		const file = path.join(HTML, request.url === '/' ? 'index.html' : request.url);
		const found = fs.existsSync(file);
		response.writeHead(found ? 200 : 404, {'Content-Type': types[path.extname(file)] || 'text/plain'});
		response.end(found ? fs.readFileSync(file) : '');
	}).listen(0, '127.0.0.1');
	await new Promise(resolve => server.on('listening', resolve));
	await act(server.address().port);
	server.close();
}

await test('a page opened over plain http says so and where to go', () => served(async port => {
	const page = await browser.newPage();
	await page.goto(`http://box.test:${port}/`);
	await page.getByRole('link', {name: 'https://box.test:8443/'}).waitFor();
	await page.getByText('This page needs HTTPS').waitFor();
	await page.close();
}));

await test('a browser that lacks something is told so, and gets no button that does nothing', () => served(async port => {
	const lacks = ['Array.prototype.toReversed', 'Array.prototype.findLastIndex', 'Object.hasOwn', 'URL.canParse', 'Navigator.prototype.locks', 'Crypto.prototype.randomUUID', 'Element.prototype.ariaBusy', 'HTMLDialogElement'];
	// The last one as where the script cannot even be read.
	await Promise.all([...lacks.map(lack => [lack, 'This browser is too old']), ['BroadcastChannel', 'This page has not loaded']].map(async ([lack, told]) => {
		const context = await browser.newContext({locale: 'en-GB'});
		await context.addInitScript(`delete window.${lack}`);
		const page = await context.newPage();
		await page.goto(`http://localhost:${port}/`);
		await page.getByText(told).waitFor();
		await page.getByText('Firefox 119').waitFor();
		assert.equal(await page.locator('button, input').count(), 0, lack);
		await context.close();
	}));
}));

// -- The appliance

async function through(server, port) {
	const world = new World(server, port);
	const name = text => `${server}: ${text}`;
	const each = async (text, act) => test(name(text), async () => {
		world.reset();
		if (world.isStopped) await world.command('restart');
		await act();
	});

	await world.start();
	try {
		await each('a wrong token is refused beside the field and not kept', async () => {
			const one = await visitor(world, {token: null});
			await one.logIn('wrong');
			await one.see('The token is not correct. Tokens are case-sensitive.');
			assert.equal(await one.page.getByLabel('Token', {exact: true}).inputValue(), '');
			assert.equal(await one.page.getByLabel('Token', {exact: true}).getAttribute('aria-invalid'), 'true');
			await one.end();
		});

		await each('a space around a pasted token is no reason to refuse it', async () => {
			const one = await visitor(world, {token: ` ${TOKEN}  `});
			await one.end();
		});

		await each('logging in keeps no secret that could be read', async () => {
			const one = await visitor(world, {token: null});
			const urls = [];
			one.page.on('request', request => urls.push(request.url()));
			await one.page.goto(`${world.url}/`);
			await one.page.getByLabel('Token', {exact: true}).fill(TOKEN);
			await one.page.getByLabel('Stay logged in').check();
			await one.press('Log in');
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			const kept = await one.page.evaluate(() => new Promise(resolve => {
				const open = indexedDB.open('dashboard');
				open.onsuccess = () => {
					const request = open.result.transaction('keys').objectStore('keys').getAll();
					request.onsuccess = () => resolve({keys: request.result.filter(one => one instanceof CryptoKey).map(key => [key.constructor.name, key.extractable]), kept: JSON.stringify(request.result), strings: JSON.stringify({...localStorage, ...sessionStorage}), cookie: document.cookie, html: document.documentElement.outerHTML});
				};
			}));
			assert.deepEqual(kept.keys, [['CryptoKey', false]]);
			assert.equal(kept.cookie, '');
			assert.equal(kept.strings, '{}');
			const secrets = [TOKEN, keyOf(TOKEN)];
			for (const text of [kept.html, kept.kept, ...urls]) for (const secret of secrets) assert.ok(!text.includes(secret), text);
			assert.deepEqual(urls.filter(url => /[?&](hash|token)=/.test(url)), []);
			await one.page.reload();
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			await one.end();
		});

		await each('the first view is smaller than its limit in each language', async () => {
			const one = await visitor(world, {token: null});
			const wire = await one.context.newCDPSession(one.page);
			await wire.send('Network.enable');
			const names = new Map(), sizes = new Map();
			wire.on('Network.requestWillBeSent', ({requestId, request}) => names.set(requestId, new URL(request.url).pathname));
			// As they came: heads and compressed bodies.
			wire.on('Network.loadingFinished', ({requestId, encodedDataLength}) => sizes.set(names.get(requestId), encodedDataLength));
			await one.logIn();
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			// The pages' own follow, so that they are there while the appliance restarts.
			const scripts = fs.readdirSync(path.join(HTML, 'js')).map(file => `/js/${file}`);
			await until(() => scripts.every(name => sizes.has(name)), 'every script has come');
			const ours = [...sizes].filter(([name]) => !name.startsWith('/api/'));
			for (const name of ['/', '/style.css', '/lang/en.js']) assert.ok(ours.some(([one]) => one === name), `${name} is among ${ours}`);
			assert.deepEqual(ours.filter(([name]) => name.startsWith('/lang/')).map(([name]) => name), ['/lang/en.js']);
			const rest = ours.reduce((sum, [name, bytes]) => name.startsWith('/lang/') ? sum : sum + bytes, 0);
			for (const language of fs.readdirSync(path.join(HTML, 'lang')).map(file => `/lang/${file}`)) {
				await one.page.evaluate(url => fetch(url).then(response => response.text()), language);
				await until(() => sizes.has(language), `${language} has come`);
				const size = rest + sizes.get(language);
				facts.push(`${server}: first view with ${language}: ${ours.length} files, ${size} bytes`);
				assert.ok(size < FIRST_LIMIT, `${size} bytes: ${ours.join(' ')}`);
			}
			await one.end();
		});

		await each('logging out forgets everything in every tab', async () => {
			const one = await visitor(world, {token: null});
			await one.page.goto(`${world.url}/`);
			await one.page.getByLabel('Token', {exact: true}).fill(TOKEN);
			await one.page.getByLabel('Stay logged in').check();
			await one.press('Log in');
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			const other = await one.context.newPage();
			await other.goto(`${world.url}/#/storage`);
			await other.getByLabel('Share').waitFor();
			await one.press('Log out');
			for (const page of [one.page, other]) {
				await page.getByText('You are logged out', {exact: true}).waitFor();
				await page.reload();
				await page.getByLabel('Token', {exact: true}).waitFor();
				assert.equal(await page.getByText('nfs/storage').count(), 0);
			}
			await one.end();
		});

		await each('the overview says what the appliance is and how it is', async () => {
			const one = await visitor(world);
			await one.page.getByRole('heading', {level: 2, name: 'Needs attention'}).waitFor();
			await one.see('Not running: gizmo');
			for (const text of ['box.example.com', '1.0.0', '192.0.2.10 (eth0)', '21 September 2026', 'Enterprise Company', '86 % – high', '14 % – normal', '3.4G of 23G', 'First version', 'gizmo']) await one.see(text);
			await one.end();
		});

		await each('the overview shows the real addresses, the time zone and the start, and an interface is chosen', async () => {
			const facts = {hostname: 'real.example.com', timezone: 'Asia/Kathmandu', started: '2026-11-20T06:15:00Z', interfaces: [
				{name: 'eth0', link: true, addresses: ['192.0.2.77/24', 'fd00::77/64', 'fe80::1/64']},
				{name: 'eth1', link: false, addresses: []},
				{name: 'br0.10', link: true, addresses: ['198.51.100.1/24']},
			]};
			const tell = one => world.write('admin/etc/machine.json', JSON.stringify({...facts, ...one}));
			tell({});
			const one = await visitor(world);
			const card = one.card('Appliance');
			await card.getByText('real.example.com').waitFor();
			const text = await card.innerText();
			for (const wanted of ['192.0.2.77/24, fd00::77/64 (eth0)', '198.51.100.1/24 (br0.10)', 'Asia/Kathmandu', '20 November 2026']) assert.ok(text.includes(wanted), `${wanted} in ${text}`);
			// 06:15 in UTC.
			assert.match(text, /12:00 GMT\+5:45/);
			assert.ok(!text.includes('fe80'), text);
			await one.go('network');
			const choice = one.page.getByLabel('Network interface');
			assert.deepEqual(await choice.locator('option').allInnerTexts(), ['eth0 – 192.0.2.77/24, fd00::77/64', 'eth1 – not connected']);
			assert.equal(await choice.inputValue(), 'eth0');
			assert.deepEqual(await axe(one.context, one.page), []);
			// A zone that the browser does not know, and values that make no sense, are shown as they are.
			tell({timezone: 'Mars/Olympus', interfaces: [null, {name: 7, addresses: 'x'}, {name: 'eth9'}]});
			await one.go('home');
			await card.getByText('Mars/Olympus').waitFor();
			await card.getByText('x (7)').waitFor();
			await one.go('network');
			assert.deepEqual(await choice.locator('option').allInnerTexts(), ['eth0', 'eth9 – not connected']);
			await one.end();
		});

		await each('hostile text is shown as text wherever it comes from', async () => {
			const json = JSON.stringify(HOSTILE);
			world.write('admin/etc/version.txt', `${HOSTILE}\n`);
			world.write('admin/etc/changelog.txt', HOSTILE);
			world.write('etc/build.json', `{"builddate":${json}}`);
			world.write('admin/etc/health.json', `{"disk":{"used":${json},"total":${json},"percentage":${json}},"cpu":{"load":${json},"num":${json},"cpu5min":7}}`);
			world.write('admin/etc/license.asc', JSON.stringify({[HOSTILE]: HOSTILE, name: HOSTILE, deep: {[HOSTILE]: 1}, __proto__: null}));
			world.write('admin/etc/network.json', JSON.stringify({interface: HOSTILE, hostname: HOSTILE, ip_address: HOSTILE}));
			world.write('admin/etc/app.json', JSON.stringify({name: HOSTILE}));
			world.write('admin/etc/storage.json', JSON.stringify({storage: {type: 'nfs', ip: HOSTILE, share: HOSTILE, mount_options: HOSTILE}}));
			world.write('admin/etc/status_update.json', '{"status":"failed","percentage":20}');
			world.write('admin/etc/status_error_message.txt', HOSTILE);
			world.write('admin/etc/status_error_code.txt', HOSTILE);
			for (const log of ['update', 'update_certs', 'update_backup']) world.write(`admin/log/${log}.log`, `[1432140922][SYSTEM] ${HOSTILE}\n${HOSTILE}\n`);
			world.write('admin/etc/status_certs.txt', 'failed');
			world.write('admin/etc/status_error_certs.txt', HOSTILE);
			world.write('admin/home/sftp/uploads/backup.json', JSON.stringify({status: 'success', filesize: HOSTILE, sha256: HOSTILE}));
			const one = await visitor(world);
			await one.page.route('**/services?*', route => route.fulfill({json: {services: [{[HOSTILE]: HOSTILE}]}}));
			for (const page of await one.pages()) {
				await one.go(page);
				if (page === 'home') for (const title of ['Appliance', 'License', 'Health', 'Services', "What's new"]) await one.card(title).getByText(HOSTILE).first().waitFor();
				if (['update', 'backup', 'certs', 'license'].includes(page)) await one.see(HOSTILE);
				assert.equal(await one.page.locator('main img, main script, nav img').count(), 0, page);
				assert.doesNotMatch(await one.page.title(), /owned/);
			}
			await one.go('network');
			assert.equal(await one.page.getByLabel('Host name').inputValue(), HOSTILE);
			world.write('etc/build.json', '{"builddate":"1790000000"}');
			await one.end();
		});

		for (const [colorScheme, width, language] of [['light', 1280, 'en'], ['dark', 1280, 'de'], ['light', 390, 'de'], ['dark', 390, 'en'], ['light', 320, 'de'], ['dark', 800, 'en']]) {
			await each(`every page is accessible and fits, ${colorScheme}, ${width} px, ${language}`, async () => {
				const text = name => texts(language).get(name).slice(name.length + 1).split(' | ')[0];
				world.write('admin/log/update.log', '[1432140922][SYSTEM] Updating system. Please wait..\n[1432140925][SYSTEM] Updating system successful\n');
				world.write('admin/etc/status_update.json', '{"status":"success","percentage":100,"version-before":"0.9.0","version-after":"1.0.0"}');
				world.write('admin/home/sftp/uploads/backup.json', '{"status":"success","filesize":"128.0K","sha256":"6e31a817eb93270848e3c0b3c1d0c2bfa077fbb318f58a2bcbdec8f69f0dd420"}');
				world.write('admin/etc/machine.json', JSON.stringify({hostname: 'box.example.com', timezone: 'Europe/Berlin', started: '2026-11-20T06:15:00Z', interfaces: [{name: 'eth0', link: true, addresses: ['192.0.2.10/24', '2001:db8::a:b:c:d/64']}, {name: 'eth1', link: false, addresses: []}]}));
				const one = await visitor(world, {token: null, colorScheme, viewport: {width, height: 800}, locale: language === 'en' ? 'en-GB' : 'de-DE'});
				// An hour as it may be, so that there are plots to look at.
				const wave = (mean, swing, period) => Array.from({length: 61}, (_, i) => mean + swing * Math.sin(i / period) * Math.sin(i * i));
				await one.page.route('**/health/history?*', route => route.fulfill({json: {range: '1h', step: 60, start: 1790000000, series: {cpu: wave(30, 25, 9), memory: wave(60, 3, 20), disk: wave(15, 0, 1), network_in: wave(9e5, 8e5, 5), network_out: wave(2e5, 1e5, 7)}}}));
				await one.page.route('**/services?*', route => route.fulfill({json: {services: [{openssh: 'running'}, {nginx: 'running'}, {postgresql: 'not running'}]}}));
				const job = (job, status, hours, more) => ({id: '8a1c6f0b2d3e4f50', job, key: 'admin', status, started: new Date(Date.now() - hours * 3.6e6).toISOString(), ended: new Date(Date.now() - hours * 3.6e6 + 42_000).toISOString(), ...more});
				await one.page.route('**/api/v1/admin/jobs?*', route => route.fulfill({json: {jobs: [job('backup', 'failed', 2, {argument: 'START', 'error-message': 'Not enough free space: 131072 KiB needed, 4096 KiB free', 'error-code': 'E1002'}), job('update', 'success', 30), job('settings', 'success', 50, {argument: 'static', key: 'ops'})]}}));
				const look = async page => {
					if (page === 'home') await one.see(text('aFailed').replace('{what}', 'Backup'));
					await one.page.evaluate(() => new Promise(resolve => setTimeout(resolve, 250)));
					await picture(one.page, `${page}-${colorScheme}-${width}-${language}`, {fullPage: true});
					assert.deepEqual(await axe(one.context, one.page), [], page);
					assert.ok(await one.page.evaluate(() => document.documentElement.scrollWidth) <= width, `${page} is too wide`);
				};
				await one.page.goto(`${world.url}/`);
				await look('login');
				await one.page.getByText(text('noToken')).click();
				await one.press(text('isNew'));
				await look('new');
				await one.page.goto(`${world.url}/`);
				await one.page.getByLabel('Token', {exact: true}).fill(TOKEN);
				await one.press(text('logIn'));
				await one.page.getByRole('heading', {level: 1, name: text('home')}).waitFor();
				for (const page of await one.pages()) {
					await one.go(page);
					await look(page);
				}
				await one.press(text('restart'));
				await look('question');
				await one.end();
			});
		}

		await each('everything can be done in German', async () => {
			const one = await visitor(world, {token: null, locale: 'de-DE'});
			await one.page.goto(`${world.url}/`);
			await one.page.getByLabel('Token', {exact: true}).fill(TOKEN);
			await one.press('Anmelden');
			await one.see('läuft nicht', {exact: true});
			for (const page of await one.pages()) {
				await one.go(page);
				await one.page.getByRole('heading', {level: 1, name: texts('de').get(page).split(' | ')[0].slice(page.length + 1), exact: true}).waitFor();
			}
			assert.equal(await one.page.locator('html').getAttribute('lang'), 'de');
			await one.page.getByLabel('Sprache').selectOption('English');
			await one.page.getByRole('heading', {level: 1, name: 'Restart'}).waitFor();
			await one.end();
		});

		await each('what comes of the work has the focus, and what changes beside it is spoken', async () => {
			world.write('etc/jidoteki-admin-api.json', JSON.stringify({...JSON.parse(world.read('etc/jidoteki-admin-api.json')), reboot: 'both'}));
			const one = await visitor(world, {at: 'update'});
			const {page} = one;
			// The places that speak are there before they have something to say.
			const mark = () => page.evaluate(() => document.querySelectorAll('[aria-live]').forEach(place => place.dataset.before = ''));
			const noticed = async text => {
				const notice = page.locator('.notice').filter({hasText: text}).first();
				await notice.waitFor();
				await until(() => notice.evaluate(it => it.matches('[role=alert]') || Boolean(it.closest('[data-before]')) || Boolean(document.activeElement.closest('main *, .trial') && (it.contains(document.activeElement) || document.activeElement.contains(it)))), `${text} is spoken`);
				assert.notEqual(await page.evaluate(() => document.activeElement.tagName), 'BODY', text);
			};
			const focused = text => until(() => page.evaluate(text => document.activeElement !== document.body && document.activeElement.textContent.includes(text), text), `the focus is where it says ${text}`);
			await mark();
			await page.getByLabel('Update package').setInputFiles(world.package({script: world.waits}));
			await one.press('Send and install');
			await focused('Keep the appliance switched on.');
			world.letInstall();
			await focused('Updated from 1.0.0 to 1.1.0');
			await one.go('backup');
			await mark();
			await one.press('Create backup');
			await page.getByRole('button', {name: 'Delete', exact: true}).waitFor();
			await focused('SHA-256');
			await one.go('network');
			await mark();
			await one.press('Review changes');
			await noticed('Nothing differs from the current settings');
			await page.getByLabel('Gateway').fill('192.0.2.254');
			await one.press('Review changes');
			await page.getByRole('dialog').getByRole('button', {name: 'Apply'}).click();
			await noticed('The new settings work');
			await noticed('Network: confirm your change');
			await one.press('Keep it');
			await focused('Network: change confirmed');
			await one.go('support');
			await mark();
			await one.press('Download logs');
			await noticed('logs.tar.gz downloaded');
			await one.go('restart');
			await mark();
			await one.press('Restart');
			await page.getByRole('dialog').getByRole('button', {name: 'Restart'}).click();
			await focused('Shutting down');
			await one.end();
		});

		await each('a vendor gives the dashboard a name, a logo and colors by files', async () => {
			const place = path.join(world.edge, 'html/vendor');
			const [css, json] = ['vendor.css', 'vendor.json'].map(name => path.join(place, name));
			const shipped = [css, json].map(file => fs.readFileSync(file));
			fs.writeFileSync(css, ':root{--main:#603080;--on:#fff}');
			fs.writeFileSync(json, JSON.stringify({name: `Acme Box ${HOSTILE}`, logo: 'logo.svg'}));
			fs.writeFileSync(path.join(place, 'logo.svg'), '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M0 0h8v8H0z"/></svg>');
			try {
				const one = await visitor(world, {token: null, colorScheme: 'light'});
				await one.page.goto(`${world.url}/`);
				await one.page.getByLabel('Token', {exact: true}).waitFor();
				assert.match(await one.page.title(), /^Acme Box <img/);
				await one.logIn();
				await one.page.getByRole('link', {name: /^Acme Box/}).waitFor();
				assert.deepEqual(await one.page.locator('header img').evaluate(it => [it.getAttribute('src'), it.naturalWidth > 0]), ['/vendor/logo.svg', true]);
				assert.equal(await one.page.locator('nav [aria-current]').evaluate(it => getComputedStyle(it).backgroundColor), 'rgb(96, 48, 128)');
				assert.deepEqual(await axe(one.context, one.page), []);
				// What is no such description changes nothing.
				for (const nonsense of ['{"logo":"../logo.svg","name":7}', '<html>', '[]', 'null']) {
					fs.writeFileSync(json, nonsense);
					await one.page.reload();
					await one.page.getByRole('link', {name: 'Appliance localhost'}).waitFor();
					assert.match(await one.page.locator('header img').getAttribute('src'), /^data:image/);
				}
				await one.end();
			} finally {
				fs.writeFileSync(css, shipped[0]);
				fs.writeFileSync(json, shipped[1]);
			}
		});

		await each('a keyboard is enough', async () => {
			const one = await visitor(world, {token: null});
			const {page} = one;
			await page.goto(`${world.url}/`);
			await page.getByLabel('Token', {exact: true}).waitFor();
			await page.keyboard.type(TOKEN);
			await page.keyboard.press('Enter');
			await page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			await until(() => page.evaluate(() => document.activeElement.tagName === 'H1'), 'the heading has the focus');
			await page.locator('.skip').focus();
			await page.keyboard.press('Enter');
			assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1');
			await page.getByRole('link', {name: 'Restart'}).focus();
			await page.keyboard.press('Enter');
			await page.getByRole('heading', {level: 1, name: 'Restart'}).waitFor();
			await page.locator('main').getByRole('button', {name: 'Restart'}).waitFor();
			await page.keyboard.press('Tab');
			await page.keyboard.press('Enter');
			await page.getByRole('dialog').waitFor();
			assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Cancel');
			await page.keyboard.press('Escape');
			await page.getByRole('dialog').waitFor({state: 'detached'});
			assert.ok(!world.exists('reboot'));
			await one.end();
		});

		await each('an update is sent, watched, and its version seen', async () => {
			const one = await visitor(world, {at: 'update', colorScheme: 'dark'});
			const file = world.package({script: `for i in 1 2 3; do echo "[$(date +%s)][SYSTEM] step $i"; sleep 0.5; done; ${world.waits}`});
			await one.page.getByLabel('Update package').setInputFiles(file);
			await one.press('Send and install');
			await one.see('70 %');
			await one.see(/^step 3$/);
			await picture(one.page, 'update-runs');
			assert.deepEqual(await axe(one.context, one.page), []);
			// What is true is true after a reload, too.
			await one.page.reload();
			await one.card('Appliance').getByText('1.0.0').waitFor();
			await one.go('home');
			await one.see(/^Update in progress/);
			await one.page.getByRole('link', {name: 'Open'}).first().click();
			world.letInstall();
			await one.see('Updated from 1.0.0 to 1.1.0');
			assert.equal(await one.card('Appliance').locator('dd').textContent(), '1.1.0');
			await one.press('Show the complete log');
			await one.see('Starting update to 1.1.0');
			await one.end();
		});

		for (const [code, title, make] of [
			['E1005', 'The package is damaged or not from your vendor', () => world.package({spoil: true})],
			['E1001', 'Not newer than the installed version, or not for this appliance', () => world.package({version: '0.9.0'})],
			['E1002', 'The update failed during installation', () => world.package({script: 'exit 1'})],
		]) {
			await each(`an update that ends in ${code} says what to do`, async () => {
				const one = await visitor(world, {at: 'update'});
				await one.page.getByLabel('Update package').setInputFiles(make());
				await one.press('Send and install');
				await one.page.getByRole('alert').getByText(title).waitFor();
				await one.page.getByRole('alert').getByText(`(${code})`).waitFor();
				assert.deepEqual(await axe(one.context, one.page), []);
				assert.equal(await one.card('Appliance').locator('dd').textContent(), '1.0.0');
				await one.end();
			});
		}

		await each('an update to the version that runs already is told in kind words', async () => {
			const one = await visitor(world, {at: 'update'});
			await one.page.getByLabel('Update package').setInputFiles(world.package({version: '1.0.0'}));
			await one.press('Send and install');
			await one.see('Version 1.0.0 is already installed');
			await one.see('Nothing was changed.');
			await one.end();
		});

		await each('an update that died is not running for ever', async () => {
			world.write('admin/etc/status_update.json', '{"status":"running","percentage":70}');
			world.write('admin/etc/status_update.txt', 'running');
			const one = await visitor(world, {at: 'update'});
			await one.page.getByRole('alert').getByText('The job was interrupted').waitFor();
			await one.end();
		});

		// The offsets of all pieces that a page sends.
		const piecesOf = one => {
			const offsets = [];
			one.page.on('request', request => request.method() === 'PATCH' && offsets.push(Number(request.headers()['upload-offset'])));
			return offsets;
		};

		await each('a package is shown before it is installed, and one that nobody wants yet waits', async () => {
			const one = await visitor(world, {at: 'update', installs: false});
			const send = async file => {
				await one.page.getByLabel('Update package').setInputFiles(file);
				await one.press('Send and install');
			};
			const file = world.package({size: 3_000_000});
			await send(file);
			const dialog = one.page.getByRole('dialog', {name: 'Install version 1.1.0?'});
			await dialog.getByText('1.0.0 → 1.1.0').waitFor();
			await dialog.getByText('3 MB').waitFor();
			await dialog.getByText('The package is intact and signed by your vendor.').waitFor();
			assert.match(await dialog.locator('pre').innerText(), /1\.1\.0/);
			assert.deepEqual(await axe(one.context, one.page), []);
			await dialog.getByRole('button', {name: 'Cancel'}).click();
			await one.see('Choose the same file again to continue.');
			assert.equal(world.peek('admin/etc/status_update.json'), '');
			// Nothing is sent again.
			const offsets = piecesOf(one);
			await send(file);
			await dialog.getByRole('button', {name: 'Install'}).click();
			await one.see('Updated from 1.0.0 to 1.1.0');
			assert.deepEqual(offsets, []);
			await one.end();
		});

		await each('a piece that is too large for the web server is sent in smaller ones', async () => {
			const one = await visitor(world, {at: 'update'});
			let refused = 0;
			await one.page.route('**/api/v1/admin/uploads/*', route => {
				const isLarge = route.request().method() === 'PATCH' && route.request().postDataBuffer().length > 1_500_000;
				refused += isLarge;
				return isLarge ? route.fulfill({status: 413, contentType: 'application/json', body: '{"Status":"413 Payload Too Large"}'}) : route.fallback();
			});
			await one.page.getByLabel('Update package').setInputFiles(world.package({size: 8_000_000}));
			await one.press('Send and install');
			await one.see('Updated from 1.0.0 to 1.1.0');
			assert.ok(refused > 0);
			await one.end();
		});

		await each('a file that is too large is explained, with the limit', async () => {
			world.write('etc/jidoteki-admin-api.json', JSON.stringify({...JSON.parse(world.read('etc/jidoteki-admin-api.json')), 'max-upload-bytes': MAX_BODY}));
			const one = await visitor(world, {at: 'update'});
			const offsets = piecesOf(one);
			const file = path.join(world.vendor, 'large');
			fs.writeFileSync(file, Buffer.alloc(MAX_BODY + 1_000_000));
			await one.page.getByLabel('Update package').setInputFiles(file);
			await one.press('Send and install');
			await one.page.getByRole('alert').getByText('The file is too large').waitFor();
			await one.page.getByRole('alert').getByText(String(MAX_BODY)).waitFor();
			// Told before a byte is sent.
			assert.deepEqual(offsets, []);
			await one.end();
		});

		await each('a full disk is explained', async () => {
			const one = await visitor(world, {at: 'update'});
			const away = world.smallDisk('1m');
			try {
				await one.page.getByLabel('Update package').setInputFiles(world.package({size: 8_000_000}));
				await one.press('Send and install');
				await one.page.getByRole('alert').getByText(/it has \d+ bytes, and \d+ bytes are free/).waitFor();
			} finally {
				away();
			}
			await one.end();
		});

		const stalledUpload = async one => {
			const offsets = piecesOf(one);
			await sendingAt(MODERATE, one);
			await one.page.getByLabel('Update package').setInputFiles(world.package({size: 8_000_000}));
			await one.press('Send and install');
			await until(() => offsets[0] !== undefined, 'the first piece is on its way');
			await sendingAt(STALLED, one);
		};

		await each('an upload that stalls shows it, and can be canceled', async () => {
			const one = await visitor(world, {at: 'update'});
			await stalledUpload(one);
			await one.see(/of 8 MB, 0 B\/s$/, {timeout: 60_000});
			// It goes on while another page is looked at.
			await one.page.getByRole('link', {name: 'Support'}).click();
			await one.page.getByRole('heading', {level: 1, name: 'Support'}).waitFor();
			await one.page.getByRole('link', {name: 'Update', exact: true}).click();
			await one.press('Cancel');
			await one.see('Canceled. Nothing was changed.');
			await until(() => !fs.readdirSync(path.join(world.admin, 'home/sftp/uploads')).some(file => !file.startsWith('.')), 'the upload leaves nothing');
			await one.end();
		});

		await each('an upload goes on by itself after a cut, and sends no piece more than twice', async () => {
			const cable = await cableTo(port);
			const one = await visitor({url: cable.url}, {at: 'update'});
			const offsets = piecesOf(one);
			await sendingAt(MODERATE, one);
			await one.page.getByLabel('Update package').setInputFiles(world.package({size: 3_000_000}));
			await one.press('Send and install');
			await one.see(/of 3 MB, .*kB\/s, .*left/);
			await until(() => offsets.length > 1, 'one piece has arrived');
			cable.cut();
			await one.see('Connection lost');
			await one.see(/^No response for \d+ s$/);
			assert.deepEqual(await axe(one.context, one.page), []);
			const before = offsets.length;
			cable.mend();
			await one.see('Updated from 1.0.0 to 1.1.0');
			assert.ok(offsets.length > before && offsets.slice(before).every(offset => offset > 0), offsets.join());
			for (const offset of offsets) assert.ok(offsets.filter(other => other === offset).length < 3, offsets.join());
			await one.end();
			cable.end();
		});

		await each('an upload goes on after a reload with the same file, and with no other', async () => {
			const one = await visitor(world, {at: 'update'});
			const offsets = piecesOf(one);
			const file = world.package({size: 3_000_000});
			await sendingAt(MODERATE, one);
			await one.page.getByLabel('Update package').setInputFiles(file);
			await one.press('Send and install');
			await until(() => offsets.length > 1, 'one piece has arrived');
			await one.page.reload();
			await one.see(/^package\.enc: .* of 3 MB sent$/);
			await one.see('Choose the same file again to continue.');
			assert.deepEqual(await axe(one.context, one.page), []);
			await sendingAt(FULL, one);
			const before = offsets.length;
			// Of the same name and length.
			const other = path.join(world.vendor, 'package.enc');
			fs.copyFileSync(file, other);
			fs.utimesSync(other, 1, 1);
			await one.page.getByLabel('Update package').setInputFiles(other);
			await one.press('Send and install');
			await until(() => offsets.length > before, 'the other file is sent');
			assert.equal(offsets[before], 0);
			await one.see('Updated from 1.0.0 to 1.1.0');
			await one.see(/^package\.enc: .* of 3 MB sent$/);
			world.write('admin/etc/version.txt', '1.0.0\n');
			const again = offsets.length;
			await one.page.getByLabel('Update package').setInputFiles(file);
			await one.press('Send and install');
			await one.see('Updated from 1.0.0 to 1.1.0');
			assert.ok(offsets[again] > 0, offsets.join());
			assert.equal(await one.page.getByText('Choose the same file again').count(), 0);
			await one.end();
		});

		await each('an upload that nobody wants to finish is discarded, and another tab does not send it twice', async () => {
			const one = await visitor(world, {at: 'update'});
			const offsets = piecesOf(one);
			const file = world.package({size: 3_000_000});
			await sendingAt(MODERATE, one);
			await one.page.getByLabel('Update package').setInputFiles(file);
			await one.press('Send and install');
			await until(() => offsets.length > 1, 'one piece has arrived');
			await sendingAt(STALLED, one);
			const page = await one.context.newPage();
			await page.goto(`${world.url}/#/update`);
			await page.getByLabel('Update package').setInputFiles(file);
			await page.getByRole('button', {name: 'Send and install'}).click();
			await page.getByText('This file is already being sent').waitFor();
			await page.close();
			await one.page.reload();
			await one.see('Choose the same file again to continue.');
			await one.press('Discard');
			await one.page.getByText('Choose the same file again to continue.').waitFor({state: 'detached'});
			await one.page.reload();
			await one.page.getByLabel('Update package').waitFor();
			await one.page.waitForLoadState('networkidle');
			assert.equal(await one.page.getByText('Choose the same file again to continue.').count(), 0);
			assert.deepEqual(await one.page.evaluate(() => Object.keys(localStorage)), []);
			await one.end();
		});

		for (const how of ['is lost', 'is not waited for']) {
			await each(`an update whose answer ${how} is followed all the same`, async () => {
				const cable = await cableTo(port);
				const one = await visitor({url: cable.url}, {at: 'update'});
				const letAnswer = world.holdAnswers();
				await one.page.getByLabel('Update package').setInputFiles(world.package({script: world.waits}));
				await one.press('Send and install');
				await one.see('Sent. Waiting for the appliance…');
				await until(() => world.peek('admin/etc/status_update.json').includes('70'), 'it is being installed');
				if (how === 'is lost') {
					cable.cut();
					await one.see('Checking whether the file arrived');
					cable.mend();
				} else await one.press('Cancel');
				await one.see('70 %');
				letAnswer();
				world.letInstall();
				await one.see('Updated from 1.0.0 to 1.1.0');
				await one.end();
				cable.end();
			});
		}

		await each('a restart of the web server does not end the update nor the page', async () => {
			const one = await visitor(world, {at: 'update'});
			await one.page.getByLabel('Update package').setInputFiles(world.package({script: world.waits}));
			await one.press('Send and install');
			await one.see('70 %');
			await world.command('stop');
			await one.see('This page reconnects by itself.');
			await world.command('restart');
			world.letInstall();
			await one.see('Updated from 1.0.0 to 1.1.0');
			await one.end();
		});

		await each('a second update is refused and the first one shown', async () => {
			const one = await visitor(world, {at: 'update'});
			const other = await visitor(world, {at: 'update'});
			for (const each of [one, other]) await each.page.getByLabel('Update package').setInputFiles(world.package({script: world.waits}));
			await one.press('Send and install');
			await one.see('70 %');
			await other.press('Send and install');
			await other.see('Another job is in progress');
			world.letInstall();
			await other.see('Updated from 1.0.0 to 1.1.0');
			await one.see('Updated from 1.0.0 to 1.1.0');
			await one.end();
			await other.end();
		});

		await each('network settings are checked beside their fields', async () => {
			const one = await visitor(world, {at: 'network'});
			for (const [label, value, told] of [
				['Host name', 'a b', 'Allowed characters: A–Z a–z 0–9 .-'],
				['Network interface', 'eth0.10', 'Allowed characters: A–Z a–z 0–9 '],
				['Network interface', 'e', '3 to 14 characters'],
				['IP address', '999.1.1.1', 'Not an IP address'],
				['IP address', '::::', 'Not an IP address'],
				['Netmask', '255.0.255.0', 'Not a netmask'],
				['Gateway', '', 'Required'],
				['Application settings', '[1]', 'Not a JSON object: { … }'],
			]) {
				const field = one.page.getByLabel(label);
				const before = await field.inputValue();
				await field.fill(value);
				await one.press('Review changes');
				assert.equal(await one.page.locator('.field').filter({has: field}).locator('.fault').textContent(), told, `${label}: ${value}`);
				assert.ok(await field.evaluate(element => element === document.activeElement), label);
				await field.fill(before);
			}
			await one.end();
		});

		await each('a network change is shown first, tried, and kept', async () => {
			const one = await visitor(world, {at: 'network'});
			await one.page.getByLabel('DNS server', {exact: false}).first().fill('192.0.2.3');
			await one.press('Review changes');
			const dialog = one.page.getByRole('dialog');
			assert.deepEqual(await dialog.locator('dl > div').allTextContents(), ['DNS server192.0.2.2 → 192.0.2.3']);
			await dialog.getByRole('button', {name: 'Apply'}).click();
			await one.see('Network: confirm your change');
			assert.deepEqual(await axe(one.context, one.page), []);
			await one.see('The new settings work');
			await one.see(/(2 min \d+ s|3 min 0 s) left/);
			// Seen on other pages and after a reload, too.
			await one.page.reload();
			await one.see('Network: confirm your change');
			await one.press('Keep it');
			await one.see('Network: change confirmed');
			assert.equal(JSON.parse(world.read('admin/etc/network.json')).dns1, '192.0.2.3');
			assert.deepEqual(JSON.parse(world.read('admin/etc/app.json')), {name: 'testapp'});
			assert.ok(!world.exists('admin/etc/pending_settings.txt'));
			await one.end();
		});

		await each('a network change that nobody confirms is rolled back, and the page says so', async () => {
			const one = await visitor(world, {at: 'network'});
			await one.page.getByLabel('Gateway').fill('192.0.2.254');
			await one.press('Review changes');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Apply'}).click();
			await one.see('Network: confirm your change');
			// The clock runs out.
			await until(() => world.exists('admin/etc/pending_settings.txt'), 'a trial is pending');
			const pending = world.read('admin/etc/pending_settings.txt');
			world.write('admin/etc/pending_settings.txt', pending.replace(/deadline=\d+/, 'deadline=1'), 0o640);
			world.recover();
			await one.see('Network: not confirmed in time; previous settings restored');
			await one.end();
		});

		await each('a change of address warns, leads to the new one, and is confirmed there', async () => {
			const one = await visitor(world, {at: 'network'});
			const dialog = one.page.getByRole('dialog');
			const review = async address => {
				await one.page.getByLabel('IP address').fill(address);
				await one.press('Review changes');
				await dialog.getByText(`This page will move to https://${address}:${port}/#/network`).waitFor();
			};
			await review('192.0.2.20');
			await picture(one.page, 'network-moves');
			assert.deepEqual(await axe(one.context, one.page), []);
			await dialog.getByRole('button', {name: 'Cancel'}).click();
			// The browser finds the web server there, too.
			await review('192.0.2.21');
			await dialog.getByRole('button', {name: 'Apply'}).click();
			await one.page.getByRole('link', {name: `https://192.0.2.21:${port}/#/network`}).waitFor();
			await world.command('stop');
			await one.see('No response at this address any more');
			await world.command('restart');
			const there = await visitor({url: `https://192.0.2.21:${port}`}, {at: 'network'});
			await there.see('Network: confirm your change');
			await there.press('Keep it');
			await there.see('Network: change confirmed');
			await there.end();
			await one.see('The new settings are in force');
			await one.end();
		});

		await each('an address from DHCP cannot be known, and the page says so', async () => {
			const one = await visitor(world, {at: 'network'});
			await one.page.getByLabel('Addressing').selectOption('dhcp');
			assert.equal(await one.page.getByLabel('Gateway').isVisible(), false);
			await one.press('Review changes');
			await one.page.getByRole('dialog').getByText('The address may change').waitFor();
			await one.page.getByRole('dialog').getByRole('button', {name: 'Cancel'}).click();
			assert.ok(!world.exists('admin/log/update_settings.log'));
			await one.end();
		});

		await each('a network change that fails leaves the old settings, and the page says so', async () => {
			world.write('network.fails', '');
			const one = await visitor(world, {at: 'network'});
			await one.page.getByLabel('Gateway').fill('192.0.2.254');
			await one.press('Review changes');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Apply'}).click();
			await one.page.getByRole('alert').getByText('The new settings are not in force').waitFor();
			// And why, without looking for it.
			await one.see('The network settings could not be applied');
			assert.equal(JSON.parse(world.read('admin/etc/network.json')).gateway, '192.0.2.1');
			await one.end();
		});

		await each('files that are no certificates are named before they are sent', async () => {
			const one = await visitor(world, {at: 'certs'});
			const [cert, key] = world.certificate('DNS:localhost');
			const locked = path.join(world.vendor, 'locked.pem');
			fs.writeFileSync(locked, '-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIF\n-----END ENCRYPTED PRIVATE KEY-----\n');
			const junk = path.join(world.vendor, 'junk.pem');
			fs.writeFileSync(junk, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
			for (const [label, file, told] of [['Certificate', key, 'This is a private key'], ['Certificate', junk, 'Not a PEM certificate'], ['Private key', locked, 'This key has a passphrase'], ['Private key', cert, 'Not a PEM private key'], ['Chain', junk, 'Not a PEM certificate']]) {
				await one.file(label).setInputFiles(file);
				await one.card('Install a certificate').getByText(told).waitFor();
				await one.file(label).setInputFiles([]);
			}
			await one.end();
		});

		await each('a certificate is shown, tried and kept', async () => {
			const one = await visitor(world, {at: 'certs'});
			const [foreign] = world.certificate('DNS:other.example,DNS:*.example.com,IP:192.0.2.10,IP:2001:db8::7');
			const [cert, key] = world.certificate('DNS:localhost');
			await one.file('Certificate').setInputFiles(foreign);
			await one.file('Private key').setInputFiles(key);
			await one.press('Review changes');
			const dialog = one.page.getByRole('dialog');
			await dialog.getByText('other.example, *.example.com, 192.0.2.10, 2001:db8::7').waitFor();
			await dialog.getByText('Test Authority').waitFor();
			await dialog.getByText('It does not cover localhost').waitFor();
			const day = new Date(Date.now() + 30 * 86_400_000).toLocaleDateString('en-GB', {dateStyle: 'long'});
			await dialog.getByText(day).waitFor();
			await dialog.getByRole('button', {name: 'Cancel'}).click();
			await one.file('Certificate').setInputFiles(cert);
			await one.press('Review changes');
			assert.equal(await dialog.locator('.notice').count(), 0);
			await dialog.getByRole('button', {name: 'Apply'}).click();
			await one.see('Certificates: confirm your change');
			await until(() => world.exists('reload'), 'the web server is asked to reload');
			await world.command('restart');
			await one.press('Keep it');
			await one.see('Certificates: change confirmed');
			await one.go('certs');
			await one.see('Installed');
			await one.end();
		});

		await each('a certificate is requested with a key that stays here, and installed without one', async () => {
			const one = await visitor(world, {at: 'certs'});
			const card = one.card('Request a certificate');
			assert.equal(await card.getByLabel('Host names and addresses').inputValue(), 'localhost');
			await card.getByLabel('Host names and addresses').fill('localhost, 192.0.2.10');
			await one.press('Create request');
			await one.card('Certificate request').getByText('BEGIN CERTIFICATE REQUEST').waitFor();
			assert.deepEqual(await axe(one.context, one.page), []);
			await picture(one.page, 'request');
			const [download] = await Promise.all([one.page.waitForEvent('download'), one.card('Certificate request').getByRole('button', {name: 'Download'}).click()]);
			assert.equal(download.suggestedFilename(), 'localhost.csr');
			const request = path.join(world.vendor, 'localhost.csr');
			await download.saveAs(request);
			await one.file('Certificate').setInputFiles(world.signed(request));
			await one.press('Review changes');
			await one.page.getByRole('dialog').getByText('localhost, 192.0.2.10').waitFor();
			await one.page.getByRole('dialog').getByRole('button', {name: 'Apply'}).click();
			await one.see('Certificates: confirm your change');
			await until(() => world.exists('reload'), 'the web server is asked to reload');
			await world.command('restart');
			await one.press('Keep it');
			await one.see('Certificates: change confirmed');
			// Its key is in force now, so nothing waits any more.
			await one.go('certs');
			await one.page.getByRole('button', {name: 'Create request'}).click();
			await one.press('Delete request');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Delete request'}).click();
			await one.page.getByRole('button', {name: 'Create request'}).waitFor();
			assert.ok(!world.exists('admin/etc/certs_request.pem'));
			await one.end();
		});

		await each('a certificate without its key is refused with the reason', async () => {
			const one = await visitor(world, {at: 'certs'});
			const [[cert], [, key]] = [world.certificate('DNS:localhost'), world.certificate('DNS:localhost')];
			await one.file('Certificate').setInputFiles(cert);
			await one.file('Private key').setInputFiles(key);
			await one.press('Review changes');
			assert.equal(await one.page.getByRole('dialog').locator('.notice').count(), 0);
			await one.page.getByRole('dialog').getByRole('button', {name: 'Apply'}).click();
			await one.page.getByRole('alert').getByText('The appliance reports:').waitFor();
			await one.page.getByRole('alert').getByText(/key/i).waitFor();
			await one.end();
		});

		await each('a license is replaced and shown', async () => {
			const one = await visitor(world, {at: 'license'});
			const file = path.join(world.vendor, 'license.asc');
			fs.writeFileSync(file, JSON.stringify({app: 'enterprise', users: 77}));
			await one.page.getByLabel('License file').setInputFiles(file);
			await one.press('Install');
			await one.see('Installed');
			await one.see('77', {exact: true});
			await one.end();
		});

		await each('storage asks before it moves, and passes on any password', async () => {
			const one = await visitor(world, {at: 'storage'});
			await one.page.getByLabel('Type').selectOption('iscsi');
			await one.page.getByLabel('Target').fill('iqn.2016-01.com.example:disk1');
			await one.page.getByLabel("Server IP address").locator('visible=true').fill('192.0.2.9');
			await one.page.getByLabel('User name').fill('user');
			await one.page.getByLabel('Password').fill('pa ss');
			await one.press('Save');
			await one.see('Allowed characters: ASCII 33–126');
			await one.page.getByLabel('Password').fill(`a"$(id)\`\\'b`);
			await one.press('Save');
			await one.page.getByRole('dialog').getByText('Data is not copied.').waitFor();
			await one.page.getByRole('dialog').getByRole('button', {name: 'Save'}).click();
			await one.see('They take effect at the next restart.');
			await until(() => world.read('admin/etc/storage.json').includes('iscsi'), 'the storage job is done');
			assert.equal(JSON.parse(world.read('admin/etc/storage.json')).storage.password, `a"$(id)\`\\'b`);
			await one.end();
		});

		await each('a change of storage that fails is shown as failed, with its log, and one that was made can be undone', async () => {
			world.write('admin/bin/storage.sh', `#!/bin/sh\n[ ! -e "${world.dir}/storage.fails" ]\n`, 0o755);
			world.write('storage.fails', '');
			const one = await visitor(world, {at: 'storage'});
			const change = async share => {
				await one.page.getByLabel('Share').fill(share);
				await one.press('Save');
				await one.page.getByRole('dialog').getByText(`/nfs/storage → ${share}`).waitFor();
				await one.page.getByRole('dialog').getByRole('button', {name: 'Save'}).click();
			};
			await change('/nfs/other');
			await one.page.getByRole('alert').getByText('The storage was not changed').or(one.page.getByRole('alert').getByText('installation')).first().waitFor();
			await one.page.getByRole('alert').getByText('The storage settings could not be applied').waitFor();
			await one.card('Log').getByText('Failed updating storage').waitFor();
			assert.equal(await one.page.locator('.notice.good').count(), 0);
			assert.equal(await one.page.getByLabel('Share').inputValue(), '/nfs/storage');
			assert.deepEqual(await axe(one.context, one.page), []);
			await one.page.reload();
			await one.page.getByRole('alert').getByText('The storage settings could not be applied').waitFor();
			fs.rmSync(path.join(world.dir, 'storage.fails'));
			await change('/nfs/third');
			await one.see('The storage settings are saved');
			assert.equal(JSON.parse(world.read('admin/etc/storage.json')).storage.share, '/nfs/third');
			// What the job has to say of the server is not left in its log.
			await one.see('the server does not answer at 192.0.2.9 port 2049');
			await one.press('Undo the last change');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Undo'}).click();
			await one.page.locator('.notice').getByText('The previous storage settings are back').waitFor();
			assert.equal(JSON.parse(world.read('admin/etc/storage.json')).storage.share, '/nfs/storage');
			fs.rmSync(path.join(world.admin, 'bin/storage.sh'));
			await one.end();
		});

		await each('where nothing differs there is nothing to apply', async () => {
			const one = await visitor(world, {at: 'network'});
			await one.press('Review changes');
			await one.see('Nothing differs from the current settings');
			assert.equal(await one.page.getByRole('dialog').count(), 0);
			await one.go('storage');
			await one.press('Save');
			await one.see('Nothing differs from the current settings');
			assert.equal(await one.page.getByRole('dialog').count(), 0);
			await one.end();
		});

		await each('the review of a change lists every difference, those of the application too', async () => {
			world.write('admin/etc/app.json', JSON.stringify({name: 'testapp', mail: {host: 'a', ports: [25, 587]}, old: true}));
			world.write('admin/etc/network.json', JSON.stringify({...JSON.parse(world.read('admin/etc/network.json')), vlan: '7'}));
			const one = await visitor(world, {at: 'network'});
			await one.page.getByLabel('Gateway').fill('192.0.2.254');
			await one.page.getByLabel('Application settings').fill(JSON.stringify({name: 'testapp', mail: {host: 'b', ports: [25, 465]}, extra: null}));
			await one.press('Review changes');
			const dialog = one.page.getByRole('dialog');
			assert.deepEqual(await dialog.locator('dl > div').allTextContents(), ['Gateway192.0.2.1 → 192.0.2.254', 'app.mail.host"a" → "b"', 'app.mail.ports.1587 → 465', 'app.oldtrue → –', 'app.extra– → null']);
			await dialog.getByRole('button', {name: 'Apply'}).click();
			await one.press('Keep it');
			await one.see('Network: change confirmed');
			// A member that the page does not know stays.
			assert.equal(JSON.parse(world.read('admin/etc/network.json')).vlan, '7');
			await one.end();
		});

		await each('while a change is rolled back, every page says so and none shows it as in force', async () => {
			const one = await visitor(world, {at: 'network'});
			await one.page.getByLabel('Gateway').fill('192.0.2.254');
			await one.press('Review changes');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Apply'}).click();
			await one.see('Network: confirm your change');
			await one.see('They are temporary until you confirm them above.');
			assert.equal(await one.page.locator('.notice.good').count(), 0);
			await one.page.reload();
			await one.see('No other change is possible until this one is confirmed or rolled back.');
			await until(() => world.exists('admin/etc/pending_settings.txt'), 'a trial is pending');
			world.write('admin/etc/pending_settings.txt', world.read('admin/etc/pending_settings.txt').replace(/deadline=\d+/, 'deadline=1'), 0o640);
			await one.see('Network: restoring the previous settings');
			await one.see('Restoring the previous settings…');
			assert.equal(await one.page.getByText('192.0.2.254').count(), 0);
			assert.deepEqual(await axe(one.context, one.page), []);
			await one.go('home');
			await one.see('Network: restoring the previous settings');
			assert.equal(await one.page.locator('.notice.good').count(), 0);
			world.recover();
			await one.see('Network: not confirmed in time; previous settings restored');
			await one.go('network');
			assert.equal(await one.page.getByLabel('Gateway').inputValue(), '192.0.2.1');
			await one.end();
		});

		await each('a change that waits to be confirmed is reverted at once, and every tab says so', async () => {
			const one = await visitor(world, {at: 'network'});
			await one.page.getByLabel('Gateway').fill('192.0.2.254');
			await one.press('Review changes');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Apply'}).click();
			await one.see('Network: confirm your change');
			const other = await one.context.newPage();
			await other.goto(`${world.url}/#/license`);
			await other.getByText('Network: confirm your change').waitFor();
			await one.see('The new settings work');
			await one.press('Revert now');
			await one.see('Network: previous settings restored');
			assert.equal(JSON.parse(world.read('admin/etc/network.json')).gateway, '192.0.2.1');
			assert.equal(await one.page.getByText('Network: change confirmed').count(), 0);
			await one.go('jobs');
			await one.card('Finished').getByText('Rollback of network settings').waitFor();
			await other.goto(`${world.url}/#/home`);
			await other.getByText('Network: previous settings restored').waitFor();
			const [cert, key] = world.certificate('DNS:localhost');
			await one.go('certs');
			await one.file('Certificate').setInputFiles(cert);
			await one.file('Private key').setInputFiles(key);
			await one.press('Review changes');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Apply'}).click();
			await until(() => world.exists('reload'), 'the web server is asked to reload');
			await world.command('restart');
			await one.see('Certificates: confirm your change');
			await one.press('Revert now');
			await one.see('Certificates: previous settings restored');
			await world.command('restart');
			await one.end();
		});

		await each('a certificate on trial is not called installed', async () => {
			const one = await visitor(world, {at: 'certs'});
			const [cert, key] = world.certificate('DNS:localhost');
			await one.file('Certificate').setInputFiles(cert);
			await one.file('Private key').setInputFiles(key);
			await one.press('Review changes');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Apply'}).click();
			await until(() => world.exists('reload'), 'the web server is asked to reload');
			await world.command('restart');
			await one.see('Certificates: confirm your change');
			await one.see('They are temporary until you confirm them above.');
			assert.equal(await one.page.getByText('Installed', {exact: true}).count(), 0);
			await until(() => world.exists('admin/etc/pending_certs.txt'), 'a trial is pending');
			world.write('admin/etc/pending_certs.txt', world.read('admin/etc/pending_certs.txt').replace(/deadline=\d+/, 'deadline=1'), 0o640);
			await one.see('Certificates: restoring the previous settings');
			assert.equal(await one.page.getByText('Installed', {exact: true}).count(), 0);
			world.recover();
			await world.command('restart');
			await one.see('Certificates: not confirmed in time; previous settings restored');
			await one.see('not confirmed', {exact: false});
			assert.equal(await one.page.getByText('Installed', {exact: true}).count(), 0);
			await one.end();
		});

		await each('values of health are shown as they are, and none as none', async () => {
			world.write('admin/etc/health.json', JSON.stringify({disk: {used: '3.4G', total: '23G', percentage: 387}, memory: {}, cpu: {num: 2, load: '0.66, 0.28, 0.14', cpu5min: 'n/a'}}));
			const one = await visitor(world);
			await one.card('Health').getByText('387 % – critical').waitFor();
			assert.equal(await one.card('Health').getByText('No data').count(), 2);
			await one.see('Disk is at 387 %');
			fs.rmSync(path.join(world.admin, 'etc/health.json'));
			await one.page.reload();
			await one.card('Health').getByText('No data').nth(2).waitFor();
			assert.equal(await one.card('Health').getByText('normal').count(), 0);
			await one.end();
		});

		await each('answers that make no sense end in words, in uploads too', async () => {
			const answers = [{status: 200, contentType: 'text/html', body: '<h1>Please log in to the network</h1>'}, {status: 200, contentType: 'application/json', body: '{"half'}, {status: 204, body: ''}, {status: 200, contentType: 'application/json', body: '[1]'}, {status: 200, contentType: 'application/json', body: '{"status":{},"services":7,"endpoints":{}}'}];
			const one = await visitor(world);
			for (const answer of answers) {
				await one.go('home');
				await one.page.route('**/api/v1/admin/{health,services,version,settings,license,changelog,certs,jobs}?*', route => route.fulfill(answer));
				await one.page.reload();
				await one.card('Services').getByText('The response makes no sense').waitFor();
				await until(async () => !(await one.page.locator('main').innerText()).includes('Loading'), 'nothing is loading for ever');
				for (const page of ['network', 'certs', 'license', 'jobs']) {
					await one.go(page);
					await one.page.locator('main .card, main .notice').first().waitFor();
				}
				await one.page.unrouteAll();
			}
			await one.go('update');
			const file = path.join(world.vendor, 'nonsense');
			fs.writeFileSync(file, 'x');
			for (const answer of answers.slice(0, 4)) {
				await one.page.route('**/api/v1/admin/update?*', route => route.request().method() === 'POST' ? route.fulfill(answer) : route.fallback());
				await one.page.getByLabel('Update package').setInputFiles(file);
				await one.press('Send and install');
				await one.page.getByRole('alert').getByText('The response makes no sense').waitFor();
				await one.page.unrouteAll();
			}
			await one.end();
		});

		await each('Firefox does it, too: logs in, shows every page, keeps the session, updates', async () => {
			const one = await Firefox.start();
			try {
				await one.go(`${world.url}/`);
				await one.type('input[type=password]', TOKEN);
				await one.press('Log in');
				await one.see('Needs attention');
				await one.see('3.4G of 23G');
				const pages = await one.run('return [...document.querySelectorAll("nav a")].map(link => [link.hash, link.textContent])');
				assert.ok(pages.length > 10, JSON.stringify(pages));
				for (const [hash, name] of pages) {
					await one.run('location.hash = arguments[0]', hash);
					await until(() => one.run('return document.querySelector("h1")?.textContent === arguments[0] && Boolean(document.querySelector(".page:not([aria-busy]) .card, .page:not([aria-busy]) .notice"))', name), `Firefox shows ${name}`);
					if (hash !== '#/home') assert.equal(await one.run('return document.querySelector(".notice.bad")?.innerText'), null, name);
				}
				// A menu that is told by properties is one for a screen reader as well.
				assert.equal(await one.run('return document.querySelector("nav [aria-current=page]").hash'), pages.at(-1)[0]);
				await one.ask('WebDriver:Refresh');
				await one.see(pages.at(-1)[1]);
				await one.run('location.hash = "#/update"');
				await one.type('input[type=file]', world.package({size: 3_000_000}));
				await one.press('Send and install');
				await one.see('Install version 1.1.0?');
				await one.press('Install');
				await one.see('Updated from 1.0.0 to 1.1.0');
			} finally {
				await one.end();
			}
		});

		await each('what needs attention is on top, each with a way to mend it', async () => {
			world.write('admin/etc/health.json', JSON.stringify({disk: {used: '22G', total: '23G', percentage: 96}}));
			const soon = new Date(Date.now() + 5 * 86_400_000 - 3_600_000).toISOString();
			world.write('admin/etc/license.asc', JSON.stringify({app: 'enterprise', expires: soon}));
			const one = await visitor(world, {token: null});
			const job = (word, status, more) => ({id: word.padEnd(16, '0'), job: word, status, key: 'admin', started: new Date(Date.now() - 3e6).toISOString(), ended: new Date(Date.now() - 2e6).toISOString(), ...more});
			await one.page.route('**/api/v1/admin/jobs?*', route => route.fulfill({json: {jobs: [
				job('certs', 'running', {heartbeat: new Date(Date.now() - 1.2e6).toISOString()}), job('update', 'interrupted'), job('storage', 'success'), job('reboot', 'success', {started: new Date(Date.now() - 9e6).toISOString()})]}}));
			await one.page.route('**/api/v1/admin/certs?*', route => route.fulfill({json: {status: null, log: null, certificate: {names: ['box'], 'days-left': 12, served: false}}}));
			await one.logIn();
			const part = one.page.getByRole('region', {name: 'Needs attention'});
			for (const [text, hash] of [['Not running: gizmo', '#/support'], ['Disk is at 96 %', '#/monitor'], ['The certificate expires in 12 days', '#/certs'], ['The web server uses another certificate', '#/certs'], ['The license expires in 5 days', '#/license'], ['Update failed', '#/update'], [/^Certificates: no sign of life for 20 min/, '#/certs'], ['A restart is pending', '#/restart']]) {
				const notice = part.locator('.notice').filter({hasText: text});
				await notice.waitFor();
				assert.equal(await notice.getByRole('link').getAttribute('href'), hash, String(text));
			}
			// The worst first, and before everything else.
			const kinds = await part.locator('.notice').evaluateAll(all => all.map(one => one.className.split(' ')[1]));
			assert.deepEqual(kinds, [...kinds].sort());
			assert.ok((await part.boundingBox()).y < (await one.card('Health').boundingBox()).y);
			assert.deepEqual(await axe(one.context, one.page), []);
			await one.end();
		});

		await each('a clock that is wrong is noticed', async () => {
			const one = await visitor(world, {token: null});
			await one.context.addInitScript(() => {
				const now = Date.now;
				Date.now = () => now() - 3.6e6;
			});
			await one.logIn();
			await one.see("The appliance's clock is wrong");
			await one.end();
		});

		await each('jobs are listed, with who began them and how they ended, and one at work is shown on every page', async () => {
			const one = await visitor(world, {at: 'backup'});
			await one.press('Create backup');
			await one.page.getByRole('button', {name: 'Delete', exact: true}).waitFor();
			await one.go('update');
			await one.page.getByLabel('Update package').setInputFiles(world.package({script: world.waits}));
			await one.press('Send and install');
			await one.see('70 %');
			await one.go('license');
			const bar = one.page.locator('.bars');
			await bar.getByText('Update in progress').waitFor();
			await bar.getByText('70 %').waitFor();
			assert.equal(await bar.getByRole('link').getAttribute('href'), '#/update');
			await one.go('jobs');
			await one.card('Running').getByText('Update', {exact: true}).waitFor();
			world.letInstall();
			await one.card('Finished').getByRole('row', {name: /^Update/}).getByText('done').waitFor();
			await one.card('Finished').getByRole('row', {name: /^Backup .*done.* admin$/}).waitFor();
			assert.deepEqual(await axe(one.context, one.page), []);
			await one.end();
		});

		await each('a restart while a job is at work is refused with the reason, and can be forced', async () => {
			world.write('etc/jidoteki-admin-api.json', JSON.stringify({...JSON.parse(world.read('etc/jidoteki-admin-api.json')), reboot: 'both'}));
			const one = await visitor(world, {at: 'update'});
			await one.page.getByLabel('Update package').setInputFiles(world.package({script: world.waits}));
			await one.press('Send and install');
			await one.see('70 %');
			await one.go('restart');
			await one.press('Restart');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Restart'}).click();
			await one.see('Another job is in progress');
			assert.ok(!world.exists('reboot'));
			await one.press('Restart anyway');
			await one.page.getByRole('dialog').getByText('The job is cut off').waitFor();
			await one.page.getByRole('dialog').getByRole('button', {name: 'Restart anyway'}).click();
			await until(() => world.exists('reboot'), 'the reboot job runs');
			world.letInstall();
			await one.end();
		});

		await each('logging out asks while a file is being sent', async () => {
			const one = await visitor(world, {at: 'update'});
			await stalledUpload(one);
			await one.go('license');
			await one.page.locator('.bars').getByText('Sending package.enc').waitFor();
			await one.press('Log out');
			await one.page.getByRole('dialog').getByText('The transfer is canceled').waitFor();
			await one.page.getByRole('dialog').getByRole('button', {name: 'Cancel'}).click();
			assert.equal(await one.page.getByLabel('Token', {exact: true}).count(), 0);
			await one.press('Log out');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Log out'}).click();
			await one.page.getByText('You are logged out', {exact: true}).waitFor();
			await one.end();
		});

		await each('without activity the session ends, and says why', async () => {
			const one = await visitor(world);
			const seen = ago => one.page.evaluate(ago => new Promise(resolve => {
				const open = indexedDB.open('dashboard');
				open.onsuccess = () => {
					const work = open.result.transaction('keys', 'readwrite');
					work.objectStore('keys').put({stay: false, seen: Date.now() - ago}, 'about');
					work.oncomplete = () => resolve(open.result.close());
				};
			}), ago);
			await seen(29 * 60_000);
			await one.page.reload();
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			await seen(31 * 60_000);
			await one.page.reload();
			await one.see('You were logged out after 30 minutes without activity');
			await one.page.reload();
			await one.page.getByLabel('Token', {exact: true}).waitFor();
			await one.end();
		});

		await each('a tab that is opened later is logged in as well, and one that waits at the door', async () => {
			const one = await visitor(world, {token: null});
			await one.page.goto(`${world.url}/`);
			await one.page.getByLabel('Token', {exact: true}).waitFor();
			const other = await one.context.newPage();
			await other.goto(`${world.url}/#/license`);
			await other.getByLabel('Token', {exact: true}).fill(TOKEN);
			await other.getByRole('button', {name: 'Log in', exact: true}).click();
			await other.getByRole('heading', {level: 1, name: 'License'}).waitFor();
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			await one.end();
		});

		await each('the audit log is a page', async () => {
			const configuration = JSON.parse(world.read('etc/jidoteki-admin-api.json'));
			world.write('etc/jidoteki-admin-api.json', JSON.stringify({...configuration, endpoints: [...configuration.endpoints, 'audit']}));
			const one = await visitor(world);
			const entry = seq => ({seq, time: '2026-11-23T12:00:00.123456789Z', id: '8a1c6f0b2d3e4f50', action: seq % 2 ? 'update.post' : HOSTILE, target: '', result: 'done', client: '192.0.2.7', key: 'ops', chain: ''});
			await one.page.route('**/api/v1/admin/audit?*', route => {
				const before = Number(new URL(route.request().url()).searchParams.get('before')) || 4;
				return route.fulfill({json: {entries: [before - 1, before - 2].map(entry), next: before > 3 ? before - 2 : null}});
			});
			await one.go('audit');
			await one.page.getByRole('row', {name: /update\.post .*done.* ops 192\.0\.2\.7/}).first().waitFor();
			await one.press('Show older entries');
			await until(async () => await one.page.locator('tbody tr').count() === 4, 'older entries follow');
			assert.equal(await one.page.getByRole('button', {name: 'Show older entries'}).count(), 0);
			assert.deepEqual(await axe(one.context, one.page), []);
			await one.end();
		});

		await each('a log can be searched and followed', async () => {
			world.write('admin/log/update.log', '[1432140922][SYSTEM] one apple\n[1432140923][SYSTEM] two pears\n');
			const one = await visitor(world, {at: 'support'});
			await one.see('2 of 2 lines');
			await one.page.getByLabel('Search the log').fill('PEAR');
			await one.see('1 of 2 lines');
			assert.equal(await one.page.getByText('one apple').count(), 0);
			world.write('admin/log/update.log', `${world.read('admin/log/update.log')}[1432140924][SYSTEM] three pears\n`);
			await one.see('three pears');
			await one.page.getByLabel('Follow new lines').uncheck();
			await one.page.getByLabel('Search the log').fill('');
			await one.see('3 of 3 lines');
			await one.end();
		});

		await each('the menu of a narrow page closes by Escape, and the skip link does not move the page', async () => {
			const one = await visitor(world, {viewport: {width: 390, height: 600}});
			await one.press('Menu');
			await one.page.getByRole('link', {name: 'Update', exact: true}).waitFor();
			await one.page.keyboard.press('Escape');
			await one.page.getByRole('link', {name: 'Update', exact: true}).waitFor({state: 'hidden'});
			await one.page.locator('.skip').focus();
			await one.page.keyboard.press('Enter');
			assert.equal(await one.page.evaluate(() => scrollY), 0);
			await one.end();
		});

		await each('a backup is made, fetched, restored, undone and deleted', async () => {
			const one = await visitor(world, {at: 'backup'});
			await one.press('Create backup');
			await one.page.getByRole('button', {name: 'Download', exact: true}).waitFor({timeout: 30_000});
			const [download] = await Promise.all([one.page.waitForEvent('download'), one.press('Download')]);
			await one.see(/^backup-localhost-.*\.tar downloaded/);
			const archive = path.join(world.vendor, 'fetched.tar');
			await download.saveAs(archive);
			assert.deepEqual(fs.readFileSync(archive), fs.readFileSync(path.join(world.admin, 'home/sftp/uploads/backup.tar')));
			world.write('data/file', 'changed\n');
			await one.file('Backup').setInputFiles(archive);
			await one.press('Restore');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Restore'}).click();
			await one.see('everything uses the restored data.');
			assert.equal(world.read('data/file'), 'precious\n');
			await one.press('Undo the last restore');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Undo'}).click();
			await until(() => world.peek('data/file') === 'changed\n', 'the restore is undone');
			await one.press('Delete');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Delete'}).click();
			await one.page.getByRole('button', {name: 'Create backup'}).waitFor();
			await one.end();
		});

		await each('an archive that is none is refused with the reason', async () => {
			const one = await visitor(world, {at: 'backup'});
			await one.file('Backup').setInputFiles({name: 'backup.tar', mimeType: 'application/x-tar', buffer: Buffer.from('nothing of the kind')});
			await one.press('Restore');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Restore'}).click();
			await one.page.getByRole('alert').getByText(/Unable to extract backup archive/).waitFor();
			assert.equal(world.read('data/file'), 'precious\n');
			await one.end();
		});

		await each('logs and debug bundle are fetched, without a signature in the history', async () => {
			const one = await visitor(world, {at: 'support'});
			for (const [name, file] of [['Download logs', 'logs.tar.gz'], ['Download debug bundle', 'debug-bundle.tar']]) {
				const [download] = await Promise.all([one.page.waitForEvent('download'), one.press(name)]);
				assert.equal(download.suggestedFilename(), file);
				assert.match(download.url(), /^blob:/);
				await one.see(new RegExp(`^${file.replaceAll('.', '\\.')} downloaded`));
			}
			await one.end();
		});

		await each('the token is changed, and every tab stays logged in', async () => {
			const one = await visitor(world, {token: null});
			await one.page.goto(`${world.url}/`);
			await one.page.getByLabel('Token', {exact: true}).fill(TOKEN);
			await one.page.getByLabel('Stay logged in').check();
			await one.press('Log in');
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			const other = await one.context.newPage();
			await other.goto(`${world.url}/`);
			await other.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			await one.go('tokens');
			await one.page.getByLabel('New token', {exact: true}).fill('fifteen-letters');
			await one.page.getByLabel('Repeat the new token').fill('fifteen-letters');
			await one.press('Set token');
			await one.see('At least 16 characters', {exact: true});
			assert.equal(world.read('admin/etc/api.token').trim(), TOKEN);
			await one.page.getByLabel('New token', {exact: true}).fill('a-new-token-of-all');
			await one.page.getByLabel('Repeat the new token').fill('another');
			await one.press('Set token');
			await one.see('The two tokens differ');
			await one.page.getByLabel('Repeat the new token').fill('a-new-token-of-all');
			await one.press('Set token');
			await one.see('The new API token is in force');
			assert.equal(world.read('admin/etc/api.token').trim(), 'a-new-token-of-all');
			await other.getByRole('link', {name: 'Storage'}).click();
			await other.getByLabel('Share').waitFor();
			await one.page.reload();
			await one.page.getByRole('heading', {level: 1, name: 'Tokens'}).waitFor();
			await one.page.waitForLoadState('networkidle');
			// Changed by somebody else: out, with a reason.
			world.write('admin/etc/api.token', 'changed-again\n', 0o660);
			await one.see('Please log in again');
			await one.end();
		});

		await each('named tokens are made, shown once, listed and removed', async () => {
			const one = await visitor(world, {at: 'tokens'});
			await one.card('You are logged in with').getByText('admin', {exact: true}).waitFor();
			await one.card('Named tokens').getByText('Nothing yet').waitFor();
			const add = one.card('Create a named token');
			await add.getByLabel('Name').fill('a b');
			await one.press('Create token');
			await add.getByText('Allowed characters: A–Z a–z 0–9 _-').waitFor();
			await add.getByLabel('Name').fill('backup-robot');
			await add.getByLabel('Scope').selectOption('operate');
			await add.getByLabel('Valid for days').fill('30');
			await one.press('Create token');
			await one.see('Store this token now');
			const secret = await one.page.locator('code.secret').textContent();
			assert.match(secret, /^[!-~]{16,}$/);
			assert.deepEqual(await axe(one.context, one.page), []);
			await one.press('I have stored it');
			await one.page.locator('.notice').getByText('The token “backup-robot” is created').waitFor();
			const day = new Date(Date.now() + 30 * 86_400_000).toLocaleDateString('en-GB', {dateStyle: 'long'});
			await one.card('Named tokens').getByRole('row', {name: new RegExp(`^backup-robot operate: .* ${day} Remove$`)}).waitFor();
			assert.ok(!(await one.page.content()).includes(secret));
			assert.deepEqual(await axe(one.context, one.page), []);
			// The same name once more is refused beside it.
			await add.getByLabel('Name').fill('backup-robot');
			await one.press('Create token');
			await one.page.locator('[name=name][aria-invalid=true]').waitFor();
			const robot = await visitor(world, {token: secret, at: 'tokens'});
			await robot.card('You are logged in with').getByText('backup-robot').waitFor();
			assert.equal(await robot.card('Named tokens').count(), 0);
			await robot.see('Your token may not do this');
			await one.press('Remove');
			await one.page.getByRole('dialog').getByText('Programs that use it are refused immediately.').waitFor();
			await one.page.getByRole('dialog').getByRole('button', {name: 'Remove'}).click();
			await one.page.locator('.notice').getByText('The token “backup-robot” is removed').waitFor();
			await one.card('Named tokens').getByText('Nothing yet').waitFor();
			await robot.page.reload();
			await robot.page.getByLabel('Token', {exact: true}).waitFor();
			await robot.end();
			await one.end();
		});

		await each('the token of a new appliance is set', async () => {
			fs.rmSync(path.join(world.admin, 'etc/api.token'));
			const one = await visitor(world, {token: null});
			await one.page.goto(`${world.url}/`);
			await one.page.getByText("I don't have a token").click();
			await one.press('Set the first token');
			await one.press('Generate');
			const token = await one.page.getByLabel('New token', {exact: true}).inputValue();
			assert.match(token, /^[!-~]{16,}$/);
			// On the screen until somebody says that it is stored, and to be copied.
			await one.see(token);
			await one.press('Set token');
			await one.see('Store this token now');
			await one.see(token);
			await one.context.grantPermissions(['clipboard-read', 'clipboard-write'], {origin: world.url});
			await one.press('Copy');
			await one.see('Copied', {exact: true});
			assert.equal(await one.page.evaluate(() => navigator.clipboard.readText()), token);
			await one.press('I have stored it');
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			assert.equal(world.read('admin/etc/api.token').trim(), token);
			await one.end();
		});

		await each('a token that is set already is not replaced by a stranger', async () => {
			const one = await visitor(world, {token: null});
			await one.page.goto(`${world.url}/`);
			await one.page.getByText("I don't have a token").click();
			await one.press('Set the first token');
			await one.press('Generate');
			await one.press('Set token');
			await one.see('This appliance already has a token');
			assert.equal(world.read('admin/etc/api.token').trim(), TOKEN);
			await one.end();
		});

		await each('a first run asks for the passphrase on the screen', async () => {
			const configuration = JSON.parse(world.read('etc/jidoteki-admin-api.json'));
			world.write('etc/jidoteki-admin-api.json', JSON.stringify({...configuration, 'first-run': {'word-length': 4, enabled: true}}));
			fs.rmSync(path.join(world.admin, 'etc/api.token'));
			world.write('admin/etc/api.token', '', 0o660);
			world.write('admin/etc/api.token.setup', '', 0o660);
			const one = await visitor(world, {token: null});
			await one.page.goto(`${world.url}/`);
			await one.see("The appliance's screen shows a passphrase.");
			const passphrase = world.read('admin/etc/api.token.setup').trim();
			assert.match(passphrase, /^(\S+-){3}\S+$/);
			const enter = async words => {
				await one.page.getByLabel('Setup passphrase').fill(words);
				await one.page.getByLabel('New token', {exact: true}).fill('first-token-of-all');
				await one.page.getByLabel('Repeat the new token').fill('first-token-of-all');
				await one.press('Set token');
			};
			await enter('not-the-right-words');
			await one.see('This is not the passphrase on the screen');
			// A wrong passphrase empties nothing.
			assert.equal(await one.page.getByLabel('New token', {exact: true}).inputValue(), 'first-token-of-all');
			assert.equal(await one.page.getByLabel('Repeat the new token').inputValue(), 'first-token-of-all');
			await one.page.getByLabel('Setup passphrase').fill(` ${passphrase} `);
			await one.press('Set token');
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			assert.equal(world.read('admin/etc/api.token').trim(), 'first-token-of-all');
			await one.end();
		});

		await each('a restart is waited for', async () => {
			const one = await visitor(world, {at: 'restart'});
			await one.press('Restart');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Restart'}).click();
			await one.see(/^Shutting down/);
			await until(() => world.exists('reboot'), 'the reboot job runs');
			await world.command('stop');
			await one.see(/^Off or starting/);
			world.write('admin/etc/version.txt', '1.0.7\n');
			await world.command('restart');
			await one.see(/^Back after/);
			await one.see('It runs version 1.0.7.');
			await one.end();
		});

		await each('an appliance that does not answer is told from a wrong token', async () => {
			const one = await visitor(world, {token: null});
			// The page's own first question fails late, and takes away nothing that was typed meanwhile.
			let fail;
			await one.page.route(/version/, async route => {
				await new Promise(resolve => {
					fail = resolve;
				});
				await route.abort();
			}, {times: 1});
			await one.page.goto(`${world.url}/`);
			await one.page.getByLabel('Token', {exact: true}).fill(TOKEN);
			await until(() => fail, 'the page asks');
			fail();
			await one.see('The appliance does not respond');
			await one.page.getByRole('button', {name: 'Try again'}).waitFor();
			assert.equal(await one.page.getByLabel('Token', {exact: true}).inputValue(), TOKEN);
			await Promise.all([one.page.waitForResponse(/version/), one.press('Try again')]);
			await one.page.getByLabel('Token', {exact: true}).fill(TOKEN);
			await world.command('stop');
			await one.press('Log in');
			await one.page.getByRole('alert').getByText('The appliance does not respond').waitFor();
			await world.command('restart');
			await one.page.getByLabel('Token', {exact: true}).fill(TOKEN);
			await one.press('Log in');
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			await one.end();
		});

		await each('history is plotted, can be read sample by sample, and where there is none the page says so', async () => {
			const one = await visitor(world);
			const asked = [];
			const series = values => Array.from({length: 61}, (_, i) => i > 20 && i < 25 ? null : values(i));
			await one.page.route('**/health/history?*', route => {
				asked.push(new URL(route.request().url()).searchParams.get('range'));
				return route.fulfill({json: {range: '1h', step: 60, start: 1790000000, series: {cpu: series(i => i), memory: series(() => 50), disk: [HOSTILE, {}, null], network_in: series(i => 1000 * i), network_out: series(() => 5)}}});
			});
			await one.go('monitor');
			await one.card('Processor').getByText(/^now 60 %, average .* %, peak 60 %/).waitFor();
			await one.card('Disk').getByText('No data').waitFor();
			await one.card('Network').getByText(/^Sent: now 5 B\/s/).waitFor();
			// Two pieces, because there is a gap; and the axis of the network fits its values.
			assert.equal((await one.card('Processor').locator('path.cpu').getAttribute('d')).replaceAll(/[^M]+h\.1(?=M)/g, '').match(/M/g).length, 2);
			await one.card('Network').getByText('60 kB/s', {exact: true}).waitFor();
			assert.deepEqual(await one.card('Processor').locator('.values span').allTextContents(), ['100 %', '75 %', '50 %', '25 %', '0 %']);
			assert.deepEqual(await one.card('Network').locator('.values span').allTextContents(), ['60 kB/s', '40 kB/s', '20 kB/s', '0 B/s']);
			assert.equal(await one.card('Processor').locator('.times span').count(), 5);
			await one.see(/^Times in /);
			const slider = one.card('Processor').getByRole('slider');
			await slider.focus();
			await one.page.keyboard.press('ArrowLeft');
			assert.match(await slider.getAttribute('aria-valuetext'), /: 59 %$/);
			assert.deepEqual(await axe(one.context, one.page), []);
			await one.page.getByLabel('Year').check();
			await until(() => asked.at(-1) === '1y', 'the year is asked for');
			await one.page.unrouteAll();
			await one.page.route('**/health/history?*', route => route.fulfill({status: 404, json: {Status: '404 Not Found', 'Error-Message': 'rrdtool is not installed'}}));
			await one.page.getByLabel('Day').check();
			await one.see('rrdtool is not installed');
			await one.end();
		});

		await each("the ancestor's dashboard works: a tag in the query, fields of a form, and a cookie that opens nothing", async () => {
			const one = await visitor(world, {token: null});
			await one.page.goto(`${world.url}/`);
			const tagBy = token => (method, path) => `?hash=${createHmac('sha256', keyOf(token)).update(`${method}/api/v1/admin${path}`).digest('hex')}`;
			// As a page of its day asks: with its cookies. Text that is JSON is sent as a file.
			const ask = async (method, path, fields, query) => one.page.evaluate(([method, url, fields]) => new Promise(resolve => {
				const request = new XMLHttpRequest();
				const form = new FormData();
				for (const [name, value] of Object.entries(fields || {})) form.append(name, value.startsWith('{') ? new File([value], 'file') : value);
				request.open(method, url);
				request.onloadend = () => resolve([request.status, request.responseText]);
				request.send(fields && form);
			}), [method, `/api/v1/admin${path}${query(method, path)}`, fields]);
			await one.page.evaluate(key => {
				document.cookie = `jidoteki-admin-api-token=${key}`;
			}, keyOf(TOKEN));
			assert.equal((await ask('GET', '/version', null, () => ''))[0], 403);
			let tag = tagBy(TOKEN);
			const answers = async (method, path, status, text, fields) => {
				const [got, body] = await ask(method, path, fields, tag);
				assert.equal(got, status, `${method} ${path}: ${body}`);
				assert.match(body, text, `${method} ${path}`);
			};
			for (const [path, text] of [['/version', /^{"version":"1\.0\.0"}$/], ['/build', /"builddate":"1790000000"/], ['/changelog', /First version/], ['/endpoints', /"\/api\/v1\/admin\/update"/], ['/health', /"percentage":86/], ['/services', /^{"services":\[{"gizmo":/], ['/license', /"users":20/], ['/settings', /"hostname":"box\.example\.com"/], ['/storage', /"type":"nfs"/], ['/update', /"status":null/], ['/certs', /"status":/]]) await answers('GET', path, 200, text);
			await answers('POST', '/license', 200, /"users":77/, {license: '{"users":77}'});
			await answers('POST', '/storage', 202, /"Location":"\/api\/v1\/admin\/storage"/, {settings: '{"storage":{"type":"local"}}'});
			await answers('POST', '/settings', 202, /"Location":"\/api\/v1\/admin\/settings"/, {settings: '{"network":{"hostname":"other","interface":"eth0"},"app":{"name":"testapp"}}'});
			// An update waits for nobody: it is refused while they run.
			await until(async () => !(await ask('GET', '/jobs', null, tag))[1].includes('"running"'), 'both changes are made');
			await answers('POST', '/update', 202, /"Location":"\/api\/v1\/admin\/update"/, {update: '{}'});
			await until(async () => (await ask('GET', '/update', null, tag))[1].includes('"error-code":"E1005"'), 'the update fails with its code');
			await answers('GET', '/update/log', 200, /Updating system/);
			await until(async () => !(await ask('GET', '/jobs', null, tag))[1].includes('"running"'), 'the update has ended');
			await answers('POST', '/backup', 202, /"Location":"\/api\/v1\/admin\/backup"/, {action: 'START'});
			await until(async () => (await ask('GET', '/backup', null, tag))[1].includes('"status":"success"'), 'the backup is made');
			await answers('POST', '/setup', 200, /"Status":"200 OK"/, {newtoken: 'another'});
			await answers('GET', '/version', 403, /"Error-Message":"Authentication error"/);
			tag = tagBy('another');
			await answers('GET', '/version', 200, /"version"/);
			await one.end();
		});

		await each('a browser and an appliance whose clocks differ by decades still agree', async () => {
			const one = await visitor(world, {token: null});
			await one.context.addInitScript(() => {
				const now = Date.now;
				Date.now = () => now() - 1.7e12;
			});
			await one.page.goto(`${world.url}/`);
			await one.page.getByLabel('Token', {exact: true}).fill(TOKEN);
			await one.page.getByLabel('Stay logged in').check();
			await one.press('Log in');
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			await one.page.reload();
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			await one.end();
		});

		await each('who is refused for another reason than the token is told that', async () => {
			const configuration = JSON.parse(world.read('etc/jidoteki-admin-api.json'));
			world.write('admin/etc/api.tokens.json', JSON.stringify({tokens: [{name: 'monitoring', scope: 'read', verifier: keyOf('monitor')}]}), 0o600);
			const one = await visitor(world, {token: 'monitor', at: 'restart'});
			await one.see('“monitoring” has the scope read; this needs the scope operate.', {exact: false});
			assert.equal(await one.page.locator('main').getByRole('button').count(), 0);
			for (const name of ['update', 'backup', 'network', 'certs', 'storage', 'license', 'tokens', 'support']) {
				await one.go(name);
				await one.see('Your token may not do this');
				assert.equal(await one.page.locator('main .primary').count(), 0, name);
			}
			await one.go('update');
			await one.page.getByRole('heading', {level: 1, name: 'Update'}).waitFor();
			await one.press('Log out');
			world.write('etc/jidoteki-admin-api.json', JSON.stringify({...configuration, legacy: 'deny'}));
			await one.logIn();
			await one.page.getByRole('heading', {level: 1, name: 'Overview'}).waitFor();
			// A file of any size is signed, too, piece by piece.
			const giant = path.join(world.dir, 'giant');
			fs.writeFileSync(giant, '');
			fs.truncateSync(giant, 3e7);
			const request = one.page.waitForRequest(request => request.method() === 'PATCH');
			await one.go('update');
			await one.file('Update package').setInputFiles(giant);
			await one.press('Send and install');
			assert.doesNotMatch((await request).url(), /hash|token/);
			assert.match((await (await request).allHeaders())['content-digest'], /^sha-256=:/);
			await one.page.getByRole('alert').getByText('(E1005)').waitFor();
			world.write('etc/jidoteki-admin-api.json', JSON.stringify({...configuration, reboot: 'post'}));
			await one.page.reload();
			await one.go('restart');
			await one.press('Restart');
			await one.page.getByRole('dialog').getByRole('button', {name: 'Restart'}).click();
			await until(() => world.exists('reboot'), 'the reboot job runs');
			await one.end();
		});

		await each('only what the appliance offers is in the menu', async () => {
			world.write('etc/jidoteki-admin-api.json', '{}');
			const one = await visitor(world);
			assert.deepEqual(await one.page.locator('nav a').allTextContents(), ['Overview', 'Monitor', 'Update', 'Tokens', 'Jobs', 'Support', 'Restart']);
			await one.go('monitor');
			await one.see('They need the endpoint "monitor" and the program rrdtool.');
			await one.end();
		});
	} finally {
		await world.end();
	}
}

for (const server of ['nginx', 'lighttpd']) await through(server, await freePort());
await within(10, browser.close());

for (const fact of facts) console.log(fact);
console.log(`${passed} passed, ${failed} failed`);
// Not left to the end of all that is open: a program that a test started may hold on to a pipe.
process.exit(failed ? 1 : 0);
