//! Archives: backup, restore, and the contents of update packages. Jobs call it as `archive WORD ...`.
//!
//! An archive is read and written in one pass, of any size, and nothing in it is trusted. Names are bytes, files
//! are reached by descriptors, and links are data. Memory does not depend on the number of members.
//!
//! | word | what it does |
//! | --- | --- |
//! | `pack FILE` | packs the entries of `etc/backup.txt` into a new file, and checks it; prints its size and SHA-256 |
//! | `restore FILE` | checks an archive, unpacks it next to the data, and swaps it in |
//! | `recover` | after an interrupted restore: restores the previous data |
//! | `undo` | rolls back the last restore |
//! | `judge` | reads the tar of a package from standard input, and prints the KiB that it needs |
//! | `unpack DIRECTORY` | the same, and unpacks it into an empty directory: `gzip -dc FILE \| jidoteki-admin-jobs archive unpack DIRECTORY`. Files belong to the current user, with umask 027. |
//!
//! For a failure it prints a code and a reason, `E1005 The archive is damaged`, and exits with 1. File names are only
//! in the log.

mod acl;
mod judge;
mod links;
mod manifest;
mod member;
mod pack;
mod progress;
pub mod read;
mod restore;
mod sum;
mod tree;
mod unpack;
mod write;

use crate::appliance::{self, Appliance};
use crate::root::commands::Arguments;
use crate::root::list::{DATA, Paths};
use crate::root::walk::components;
use crate::values::clock;
use judge::{FOREIGN, Judge, Verdict};
use member::{Fault, Kind, Member};
use pack::Packer;
use progress::{Metered, Progress};
use read::Reader;
use restore::{Restore, Room};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use unpack::Unpacker;
use write::Writer;

/// The prefix of a stage's name.
const STAGE: &[u8] = b".jidoteki-restore";

/// Bytes that stay free on a disk, for logs and status files that report the result.
const RESERVE: u64 = 1 << 20;

/// Mode bits that unpacked packages do not get, whatever the builder's files had.
const MASK: u32 = 0o027;

/// Why a command failed: a code and a text for the client, and details for the log.
#[derive(Debug)]
pub struct Failure {
    code: &'static str,
    reason: String,
    detail: Option<String>,
}

impl Failure {
    fn new(code: &'static str, reason: &str) -> Failure {
        Failure { code, reason: reason.to_owned(), detail: None }
    }

    fn log(code: &'static str, reason: &str, detail: &str) -> Failure {
        Failure { code, reason: reason.to_owned(), detail: Some(detail.to_owned()) }
    }

    /// The same with another text for the client, unless the disk is full.
    fn with(self, reason: &str) -> Failure {
        if self.reason == FULL { self } else { Failure { reason: reason.to_owned(), ..self } }
    }
}

const FULL: &str = "The disk is full";

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        let detail = fault.to_string();
        match fault {
            Fault::NotTar => Failure::new("E1005", "The archive is not a tar file"),
            Fault::Damaged(_) => Failure::log("E1005", "The archive is damaged", &detail),
            Fault::Refused(FOREIGN, _) => {
                Failure::log("E1005", "The archive has files that are not in the backup list", &detail)
            }
            Fault::Refused(why, _) => Failure::log("E1005", &format!("The archive was refused: {why}"), &detail),
            Fault::File(_, error) | Fault::Io(error) => {
                let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                Failure::log("E1002", if is_full { FULL } else { "A file cannot be read or written" }, &detail)
            }
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Fault::from(error).into()
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Failure {
        Fault::from(error).into()
    }
}

/// A line in the job's log, which is our standard error.
fn say(text: &str) {
    let now = clock::now();
    // Continue even if the log cannot be written.
    let _ = writeln!(io::stderr(), "[{now}][SYSTEM] {text}");
}

/// Runs `archive WORD ...`.
pub fn run(arguments: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    let (word, operand) = (arguments.next().unwrap_or_default(), arguments.next());
    tree::allow_deep_trees();
    let result = match (word.as_bytes(), &operand) {
        (b"pack", Some(file)) => pack(Path::new(file), appliance),
        (b"restore", Some(file)) => restore(Path::new(file), appliance),
        (b"recover", None) => restore::recover(appliance).map(|()| String::new()),
        (b"undo", None) => restore::undo(appliance).map(|()| String::new()),
        (b"judge", None) => package(&mut io::stdin().lock(), None),
        (b"unpack", Some(directory)) => package(&mut io::stdin().lock(), Some(Path::new(directory))),
        _ => return Err("expected pack FILE, restore FILE, recover, undo, judge or unpack DIRECTORY".to_owned()),
    };
    let (text, status) = match result {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(failure) => {
            if let Some(detail) = failure.detail {
                say(&detail);
            }
            (format!("{} {}\n", failure.code, failure.reason), ExitCode::FAILURE)
        }
    };
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(status)
}

/// The backup list, if only root can have written it.
fn list(appliance: &Appliance) -> Result<Paths, Failure> {
    let text = appliance::read_trusted(&appliance.etc_file("backup.txt")).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new("E1003", "There is no backup list"),
        io::ErrorKind::PermissionDenied => Failure::new("E1000", "Users other than root can change the backup list"),
        _ => Failure::log("E1000", "The backup list cannot be read", &error.to_string()),
    })?;
    Ok(Paths::parse(&text, Some(DATA)))
}

fn pack(file: &Path, appliance: &Appliance) -> Result<String, Failure> {
    let list = list(appliance)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let roots = pack::roots(&list)?;
    if roots.is_empty() {
        return Err(Failure::new("E1003", "Nothing to back up: nothing in the backup list exists"));
    }
    let stages = restore::stage_inodes(appliance);
    let (_, needed) = Packer::<Metered<'_>>::new(&list, &stages, folder, None).walk(&roots)?;
    for folder in [folder, &appliance.uploads()] {
        need_room(folder, needed + (64 << 10), "E1000")?;
    }
    let archive = File::options().read(true).write(true).create_new(true).open(file)?;
    let mut progress = Progress::new(2 * needed);
    progress.begin("packing", 0);
    let writer = Writer::new(progress.meter(&archive))?;
    let packed = Packer::new(&list, &stages, folder, Some(writer)).walk(&roots);
    let (writer, _) = packed.map_err(|failure| failure.with(pack::UNABLE))?;
    let Some(writer) = writer else { return Err(Failure::new("E1000", pack::UNABLE)) };
    let (size, sum) = writer.finish()?;
    // Exactly the checks of RESTORE before it changes anything.
    io::Seek::rewind(&mut &archive)?;
    progress.begin("checking", needed);
    restore::pass(&mut progress.meter(&archive), Judge::of_backups(&list), None, None)?;
    Ok(format!("{} {}\n", readable(size), hex::encode(sum)))
}

fn restore(file: &Path, appliance: &Appliance) -> Result<String, Failure> {
    let list = list(appliance)?;
    if list.is_empty() {
        return Err(Failure::new("E1003", "Nothing can be restored: the backup list is empty"));
    }
    let judge = Judge::of_backups(&list);
    let mut room = Room::new()?;
    let archive = File::open(file)?;
    let size = archive.metadata()?.len();
    let mut progress = Progress::new(2 * size);
    progress.begin("checking", 0);
    restore::pass(&mut progress.meter(&archive), judge, None, Some(&mut room))?;
    if room.check().is_err() {
        // Data kept for UNDO is removed first to make space.
        drop(Restore::new(&list, appliance)?);
        room.check()?;
    }
    let mut restore = Restore::new(&list, appliance)?;
    io::Seek::rewind(&mut &archive)?;
    progress.begin("unpacking", size);
    restore::pass(&mut progress.meter(&archive), judge, Some(&mut restore), None)?;
    progress.begin("writing to disk", 2 * size);
    restore.swap()?;
    Ok(String::new())
}

/// Checks a package, and unpacks it if there is a directory.
fn package(archive: &mut dyn Read, directory: Option<&Path>) -> Result<String, Failure> {
    let refused = |fault: Fault| match fault {
        Fault::Refused(why, _) => Failure::log("E1005", why, &fault.to_string()),
        fault => fault.into(),
    };
    let base = directory.map(File::open).transpose()?;
    let mut reader = Reader::new(archive);
    let mut unpacker = Unpacker::new();
    let mut bytes = 0;
    while let Some(member) = reader.advance().map_err(refused)? {
        let verdict = Judge::of_packages().member(&member, false).map_err(refused)?;
        let Verdict::Unpack { path, target, .. } = verdict else { continue };
        bytes += member.data().next_multiple_of(4096) + 4096;
        let Some(base) = &base else { continue };
        let way: Vec<Vec<u8>> = components(&path).map(<[u8]>::to_vec).collect();
        if member.kind == Kind::HardLink {
            let from: Vec<Vec<u8>> = components(&target).map(<[u8]>::to_vec).collect();
            unpacker.link((base.as_fd(), &from), (base.as_fd(), 0), &way).map_err(refused)?;
            continue;
        }
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let member = Member { uid, gid, mode: member.mode & !MASK, attributes: Vec::new(), ..member };
        unpacker.put((base.as_fd(), 0), &way, &member, &mut reader).map_err(refused)?;
    }
    unpacker.finish()?;
    // Read the rest, so that the writer of the pipe is not killed.
    reader.finish()?;
    Ok(if base.is_none() { format!("{}\n", bytes / 1024 + 1) } else { String::new() })
}

/// Unpacks the tar of a package into an existing, empty directory. Returns whether it is complete.
pub fn unpack_package(mut archive: impl Read, directory: &Path) -> bool {
    package(&mut archive, Some(directory)).is_ok()
}

/// Checks each member of a package.
pub fn judge_package(mut archive: impl Read) -> bool {
    package(&mut archive, None).is_ok()
}

/// Checks that `RESERVE` stays free.
fn need_room(folder: &Path, bytes: u64, code: &'static str) -> Result<(), Failure> {
    let Some(free) = appliance::free_bytes(folder) else { return Ok(()) };
    if free >= bytes + RESERVE {
        return Ok(());
    }
    let (needed, free) = (bytes.div_ceil(1024), free / 1024);
    Err(Failure::new(code, &format!("Not enough free space: {needed} KiB needed, {free} KiB free")))
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// A human-readable size: 11.5K.
fn readable(bytes: u64) -> String {
    let mut text = String::new();
    let (mut number, mut units) = (bytes, "KMG".chars());
    let mut unit = units.next().unwrap_or('K');
    while number >= 1024 * 1024
        && let Some(next) = units.next()
    {
        number /= 1024;
        unit = next;
    }
    // Tenths, rounded, without floating point.
    let tenths = (number * 10 + 512) / 1024;
    let _ = write!(text, "{}.{}{unit}", tenths / 10, tenths % 10);
    text
}
