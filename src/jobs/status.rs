//! Reads the status files of jobs, corrected by their locks: a status of `running` without a running job is a job that
//! died.

use crate::appliance::{self, Appliance};
use crate::jobs::Job;
use crate::jobs::job;
use crate::values::clock;
use crate::values::json::{self, Object, quote};
use crate::values::storage;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The longest deadline for a confirmation.
const MAX_CONFIRM: u64 = 3600;
/// Log lines in a response.
const TAIL_LINES: usize = 10;
/// Bytes at the end of a log to read first, enough for ten usual lines.
const TAIL_BYTES: u64 = 4 << 10;
/// Maximum bytes at the end of a log to read, so that its size and the length of its lines do not matter: 1 MiB.
const MAX_TAIL_BYTES: u64 = 1 << 20;

/// The status of a job, from its files and its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// `running`, `success`, `failed`, the text of another job script, or nothing if none ran.
    pub text: Option<String>,
    /// Other members of its status file, as JSON: `percentage`, and any that a job adds.
    pub members: Vec<(String, String)>,
    /// Whether the two agree.
    pub phase: Phase,
}

/// Whether the status file agrees with the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// They agree.
    Consistent,
    /// A job just started and has not written its status; the files are from the previous job.
    Starting,
    /// The file says `running`, but no job is running: it died.
    Interrupted,
}

impl JobStatus {
    /// Reads the status of a job from the first of two files: one with JSON, one with plain text.
    pub fn read(appliance: &Appliance, job: Job, json_file: Option<&str>, text_file: &str) -> JobStatus {
        let read = || StatusFile::read(appliance, json_file, text_file);
        let said = read();
        let phase = phase(appliance, job, said.at, said.is_running(), || read().is_running());
        let (text, members) = match phase {
            // It ended between the two checks: use its last status.
            Phase::Consistent if said.is_running() => {
                let said = read();
                (said.text, said.members)
            }
            Phase::Consistent => (said.text, said.members),
            Phase::Interrupted => (Some("failed".to_owned()), said.members),
            Phase::Starting => {
                let percentage = json_file.map(|_| ("percentage".to_owned(), "0".to_owned()));
                (Some("running".to_owned()), percentage.into_iter().collect())
            }
        };
        JobStatus { text, members, phase }
    }
}

/// For a status file that is a response body: whether it agrees with the lock.
pub fn phase_of_file(appliance: &Appliance, job: Job, path: &Path, says_running: impl Fn() -> bool) -> Phase {
    let at = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    phase(appliance, job, at, says_running(), says_running)
}

/// `at` is when the files were written; `again` rereads whether they say `running`.
fn phase(appliance: &Appliance, job: Job, at: Option<SystemTime>, is_running: bool, again: impl Fn() -> bool) -> Phase {
    // File times are coarser than the clock of a start: allow one tick.
    let is_older = |started| at.is_none_or(|at| at + Duration::from_millis(10) < started);
    if job::status_since(appliance, job).is_some_and(is_older) {
        return Phase::Starting;
    }
    // Check again: a job that ended after the first check has written its last status.
    if is_running && !job::is_running(appliance, job) && again() { Phase::Interrupted } else { Phase::Consistent }
}

/// The content of a job's status file: the one with JSON if there is one, otherwise the one with plain text.
struct StatusFile {
    text: Option<String>,
    members: Vec<(String, String)>,
    /// When they were written; `None` if they are empty.
    at: Option<SystemTime>,
}

impl StatusFile {
    fn read(appliance: &Appliance, json_file: Option<&str>, text_file: &str) -> StatusFile {
        let modified = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let json_file = json_file.map(|name| appliance.etc_file(name));
        if let Some(path) = json_file
            && let Some(object) = read_object(&path)
        {
            let text = object.get("status").and_then(|raw| serde_json::from_slice(raw.get().as_bytes()).ok());
            let others = object.members().filter(|(name, _)| *name != "status");
            let members = others.map(|(name, value)| (name.to_owned(), json::compact(value.get()))).collect();
            return StatusFile { text, members, at: modified(&path) };
        }
        let path = appliance.etc_file(text_file);
        StatusFile { text: appliance.trimmed_text(&path), members: Vec::new(), at: modified(&path) }
    }

    fn is_running(&self) -> bool {
        self.text.as_deref() == Some("running")
    }
}

/// Seconds until an unconfirmed change is rolled back; `None` if none is pending. The deadline is in kernel uptime,
/// because a network change can set the clock. If the file has another boot id, this process may be confined in a
/// container where the job sees another uptime; then the clock decides. A boot removes old files before anybody can
/// ask. `Err` if a file cannot be read: then a change may be pending.
pub fn pending(appliance: &Appliance, file: &str) -> io::Result<Option<u64>> {
    let path = appliance.etc_file(file);
    match appliance::read(&path) {
        Ok(content) => Ok(seconds_left(&String::from_utf8_lossy(&content))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(appliance::about(&path, error.kind(), error)),
    }
}

fn seconds_left(text: &str) -> Option<u64> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let seconds = |key: &str| value(key)?.parse::<u64>().ok();
    let left = match clock::boot() {
        Some((boot_id, now)) if value("boot_id") == Some(boot_id.as_str()) => seconds("deadline")?.checked_sub(now)?,
        _ => seconds("until")?.checked_sub(clock::now()).filter(|left| *left <= MAX_CONFIRM)?,
    };
    (left > 0).then_some(left)
}

/// The same until the change is settled: with no seconds left while it is being rolled back. The job removes the file
/// when the previous state is restored.
pub fn unsettled(appliance: &Appliance, file: &str) -> Option<u64> {
    let left = pending(appliance, file).unwrap_or_else(|error| {
        log::error!("cannot tell whether a change is pending: {error}");
        None
    });
    left.or_else(|| appliance.etc_file(file).exists().then_some(0))
}

/// The end of a log: its last ten lines joined by newlines, without a final one; `None` if there is no log.
pub fn tail(path: &Path) -> Option<String> {
    let mut file = appliance::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut n_bytes = TAIL_BYTES;
    loop {
        let bytes = last_bytes(&mut file, length, n_bytes).ok().filter(|bytes| !bytes.is_empty())?;
        let (text, is_enough) = last_lines(&bytes);
        if is_enough || n_bytes >= length.min(MAX_TAIL_BYTES) {
            return Some(text);
        }
        n_bytes *= 16;
    }
}

/// The last ten lines of a text, without a final newline, and whether there were more.
pub fn last_lines(text: &[u8]) -> (String, bool) {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let newlines = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let start = newlines.map(|(at, _)| at + 1).nth(TAIL_LINES - 1);
    (String::from_utf8_lossy(&text[start.unwrap_or(0)..]).into_owned(), start.is_some())
}

fn last_bytes(file: &mut File, length: u64, n_bytes: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(length.saturating_sub(n_bytes)))?;
    // Only the measured length: a job may be writing.
    let n_bytes = n_bytes.min(length);
    let mut bytes = Vec::with_capacity(usize::try_from(n_bytes).unwrap_or(0));
    file.take(n_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A text as JSON; `null` if there is none.
pub fn or_null(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), quote)
}

/// A file with one JSON object.
pub fn read_object(path: &Path) -> Option<Object> {
    let text = read_text(path)?;
    Object::parse(&text).inspect_err(|error| log::warn!("{}: {error}", path.display())).ok()
}

/// The storage types that this appliance offers.
pub fn storage_options(appliance: &Appliance) -> Vec<String> {
    storage::options(read_object(&appliance.storage_options_file()).as_ref())
}

/// A file with one JSON value, unchanged.
pub fn read_json(path: &Path) -> Option<String> {
    let text = read_text(path)?;
    if json::is_valid(&text) {
        return Some(text);
    }
    log::error!("{} is not valid JSON", path.display());
    None
}

/// The text of a file; `None` if it is missing or empty.
fn read_text(path: &Path) -> Option<String> {
    let content = match appliance::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            log::error!("cannot read {}: {error}", path.display());
            return None;
        }
    };
    let text = String::from_utf8(content).inspect_err(|_| log::error!("{} is not UTF-8", path.display())).ok()?;
    (!text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_ten_lines_however_long_they_are() {
        let path = std::env::temp_dir().join(format!("tail-{}.log", std::process::id()));
        let long = "x".repeat(7000);
        for (content, wanted) in [
            (String::new(), None),
            ("\n".to_owned(), Some(String::new())),
            ("a\nb".to_owned(), Some("a\nb".to_owned())),
            ("a\n\n\n".to_owned(), Some("a\n\n".to_owned())),
            ("y\n".repeat(100_000), Some(["y"; 10].join("\n"))),
            (format!("{long}\n").repeat(11), Some([long.as_str(); 10].join("\n"))),
            ("z".repeat(3 << 20), Some("z".repeat(1 << 20))),
        ] {
            std::fs::write(&path, &content).unwrap();
            assert_eq!(tail(&path), wanted, "{}", &content[..content.len().min(20)]);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(tail(&path), None);
    }
}
