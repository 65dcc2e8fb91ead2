//! Restores a backup: checks it, unpacks it next to the data, and swaps it in by renames with a journal. Also rolls
//! back an interrupted restore, or the last one.
//!
//! A **stage** is a directory `.jidoteki-restore` next to the data, in the same mount, that only root can enter. A
//! **holder** is a directory in which names are swapped. `new/N` of its stage contains the new files, `old/N` the
//! previous ones, `list.N` the new names. The directory that contains a listed path is a holder. A mount point cannot
//! be renamed, and a directory above one must not be. In these directories, from the listed path down to the mount
//! point, everything inside is swapped; the directory itself only gets its new attributes.
//!
//! `restore.journal` exists from before the first rename until after the last. `restore.undo` is the same table, kept
//! after success. A recovery examines where the files are, so it can itself be interrupted.

use super::judge::{Judge, Verdict};
use super::manifest::Check;
use super::member::{Fault, Kind, Member, shown};
use super::read::Reader;
use super::tree;
use super::unpack::Unpacker;
use super::{Failure, STAGE, say};
use crate::appliance::{self, Appliance};
use crate::root::list::Paths;
use crate::root::walk::{Walk, WalkError, components};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

const UNABLE: &str = "The archive cannot be unpacked";

/// An existing stage.
struct Stage {
    /// The directory of the stage.
    place: Vec<u8>,
    name: Vec<u8>,
    directory: OwnedFd,
}

/// A directory in which names are swapped.
struct Holder {
    row: Row,
    directory: OwnedFd,
    stage: OwnedFd,
    new: OwnedFd,
    old: OwnedFd,
    list: Option<BufWriter<File>>,
    /// The new attributes of the directory itself, if everything in it is swapped.
    attributes: Option<Member>,
}

/// A holder in the journal: enough to find and recognize it.
#[derive(Clone)]
struct Row {
    number: usize,
    is_whole: bool,
    path: Vec<u8>,
    inode: u64,
    stage: Vec<u8>,
    stage_inode: u64,
    /// The directory's change time, which changes with its entries.
    modified: (i64, u32),
    /// From a table of 2.0.0: the one name in the directory.
    of_2_0_0: Option<Vec<u8>>,
}

/// The destination of a path in the archive.
enum Spot {
    /// Below a holder's `new`.
    In(usize, Vec<Vec<u8>>),
    /// The path is a holder itself.
    Holder(usize),
    /// A filesystem that the list does not name is mounted there.
    Kept,
}

/// A restore in progress.
pub struct Restore<'a> {
    list: &'a Paths,
    state: PathBuf,
    mounts: Vec<Vec<u8>>,
    stages: Vec<Stage>,
    holders: Vec<Holder>,
    unpacker: Unpacker,
    /// The last located entry, and its real path.
    last: Option<(Vec<u8>, Vec<u8>)>,
    n_kept: usize,
}

impl<'a> Restore<'a> {
    /// Starts a restore: removes the data that the last one kept for UNDO.
    pub fn new(list: &'a Paths, appliance: &Appliance) -> Result<Restore<'a>, Failure> {
        let state = state(appliance);
        remove(&state.join("restore.undo"))?;
        drop_stages(appliance)?;
        let mounts = tree::mount_points()?;
        let unpacker = Unpacker::new();
        Ok(Restore { list, state, mounts, stages: Vec::new(), holders: Vec::new(), unpacker, last: None, n_kept: 0 })
    }

    /// Unpacks a checked member.
    pub fn take(&mut self, member: &Member, verdict: &Verdict, archive: &mut Reader<'_>) -> Result<(), Failure> {
        let Verdict::Unpack { path, entry, target } = verdict else { return Ok(()) };
        let is_entry = path.len() == *entry;
        match self.locate(path, *entry, is_entry && member.kind == Kind::Symlink)? {
            Spot::Kept => {
                self.n_kept += 1;
                if self.n_kept <= 20 {
                    say(&format!("Left as it is, because something is mounted there: {}", shown(path)));
                }
            }
            Spot::Holder(number) => {
                if member.kind != Kind::Directory {
                    return Err(Failure::log(
                        "E1002",
                        "Something is mounted where the archive has a file",
                        &shown(path),
                    ));
                }
                self.holders[number].attributes = Some(member.clone());
            }
            Spot::In(number, way) => {
                let is_new = if member.kind == Kind::HardLink {
                    let entry = self.entry_of(target).ok_or_else(|| Fault::Refused(MISSING, path.clone()))?;
                    let Spot::In(from, from_way) = self.locate(target, entry, false)? else {
                        return Err(Fault::Refused(MISSING, path.clone()).into());
                    };
                    let (from, to) = (&self.holders[from].new, &self.holders[number].new);
                    self.unpacker.link((from.as_fd(), &from_way), (to.as_fd(), number), &way)
                } else {
                    let to = &self.holders[number].new;
                    self.unpacker.put((to.as_fd(), number), &way, member, archive)
                };
                match is_new {
                    Ok(true) => self.holders[number].note(&way[0])?,
                    Ok(false) => {}
                    Err(Fault::Io(error)) => return Err(Failure::from(Fault::File(path.clone(), error)).with(UNABLE)),
                    Err(fault) => return Err(fault.into()),
                }
            }
        }
        Ok(())
    }

    fn entry_of(&self, path: &[u8]) -> Option<usize> {
        match self.list.place(path) {
            crate::root::list::Place::Inside(n) => Some(n),
            crate::root::list::Place::Above | crate::root::list::Place::Outside => None,
        }
    }

    /// Flushes everything to disk, and swaps it in.
    pub fn swap(mut self) -> Result<(), Failure> {
        self.unpacker.finish()?;
        if self.holders.is_empty() {
            return Err(Failure::new("E1005", "The archive contains nothing from the backup list"));
        }
        for holder in &mut self.holders {
            if let Some(mut list) = holder.list.take() {
                list.flush()?;
            }
        }
        for stage in &self.stages {
            rustix::fs::syncfs(&stage.directory)?;
        }
        let known: Vec<_> = self.mounts.iter().filter(|mount| self.concerns(mount)).collect();
        let now = tree::mount_points()?;
        if !now.iter().filter(|mount| self.concerns(mount)).eq(known) {
            return Err(Failure::new("E1002", "Something was mounted or unmounted during the restore"));
        }
        let rows: Vec<Row> = self.holders.iter().map(|holder| holder.row.clone()).collect();
        let journal = self.state.join("restore.journal");
        appliance::replace(&journal, &table(&rows), 0o600)?;
        for holder in &self.holders {
            holder.swap(&rows)?;
        }
        for stage in &self.stages {
            rustix::fs::syncfs(&stage.directory)?;
        }
        std::fs::rename(&journal, self.state.join("restore.undo"))?;
        flush(&self.state)
    }

    /// Whether a mount is below a path that will be renamed.
    fn concerns(&self, mount: &[u8]) -> bool {
        self.holders.iter().any(|holder| {
            let root: &[u8] = if holder.row.path == b"/" { b"" } else { &holder.row.path };
            let below = mount.strip_prefix(root).and_then(|rest| rest.strip_prefix(b"/"));
            let name = below.and_then(|below| components(below).next());
            name.is_some_and(|name| holder.row.is_whole || tree::exists(&holder.new, name).unwrap_or(true))
        })
    }

    /// The destination of a path; creates its holder if needed.
    fn locate(&mut self, path: &[u8], entry: usize, is_link: bool) -> Result<Spot, Failure> {
        let (entry, rest) = path.split_at(entry);
        let real = match &self.last {
            Some((known, real)) if known == entry => real.clone(),
            _ => {
                let real = self.find(entry)?;
                self.last = Some((entry.to_vec(), real.clone()));
                real
            }
        };
        if is_link && real != entry {
            say(&format!("Left as it is: {} is already a link", shown(entry)));
            return Ok(Spot::Kept);
        }
        let goal = [&real, rest].concat();
        let below = |outer: &[u8], path: &[u8]| path.starts_with(outer) && path.get(outer.len()) == Some(&b'/');
        if !self.mounts.iter().any(|mount| *mount == real || below(&real, mount)) {
            let (parent, _) = split(&real);
            let way = components(&goal[parent.len()..]).map(<[u8]>::to_vec).collect();
            let parent = if parent.is_empty() { b"/".to_vec() } else { parent.to_vec() };
            let holder = self.holder(&parent, false, &parent)?;
            return Ok(Spot::In(holder, way));
        }
        // From the entry downward, as long as something is mounted below.
        let mut inner: Option<usize> = None;
        let ends = (real.len()..=goal.len()).filter(|end| *end == goal.len() || goal[*end] == b'/');
        for end in ends.collect::<Vec<_>>() {
            let here = &goal[..end];
            let is_mount = self.mounts.iter().any(|mount| mount == here);
            let is_listed = here == real || self.list.has(&[entry, &here[real.len()..]].concat());
            if is_mount && !is_listed {
                return Ok(Spot::Kept);
            }
            if !is_mount && !self.mounts.iter().any(|mount| below(here, mount)) {
                break;
            }
            inner = Some(end);
        }
        let Some(end) = inner else { return Ok(Spot::Kept) };
        let here = goal[..end].to_vec();
        // The stage is in the same mount as the holder.
        let mount =
            self.mounts.iter().filter(|mount| **mount == here || below(mount, &here)).max_by_key(|mount| mount.len());
        let place = match mount {
            Some(mount) if *mount == real || below(&real, mount) => mount.clone(),
            Some(_) | None => split(&real).0.to_vec(),
        };
        let place = if place.is_empty() { b"/".to_vec() } else { place };
        let holder = self.holder(&here, true, &place)?;
        if end == goal.len() {
            return Ok(Spot::Holder(holder));
        }
        Ok(Spot::In(holder, components(&goal[end..]).map(<[u8]>::to_vec).collect()))
    }

    /// The real path of an entry. Creates missing directories above it.
    fn find(&self, entry: &[u8]) -> Result<Vec<u8>, Failure> {
        let lost = |lost: WalkError, path: &[u8]| {
            Failure::log("E1002", "A path of the backup list cannot be reached", &format!("{}: {lost}", shown(path)))
        };
        let names: Vec<&[u8]> = components(entry).collect();
        let mut walk = Walk::new().map_err(|error| lost(error, entry))?;
        for (at, name) in names.iter().enumerate() {
            let is_last = at + 1 == names.len();
            match walk.clone().go(name) {
                Ok(next) => walk = next,
                Err(WalkError::Missing) if tree::exists(walk.file(), name)? => {
                    return Err(lost(WalkError::Missing, &names[..=at].join(&b'/')));
                }
                Err(WalkError::Missing) if is_last => {
                    let walk = walk.arrive().map_err(|error| lost(error, entry))?;
                    let path = walk.path();
                    return Ok(if path == b"/" { [b"/", *name].concat() } else { [&path, &b"/"[..], name].concat() });
                }
                Err(WalkError::Missing) => {
                    let walk_here = walk.clone().arrive().map_err(|error| lost(error, entry))?;
                    let made = tree::create_directory(walk_here.file(), name)?;
                    // The owners of the data must be able to enter it.
                    rustix::fs::fchmod(&made, rustix::fs::Mode::from_raw_mode(0o755))?;
                    walk = walk.go(name).map_err(|error| lost(error, entry))?;
                }
                Err(error) => return Err(lost(error, entry)),
            }
        }
        let walk = walk.arrive().map_err(|error| lost(error, entry))?;
        let real = walk.path();
        if real != entry && (real == b"/" || self.list.place(&real) != crate::root::list::Place::Outside) {
            return Err(Failure::log("E1002", "Two paths of the backup list lead to the same place", &shown(entry)));
        }
        Ok(real)
    }

    /// The holder at a path, with a stage at `place`.
    fn holder(&mut self, path: &[u8], is_whole: bool, place: &[u8]) -> Result<usize, Failure> {
        let is_it = |holder: &Holder| holder.row.path == path && holder.row.is_whole == is_whole;
        // It is nearly always the last one.
        if let Some(number) = self.holders.iter().rposition(is_it) {
            return Ok(number);
        }
        let number = self.holders.len();
        let directory = open(path)?;
        let seen = tree::look(&directory, b"")?;
        let stage = self.stage(place)?;
        let stage_path = [&stage.place, &b"/"[..], &stage.name].concat();
        let stage = stage.directory.try_clone()?;
        let stage_inode = tree::look(&stage, b"")?.inode;
        let name = number.to_string();
        let new = tree::create_directory(&tree::directory(&stage, b"new")?, name.as_bytes())?;
        let old = tree::create_directory(&tree::directory(&stage, b"old")?, name.as_bytes())?;
        let list = File::from(tree::create(&stage, format!("list.{name}").as_bytes())?);
        let mut attributes = None;
        if is_whole {
            let member = tree::member_of(&directory)?;
            tree::set_attributes(&old, &member)?;
            attributes = Some(member);
        }
        let (inode, modified) = (seen.inode, seen.modified);
        let row = Row {
            number,
            is_whole,
            path: path.to_vec(),
            inode,
            stage: stage_path,
            stage_inode,
            modified,
            of_2_0_0: None,
        };
        let list = Some(BufWriter::new(list));
        self.holders.push(Holder { row, directory, stage, new, old, list, attributes });
        Ok(number)
    }

    fn stage(&mut self, place: &[u8]) -> Result<&Stage, Failure> {
        if let Some(at) = self.stages.iter().position(|stage| stage.place == place) {
            return Ok(&self.stages[at]);
        }
        let parent = open(place)?;
        let mut name = STAGE.to_vec();
        let mut number = 1;
        // Another file may have the name, on purpose or not.
        while tree::exists(&parent, &name)? {
            number += 1;
            name = [STAGE, format!(".{number}").as_bytes()].concat();
            if number == 1000 {
                return Err(Failure::log("E1002", "The place for the restore is taken", &shown(place)));
            }
        }
        // Record it first, so that it is removed even if the next step fails.
        let known = self.state.join("restore.stages");
        let mut text = appliance::read(&known).unwrap_or_default();
        let path = if place == b"/" { [b"/", &name[..]].concat() } else { [place, b"/", &name].concat() };
        text.extend_from_slice(&path);
        text.push(0);
        appliance::replace(&known, &text, 0o600)?;
        let directory = tree::create_directory(&parent, &name)?;
        tree::inherit_nothing(&directory);
        for part in [&b"new"[..], b"old"] {
            tree::create_directory(&directory, part)?;
        }
        let place = if place == b"/" { Vec::new() } else { place.to_vec() };
        self.stages.push(Stage { place, name, directory });
        let at = self.stages.len() - 1;
        Ok(&self.stages[at])
    }
}

const MISSING: &str = "a hard link leads to a file that is not in the archive";

impl Holder {
    /// Records a new name.
    fn note(&mut self, name: &[u8]) -> Result<(), Failure> {
        if let Some(list) = &mut self.list {
            list.write_all(name)?;
            list.write_all(&[0])?;
        }
        Ok(())
    }

    /// Moves current files to `old`, and new files into their place.
    fn swap(&self, rows: &[Row]) -> Result<(), Failure> {
        if self.row.is_whole {
            self.each_own(rows, &mut |name| {
                if tree::exists(&self.new, name)? {
                    return Ok(());
                }
                tree::shift(&self.directory, name, &self.old)
            })?;
        }
        self.each_listed(&mut |name| {
            match tree::shift(&self.directory, name, &self.old) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
            tree::shift(&self.new, name, &self.directory)
        })?;
        self.copy_attributes(self.attributes.clone())
    }

    /// Reverses `swap`, however far it got.
    fn roll_back(&self) -> Result<(), Failure> {
        self.each_listed(&mut |name| {
            if !tree::exists(&self.new, name)? {
                match tree::shift(&self.directory, name, &self.new) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error),
                }
            }
            if tree::exists(&self.old, name)? { self.move_back(name) } else { Ok(()) }
        })?;
        each_name(&self.old, &mut |name| self.move_back(name))?;
        let (seconds, nanoseconds) = self.row.modified;
        let member = tree::member_of(&self.old)?;
        self.copy_attributes(Some(Member { seconds, nanoseconds, ..member }))?;
        Ok(rustix::fs::syncfs(&self.directory)?)
    }

    /// Moves the previous files back. Files that somebody created in their place meanwhile are not among them.
    fn move_back(&self, name: &[u8]) -> Result<(), Errno> {
        match tree::shift(&self.old, name, &self.directory) {
            Err(Errno::EXIST | Errno::NOTEMPTY) => {
                tree::sweep(self.directory.as_fd(), name)?;
                tree::shift(&self.old, name, &self.directory)
            }
            result => result,
        }
    }

    fn copy_attributes(&self, model: Option<Member>) -> Result<(), Failure> {
        if let (true, Some(model)) = (self.row.is_whole, model) {
            tree::clear_attributes(&self.directory)?;
            tree::set_attributes(&self.directory, &model)?;
        }
        Ok(())
    }

    fn each_listed(&self, each: &mut dyn FnMut(&[u8]) -> Result<(), Errno>) -> Result<(), Failure> {
        let list = tree::file(&self.stage, format!("list.{}", self.row.number).as_bytes())?;
        let mut list = BufReader::new(File::from(list));
        let mut name = Vec::new();
        loop {
            name.clear();
            if list.read_until(0, &mut name)? == 0 {
                return Ok(());
            }
            name.pop();
            each(&name).map_err(|error| self.cannot(&name, error))?;
        }
    }

    /// The movable entries of a holder: not mount points, other holders, or stages.
    fn each_own(&self, rows: &[Row], each: &mut dyn FnMut(&[u8]) -> Result<(), Errno>) -> Result<(), Failure> {
        let mount = tree::look(&self.directory, b"")?.mount;
        each_name(&self.directory, &mut |name| {
            let path = if self.row.path == b"/" { Vec::new() } else { self.row.path.clone() };
            let path = [&path, &b"/"[..], name].concat();
            if rows.iter().any(|row| row.path == path || row.stage == path) {
                return Ok(());
            }
            let seen = tree::look(&self.directory, name)?;
            if seen.mount == mount { each(name) } else { Ok(()) }
        })
    }

    fn cannot(&self, name: &[u8], error: Errno) -> Failure {
        let path = [&self.row.path, &b"/"[..], name].concat();
        Failure::log("E1002", UNABLE, &format!("{} cannot be moved: {error}", shown(&path)))
    }
}

fn each_name(directory: &OwnedFd, each: &mut dyn FnMut(&[u8]) -> Result<(), Errno>) -> Result<(), Failure> {
    let mut last: Option<Vec<u8>> = None;
    loop {
        let names = tree::names(directory, last.as_deref())?;
        let Some(end) = names.last().cloned() else { return Ok(()) };
        for name in names {
            each(&name).map_err(|error| Failure::log("E1002", UNABLE, &format!("{}: {error}", shown(&name))))?;
        }
        last = Some(end);
    }
}

/// After an interrupted restore or undo: restores the previous data, and removes everything of ours except what UNDO
/// needs.
pub fn recover(appliance: &Appliance) -> Result<(), Failure> {
    let state = state(appliance);
    let journal = state.join("restore.journal");
    if journal.exists() {
        say("The last restore was interrupted: restoring the previous data");
        // While the journal exists, the stages contain the previous data and must not be removed.
        roll_back(&appliance::read(&journal)?)
            .map_err(|failure| failure.with("The previous data cannot be restored now"))?;
        remove(&journal)?;
        flush(&state)?;
    }
    if state.join("restore.undo").exists() { Ok(()) } else { drop_stages(appliance) }
}

/// Rolls back the last restore.
pub fn undo(appliance: &Appliance) -> Result<(), Failure> {
    let state = state(appliance);
    let (journal, undo) = (state.join("restore.journal"), state.join("restore.undo"));
    if !undo.exists() {
        return Err(Failure::new("E1003", "There is no restore to roll back"));
    }
    rows(&appliance::read(&undo)?)?;
    // From here on, it is an interrupted restore and ends like one.
    std::fs::rename(&undo, &journal)?;
    flush(&state)?;
    roll_back(&appliance::read(&journal)?)
        .map_err(|failure| failure.with("The previous data cannot be restored now"))?;
    remove(&journal)?;
    flush(&state)?;
    drop_stages(appliance)
}

fn roll_back(table: &[u8]) -> Result<(), Failure> {
    let rows = rows(table)?;
    // Restore inner holders first.
    for row in rows.iter().rev() {
        if let Some(old) = &row.of_2_0_0 {
            roll_back_2_0_0(row, old)?;
            continue;
        }
        let gone = |what: &str| Failure::log("E1002", UNABLE, &format!("{}: {what}", shown(&row.path)));
        let directory = open(&row.path)?;
        let stage = open(&row.stage)?;
        // Others may own the directories above, and replace them.
        if tree::look(&directory, b"")?.inode != row.inode || !is_ours(&stage, Some(row.stage_inode))? {
            return Err(gone("it was replaced by another directory"));
        }
        let name = row.number.to_string();
        let new = tree::directory(&tree::directory(&stage, b"new")?, name.as_bytes())?;
        let old = tree::directory(&tree::directory(&stage, b"old")?, name.as_bytes())?;
        Holder { row: row.clone(), directory, stage, new, old, list: None, attributes: None }.roll_back()?;
    }
    Ok(())
}

/// A line in 2.0.0's table: `new/N` and `old/N` of the stage are one name each.
fn roll_back_2_0_0(row: &Row, name: &[u8]) -> Result<(), Failure> {
    let directory = open(&row.path)?;
    let stage = open(&row.stage)?;
    if !is_ours(&stage, None)? {
        return Err(Failure::log(
            "E1002",
            UNABLE,
            &format!("{}: it was replaced by another directory", shown(&row.stage)),
        ));
    }
    let (new, old) = (tree::directory(&stage, b"new")?, tree::directory(&stage, b"old")?);
    let number = row.number.to_string().into_bytes();
    // "whole" means that the archive had the name; otherwise it only existed before.
    if row.is_whole && !tree::exists(&new, &number)? && tree::exists(&directory, name)? {
        rustix::fs::renameat(&directory, name, &new, number.as_slice())?;
    }
    if tree::exists(&old, &number)? {
        rustix::fs::renameat(&old, number.as_slice(), &directory, name)?;
    }
    Ok(rustix::fs::syncfs(&directory)?)
}

/// Whether a stage is ours: nobody else creates a directory that root owns and only root can enter.
fn is_ours(stage: &OwnedFd, inode: Option<u64>) -> Result<bool, Failure> {
    let seen = tree::look(stage, b"")?;
    let is_it = inode.is_none_or(|inode| inode == seen.inode);
    Ok(is_it && seen.uid == rustix::process::geteuid().as_raw() && seen.mode == 0o700)
}

/// Removes all stages. If something is mounted in one, it stays with its stage.
fn drop_stages(appliance: &Appliance) -> Result<(), Failure> {
    let known = state(appliance).join("restore.stages");
    let text = match std::fs::read(&known) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut kept = Vec::new();
    for path in stage_paths(&text) {
        let (place, name) = split(path);
        let Ok(place) = open(if place.is_empty() { b"/" } else { place }) else { continue };
        let Ok(stage) = tree::directory(&place, name) else { continue };
        if is_ours(&stage, None)? && !tree::sweep(place.as_fd(), name)? {
            say(&format!("Something is mounted in {}, which stays: unmount it", shown(path)));
            kept.extend_from_slice(path);
            kept.push(0);
        }
    }
    if kept.is_empty() { remove(&known) } else { Ok(appliance::replace(&known, &kept, 0o600)?) }
}

/// Inodes of the existing stages, which are next to the data but not part of it.
pub fn stage_inodes(appliance: &Appliance) -> BTreeSet<u64> {
    let text = std::fs::read(state(appliance).join("restore.stages")).unwrap_or_default();
    stage_paths(&text).filter_map(|path| Some(tree::look(open(path).ok()?, b"").ok()?.inode)).collect()
}

/// The recorded stages. 2.0.0 had a line for each.
fn stage_paths(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = if text.contains(&0) { 0 } else { b'\n' };
    text.split(move |byte| *byte == end).filter(|path| split(path).1.starts_with(STAGE))
}

fn table(rows: &[Row]) -> Vec<u8> {
    let mut text = Vec::new();
    for row in rows {
        let kind = if row.is_whole { "whole" } else { "names" };
        let (seconds, nanoseconds) = row.modified;
        let numbers = format!("{}\0{kind}\0{}\0{}\0{seconds}\0{nanoseconds}\0", row.number, row.inode, row.stage_inode);
        text.extend([numbers.as_bytes(), &row.path, b"\0", &row.stage, b"\0"].concat());
    }
    text
}

fn rows(text: &[u8]) -> Result<Vec<Row>, Failure> {
    let wrong = || Failure::new("E1000", "The journal of the restore cannot be read");
    let number = |field: &[u8]| str::from_utf8(field).ok().and_then(|field| field.parse().ok());
    if !text.contains(&0) {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| {
            let fields: Vec<&[u8]> = line.splitn(4, |byte| *byte == b'\t').collect();
            let [own, kind, stage, path] = fields.as_slice() else { return None };
            let (directory, name) = split(path);
            Some(Row {
                number: usize::try_from(number(own)?).ok()?,
                is_whole: *kind == b"new",
                path: if directory.is_empty() { b"/".to_vec() } else { directory.to_vec() },
                inode: 0,
                stage: stage.to_vec(),
                stage_inode: 0,
                modified: (0, 0),
                of_2_0_0: Some(name.to_vec()),
            })
        });
        return lines.collect::<Option<Vec<Row>>>().ok_or_else(wrong);
    }
    let mut fields: Vec<&[u8]> = text.split(|byte| *byte == 0).collect();
    if fields.pop() != Some(b"") || !fields.len().is_multiple_of(8) {
        return Err(wrong());
    }
    let rows = fields.chunks_exact(8).map(|row| {
        Some(Row {
            number: usize::try_from(number(row[0])?).ok()?,
            is_whole: row[1] == b"whole",
            inode: number(row[2])?,
            stage_inode: number(row[3])?,
            modified: (str::from_utf8(row[4]).ok()?.parse().ok()?, u32::try_from(number(row[5])?).ok()?),
            path: row[6].to_vec(),
            stage: row[7].to_vec(),
            of_2_0_0: None,
        })
    });
    rows.collect::<Option<Vec<Row>>>().ok_or_else(wrong)
}

/// Opens a directory by a recorded path, without following links that root did not make.
fn open(path: &[u8]) -> Result<OwnedFd, Failure> {
    let walk = Walk::new().and_then(|walk| walk.go(path)).and_then(Walk::arrive);
    let walk = walk.map_err(|lost| Failure::log("E1002", UNABLE, &format!("{}: {lost}", shown(path))))?;
    Ok(tree::reopen(walk.file())?)
}

/// The directory and the name of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    (&path[..slash], path.get(slash + 1..).unwrap_or_default())
}

fn state(appliance: &Appliance) -> PathBuf {
    appliance.admin().join("lib")
}

fn remove(path: &std::path::Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn flush(directory: &std::path::Path) -> Result<(), Failure> {
    Ok(File::open(directory)?.sync_all()?)
}

/// Bytes that each filesystem needs to unpack the archive.
pub struct Room {
    mounts: Vec<(Vec<u8>, u64)>,
    last: Option<(Vec<u8>, Vec<u8>)>,
}

impl Room {
    /// Nothing is needed yet.
    pub fn new() -> Result<Room, Failure> {
        let mounts = tree::mount_points()?.into_iter().map(|mount| (mount, 0)).collect();
        Ok(Room { mounts, last: None })
    }

    pub fn count(&mut self, member: &Member, path: &[u8], entry: usize) {
        let (entry, rest) = path.split_at(entry);
        if self.last.as_ref().is_none_or(|(known, _)| known != entry) {
            let mut end = entry;
            let walk = |path: &[u8]| Walk::new().and_then(|walk| walk.go(path)).ok();
            let mut found = walk(end);
            while found.is_none() && !end.is_empty() {
                end = split(end).0;
                found = walk(end);
            }
            let real = found.map(|walk| walk.path()).unwrap_or_default();
            self.last = Some((entry.to_vec(), [&real, &entry[end.len()..]].concat()));
        }
        let real = self.last.as_ref().map(|(_, real)| [real, rest].concat()).unwrap_or_default();
        let holds = |mount: &[u8]| mount == b"/" || mount == real || real.starts_with(&[mount, b"/"].concat());
        // Of two mounts at one place, the last one is visible.
        let mount = self.mounts.iter_mut().filter(|(mount, _)| holds(mount)).max_by_key(|(mount, _)| mount.len());
        if let Some((_, bytes)) = mount {
            // Another block for the file itself; a hard link needs none.
            *bytes += if member.kind == Kind::HardLink { 0 } else { member.data().next_multiple_of(4096) + 4096 };
        }
    }

    /// Whether every filesystem has enough.
    pub fn check(&self) -> Result<(), Failure> {
        for (mount, bytes) in self.mounts.iter().filter(|(_, bytes)| *bytes > 0) {
            super::need_room(super::path(mount), *bytes, "E1000")?;
        }
        Ok(())
    }
}

/// Checks an archive, and unpacks it if `restore` is present.
pub fn pass(
    archive: &mut dyn Read,
    judge: Judge<'_>,
    mut restore: Option<&mut Restore<'_>>,
    mut room: Option<&mut Room>,
) -> Result<u64, Failure> {
    let mut reader = Reader::new(archive);
    let check = Check::new();
    let mut check = if restore.is_some() { check.without_content() } else { check };
    let mut n_members = 0;
    while let Some(member) = reader.advance()? {
        if Check::is_manifest(&member) {
            check.compare(&member, &mut reader)?;
            break;
        }
        n_members += 1;
        let verdict = judge.member(&member, reader.is_marked())?;
        if let (Verdict::LeaveOut(what), None) = (&verdict, &restore) {
            say(&format!("Left out: {}: {what}", shown(&member.name)));
        }
        if let (Some(room), Verdict::Unpack { path, entry, .. }) = (&mut room, &verdict) {
            room.count(&member, path, *entry);
        }
        match &mut restore {
            Some(restore) => restore.take(&member, &verdict, &mut reader)?,
            None => check.read(&member, &mut reader)?,
        }
    }
    check.finish(&mut reader, restore.is_some())?;
    Ok(n_members)
}
