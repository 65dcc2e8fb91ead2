//! The machine around the appliance, for `check`: other files, users, programs, the clock. Tests use another root.

use crate::appliance;
use crate::values::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The API's user and group.
pub const USER: &str = "jidoteki-admin-api";
/// The user of our nginx workers.
pub const WEB_USER: &str = "jidoteki-admin-web";

/// What `check` examines outside the appliance's own directories.
pub struct Machine {
    /// The root directory for files.
    pub root: PathBuf,
    /// The PATH for programs.
    pub path: OsString,
    /// Seconds since 1970.
    pub now: u64,
    /// The user that must own root's files.
    pub owner: u32,
    /// Whether everything can be checked.
    pub is_root: bool,
    /// Returns the free bytes in a directory.
    pub free: fn(&Path) -> Option<u64>,
    /// The appliance's port; `None` to skip the connection.
    pub port: Option<u16>,
}

/// The web server's port, as set by `install.sh`.
const PORT: u16 = 8443;

/// The result of a program.
pub struct ProgramOutput {
    /// Whether it succeeded.
    pub is_good: bool,
    /// Its output, then its errors.
    pub text: String,
}

impl Machine {
    pub fn this() -> Machine {
        Machine {
            root: PathBuf::from("/"),
            path: OsString::from("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            now: clock::now(),
            owner: 0,
            is_root: fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0),
            free: appliance::free_bytes,
            port: Some(PORT),
        }
    }

    /// A file of this machine, by its absolute path.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file; empty if there is none.
    pub fn text(&self, path: &str) -> String {
        appliance::read(&self.file(path))
            .map(|content| String::from_utf8_lossy(&content).into_owned())
            .unwrap_or_default()
    }

    /// The ids of a user.
    pub fn user(&self, name: &str) -> Option<(u32, u32)> {
        let text = self.text("/etc/passwd");
        let mut fields = text.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    }

    /// The name of a group.
    pub fn group(&self, number: u32) -> Option<String> {
        let text = self.text("/etc/group");
        let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        lines.find(|fields| fields.get(2) == Some(&number.to_string().as_str())).map(|fields| fields[0].to_owned())
    }

    /// Runs a program that changes nothing; `None` if it is not installed.
    pub fn ask(&self, program: &str, arguments: &[&str]) -> Option<ProgramOutput> {
        let output = Command::new(self.program(program)?)
            .args(arguments)
            .env_clear()
            .env("PATH", &self.path)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let text = [output.stdout, output.stderr].concat();
        Some(ProgramOutput { is_good: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() })
    }

    /// Sends bytes to a program and reads its output until it ends, has printed enough, or takes too long; then it is
    /// killed.
    pub fn converse(
        &self,
        program: &str,
        arguments: &[&str],
        input: &[u8],
        patience: Duration,
        is_enough: impl Fn(&[u8]) -> bool,
    ) -> Vec<u8> {
        let mut said = Vec::new();
        let Some(program) = self.program(program) else { return said };
        let started = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", &self.path)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = started else { return said };
        // Keep its input open: at the end of input, the program may end before the response arrives.
        let mut to = child.stdin.take();
        drop(to.as_mut().map(|to| to.write_all(input).and_then(|()| to.flush())));
        let deadline = Instant::now() + patience;
        let mut piece = [0; 4096];
        while let Some(from) = child.stdout.as_mut()
            && is_readable(from, deadline.saturating_duration_since(Instant::now()))
            && let Ok(n @ 1..) = from.read(&mut piece)
        {
            said.extend_from_slice(&piece[..n]);
            if is_enough(&said) {
                break;
            }
        }
        drop(child.kill());
        drop(child.wait());
        said
    }

    /// The name of the program that listens on a port (IPv4 or IPv6); `None` if there is none or it is not visible.
    pub fn listener(&self, port: u16) -> Option<String> {
        let tables = self.text("/proc/net/tcp") + &self.text("/proc/net/tcp6");
        // "sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode": state 0A is LISTEN.
        let socket = tables.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1)?.rsplit_once(':')?.1;
            let is_it = u16::from_str_radix(local, 16) == Ok(port) && *fields.get(3)? == "0A";
            is_it.then(|| format!("socket:[{}]", fields.get(9).copied().unwrap_or_default()))
        })?;
        let processes = fs::read_dir(self.file("/proc")).ok()?.flatten();
        let holds = |process: &Path| {
            let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == socket.as_str()))
        };
        let holder = processes.map(|entry| entry.path()).find(|process| holds(process))?;
        Some(fs::read_to_string(holder.join("comm")).ok()?.trim().to_owned())
    }

    /// The path of a program with this name, if installed.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path).map(|folder| folder.join(name)).find(|file| file.is_file())
    }

    /// Whether one of these programs is running.
    pub fn runs(&self, names: &[&str]) -> bool {
        let Ok(entries) = fs::read_dir(self.file("/proc")) else { return false };
        entries.flatten().any(|entry| {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            names.contains(&name.trim())
        })
    }
}

/// Whether a read would return within the time limit, with bytes or the end.
fn is_readable(from: &impl AsFd, patience: Duration) -> bool {
    let Ok(patience) = Timespec::try_from(patience) else { return false };
    poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&patience)).is_ok_and(|n_ready| n_ready > 0)
}
