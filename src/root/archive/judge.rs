//! Whether a member is allowed in an archive, and where it belongs. START checks its own archive with it before it
//! reports success. RESTORE uses it before it changes anything, and again while it unpacks. It also checks update
//! packages.
//!
//! It decides by one member, so the size of an archive does not matter. Checks that need all names are left to the
//! filesystem of the private directory where they are unpacked, before the swap: that a hard link leads to a member,
//! and that nothing is below a link. If a member occurs twice, the last one counts, as for tar.

use super::member::{Fault, Kind, Member};
use crate::root::list::{DATA, Paths, Place};
use crate::root::walk::components;

/// The name of the second last file in a backup of 2.0.0, which only marked the end.
const OLD_MARK: &[u8] = b"/.jidoteki-backup";

/// What to do with a member.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Unpack it at this path. `entry` is the number of its bytes that are its list entry.
    Unpack { path: Vec<u8>, entry: usize, target: Vec<u8> },
    /// Ignore it: a directory above an entry, or a mark.
    Pass,
    /// Leave it out, and report it.
    LeaveOut(&'static str),
}

/// Checks backups against their list, or packages.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    list: Option<&'a Paths>,
}

/// The message for a client whose archive contains something that is not on the list.
pub const FOREIGN: &str = "is not in the backup list";

impl<'a> Judge<'a> {
    /// For backups: every member must be on the list.
    pub fn of_backups(list: &'a Paths) -> Judge<'a> {
        Judge { list: Some(list) }
    }

    /// For packages: every member is below the package's own directory.
    pub fn of_packages() -> Judge<'static> {
        Judge { list: None }
    }

    /// Checks a member. `is_ours`: all names of the archive are below `/`, none below `/data`.
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
            // A directory above an entry changes nothing.
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
            Kind::Symlink if member.target.is_empty() => return no("a link has no target"),
            Kind::Symlink if member.target.contains(&0) || member.target.len() > 4095 => {
                return no("a member has an invalid name");
            }
            Kind::Symlink => member.target.clone(),
            Kind::HardLink => {
                let target = clean(&member.target).ok().filter(|target| !target.is_empty());
                match target.and_then(|target| self.place(&target, is_ours)) {
                    Some((target, Some(_))) if target != path => target,
                    Some(_) | None => return no("a hard link leads to a file that is not in the archive"),
                }
            }
            Kind::File | Kind::Directory | Kind::Pipe | Kind::Other => Vec::new(),
        };
        Ok(Verdict::Unpack { path, entry, target })
    }

    /// The path of a normalized name, and how much of it is the entry; no entry if it is above one.
    pub fn place(self, name: &[u8], is_ours: bool) -> Option<(Vec<u8>, Option<usize>)> {
        let path = [b"/", name].concat();
        let Some(list) = self.list else { return Some((path, Some(0))) };
        let below_data = [DATA, b"/", name].concat();
        match (list.place(&path), is_ours) {
            (Place::Inside(n), _) => Some((path, Some(n))),
            // The ancestor packed in /data, by the names in its list. An entry with an absolute path, such as /data itself,
            // would otherwise take any archive.
            (at, false) => match (list.place_below_base(&below_data), at) {
                (Place::Inside(n), _) => Some((below_data, Some(n))),
                (Place::Above, _) | (Place::Outside, Place::Above) => Some((below_data, None)),
                (Place::Outside, _) => None,
            },
            (Place::Above, true) => Some((path, None)),
            (Place::Outside, true) => None,
        }
    }
}

/// Why a file with this mode is neither packed nor unpacked: running it would grant privileges. Setgid on a directory,
/// or on a file that its group cannot execute, is harmless.
pub fn gains_rights(mode: u32) -> Option<&'static str> {
    if mode & 0o4000 != 0 {
        return Some("a member is setuid");
    }
    (mode & 0o2010 == 0o2010).then_some("a member is setgid")
}

/// A name without `.` and redundant slashes.
pub fn clean(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.is_empty() {
        return Err("a member has no name");
    }
    if name.contains(&0) || components(name).any(|component| component.len() > 255) {
        return Err("a member has an invalid name");
    }
    if name[0] == b'/' || components(name).any(|component| component == b"..") {
        return Err("a member has an absolute path or one with ..");
    }
    Ok(components(name).collect::<Vec<_>>().join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ancestor's archive of `app` has `app/x`. Any archive at all would fit below an absolute `/data`.
    #[test]
    fn only_names_that_the_list_has_below_data_are_the_ancestors() {
        for (list, name, wanted) in [
            ("app", "app/x", Some("/data/app/x")),
            ("app conf", "conf", Some("/data/conf")),
            ("*.d", "a.d/x", Some("/data/a.d/x")),
            ("app", "etc/hostname", None),
            ("/data", "etc/hostname", None),
            ("/data/", "app/x", None),
            ("/data/*", "etc/hostname", None),
            ("/data/app", "app/x", None),
            ("/data", "data/app/x", Some("/data/app/x")),
            ("/data\napp", "app/x", Some("/data/app/x")),
            ("/data\napp", "etc/hostname", None),
        ] {
            let list_of = Paths::parse(list.as_bytes(), Some(DATA));
            let place = Judge::of_backups(&list_of).place(name.as_bytes(), false);
            let place = place.filter(|(_, entry)| entry.is_some()).map(|(path, _)| String::from_utf8(path).unwrap());
            assert_eq!(place.as_deref(), wanted, "{list:?}: {name}");
        }
    }
}
