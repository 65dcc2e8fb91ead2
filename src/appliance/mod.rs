//! The machine that is administered: every path, once (behaviour, section 1), and how its small files are read.

pub mod slots;
pub mod keys;

use crate::values::config::Config;
use crate::values::random;
use crate::values::token::Token;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const DEFAULT_ADMIN: &str = "/opt/jidoteki/tinyadmin/";
const DEFAULT_ETC: &str = "/usr/local/etc/";

/// Bytes that a file of settings or status may have: 4 MiB. Something larger is no such file, and would only fill memory.
const MAX_SMALL_FILE: u64 = 4 << 20;
/// Bytes that nearly all of them fit into: these are read at once.
const USUAL_FILE: usize = 1 << 10;

/// The folders of one appliance.
#[derive(Debug, Clone)]
pub struct Appliance {
    admin: PathBuf,
    etc: PathBuf,
    /// `JIDO_ADMIN_PATH` and `JIDO_ETC_PATH` where they were set, for the jobs.
    variables: Vec<(&'static str, OsString)>,
    gate: Option<PathBuf>,
}

impl Appliance {
    /// The appliance at the paths that the web server's configuration names, or at the usual ones.
    pub fn new(admin: Option<OsString>, etc: Option<OsString>) -> Appliance {
        let mut variables = Vec::new();
        let mut path = |name, value: Option<OsString>, default| match value.filter(|value| !value.is_empty()) {
            Some(value) => {
                variables.push((name, value.clone()));
                PathBuf::from(value)
            }
            None => PathBuf::from(default),
        };
        let admin = path("JIDO_ADMIN_PATH", admin, DEFAULT_ADMIN);
        let etc = path("JIDO_ETC_PATH", etc, DEFAULT_ETC);
        Appliance { admin, etc, variables, gate: None }
    }

    /// With the socket at which root waits for jobs, if it is there: only systemd makes it.
    pub fn with_gate(self, socket: Option<OsString>) -> Appliance {
        Appliance { gate: socket.filter(|socket| !socket.is_empty()).map(PathBuf::from), ..self }
    }

    /// The socket at which root waits for jobs, where there is one.
    pub fn gate(&self) -> Option<&Path> {
        self.gate.as_deref().filter(|socket| socket.exists())
    }

    /// The variables that told us where we are, to be told on.
    pub fn variables(&self) -> &[(&'static str, OsString)] {
        &self.variables
    }

    /// The admin path.
    pub fn admin(&self) -> &Path {
        &self.admin
    }

    /// The etc path.
    pub fn etc(&self) -> &Path {
        &self.etc
    }

    /// Our configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.etc.join("jidoteki-admin-api.json")
    }

    /// Types of storage that this appliance offers.
    pub fn storage_options_file(&self) -> PathBuf {
        self.etc.join("storage-options.json")
    }

    /// Body of `GET /build`.
    pub fn build_file(&self) -> PathBuf {
        self.etc.join("build.json")
    }

    /// The certificate in force, and those that issued it.
    pub fn certificate_file(&self) -> PathBuf {
        self.etc.join("tls/current/appliance.pem")
    }

    /// A file in `etc` below the admin path.
    pub fn etc_file(&self, name: &str) -> PathBuf {
        self.admin.join("etc").join(name)
    }

    /// The API token.
    pub fn token_file(&self) -> PathBuf {
        self.etc_file("api.token")
    }

    /// The passphrase of a first run that is pending.
    pub fn setup_file(&self) -> PathBuf {
        self.etc_file("api.token.setup")
    }

    /// The named tokens.
    pub fn keys_file(&self) -> PathBuf {
        self.etc_file("api.tokens.json")
    }

    /// What the executable itself remembers between requests. The ancestor has no such folder; where it is not there,
    /// nothing is remembered.
    pub fn state_file(&self, name: &str) -> PathBuf {
        self.admin.join("state").join(name)
    }

    /// What the job of this word says of how far it is, in a folder that only root can write to.
    pub fn progress_file(&self, word: &str) -> PathBuf {
        self.admin.join("progress").join(word)
    }

    /// A file of the audit log that vouches for itself, in `audit` below the admin path. It is not in `log`, which a
    /// request that is refused leaves as it is.
    pub fn audit_file(&self, name: &str) -> PathBuf {
        self.admin.join("audit").join(name)
    }

    /// A log in `log` below the admin path.
    pub fn log_file(&self, name: &str) -> PathBuf {
        self.admin.join("log").join(name)
    }

    /// The exchange directory between the executable and the jobs.
    pub fn uploads(&self) -> PathBuf {
        self.admin.join("home/sftp/uploads")
    }

    /// The one way from the executable to a job: `wrapper.sh`, or `start.sh` where an appliance has kept a `wrapper.sh`
    /// of the ancestor, which others still call.
    pub fn wrapper(&self) -> PathBuf {
        let beside = self.admin.join("bin/start.sh");
        if beside.exists() { beside } else { self.admin.join("bin/wrapper.sh") }
    }

    /// The vendor's script that prints the licence.
    pub fn license_script(&self) -> PathBuf {
        self.admin.join("bin/license.sh")
    }

    /// The configuration in force. A file that cannot be used is a line in the log, and enables nothing.
    pub fn config(&self) -> Config {
        let path = self.config_file();
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Config::default(),
            Err(error) => {
                log::error!("cannot read {}, so only the default endpoints are enabled: {error}", path.display());
                return Config::unknown();
            }
        };
        Config::parse(&text).unwrap_or_else(|error| {
            log::error!("{} is not valid JSON, so only the default endpoints are enabled: {error}", path.display());
            Config::unknown()
        })
    }

    /// The API token; `None` if none is set. A file that is there and has none we can use is an error: it is never taken
    /// for an appliance that anybody may claim.
    pub fn token(&self) -> io::Result<Option<Token>> {
        read_token(&self.token_file())
    }

    /// The passphrase that the console shows; `None` if first run is not pending.
    pub fn passphrase(&self) -> io::Result<Option<Token>> {
        read_token(&self.setup_file())
    }

    /// The text of a file without the white space around it; `None` where there is none to tell.
    pub fn trimmed_text(&self, path: &Path) -> Option<String> {
        let content = read(path).ok()?;
        let text = String::from_utf8_lossy(&content).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

fn read_token(path: &Path) -> io::Result<Option<Token>> {
    match read(path) {
        Ok(content) => Token::from_file(&content).map_err(|reason| about(path, io::ErrorKind::InvalidData, reason)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(about(path, error.kind(), error)),
    }
}

/// An error that names its file.
pub fn about(path: &Path, kind: io::ErrorKind, reason: impl Display) -> io::Error {
    io::Error::new(kind, format!("{}: {reason}", path.display()))
}

/// Reads a small file whole.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_now(path)?;
    // On the stack, whose page is there already: one on the heap is another page of every request.
    let mut start = [0; USUAL_FILE];
    // By position, which a named pipe has none of: the kernel refuses to read it like this.
    let n_read = file.read_at(&mut start, 0)?;
    let mut content = start[..n_read].to_vec();
    // Files of settings and status are replaced, not extended: one that leaves room was read to its end.
    if n_read == USUAL_FILE {
        content.clear();
        file.take(MAX_SMALL_FILE + 1).read_to_end(&mut content)?;
    }
    if content.len() as u64 > MAX_SMALL_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    Ok(content)
}

/// Reads a small file that only root can have written. What others can change is no list, key or configuration for root.
pub fn read_trusted(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    // Jobs run as root. In a test we are somebody else, who stands for root.
    let root = std::fs::metadata("/proc/self")?.uid();
    if metadata.uid() != root || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others than root can change it"));
    }
    if metadata.len() > MAX_SMALL_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    let mut content = Vec::new();
    file.take(MAX_SMALL_FILE).read_to_end(&mut content)?;
    Ok(content)
}

/// Opens a regular file. To read anything else might take for ever.
pub fn open(path: &Path) -> io::Result<File> {
    regular(open_now(path)?)
}

/// Opens a regular file in a directory where others can plant a link to something that is not theirs.
pub fn open_unlinked(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    regular(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// The file, if it is a regular one.
pub fn regular(file: File) -> io::Result<File> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// Opens a file of our own to read and write, and makes it with this mode if there is none; `None` only opens. What is not a
/// plain file at exactly this name is an error: others can write where our files lie, and a link would lead us elsewhere.
pub fn open_own(path: &Path, made_with: Option<u32>) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let (flags, mode) = match made_with {
        Some(mode) => (flags | OFlags::CREATE, Mode::from_raw_mode(mode)),
        None => (flags, Mode::empty()),
    };
    regular(rustix::fs::open(path, flags, mode)?.into())
}

/// The same in a directory where others can plant something at our names: that is put aside, and we go on.
pub fn open_own_making_way(path: &Path, mode: u32) -> io::Result<File> {
    match open_own(path, Some(mode)) {
        // What we write would be written under the other name too. One that is locked is ours: somebody gave it the other
        // name, and a job has it.
        Ok(file) if file.metadata()?.nlink() > 1 && file.try_lock().is_ok() => {
            put_aside(path)?;
            log::warn!("{} was a file with another name elsewhere, and was put aside", path.display());
            open_own(path, Some(mode))
        }
        Err(error) if is_planted(&error) => {
            put_aside(path)?;
            log::warn!("{} was no file of ours ({error}), and was put aside", path.display());
            open_own(path, Some(mode))
        }
        file => file,
    }
}

/// Whether a file of ours could not be opened because something else has its name.
pub fn is_planted(error: &io::Error) -> bool {
    // A link; a socket, or a device without its driver.
    matches!(error.raw_os_error(), Some(nix::libc::ELOOP | nix::libc::ENXIO | nix::libc::ENODEV))
        || matches!(
            error.kind(),
            io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
        )
}

/// What the names begin with of what was put aside; `check` looks for them.
pub const ASIDE: &str = ".aside-";

/// Takes what has a name of ours out of the way, without deleting it: somebody may want to know what it was.
fn put_aside(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside =
        path.with_file_name(format!("{ASIDE}{}-{}", name.trim_start_matches('.'), hex::encode(random::bytes::<4>()?)));
    std::fs::rename(path, aside)
}

/// Takes away a file of ours, or puts aside a directory that somebody made there. It is no error if nothing is there.
pub fn make_way(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => put_aside(path),
        result => result,
    }
}

/// Gives a file its name, whatever has that now.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            put_aside(to)?;
            std::fs::rename(from, to)
        }
        result => result,
    }
}

/// Opens what is there without waiting for anybody, as a named pipe in the exchange directory would.
fn open_now(path: &Path) -> io::Result<File> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// Writes a file beside its name and renames it: a reader sees the old content or the new one, never half of it, after a
/// power cut either. The name is brought to the disk too: a token that was replaced does not come back with the power.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    // What a killed predecessor left is in the way of `create_new`, which follows no link and gives the mode at once.
    make_way(&beside)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| rename(&beside, path)).inspect_err(|_| {
        // The reason that matters is the one returned; a file that cannot be removed is removed next time.
        let _ = std::fs::remove_file(&beside);
    })?;
    // The file is in force whatever becomes of this: who may write in a folder may not be allowed to open it.
    if let Ok(folder) = File::open(path.with_file_name(".")) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Sets the mode of a file of ours where the mask of whoever runs us may have taken something of it.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Bytes that can still be written into a folder. On a file system in memory its own figure is a wish, so the kernel is
/// asked too. `None` where neither knows, as with ramfs.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = statfs(folder).ok()?;
    if stat.blocks() == 0 {
        return available_memory();
    }
    let free = stat.blocks_available().saturating_mul(u64::try_from(stat.block_size()).ok()?);
    if stat.filesystem_type() == TMPFS_MAGIC {
        return Some(available_memory().map_or(free, |memory| memory.min(free)));
    }
    Some(free)
}

/// Bytes of memory that a new process may take. `None` where the kernel does not say.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_is_read_whole_and_what_is_no_file_not_at_all() {
        let root = std::env::temp_dir().join(format!("appliance-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let path = root.join("file");
        for length in [0, 1, USUAL_FILE - 1, USUAL_FILE, USUAL_FILE + 1, 4 << 20] {
            let content: Vec<u8> = b"0123456789".iter().copied().cycle().take(length).collect();
            std::fs::write(&path, &content).unwrap();
            assert!(read(&path).unwrap() == content, "{length}");
        }
        std::fs::write(&path, vec![0; (4 << 20) + 1]).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(&root).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(read(&root.join("nothing")).unwrap_err().kind(), io::ErrorKind::NotFound);
        let pipe = root.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // With somebody at the other end, and without.
        assert_eq!(read(&pipe).unwrap_err().kind(), io::ErrorKind::NotSeekable);
        let mut writer = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(read(&pipe).unwrap_err().kind(), io::ErrorKind::NotSeekable);
        assert_eq!(open(&pipe).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(!read(Path::new("/proc/meminfo")).unwrap().is_empty(), "whose length the kernel does not tell");
        std::fs::remove_dir_all(root).unwrap();
    }
}
