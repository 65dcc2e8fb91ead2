//! An appliance in its own directory. A stand-in for the image's `wrapper.sh` records its calls, and does of each job
//! only what the executable can see.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Does not know about locks, like the ancestor's scripts. A job waits while a file `hold` exists, and fails if `fail`
/// exists.
const WRAPPER: &str = r#"#!/bin/sh
A=${0%/*}/.. U=${0%/*}/../home/sftp/uploads E=${0%/*}/../etc
trap 'echo ended >>"$A/record/ended"' EXIT
printf '%s\n' "$SSH_ORIGINAL_COMMAND${1+ $1}" >>"$A/record/calls"
tr '\0' '\n' </proc/$$/environ | sort >"$A/record/environ"
(ls -l /proc/$$/fd >"$A/record/fds")
read -r stat </proc/$$/stat
printf '%s\n' "$stat" >"$A/record/stat"
echo $$ >"$A/record/pid"
while [ -e "$A/hold" ]; do sleep 0.05; done
if [ -e "$A/fail" ]; then cat "$A/fail"; echo "/root/secret" >&2; exit 1; fi
case $SSH_ORIGINAL_COMMAND in
token) mv -f "$U/api.token" "$E/api.token" ;;
settings)
    case $1 in
    confirm) ;;
    undo) rm -f "$E/pending_settings.txt" ;;
    *) mv -f "$U/app.json" "$U/network.json" "$E/" ;;
    esac ;;
storage) [ "${1-}" = undo ] || mv -f "$U/storage.json" "$E/" ;;
certs)
    case ${1-} in
    '') cat "$U/appliance.pem" "$U/appliance.key" "$U/ca.pem" >"$A/record/pair" 2>/dev/null; cp "$A/result" "$E/status_certs.txt" 2>/dev/null ;;
    csr) mv -f "$U/request.txt" "$E/certs_request.pem" ;;
    undo) rm -f "$E/pending_certs.txt" ;;
    forget) rm -f "$E/certs_request.pem" ;;
    esac ;;
license) mv -f "$U/license.asc" "$E/" ;;
logs) echo logs >"$U/logs.tar.gz" ;;
debug) echo bundle >"$U/debug-bundle.tar" ;;
tokens)
    case ${1-} in
    add) cp "$U/tokens.json" "$A/record/wanted"; printf '{"Status":"200 OK","token":"5f3c1e0b7a9d2846c0b1f4e8d7a6935210fe4dcb8a79685746352413021f0e9d"}\n' ;;
    remove) rm -f "$E/api.tokens.json" ;;
    esac
    rm -f "$U/tokens.json" ;;
inspect)
    [ -s "$U/.resumable/$(cat "$U/inspect.upload")" ] &&
        printf '{"version":"1.0.1","version-before":"1.0.0","signature":"valid","changelog":"1.0.1: fixes"}'
    rm "$U/inspect.upload" ;;
services) printf '{"services":[{"ssh":"running"}]}' ;;
monitor) printf '{"range":"%s"}' "$1" ;;
esac
"#;

const LICENSE: &str = "#!/bin/sh\ncat \"${0%/*}/../etc/license.asc\" 2>/dev/null\n";

/// The files of the appliance before a case changes them.
const FILES: [(&str, &str); 15] = [
    ("etc/api.token", "yourtoken\n"),
    ("etc/version.txt", "1.2.3\n"),
    ("etc/changelog.txt", "# Changelog\n"),
    ("etc/health.json", "{\"cpu\":{\"num\":1}}\n"),
    ("etc/machine.json", "{\"hostname\":\"box\"}\n"),
    ("etc/app.json", "{\"name\":\"testapp\"}\n"),
    ("etc/network.json", "{\"mode\":\"dhcp\",\"interface\":\"eth0\"}\n"),
    ("etc/storage.json", "{\"storage\":{\"type\":\"local\"}}\n"),
    ("etc/status_update.json", "{\"status\":\"success\",\"percentage\":100}\n"),
    ("log/update.log", "[1][SYSTEM] one\n[2][SYSTEM] two\n"),
    ("log/update_backup.log", "[3][SYSTEM] three\n"),
    ("usr/build.json", "{\"builddate\":\"123456789\"}\n"),
    ("usr/storage-options.json", "{\"options\":[\"local\",\"nfs\"]}\n"),
    ("usr/jidoteki-admin-api.json", CONFIG),
    ("home/sftp/uploads/backup.tar", "the backup"),
];

/// Everything that can be enabled.
pub const CONFIG: &str = r#"{"endpoints":["settings","certs","license","storage","backup","monitor","audit"],
"parameters":["public","private","ca","license","action","archive"],"reboot":"both"}"#;

pub struct Fixture {
    pub root: PathBuf,
}

impl Fixture {
    pub fn new() -> Fixture {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        // Not below the target directory, which a server's user may not be able to enter.
        let root = PathBuf::from(format!("/tmp/jidoteki-http-{}-{n}", std::process::id()));
        fs::create_dir(&root).unwrap();
        let fixture = Fixture { root };
        fixture.reset();
        fixture
    }

    /// Resets the appliance. A job that is still running would leave files behind.
    #[track_caller]
    pub fn reset(&self) {
        let n_lines = |name: &str| self.read(name).lines().count();
        // A job holds its lock from before the 202, and may not have begun to record anything yet.
        wait_until("no job holds its lock", || !self.is_any_lock_held());
        wait_until("the jobs have ended", || n_lines("record/ended") == n_lines("record/calls"));
        for folder in ["admin", "usr"] {
            drop(fs::remove_dir_all(self.root.join(folder)));
        }
        for folder in ["", "bin", "etc", "audit", "log", "progress", "record", "state", "home/sftp/uploads"] {
            let path = self.admin().join(folder);
            fs::create_dir_all(&path).unwrap();
            mode(&path, 0o777);
        }
        fs::create_dir_all(self.root.join("usr")).unwrap();
        for (name, content) in FILES {
            self.write(name, content);
        }
        for (name, content) in [("bin/wrapper.sh", WRAPPER), ("bin/license.sh", LICENSE)] {
            self.write(name, content);
            mode(&self.path(name), 0o755);
        }
    }

    fn is_any_lock_held(&self) -> bool {
        let entries = fs::read_dir(self.path("home/sftp/uploads")).into_iter().flatten().flatten();
        let locks = entries.filter(|entry| {
            entry.file_name().to_string_lossy().ends_with(".lock") && entry.file_type().is_ok_and(|kind| kind.is_file())
        });
        locks.filter_map(|lock| fs::File::open(lock.path()).ok()).any(|lock| lock.try_lock().is_err())
    }

    pub fn admin(&self) -> PathBuf {
        self.root.join("admin")
    }

    pub fn etc(&self) -> PathBuf {
        self.root.join("usr")
    }

    /// `usr/...` is below the etc path, everything else below the admin path.
    pub fn path(&self, name: &str) -> PathBuf {
        if name.starts_with("usr/") { self.root.join(name) } else { self.admin().join(name) }
    }

    /// Writes a file. `SOON` in it stands for the time of the clock in a minute, in seconds.
    pub fn write(&self, name: &str, content: &str) {
        let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60;
        fs::write(self.path(name), content.replace("SOON", &soon.to_string())).unwrap();
        mode(&self.path(name), 0o666);
    }

    pub fn remove(&self, name: &str) {
        drop(fs::remove_file(self.path(name)));
    }

    /// The text of a file; empty if there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The files in the exchange directory, without locks.
    pub fn uploads(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("home/sftp/uploads")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".lock"))
            .collect();
        names.sort();
        names
    }

    /// The calls of jobs, one per line, once there are as many as wanted.
    #[track_caller]
    pub fn calls(&self, n_wanted: usize) -> Vec<String> {
        wait_until("the job is called", || self.read("record/calls").lines().count() >= n_wanted);
        self.read("record/calls").lines().map(str::to_owned).collect()
    }

    /// The job `update` has an environment built from scratch, its lock as standard input, and no other descriptor.
    #[track_caller]
    pub fn check_what_update_gets(&self) {
        wait_until("the job has told its descriptors", || !self.read("record/pid").is_empty());
        assert_eq!(
            self.read("record/environ"),
            format!(
                "JIDO_ADMIN_PATH={}\nJIDO_ETC_PATH={}\nLC_ALL=C\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nSSH_ORIGINAL_COMMAND=update\n",
                self.admin().display(),
                self.etc().display()
            )
        );
        let fds = self.read("record/fds");
        let held = fds.lines().filter_map(|line| line.split_once(" -> "));
        let held = held.map(|(name, file)| (name.rsplit(' ').next().unwrap(), file));
        // The shell's own script descriptor, 10 in dash and 255 in bash.
        let held: Vec<_> = held.filter(|(name, _)| !["10", "255"].contains(name)).collect();
        let lock = self.path("home/sftp/uploads/.update.lock").display().to_string();
        assert_eq!(held, [("0", lock.as_str()), ("1", "/dev/null"), ("2", "/dev/null")]);
    }

    /// Actions and targets of the audit log.
    pub fn audit(&self) -> Vec<String> {
        let log = self.read("log/jidoteki-audit.log");
        log.lines().map(|line| line.splitn(5, ',').nth(4).unwrap_or(line).to_owned()).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.root));
    }
}

/// Waits for something that happens soon, and reports what did not happen. The deadline is for a failure, not for a
/// slow machine.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(300);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "still waiting until {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
