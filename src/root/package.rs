//! Update packages: the checks before any of it runs. The command `package` serves the job update and the script that
//! builds packages, so that no vendor ships a package that an appliance refuses.
//!
//! | words | what it does |
//! | --- | --- |
//! | `waiting` | prints the name of the next package in the exchange directory; nothing if there is none |
//! | `version` | prints the current version; nothing if it is unknown |
//! | `reads-legacy` | exits with 0 if root allows packages with the ancestor's ciphers, otherwise with 1 |
//! | `judge DIRECTORY` | checks an unpacked package; prints its version (`-` for none) and the time limit of its script |
//! | `describe DIRECTORY` | the same; prints the body of `POST /update/inspect` |
//! | `read UPLOAD` | prints the upload with this id |
//! | `check DIRECTORY` | the same on a vendor's machine, without a current version |
//!
//! For a refused package it prints a code and a reason, `E1001 Software update package has no version`, and exits with
//! 1.

use crate::appliance::resumable;
use crate::appliance::{self, Appliance};
use crate::root::commands::Arguments;
use crate::root::list;
use crate::root::version::{Version, natural};
use crate::values::json::quote;
use rustix::fs::{Mode, OFlags, StatVfsMountFlags, statvfs};
use serde::Deserialize;
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

/// Default and maximum time limit of update.sh in seconds.
const TIME_LIMIT: u64 = 1800;
const MAX_TIME_LIMIT: u64 = 86400;

/// The package from the executable; it takes precedence over packages from SFTP.
const HANDED_OVER: &str = "software_package-zzz.enc";

/// Bytes to read at a time.
const BUFFER: usize = 64 << 10;

/// Bytes of a changelog to show, and of a script to check: it can contain an archive after them.
const BEGINNING: u64 = 64 << 10;

/// Why a package is refused: a code for programs, a reason for people.
#[derive(Debug, PartialEq, Eq)]
struct Refusal(&'static str, String);

/// What a package requests.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    version: Option<Version>,
    time_limit: u64,
}

/// Where a package is checked.
enum Place {
    /// On an appliance, with its current version if known.
    Appliance(Option<Version>),
    Vendor,
}

/// Runs the command.
pub fn command(arguments: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    let (word, directory) = (arguments.next().unwrap_or_default(), arguments.next());
    let result = match (word.to_str(), &directory) {
        (Some("waiting"), None) => Ok(waiting(&appliance.uploads())),
        (Some("version"), None) => Ok(current_version(appliance).map(|version| version.to_string())),
        (Some("reads-legacy"), None) => {
            return Ok(if reads_legacy(&appliance.config_file()) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        (Some("judge"), Some(directory)) => judge(Path::new(directory), &Place::Appliance(current_version(appliance)))
            .map(|package| Some(package.to_string())),
        (Some("describe"), Some(directory)) => describe(Path::new(directory), current_version(appliance)).map(Some),
        (Some("read"), Some(id)) => {
            read_upload(appliance, id).map_err(|error| error.to_string())?;
            Ok(None)
        }
        (Some("check"), Some(directory)) => {
            judge(Path::new(directory), &Place::Vendor).map(|package| Some(package.to_string()))
        }
        _ => return Err("expected a word, and what it needs".to_owned()),
    };
    let (line, status) = match result {
        Ok(line) => (line.unwrap_or_default(), ExitCode::SUCCESS),
        Err(Refusal(code, reason)) => (format!("{code} {reason}"), ExitCode::FAILURE),
    };
    if !line.is_empty() {
        io::stdout().write_all(format!("{line}\n").as_bytes()).map_err(|error| error.to_string())?;
    }
    Ok(status)
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{version} {}", self.time_limit),
            None => write!(f, "- {}", self.time_limit),
        }
    }
}

/// The next package: the one from the executable, otherwise the newest from SFTP, as the ancestor chose.
fn waiting(uploads: &Path) -> Option<String> {
    let is_package = |name: &String| {
        name.strip_prefix("software_package-").is_some_and(|rest| rest.strip_suffix(".enc").is_some())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte))
    };
    let names = fs::read_dir(uploads).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(is_package).max_by(|one, other| {
        let is_ours = |name: &str| name == HANDED_OVER;
        is_ours(one).cmp(&is_ours(other)).then_with(|| natural(one.as_bytes(), other.as_bytes()))
    })
}

/// The version of this appliance. If `version.txt` is lost, the version of the last update counts, so that an older
/// package is still refused.
fn current_version(appliance: &Appliance) -> Option<Version> {
    [appliance.etc_file("version.txt"), appliance.admin().join("lib/update.version")]
        .iter()
        .find_map(|path| Version::of_file(&appliance::read(path).ok()?))
}

/// Whether root allows packages that the ancestor's tools encrypted. Weak ciphers only affect secrecy: the signature is
/// always checked.
fn reads_legacy(config: &Path) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Config {
        update_ciphers: Option<String>,
    }
    let Ok(text) = appliance::read_trusted(config) else { return false };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    serde_json::from_slice::<Config>(text).is_ok_and(|config| config.update_ciphers.as_deref() == Some("legacy"))
}

/// Prints an upload. Its directory belongs to the web side: nothing there may be a link, and a pipe must not block.
fn read_upload(appliance: &Appliance, id: &OsStr) -> io::Result<()> {
    let id = id.to_str().filter(|id| resumable::is_id(id)).ok_or(io::ErrorKind::InvalidInput)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let path = appliance.uploads().join(resumable::FOLDER);
    let folder = rustix::fs::open(path, flags | OFlags::DIRECTORY, Mode::empty())?;
    let mut file = appliance::regular(rustix::fs::openat(folder, id, flags, Mode::empty())?.into())?;
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            n => out.write_all(&buffer[..n])?,
        }
    }
}

/// What a client wants to know of a package before it installs it.
fn describe(directory: &Path, before: Option<Version>) -> Result<String, Refusal> {
    let text = |version: Option<&Version>| version.map_or("null".to_owned(), |version| quote(&version.to_string()));
    let before_text = text(before.as_ref());
    let package = judge(directory, &Place::Appliance(before))?;
    let changelog = beginning(&directory.join("changelog.txt")).unwrap_or_default();
    Ok(format!(
        "{{\"version\":{},\"version-before\":{before_text},\"signature\":\"valid\",\"changelog\":{}}}",
        text(package.version.as_ref()),
        quote(&String::from_utf8_lossy(&changelog)),
    ))
}

fn judge(directory: &Path, place: &Place) -> Result<Package, Refusal> {
    // Through a link, root would show any file of the appliance.
    for name in ["version.txt", "changelog.txt", "update.conf", "rollback.sh"] {
        if directory.join(name).symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Refusal("E1002", format!("{name} is not a regular file")));
        }
    }
    let options = Options::read(&directory.join("update.conf"));
    let version = appliance::read(&directory.join("version.txt")).ok().and_then(|content| Version::of_file(&content));
    match (&version, place) {
        (None, _) if options.allows_downgrade => {}
        (None, _) => return Err(Refusal("E1001", "Software update package has no version".to_owned())),
        (Some(version), Place::Appliance(Some(before))) if !options.allows_downgrade => {
            if version == before {
                return Err(Refusal("E1001", format!("Software update package v{version} already up-to-date")));
            }
            if version.compare(before) == Ordering::Less {
                return Err(Refusal("E1001", format!("Software update package v{version} is too old")));
            }
        }
        (Some(_), _) => {}
    }
    let time_limit = options.time_limit()?;
    check_script(directory, "update.sh")?;
    if directory.join("rollback.sh").symlink_metadata().is_ok() {
        check_script(directory, "rollback.sh")?;
    }
    if matches!(place, Place::Appliance(_)) && is_noexec(directory) {
        let reason = "The admin path is on a file system that is mounted noexec: update.sh cannot run";
        return Err(Refusal("E1002", reason.to_owned()));
    }
    Ok(Package { version, time_limit })
}

/// The package's own `update.conf`, covered by its signature: lines `NAME=VALUE`; the last one of a name counts.
#[derive(Default)]
struct Options {
    allows_downgrade: bool,
    time_limit: Option<Vec<u8>>,
}

impl Options {
    fn read(path: &Path) -> Options {
        let mut options = Options::default();
        for line in list::lines(&appliance::read(path).unwrap_or_default()) {
            if let Some(value) = line.strip_prefix(b"allow-downgrade=") {
                options.allows_downgrade = value == b"yes";
            } else if let Some(value) = line.strip_prefix(b"time-limit=") {
                options.time_limit = Some(value.to_vec()).filter(|value| !value.is_empty());
            }
        }
        options
    }

    fn time_limit(&self) -> Result<u64, Refusal> {
        let Some(value) = &self.time_limit else { return Ok(TIME_LIMIT) };
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(digits) = digits else {
            return Err(Refusal("E1002", "The time limit of the package is not a number of seconds".to_owned()));
        };
        // A number that overflows is also above the limit.
        digits.parse().ok().filter(|limit| *limit <= MAX_TIME_LIMIT).ok_or_else(|| {
            Refusal("E1002", format!("The time limit of the package is longer than {MAX_TIME_LIMIT} seconds"))
        })
    }
}

/// A script must be a file that the kernel can start. One that was saved on Windows names an interpreter with a CR at
/// its end.
fn check_script(directory: &Path, name: &str) -> Result<(), Refusal> {
    let refuse = |reason: String| Err(Refusal("E1002", reason));
    let path = directory.join(name);
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
        return refuse("No update script in the package".to_owned());
    }
    let Ok(content) = beginning(&path) else { return refuse(format!("{name} cannot be read")) };
    if content.is_empty() {
        return refuse(format!("{name} is empty"));
    }
    if content.starts_with(b"\xef\xbb\xbf") {
        return refuse(format!("{name} begins with a byte order mark: save it without one"));
    }
    let mut lines = content.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).peekable();
    let is_first = lines.peek().is_some_and(|line| line.ends_with(b"\r\n"));
    let (with_cr, without): (Vec<_>, Vec<_>) = lines.partition(|line| line.ends_with(b"\r\n"));
    if is_first || with_cr.len() > without.len() {
        return refuse(format!("{name} has Windows line endings (CRLF): save it with LF"));
    }
    Ok(())
}

fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(BEGINNING).read_to_end(&mut content)?;
    Ok(content)
}

fn is_noexec(directory: &Path) -> bool {
    statvfs(directory).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::sync::atomic::{self, AtomicU32};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, atomic::Ordering::Relaxed);
            let root = std::env::temp_dir().join(format!("package-{name}-{}-{number}", std::process::id()));
            drop(fs::remove_dir_all(&root));
            fs::create_dir(&root).unwrap();
            Folder(root)
        }

        fn with(&self, files: &[(&str, &str)]) -> &Path {
            for (name, content) in files {
                fs::write(self.0.join(name), content).unwrap();
            }
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    const SCRIPT: (&str, &str) = ("update.sh", "#!/bin/sh\n");

    #[track_caller]
    fn check(before: &str, files: &[(&str, &str)], expected: Result<&str, (&'static str, &str)>) {
        let folder = Folder::new("judge");
        let place = Place::Appliance(Version::parse(before));
        let judged = judge(folder.with(files), &place).map(|package| package.to_string());
        assert_eq!(judged, expected.map(str::to_owned).map_err(|(code, reason)| Refusal(code, reason.to_owned())));
    }

    #[test]
    fn a_package_is_judged_by_its_version_and_its_options() {
        let version = |text: &'static str| ("version.txt", text);
        let too_old = |text: &'static str| Err(("E1001", text));
        check("", &[version("1.0\r\n"), SCRIPT], Ok("1.0 1800"));
        check("1.0.9", &[version("1.0.10"), SCRIPT], Ok("1.0.10 1800"));
        check("2.0.0-rc.1", &[version("2.0.0"), SCRIPT], Ok("2.0.0 1800"));
        check("2.0.0", &[version("v2.0.0-rc.1"), SCRIPT], too_old("Software update package vv2.0.0-rc.1 is too old"));
        check("1.0", &[version("1.0"), SCRIPT], too_old("Software update package v1.0 already up-to-date"));
        // Another build of the same version is not older.
        check("1.0.0+2", &[version("1.0.0+1"), SCRIPT], Ok("1.0.0+1 1800"));
        check("1.0", &[SCRIPT], too_old("Software update package has no version"));
        check("1.0", &[SCRIPT, ("update.conf", "allow-downgrade=yes\r\n")], Ok("- 1800"));
        check("1.0", &[version("0.9"), SCRIPT, ("update.conf", "allow-downgrade=yes")], Ok("0.9 1800"));
        check(
            "1.0",
            &[version("0.9"), SCRIPT, ("update.conf", "#\nallow-downgrade=yes\nallow-downgrade=no\n")],
            too_old("Software update package v0.9 is too old"),
        );
        for (limit, expected) in [
            ("60", Ok("2.0 60")),
            ("", Ok("2.0 1800")),
            ("86400\r", Ok("2.0 86400")),
            ("86401", Err(("E1002", "The time limit of the package is longer than 86400 seconds"))),
            ("99999999999999999999999", Err(("E1002", "The time limit of the package is longer than 86400 seconds"))),
            ("-1", Err(("E1002", "The time limit of the package is not a number of seconds"))),
        ] {
            check("1.0", &[version("2.0"), SCRIPT, ("update.conf", &format!("time-limit={limit}\n"))], expected);
        }
    }

    #[test]
    fn a_script_that_cannot_start_is_named() {
        for (content, reason) in [
            ("#!/bin/sh\r\necho\r\n", Some("update.sh has Windows line endings (CRLF): save it with LF")),
            ("#!/bin/sh\necho\r\necho\r\n", Some("update.sh has Windows line endings (CRLF): save it with LF")),
            ("#!/bin/sh\ncat <<end\nx\r\nend\n", None),
            ("\u{feff}#!/bin/sh\n", Some("update.sh begins with a byte order mark: save it without one")),
            ("", Some("update.sh is empty")),
            ("#!/usr/bin/python3", None),
        ] {
            let files = [("version.txt", "1.0"), ("update.sh", content)];
            check("", &files, reason.map_or(Ok("1.0 1800"), |reason| Err(("E1002", reason))));
        }
        check("", &[("version.txt", "1.0")], Err(("E1002", "No update script in the package")));
        let rollback = ("rollback.sh", "#!/bin/sh\r\n");
        let reason = "rollback.sh has Windows line endings (CRLF): save it with LF";
        check("", &[("version.txt", "1.0"), SCRIPT, rollback], Err(("E1002", reason)));
        let folder = Folder::new("link");
        symlink("/bin/true", folder.with(&[("version.txt", "1.0")]).join("update.sh")).unwrap();
        assert!(judge(&folder.0, &Place::Vendor).is_err());
    }

    #[test]
    fn an_uploaded_file_takes_precedence_over_the_newest_of_sftp() {
        let folder = Folder::new("waiting");
        assert_eq!(waiting(&folder.0), None);
        folder.with(&[
            ("software_package-1.9.enc", ""),
            ("software_package-1.10.enc", ""),
            ("software_package-2 0.enc", ""),
            ("software_package-3.enc.part", ""),
            ("backup.tar", ""),
        ]);
        assert_eq!(waiting(&folder.0).as_deref(), Some("software_package-1.10.enc"));
        folder.with(&[("software_package-zzzz.enc", ""), (HANDED_OVER, "")]);
        assert_eq!(waiting(&folder.0).as_deref(), Some(HANDED_OVER));
    }

    #[test]
    fn the_ancestors_ciphers_are_read_only_where_root_says_so() {
        let folder = Folder::new("ciphers");
        let path = folder.0.join("config.json");
        assert!(!reads_legacy(&path));
        for (text, reads) in [
            ("{\"update-ciphers\":\"legacy\",\"endpoints\":[]}", true),
            ("{\"update-ciphers\":\"modern\"}", false),
            ("{\"update-ciphers\":true}", false),
            ("{\"update-ciphers\":\"legacy\"", false),
            ("{}", false),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
            assert_eq!(reads_legacy(&path), reads, "{text}");
            fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
            assert!(!reads_legacy(&path), "others could have written it");
        }
    }
}
