//! The executable's record of the latest job of each kind: a line at its start, and a line at its end if the client
//! waited. For other jobs, the end is derived from their files (`history.rs`).

use crate::appliance::{self, Appliance};
use crate::jobs::Row;
use crate::values::random;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The start of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// 16 hexadecimal digits.
    pub id: String,
    /// The argument of its script; empty for none.
    pub argument: String,
    /// The name of the key that requested it.
    pub key: String,
    /// Nanoseconds since 1970.
    pub started: u64,
    /// Identifies a repeated request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

/// A request that must not run twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// SHA-256 of the caller's key, the target and the value of `Idempotency-Key`, in hexadecimal.
    pub key: String,
    /// SHA-256 of the form, in hexadecimal.
    pub body: String,
}

/// The end of a job.
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

    /// The start of the job.
    pub fn started_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.started)
    }

    /// Stores this as the record of its kind. It is on disk when this returns, so that a power cut shows as an
    /// interrupted job.
    pub fn write(&self, appliance: &Appliance, row: &Row) -> io::Result<()> {
        put(appliance, row, &line(self)?)
    }
}

impl Ending {
    /// Adds the end of the job.
    pub fn write(&self, appliance: &Appliance, row: &Row) -> io::Result<()> {
        match read(appliance, row) {
            Some((record, _)) => put(appliance, row, &(line(&record)? + &line(self)?)),
            None => Ok(()),
        }
    }
}

/// Removes the record, before the next job.
pub fn clear(appliance: &Appliance, row: &Row) -> io::Result<()> {
    match std::fs::remove_file(path(appliance, row)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The record, and the end of the job; `None` for an unknown one.
pub fn read(appliance: &Appliance, row: &Row) -> Option<(Record, Option<Ending>)> {
    let content = appliance::read(&path(appliance, row)).ok()?;
    let mut lines = content.split(|byte| *byte == b'\n');
    let record = serde_json::from_slice(lines.next()?).ok()?;
    Some((record, lines.find_map(|line| serde_json::from_slice(line).ok())))
}

fn path(appliance: &Appliance, row: &Row) -> PathBuf {
    appliance.state_file(&format!("job{}", row.lock.trim_end_matches(".lock")))
}

fn put(appliance: &Appliance, row: &Row, text: &str) -> io::Result<()> {
    match appliance::replace(&path(appliance, row), text.as_bytes(), 0o600) {
        // An image without that directory stores nothing, and starts its jobs all the same.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn line(value: &impl Serialize) -> io::Result<String> {
    serde_json::to_string(value).map(|text| text + "\n").map_err(io::Error::other)
}
