//! A member of an archive, and its possible errors.

use std::fmt;
use std::io;

/// Bytes of a block: the size of an archive is a multiple of it.
pub const BLOCK: u64 = 512;

/// Names with their values: attributes, records.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Maximum pieces of data in a sparse file, because their table is in memory.
pub const MAX_PIECES: usize = 1 << 17;

/// The type of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    /// Another name of a file that is already in the archive.
    HardLink,
    /// A named pipe, which has no content to back up.
    Pipe,
    /// A device, or a type that only one tar program supports.
    Other,
}

/// A member without its content.
#[derive(Debug, Clone)]
pub struct Member {
    /// As the archive has it.
    pub name: Vec<u8>,
    pub kind: Kind,
    /// The target of a link.
    pub target: Vec<u8>,
    /// Without the type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub seconds: i64,
    pub nanoseconds: u32,
    /// Extended attributes: ACLs and capabilities are some of them.
    pub attributes: Pairs,
    /// Bytes of the file, including its holes.
    pub size: u64,
    /// Where its data is, in order: offset and length. One piece if it is not sparse.
    pub pieces: Vec<(u64, u64)>,
}

impl Member {
    /// Bytes of data, without holes.
    pub fn data(&self) -> u64 {
        self.pieces.iter().map(|(_, length)| length).sum()
    }
}

/// Why reading an archive stops.
#[derive(Debug)]
pub enum Fault {
    NotTar,
    /// It is truncated or inconsistent.
    Damaged(&'static str),
    /// A member is not allowed. The text is for the client, the name for the log.
    Refused(&'static str, Vec<u8>),
    /// A member's file cannot be read or written.
    File(Vec<u8>, io::Error),
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Damaged("it ends in the middle of a member"),
            _ => Fault::Io(error),
        }
    }
}

impl From<rustix::io::Errno> for Fault {
    fn from(error: rustix::io::Errno) -> Fault {
        Fault::Io(error.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotTar => f.write_str("the archive is not a tar file"),
            Fault::Damaged(why) => write!(f, "the archive is damaged: {why}"),
            Fault::Refused(why, name) => write!(f, "{why}: {}", shown(name)),
            Fault::File(name, error) => write!(f, "{}: {error}", shown(name)),
            Fault::Io(error) => write!(f, "{error}"),
        }
    }
}

/// A name that is readable on one line.
pub fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
