//! How root finds a file among other users' files: component by component, each opened below the directory that was
//! opened before. The only file that decides which symbolic links are followed.
//!
//! A path that root wrote, such as a list entry, can lead through links; the target is meant. But a user who owns a
//! directory on the way can create a link there at any time. Therefore a link is followed only if
//!
//! - only root can write to the directory that contains it, or the directory is sticky and root owns the link: then
//!   root made the link; or
//! - the file at the end belongs to the owner of the link, who could read it anyway.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// Maximum links on one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// Why a path cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkError {
    /// There is no such file, or a component is not a directory.
    Missing,
    /// It leads through a link that root did not make.
    ForeignLink,
    TooManyLinks,
    /// The kernel refused it.
    Refused(Errno),
}

impl fmt::Display for WalkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalkError::Missing => f.write_str("there is no such file"),
            WalkError::ForeignLink => f.write_str("it leads through a link that users other than root can change"),
            WalkError::TooManyLinks => f.write_str("it leads through too many links"),
            WalkError::Refused(error) => write!(f, "{error}"),
        }
    }
}

impl From<Errno> for WalkError {
    fn from(error: Errno) -> WalkError {
        match error {
            Errno::NOENT | Errno::NOTDIR => WalkError::Missing,
            error => WalkError::Refused(error),
        }
    }
}

/// The position of a walk: the file, and the directories above it. Every descriptor is `O_PATH`, and none is a link.
#[derive(Debug, Clone)]
pub struct Walk {
    steps: Vec<Step>,
    /// Owners of the links that root did not make.
    owners: Vec<u32>,
    n_links: usize,
    root: u32,
}

#[derive(Debug, Clone)]
struct Step {
    name: Rc<[u8]>,
    file: Rc<OwnedFd>,
    stat: Stat,
}

impl Walk {
    /// A walk that starts at `/`.
    pub fn new() -> Result<Walk, WalkError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = rustix::fs::open("/", flags, Mode::empty())?;
        let step = Step { name: Rc::from(&b""[..]), stat: fstat(&file)?, file: Rc::new(file) };
        // Jobs run as root. In a test, the current user stands for root.
        Ok(Walk {
            steps: vec![step],
            owners: Vec::new(),
            n_links: 0,
            root: statat(rustix::fs::CWD, "/proc/self", AtFlags::empty())?.st_uid,
        })
    }

    /// Continues along a path. An absolute path starts at `/`.
    pub fn go(mut self, path: &[u8]) -> Result<Walk, WalkError> {
        let mut ahead: VecDeque<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
        while let Some(name) = ahead.pop_front() {
            if name == b".." {
                if self.steps.len() > 1 {
                    self.steps.pop();
                }
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(self.file(), name.as_slice(), flags, Mode::empty())?;
            let stat = fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                self.steps.push(Step { name: Rc::from(name), file: Rc::new(file), stat });
                continue;
            }
            self.n_links += 1;
            if self.n_links > MAX_LINKS {
                return Err(WalkError::TooManyLinks);
            }
            if !self.is_of_root(&stat) {
                self.owners.push(stat.st_uid);
            }
            let target = readlinkat(&file, "", Vec::new())?.into_bytes();
            if target.starts_with(b"/") {
                self.steps.truncate(1);
            }
            for component in components(&target).rev() {
                ahead.push_front(component.to_vec());
            }
        }
        Ok(self)
    }

    /// Ends the walk: checks that the file is what root meant.
    pub fn arrive(self) -> Result<Walk, WalkError> {
        let owner = self.stat().st_uid;
        if self.owners.iter().all(|link| *link == owner) { Ok(self) } else { Err(WalkError::ForeignLink) }
    }

    /// Number of links that were followed.
    pub fn n_links(&self) -> usize {
        self.n_links
    }

    /// The file, as `O_PATH`.
    pub fn file(&self) -> &OwnedFd {
        &self.last().file
    }

    /// The file's metadata.
    pub fn stat(&self) -> &Stat {
        &self.last().stat
    }

    /// The directory that contains the file, and the file's name in it; `None` for `/`.
    pub fn parent(&self) -> Option<(&Rc<OwnedFd>, &[u8])> {
        let [.., directory, last] = self.steps.as_slice() else { return None };
        Some((&directory.file, &last.name))
    }

    /// The metadata of the file and each directory above it.
    pub fn ancestors(&self) -> impl Iterator<Item = &Stat> {
        self.steps.iter().map(|step| &step.stat)
    }

    /// The path without links.
    pub fn path(&self) -> Vec<u8> {
        let path: Vec<u8> = self.steps[1..].iter().flat_map(|step| [b"/", &*step.name].concat()).collect();
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    /// The names in the directory, sorted; an error if it is not a directory.
    pub fn names(&self) -> Result<Vec<Vec<u8>>, WalkError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        names(openat(self.file(), ".", flags, Mode::empty())?)
    }

    /// Whether root made the link in the current directory.
    fn is_of_root(&self, link: &Stat) -> bool {
        let directory = self.stat();
        let is_writable = directory.st_mode & 0o022 != 0;
        let is_sticky = directory.st_mode & 0o1000 != 0;
        directory.st_uid == self.root && (!is_writable || (is_sticky && link.st_uid == self.root))
    }

    fn last(&self) -> &Step {
        self.steps.last().expect("a walk never leaves its first step")
    }
}

/// The names in an open directory, sorted.
pub fn names(directory: impl AsFd) -> Result<Vec<Vec<u8>>, WalkError> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The components of a path, without `.` and empty ones.
pub fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|component| !component.is_empty() && *component != b".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn end(path: &Path) -> Result<Vec<u8>, WalkError> {
        Walk::new().unwrap().go(path.as_os_str().as_bytes()).and_then(Walk::arrive).map(|walk| walk.path())
    }

    #[test]
    fn links_of_root_are_followed_and_others_only_to_files_of_their_owner() {
        let root = std::env::temp_dir().canonicalize().unwrap().join(format!("walk-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&root));
        std::fs::create_dir_all(root.join("real/deep")).unwrap();
        std::fs::create_dir(root.join("theirs")).unwrap();
        let bytes = |name: &str| root.join(name).as_os_str().as_bytes().to_vec();
        symlink("real", root.join("relative")).unwrap();
        symlink(root.join("real"), root.join("absolute")).unwrap();
        symlink("../relative/./deep", root.join("real/chain")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("nothing", root.join("dangling")).unwrap();
        for (path, target) in [
            ("relative/deep", "real/deep"),
            ("absolute//deep/", "real/deep"),
            ("real/chain", "real/deep"),
            ("real/deep/../../real/deep", "real/deep"),
        ] {
            assert_eq!(end(&root.join(path)), Ok(bytes(target)), "{path}");
        }
        assert_eq!(end(&root.join("loop")), Err(WalkError::TooManyLinks));
        assert_eq!(end(&root.join("dangling")), Err(WalkError::Missing));
        assert_eq!(end(&root.join("real/deep/x")), Err(WalkError::Missing));
        assert_eq!(end(Path::new("/../../..")), Ok(b"/".to_vec()));

        let is_root = Walk::new().unwrap().root == 0;
        if is_root {
            let their = |name: &str| std::os::unix::fs::lchown(root.join(name), Some(12345), Some(12345)).unwrap();
            symlink("../real", root.join("theirs/link")).unwrap();
            symlink("own", root.join("theirs/alias")).unwrap();
            std::fs::write(root.join("theirs/own"), "").unwrap();
            for name in ["theirs", "theirs/link", "theirs/alias", "theirs/own"] {
                their(name);
            }
            assert_eq!(end(&root.join("theirs/link")), Err(WalkError::ForeignLink));
            assert_eq!(end(&root.join("theirs/link/deep")), Err(WalkError::ForeignLink));
            assert_eq!(end(&root.join("theirs/alias")), Ok(bytes("theirs/own")));
        }
        // A link of root's in a world-writable directory is trusted only if nobody else can move it.
        for (mode, expected) in [(0o1777, Ok(bytes("real"))), (0o777, Err(WalkError::ForeignLink))] {
            std::fs::set_permissions(&root, PermissionsExt::from_mode(mode)).unwrap();
            if is_root {
                std::os::unix::fs::lchown(root.join("real"), Some(12345), None).unwrap();
                assert_eq!(end(&root.join("relative")), expected, "{mode:o}");
            }
        }
        std::fs::remove_dir_all(root).unwrap();
    }
}
