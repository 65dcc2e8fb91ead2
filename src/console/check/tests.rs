//! A good installation has no findings, and each thing that is wrong has its own.

use super::findings;
use super::jobs::JOBS;
use crate::appliance::Appliance;
use crate::console::machine::{Machine, USER, WEB_USER};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

const DAY: u64 = 86_400;

/// 2026-11-23, when the certificate is valid.
const NOW: u64 = 1_795_392_000;

/// A complete installation in a directory, with the current user in place of root.
struct Installation {
    root: PathBuf,
    machine: Machine,
}

impl Installation {
    fn new(name: &str) -> Installation {
        let root = std::env::temp_dir().join(format!("check-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        fs::create_dir(&root).unwrap();
        let own = fs::metadata(&root).unwrap();
        let path = OsString::from(format!("{}/programs:/usr/bin:/bin", root.display()));
        let (owner, free) = (own.uid(), |_: &Path| Some(1 << 30));
        let machine = Machine { root: root.clone(), path, now: NOW, owner, is_root: true, free, port: None };
        let installation = Installation { root, machine };
        for (folder, mode) in [
            ("admin/bin/jobs", 0o755),
            ("admin/etc", 0o2750),
            ("admin/log", 0o2750),
            ("admin/audit", 0o2750),
            ("admin/state", 0o700),
            ("admin/lib", 0o700),
            ("admin/home/sftp/uploads", 0o2710),
            ("usr/tls/current", 0o755),
            ("etc/jidoteki-admin-api", 0o755),
            ("proc/1", 0o755),
        ] {
            fs::create_dir_all(installation.root.join(folder)).unwrap();
            installation.mode(folder, mode);
        }
        let admin = installation.root.join("admin");
        let rights: Vec<String> = JOBS.iter().map(|job| format!("{}/bin/jobs/{job} \"\"", admin.display())).collect();
        for (name, content, mode) in [
            ("usr/jidoteki-admin-api.json", "{}".to_owned(), 0o644),
            ("admin/bin/wrapper.sh", "#!/bin/sh\n".to_owned(), 0o755),
            ("admin/bin/jobs/update", "#!/bin/sh\n".to_owned(), 0o755),
            ("admin/etc/api.token", "x\n".to_owned(), 0o660),
            ("admin/etc/api.tokens.json", "{\"tokens\":[]}".to_owned(), 0o640),
            ("admin/etc/updates.key", "x\n".to_owned(), 0o600),
            ("admin/etc/updates.pub", "x\n".to_owned(), 0o640),
            ("admin/etc/web-server.txt", "nginx\n".to_owned(), 0o644),
            ("admin/etc/health.json", "{}".to_owned(), 0o640),
            ("admin/log/jidoteki-audit.log", String::new(), 0o660),
            ("admin/audit/jidoteki-audit.jsonl", String::new(), 0o660),
            (
                "etc/passwd",
                format!("root:x:0:0::/:\n{USER}:x:{0}:{1}::/:\n{WEB_USER}:x:{0}:{1}::/:\n", own.uid(), own.gid()),
                0o644,
            ),
            ("etc/sudoers.d/jidoteki-admin-api", "x\n".to_owned(), 0o440),
            ("etc/logrotate.d/jidoteki-admin-api", "jidoteki-audit.jsonl {}\n".to_owned(), 0o644),
            ("etc/jidoteki-admin-api/nginx.conf", "\tclient_max_body_size 4294967296;\n".to_owned(), 0o644),
            (
                "etc/jidoteki-admin-api/lighttpd.conf",
                "\tserver.max-request-size = 1\nserver.max-request-size = 4194304\n".to_owned(),
                0o644,
            ),
            (
                "etc/systemd/system/jidoteki-admin-api.service",
                "ExecStart=/usr/sbin/fcgiwrap -c 32 -p /x\nKillMode=process\n".to_owned(),
                0o644,
            ),
            ("proc/1/comm", "chronyd\n".to_owned(), 0o644),
            ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    999999 kB\n".to_owned(), 0o644),
            ("proc/sys/kernel/hostname", "box.example\n".to_owned(), 0o644),
            ("programs/jidoteki-admin-jobs", "#!/bin/sh\n".to_owned(), 0o755),
            ("programs/visudo", "#!/bin/sh\n".to_owned(), 0o755),
            ("programs/sudo", format!("#!/bin/sh\necho '(root) NOPASSWD: {} ,'\n", rights.join(", ")), 0o755),
        ] {
            installation.write(name, &content, mode);
        }
        installation.certificate();
        installation.written("admin/etc/health.json", NOW - 30);
        installation
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn write(&self, name: &str, content: &str, mode: u32) {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self.mode(name, mode);
    }

    fn remove(&self, name: &str) {
        let path = self.root.join(name);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    fn at(&mut self, now: u64) {
        self.machine.now = now;
        self.written("admin/etc/health.json", now);
    }

    fn written(&self, name: &str, time: u64) {
        let time = std::time::UNIX_EPOCH + Duration::from_secs(time);
        fs::File::options().write(true).open(self.root.join(name)).unwrap().set_modified(time).unwrap();
    }

    /// Installs a certificate for box.example, valid from 2026-11-01 to 2026-12-31. All tests share it.
    fn certificate(&self) {
        static PAIR: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
        let folder = self.root.join("usr/tls/current");
        let pair = PAIR.get_or_init(|| {
            let made = self.root.join("made");
            fs::create_dir(&made).unwrap();
            let script = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key
                openssl req -new -key key -subj /CN=box.example -addext subjectAltName=DNS:box.example -out request
                printf '%s\n' '[ca]' default_ca=c '[c]' database=index new_certs_dir=. serial=serial default_md=sha256 \
                    policy=p copy_extensions=copy unique_subject=no '[p]' CN=supplied >config
                : >index; echo 01 >serial
                openssl ca -batch -notext -selfsign -config config -keyfile key -in request \
                    -startdate 20261101000000Z -enddate 20261231000000Z -out pem";
            let output = Command::new("sh").args(["-ec", script]).current_dir(&made).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            ["pem", "key"].map(|name| fs::read(made.join(name)).unwrap())
        });
        fs::write(folder.join("appliance.pem"), &pair[0]).unwrap();
        fs::write(folder.join("appliance.key"), &pair[1]).unwrap();
        self.mode("usr/tls/current/appliance.key", 0o600);
    }

    fn appliance(&self) -> Appliance {
        Appliance::new(Some(self.root.join("admin").into()), Some(self.root.join("usr").into()))
    }

    fn problems(&self) -> Vec<String> {
        let root = self.root.display().to_string();
        let own = fs::metadata(&self.root).unwrap();
        let ids = format!("belongs to {}:{}", own.uid(), own.gid());
        let told = findings(&self.appliance(), &self.machine);
        assert!(told.iter().all(|finding| !finding.remedy.is_empty()), "{told:?}");
        told.into_iter().map(|finding| finding.problem.replace(&root, "").replace(&ids, "belongs to US")).collect()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.root));
    }
}

#[test]
fn a_correct_installation_has_no_findings() {
    let mut installation = Installation::new("good");
    assert_eq!(installation.problems(), Vec::<String>::new());
    installation.write("admin/etc/web-server.txt", "lighttpd\n", 0o644);
    assert_eq!(installation.problems(), Vec::<String>::new());
    // Each of the network managers is enough for our network.sh.
    installation.write("etc/jidoteki-admin-api/installed", "0  /opt/x/bin/network.sh\n", 0o644);
    for manager in ["systemd-network", "NetworkManager"] {
        installation.write("proc/2/comm", &format!("{manager}\n"), 0o644);
        assert_eq!(installation.problems(), Vec::<String>::new(), "{manager}");
    }
    // Files that are not ours are ignored.
    installation.machine.is_root = false;
    installation.remove("etc");
    assert_eq!(installation.problems(), Vec::<String>::new());
}

#[test]
#[allow(clippy::too_many_lines, reason = "it is a table")]
fn each_thing_that_is_wrong_is_named() {
    type Spoil = fn(&mut Installation);
    let cases: Vec<(&str, Spoil, &str)> = vec![
        (
            "taken",
            |i| {
                i.machine.port = Some(8443);
                i.write("proc/net/tcp6", "  sl local\n 0: 0000:20FB 0:0 0A 0:0 00:0 0 0 0 4711 1\n", 0o444);
                fs::create_dir_all(i.root.join("proc/1/fd")).unwrap();
                std::os::unix::fs::symlink("socket:[4711]", i.root.join("proc/1/fd/3")).unwrap();
            },
            "port 8443 is used by another program, chronyd",
        ),
        (
            "list",
            |i| i.write("admin/etc/logs.txt", "/var/log/x\n", 0o664),
            "users other than root can change /admin/etc/logs.txt, so jobs ignore it",
        ),
        (
            "line",
            |i| i.write("admin/etc/backup.txt", "# data\n\n/data/a b\ndata\n", 0o640),
            "line 4 of /admin/etc/backup.txt is not an absolute path, so backups ignore it",
        ),
        (
            "dots",
            |i| i.write("admin/etc/backup.txt", "/data/../etc\n", 0o640),
            "line 1 of /admin/etc/backup.txt is not an absolute path, so backups ignore it",
        ),
        (
            "kept",
            |i| i.write("etc/jidoteki-admin-api/kept", "/admin/bin/license.sh\n", 0o644),
            "/admin/bin/license.sh was modified or not installed by us; ./install.sh kept it",
        ),
        (
            "changed",
            |i| {
                let path = i.root.join("admin/bin/wrapper.sh");
                i.write("etc/jidoteki-admin-api/installed", &format!("{:064}  {}\n", 0, path.display()), 0o644);
            },
            "/admin/bin/wrapper.sh was modified since it was installed",
        ),
        (
            "network",
            |i| i.write("etc/jidoteki-admin-api/installed", "0  /opt/x/bin/network.sh\n", 0o644),
            "POST /settings cannot configure the network: no NetworkManager, systemd-networkd or ifupdown",
        ),
        (
            "past",
            |i| {
                i.write("usr/local/bin/jidoteki-admin-api", "x", 0o755);
                i.written("usr/local/bin/jidoteki-admin-api", NOW + 2 * DAY);
            },
            "the clock says 2026-11-23, before the day of the installation",
        ),
        (
            "nojson",
            |i| i.write("usr/jidoteki-admin-api.json", "{", 0o644),
            "/usr/jidoteki-admin-api.json is not valid JSON (EOF while parsing an object at line 1 column 1), so only the default endpoints are enabled, and nobody can claim this appliance",
        ),
        (
            "configfolder",
            |i| {
                i.remove("usr/jidoteki-admin-api.json");
                fs::create_dir(i.root.join("usr/jidoteki-admin-api.json")).unwrap();
                i.mode("usr/jidoteki-admin-api.json", 0o644);
            },
            "/usr/jidoteki-admin-api.json cannot be read (Is a directory (os error 21)), so only the default endpoints are enabled, and nobody can claim this appliance",
        ),
        (
            "token",
            |i| fs::write(i.root.join("admin/etc/api.token"), b"\xff\n").unwrap(),
            "cannot read /admin/etc/api.token: its first line is not UTF-8: no credential is valid, and nobody can claim this appliance",
        ),
        (
            "passphrase",
            |i| {
                fs::write(i.root.join("admin/etc/api.token.setup"), b"\n\xff\n").unwrap();
                i.mode("admin/etc/api.token.setup", 0o660);
            },
            "cannot read /admin/etc/api.token.setup: its first line is empty: it is unknown whether first run is over",
        ),
        (
            "tokens",
            |i| i.write("admin/etc/api.tokens.json", "[", 0o640),
            "cannot read /admin/etc/api.tokens.json: EOF while parsing a list at line 1 column 1: no named token is valid",
        ),
        (
            "pending",
            |i| fs::create_dir(i.root.join("admin/etc/pending_certs.txt")).unwrap(),
            "cannot read /admin/etc/pending_certs.txt: Is a directory (os error 21): a change of certs may be pending, so no other is accepted",
        ),
        (
            "lockfolder",
            |i| fs::create_dir(i.root.join("admin/home/sftp/uploads/.update.lock")).unwrap(),
            "/admin/home/sftp/uploads/.update.lock is a directory, not a file from this program",
        ),
        (
            "pausepipe",
            |i| {
                let pipe = i.root.join("admin/home/sftp/uploads/.pause-3.lock");
                nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
            },
            "/admin/home/sftp/uploads/.pause-3.lock is a named pipe, a socket or a device, not a file from this program",
        ),
        (
            "statelink",
            |i| std::os::unix::fs::symlink("/etc/passwd", i.root.join("admin/state/refusals")).unwrap(),
            "/admin/state/refusals is a link, not a file from this program",
        ),
        (
            "hardlink",
            |i| {
                i.write("admin/home/sftp/uploads/.certs.lock", "", 0o660);
                let uploads = i.root.join("admin/home/sftp/uploads");
                fs::hard_link(uploads.join(".certs.lock"), uploads.join("other")).unwrap();
            },
            "/admin/home/sftp/uploads/.certs.lock is a file with another hard link, not a file from this program",
        ),
        (
            "lockmode",
            |i| i.write("admin/home/sftp/uploads/.logs.lock", "", 0),
            "/admin/home/sftp/uploads/.logs.lock is a file that its owner cannot open, not a file from this program",
        ),
        (
            "aside",
            |i| i.write("admin/home/sftp/uploads/.aside-update.lock-01234567", "", 0o600),
            "/admin/home/sftp/uploads/.aside-update.lock-01234567 was in the place of one of our files, and was set aside",
        ),
        (
            "noconfig",
            |i| i.remove("usr/jidoteki-admin-api.json"),
            "/usr/jidoteki-admin-api.json is missing, so only the default endpoints are enabled",
        ),
        (
            "field",
            |i| i.write("usr/jidoteki-admin-api.json", r#"{"endpoints":["license"]}"#, 0o644),
            "POST /api/v1/admin/license is enabled, but its field license is not, so it returns 400",
        ),
        (
            "unknown",
            |i| i.write("usr/jidoteki-admin-api.json", r#"{"endpoints":["x"]}"#, 0o644),
            "/usr/jidoteki-admin-api.json enables \"x\", which is not an optional endpoint",
        ),
        (
            "wrapper",
            |i| i.mode("admin/bin/wrapper.sh", 0o644),
            "/admin/bin/wrapper.sh is not executable, so no job can run",
        ),
        ("nowrapper", |i| i.remove("admin/bin/wrapper.sh"), "/admin/bin/wrapper.sh is missing, so no job can run"),
        ("nojobs", |i| i.remove("programs/jidoteki-admin-jobs"), "jidoteki-admin-jobs is missing, so most jobs fail"),
        (
            "job",
            |i| i.mode("admin/bin/jobs/update", 0o775),
            "users other than root can change /admin/bin/jobs/update, which root runs",
        ),
        (
            "claim",
            |i| i.write("admin/etc/api.token", "", 0o660),
            "no API token is set: anyone who can reach the API can set it",
        ),
        (
            "firstrun",
            |i| {
                i.write("usr/jidoteki-admin-api.json", r#"{"first-run":{"word-length":4,"enabled":true}}"#, 0o644);
                i.write("admin/etc/api.token.setup", "x\n", 0o660);
            },
            "first run is pending: only /setup is open",
        ),
        (
            "nokey",
            |i| i.remove("admin/etc/updates.key"),
            "/admin/etc/updates.key is missing, so updates cannot be decrypted",
        ),
        (
            "nopub",
            |i| i.remove("admin/etc/updates.pub"),
            "/admin/etc/updates.pub is missing, so updates cannot be verified",
        ),
        ("log", |i| i.remove("admin/log"), "/admin/log/ is missing"),
        (
            "state",
            |i| i.remove("admin/state"),
            "/admin/state/ is missing: signed requests are refused, guesses are not counted, the audit log is not chained",
        ),
        (
            "disk",
            |i| i.machine.free = |path| Some(if path.ends_with("uploads") { 3 << 20 } else { 1 << 30 }),
            "only 3 MiB free for uploads in /admin/home/sftp/uploads",
        ),
        (
            "logdisk",
            |i| i.machine.free = |path| Some(if path.ends_with("uploads") { 1 << 30 } else { 0 }),
            "only 0 MiB free for logs in /admin/log/",
        ),
        ("memory", |i| i.write("proc/meminfo", "MemAvailable: 2048 kB\n", 0o644), "only 2 MiB of memory available"),
        ("ntp", |i| i.write("proc/1/comm", "init\n", 0o644), "the clock is not synchronized: no NTP client is running"),
        (
            "update",
            |i| i.write("admin/etc/status_update.txt", "running\n", 0o640),
            "the last update job was interrupted",
        ),
        ("certs", |i| i.write("admin/etc/status_certs.txt", "running\n", 0o640), "the last certs job was interrupted"),
        (
            "settings",
            |i| i.write("admin/etc/status_settings.txt", "running\n", 0o640),
            "the last settings job was interrupted",
        ),
        (
            "storage",
            |i| i.write("admin/etc/status_storage.txt", "running\n", 0o640),
            "the last storage job was interrupted",
        ),
        (
            "backup",
            |i| i.write("admin/home/sftp/uploads/backup.json", r#"{"status":"running"}"#, 0o640),
            "the last backup job was interrupted",
        ),
        (
            "expired",
            |i| i.at(NOW + 60 * DAY),
            "the certificate /usr/tls/current/appliance.pem expired on 2026-12-31 00:00:00Z",
        ),
        (
            "soon",
            |i| i.at(NOW + 9 * DAY),
            "the certificate /usr/tls/current/appliance.pem expires within 30 days: 2026-12-31 00:00:00Z",
        ),
        (
            "early",
            |i| i.at(NOW - 30 * DAY),
            "the certificate /usr/tls/current/appliance.pem is not valid before 2026-11-01 00:00:00Z",
        ),
        (
            "otherkey",
            |i| {
                let key = i.root.join("usr/tls/current/appliance.key");
                let mut openssl = Command::new("openssl");
                openssl.args(["genpkey", "-algorithm", "ED25519", "-out"]).arg(key);
                assert!(openssl.status().unwrap().success());
            },
            "/usr/tls/current/appliance.key is not the key of /usr/tls/current/appliance.pem",
        ),
        (
            "nocert",
            |i| i.write("usr/tls/current/appliance.pem", "x", 0o644),
            "/usr/tls/current/appliance.pem is not a certificate",
        ),
        (
            "name",
            |i| i.write("proc/sys/kernel/hostname", "other.example\n", 0o644),
            "the certificate /usr/tls/current/appliance.pem does not contain this machine's name, other.example: browsers refuse it",
        ),
        (
            "audit",
            |i| i.write("admin/audit/jidoteki-audit.jsonl", "x\n", 0o660),
            "the audit log was altered: /admin/audit/jidoteki-audit.jsonl: line 1: not an entry",
        ),
        ("nouser", |i| i.write("etc/passwd", "root:x:0:0::/:\n", 0o644), "the user jidoteki-admin-api does not exist"),
        (
            "nosudoers",
            |i| i.remove("etc/sudoers.d"),
            "/etc/sudoers.d/jidoteki-admin-api is missing, so no job can run as root",
        ),
        (
            "nosudo",
            |i| {
                i.remove("programs/visudo");
                i.machine.path = OsString::from(i.root.join("few").as_os_str());
                i.write("few/jidoteki-admin-jobs", "#!/bin/sh\n", 0o755);
                i.remove("usr/tls");
            },
            "sudo is not installed, so no job can run as root",
        ),
        (
            "visudo",
            |i| i.write("programs/visudo", "#!/bin/sh\necho 'x:3: syntax error'; exit 1\n", 0o755),
            "the sudo rules are invalid, so sudo does not work at all: x:3: syntax error",
        ),
        (
            "rights",
            |i| {
                let text = fs::read_to_string(i.root.join("programs/sudo")).unwrap();
                i.write("programs/sudo", &text.replace("/jobs/certs ", "/jobs/cert "), 0o755);
            },
            "sudo does not let jidoteki-admin-api run certs",
        ),
        (
            "password",
            |i| {
                let text = fs::read_to_string(i.root.join("programs/sudo")).unwrap();
                i.write("programs/sudo", &text.replace("NOPASSWD:", ""), 0o755);
            },
            "sudo does not let jidoteki-admin-api run any job without a password",
        ),
        (
            "limit",
            |i| i.write("usr/jidoteki-admin-api.json", r#"{"max-upload-bytes":8589934592}"#, 0o644),
            "nginx refuses bodies of more than 4294967296 bytes, although max-upload-bytes is 8589934592",
        ),
        (
            "kibibytes",
            |i| {
                i.write("admin/etc/web-server.txt", "lighttpd\n", 0o644);
                i.write("etc/jidoteki-admin-api/lighttpd.conf", "server.max-request-size = 2\n", 0o644);
            },
            "lighttpd refuses bodies of more than 3071 bytes, although max-upload-bytes is 4294967296",
        ),
        ("nosite", |i| i.remove("etc/jidoteki-admin-api/nginx.conf"), "the API's configuration for nginx is missing"),
        (
            "gate",
            |i| {
                let unit = "etc/systemd/system/jidoteki-admin-api.service";
                let text = fs::read_to_string(i.root.join(unit)).unwrap() + "NoNewPrivileges=yes\n";
                i.write(unit, &text, 0o644);
                i.write("run/systemd/system/x", "", 0o644);
            },
            "/run/jidoteki-admin-api/jobs.sock is missing, so no job can be started",
        ),
        (
            "workers",
            |i| {
                i.write(
                    "etc/systemd/system/jidoteki-admin-api.service",
                    "ExecStart=/usr/sbin/fcgiwrap -c 1 -p /x\nKillMode=process\n",
                    0o644,
                );
            },
            "fcgiwrap has 1 workers: slow requests can block all others",
        ),
        (
            "killmode",
            |i| {
                i.write("etc/systemd/system/jidoteki-admin-api.service.d/x.conf", "[Service]\nKillMode=mixed\n", 0o644);
            },
            "KillMode=mixed in /etc/systemd/system/jidoteki-admin-api.service: a restart of the web server would kill a running update",
        ),
        (
            "rotation",
            |i| i.remove("etc/logrotate.d"),
            "/etc/logrotate.d/jidoteki-admin-api does not rotate the audit log",
        ),
        (
            "large",
            |i| fs::File::create(i.root.join("admin/log/update.log")).unwrap().set_len(65 << 20).unwrap(),
            "/admin/log/update.log has 65 MiB and is not rotated",
        ),
        (
            "minute",
            |i| i.written("admin/etc/health.json", NOW - 700),
            "the minute job does not run: health is outdated, and unconfirmed changes are not rolled back",
        ),
        (
            "notroot",
            |i| i.machine.is_root = false,
            "not running as root: sudo rules and files of root were not checked",
        ),
    ];
    for (name, spoil, wanted) in cases {
        let mut installation = Installation::new(name);
        spoil(&mut installation);
        assert_eq!(installation.problems(), [wanted], "{name}");
    }
}

#[test]
fn every_path_has_its_mode_and_its_owner() {
    let installation = Installation::new("modes");
    for (name, mode, wanted) in [
        ("admin/etc", 0o755, "mode 755 and belongs to US, not mode 2750 and root:jidoteki-admin-api"),
        ("admin/log", 0o2770, "mode 2770 and belongs to US, not mode 2750 and root:jidoteki-admin-api"),
        ("admin/home/sftp/uploads", 0o2770, "mode 2770 and belongs to US, not mode 2710 and root:jidoteki-admin-web"),
        ("admin/lib", 0o755, "mode 755 and belongs to US, not mode 700 and root:root"),
        ("admin/etc/api.token", 0o600, "mode 600 and belongs to US, not mode 660 and root:jidoteki-admin-api"),
        ("admin/etc/api.tokens.json", 0o600, "mode 600 and belongs to US, not mode 640 and root:jidoteki-admin-api"),
        (
            "admin/audit/jidoteki-audit.jsonl",
            0o640,
            "mode 640 and belongs to US, not mode 660 and root:jidoteki-admin-api",
        ),
        ("usr/tls/current/appliance.key", 0o640, "mode 640 and belongs to US, not mode 600 and root:root"),
        ("usr/jidoteki-admin-api.json", 0o600, "mode 600 and belongs to US, not mode 644 and root:root"),
    ] {
        let before = fs::metadata(installation.root.join(name)).unwrap().mode() & 0o7777;
        installation.mode(name, mode);
        assert_eq!(installation.problems(), [format!("/{name} has {wanted}")]);
        installation.mode(name, before);
    }
    // Now another user is the API's user.
    installation.write("etc/passwd", &format!("{USER}:x:4242:4242::/:\n"), 0o644);
    let problems = installation.problems();
    assert_eq!(problems.len(), 10, "{problems:?}");
    assert!(
        problems.contains(
            &"/admin/state has mode 700 and belongs to US, not mode 700 and jidoteki-admin-api:jidoteki-admin-api"
                .to_owned()
        ),
        "{problems:?}"
    );
}

#[test]
fn remains_of_the_old_version_are_named() {
    let installation = Installation::new("takeover");
    // After migration, the ancestor's owners and modes are not reported.
    installation.write("etc/jidoteki-admin-api/takeover", "group admin 997\nuser admin\njobs ours\n", 0o644);
    installation.mode("admin/etc", 0o1775);
    installation.mode("admin/lib", 0o755);
    installation.mode("admin/etc/updates.key", 0o640);
    assert_eq!(installation.problems(), Vec::<String>::new());
    installation.write("admin/etc/backup.txt", "app\n", 0o644);
    assert_eq!(
        installation.problems(),
        ["line 1 of /admin/etc/backup.txt is not an absolute path, so backups ignore it"]
    );
    // With the ancestor's jobs, a certificate in their directory that is not in use.
    installation.write("etc/jidoteki-admin-api/takeover", "jobs keep\n", 0o644);
    fs::create_dir_all(installation.root.join("usr/pki/tls")).unwrap();
    let old = installation.root.join("usr/pki/tls/enterprise.pem");
    fs::copy(installation.root.join("usr/tls/current/appliance.pem"), &old).unwrap();
    assert_eq!(installation.problems(), Vec::<String>::new());
    let other = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"])
        .args(["-keyout", "/dev/null", "-out"])
        .arg(&old)
        .output()
        .unwrap();
    assert!(other.status.success());
    assert_eq!(installation.problems(), ["the certificate in /usr/pki/tls/enterprise.pem is not the one being served"]);
    fs::remove_file(old).unwrap();
    // The ancestor's jobs start from their own directory, which the sudo rules must name.
    installation.write("admin/bin/start.sh", "#!/bin/sh\n", 0o755);
    let problems = installation.problems();
    assert!(problems[0].starts_with("sudo does not let jidoteki-admin-api run token, update,"), "{problems:?}");
    installation.remove("admin/bin/start.sh");
    // We are neither owner nor group, so the mode for others applies.
    installation.write("etc/passwd", &format!("{USER}:x:4242:4242::/:\n"), 0o644);
    installation.write("admin/etc/network.json", "{}", 0o640);
    installation.write("admin/etc/version.txt", "1\n", 0o644);
    installation.mode("admin/bin/wrapper.sh", 0o750);
    let problems = installation.problems();
    for wanted in [
        "jidoteki-admin-api cannot read /admin/etc/network.json, so the API cannot return it",
        "jidoteki-admin-api cannot run /admin/bin/wrapper.sh, so no job runs without systemd",
    ] {
        assert!(problems.iter().any(|problem| problem == wanted), "{problems:?}");
    }
    assert!(!problems.iter().any(|problem| problem.contains("cannot read /admin/etc/version.txt")), "{problems:?}");
}

#[test]
fn a_clock_that_was_never_set_and_a_pending_change_are_named() {
    let mut installation = Installation::new("clock");
    installation.machine.now = 86_400;
    installation.remove("usr/tls");
    installation.remove("admin/etc/health.json");
    let (boot_id, uptime) = crate::values::clock::boot().unwrap();
    let pending = format!("boot_id={boot_id}\ndeadline={}\n", uptime + 10_000);
    installation.write("admin/etc/pending_settings.txt", &pending, 0o640);
    installation.write("admin/etc/pending_certs.txt", &pending, 0o640);
    let problems = installation.problems();
    assert_eq!(problems[0], "the clock says 1970-01-02: certificates are not valid yet, and the logs have wrong times");
    assert!(problems[1].starts_with("a change of settings is pending, and will be rolled back in "), "{problems:?}");
    assert!(problems[2].starts_with("a change of certs is pending, and will be rolled back in "), "{problems:?}");
    assert_eq!(problems.len(), 4, "{problems:?}");
}
