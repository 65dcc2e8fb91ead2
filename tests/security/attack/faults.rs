//! A machine that fails under the executable: each call into the kernel, one after the other; no descriptors, no memory, no
//! processes, no space; signals; clocks that jump; standard descriptors that are closed. There is one well-formed answer or
//! none, and what was handed to a job is all there or not at all.

use super::world::{BINARY, for_each, signature};
use crate::contract::form;
use crate::contract::http::command;
use crate::support::{Fixture, wait_until};
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

const SETTINGS: &str = r#"{"network":{"interface":"eth0","hostname":"new.host"},"app":{"n":1}}"#;

/// A request, and the job that it starts.
struct Asked {
    method: &'static str,
    target: &'static str,
    form: &'static [(&'static str, &'static str)],
    job: &'static str,
}

const REQUESTS: [Asked; 5] = [
    Asked { method: "GET", target: "/api/v1/admin/version?token=yourtoken", form: &[], job: "" },
    Asked { method: "GET", target: "/api/v1/admin/services?token=yourtoken", form: &[], job: "services" },
    Asked {
        method: "POST",
        target: "/api/v1/admin/settings?token=yourtoken",
        form: &[("settings", SETTINGS)],
        job: "settings dhcp",
    },
    Asked {
        method: "POST",
        target: "/api/v1/admin/update?token=yourtoken",
        form: &[("update", "package")],
        job: "update",
    },
    Asked {
        method: "POST",
        target: "/api/v1/admin/setup?token=yourtoken",
        form: &[("newtoken", "newtoken")],
        job: "token",
    },
];

/// Runs the executable behind something that hurts it.
fn run(fixture: &Fixture, asked: &Asked, behind: &[&str]) -> Output {
    let plain = command(fixture, asked.method, asked.target);
    let mut command = Command::new(behind[0]);
    command.args(&behind[1..]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap());
    }
    let mut body = Vec::new();
    if !asked.form.is_empty() {
        let kind;
        (kind, body) = form::encode(asked.form);
        command.env("CONTENT_TYPE", kind).env("CONTENT_LENGTH", body.len().to_string());
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that dies reads nothing.
    drop(child.stdin.take().unwrap().write_all(&body));
    child.wait_with_output().unwrap()
}

/// The status of a well-formed answer; `None` for no answer at all.
#[track_caller]
fn status(output: &Output, what: &str) -> Option<u16> {
    let text = String::from_utf8_lossy(&output.stdout);
    if text.is_empty() {
        return None;
    }
    assert!(text.starts_with("Status: ") && text.matches("Status: ").count() == 1, "{what}: {text}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{what}: {text}"));
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    assert_eq!(length.parse(), Ok(body.len()), "{what}: {text}");
    Some(head[8..11].parse().unwrap())
}

/// What was handed over is the job's, or it is not there.
#[track_caller]
fn check_state(fixture: &Fixture, asked: &Asked, status: Option<u16>, what: &str) {
    let is_success = matches!(status, Some(200 | 202));
    if is_success && !asked.job.is_empty() {
        wait_until("the job is called", || fixture.read("record/calls").contains(asked.job));
    }
    let is_called = || fixture.read("record/calls").contains(asked.job) && !asked.job.is_empty();
    // What could not be removed has a name that nobody reads.
    let left = || -> Vec<String> { fixture.uploads().into_iter().filter(|name| !name.starts_with('.')).collect() };
    if status.is_none() {
        // Nothing was said of a job that may be on its way.
        wait_until(what, || is_called() || left() == ["backup.tar"]);
    }
    if is_called() {
        // A job that was started has all that it needs, and goes on by itself.
        if asked.job == "settings dhcp" {
            wait_until(what, || fixture.read("etc/network.json").contains("new.host"));
            assert!(fixture.read("etc/app.json").contains("{\"n\":1}"), "{what}: {}", fixture.read("etc/app.json"));
            assert!(fixture.read("home/sftp/uploads/network.conf").contains("new.host"), "{what}");
        }
        if asked.job == "update" {
            assert_eq!(fixture.read("home/sftp/uploads/software_package-zzz.enc"), "package", "{what}");
        }
        if asked.job == "token" {
            wait_until(what, || fixture.read("etc/api.token") == "newtoken\n");
        }
    } else {
        assert!(asked.job.is_empty() || !is_success, "{what}: a success without its job");
        assert_eq!(left(), ["backup.tar"], "{what}");
        assert_eq!(fixture.read("etc/api.token"), "yourtoken\n", "{what}");
    }
    // None of it lasts: the next request is served, unless the token is a new one.
    let next = run(fixture, &REQUESTS[0], &[BINARY]);
    let wanted = if fixture.read("etc/api.token") == "yourtoken\n" { 200 } else { 403 };
    assert_eq!(self::status(&next, what), Some(wanted), "{what}: the next request");
}

#[test]
fn every_call_into_the_kernel_may_fail() {
    // What the executable calls on its way, with what the kernel may say to it.
    const FAULTS: [(&str, &str, usize); 22] = [
        ("openat", "EMFILE", 14),
        ("openat", "EACCES", 14),
        ("openat", "EIO", 14),
        ("read", "EIO", 16),
        ("read", "EINTR", 16),
        ("write", "EINTR", 6),
        ("write", "ENOSPC", 6),
        ("write", "EPIPE", 6),
        ("fstat,newfstatat,statx", "EIO", 14),
        ("fsync", "EIO", 4),
        ("fsync", "EINTR", 4),
        ("rename,renameat,renameat2", "ENOSPC", 5),
        ("rename,renameat,renameat2", "EXDEV", 5),
        ("linkat", "EEXIST", 2),
        ("unlink,unlinkat", "EPERM", 6),
        ("flock", "EINTR", 3),
        ("flock", "ENOLCK", 3),
        ("getrandom", "ENOSYS", 3),
        ("clone,clone3,vfork,fork", "EAGAIN", 2),
        ("pipe2,socketpair", "EMFILE", 4),
        ("mmap,brk,mremap", "ENOMEM", 30),
        ("statfs,fcntl,lseek", "EIO", 8),
    ];
    let mut cases = Vec::new();
    for asked in &REQUESTS {
        for (call, error, most) in FAULTS {
            cases.extend((1..=most).map(|when| (asked, call, error, when)));
        }
    }
    // Not reached any more: what comes later in the same row is not, either.
    let n_injected = AtomicUsize::new(0);
    for_each(&cases, |(asked, call, error, when)| {
        let what = format!("{} {}: {error} at call {when} of {call}", asked.method, asked.target);
        let fixture = Fixture::new();
        // `-D`: what is watched is our child, as without strace. Of what it starts nothing is watched.
        let trace = format!("trace={call}");
        let inject = format!("inject={call}:error={error}:when={when}");
        let log = fixture.root.join("strace").display().to_string();
        let output = run(&fixture, asked, &["strace", "-D", "-qq", "-o", &log, "-e", &trace, "-e", &inject, BINARY]);
        wait_until("strace has written down what it did", || std::fs::exists(&log).unwrap());
        if std::fs::read_to_string(&log).unwrap_or_default().contains("(INJECTED)") {
            n_injected.fetch_add(1, Ordering::Relaxed);
        }
        let status = status(&output, &what);
        check_state(&fixture, asked, status, &what);
    });
    let n_injected = n_injected.into_inner();
    assert!(n_injected > 200, "only {n_injected} faults of {} came about", cases.len());
}

#[test]
fn a_signal_at_any_phase_leaves_all_or_nothing() {
    let mut cases = Vec::new();
    for asked in &REQUESTS {
        for signal in ["TERM", "KILL"] {
            for (call, most) in
                [("openat", 14), ("read", 8), ("write", 3), ("rename", 3), ("flock", 1), ("clone3,vfork,clone", 1)]
            {
                cases.extend((1..=most).map(|when| (asked, signal, call, when)));
            }
        }
    }
    for_each(&cases, |(asked, signal, call, when)| {
        let what = format!("{} {}: {signal} at call {when} of {call}", asked.method, asked.target);
        let fixture = Fixture::new();
        let trace = format!("trace={call}");
        let inject = format!("inject={call}:signal={signal}:when={when}");
        let output =
            run(&fixture, asked, &["strace", "-D", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, BINARY]);
        let status = status(&output, &what);
        if status.is_none() && !asked.form.is_empty() {
            // It was ended while it handed over: what lies there is the next request's to replace, and no job has seen it.
            let is_called = fixture.read("record/calls").contains(asked.job);
            let again = run(&fixture, asked, &[BINARY]);
            let again = self::status(&again, &what);
            assert!(matches!(again, Some(200 | 202)) || is_called, "{what}: the next request: {again:?}");
        } else {
            check_state(&fixture, asked, status, &what);
        }
    });
}

#[test]
fn limits_of_the_process_end_in_an_answer_or_in_none() {
    let mut cases: Vec<(&Asked, String)> = Vec::new();
    for asked in &REQUESTS {
        cases.extend((3..16).map(|n| (asked, format!("--nofile={n}:{n}"))));
        cases.extend((1..24).map(|mebibytes| (asked, format!("--as={}", mebibytes << 20))));
        cases.extend([0, 1, 7, 100, 4096].map(|bytes| (asked, format!("--fsize={bytes}"))));
        cases.extend([64, 100, 200].map(|kibibytes| (asked, format!("--stack={}", kibibytes << 10))));
    }
    for_each(&cases, |(asked, limit)| {
        let what = format!("{} {} with {limit}", asked.method, asked.target);
        let fixture = Fixture::new();
        let output = run(&fixture, asked, &["prlimit", limit, BINARY]);
        let status = status(&output, &what);
        // A job inherits the limit, and may not get as far as its first line.
        if status.is_some_and(|status| status >= 400) || asked.job.is_empty() {
            check_state(&fixture, asked, status, &what);
        }
    });
}

#[test]
fn file_systems_that_are_full_or_read_only_change_nothing() {
    for asked in &REQUESTS[2..] {
        for (folder, options) in [
            ("admin/home/sftp/uploads", "size=4k"),
            ("admin/home/sftp/uploads", "ro"),
            ("admin/etc", "ro"),
            ("admin/log", "ro"),
            ("admin/log", "size=4k"),
            ("admin/state", "ro"),
            ("admin", "ro"),
        ] {
            let what = format!("{} {} with {folder} {options}", asked.method, asked.target);
            let fixture = Fixture::new();
            // In a name space of its own, so that nothing of it outlives the test.
            let folder = fixture.root.join(folder).display().to_string();
            let script = if options == "ro" {
                "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && exec \"$2\""
            } else {
                "mount -t tmpfs -o mode=777,size=4k tmpfs \"$1\" && { dd if=/dev/zero of=\"$1/filler\" bs=4096 2>/dev/null; exec \"$2\"; }"
            };
            let output = run(&fixture, asked, &["unshare", "-m", "sh", "-c", script, "sh", &folder, BINARY]);
            let status = status(&output, &what);
            let is_needed = folder.ends_with("uploads") || folder.ends_with("/admin");
            if is_needed {
                assert!(matches!(status, Some(400 | 413)), "{what}: {status:?} {output:?}");
                assert!(!fixture.read("record/calls").contains(asked.job), "{what}");
                assert_eq!(fixture.uploads(), ["backup.tar"], "{what}");
            } else if folder.ends_with("/etc") {
                // The fixture's jobs write there, with the executable's rights.
                assert!(status.is_some(), "{what}: {output:?}");
            } else {
                assert!(matches!(status, Some(200 | 202)), "{what}: {status:?} {output:?}");
            }
        }
    }
}

#[test]
fn the_clock_may_say_anything() {
    let fake = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !std::fs::exists(fake).unwrap() {
        assert!(std::env::var_os("CI").is_none(), "CI has libfaketime");
        eprintln!("skipped: no libfaketime here");
        return;
    }
    for time in [
        "1970-01-01 00:00:00",
        "1969-12-31 23:59:59",
        "2038-01-19 03:14:08",
        "2106-02-07 06:28:16",
        "9999-12-31 23:59:59",
    ] {
        for asked in &REQUESTS {
            let fixture = Fixture::new();
            let preload = format!("LD_PRELOAD={fake}");
            let clock = format!("FAKETIME=@{time}");
            let output = run(&fixture, asked, &["env", &preload, &clock, "TZ=UTC", BINARY]);
            let what = format!("{} {} at {time}", asked.method, asked.target);
            assert!(matches!(status(&output, &what), Some(200 | 202)), "{what}: {output:?}");
        }
        // A signature of now is refused with the appliance's time, by which the client can sign then.
        let fixture = Fixture::new();
        let mut signed = command(&fixture, "GET", "/api/v1/admin/version");
        signed.env("LD_PRELOAD", fake).env("FAKETIME", format!("@{time}")).env("TZ", "UTC");
        for (name, value) in signature(b"/api/v1/admin/version") {
            let name = format!("HTTP_{}", name.to_uppercase().replace('-', "_"));
            signed.env(name, String::from_utf8(value).unwrap());
        }
        let output = signed.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.starts_with("Status: 403 ") && text.contains("\"Server-Time\":\""), "{time}: {text}");
    }
}

#[test]
fn standard_descriptors_may_be_closed_or_broken() {
    for redirections in [
        "<&-",
        ">&-",
        "2>&-",
        "<&- >&-",
        "<&- 2>&-",
        ">&- 2>&-",
        "<&- >&- 2>&-",
        ">/dev/full",
        "2>/dev/full",
        "</",
        "0>/dev/null",
    ] {
        for asked in &REQUESTS {
            let fixture = Fixture::new();
            let script = format!("exec \"$0\" {redirections}");
            let what = format!("{} {} with {redirections}", asked.method, asked.target);
            let output = run(&fixture, asked, &["sh", "-c", &script, BINARY]);
            let status = status(&output, &what);
            check_state(&fixture, asked, status, &what);
        }
    }
}
