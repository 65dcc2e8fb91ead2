//! The table of jobs (`src/jobs/mod.rs`): the shell side has the same words, and jobs that exclude each other never run
//! together.

use crate::contract::cases::Answer;
use crate::support::{Fixture, wait_until};
use crate::contract::form;
use crate::contract::http::{command, send_with};
use jidoteki_admin_api::jobs::{EXCLUSIONS, JOBS, Job};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

const SETTINGS: &str = r#"{"network":{"interface":"eth0","hostname":"test.host"}}"#;

type Fields = &'static [(&'static str, &'static str)];

/// A request for each job that changes something.
const REQUESTS: [(Job, &str, &str, Fields); 8] = [
    (Job::Update, "POST", "/update", &[("update", "package")]),
    (Job::Settings, "POST", "/settings", &[("settings", SETTINGS)]),
    (Job::Certs, "POST", "/certs", &[("public", "certificate"), ("private", "key")]),
    (Job::License, "POST", "/license", &[("license", "{}")]),
    (Job::Storage, "POST", "/storage", &[("settings", r#"{"storage":{"type":"local"}}"#)]),
    (Job::Backup, "POST", "/backup", &[("action", "START")]),
    (Job::Backup, "POST", "/backup/restore", &[("archive", "tar")]),
    (Job::Reboot, "GET", "/reboot", &[]),
];

fn send(fixture: &Fixture, method: &str, path: &str, fields: Fields) -> Answer {
    let command = command(fixture, method, &format!("/api/v1/admin{path}?token=yourtoken"));
    let body = (method == "POST").then(|| form::encode(fields));
    send_with(command, body.as_ref().map(|(kind, body)| (kind.as_str(), body.clone()))).0
}

fn n_calls(fixture: &Fixture) -> usize {
    fixture.read("record/calls").lines().count()
}

fn are_excluded(one: Job, other: Job) -> bool {
    EXCLUSIONS.iter().any(|(a, b, _)| (*a, *b) == (one, other) || (*b, *a) == (one, other))
}

#[test]
fn a_job_is_refused_beside_exactly_the_jobs_in_the_table() {
    let fixture = Fixture::new();
    for (first, method, path, fields) in REQUESTS {
        for (second, other_method, other_path, other_fields) in REQUESTS.into_iter().filter(|row| row.0 != first) {
            fixture.reset();
            fixture.write("hold", "");
            thread::scope(|scope| {
                scope.spawn(|| send(&fixture, method, path, fields));
                wait_until("the first job runs", || n_calls(&fixture) == 1);
                let answer = scope.spawn(|| send(&fixture, other_method, other_path, other_fields));
                wait_until("the second job runs or is refused", || n_calls(&fixture) == 2 || answer.is_finished());
                fixture.remove("hold");
                let answer = answer.join().unwrap();
                // A background job's response comes before the job starts.
                let is_refused = answer.status == 400;
                assert_eq!(is_refused, are_excluded(first, second), "{path}, then {other_path}: {}", answer.text());
                if is_refused {
                    let named = format!(": {} is running since 20", first.name());
                    let text = answer.text();
                    assert!(answer.status == 400 && text.contains(&named), "{path}, then {other_path}: {text}");
                    assert!(text.ends_with(r#""Error-Code":"E1004"}"#), "{path}, then {other_path}: {text}");
                    assert!(!fixture.uploads().iter().any(|name| name.starts_with('.')), "{other_path} left something");
                } else {
                    wait_until("the second job runs", || n_calls(&fixture) == 2);
                }
            });
        }
    }
}

#[test]
fn of_two_jobs_that_exclude_each_other_and_start_at_once_one_runs() {
    let fixture = Fixture::new();
    for (one, other, _) in EXCLUSIONS {
        fixture.reset();
        fixture.write("hold", "");
        let barrier = Barrier::new(2);
        let n_refused = AtomicU32::new(0);
        thread::scope(|scope| {
            for job in [*one, *other] {
                let (fixture, barrier, n_refused) = (&fixture, &barrier, &n_refused);
                let (_, method, path, fields) = REQUESTS.into_iter().find(|row| row.0 == job).unwrap();
                scope.spawn(move || {
                    barrier.wait();
                    if send(fixture, method, path, fields).text().contains("E1004") {
                        n_refused.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            wait_until("both are decided", || n_refused.load(Ordering::SeqCst) as usize + n_calls(&fixture) >= 2);
            fixture.remove("hold");
        });
        let refusals = n_refused.load(Ordering::SeqCst);
        assert_eq!((refusals, n_calls(&fixture)), (1, 1), "{one:?} and {other:?}");
    }
}

#[test]
fn requests_that_end_or_keep_a_change_are_accepted_beside_every_job() {
    let fixture = Fixture::new();
    for (method, path, fields) in [
        ("POST", "/settings/confirm", &[][..]),
        ("POST", "/certs/confirm", &[]),
        ("POST", "/settings/revert", &[]),
        ("POST", "/certs/revert", &[]),
        ("POST", "/backup", &[("action", "STOP")]),
        ("POST", "/setup", &[("newtoken", "yourtoken")]),
        ("POST", "/reboot", &[("force", "yes")]),
        ("GET", "/services", &[]),
        ("GET", "/logs", &[]),
        ("GET", "/debug", &[]),
    ] {
        fixture.reset();
        fixture.write("hold", "");
        for change in ["settings", "certs"] {
            fixture.write(&format!("etc/pending_{change}.txt"), "boot_id=another\nuntil=SOON\n");
        }
        assert_eq!(send(&fixture, "POST", "/update", &[("update", "package")]).status, 202);
        wait_until("the update runs", || n_calls(&fixture) == 1);
        thread::scope(|scope| {
            let answer = scope.spawn(|| send(&fixture, method, path, fields));
            wait_until("it runs beside the update", || n_calls(&fixture) == 2 || answer.is_finished());
            fixture.remove("hold");
            let answer = answer.join().unwrap();
            assert!(matches!(answer.status, 200 | 202), "{path}: {}", answer.text());
        });
    }
}

#[test]
fn a_restart_can_be_forced_and_only_by_yes() {
    let fixture = Fixture::new();
    for (force, wanted) in [("yes", 202), ("no", 400), ("YES", 400), ("1", 400)] {
        fixture.reset();
        fixture.write("hold", "");
        assert_eq!(send(&fixture, "POST", "/update", &[("update", "package")]).status, 202);
        wait_until("the update runs", || n_calls(&fixture) == 1);
        let target = format!("/api/v1/admin/reboot?token=yourtoken&force={force}");
        let answer = send_with(command(&fixture, "POST", &target), None).0;
        assert_eq!(answer.status, wanted, "force={force}: {}", answer.text());
        fixture.remove("hold");
    }
}

#[test]
fn the_shell_side_knows_exactly_the_jobs_of_the_table() {
    let operations =
        || JOBS.iter().flat_map(|row| row.operations.iter().map(move |operation| (row.name, operation.argument)));
    let mut wanted: Vec<String> =
        operations().map(|(name, argument)| format!("{name} {argument}").trim().to_owned()).collect();
    wanted.sort();
    wanted.dedup();

    let wrapper = read("cgi-bin/wrapper.sh");
    let words = wrapper.split("case \"$request\" in").nth(1).unwrap().split("*)").next().unwrap();
    // A pattern with its own commands is not a job.
    let mut known: Vec<String> = words
        .lines()
        .filter_map(|line| line.trim().strip_suffix(") ;;"))
        .flat_map(|line| line.split('|'))
        .map(|word| word.trim().trim_matches('"').to_owned())
        .collect();
    known.sort();
    assert_eq!(known, wanted, "wrapper.sh");

    let sudoers = read("nginx/units/sudoers");
    let mut allowed: Vec<String> = sudoers
        .lines()
        .filter_map(|line| line.trim().strip_prefix("@JOBS@/"))
        .map(|line| line.trim_end_matches([' ', ',', '\\']).trim_end_matches(" \"\"").to_owned())
        .collect();
    allowed.sort();
    assert_eq!(allowed, wanted, "sudoers");

    for (name, _) in operations() {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("cgi-bin/jobs").join(name).exists(), "jobs/{name}");
    }
}

#[test]
fn files_that_a_request_leaves_for_a_job_are_swept() {
    let fixture = Fixture::new();
    let operations = || JOBS.iter().flat_map(|row| row.operations.iter().map(move |operation| (row, operation)));
    let sweep = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jidoteki-admin-jobs"));
        assert!(command.arg("sweep").env("JIDO_ADMIN_PATH", fixture.admin()).status().unwrap().success());
    };
    for (row, operation) in operations() {
        for name in operation.inputs {
            fixture.write(&format!("home/sftp/uploads/{}", row.lock), "");
            fixture.write(&format!("home/sftp/uploads/{name}"), "");
            fixture.write(&format!("home/sftp/uploads/.{name}.new"), "");
        }
    }
    fixture.write("home/sftp/uploads/of-a-person", "");
    let before = fs::read_dir(fixture.path("home/sftp/uploads")).unwrap().count();
    sweep();
    assert_eq!(fs::read_dir(fixture.path("home/sftp/uploads")).unwrap().count(), before, "it may still be taken");
    // As if it had been seen a minute ago.
    for entry in fs::read_dir(fixture.path("lib")).unwrap() {
        let path = entry.unwrap().path();
        let seen = fs::read_to_string(&path).unwrap();
        let (since, mark) = seen.split_once(' ').unwrap();
        fs::write(&path, format!("{} {mark}", since.parse::<u64>().unwrap() - 60)).unwrap();
    }
    sweep();
    for (_, operation) in operations() {
        for name in operation.inputs {
            assert!(!fixture.path(&format!("home/sftp/uploads/{name}")).exists(), "{name}");
            assert!(!fixture.path(&format!("home/sftp/uploads/.{name}.new")).exists(), ".{name}.new");
        }
    }
    assert!(fixture.path("home/sftp/uploads/of-a-person").exists());
}

/// Every file in `lib` that a script or the program for jobs names is in the table of docs/JOBS.md, and no other.
#[test]
fn every_file_that_a_job_leaves_is_in_the_table_of_the_document() {
    let document = read("docs/JOBS.md");
    let table = document.split("## Files that jobs leave").nth(1).unwrap().split("\n## ").next().unwrap();
    let documented: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|row| row.split(" | ").next().unwrap().split('`'))
        .filter_map(|name| name.strip_prefix("lib/"))
        .collect();
    let mut found = BTreeSet::new();
    for folder in ["cgi-bin/lib", "cgi-bin/jobs"] {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let script = fs::read_to_string(entry.unwrap().path()).unwrap();
            let code = script.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
            found.extend(code.split("$STATE/").skip(1).map(|rest| {
                let rest =
                    ["${WORK##*/}", "${1}", "$1", "$name", "$JOB"].iter().fold(rest.to_owned(), |rest, variable| {
                        rest.strip_prefix(variable).map_or(rest.clone(), |end| format!("<name>{end}"))
                    });
                let is_part = |c: char| c.is_ascii_alphanumeric() || "<>._-".contains(c);
                rest.chars().take_while(|c| is_part(*c)).collect::<String>()
            }));
        }
    }
    // A folder, and what is in it.
    for (name, in_table) in [("work", "work/<name>"), ("left.", "left.<file>"), ("", "<name>.owner")] {
        if found.remove(name) {
            found.insert(in_table.to_owned());
        }
    }
    // Of one job, where the table speaks of all.
    found.retain(|name| {
        let general = name.split_once('.').map(|(_, kind)| format!("<name>.{kind}")).unwrap_or_default();
        documented.contains(name.as_str()) || !documented.contains(general.as_str())
    });
    // These are of commands of the program for jobs.
    let by_program = ["audit-heads", "left.<file>", "network.before", "restore.undo"];
    for name in by_program {
        let stem = name.split('<').next().unwrap();
        let is_named =
            files("src").iter().any(|file| file.contains(&format!("\"{stem}")) || file.contains(&format!("/{stem}")));
        assert!(is_named, "no command names {name}");
        found.insert(name.to_owned());
    }
    let missing: Vec<_> = found.iter().filter(|name| !documented.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/JOBS.md does not explain {missing:?}");
    let gone: Vec<_> = documented
        .iter()
        .filter(|name| {
            !found.contains(**name)
                && !found.iter().any(|own| name.strip_prefix("<name>").is_some_and(|kind| own.ends_with(kind)))
        })
        .collect();
    assert!(gone.is_empty(), "no job leaves {gone:?}");
}

/// The texts of all files below a folder.
fn files(folder: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(files(path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap()));
        } else {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
    texts
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}
