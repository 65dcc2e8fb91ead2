//! A web server before a fixture, and a client that sends bytes as they are: what curl would mend, it would hide.

use crate::contract::cases::Answer;
use crate::support::Fixture;
use base64ct::{Base64, Encoding};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub const BINARY: &str = env!("CARGO_BIN_EXE_jidoteki-admin-api");
pub const SERVERS: [&str; 2] = ["nginx", "lighttpd"];
/// Nothing waits this long when all is well.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct World {
    pub server: &'static str,
    pub port: u16,
    pub fixture: Fixture,
    up: Child,
}

impl World {
    pub fn start(server: &'static str) -> World {
        World::start_with(
            server,
            Fixture::new(),
            Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/edge")),
        )
    }

    /// `up` is what runs `tests/support/edge`, perhaps behind something else.
    pub fn start_with(server: &'static str, fixture: Fixture, mut up: Command) -> World {
        static NEXT: AtomicU16 = AtomicU16::new(28000);
        let port = loop {
            let port = NEXT.fetch_add(1, Ordering::Relaxed);
            assert!(port < 28100, "no free port between 28000 and 28099");
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                break port;
            }
        };
        // Each refusal of a table would count against us.
        let config = crate::support::CONFIG.replacen('{', "{\"refusals-per-minute\":1000000,", 1);
        fixture.write("usr/jidoteki-admin-api.json", &config);
        let program = fixture.root.join("program");
        fs::copy(BINARY, &program).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_jidoteki-admin-jobs"), fixture.root.join("jidoteki-admin-jobs")).unwrap();
        up.args([server, &port.to_string()])
            .args([&fixture.admin(), &fixture.etc(), &program, &fixture.root.join("edge")])
            // nginx must read what jobs leave for it, as a member of the group.
            .args(["nobody", "www-data"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut up = up.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(up.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{server}");
        World { server, port, fixture, up }
    }

    /// The process that has started the servers.
    pub fn process(&self) -> u32 {
        self.up.id()
    }

    pub fn connect(&self) -> Wire {
        Wire::open(self.port, &[])
    }

    /// Sends bytes, and reads until the server closes the connection. All of the answers there are.
    #[track_caller]
    pub fn talk(&self, request: &[u8]) -> Vec<Answer> {
        let wire = self.connect();
        wire.send(request);
        let raw = wire.read_to_end();
        answers(&raw)
    }

    /// Whether the server is offered with HTTP/2. lighttpd is not: nginx/edge/lighttpd.conf says why.
    pub fn speaks_h2(&self) -> bool {
        self.server == "nginx"
    }

    /// Requests over one connection of HTTP/2, of exactly these headers; an answer for each.
    pub fn talk_h2(&self, requests: &[Headers<'_>], body: Option<&[u8]>) -> Vec<H2Answer> {
        let wire = Wire::open(self.port, &["-alpn", "h2"]);
        wire.send(&h2_requests(requests, body));
        let n = requests.len();
        wire.wait("the streams end", |raw, is_closed| {
            is_closed || h2_answers(raw, n).iter().all(|answer| answer.is_over)
        });
        h2_answers(&wire.bytes(), n)
    }

    /// Requests over one connection of HTTP/2 that announce a body, and do not send it.
    pub fn open_streams(&self, requests: &[Headers<'_>]) -> Wire {
        let wire = Wire::open(self.port, &["-alpn", "h2"]);
        let mut bytes = h2_requests(requests, Some(b""));
        // What ends the streams is left out: empty frames of data, nine bytes each.
        let end = frame(0, 1, 0, b"")[..5].to_vec();
        let mut at = 0;
        while let Some(found) = bytes[at..].windows(end.len()).position(|window| window == end) {
            bytes.drain(at + found..at + found + 9);
            at += found;
        }
        wire.send(&bytes);
        wire
    }

    /// Nothing of what was sent has had an effect.
    #[track_caller]
    pub fn check_untouched(&self, what: &str) {
        assert_eq!(self.fixture.uploads(), ["backup.tar"], "{}: {what}", self.server);
        assert_eq!(self.fixture.read("record/calls"), "", "{}: {what}", self.server);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The end of its input ends the servers.
        drop(self.up.stdin.take());
        drop(self.up.wait());
    }
}

/// Runs a check on both servers.
pub fn on_both(check: impl Fn(&World) + Sync) {
    for server in SERVERS {
        check(&World::start(server));
    }
}

/// Runs a check for every item, a few at a time.
pub fn for_each<T: Sync>(items: &[T], check: impl Fn(&T) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(item);
                }
            });
        }
    });
}

#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    is_closed: bool,
}

/// A TLS connection: a process of openssl, which changes no byte.
pub struct Wire {
    child: Mutex<Child>,
    stdin: Mutex<Option<ChildStdin>>,
    received: Arc<(Mutex<Received>, Condvar)>,
}

impl Wire {
    fn open(port: u16, more: &[&str]) -> Wire {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{port}")])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let received = Arc::new((Mutex::new(Received::default()), Condvar::new()));
        let shared = Arc::clone(&received);
        std::thread::spawn(move || {
            let mut buffer = [0; 16384];
            loop {
                let n = stdout.read(&mut buffer).unwrap_or(0);
                let mut received = shared.0.lock().unwrap();
                received.bytes.extend_from_slice(&buffer[..n]);
                received.is_closed = n == 0;
                shared.1.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        let stdin = Mutex::new(child.stdin.take());
        Wire { child: Mutex::new(child), stdin, received }
    }

    /// Sends bytes; a server that has hung up by then takes none, and that is for the answer to show.
    pub fn send(&self, bytes: &[u8]) {
        if let Some(stdin) = self.stdin.lock().unwrap().as_mut() {
            drop(stdin.write_all(bytes).and_then(|()| stdin.flush()));
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.received.0.lock().unwrap().bytes.clone()
    }

    /// Waits until what was received, or the end of the connection, is what is wanted.
    #[track_caller]
    pub fn wait(&self, what: &str, is_so: impl Fn(&[u8], bool) -> bool) {
        let begun = Instant::now();
        let mut received = self.received.0.lock().unwrap();
        while !is_so(&received.bytes, received.is_closed) {
            let left = DEADLINE.checked_sub(begun.elapsed()).unwrap_or_default();
            assert!(!left.is_zero(), "still waiting until {what}: {}", received.bytes.escape_ascii());
            received = self.received.1.wait_timeout(received, left).unwrap().0;
        }
    }

    #[track_caller]
    pub fn read_to_end(&self) -> Vec<u8> {
        self.wait("the server closes the connection", |_, is_closed| is_closed);
        self.bytes()
    }

    /// Whatever comes within a time in which an answer would have come.
    pub fn read_for(&self, time: Duration) -> Vec<u8> {
        let begun = Instant::now();
        let mut received = self.received.0.lock().unwrap();
        while let Some(left) = time.checked_sub(begun.elapsed())
            && !received.is_closed
        {
            received = self.received.1.wait_timeout(received, left).unwrap().0;
        }
        received.bytes.clone()
    }

    /// Is gone, without a word.
    pub fn vanish(self) {}
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        drop(child.kill());
        drop(child.wait());
    }
}

/// Takes all that came over a connection apart. Anything between or behind whole answers is a fault.
#[track_caller]
pub fn answers(raw: &[u8]) -> Vec<Answer> {
    let mut rest = raw;
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("this is no answer: {}", rest.escape_ascii()));
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap();
        assert!(first.starts_with("HTTP/1."), "this is no status line: {first}");
        let status: u16 = first[9..12].parse().unwrap();
        let headers = lines.map(|line| line.split_once(':').unwrap_or_else(|| panic!("this is no header: {line}")));
        let headers: Vec<(String, String)> =
            headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if status < 200 {
            continue;
        }
        (answer.body, rest) = if answer.header("transfer-encoding") == "chunked" {
            chunked(rest)
        } else if let Ok(length) = answer.header("content-length").parse::<usize>() {
            assert!(length <= rest.len(), "the answer breaks off: {}", raw.escape_ascii());
            (rest[..length].to_vec(), &rest[length..])
        } else {
            (rest.to_vec(), &b""[..])
        };
        answers.push(answer);
    }
    answers
}

fn chunked(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").expect("a chunk has a length");
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 2 + length + 2..];
        if length == 0 {
            return (body, rest);
        }
    }
}

// --- HTTP/2 ---

/// Names and values, as they are.
pub type Headers<'a> = Vec<(&'a [u8], &'a [u8])>;

#[derive(Debug, Clone, Default)]
pub struct H2Answer {
    /// All data of the stream. Each error of ours is JSON that begins with its status.
    pub body: Vec<u8>,
    pub n_heads: usize,
    pub is_over: bool,
}

impl H2Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface, and requests whose headers are literals: no table, nothing packed.
fn h2_requests(requests: &[Headers<'_>], body: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    for (n, headers) in requests.iter().enumerate() {
        let stream = u32::try_from(2 * n + 1).unwrap();
        let mut block = Vec::new();
        for (name, value) in headers {
            block.push(0);
            text(&mut block, name);
            text(&mut block, value);
        }
        // A frame has 16 KiB at most; what is more goes on in the next.
        let mut pieces = block.chunks(16_000).peekable();
        let mut kind = 1;
        while let Some(piece) = pieces.next() {
            let end_of_headers = if pieces.peek().is_none() { 4 } else { 0 };
            let end_of_stream = u8::from(kind == 1 && body.is_none());
            bytes.extend(frame(kind, end_of_headers | end_of_stream, stream, piece));
            kind = 9;
        }
        if let Some(body) = body {
            bytes.extend(frame(0, 1, stream, body));
        }
    }
    bytes
}

/// A text with its length, an integer with a prefix of seven bits (RFC 7541, section 5.1).
fn text(block: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128 + 128).unwrap());
            length /= 128;
        }
        block.push(u8::try_from(length).unwrap());
    }
    block.extend_from_slice(text);
}

fn h2_answers(raw: &[u8], n: usize) -> Vec<H2Answer> {
    let mut answers = vec![H2Answer::default(); n];
    let mut rest = raw;
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        let (kind, flags, stream) = (rest[3], rest[4], u32::from_be_bytes([rest[5], rest[6], rest[7], rest[8]]));
        if rest.len() < 9 + length {
            break;
        }
        let payload = &rest[9..9 + length];
        rest = &rest[9 + length..];
        // GOAWAY for a fault ends all of them.
        if kind == 7 && payload[4..8] != [0; 4] {
            answers.iter_mut().for_each(|answer| answer.is_over = true);
        }
        if stream % 2 == 1 && ((stream / 2) as usize) < n {
            let answer = &mut answers[(stream / 2) as usize];
            match kind {
                0 => answer.body.extend_from_slice(payload),
                1 => answer.n_heads += 1,
                _ => {}
            }
            // END_STREAM, RST_STREAM
            answer.is_over |= kind <= 1 && flags & 1 == 1 || kind == 3;
        }
    }
    answers
}

// --- credentials ---

pub const TOKEN: &str = "yourtoken";

fn mac(bytes: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(hex::encode(Sha256::digest(TOKEN)).as_bytes()).unwrap();
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

/// The tag of the document over GET and a path.
pub fn hash(path: &[u8]) -> String {
    hex::encode(mac(&[b"GET", path].concat()))
}

/// The headers of a signed GET without a query, good for once.
pub fn signature(path: &[u8]) -> [(&'static str, Vec<u8>); 2] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let input =
        format!("(\"@method\" \"@path\" \"@query\");created={created};nonce=\"attack-{}-{n}\"", std::process::id());
    let base =
        [b"\"@method\": GET\n\"@path\": ", path, format!("\n\"@query\": ?\n\"@signature-params\": {input}").as_bytes()]
            .concat();
    let tag = Base64::encode_string(&mac(&base));
    [("signature-input", format!("sig={input}").into_bytes()), ("signature", format!("sig=:{tag}:").into_bytes())]
}
