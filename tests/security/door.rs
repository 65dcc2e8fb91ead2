//! Unauthorized callers are refused, and authorized callers are not locked out: with unreadable files, planted files,
//! and floods of refusals and nonces. Each test began as an attack that worked.

use crate::contract::cases::Answer;
use crate::contract::form;
use crate::contract::http::{command, send_with};
use crate::support::Fixture;
use jidoteki_admin_api::appliance::Appliance;
use jidoteki_admin_api::appliance::keys::{self, Key};
use jidoteki_admin_api::appliance::slots::{self, Slot};
use jidoteki_admin_api::audit::{Action, record};
use jidoteki_admin_api::values::scope::Scope;
use jidoteki_admin_api::values::token::Verifier;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const VERSION: &str = "/api/v1/admin/version";
const SETUP: &str = "/api/v1/admin/setup";
const FIRST_RUN: &str = r#"{"first-run":{"word-length":4,"enabled":true}}"#;

/// Plants something at a path.
type Make = fn(&Path);

/// What can be in place of a file, so that its contents are unknown.
const UNREADABLE: [(&str, Make); 6] = [
    ("not UTF-8", |path| fs::write(path, b"\xff\xfe\n").unwrap()),
    ("too large", |path| fs::File::create(path).unwrap().set_len((4 << 20) + 1).unwrap()),
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("a named pipe", |path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap()),
    ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("a link to itself", |path| symlink(path, path).unwrap()),
];

fn plant(fixture: &Fixture, name: &str, make: Make) {
    let path = fixture.path(name);
    drop(fs::remove_file(&path));
    drop(fs::remove_dir(&path));
    make(&path);
}

/// A request with its response and the new lines of the error log.
fn ask(fixture: &Fixture, method: &str, target: &str, fields: &[(&str, &str)]) -> (Answer, String) {
    let (kind, body) = form::encode(fields);
    let body = (method == "POST").then_some((kind.as_str(), body));
    let mut command = command(fixture, method, target);
    // nginx delays a refusal; this test does not wait for it.
    command.env("JIDO_WAITING_ROOM", "nginx");
    send_with(in_time(&command), body)
}

/// The same, but a program that hangs is killed; its exit status is then not that of a response.
fn in_time(command: &Command) -> Command {
    let mut bounded = Command::new("timeout");
    bounded.arg("60").arg(command.get_program()).env_clear();
    bounded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bounded.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    bounded
}

#[track_caller]
fn cannot_be_claimed(fixture: &Fixture, name: &str, what: &str) {
    let (answer, log) = ask(fixture, "POST", SETUP, &[("newtoken", "mine")]);
    assert_eq!(answer.header("Jidoteki-Answer"), r#"{"Status":"403 Forbidden"}"#, "{name} is {what}");
    let shown = fixture.path(name).display().to_string();
    assert!(log.contains(&shown), "{name} is {what}, and the log does not say it: {log}");
    assert_eq!(fixture.read("record/calls"), "", "{name} is {what}: no token was set");
}

#[test]
fn a_file_that_cannot_be_read_opens_nothing() {
    let fixture = Fixture::new();
    for (what, make) in UNREADABLE {
        fixture.reset();
        plant(&fixture, "etc/api.token", make);
        cannot_be_claimed(&fixture, "etc/api.token", what);
        fixture.write("usr/jidoteki-admin-api.json", FIRST_RUN);
        cannot_be_claimed(&fixture, "etc/api.token", what);
        assert!(
            !fixture.path("etc/api.token.setup").exists(),
            "{what}: there may be a token, so no passphrase is made"
        );
        for tag in ["hash=99256a631b6a3ecae8c503dfffab1e1c8fe91100f3dddb24a1f24f30907618da", "token=yourtoken"] {
            assert_eq!(ask(&fixture, "GET", &format!("{VERSION}?{tag}"), &[]).0.status, 403, "{what}");
        }

        // It is unknown whether first run was enabled.
        fixture.reset();
        fixture.remove("etc/api.token");
        plant(&fixture, "usr/jidoteki-admin-api.json", make);
        cannot_be_claimed(&fixture, "usr/jidoteki-admin-api.json", what);
        fixture.write("etc/api.token", "one-two\n");
        fixture.write("etc/api.token.setup", "one-two\n");
        assert_eq!(ask(&fixture, "GET", &format!("{VERSION}?token=one-two"), &[]).0.status, 403, "{what}: pending");
        fixture.write("etc/api.token", "yourtoken\n");
        assert_eq!(ask(&fixture, "GET", &format!("{VERSION}?token=yourtoken"), &[]).0.status, 200, "{what}: over");

        // It is unknown whether first run is over: the owner, who has the token, can use only /setup.
        fixture.reset();
        fixture.write("usr/jidoteki-admin-api.json", FIRST_RUN);
        plant(&fixture, "etc/api.token.setup", make);
        cannot_be_claimed(&fixture, "etc/api.token.setup", what);
        assert_eq!(ask(&fixture, "GET", &format!("{VERSION}?token=yourtoken"), &[]).0.status, 403, "{what}");
        let set = ask(&fixture, "POST", &format!("{SETUP}?token=yourtoken"), &[("newtoken", "mine")]).0;
        assert_eq!(set.status, 200, "{what}");

        fixture.reset();
        plant(&fixture, "etc/api.tokens.json", make);
        assert_eq!(ask(&fixture, "GET", &format!("{VERSION}?token=named"), &[]).0.status, 403, "{what}");
        assert_eq!(ask(&fixture, "GET", &format!("{VERSION}?token=yourtoken"), &[]).0.status, 200, "{what}");
    }
}

#[test]
fn a_change_that_needs_confirmation_excludes_others() {
    let fixture = Fixture::new();
    const SETTINGS: &str = r#"{"network":{"interface":"eth0","hostname":"test.host"}}"#;
    // A file that is not text has no deadline either, so nothing is pending.
    for (what, make) in UNREADABLE.into_iter().skip(1) {
        plant(&fixture, "etc/pending_settings.txt", make);
        let (answer, log) = ask(&fixture, "POST", "/api/v1/admin/settings?token=yourtoken", &[("settings", SETTINGS)]);
        assert_eq!(
            answer.text(),
            r#"{"Status":"400 Bad Request","Error-Message":"Cannot tell whether a change is pending"}"#,
            "{what}"
        );
        assert!(log.contains("pending_settings.txt: "), "{what}: {log}");
    }
    assert_eq!(fixture.read("record/calls"), "");
}

/// What can be planted in place of one of our files.
const PLANTED: [(&str, Make); 7] = [
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("a directory with something in it", |path| fs::create_dir_all(path.join("x")).unwrap()),
    ("a named pipe", |path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap()),
    ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("a link to a file of somebody else's", |path| symlink(victim(path), path).unwrap()),
    ("another name of a file of somebody else's", |path| fs::hard_link(victim(path), path).unwrap()),
    // Only root can create a device; other users plant a second named pipe.
    ("a device", |path| {
        mknod(path, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3))
            .or_else(|_| nix::unistd::mkfifo(path, Mode::S_IRWXU))
            .unwrap();
    }),
];

/// A file that must not change, wherever the planted name leads.
fn victim(path: &Path) -> PathBuf {
    let admin = path.ancestors().find(|folder| folder.ends_with("admin")).unwrap();
    let victim = admin.join("victim");
    fs::write(&victim, "mine").unwrap();
    victim
}

#[test]
fn a_planted_name_stops_nothing() {
    let fixture = Fixture::new();
    // Files that a request opens in the exchange directory. Whatever is planted there, the job starts.
    for name in [".update.lock", "software_package-zzz.enc", ".software_package-zzz.enc.new"] {
        for (what, make) in PLANTED {
            fixture.reset();
            make(&fixture.path(&format!("home/sftp/uploads/{name}")));
            let (started, log) = ask(&fixture, "POST", "/api/v1/admin/update?token=yourtoken", &[("update", "x")]);
            assert_eq!(started.status, 202, "{name} is {what}: {log}");
            assert_eq!(fixture.calls(1), ["update"], "{name} is {what}");
            assert_eq!(ask(&fixture, "GET", "/api/v1/admin/update?token=yourtoken", &[]).0.status, 200);
            let victim = fixture.read("victim");
            assert!(victim.is_empty() || victim == "mine", "{name} is {what}");
        }
    }
    for (what, make) in PLANTED {
        fixture.reset();
        for name in ["settings.confirm", ".api.token.new", "api.token", ".token.lock"] {
            make(&fixture.path(&format!("home/sftp/uploads/{name}")));
        }
        let set = ask(&fixture, "POST", &format!("{SETUP}?token=yourtoken"), &[("newtoken", "mine")]).0;
        assert_eq!((set.status, fixture.read("etc/api.token").as_str()), (200, "mine\n"), "{what}");
        let settings = [("settings", r#"{"network":{"interface":"eth0","hostname":"test.host"}}"#)];
        let changed = ask(&fixture, "POST", "/api/v1/admin/settings?token=mine", &settings).0;
        assert_eq!(changed.status, 202, "{what}: {}", changed.text());
    }
    // A link there is not followed: the download is not our file.
    fixture.reset();
    fixture.remove("home/sftp/uploads/backup.tar");
    symlink(fixture.path("etc/api.token"), fixture.path("home/sftp/uploads/backup.tar")).unwrap();
    assert_eq!(ask(&fixture, "GET", "/api/v1/admin/backup/download?token=yourtoken", &[]).0.status, 404);
}

#[test]
fn a_refusal_is_answered_even_if_it_cannot_be_counted_or_logged() {
    let fixture = Fixture::new();
    for (what, make) in PLANTED {
        for names in [
            &["state/refusals", "state/lines", "state/audit"][..],
            &["log/jidoteki-audit.log", "audit/jidoteki-audit.jsonl"],
        ] {
            fixture.reset();
            names.iter().for_each(|name| make(&fixture.path(name)));
            let refused = ask(&fixture, "GET", &format!("{VERSION}?token=wrong"), &[]).0;
            let answer = if refused.status == 403 { refused.text() } else { refused.header("Jidoteki-Answer") };
            assert_eq!(answer, r#"{"Status":"403 Forbidden","Error-Message":"Authentication error"}"#, "{what}");
            assert_eq!(ask(&fixture, "GET", &format!("{VERSION}?token=yourtoken"), &[]).0.status, 200, "{what}");
        }
        // Where unauthenticated requests to /setup wait.
        fixture.reset();
        (0..4).for_each(|n| make(&fixture.path(&format!("home/sftp/uploads/.pause-{n}.lock"))));
        if !what.starts_with("another name") {
            let setup = send_with(in_time(&command(&fixture, "POST", &format!("{SETUP}?token=wrong"))), None).0;
            assert_eq!(setup.text(), r#"{"Status":"403 Forbidden"}"#, "{what}");
        }
        let victim = fixture.read("victim");
        assert!(victim.is_empty() || victim == "mine" || what.starts_with("another name"), "{what}: {victim:?}");
    }
}

fn appliance(fixture: &Fixture) -> Appliance {
    Appliance::new(Some(fixture.admin().into()), Some(fixture.etc().into()))
}

#[test]
fn guesses_with_changing_addresses_push_nothing_out_of_the_audit_log() {
    let fixture = Fixture::new();
    let appliance = appliance(&fixture);
    let n_lines = || fixture.audit().len();
    for n in 0..700_u32 {
        let address = std::net::Ipv6Addr::from_bits(u128::from(n) << 64).to_string();
        record(&appliance, Action::AuthenticationFailed, "api/v1/admin/version", &address, "");
    }
    // The budget may have grown by one line meanwhile.
    let n_written = n_lines();
    assert!((600..650).contains(&n_written), "{n_written} lines of strangers");
    // Each key whose scope is too small has its own budget.
    for _ in 0..700 {
        record(&appliance, Action::ScopeRefused, "api/v1/admin/storage", "192.0.2.7", "viewer");
    }
    assert!((600..650).contains(&(n_lines() - n_written)), "{} lines of one key", n_lines() - n_written);
    record(&appliance, Action::Reboot, "", "192.0.2.7", "admin");
    record(&appliance, Action::Reboot, "", "192.0.2.7", "admin");
    let lines = fixture.audit();
    let [left_out, first, second] = &lines[lines.len() - 3..] else { panic!("{lines:?}") };
    let n_left_out = left_out.strip_prefix("lines.left.out,\"").unwrap().split(' ').next().unwrap();
    assert_eq!(n_left_out.parse::<usize>().unwrap(), 700 - n_written, "{left_out}");
    assert_eq!([first, second], ["reboot.get,\"\",\"192.0.2.7\",\"admin\""; 2], "said once");
    let chained = fixture.read("audit/jidoteki-audit.jsonl");
    assert_eq!(chained.lines().count(), lines.len());
}

#[test]
fn a_key_with_a_full_table_of_nonces_locks_no_other_key_out() {
    let fixture = Fixture::new();
    let key = |name: &str, token: &str| Key {
        name: name.to_owned(),
        scope: Scope::Read,
        expires: None,
        verifier: Verifier::of(token),
    };
    let viewer = key("viewer", "viewer-token");
    let text = serde_json::to_string(&viewer).unwrap();
    fixture.write("etc/api.tokens.json", &format!("{{\"tokens\":[{text}]}}"));
    let now = u32::try_from(crate::security::signed::now()).unwrap();
    for bucket in 0..512 {
        slots::update(&appliance(&fixture), keys::nonces(&viewer), bucket, |slots| {
            slots.fill(Slot { key: u64::MAX, time: now, count: 1 });
        })
        .unwrap();
    }
    let signed = |token| crate::security::signed::Signed {
        token,
        ..crate::security::signed::Signed::new("GET", VERSION, "full")
    };
    let refused = signed("viewer-token").send(&fixture, None).text();
    assert!(refused.contains("Too many requests were signed with this token"), "{refused}");
    assert_eq!(signed("yourtoken").send(&fixture, None).text(), r#"{"version":"1.2.3"}"#);
    assert_ne!(keys::nonces(&viewer), keys::nonces(&key("viewer", "other")));
    assert_eq!(keys::nonces(&viewer), keys::nonces(&key("renamed", "viewer-token")), "a key keeps its nonces");
}

#[test]
fn another_boundary_makes_no_other_form_of_signed_bytes() {
    let fixture = Fixture::new();
    // The same bytes are one form with boundary a, another with b.
    let part = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\nx\r\n");
    let body = format!("--a\r\n{}--a--\r\n--b\r\n{}--b--\r\n", part("unknown"), part("update"));
    let digest = format!("sha-256=:{}:", crate::security::signed::base64_digest(body.as_bytes()));
    let kind = |boundary: &str| format!("multipart/form-data; boundary={boundary}");
    let sign = |nonce: &str, covered| crate::security::signed::Signed {
        covered,
        ..crate::security::signed::Signed::new("POST", "/api/v1/admin/update", nonce)
    };
    let send = |signed: &crate::security::signed::Signed, boundary: &str| {
        signed.send(&fixture, Some((&kind(boundary), body.clone().into_bytes()))).text()
    };
    let bare = sign("bare", vec![("content-digest", digest.clone())]);
    for boundary in ["a", "b"] {
        assert!(send(&bare, boundary).contains("With content-digest, the signature must also cover content-type"));
    }
    let covered = sign("covered", vec![("content-type", kind("a")), ("content-digest", digest)]);
    assert!(send(&covered, "b").contains("The signature does not match this request and a known token"));
    assert!(send(&covered, "a").contains("Unknown field in the form"));
    assert_eq!(fixture.calls(0), Vec::<String>::new());
}

#[test]
fn a_signature_ends_when_it_says() {
    let fixture = Fixture::new();
    let now = crate::security::signed::now();
    for (expires, wanted) in [(now - 1, "The signature has expired"), (now + 1000, r#"{"version":"1.2.3"}"#)] {
        let parameters: &'static str = format!(";expires={expires}").leak();
        let nonce = format!("expires-{expires}");
        let signed = crate::security::signed::Signed {
            parameters,
            ..crate::security::signed::Signed::new("GET", VERSION, &nonce)
        };
        let answer = signed.send(&fixture, None).text();
        assert!(answer.contains(wanted), "{answer}");
    }
}

#[test]
fn no_header_of_a_client_says_where_it_comes_from() {
    let fixture = Fixture::new();
    let mut request = command(&fixture, "GET", &format!("{VERSION}?token=wrong"));
    for name in ["X_FORWARDED_FOR", "X_REAL_IP", "FORWARDED", "CLIENT_IP", "X_CLIENT_IP", "TRUE_CLIENT_IP"] {
        request.env(format!("HTTP_{name}"), "198.51.100.1");
    }
    request.env("HTTP_X_REMOTE_USER", "admin").env("REMOTE_USER", "admin").env("AUTH_TYPE", "Basic");
    assert_eq!(send_with(request, None).0.status, 403);
    assert_eq!(fixture.audit(), [r#"token.authenticate.failed,"api/v1/admin/version","192.0.2.7","""#]);
}

#[test]
fn a_running_job_is_reported_before_the_upload_is_examined() {
    let fixture = Fixture::new();
    fixture.write("hold", "");
    assert_eq!(ask(&fixture, "POST", "/api/v1/admin/update?token=yourtoken", &[("update", "x")]).0.status, 202);
    fixture.calls(1);
    let request = command(&fixture, "POST", "/api/v1/admin/update?token=yourtoken");
    let broken = Some(("multipart/form-data; boundary=x", b"no form at all".to_vec()));
    let answer = send_with(in_time(&request), broken).0.text();
    assert!(answer.contains("\"Error-Code\":\"E1004\""), "{answer}");
    fixture.remove("hold");
}

/// The output of the command line, and its errors.
fn at_the_console(fixture: &Fixture, arguments: &[&str]) -> (String, String) {
    let mut program = command(fixture, "", "");
    for name in ["GATEWAY_INTERFACE", "REQUEST_METHOD", "REQUEST_URI"] {
        program.env_remove(name);
    }
    let output = program.args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().trim_end().to_owned();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn credentials_are_readable_by_root_and_the_api_alone() {
    let fixture = Fixture::new();
    for arguments in [&["token", "add", "x", "--scope", "read"][..], &["token", "rotate", "--overlap", "0"]] {
        assert_ne!(at_the_console(&fixture, arguments).0, "", "{arguments:?}");
    }
    for (name, wanted) in [("etc/api.token", 0o660), ("etc/api.tokens.json", 0o640)] {
        let mode = fs::metadata(fixture.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, wanted, "{name}");
    }
}

#[test]
fn previous_tokens_are_few_and_count_among_the_limit() {
    let fixture = Fixture::new();
    let run = |arguments: &[&str]| at_the_console(&fixture, arguments);
    let is_valid = |token: &str| ask(&fixture, "GET", &format!("{VERSION}?token={token}"), &[]).0.status == 200;
    let mut tokens = vec!["yourtoken".to_owned()];
    for _ in 0..5 {
        let (token, log) = run(&["token", "rotate", "--overlap", "720"]);
        assert_eq!(log.contains("was removed: at most 3 previous tokens are kept"), tokens.len() > 3, "{log}");
        tokens.push(token);
    }
    let valid: Vec<bool> = tokens.iter().map(|token| is_valid(token)).collect();
    assert_eq!(valid, [false, false, true, true, true, true]);
    assert_eq!(run(&["token", "list"]).0.lines().count(), 4);

    let named = |n: usize| format!(r#"{{"name":"n{n}","scope":"read","verifier":"{}"}}"#, "0".repeat(64));
    let all: Vec<String> = (0..32).map(named).collect();
    fixture.write("etc/api.tokens.json", &format!("{{\"tokens\":[{}]}}", all.join(",")));
    let (token, log) = run(&["token", "rotate", "--overlap", "1"]);
    assert_eq!((token.as_str(), log.contains("so the old one cannot be kept")), ("", true), "{log}");
    assert!(is_valid(&tokens[5]), "nothing has changed");
    let (token, _) = run(&["token", "rotate", "--overlap", "0"]);
    assert_eq!((is_valid(&token), is_valid(&tokens[5])), (true, false));
}
