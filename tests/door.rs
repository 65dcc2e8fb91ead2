//! Nobody is let in by mistake, and nobody is kept out: files that cannot be read, names that somebody planted, floods of
//! refusals and nonces. Each began as an attack that worked.

use crate::cases::Answer;
use crate::fixture::Fixture;
use crate::form;
use crate::http::{command, send_with};
use nix::sys::stat::Mode;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

const VERSION: &str = "/api/v1/admin/version";
const SETUP: &str = "/api/v1/admin/setup";
const FIRST_RUN: &str = r#"{"first-run":{"word-length":4,"enabled":true}}"#;

/// Puts something at a path.
type Make = fn(&Path);

/// What can stand where a file should be, so that nobody can tell what the file said.
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

/// A request with its answer, and what the error log got.
fn ask(fixture: &Fixture, method: &str, target: &str, fields: &[(&str, &str)]) -> (Answer, String) {
    let (kind, body) = form::encode(fields);
    let body = (method == "POST").then_some((kind.as_str(), body));
    let mut command = command(fixture, method, target);
    // The pause of a refusal is nginx's, which nobody waits for here.
    command.env("JIDO_WAITING_ROOM", "nginx");
    send_with(command, body)
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

        // Nobody knows whether first run was in force.
        fixture.reset();
        fixture.remove("etc/api.token");
        plant(&fixture, "usr/jidoteki-admin-api.json", make);
        cannot_be_claimed(&fixture, "usr/jidoteki-admin-api.json", what);
        fixture.write("etc/api.token", "one-two\n");
        fixture.write("etc/api.token.setup", "one-two\n");
        assert_eq!(ask(&fixture, "GET", &format!("{VERSION}?token=one-two"), &[]).0.status, 403, "{what}: pending");
        fixture.write("etc/api.token", "yourtoken\n");
        assert_eq!(ask(&fixture, "GET", &format!("{VERSION}?token=yourtoken"), &[]).0.status, 200, "{what}: over");

        // Nobody knows whether it is over: its owner, who has the token, is let to /setup alone.
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
fn a_change_that_may_wait_to_be_confirmed_lets_no_other_in() {
    let fixture = Fixture::new();
    const SETTINGS: &str = r#"{"network":{"interface":"eth0","hostname":"test.host"}}"#;
    // What is no text names no deadline either; that is nothing that waits.
    for (what, make) in UNREADABLE.into_iter().skip(1) {
        plant(&fixture, "etc/pending_settings.txt", make);
        let (answer, log) = ask(&fixture, "POST", "/api/v1/admin/settings?token=yourtoken", &[("settings", SETTINGS)]);
        assert_eq!(
            answer.text(),
            r#"{"Status":"400 Bad Request","Error-Message":"Cannot tell whether a change waits to be confirmed"}"#,
            "{what}"
        );
        assert!(log.contains("pending_settings.txt: "), "{what}: {log}");
    }
    assert_eq!(fixture.read("record/calls"), "");
}
