//! The executable's side of the job contract (behaviour, section 2): one job of a kind at a time, started with an
//! environment made from nothing and none of the web server's descriptors.
//!
//! The lock is an open file under `flock`. The job gets it as its standard input, so the kernel frees it with the last
//! process of the job, however that ends, and no file can ever say "running" of something dead.

use crate::appliance::Appliance;
use crate::jobs::{Beside, Job, Order, Trace};
use crate::record;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the jobs find their programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What our executable is called with to ask at the gate.
pub const GATE_ASK: &str = "gate-ask";

/// How long a lock may stay taken by somebody who only looks, or by a job that the kernel is still ending.
const PATIENCE: Duration = Duration::from_millis(200);
/// The same for a job that only reads: two pages that ask at once both get their answer.
const READING_PATIENCE: Duration = Duration::from_millis(1500);

/// Why a job did not do what it was asked to.
#[derive(Debug)]
pub enum JobError {
    /// One of its kind is at work.
    Running(Job),
    /// Another one is at work that must not run beside it.
    Excluded {
        /// The job that was asked for.
        job: Job,
        /// The one that is at work.
        by: Job,
        /// When that one began.
        since: SystemTime,
        /// Why the two exclude each other.
        reason: &'static str,
    },
    /// Its lock cannot be opened.
    NoLock(Job, io::Error),
    /// It could not be started.
    NotStarted(Job, io::Error),
    /// It ended with a failure, and perhaps said why in words for the client.
    Failed(Job, Option<String>),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Running(job) => write!(f, "job {}: already running", job.word()),
            JobError::Excluded { job, by, .. } => write!(f, "job {}: {} is running", job.word(), by.word()),
            JobError::NoLock(job, error) => {
                write!(f, "job {}: cannot open its lock {}: {error}", job.word(), job.row().lock)
            }
            JobError::NotStarted(job, error) => write!(f, "job {}: cannot start bin/wrapper.sh: {error}", job.word()),
            JobError::Failed(job, None) => write!(f, "job {}: failed", job.word()),
            JobError::Failed(job, Some(reason)) => write!(f, "job {}: failed: {reason}", job.word()),
        }
    }
}

/// The right to run a job of one kind, shared with the job itself: it is free again when both are done with it.
#[derive(Debug)]
pub struct Lock {
    job: Job,
    file: File,
}

impl Lock {
    /// Takes the lock, or says that a job of this kind is running. Whatever runs beside it is not looked at.
    pub fn take(appliance: &Appliance, job: Job) -> Result<Lock, JobError> {
        let file = open(appliance, job)?;
        wait_until(deadline(job), || if try_lock(&file, job)? { Ok(()) } else { Err(JobError::Running(job)) })?;
        Ok(Lock { job, file })
    }

    /// Takes the lock for an order, or says which job must end first.
    pub fn take_for(appliance: &Appliance, job: Job, order: &Order) -> Result<Lock, JobError> {
        if order.beside == Beside::Free {
            return Lock::take(appliance, job);
        }
        let file = open(appliance, job)?;
        // Of two that exclude each other and start at once, one must win: only one at a time looks and takes.
        let turn = open_named(appliance, STARTING).map_err(|error| JobError::NoLock(job, error))?;
        wait_until(deadline(job), || {
            turn.lock().map_err(|error| JobError::NoLock(job, error))?;
            let result = excluded(appliance, job).and_then(|()| try_lock(&file, job));
            turn.unlock().map_err(|error| JobError::NoLock(job, error))?;
            if result? { Ok(()) } else { Err(JobError::Running(job)) }
        })?;
        Ok(Lock { job, file })
    }

    /// The kind of job that this is the right to.
    pub fn job(&self) -> Job {
        self.job
    }

    /// The file of the lock, which says what its job is.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Starts the job and leaves it to itself: it outlives the request, the web server and a restart of it.
    pub fn start(&self, appliance: &Appliance, argument: Option<&'static str>) -> Result<(), JobError> {
        // All three descriptors, always: fcgiwrap answers only when stdout *and* stderr are closed.
        let spawned = self.command(appliance, argument)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        spawned.map(drop).map_err(|error| JobError::NotStarted(self.job, error))
    }

    /// Runs the job to its end; returns what it printed.
    pub fn wait(&self, appliance: &Appliance, argument: Option<&'static str>) -> Result<Vec<u8>, JobError> {
        let job = self.job;
        let mut command = self.command(appliance, argument)?;
        let output = command.output().map_err(|error| JobError::NotStarted(job, error))?;
        log_lines(job.word(), &output.stderr);
        if output.status.success() {
            return Ok(output.stdout);
        }
        log::error!("job {}: {}", job.word(), output.status);
        Err(JobError::Failed(job, reason(&output.stdout)))
    }

    fn command(&self, appliance: &Appliance, argument: Option<&'static str>) -> Result<Command, JobError> {
        let lock = self.file.try_clone().map_err(|error| JobError::NoLock(self.job, error))?;
        close_on_exec_above_two();
        // The CGI program leads no process group, so this works; where a person starts it from a shell it does not, and
        // then the job shares that person's session, which is no harm.
        let _ = nix::unistd::setsid();
        let name = self.job.word();
        let mut command = if let Some(gate) = appliance.gate() {
            // Where we are confined, root waits at a socket for the words that `wrapper.sh` would get from us.
            let words = argument.map_or_else(|| name.to_owned(), |argument| format!("{name} {argument}"));
            let mut command = clean_command(appliance, Path::new("/proc/self/exe"));
            command.arg0("jidoteki-admin-api").args([GATE_ASK.as_ref(), gate.as_os_str(), words.as_ref()]);
            command
        } else {
            let mut command = clean_command(appliance, &appliance.wrapper());
            command.env("SSH_ORIGINAL_COMMAND", name).args(argument);
            command
        };
        command.stdin(Stdio::from(lock));
        Ok(command)
    }
}

/// Runs `wrapper.sh` with our own standard descriptors, for somebody who has asked at the gate. Its exit status; 1 where a
/// signal has ended it.
pub fn run_as_asked(appliance: &Appliance, words: &str) -> io::Result<u8> {
    let (name, argument) = words.split_once(' ').map_or((words, None), |(name, argument)| (name, Some(argument)));
    let mut command = clean_command(appliance, &appliance.wrapper());
    let status = command.env("SSH_ORIGINAL_COMMAND", name).args(argument).status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The name of the lock that is held for a moment by a request that looks which jobs are running before it starts one.
const STARTING: &str = ".starting.lock";

/// Opens a file of the exchange directory to lock it, and makes it where it is not there yet.
fn open_named(appliance: &Appliance, name: &str) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(appliance.uploads().join(name))
}

fn open(appliance: &Appliance, job: Job) -> Result<File, JobError> {
    open_named(appliance, job.row().lock).map_err(|error| JobError::NoLock(job, error))
}

/// Whether the lock is ours now.
fn try_lock(file: &File, job: Job) -> Result<bool, JobError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(JobError::NoLock(job, error)),
    }
}

/// Says which job is at work that must not run beside this one.
fn excluded(appliance: &Appliance, job: Job) -> Result<(), JobError> {
    job.exclusions().try_for_each(|(by, reason)| match running_since(appliance, by) {
        Some(since) => Err(JobError::Excluded { job, by, since, reason }),
        None => Ok(()),
    })
}

fn deadline(job: Job) -> Instant {
    let only_reads = job.row().orders.iter().all(|order| order.trace == Trace::None);
    Instant::now() + if only_reads { READING_PATIENCE } else { PATIENCE }
}

/// Tries again until the deadline as long as another job is in the way.
fn wait_until(deadline: Instant, mut attempt: impl FnMut() -> Result<(), JobError>) -> Result<(), JobError> {
    loop {
        match attempt() {
            Err(JobError::Running(_) | JobError::Excluded { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

/// Whether a job of this kind is at work now.
pub fn is_running(appliance: &Appliance, job: Job) -> bool {
    running_since(appliance, job).is_some()
}

/// When the job began that is at work now; `None` where none is.
pub fn running_since(appliance: &Appliance, job: Job) -> Option<SystemTime> {
    let (file, is_running) = look(appliance, job)?;
    let since = || record::read(&file).map_or_else(|| modified(&file), |(record, _)| record.started_at());
    is_running.then(since)
}

/// When the job began that is at work now and tells of itself in its status files. Until it does, they speak of the job
/// before, and a client that asks meanwhile would take the old result for the new one.
pub fn status_since(appliance: &Appliance, job: Job) -> Option<SystemTime> {
    let (file, is_running) = look(appliance, job)?;
    let (record, _) = record::read(&file)?;
    let order = job.row().order(&record.argument)?;
    (is_running && order.trace == Trace::Status).then(|| record.started_at())
}

/// The file of a lock, and whether a job has it.
pub fn look(appliance: &Appliance, job: Job) -> Option<(File, bool)> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(appliance.uploads().join(job.row().lock)).ok()?;
    // Shared, so that two who look do not see each other.
    let is_running = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    Some((file, is_running))
}

fn modified(file: &File) -> SystemTime {
    file.metadata().and_then(|metadata| metadata.modified()).unwrap_or(UNIX_EPOCH)
}

/// Runs the vendor's licence script; its output, if it ended well and printed something.
pub fn license(appliance: &Appliance) -> Option<Vec<u8>> {
    close_on_exec_above_two();
    let output = match clean_command(appliance, &appliance.license_script()).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => {
            log::warn!("cannot run bin/license.sh: {error}");
            return None;
        }
    };
    log_lines("license.sh", &output.stderr);
    (output.status.success() && !output.stdout.is_empty()).then_some(output.stdout)
}

/// A program with an environment made from nothing, not filtered: there is no variable of a client to forget.
fn clean_command(appliance: &Appliance, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/");
    command.envs(appliance.variables().iter().map(|(name, value)| (name, value)));
    command
}

/// Marks whatever the web server left open in us, so that no job inherits it: fcgiwrap leaks its connection, and a job
/// that holds it holds the client's answer.
pub fn close_on_exec_above_two() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    for fd in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).filter(|fd| *fd > 2)
    {
        // Fails only for the descriptor of this listing, which is closed by then.
        let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
}

/// The words for the client of a job that failed: its last line `Reason: ...`, cut to printable ASCII.
fn reason(stdout: &[u8]) -> Option<String> {
    let line = stdout.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"Reason: ")).next_back()?;
    let text: String =
        line.iter().filter(|byte| matches!(byte, 32..=126)).take(200).map(|byte| char::from(*byte)).collect();
    (!text.is_empty()).then_some(text)
}

/// What a job said on its standard error goes into the log: a line of ours a line, and not more than a screen of them.
fn log_lines(who: &str, stderr: &[u8]) {
    for line in stderr.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(20) {
        log::warn!("{who}: {}", line[..line.len().min(500)].escape_ascii());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_meant_for_the_client_is_a_reason() {
        for (stdout, wanted) in [
            ("", None),
            ("mv: cannot move /root/x\n", None),
            ("Reason: not a tar archive\n", Some("not a tar archive")),
            ("a\nReason: one\nReason: two\x07\nb", Some("two")),
            ("Reason: \n", None),
        ] {
            assert_eq!(reason(stdout.as_bytes()).as_deref(), wanted, "{stdout:?}");
        }
    }
}
