//! The gate: how root runs jobs for a program that systemd confines (`src/jobs/gate.rs`), and that the program is confined.
//! A thread stands in for systemd: it starts the executable for each connection, with the connection as standard input.

use crate::contract::cases;
use crate::contract::form;
use crate::contract::http::{command, kill, send_with};
use crate::support::{Fixture, wait_until};
use rustix::cmsg_space;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const BINARY: &str = env!("CARGO_BIN_EXE_jidoteki-admin-api");

/// The socket of an appliance, for the lifetime of this value.
struct Gate {
    socket: PathBuf,
    is_over: Arc<AtomicBool>,
}

impl Gate {
    fn open(fixture: &Fixture) -> Gate {
        let socket = fixture.root.join("jobs.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (admin, etc) = (fixture.admin(), fixture.etc());
        let is_over = Arc::new(AtomicBool::new(false));
        let is_closed = Arc::clone(&is_over);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if is_closed.load(Ordering::Relaxed) {
                    return;
                }
                let mut answer = Command::new(BINARY);
                answer.arg("gate-answer").env_clear().env("JIDO_ADMIN_PATH", &admin).env("JIDO_ETC_PATH", &etc);
                // Variables that systemd sets too, and no job must have.
                answer.env("LISTEN_FDS", "1").env("INVOCATION_ID", "x").stderr(Stdio::null());
                let mut child = answer.stdin(Stdio::from(OwnedFd::from(connection.unwrap()))).spawn().unwrap();
                std::thread::spawn(move || child.wait());
            }
        });
        Gate { socket, is_over }
    }

    fn send(&self, fixture: &Fixture, method: &str, target: &str, body: Option<(&str, Vec<u8>)>) -> cases::Answer {
        let mut request = command(fixture, method, target);
        request.env("JIDO_GATE", &self.socket);
        send_with(request, body).0
    }

    fn post(&self, fixture: &Fixture, target: &str, fields: &[(&str, &str)]) -> cases::Answer {
        let (kind, body) = form::encode(fields);
        self.send(fixture, "POST", target, Some((&kind, body)))
    }

    /// Sends a message with descriptors, and returns the response.
    fn say(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> Vec<u8> {
        let mut connection = UnixStream::connect(&self.socket).unwrap();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(20))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            rights.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        sendmsg(&connection, &[IoSlice::new(message)], &mut rights, SendFlags::empty()).unwrap();
        connection.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // Unread data is reported as a reset.
        drop(connection.read_to_end(&mut answer));
        answer
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(UnixStream::connect(&self.socket));
    }
}

/// Processes that wait at a gate.
fn askers(gate: &Gate) -> Vec<i32> {
    let socket = gate.socket.display().to_string();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments);
        arguments.contains("gate-ask") && arguments.contains(&socket)
    })
    .collect()
}

#[test]
fn the_cases_hold_where_root_does_the_jobs_at_the_gate() {
    let fixture = Fixture::new();
    let gate = Gate::open(&fixture);
    cases::check(&fixture, |method, target, body| gate.send(&fixture, method, target, body));
}

#[test]
fn a_job_behind_the_gate_gets_the_lock_and_nothing_else_of_the_caller() {
    let fixture = Fixture::new();
    let gate = Gate::open(&fixture);
    fixture.write("hold", "");
    let update = || gate.post(&fixture, "/api/v1/admin/update?token=yourtoken", &[("update", "package")]);
    assert_eq!(update().status, 202);
    assert_eq!(fixture.calls(1), ["update"]);
    fixture.check_what_update_gets();

    // If the process that waits for the job is killed, the job still holds its lock, and no second one starts.
    wait_until("somebody waits for the job", || askers(&gate).len() == 1);
    for pid in askers(&gate) {
        kill(pid);
    }
    wait_until("nobody waits for the job", || askers(&gate).is_empty());
    let refused = update();
    assert_eq!((refused.status, refused.text().contains("E1004")), (400, true), "{}", refused.text());
    assert_eq!(fixture.calls(1), ["update"]);
    fixture.remove("hold");
    wait_until("the lock is free when the job has ended", || update().status == 202);
    assert_eq!(fixture.calls(2), ["update", "update"]);
}

#[test]
fn a_malformed_job_request_starts_nothing() {
    let fixture = Fixture::new();
    let gate = Gate::open(&fixture);
    let null = fs::File::open("/dev/null").unwrap();
    let fd = null.as_fd();
    let long = "x".repeat(100) + "\n";
    for (message, descriptors) in [
        (&b"update\n"[..], &[][..]),
        (b"update\n", &[fd, fd]),
        (b"update\n", &[fd; 4]),
        (b"update\n", &[fd; 20]),
        (b"update", &[fd; 3]),
        (b"\n", &[fd; 3]),
        (b"update;x\n", &[fd; 3]),
        (b"../../x\n", &[fd; 3]),
        (b"update\nupdate\n", &[fd; 3]),
        (b"update\0\n", &[fd; 3]),
        ("upd\u{e4}te\n".as_bytes(), &[fd; 3]),
        (long.as_bytes(), &[fd; 3]),
    ] {
        assert_eq!(gate.say(message, descriptors), b"", "{} with {}", message.escape_ascii(), descriptors.len());
    }
    // A connection without a message is ignored.
    drop(UnixStream::connect(&gate.socket).unwrap());
    assert_eq!(fixture.read("record/calls"), "");
    // The response is the job's exit status.
    assert_eq!(gate.say(b"settings static\n", &[fd; 3]), [1], "this one has no files to move");
    assert_eq!(fixture.calls(1), ["settings static"]);
}

#[test]
fn without_a_socket_the_program_starts_jobs_itself() {
    let fixture = Fixture::new();
    let mut request = command(&fixture, "GET", "/api/v1/admin/services?token=yourtoken");
    request.env("JIDO_GATE", fixture.root.join("nothing.sock"));
    assert_eq!(send_with(request, None).0.text(), r#"{"services":[{"ssh":"running"}]}"#);
}

/// The units that run the executable, with their lines. The distribution's programs, such as nginx itself, have others.
fn units_of_ours() -> Vec<(String, String)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/nginx/units");
    let found = Command::new("find").args([root, "-name", "*.service"]).output().unwrap().stdout;
    let mut units = Vec::new();
    for unit in String::from_utf8(found).unwrap().lines() {
        let text = fs::read_to_string(unit).unwrap();
        if text.contains("@BINARY@") || text.contains("@CONF@/lighttpd.conf") {
            units.push((unit.to_owned(), text));
        }
    }
    assert!(units.len() >= 3, "{units:?}");
    units
}

/// A core file of the executable or of a job would contain secrets.
#[test]
fn no_unit_of_ours_writes_a_core_file_or_gains_rights() {
    for (unit, text) in units_of_ours() {
        assert!(text.lines().any(|line| line == "LimitCORE=0"), "{unit}");
        // Root's unit for jobs is unrestricted; systemd's score ignores this one line.
        let is_confined = text.lines().any(|line| line == "NoNewPrivileges=yes");
        assert!(is_confined || unit.ends_with("-jobs@.service"), "{unit}");
    }
}

/// Otherwise systemd would end the job, or the process that waits for it, with the web server.
#[test]
fn a_unit_of_ours_stops_only_its_own_process() {
    for (unit, text) in units_of_ours() {
        assert!(text.lines().any(|line| line == "KillMode=process"), "{unit}");
    }
}

/// The installed units that run the executable, by systemd's own score.
#[test]
fn the_units_that_run_the_program_are_confined() {
    let fixture = Fixture::new();
    for server in ["nginx", "lighttpd"] {
        let folder = fixture.root.join(server);
        fs::create_dir(&folder).unwrap();
        let unit = folder.join("jidoteki-admin-api.service");
        let rendered = Command::new("nginx/edge/render.sh")
            .arg(format!("nginx/units/{server}/jidoteki-admin-api.service"))
            .args(["ADMIN=/opt/x", "RUN=/run/x", "LOG=/var/log/x", "SPOOL=/var/lib/x", "CONF=/etc/x", "PORT=8443"])
            .args(["BINARY=/bin/true", "WORKERS=8", "USER=jidoteki-admin-api", "GROUP=jidoteki-admin-api", "UID=847"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        fs::write(&unit, rendered.stdout).unwrap();
        let judged = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold=20"])
            .arg(&unit)
            .output()
            .expect("systemd-analyze is there (Debian's package systemd)");
        let table = String::from_utf8_lossy(&judged.stdout);
        let level = table.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
        println!("{server}: {level}");
        assert!(judged.status.success(), "{server}: more exposed than 2.0:\n{table}");
        assert!(level.contains(": "), "{server}: {table}{}", String::from_utf8_lossy(&judged.stderr));
    }
}
