//! The executable as a web server runs it: CGI variables, a body on standard input, and both outputs read to their
//! ends, as fcgiwrap does. Then the same cases through nginx and lighttpd.

use crate::contract::cases::{self, Answer};
use crate::contract::form;
use crate::support::{Fixture, wait_until};
use jidoteki_admin_api::endpoints::routes::{PREFIX, ROUTES, Success};
use jidoteki_admin_api::upload::Presence;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BINARY: &str = env!("CARGO_BIN_EXE_jidoteki-admin-api");

pub fn command(fixture: &Fixture, method: &str, target: &str) -> Command {
    let mut command = Command::new(BINARY);
    command
        .env_clear()
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("REQUEST_METHOD", method)
        .env("REQUEST_URI", target)
        .env("REMOTE_ADDR", "192.0.2.7")
        .env("JIDO_ADMIN_PATH", fixture.admin())
        .env("JIDO_ETC_PATH", fixture.etc())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Sends a request as fcgiwrap does: the complete body, then reads both outputs to their ends.
pub fn send_with(mut command: Command, body: Option<(&str, Vec<u8>)>) -> (Answer, String) {
    if let Some((kind, body)) = &body {
        command.env("CONTENT_TYPE", kind).env("CONTENT_LENGTH", body.len().to_string());
    }
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let body = body.map(|(_, body)| body).unwrap_or_default();
    let writer = std::thread::spawn(move || stdin.write_all(&body).expect("the executable reads the body to its end"));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "an answer went out, so the exit status is 0");
    (parse(&output.stdout), String::from_utf8(output.stderr).unwrap())
}

fn send(fixture: &Fixture, method: &str, target: &str, body: Option<(&str, Vec<u8>)>) -> Answer {
    send_with(command(fixture, method, target), body).0
}

fn get(fixture: &Fixture, target: &str) -> Answer {
    send(fixture, "GET", target, None)
}

fn post(fixture: &Fixture, target: &str, fields: &[(&str, &str)]) -> Answer {
    let (kind, body) = form::encode(fields);
    send(fixture, "POST", target, Some((&kind, body)))
}

fn parse(output: &[u8]) -> Answer {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
    let head = std::str::from_utf8(&output[..end]).unwrap();
    let headers: Vec<(String, String)> = head
        .split("\r\n")
        .map(|line| line.split_once(": ").expect(line))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(headers[0].0, "Status", "the status is there, and first");
    let status = headers[0].1[..3].parse().unwrap();
    assert!(headers[0].1.len() > 4, "the status has its reason");
    Answer { status, headers, body: output[end + 4..].to_vec() }
}

/// Kills a process that a failing test would leave behind.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn the_cases_hold_for_the_executable() {
    let fixture = Fixture::new();
    cases::check(&fixture, |method, target, body| send(&fixture, method, target, body));
}

#[test]
fn every_route_is_among_the_cases_with_the_success_that_it_promises() {
    for route in ROUTES.iter().filter(|route| route.path != "/docs") {
        let wanted = match route.success {
            Success::Accepted => 202,
            Success::Created(_) => 201,
            Success::Empty => 204,
            Success::Json(_) | Success::Text | Success::Page | Success::Download(_) => 200,
        };
        let method = route.method.as_str();
        // An upload comes in several requests, which the cases do not have: resumable.rs has its success.
        let needs_upload =
            route.fields.iter().any(|field| (field.name, field.presence) == ("upload", Presence::Required));
        let is_seen = cases::CASES.iter().any(|case| {
            let path = case.target.split('?').next().unwrap();
            // The cases have no license until one is sent; this is the other row's success.
            route.is_at(path)
                && case.method == method
                && (case.status == wanted
                    || (route.can_be_absent && case.status == 404)
                    || (needs_upload && case.status == 400))
        });
        assert!(is_seen, "{method} {} is in no case", route.path);
    }
    for case in cases::CASES.iter().filter(|case| case.status == 202) {
        assert_eq!(case.jobs.len(), 1, "{}: a 202 has a job", case.name);
    }
}

#[test]
fn the_page_lists_every_enabled_route_and_needs_no_token() {
    let fixture = Fixture::new();
    let answer = get(&fixture, "/docs");
    assert_eq!((answer.status, answer.header("Content-Type").as_str()), (200, "text/html; charset=utf-8"));
    for route in ROUTES {
        assert!(answer.text().contains(&format!("{} {}</code>", route.method.as_str(), route.path)), "{}", route.path);
    }
    fixture.remove("usr/jidoteki-admin-api.json");
    assert!(!get(&fixture, "/docs").text().contains("/backup"));
}

#[test]
fn a_job_gets_a_clean_environment_and_none_of_our_descriptors() {
    let fixture = Fixture::new();
    let mut command = command(&fixture, "POST", "/api/v1/admin/update?token=yourtoken");
    for (name, value) in [
        ("HTTP_PROXY", "http://evil"),
        ("HTTP_USER_AGENT", "() { :;}; touch /tmp/pwned"),
        ("HTTP_X_FORWARDED_FOR", "127.0.0.1"),
        ("REMOTE_USER", "admin"),
        ("LD_PRELOAD_X", "x"),
        ("QUERY_STRING", "token=yourtoken"),
        ("PATH", "/evil"),
    ] {
        command.env(name, value);
    }
    // fcgiwrap leaks its connection as descriptor 3; here a shell opens one.
    let (kind, body) = form::encode(&[("update", "package")]);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec 3<>/dev/null 7</dev/null; exec \"$0\"", BINARY]).env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (answer, _) = send_with(shell, Some((&kind, body)));
    assert_eq!(answer.status, 202, "{}", answer.text());
    fixture.calls(1);
    fixture.check_what_update_gets();
    // Whoever ends the web server's session does not end the job.
    let session = fixture.read("record/stat").split(' ').nth(5).map(str::to_owned);
    assert_ne!(session, Some(nix::unistd::getsid(None).unwrap().to_string()));
}

#[test]
fn the_answer_does_not_wait_for_a_job_in_the_background() {
    let fixture = Fixture::new();
    fixture.write("hold", "");
    assert_eq!(post(&fixture, "/api/v1/admin/update?token=yourtoken", &[("update", "one")]).status, 202);
    fixture.calls(1);
    fixture.write("etc/status_update.json", r#"{"status":"running","percentage":10}"#);
    assert!(
        get(&fixture, "/api/v1/admin/update?token=yourtoken")
            .text()
            .starts_with(r#"{"status":"running","percentage":10"#)
    );

    let second = post(&fixture, "/api/v1/admin/update?token=yourtoken", &[("update", "two")]);
    assert_eq!(
        (second.status, second.text().as_str()),
        (
            400,
            r#"{"Status":"400 Bad Request","Error-Message":"Update failed: a job of this kind (update) is already running","Error-Code":"E1004"}"#
        )
    );
    assert_eq!(
        fixture.read("home/sftp/uploads/software_package-zzz.enc"),
        "one",
        "the package of the first is untouched"
    );

    let pid: i32 = fixture.read("record/pid").trim().parse().unwrap();
    kill(pid);
    wait_until("the lock is free", || {
        get(&fixture, "/api/v1/admin/update?token=yourtoken").text().contains("interrupted")
    });
    fixture.remove("hold");
    assert_eq!(post(&fixture, "/api/v1/admin/update?token=yourtoken", &[("update", "three")]).status, 202);
}

#[test]
fn a_job_that_was_just_started_is_not_taken_for_the_one_before() {
    let fixture = Fixture::new();
    fixture.write("etc/status_certs.txt", "failed\n");
    fixture.write("etc/status_error_certs.txt", "old\n");
    fixture.write("home/sftp/uploads/backup.json", r#"{"status":"success"}"#);
    // File times change only every few milliseconds.
    let path = fixture.path("record/tick");
    let since = fs::metadata(fixture.path("etc/status_certs.txt")).unwrap().modified().unwrap();
    wait_until("the clock of files has gone on", || {
        fs::write(&path, "").unwrap();
        fs::metadata(&path).unwrap().modified().unwrap() > since + Duration::from_millis(50)
    });
    for (endpoint, fields, answer) in [
        (
            "update",
            &[("update", "x")][..],
            r#"{"status":"running","percentage":0,"log":"[1][SYSTEM] one\n[2][SYSTEM] two"}"#,
        ),
        ("certs", &[("public", "x"), ("private", "x")], r#"{"status":"running","log":null}"#),
        ("backup", &[("action", "START")], r#"{"status":"running"}"#),
    ] {
        let target = format!("/api/v1/admin/{endpoint}?token=yourtoken");
        fixture.write("hold", "");
        assert_eq!(post(&fixture, &target, fields).status, 202);
        assert_eq!(get(&fixture, &target).text(), answer);
        fixture.remove("hold");
        wait_until("it has ended", || get(&fixture, &target).text() != answer);
    }
    assert_eq!(get(&fixture, "/api/v1/admin/backup?token=yourtoken").text(), r#"{"status":"success"}"#);
}

#[test]
fn of_many_at_once_one_gets_the_job() {
    let fixture = Fixture::new();
    fixture.write("hold", "");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..20)
            .map(|n| {
                scope.spawn({
                    let fixture = &fixture;
                    move || {
                        post(fixture, "/api/v1/admin/update?token=yourtoken", &[("update", &format!("package {n}"))])
                            .status
                    }
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
    assert_eq!(fixture.calls(1), ["update"]);
    kill(fixture.read("record/pid").trim().parse().unwrap());
}

#[test]
fn a_backup_that_is_being_made_can_be_stopped_and_a_restore_cannot() {
    let fixture = Fixture::new();
    fixture.write("hold", "");
    assert_eq!(post(&fixture, "/api/v1/admin/backup?token=yourtoken", &[("action", "START")]).status, 202);
    fixture.calls(1);
    let stop = || post(&fixture, "/api/v1/admin/backup?token=yourtoken", &[("action", "STOP")]);
    assert_eq!(stop().status, 400, "nothing says that it is a backup that runs");
    fixture.write("home/sftp/uploads/backup.json", r#"{"status":"running"}"#);
    assert_eq!(stop().status, 202);
    assert_eq!(fixture.calls(2), ["backup START", "backup STOP"]);
    fixture.remove("hold");
}

#[test]
fn a_body_that_breaks_off_leaves_nothing() {
    let fixture = Fixture::new();
    let before = fixture.uploads();
    let (kind, body) = form::encode(&[("update", &"x".repeat(200_000))]);
    for n_sent in [0, 40, 100, 70_000, body.len() - 1] {
        let mut command = command(&fixture, "POST", "/api/v1/admin/update?token=yourtoken");
        command.env("CONTENT_TYPE", &kind).env("CONTENT_LENGTH", body.len().to_string());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&body[..n_sent]).unwrap();
        let answer = parse(&child.wait_with_output().unwrap().stdout);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (400, r#"{"Status":"400 Bad Request","Error-Message":"The body is shorter than its Content-Length"}"#),
            "{n_sent} bytes"
        );
        assert_eq!(fixture.uploads(), before, "{n_sent} bytes");
    }
    assert_eq!(fixture.calls(0), [""; 0]);
}

#[test]
fn a_killed_upload_leaves_nothing_and_no_lock() {
    let fixture = Fixture::new();
    let before = fixture.uploads();
    let (kind, body) = form::encode(&[("update", &"x".repeat(200_000))]);
    let mut command = command(&fixture, "POST", "/api/v1/admin/update?token=yourtoken");
    command.env("CONTENT_TYPE", &kind).env("CONTENT_LENGTH", body.len().to_string());
    let mut child = Ended(command.spawn().unwrap());
    child.0.stdin.as_mut().unwrap().write_all(&body[..150_000]).unwrap();
    child.0.kill().unwrap();
    assert_eq!(child.0.wait().unwrap().signal(), Some(9));
    assert_eq!(fixture.uploads(), before);
    assert_eq!(post(&fixture, "/api/v1/admin/update?token=yourtoken", &[("update", "x")]).status, 202);
}

#[test]
fn an_upload_is_whole_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    for size in [0, 1, 8039, 8084, 65_535, 65_536, 65_537, 3_000_001] {
        let content: String = "\r\n--x".chars().cycle().take(size).collect();
        assert_eq!(post(&fixture, "/api/v1/admin/update?token=yourtoken", &[("update", &content)]).status, 202);
        let path = fixture.path("home/sftp/uploads/software_package-zzz.enc");
        wait_until("the lock is free again", || post(&fixture, "/api/v1/admin/backup/restore", &[]).status == 403);
        assert!(fs::read(&path).unwrap() == content.as_bytes(), "{size} bytes");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_with_the_limit_and_read_to_its_end() {
    let fixture = Fixture::new();
    fixture.write("usr/jidoteki-admin-api.json", r#"{"max-upload-bytes":100000}"#);
    let answer = post(&fixture, "/api/v1/admin/update?token=yourtoken", &[("update", &"x".repeat(99_900))]);
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (
            413,
            r#"{"Status":"413 Request Entity Too Large","Error-Message":"Upload too large: the limit is 100000 bytes"}"#
        )
    );
    assert_eq!(answer.header("Error-Message"), "Upload too large: the limit is 100000 bytes");

    // Without a length, the bytes must be counted.
    let (kind, body) = form::encode(&[("update", &"x".repeat(99_900))]);
    let mut endless = command(&fixture, "POST", "/api/v1/admin/update?token=yourtoken");
    endless.env("CONTENT_TYPE", kind);
    let mut child = endless.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // The executable stops at its limit, and so does the pipe.
    let writer = std::thread::spawn(move || stdin.write_all(&body).is_ok());
    let answer = parse(&child.wait_with_output().unwrap().stdout);
    writer.join().unwrap();
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(fixture.calls(0), [""; 0]);
}

#[test]
fn a_full_disk_is_named() {
    let fixture = Fixture::new();
    let uploads = fixture.path("home/sftp/uploads");
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs"]).arg(&uploads).output().unwrap();
    if !mount.status.success() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must be able to mount: {}",
            String::from_utf8_lossy(&mount.stderr)
        );
        eprintln!("skipped: cannot mount a small file system here");
        return;
    }
    let (kind, body) = form::encode(&[("update", &"x".repeat(200_000))]);
    let answer = send(&fixture, "POST", "/api/v1/admin/update?token=yourtoken", Some((&kind, body.clone())));
    let mut endless = command(&fixture, "POST", "/api/v1/admin/update?token=yourtoken");
    endless.env("CONTENT_TYPE", kind);
    let mut child = endless.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&body).unwrap();
    let counted = parse(&child.wait_with_output().unwrap().stdout);
    let left = fixture.uploads();
    assert!(Command::new("umount").arg(&uploads).status().unwrap().success());
    assert_eq!(answer.status, 413);
    assert!(
        answer.text().contains("Upload too large: it has 200") && answer.text().contains(" bytes are free"),
        "{}",
        answer.text()
    );
    assert_eq!(
        counted.text(),
        r#"{"Status":"400 Bad Request","Error-Message":"Cannot store the upload: the disk is full"}"#
    );
    assert_eq!(left, [""; 0]);
}

#[test]
fn an_update_that_would_not_fit_into_memory_is_refused_before_it_is_received() {
    let fixture = Fixture::new();
    let meminfo = fixture.path("meminfo");
    let before = fixture.uploads();
    fs::write(&meminfo, "MemTotal: 99 kB\nMemAvailable: 16383 kB\n").unwrap();
    let plain = command(&fixture, "POST", "/api/v1/admin/update?token=yourtoken");
    // In its own mount namespace, files of /proc can be replaced.
    let mut poor = Command::new("/usr/bin/unshare");
    poor.args(["--mount", "/bin/sh", "-c", "mount --bind \"$1\" /proc/meminfo || exit 9; exec \"$2\"", "sh"])
        .arg(&meminfo)
        .arg(BINARY)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (kind, body) = form::encode(&[("update", "a package")]);
    poor.env("CONTENT_TYPE", kind).env("CONTENT_LENGTH", body.len().to_string());
    let mut child = poor.spawn().unwrap();
    // It may end before it reads this.
    let _ = child.stdin.take().unwrap().write_all(&body);
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(std::env::var_os("CI").is_none(), "CI must be able to make a mount namespace: {said}");
        eprintln!("skipped: {said}");
        return;
    }
    assert_eq!(
        parse(&output.stdout).text(),
        r#"{"Status":"400 Bad Request","Error-Message":"Not enough free memory: 16384 KiB needed, 16383 KiB free"}"#
    );
    assert_eq!(fixture.uploads(), before);
}

#[test]
fn a_query_is_never_a_command_line() {
    let fixture = Fixture::new();
    for arguments in [&["--help"][..], &["--version"], &["openapi"], &["hash", "GET", "/x"], &["--admin", "/tmp"]] {
        let mut command = command(&fixture, "GET", "/api/v1/admin/version?token=yourtoken");
        command.args(arguments).env("QUERY_STRING", arguments.join("+"));
        assert_eq!(send_with(command, None).0.text(), r#"{"version":"1.2.3"}"#, "{arguments:?}");
    }
}

#[test]
fn no_refused_caller_sees_errors_in_the_form() {
    let fixture = Fixture::new();
    let answer = post(&fixture, "/api/v1/admin/update", &[("foo", "x")]);
    assert_eq!(answer.text(), r#"{"Status":"403 Forbidden","Error-Message":"Authentication error"}"#);
    assert_eq!(fixture.audit(), ["token.authenticate.failed,\"api/v1/admin/update\",\"192.0.2.7\",\"\""]);
    // A known caller gets the reason.
    let answer = post(&fixture, "/api/v1/admin/update", &[("token", "yourtoken"), ("foo", "x")]);
    assert_eq!(answer.status, 400);
}

#[test]
fn a_first_run_begins_and_ends() {
    let fixture = Fixture::new();
    fixture.write("usr/jidoteki-admin-api.json", r#"{"first-run":{"word-length":4,"enabled":true}}"#);
    fixture.remove("etc/api.token");
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8).map(|_| scope.spawn(|| get(&fixture, "/api/v1/admin/version").status)).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    assert_eq!(answers, [403; 8]);
    let passphrase = fixture.read("etc/api.token");
    assert_eq!((passphrase.trim().split('-').count(), &fixture.read("etc/api.token.setup")), (4, &passphrase));
    for name in ["etc/api.token", "etc/api.token.setup"] {
        let mode = fs::metadata(fixture.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o660, "{name} is root's and the API's, and nobody else's");
    }

    let target = format!("/api/v1/admin/setup?token={}", passphrase.trim());
    fixture.write("fail", "");
    assert_eq!(post(&fixture, &target, &[("newtoken", "mine")]).status, 400, "a token job that fails changes nothing");
    assert_eq!(fixture.read("etc/api.token.setup"), passphrase);
    fixture.remove("fail");
    assert_eq!(post(&fixture, &target, &[("newtoken", "mine")]).status, 200);
    assert_eq!(fixture.read("etc/api.token.setup"), "");
    assert_eq!(get(&fixture, "/api/v1/admin/version?token=mine").status, 200);
}

#[test]
fn a_refused_setup_waits_and_delays_no_other_client() {
    let fixture = Fixture::new();
    let (kind, body) = form::encode(&[("newtoken", "mine")]);
    let mut stranger = command(&fixture, "POST", "/api/v1/admin/setup?token=wrong");
    stranger.env("CONTENT_TYPE", &kind).env("CONTENT_LENGTH", body.len().to_string());
    let mut stranger = Ended(stranger.spawn().unwrap());
    stranger.0.stdin.take().unwrap().write_all(&body).unwrap();
    wait_until("the stranger is refused", || {
        fixture.audit() == ["token.setup.failed,\"api/v1/admin/setup\",\"192.0.2.7\",\"\""]
    });
    assert_eq!(get(&fixture, "/api/v1/admin/version?token=yourtoken").status, 200);
    assert!(stranger.0.try_wait().unwrap().is_none(), "the stranger still waits");
    let mut answer = Vec::new();
    stranger.0.stdout.take().unwrap().read_to_end(&mut answer).unwrap();
    assert_eq!(parse(&answer).text(), r#"{"Status":"403 Forbidden"}"#);
}

#[test]
fn a_pending_change_is_rolled_back_at_once_by_a_job_that_can_be_followed() {
    let fixture = Fixture::new();
    for name in ["settings", "certs"] {
        let path = format!("/api/v1/admin/{name}/revert?token=yourtoken");
        let pending = format!("etc/pending_{name}.txt");
        let n_calls = fixture.read("record/calls").lines().count();
        // Neither for one that is being rolled back nor for one that cannot be read is a job started.
        fixture.write(&pending, "boot_id=x\ndeadline=0\nuntil=0\n");
        assert_eq!(post(&fixture, &path, &[]).status, 400);
        fixture.write(&pending, "boot_id=x\ndeadline=5\nuntil=SOON\n");
        fixture.write("hold", "");
        let answer = post(&fixture, &path, &[]);
        let location = format!(r#""Location":"/api/v1/admin/{name}","Job":""#);
        assert!(answer.status == 202 && answer.text().contains(&location), "{}", answer.text());
        wait_until("the job runs", || fixture.read("record/calls").lines().count() == n_calls + 1);
        let told = get(&fixture, &format!("/api/v1/admin/{name}?token=yourtoken")).text();
        assert!(told.contains(r#","pending":{"seconds-left":"#), "{told}");
        assert!(post(&fixture, &path, &[]).text().contains("E1004"), "one at a time");
        fixture.remove("hold");
        wait_until("it is back", || !fixture.path(&pending).exists());
        let told = get(&fixture, &format!("/api/v1/admin/{name}?token=yourtoken")).text();
        assert!(!told.contains("pending"), "{told}");
        assert_eq!(fixture.read("record/calls").lines().last(), Some(&*format!("{name} undo")));
    }
}

#[test]
fn pending_settings_are_reported_and_exclude_others() {
    let fixture = Fixture::new();
    const SETTINGS: &str = r#"{"network":{"interface":"eth0","hostname":"test.host"}}"#;
    let target = "/api/v1/admin/settings?token=yourtoken";
    assert_eq!(post(&fixture, target, &[("settings", SETTINGS), ("confirm", "60")]).status, 202);
    assert_eq!(fixture.read("home/sftp/uploads/settings.confirm"), "60\n");
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let now: u64 = uptime.split('.').next().unwrap().parse().unwrap();
    fixture.write("etc/pending_settings.txt", &format!("boot_id={boot_id}deadline={}\n", now + 1000));
    let pending = get(&fixture, target).text();
    assert!(pending.contains(r#","pending":{"seconds-left":"#), "{pending}");
    wait_until("the job has ended", || {
        post(&fixture, target, &[("settings", SETTINGS)]).text().contains("A change is pending")
    });
    // From a boot that only jobs in a container see: the clock decides whether it is pending.
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    fixture.write("etc/pending_settings.txt", &format!("boot_id=x\ndeadline=5\nuntil={}\n", clock + 1000));
    assert!(get(&fixture, target).text().contains(r#","pending":{"seconds-left":"#));
    // From another boot, or expired: no time is left, and the next minute rolls the change back.
    for content in [
        format!("boot_id=x\ndeadline=99999999999\nuntil={}\n", clock - 1),
        format!("boot_id=x\ndeadline=99999999999\nuntil={}\n", clock + 4000),
        format!("boot_id={boot_id}deadline={}\nuntil={}\n", now - 1, clock + 1000),
        "boot_id=x\ndeadline=99999999999\n".to_owned(),
        format!("boot_id={boot_id}deadline={}\n", now - 1),
        "x".to_owned(),
    ] {
        fixture.write("etc/pending_settings.txt", &content);
        let settings = get(&fixture, target).text();
        assert!(settings.contains(r#""pending":{"seconds-left":0}"#), "{content}: {settings}");
    }
    assert_eq!(post(&fixture, target, &[("settings", SETTINGS)]).status, 202);
    wait_until("the job has ended", || fixture.uploads() == ["backup.tar", "network.conf"]);
}

#[test]
fn a_file_is_handed_to_the_server_that_takes_it() {
    let fixture = Fixture::new();
    let path = fixture.path("home/sftp/uploads/backup.tar").display().to_string();
    for (sendfile, header, value) in
        [("accel", "X-Accel-Redirect", "/_files/backup.tar"), ("xsendfile", "X-Sendfile", path.as_str())]
    {
        let mut command = command(&fixture, "GET", "/api/v1/admin/backup/download?token=yourtoken");
        command.env("JIDO_SENDFILE", sendfile);
        let answer = send_with(command, None).0;
        assert_eq!((answer.header(header).as_str(), answer.text().as_str()), (value, ""));
        assert_eq!(answer.header("Content-Disposition"), "attachment; filename=\"backup.tar\"");
    }
}

#[test]
fn a_client_that_is_gone_is_no_error() {
    let fixture = Fixture::new();
    let mut command = command(&fixture, "GET", "/api/v1/admin/update/log?token=yourtoken");
    fixture.write("log/update.log", &"line\n".repeat(200_000));
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_malformed_request_is_refused() {
    let fixture = Fixture::new();
    for (length, reason) in
        [("-1", "not a number"), ("1e3", "not a number"), ("99999999999999999999999", "out of range")]
    {
        let mut command = command(&fixture, "POST", "/api/v1/admin/update?token=yourtoken");
        command.env("CONTENT_LENGTH", length);
        assert_eq!(
            send_with(command, None).0.text(),
            format!(r#"{{"Status":"400 Bad Request","Error-Message":"Content-Length is {reason}"}}"#)
        );
    }
    let mut no_method = command(&fixture, "", "");
    no_method.env_remove("REQUEST_URI");
    assert_eq!(send_with(no_method, None).0.status, 404);
}

#[test]
fn the_log_has_one_line_an_event_and_no_secret() {
    let fixture = Fixture::new();
    fixture.write("usr/jidoteki-admin-api.json", "{\n\"endpoints\": \u{7}");
    fixture.write("fail", "Reason: it is so\n");
    let (_, log) = send_with(command(&fixture, "GET", "/api/v1/admin/services?token=yourtoken"), None);
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() == 4 && lines.iter().all(|line| line.starts_with("jidoteki-admin-api: ")), "{log}");
    assert!(lines[1].ends_with("services: /root/secret"), "the log has what the client may not know: {log}");
    assert!(!log.contains("yourtoken"), "{log}");
}

#[test]
fn hash_signs_with_a_token_that_is_no_argument() {
    let run = |arguments: &[&str], stdin: &str| {
        let mut child = Command::new(BINARY)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses its arguments does not read.
        drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let tag = "b714a60732e096ccef06e360eefe0f1ba4fa5d16ef7da726612e2026e5523241\n";
    assert_eq!(run(&["hash", "GET", "/api/v1/admin/version"], "yourtoken\n"), (0, tag.to_owned()));
    assert_eq!(run(&["hash", "get", "/api/v1/admin/version"], "yourtoken"), (0, tag.to_owned()));
    assert_eq!(run(&["hash", "GET", "/api/v1/admin/version"], "\n").0, 1);
    assert_eq!(run(&["hash", "GET", "version"], "yourtoken").0, 1);
    assert_eq!(run(&["hash", "GET"], "yourtoken").0, 2);
    assert_eq!(run(&["routes"], "").1.lines().count(), ROUTES.len());
    assert!(run(&["--help"], "").1.contains("first-run"));
    assert!(run(&["openapi"], "").1.contains(&format!("{PREFIX}/version")));
}

pub fn kill(pid: i32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn standard_descriptors_may_be_closed() {
    let fixture = Fixture::new();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec \"$0\" <&- 2>&-", BINARY]).env_clear();
    for (name, value) in command(&fixture, "GET", "/api/v1/admin/version?token=yourtoken").get_envs() {
        shell.env(name, value.unwrap());
    }
    assert_eq!(parse(&shell.output().unwrap().stdout).text(), r#"{"version":"1.2.3"}"#);
}

/// Sends a request over TLS with curl, without changes to the path.
fn curl(port: u16, method: &str, target: &str, body: Option<(&str, Vec<u8>)>) -> Answer {
    let mut command = Command::new("curl");
    command.args(["-sk", "-i", "--http1.1", "--path-as-is", "--max-time", "20", "-H", "Expect:"]);
    if method == "HEAD" {
        command.arg("-I");
    } else {
        command.args(["-X", method]);
    }
    if let Some((kind, _)) = &body {
        command.args(["-H", &format!("Content-Type: {kind}"), "--data-binary", "@-"]);
    }
    command.arg(format!("https://127.0.0.1:{port}{target}"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&body.map(|(_, body)| body).unwrap_or_default()).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
    let mut lines = std::str::from_utf8(&output[..end]).unwrap().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.map(|line| line.split_once(": ").expect(line)).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Answer { status, headers: headers.collect(), body: output[end + 4..].to_vec() }
}

/// A web server for a fixture, with the shipped configuration.
pub struct Edge {
    up: Ended,
    folder: PathBuf,
}

impl Edge {
    pub fn start(fixture: &Fixture, server: &str, port: u16) -> Edge {
        let program = fixture.root.join("program");
        fs::copy(BINARY, &program).unwrap();
        let folder = fixture.root.join("edge");
        let mut up = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/edge"));
        up.args([server, &port.to_string()]).args([&fixture.admin(), &fixture.etc(), &program, &folder]);
        let mut up = Ended(up.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        let mut ready = [0; 6];
        up.0.stdout.as_mut().unwrap().read_exact(&mut ready).expect("the servers start");
        assert_eq!(&ready, b"ready\n");
        Edge { up, folder }
    }

    /// Ends the servers and starts them again.
    pub fn restart(&mut self) {
        self.up.0.stdin.as_mut().unwrap().write_all(b"restart\n").unwrap();
        let mut ready = [0; 6];
        self.up.0.stdout.as_mut().unwrap().read_exact(&mut ready).expect("the servers start again");
        assert_eq!(&ready, b"ready\n");
    }

    /// The certificate that the server presents.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("tls/current/appliance.pem")
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // The end of its input stops the servers.
        drop(self.up.0.stdin.take());
        drop(self.up.0.wait());
    }
}

#[track_caller]
fn check_through(server: &str, port: u16) {
    let fixture = Fixture::new();
    let _edge = Edge::start(&fixture, server, port);
    cases::check(&fixture, |method, target, body| curl(port, method, target, body));
}

#[test]
fn the_cases_hold_through_nginx() {
    check_through("nginx", 24011);
}

#[test]
fn the_cases_hold_through_lighttpd() {
    check_through("lighttpd", 24012);
}

/// Scripts of a package write to the log of an update, and an application stores passwords in its settings.
#[test]
fn a_token_of_a_small_scope_sees_no_secret_of_others() {
    let fixture = Fixture::new();
    let verifier = |token: &str| hex::encode(Sha256::digest(token));
    let tokens = ["read", "operate", "admin"]
        .map(|scope| format!("{{\"name\":\"{scope}\",\"scope\":\"{scope}\",\"verifier\":\"{}\"}}", verifier(scope)));
    fixture.write("etc/api.tokens.json", &format!("{{\"tokens\":[{}]}}", tokens.join(",")));
    let key = "-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----";
    // Ten lines after the beginning of the key, so that no response shows that it is a key.
    let log = format!(
        "[1][SYSTEM] url https://u:canary-1@host\ncreate user password='canary 2'\n{}\nthe token yourtoken\n{}{}\n{key}\nend\n",
        verifier("read"),
        "x\n".repeat(3),
        &key[..40].replace("Q0FO", "Q0FOQVJZ"),
    );
    for (file, text) in [
        ("log/update.log", log.as_str()),
        ("log/update_backup.log", &log),
        ("log/update_certs.log", &log),
        ("log/update_settings.log", &log),
        ("etc/status_update.json", "{\"status\":\"failed\",\"percentage\":70}"),
        ("etc/status_settings.txt", "failed\n"),
        ("etc/status_certs.txt", "failed\n"),
        ("etc/status_error_message.txt", "cannot log in with password=canary-3 or yourtoken\n"),
        (
            "etc/app.json",
            "{\"name\":\"testapp\",\"db\":{\"dbPassword\":[\"canary-4\"],\"url\":\"ftp://u:canary-5@h\"},\"n\":1}",
        ),
    ] {
        fixture.write(file, text);
    }
    for scope in ["read", "operate", "admin"] {
        for path in ["/update", "/update/log", "/backup/log", "/certs", "/settings"] {
            let answer = get(&fixture, &format!("{PREFIX}{path}?token={scope}"));
            assert_eq!(answer.status, 200, "{scope} {path}");
            let text = String::from_utf8(answer.body).unwrap();
            assert!(path.ends_with("log") || serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
            for canary in ["canary", "Q0FOQVJZ", &verifier("read"), "yourtoken"] {
                if scope != "admin" {
                    assert!(!text.contains(canary), "{scope} sees {canary} in {path}: {text}");
                }
            }
            if scope == "admin" {
                assert!(text.contains("canary") || text.contains("Q0FOQVJZ"), "{path} is not as it is: {text}");
                assert!(!path.ends_with("log") || text == log, "{text}");
            }
        }
    }
    let settings = get(&fixture, &format!("{PREFIX}/settings?token=read"));
    let text = String::from_utf8(settings.body).unwrap();
    let app = r#""app":{"name":"testapp","db":{"dbPassword":"[redacted]","url":"ftp://u:[redacted]@h"},"n":1}"#;
    assert!(text.contains(app), "{text}");
    let log = String::from_utf8(get(&fixture, &format!("{PREFIX}/update/log?token=read")).body).unwrap();
    assert!(log.starts_with("[1][SYSTEM] url https://u:[redacted]@host\ncreate user password='[redacted]'\n"), "{log}");
    assert!(log.ends_with("\nend\n"), "{log}");
}
