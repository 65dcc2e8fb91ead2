//! The cost of a request, counted: system calls, page faults, instructions that a hypervisor traps, memory, and the
//! size of the executable. Counts are the same on every machine and identify a regression; `bench/run` measures times.
//!
//! The bounds apply to the build that install.sh makes for an appliance: musl, with Rust's standard library built from
//! source.

use crate::support::Fixture;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// Bytes of the executable with the command line.
const MAX_SIZE: u64 = 700 << 10;
const MAX_SIZE_WITHOUT_CLI: u64 = 500 << 10;
/// Bytes of the program for jobs, which no request maps.
const MAX_SIZE_FOR_JOBS: u64 = 700 << 10;
/// 17 are the start and end of any Rust program, 1 the allocator, 1 finds the appliance, 9 read three files, 1 is the
/// response: docs/PERFORMANCE.md.
const MAX_SYSTEM_CALLS: usize = 30;
const MAX_MINOR_FAULTS: u64 = 20;
const MAX_UPLOAD_KIBIBYTES: u64 = 2 << 10;

/// The tag over `GET/api/v1/admin/version` with the fixture's token, from the API document.
const VERSION: &str = "/api/v1/admin/version?hash=b714a60732e096ccef06e360eefe0f1ba4fa5d16ef7da726612e2026e5523241";

enum CommandLine {
    With,
    Without,
}

/// Builds as install.sh does for an appliance; `None`, with a message, if this machine cannot.
fn build(command_line: CommandLine) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // A folder for each: the program for jobs lies beside the executable, and differs too.
    let (own, option) = match command_line {
        CommandLine::With => (folder.join("small"), None),
        CommandLine::Without => (folder.join("small-without-cli"), Some("--no-cli")),
    };
    drop(fs::remove_file(&own));
    fs::create_dir_all(&own).unwrap();
    let built = own.join("jidoteki-admin-api");
    // Its own directory: the caller's can be locked, and has other flags.
    build_in(Path::new(env!("CARGO_MANIFEST_DIR")), &folder.join("small-target"), &built, option)
}

fn build_in(root: &Path, target: &Path, built: &Path, option: Option<&str>) -> Option<PathBuf> {
    drop(fs::remove_file(built));
    let mut said = String::new();
    for how in ["sources", "debian"] {
        let mut install = Command::new(root.join("install.sh"));
        install.arg("--build").arg(built).args(["--how", how]).args(option);
        install.env("CARGO_TARGET_DIR", target).env_remove("RUSTFLAGS");
        said.push_str(&String::from_utf8_lossy(&install.output().unwrap().stderr));
        if built.exists() {
            return Some(built.to_owned());
        }
    }
    assert!(std::env::var_os("CI").is_none(), "cannot build for an appliance here: {said}");
    println!("skipped: cannot build for an appliance here: {said}");
    None
}

static BUILT: LazyLock<Option<PathBuf>> = LazyLock::new(|| build(CommandLine::With));

/// The variables of an authenticated `GET /version`.
fn version(program: &mut Command, fixture: &Fixture) {
    program
        .env_clear()
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("REQUEST_METHOD", "GET")
        .env("REQUEST_URI", VERSION)
        .env("REMOTE_ADDR", "192.0.2.7")
        .env("JIDO_ADMIN_PATH", fixture.admin())
        .env("JIDO_ETC_PATH", fixture.etc());
}

/// The output of a tool that runs the request, after the response was checked.
fn under(tool: &str, arguments: &[&Path], report: &Path, fixture: &Fixture) -> String {
    let mut command = Command::new(tool);
    command.args(arguments).stdin(Stdio::null());
    version(&mut command, fixture);
    let output = command.env("PATH", "/usr/bin:/bin").output().unwrap_or_else(|error| panic!("{tool}: {error}"));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("{\"version\":\"1.2.3\"}"), "{tool}: {output:?}");
    fs::read_to_string(report).unwrap()
}

#[test]
fn the_executable_is_small() {
    let (Some(with), Some(without)) = (&*BUILT, build(CommandLine::Without)) else { return };
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    let for_jobs = |program: &Path| size(&program.with_file_name("jidoteki-admin-jobs"));
    println!("size: {} bytes, for jobs {}", size(with), for_jobs(with));
    println!("size without the command line: {} bytes, for jobs {}", size(&without), for_jobs(&without));
    assert!(for_jobs(with) <= MAX_SIZE_FOR_JOBS, "{} bytes for jobs", for_jobs(with));
    assert!(size(with) <= MAX_SIZE, "{} bytes", size(with));
    assert!(size(&without) <= MAX_SIZE_WITHOUT_CLI, "{} bytes without the command line", size(&without));
}

#[test]
fn the_same_sources_give_the_same_bytes_wherever_they_lie() {
    let Some(here) = &*BUILT else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let elsewhere = folder.join("elsewhere, with a longer name");
    drop(fs::remove_dir_all(&elsewhere));
    fs::create_dir_all(&elsewhere).unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-R").args(["src", "nginx", "Cargo.toml", "Cargo.lock", "install.sh"]).arg(&elsewhere);
    assert!(copy.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    // cargo requires that the file of the tests exists.
    fs::create_dir(elsewhere.join("tests")).unwrap();
    fs::write(elsewhere.join("tests/main.rs"), "").unwrap();
    let target = elsewhere.join("target");
    // Debian's unpacked compiler is part of the target directory, and large.
    let unpacked = folder.join("small-target/debian");
    fs::create_dir(&target).unwrap();
    if unpacked.exists() {
        std::os::unix::fs::symlink(unpacked, target.join("debian")).unwrap();
    }
    let there = build_in(&elsewhere, &target, &elsewhere.join("built"), None).unwrap();
    assert!(fs::read(here).unwrap() == fs::read(there).unwrap(), "the builds differ");
    fs::remove_dir_all(&elsewhere).unwrap();
}

/// The executable contains none, so it can execute none.
#[test]
fn the_executable_contains_no_cpuid_instruction() {
    let Some(program) = &*BUILT else { return };
    let output = Command::new("objdump").arg("-d").arg(program).output().expect("objdump of binutils");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() > 50_000, "objdump has read the program");
    let found: Vec<&str> =
        text.lines().filter(|line| line.split('\t').nth(2).is_some_and(|code| code.trim() == "cpuid")).collect();
    assert_eq!(found, Vec::<&str>::new());
}

#[test]
fn a_request_asks_little_of_the_kernel() {
    let Some(program) = &*BUILT else { return };
    let fixture = Fixture::new();
    let report = fixture.root.join("strace");
    let list = under("strace", &[Path::new("-f"), Path::new("-o"), &report, program], &report, &fixture);
    let calls: Vec<&str> = list.lines().filter(|line| line.contains('(')).collect();
    println!("system calls: {}", calls.len());
    assert!(calls.len() <= MAX_SYSTEM_CALLS, "{} system calls:\n{list}", calls.len());
}

#[test]
fn a_request_touches_little_memory() {
    let Some(program) = &*BUILT else { return };
    let fixture = Fixture::new();
    let spawn = fixture.root.join("spawn");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cost/bench/spawn.c");
    assert!(Command::new("cc").arg("-o").arg(&spawn).arg(source).status().unwrap().success());
    let mut command = Command::new(spawn);
    command.arg("30").arg(program);
    version(&mut command, &fixture);
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let faults: u64 = output.split(' ').nth(1).unwrap().parse().unwrap();
    println!("minor faults: {faults}");
    assert!(faults <= MAX_MINOR_FAULTS, "{faults} minor faults");
}

#[test]
fn an_upload_of_a_gibibyte_is_never_held_in_memory() {
    let Some(program) = &*BUILT else { return };
    let fixture = Fixture::new();
    let mut child = Command::new(program)
        .env_clear()
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("REQUEST_METHOD", "POST")
        .env("REQUEST_URI", "/api/v1/admin/update?token=yourtoken")
        .env("CONTENT_TYPE", "multipart/form-data; boundary=XbX")
        .env("JIDO_ADMIN_PATH", fixture.admin())
        .env("JIDO_ETC_PATH", fixture.etc())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut body = child.stdin.take().unwrap();
    body.write_all(b"--XbX\r\nContent-Disposition: form-data; name=\"update\"; filename=\"x\"\r\n\r\n").unwrap();
    let piece = vec![b'\r'; 1 << 20];
    for _ in 0..1 << 10 {
        body.write_all(&piece).unwrap();
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    body.write_all(b"\r\n--XbX--\r\n").unwrap();
    drop(body);
    let answer = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(answer.starts_with("Status: 202 Accepted\r\n"), "{answer}");
    assert_eq!(fixture.calls(1), ["update"]);
    let package = fixture.path("home/sftp/uploads/software_package-zzz.enc");
    assert_eq!(fs::metadata(package).unwrap().len(), 1 << 30);
    let peak: u64 = peak.parse().unwrap();
    println!("peak of an upload: {peak} KiB");
    assert!(peak <= MAX_UPLOAD_KIBIBYTES, "{peak} KiB");
}
