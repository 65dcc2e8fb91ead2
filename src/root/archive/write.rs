//! Writes members as a tar archive (POSIX.1-2001, which every tar reads), with a running sum.

use super::member::{BLOCK, Fault, Kind, Member};
use super::read::MARK;
use super::sum::{Sha256, Sum};
use std::io::Write;
use tar::{EntryType, Header};

/// Bytes per write.
const BUFFER: usize = 1 << 17;

/// Largest number in each header field that every program can read.
const MAX_ID: u32 = 0o777_7777;
const MAX_SIZE: u64 = 0o777_7777_7777;

const ZEROS: [u8; 4096] = [0; 4096];

/// The archive's last member, which shows that the backup is complete.
pub const MANIFEST: &[u8] = b".jidoteki-manifest";

/// An archive that is being written.
pub struct Writer<W> {
    out: W,
    buffer: Vec<u8>,
    sum: Sum,
    whole: Sha256,
    position: u64,
}

impl<W: Write> Writer<W> {
    /// Starts an archive with our mark.
    pub fn new(out: W) -> Result<Writer<W>, Fault> {
        let buffer = Vec::with_capacity(BUFFER);
        let mut writer = Writer { out, buffer, sum: Sum::new(), whole: Sha256::default(), position: 0 };
        writer.extended(EntryType::XGlobalHeader, &record(b"comment", MARK))?;
        Ok(writer)
    }

    /// Writes the head of a member. Pass its data to `data`, all pieces in order, then call `end`.
    pub fn member(&mut self, member: &Member) -> Result<(), Fault> {
        let mut records = Vec::new();
        let mut header = Header::new_ustar();
        let (kind, mut stored) = match member.kind {
            Kind::File => (EntryType::Regular, member.data()),
            Kind::Directory => (EntryType::Directory, 0),
            Kind::Symlink => (EntryType::Symlink, 0),
            Kind::HardLink => (EntryType::Link, 0),
            Kind::Pipe | Kind::Other => {
                return Err(Fault::Refused("not a kind of file that backups contain", member.name.clone()));
            }
        };
        let mut map = Vec::new();
        if stored != member.size {
            map.extend(format!("{}\n", member.pieces.len()).into_bytes());
            for (offset, length) in &member.pieces {
                map.extend(format!("{offset}\n{length}\n").into_bytes());
            }
            map.resize(map.len().next_multiple_of(512), 0);
            stored += map.len() as u64;
            records.extend(record(b"GNU.sparse.major", b"1"));
            records.extend(record(b"GNU.sparse.minor", b"0"));
            records.extend(record(b"GNU.sparse.name", &member.name));
            records.extend(record(b"GNU.sparse.realsize", member.size.to_string().as_bytes()));
        }
        let bytes = header.as_mut_bytes();
        put(&mut bytes[..100], &member.name, b"path", &mut records);
        put(&mut bytes[157..257], &member.target, b"linkpath", &mut records);
        header.set_entry_type(kind);
        header.set_mode(member.mode);
        header.set_uid(u64::from(member.uid.min(MAX_ID)));
        header.set_gid(u64::from(member.gid.min(MAX_ID)));
        for (key, id) in [(b"uid", member.uid), (b"gid", member.gid)] {
            if id > MAX_ID {
                records.extend(record(key, id.to_string().as_bytes()));
            }
        }
        header.set_size(stored);
        if stored > MAX_SIZE {
            records.extend(record(b"size", stored.to_string().as_bytes()));
        }
        header.set_mtime(u64::try_from(member.seconds).unwrap_or(0).min(MAX_SIZE));
        if member.nanoseconds != 0 || member.seconds < 0 || member.seconds.cast_unsigned() > MAX_SIZE {
            records.extend(record(b"mtime", time(member.seconds, member.nanoseconds).as_bytes()));
        }
        for (name, value) in &member.attributes {
            records.extend(record(&[b"SCHILY.xattr.", &name[..]].concat(), value));
        }
        if !records.is_empty() {
            self.extended(EntryType::XHeader, &records)?;
        }
        header.set_cksum();
        self.data(header.as_bytes())?;
        self.data(&map)
    }

    /// Data of the current member.
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.position += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            self.sum.update(bytes);
            self.whole.update(bytes);
            self.out.write_all(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// This many zeros, instead of data that is gone.
    pub fn zeros(&mut self, mut n: u64) -> Result<(), Fault> {
        while n > 0 {
            let piece = usize::try_from(n).unwrap_or(usize::MAX).min(ZEROS.len());
            self.data(&ZEROS[..piece])?;
            n -= piece as u64;
        }
        Ok(())
    }

    /// Ends the current member.
    pub fn end(&mut self) -> Result<(), Fault> {
        self.zeros(self.position.next_multiple_of(BLOCK) - self.position)
    }

    /// Adds the manifest and the end of the archive. Returns the size and SHA-256 of the archive.
    pub fn finish(mut self) -> Result<(u64, [u8; 32]), Fault> {
        self.flush()?;
        let manifest = manifest(self.sum.value(), self.position);
        let mut header = Header::new_ustar();
        put(&mut header.as_mut_bytes()[..100], MANIFEST, b"path", &mut Vec::new());
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(manifest.len() as u64);
        header.set_cksum();
        self.data(header.as_bytes())?;
        self.data(manifest.as_bytes())?;
        self.end()?;
        self.zeros(2 * BLOCK)?;
        self.flush()?;
        Ok((self.position, self.whole.value()))
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.sum.update(&self.buffer);
        self.whole.update(&self.buffer);
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn extended(&mut self, kind: EntryType, records: &[u8]) -> Result<(), Fault> {
        let mut header = Header::new_ustar();
        put(&mut header.as_mut_bytes()[..100], b"./PaxHeaders", b"path", &mut Vec::new());
        header.set_entry_type(kind);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(records.len() as u64);
        header.set_cksum();
        self.data(header.as_bytes())?;
        self.data(records)?;
        self.end()
    }
}

/// The manifest of the archive before it.
pub fn manifest(sum: u64, bytes: u64) -> String {
    format!("jidoteki-admin-api backup 2\nbytes {bytes}\nxxh64 {sum:016x}\n")
}

/// Writes a text to its field, or to a record if it is longer.
fn put(field: &mut [u8], text: &[u8], key: &[u8], records: &mut Vec<u8>) {
    let n = text.len().min(field.len());
    field[..n].copy_from_slice(&text[..n]);
    if n < text.len() {
        records.extend(record(key, text));
    }
}

fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    // The length includes its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn time(seconds: i64, nanoseconds: u32) -> String {
    match (seconds < 0, nanoseconds) {
        (_, 0) => seconds.to_string(),
        (false, n) => format!("{seconds}.{n:09}"),
        (true, n) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - n),
    }
}
