//! Forms as clients send them, and our parser held against another one.

use futures_util::stream;
use jidoteki_admin_api::multipart::{Multipart, MultipartError};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The type and the body of a form, as curl makes them.
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

/// Runs a future whose input is all there.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

/// A small generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// Bytes put together from pieces that come close to a boundary.
fn treacherous(numbers: &mut Numbers) -> Vec<u8> {
    const PIECES: [&[u8]; 10] =
        [b"\r\n", b"\r", b"\n", b"--", b"-", b"\r\n--Bo", b"--Bound", b"\r\n--BounD--", b"a", &[b'y'; 997]];
    let n_pieces = numbers.below(40);
    (0..n_pieces).flat_map(|_| PIECES[numbers.below(PIECES.len())]).copied().collect()
}

#[test]
fn our_parser_reads_good_forms_as_multer_does() {
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
        // What begins a line with the boundary by chance is told from it by what follows; multer refuses the form then.
        if !parts.iter().any(|(_, content)| content.windows(9).any(|window| window == b"\r\n--Bound")) {
            n_plain += 1;
            assert!(theirs(&body, "Bound").as_ref() == Some(&parts), "multer: {}", body.escape_ascii());
            assert!(ours(&body, "Bound") == Some(parts), "ours: {}", body.escape_ascii());
        }
    }
    assert!(n_plain > 1000, "only {n_plain} forms were compared");
}

#[test]
fn what_our_parser_takes_of_a_broken_form_multer_takes_alike() {
    let mut numbers = Numbers(11);
    let (_, good) = encode(&[("a", "some\r\ncontent"), ("b", "")]);
    // Where the form begins is another matter: multer takes a boundary in the middle of a line there.
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
            // Multer does not know `NAME=`, and gives such a part no name.
            let theirs = theirs(&body, "------------------------0123456789abcdef");
            if let Some(theirs) = theirs.filter(|parts| parts.iter().all(|(name, _)| !name.is_empty())) {
                assert!(ours == theirs, "{}\nours {ours:?}\nmulter {theirs:?}", body.escape_ascii());
            }
        }
    }
    assert!(n_taken > 1000, "only {n_taken} of the broken forms were taken by anybody");
}
