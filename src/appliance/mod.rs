//! The managed machine: every path, once, and functions to read and replace its small files.

pub mod slots;
pub mod keys;
pub mod resumable;

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

/// Maximum bytes of a settings or status file: 4 MiB. A larger file is not one, and would only fill memory.
const MAX_SMALL_FILE: u64 = 4 << 20;
/// Bytes for the first read, which is enough for nearly all of these files.
const USUAL_FILE: usize = 1 << 10;

/// The directories of one appliance.
#[derive(Debug, Clone)]
pub struct Appliance {
    admin: PathBuf,
    etc: PathBuf,
    /// `JIDO_ADMIN_PATH` and `JIDO_ETC_PATH`, if set, for the jobs.
    variables: Vec<(&'static str, OsString)>,
    gate: Option<PathBuf>,
}

impl Appliance {
    /// The appliance at the paths in the web server's configuration, or at the default ones.
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

    /// Adds the socket for root's jobs, if it exists: only systemd creates it.
    pub fn with_gate(self, socket: Option<OsString>) -> Appliance {
        Appliance { gate: socket.filter(|socket| !socket.is_empty()).map(PathBuf::from), ..self }
    }

    /// The socket for root's jobs, if there is one.
    pub fn gate(&self) -> Option<&Path> {
        self.gate.as_deref().filter(|socket| socket.exists())
    }

    /// The variables that named the paths, to pass on.
    pub fn variables(&self) -> &[(&'static str, OsString)] {
        &self.variables
    }

    pub fn admin(&self) -> &Path {
        &self.admin
    }

    pub fn etc(&self) -> &Path {
        &self.etc
    }

    /// Our configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.etc.join("jidoteki-admin-api.json")
    }

    /// The storage types that this appliance offers.
    pub fn storage_options_file(&self) -> PathBuf {
        self.etc.join("storage-options.json")
    }

    /// The body of `GET /build`.
    pub fn build_file(&self) -> PathBuf {
        self.etc.join("build.json")
    }

    /// The certificate in use, and its issuers.
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

    /// The passphrase of a pending first run.
    pub fn setup_file(&self) -> PathBuf {
        self.etc_file("api.token.setup")
    }

    /// The named tokens.
    pub fn keys_file(&self) -> PathBuf {
        self.etc_file("api.tokens.json")
    }

    /// The executable's own state between requests. The ancestor has no such directory; if it is missing, nothing is
    /// stored.
    pub fn state_file(&self, name: &str) -> PathBuf {
        self.admin.join("state").join(name)
    }

    /// The progress of a job, in a directory that only root can write to.
    pub fn progress_file(&self, job: &str) -> PathBuf {
        self.admin.join("progress").join(job)
    }

    /// A file of the chained audit log, in `audit` below the admin path. It is not in `log`, which a refused request
    /// does not change.
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

    /// The only way from the executable to a job: `wrapper.sh`, or `start.sh` if the appliance kept the ancestor's
    /// `wrapper.sh`, which other programs still call.
    pub fn wrapper(&self) -> PathBuf {
        let beside = self.admin.join("bin/start.sh");
        if beside.exists() { beside } else { self.admin.join("bin/wrapper.sh") }
    }

    /// The vendor's script that prints the license.
    pub fn license_script(&self) -> PathBuf {
        self.admin.join("bin/license.sh")
    }

    /// The current configuration. A file that cannot be used is logged, and enables nothing.
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

    /// The API token; `None` if none is set. An existing file without a valid token is an error, so that nobody can
    /// claim the appliance.
    pub fn token(&self) -> io::Result<Option<Token>> {
        read_token(&self.token_file())
    }

    /// The passphrase that the console shows; `None` if first run is not pending.
    pub fn passphrase(&self) -> io::Result<Option<Token>> {
        read_token(&self.setup_file())
    }

    /// The text of a file without surrounding white space; `None` if it is missing or empty.
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

/// An error with the name of its file.
pub fn about(path: &Path, kind: io::ErrorKind, reason: impl Display) -> io::Error {
    io::Error::new(kind, format!("{}: {reason}", path.display()))
}

/// Reads a small file completely.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_now(path)?;
    // On the stack, whose page is already mapped: a heap page would be another fault for every request.
    let mut start = [0; USUAL_FILE];
    // By position: the kernel refuses this for a named pipe.
    let n_read = file.read_at(&mut start, 0)?;
    let mut content = start[..n_read].to_vec();
    // Settings and status files are replaced, never extended: a short read is complete.
    if n_read == USUAL_FILE {
        content.clear();
        file.take(MAX_SMALL_FILE + 1).read_to_end(&mut content)?;
    }
    if content.len() as u64 > MAX_SMALL_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    Ok(content)
}

/// Reads a small file that only root can have written. Root trusts no list, key or configuration that others can
/// change.
pub fn read_trusted(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    // Jobs run as root. In a test, the current user stands for root.
    let root = std::fs::metadata("/proc/self")?.uid();
    if metadata.uid() != root || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "users other than root can change it"));
    }
    if metadata.len() > MAX_SMALL_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    let mut content = Vec::new();
    file.take(MAX_SMALL_FILE).read_to_end(&mut content)?;
    Ok(content)
}

/// Opens a regular file. Reading anything else could block forever.
pub fn open(path: &Path) -> io::Result<File> {
    regular(open_now(path)?)
}

/// Opens a regular file in a directory where others can plant a link to a file that is not theirs.
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

/// Opens one of our files for reading and writing. Creates it with this mode if it is missing; `None` only opens.
/// Anything but a regular file with exactly this name is an error: others can write in these directories, and plant a
/// link.
pub fn open_own(path: &Path, made_with: Option<u32>) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let (flags, mode) = match made_with {
        Some(mode) => (flags | OFlags::CREATE, Mode::from_raw_mode(mode)),
        None => (flags, Mode::empty()),
    };
    regular(rustix::fs::open(path, flags, mode)?.into())
}

/// The same in a directory where others can plant something under our names: sets it aside and continues.
pub fn open_own_making_way(path: &Path, mode: u32) -> io::Result<File> {
    match open_own(path, Some(mode)) {
        // A write would also change the file's other name. If the file is locked, it is ours: somebody added the other
        // name, and a job uses it.
        Ok(file) if file.metadata()?.nlink() > 1 && file.try_lock().is_ok() => {
            set_aside(path)?;
            log::warn!("{} had another hard link, and was set aside", path.display());
            open_own(path, Some(mode))
        }
        Err(error) if is_planted(&error) => {
            set_aside(path)?;
            log::warn!("{} was not one of our files ({error}), and was set aside", path.display());
            open_own(path, Some(mode))
        }
        file => file,
    }
}

/// Whether the error means that something else has the name of our file.
pub fn is_planted(error: &io::Error) -> bool {
    // A link; a socket, or a device without a driver.
    matches!(error.raw_os_error(), Some(nix::libc::ELOOP | nix::libc::ENXIO | nix::libc::ENODEV))
        || matches!(
            error.kind(),
            io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
        )
}

/// The prefix of names that were set aside; `check` looks for it.
pub const ASIDE: &str = ".aside-";

/// Renames something that has our name, without deleting it, because somebody may want to examine it.
pub fn set_aside(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside =
        path.with_file_name(format!("{ASIDE}{}-{}", name.trim_start_matches('.'), hex::encode(random::bytes::<4>()?)));
    std::fs::rename(path, aside)
}

/// Removes one of our files, or sets aside a directory in its place. A missing file is not an error.
pub fn remove_or_set_aside(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => set_aside(path),
        result => result,
    }
}

/// Gives a file its name, whatever has that name now.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            set_aside(to)?;
            std::fs::rename(from, to)
        }
        result => result,
    }
}

/// Opens a file without blocking, as a named pipe in the exchange directory would.
fn open_now(path: &Path) -> io::Result<File> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// Writes a file under a temporary name and renames it: a reader sees the old content or the new one, also after a
/// power cut. The name is flushed too, so that a replaced token does not come back.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    // A file left by a killed process would block `create_new`, which follows no link and sets the mode at once.
    remove_or_set_aside(&beside)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| rename(&beside, path)).inspect_err(|_| {
        // Return the first error; a file that cannot be removed is removed next time.
        let _ = std::fs::remove_file(&beside);
    })?;
    // The file is in place even if this fails: write access to a directory does not imply read access.
    if let Ok(folder) = File::open(path.with_file_name(".")) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Sets the mode of one of our files, in case the umask removed bits.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Sets the mode of a file that root has written for the API's user, and gives it the group of its directory. On a migrated
/// appliance, the directory does not pass its group on.
pub fn share(path: &Path, mode: u32) -> io::Result<()> {
    let directory = std::fs::metadata(path.with_file_name("."))?.gid();
    if std::fs::metadata(path)?.gid() != directory {
        std::os::unix::fs::chown(path, None, Some(directory))?;
    }
    set_mode(path, mode)
}

/// Bytes available in a directory. A memory filesystem's own number is only a limit, so the kernel is asked too. `None`
/// if neither knows, as with ramfs.
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

/// Bytes of memory available to a new process. `None` if the kernel does not say.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_is_read_whole_and_other_types_are_not_read() {
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
        // With a process at the other end, and without.
        assert_eq!(read(&pipe).unwrap_err().kind(), io::ErrorKind::NotSeekable);
        let mut writer = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(read(&pipe).unwrap_err().kind(), io::ErrorKind::NotSeekable);
        assert_eq!(open(&pipe).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(!read(Path::new("/proc/meminfo")).unwrap().is_empty(), "whose length the kernel does not tell");
        std::fs::remove_dir_all(root).unwrap();
    }
}
