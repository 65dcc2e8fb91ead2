//! Forms: our parser in pieces of every size agrees with itself, and with multer wherever both take a form.

#![no_main]

use futures_util::stream;
use jidoteki_admin_api::http::multipart::{Multipart, MultipartError};
use libfuzzer_sys::fuzz_target;
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Read};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

type Parts = Vec<(String, Vec<u8>)>;

struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.1.min(buffer.len()).min(self.0.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

fn ours(body: &[u8], size: usize) -> Result<Parts, String> {
    let parse = || -> Result<Parts, MultipartError> {
        let mut form = Multipart::new(Pieces(body, size), "XbX");
        let mut parts = Vec::new();
        while let Some(name) = form.next_part()? {
            let mut content = Vec::new();
            while let Some(chunk) = form.chunk()? {
                assert!(!chunk.is_empty());
                content.extend_from_slice(chunk);
            }
            parts.push((name, content));
        }
        form.finish()?;
        Ok(parts)
    };
    parse().map_err(|error| error.to_string())
}

fn theirs(body: &[u8]) -> Option<Parts> {
    let chunks: Vec<Result<Vec<u8>, Infallible>> = vec![Ok(body.to_vec())];
    ready(async move {
        let mut form = multer::Multipart::new(stream::iter(chunks), "XbX");
        let mut parts = Vec::new();
        while let Some(field) = form.next_field().await? {
            // It does not know `NAME=`, and gives such a part no name.
            let name = field.name().unwrap_or_default().to_owned();
            parts.push((name, field.bytes().await?.to_vec()));
        }
        Ok::<Parts, multer::Error>(parts)
    })
    .ok()
}

fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let whole = ours(data, usize::MAX);
    for size in [1, 3, 64] {
        assert_eq!(whole, ours(data, size), "{size} bytes at a time");
    }
    // Only forms that begin with the boundary: multer takes one in the middle of a line there. What follows the final
    // boundary it does not look at. Names that are written in an unusual way it reads in its own.
    let is_usual = data.starts_with(b"--XbX\r\n") && !data.contains(&b'\\') && data.is_ascii();
    if let (Ok(parts), true, Some(theirs)) = (whole, is_usual, theirs(data)) {
        let have_names = theirs.iter().all(|(name, _)| !name.is_empty());
        if have_names && theirs.len() == parts.len() {
            for (own, other) in parts.iter().zip(&theirs) {
                assert_eq!(own.1, other.1, "the content of {}", own.0);
            }
        }
    }
});
