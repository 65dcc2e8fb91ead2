//! A canary in every secret, through every endpoint and both servers, with the real jobs under the real sudo: none of them is
//! found where anybody but its owner looks.
//!
//! The servers run in a mount name space of their own, in which `/etc/sudoers.d` has our rule, and commands that would harm
//! the machine are others.

use super::world::{SERVERS, World, hash, signature};
use crate::support::Fixture;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const OLD_TOKEN: &str = "yourtoken";
const NEW_TOKEN: &str = "canary-new-token";
const WRONG_TOKEN: &str = "canary-wrong-token";
const STORAGE_PASSWORD: &str = "canary-$(id)-password";
const LICENSE: &str = "canary-license-customer";
const LICENSE_PASS: &str = "canary-license-pass";
const UPDATES_KEY: &str = "canary-updates-key";

/// In the name space: sudo with our rule alone, and nothing that changes the machine.
const SETUP: &str = r#"
set -eu
root=$1 repository=$2; shift 2
mount -t tmpfs -o mode=755 tmpfs /etc/sudoers.d
sh "$repository/nginx/edge/render.sh" "$repository/nginx/units/sudoers" JOBS="$root/admin/bin/jobs" SUDO_USERS=nobody >/etc/sudoers.d/jidoteki
chmod 440 /etc/sudoers.d/jidoteki
# Jobs ask their program, by the path that sudo gives them.
mount -t tmpfs -o mode=755 tmpfs /usr/local/sbin
cp "$root/jidoteki-admin-jobs" /usr/local/sbin/
for name in reboot shutdown halt poweroff systemctl hostname networkctl ifup ifdown ip systemd-run nginx lighttpd-angel; do
	file=$(command -v "$name") || continue
	[ "$name" != nginx ] || continue
	mount --bind /bin/true "$(readlink -f "$file")"
done
exec "$repository/tests/support/edge" "$@"
"#;

fn sh(folder: &Path, script: &str) -> Vec<u8> {
    let output = Command::new("/bin/sh").args(["-euc", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// An appliance as install.sh lays it, with the real jobs.
fn appliance() -> Fixture {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixture = Fixture::new();
    sh(
        &fixture.root,
        &format!(
            "rm -rf admin/bin admin/hold; cp -R '{0}/cgi-bin' admin/bin; chmod 755 admin/bin
             rm -f admin/bin/network.sh admin/bin/web-server.sh
             chown -R root:root admin usr; chmod 755 admin admin/bin; mkdir -m 700 admin/lib; mkdir data
             chown root:www-data admin/etc admin/log; chmod 2750 admin/etc admin/log
             chown root:www-data admin/home/sftp/uploads; chmod 2770 admin/home/sftp/uploads
             chown nobody admin/state; rm -rf admin/record
             chgrp www-data admin/etc/*; chmod 640 admin/etc/*; chmod 660 admin/etc/api.token
             : >admin/log/jidoteki-audit.log; chown root:www-data admin/log/jidoteki-audit.log; chmod 660 admin/log/jidoteki-audit.log
             openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out updates.pem
             openssl pkey -in updates.pem -pubout -out admin/etc/updates.pub
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout new.key -out new.pem -days 30 \\
                 -subj /CN=canary.example -addext subjectAltName=DNS:canary.example 2>/dev/null
             umask 077
             printf '%s\\n' '{UPDATES_KEY}' >admin/etc/updates.key
             printf '%s\\n' '{LICENSE_PASS}' >admin/etc/license.key
             printf '%s\\n' '{LICENSE_PASS}' >pass; printf '{{\"customer\":\"{LICENSE}\"}}\\n' >license.json
             mkdir -m 700 gnupg
             gpg --homedir gnupg --batch --quiet --pinentry-mode loopback --passphrase-file pass --armor --symmetric --output license.asc license.json
             gpgconf --homedir gnupg --kill gpg-agent
             chgrp www-data admin/etc/license.key; chmod 640 admin/etc/license.key
             echo data >data/file; printf '%s\\n' \"$PWD/data\" >admin/etc/backup.txt
             printf '%s\\n' \"$PWD/admin/log\" \"$PWD/edge/log\" \"$PWD/data\" >admin/etc/logs.txt
             printf '%s\\n' 'ps axeww' 'env' \"cat $PWD/usr/storage.conf\" \"cat $PWD/admin/etc/api.token\" >admin/etc/debug.txt
             chmod 644 admin/etc/backup.txt admin/etc/logs.txt admin/etc/debug.txt
             printf '%s\\n' '{{\"options\":[\"local\",\"iscsi\"]}}' >usr/storage-options.json",
            repository.display()
        ),
    );
    fixture
}

/// One request with curl, whose own arguments and environment have no secret. The status and the answer, headers included.
fn curl(world: &World, arguments: &str) -> (u16, Vec<u8>) {
    let settings = format!(
        "silent\ninsecure\ninclude\nmax-time = 60\nurl = \"https://127.0.0.1:{}{}",
        world.port,
        arguments.trim_start()
    );
    let mut child =
        Command::new("curl").args(["-K", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(settings.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let text = String::from_utf8_lossy(&output);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, output)
}

/// A token with a name, made at the console.
fn named_token(world: &World) -> String {
    let output = Command::new(super::world::BINARY)
        .args(["token", "add", "canary-machine", "--scope", "admin"])
        .env("JIDO_ADMIN_PATH", world.fixture.admin())
        .env("JIDO_ETC_PATH", world.fixture.etc())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().next_back().unwrap().trim().to_owned()
}

#[derive(Default)]
struct Seen {
    /// What was looked at, by where it was found.
    places: BTreeMap<String, Vec<u8>>,
}

impl Seen {
    fn add(&mut self, place: &str, bytes: &[u8]) {
        let all = self.places.entry(place.to_owned()).or_default();
        if !all.windows(bytes.len().max(1)).any(|window| window == bytes) {
            all.extend_from_slice(bytes);
            all.push(b'\n');
        }
    }

    fn add_files(&mut self, place: &str, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            self.add(&format!("{place}: {}", entry.file_name().to_string_lossy()), &fs::read(entry.path()).unwrap());
        }
    }

    #[track_caller]
    fn check(&self, server: &str, canaries: &[(String, Vec<u8>)]) {
        for (place, bytes) in &self.places {
            for (what, canary) in canaries {
                let found = bytes.windows(canary.len()).position(|window| window == canary);
                if let Some(at) = found {
                    let around = &bytes[at.saturating_sub(200)..(at + 200).min(bytes.len())];
                    panic!("{server}: {what} is in {place}: {}", around.escape_ascii());
                }
            }
        }
    }
}

/// What `ps` and the environments of all processes of the servers and the jobs show. CGI hands a query to the one process that it is for, so the
/// environments of the program itself, and of what words the server's own errors, are left out.
fn sample(seen: &mut Seen, program: &Path, name_space: &Path) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let folder = entry.path();
        if !entry.file_name().as_encoded_bytes()[0].is_ascii_digit() {
            continue;
        }
        // Others on this machine may run this test as well.
        if !fs::read_link(folder.join("ns/mnt")).is_ok_and(|own| own == name_space) {
            continue;
        }
        // Before and after: a process can become the program meanwhile, or something else that the program starts. Not by
        // its path, which is another one in a container.
        let exe = || identity(&folder.join("exe"));
        let before = exe();
        let environment = fs::read(folder.join("environ"));
        let arguments = fs::read(folder.join("cmdline")).unwrap_or_default();
        let is_same = before.is_some() && before == exe();
        let is_cgi = before == identity(program) || arguments.windows(17).any(|window| window == b"lighttpd-error.sh");
        seen.add("arguments", &arguments);
        if is_same
            && !is_cgi
            && let Ok(environment) = environment
        {
            seen.add("environments", &environment);
        }
    }
}

fn identity(file: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn check(server: &'static str) {
    let fixture = appliance();
    let mut up = Command::new("unshare");
    up.args(["-m", "sh", "-c", SETUP, "sh"]).arg(&fixture.root).arg(env!("CARGO_MANIFEST_DIR"));
    let world = World::start_with(server, fixture, up);
    let root = world.fixture.root.clone();
    let program = root.join("program");
    let name_space = fs::read_link(format!("/proc/{}/ns/mnt", world.process())).unwrap();
    let named = named_token(&world);
    let is_over = AtomicBool::new(false);
    let ((mut seen, made), sampled) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut seen = Seen::default();
            while !is_over.load(Ordering::Relaxed) {
                sample(&mut seen, &program, &name_space);
                std::thread::sleep(Duration::from_millis(5));
            }
            seen
        });
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| use_all(&world, &named)));
        is_over.store(true, Ordering::Relaxed);
        (seen.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), sampler.join().unwrap())
    });
    seen.places.extend(sampled.places);
    let arguments = &seen.places["arguments"];
    assert!(arguments.windows(11).any(|window| window == b"/jobs/certs"), "{server}: jobs were seen");
    seen.add_files("server's log", &root.join("edge/log"));
    seen.add_files("appliance's log", &root.join("admin/log"));
    seen.add_files("the chained audit log", &root.join("admin/audit"));
    let chained = &seen.places["the chained audit log: jidoteki-audit.jsonl"];
    assert!(chained.windows(14).any(|window| window == b"canary-machine"), "{server}: {}", chained.escape_ascii());
    let audit = &seen.places["appliance's log: jidoteki-audit.log"];
    for line in ["token.update.success", "token.add,\"canary-made\"", "token.remove,\"canary-made\""] {
        assert!(String::from_utf8_lossy(audit).contains(line), "{server}: {line} is not in {}", audit.escape_ascii());
    }

    let key = fs::read_to_string(root.join("new.key")).unwrap();
    let key_line = key.lines().nth(1).unwrap();
    let mut canaries: Vec<(String, Vec<u8>)> = [
        ("the first token", OLD_TOKEN),
        ("the new token", NEW_TOKEN),
        ("a wrong token", WRONG_TOKEN),
        ("the storage password", STORAGE_PASSWORD),
        ("the license", LICENSE),
        ("the pass phrase of the license", LICENSE_PASS),
        ("the pass phrase of updates", UPDATES_KEY),
        ("the private key", key_line),
    ]
    .map(|(what, text)| (what.to_owned(), text.as_bytes().to_vec()))
    .into();
    canaries.push(("the named token".to_owned(), named.clone().into_bytes()));
    canaries.push(("the token made by a request".to_owned(), made.clone().into_bytes()));
    for token in [OLD_TOKEN, NEW_TOKEN, &named, &made] {
        canaries.push((format!("the key made of {token}"), hex::encode(Sha256::digest(token)).into_bytes()));
    }
    for path in ["/api/v1/admin/version", "/api/v1/admin/services"] {
        canaries.push(("a hash".to_owned(), hash(path.as_bytes()).into_bytes()));
    }
    seen.check(server, &canaries);
}

/// Uses every endpoint with every kind of credential. What came back, but for what its owner asked for; and a token that was
/// made by a request.
fn use_all(world: &World, named: &str) -> (Seen, String) {
    let mut seen = Seen::default();
    let root = world.fixture.root.display().to_string();
    let path = |name: &str| format!("/api/v1/admin/{name}");
    let ask = |seen: &mut Seen, wanted: u16, arguments: String| -> Vec<u8> {
        let begun = Instant::now();
        loop {
            let (status, output) = curl(world, &arguments);
            let text = String::from_utf8_lossy(&output).into_owned();
            // One of its kind is still running.
            if status == 400 && text.contains("E1004") && wanted != 400 && begun.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            assert_eq!(status, wanted, "{}: {arguments}: {text}", world.server);
            if status >= 400 {
                seen.add("error bodies", &output);
            }
            return output;
        }
    };
    let form = |name: &str, text: &str| {
        let file = world.fixture.root.join(format!("form-{name}"));
        fs::write(&file, text).unwrap();
        format!("form = \"{name}=@{}\"\n", file.display())
    };
    // Refused, in every way in which somebody can show a secret.
    for credential in [format!("?token={WRONG_TOKEN}"), format!("?hash={WRONG_TOKEN}"), format!("?x={OLD_TOKEN}")] {
        for name in ["version", "services", "nothing", "backup/download", "version%2f"] {
            let status = if matches!(name, "nothing" | "version%2f") { 404 } else { 403 };
            ask(&mut seen, status, format!("{}{credential}\"\n", path(name)));
        }
        ask(&mut seen, 403, format!("{}{credential}\"\n{}", path("update"), form("update", "package")));
        let invalid = if world.server == "nginx" { 400 } else { 404 };
        ask(&mut seen, invalid, format!("/%2e%2e/etc/passwd{credential}\"\npath-as-is\n"));
    }
    ask(&mut seen, 403, format!("{}\"\nheader = \"Authorization: Bearer {WRONG_TOKEN}\"\n", path("version")));
    ask(&mut seen, 403, format!("{}\"\nform = \"token={WRONG_TOKEN}\"\n{}", path("storage"), form("settings", "{}")));
    // Let in, in every way.
    let token = format!("?token={OLD_TOKEN}");
    ask(&mut seen, 200, format!("{}{token}\"\n", path("version")));
    ask(&mut seen, 200, format!("{}?hash={}\"\n", path("version"), hash(path("version").as_bytes())));
    ask(&mut seen, 200, format!("{}?hash={}\"\n", path("services"), hash(path("services").as_bytes())));
    ask(&mut seen, 200, format!("{}\"\nheader = \"Authorization: Bearer {OLD_TOKEN}\"\n", path("version")));
    ask(&mut seen, 200, format!("{}\"\nheader = \"Authorization: Bearer {named}\"\n", path("version")));
    ask(
        &mut seen,
        202,
        format!("{}\"\nheader = \"Authorization: Bearer {named}\"\nform = \"action=STOP\"\n", path("backup")),
    );
    let signed: String = signature(path("version").as_bytes())
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value).replace('"', "\\\"");
            format!("header = \"{name}: {value}\"\n")
        })
        .collect();
    ask(&mut seen, 200, format!("{}\"\n{signed}", path("version")));
    for name in ["changelog", "build", "endpoints", "settings", "certs", "update", "update/log", "health"] {
        ask(&mut seen, 200, format!("{}{token}\"\n", path(name)));
    }
    // A token that a request makes opens the API until another one removes it.
    let add = "form = \"name=canary-made\"\nform = \"scope=operate\"\nform = \"days=1\"\n";
    let answer = ask(&mut seen, 200, format!("{}{token}\"\n{add}", path("tokens")));
    let answer = String::from_utf8(answer).unwrap();
    let made = answer.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    assert_eq!(made.len(), 64, "{answer}");
    let bearer = format!("header = \"Authorization: Bearer {made}\"\n");
    let whose = String::from_utf8(ask(&mut seen, 200, format!("{}\"\n{bearer}", path("tokens")))).unwrap();
    assert!(whose.ends_with(r#"{"you":{"name":"canary-made","scope":"operate"}}"#), "{whose}");
    ask(&mut seen, 403, format!("{}\"\n{bearer}{add}", path("tokens")));
    ask(&mut seen, 400, format!("{}{token}\"\n{add}", path("tokens")));
    ask(&mut seen, 200, format!("{}{token}\"\nform = \"name=canary-made\"\n", path("tokens/remove")));
    ask(&mut seen, 403, format!("{}\"\n{bearer}", path("version")));
    ask(&mut seen, 400, format!("{}{token}\"\nform = \"name=canary-made\"\n", path("tokens/remove")));
    // Secrets that are sent, in good forms and in bad ones.
    let storage = |password: &str| {
        format!(
            r#"{{"storage":{{"type":"iscsi","ip":"10.0.0.9","target":"iqn.2026-01.example:canary","username":"canaryuser","password":"{password}"}}}}"#
        )
    };
    let answer =
        curl(world, &format!("{}{token}\"\n{}", path("storage"), form("settings", &storage(STORAGE_PASSWORD))));
    assert_eq!(answer.0, 202, "{}: {}", world.server, String::from_utf8_lossy(&answer.1));
    for bad in [
        storage(&format!("{STORAGE_PASSWORD} \u{e9}")),
        storage(STORAGE_PASSWORD).replace("10.0.0.9", STORAGE_PASSWORD),
        storage(STORAGE_PASSWORD).replace("username", STORAGE_PASSWORD),
        storage(STORAGE_PASSWORD).replace("iscsi", STORAGE_PASSWORD),
        storage(STORAGE_PASSWORD).replace('}', ""),
    ] {
        // A name of a key is what a client is told that it has sent; a value never is.
        let is_name = bad.contains(&format!("\"{STORAGE_PASSWORD}\":"));
        let mut ignored = Seen::default();
        ask(
            if is_name { &mut ignored } else { &mut seen },
            400,
            format!("{}{token}\"\n{}", path("storage"), form("settings", &bad)),
        );
    }
    let pair = |key: &str| format!("form = \"public=@{root}/new.pem\"\nform = \"private=@{key}\"\n");
    ask(&mut seen, 202, format!("{}{token}\"\n{}", path("certs"), pair(&format!("{root}/new.key"))));
    ask(&mut seen, 202, format!("{}{token}\"\n{}", path("certs"), pair(&format!("{root}/updates.pem"))));
    ask(&mut seen, 200, format!("{}{token}\"\nform = \"license=@{root}/license.asc\"\n", path("license")));
    let broken = form("license", &format!("{LICENSE} {LICENSE_PASS}"));
    ask(&mut seen, 400, format!("{}{token}\"\n{broken}", path("license")));
    ask(&mut seen, 202, format!("{}{token}\"\n{}", path("update"), form("update", UPDATES_KEY)));
    let settings =
        r#"{"network":{"interface":"eth0","hostname":"canary.example"},"app":{"password":"canary-wrong-token"}}"#;
    ask(&mut seen, 202, format!("{}{token}\"\n{}", path("settings"), form("settings", settings)));
    ask(&mut seen, 202, format!("{}{token}\"\nform = \"action=START\"\n", path("backup")));
    ask(&mut seen, 202, format!("{}{token}\"\nform = \"action=STOP\"\n", path("backup")));
    ask(&mut seen, 400, format!("{}{token}\"\nform = \"newtoken={NEW_TOKEN} {NEW_TOKEN}\"\n", path("setup")));
    ask(&mut seen, 200, format!("{}{token}\"\nform = \"newtoken={NEW_TOKEN}\"\n", path("setup")));
    ask(&mut seen, 403, format!("{}{token}\"\n", path("version")));

    // What support gets.
    let token = format!("?token={NEW_TOKEN}");
    let download = |name: &str, file: &str| {
        let (status, output) = curl(world, &format!("{}{token}\"\n", path(name)));
        assert_eq!(status, 200, "{}: {}", world.server, String::from_utf8_lossy(&output));
        let body = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        fs::write(world.fixture.root.join(file), &output[body..]).unwrap();
    };
    download("logs", "logs.tar.gz");
    let logs = sh(&world.fixture.root, "tar -xzOf logs.tar.gz");
    assert!(logs.windows(14).any(|window| window == b"/api/v1/admin/"), "the logs have the access log");
    seen.add("logs.tar.gz", &logs);
    download("debug", "debug-bundle.tar");
    let bundle = sh(
        &world.fixture.root,
        "mkdir bundle; tar -xf debug-bundle.tar -C bundle; cd bundle
         openssl pkeyutl -decrypt -inkey ../updates.pem -in debug.key.enc -out debug.key
         for name in debug logs; do
             openssl enc -d -aes-256-cbc -md sha256 -pbkdf2 -pass file:debug.key -in $name.tar.gz.enc | tar -xzO
         done",
    );
    assert!(bundle.windows(9).any(|window| window == b"Running: "), "the bundle has what commands said");
    seen.add("the debug bundle", &bundle);
    (seen, made)
}

#[test]
fn no_secret_is_found_where_it_does_not_belong() {
    for server in SERVERS {
        check(server);
    }
}
