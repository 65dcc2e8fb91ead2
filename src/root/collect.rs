//! The contents of a support bundle: our own logs and those in `etc/logs.txt`, copied below a directory of root's, with
//! limits and without secrets. The command `collect`, for the jobs logs and debug.
//!
//! Logs are in directories where other users can write, and replace a file by a link or a pipe at any moment. Therefore
//! a file is first opened with `O_PATH`, which reads nothing and follows nothing. If that is a regular file, it is
//! opened by its descriptor. Links, pipes, sockets and devices are left out, and reported.

use crate::appliance::{self, Appliance};
use crate::jobs::job;
use crate::root::commands::Arguments;
use crate::root::list::{Found, Paths};
use crate::root::redact::{self, Secrets};
use crate::root::walk::{WalkError, names};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, stat};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const MAX_FILES: usize = 500;
const MAX_BYTES: usize = 64 << 20;
const MAX_BYTES_PER_FILE: u64 = 2 << 20;
/// Maximum files and directories to visit.
const MAX_LOOKS: usize = 100_000;
const MAX_DEPTH: usize = 32;
/// Time limit: the client waits, and the job ends this program later than this.
const TIME: Duration = Duration::from_secs(60);
/// Bytes at a cut of a file in which a newline is searched. Longer than any secret.
const MAX_BROKEN_LINE: usize = 4 << 10;
/// Maximum lines in the log of the job.
const MAX_NOTES: usize = 50;
/// Maximum bytes to redact at once for another program.
const MAX_INPUT_BYTES: u64 = 8 << 20;

/// Files that cannot be searched for secrets, or are secrets.
const UNREADABLE: [&[u8]; 7] = [b".xz", b".bz2", b".zst", b".lz4", b".key", b".pem", b".journal"];

/// `collect DIRECTORY audit|no-audit`: fills a directory of root's, with or without the audit log. Prints what was left
/// out, one per line.
pub fn command(arguments: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    let directory = arguments.next().ok_or("expected a directory")?;
    let audit = match arguments.next() {
        Some(word) if word == "no-audit" => Audit::LeftOut,
        Some(word) if word == "audit" => Audit::Included,
        Some(_) | None => return Err("expected audit or no-audit".to_owned()),
    };
    let mut collector = Collector::new(appliance, PathBuf::from(directory), audit);
    collector.collect(appliance);
    let mut output = collector.notes.join("\n");
    if !output.is_empty() {
        output.push('\n');
    }
    io::stdout().write_all(output.as_bytes()).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// `redact`: copies standard input without secrets. Bytes beyond 8 MiB are dropped.
pub fn redact(_: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    let mut input = Vec::new();
    io::stdin().take(MAX_INPUT_BYTES).read_to_end(&mut input).map_err(|error| error.to_string())?;
    io::stdout().write_all(&redact::text(&input, &Secrets::of(appliance))).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Whether to include the audit log: no, if the recipient may not use `GET /audit`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audit {
    Included,
    LeftOut,
}

struct Collector {
    directory: PathBuf,
    secrets: Secrets,
    /// Files and directories that are never collected, by device and inode, so that another name does not help.
    forbidden: BTreeSet<(u64, u64)>,
    audit: Audit,
    deadline: Instant,
    n_looks: usize,
    n_files: usize,
    n_bytes: usize,
    notes: Vec<String>,
    n_more_notes: usize,
}

/// A limit is reached, and was reported.
struct Full;

impl Collector {
    fn new(appliance: &Appliance, directory: PathBuf, audit: Audit) -> Collector {
        let etc = |name| appliance.etc_file(name);
        let mut paths: Vec<PathBuf> = ["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-"]
            .into_iter()
            .map(PathBuf::from)
            .chain([appliance.token_file(), appliance.setup_file(), appliance.keys_file()])
            .chain(["updates.key", "license.key", "license.asc"].map(etc))
            .chain(["lib", "state"].map(|name| appliance.admin().join(name)))
            .chain(["tls", "pki"].map(|name| appliance.etc().join(name)))
            .collect();
        if audit == Audit::LeftOut {
            paths.push(appliance.admin().join("audit"));
        }
        let identity = |path: &PathBuf| stat(path).ok().map(|stat| identity(&stat));
        Collector {
            directory,
            secrets: Secrets::of(appliance),
            forbidden: paths.iter().filter_map(identity).collect(),
            audit,
            deadline: Instant::now() + TIME,
            n_looks: 0,
            n_files: 0,
            n_bytes: 0,
            notes: Vec::new(),
            n_more_notes: 0,
        }
    }

    fn collect(&mut self, appliance: &Appliance) {
        let own = ["log", "audit"].map(|name| appliance.admin().join(name));
        let own: Vec<u8> =
            own.iter().flat_map(|path| [&escaped(path.as_os_str().as_bytes())[..], b"\n"].concat()).collect();
        let list = match appliance::read_trusted(&appliance.etc_file("logs.txt")) {
            Ok(list) => list,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.note(&format!("Ignored: etc/logs.txt: {error}"));
                Vec::new()
            }
        };
        for text in [own, list] {
            let paths = Paths::parse(&text, None);
            match paths.expand(&mut |found| self.visit_found(found)) {
                Ok(unmet) => unmet.iter().for_each(|unmet| self.note(&format!("Left out: {unmet}"))),
                Err(Full) => break,
            }
        }
        if self.n_more_notes > 0 {
            self.notes.push(format!("Left out: {} more", self.n_more_notes));
        }
    }

    fn visit_found(&mut self, found: Found<'_>) -> Result<(), Full> {
        let Some((directory, name)) = found.walk.parent() else { return Ok(()) };
        if found.is_link {
            self.leave_out(found.path, "it is a link; list its target instead");
            return Ok(());
        }
        // A directory inside an excluded one is not in the set itself.
        if found.walk.ancestors().any(|above| self.forbidden.contains(&identity(above))) {
            self.leave_out(found.path, "it is secret");
            return Ok(());
        }
        self.visit(directory, name, found.path, 0)
    }

    fn visit(&mut self, directory: &OwnedFd, name: &[u8], path: &[u8], depth: usize) -> Result<(), Full> {
        self.n_looks += 1;
        if self.n_looks > MAX_LOOKS || Instant::now() >= self.deadline {
            return Err(self.full("the time limit was reached"));
        }
        let opened = openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let (file, stat) = match opened.and_then(|file| fstat(&file).map(|stat| (file, stat))) {
            Ok(both) => both,
            Err(error) => {
                self.leave_out(path, &WalkError::from(error).to_string());
                return Ok(());
            }
        };
        if self.forbidden.contains(&identity(&stat)) {
            self.leave_out(path, "it is secret");
            return Ok(());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.take(directory, &file, &stat, path),
            FileType::Directory if depth < MAX_DEPTH => self.descend(&file, path, depth),
            FileType::Directory => {
                self.leave_out(path, "it is nested too deep");
                Ok(())
            }
            FileType::Symlink => {
                self.leave_out(path, "it is a link");
                Ok(())
            }
            _ => {
                self.leave_out(path, "it is not a regular file");
                Ok(())
            }
        }
    }

    fn descend(&mut self, directory: &OwnedFd, path: &[u8], depth: usize) -> Result<(), Full> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(directory, ".", flags, Mode::empty()).map_err(WalkError::from).and_then(names) {
            Ok(names) => {
                for name in names {
                    self.visit(directory, &name, &[path, b"/", &name].concat(), depth + 1)?;
                }
            }
            Err(lost) => self.leave_out(path, &lost.to_string()),
        }
        Ok(())
    }

    fn take(&mut self, directory: &OwnedFd, file: &OwnedFd, stat: &Stat, path: &[u8]) -> Result<(), Full> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        // A file without a size, as in /proc, is not a log.
        if stat.st_size <= 0 || (self.audit == Audit::LeftOut && name.starts_with(b"jidoteki-audit.log")) {
            return Ok(());
        }
        if UNREADABLE.iter().any(|end| name.ends_with(end)) {
            self.leave_out(path, "it cannot be searched for secrets");
            return Ok(());
        }
        // In its own directory, a user can link to another user's file.
        let owner = fstat(directory).map(|directory| directory.st_uid);
        if stat.st_nlink > 1 && owner != Ok(0) && owner != Ok(stat.st_uid) {
            self.leave_out(path, "it is another user's file with several hard links");
            return Ok(());
        }
        if self.n_files == MAX_FILES || self.n_bytes >= MAX_BYTES {
            return Err(self.full(&format!("more than {MAX_FILES} files or {} MiB", MAX_BYTES >> 20)));
        }
        let is_packed = name.ends_with(b".gz");
        let content =
            reopen(file).and_then(|file| if is_packed { unpacked(file) } else { end(file, MAX_BYTES_PER_FILE) });
        let clean = match content {
            Ok(content) => redact::text(&content, &self.secrets),
            Err(error) => {
                self.leave_out(path, &error.to_string());
                return Ok(());
            }
        };
        if clean.is_empty() {
            return Ok(());
        }
        let target = if is_packed { &path[..path.len() - 3] } else { path };
        let mut written = self.write(target, &clean);
        if is_packed && written.is_err() {
            // The file of that name was collected too.
            written = self.write(&[path, b".text"].concat(), &clean);
        }
        match written {
            Ok(()) => {
                self.n_files += 1;
                self.n_bytes += clean.len();
            }
            // Two entries of the list can mean the same file.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => self.leave_out(path, &error.to_string()),
        }
        Ok(())
    }

    fn write(&self, path: &[u8], content: &[u8]) -> io::Result<()> {
        let target = self.directory.join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)));
        if let Some(parent) = target.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target)?;
        file.write_all(content).inspect_err(|_| {
            // Half of it would look complete.
            let _ = std::fs::remove_file(&target);
        })
    }

    fn leave_out(&mut self, path: &[u8], reason: &str) {
        self.note(&format!("Left out: {}: {reason}", path.escape_ascii()));
    }

    fn full(&mut self, reason: &str) -> Full {
        self.notes.push(format!("Left out: the rest: {reason}"));
        Full
    }

    fn note(&mut self, note: &str) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note.to_owned());
        } else {
            self.n_more_notes += 1;
        }
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// A path as a list entry that means exactly this path.
fn escaped(path: &[u8]) -> Vec<u8> {
    path.iter().flat_map(|byte| if b" \t\\*?[".contains(byte) { vec![b'\\', *byte] } else { vec![*byte] }).collect()
}

/// Opens for reading the file that was checked.
fn reopen(file: &OwnedFd) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(openat(CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), flags, Mode::empty())?.into())
}

/// The end of a file. It starts with a complete line, because a secret in half a line would not be recognized.
fn end(mut file: File, n_bytes: u64) -> io::Result<Vec<u8>> {
    let cut = file.metadata()?.len().saturating_sub(n_bytes);
    file.seek(SeekFrom::Start(cut))?;
    let mut content = Vec::new();
    file.take(n_bytes).read_to_end(&mut content)?;
    if cut > 0 {
        let beginning = content.iter().take(MAX_BROKEN_LINE).position(|byte| *byte == b'\n');
        content.drain(..beginning.map_or(MAX_BROKEN_LINE.min(content.len()), |newline| newline + 1));
    }
    Ok(content)
}

/// The beginning of a compressed file's contents, up to the end of a line.
fn unpacked(file: File) -> io::Result<Vec<u8>> {
    let mut content = job::filter("gzip", &["-dc"], file, MAX_BYTES_PER_FILE + 1)?;
    if content.len() as u64 > MAX_BYTES_PER_FILE {
        let end = content.iter().rev().take(MAX_BROKEN_LINE).position(|byte| *byte == b'\n');
        content.truncate(content.len() - end.unwrap_or(MAX_BROKEN_LINE));
    }
    Ok(content)
}

/// The end of a log without secrets, for a caller whose scope does not include secrets.
pub fn redacted_end(path: &Path, appliance: &Appliance, n_bytes: u64) -> io::Result<Vec<u8>> {
    Ok(redact::text(&end(appliance::open(path)?, n_bytes)?, &Secrets::of(appliance)))
}
