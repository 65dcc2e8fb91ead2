//! A tree of files by descriptor: each name is one component below an open directory, and no link is followed. So it does
//! not matter whether others rename a directory above. The only file for archives that creates, moves and removes files.

use super::member::{Fault, Kind, Member, Pairs};
use rustix::fs::{
    AtFlags, FileType, Gid, IFlags, Mode, OFlags, RawDir, RenameFlags, Statx, StatxFlags, Timespec, Timestamps, Uid,
    XattrFlags,
};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Maximum bytes of a directory's names in memory. A larger one is read again for the next names.
const NAMES: usize = 2 << 20;

/// Attributes that belong to the machine, not to the data: security labels, file signatures, overlay state.
const NOT_DATA: [&[u8]; 5] =
    [b"security.selinux", b"security.ima", b"security.evm", b"trusted.overlay.", b"system.nfs4_acl"];

const ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";

/// A directory entry.
#[derive(Clone, Copy)]
pub struct Seen {
    pub kind: Kind,
    pub is_socket: bool,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// Bytes that it uses on disk.
    pub on_disk: u64,
    pub n_links: u32,
    pub inode: u64,
    pub device: (u32, u32),
    /// Its mount: differs at a mount point, even for the same filesystem.
    pub mount: u64,
    pub modified: (i64, u32),
}

/// Examines a name in a directory; the descriptor itself if the name is empty.
pub fn look(directory: impl AsFd, name: &[u8]) -> Result<Seen, Errno> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(&directory, name, flags, mask)?;
    let mode = u32::from(stat.stx_mode);
    let kind = FileType::from_raw_mode(mode);
    Ok(Seen {
        kind: match kind {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Pipe,
            _ => Kind::Other,
        },
        is_socket: kind == FileType::Socket,
        mode: mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        on_disk: stat.stx_blocks * 512,
        n_links: stat.stx_nlink,
        inode: stat.stx_ino,
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        mount: mount(&stat),
        modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
    })
}

/// The mount; its filesystem if the kernel, before 5.8, does not report mounts.
fn mount(stat: &Statx) -> u64 {
    if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
        return stat.stx_mnt_id;
    }
    u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor)
}

/// Whether a name exists.
pub fn exists(directory: impl AsFd, name: &[u8]) -> Result<bool, Errno> {
    match look(directory, name) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a directory in a directory.
pub fn directory(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Opens a file for reading, without blocking, because it may have been replaced since it was examined.
pub fn file(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Creates a new file.
pub fn create(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
}

/// Creates a new directory, accessible only to root until its attributes are set, and opens it.
pub fn create_directory(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(&parent, name, Mode::RWXU)?;
    directory(parent, name)
}

/// Removes inherited ACLs from a directory, so that files in it do not inherit them.
pub fn inherit_nothing(directory: impl AsFd) {
    for name in [ACL, DEFAULT_ACL] {
        // It fails if the directory has none, or if the filesystem has no ACLs.
        let _ = rustix::fs::fremovexattr(&directory, name);
    }
}

/// The next names of a directory after `last`, in byte order, as many as fit in memory; empty at the end. No name is
/// returned twice, even if names are created and removed meanwhile.
pub fn names(directory: impl AsFd, last: Option<&[u8]>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = BTreeSet::new();
    let mut n_bytes = 0;
    let mut space = Vec::with_capacity(32 << 10);
    rustix::fs::seek(&directory, rustix::fs::SeekFrom::Start(0))?;
    let mut entries = RawDir::new(&directory, space.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." || last.is_some_and(|last| name <= last) {
            continue;
        }
        if n_bytes >= NAMES && names.last().is_some_and(|last: &Vec<u8>| last.as_slice() <= name) {
            continue;
        }
        n_bytes += name.len() + size_of::<Vec<u8>>();
        names.insert(name.to_vec());
        while n_bytes > NAMES
            && names.len() > 1
            && let Some(last) = names.pop_last()
        {
            n_bytes -= last.len() + size_of::<Vec<u8>>();
        }
    }
    Ok(names.into_iter().collect())
}

/// The extended attributes of an open file or directory that belong to the data.
pub fn attributes(file: impl AsFd) -> Result<Pairs, Errno> {
    let mut list = [0; 4096];
    let n = match rustix::fs::flistxattr(&file, &mut list) {
        Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        Ok(n) => return read_attributes(&file, &list[..n]),
        Err(Errno::RANGE) => 64 << 10,
        Err(error) => return Err(error),
    };
    let mut list = vec![0; n];
    let n = rustix::fs::flistxattr(&file, list.as_mut_slice())?;
    read_attributes(&file, &list[..n])
}

fn read_attributes(file: impl AsFd, list: &[u8]) -> Result<Pairs, Errno> {
    let mut attributes = Vec::new();
    for name in list.split(|byte| *byte == 0) {
        // A PAX record cannot contain a name with an equals sign.
        if name.is_empty() || name.contains(&b'=') || NOT_DATA.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        match rustix::fs::fgetxattr(&file, name, value.as_mut_slice()) {
            Ok(n) => {
                value.truncate(n);
                value.shrink_to_fit();
                attributes.push((name.to_vec(), value));
            }
            // It was removed meanwhile.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
    }
    // The kernel returns them in no fixed order, and an archive must not depend on it.
    attributes.sort_unstable();
    Ok(attributes)
}

/// Sets owner, mode, attributes and time of an open file or directory from a member. Returns the names of attributes
/// that this filesystem refuses.
pub fn set_attributes(file: impl AsFd, member: &Member) -> Result<Vec<Vec<u8>>, Errno> {
    unless_refused_to_a_user(rustix::fs::fchown(&file, Some(uid(member.uid)), Some(gid(member.gid))))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(member.mode))?;
    let mut refused = Vec::new();
    for (name, value) in &member.attributes {
        if NOT_DATA.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        match rustix::fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL | Errno::ACCESS) => refused.push(name.clone()),
            Err(error) => return Err(error),
        }
    }
    rustix::fs::futimens(&file, &times(member.seconds, member.nanoseconds))?;
    Ok(refused)
}

/// The same for a link, which has only an owner and a time.
pub fn set_link_attributes(parent: impl AsFd, name: &[u8], member: &Member) -> Result<(), Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    unless_refused_to_a_user(rustix::fs::chownat(&parent, name, Some(uid(member.uid)), Some(gid(member.gid)), flags))?;
    rustix::fs::utimensat(&parent, name, &times(member.seconds, member.nanoseconds), flags)
}

/// Removes the extended attributes of a directory that belong to the data.
pub fn clear_attributes(directory: impl AsFd) -> Result<(), Errno> {
    for (name, _) in attributes(&directory)? {
        match rustix::fs::fremovexattr(&directory, name.as_slice()) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The attributes of an open directory, as a member without a name.
pub fn member_of(directory: impl AsFd) -> Result<Member, Errno> {
    let seen = look(&directory, b"")?;
    Ok(Member {
        name: Vec::new(),
        kind: seen.kind,
        target: Vec::new(),
        mode: seen.mode,
        uid: seen.uid,
        gid: seen.gid,
        seconds: seen.modified.0,
        nanoseconds: seen.modified.1,
        attributes: attributes(&directory)?,
        size: 0,
        pieces: Vec::new(),
    })
}

/// Only root can change owners. If tests run as another user, files keep that user.
fn unless_refused_to_a_user(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::PERM) if rustix::process::geteuid().as_raw() != 0 => Ok(()),
        result => result,
    }
}

fn uid(id: u32) -> Uid {
    Uid::from_raw(id)
}

fn gid(id: u32) -> Gid {
    Gid::from_raw(id)
}

/// Times with this modification time; the access time is unchanged.
pub fn times(seconds: i64, nanoseconds: u32) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}

/// The pieces of an open file that have data: offset and length. If an archive does not allow that many, the last one
/// reaches to the end and includes holes as zeros.
pub fn pieces(file: impl AsFd, size: u64, on_disk: u64) -> Result<Vec<(u64, u64)>, Errno> {
    if size == 0 {
        return Ok(Vec::new());
    }
    if on_disk >= size {
        return Ok(vec![(0, size)]);
    }
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
            Ok(start) if start < size => start,
            Ok(_) | Err(Errno::NXIO) => break,
            // This filesystem does not report holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(vec![(0, size)]),
            Err(error) => return Err(error),
        };
        let end = match rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(start)) {
            Ok(end) if end > start => end.min(size),
            Ok(_) | Err(Errno::NXIO) => size,
            Err(error) => return Err(error),
        };
        if pieces.len() + 1 == super::member::MAX_PIECES {
            pieces.push((start, size - start));
            break;
        }
        pieces.push((start, end - start));
        at = end;
    }
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    Ok(pieces)
}

/// Moves a name to another directory, where it must not exist. Never across filesystems: the kernel refuses that.
pub fn shift(from: impl AsFd, name: &[u8], to: impl AsFd) -> Result<(), Errno> {
    match rustix::fs::renameat_with(&from, name, &to, name, RenameFlags::NOREPLACE) {
        // This filesystem cannot check that, and it is not needed: only root writes to a stage, and the files that had
        // these names were moved out before.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => rustix::fs::renameat(&from, name, &to, name),
        result => result,
    }
}

/// Removes a name and everything below it, except mounts. Returns whether everything is gone.
pub fn sweep(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR) => {}
        // `chattr +i` or `+a`. Such a file would otherwise stay, and so would everything above it.
        Err(Errno::PERM) => {
            unlock(file(parent, name)?);
            match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(true),
                Err(_) => {}
            }
        }
        Err(Errno::BUSY) => return Ok(false),
        Err(error) => return Err(error),
    }
    let directory = match directory(parent, name) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(true),
        Err(error) => return Err(error),
    };
    if look(&directory, b"")?.mount != look(parent, b"")?.mount {
        return Ok(false);
    }
    unlock(&directory);
    let mut is_gone = true;
    let mut last: Option<Vec<u8>> = None;
    loop {
        let batch = names(&directory, last.as_deref())?;
        let Some(end) = batch.last().cloned() else { break };
        for name in &batch {
            is_gone &= sweep(directory.as_fd(), name)?;
        }
        last = Some(end);
    }
    if !is_gone {
        return Ok(false);
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::BUSY | Errno::NOTEMPTY) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the flags that keep even root from removing a file, or names in a directory. If that fails, or if this
/// filesystem has no flags, the removal shows it.
fn unlock(found: impl AsFd) {
    if let Ok(flags) = rustix::fs::ioctl_getflags(&found)
        && flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND)
    {
        let _ = rustix::fs::ioctl_setflags(&found, flags - IFlags::IMMUTABLE - IFlags::APPEND);
    }
}

/// Raises the limit of descriptors: a tree uses one per level.
pub fn allow_deep_trees() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If this fails, a very deep tree is an error later.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The mount points of this machine, as paths.
pub fn mount_points() -> Result<Vec<Vec<u8>>, Fault> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| {
            // The kernel writes space, tab, newline and backslash as three octal digits.
            let mut path = Vec::with_capacity(field.len());
            let mut rest = field;
            while let [first, after @ ..] = rest {
                rest = after;
                match (first, after) {
                    (b'\\', [a, b, c, after @ ..]) => {
                        path.push(((a & 7) << 6) | ((b & 7) << 3) | (c & 7));
                        rest = after;
                    }
                    _ => path.push(*first),
                }
            }
            path
        })
        .collect())
}

/// A readable descriptor of a directory from an `O_PATH` one.
pub fn reopen(found: impl AsFd) -> Result<OwnedFd, Errno> {
    directory(found, b".")
}
