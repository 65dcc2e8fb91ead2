//! What a client sees through the real web servers with the shipped configurations, over TLS on loopback. `support/edge`
//! starts them from the templates in `nginx/`. Needs root, as web servers do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of tests says what is wrong as a test does")]

use crate::contract::cases::Answer;
use jidoteki_admin_api::appliance::resumable::PIECE;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The servers' limit for a body in bytes, as `support/edge` configures it.
const LIMIT: u64 = 4 << 30;
const DEADLINE: Duration = Duration::from_secs(60);
const DASHBOARD_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";
const SECURITY: [(&str, &str); 3] = [
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Server {
    Nginx,
    Lighttpd,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Server::Nginx => "nginx",
            Server::Lighttpd => "lighttpd",
        }
    }
}

/// The program behind the server.
enum Program<'a> {
    /// The executable.
    Ours,
    /// A shell script in its place, to observe what the executable does not show.
    Script(&'a str),
}

/// A web server with an appliance.
struct Edge {
    server: Server,
    port: u16,
    base: PathBuf,
    child: Child,
    // Closing it stops the servers, also when the test process dies.
    commands: Option<ChildStdin>,
    replies: Mutex<BufReader<ChildStdout>>,
}

/// The response of a server, without an interim one (100 Continue).
fn parse(mut raw: &[u8]) -> Answer {
    loop {
        let end = raw
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(raw)));
        let head = String::from_utf8_lossy(&raw[..end]).into_owned();
        raw = &raw[end + 4..];
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        if status >= 200 {
            let headers = lines.map(|line| line.split_once(": ").unwrap());
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            return Answer { status, headers, body: raw.to_vec() };
        }
    }
}

trait Check {
    fn check_security(&self, what: &str);
    fn check_error(&self, what: &str, status: u16, body: &str);
}

impl Check for Answer {
    #[track_caller]
    fn check_security(&self, what: &str) {
        for (name, value) in SECURITY {
            assert_eq!(self.header(name), value, "{what}: {name}");
        }
        let policy = self.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains(" AND "), "{what}: {policy}");
        let server = self.header("server");
        assert!(server.is_empty() || server == "nginx", "{what}: the version is told: {server}");
    }

    #[track_caller]
    fn check_error(&self, what: &str, status: u16, body: &str) {
        assert_eq!((self.status, self.text().as_str()), (status, body), "{what}");
        assert_eq!(self.header("content-type"), "application/json", "{what}");
        self.check_security(what);
    }
}

impl Edge {
    fn start(server: Server, program: &Program<'_>) -> Edge {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let output = Command::new("id").arg("-u").output().unwrap();
        assert_eq!(output.stdout, b"0\n", "tests of the edge need root: the web servers do");
        let port = loop {
            let port = 22010 + NEXT.fetch_add(1, Ordering::Relaxed);
            assert!(port < 22100, "no free port between 22010 and 22099");
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                break port;
            }
        };
        // Not below the target directory, which the program's user may not be able to enter.
        let base = PathBuf::from(format!("/tmp/jidoteki-edge-{}-{port}", std::process::id()));
        fs::create_dir(&base).unwrap();
        let edge_dir = |name: &str| base.join(name).to_str().unwrap().to_owned();
        let binary = base.join("program");
        match program {
            Program::Ours => drop(fs::copy(env!("CARGO_BIN_EXE_jidoteki-admin-api"), &binary).unwrap()),
            Program::Script(text) => fs::write(&binary, text).unwrap(),
        }
        mode(&binary, 0o755);
        lay_appliance(&base);
        let mut child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/edge"))
            .args([
                server.name(),
                &port.to_string(),
                &edge_dir("admin"),
                &edge_dir("etc"),
                &edge_dir("program"),
                &edge_dir("run"),
            ])
            .env("REMOVE", &base)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let replies = Mutex::new(BufReader::new(child.stdout.take().unwrap()));
        let edge = Edge { server, port, base, child, commands, replies };
        edge.await_reply("ready");
        edge
    }

    fn await_reply(&self, expected: &str) {
        let mut line = String::new();
        self.replies.lock().unwrap().read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), expected, "{:?}", self.server);
    }

    fn command(&mut self, command: &str, reply: &str) {
        let commands = self.commands.as_mut().expect("taken in drop only");
        commands.write_all(format!("{command}\n").as_bytes()).unwrap();
        self.await_reply(reply);
    }

    fn curl(&self, path: &str, args: &[&str]) -> Answer {
        let output = self.try_curl(path, args);
        assert!(output.status.success(), "curl {path}: {}", String::from_utf8_lossy(&output.stderr));
        parse(&output.stdout)
    }

    fn try_curl(&self, path: &str, args: &[&str]) -> Output {
        Command::new("curl")
            .args(["-sS", "-i", "--path-as-is", "--max-time", "60", "--cacert"])
            .arg(self.base.join("run/tls/current/appliance.pem"))
            .args(args)
            .arg(format!("https://localhost:{}{path}", self.port))
            .output()
            .unwrap()
    }

    /// Sends raw bytes over TLS; returns the response up to the end of the connection.
    fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut client = self.s_client(&["-quiet"]);
        client.stdin.as_mut().unwrap().write_all(request).unwrap();
        let mut answer = Vec::new();
        client.stdout.take().unwrap().read_to_end(&mut answer).unwrap();
        client.wait().unwrap();
        answer
    }

    fn s_client(&self, args: &[&str]) -> Child {
        Command::new("openssl")
            .args(["s_client", "-connect", &format!("127.0.0.1:{}", self.port)])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn admin(&self, path: &str) -> PathBuf {
        self.base.join("admin").join(path)
    }

    fn upload(&self, name: &str) -> PathBuf {
        self.admin("home/sftp/uploads").join(name)
    }

    /// The files in uploads, without locks.
    fn uploads(&self) -> Vec<String> {
        let names =
            fs::read_dir(self.upload("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            names.filter(|name| Path::new(name).extension().is_none_or(|ext| ext != "lock")).collect();
        names.sort();
        names
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        drop(self.commands.take());
        // A panic here would hide the one that is unwinding.
        drop(self.child.wait());
    }
}

/// An appliance with a token, everything enabled, and jobs that a test can hold and inspect.
fn lay_appliance(base: &Path) {
    for dir in [
        "etc",
        "admin",
        "admin/bin",
        "admin/etc",
        "admin/log",
        "admin/home",
        "admin/home/sftp",
        "admin/home/sftp/uploads",
        "admin/calls",
    ] {
        let path = base.join(dir);
        fs::create_dir(&path).unwrap();
        // World-writable, because the program's user is not ours.
        mode(&path, 0o777);
    }
    let wrapper = r#"#!/bin/sh
cd "${0%/*}/.." || exit 1
echo $$ >"calls/$SSH_ORIGINAL_COMMAND"
while [ -e "hold.$SSH_ORIGINAL_COMMAND" ]; do sleep 0.05; done
case $SSH_ORIGINAL_COMMAND in
token) mv -f home/sftp/uploads/api.token etc/ ;;
services) echo '{"services":[]}' ;;
esac
echo ended >"calls/$SSH_ORIGINAL_COMMAND.ended"
"#;
    for (path, text, bits) in [
        ("admin/bin/wrapper.sh", wrapper, 0o755),
        ("admin/etc/api.token", "yourtoken\n", 0o666),
        ("admin/etc/version.txt", "1.2.3\n", 0o644),
        (
            "etc/jidoteki-admin-api.json",
            r#"{"endpoints":["settings","certs","license","storage","backup"],"parameters":["public","private","ca","license","action","archive"]}"#,
            0o644,
        ),
    ] {
        fs::write(base.join(path), text).unwrap();
        mode(&base.join(path), bits);
    }
}

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

#[track_caller]
fn wait_for(what: &str, test: impl Fn() -> bool) {
    let start = Instant::now();
    while !test() {
        assert!(start.elapsed() < DEADLINE, "this did not happen: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// One of each, for the tests that only read.
static SHARED: LazyLock<[Edge; 2]> =
    LazyLock::new(|| [Server::Nginx, Server::Lighttpd].map(|server| Edge::start(server, &Program::Ours)));

fn both() -> &'static [Edge; 2] {
    &SHARED
}

fn each(program: &Program<'_>, check: impl Fn(&mut Edge)) {
    for server in [Server::Nginx, Server::Lighttpd] {
        check(&mut Edge::start(server, program));
    }
}

#[test]
fn a_body_over_the_limit_is_refused_as_json_that_names_it() {
    for edge in both() {
        let package = edge.base.join("large");
        // A sparse file: nobody reads all of it.
        fs::File::create(&package).unwrap().set_len(LIMIT).unwrap();
        let field = format!("update=@{}", package.display());
        // curl and browsers use HTTP/2 if it is offered.
        for version in ["--http1.1", "--http2"] {
            let answer = edge.curl("/api/v1/admin/update?token=yourtoken", &[version, "-F", &field]);
            let message = format!("Upload too large: the limit is {LIMIT} bytes");
            answer.check_error(
                &format!("{} {version}", edge.server.name()),
                413,
                &format!(r#"{{"Status":"413 Request Entity Too Large","Error-Message":"{message}"}}"#),
            );
            assert_eq!(answer.header("error-message"), message);
        }
    }
}

#[test]
fn a_chunk_over_the_limit_is_refused_before_it_comes() {
    for edge in both() {
        let raw = edge.raw(b"POST /api/v1/admin/update?token=yourtoken HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n140000000\r\n--x\r\n");
        let answer = parse(&raw);
        let limit = match edge.server {
            Server::Nginx => "4294967296 bytes",
            Server::Lighttpd => "134217728 bytes for a request without Content-Length",
        };
        answer.check_error(
            edge.server.name(),
            413,
            &format!(r#"{{"Status":"413 Request Entity Too Large","Error-Message":"Upload too large: the limit is {limit}"}}"#),
        );
    }
}

#[test]
fn a_missing_resource_is_404_as_json() {
    for edge in both() {
        for path in [
            "/api",
            "/api/",
            "/api/v1/adminx",
            "/api/v1/admin",
            "/api/v2/admin/version",
            "/API/v1/admin/version",
            "/docs/x",
            "/docs.html",
            "/nothere",
            "/nothere.html",
            "/js/",
            "/_files/backup.tar",
            "/_files/",
            "/_error/413",
            "/_error/",
            "/.git/config",
            "/.htaccess",
            "/index.html/x",
            "/index.l",
            "/opt/jidoteki/tinyadmin/etc/api.token",
            "/api/v1/admin/version/default",
            "//api/v1/admin/version",
            "/x/../api/v1/admin/version",
            "/api/v1/admin/%76ersion",
            "/api/v1/admin/version%2f..%2fversion",
            "/api/../api/v1/admin/version",
        ] {
            let answer = edge.curl(&format!("{path}?token=yourtoken"), &[]);
            answer.check_error(&format!("{:?} {path}", edge.server), 404, r#"{"Status":"404 Not Found"}"#);
        }
    }
}

/// A path of the API can have any depth, with any method: the program decides, and no file of that name is read.
#[test]
fn every_path_of_the_api_starts_the_program() {
    each(&Program::Script(DUMP), |edge| {
        for path in ["/docs", "/docs/", "/api/", "/api/v1/admin/version", "/api/v1/admin/backup/download", "/api/v1/x"]
        {
            for path in [path.to_owned(), format!("/api/v1/admin{path}/a/b/c/d")] {
                let answer = edge.curl(&path, &[]);
                let is_asked = answer.text().lines().any(|line| line == format!("REQUEST_URI={path}"));
                assert!(
                    answer.status == 200 && is_asked,
                    "{:?} {path}: {} {}",
                    edge.server,
                    answer.status,
                    answer.text()
                );
                for (method, status) in [("HEAD", 200), ("POST", 200), ("DELETE", 200), ("PUT", 200)] {
                    let arguments: &[&str] = if method == "HEAD" { &["-I"] } else { &["-X", method, "-d", "a=b"] };
                    assert_eq!(edge.curl(&path, arguments).status, status, "{:?} {method} {path}", edge.server);
                }
            }
        }
    });
}

#[test]
fn the_dashboard_comes_compressed_and_the_api_does_not() {
    let index = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/nginx/dashboard/js/ui.js")).unwrap();
    for edge in both() {
        let ask = |path: &str| edge.curl(path, &["-H", "Accept-Encoding: gzip"]);
        let (answer, name) = (ask("/js/ui.js"), edge.server.name());
        assert_eq!((answer.status, answer.header("content-encoding").as_str()), (200, "gzip"), "{name}");
        assert!(answer.body.len() < index.len() / 2, "{name}: {} of {} bytes", answer.body.len(), index.len());
        assert!(answer.header("vary").eq_ignore_ascii_case("accept-encoding"), "{name}");
        answer.check_security(name);
        assert_eq!(edge.curl("/js/ui.js", &[]).body, index, "{name}");
        for path in ["/docs", "/api/v1/admin/endpoints?token=yourtoken"] {
            let answer = ask(path);
            assert_eq!((answer.status, answer.header("content-encoding").as_str()), (200, ""), "{name} {path}");
        }
    }
}

#[test]
fn refusals_of_the_server_itself_are_json() {
    let (many, path) = ("x".repeat(20_000), "/api/v1/admin/version");
    for edge in both() {
        let name = edge.server.name();
        let bad = r#"{"Status":"400 Bad Request"}"#;
        for path in ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/etc/passwd"] {
            let answer = edge.curl(path, &[]);
            match edge.server {
                Server::Nginx => answer.check_error(path, 400, bad),
                Server::Lighttpd => answer.check_error(path, 404, r#"{"Status":"404 Not Found"}"#),
            }
        }
        edge.curl("/%00", &["--http1.1"]).check_error(name, 400, bad);
        edge.curl(path, &["--http1.1", "-H", "Content-Length: x"]).check_error(name, 400, bad);
        let long = edge.curl(path, &["--http1.1", "-H", &format!("X-Long: {many}")]);
        match edge.server {
            Server::Nginx => long.check_error(name, 400, bad),
            Server::Lighttpd => long.check_error(name, 431, r#"{"Status":"431 Request Header Fields Too Large"}"#),
        }
        for method in ["POST", "PUT", "DELETE"] {
            let answer = edge.curl("/", &["-X", method, "-d", "a=b"]);
            answer.check_error(&format!("{name} {method}"), 405, r#"{"Status":"405 Method Not Allowed"}"#);
            assert_eq!(answer.header("allow"), "GET, HEAD");
        }
    }
}

#[test]
fn plain_http_is_refused_with_a_pointer_to_https() {
    let edge = &both()[0];
    let output = Command::new("curl")
        .args(["-sS", "-i", &format!("http://127.0.0.1:{}/?token=yourtoken", edge.port)])
        .output()
        .unwrap();
    let text = "This port speaks HTTPS: ask for https://";
    parse(&output.stdout).check_error(
        "plain",
        400,
        &format!(r#"{{"Status":"400 Bad Request","Error-Message":"{text}"}}"#),
    );
}

#[test]
fn the_dashboard_comes_with_its_headers_and_is_asked_for_again_each_time() {
    let index = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/nginx/dashboard/index.html")).unwrap();
    for edge in both() {
        let answer = edge.curl("/", &[]);
        let name = edge.server.name();
        assert_eq!((answer.status, &answer.body), (200, &index), "{name}");
        answer.check_security(name);
        assert_eq!(answer.header("content-security-policy"), DASHBOARD_POLICY, "{name}");
        assert_eq!(answer.header("content-type").to_lowercase(), "text/html; charset=utf-8", "{name}");
        assert_eq!(answer.header("cache-control"), "no-cache", "{name}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{name}");

        let etag = format!("If-None-Match: {}", answer.header("etag"));
        assert_eq!(edge.curl("/", &["-H", &etag]).status, 304, "{name}: {etag}");
        let head = edge.curl("/", &["-I"]);
        assert_eq!(
            (head.status, head.body.len(), head.header("content-length")),
            (200, 0, index.len().to_string()),
            "{name}"
        );
    }
}

#[test]
fn the_program_s_own_headers_come_once() {
    for edge in both() {
        for (path, status) in [
            ("/api/v1/admin/version?token=yourtoken", 200),
            ("/api/v1/admin/version", 403),
            ("/docs", 200),
            ("/docs/", 200),
        ] {
            let answer = edge.curl(path, &[]);
            assert_eq!(answer.status, status, "{:?} {path}", edge.server);
            answer.check_security(&format!("{:?} {path}", edge.server));
        }
    }
}

#[test]
fn old_tls_is_not_spoken_and_1_2_has_forward_secrecy() {
    for edge in both() {
        let shake = |args: &[&str]| {
            let output = edge.s_client(args).wait_with_output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let weak = "ALL:@SECLEVEL=0";
        for (args, cipher) in [
            (&["-tls1", "-cipher", weak][..], "(NONE)"),
            (&["-tls1_1", "-cipher", weak], "(NONE)"),
            (&["-tls1_2", "-cipher", "ALL:!ECDHE@SECLEVEL=0"], "(NONE)"),
            (&["-tls1_2", "-cipher", "ECDHE:!AESGCM:!CHACHA20@SECLEVEL=0"], "(NONE)"),
            (&["-tls1_2"], "ECDHE-"),
            (&["-tls1_3"], "TLS_"),
        ] {
            let output = shake(args);
            assert!(output.contains(&format!("Cipher is {cipher}")), "{:?} {args:?}: {output}", edge.server);
        }
    }
}

/// Connects to fcgiwrap directly, as an attacker in nginx's workers could, where only a unit names the appliance.
#[test]
fn a_process_that_reaches_the_socket_cannot_choose_the_appliance() {
    let base = PathBuf::from(format!("/tmp/jidoteki-unit-{}", std::process::id()));
    drop(fs::remove_dir_all(&base));
    for name in ["true", "evil"] {
        let appliance = base.join(name);
        fs::create_dir_all(&appliance).unwrap();
        lay_appliance(&appliance);
        fs::write(appliance.join("admin/etc/version.txt"), format!("{name}\n")).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_jidoteki-admin-api"), base.join("program")).unwrap();
    mode(&base.join("program"), 0o755);
    fs::write(base.join("evil/admin/etc/api.token"), "evil\n").unwrap();
    let paths = |name: &str| base.join(name).to_str().unwrap().to_owned();
    // What the units mount with BindReadOnlyPaths=.
    let script = r#"
        mount -t tmpfs tmpfs /run
        if [ "$2" = unit ]; then
            mkdir -p /run/jidoteki-admin-api/unit
            ln -s "$1/true/admin:$1/true/etc:$1/none" /run/jidoteki-admin-api/unit/paths
        fi
        exec spawn-fcgi -n -s "$1/socket" -M 0666 -u nobody -g nogroup -- /usr/sbin/fcgiwrap -p "$1/program"
    "#;
    for (place, token, wanted) in
        [("unit", "evil", "Authentication error"), ("unit", "yourtoken", "\"true\""), ("elsewhere", "evil", "\"evil\"")]
    {
        drop(fs::remove_file(base.join("socket")));
        let mut server = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh", base.to_str().unwrap(), place])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("fcgiwrap listens", || UnixStream::connect(base.join("socket")).is_ok());
        let (program, admin, etc) = (paths("program"), paths("evil/admin"), paths("evil/etc"));
        let answer = ask_fastcgi(
            &base.join("socket"),
            &[
                ("SCRIPT_FILENAME", &program),
                ("GATEWAY_INTERFACE", "CGI/1.1"),
                ("REQUEST_METHOD", "GET"),
                ("REQUEST_URI", &format!("/api/v1/admin/version?token={token}")),
                ("JIDO_ADMIN_PATH", &admin),
                ("JIDO_ETC_PATH", &etc),
            ],
        );
        server.kill().unwrap();
        server.wait().unwrap();
        assert!(answer.contains(wanted), "{place} {token}: {answer}");
    }
    fs::remove_dir_all(&base).unwrap();
}

/// An invalid credential in the head is refused as soon as the head is complete.
#[test]
fn a_wrong_credential_is_refused_before_the_body_comes() {
    for edge in both() {
        for credential in ["Authorization: Bearer wrong\r\n", ""] {
            let query = if credential.is_empty() { "?hash=00" } else { "" };
            let head = format!(
                "POST /api/v1/admin/update{query} HTTP/1.1\r\nHost: localhost\r\n{credential}Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 20000000\r\n\r\n"
            );
            let mut client = edge.s_client(&["-quiet"]);
            client.stdin.as_mut().unwrap().write_all(head.as_bytes()).unwrap();
            let mut raw = Vec::new();
            let mut stdout = client.stdout.take().unwrap();
            let mut piece = [0; 4096];
            // The connection can stay open for a body that never arrives.
            while !raw.ends_with(b"}") {
                let n = stdout.read(&mut piece).unwrap();
                assert_ne!(n, 0, "{:?}: {}", edge.server, String::from_utf8_lossy(&raw));
                raw.extend_from_slice(&piece[..n]);
            }
            client.kill().unwrap();
            client.wait().unwrap();
            let body = r#"{"Status":"403 Forbidden","Error-Message":"Authentication error"}"#;
            let answer = parse(&raw);
            answer.check_error(edge.server.name(), 403, body);
            assert_eq!(answer.header("error-message"), "Authentication error", "{:?}", edge.server);
            assert_eq!(answer.header("cache-control"), "no-cache", "{:?}", edge.server);
        }
    }
}

/// What the head is enough to refuse is refused although the body never arrives.
#[test]
fn a_request_that_its_head_condemns_is_refused_before_the_body_comes() {
    each(&Program::Ours, |edge| {
        // Longer than the longest piece.
        let form = format!("for=update&length={}", 2 * PIECE);
        let opened = edge.curl("/api/v1/admin/uploads?token=yourtoken", &["-d", &form]);
        assert_eq!(opened.status, 201, "{}", opened.text());
        let upload = opened.header("location");
        let nothing = format!("/api/v1/admin/uploads/{}", "0".repeat(32));
        let (update, restore) = ("/api/v1/admin/update".to_owned(), "/api/v1/admin/backup/restore".to_owned());
        let lock =
            fs::OpenOptions::new().create(true).truncate(false).write(true).open(edge.upload(".update.lock")).unwrap();
        mode(&edge.upload(".update.lock"), 0o666);
        let piece = "Content-Type: application/partial-upload\r\nUpload-Complete: ?0\r\nUpload-Offset: ";
        let form = "Content-Type: multipart/form-data; boundary=x\r\nX: ";
        let check = |method: &str, path: &str, headers: &str, length: u64, status: u16, text: &str| {
            let head = format!(
                "{method} {path}?token=yourtoken HTTP/1.1\r\nHost: localhost\r\n{headers}7\r\nContent-Length: {length}\r\n\r\n"
            );
            let mut client = edge.s_client(&["-quiet"]);
            client.stdin.as_mut().unwrap().write_all(head.as_bytes()).unwrap();
            let (mut raw, mut piece, mut stdout) = (Vec::new(), [0; 4096], client.stdout.take().unwrap());
            // The connection may stay open for a body that never comes.
            while !raw.ends_with(b"}") {
                let n = stdout.read(&mut piece).unwrap();
                assert_ne!(n, 0, "{:?} {method} {path}: {}", edge.server, String::from_utf8_lossy(&raw));
                raw.extend_from_slice(&piece[..n]);
            }
            client.kill().unwrap();
            client.wait().unwrap();
            let answer = parse(&raw);
            let what = format!("{:?} {method} {path}: {}", edge.server, answer.text());
            assert_eq!(answer.status, status, "{what}");
            assert!(answer.text().contains(text), "{what}");
            assert_eq!(answer.header("content-type"), "application/json", "{what}");
            answer.check_security(&what);
            answer
        };
        check("PATCH", &nothing, piece, 8_000_000, 404, "404 Not Found");
        let answer = check("PATCH", &upload, piece, 8_000_000, 409, "The upload continues at another offset");
        assert_eq!((answer.header("upload-offset"), answer.header("upload-complete")), ("0".into(), "?0".into()));
        check(
            "PATCH",
            &upload,
            &piece.replace("Offset: ", "Offset: 0\r\nX: "),
            PIECE + 1,
            413,
            &format!("Upload too large: the limit is {PIECE}"),
        );
        lock.lock().unwrap();
        check("POST", &update, form, 20_000_000, 400, "is already running\",\"Error-Code\":\"E1004\"");
        check("POST", &restore, form, 20_000_000, 400, "update is running since");
        // curl prints why, and does not fail.
        let package = edge.base.join("large");
        fs::write(&package, vec![b'x'; 20_000_000]).unwrap();
        for version in ["--http1.1", "--http2"] {
            let field = format!("update=@{}", package.display());
            let answer = edge.curl("/api/v1/admin/update?token=yourtoken", &[version, "-F", &field]);
            assert!(
                answer.status == 400 && answer.text().contains("E1004"),
                "{:?} {version}: {}",
                edge.server,
                answer.text()
            );
        }
        drop(lock);
        fs::write(edge.base.join("etc/jidoteki-admin-api.json"), r#"{"max-upload-bytes":1000000}"#).unwrap();
        check("POST", &update, form, 20_000_000, 413, "Upload too large: the limit is 1000000 bytes");
    });
}

/// Above the limit of refusals, the response is delayed and has Retry-After, with the same text with and without a long
/// body.
#[test]
fn a_client_over_the_limit_of_guesses_must_wait_before_its_body_is_read() {
    each(&Program::Ours, |edge| {
        fs::write(edge.base.join("etc/jidoteki-admin-api.json"), r#"{"refusals-per-minute":1}"#).unwrap();
        let state = edge.admin("state");
        fs::create_dir(&state).unwrap();
        mode(&state, 0o777);
        let body = edge.base.join("body");
        fs::write(&body, "x".repeat(20_000)).unwrap();
        let field = format!("update=@{}", body.display());
        let ask = |form: &[&str]| {
            edge.curl("/api/v1/admin/update", &[&["-H", "Authorization: Bearer wrong"][..], form].concat())
        };
        assert_eq!(ask(&["-F", &field]).status, 403, "{:?}", edge.server);
        for form in [&["-F", field.as_str()][..], &["-F", "update=short"], &[]] {
            let answer = ask(form);
            assert_eq!(answer.status, 429, "{:?} {form:?}: {}", edge.server, answer.text());
            assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{:?} {form:?}", edge.server);
            assert!(
                answer.text().contains("Too many refused requests"),
                "{:?} {form:?}: {}",
                edge.server,
                answer.text()
            );
            assert!(answer.header("error-message").contains("try again in"), "{:?} {form:?}", edge.server);
            answer.check_security(&format!("{:?} {form:?}", edge.server));
        }
    });
}

/// Through nginx; lighttpd's delay is the program's own.
#[test]
fn guesses_that_are_refused_together_do_not_return_together() {
    each(&Program::Ours, |edge| {
        if edge.server == Server::Lighttpd {
            return;
        }
        let edge = &*edge;
        fs::write(edge.base.join("etc/jidoteki-admin-api.json"), r#"{"refusals-per-minute":1}"#).unwrap();
        fs::create_dir(edge.admin("state")).unwrap();
        mode(&edge.admin("state"), 0o777);
        let guess = || edge.curl("/api/v1/admin/jobs", &["-H", "Authorization: Bearer wrong"]).status;
        assert_eq!(guess(), 403, "the first one is not delayed");
        thread::scope(|scope| {
            let guesses: Vec<_> = (0..20).map(|_| scope.spawn(guess)).collect();
            assert!(guesses.into_iter().all(|status| status.join().unwrap() == 429));
        });
        let delays = || -> Vec<f64> {
            let log = fs::read_to_string(edge.base.join("run/log/access.log")).unwrap();
            let seconds = |line: &str| line.split_once("seconds=")?.1.split(' ').next()?.parse().ok();
            log.lines().filter(|line| line.contains("/jobs 429 ")).filter_map(seconds).collect()
        };
        wait_for("all are logged", || delays().len() == 20);
        let (least, most) = delays().into_iter().fold((f64::MAX, 0.0), |(least, most), n| (n.min(least), n.max(most)));
        assert!(least > 1.9 && most - least > 0.2, "{:?}", delays());
    });
}

/// Prints its input.
const DUMP: &str = "#!/bin/sh
cat >/dev/null
body=$(env)
printf 'Status: 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: %s\\r\\n\\r\\n%s' \"${#body}\" \"$body\"
";

#[test]
fn the_variables_of_the_program_come_from_the_server_alone() {
    each(&Program::Script(DUMP), |edge| {
        let answer = edge.curl(
            "/api/v1/admin/%76ersion?a=%62",
            &[
                // Some versions of curl try ::1 first for localhost.
                "-4",
                "-H",
                "Proxy: http://evil.example/",
                "-H",
                "JIDO-ADMIN-PATH: /evil",
                "-H",
                "JIDO_SENDFILE: evil",
                "-H",
                "GATEWAY-INTERFACE: evil",
                "-H",
                "X-Forwarded-For: 198.51.100.1",
            ],
        );
        let text = answer.text();
        let admin = edge.admin("");
        let sendfile = match edge.server {
            Server::Nginx => "accel",
            Server::Lighttpd => "xsendfile",
        };
        for (name, value) in [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/api/v1/admin/%76ersion?a=%62"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("JIDO_ADMIN_PATH", admin.to_str().unwrap().trim_end_matches('/')),
            ("JIDO_SENDFILE", sendfile),
            ("HTTP_PROXY", ""),
        ] {
            let got: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect();
            assert!(got == [value] || value.is_empty() && got.is_empty(), "{:?} {name}: {got:?}", edge.server);
        }
    });
}

#[test]
fn nothing_is_executed_but_the_program() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nEXECUTED'\n";
    each(&Program::Ours, |edge| {
        let html = edge.base.join("run/html");
        for name in ["x.sh", "x.cgi", "x.php", "x.pl", "x"] {
            fs::write(html.join(name), script).unwrap();
            mode(&html.join(name), 0o755);
            let answer = edge.curl(&format!("/{name}"), &[]);
            assert_eq!((answer.status, answer.text().as_str()), (200, script), "{:?} {name}", edge.server);
            for path in [
                format!("/{name}/api/v1/admin/version"),
                format!("/api/{name}"),
                format!("/api/../{name}/docs"),
                format!("/docs/{name}"),
            ] {
                assert_ne!(edge.curl(&path, &[]).status, 200, "{:?} {path}", edge.server);
            }
        }
        if edge.server == Server::Nginx {
            let answer = fastcgi(&edge.base.join("run/run/fcgi.sock"), &html.join("x.sh"));
            assert!(answer.contains("Status: 403 Forbidden") && !answer.contains("EXECUTED"), "{answer}");
        }
    });
}

/// Asks fcgiwrap directly to start a program, as an attacker with nginx's user could.
fn fastcgi(socket: &Path, script: &Path) -> String {
    ask_fastcgi(socket, &[("SCRIPT_FILENAME", script.to_str().unwrap()), ("REQUEST_METHOD", "GET")])
}

fn ask_fastcgi(socket: &Path, parameters: &[(&str, &str)]) -> String {
    let record = |kind: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[1, kind, 0, 1, length[0], length[1], 0, 0], content].concat()
    };
    let mut params = Vec::new();
    for (name, value) in parameters {
        params.extend([u8::try_from(name.len()).unwrap(), u8::try_from(value.len()).unwrap()]);
        params.extend(name.bytes().chain(value.bytes()));
    }
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = [record(1, &[0, 1, 0, 0, 0, 0, 0, 0]), record(4, &params), record(4, b""), record(5, b"")].concat();
    stream.write_all(&request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn no_query_no_referrer_and_no_body_reaches_a_log() {
    const CANARY: &str = "canary81726354";
    each(&Program::Ours, |edge| {
        let query = format!("token={CANARY}&hash={CANARY}");
        let referrer = format!("Referer: https://localhost/?token={CANARY}");
        for path in [
            "/",
            "/nothere",
            "/api/v1/admin/version",
            "/api/v1/admin/setup",
            "/api/v1/adminx",
            "/docs",
            "/api/v1/admin/version/%2e%2e/x",
            "/%00",
        ] {
            edge.curl(&format!("{path}?{query}"), &["-H", &referrer, "-A", CANARY, "-u", &format!("x:{CANARY}")]);
        }
        let large = format!("Content-Length: {}", LIMIT + 1024);
        edge.curl(&format!("/api/v1/admin/update?{query}"), &["--http1.1", "-X", "POST", "-H", &large]);
        edge.curl(&format!("/?{query}{}", "x".repeat(20_000)), &["--http1.1"]);
        edge.curl(&format!("/api/v1/admin/setup?{query}"), &["-F", &format!("newtoken={CANARY}")]);
        edge.curl(&format!("/api/v1/admin/update?{query}"), &["-F", &format!("{CANARY}=x")]);
        // A client that disconnects, and a missing program: servers usually log both.
        let mut client = edge.s_client(&["-quiet"]);
        let head =
            format!("POST /api/v1/admin/update?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhalf");
        client.stdin.as_mut().unwrap().write_all(head.as_bytes()).unwrap();
        client.kill().unwrap();
        client.wait().unwrap();
        fs::remove_file(edge.base.join("program")).unwrap();
        let gone = edge.curl(&format!("/api/v1/admin/version?{query}"), &[]);
        assert!(gone.status >= 400, "{}", gone.status);
        if edge.server == Server::Nginx {
            fs::remove_file(edge.base.join("run/run/fcgi.sock")).unwrap();
            let text = "The admin program gave no answer";
            let answer = edge.curl(&format!("/api/v1/admin/version?{query}"), &[]);
            answer.check_error(
                "no fcgiwrap",
                502,
                &format!(r#"{{"Status":"502 Bad Gateway","Error-Message":"{text}"}}"#),
            );
        }

        edge.command("stop", "stopped");
        let logs = fs::read_dir(edge.base.join("run/log")).unwrap();
        let text: String =
            logs.map(|entry| String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()).into_owned()).collect();
        assert!(text.contains("GET /api/v1/admin/version "), "{:?} logs no request: {text}", edge.server);
        let told: Vec<&str> = text.lines().filter(|line| line.contains(CANARY)).collect();
        assert!(told.is_empty(), "{:?}: {told:#?}", edge.server);
    });
}

#[test]
fn a_download_of_many_megabytes_is_whole_and_can_be_resumed() {
    each(&Program::Ours, |edge| {
        let file = edge.upload("backup.tar");
        let content: Vec<u8> =
            (0..200u32 << 20 >> 2).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        fs::write(&file, &content).unwrap();
        mode(&file, 0o644);
        let path = "/api/v1/admin/backup/download?token=yourtoken";
        let name = edge.server.name();
        let answer = edge.curl(path, &[]);
        assert_eq!((answer.status, answer.body.len()), (200, content.len()), "{name}");
        assert!(answer.body == content, "{name}: the bytes are others");
        answer.check_security(name);
        for (header, value) in [
            ("content-type", "application/octet-stream"),
            ("content-disposition", "attachment; filename=\"backup.tar\""),
            ("filename", "backup.tar"),
            ("cache-control", "no-cache"),
            ("x-accel-redirect", ""),
            ("x-sendfile", ""),
        ] {
            assert_eq!(answer.header(header), value, "{name}: {header}");
        }
        let rest = edge.curl(path, &["-H", "Range: bytes=100000000-100000009"]);
        assert_eq!((rest.status, rest.body.len()), (206, 10), "{name}");
        assert_eq!(rest.body, content[100_000_000..100_000_010], "{name}");
    });
}

#[test]
fn a_job_outlives_a_restart_of_the_server() {
    each(&Program::Ours, |edge| {
        let path = "/api/v1/admin/update?token=yourtoken";
        fs::write(edge.admin("hold.update"), "").unwrap();
        assert_eq!(edge.curl(path, &["-F", "update=package"]).status, 202, "{:?}", edge.server);
        wait_for("the job begins", || {
            fs::read_to_string(edge.admin("calls/update")).is_ok_and(|text| text.ends_with('\n'))
        });
        let pid = fs::read_to_string(edge.admin("calls/update")).unwrap();
        edge.command("restart", "ready");
        assert!(Path::new("/proc").join(pid.trim()).join("exe").exists(), "{:?} ended the job", edge.server);
        // Its lock is still held.
        let second = edge.curl(path, &["-F", "update=other"]);
        assert!(second.status == 400 && second.text().contains("E1004"), "{:?}: {}", edge.server, second.text());
        fs::remove_file(edge.admin("hold.update")).unwrap();
        wait_for("the job ends", || edge.admin("calls/update.ended").exists());
    });
}

/// Responds only when the file `release` exists, and leaves a mark when it has started.
const WAIT: &str = "#!/bin/sh
cat >/dev/null
case $REQUEST_URI in
*/held*)
	: >\"$JIDO_ADMIN_PATH/calls/begun.$$\"
	while [ ! -e \"$JIDO_ADMIN_PATH/release\" ]; do sleep 0.05; done
	;;
esac
printf 'Status: 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: 2\\r\\n\\r\\nok'
";

#[test]
fn twenty_slow_requests_are_served_at_once_and_delay_no_other_client() {
    each(&Program::Script(WAIT), |edge| {
        let edge = &*edge;
        thread::scope(|scope| {
            let slow: Vec<_> = (0..20).map(|_| scope.spawn(|| edge.curl("/api/held", &[]).status)).collect();
            wait_for("twenty have begun", || fs::read_dir(edge.admin("calls")).unwrap().count() == 20);
            assert_eq!(edge.curl("/api/quick", &[]).status, 200, "{:?}", edge.server);
            fs::write(edge.admin("release"), "").unwrap();
            for request in slow {
                assert_eq!(request.join().unwrap(), 200, "{:?}", edge.server);
            }
        });
    });
}

#[test]
fn an_upload_arrives_byte_for_byte_however_it_is_framed() {
    each(&Program::Ours, |edge| {
        let package = edge.base.join("package");
        let content: Vec<u8> = (0..3u32 << 20 >> 2).flat_map(|n| n.wrapping_mul(2_246_822_519).to_be_bytes()).collect();
        fs::write(&package, &content).unwrap();
        let field = format!("update=@{}", package.display());
        for args in
            [&["--http1.1"][..], &["--http2"], &["--http1.1", "-H", "Transfer-Encoding: chunked"], &["--http1.0"]]
        {
            wait_for("no job runs", || {
                let answer = edge.curl("/api/v1/admin/update?token=yourtoken", &[args, &["-F", &field]].concat());
                assert!(
                    answer.status == 202 || answer.text().contains("E1004"),
                    "{:?} {args:?}: {}",
                    edge.server,
                    answer.text()
                );
                answer.status == 202
            });
            assert!(
                fs::read(edge.upload("software_package-zzz.enc")).unwrap() == content,
                "{:?} {args:?}",
                edge.server
            );
            fs::remove_file(edge.upload("software_package-zzz.enc")).unwrap();
        }
        assert_eq!(
            fs::read_dir(edge.base.join("run/spool")).unwrap().count(),
            0,
            "{:?} left something in its spool",
            edge.server
        );
    });
}

#[test]
fn a_client_that_goes_away_in_the_middle_leaves_nothing() {
    each(&Program::Ours, |edge| {
        let head = "POST /api/v1/admin/update?token=yourtoken HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n";
        let part = "--b\r\nContent-Disposition: form-data; name=\"update\"; filename=\"x\"\r\n\r\n";
        let bytes = "x".repeat(500_000);
        for framing in [
            "Content-Length: 1000000\r\n\r\n".to_owned(),
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", part.len() + 1_000_000),
        ] {
            let mut client = edge.s_client(&["-quiet"]);
            client.stdin.as_mut().unwrap().write_all(format!("{head}{framing}{part}{bytes}").as_bytes()).unwrap();
            client.kill().unwrap();
            client.wait().unwrap();
            // The lock is free again when the program has seen the end of it.
            wait_for("the next upload is taken", || {
                edge.curl("/api/v1/admin/update?token=yourtoken", &["-F", "update=next"]).status == 202
            });
            assert_eq!(edge.uploads(), ["software_package-zzz.enc"], "{:?}", edge.server);
            assert_eq!(fs::read(edge.upload("software_package-zzz.enc")).unwrap(), b"next", "{:?}", edge.server);
            wait_for("the spool is empty", || fs::read_dir(edge.base.join("run/spool")).unwrap().count() == 0);
            fs::remove_file(edge.upload("software_package-zzz.enc")).unwrap();
        }
    });
}
