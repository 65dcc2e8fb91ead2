//! Runs programs of the machine for root's side, to reload the network and to query its state. Arguments are our own
//! words and parsed values.

use std::process::{Command, Stdio};

/// Runs a program to its end. Its output goes to the log of the job.
pub fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).status();
    if status.is_ok_and(|status| status.success()) { Ok(()) } else { Err(format!("{program} failed")) }
}

/// The same, ignoring failures, for example to remove something that may not exist.
pub fn try_run(program: &str, arguments: &[&str]) {
    drop(run(program, arguments));
}

/// The machine-readable output of a program; `None` if it fails.
pub fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program is installed.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether a systemd unit is running.
pub fn is_active(unit: &str) -> bool {
    ask("systemctl", &["is-active", "--quiet", unit]).is_some()
}

/// Whether a systemd unit starts at boot.
pub fn is_enabled(unit: &str) -> bool {
    ask("systemctl", &["is-enabled", "--quiet", unit]).is_some()
}
