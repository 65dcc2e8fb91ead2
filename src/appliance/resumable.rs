//! Uploads that arrive in pieces and can be resumed. The only place that knows how they are stored.
//!
//! An upload has two names in a private directory below the exchange directory: its bytes are in the file `ID`, and its
//! record is the text of the symbolic link `ID.txt`, which leads nowhere. Only the record says how many bytes count. It is
//! replaced after these bytes were flushed. Bytes beyond them belong to an interrupted piece, and the next piece
//! overwrites them.
//!
//! Why a link: its text cannot be seen in part, and filesystems keep it with the directory, in their journal. A new record
//! needs one write of the journal. A file needs two, and one of its content.

use crate::appliance::{self, Appliance};
use crate::values::clock;
use crate::values::random;
use rustix::fs::{Advice, AtFlags, Dir, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs::{File, TryLockError};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};

/// Maximum bytes of a piece. A flush for each piece costs little of the throughput of a fast line; on a slow line, clients
/// send shorter pieces.
pub const PIECE: u64 = 64 << 20;
/// Seconds for which an upload is kept after its last piece.
pub const LIFETIME: u64 = 24 * 60 * 60;
/// Maximum open uploads per key.
pub const MAX_OPEN_PER_KEY: usize = 2;
/// Maximum open uploads in total.
pub const MAX_OPEN: usize = 8;

/// Their directory, in the exchange directory.
pub const FOLDER: &str = ".resumable";
/// Bytes of an id, which must be impossible to guess.
const ID: usize = 16;
/// How long a request waits for another one that sends the same upload. The other one gives way if it was idle for this
/// time. Otherwise, a lost connection would keep its upload locked for a minute.
const PATIENCE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(20);
/// After this many bytes, the kernel starts writing them to the disk.
const STRETCH: u64 = 1 << 20;
/// Bytes to read at a time for the SHA-256 of an upload.
const BUFFER: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Update,
    Restore,
}

impl Purpose {
    /// Parses the name in requests and records.
    pub fn parse(name: &str) -> Option<Purpose> {
        [Purpose::Update, Purpose::Restore].into_iter().find(|purpose| purpose.name() == name)
    }

    /// The name in requests and records.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Update => "update",
            Purpose::Restore => "restore",
        }
    }
}

/// The record of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub purpose: Purpose,
    /// Bytes of the complete upload.
    pub length: u64,
    /// Bytes received and flushed.
    pub offset: u64,
    /// Whether it is complete and has the expected SHA-256, if that is known.
    pub is_complete: bool,
    /// When it was opened, in seconds since 1970.
    pub started: u64,
    /// The expected SHA-256 in hexadecimal; empty if the client did not send it.
    pub sha256: String,
    /// The identity of the key that opened it (`keys::identity`).
    pub key: String,
    /// Seconds until it expires if no piece arrives; not stored.
    pub left: u64,
}

impl Record {
    fn parse(text: &str) -> Option<Record> {
        let mut words = text.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (length, offset, is_complete, started) = (number()?, number()?, number()? == 1, number()?);
        // No byte beyond the end counts.
        if offset > length {
            return None;
        }
        Some(Record {
            length,
            offset,
            is_complete,
            started,
            purpose: Purpose::parse(words.next()?)?,
            sha256: words.next()?.to_owned(),
            key: words.next()?.to_owned(),
            left: LIFETIME,
        })
    }

    fn to_text(&self) -> String {
        format!(
            "{} {} {} {} {} {} {}",
            self.length,
            self.offset,
            u8::from(self.is_complete),
            self.started,
            self.purpose.name(),
            self.sha256,
            self.key
        )
    }
}

/// Whether this has the form of an upload's id.
pub fn is_id(text: &str) -> bool {
    text.len() == 2 * ID && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The directory of uploads. All work in it uses this descriptor.
pub struct Folder(File);

impl Folder {
    /// Opens the directory; `None` if it does not exist, or if others can use it.
    pub fn open(appliance: &Appliance) -> io::Result<Option<Folder>> {
        match Folder::open_any(appliance) {
            Ok(Some(folder)) if folder.is_ours()? => Ok(Some(folder)),
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the directory, even if it belongs to another user.
    fn open_any(appliance: &Appliance) -> io::Result<Option<Folder>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(appliance.uploads().join(FOLDER), flags, Mode::empty()) {
            Ok(folder) => Ok(Some(Folder(folder.into()))),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the directory, or creates it. Anything that others planted under its name is renamed.
    pub fn make(appliance: &Appliance) -> io::Result<Folder> {
        let path = appliance.uploads().join(FOLDER);
        for _ in 0..2 {
            if let Some(folder) = Folder::open(appliance)? {
                return Ok(folder);
            }
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => appliance::set_aside(&path)?,
                Err(error) => return Err(error.into()),
            }
        }
        Folder::open(appliance)?.ok_or_else(|| io::Error::other("the directory for uploads cannot be created"))
    }

    /// Waits until no other request is opening an upload, so that the second of two simultaneous requests sees the space
    /// reserved for the first.
    pub fn lock_folder(&self) -> io::Result<()> {
        self.0.lock()
    }

    fn is_ours(&self) -> io::Result<bool> {
        let metadata = self.0.metadata()?;
        let is_private = Mode::from_raw_mode(metadata.mode()) & (Mode::RWXG | Mode::RWXO) == Mode::empty();
        Ok(metadata.uid() == rustix::process::geteuid().as_raw() && is_private)
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        appliance::regular(rustix::fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    fn remove(&self, name: &str) {
        // If this fails, the sweep removes the file later.
        let _ = rustix::fs::unlinkat(&self.0, name, AtFlags::empty());
    }

    fn forget(&self, id: &str) {
        self.remove(&record_name(id));
        self.remove(id);
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            names.extend(entry?.file_name().to_str().ok().map(str::to_owned));
        }
        Ok(names)
    }

    /// The record of an upload; `None` if there is no such upload, or if it expired.
    pub fn record(&self, id: &str) -> io::Result<Option<Record>> {
        let name = record_name(id);
        let read = || Ok((self.age(&name)?, rustix::fs::readlinkat(&self.0, &name, Vec::new())?));
        let (age, text) = match read() {
            Ok(found) => found,
            // A file with this name is not a record.
            Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let left = LIFETIME.saturating_sub(age);
        let record = text.to_str().ok().and_then(Record::parse).filter(|_| left > 0);
        Ok(record.map(|record| Record { left, ..record }))
    }

    /// Seconds since a file or link was modified.
    fn age(&self, name: &str) -> rustix::io::Result<u64> {
        let modified = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mtime;
        Ok(clock::now().saturating_sub(u64::try_from(modified).unwrap_or(0)))
    }

    /// All open uploads with their ids, the oldest first.
    pub fn list(&self) -> io::Result<Vec<(String, Record)>> {
        let mut list = Vec::new();
        for name in self.names()? {
            if is_id(&name)
                && let Some(record) = self.record(&name)?
            {
                let at = list.partition_point(|(_, other): &(_, Record)| other.started <= record.started);
                list.insert(at, (name, record));
            }
        }
        Ok(list)
    }

    /// Removes the uploads of all keys except these. One that a request is still sending stays.
    pub fn forget_others(&self, keys: &[String]) -> io::Result<()> {
        for (id, record) in self.list()? {
            if !keys.contains(&record.key) && self.is_free(&id) {
                self.forget(&id);
            }
        }
        Ok(())
    }

    /// Whether no request is sending an upload: that holds the lock of its bytes.
    fn is_free(&self, id: &str) -> bool {
        self.open_file(id, OFlags::RDONLY).is_ok_and(|data| data.try_lock().is_ok())
    }

    /// Opens an upload, and reserves its space if the filesystem can. Returns its id.
    pub fn add(&self, record: &Record) -> io::Result<String> {
        let id = hex::encode(random::bytes::<ID>()?);
        let data = self.open_file(&id, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
        let set_aside = match rustix::fs::fallocate(&data, FallocateFlags::empty(), 0, record.length) {
            // Then `promised` counts the missing space.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            result => result.map_err(io::Error::from),
        };
        set_aside
            .and_then(|()| data.sync_all())
            .and_then(|()| self.keep(&id, record))
            .inspect_err(|_| self.forget(&id))?;
        Ok(id)
    }

    /// Replaces the record of an upload, and flushes it.
    fn keep(&self, id: &str, record: &Record) -> io::Result<()> {
        let (name, beside) = (record_name(id), format!("{id}.new"));
        // An interrupted request may have left one.
        self.remove(&beside);
        rustix::fs::symlinkat(record.to_text(), &self.0, &beside)?;
        rustix::fs::renameat(&self.0, &beside, &self.0, &name)?;
        self.0.sync_all()
    }

    /// Bytes promised to open uploads that are not allocated on the disk yet.
    fn promised(&self) -> io::Result<u64> {
        let mut promised = 0;
        for (id, record) in self.list()? {
            let data = self.open_file(&id, OFlags::RDONLY).and_then(|data| data.metadata());
            // An upload that was removed meanwhile needs no space.
            promised += data.map_or(0, |data| record.length.saturating_sub(data.blocks().saturating_mul(512)));
        }
        Ok(promised)
    }

    /// Locks an upload for this request. `Ok(None)` if there is no such upload; `WouldBlock` if another request is sending
    /// it and does not release it.
    pub fn take(self, id: &str) -> io::Result<Option<Upload>> {
        let data = match self.open_file(id, OFlags::RDWR) {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        self.lock(id, &data)?;
        // Only now: the previous request may have removed it, or added to it.
        let Some(record) = self.record(id)? else { return Ok(None) };
        Ok(Some(Upload { folder: self, id: id.to_owned(), record, data }))
    }

    fn lock(&self, id: &str, data: &File) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let wanted = wanted_name(id);
        let mut is_wanted = false;
        let result = loop {
            match data.try_lock() {
                Ok(()) => break Ok(()),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    // Again and again: an old mark is from a request that was killed while it waited.
                    is_wanted |= self.open_file(&wanted, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC).is_ok();
                    std::thread::sleep(STEP);
                }
                Err(error) => break Err(error.into()),
            }
        };
        if is_wanted {
            self.remove(&wanted);
        }
        result
    }

    /// Removes expired uploads and their leftover files.
    fn sweep(&self) -> io::Result<()> {
        for name in self.names()? {
            let (id, _) = name.split_once('.').unwrap_or((&name, ""));
            if !is_id(id) {
                continue;
            }
            let is_old = self.age(&name).is_ok_and(|age| age >= LIFETIME);
            // The last piece can be empty: then only the record is young.
            if is_old && (name != id || (self.record(id)?.is_none() && self.is_free(id))) {
                self.remove(&name);
            }
        }
        Ok(())
    }
}

/// An upload that this request has locked.
pub struct Upload {
    folder: Folder,
    id: String,
    pub record: Record,
    data: File,
}

impl Upload {
    /// Writes bytes after those that count. They do not count yet.
    pub fn write(&self, behind: u64, bytes: &[u8]) -> io::Result<()> {
        let at = self.record.offset + behind;
        self.data.write_all_at(bytes, at)?;
        let (from, to) = (at / STRETCH, (at + bytes.len() as u64) / STRETCH);
        // Let the kernel write to the disk while the next bytes arrive, so that the flush takes less time.
        if from < to {
            let length = NonZeroU64::new((to - from) * STRETCH);
            // Only a hint: it frees the memory of written pages, and starts writing the others.
            let _ = rustix::fs::fadvise(&self.data, from * STRETCH, length, Advice::DontNeed);
        }
        Ok(())
    }

    /// Counts written bytes. They survive a power failure from now on.
    pub fn count(&mut self, n: u64) -> io::Result<()> {
        self.data.sync_data()?;
        self.record.offset += n;
        self.record.left = LIFETIME;
        self.folder.keep(&self.id, &self.record)
    }

    /// Compares the SHA-256 of the upload with the expected one, if that is known, and marks the upload as complete. If
    /// they differ, removes the upload and returns `false`.
    pub fn complete(&mut self) -> io::Result<bool> {
        if !self.record.sha256.is_empty() && self.sha256()? != self.record.sha256 {
            self.folder.forget(&self.id);
            return Ok(false);
        }
        self.record.is_complete = true;
        self.folder.keep(&self.id, &self.record)?;
        Ok(true)
    }

    /// The SHA-256 of the bytes on the disk.
    fn sha256(&self) -> io::Result<String> {
        let (mut digest, mut buffer, mut at) = (Sha256::new(), vec![0; BUFFER], 0);
        while at < self.record.length {
            match self.data.read_at(&mut buffer, at)? {
                0 => break,
                n => {
                    digest.update(&buffer[..n]);
                    at += n as u64;
                }
            }
        }
        Ok(hex::encode(digest.finalize()))
    }

    /// Whether another request is waiting for this upload.
    pub fn is_wanted(&self) -> bool {
        self.folder.age(&wanted_name(&self.id)).is_ok_and(|age| age <= PATIENCE.as_secs())
    }

    pub fn forget(self) {
        self.folder.forget(&self.id);
    }

    /// Moves its bytes to a name in the exchange directory, and replaces an existing file.
    pub fn place(&self, place: &std::path::Path) -> io::Result<()> {
        appliance::remove_or_set_aside(place)?;
        Ok(rustix::fs::renameat(&self.folder.0, &self.id, rustix::fs::CWD, place)?)
    }

    /// Moves its bytes back, because no job used them.
    pub fn reclaim(&self, place: &std::path::Path) -> io::Result<()> {
        Ok(rustix::fs::renameat(rustix::fs::CWD, place, &self.folder.0, &self.id)?)
    }
}

/// Free bytes in the exchange directory that are not reserved; `None` if unknown.
pub fn free_bytes(appliance: &Appliance) -> Option<u64> {
    let free = appliance::free_bytes(&appliance.uploads())?;
    let promised = Folder::open(appliance).and_then(|folder| folder.map_or(Ok(0), |folder| folder.promised()));
    // If the list cannot be read, nothing is reserved.
    Some(free.saturating_sub(promised.unwrap_or(0)))
}

/// Removes expired uploads.
pub fn sweep(appliance: &Appliance) -> io::Result<()> {
    Folder::open_any(appliance)?.map_or(Ok(()), |folder| folder.sweep())
}

fn record_name(id: &str) -> String {
    format!("{id}.txt")
}

fn wanted_name(id: &str) -> String {
    format!("{id}.wanted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_written() {
        let record = Record {
            purpose: Purpose::Restore,
            length: u64::MAX,
            offset: 8 << 20,
            is_complete: true,
            started: 1_764_169_200,
            sha256: String::new(),
            key: "ops".to_owned(),
            left: LIFETIME,
        };
        assert_eq!(Record::parse(&record.to_text()), Some(record));
    }
}
