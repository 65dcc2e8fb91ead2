//! Makes a backup. The tree of the list is walked twice: first to check that everything can be restored and fits, then
//! to pack it. Names are sorted, so no member occurs twice.
//!
//! Filesystems mounted below an entry are left out and reported, unless they are entries too. Pipes and sockets are
//! left out and reported. Devices and files that grant privileges are errors: all of them are reported before anything
//! is written.

use super::judge::gains_rights;
use super::links::Links;
use super::member::{Fault, Kind, Member, shown};
use super::tree::{self, Seen};
use super::write::Writer;
use super::{Failure, say};
use crate::root::list::Paths;
use crate::root::walk::{Walk, WalkError};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Maximum log lines of one kind, because a tree can have a million.
const MAX_LINES: usize = 50;

/// Bytes per read of a file.
const BUFFER: usize = 1 << 17;

/// One walk over the tree.
pub struct Packer<'a, W> {
    list: &'a Paths,
    /// Inodes of directories that restores keep next to the data.
    stages: &'a BTreeSet<u64>,
    /// `None` in the first walk, which writes nothing.
    out: Option<Writer<W>>,
    links: Links,
    /// Bytes of the archive so far.
    pub size: u64,
    n_members: u64,
    n_left_out: usize,
    n_faults: usize,
    buffer: Vec<u8>,
}

/// The existing paths of the list: sorted, none inside another.
pub fn roots(list: &Paths) -> Result<Vec<Vec<u8>>, Fault> {
    let mut found = BTreeSet::new();
    let unmet = list.expand::<Fault>(&mut |one| {
        // By components, like the walk: a slash sorts before everything.
        let order: Vec<u8> = one.path.iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect();
        found.insert((order, one.path.to_vec(), one.walk.path()));
        Ok(())
    })?;
    for entry in unmet {
        say(&format!("Not backed up: {entry}"));
    }
    let mut roots: Vec<Vec<u8>> = Vec::new();
    for (_, path, real) in found {
        let is_inside = |outer: &Vec<u8>| path.starts_with(outer) && path.get(outer.len()) == Some(&b'/');
        if roots.last().is_some_and(is_inside) {
            if real != path && list.place(&real) == crate::root::list::Place::Outside {
                say(&format!("Not backed up: {}: it leads through a link that is itself backed up", shown(&path)));
            }
        } else if real != path && list.place(&real) != crate::root::list::Place::Outside {
            say(&format!("{} is backed up as {}", shown(&path), shown(&real)));
        } else {
            roots.push(path);
        }
    }
    Ok(roots)
}

impl<'a, W: Write> Packer<'a, W> {
    /// A walk that measures or packs.
    pub fn new(list: &'a Paths, stages: &'a BTreeSet<u64>, folder: &Path, out: Option<Writer<W>>) -> Packer<'a, W> {
        Packer {
            list,
            stages,
            out,
            links: Links::new(folder),
            size: 0,
            n_members: 0,
            n_left_out: 0,
            n_faults: 0,
            buffer: vec![0; BUFFER],
        }
    }

    /// Walks everything and returns the writer. Errors are in the log then.
    pub fn walk(mut self, roots: &[Vec<u8>]) -> Result<(Option<Writer<W>>, u64), Failure> {
        for root in roots {
            let walk = match Walk::new().and_then(|walk| walk.go(root)).and_then(Walk::arrive) {
                Ok(walk) => walk,
                Err(WalkError::Missing) => {
                    self.leave_out(root, "it no longer exists");
                    continue;
                }
                Err(lost) => return Err(Failure::log("E1002", UNABLE, &format!("{}: {lost}", shown(root)))),
            };
            let Some((parent, name)) = walk.parent() else { continue };
            let mut path = root[1..].to_vec();
            let seen = tree::look(walk.file(), b"")?;
            let parent = tree::reopen(parent)?;
            self.entry(parent.as_fd(), name, &mut path, seen, seen.mount)?;
        }
        if self.n_left_out > MAX_LINES {
            say(&format!("{} more are left out", self.n_left_out - MAX_LINES));
        }
        if self.n_faults > 0 {
            return Err(Failure::new("E1000", "The data has devices or setuid files, which are not backed up"));
        }
        Ok((self.out, self.size))
    }

    fn leave_out(&mut self, path: &[u8], why: &str) {
        self.n_left_out += 1;
        if self.n_left_out <= MAX_LINES {
            say(&format!("Left out: /{}: {why}", shown(path).trim_start_matches('/')));
        }
    }

    fn fault(&mut self, path: &[u8], why: &str) {
        self.n_faults += 1;
        if self.n_faults <= MAX_LINES {
            say(&format!("Not a file that can be restored: /{}: {why}", shown(path)));
        }
    }

    /// Visits a name. `mount` is the mount of its directory.
    fn entry(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &mut Vec<u8>,
        seen: Seen,
        mount: u64,
    ) -> Result<(), Fault> {
        let result = match seen.kind {
            Kind::Directory => self.directory(parent, name, path, mount),
            _ if seen.mount != mount => {
                self.leave_out(path, "something is mounted there");
                Ok(())
            }
            Kind::File => self.file(parent, name, path, mount),
            Kind::Symlink => self.symlink(parent, name, path, seen),
            Kind::Pipe => {
                self.leave_out(path, "a pipe");
                Ok(())
            }
            Kind::Other if seen.is_socket => {
                self.leave_out(path, "a socket");
                Ok(())
            }
            Kind::Other | Kind::HardLink => {
                self.fault(path, "a device");
                Ok(())
            }
        };
        match result {
            // The file was removed or replaced meanwhile.
            Err(Fault::Io(error)) if is_gone(&error) => {
                if self.out.is_some() {
                    self.leave_out(path, "it no longer exists");
                }
                Ok(())
            }
            Err(Fault::Io(error)) => Err(Fault::File(path.clone(), error)),
            result => result,
        }
    }

    fn directory(&mut self, parent: BorrowedFd<'_>, name: &[u8], path: &mut Vec<u8>, mount: u64) -> Result<(), Fault> {
        let directory = tree::directory(parent, name)?;
        let seen = tree::look(&directory, b"")?;
        if self.stages.contains(&seen.inode) && seen.mode == 0o700 && name.starts_with(super::STAGE) {
            return Ok(());
        }
        let mut member = tree::member_of(&directory)?;
        member.name = [&path[..], b"/"].concat();
        self.put(&member)?;
        if seen.mount != mount && !self.list.has(&[b"/", &path[..]].concat()) {
            self.leave_out(path, "something is mounted there");
            return Ok(());
        }
        let mut last: Option<Vec<u8>> = None;
        loop {
            let names = tree::names(&directory, last.as_deref())?;
            let Some(end) = names.last().cloned() else { return Ok(()) };
            for name in names {
                let length = path.len();
                path.push(b'/');
                path.extend_from_slice(&name);
                match tree::look(&directory, &name) {
                    Ok(next) => self.entry(directory.as_fd(), &name, path, next, seen.mount)?,
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(Fault::File(path.clone(), error.into())),
                }
                path.truncate(length);
            }
            last = Some(end);
        }
    }

    fn symlink(&mut self, parent: BorrowedFd<'_>, name: &[u8], path: &[u8], seen: Seen) -> Result<(), Fault> {
        let target = rustix::fs::readlinkat(parent, name, Vec::new())?.into_bytes();
        if seen.n_links > 1
            && let Some(first) = self.links.seen(seen.device, seen.inode, path)?
        {
            return self.put(&member(path, Kind::HardLink, seen, first));
        }
        self.put(&member(path, Kind::Symlink, seen, target))
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &[u8], path: &[u8], mount: u64) -> Result<(), Fault> {
        let file = tree::file(parent, name)?;
        let seen = tree::look(&file, b"")?;
        if seen.kind != Kind::File || seen.mount != mount {
            self.leave_out(path, "another file replaced it");
            return Ok(());
        }
        if let Some(why) = gains_rights(seen.mode) {
            self.fault(path, why.trim_start_matches("a member is "));
            return Ok(());
        }
        if seen.n_links > 1
            && let Some(first) = self.links.seen(seen.device, seen.inode, path)?
        {
            return self.put(&member(path, Kind::HardLink, seen, first));
        }
        let mut member = member(path, Kind::File, seen, Vec::new());
        member.size = seen.size;
        member.pieces = tree::pieces(&file, seen.size, seen.on_disk)?;
        if i64::try_from(seen.size).is_err() {
            self.fault(path, "larger than a file can be");
            return Ok(());
        }
        member.attributes = tree::attributes(&file)?;
        self.put(&member)?;
        let Some(out) = &mut self.out else {
            self.size += member.data().next_multiple_of(512);
            return Ok(());
        };
        let file = File::from(file);
        let mut is_short = false;
        for (offset, length) in &member.pieces {
            let mut at = 0;
            while at < *length {
                let n = usize::try_from(length - at).unwrap_or(usize::MAX).min(BUFFER);
                match file.read_at(&mut self.buffer[..n], offset + at) {
                    Ok(0) => {
                        is_short = true;
                        out.zeros(length - at)?;
                        break;
                    }
                    Ok(n) => {
                        out.data(&self.buffer[..n])?;
                        at += n as u64;
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Fault::File(path.to_vec(), error)),
                }
            }
        }
        out.end()?;
        let after = tree::look(&file, b"")?;
        if is_short || after.size != seen.size || after.modified != seen.modified {
            say(&format!("Changed while it was read: /{}", shown(path)));
        }
        Ok(())
    }

    fn put(&mut self, member: &Member) -> Result<(), Fault> {
        self.n_members += 1;
        if let Some(out) = &mut self.out {
            return out.member(member);
        }
        let extra: usize = member.attributes.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        let names = if member.name.len() + member.target.len() > 100 { member.name.len() * 2 } else { 0 };
        let extra = extra + names + member.target.len() + member.pieces.len() * 40;
        // A header, the extended header, and its records.
        self.size += 3 * 512 + extra.next_multiple_of(512) as u64;
        Ok(())
    }
}

pub const UNABLE: &str = "Unable to create the backup archive";

fn is_gone(error: &std::io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO, Errno::STALE];
    gone.iter().any(|gone| error.raw_os_error() == Some(gone.raw_os_error()))
}

fn member(path: &[u8], kind: Kind, seen: Seen, target: Vec<u8>) -> Member {
    Member {
        name: path.to_vec(),
        kind,
        target,
        mode: if kind == Kind::Symlink { 0o777 } else { seen.mode },
        uid: seen.uid,
        gid: seen.gid,
        seconds: seen.modified.0,
        nanoseconds: seen.modified.1,
        attributes: Vec::new(),
        size: 0,
        pieces: Vec::new(),
    }
}
