//! CGI variables and standard input -> `Request`. The only file that names a CGI variable (RFC 3875).

use crate::appliance::Appliance;
use sha2::{Digest, Sha256};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// A link that exists only in our unit's mount namespace. Its text is the admin path, the etc path and the socket of
/// jobs, separated by colons.
const UNIT_PATHS: &str = "/run/jidoteki-admin-api/unit/paths";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Read without the body.
    Head,
    /// Change.
    Post,
    /// Append.
    Patch,
    /// Remove.
    Delete,
    /// Any other method, which no route has.
    Other(String),
}

impl Method {
    /// The method as it was sent, and as it is signed.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Other(name) => name,
        }
    }
}

/// The path of a request: one string is signed, checked and routed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    sent: String,
}

impl Path {
    /// Accepts a path with only one spelling; `None` for any other.
    fn parse(raw: &[u8]) -> Option<Path> {
        let sent = std::str::from_utf8(raw).ok()?;
        let is_plain =
            sent.starts_with('/') && sent.bytes().all(|byte| byte.is_ascii_graphic() && !b"%;\\".contains(&byte));
        let is_straight = !["//", "/./", "/../"].iter().any(|detour| sent.contains(detour));
        (is_plain && is_straight).then(|| Path { sent: sent.to_owned() })
    }

    pub fn sent(&self) -> &str {
        &self.sent
    }

    /// Without the one trailing slash that is accepted.
    pub fn canonical(&self) -> &str {
        self.sent.strip_suffix('/').unwrap_or(&self.sent)
    }
}

/// The announced type of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentType {
    /// `multipart/form-data` with its boundary, or an error in it.
    Multipart(Result<String, &'static str>),
    /// `application/x-www-form-urlencoded`.
    UrlEncoded,
    /// None, or a type that no endpoint accepts.
    Other,
}

pub struct Request<'a> {
    pub method: Method,
    /// `None` for a path with several spellings, which no route has.
    pub path: Option<Path>,
    query: Vec<(String, String)>,
    /// The type of the body.
    pub content_type: ContentType,
    pub body: Body<'a>,
    /// The client's address, as the web server saw it.
    pub client: String,
    /// Headers that identify the caller and its origin.
    pub headers: Headers,
    raw_query: String,
    /// How the web server can be told to send a file itself.
    pub sendfile: Option<Sendfile>,
    /// Where a refused caller can wait without blocking others, if there is such a place.
    pub waiting_room: Option<WaitingRoom>,
    /// Whether the web server has only the head so far, and asks what to do with the body.
    pub is_question: bool,
}

/// The headers that we use. Empty if the request has no such header.
#[derive(Debug, Default)]
pub struct Headers {
    values: Vec<(&'static str, String)>,
}

impl Headers {
    const NAMES: [(&'static str, &'static str); 11] = [
        ("authorization", "HTTP_AUTHORIZATION"),
        ("content-digest", "HTTP_CONTENT_DIGEST"),
        ("content-length", "CONTENT_LENGTH"),
        ("content-type", "CONTENT_TYPE"),
        ("host", "HTTP_HOST"),
        ("idempotency-key", "HTTP_IDEMPOTENCY_KEY"),
        ("origin", "HTTP_ORIGIN"),
        ("part-digest", "HTTP_PART_DIGEST"),
        ("sec-fetch-site", "HTTP_SEC_FETCH_SITE"),
        ("signature", "HTTP_SIGNATURE"),
        ("signature-input", "HTTP_SIGNATURE_INPUT"),
    ];

    /// The headers of a piece of an upload; no other request uses them.
    const NAMES_OF_A_PIECE: [(&'static str, &'static str); 3] = [
        ("upload-complete", "HTTP_UPLOAD_COMPLETE"),
        ("upload-length", "HTTP_UPLOAD_LENGTH"),
        ("upload-offset", "HTTP_UPLOAD_OFFSET"),
    ];

    fn from_cgi(method: &Method, variable: impl Fn(&str) -> String) -> Headers {
        let further = if *method == Method::Patch { &Headers::NAMES_OF_A_PIECE[..] } else { &[] };
        let names = Headers::NAMES.iter().chain(further);
        let values = names.map(|(name, cgi)| (*name, variable(cgi))).filter(|(_, value)| !value.is_empty());
        Headers { values: values.collect() }
    }

    /// The value of a header, by its name in lowercase.
    pub fn get(&self, name: &str) -> &str {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The host name in `Host`, without the port, in lowercase.
    pub fn host_name(&self) -> String {
        host_name(self.get("host"))
    }

    /// Whether a page of another site sent this request, according to the browser.
    pub fn is_cross_site(&self) -> bool {
        let origin = self.get("origin");
        match self.get("sec-fetch-site") {
            "" if origin.is_empty() => false,
            // An older browser: its `Origin` must be this host. `null` is not.
            "" => origin.split_once("://").is_none_or(|(_, authority)| host_name(authority) != self.host_name()),
            site => site == "cross-site",
        }
    }
}

/// The name in `name:port` or `[address]:port`, in lowercase.
fn host_name(authority: &str) -> String {
    let name = match authority.split_once(']') {
        Some((address, _)) => address.trim_start_matches('['),
        None => authority.split(':').next().unwrap_or_default(),
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The ways in which a web server can send a file for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sendfile {
    /// nginx: `X-Accel-Redirect` to the internal location `/_files/`.
    Accel,
    /// lighttpd: `X-Sendfile` with a path.
    XSendfile,
}

/// The places in which a refused caller can wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingRoom {
    /// A location in nginx, where a fixed number of workers run programs.
    Nginx,
    /// The program itself, if there is one per request.
    Program,
}

impl<'a> Request<'a> {
    /// Reads a request from CGI variables. `Err` says why it is invalid.
    pub fn from_cgi(
        variable: impl Fn(&str) -> Option<OsString>,
        stdin: impl Read + 'a,
    ) -> Result<Request<'a>, &'static str> {
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
        let method = match text("REQUEST_METHOD").as_str() {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            other => Method::Other(other.chars().filter(char::is_ascii_alphanumeric).take(20).collect()),
        };
        // The raw target, because servers decode PATH_INFO and QUERY_STRING differently. A server without this
        // nonstandard variable has only those.
        let target = match variable("REQUEST_URI") {
            Some(uri) if !uri.is_empty() => uri.into_encoded_bytes(),
            _ => {
                let mut target = [text("SCRIPT_NAME"), text("PATH_INFO")].concat().into_bytes();
                let query = text("QUERY_STRING");
                if !query.is_empty() {
                    target.push(b'?');
                    target.extend_from_slice(query.as_bytes());
                }
                target
            }
        };
        let (path, query) = split_target(&target);
        let length = match text("CONTENT_LENGTH").as_str() {
            "" => None,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| "Content-Length is out of range")?)
            }
            _ => return Err("Content-Length is not a number"),
        };
        // Without a length, there is a body only if the framing says so, or if the method always has one.
        let is_endless = length.is_none()
            && (matches!(method, Method::Post | Method::Patch) || variable("HTTP_TRANSFER_ENCODING").is_some());
        let expected = if is_endless { None } else { Some(length.unwrap_or(0)) };
        Ok(Request {
            headers: Headers::from_cgi(&method, text),
            method,
            path: Path::parse(path),
            query: parse_query(query),
            content_type: parse_content_type(&text("CONTENT_TYPE")),
            raw_query: String::from_utf8_lossy(query).into_owned(),
            body: Body {
                reader: Box::new(stdin),
                expected,
                n_read: 0,
                is_at_end: false,
                digest: None,
                may_stay: text("JIDO_UNREAD_BODY") == "allowed",
                pace: None,
                is_ready: None,
                was_ready: false,
            },
            is_question: text("JIDO_QUESTION") == "body",
            client: text("REMOTE_ADDR")
                .chars()
                .filter(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':'))
                .take(45)
                .collect(),
            sendfile: match text("JIDO_SENDFILE").as_str() {
                "accel" => Some(Sendfile::Accel),
                "xsendfile" => Some(Sendfile::XSendfile),
                _ => None,
            },
            waiting_room: match text("JIDO_WAITING_ROOM").as_str() {
                "nginx" => Some(WaitingRoom::Nginx),
                "program" => Some(WaitingRoom::Program),
                _ => None,
            },
        })
    }

    /// The query as sent, without its `?`.
    pub fn raw_query(&self) -> &str {
        &self.raw_query
    }

    /// Every parameter of the query, decoded.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The network of the client: its /64 for IPv6, its /24 for IPv4. An IPv6 client can use any address in its /64.
    pub fn network(&self) -> String {
        match self.client.parse() {
            Ok(IpAddr::V4(address)) => format!("{:x}", address.to_bits() >> 8),
            Ok(IpAddr::V6(address)) => format!("{:x}::", address.to_bits() >> 64),
            Err(_) => String::new(),
        }
    }

    /// The last value of a query parameter; an empty one counts as absent.
    pub fn query(&self, name: &str) -> Option<&str> {
        last_value(&self.query, name)
    }
}

/// The appliance that our unit names; without such a unit, the one in the web server's configuration. A client reaches
/// neither: its headers arrive as `HTTP_*`. A process that connects to fcgiwrap chooses every variable, so under a unit
/// the variables do not choose the appliance.
pub fn appliance(variable: impl Fn(&str) -> Option<OsString>) -> Appliance {
    if let Ok(text) = std::fs::read_link(UNIT_PATHS) {
        let mut paths =
            text.as_os_str().as_bytes().split(|byte| *byte == b':').map(|path| OsStr::from_bytes(path).into());
        return Appliance::new(paths.next(), paths.next()).with_gate(paths.next());
    }
    Appliance::new(variable("JIDO_ADMIN_PATH"), variable("JIDO_ETC_PATH")).with_gate(variable("JIDO_GATE"))
}

/// Whether a web server started us. Then arguments are ignored: some servers make them from the query.
pub fn is_cgi(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    variable("GATEWAY_INTERFACE").is_some() || variable("REQUEST_METHOD").is_some()
}

/// The last value of a name in a list of pairs, unless it is empty.
pub fn last_value<'b>(pairs: &'b [(String, String)], name: &str) -> Option<&'b str> {
    pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

/// The path and the query of a request target, which can be a complete URL (RFC 9112, section 3.2.2).
fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&target[..mark], &target[mark + 1..]),
        None => (target, &b""[..]),
    };
    let authority = path.strip_prefix(b"https://").or_else(|| path.strip_prefix(b"http://"));
    let path = match authority.map(|rest| (rest, rest.iter().position(|byte| *byte == b'/'))) {
        Some((rest, Some(slash))) => &rest[slash..],
        Some((_, None)) => b"/",
        None => path,
    };
    (path, query)
}

/// The pairs of a query. `+` is literal: neither a token nor a tag has a space, and clients do not escape it.
fn parse_query(query: &[u8]) -> Vec<(String, String)> {
    let query: Vec<u8> = query
        .iter()
        .flat_map(|byte| if *byte == b'+' { &b"%2B"[..] } else { std::slice::from_ref(byte) })
        .copied()
        .collect();
    form_urlencoded::parse(&query).into_owned().collect()
}

fn parse_content_type(value: &str) -> ContentType {
    let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
    match kind.trim().to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => ContentType::UrlEncoded,
        "multipart/form-data" => ContentType::Multipart(boundary(parameters)),
        _ => ContentType::Other,
    }
}

/// The boundary in a `Content-Type`: 1 to 70 characters, quoted or not (RFC 2046, section 5.1.1).
fn boundary(parameters: &str) -> Result<String, &'static str> {
    let boundary = parameter(parameters, "boundary").ok_or("The Content-Type has no boundary")?;
    let is_fit = (1..=70).contains(&boundary.len())
        && boundary.bytes().all(|byte| matches!(byte, 32..=126))
        && !boundary.ends_with(' ');
    if is_fit { Ok(boundary) } else { Err("The boundary is not 1 to 70 printable characters") }
}

/// The value of a parameter such as `; name="a\"b"` (RFC 9110, section 5.6.6).
pub fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t']);
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start_matches([' ', '\t']);
        let value;
        if let Some(quoted) = after.strip_prefix('"') {
            let mut characters = quoted.char_indices();
            let mut unquoted = String::new();
            loop {
                match characters.next()? {
                    (end, '"') => {
                        rest = &quoted[end + 1..];
                        break;
                    }
                    // Browsers escape only these two; a path such as C:\x keeps its backslash.
                    (at, '\\') if quoted[at + 1..].starts_with(['"', '\\']) => unquoted.push(characters.next()?.1),
                    (_, c) => unquoted.push(c),
                }
            }
            value = unquoted;
        } else {
            let end = after.find(';').unwrap_or(after.len());
            value = after[..end].trim_end().to_owned();
            rest = &after[end..];
        }
        if name.trim_end().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
    }
}

/// The body of a request, read once.
pub struct Body<'a> {
    reader: Box<dyn Read + 'a>,
    /// Its length in bytes; `None` if only its end tells.
    expected: Option<u64>,
    n_read: u64,
    is_at_end: bool,
    /// A digest of the bytes so far, if needed.
    digest: Option<Sha256>,
    /// Whether the web server accepts a response before the body is read.
    may_stay: bool,
    pace: Option<Pace>,
    is_ready: Option<IsReady>,
    /// Whether the next read needs no wait.
    was_ready: bool,
}

/// Waits with a time limit until there is something to read. Returns whether there is.
pub type IsReady = fn(Duration) -> io::Result<bool>;

/// The minimum rate of a body.
struct Pace {
    start: Instant,
    /// The grace period at the start.
    grace: Duration,
    bytes_per_second: u64,
}

impl Pace {
    /// How much longer the next byte may take, after this many bytes.
    fn due(&self, n_read: u64) -> Duration {
        let due = self.grace + Duration::from_millis(n_read.saturating_mul(1000) / self.bytes_per_second);
        due.saturating_sub(self.start.elapsed())
    }
}

impl Body<'_> {
    /// The `Content-Length`, if present.
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// Whether there is no body. Without a length, only a read tells.
    pub fn is_empty(&mut self) -> bool {
        self.n_read == 0 && (self.expected == Some(0) || matches!(self.read(&mut [0]), Ok(0)))
    }

    /// Bytes read so far.
    pub fn n_read(&self) -> u64 {
        self.n_read
    }

    /// Sets how to wait for the body with a time limit.
    pub fn wait_with(&mut self, is_ready: IsReady) {
        self.is_ready = Some(is_ready);
    }

    /// Sets a minimum average rate. A byte a minute would hold a place for days.
    pub fn set_pace(&mut self, grace: Duration, bytes_per_second: u64) {
        self.pace = Some(Pace { start: Instant::now(), grace, bytes_per_second });
    }

    /// Waits for the body, until it is too late for the bytes read so far.
    fn wait(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.was_ready) {
            return Ok(());
        }
        let (Some(pace), Some(is_ready)) = (&self.pace, self.is_ready) else { return Ok(()) };
        if is_ready(pace.due(self.n_read))? { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }

    /// Whether no byte arrives for this long, although the body is incomplete and its deadline has not passed.
    pub fn is_idle(&mut self, patience: Duration) -> io::Result<bool> {
        let is_late = self.pace.as_ref().is_some_and(|pace| pace.due(self.n_read).is_zero());
        match self.is_ready {
            Some(is_ready) if !is_late && !self.is_at_end && self.expected != Some(self.n_read) => {
                self.was_ready = is_ready(patience)?;
                Ok(!self.was_ready)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Starts a digest of the bytes that are read.
    pub fn start_digest(&mut self) {
        self.digest = Some(Sha256::new());
    }

    /// The SHA-256 of all bytes since `start_digest`.
    pub fn take_digest(&mut self) -> Option<[u8; 32]> {
        self.digest.take().map(|digest| digest.finalize().into())
    }

    /// Reads the rest, up to `limit` bytes in all, and discards it. Otherwise fcgiwrap, which is still sending, would
    /// answer 502 or wait forever. A body that is too slow is abandoned anyway.
    pub fn drain(&mut self, limit: u64) {
        if self.may_stay || self.is_at_end || self.expected == Some(self.n_read) {
            return;
        }
        let mut buffer = vec![0; 64 << 10];
        while self.n_read < limit {
            match self.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.expected.map_or(u64::MAX, |expected| expected - self.n_read);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 || self.is_at_end {
            return Ok(0);
        }
        self.wait()?;
        let n = self.reader.read(&mut buffer[..most])?;
        self.n_read += n as u64;
        if let Some(digest) = &mut self.digest {
            digest.update(&buffer[..n]);
        }
        if n == 0 {
            self.is_at_end = true;
            if self.expected.is_some() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the body is shorter than its Content-Length",
                ));
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(variables: &'a [(&'a str, &'a str)], body: &'a [u8]) -> Result<Request<'a>, &'static str> {
        Request::from_cgi(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()), body)
    }

    #[test]
    fn a_path_has_one_spelling() {
        for (target, path) in [
            ("/api/v1/admin/version", Some("/api/v1/admin/version")),
            ("/api/v1/admin/version/", Some("/api/v1/admin/version")),
            ("/api/v1/admin/version?token=%2F", Some("/api/v1/admin/version")),
            ("https://box:8443/docs?x", Some("/docs")),
            ("http://box", Some("")),
            ("/api/v1/admin/%76ersion", None),
            ("/api/v1/admin//version", None),
            ("/api/v1/admin/version//", None),
            ("/api/./version", None),
            ("/api/../version", None),
            ("/api/v1/admin/version;x", None),
            ("/api\\version", None),
            ("/api/vers ion", None),
            ("/\u{e9}", None),
            ("*", None),
        ] {
            let variables = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", target)];
            let request = request(&variables, b"").unwrap();
            assert_eq!(request.path.as_ref().map(Path::canonical), path, "{target}");
        }
    }

    #[test]
    fn a_server_without_request_uri_is_served_too() {
        let variables = [
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", ""),
            ("SCRIPT_NAME", "/api/v1/admin"),
            ("PATH_INFO", "/version"),
            ("QUERY_STRING", "token=x"),
        ];
        let request = request(&variables, b"").unwrap();
        assert_eq!(
            (request.path.as_ref().unwrap().sent(), request.query("token")),
            ("/api/v1/admin/version", Some("x"))
        );
    }

    #[test]
    fn a_method_is_signed_as_it_was_sent() {
        for (sent, known) in [("GET", "GET"), ("PATCH", "PATCH"), ("BREW", "BREW"), ("M-SEARCH", "MSEARCH"), ("", "")] {
            assert_eq!(request(&[("REQUEST_METHOD", sent)], b"").unwrap().method.as_str(), known);
        }
    }

    #[test]
    fn the_servers_own_variables_say_what_it_can_do() {
        let none = request(&[("REQUEST_URI", "/docs?a=%2F")], b"").unwrap();
        assert_eq!((none.sendfile, none.waiting_room, none.is_question), (None, None, false));
        assert_eq!(none.raw_query(), "a=%2F");
        assert!(!none.body.may_stay);
        for (word, sendfile, room) in [
            ("accel", Some(Sendfile::Accel), None),
            ("xsendfile", Some(Sendfile::XSendfile), None),
            ("nginx", None, Some(WaitingRoom::Nginx)),
            ("program", None, Some(WaitingRoom::Program)),
            ("body", None, None),
            ("allowed", None, None),
        ] {
            let names = ["JIDO_SENDFILE", "JIDO_WAITING_ROOM", "JIDO_QUESTION", "JIDO_UNREAD_BODY"];
            let variables = names.map(|name| (name, word));
            let request = request(&variables, b"").unwrap();
            assert_eq!((request.sendfile, request.waiting_room), (sendfile, room), "{word}");
            assert_eq!((request.is_question, request.body.may_stay), (word == "body", word == "allowed"), "{word}");
        }
    }

    #[test]
    fn only_a_piece_of_an_upload_has_its_headers() {
        for (method, offset) in [("PATCH", "7"), ("POST", ""), ("GET", "")] {
            let variables = [("REQUEST_METHOD", method), ("HTTP_UPLOAD_OFFSET", "7")];
            assert_eq!(request(&variables, b"").unwrap().headers.get("upload-offset"), offset, "{method}");
        }
    }

    #[test]
    fn a_query_counts_by_its_last_value_and_plus_stands_for_itself() {
        for (query, token) in [
            ("token=a&token=b", Some("b")),
            ("token=a&token=", None),
            ("token=+1%2B%26", Some("+1+&")),
            ("tokenx=a&Token=b", None),
            ("token", None),
            ("", None),
        ] {
            let target = format!("/docs?{query}");
            let variables = [("REQUEST_URI", target.as_str())];
            assert_eq!(request(&variables, b"").unwrap().query("token"), token, "{query}");
        }
        let request = request(&[("REQUEST_URI", "/docs?b=2%26&a&b=1")], b"").unwrap();
        assert_eq!(request.parameters().collect::<Vec<_>>(), [("b", "2&"), ("a", ""), ("b", "1")]);
    }

    #[test]
    fn the_boundary_may_be_quoted_and_stand_anywhere() {
        for (content_type, wanted) in [
            ("multipart/form-data; boundary=BBB", Ok("BBB")),
            ("Multipart/Form-Data;boundary=\"b b\"; x=y", Ok("b b")),
            ("multipart/form-data; charset=utf-8; boundary=--", Ok("--")),
            ("multipart/form-data ; boundary = \"q q\" ; x=y", Ok("q q")),
            ("multipart/form-data; x=\"; boundary=no\"; BOUNDARY=yes", Ok("yes")),
            ("multipart/form-data; boundary=\"a\\\"b\"", Ok("a\"b")),
            ("multipart/form-data; boundary=\"a\\b\"", Ok("a\\b")),
            ("multipart/form-data", Err("The Content-Type has no boundary")),
            ("multipart/form-data; boundary=", Err("The boundary is not 1 to 70 printable characters")),
            ("multipart/form-data; boundary=\"unclosed", Err("The Content-Type has no boundary")),
        ] {
            assert_eq!(
                parse_content_type(content_type),
                ContentType::Multipart(wanted.map(str::to_owned)),
                "{content_type}"
            );
        }
        for (content_type, wanted) in [
            ("application/x-www-form-urlencoded", ContentType::UrlEncoded),
            ("Application/X-WWW-Form-Urlencoded; charset=utf-8", ContentType::UrlEncoded),
            ("application/json", ContentType::Other),
            ("", ContentType::Other),
        ] {
            assert_eq!(parse_content_type(content_type), wanted, "{content_type}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_recognized_by_headers_of_the_browser() {
        for (site, origin, host, is_cross_site) in [
            ("", "", "box:8443", false),
            ("same-origin", "https://box:8443", "box:8443", false),
            ("none", "", "box:8443", false),
            ("same-site", "https://box", "box:8443", false),
            ("cross-site", "", "box:8443", true),
            ("", "https://box", "BOX:8443", false),
            ("", "https://[fe80::1]:80", "[fe80::1]:8443", false),
            ("", "https://evil.example", "box:8443", true),
            ("", "https://box.evil.example", "box:8443", true),
            ("", "null", "box:8443", true),
        ] {
            let variables = [("HTTP_SEC_FETCH_SITE", site), ("HTTP_ORIGIN", origin), ("HTTP_HOST", host)];
            assert_eq!(
                request(&variables, b"").unwrap().headers.is_cross_site(),
                is_cross_site,
                "{site} {origin} {host}"
            );
        }
    }

    #[test]
    fn a_length_is_digits() {
        for length in ["-1", "1e3", "+5", "0x10", "5 ", "99999999999999999999999"] {
            assert!(request(&[("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", length)], b"").is_err(), "{length}");
        }
    }

    #[test]
    fn a_body_is_as_long_as_it_says() {
        let read = |length: &str, body: &[u8]| {
            let variables = [("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", length)];
            let mut content = Vec::new();
            let result = request(&variables, body).unwrap().body.read_to_end(&mut content);
            result.map(|_| content).map_err(|error| error.kind())
        };
        assert_eq!(read("3", b"abcdef"), Ok(b"abc".to_vec()));
        assert_eq!(read("6", b"abc"), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(read("", b"abc"), Ok(b"abc".to_vec()));
        assert_eq!(read("0", b"abc"), Ok(b"".to_vec()));
    }

    #[test]
    fn a_body_keeps_its_pace_or_is_given_up() {
        // Nothing more arrives; only the length of the wait matters.
        let never = |left: Duration| {
            assert!(left <= Duration::from_secs(70), "{left:?}");
            Ok(false)
        };
        let variables = [("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", "600")];
        let mut request = request(&variables, &[0; 600]).unwrap();
        let body = &mut request.body;
        body.wait_with(|left| Ok(left > Duration::from_secs(50)));
        body.set_pace(Duration::from_secs(60), 10);
        assert_eq!(body.read(&mut [0; 100]).unwrap(), 100);
        body.wait_with(never);
        assert_eq!(body.read(&mut [0; 100]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        body.drain(1000);
        assert_eq!(body.n_read(), 100, "it is not waited for again");
    }

    #[test]
    fn each_byte_earns_time_for_the_next() {
        let hour = Duration::from_secs(3600);
        let pace = Pace { start: Instant::now(), grace: hour, bytes_per_second: 10_000 };
        // An hour for the bytes, and the grace. The test itself takes less than an hour.
        let due = pace.due(36_000_000);
        assert!(hour < due && due <= 2 * hour, "{due:?}");
    }

    /// A body with this `Content-Length`; empty for none.
    fn body<'a>(length: &'a str, content: impl Read + 'a) -> Body<'a> {
        let variables = [("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", length)];
        let value = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        Request::from_cgi(value, content).unwrap().body
    }

    #[test]
    fn a_body_is_empty_if_it_says_so_or_has_no_byte() {
        for (length, content, is_empty) in [
            ("0", "", true),
            ("0", "abc", true),
            ("3", "abc", false),
            ("3", "", false),
            ("", "", true),
            ("", "a", false),
        ] {
            let mut body = body(length, content.as_bytes());
            assert_eq!(body.is_empty(), is_empty, "{length} {content}");
            assert_eq!(body.expected(), length.parse().ok());
        }
        let mut read = body("3", &b"abc"[..]);
        read.read_exact(&mut [0; 3]).unwrap();
        assert!(!read.is_empty());
    }

    #[test]
    fn a_body_is_idle_while_bytes_are_missing_and_none_comes() {
        let is_idle = |body: &mut Body<'_>, is_ready: bool| {
            body.wait_with(if is_ready { |_| Ok(true) } else { |_| Ok(false) });
            body.is_idle(Duration::ZERO).unwrap()
        };
        let mut half = body("6", &b"abc"[..]);
        assert!(!half.is_idle(Duration::ZERO).unwrap(), "nothing can be waited for");
        half.read_exact(&mut [0; 3]).unwrap();
        assert!(is_idle(&mut half, false));
        assert!(!is_idle(&mut half, true));
        // It is late, so the next read ends it.
        half.set_pace(Duration::ZERO, u64::MAX);
        assert!(!is_idle(&mut half, false));
        let mut complete = body("3", &b"abc"[..]);
        complete.read_exact(&mut [0; 3]).unwrap();
        assert!(!is_idle(&mut complete, false));
        let mut ended = body("", &b"abc"[..]);
        ended.read_to_end(&mut Vec::new()).unwrap();
        assert!(!is_idle(&mut ended, false));
    }

    #[test]
    fn a_complete_body_is_not_waited_for() {
        let mut complete = body("3", &b"abc"[..]);
        complete.read_exact(&mut [0; 3]).unwrap();
        complete.wait_with(|_| Ok(false));
        complete.set_pace(Duration::ZERO, u64::MAX);
        assert_eq!(complete.read(&mut [0; 3]).unwrap(), 0);
    }

    #[test]
    fn a_digest_is_of_all_bytes_since_its_start() {
        let mut body = body("6", &b"abcdef"[..]);
        assert_eq!(body.take_digest(), None);
        body.read_exact(&mut [0; 3]).unwrap();
        body.start_digest();
        body.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(body.take_digest(), Some(Sha256::digest(b"def").into()));
        assert_eq!(body.take_digest(), None);
    }

    /// A reader that is interrupted before each read.
    struct Interrupted<R>(R, bool);

    impl<R: Read> Read for Interrupted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(buffer) }
        }
    }

    #[test]
    fn the_rest_of_a_body_is_read_to_the_limit_unless_the_server_does_not_need_it() {
        const CHUNK: u64 = 64 << 10;
        let content = vec![b'x'; 256 << 10];
        for (limit, n_read) in [(0, 0), (1, CHUNK), (CHUNK, CHUNK), (CHUNK + 1, 2 * CHUNK), (u64::MAX, 4 * CHUNK)] {
            for length in [content.len().to_string(), String::new()] {
                let mut body = body(&length, Interrupted(content.as_slice(), false));
                body.drain(limit);
                assert_eq!(body.n_read(), n_read, "{limit} {length}");
            }
        }
        let mut body = body("9", &b"123456789"[..]);
        body.may_stay = true;
        body.drain(u64::MAX);
        assert_eq!(body.n_read(), 0);
    }

    #[test]
    fn a_network_is_the_addresses_of_one_client() {
        for (client, other, is_same) in [
            ("192.0.2.1", "192.0.2.254", true),
            ("192.0.2.1", "192.0.3.1", false),
            ("2001:db8::1", "2001:db8:0:0:ffff:1:2:3", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::1", "0.0.0.1", false),
        ] {
            let network = |client| request(&[("REMOTE_ADDR", client)], b"").unwrap().network();
            assert_eq!(network(client) == network(other), is_same, "{client} {other}");
        }
    }

    #[test]
    fn the_environment_decides_whether_this_is_cgi() {
        assert!(is_cgi(|name| (name == "REQUEST_METHOD").then(OsString::new)));
        assert!(!is_cgi(|_| None));
    }
}
