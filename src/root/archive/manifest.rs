//! Whether an archive is undamaged, by its last member: our sum over all bytes before it, or 2.0.0's list of a SHA-256
//! per file. An archive of the ancestor or of tar has none.

use super::member::{Fault, Kind, Member};
use super::read::Reader;
use super::sum::Sha256;
use super::write::{MANIFEST, manifest};
use super::{Failure, say};

const DAMAGED: &str = "The archive is damaged: its content does not match its manifest";

/// Bytes per read.
const BUFFER: usize = 1 << 17;

/// The content so far.
pub struct Check {
    /// A sum over the lines that 2.0.0 would have written.
    lines: Sha256,
    buffer: Vec<u8>,
    is_there: bool,
    /// Whether we have read the content of every file.
    is_complete: bool,
}

impl Check {
    /// Nothing is known yet.
    pub fn new() -> Check {
        Check { lines: Sha256::default(), buffer: vec![0; BUFFER], is_there: false, is_complete: true }
    }

    /// Whether a member is the manifest.
    pub fn is_manifest(member: &Member) -> bool {
        member.name == MANIFEST && member.kind == Kind::File
    }

    /// Reads a file for the manifest of 2.0.0. Ours covers the bytes of the archive, which the reader sums.
    pub fn read(&mut self, member: &Member, archive: &mut Reader<'_>) -> Result<(), Fault> {
        if archive.is_marked() || member.kind != Kind::File {
            return Ok(());
        }
        let mut sum = Sha256::default();
        let mut at = 0;
        let zeros = [0; 4096];
        let fill = |sum: &mut Sha256, at: u64, to: u64| {
            let mut left = to - at;
            while left > 0 {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
                sum.update(&zeros[..n]);
                left -= n as u64;
            }
        };
        while let Some((offset, bytes)) = archive.content(&mut self.buffer)? {
            fill(&mut sum, at, offset);
            sum.update(bytes);
            at = offset + bytes.len() as u64;
        }
        fill(&mut sum, at, member.size);
        let name: Vec<u8> = member.name.iter().map(|byte| if *byte == b'\n' { b'?' } else { *byte }).collect();
        if !name.ends_with(b"/.jidoteki-backup") && !name.ends_with(b" .jidoteki-manifest") {
            self.lines.update(format!("{} {} ", hex::encode(sum.value()), member.size).as_bytes());
            self.lines.update(&name);
            self.lines.update(b"\n");
        }
        Ok(())
    }

    /// Compares the manifest with the content.
    pub fn compare(&mut self, member: &Member, archive: &mut Reader<'_>) -> Result<(), Failure> {
        self.is_there = true;
        let (sum, bytes) = archive.before();
        let mut said = Sha256::default();
        let mut start = Vec::new();
        while let Some((_, bytes)) = archive.content(&mut self.buffer)? {
            said.update(bytes);
            if start.len() < 256 {
                start.extend_from_slice(&bytes[..bytes.len().min(256)]);
            }
        }
        let is_right = if archive.is_marked() {
            start == manifest(sum, bytes).as_bytes() && member.size == start.len() as u64
        } else {
            !self.is_complete || said.value() == self.lines.clone().value()
        };
        if is_right { Ok(()) } else { Err(Failure::new("E1005", DAMAGED)) }
    }

    /// The end of the archive. `is_second`: it was checked before.
    pub fn finish(&mut self, archive: &mut Reader<'_>, is_second: bool) -> Result<(), Failure> {
        if self.is_there && archive.advance()?.is_some() {
            return Err(Failure::new("E1005", DAMAGED));
        }
        if archive.is_marked() && !self.is_there {
            return Err(Fault::Damaged("its manifest is missing").into());
        }
        if !self.is_there && !is_second {
            say("The archive has no manifest: its content is not checked");
        }
        Ok(())
    }

    /// The content is unpacked without reading it here: 2.0.0's list was compared before.
    pub fn without_content(self) -> Check {
        Check { is_complete: false, ..self }
    }
}
