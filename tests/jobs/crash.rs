//! Every job, ended before every command of it that changes something: by kill -9 of the job, by a power
//! cut, by a disk that takes no more, and by one that can only be read from then on. After each, what was in force is in
//! force or what is new is, whole; nothing of ours is left; and the next run works.
//!
//! `CRASH_JOB=certs cargo test jobs::crash::` tries the points of one job only.
//!
//! The points are not marked in the jobs. Each command that changes something is replaced by
//! `tests/jobs/fakes/fault` in a directory that comes first in `PATH`, so nothing in production knows of this.

use super::appliance::{Appliance, DEADLINE, Outcome, Shell, repository, sh};
use super::{backup, settings, storage, update};
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How a job is ended, and before which commands. For a cut those that change what a later run sees; what
/// only reads, flushes or sets a mode is no new state. For a full disk those that write.
/// A disk is full for one command and read-only to the end of the job, so that also what it does when it fails has to
/// do without. It is read-only by the modes of all directories, for a job without root's right to ignore them.
const MODES: [(&str, &[&str]); 4] = [
    ("cut", &["mv", "rm", "cp", "mkdir", "ln", "cat", "tar", "openssl", "env", OURS]),
    ("kill", &["mv", "rm", "cp", "mkdir", "ln", "cat", "tar", "openssl", "env", OURS]),
    ("full", &["mv", "cp", "mkdir", "ln", "cat", "tar", "gzip", "openssl", "head", "sync", OURS]),
    ("readonly", &["mv", "rm", "cp", "mkdir", "ln", "cat", "tar", "openssl", "env", OURS]),
];

const OURS: &str = "jidoteki-admin-jobs";

/// What a command of ours does to the machine. It is ended inside of it as well, by strace: before each of these calls, for
/// every time that it is made, the power is cut; or the call finds a full disk, or a disk that can only be read.
const CALLS: [&str; 11] = [
    "mkdirat",
    "rename",
    "renameat2",
    "unlink",
    "unlinkat",
    "linkat",
    "symlinkat",
    "pwrite64",
    "ftruncate",
    "fsync",
    "syncfs",
];
const INSIDE: [(&str, &str); 3] =
    [("cut", "signal=KILL:when="), ("full", "error=ENOSPC:when="), ("readonly", "error=EROFS:when=")];

/// Jobs whose work is done in a command of ours, and its word.
const WORDS: [(&str, &str); 3] = [("backup START", "pack"), ("backup RESTORE", "restore"), ("backup UNDO", "undo")];

/// A job and what must be true of it whenever it was ended.
struct Case {
    job: &'static str,
    /// The machine before: something in force, nothing uploaded.
    before: fn(&Appliance),
    /// What the client sends; done again before the next run.
    upload: fn(&Appliance),
    /// What is in force, as text. It is that of before or that of after, and nothing in between.
    in_force: fn(&Appliance) -> String,
    /// Some states need `recover.sh`, which runs at boot and every minute, before they are whole again.
    recovers: Recovers,
    /// What a finished job leaves in `admin/lib`, apart from guards.
    keeps: &'static [&'static str],
}

#[derive(PartialEq)]
enum Recovers {
    AtOnce,
    WithTheNextMinute,
}

/// Before a command of the job, or inside one of ours.
enum Way {
    Before(&'static [&'static str]),
    Inside(&'static str, &'static str, &'static str),
}

fn two_tokens(appliance: &Appliance) {
    let tokens = ["one", "two"].map(|name| format!(r#"{{"name":"{name}","scope":"read","verifier":"{:064}"}}"#, 0));
    appliance.write("admin/etc/api.tokens.json", format!("{{\"tokens\":[{}]}}\n", tokens.join(",")));
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            job: "token",
            before: |appliance| appliance.write("admin/etc/api.token", "old\n"),
            upload: |appliance| appliance.upload("api.token", "new\n"),
            in_force: |appliance| appliance.read("admin/etc/api.token"),
            recovers: Recovers::AtOnce,
            keeps: &[],
        },
        Case {
            job: "update",
            before: |appliance| {
                appliance.write("admin/etc/version.txt", "1.0.0\n");
                appliance.write("etc/system", "1.0.0\n");
            },
            upload: |appliance| {
                static PACKAGE: OnceLock<Vec<u8>> = OnceLock::new();
                let package = PACKAGE.get_or_init(|| {
                    update::Package::new("1.0.1")
                        .with("update.sh", "#!/bin/sh\necho 1.0.1 >\"$JIDO_ETC_PATH/system\"\n")
                        .with("rollback.sh", "#!/bin/sh\necho 1.0.0 >\"$JIDO_ETC_PATH/system\"\n")
                        .build(appliance, "")
                });
                appliance.upload("software_package-zzz.enc", package);
            },
            // The version and the system that it names: never one without the other.
            in_force: |appliance| appliance.read("admin/etc/version.txt") + &appliance.read("etc/system"),
            recovers: Recovers::WithTheNextMinute,
            keeps: &["update.version"],
        },
        Case {
            job: "settings dhcp",
            before: |appliance| {
                settings::old_settings(appliance);
                appliance.hook("admin/bin/network.sh", "cp \"$JIDO_ETC_PATH/network.conf\" \"$JIDO_ETC_PATH/applied\"");
                fs::copy(appliance.path("etc/network.conf"), appliance.path("etc/applied")).unwrap();
            },
            upload: |appliance| settings::upload(appliance, settings::DHCP_JSON),
            in_force: |appliance| format!("{:?}{}", settings::in_force(appliance), appliance.read("etc/applied")),
            recovers: Recovers::WithTheNextMinute,
            keeps: &[],
        },
        Case {
            job: "settings confirm",
            before: |appliance| drop(settings::old_settings(appliance)),
            upload: settings::put_on_trial,
            in_force: settings_and_status,
            recovers: Recovers::WithTheNextMinute,
            keeps: &[],
        },
        Case {
            job: "settings recover",
            before: |appliance| drop(settings::old_settings(appliance)),
            upload: |appliance| {
                settings::put_on_trial(appliance);
                settings::set_pending(appliance, "another-boot", 1000);
            },
            in_force: settings_and_status,
            recovers: Recovers::WithTheNextMinute,
            keeps: &[],
        },
        Case {
            job: "settings undo",
            before: |appliance| {
                settings::old_settings(appliance);
                settings::put_on_trial(appliance);
            },
            upload: settings::put_on_trial,
            in_force: |appliance| format!("{:?}", settings::in_force(appliance)),
            recovers: Recovers::WithTheNextMinute,
            keeps: &[],
        },
        Case {
            job: "storage",
            before: |appliance| {
                storage::old_settings(appliance);
            },
            upload: |appliance| {
                storage::upload(appliance, storage::AOE);
            },
            in_force: |appliance| appliance.read("admin/etc/storage.json") + &appliance.read("etc/storage.conf"),
            recovers: Recovers::WithTheNextMinute,
            keeps: &["storage.previous/", "storage.previous/1", "storage.previous/2", "storage.previous/list"],
        },
        Case {
            job: "storage undo",
            before: |appliance| {
                storage::old_settings(appliance);
                storage::upload(appliance, storage::AOE);
                appliance.succeed("storage");
            },
            upload: |_| {},
            in_force: |appliance| appliance.read("admin/etc/storage.json") + &appliance.read("etc/storage.conf"),
            recovers: Recovers::WithTheNextMinute,
            keeps: &["storage.previous/", "storage.previous/1", "storage.previous/2", "storage.previous/list"],
        },
        Case {
            job: "certs",
            before: |appliance| {
                sh(&appliance.path("etc"), "mkdir -p tls/pair.0; ln -s pair.0 tls/current");
                make_pair(&appliance.path("etc/tls/pair.0"), "old");
            },
            upload: |appliance| make_pair(&appliance.path("admin/home/sftp/uploads"), "new"),
            in_force: pair_in_force,
            recovers: Recovers::AtOnce,
            keeps: &[],
        },
        Case {
            job: "certs recover",
            before: |appliance| {
                sh(&appliance.path("etc"), "mkdir -p tls/pair.0; ln -s pair.0 tls/current");
                make_pair(&appliance.path("etc/tls/pair.0"), "old");
            },
            upload: |appliance| {
                make_pair(&appliance.path("admin/home/sftp/uploads"), "new");
                appliance.upload("certs.confirm", "3600\n");
                appliance.succeed("certs");
                appliance.write("admin/etc/pending_certs.txt", "boot_id=another\ndeadline=999999999\n");
            },
            in_force: |appliance| {
                let status = appliance.maybe("admin/etc/status_certs.txt").unwrap_or_default();
                let pair = pair_in_force(appliance);
                assert!(status != "success\n" || pair.contains("new"), "{status}{pair}{}", appliance.describe());
                pair
            },
            recovers: Recovers::WithTheNextMinute,
            keeps: &[],
        },
        Case {
            job: "certs undo",
            before: |appliance| {
                sh(&appliance.path("etc"), "mkdir -p tls/pair.0; ln -s pair.0 tls/current");
                make_pair(&appliance.path("etc/tls/pair.0"), "old");
                put_pair_on_trial(appliance);
            },
            upload: put_pair_on_trial,
            in_force: pair_in_force,
            recovers: Recovers::WithTheNextMinute,
            keeps: &[],
        },
        Case {
            job: "certs csr",
            before: |_| (),
            upload: |appliance| appliance.upload("request.txt", "ec\nappliance.example\n"),
            // A request never stands beside another key than its own.
            in_force: |appliance| {
                if !appliance.exists("admin/etc/certs_request.pem") {
                    return "no request\n".to_owned();
                }
                let keys = sh(
                    &appliance.root,
                    "openssl req -in admin/etc/certs_request.pem -noout -pubkey; openssl pkey -in admin/lib/certs.request.key -pubout",
                );
                assert_eq!(keys[..keys.len() / 2], keys[keys.len() / 2..], "{}", appliance.describe());
                "a request and its key\n".to_owned()
            },
            recovers: Recovers::AtOnce,
            keeps: &["certs.request.key"],
        },
        Case {
            job: "tokens remove",
            before: two_tokens,
            upload: |appliance| {
                two_tokens(appliance);
                appliance.upload("tokens.json", r#"{"name":"one"}"#);
            },
            in_force: |appliance| appliance.read("admin/etc/api.tokens.json"),
            recovers: Recovers::AtOnce,
            keeps: &[],
        },
        Case {
            job: "license",
            before: |appliance| {
                appliance.write("admin/etc/license.asc", "old\n");
                appliance.hook(
                    "admin/bin/license.sh",
                    "read -r line <\"${0%/*}/../etc/license.asc\"; echo \"{\\\"$line\\\":1}\"",
                );
            },
            upload: |appliance| appliance.upload("license.asc", "new\n"),
            in_force: |appliance| appliance.read("admin/etc/license.asc"),
            recovers: Recovers::AtOnce,
            keeps: &[],
        },
        Case {
            job: "backup START",
            before: backup::with_data,
            upload: |_| {},
            // The data, and no archive that is only half of one.
            in_force: |appliance| {
                if appliance.exists("admin/home/sftp/uploads/backup.tar") {
                    sh(&appliance.path("admin/home/sftp/uploads"), "tar -tf backup.tar .jidoteki-manifest");
                }
                backup::data(appliance)
            },
            recovers: Recovers::AtOnce,
            keeps: &[],
        },
        Case {
            job: "backup RESTORE",
            before: |appliance| {
                backup::with_data(appliance);
                let members = format!("{0}/app {0}/conf", appliance.path("data").display());
                sh(
                    &appliance.root,
                    &format!("tar -C / -cpf archive.tar {}", members.replace(" /", " ").trim_start_matches('/')),
                );
                appliance.write("data/conf", "changed\n");
                appliance.write("data/app/more", "more\n");
            },
            upload: |appliance| {
                appliance.upload("backup-archive.tar", fs::read(appliance.path("archive.tar")).unwrap())
            },
            in_force: |appliance| {
                let more = appliance.maybe("data/app/more");
                format!("{:?}{:?}{:?}", appliance.maybe("data/conf"), more, appliance.maybe("data/app/plain"))
            },
            recovers: Recovers::WithTheNextMinute,
            keeps: &["restore.stages", "restore.undo"],
        },
        Case {
            job: "backup UNDO",
            before: |appliance| {
                backup::with_data(appliance);
                appliance.write("data/conf", "restored\n");
            },
            upload: |appliance| {
                let data = appliance.path("data").display().to_string();
                let data = data.trim_start_matches('/');
                appliance.write("data/conf", "restored\n");
                sh(&appliance.root, &format!("tar -C / -cpf archive.tar {data}/app {data}/conf"));
                appliance.write("data/conf", "old\n");
                appliance.upload("backup-archive.tar", fs::read(appliance.path("archive.tar")).unwrap());
                appliance.succeed("backup RESTORE");
            },
            in_force: |appliance| format!("{:?}", appliance.maybe("data/conf")),
            recovers: Recovers::WithTheNextMinute,
            keeps: &[],
        },
        Case {
            job: "logs",
            before: |appliance| appliance.write("admin/log/some.log", "text\n"),
            upload: |_| {},
            in_force: |appliance| {
                if appliance.exists("admin/home/sftp/uploads/logs.tar.gz") {
                    sh(&appliance.path("admin/home/sftp/uploads"), "gzip -t logs.tar.gz");
                }
                String::new()
            },
            recovers: Recovers::AtOnce,
            keeps: &[],
        },
        Case {
            job: "debug",
            before: |appliance| appliance.write("admin/etc/debug.txt", "uname\n"),
            upload: |_| {},
            in_force: |appliance| {
                if appliance.exists("admin/home/sftp/uploads/debug-bundle.tar") {
                    sh(
                        &appliance.path("admin/home/sftp/uploads"),
                        "tar -tf debug-bundle.tar debug.key.enc debug.tar.gz.enc",
                    );
                }
                String::new()
            },
            recovers: Recovers::AtOnce,
            keeps: &[],
        },
    ]
}

/// The pair as a server would read it: the certificate of which key?
fn pair_in_force(appliance: &Appliance) -> String {
    sh(
        &appliance.path("etc/tls/current"),
        "[ \"$(openssl x509 -in appliance.pem -noout -pubkey)\" = \"$(openssl pkey -in appliance.key -pubout)\" ]
         openssl x509 -in appliance.pem -noout -subject",
    )
}

/// The settings in force, and whether the status speaks of others.
fn settings_and_status(appliance: &Appliance) -> String {
    let files = settings::in_force(appliance);
    let is_new = files[2].as_deref() == Some(settings::DHCP);
    match appliance.maybe("admin/etc/status_settings.txt").as_deref() {
        Some("failed\n") if is_new => format!("{files:?}, and the status is \"failed\""),
        Some("success\n") if !is_new => format!("{files:?}, and the status is \"success\""),
        _ => format!("{files:?}"),
    }
}

/// A new pair that waits to be confirmed, where none waits yet.
fn put_pair_on_trial(appliance: &Appliance) {
    if !appliance.exists("admin/etc/pending_certs.txt") {
        make_pair(&appliance.path("admin/home/sftp/uploads"), "new");
        appliance.upload("certs.confirm", "3600\n");
        appliance.succeed("certs");
    }
}

fn make_pair(directory: &Path, name: &str) {
    sh(
        directory,
        &format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN={name} \
             -keyout appliance.key -out appliance.pem 2>/dev/null"
        ),
    );
}

fn with_faults(appliance: &Appliance, commands: &[&str]) {
    fs::create_dir(appliance.path("faults")).unwrap();
    for name in commands {
        fs::copy(repository().join("tests/jobs/fakes/fault"), appliance.path("faults").join(name)).unwrap();
    }
}

/// One job, ended once. Says whether the point was reached: after the last one the job just ends.
fn ended_at(case: &Case, mode: &str, commands: &[&str], after: &str, at: usize) -> bool {
    let appliance = Appliance::new(Shell::Dash);
    (case.before)(&appliance);
    let before = in_force(case, &appliance);
    (case.upload)(&appliance);
    with_faults(&appliance, commands);
    appliance.write("faults/at", format!("{mode} {at}\n"));
    let outcome = match mode {
        "readonly" => appliance.run_obeying_modes(case.job),
        _ => appliance.run(case.job),
    };
    let is_reached = appliance.exists("faults/reached");
    let point = format!(
        "{} {mode} before number {at} ({})",
        case.job,
        appliance.maybe("faults/count").unwrap_or_default().lines().nth(at - 1).unwrap_or("-")
    );
    // Whoever was to be killed was.
    if is_reached && (mode == "cut" || mode == "kill") {
        assert_eq!(outcome.code, None, "{point}: {outcome:?}\n{}", appliance.describe());
    }
    // From here on the machine is as it was: only the one moment was bad.
    fs::remove_file(appliance.path("faults/at")).unwrap();
    if mode == "readonly" {
        sh(&appliance.root, "chmod -R u+w admin etc data");
    }
    survive(case, mode, &appliance, [&before, after], &outcome, &point);
    is_reached
}

/// The same inside a command of ours.
fn ended_inside(case: &Case, (word, call): (&str, &str), (mode, rule): (&str, &str), after: &str, at: usize) -> bool {
    let appliance = Appliance::new(Shell::Dash);
    (case.before)(&appliance);
    let before = in_force(case, &appliance);
    (case.upload)(&appliance);
    let real = env!("CARGO_BIN_EXE_jidoteki-admin-jobs");
    let cut = if mode == "cut" { "grep -q 'killed by SIGKILL' trace && kill -9 -$(cat faults/pid)" } else { ":" };
    fs::create_dir(appliance.path("faults")).unwrap();
    fs::remove_file(appliance.path("fakes/jidoteki-admin-jobs")).unwrap();
    appliance.hook(
        "fakes/jidoteki-admin-jobs",
        &format!(
            "cd \"${{0%/*}}/..\"; [ \"$2\" = {word} ] && [ -f inject ] || exec {real} \"$@\"
             strace -qq -o trace -e trace={call} -e inject={call}:{rule}{at} {real} \"$@\"; status=$?
             {cut}; exit $status"
        ),
    );
    appliance.write("inject", "");
    let outcome = appliance.run(case.job);
    let trace = appliance.read("trace");
    let is_reached = trace.contains("INJECTED") || trace.contains("killed by");
    let point = format!("{} {mode} inside {word} before {call} number {at}\n{trace}", case.job);
    fs::remove_file(appliance.path("inject")).unwrap();
    survive(case, mode, &appliance, [&before, after], &outcome, &point);
    is_reached
}

/// What must be true after an end, wherever that was.
fn survive(case: &Case, mode: &str, appliance: &Appliance, [before, after]: [&str; 2], outcome: &Outcome, point: &str) {
    check_documented(appliance, point);
    // Where nothing could be written nothing could be put right, either.
    if case.recovers == Recovers::AtOnce && mode != "readonly" {
        check_whole(case, appliance, [before, after], point);
    }
    // What kill -9 left running works on for a moment, and holds its guard; after a power cut nothing runs.
    eventually_nothing("running", point, appliance, || {
        let guards = appliance.files("admin/lib").into_iter().filter(|name| name.ends_with(".guard"));
        let is_held =
            |name: &String| File::open(appliance.path(&format!("admin/lib/{name}"))).unwrap().try_lock().is_err();
        guards.filter(is_held).collect()
    });
    let mut recover = appliance.command(&appliance.path("admin/bin/recover.sh"));
    recover.output().unwrap();
    check_whole(case, appliance, [before, after], point);
    eventually_nothing("private of the killed run", point, appliance, || {
        let mut left = appliance.files("admin/lib");
        left.retain(|name| (name.starts_with("work/") && name != "work/") || name.ends_with(".owner"));
        left
    });
    // A job that says that it went well has to be right.
    if outcome.code == Some(0) {
        check_whole(case, appliance, [after, after], point);
    }
    (case.upload)(appliance);
    let next = appliance.run(case.job);
    let already_done = case.job == "update" && next.stdout.contains("already up-to-date");
    assert!(next.code == Some(0) || already_done, "{point}: the next run failed: {next:?}\n{}", appliance.describe());
    check_nothing_left(case, appliance, point);
}

/// What a job leaves, wherever it is ended, is in the table of docs/JOBS.md.
#[track_caller]
fn check_documented(appliance: &Appliance, point: &str) {
    static TABLE: OnceLock<Vec<(String, String)>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let document = fs::read_to_string(repository().join("docs/JOBS.md")).unwrap();
        let table = document.split("## Files that jobs leave").nth(1).unwrap().split("\n## ").next().unwrap();
        let first_cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        let names = first_cells.flat_map(|cell| cell.split('`').step_by(2));
        // The beginning and the end of each name; in between is the name of a job or file.
        names
            .map(|name| match name.split_once('<').zip(name.split_once('>')) {
                Some(((beginning, _), (_, end))) => (beginning.to_owned(), end.to_owned()),
                None => (name.to_owned(), String::new()),
            })
            .collect()
    });
    let is_documented = |path: &str| {
        // A file that is being written: NAME.new, or .NAME.new by the program.
        let path = &path.strip_suffix(".new").map_or_else(|| path.to_owned(), |path| path.replace("/.", "/"));
        table.iter().any(|(beginning, end)| {
            let between = path.strip_prefix(beginning.as_str()).and_then(|rest| rest.strip_suffix(end.as_str()));
            between.is_some_and(|name| {
                !name.contains('/') && (name.is_empty() || beginning.len() + end.len() < path.len())
            })
        })
    };
    for folder in ["lib", "progress", "etc"] {
        for name in appliance.files(&format!("admin/{folder}")) {
            let path = format!("{folder}/{}", name.trim_end_matches('/'));
            let is_ours = folder != "etc" || name.starts_with("status_") || name.starts_with("pending_");
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            let is_listed = ends.map(|end| &path[..end]).any(is_documented);
            assert!(!is_ours || is_listed || path == "lib/work", "{point}: docs/JOBS.md does not explain {path}");
        }
    }
}

#[track_caller]
fn check_whole(case: &Case, appliance: &Appliance, allowed: [&str; 2], point: &str) {
    let now = in_force(case, appliance);
    assert!(allowed.contains(&&*now), "{point}: {now}\nis none of {allowed:?}\n{}", appliance.describe());
}

/// Without the name of the machine that is only this test's.
fn in_force(case: &Case, appliance: &Appliance) -> String {
    (case.in_force)(appliance).replace(&*appliance.root.to_string_lossy(), "")
}

fn after(case: &Case) -> String {
    let appliance = Appliance::new(Shell::Dash);
    (case.before)(&appliance);
    (case.upload)(&appliance);
    appliance.succeed(case.job);
    in_force(case, &appliance)
}

#[track_caller]
fn check_nothing_left(case: &Case, appliance: &Appliance, point: &str) {
    eventually_nothing("of the killed run", point, appliance, || {
        let mut left = appliance.files("admin/lib");
        left.retain(|name| !name.ends_with(".guard") && name != "work/" && !case.keeps.contains(&name.as_str()));
        left
    });
    let mut uploads = appliance.files("admin/home/sftp/uploads");
    let outputs = ["backup.json", "backup.tar", "logs.tar.gz", "debug-bundle.tar"];
    uploads.retain(|name| !name.ends_with(".lock") && !outputs.contains(&name.as_str()));
    assert_eq!(uploads, [""; 0], "{point}");
    for directory in ["admin/etc", "etc", "data"] {
        let mut strange = appliance.files(directory);
        strange.retain(|name| {
            name.ends_with(".new") || (!case.keeps.contains(&"restore.undo") && name.contains(".jidoteki-"))
        });
        assert_eq!(strange, [""; 0], "{point}: in {directory}");
    }
    assert!(appliance.files("etc/tls").len() <= 4, "{point}: {:?}", appliance.files("etc/tls"));
}

/// Polls until there is nothing, and says what there is if there always is.
#[track_caller]
fn eventually_nothing(what: &str, point: &str, appliance: &Appliance, find: impl Fn() -> Vec<String>) {
    let started = Instant::now();
    loop {
        let left = find();
        if left.is_empty() {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{point}: left {what}: {left:?}\n{}", appliance.describe());
        thread::sleep(Duration::from_millis(10));
    }
}

/// A test cannot cut the power of a disk, so it reads in which order a job flushes and renames: what is saved is on the
/// disk before the first change, and what is settled before it is told.
#[test]
fn each_step_of_a_change_is_on_disk_before_the_next() {
    let jobs = ["settings dhcp", "storage", "certs", "license", "update"];
    for case in cases().iter().filter(|case| jobs.contains(&case.job)) {
        let appliance = Appliance::new(Shell::Dash);
        (case.before)(&appliance);
        (case.upload)(&appliance);
        for name in ["mv", "rm", "sync"] {
            appliance.hook(
                &format!("fakes/{name}"),
                &format!(
                    "echo \"{name} $*\" >>'{}'; PATH=${{PATH#*:}} exec {name} \"$@\"",
                    appliance.path("order").display()
                ),
            );
        }
        appliance.succeed(case.job);
        let order = appliance.read("order").replace(&*appliance.root.to_string_lossy(), "");
        let name = case.job.split(' ').next().unwrap();
        let undo = format!("/admin/lib/{name}.undo");
        let lines: Vec<&str> = order.lines().collect();
        let find = |what: &str| {
            lines.iter().position(|line| line.starts_with(what)).unwrap_or_else(|| panic!("{what}\n{order}"))
        };
        let kept = find(&format!("mv -fT {undo}.new {undo}"));
        let settled = find(&format!("mv -fT {undo} "));
        assert_eq!((lines[kept - 1], lines[kept + 1]), ("sync ", "sync /admin/lib"), "{order}");
        let pending = format!("rm -f /admin/etc/pending_{name}.txt");
        assert_eq!(lines[settled + 1..settled + 3], [&*pending, "sync /admin/lib /admin/etc"], "{order}");
        // Everything that the change installs, and its status, come in between; of an update, what its script did.
        let installs = |line: &str| {
            let target = line.strip_prefix("mv ").and_then(|line| line.rsplit(' ').next()).unwrap_or_default();
            let is_etc = target.starts_with("/etc/") || target.starts_with("/admin/etc/");
            is_etc && !target.contains("/pair.") && !target.ends_with("certificate.txt")
        };
        let is_running = |at: usize| at < kept && lines[at].ends_with(&format!("status_{name}.txt"));
        let outside =
            (0..lines.len()).filter(|at| installs(lines[*at]) && !(kept..settled).contains(at) && !is_running(*at));
        assert!(name == "update" || outside.clone().count() == 0, "{:?}\n{order}", outside.collect::<Vec<_>>());
        let inside = (kept..settled).filter(|at| installs(lines[*at])).count();
        assert!(inside > 0, "{order}");
    }
}

/// The same after each job that was not ended.
#[test]
fn what_each_job_leaves_is_in_the_table_of_the_document() {
    for case in cases() {
        let appliance = Appliance::new(Shell::Dash);
        (case.before)(&appliance);
        (case.upload)(&appliance);
        appliance.succeed(case.job);
        check_documented(&appliance, case.job);
    }
}

/// All points of all jobs, on as many threads as the machine has. Prints what it tried.
#[test]
fn a_job_that_is_ended_anywhere_leaves_a_machine_that_works() {
    let only = std::env::var("CRASH_JOB").ok();
    let mut cases = cases();
    cases.retain(|case| only.as_ref().is_none_or(|only| case.job.split(' ').next() == Some(only)));
    let mut work: Vec<(&Case, &str, Way)> =
        cases.iter().flat_map(|case| MODES.map(|(mode, commands)| (case, mode, Way::Before(commands)))).collect();
    for (job, word) in WORDS {
        let case = cases.iter().filter(|case| case.job == job);
        for call in CALLS {
            work.extend(
                case.clone().flat_map(|case| INSIDE.map(|(mode, rule)| (case, mode, Way::Inside(word, call, rule)))),
            );
        }
    }
    let next = AtomicUsize::new(0);
    let table = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(2, std::num::NonZero::get) * 2;
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((case, mode, way)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let after = after(case);
                    let mut points = 0;
                    let is_ended = |at| match way {
                        Way::Before(commands) => ended_at(case, mode, commands, &after, at),
                        Way::Inside(word, call, rule) => ended_inside(case, (word, call), (mode, rule), &after, at),
                    };
                    while is_ended(points + 1) {
                        points += 1;
                    }
                    let call = if let Way::Inside(_, call, _) = way { call } else { "" };
                    let row = format!("{:<16} {mode:<8} {call:<10} {points:>4}", case.job);
                    println!("{row}");
                    table.lock().unwrap().push(row);
                }
            });
        }
    });
    let mut table = table.into_inner().unwrap();
    table.sort();
    let points: usize = table.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum();
    println!("job              ended    before     points tried and survived\n{}\ntogether {points}", table.join("\n"));
    assert!(only.is_some() || points > 800, "only {points} points: are the commands still found in PATH?");
}
