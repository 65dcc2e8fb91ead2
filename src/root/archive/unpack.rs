//! Writes members as files below open directories: the stages of a restore, or the directory of a package. Directories
//! opened for one member stay open for the next, so that a member costs no more than its own file.

use super::member::{Fault, Kind, Member, shown};
use super::read::Reader;
use super::say;
use super::tree;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

const BUFFER: usize = 1 << 17;

/// The path from a base directory to the last member.
pub struct Unpacker {
    /// The index of its base.
    base: usize,
    way: Vec<Step>,
    buffer: Vec<u8>,
    /// Names of attributes that a filesystem refused; each is reported once.
    refused: BTreeSet<Vec<u8>>,
}

struct Step {
    name: Vec<u8>,
    directory: OwnedFd,
    /// The attributes to set when nothing more is added to it.
    attributes: Option<Member>,
}

impl Unpacker {
    /// With nothing open.
    pub fn new() -> Unpacker {
        Unpacker { base: 0, way: Vec::new(), buffer: vec![0; BUFFER], refused: BTreeSet::new() }
    }

    /// Unpacks a member at `path` below a base. Returns whether its first component is new there.
    pub fn put(
        &mut self,
        (base, number): (BorrowedFd<'_>, usize),
        path: &[Vec<u8>],
        member: &Member,
        archive: &mut Reader<'_>,
    ) -> Result<bool, Fault> {
        let Some((name, above)) = path.split_last() else { return Ok(false) };
        let (mut is_new, depth) = self.enter((base, number), above)?;
        let parent = self.way.last().map_or(base, |step| step.directory.as_fd());
        if member.kind == Kind::Directory {
            let (directory, created) = match tree::directory(parent, name) {
                Ok(directory) => (directory, false),
                Err(Errno::NOENT) => (tree::create_directory(parent, name)?, true),
                // Replaces an existing file.
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    tree::sweep(parent, name)?;
                    (tree::create_directory(parent, name)?, false)
                }
                Err(error) => return Err(error.into()),
            };
            is_new |= created && depth == 0 && above.is_empty();
            self.way.push(Step { name: name.clone(), directory, attributes: Some(member.clone()) });
            return Ok(is_new);
        }
        let was_there = Self::make_room(parent, name)?;
        match member.kind {
            Kind::File => {
                let file = tree::create(parent, name)?;
                let file = self.fill(file, member, archive)?;
                let refused = tree::set_attributes(&file, member)?;
                self.refuse(refused);
            }
            Kind::Symlink => {
                rustix::fs::symlinkat(member.target.as_slice(), parent, name.as_slice())?;
                tree::set_link_attributes(parent, name, member)?;
            }
            Kind::HardLink | Kind::Directory | Kind::Pipe | Kind::Other => {}
        }
        Ok(is_new || (above.is_empty() && !was_there))
    }

    /// Gives the file at `from` another name. Returns whether the first component of that is new.
    pub fn link(
        &mut self,
        from: (BorrowedFd<'_>, &[Vec<u8>]),
        (base, number): (BorrowedFd<'_>, usize),
        path: &[Vec<u8>],
    ) -> Result<bool, Fault> {
        const MISSING: &str = "a hard link leads to a file that is not in the archive";
        let missing = || Fault::Refused(MISSING, path.join(&b'/'));
        let Some(((name, above), (from_name, from_above))) = path.split_last().zip(from.1.split_last()) else {
            return Err(missing());
        };
        let mut source = from.0.try_clone_to_owned()?;
        for component in from_above {
            source = tree::directory(&source, component).map_err(|_| missing())?;
        }
        let seen = tree::look(&source, from_name).map_err(|_| missing())?;
        if !matches!(seen.kind, Kind::File | Kind::Symlink) {
            return Err(missing());
        }
        let (is_new, _) = self.enter((base, number), above)?;
        let parent = self.way.last().map_or(base, |step| step.directory.as_fd());
        let was_there = Self::make_room(parent, name)?;
        match rustix::fs::linkat(&source, from_name.as_slice(), parent, name.as_slice(), AtFlags::empty()) {
            Ok(()) => {}
            // The two paths are on different filesystems now, or the file has the maximum number of names.
            Err(Errno::XDEV | Errno::MLINK) if seen.kind == Kind::File => {
                let original = tree::file(&source, from_name)?;
                let mut member = tree::member_of(&original)?;
                (member.size, member.pieces) = (seen.size, tree::pieces(&original, seen.size, seen.on_disk)?);
                let copy = File::from(tree::create(parent, name)?);
                let original = File::from(original);
                for (offset, length) in &member.pieces {
                    let mut at = 0;
                    while at < *length {
                        let n = usize::try_from(length - at).unwrap_or(usize::MAX).min(BUFFER);
                        original.read_exact_at(&mut self.buffer[..n], offset + at)?;
                        copy.write_all_at(&self.buffer[..n], offset + at)?;
                        at += n as u64;
                    }
                }
                copy.set_len(member.size)?;
                let refused = tree::set_attributes(&copy, &member)?;
                self.refuse(refused);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(is_new || (above.is_empty() && !was_there))
    }

    /// Sets the attributes of the open directories, and closes them.
    pub fn finish(&mut self) -> Result<(), Fault> {
        self.leave(0)
    }

    fn leave(&mut self, depth: usize) -> Result<(), Fault> {
        while self.way.len() > depth
            && let Some(step) = self.way.pop()
        {
            if let Some(member) = step.attributes {
                let refused = tree::set_attributes(&step.directory, &member)?;
                self.refuse(refused);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, names: Vec<Vec<u8>>) {
        for name in names {
            if self.refused.insert(name.clone()) {
                say(&format!("Left out: the attribute {}, which cannot be set here", shown(&name)));
            }
        }
    }

    /// Opens the directories of a path, and creates those that are not in the archive. Returns whether the first is
    /// new, and how many were open already.
    fn enter(&mut self, (base, number): (BorrowedFd<'_>, usize), path: &[Vec<u8>]) -> Result<(bool, usize), Fault> {
        if self.base != number {
            self.leave(0)?;
            self.base = number;
        }
        let common = self.way.iter().zip(path).take_while(|(step, name)| step.name == **name).count();
        self.leave(common)?;
        let mut is_new = false;
        for name in &path[common..] {
            let parent = self.way.last().map_or(base, |step| step.directory.as_fd());
            let (directory, attributes) = match tree::directory(parent, name) {
                Ok(directory) => {
                    // It was closed before: adding files must not change its time.
                    let attributes = tree::member_of(&directory)?;
                    (directory, attributes)
                }
                Err(Errno::NOENT) => {
                    is_new |= self.way.is_empty();
                    let directory = tree::create_directory(parent, name)?;
                    let attributes = Member { mode: 0o755, ..tree::member_of(&directory)? };
                    (directory, attributes)
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(Fault::Refused("a member is below a link", path.join(&b'/')));
                }
                Err(error) => return Err(error.into()),
            };
            self.way.push(Step { name: name.clone(), directory, attributes: Some(attributes) });
        }
        Ok((is_new, common))
    }

    /// A member that occurs again replaces the first. Returns whether there was one.
    fn make_room(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Fault> {
        if !tree::exists(parent, name)? {
            return Ok(false);
        }
        tree::sweep(parent, name)?;
        Ok(true)
    }

    fn fill(&mut self, file: OwnedFd, member: &Member, archive: &mut Reader<'_>) -> Result<File, Fault> {
        let file = File::from(file);
        let mut end = 0;
        while let Some((offset, bytes)) = archive.content(&mut self.buffer)? {
            file.write_all_at(bytes, offset)?;
            end = offset + bytes.len() as u64;
        }
        if end != member.size {
            file.set_len(member.size)?;
        }
        Ok(file)
    }
}
