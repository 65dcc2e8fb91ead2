//! Removes what interrupted jobs left in their private directories, what interrupted requests left in the exchange directory,
//! and expired uploads. The command `sweep`, for `recover.sh`: at boot and once a minute.

use crate::appliance::{Appliance, resumable};
use crate::jobs::{JOBS, Job, Row};
use crate::root::commands::Arguments;
use crate::root::process;
use crate::values::clock;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::ExitCode;

/// Seconds after which an unchanged input is removed. A job takes its inputs within seconds.
const AGE: u64 = 60;

/// `sweep`
pub fn command(_: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    let private = appliance.admin().join("lib");
    if !private.is_dir() {
        DirBuilder::new().mode(0o700).create(&private).map_err(|error| error.to_string())?;
    }
    let swept = work(&private).and_then(|()| {
        for row in JOBS {
            for name in row.operations.iter().flat_map(|operation| operation.inputs) {
                upload(appliance, &private, row, name)?;
                upload(appliance, &private, row, &format!(".{name}.new"))?;
            }
        }
        resumable::sweep(appliance)
    });
    swept.map(|()| ExitCode::SUCCESS).map_err(|error| error.to_string())
}

/// The private key of a certificate or half of an update must not stay until the next request of its kind. An update that is
/// still to be rolled back or completed keeps its files.
fn work(private: &Path) -> io::Result<()> {
    let folder = private.join("work");
    if !folder.is_dir() {
        return Ok(());
    }
    let guard = guard(private, "work")?;
    guard.lock()?;
    // After a power cut, each of the two can exist without the other.
    let owned = names(private)?.into_iter().filter_map(|name| Some(name.strip_suffix(".owner")?.to_owned()));
    for name in names(&folder)?.into_iter().chain(owned) {
        let owner = private.join(format!("{name}.owner"));
        let is_open = |file: &str| private.join(file).is_file();
        if process::running(&owner).is_some()
            || (name == "update" && (is_open("update.applying") || is_open("update.applied")))
        {
            continue;
        }
        let child = private.join(format!("{name}.child"));
        if let Some(pid) = process::running(&child) {
            log::warn!("ending the processes that an interrupted {name} left ({pid})");
            process::end(pid);
        }
        remove(&child)?;
        ignore_missing(fs::remove_dir_all(folder.join(&name)))?;
        remove(&owner)?;
    }
    Ok(())
}

/// Removes an input that no job took, or half of one: the request was interrupted before it started its job. Times are since
/// the boot, because the clock can jump.
fn upload(appliance: &Appliance, private: &Path, row: &Row, name: &str) -> io::Result<()> {
    let path = appliance.uploads().join(name);
    let seen = private.join(format!("left.{name}"));
    let Ok(metadata) = path.symlink_metadata() else { return remove(&seen) };
    // A request leaves its lock next to its inputs, and both have the same owner. SFTP users can use any name.
    let lock = appliance.uploads().join(row.lock).symlink_metadata();
    let Some((_, up)) = clock::boot().filter(|_| lock.is_ok_and(|lock| lock.uid() == metadata.uid())) else {
        return Ok(());
    };
    let mark = format!("{} {}", metadata.ino(), metadata.ctime());
    let before = fs::read_to_string(&seen).unwrap_or_default();
    match before.trim().split_once(' ').map(|(since, mark)| (since.parse::<u64>(), mark)) {
        Some((Ok(since), seen)) if seen == mark => {
            let is_old = up.checked_sub(since).is_none_or(|age| age >= AGE);
            if is_old && is_free(private, row)? {
                // A directory of this name is not ours, and no job takes it.
                drop(fs::remove_file(&path));
            }
            Ok(())
        }
        _ => fs::write(&seen, format!("{up} {mark}\n")),
    }
}

/// A job that waits for its guard during a rollback has not taken its input yet.
fn is_free(private: &Path, row: &Row) -> io::Result<bool> {
    let name = if row.job == Job::Backup { "restore" } else { row.name };
    match File::open(private.join(format!("{name}.guard"))) {
        Ok(guard) => Ok(guard.try_lock().is_ok()),
        Err(error) => ignore_missing(Err(error)).map(|()| true),
    }
}

fn guard(private: &Path, name: &str) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(private.join(format!("{name}.guard")))
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
}

fn remove(path: &Path) -> io::Result<()> {
    ignore_missing(fs::remove_file(path))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
