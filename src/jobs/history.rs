//! The result of each job: running ones, and the last hundred. It is true after a kill, a restart of the web server and
//! a power cut, because only the kernel's lock decides whether a job is running.

use crate::appliance::{self, Appliance};
use crate::jobs::job;
use crate::jobs::progress::Progress;
use crate::jobs::record::{self, Ending, Record};
use crate::jobs::status;
use crate::jobs::{JOBS, Job, Row, Trace};
use crate::values::clock;
use crate::values::json::quote;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Maximum number of ended jobs.
pub const MAX_PAST: usize = 100;
/// Their file in the executable's state: one JSON object per line, oldest first.
const FILE: &str = "jobs";
/// After this time without a sign of life, a job is reported as silent.
const SILENCE: Duration = Duration::from_secs(600);

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Running,
    Success,
    Failed,
    /// The job was interrupted: it ended without a result.
    Interrupted,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Running => "running",
            Stage::Success => "success",
            Stage::Failed => "failed",
            Stage::Interrupted => "interrupted",
        }
    }
}

/// A running or ended job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub job: String,
    /// Who started it, and when.
    pub record: Record,
    /// Whether it is running, or how it ended.
    pub stage: Stage,
    /// Its end, if it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

impl Entry {
    /// The entry as JSON. A running job also has its signs of life. `redact` removes what the caller must not see from
    /// the texts of scripts.
    pub fn to_json(&self, appliance: &Appliance, redact: impl Fn(String) -> String) -> String {
        let mut text = format!("{{\"id\":{},\"job\":{}", quote(&self.record.id), quote(&self.job));
        let mut member = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                let _ = write!(text, ",\"{name}\":{}", quote(value));
            }
        };
        member("argument", Some(self.record.argument.as_str()).filter(|argument| !argument.is_empty()));
        member("key", Some(&self.record.key));
        member("status", Some(self.stage.name()));
        member("started", Some(&time(Duration::from_nanos(self.record.started))));
        let ending = self.ending.as_ref();
        member("ended", ending.map(|ending| time(Duration::from_secs(ending.ended))).as_deref());
        member("error-message", ending.and_then(|ending| ending.reason.clone()).map(&redact).as_deref());
        member("error-code", ending.and_then(|ending| ending.code.as_deref()));
        let life = self.life(appliance);
        for (name, value) in life.iter().flat_map(|life| life.members(&redact)) {
            let _ = write!(text, ",\"{name}\":{value}");
        }
        if let Some(percentage) = life.and_then(|life| life.percentage) {
            let _ = write!(text, ",\"percentage\":{percentage}");
        }
        text.push('}');
        text
    }

    /// The values that a waiting client wants to see change.
    pub fn progress(&self, appliance: &Appliance) -> (Stage, Option<u8>, Option<String>) {
        let life = self.life(appliance);
        (self.stage, life.as_ref().and_then(|life| life.percentage), life.and_then(|life| life.step))
    }

    fn life(&self, appliance: &Appliance) -> Option<Life> {
        let row = JOBS.iter().find(|row| row.name == self.job).filter(|_| self.stage == Stage::Running)?;
        Some(Life::of(appliance, row, self.record.started_at()))
    }
}

/// The signs of life of a running job.
pub struct Life {
    /// Its progress, 0 to 100, if it reports any.
    pub percentage: Option<u8>,
    /// Its current step, as reported by the job, or else the last line of its log.
    step: Option<String>,
    heartbeat: SystemTime,
    /// Whether its script reports progress.
    reports: bool,
}

impl Life {
    /// The signs of life of a job that began at this time.
    pub fn of(appliance: &Appliance, row: &Row, began: SystemTime) -> Life {
        let progress = Progress::read(appliance, row, began);
        let is_current = |path: &Path| modified(path).is_some_and(|at| at + Duration::from_millis(10) >= began);
        let said = row.json_file(appliance).filter(|path| is_current(path)).and_then(|path| percentage(&path));
        let percentage = progress.as_ref().map_or(said, |progress| progress.of_job(row.job, said));
        let reports = progress.is_some();
        let words = progress.map(|progress| progress.words).filter(|words| !words.is_empty());
        let signs = [
            Some(appliance.log_file(row.files.log)),
            row.json_file(appliance),
            row.status_file(appliance),
            Some(appliance.progress_file(row.name)),
        ];
        let heartbeat = signs.into_iter().flatten().filter_map(|path| modified(&path)).max();
        let heartbeat = heartbeat.filter(|time| *time >= began).unwrap_or(began);
        let log = appliance.log_file(row.files.log);
        let step = words.or_else(|| is_current(&log).then(|| step(&log)).flatten());
        Life { percentage, step, heartbeat, reports }
    }

    /// The members of a response, each with its value as JSON. `redact` removes what the caller must not see.
    pub fn members(&self, redact: &dyn Fn(String) -> String) -> Vec<(&'static str, String)> {
        let heartbeat = quote(&time(self.heartbeat.duration_since(UNIX_EPOCH).unwrap_or_default()));
        let mut members: Vec<_> = self.step.iter().map(|step| ("step", quote(&redact(step.clone())))).collect();
        members.push(("heartbeat", heartbeat.clone()));
        if self.is_silent() {
            members.push(("silent-since", heartbeat));
        }
        members
    }

    /// The same for the status of a job. Old clients know its members, so it gets more only if the script reports
    /// progress, or if the job is silent.
    pub fn members_of_status(&self, redact: &dyn Fn(String) -> String) -> Vec<(&'static str, String)> {
        if self.reports || self.is_silent() { self.members(redact) } else { Vec::new() }
    }

    /// If the clock was set back, no job counts as silent.
    fn is_silent(&self) -> bool {
        self.heartbeat.elapsed().is_ok_and(|silence| silence >= SILENCE)
    }
}

/// The percentage in a status file, if it has one.
fn percentage(path: &Path) -> Option<u8> {
    let object = status::read_object(path)?;
    object.get("percentage")?.get().parse().ok().filter(|share| *share <= 100)
}

/// The last line of a job's log.
fn step(log: &Path) -> Option<String> {
    status::tail(log)?.lines().last().map(step_of)
}

/// The text of a log line, without its time and type.
fn step_of(line: &str) -> String {
    line.rsplit_once(']').map_or(line, |(_, text)| text).trim().to_owned()
}

fn time(since: Duration) -> String {
    clock::utc(since.as_secs())
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// The running jobs, then the last hundred that ended, newest first.
pub fn list(appliance: &Appliance) -> Vec<Entry> {
    let (mut running, mut past): (Vec<Entry>, Vec<Entry>) =
        JOBS.iter().filter_map(|row| latest(appliance, row)).partition(|entry| entry.stage == Stage::Running);
    past.extend(remembered(appliance));
    for entries in [&mut running, &mut past] {
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.record.started));
    }
    past.dedup_by(|one, other| one.record.id == other.record.id);
    past.truncate(MAX_PAST);
    running.extend(past);
    running
}

/// The job with this id.
pub fn find(appliance: &Appliance, id: &str) -> Option<Entry> {
    let latest = JOBS.iter().filter_map(|row| latest(appliance, row)).find(|entry| entry.record.id == id);
    latest.or_else(|| remembered(appliance).into_iter().find(|entry| entry.record.id == id))
}

/// The job that a request with this key started within a day.
pub fn started_by(appliance: &Appliance, key: &str) -> Option<Entry> {
    let since = clock::now().saturating_sub(86_400);
    list(appliance).into_iter().find(|entry| {
        entry.record.started / 1_000_000_000 >= since
            && entry.record.idempotency.as_ref().is_some_and(|idempotency| idempotency.key == key)
    })
}

/// Stores the previous job with this lock, and removes its record for the next one. The caller has the lock.
pub fn archive_previous(appliance: &Appliance, row: &'static Row) -> io::Result<()> {
    if let Some((record, ending)) = record::read(appliance, row) {
        remember(appliance, conclude(appliance, row, record, ending))?;
        record::clear(appliance, row)?;
    }
    Ok(())
}

/// The job that has the lock of this row, or had it last.
fn latest(appliance: &Appliance, row: &'static Row) -> Option<Entry> {
    let (record, ending) = record::read(appliance, row)?;
    if ending.is_none() && job::is_running(appliance, row.job) {
        return Some(Entry { job: row.name.to_owned(), record, stage: Stage::Running, ending: None });
    }
    Some(conclude(appliance, row, record, ending))
}

/// The result of a job that is no longer running.
fn conclude(appliance: &Appliance, row: &'static Row, record: Record, ending: Option<Ending>) -> Entry {
    let ending = ending.or_else(|| ending_by_files(appliance, row, &record));
    let stage = match &ending {
        None => Stage::Interrupted,
        Some(Ending { code: None, reason: None, .. }) => Stage::Success,
        Some(_) => Stage::Failed,
    };
    Entry { job: row.name.to_owned(), record, stage, ending }
}

/// The status files of a job that did not record its end.
fn ending_by_files(appliance: &Appliance, row: &'static Row, record: &Record) -> Option<Ending> {
    // A job without a status of its own takes a moment.
    let at_once = |reason| Ending { ended: record.started / 1_000_000_000, reason, code: None };
    if record.argument == "STOP" {
        // It leaves nothing, except what is newer.
        let path = Job::Backup.row().json_file(appliance)?;
        let is_done = modified(&path).is_none_or(|at| at > record.started_at());
        return is_done.then(|| at_once(None));
    }
    let text = |name: Option<&str>| appliance.trimmed_text(&appliance.etc_file(name?));
    if row.job == Job::Reboot {
        // The job removes it first.
        if let reason @ Some(_) = text(row.files.message) {
            return Some(at_once(reason));
        }
        // If the machine has booted since, the restart succeeded.
        let (_, uptime) = clock::boot()?;
        let booted = clock::now().checked_sub(uptime)?;
        return (booted >= record.started / 1_000_000_000).then(|| Ending { ended: booted, ..Ending::default() });
    }
    if row.operation(&record.argument)?.trace != Trace::Status {
        return None;
    }
    let path = row.json_file(appliance).filter(|path| path.exists()).or_else(|| row.status_file(appliance))?;
    let at = modified(&path).filter(|at| *at + Duration::from_millis(10) >= record.started_at())?;
    let ended = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let status = if Some(&path) == row.json_file(appliance).as_ref() {
        let object = status::read_object(&path)?;
        serde_json::from_slice::<String>(object.get("status")?.get().as_bytes()).ok()?
    } else {
        appliance.trimmed_text(&path)?
    };
    match status.as_str() {
        "success" | "stored" => Some(Ending { ended, ..Ending::default() }),
        "failed" => {
            let reason = text(row.files.message).unwrap_or_else(|| "The job failed".to_owned());
            Some(Ending { ended, code: text(row.files.code), reason: Some(reason) })
        }
        _ => None,
    }
}

fn remembered(appliance: &Appliance) -> Vec<Entry> {
    let Ok(content) = appliance::read(&appliance.state_file(FILE)) else { return Vec::new() };
    content.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

fn remember(appliance: &Appliance, entry: Entry) -> io::Result<()> {
    let mut entries = remembered(appliance);
    entries.push(entry);
    let surplus = entries.len().saturating_sub(MAX_PAST);
    let mut text = String::new();
    for entry in entries.drain(surplus..) {
        text.push_str(&serde_json::to_string(&entry).map_err(io::Error::other)?);
        text.push('\n');
    }
    match appliance::replace(&appliance.state_file(FILE), text.as_bytes(), 0o600) {
        // An image without that directory stores nothing, and starts its jobs all the same.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
