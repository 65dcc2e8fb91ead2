//! The machine around the appliance, for `check`: files of others, users, programs, the clock. A test gives it another root.

use crate::appliance;
use crate::clock;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The user that the API runs as, and its group.
pub const USER: &str = "jidoteki-admin-api";

/// What `check` looks at beside the appliance's own folders.
pub struct Machine {
    /// Below which files are looked for.
    pub root: PathBuf,
    /// Where programs are looked for.
    pub path: OsString,
    /// Seconds since 1970.
    pub now: u64,
    /// The user who owns what must be root's.
    pub owner: u32,
    /// Whether we may look everywhere.
    pub is_root: bool,
    /// Bytes that can still be written into a folder.
    pub free: fn(&Path) -> Option<u64>,
}

/// What a program said.
pub struct Said {
    /// Whether it succeeded.
    pub is_good: bool,
    /// Its output, then its errors.
    pub text: String,
}

impl Machine {
    /// The one that we run on.
    pub fn this() -> Machine {
        Machine {
            root: PathBuf::from("/"),
            path: OsString::from("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            now: clock::now(),
            owner: 0,
            is_root: fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0),
            free: appliance::free_bytes,
        }
    }

    /// A file of this machine, by its whole path.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file; empty where there is none.
    pub fn text(&self, path: &str) -> String {
        appliance::read(&self.file(path))
            .map(|content| String::from_utf8_lossy(&content).into_owned())
            .unwrap_or_default()
    }

    /// Number and group of a user.
    pub fn user(&self, name: &str) -> Option<(u32, u32)> {
        let text = self.text("/etc/passwd");
        let mut fields = text.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    }

    /// Runs a program that only looks; `None` where there is none of that name.
    pub fn ask(&self, program: &str, arguments: &[&str]) -> Option<Said> {
        let program =
            std::env::split_paths(&self.path).map(|folder| folder.join(program)).find(|file| file.is_file())?;
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", &self.path)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let text = [output.stdout, output.stderr].concat();
        Some(Said { is_good: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() })
    }

    /// Whether one of these programs runs.
    pub fn runs(&self, names: &[&str]) -> bool {
        let Ok(entries) = fs::read_dir(self.file("/proc")) else { return false };
        entries.flatten().any(|entry| {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            names.contains(&name.trim())
        })
    }
}
