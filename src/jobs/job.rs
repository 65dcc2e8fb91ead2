//! The executable's side of the job contract (docs/JOBS.md): one job of each kind at a time, started with an
//! environment built from scratch and none of the web server's descriptors.
//!
//! The lock is an open file under `flock`. It is the job's standard input, so the kernel releases it when the last
//! process of the job ends, for whatever reason. Nothing can report a dead job as running.

use crate::appliance::{self, Appliance};
use crate::jobs::record;
use crate::jobs::{Exclusion, Job, Operation, Trace};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fmt;
use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command of our executable that connects to the gate.
pub const GATE_ASK: &str = "gate-ask";

/// How long to wait for a lock: a process that only checks it can hold it, or a job that the kernel is still ending.
const PATIENCE: Duration = Duration::from_millis(200);
/// The same for a job that only reads: two concurrent requests both get their response.
const READING_PATIENCE: Duration = Duration::from_millis(1500);

/// Time limit of a job that the response waits for.
const TIME_LIMIT: Duration = Duration::from_secs(300);
/// The same for restores and collections; the web servers give up after an hour.
const LONG_TIME_LIMIT: Duration = Duration::from_secs(3000);
/// Time limit of the vendor's license script.
const LICENSE_TIME_LIMIT: Duration = Duration::from_secs(20);
/// Maximum output of a program that becomes a response.
const MAX_OUTPUT: usize = 8 << 20;

#[derive(Debug)]
pub enum JobError {
    /// A job of this kind is running.
    Running(Job),
    /// A job that excludes it is running.
    Excluded {
        job: Job,
        /// The running job.
        by: Job,
        /// The start of the running job.
        since: SystemTime,
        /// Why the two exclude each other.
        reason: &'static str,
    },
    /// Its lock cannot be opened.
    NoLock(Job, io::Error),
    /// It could not be started.
    NotStarted(Job, io::Error),
    /// It was started, but did not end in time, or printed too much.
    Unfinished(Job, io::Error),
    /// It failed, with an optional reason for the client.
    Failed(Job, Option<String>),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Running(job) => write!(f, "job {}: already running", job.name()),
            JobError::Excluded { job, by, .. } => write!(f, "job {}: {} is running", job.name(), by.name()),
            JobError::NoLock(job, error) => {
                write!(f, "job {}: cannot open its lock {}: {error}", job.name(), job.row().lock)
            }
            JobError::NotStarted(job, error) => write!(f, "job {}: cannot start bin/wrapper.sh: {error}", job.name()),
            JobError::Unfinished(job, error) => write!(f, "job {}: {error}", job.name()),
            JobError::Failed(job, None) => write!(f, "job {}: failed", job.name()),
            JobError::Failed(job, Some(reason)) => write!(f, "job {}: failed: {reason}", job.name()),
        }
    }
}

/// The right to run a job of one kind, shared with the job: it is released when neither uses it any more.
#[derive(Debug)]
pub struct Lock {
    job: Job,
    file: File,
}

impl Lock {
    /// Takes the lock, or returns that a job of this kind is running. Ignores exclusions.
    pub fn take(appliance: &Appliance, job: Job) -> Result<Lock, JobError> {
        let file = open(appliance, job)?;
        wait_until(deadline(job), || if try_lock(&file, job)? { Ok(()) } else { Err(JobError::Running(job)) })?;
        Ok(Lock { job, file })
    }

    /// Takes the lock for an operation, or returns the job that must end first.
    pub fn take_for(appliance: &Appliance, job: Job, operation: &Operation) -> Result<Lock, JobError> {
        if operation.exclusion == Exclusion::Exempt {
            return Lock::take(appliance, job);
        }
        let file = open(appliance, job)?;
        // If two jobs that exclude each other start at once, one must win. So a process checks and locks only while it has
        // this second lock.
        let starting = open_named(appliance, STARTING).map_err(|error| JobError::NoLock(job, error))?;
        wait_until(deadline(job), || {
            // Not a lock that blocks: another process could keep it.
            if !try_lock(&starting, job)? {
                return Err(JobError::Running(job));
            }
            let result = excluded(appliance, job).and_then(|()| try_lock(&file, job));
            starting.unlock().map_err(|error| JobError::NoLock(job, error))?;
            if result? { Ok(()) } else { Err(JobError::Running(job)) }
        })?;
        Ok(Lock { job, file })
    }

    /// The kind of job.
    pub fn job(&self) -> Job {
        self.job
    }

    /// Records the job's start as the time of the lock file.
    pub fn begin(&self) {
        // On a filesystem without times, the previous job's status is only shown a moment longer.
        let _ = self.file.set_modified(SystemTime::now());
    }

    /// Starts the job in the background: it outlives the request, the web server and its restart.
    pub fn start(&self, appliance: &Appliance, argument: Option<&'static str>) -> Result<(), JobError> {
        // All three descriptors, always: fcgiwrap responds only when stdout *and* stderr are closed.
        let spawned = self.command(appliance, argument)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        spawned.map(drop).map_err(|error| JobError::NotStarted(self.job, error))
    }

    /// Runs the job to its end and returns its output. If it takes too long, it keeps running with its lock: only root
    /// could kill it.
    pub fn wait(&self, appliance: &Appliance, argument: Option<&'static str>) -> Result<Vec<u8>, JobError> {
        let job = self.job;
        let limit = if matches!(job, Job::Backup | Job::Logs | Job::Debug) { LONG_TIME_LIMIT } else { TIME_LIMIT };
        let output = match run(self.command(appliance, argument)?, limit) {
            Ok(output) => output,
            Err(RunError::NotStarted(error)) => return Err(JobError::NotStarted(job, error)),
            Err(RunError::Unfinished(_, error)) => return Err(JobError::Unfinished(job, error)),
        };
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
        // This works because the CGI program leads no process group. From a shell it fails, and the job harmlessly
        // shares the session.
        let _ = nix::unistd::setsid();
        let name = self.job.name();
        let mut command = if let Some(gate) = appliance.gate() {
            // If we are confined, root accepts the words for `wrapper.sh` at a socket.
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

/// Runs `wrapper.sh` with our own standard descriptors, for a request at the gate. Returns its exit status; 1 if a
/// signal killed it.
pub fn run_as_asked(appliance: &Appliance, words: &str) -> io::Result<u8> {
    let (name, argument) = words.split_once(' ').map_or((words, None), |(name, argument)| (name, Some(argument)));
    let mut command = clean_command(appliance, &appliance.wrapper());
    let status = command.env("SSH_ORIGINAL_COMMAND", name).args(argument).status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The lock that a request holds briefly while it checks for running jobs and starts one.
pub const STARTING: &str = ".starting.lock";

/// Opens a lock file in the exchange directory, and creates it if it is missing.
fn open_named(appliance: &Appliance, name: &str) -> io::Result<File> {
    let file = appliance::open_own_making_way(&appliance.uploads().join(name), 0o660)?;
    // If root created it at the console, the API's user needs it too, whatever root's umask.
    if file.metadata()?.mode() & 0o660 != 0o660 {
        let _ = file.set_permissions(Permissions::from_mode(0o660));
    }
    Ok(file)
}

fn open(appliance: &Appliance, job: Job) -> Result<File, JobError> {
    open_named(appliance, job.row().lock).map_err(|error| JobError::NoLock(job, error))
}

/// Takes the lock if it is free. Returns whether it was.
fn try_lock(file: &File, job: Job) -> Result<bool, JobError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(JobError::NoLock(job, error)),
    }
}

/// Fails with the running job that excludes this one, if there is one.
fn excluded(appliance: &Appliance, job: Job) -> Result<(), JobError> {
    job.exclusions().try_for_each(|(by, reason)| match running_since(appliance, by) {
        Some(since) => Err(JobError::Excluded { job, by, since, reason }),
        None => Ok(()),
    })
}

fn deadline(job: Job) -> Instant {
    let only_reads = job.row().operations.iter().all(|operation| operation.trace == Trace::None);
    Instant::now() + if only_reads { READING_PATIENCE } else { PATIENCE }
}

/// Repeats an attempt until the deadline, as long as it fails because of another job.
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

/// Whether a job of this kind is running.
pub fn is_running(appliance: &Appliance, job: Job) -> bool {
    running_since(appliance, job).is_some()
}

/// The start of the running job; `None` if none is running.
pub fn running_since(appliance: &Appliance, job: Job) -> Option<SystemTime> {
    let (file, is_running) = look(appliance, job)?;
    is_running.then(|| modified(&file))
}

/// The start of a running job that reports its status in files. Until it does, the files are the previous job's, and a
/// client would take the old result for the new one.
pub fn status_since(appliance: &Appliance, job: Job) -> Option<SystemTime> {
    let since = running_since(appliance, job)?;
    let operation = record::read(appliance, job.row()).and_then(|(record, _)| job.row().operation(&record.argument));
    operation.is_none_or(|operation| operation.trace == Trace::Status).then_some(since)
}

/// A lock file, and whether it is locked.
fn look(appliance: &Appliance, job: Job) -> Option<(File, bool)> {
    let file = appliance::open_unlinked(&appliance.uploads().join(job.row().lock)).ok()?;
    // A shared lock, so that two checks do not see each other.
    let is_running = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    Some((file, is_running))
}

fn modified(file: &File) -> SystemTime {
    file.metadata().and_then(|metadata| metadata.modified()).unwrap_or(UNIX_EPOCH)
}

/// Runs the vendor's license script and returns its output, if it succeeded and printed something. After the time limit
/// it is killed with its children, because a worker of the web server waits for it.
pub fn license(appliance: &Appliance) -> Option<Vec<u8>> {
    license_within(appliance, LICENSE_TIME_LIMIT)
}

fn license_within(appliance: &Appliance, limit: Duration) -> Option<Vec<u8>> {
    close_on_exec_above_two();
    let mut command = clean_command(appliance, &appliance.license_script());
    command.stdin(Stdio::null()).process_group(0);
    let output = match run(command, limit) {
        Ok(output) => output,
        Err(RunError::NotStarted(error)) => {
            log::warn!("cannot run bin/license.sh: {error}");
            return None;
        }
        Err(RunError::Unfinished(child, error)) => {
            log::error!("bin/license.sh: {error}, so it was ended");
            if let Err(error) = kill_process_group(Pid::from_child(&child), Signal::KILL) {
                log::error!("bin/license.sh: cannot end it: {error}");
            }
            return None;
        }
    };
    log_lines("license.sh", &output.stderr);
    (output.status.success() && !output.stdout.is_empty()).then_some(output.stdout)
}

/// Why a program has no result.
enum RunError {
    NotStarted(io::Error),
    /// It may still be running.
    Unfinished(Child, io::Error),
}

/// Runs a program until it has ended and closed both outputs, with a time limit and a limit on its output.
fn run(mut command: Command, limit: Duration) -> Result<Output, RunError> {
    let deadline = Instant::now() + limit;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(RunError::NotStarted)?;
    match output(&mut child, deadline) {
        Ok(output) => Ok(output),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            let reason = format!("it did not end within {} seconds", limit.as_secs());
            Err(RunError::Unfinished(child, io::Error::new(io::ErrorKind::TimedOut, reason)))
        }
        Err(error) => Err(RunError::Unfinished(child, error)),
    }
}

fn output(child: &mut Child, deadline: Instant) -> io::Result<Output> {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while out.is_some() || err.is_some() {
        let (has_out, has_err) = readable(out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd), deadline)?;
        if has_out && !read_some(out.as_mut(), &mut stdout)? {
            out = None;
        }
        if has_err && !read_some(err.as_mut(), &mut stderr)? {
            err = None;
        }
    }
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Output { status, stdout, stderr });
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until one of two descriptors is readable or closed.
fn readable(out: Option<BorrowedFd<'_>>, err: Option<BorrowedFd<'_>>, deadline: Instant) -> io::Result<(bool, bool)> {
    let (n_out, n_all) = (usize::from(out.is_some()), usize::from(out.is_some()) + usize::from(err.is_some()));
    let mut fds: Vec<PollFd<'_>> =
        out.into_iter().chain(err).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut fds, Some(&left)) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let is_ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
    Ok((n_out == 1 && is_ready(0), n_all > n_out && is_ready(n_out)))
}

/// Adds the available bytes; `false` at the end.
fn read_some(pipe: Option<&mut impl Read>, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 8 << 10];
    let n = pipe.map_or(Ok(0), |pipe| pipe.read(&mut buffer))?;
    if bytes.len() + n > MAX_OUTPUT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it printed more than 8 MiB"));
    }
    bytes.extend_from_slice(&buffer[..n]);
    Ok(n > 0)
}

/// The first bytes of the output of a system program that reads a file. If there are more, the program is killed.
pub fn filter(program: &str, arguments: &[&str], input: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/");
    let mut child = command.stdin(Stdio::from(input)).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut output = Vec::new();
    let read = child.stdout.take().map_or(Ok(0), |stdout| stdout.take(limit).read_to_end(&mut output));
    let _ = child.kill();
    child.wait()?;
    read.map(|_| output)
}

/// A program with an environment built from scratch, not filtered, so that no client variable can be missed.
fn clean_command(appliance: &Appliance, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/");
    command.envs(appliance.variables().iter().map(|(name, value)| (name, value)));
    command
}

/// Marks every descriptor from the web server close-on-exec: fcgiwrap leaks its connection, and a job that has it
/// delays the client's response.
pub fn close_on_exec_above_two() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    for fd in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).filter(|fd| *fd > 2)
    {
        // Fails only for the descriptor of this listing, which is closed by then.
        let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
}

/// The reason for the client from a failed job: its last line `Reason: ...`, cut to printable ASCII.
fn reason(stdout: &[u8]) -> Option<String> {
    let line = stdout.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"Reason: ")).next_back()?;
    let text: String =
        line.iter().filter(|byte| matches!(byte, 32..=126)).take(200).map(|byte| char::from(*byte)).collect();
    (!text.is_empty()).then_some(text)
}

/// Logs a job's standard error: one log line per line, and at most a screenful.
fn log_lines(who: &str, stderr: &[u8]) {
    for line in stderr.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(20) {
        log::warn!("{who}: {}", line[..line.len().min(500)].escape_ascii());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_license_script_that_does_not_end_is_ended_with_all_that_it_started() {
        let root = std::env::temp_dir().join(format!("license-{}", std::process::id()));
        std::fs::create_dir_all(root.join("bin")).unwrap();
        let script = root.join("bin/license.sh");
        let appliance = Appliance::new(Some(root.clone().into()), None);
        for (text, seconds, wanted) in [
            ("echo '{}'", 60, Some(b"{}\n".to_vec())),
            ("echo '{}'; exit 1", 60, None),
            ("head -c 9000000 /dev/zero", 60, None),
            // It never closes its output.
            ("sleep 1000 & echo $! >\"$0.pid\"; echo '{}'", 1, None),
            ("exec >&- 2>&-; echo $$ >\"$0.pid\"; sleep 1000", 1, None),
        ] {
            std::fs::write(&script, format!("#!/bin/sh\n{text}\n")).unwrap();
            appliance::set_mode(&script, 0o755).unwrap();
            // A process of another test may have had it open for writing.
            let got = loop {
                let got = license_within(&appliance, Duration::from_secs(seconds));
                let is_started = got.is_some() || seconds == 60 || root.join("bin/license.sh.pid").exists();
                if is_started {
                    break got;
                }
            };
            assert_eq!(got, wanted, "{text}");
            let Ok(pid) = std::fs::read_to_string(root.join("bin/license.sh.pid")) else { continue };
            std::fs::remove_file(root.join("bin/license.sh.pid")).unwrap();
            let status = std::path::PathBuf::from(format!("/proc/{}/stat", pid.trim()));
            let deadline = Instant::now() + Duration::from_secs(60);
            // Gone, or dead and not yet reaped.
            while std::fs::read_to_string(&status).is_ok_and(|text| !text.contains(") Z ")) {
                assert!(Instant::now() < deadline, "{text}: it still runs");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        std::fs::remove_dir_all(root).unwrap();
    }

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
