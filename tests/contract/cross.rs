//! The executable for other processors, under qemu-user: every route must respond as on this one.

use crate::support::Fixture;
use jidoteki_admin_api::appliance::keys;
use jidoteki_admin_api::endpoints::routes::{ROUTES, Route, Verb};
use jidoteki_admin_api::values::token::Verifier;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Bytes: 15 % more than the bound for x86-64 in `counts.rs`.
const MAX_SIZE: u64 = (700 << 10) * 115 / 100;

const BOUNDARY: &str = "XbX";
const ID: &str = "8a1c6f0b2d3e4f50";
/// An interrupted job.
const RECORD: &str = r#"{"id":"8a1c6f0b2d3e4f50","argument":"RESTORE","key":"admin","started":1764115200000000000}"#;

/// A valid value for the field.
fn value(field: &str) -> &str {
    match field {
        "newtoken" => "another",
        "action" => "START",
        "settings" => r#"{"network":{"interface":"eth0","hostname":"box"},"app":{"name":"a"}}"#,
        "confirm" => "60",
        "force" => "yes",
        _ => "content",
    }
}

/// The response of `program` (optionally under an emulator) to a request with all fields of the route.
fn answer(program: &[&OsStr], route: &Route) -> String {
    let fixture = Fixture::new();
    fixture.write("state/job.backup", RECORD);
    let open = fixture.path("home/sftp/uploads/.resumable");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(open.join(ID.repeat(2)), "").unwrap();
    let record = open.join(format!("{}.txt", ID.repeat(2)));
    let key = keys::identity(&Verifier::of("yourtoken"));
    std::os::unix::fs::symlink(format!("9 0 0 1800000000 update  {key}"), record).unwrap();
    let mut form = String::new();
    for field in route.fields {
        let name = field.name;
        form.push_str(&format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{}\r\n",
            value(name)
        ));
    }
    form.push_str(&format!("--{BOUNDARY}--\r\n"));
    let body = if route.method == Verb::Post { form } else { String::new() };
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .env_clear()
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("REQUEST_METHOD", route.method.as_str())
        .env(
            "REQUEST_URI",
            format!("{}?token=yourtoken", route.path.replace("{id}", ID).replace("{upload}", &ID.repeat(2))),
        )
        .env("CONTENT_TYPE", format!("multipart/form-data; boundary={BOUNDARY}"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("REMOTE_ADDR", "192.0.2.7")
        .env("JIDO_ADMIN_PATH", fixture.admin())
        .env("JIDO_ETC_PATH", fixture.etc())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program[0].display()));
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{} {}: {output:?}", route.method.as_str(), route.path);
    let text = String::from_utf8(output.stdout).unwrap();
    // A job has a different id each time, and an open upload has fewer seconds left.
    let text = masked(text, "\"Job\":\"", |c| c.is_ascii_hexdigit());
    masked(text, "max-append-size=67108864, max-age=", |c| c.is_ascii_digit())
}

/// The text with `X` instead of the value after `name`.
fn masked(text: String, name: &str, is_value: fn(char) -> bool) -> String {
    match text.split_once(name) {
        Some((before, after)) => format!("{before}{name}X{}", after.trim_start_matches(is_value)),
        None => text,
    }
}

fn build(target: &str) -> Option<PathBuf> {
    // Both unpack the Debian packages that they need into the same directory.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let built = folder.join(format!("small-{target}"));
    drop(fs::remove_file(&built));
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh"))
        .arg("--build")
        .arg(&built)
        .args(["--target", target])
        .env("CARGO_TARGET_DIR", folder.join("small-target"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Some(built);
    }
    assert!(std::env::var_os("CI").is_none(), "{target}: cannot build here: {said}");
    println!("skipped: {target}: cannot build here: {said}");
    None
}

fn check(target: &str, emulator: &str) {
    let Some(built) = build(target) else { return };
    if Command::new(emulator).arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "{emulator} is missing: install Debian's qemu-user");
        println!("skipped: {emulator} is missing: install Debian's qemu-user");
        return;
    }
    let size = fs::metadata(&built).unwrap().len();
    println!("size: {target}: {size} bytes");
    assert!(size <= MAX_SIZE, "{target}: {size} bytes");
    compare(target, &[OsStr::new(emulator), built.as_os_str()]);
}

/// Sends a request to every route of this processor's executable and of `there`, and compares the responses.
fn compare(target: &str, there: &[&OsStr]) {
    let mut n_found = 0;
    for route in ROUTES {
        let here = answer(&[OsStr::new(env!("CARGO_BIN_EXE_jidoteki-admin-api"))], route);
        let there = answer(there, route);
        assert!(here.starts_with("Status: "), "{} {}: {here}", route.method.as_str(), route.path);
        assert!(!here.starts_with("Status: 5"), "{} {}: {here}", route.method.as_str(), route.path);
        assert_eq!(there, here, "{target}: {} {}", route.method.as_str(), route.path);
        n_found += usize::from(!here.starts_with("Status: 404"));
    }
    // Two 404s are equal, but prove nothing about the route.
    assert!(n_found + 4 >= ROUTES.len(), "{target}: only {n_found} of {} routes are found", ROUTES.len());
}

/// Otherwise a comparison with another processor would prove nothing.
#[test]
fn every_route_answers_alike_twice() {
    compare("here, twice", &[OsStr::new(env!("CARGO_BIN_EXE_jidoteki-admin-api"))]);
}

#[test]
fn every_route_answers_alike_on_aarch64() {
    check("aarch64", "qemu-aarch64");
}

#[test]
fn every_route_answers_alike_on_armv7() {
    check("armv7", "qemu-arm");
}
