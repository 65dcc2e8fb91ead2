//! A machine for one test: an admin path, an etc path and fake commands in a temporary directory, and
//! the way in that the executable has: wrapper.sh, with a lock as standard input.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What runs the scripts. `Busybox` has its tar, mv, awk and so on as well, as small images do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    Dash,
    Busybox,
}

pub const SHELLS: [Shell; 2] = [Shell::Dash, Shell::Busybox];

/// What a test waits for at most, for anything. Nothing waits this long when all is well.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Commands that would harm the machine that runs the tests.
/// `setsid` is the timer of an unconfirmed change, which would outlive the test. `ip` would ask the network of that
/// machine for an address.
const FAKES: [&str; 11] = [
    "ip",
    "reboot",
    "systemctl",
    "networkctl",
    "hostname",
    "ifup",
    "ifdown",
    "systemd-run",
    "setsid",
    "rc-service",
    "iscsiadm",
];

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub struct Appliance {
    pub root: PathBuf,
    pub shell: Shell,
}

/// How a job ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    #[allow(dead_code, reason = "shown where a test fails")]
    pub stderr: String,
}

impl Appliance {
    pub fn new(shell: Shell) -> Appliance {
        Appliance::at(&std::env::temp_dir(), shell)
    }

    /// On a filesystem in memory, where there is one: for tests that bring much to the disk, which others use as well. No
    /// script may be run from there.
    pub fn in_memory(shell: Shell) -> Appliance {
        let memory = Path::new("/dev/shm");
        Appliance::at(if memory.is_dir() { memory } else { Path::new("/tmp") }, shell)
    }

    fn at(folder: &Path, shell: Shell) -> Appliance {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = folder.join(format!("jidoteki-jobs-{}-{number}", std::process::id()));
        let appliance = Appliance { root, shell };
        let _ = fs::remove_dir_all(&appliance.root);
        for directory in [
            "admin/etc",
            "admin/log",
            "admin/progress",
            "admin/home/sftp/uploads",
            "etc",
            "data",
            "fakes",
            "answers",
            "tmp",
        ] {
            fs::create_dir_all(appliance.root.join(directory)).unwrap();
        }
        fs::create_dir(appliance.root.join("admin/lib")).unwrap();
        appliance.chmod("admin/lib", 0o700);
        install(&repository().join("cgi-bin"), &appliance.root.join("admin/bin"), shell);
        for name in FAKES {
            fs::copy(repository().join("tests/jobs/fakes/record"), appliance.root.join("fakes").join(name)).unwrap();
        }
        fs::copy(repository().join("tests/jobs/fakes/sudo"), appliance.root.join("fakes/sudo")).unwrap();
        symlink(env!("CARGO_BIN_EXE_jidoteki-admin-jobs"), appliance.root.join("fakes/jidoteki-admin-jobs")).unwrap();
        appliance.write("admin/etc/updates.key", "a pass phrase of the image\n");
        appliance.chmod("admin/etc/updates.key", 0o600);
        fs::copy(vendor_keys().join("updates.pub"), appliance.root.join("admin/etc/updates.pub")).unwrap();
        // Jobs would ask the web server of the machine that runs the tests.
        fs::remove_file(appliance.root.join("admin/bin/web-server.sh")).unwrap();
        fs::remove_file(appliance.root.join("admin/bin/network.sh")).unwrap();
        appliance
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn upload(&self, name: &str, content: impl AsRef<[u8]>) {
        self.write(&format!("admin/home/sftp/uploads/{name}"), content);
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A script of the image: `admin/bin/network.sh` and the like.
    pub fn hook(&self, name: &str, body: &str) {
        self.write(name, format!("#!/bin/sh\n{body}\n"));
        self.chmod(name, 0o755);
    }

    pub fn answer(&self, command: &str, body: &str) {
        self.write(&format!("answers/{command}"), body);
    }

    pub fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        match fs::read(self.path(name)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => panic!("{name}: {error}\n{}", self.describe()),
        }
    }

    /// The file, or nothing where there is none.
    pub fn maybe(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    pub fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    pub fn mode(&self, name: &str) -> u32 {
        self.path(name).symlink_metadata().unwrap().permissions().mode() & 0o7777
    }

    /// What the fake commands were told, one a line.
    pub fn record(&self) -> String {
        self.maybe("record").unwrap_or_default()
    }

    pub fn search_path(&self) -> String {
        let mut path = String::new();
        if self.exists("faults") {
            write!(path, "{}:", self.path("faults").display()).unwrap();
        }
        write!(path, "{}:", self.path("fakes").display()).unwrap();
        if self.shell == Shell::Busybox {
            write!(path, "{}:", busybox_applets().display()).unwrap();
        }
        path + "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    }

    /// Any program in the environment of a job.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", self.search_path())
            .env("LC_ALL", "C")
            .env("JIDO_ADMIN_PATH", self.path("admin"))
            .env("JIDO_ETC_PATH", self.path("etc"))
            .current_dir(&self.root);
        command
    }

    /// Starts a job as the executable does: `settings dhcp` is the job `settings` with one argument.
    pub fn start(&self, job: &str) -> Child {
        self.start_as(job, "")
    }

    /// `become_it`: words before the command that starts it.
    fn start_as(&self, job: &str, become_it: &str) -> Child {
        let mut words = job.split(' ');
        let name = words.next().unwrap();
        // STOP does not hold the lock of the START that it ends.
        let lock = if job == "backup STOP" { "backup-stop" } else { name };
        let lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(self.path(&format!("admin/home/sftp/uploads/.{lock}.lock")))
            .unwrap();
        // A process that another test is starting has copies of our descriptors until it executes its program.
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(error) = lock.try_lock() {
            assert!(Instant::now() < deadline, "the lock of {job} is not free: {error}");
            thread::sleep(Duration::from_millis(10));
        }
        // bin/recover.sh calls the job itself.
        let program = if job.ends_with(" recover") { format!("jobs/{name}") } else { "wrapper.sh".to_owned() };
        // The pid is written by the process that becomes the job, so no fault can come too early for it.
        let mut command = self.command(Path::new("/bin/sh"));
        command
            .arg("-c")
            .arg(format!("[ ! -d faults ] || echo $$ >faults/pid; exec {become_it} \"$@\""))
            .arg("sh")
            .arg(self.path("admin/bin").join(program))
            .args(words)
            .env("SSH_ORIGINAL_COMMAND", name)
            .stdin(Stdio::from(lock))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command.spawn().unwrap()
    }

    pub fn run(&self, job: &str) -> Outcome {
        wait(self.start(job), job)
    }

    /// The same without root's right to write where no mode allows it.
    pub fn run_obeying_modes(&self, job: &str) -> Outcome {
        let drop = if is_root() { "setpriv --bounding-set=-dac_override" } else { "" };
        wait(self.start_as(job, drop), job)
    }

    /// The same with a directory that is a file system in memory for this job, mounted with these options. For root only.
    pub fn run_with_mount(&self, job: &str, directory: &str, options: &str) -> Outcome {
        let script = format!("mount -t tmpfs -o {options} tmpfs {directory} && exec \"$@\"");
        wait(self.start_as(job, &format!("unshare -m sh -c '{script}' sh")), job)
    }

    #[track_caller]
    pub fn succeed(&self, job: &str) -> Outcome {
        let outcome = self.run(job);
        assert_eq!(outcome.code, Some(0), "{job} under {:?}: {outcome:?}\n{}", self.shell, self.describe());
        outcome
    }

    /// Runs a job that must fail, and checks what it tells the client.
    #[track_caller]
    pub fn refuse(&self, job: &str, reason: &str) {
        let outcome = self.run(job);
        assert_ne!(outcome.code, Some(0), "{job} under {:?} did not fail\n{}", self.shell, self.describe());
        assert_eq!(outcome.stdout, format!("Reason: {reason}\n"), "{job} under {:?}\n{}", self.shell, self.describe());
    }

    /// The timer of a change is a process of its own here, and not a unit of systemd, where that runs.
    pub fn let_timers_run(&self) {
        fs::remove_file(self.path("fakes/setsid")).unwrap();
        self.hook("fakes/systemd-run", "exit 1");
    }

    /// `bin/recover.sh`, as at boot.
    pub fn recover(&self) {
        let output = self.command(&self.path("admin/bin/recover.sh")).output().unwrap();
        assert!(output.status.success(), "recover.sh under {:?}: {output:?}\n{}", self.shell, self.describe());
    }

    /// What the minute does about certificates.
    #[track_caller]
    pub fn tend(&self) {
        let output = self.command(&self.path("admin/bin/jobs/certs")).arg("tend").output().unwrap();
        assert!(output.status.success(), "certs tend under {:?}: {output:?}\n{}", self.shell, self.describe());
    }

    /// Names of all files below a directory, sorted, without what is always there.
    pub fn files(&self, directory: &str) -> Vec<String> {
        let mut names = Vec::new();
        walk(&self.path(directory), "", &mut names);
        names.sort();
        names
    }

    /// What stands in the logs, for the message of a failed assertion.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for name in self.files("admin/log") {
            let _ = writeln!(text, "--- {name}\n{}", self.read(&format!("admin/log/{name}")));
        }
        for directory in ["admin/lib", "admin/home/sftp/uploads", "admin/etc"] {
            let _ = writeln!(text, "--- {directory}: {:?}", self.files(directory));
        }
        text
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

fn walk(directory: &Path, prefix: &str, names: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &format!("{name}/"), names);
            // An empty directory is something that was left as well.
            names.push(format!("{name}/"));
        } else {
            names.push(name);
        }
    }
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Copies the scripts, for the shell that shall run them.
fn install(from: &Path, to: &Path, shell: Shell) {
    let interpreter = match shell {
        Shell::Dash => "#!/bin/dash",
        Shell::Busybox => "#!/bin/busybox sh",
    };
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            install(&entry.path(), &target, shell);
        } else {
            let script = fs::read_to_string(entry.path()).unwrap().replacen("#!/bin/sh", interpreter, 1);
            fs::write(&target, script).unwrap();
            fs::set_permissions(&target, entry.metadata().unwrap().permissions()).unwrap();
        }
    }
}

#[track_caller]
pub fn wait(mut child: Child, what: &str) -> Outcome {
    let started = Instant::now();
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Outcome { code: status.code(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() };
        }
        if started.elapsed() > DEADLINE {
            let _ = child.kill();
            panic!("{what} does not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn drain(pipe: Option<impl std::io::Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Polls until it is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "never came true: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a program that has to succeed, and gives back what it printed.
#[track_caller]
pub fn must(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[track_caller]
pub fn sh(directory: &Path, script: &str) -> String {
    let output = must(Command::new("/bin/sh").arg("-euc").arg(script).current_dir(directory));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A directory with a link to busybox for each applet that a small image would have it for.
fn busybox_applets() -> &'static Path {
    static APPLETS: OnceLock<PathBuf> = OnceLock::new();
    APPLETS.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("jidoteki-applets-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        let list = must(Command::new("busybox").arg("--list"));
        for applet in String::from_utf8(list.stdout).unwrap().lines() {
            if !applet.contains('/') && applet != "[" && applet != "sh" && applet != "ip" {
                symlink("/bin/busybox", directory.join(applet)).unwrap();
            }
        }
        directory
    })
}

/// The key pair of the vendor, made once: keys take the time of many tests.
pub fn vendor_keys() -> &'static Path {
    static KEYS: OnceLock<PathBuf> = OnceLock::new();
    KEYS.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("jidoteki-vendor-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        sh(
            &directory,
            "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out updates.pem
             openssl pkey -in updates.pem -pubout -out updates.pub
             openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out other.pem",
        );
        directory
    })
}

/// One test under each shell.
pub fn under_each_shell(test: impl Fn(&Appliance)) {
    for shell in SHELLS {
        test(&Appliance::new(shell));
    }
}

pub fn is_root() -> bool {
    must(Command::new("id").arg("-u")).stdout == b"0\n"
}
