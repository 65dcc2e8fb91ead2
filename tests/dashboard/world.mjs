// An appliance for tests: admin and etc path in a temporary directory, the real executable, the real jobs, and
// one of the two web servers in front. It belongs to one unprivileged user, so that jobs need no sudo.

import {execFileSync, spawn} from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const TOKEN = 'testtoken';
// Bytes of a body that the web servers let through; the dashboard has to explain what happens beyond.
export const MAX_BODY = 20_000_000;

// The group of nginx, which sends the files that the executable points it to.
const USER = 'nobody', GROUP = 'www-data';
// Looks like markup, like a script, and like a line that leaves its place.
export const HOSTILE = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>'"&amp;{{7*7}}`;

const run = (command, ...args) => execFileSync(command, args, {encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe']});

export class World {
	constructor(server, port) {
		Object.assign(this, {server, port, url: `https://localhost:${port}`});
		this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dashboard-'));
		fs.chmodSync(this.dir, 0o755);
		run('chown', `${USER}:${GROUP}`, this.dir);
		this.admin = path.join(this.dir, 'admin');
		this.etc = path.join(this.dir, 'etc');
		this.edge = path.join(this.dir, 'edge');
		this.vendor = path.join(this.dir, 'vendor');
		for (const one of ['admin/etc', 'admin/log', 'admin/home/sftp/uploads', 'admin/home/sftp', 'etc', 'edge', 'vendor', 'data']) fs.mkdirSync(path.join(this.dir, one), {recursive: true});
		fs.cpSync(path.join(ROOT, 'cgi-bin'), path.join(this.admin, 'bin'), {recursive: true});
		fs.copyFileSync(process.env.BINARY, path.join(this.dir, 'program'));
		fs.chmodSync(path.join(this.dir, 'program'), 0o755);
		const wrapper = this.read('admin/bin/wrapper.sh');
		// Jobs find both programs as commands. The first is not the one of the web servers, which holdAnswers replaces.
		fs.mkdirSync(path.join(this.dir, 'commands'));
		fs.linkSync(path.join(this.dir, 'program'), path.join(this.dir, 'commands/jidoteki-admin-api'));
		fs.copyFileSync(path.join(path.dirname(process.env.BINARY), 'jidoteki-admin-jobs'), path.join(this.dir, 'commands/jidoteki-admin-jobs'));
		fs.chmodSync(path.join(this.dir, 'commands/jidoteki-admin-jobs'), 0o755);
		this.write('admin/bin/wrapper.sh', wrapper.replace('exec sudo -n -- "$@"', `PATH="${this.dir}/commands:$PATH" exec "$@"`), 0o755);
		// What would change the machine that runs the tests only leaves a note.
		this.write('admin/bin/network.sh', `#!/bin/sh\n[ ! -e "${this.dir}/network.fails" ] || exit 1\n`, 0o755);
		this.write('admin/bin/web-server.sh', `#!/bin/sh\n[ "$1" != reload ] || : >"${this.dir}/reload"\n`, 0o755);
		// The reboot job stops here, before it comes to the real command.
		this.write('admin/bin/system-backup.sh', `#!/bin/sh\n: >"${this.dir}/reboot"\nexit 1\n`, 0o755);
		this.write('admin/bin/license.sh', `#!/bin/sh\n[ ! -s "${this.admin}/etc/license.asc" ] || cat "${this.admin}/etc/license.asc"\n`, 0o755);
		this.write('etc/storage-options.json', '{"options":["local","nfs","aoe","iscsi","nbd"]}');
		this.write('etc/build.json', '{"builddate":"1790000000"}');
		// No machine has it, so that it runs nowhere.
		this.write('etc/allservices.txt', 'gizmo\n');
		this.write('admin/etc/updates.key', 'a pass phrase of the image\n', 0o600);
		this.write('admin/etc/logs.txt', `${this.admin}/log\n`);
		this.write('admin/etc/backup.txt', `${this.dir}/data\n`);
		this.write('admin/etc/web-server.txt', server);
		run('openssl', 'genrsa', '-out', path.join(this.vendor, 'key.pem'), '2048');
		this.write('admin/etc/updates.pub', run('openssl', 'rsa', '-in', path.join(this.vendor, 'key.pem'), '-pubout'));
		this.reset();
	}

	// The appliance as the factory delivers it, with a token.
	reset() {
		if (this.exists('real')) fs.renameSync(path.join(this.dir, 'real'), path.join(this.dir, 'program'));
		// What a failed test has left at work must not be in the way of the next.
		this.letInstall();
		for (const file of fs.readdirSync(path.join(this.admin, 'home/sftp/uploads'))) if (file.endsWith('.lock')) run('flock', '-w', '20', path.join(this.admin, 'home/sftp/uploads', file), 'true');
		for (const one of ['network.fails', 'reload', 'reboot', 'install']) fs.rmSync(path.join(this.dir, one), {force: true});
		for (const one of ['admin/etc', 'admin/log', 'admin/home/sftp/uploads']) {
			for (const file of fs.readdirSync(path.join(this.dir, one))) {
				if (/^(\.resumable|status|pending|network|machine|app|api\.tokens|storage|license|update|backup|logs\.tar)/.test(file) && !file.startsWith('updates.') && file !== 'backup.txt') fs.rmSync(path.join(this.dir, one, file), {recursive: true, force: true});
			}
		}
		for (const one of ['lib', 'state']) {
			// A request of the page that has just gone may still write there.
			fs.rmSync(path.join(this.admin, one), {recursive: true, force: true, maxRetries: 20, retryDelay: 50});
			fs.mkdirSync(path.join(this.admin, one), 0o700);
		}
		this.write('admin/etc/api.token', `${TOKEN}\n`, 0o660);
		this.write('etc/jidoteki-admin-api.json', JSON.stringify({endpoints: ['settings', 'certs', 'license', 'storage', 'backup', 'monitor'], parameters: ['public', 'private', 'ca', 'license', 'action', 'archive']}));
		this.write('admin/etc/version.txt', '1.0.0\n');
		this.write('admin/etc/changelog.txt', '# Changelog\n\n## 1.0.0 (2026-11-02)\n\n  * First version\n');
		this.write('admin/etc/health.json', JSON.stringify({disk: {used: '3.4G', total: '23G', percentage: 15}, memory: {used: '860M', total: '1000M', percentage: 86}, cpu: {num: 2, load: '0.66, 0.28, 0.14', cpu5min: 14}}));
		this.write('admin/etc/network.json', JSON.stringify({mode: 'static', interface: 'eth0', hostname: 'box.example.com', ip_address: '192.0.2.10', netmask: '255.255.255.0', gateway: '192.0.2.1', dns1: '192.0.2.2'}));
		this.write('admin/etc/app.json', '{"name":"testapp"}');
		this.write('admin/etc/storage.json', '{"storage":{"type":"nfs","mount_options":"noacl,sync","ip":"192.0.2.9","share":"/nfs/storage"}}');
		this.write('admin/etc/license.asc', JSON.stringify({app: 'enterprise', users: 20, expires: '19 January 2038', name: 'Enterprise Company', contact: 'cto@enterprise'}));
		this.write('data/file', 'precious\n');
		run('chown', '-Rh', `${USER}:${GROUP}`, this.admin, this.etc, path.join(this.dir, 'data'));
	}

	// What an update.sh does until letInstall is called.
	get waits() {
		return `until [ -e ${this.dir}/install ]; do sleep 0.1; done`;
	}

	letInstall() {
		this.write('install', '');
	}

	// What the machine does once a minute, and what a timer does at the end of a trial.
	recover() {
		run('setpriv', `--reuid=${USER}`, `--regid=${GROUP}`, '--clear-groups', 'env', `PATH=${this.dir}/commands:${process.env.PATH}`, `JIDO_ADMIN_PATH=${this.admin}`, `JIDO_ETC_PATH=${this.etc}`, path.join(this.admin, 'bin/recover.sh'));
	}

	// Does what is posted, but tells that it was accepted only when what this returns is called.
	holdAnswers() {
		const at = name => path.join(this.dir, name);
		fs.copyFileSync(at('program'), at('real'));
		fs.rmSync(at('program'));
		this.write('hold', '');
		this.write('program', `#!/bin/sh\n[ "$REQUEST_METHOD" = POST ] || exec ${at('real')}\n${at('real')} >${at('answer')}\nwhile grep -q '^Status: 202' ${at('answer')} && [ -e ${at('hold')} ]; do sleep 0.1; done\ncat ${at('answer')}\n`, 0o755);
		return () => fs.rmSync(at('hold'));
	}

	write(name, content, mode = 0o644) {
		const file = path.join(this.dir, name);
		fs.writeFileSync(file, content);
		fs.chmodSync(file, mode);
		run('chown', `${USER}:${GROUP}`, file);
	}

	read(name) {
		return fs.readFileSync(path.join(this.dir, name), 'utf8');
	}

	// Nothing where it is not there, as in the moment between two renames of a job.
	peek(name) {
		try {
			return this.read(name);
		} catch {
			return '';
		}
	}

	exists(name) {
		return fs.existsSync(path.join(this.dir, name));
	}

	async start() {
		this.servers = spawn(path.join(ROOT, 'tests/support/edge'), [this.server, this.port, this.admin, this.etc, path.join(this.dir, 'program'), this.edge, USER, GROUP],
			{env: {...process.env, MAX_BODY: String(MAX_BODY)}, stdio: ['pipe', 'pipe', 'inherit']});
		this.words = '';
		this.servers.stdout.on('data', data => {
			this.words += data;
		});
		await this.heard('ready');
		// What the certificate job changes is what the servers serve.
		if (!this.exists('etc/tls')) {
			run('chown', '-R', USER, path.join(this.edge, 'tls'));
			fs.symlinkSync(path.join(this.edge, 'tls'), path.join(this.etc, 'tls'));
		}
	}

	async heard(word) {
		await until(() => this.words.includes(word), `${this.server} says ${word}`);
		this.words = '';
	}

	async command(word) {
		this.servers.stdin.write(`${word}\n`);
		await this.heard(word === 'stop' ? 'stopped' : 'ready');
		this.isStopped = word === 'stop';
	}

	async end() {
		this.servers?.stdin.end();
		await until(() => this.servers.exitCode !== null, 'the servers end');
		fs.rmSync(this.dir, {recursive: true, force: true});
	}

	// An update package as a vendor makes it, `size` bytes long or more.
	package({version = '1.1.0', script = ':', size = 0, spoil} = {}) {
		const content = fs.mkdtempSync(path.join(this.vendor, 'package-'));
		const at = name => path.join(content, name);
		fs.mkdirSync(at('content'));
		fs.writeFileSync(at('content/version.txt'), `${version}\n`);
		fs.writeFileSync(at('content/changelog.txt'), `# ${version}\n`);
		fs.writeFileSync(at('content/update.sh'), `#!/bin/sh\n${script}\n`);
		if (size) run('dd', 'if=/dev/urandom', `of=${at('content/filling')}`, `bs=${size}`, 'count=1');
		run('tar', '-czf', at('software_package.tar.gz'), '-C', at('content'), '.');
		run('openssl', 'dgst', '-sha256', '-sign', path.join(this.vendor, 'key.pem'), '-out', at('software_package.tar.gz.sign'), at('software_package.tar.gz'));
		if (spoil) fs.appendFileSync(at('software_package.tar.gz'), 'x');
		run('tar', '-cf', at('package.tar'), '-C', content, 'software_package.tar.gz', 'software_package.tar.gz.sign');
		run('openssl', 'enc', '-aes-256-cbc', '-md', 'sha256', '-pbkdf2', '-pass', `file:${this.admin}/etc/updates.key`, '-in', at('package.tar'), '-out', at('package.enc'));
		return at('package.enc');
	}

	// A key and a certificate for these names; [certificate, key].
	certificate(names, days = 30) {
		const at = fs.mkdtempSync(path.join(this.vendor, 'cert-'));
		run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', String(days), '-subj', '/CN=Test Authority', '-addext', `subjectAltName=${names}`, '-keyout', path.join(at, 'key.pem'), '-out', path.join(at, 'cert.pem'));
		return [path.join(at, 'cert.pem'), path.join(at, 'key.pem')];
	}

	// What a certificate authority makes of a request.
	signed(request) {
		const at = fs.mkdtempSync(path.join(this.vendor, 'signed-'));
		const [certificate, key] = this.certificate('DNS:authority');
		run('openssl', 'x509', '-req', '-in', request, '-CA', certificate, '-CAkey', key, '-days', '30', '-copy_extensions', 'copy', '-out', path.join(at, 'leaf.pem'));
		fs.writeFileSync(path.join(at, 'chain.pem'), fs.readFileSync(path.join(at, 'leaf.pem'), 'utf8') + fs.readFileSync(certificate, 'utf8'));
		return path.join(at, 'chain.pem');
	}

	// A disk on which nothing more fits: `bytes` for what is uploaded.
	smallDisk(bytes) {
		const place = path.join(this.admin, 'home/sftp/uploads');
		run('mount', '-t', 'tmpfs', '-o', `size=${bytes},mode=2770,uid=${run('id', '-u', USER).trim()},gid=${run('id', '-g', GROUP).trim()}`, 'tmpfs', place);
		return () => run('umount', '-l', place);
	}
}

export async function until(is, what, seconds = 20) {
	const end = Date.now() + seconds * 1000;
	while (!await is()) {
		if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
		await new Promise(resolve => setTimeout(resolve, 50));
	}
}
