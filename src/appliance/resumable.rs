//! Uploads that come in pieces and continue after a cut. The only place that knows what is kept of them.
//!
//! An upload is two files in a private folder of the exchange directory: its bytes, under its id, and a record of one line,
//! `ID.txt`. The record alone says how many bytes count. It is replaced after these bytes were flushed, so whatever lies
//! beyond them is the rest of a piece that was cut off, and the next piece overwrites it.

use crate::appliance::{self, Appliance};
use crate::values::clock;
use crate::values::random;
use rustix::fs::{Advice, AtFlags, Dir, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};

/// Bytes of the largest piece.
pub const PIECE: u64 = 8 << 20;
/// Seconds after its last piece for which an upload is kept.
pub const LIFETIME: u64 = 24 * 60 * 60;
/// Uploads of one key that may be open.
pub const MOST_OF_A_KEY: usize = 2;
/// Uploads that may be open in all.
pub const MOST: usize = 8;

const FOLDER: &str = ".resumable";
/// Bytes of an id: nobody guesses it.
const ID: usize = 16;
/// Bytes of a record, at most.
const MAX_RECORD: u64 = 512;
/// How long a request waits for another one that sends the same upload, and for which time that one must have been idle to
/// give way. A line that dies without a word would keep its upload locked for a minute otherwise.
const PATIENCE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(20);
/// Bytes after which the kernel is told to write.
const STRETCH: u64 = 1 << 20;
/// Bytes that are read at once when an upload is summed up.
const BUFFER: usize = 64 << 10;

/// What an upload is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A software update.
    Update,
    /// A backup to restore.
    Restore,
}

impl Purpose {
    /// Finds one by its word.
    pub fn parse(word: &str) -> Option<Purpose> {
        [Purpose::Update, Purpose::Restore].into_iter().find(|purpose| purpose.word() == word)
    }

    /// Its word in requests and records.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Update => "update",
            Purpose::Restore => "restore",
        }
    }
}

/// What is known of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is for.
    pub purpose: Purpose,
    /// Bytes that it will have.
    pub length: u64,
    /// Bytes that are received and flushed.
    pub offset: u64,
    /// Whether it is whole, and was compared with its SHA-256 if that is known.
    pub is_complete: bool,
    /// When it was opened, in seconds since 1970.
    pub started: u64,
    /// The SHA-256 of the whole in hexadecimal; empty if it is not known.
    pub sha256: String,
    /// The name of the key that opened it.
    pub key: String,
    /// Seconds for which it is kept if no further piece comes; not written down.
    pub left: u64,
}

impl Record {
    fn parse(text: &str) -> Option<Record> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (length, offset, is_complete, started) = (number()?, number()?, number()? == 1, number()?);
        // Whatever else it says, no byte beyond the end counts.
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

    fn to_line(&self) -> String {
        format!(
            "{} {} {} {} {} {} {}\n",
            self.length,
            self.offset,
            u8::from(self.is_complete),
            self.started,
            self.purpose.word(),
            self.sha256,
            self.key
        )
    }
}

/// Whether this can be the id of an upload.
pub fn is_id(text: &str) -> bool {
    text.len() == 2 * ID && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The folder in which uploads lie. Whatever is done in it is done by this descriptor.
pub struct Folder(File);

impl Folder {
    /// Opens the folder; `None` if there is none. One that is not ours alone is none.
    pub fn open(appliance: &Appliance) -> io::Result<Option<Folder>> {
        match Folder::open_any(appliance) {
            Ok(Some(folder)) if folder.is_ours()? => Ok(Some(folder)),
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the folder, even if it belongs to another user.
    fn open_any(appliance: &Appliance) -> io::Result<Option<Folder>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(appliance.uploads().join(FOLDER), flags, Mode::empty()) {
            Ok(folder) => Ok(Some(Folder(folder.into()))),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the folder, and makes it if there is none. What others planted at its name is put aside.
    pub fn make(appliance: &Appliance) -> io::Result<Folder> {
        let path = appliance.uploads().join(FOLDER);
        for _ in 0..2 {
            if let Some(folder) = Folder::open(appliance)? {
                return Ok(folder);
            }
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => appliance::put_aside(&path)?,
                Err(error) => return Err(error.into()),
            }
        }
        Folder::open(appliance)?.ok_or_else(|| io::Error::other("the folder for uploads cannot be made"))
    }

    /// Waits until no other request opens an upload: of two that come at once, the second sees what the first was
    /// promised.
    pub fn wait_for_turn(&self) -> io::Result<()> {
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
        // What is left is removed when its time is over.
        let _ = rustix::fs::unlinkat(&self.0, name, AtFlags::empty());
    }

    /// Removes an upload.
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

    /// What is known of an upload; `None` if there is no such upload, or if its time is over.
    pub fn record(&self, id: &str) -> io::Result<Option<Record>> {
        let mut file = match self.open_file(&record_name(id), OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let left = LIFETIME.saturating_sub(age(&file)?);
        let mut text = String::new();
        (&mut file).take(MAX_RECORD).read_to_string(&mut text)?;
        Ok(Record::parse(&text).filter(|_| left > 0).map(|record| Record { left, ..record }))
    }

    /// Every upload that is open, by its id, the oldest first.
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

    /// Opens an upload, and sets its room aside if the file system can. Returns its id.
    pub fn add(&self, record: &Record) -> io::Result<String> {
        let id = hex::encode(random::bytes::<ID>()?);
        let data = self.open_file(&id, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
        let set_aside = match rustix::fs::fallocate(&data, FallocateFlags::empty(), 0, record.length) {
            // Then what was promised is counted.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            result => result.map_err(io::Error::from),
        };
        set_aside
            .and_then(|()| data.sync_all())
            .and_then(|()| self.keep(&id, record))
            .inspect_err(|_| self.forget(&id))?;
        Ok(id)
    }

    /// Replaces the record of an upload, and brings it to the disk.
    fn keep(&self, id: &str, record: &Record) -> io::Result<()> {
        let (name, beside) = (record_name(id), format!("{id}.new"));
        let mut file = self.open_file(&beside, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
        file.write_all(record.to_line().as_bytes())?;
        file.sync_data()?;
        rustix::fs::renameat(&self.0, &beside, &self.0, &name)?;
        self.0.sync_all()
    }

    /// Bytes that open uploads were promised, and that no file has yet.
    fn promised(&self) -> io::Result<u64> {
        let mut promised = 0;
        for (id, record) in self.list()? {
            let data = self.open_file(&id, OFlags::RDONLY).and_then(|data| data.metadata());
            // One that is gone by now was promised nothing.
            promised += data.map_or(0, |data| record.length.saturating_sub(data.blocks().saturating_mul(512)));
        }
        Ok(promised)
    }

    /// Takes an upload for this request alone. `Ok(None)` if there is no such upload; `WouldBlock` if another request
    /// sends it and does not give way.
    pub fn take(self, id: &str) -> io::Result<Option<Upload>> {
        let data = match self.open_file(id, OFlags::RDWR) {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        self.lock(id, &data)?;
        // Only now: the request before may have taken it away, or added to it.
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
                    if !is_wanted {
                        is_wanted = self.open_file(&wanted, OFlags::WRONLY | OFlags::CREATE).is_ok();
                    }
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

    /// Removes what nobody finished, and what lies here without being an upload.
    fn sweep(&self) -> io::Result<()> {
        for name in self.names()? {
            let (id, _) = name.split_once('.').unwrap_or((&name, ""));
            if !is_id(id) {
                continue;
            }
            // A request that is still at it holds the lock, and writes.
            let is_left = self
                .open_file(&name, OFlags::RDONLY)
                .and_then(|file| Ok(age(&file)? >= LIFETIME && file.try_lock().is_ok()))
                .unwrap_or(false);
            if is_left {
                self.remove(&name);
            }
        }
        Ok(())
    }
}

/// An upload that this request has taken, with its lock.
pub struct Upload {
    folder: Folder,
    id: String,
    /// What is known of it.
    pub record: Record,
    data: File,
}

impl Upload {
    /// Writes bytes that do not count yet, behind those that do.
    pub fn write(&self, behind: u64, bytes: &[u8]) -> io::Result<()> {
        let at = self.record.offset + behind;
        self.data.write_all_at(bytes, at)?;
        let (from, to) = (at / STRETCH, (at + bytes.len() as u64) / STRETCH);
        // The kernel writes to the disk while the next bytes arrive, so that the flush has less to wait for.
        if from < to {
            let length = NonZeroU64::new((to - from) * STRETCH);
            // Only a hint: it drops from memory what is on the disk, and begins to write the rest.
            let _ = rustix::fs::fadvise(&self.data, from * STRETCH, length, Advice::DontNeed);
        }
        Ok(())
    }

    /// Counts bytes that were written. From here on no power cut takes them away.
    pub fn count(&mut self, n: u64) -> io::Result<()> {
        self.data.sync_data()?;
        self.record.offset += n;
        self.record.left = LIFETIME;
        self.folder.keep(&self.id, &self.record)
    }

    /// Compares the whole with its SHA-256, if that is known, and marks it as complete. Returns whether it is the one that
    /// was promised; another one is removed.
    pub fn complete(&mut self) -> io::Result<bool> {
        if !self.record.sha256.is_empty() && self.sha256()? != self.record.sha256 {
            self.folder.forget(&self.id);
            return Ok(false);
        }
        self.record.is_complete = true;
        self.folder.keep(&self.id, &self.record)?;
        Ok(true)
    }

    /// The SHA-256 of what is on the disk.
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

    /// Whether another request waits for this one to give way.
    pub fn is_wanted(&self) -> bool {
        rustix::fs::statat(&self.folder.0, wanted_name(&self.id), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Removes it.
    pub fn forget(self) {
        self.folder.forget(&self.id);
    }

    /// Gives its bytes a name in the exchange directory, in place of what is there.
    pub fn place(&self, place: &std::path::Path) -> io::Result<()> {
        appliance::make_way(place)?;
        Ok(rustix::fs::renameat(&self.folder.0, &self.id, rustix::fs::CWD, place)?)
    }

    /// Takes its bytes back: nobody used them.
    pub fn take_back(&self, place: &std::path::Path) -> io::Result<()> {
        Ok(rustix::fs::renameat(rustix::fs::CWD, place, &self.folder.0, &self.id)?)
    }
}

/// Bytes that are free for something new in the exchange directory; `None` if nobody knows.
pub fn free_bytes(appliance: &Appliance) -> Option<u64> {
    let free = appliance::free_bytes(&appliance.uploads())?;
    let promised = Folder::open(appliance).and_then(|folder| folder.map_or(Ok(0), |folder| folder.promised()));
    // Without the list there is nothing to hold back.
    Some(free.saturating_sub(promised.unwrap_or(0)))
}

/// Removes uploads that nobody finished.
pub fn sweep(appliance: &Appliance) -> io::Result<()> {
    Folder::open_any(appliance)?.map_or(Ok(()), |folder| folder.sweep())
}

/// Seconds since a file was changed.
fn age(file: &File) -> io::Result<u64> {
    let modified = u64::try_from(file.metadata()?.mtime()).unwrap_or(0);
    Ok(clock::now().saturating_sub(modified))
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
    fn a_record_is_read_as_written_and_half_a_record_is_ignored() {
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
        let line = record.to_line();
        assert_eq!(Record::parse(&line), Some(record));
        for end in 0..line.len() {
            assert_eq!(Record::parse(&line[..end]), None, "{:?}", &line[..end]);
        }
    }
}
