// Debian's Firefox, by the protocol that it speaks itself (Marionette): what WebDriver can do, without another program.

import {spawn} from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import {until} from './world.mjs';

const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf';

export class Firefox {
	static async start() {
		const self = new Firefox();
		self.profile = fs.mkdtempSync(path.join(os.tmpdir(), 'firefox-'));
		fs.writeFileSync(path.join(self.profile, 'user.js'), ['"marionette.port", 0', '"intl.accept_languages", "en-GB"', '"datareporting.policy.dataSubmissionEnabled", false', '"app.update.enabled", false', '"network.captive-portal-service.enabled", false', '"network.connectivity-service.enabled", false', '"browser.safebrowsing.malware.enabled", false', '"browser.safebrowsing.phishing.enabled", false', '"extensions.getAddons.cache.enabled", false', '"services.settings.server", "data:,"'].map(line => `user_pref(${line});\n`).join(''));
		self.process = spawn('/usr/bin/firefox-esr', ['--marionette', '--headless', '--no-remote', '--profile', self.profile], {stdio: 'ignore', env: {...process.env, HOME: self.profile}});
		const file = path.join(self.profile, 'MarionetteActivePort');
		await until(() => fs.existsSync(file) && fs.readFileSync(file, 'utf8').trim(), 'Firefox tells its port', 60);
		self.socket = net.connect(Number(fs.readFileSync(file, 'utf8')), '127.0.0.1');
		self.waiting = new Map();
		let data = Buffer.alloc(0);
		self.socket.on('data', more => {
			data = Buffer.concat([data, more]);
			for (;;) {
				const colon = data.indexOf(':');
				const length = Number(data.subarray(0, colon));
				if (colon < 0 || data.length < colon + 1 + length) return;
				const message = JSON.parse(data.subarray(colon + 1, colon + 1 + length));
				data = data.subarray(colon + 1 + length);
				if (!Array.isArray(message)) continue;
				const [, id, error, result] = message;
				const {resolve, reject} = self.waiting.get(id);
				if (error) reject(new Error(`${error.error}: ${error.message}`));
				else resolve(result);
			}
		});
		await self.ask('WebDriver:NewSession', {acceptInsecureCerts: true, unhandledPromptBehavior: 'accept'});
		return self;
	}

	ask(name, parameters = {}) {
		const id = this.waiting.size;
		const text = JSON.stringify([0, id, name, parameters]);
		this.socket.write(`${Buffer.byteLength(text)}:${text}`);
		return new Promise((resolve, reject) => this.waiting.set(id, {resolve, reject}));
	}

	go = url => this.ask('WebDriver:Navigate', {url});
	run = async (script, ...args) => (await this.ask('WebDriver:ExecuteScript', {script, args})).value;
	// The text of the page, as a person sees it.
	text = () => this.run('return document.body?.innerText ?? ""');
	see = text => until(async () => (await this.text()).includes(text), `Firefox shows ${text}`, 30);

	async find(using, value) {
		let found;
		await until(async () => {
			found = await this.ask('WebDriver:FindElement', {using, value}).catch(() => null);
			return found;
		}, `Firefox has ${value}`);
		return found.value[ELEMENT];
	}

	press = async text => this.ask('WebDriver:ElementClick', {id: await this.find('xpath', `//button[normalize-space()="${text}"]`)});
	type = async (css, text) => this.ask('WebDriver:ElementSendKeys', {id: await this.find('css selector', css), text});

	async end() {
		await this.ask('Marionette:Quit', {flags: ['eForceQuit']}).catch(() => {});
		await until(() => this.process.exitCode !== null || this.process.signalCode, 'Firefox ends');
		fs.rmSync(this.profile, {recursive: true, force: true, maxRetries: 20, retryDelay: 50});
	}
}
