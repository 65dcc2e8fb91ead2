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
    group: i32,
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
        group: fields.next()?.parse().ok()?,
        started: fields.nth(16)?.parse().ok()?,
    })
}

/// The process that a file names (`pid start`), if it still runs.
pub fn running(file: &Path) -> Option<i32> {
    let text = fs::read_to_string(file).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let pid = pid.parse().ok()?;
    (stat(pid)?.started == started.parse::<u64>().ok()?).then_some(pid)
}

/// Ends a process and its descendants, also those that they start meanwhile, and returns when they are gone. A process in
/// an uninterruptible system call can outlast it.
pub fn end(pid: i32) {
    let Some(root) = stat(pid) else { return };
    let mut tree = Tree { group: root.group, began: now(), all: vec![(pid, root.started)] };
    tree.grow();
    tree.signal(0, Signal::TERM);
    tree.wait(Signal::TERM);
    // A stopped process starts no other, so nothing escapes between the last look and the kill.
    let mut n_stopped = 0;
    loop {
        tree.grow();
        if n_stopped == tree.all.len() {
            break;
        }
        tree.signal(n_stopped, Signal::STOP);
        n_stopped = tree.all.len();
    }
    tree.signal(0, Signal::KILL);
    tree.wait(Signal::KILL);
}

/// Processes to end, each with its start.
struct Tree {
    /// The process group of the root.
    group: i32,
    /// When ending it began.
    began: u64,
    all: Vec<(i32, u64)>,
}

impl Tree {
    /// Finds descendants, which cannot be found by their parents once those have ended; so also processes without a parent
    /// that started in the root's group since.
    fn grow(&mut self) {
        let processes: Vec<(i32, Stat)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, stat(pid)?)))
            .collect();
        let in_group = |pid: i32| processes.iter().any(|(other, stat)| *other == pid && stat.group == self.group);
        let is_orphan = |stat: &Stat| stat.group == self.group && stat.started > self.began && !in_group(stat.parent);
        let mut all = std::mem::take(&mut self.all);
        loop {
            let known = all.len();
            for (pid, stat) in &processes {
                let is_child = all.iter().any(|(parent, started)| {
                    *parent == stat.parent
                        && processes.iter().any(|(pid, stat)| pid == parent && stat.started == *started)
                });
                if (is_child || is_orphan(stat)) && !all.contains(&(*pid, stat.started)) {
                    all.push((*pid, stat.started));
                }
            }
            if all.len() == known {
                break;
            }
        }
        self.all = all;
    }

    fn signal(&self, from: usize, signal: Signal) {
        for (pid, _) in self.all.iter().skip(from).filter(|process| is_running(process)) {
            // It may have ended in between.
            let _ = Pid::from_raw(*pid).map(|pid| kill_process(pid, signal));
        }
    }

    /// Waits until all are gone, but not for ever. Those that they start meanwhile get the signal too.
    fn wait(&mut self, signal: Signal) {
        let deadline = Instant::now() + PATIENCE;
        while self.all.iter().any(is_running) && Instant::now() < deadline {
            thread::sleep(STEP);
            let n_known = self.all.len();
            self.grow();
            self.signal(n_known, signal);
        }
    }
}

/// A zombie has ended; its parent may never ask for it.
fn is_running((pid, started): &(i32, u64)) -> bool {
    stat(*pid).is_some_and(|stat| !stat.is_zombie && stat.started == *started)
}

/// The start of this program, in ticks since the boot.
fn now() -> u64 {
    stat(std::process::id().cast_signed()).map_or(u64::MAX, |stat| stat.started)
}

/// `end PID`
pub fn command(arguments: Arguments<'_>, _: &Appliance) -> Result<ExitCode, String> {
    let pid = arguments.next().and_then(|pid| pid.to_str()?.parse().ok()).filter(|pid| *pid > 1);
    end(pid.ok_or("expected the number of a process")?);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    /// Starts a shell in its own group, as a job, and waits until it has printed a line.
    fn start(mark: &str, script: &str) -> Child {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .env("JIDO_TEST_MARK", mark)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut line).unwrap();
        child
    }

    /// What a process and its descendants have in common. A zombie has no environment.
    fn n_running(mark: &str) -> usize {
        let own = format!("JIDO_TEST_MARK={mark}");
        let environments =
            fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.unwrap().path().join("environ")).ok());
        environments.filter(|text| text.split(|byte| *byte == 0).any(|variable| variable == own.as_bytes())).count()
    }

    fn check(name: &str, script: &str, is_alone: bool) {
        let mark = format!("{name} {}", std::process::id());
        let mut child = start(&mark, script);
        let mut other = start(&format!("other {mark}"), "echo; exec sleep 1000");
        // While a process starts its program, it has no environment for a moment.
        let (wanted, begun) = (if is_alone { 1 } else { 2 }, Instant::now());
        while n_running(&mark) < wanted && begun.elapsed().as_secs() < 10 {
            thread::yield_now();
        }
        assert!(n_running(&mark) >= wanted, "{name}");
        end(child.id().cast_signed());
        assert_eq!(n_running(&mark), 0, "{name}: something was left");
        assert_eq!(n_running(&format!("other {mark}")), 1, "{name}: a process of somebody else was ended");
        other.kill().unwrap();
        child.wait().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn a_process_ends_with_its_descendants() {
        check("plain", "sleep 1000 & (sleep 1000; :) & echo; wait", false);
        check("alone", "echo; exec sleep 1000", true);
    }

    #[test]
    fn a_process_that_ignores_the_request_to_end_is_killed() {
        check("deaf", "trap '' TERM; sleep 1000 & echo; while :; do wait; done", false);
    }

    #[test]
    fn what_is_started_while_a_process_is_ended_ends_too() {
        // By a handler, which ends at once; by one that takes its time; and by processes that follow each other.
        check("handler", "trap 'sleep 1000 & exit' TERM; sleep 1000 & echo; wait", false);
        check("slow", "trap 'sleep 0.2; sleep 1000 & sleep 0.2; exit' TERM; sleep 1000 & echo; wait", false);
        check("chain", "trap '' TERM; go() { sleep 0.1; ( go ) & exit; }; echo; go", true);
    }
}
