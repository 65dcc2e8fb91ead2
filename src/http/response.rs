//! Responses, and how they are written: with the fixed headers, and with files that the web server sends itself if it
//! can.

use crate::http::request::Sendfile;
use crate::values::json::quote;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Headers of every response.
const FIXED_HEADERS: [(&str, &str); 3] = [
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
];

/// For data: even if a browser takes it for a page, it loads and runs nothing.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";
/// For our one page, which has its style in itself and needs nothing else.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Maximum bytes of the head of a response.
const HEAD: usize = 1024;

enum Body {
    Bytes(Vec<u8>),
    /// This many bytes from the current position of the file.
    File(File, u64),
    /// None from us: the response has none, or the web server sends the one that a header names.
    None,
    /// None, because the method is HEAD. A header has its length.
    LengthOnly,
}

/// Whether a response is delayed, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    No,
    /// Yes, if that blocks nobody.
    IfFree,
    /// Yes, always.
    Always,
}

pub struct Response {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Body,
    wait: Wait,
}

impl Response {
    fn new(status: &'static str, content_type: &str, body: Body) -> Response {
        Response { status, headers: vec![("Content-Type", content_type.to_owned())], body, wait: Wait::No }
    }

    /// 200 with JSON that was valid when it was checked.
    pub fn json(body: impl Into<Vec<u8>>) -> Response {
        Response::new("200 OK", "application/json", Body::Bytes(body.into()))
    }

    /// `{"Status":"200 OK"}`.
    pub fn done() -> Response {
        Response::json("{\"Status\":\"200 OK\"}")
    }

    /// 202: a job runs in the background; follow it at `location`.
    pub fn accepted(location: &str, job: &str) -> Response {
        // If the record could not be written, there is no id.
        let job = if job.is_empty() { String::new() } else { format!(",\"Job\":{}", quote(job)) };
        let body = format!("{{\"Status\":\"202 Accepted\",\"Location\":{}{job}}}", quote(location));
        Response::new("202 Accepted", "application/json", Body::Bytes(body.into_bytes()))
            .header("Location", location.to_owned())
    }

    /// 201 with JSON.
    pub fn created(body: String) -> Response {
        Response::new("201 Created", "application/json", Body::Bytes(body.into_bytes()))
    }

    /// 204: only headers.
    pub fn no_content() -> Response {
        Response { status: "204 No Content", headers: Vec::new(), body: Body::None, wait: Wait::No }
    }

    /// 200 with one of our pages.
    pub fn page(body: String) -> Response {
        Response::new("200 OK", "text/html; charset=utf-8", Body::Bytes(body.into_bytes()))
    }

    /// 200 with a text.
    pub fn text(text: Vec<u8>) -> Response {
        Response::new("200 OK", "text/plain; charset=utf-8", Body::Bytes(text))
    }

    /// 200 with the unchanged content of a text file.
    pub fn text_file(file: File) -> io::Result<Response> {
        let length = file.metadata()?.len();
        Ok(Response::new("200 OK", "text/plain; charset=utf-8", Body::File(file, length)))
    }

    /// 200 with a download, sent by the web server itself if it offers to.
    pub fn download(path: &Path, name: &'static str, file: File, sendfile: Option<Sendfile>) -> io::Result<Response> {
        let length = file.metadata()?.len();
        let (body, redirect) = match sendfile {
            // An empty file is not worth a redirect, and lighttpd reports one as an error.
            Some(_) | None if length == 0 => (Body::File(file, length), None),
            Some(Sendfile::Accel) => (Body::None, Some(("X-Accel-Redirect", format!("/_files/{name}")))),
            Some(Sendfile::XSendfile) => (Body::None, Some(("X-Sendfile", path.to_string_lossy().into_owned()))),
            None => (Body::File(file, length), None),
        };
        let response = Response::new("200 OK", "application/octet-stream", body)
            .header("Content-Disposition", format!("attachment; filename=\"{name}\""))
            .header("Filename", name.to_owned());
        Ok(match redirect {
            Some((header, value)) => response.header(header, value),
            None => response,
        })
    }

    /// An error; only `error.rs` makes these. Its members, with values as JSON, are in the order that clients know.
    pub fn error(
        status: &'static str,
        message: Option<&str>,
        first_run: Option<bool>,
        members: &[(&str, String)],
    ) -> Response {
        let mut body = format!("{{\"Status\":{}", quote(status));
        let mut member = |name: &str, value: String| body.extend([",", &quote(name), ":", &value]);
        if let Some(message) = message {
            member("Error-Message", quote(message));
            if let Some(is_pending) = first_run {
                member("First-Run", is_pending.to_string());
            }
        }
        for (name, value) in members {
            member(name, value.clone());
        }
        body.push('}');
        let response = Response::new(status, "application/json", Body::Bytes(body.into_bytes()));
        match message {
            Some(message) => response.header("Error-Message", header_value(message)),
            None => response,
        }
    }

    /// Adds a header; the value must be ours or checked.
    pub fn header(mut self, name: &'static str, value: String) -> Response {
        self.headers.push((name, value));
        self
    }

    /// Delays the response at least this much.
    pub fn waiting(mut self, wait: Wait) -> Response {
        self.wait = self.wait.max(wait);
        self
    }

    /// How much the response is delayed.
    pub fn wait(&self) -> Wait {
        self.wait
    }

    /// The same response, but delayed by nginx: it has a location for each status that can be delayed, and takes the
    /// body from a header that no client sees.
    pub fn sent_by_nginx(mut self) -> Response {
        let body = match &self.body {
            Body::Bytes(bytes) => header_value(&String::from_utf8_lossy(bytes)),
            Body::File(..) | Body::None | Body::LengthOnly => return self,
        };
        self.headers.push(("X-Accel-Redirect", format!("/_pause/{}", &self.status[..3])));
        self.headers.push(("Jidoteki-Answer", body));
        self.body = Body::None;
        self
    }

    /// For a web server that has only the head: accept the body. The number and size of bodies depend on whether the
    /// caller is known.
    pub fn accept_body(is_known: bool) -> Response {
        let response = Response::new("204 No Content", "application/json", Body::None);
        if is_known { response.header("Jidoteki-Known", "yes".to_owned()) } else { response }
    }

    /// For a web server that has only the head: send this response instead of accepting the body, after a delay if it
    /// has one. The server recognizes it by `status`.
    pub fn instead_of_body(mut self, status: &'static str) -> Response {
        let body = match &self.body {
            Body::Bytes(bytes) => header_value(&String::from_utf8_lossy(bytes)),
            Body::File(..) | Body::None | Body::LengthOnly => String::new(),
        };
        self.headers.push(("Jidoteki-Status", self.status[..3].to_owned()));
        self.headers.push(("Jidoteki-Answer", body));
        if self.wait != Wait::No {
            self.headers.push(("Jidoteki-Wait", "yes".to_owned()));
        }
        self.status = status;
        self.body = Body::None;
        self
    }

    /// Omits the body but not its length, for `HEAD`.
    pub fn without_body(mut self) -> Response {
        let length = match &self.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File(_, length) => *length,
            Body::None | Body::LengthOnly => return self,
        };
        self.headers.push(("Content-Length", length.to_string()));
        self.body = Body::LengthOnly;
        self
    }

    /// Writes the complete response. A body always has a length: without it, the web server would take a truncated body for
    /// a complete one.
    pub fn write_to(self, out: &mut dyn Write) -> io::Result<()> {
        let mut head = String::with_capacity(HEAD + if let Body::Bytes(bytes) = &self.body { bytes.len() } else { 0 });
        head.extend(["Status: ", self.status, "\r\n"]);
        let mut add = |name: &str, value: &str| head.extend([name, ": ", value, "\r\n"]);
        for (name, value) in &self.headers {
            add(name, value);
        }
        for (name, value) in FIXED_HEADERS {
            add(name, value);
        }
        let is_page =
            self.headers.iter().any(|(name, value)| *name == "Content-Type" && value.starts_with("text/html"));
        add("Content-Security-Policy", if is_page { PAGE_POLICY } else { DATA_POLICY });
        // Every response shows the current state, so one from a cache would be wrong.
        if !self.headers.iter().any(|(name, _)| *name == "Cache-Control") {
            add("Cache-Control", "no-cache");
        }
        match &self.body {
            Body::Bytes(bytes) => add("Content-Length", &bytes.len().to_string()),
            Body::File(_, length) => add("Content-Length", &length.to_string()),
            Body::None | Body::LengthOnly => {}
        }
        if !matches!(self.body, Body::None) {
            // Otherwise lighttpd would serve ranges of our output, too. For a file that it sends itself, it can.
            add("Accept-Ranges", "none");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        match self.body {
            Body::Bytes(body) => {
                bytes.extend(body);
                out.write_all(&bytes)?;
            }
            Body::None | Body::LengthOnly => out.write_all(&bytes)?,
            Body::File(file, length) => {
                out.write_all(&bytes)?;
                copy(&mut file.take(length), out)?;
            }
        }
        out.flush()
    }
}

fn copy(file: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            n => out.write_all(&buffer[..n])?,
        }
    }
}

/// A message as a header value: printable ASCII on one line.
fn header_value(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(response: Response) -> String {
        let mut out = Vec::new();
        response.write_to(&mut out).unwrap();
        String::from_utf8(out).unwrap().split_once("\r\n\r\n").unwrap().0.to_owned()
    }

    #[test]
    fn a_message_cannot_make_a_header_of_its_own() {
        let head = head(Response::error("400 Bad Request", Some("a\r\nX: y\u{e9}"), None, &[]));
        assert!(head.contains("\r\nError-Message: a??X: y?\r\n"), "{head}");
    }

    #[test]
    fn every_answer_has_the_fixed_headers_and_its_length_once() {
        for response in [
            Response::done(),
            Response::accepted("/x", "8a1c6f0b2d3e4f50"),
            Response::page("x".to_owned()),
            Response::done().without_body(),
        ] {
            let head = head(response);
            for name in [
                "Strict-Transport-Security",
                "X-Frame-Options",
                "X-Content-Type-Options",
                "Content-Security-Policy",
                "Cache-Control",
                "Content-Length",
                "Content-Type",
            ] {
                assert_eq!(head.matches(&format!("\r\n{name}: ")).count(), 1, "{name} in {head}");
            }
        }
    }
}
