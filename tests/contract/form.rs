//! Forms as clients send them, and our parser compared with another one.

use futures_util::stream;
use jidoteki_admin_api::http::multipart::{Multipart, MultipartError};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The content type and the body of a form, as curl makes them.
pub fn encode(fields: &[(&str, &str)]) -> (String, Vec<u8>) {
    const BOUNDARY: &str = "------------------------0123456789abcdef";
    let mut body = String::new();
    for (name, value) in fields {
        body.push_str(&format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"../x\"\r\n\r\n{value}\r\n"
        ));
    }
    body.push_str(&format!("--{BOUNDARY}--\r\n"));
    (format!("multipart/form-data; boundary={BOUNDARY}"), body.into_bytes())
}

type Parts = Vec<(String, Vec<u8>)>;

fn ours(body: &[u8], boundary: &str) -> Option<Parts> {
    let parse = || -> Result<Parts, MultipartError> {
        let mut form = Multipart::new(body, boundary);
        let mut parts = Vec::new();
        while let Some(name) = form.next_part()? {
            let mut content = Vec::new();
            while let Some(chunk) = form.chunk()? {
                content.extend_from_slice(chunk);
            }
            parts.push((name, content));
        }
        form.finish()?;
        Ok(parts)
    };
    parse().ok()
}

fn theirs(body: &[u8], boundary: &str) -> Option<Parts> {
    let chunks: Vec<Result<Vec<u8>, Infallible>> = body.chunks(1000).map(|chunk| Ok(chunk.to_vec())).collect();
    ready(async move {
        let mut form = multer::Multipart::new(stream::iter(chunks), boundary);
        let mut parts = Vec::new();
        while let Some(field) = form.next_field().await? {
            let name = field.name().unwrap_or_default().to_owned();
            parts.push((name, field.bytes().await?.to_vec()));
        }
        Ok::<Parts, multer::Error>(parts)
    })
    .ok()
}

/// Runs a future whose input is complete.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

/// A small number generator, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// Bytes from pieces that resemble a boundary.
fn treacherous(numbers: &mut Numbers) -> Vec<u8> {
    const PIECES: [&[u8]; 10] =
        [b"\r\n", b"\r", b"\n", b"--", b"-", b"\r\n--Bo", b"--Bound", b"\r\n--BounD--", b"a", &[b'y'; 997]];
    let n_pieces = numbers.below(40);
    (0..n_pieces).flat_map(|_| PIECES[numbers.below(PIECES.len())]).copied().collect()
}

#[test]
fn our_parser_reads_valid_forms_as_multer_does() {
    let mut numbers = Numbers(7);
    let mut n_plain = 0;
    for _ in 0..5000 {
        let parts: Parts = (0..=numbers.below(3)).map(|n| (format!("f{n}"), treacherous(&mut numbers))).collect();
        let mut body = Vec::new();
        for (name, content) in &parts {
            body.extend_from_slice(
                format!("--Bound\r\nContent-Disposition: form-data; filename=\"name=q\"; name=\"{name}\"\r\n\r\n")
                    .as_bytes(),
            );
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--Bound--\r\n");
        // Content can begin a line with the boundary by chance; the bytes after it decide. multer refuses such a form.
        if !parts.iter().any(|(_, content)| content.windows(9).any(|window| window == b"\r\n--Bound")) {
            n_plain += 1;
            assert!(theirs(&body, "Bound").as_ref() == Some(&parts), "multer: {}", body.escape_ascii());
            assert!(ours(&body, "Bound") == Some(parts), "ours: {}", body.escape_ascii());
        }
    }
    assert!(n_plain > 1000, "only {n_plain} forms were compared");
}

/// A part head that a client could send, and the same for multer, which supports neither folding nor other code pages.
fn head(numbers: &mut Numbers, name: &str) -> (Vec<u8>, Vec<u8>) {
    const SPACES: [&str; 6] = [" ", "\t", "", "\r\n ", "\r\n\t", " \r\n  "];
    const TOKEN: &[u8] = b"!#$%&'*+-.^_`|~09azAZ";
    let mut lines = Vec::new();
    for _ in 0..numbers.below(3) {
        let key: String = (0..=numbers.below(9)).map(|_| char::from(TOKEN[numbers.below(TOKEN.len())])).collect();
        // X: the name of the key must not matter.
        lines.push((format!("X{key}:"), vec![vec![b'v'; numbers.below(9)], (0x80..=0xff).collect()]));
    }
    let file: Vec<u8> = (0..numbers.below(12))
        .map(|_| u8::try_from(0x20 + numbers.below(0xe0)).unwrap())
        .filter(|byte| !b"\"\\\x7f".contains(byte))
        .collect();
    let file = [b"filename=\"", file.as_slice(), b"\""].concat();
    let name = format!("name=\"{name}\"").into_bytes();
    let (first, second) = if numbers.below(2) == 0 { (file, name) } else { (name, file) };
    let at = numbers.below(lines.len() + 1);
    let disposition = vec![b"form-data;".to_vec(), [&first[..], b";"].concat(), second];
    lines.insert(at, ("Content-Disposition:".to_owned(), disposition));
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for (key, values) in lines {
        ours.extend_from_slice(key.as_bytes());
        plain.extend_from_slice(key.as_bytes());
        for value in values {
            ours.extend_from_slice(SPACES[numbers.below(SPACES.len())].as_bytes());
            ours.extend_from_slice(&value);
            plain.push(b' ');
            plain.extend(value.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }));
        }
        ours.extend_from_slice(b"\r\n");
        plain.extend_from_slice(b"\r\n");
    }
    (ours, plain)
}

#[test]
fn a_folded_head_is_read_as_multer_reads_the_unfolded_one() {
    let mut numbers = Numbers(13);
    for _ in 0..5000 {
        let mut bodies = (Vec::new(), Vec::new());
        let n_parts = 1 + numbers.below(3);
        for n in 0..n_parts {
            let (ours, plain) = head(&mut numbers, &format!("f{n}"));
            for (body, head) in [(&mut bodies.0, ours), (&mut bodies.1, plain)] {
                body.extend_from_slice(b"--Bound\r\n");
                body.extend_from_slice(&head);
                body.extend_from_slice(format!("\r\n folded\r\n content {n}\r\n").as_bytes());
            }
        }
        bodies.0.extend_from_slice(b"--Bound--\r\n");
        bodies.1.extend_from_slice(b"--Bound--\r\n");
        let theirs = theirs(&bodies.1, "Bound");
        assert_eq!(theirs.as_ref().map(Vec::len), Some(n_parts), "multer: {}", bodies.1.escape_ascii());
        assert!(ours(&bodies.0, "Bound") == theirs, "ours: {}", bodies.0.escape_ascii());
    }
}

#[test]
fn our_parser_accepts_parts_of_a_broken_form_as_multer_does() {
    let mut numbers = Numbers(11);
    let (_, good) = encode(&[("a", "some\r\ncontent"), ("b", "")]);
    // Ignore where the form begins: multer accepts a boundary in the middle of a line there.
    let first_line = good.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut n_taken = 0;
    for _ in 0..20_000 {
        let mut body = good.clone();
        for _ in 0..=numbers.below(2) {
            let at = first_line + numbers.below(body.len() - first_line);
            match numbers.below(3) {
                0 => drop(body.remove(at)),
                1 => body[at] = u8::try_from(numbers.below(256)).unwrap(),
                _ => body.truncate(at + 1),
            }
        }
        if let Some(ours) = ours(&body, "------------------------0123456789abcdef") {
            n_taken += 1;
            // multer does not support `NAME=`, and gives such a part no name.
            let theirs = theirs(&body, "------------------------0123456789abcdef");
            if let Some(theirs) = theirs.filter(|parts| parts.iter().all(|(name, _)| !name.is_empty())) {
                assert!(ours == theirs, "{}\nours {ours:?}\nmulter {theirs:?}", body.escape_ascii());
            }
        }
    }
    assert!(n_taken > 1000, "only {n_taken} of the broken forms were taken by anybody");
}
