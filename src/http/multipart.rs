//! Parses forms (RFC 7578, RFC 2046) as a stream, in constant memory. The only file that looks for a boundary.
//!
//! The crate `multipart` silently adds two bytes to a file when a boundary straddles its buffer; docs/ARCHITECTURE.md
//! reproduces it.

use crate::http::request::parameter;
use memchr::memmem;
use std::fmt;
use std::io::{self, Read};

/// Content is returned in multiples of this many bytes: writing whole pages to a file takes a fifth less work, most of
/// all from memory that starts on a page.
const PAGE: usize = 4 << 10;
/// Bytes in the buffer; the head of a part must fit. It is large enough that the allocator gets it from the kernel,
/// which provides only the pages that are used: a small form needs two.
const BUFFER: usize = (256 << 10) + PAGE;
/// Maximum bytes of the head of one part.
const MAX_HEAD: usize = 8 << 10;
/// Maximum parts of a form; the API's largest form has a handful.
const MAX_PARTS: usize = 32;

/// Why a body is not a valid form.
#[derive(Debug)]
pub enum MultipartError {
    /// The form breaks a rule; the text is for the client.
    Malformed(&'static str),
    /// The body could not be read.
    Io(io::Error),
}

impl From<io::Error> for MultipartError {
    fn from(error: io::Error) -> Self {
        MultipartError::Io(error)
    }
}

impl fmt::Display for MultipartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MultipartError::Malformed(reason) => f.write_str(reason),
            MultipartError::Io(error) => write!(f, "{error}"),
        }
    }
}

/// A form that is being read.
pub struct Multipart<R> {
    reader: R,
    /// CRLF, two dashes and the boundary.
    finder: memmem::Finder<'static>,
    buffer: Box<[u8]>,
    /// Where the first page of the buffer starts.
    base: usize,
    /// Bytes that were read but not returned: `buffer[start..end]`.
    start: usize,
    end: usize,
    is_at_end: bool,
    state: State,
    n_parts: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the preamble or in the content of a part.
    Content,
    /// After a boundary that starts a part.
    Head,
    /// After the final boundary.
    Done,
}

/// What follows the boundary.
enum Delimiter {
    /// A part, after this many bytes.
    Part(usize),
    /// The end of the form.
    Final,
    /// Content that only looks like a boundary.
    None,
    /// Not enough bytes to tell.
    Unknown,
}

impl<R: Read> Multipart<R> {
    /// Reads a form from `reader`, with the boundary from its `Content-Type`.
    pub fn new(reader: R, boundary: &str) -> Multipart<R> {
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        let mut buffer = vec![0; PAGE + BUFFER].into_boxed_slice();
        let base = buffer.as_ptr().align_offset(PAGE).min(PAGE);
        // A form can start with its boundary, without the newline before it; add one.
        buffer[base..base + 2].copy_from_slice(b"\r\n");
        Multipart {
            reader,
            finder: memmem::Finder::new(&delimiter).into_owned(),
            buffer,
            base,
            start: base,
            end: base + 2,
            is_at_end: false,
            state: State::Content,
            n_parts: 0,
        }
    }

    /// Goes to the next part and skips the rest of this one. Returns the field name, or `None` after the final
    /// boundary.
    pub fn next_part(&mut self) -> Result<Option<String>, MultipartError> {
        while self.chunk()?.is_some() {}
        if self.state == State::Done {
            return Ok(None);
        }
        self.n_parts += 1;
        if self.n_parts > MAX_PARTS {
            return Err(MultipartError::Malformed("The form has more than 32 parts"));
        }
        let name = self.head()?;
        self.state = State::Content;
        Ok(Some(name))
    }

    /// The next chunk of this part's content, never empty; `None` at its end.
    pub fn chunk(&mut self) -> Result<Option<&[u8]>, MultipartError> {
        if self.state != State::Content {
            return Ok(None);
        }
        let length = self.finder.needle().len();
        let n = loop {
            let window = &self.buffer[self.start..self.end];
            match self.finder.find(window) {
                Some(0) => match self.delimiter() {
                    Delimiter::Part(n_bytes) => {
                        self.start += n_bytes;
                        self.state = State::Head;
                        return Ok(None);
                    }
                    Delimiter::Final => {
                        self.state = State::Done;
                        return Ok(None);
                    }
                    Delimiter::None => break length,
                    Delimiter::Unknown => self.fill()?,
                },
                Some(at) => break at,
                None => {
                    // The last bytes can be the start of a boundary that is still incomplete.
                    let safe = window.len().saturating_sub(length - 1);
                    if safe >= PAGE {
                        break safe - safe % PAGE;
                    }
                    self.fill()?;
                }
            }
        };
        let from = self.start;
        self.start += n;
        Ok(Some(&self.buffer[from..from + n]))
    }

    /// Reads the bytes after the final boundary. They are ignored, but the body must be read and have its announced
    /// length.
    pub fn finish(mut self) -> Result<(), MultipartError> {
        while !self.is_at_end {
            (self.start, self.end) = (self.base, self.base);
            self.read_more()?;
        }
        Ok(())
    }

    /// Decides what follows a boundary at the start of the window.
    fn delimiter(&self) -> Delimiter {
        let length = self.finder.needle().len();
        let after = &self.buffer[self.start + length..self.end];
        if after.starts_with(b"--") {
            return Delimiter::Final;
        }
        let padding = after.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match &after[padding..] {
            [b'\r', b'\n', ..] => Delimiter::Part(length + padding + 2),
            [] | [b'\r'] if !self.is_at_end => Delimiter::Unknown,
            [b'-'] if padding == 0 && !self.is_at_end => Delimiter::Unknown,
            _ => Delimiter::None,
        }
    }

    /// Reads the head of a part and returns the name of its field.
    fn head(&mut self) -> Result<String, MultipartError> {
        let length = loop {
            let window = &self.buffer[self.start..self.end];
            if window.starts_with(b"\r\n") {
                return Err(MultipartError::Malformed("A part of the form has no Content-Disposition"));
            }
            match memmem::find(window, b"\r\n\r\n") {
                Some(length) if length <= MAX_HEAD => break length,
                None if window.len() <= MAX_HEAD => self.fill()?,
                _ => return Err(MultipartError::Malformed("The header of a part is larger than 8 KiB")),
            }
        };
        let name = parse_head(&self.buffer[self.start..self.start + length]).map_err(MultipartError::Malformed)?;
        // The empty line belongs to the head. Therefore content that starts with the boundary, without its own newline
        // before it, is content.
        self.start += length + 4;
        Ok(name)
    }

    /// Makes room and reads more. The end of the body is an error here.
    fn fill(&mut self) -> Result<(), MultipartError> {
        if self.is_at_end {
            return Err(MultipartError::Malformed("The form has no final boundary"));
        }
        self.buffer.copy_within(self.start..self.end, self.base);
        (self.start, self.end) = (self.base, self.base + self.end - self.start);
        self.read_more()
    }

    fn read_more(&mut self) -> Result<(), MultipartError> {
        loop {
            match self.reader.read(&mut self.buffer[self.end..self.base + BUFFER]) {
                Ok(n) => {
                    self.end += n;
                    self.is_at_end = n == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The field's name from the head of a part. `filename` is never used, so it can be any bytes.
fn parse_head(head: &[u8]) -> Result<String, &'static str> {
    let mut name = None;
    for line in unfold(&as_text(head)).split("\r\n") {
        let (key, value) = line.split_once(':').ok_or("A header of a part has no colon")?;
        if key.is_empty() || !key.bytes().all(is_token) {
            return Err("A header of a part has no valid name");
        }
        let value = value.trim();
        if key.eq_ignore_ascii_case("content-transfer-encoding")
            && !["7bit", "8bit", "binary"].contains(&value.to_ascii_lowercase().as_str())
        {
            return Err("A part has a transfer encoding: send its bytes unencoded");
        }
        if !key.eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err("The Content-Disposition of a part is not form-data");
        }
        if name.is_some() {
            return Err("A part of the form has two Content-Dispositions");
        }
        name = Some(parameter(parameters, "name").ok_or("A part of the form has no name")?);
    }
    name.ok_or("A part of the form has no Content-Disposition")
}

/// A head as text. Each byte that is not UTF-8 becomes a replacement character, which no field's name contains.
fn as_text(head: &[u8]) -> String {
    let mut text = String::with_capacity(head.len());
    let mut is_half = false;
    for chunk in head.utf8_chunks() {
        // In some code pages (Shift JIS, GBK, Big5), the second byte of a character can be a backslash. It escapes
        // nothing.
        let valid = if is_half { chunk.valid().strip_prefix('\\').unwrap_or(chunk.valid()) } else { chunk.valid() };
        text.push_str(valid);
        is_half = !chunk.invalid().is_empty();
        if is_half {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}

/// Joins folded lines (RFC 5322, section 2.2.3): a line that starts with white space continues the one before.
fn unfold(head: &str) -> String {
    head.replace("\r\n ", " ").replace("\r\n\t", "\t")
}

/// Whether a byte is allowed in a header name (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that returns at most `step` bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(buffer.len()).min(self.0.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    type Parts = Vec<(String, Vec<u8>)>;

    fn parse(body: &[u8], step: usize) -> Result<Parts, String> {
        let mut form = Multipart::new(Slow(body, step), "XbX");
        let mut parts = Vec::new();
        let mut all = || -> Result<(), MultipartError> {
            while let Some(name) = form.next_part()? {
                let mut content = Vec::new();
                while let Some(chunk) = form.chunk()? {
                    assert!(!chunk.is_empty());
                    content.extend_from_slice(chunk);
                }
                parts.push((name, content));
            }
            Ok(())
        };
        all().map_err(|error| error.to_string())?;
        form.finish().map_err(|error| error.to_string())?;
        Ok(parts)
    }

    #[track_caller]
    fn check(body: &[u8], wanted: Result<&[(&str, &[u8])], &str>) {
        let wanted: Result<Parts, String> = wanted
            .map(|parts| parts.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect())
            .map_err(str::to_owned);
        for step in [1, 2, 3, 7, 64, 1 << 20] {
            assert_eq!(parse(body, step), wanted, "{step} bytes at a time: {}", body.escape_ascii());
        }
    }

    fn form(content: &[u8]) -> Vec<u8> {
        [b"--XbX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n", content, b"\r\n--XbX--\r\n"].concat()
    }

    #[test]
    fn content_that_looks_like_the_boundary_is_content() {
        for content in [
            &b""[..],
            b"\r\n",
            b"\r",
            b"-",
            b"--",
            b"--XbX",
            b"--XbX\r\n",
            b"\r\n--Xb",
            b"\r\n--XbZ--",
            b"\r\n--XbXq",
            b"\r\n--XbX-x",
            b"\r\n--XbX \tq",
            b"\n--XbX--",
            b"\r\r\n--X",
            b"\r\n\r\n",
            b"\r\n--XbXq\r\n--XbXq",
        ] {
            check(&form(content), Ok(&[("a", content)]));
        }
    }

    #[test]
    fn a_boundary_may_straddle_the_buffer_anywhere() {
        for size in (BUFFER - 200)..(BUFFER + 20) {
            let content = vec![b'y'; size];
            assert_eq!(parse(&form(&content), 1 << 20), Ok(vec![("a".to_owned(), content)]), "{size} bytes");
        }
    }

    #[test]
    fn preamble_epilogue_padding_and_header_case_are_as_in_the_standard() {
        check(
            b"preamble\r\n--XbX \t\r\ncontent-DISPOSITION:form-data;filename=\"name=\\\"z\\\"\"; NAME=a\r\nX: y\r\n\r\n1\r\n--XbX\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n\r\n--XbX--epilogue\r\n--XbX\r\n",
            Ok(&[("a", b"1"), ("b", b"")]),
        );
        check(b"--XbX--", Ok(&[]));
    }

    #[test]
    fn a_form_cut_anywhere_is_no_form() {
        let body = form(b"some content");
        let whole = body.len() - b"\r\n".len();
        for end in 0..whole {
            assert!(parse(&body[..end], 1 << 20).is_err(), "{}", body[..end].escape_ascii());
        }
        assert!(parse(&body[..whole], 1 << 20).is_ok());
    }

    #[test]
    fn each_fault_is_named() {
        for (body, reason) in [
            (&b""[..], "The form has no final boundary"),
            (b"--XbX\r\n\r\ndata\r\n--XbX--", "A part of the form has no Content-Disposition"),
            (
                b"--XbX\r\nContent-Type: text/plain\r\n\r\ndata\r\n--XbX--",
                "A part of the form has no Content-Disposition",
            ),
            (b"--XbX\r\nContent-Disposition: form-data\r\n\r\n\r\n--XbX--", "A part of the form has no name"),
            (b"--XbX\r\nContent-Disposition: form-data; name=\"a\r\n\r\n\r\n--XbX--", "A part of the form has no name"),
            (
                b"--XbX\r\nContent-Disposition: attachment; name=a\r\n\r\n\r\n--XbX--",
                "The Content-Disposition of a part is not form-data",
            ),
            (b"--XbX\r\nContent-Disposition\r\n\r\n\r\n--XbX--", "A header of a part has no colon"),
            (b"--XbX\r\nA b: c\r\n\r\n\r\n--XbX--", "A header of a part has no valid name"),
            (b"--XbX\r\n A: b\r\n\r\n\r\n--XbX--", "A header of a part has no valid name"),
            (b"--XbX\r\n\xff: b\r\n\r\n\r\n--XbX--", "A header of a part has no valid name"),
            (b"--XbX\r\nA: \xff\r\n\r\n\r\n--XbX--", "A part of the form has no Content-Disposition"),
            (
                b"--XbX\r\nContent-Transfer-Encoding: base64\r\n\r\n\r\n--XbX--",
                "A part has a transfer encoding: send its bytes unencoded",
            ),
        ] {
            check(body, Err(reason));
        }
        for end in ["\r\n\r\n", ""] {
            let head = [b"--XbX\r\nA: ", vec![b'x'; MAX_HEAD + 1].as_slice(), end.as_bytes()].concat();
            check(&head, Err("The header of a part is larger than 8 KiB"));
        }
        let parts = b"--XbX\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n".repeat(MAX_PARTS + 1);
        check(&parts, Err("The form has more than 32 parts"));
    }

    #[test]
    fn a_form_may_have_32_parts() {
        let mut parts = b"--XbX\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n".repeat(MAX_PARTS);
        parts.extend_from_slice(b"--XbX--");
        assert_eq!(parse(&parts, 1 << 20).map(|parts| parts.len()), Ok(MAX_PARTS));
    }

    #[test]
    fn large_content_comes_in_whole_pages() {
        let body = form(&vec![b'y'; 10 * PAGE]);
        // The first read is no whole number of pages.
        let mut form = Multipart::new(body[..PAGE + 999].chain(&body[PAGE + 999..]), "XbX");
        form.next_part().unwrap();
        let mut lengths = Vec::new();
        while let Some(chunk) = form.chunk().unwrap() {
            lengths.push(chunk.len());
        }
        let last = lengths.pop().unwrap();
        assert!(lengths.iter().all(|length| length % PAGE == 0), "{lengths:?}");
        assert_eq!(lengths.iter().sum::<usize>() + last, 10 * PAGE);
    }

    /// A reader that fails once after each piece.
    struct Failing<'a> {
        pieces: Vec<&'a [u8]>,
        kind: io::ErrorKind,
        is_next_an_error: bool,
    }

    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.is_next_an_error = !self.is_next_an_error;
            if !self.is_next_an_error {
                return Err(self.kind.into());
            }
            if self.pieces.is_empty() {
                return Ok(0);
            }
            self.pieces.remove(0).read(buffer)
        }
    }

    #[test]
    fn a_body_is_read_to_its_end_and_its_failure_is_not_hidden() {
        let body = form(b"content");
        let read = |kind, pieces: &[&'static [u8]]| {
            let pieces = [&[body.as_slice()], pieces].concat();
            let mut form = Multipart::new(Failing { pieces, kind, is_next_an_error: false }, "XbX");
            while form.next_part()?.is_some() {}
            form.finish()
        };
        assert!(read(io::ErrorKind::Interrupted, &[b"epilogue", b"more of it"]).is_ok());
        // The form itself is complete.
        let fault = read(io::ErrorKind::UnexpectedEof, &[b"epilogue"]).unwrap_err();
        assert!(matches!(fault, MultipartError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof));
    }
}
