//! Whether a member may be unpacked, and where. START asks it of its own archive before it says success, RESTORE asks the
//! same before it touches anything, and again while it unpacks; update packages are judged by it as well.
//!
//! What it decides it decides by one member, so that an archive of any number of them takes no more memory. What would need
//! the names of all of them is judged by the filesystem where they are unpacked, which is private and swapped only when all
//! of it was good: that a hard link leads to what is in the archive, that nothing is below a link. A member that stands
//! twice is there as it stands last, as tar itself has it.

use super::member::{Fault, Kind, Member};
use crate::root::list::{DATA, Paths, Place};
use crate::root::walk::components;

/// What the last file but one of a backup of 2.0.0 is called; it was there to end the archive.
const OLD_MARK: &[u8] = b"/.jidoteki-backup";

/// What is to be done with a member.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is unpacked at this path. `entry` is how many bytes of it are the entry of the list that it belongs to.
    Unpack { path: Vec<u8>, entry: usize, target: Vec<u8> },
    /// It changes nothing: a directory on the way, a mark.
    Pass,
    /// It is left out, which is said.
    LeaveOut(&'static str),
}

/// A judge of backups, by the list that they have to agree with; or of packages.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    list: Option<&'a Paths>,
}

/// The words for a client whose archive has something that is not on the list.
pub const FOREIGN: &str = "does not belong to the backup list";

impl<'a> Judge<'a> {
    /// For backups: every member must be on the list.
    pub fn of_backups(list: &'a Paths) -> Judge<'a> {
        Judge { list: Some(list) }
    }

    /// For packages: every member is below the package's own directory.
    pub fn of_packages() -> Judge<'static> {
        Judge { list: None }
    }

    /// Judges a member. `is_ours`: all names of the archive are below `/`, none below `/data`.
    pub fn member(self, member: &Member, is_ours: bool) -> Result<Verdict, Fault> {
        let no = |why: &'static str| Err(Fault::Refused(why, member.name.clone()));
        if member.name.ends_with(OLD_MARK) && self.list.is_some() {
            return Ok(Verdict::Pass);
        }
        let name = match clean(&member.name) {
            Ok(name) => name,
            Err(why) => return no(why),
        };
        if name.is_empty() {
            return if member.kind == Kind::Directory { Ok(Verdict::Pass) } else { no("a member has no name") };
        }
        let Some((path, entry)) = self.place(&name, is_ours) else { return no(FOREIGN) };
        let Some(entry) = entry else {
            // A directory on the way to a path of the list changes nothing.
            return if member.kind == Kind::Directory { Ok(Verdict::Pass) } else { no(FOREIGN) };
        };
        match member.kind {
            Kind::Other => return no("a member is a device or something else that is not a file"),
            Kind::Pipe => return Ok(Verdict::LeaveOut("a pipe")),
            Kind::File => {
                if let Some(why) = gains_rights(member.mode) {
                    return no(why);
                }
            }
            Kind::Directory | Kind::Symlink | Kind::HardLink => {}
        }
        let target = match member.kind {
            Kind::Symlink if member.target.is_empty() => return no("a link leads nowhere"),
            Kind::Symlink if member.target.contains(&0) || member.target.len() > 4095 => {
                return no("a member has an impossible name");
            }
            Kind::Symlink => member.target.clone(),
            Kind::HardLink => {
                let target = clean(&member.target).ok().filter(|target| !target.is_empty());
                match target.and_then(|target| self.place(&target, is_ours)) {
                    Some((target, Some(_))) if target != path => target,
                    Some(_) | None => return no("a hard link leads to what is not in the archive"),
                }
            }
            Kind::File | Kind::Directory | Kind::Pipe | Kind::Other => Vec::new(),
        };
        Ok(Verdict::Unpack { path, entry, target })
    }

    /// The path of a clean name, and how much of it is the entry; no entry for what is on the way to one.
    pub fn place(self, name: &[u8], is_ours: bool) -> Option<(Vec<u8>, Option<usize>)> {
        let path = [b"/", name].concat();
        let Some(list) = self.list else { return Some((path, Some(0))) };
        let below_data = [DATA, b"/", name].concat();
        match (list.place(&path), is_ours) {
            (Place::Inside(n), _) => Some((path, Some(n))),
            // The ancestor packed in /data.
            (at, false) => match (list.place(&below_data), at) {
                (Place::Inside(n), _) => Some((below_data, Some(n))),
                (Place::Above, _) | (Place::Outside, Place::Above) => Some((below_data, None)),
                (Place::Outside, _) => None,
            },
            (Place::Above, true) => Some((path, None)),
            (Place::Outside, true) => None,
        }
    }
}

/// Why a file of this mode is not packed and not unpacked: who runs it would gain rights. A directory's setgid, and that of
/// a file that is not run by its group, do not.
pub fn gains_rights(mode: u32) -> Option<&'static str> {
    if mode & 0o4000 != 0 {
        return Some("a member is setuid");
    }
    (mode & 0o2010 == 0o2010).then_some("a member is setgid")
}

/// A name without `.`, and without slashes that mean nothing.
pub fn clean(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.is_empty() {
        return Err("a member has no name");
    }
    if name.contains(&0) || components(name).any(|component| component.len() > 255) {
        return Err("a member has an impossible name");
    }
    if name[0] == b'/' || components(name).any(|component| component == b"..") {
        return Err("a member has an absolute path or one with ..");
    }
    Ok(components(name).collect::<Vec<_>>().join(&b'/'))
}
