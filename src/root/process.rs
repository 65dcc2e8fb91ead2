//! Processes that an interrupted job left: whether one still runs, and how it is ended with its descendants.

use crate::appliance::Appliance;
use crate::root::commands::Arguments;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// How long processes have to end after SIGTERM, and again after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(20);

/// A line of `/proc/PID/stat`. The start, in ticks since the boot, tells two processes with the same number apart.
struct Stat {
    is_zombie: bool,
    parent: i32,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses can contain anything.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(&text[end + 1..]).ok()?;
    let mut fields = text.split_ascii_whitespace();
    Some(Stat {
        is_zombie: fields.next()? == "Z",
        parent: fields.next()?.parse().ok()?,
        started: fields.nth(17)?.parse().ok()?,
    })
}

/// The process that a file names (`pid start`), if it still runs.
pub fn running(file: &Path) -> Option<i32> {
    let text = fs::read_to_string(file).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let pid = pid.parse().ok()?;
    (stat(pid)?.started == started.parse::<u64>().ok()?).then_some(pid)
}

/// Ends a process and its descendants, and returns when they are gone. A process in an uninterruptible system call can
/// outlast it.
pub fn end(pid: i32) {
    let all = tree(pid);
    for by in [Signal::TERM, Signal::KILL] {
        signal(&all, by);
        let deadline = Instant::now() + PATIENCE;
        while all.iter().copied().any(is_running) && Instant::now() < deadline {
            thread::sleep(STEP);
        }
    }
}

/// A zombie has ended; its parent may never ask for it.
fn is_running(pid: Pid) -> bool {
    stat(pid.as_raw_nonzero().get()).is_some_and(|stat| !stat.is_zombie)
}

fn signal(all: &[Pid], signal: Signal) {
    for pid in all {
        // It may have ended in between.
        let _ = kill_process(*pid, signal);
    }
}

/// A process and its descendants, which cannot be found after their parents have ended.
fn tree(root: i32) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let parents: Vec<(i32, i32)> = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut all = vec![root];
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        all.extend(
            parents
                .iter()
                .filter(|(pid, of)| *of == parent && !all.contains(pid))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        at += 1;
    }
    all.into_iter().filter_map(Pid::from_raw).collect()
}

/// `end PID`
pub fn command(arguments: Arguments<'_>, _: &Appliance) -> Result<ExitCode, String> {
    let pid = arguments.next().and_then(|pid| pid.to_str()?.parse().ok()).filter(|pid| *pid > 1);
    end(pid.ok_or("expected the number of a process")?);
    Ok(ExitCode::SUCCESS)
}
