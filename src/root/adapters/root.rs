//! The files of the machine: replaces them, and saves and restores the originals from before our first change.

use super::HEADER;
use crate::appliance::{self, Appliance};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The suffix of an original file next to its replacement.
const KEPT: &str = ".before-jidoteki";
/// Lists the interfaces that had a default route before our first change, one per line.
const LED_OUT: &str = "network.before";

/// The root directory of the machine: `/`, except in tests.
pub struct Root {
    root: PathBuf,
    /// The state directory of root's jobs.
    state: PathBuf,
}

impl Root {
    pub fn new(appliance: &Appliance) -> Root {
        let root = std::env::var_os("JIDO_ROOT_PATH").filter(|root| !root.is_empty());
        Root { root: root.map_or_else(|| PathBuf::from("/"), PathBuf::from), state: appliance.admin().join("lib") }
    }

    /// A file or directory of the machine, named without the leading slash.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// The text of a file; `None` if there is none.
    pub fn text(&self, name: &str) -> Option<String> {
        text(&self.path(name))
    }

    /// Replaces a file atomically, unless it already has this content. Returns whether it changed.
    pub fn write(&self, name: &str, content: &str, mode: u32) -> Result<bool, String> {
        let path = self.path(name);
        if appliance::read(&path).is_ok_and(|now| now == content.as_bytes()) {
            return Ok(false);
        }
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
            appliance::replace(&path, content.as_bytes(), mode)?;
            appliance::set_mode(&path, mode)
        });
        written.map(|()| true).map_err(|error| format!("/{name} cannot be written ({})", error.kind()))
    }

    pub fn remove(&self, name: &str) -> Result<bool, String> {
        match fs::remove_file(self.path(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(format!("/{name} cannot be removed ({})", error.kind())),
        }
    }

    /// Where an original file is saved. If programs read every file of its directory, it is in another directory next
    /// to that.
    fn kept(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        match (path.parent(), path.file_name()) {
            (Some(folder), Some(file)) if folder.extension() == Some(OsStr::new("d")) => {
                let mut beside = folder.as_os_str().to_owned();
                beside.push(KEPT);
                PathBuf::from(beside).join(file)
            }
            _ => {
                let mut beside = path.into_os_string();
                beside.push(KEPT);
                PathBuf::from(beside)
            }
        }
    }

    /// The text of a file before our first change.
    pub fn text_before(&self, name: &str) -> Option<String> {
        text(&self.kept(name)).or_else(|| self.text(name)).filter(|text| !text.starts_with(HEADER))
    }

    /// Saves a file, unless its original is saved already.
    pub fn keep(&self, name: &str) -> Result<(), String> {
        let (path, kept) = (self.path(name), self.kept(name));
        let Ok(content) = appliance::read(&path) else { return Ok(()) };
        if kept.exists() || content.starts_with(HEADER.as_bytes()) {
            return Ok(());
        }
        let mode = fs::metadata(&path).map_or(0o644, |metadata| metadata.permissions().mode() & 0o7777);
        let done = kept
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| appliance::replace(&kept, &content, mode))
            .and_then(|()| appliance::set_mode(&kept, mode));
        done.map_err(|error| format!("/{name} cannot be kept ({})", error.kind()))
    }

    /// Restores an original file, or removes a file that did not exist. Returns whether anything changed.
    pub fn bring_back(&self, name: &str) -> Result<bool, String> {
        let (path, kept) = (self.path(name), self.kept(name));
        if kept.exists() {
            fs::rename(&kept, &path).map_err(|error| format!("/{name} cannot be brought back ({})", error.kind()))?;
            return Ok(true);
        }
        if self.text(name).is_some_and(|text| text.starts_with(HEADER)) { self.remove(name) } else { Ok(false) }
    }

    /// The regular files in a directory and the saved originals of it, as paths of the machine.
    pub fn files(&self, folder: &str) -> BTreeSet<String> {
        let kept = self.path(&format!("{folder}{KEPT}"));
        let entries = [self.path(folder), kept].into_iter().filter_map(|folder| fs::read_dir(folder).ok());
        let names = entries.flatten().flatten().filter(|entry| entry.path().is_file());
        names.filter_map(|entry| Some(format!("{folder}/{}", entry.file_name().to_str()?))).collect()
    }

    /// Removes the directory of originals, which is empty by now.
    pub fn forget_folder(&self, folder: &str) {
        // It may not exist.
        drop(fs::remove_dir(self.path(&format!("{folder}{KEPT}"))));
    }

    /// Interfaces that had a default route before our first change. `ours` is the interface of a change by a version
    /// that did not record this; `now` returns the current ones if there was no change.
    pub fn led_out_before(
        &self,
        ours: Option<&str>,
        now: impl Fn() -> BTreeSet<String>,
    ) -> Result<BTreeSet<String>, String> {
        let path = self.state.join(LED_OUT);
        if let Some(text) = text(&path) {
            return Ok(text.lines().map(str::to_owned).collect());
        }
        let names = ours.map_or_else(now, |ours| BTreeSet::from([ours.to_owned()]));
        let lines = lines(names.iter());
        let written = fs::create_dir_all(&self.state).and_then(|()| appliance::replace(&path, lines.as_bytes(), 0o600));
        written.map(|()| names).map_err(|error| format!("What leads out cannot be kept ({})", error.kind()))
    }

    pub fn forget_what_led_out(&self) -> Result<(), String> {
        match fs::remove_file(self.state.join(LED_OUT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("What led out cannot be forgotten ({})", error.kind()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Lines as the text of a file.
pub fn lines<T: AsRef<str>>(lines: impl Iterator<Item = T>) -> String {
    lines.fold(String::new(), |text, line| text + line.as_ref() + "\n")
}

fn text(path: &Path) -> Option<String> {
    appliance::read(path).ok().map(|content| String::from_utf8_lossy(&content).into_owned())
}
