//! What the file of a lock says of the job that has it, or had it last: a line when it starts, and a line when it ends.
//!
//! A job of ours writes its own end, through the lock that is its standard input. One of the ancestor's knows nothing of
//! this, and then the end is concluded from what it left (`history.rs`).

use crate::random;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes that both lines may have.
const MAX_BYTES: usize = 4 << 10;

/// How a job began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// 16 hexadecimal digits.
    pub id: String,
    /// The argument of its script; empty for none.
    pub argument: String,
    /// The name of the key that asked for it.
    pub key: String,
    /// Nanoseconds since 1970.
    pub started: u64,
    /// What tells the same request sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

/// A request that must not be carried out twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// SHA-256 of the caller's key, the target and the value of `Idempotency-Key`, in hexadecimal.
    pub key: String,
    /// SHA-256 of the form, in hexadecimal.
    pub body: String,
}

/// How a job ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Seconds since 1970.
    pub ended: u64,
    /// The code of its failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Record {
    /// A record of a job that starts now.
    pub fn new(argument: &str, key: &str, idempotency: Option<Idempotency>) -> io::Result<Record> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let id = hex::encode(random::bytes::<8>()?);
        Ok(Record { id, argument: argument.to_owned(), key: key.to_owned(), started, idempotency })
    }

    /// When the job began.
    pub fn started_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.started)
    }

    /// Makes this the only line of the file. It is on the disk when this returns: after a power cut the job is known to
    /// have been cut off.
    pub fn write(&self, mut file: &File) -> io::Result<()> {
        clear(file)?;
        file.write_all(line(self)?.as_bytes())?;
        file.sync_data()
    }
}

impl Ending {
    /// Adds the line of the end, for a job that has not done so itself.
    pub fn write(&self, mut file: &File) -> io::Result<()> {
        file.seek(io::SeekFrom::End(0))?;
        file.write_all(line(self)?.as_bytes())?;
        file.sync_data()
    }
}

/// Empties the file: nothing is known of the job that is prepared now.
pub fn clear(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()
}

/// What the file says; `None` where no job of ours began.
pub fn read(file: &File) -> Option<(Record, Option<Ending>)> {
    let mut bytes = vec![0; MAX_BYTES];
    let n = file.read_at(&mut bytes, 0).ok()?;
    let mut lines = bytes[..n].split(|byte| *byte == b'\n');
    let record = serde_json::from_slice(lines.next()?).ok()?;
    Some((record, lines.find_map(|line| serde_json::from_slice(line).ok())))
}

fn line(value: &impl Serialize) -> io::Result<String> {
    serde_json::to_string(value).map(|text| text + "\n").map_err(io::Error::other)
}
