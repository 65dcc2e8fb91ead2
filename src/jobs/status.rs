//! What jobs wrote about themselves, told so that it is true: a status of `running` whose job is gone is a job that died.

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

/// The longest time that a client can ask for to confirm a change.
const MAX_CONFIRM: u64 = 3600;
/// Lines of a log that an answer shows.
const TAIL_LINES: usize = 10;
/// Bytes at the end of a log that are looked at first, enough for ten usual lines.
const TAIL_BYTES: u64 = 4 << 10;
/// Bytes at the end of a log that are looked at at most, so that a log of any size and with lines of any length costs
/// no more: 1 MiB.
const MAX_TAIL_BYTES: u64 = 1 << 20;

/// How a job stands, as its files and its lock tell together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// `running`, `success`, `failed`, a word of a foreign job, or nothing where none ran.
    pub word: Option<String>,
    /// Other members of its status file, as JSON: `percentage`, and whatever a job adds.
    pub members: Vec<(String, String)>,
    /// How the two fit.
    pub phase: Phase,
}

/// How what a job says of itself fits to whether one is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is as the file says.
    AsSaid,
    /// One was just started, and has not said anything yet: what the files say is of the one before.
    Starting,
    /// The file says `running`, but nothing runs: a job that died.
    Interrupted,
}

impl JobStatus {
    /// Reads the status of a job from the first of two files: one with JSON, one with a word.
    pub fn read(appliance: &Appliance, job: Job, json_file: Option<&str>, text_file: &str) -> JobStatus {
        let read = || Said::read(appliance, json_file, text_file);
        let said = read();
        let phase = phase(appliance, job, said.at, said.is_running(), || read().is_running());
        let (word, members) = match phase {
            // It has ended between the two looks: its last word counts.
            Phase::AsSaid if said.is_running() => {
                let said = read();
                (said.word, said.members)
            }
            Phase::AsSaid => (said.word, said.members),
            Phase::Interrupted => (Some("failed".to_owned()), said.members),
            Phase::Starting => {
                let percentage = json_file.map(|_| ("percentage".to_owned(), "0".to_owned()));
                (Some("running".to_owned()), percentage.into_iter().collect())
            }
        };
        JobStatus { word, members, phase }
    }
}

/// How a status file that is its own answer fits to whether its job is running.
pub fn phase_of_file(appliance: &Appliance, job: Job, path: &Path, says_running: impl Fn() -> bool) -> Phase {
    let at = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    phase(appliance, job, at, says_running(), says_running)
}

/// `at` is when the files were written, `again` looks once more whether they say `running`.
fn phase(appliance: &Appliance, job: Job, at: Option<SystemTime>, is_running: bool, again: impl Fn() -> bool) -> Phase {
    // A clock of files ticks more coarsely than the one that a start is measured by: a tick is forgiven.
    let is_older = |started| at.is_none_or(|at| at + Duration::from_millis(10) < started);
    if job::status_since(appliance, job).is_some_and(is_older) {
        return Phase::Starting;
    }
    // Once more: a job that ended after the first look has written its last word.
    if is_running && !job::is_running(appliance, job) && again() { Phase::Interrupted } else { Phase::AsSaid }
}

/// What the status files of a job say.
struct Said {
    word: Option<String>,
    members: Vec<(String, String)>,
    /// When they said it; `None` where they say nothing.
    at: Option<SystemTime>,
}

impl Said {
    fn read(appliance: &Appliance, json_file: Option<&str>, text_file: &str) -> Said {
        let modified = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let json_file = json_file.map(|name| appliance.etc_file(name));
        if let Some(path) = json_file
            && let Some(object) = read_object(&path)
        {
            let word = object.get("status").and_then(|raw| serde_json::from_str(raw.get()).ok());
            let others = object.members().filter(|(name, _)| *name != "status");
            let members = others.map(|(name, value)| (name.to_owned(), json::compact(value.get()))).collect();
            return Said { word, members, at: modified(&path) };
        }
        let path = appliance.etc_file(text_file);
        Said { word: appliance.trimmed_text(&path), members: Vec::new(), at: modified(&path) }
    }

    fn is_running(&self) -> bool {
        self.word.as_deref() == Some("running")
    }
}

/// Seconds until a change that waits to be confirmed is undone; `None` where none waits. The deadline is one of the
/// kernel's uptime, since a change of the network may change the clock. Where that is of another boot than ours we may be
/// confined in a container, where the job sees another uptime: then the clock decides. A file that a boot has left is taken
/// away before anybody can ask, so this lets nothing old stand for long. `Err` where a file is there and cannot be read: then
/// one may wait.
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

/// The same until the change is settled: without seconds while it is taken back. The job takes the file away when the
/// state of before is in force.
pub fn unsettled(appliance: &Appliance, file: &str) -> Option<u64> {
    let left = pending(appliance, file).unwrap_or_else(|error| {
        log::error!("cannot tell whether a change waits to be confirmed: {error}");
        None
    });
    left.or_else(|| appliance.etc_file(file).exists().then_some(0))
}

/// The end of a log: its last ten lines joined by newlines, without a final one; `None` where there is no log.
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
    // As long as it was when it was measured: a job may be writing.
    let n_bytes = n_bytes.min(length);
    let mut bytes = Vec::with_capacity(usize::try_from(n_bytes).unwrap_or(0));
    file.take(n_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A text as JSON, `null` where there is none.
pub fn or_null(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), quote)
}

/// A file that holds one JSON object.
pub fn read_object(path: &Path) -> Option<Object> {
    let text = read_text(path)?;
    Object::parse(&text).inspect_err(|error| log::warn!("{}: {error}", path.display())).ok()
}

/// The types of storage that this appliance offers.
pub fn storage_options(appliance: &Appliance) -> Vec<String> {
    storage::options(read_object(&appliance.storage_options_file()).as_ref())
}

/// A file that holds one JSON value, as it is.
pub fn read_json(path: &Path) -> Option<String> {
    let text = read_text(path)?;
    if json::is_valid(&text) {
        return Some(text);
    }
    log::error!("{} is not valid JSON", path.display());
    None
}

/// The text of a file that is there and says something.
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
