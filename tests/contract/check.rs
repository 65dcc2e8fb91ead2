//! `check` connects to the appliance's own port, over TLS: real web servers with the shipped configurations, and other
//! programs on the port. Needs root, as web servers do.

use crate::support::{Fixture, wait_until};
use jidoteki_admin_api::appliance::Appliance;
use jidoteki_admin_api::console::check;
use jidoteki_admin_api::console::machine::Machine;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// An appliance, and the machine that `check` sees.
struct Door {
    fixture: Fixture,
    machine: Machine,
    port: u16,
}

impl Door {
    fn new() -> Door {
        let fixture = Fixture::new();
        let root = fixture.root.join("machine");
        fs::create_dir_all(root.join("etc/jidoteki-admin-api")).unwrap();
        // Gets a free port from the kernel.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let machine = Machine {
            root,
            path: OsString::from("/usr/sbin:/usr/bin:/bin"),
            now: 1_795_392_000,
            owner: 0,
            is_root: true,
            free: |_| None,
            port: Some(port),
        };
        Door { fixture, machine, port }
    }

    fn certificate(&self) -> PathBuf {
        self.fixture.etc().join("tls/current")
    }

    /// Makes a unique certificate and key in a directory.
    fn pair(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=x",
        ]);
        openssl.arg("-keyout").arg(folder.join("appliance.key")).arg("-out").arg(folder.join("appliance.pem"));
        assert!(openssl.stderr(Stdio::null()).status().unwrap().success());
    }

    /// Starts one of the web servers, with its configuration as `install.sh` generates it.
    fn up(&self, server: &str) -> Running {
        let run = self.fixture.root.join("run");
        let program = self.fixture.root.join("program");
        fs::copy(env!("CARGO_BIN_EXE_jidoteki-admin-api"), &program).unwrap();
        let mut child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/edge"))
            .args([server, &self.port.to_string()])
            .args([self.fixture.admin(), self.fixture.etc(), program, run.clone()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        std::os::unix::fs::symlink(run.join("tls"), self.fixture.etc().join("tls")).unwrap();
        self.fixture.write("etc/web-server.txt", server);
        let to = self.machine.root.join(format!("etc/jidoteki-admin-api/{server}.conf"));
        let from = run.join("conf");
        let site = from.join("site.conf");
        let from = if site.exists() { site } else { from.join(format!("{server}.conf")) };
        fs::copy(from, &to).unwrap();
        Running { child, configuration: to }
    }

    /// What `check` finds at the port, without the rest of the machine.
    fn findings(&self) -> Vec<String> {
        let appliance = Appliance::new(Some(self.fixture.admin().into()), Some(self.fixture.etc().into()));
        let all = check::findings(&appliance, &self.machine).into_iter().map(|finding| finding.problem);
        let port = format!("port {}", self.port);
        all.filter(|problem| problem.contains(&port)).map(|problem| problem.replace(&port, "the port")).collect()
    }
}

struct Running {
    child: Child,
    configuration: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of its input, or a signal, stops its children.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

fn what_is_wrong_behind(server: &str) {
    let door = Door::new();
    let running = door.up(server);
    assert_eq!(door.findings(), Vec::<String>::new(), "{server}");

    door.fixture.write("fail", "Error\n");
    assert_eq!(
        door.findings(),
        ["jobs do not work on the port: GET /api/v1/admin/services with a valid signature returns status 400"],
        "{server}"
    );
    door.fixture.remove("fail");

    let config = door.fixture.read("usr/jidoteki-admin-api.json");
    door.fixture.write("usr/jidoteki-admin-api.json", &config.replacen('{', r#"{"max-upload-bytes":8589934592,"#, 1));
    assert_eq!(
        door.findings(),
        ["the web server on the port refuses an upload of 8589934592 bytes, the max-upload-bytes"],
        "{server}"
    );
    door.fixture.write("usr/jidoteki-admin-api.json", &config);

    // The file differs from what is served.
    let text = fs::read_to_string(&running.configuration).unwrap();
    let is_said = |line: &&str| line.contains("MinProtocol") || line.trim_start().starts_with("ssl_protocols");
    let line = text.lines().find(is_said).unwrap();
    let (other, wanted) = if line.contains("TLSv1.2") {
        ("TLSv1.3", "TLSv1.2 is accepted on the port, although the configured minimum is TLSv1.3")
    } else {
        ("TLSv1.2", "TLSv1.2 is configured, but not accepted on the port")
    };
    let changed = line.replace("TLSv1.2", other).replace("TLSv1.3", other);
    fs::write(&running.configuration, text.replace(line, &changed)).unwrap();
    assert_eq!(door.findings(), [wanted], "{server}");
    fs::write(&running.configuration, &text).unwrap();

    // The certificate in use has changed; another program gets no credential.
    let tls = door.fixture.etc().join("tls");
    fs::remove_file(&tls).unwrap();
    Door::pair(&door.certificate());
    let calls = door.fixture.read("record/calls");
    assert_eq!(
        door.findings(),
        [format!("the certificate served on the port is not {}/appliance.pem", door.certificate().display())],
        "{server}"
    );
    assert_eq!(door.fixture.read("record/calls"), calls, "{server}");
}

#[test]
fn check_finds_through_nginx_faults_that_no_file_shows() {
    what_is_wrong_behind("nginx");
}

#[test]
fn check_finds_through_lighttpd_faults_that_no_file_shows() {
    what_is_wrong_behind("lighttpd");
}

#[test]
fn check_sees_that_no_server_or_another_one_answers() {
    let door = Door::new();
    assert_eq!(door.findings(), ["nothing answers on the port"]);

    let listener = TcpListener::bind(("127.0.0.1", door.port)).unwrap();
    let closing = std::thread::spawn(move || drop(listener.incoming().take(2).collect::<Vec<_>>()));
    assert_eq!(door.findings(), ["the program on the port does not speak TLS or HTTP"]);
    drop(closing.join());

    Door::pair(&door.certificate());
    let mut server = Command::new("openssl")
        .args(["s_server", "-www", "-quiet", "-accept", &format!("127.0.0.1:{}", door.port)])
        .arg("-cert")
        .arg(door.certificate().join("appliance.pem"))
        .arg("-key")
        .arg(door.certificate().join("appliance.key"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the stranger listens", || TcpStream::connect(("127.0.0.1", door.port)).is_ok());
    let findings = door.findings();
    drop(server.kill());
    drop(server.wait());
    assert_eq!(findings, ["on the port, an unknown path returns status 200 instead of the API's 404 as JSON"]);
}
