//! The executable's side of the job contract (behaviour, section 2): one job of a kind at a time, started with an
//! environment made from nothing and none of the web server's descriptors.
//!
//! The lock is an open file under `flock`. The job gets it as its standard input, so the kernel frees it with the last
//! process of the job, however that ends, and no file can ever say "running" of something dead.

use crate::appliance::Appliance;
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

/// The scripts that do the work, by the word that `wrapper.sh` gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Puts a new API token in force.
    Token,
    /// Installs a software update.
    Update,
    /// Puts network and application settings in force.
    Settings,
    /// Puts TLS certificates in force.
    Certs,
    /// Puts a licence in force.
    License,
    /// Puts storage settings in force.
    Storage,
    /// Makes, deletes and restores a backup.
    Backup,
    /// Ends a backup that is being made: it must run beside `Backup`.
    BackupStop,
    /// Collects logs.
    Logs,
    /// Collects an encrypted debug bundle.
    Debug,
    /// Prints the status of services.
    Services,
    /// Restarts the appliance.
    Reboot,
    /// Prints the history of processor, memory, disk and network.
    Monitor,
}

impl Job {
    /// The word for `wrapper.sh`.
    pub fn name(self) -> &'static str {
        match self {
            Job::Token => "token",
            Job::Update => "update",
            Job::Settings => "settings",
            Job::Certs => "certs",
            Job::License => "license",
            Job::Storage => "storage",
            Job::Backup | Job::BackupStop => "backup",
            Job::Logs => "logs",
            Job::Debug => "debug",
            Job::Services => "services",
            Job::Reboot => "reboot",
            Job::Monitor => "monitor",
        }
    }

    /// The name of its lock in the exchange directory.
    pub fn lock_name(self) -> &'static str {
        match self {
            Job::Token => ".token.lock",
            Job::Update => ".update.lock",
            Job::Settings => ".settings.lock",
            Job::Certs => ".certs.lock",
            Job::License => ".license.lock",
            Job::Storage => ".storage.lock",
            Job::Backup => ".backup.lock",
            Job::BackupStop => ".backup-stop.lock",
            Job::Logs => ".logs.lock",
            Job::Debug => ".debug.lock",
            Job::Services => ".services.lock",
            Job::Reboot => ".reboot.lock",
            Job::Monitor => ".monitor.lock",
        }
    }
}

/// Why a job did not do what it was asked to.
#[derive(Debug)]
pub enum JobError {
    /// One of its kind is at work.
    Running(Job),
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
            JobError::Running(job) => write!(f, "job {}: already running", job.name()),
            JobError::NoLock(job, error) => {
                write!(f, "job {}: cannot open its lock {}: {error}", job.name(), job.lock_name())
            }
            JobError::NotStarted(job, error) => write!(f, "job {}: cannot start bin/wrapper.sh: {error}", job.name()),
            JobError::Failed(job, None) => write!(f, "job {}: failed", job.name()),
            JobError::Failed(job, Some(reason)) => write!(f, "job {}: failed: {reason}", job.name()),
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
    /// Takes the lock, or says that a job of this kind is running.
    pub fn take(appliance: &Appliance, job: Job) -> Result<Lock, JobError> {
        let path = appliance.uploads().join(job.lock_name());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| JobError::NoLock(job, error))?;
        let patience = if matches!(job, Job::Monitor | Job::Services) { READING_PATIENCE } else { PATIENCE };
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { job, file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => return Err(JobError::Running(job)),
                Err(TryLockError::Error(error)) => return Err(JobError::NoLock(job, error)),
            }
        }
    }

    /// The kind of job that this is the right to.
    pub fn job(&self) -> Job {
        self.job
    }

    /// Declares whatever a status file says now to be of an earlier job: one that is started takes a moment until it
    /// speaks, and a client that asks meanwhile would take the old result for the new one.
    pub fn begin_status(&self) {
        // On a file system without times the old words only stand a moment longer.
        let _ = self.file.set_modified(SystemTime::now());
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
        log_lines(job.name(), &output.stderr);
        if output.status.success() {
            return Ok(output.stdout);
        }
        log::error!("job {}: {}", job.name(), output.status);
        Err(JobError::Failed(job, reason(&output.stdout)))
    }

    fn command(&self, appliance: &Appliance, argument: Option<&'static str>) -> Result<Command, JobError> {
        let lock = self.file.try_clone().map_err(|error| JobError::NoLock(self.job, error))?;
        close_on_exec_above_two();
        // The CGI program leads no process group, so this works; where a person starts it from a shell it does not, and
        // then the job shares that person's session, which is no harm.
        let _ = nix::unistd::setsid();
        let name = self.job.name();
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

/// Whether a job of this kind is at work now.
pub fn is_running(appliance: &Appliance, job: Job) -> bool {
    started(appliance, job).is_some()
}

/// When the status of the job began that is at work now; `None` where none is.
pub fn started(appliance: &Appliance, job: Job) -> Option<SystemTime> {
    let path = appliance.uploads().join(job.lock_name());
    let file = File::open(path).ok()?;
    // Shared, so that two who look do not see each other.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            Some(file.metadata().and_then(|metadata| metadata.modified()).unwrap_or(UNIX_EPOCH))
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
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
