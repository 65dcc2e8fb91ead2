//! Jobs as resources: `GET /jobs` is true whatever happened to the job, and a repeated request starts nothing twice.

use crate::contract::cases::Answer;
use crate::contract::form;
use crate::contract::http::{command, kill, send_with};
use crate::support::{Fixture, wait_until};
use serde_json::Value;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PACKAGE: &[(&str, &str)] = &[("update", "package")];

fn get(fixture: &Fixture, path: &str) -> Value {
    let mark = if path.contains('?') { '&' } else { '?' };
    let target = format!("/api/v1/admin{path}{mark}token=yourtoken");
    let answer = send_with(command(fixture, "GET", &target), None).0;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn post_with(fixture: &Fixture, path: &str, fields: &[(&str, &str)], key: &str) -> Answer {
    let mark = if path.contains('?') { '&' } else { '?' };
    let mut command = command(fixture, "POST", &format!("/api/v1/admin{path}{mark}token=yourtoken"));
    if !key.is_empty() {
        command.env("HTTP_IDEMPOTENCY_KEY", key);
    }
    let (kind, body) = form::encode(fields);
    send_with(command, Some((&kind, body))).0
}

/// Starts a job and returns its id.
#[track_caller]
fn start(fixture: &Fixture, path: &str, fields: &[(&str, &str)]) -> String {
    id_of(&post_with(fixture, path, fields, ""))
}

#[track_caller]
fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.text());
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["Job"].as_str().expect("a 202 has a job").to_owned()
}

fn status(fixture: &Fixture, id: &str) -> String {
    get(fixture, &format!("/jobs/{id}"))["status"].as_str().unwrap().to_owned()
}

fn n_calls(fixture: &Fixture) -> usize {
    fixture.read("record/calls").lines().count()
}

#[test]
fn a_script_that_writes_no_records_is_judged_by_the_files_it_leaves() {
    let fixture = Fixture::new();
    for (left, wanted) in [
        (Some(r#"{"status":"success","percentage":100}"#), "success"),
        (Some(r#"{"status":"failed","percentage":30}"#), "failed"),
        (Some(r#"{"status":"running","percentage":30}"#), "interrupted"),
        (None, "interrupted"),
    ] {
        fixture.reset();
        // A log with the same file time as the job would count as the job's own.
        fixture.remove("etc/status_update.json");
        fixture.write("hold", "");
        let id = start(&fixture, "/update", PACKAGE);
        wait_until("it runs", || n_calls(&fixture) == 1);
        let running = get(&fixture, &format!("/jobs/{id}"));
        assert_eq!(
            (&running["status"], &running["job"], &running["key"]),
            (&"running".into(), &"update".into(), &"admin".into())
        );
        assert!(running["heartbeat"].as_str() >= running["started"].as_str(), "{running}");
        assert_eq!(get(&fixture, "/jobs")["jobs"][0]["id"], id.as_str());
        if let Some(left) = left {
            fixture.write("etc/status_update.json", left);
        }
        fixture.write("etc/status_error_message.txt", "Error running update\n");
        fixture.write("etc/status_error_code.txt", "E1002\n");
        fixture.remove("hold");
        wait_until("it has ended", || status(&fixture, &id) != "running");
        let ended = get(&fixture, &format!("/jobs/{id}"));
        assert_eq!(ended["status"], wanted, "{left:?}: {ended}");
        if wanted == "failed" {
            assert_eq!(
                (&ended["error-code"], &ended["error-message"]),
                (&"E1002".into(), &"Error running update".into())
            );
        }
    }
}

#[test]
fn a_killed_job_is_interrupted_and_a_job_that_was_waited_for_has_its_result() {
    let fixture = Fixture::new();
    fixture.write("hold", "");
    let id = start(&fixture, "/backup", &[("action", "START")]);
    wait_until("it has told its process", || fixture.read("record/pid").ends_with('\n'));
    kill(fixture.read("record/pid").trim().parse().unwrap());
    wait_until("it is gone", || status(&fixture, &id) == "interrupted");
    fixture.write("record/ended", &fixture.read("record/calls"));
    fixture.remove("hold");

    assert_eq!(post_with(&fixture, "/backup/restore", &[("archive", "tar")], "").status, 200);
    fixture.write("fail", "Reason: the archive is damaged\n");
    assert_eq!(post_with(&fixture, "/backup/restore", &[("archive", "tar")], "").status, 400);
    let jobs = get(&fixture, "/jobs");
    let seen: Vec<_> = jobs["jobs"].as_array().unwrap().iter().map(|job| (&job["argument"], &job["status"])).collect();
    let wanted = [("RESTORE", "failed"), ("RESTORE", "success"), ("START", "interrupted")]
        .map(|(a, s)| (Value::from(a), Value::from(s)));
    assert_eq!(seen, wanted.iter().map(|(a, s)| (a, s)).collect::<Vec<_>>());
    assert_eq!(jobs["jobs"][0]["error-message"], "the archive is damaged");
}

#[test]
fn a_hundred_jobs_are_remembered_without_those_that_only_read() {
    let fixture = Fixture::new();
    let first = start(&fixture, "/storage", &[("settings", r#"{"storage":{"type":"local"}}"#)]);
    wait_until("it has ended", || status(&fixture, &first) != "running");
    for _ in 0..101 {
        assert_eq!(post_with(&fixture, "/setup", &[("newtoken", "yourtoken")], "").status, 200);
    }
    get(&fixture, "/services");
    let jobs = get(&fixture, "/jobs");
    let jobs = jobs["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 100);
    assert!(jobs.iter().all(|job| job["job"] == "token" && job["status"] == "success"));
    let times: Vec<_> = jobs.iter().map(|job| job["started"].as_str().unwrap().to_owned()).collect();
    assert!(times.is_sorted_by(|one, other| one >= other), "the newest first");
}

#[test]
fn a_client_that_waits_is_answered_when_something_changes_and_a_fifth_at_once() {
    let fixture = Fixture::new();
    fixture.write("hold", "");
    let id = start(&fixture, "/update", PACKAGE);
    wait_until("it runs", || n_calls(&fixture) == 1);
    let begun = Instant::now();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| get(&fixture, &format!("/jobs/{id}?wait=25")))).collect();
        wait_until("four wait", || {
            (0..4).all(|n| {
                let place = std::fs::File::open(fixture.path(&format!("state/jobs.wait.{n}")));
                place.is_ok_and(|place| place.try_lock().is_err())
            })
        });
        assert_eq!(get(&fixture, &format!("/jobs/{id}?wait=25"))["status"], "running", "there is no place to wait");
        assert!(waiting.iter().all(|thread| !thread.is_finished()));
        fixture.write("etc/status_update.json", r#"{"status":"running","percentage":40}"#);
        for thread in waiting {
            assert_eq!(thread.join().unwrap()["percentage"], 40);
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(24), "they were told, and did not wait to the end");
    fixture.remove("hold");
    for wait in ["26", "-1", "x", "1.5"] {
        let target = format!("/api/v1/admin/jobs/{id}?wait={wait}&token=yourtoken");
        assert_eq!(send_with(command(&fixture, "GET", &target), None).0.status, 400, "{wait}");
    }
}

/// Waits until a job of the update runs whose own script does, as our script tells it.
fn updating(fixture: &Fixture) -> String {
    fixture.reset();
    fixture.write("hold", "");
    for name in ["etc/status_update.json", "log/update.log"] {
        age(fixture, name, 60);
    }
    let id = start(fixture, "/update", PACKAGE);
    wait_until("it runs", || n_calls(fixture) == 1);
    let told = get(fixture, &format!("/jobs/{id}"));
    assert_eq!((&told["percentage"], &told["step"]), (&Value::Null, &Value::Null), "that is of the job before");
    fixture.write("etc/status_update.json", r#"{"status":"running","percentage":70}"#);
    fixture.write("log/update.log", "[1][SYSTEM] Starting update to 1.0.1\n");
    id
}

#[test]
fn the_progress_of_a_script_is_reported_and_nonsense_is_not() {
    let fixture = Fixture::new();
    let id = updating(&fixture);
    for (said, percentage, step) in [
        (None, 70, "Starting update to 1.0.1"),
        (Some("50 Copying files\n"), 80, "Copying files"),
        (Some("1 a\n100 Done\n"), 90, "Done"),
        (Some("25"), 75, "Starting update to 1.0.1"),
        (Some("half of it"), 70, "Starting update to 1.0.1"),
        (Some("4294967396 x"), 70, "Starting update to 1.0.1"),
    ] {
        if let Some(said) = said {
            fixture.write("progress/update", said);
        }
        for path in [format!("/jobs/{id}"), "/update".to_owned()] {
            let told = get(&fixture, &path);
            // The status has what old clients know, unless the script reports progress.
            let is_shown = path != "/update" || percentage != 70 || step != "Starting update to 1.0.1";
            let shown = if is_shown { step.into() } else { Value::Null };
            assert_eq!((&told["percentage"], &told["step"]), (&percentage.into(), &shown), "{path}: {said:?}");
            assert!(told["heartbeat"].is_string() == is_shown && told["silent-since"].is_null(), "{told}");
        }
    }
    // One of before this job says nothing of it.
    fixture.write("progress/update", "50 Copying files\n");
    age(&fixture, "progress/update", 60);
    assert_eq!(get(&fixture, "/update")["percentage"], 70);
    // No more than the status is told of a job that does not run.
    fixture.write("progress/update", "50 Copying files\n");
    fixture.remove("hold");
    wait_until("it has ended", || status(&fixture, &id) != "running");
    let told = get(&fixture, "/update");
    assert_eq!((&told["percentage"], &told["step"], &told["heartbeat"]), (&70.into(), &Value::Null, &Value::Null));
}

#[test]
fn a_backup_tells_how_many_of_its_bytes_are_done() {
    let fixture = Fixture::new();
    fixture.write("hold", "");
    start(&fixture, "/backup", &[("action", "START")]);
    wait_until("it runs", || n_calls(&fixture) == 1);
    fixture.write("home/sftp/uploads/backup.json", r#"{"status":"running"}"#);
    fixture.write("progress/backup", "1073741824/4294967296 Packing\n");
    let told = get(&fixture, "/backup");
    assert_eq!(
        (&told["status"], &told["percentage"], &told["step"]),
        (&"running".into(), &25.into(), &"Packing".into())
    );
    assert_eq!(get(&fixture, "/jobs")["jobs"][0]["percentage"], 25);
    fixture.remove("hold");
}

#[test]
fn a_job_without_progress_for_ten_minutes_is_called_silent() {
    let fixture = Fixture::new();
    let id = updating(&fixture);
    for (seconds, is_silent) in [(590, false), (610, true)] {
        let record = fixture.read("state/job.update");
        let started = record.split("\"started\":").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
        let earlier = seconds_ago(seconds + 5).duration_since(UNIX_EPOCH).unwrap().as_nanos().to_string();
        fixture.write("state/job.update", &record.replace(started, &earlier));
        for name in ["home/sftp/uploads/.update.lock", "etc/status_update.json", "log/update.log"] {
            age(&fixture, name, seconds);
        }
        for path in [format!("/jobs/{id}"), "/update".to_owned()] {
            let told = get(&fixture, &path);
            let since = if is_silent { &told["heartbeat"] } else { &Value::Null };
            let is_shown = is_silent || path != "/update";
            assert!(told["heartbeat"].is_string() == is_shown && &told["silent-since"] == since, "{path}: {told}");
        }
    }
    // Any word of its script is a sign of life.
    fixture.write("progress/update", "x");
    assert_eq!(get(&fixture, "/update")["silent-since"], Value::Null);
    fixture.remove("hold");
}

fn seconds_ago(seconds: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(seconds)
}

/// Makes a file as old as this.
fn age(fixture: &Fixture, name: &str, seconds: u64) {
    let file = std::fs::File::options().append(true).open(fixture.path(name)).unwrap();
    file.set_modified(seconds_ago(seconds)).unwrap();
}

#[test]
fn a_request_that_is_sent_again_starts_nothing_and_has_the_same_answer() {
    let fixture = Fixture::new();
    for (path, fields) in [
        ("/update", PACKAGE),
        ("/settings?confirm=60", &[("settings", r#"{"network":{"interface":"eth0","hostname":"test.host"}}"#)][..]),
        ("/backup", &[("action", "START")]),
        ("/reboot", &[("force", "no")]),
    ] {
        fixture.reset();
        fixture.write("hold", "");
        let first = id_of(&post_with(&fixture, path, fields, "my key"));
        wait_until("it runs", || n_calls(&fixture) == 1);
        // While it runs, and after it.
        assert_eq!(id_of(&post_with(&fixture, path, fields, "my key")), first, "{path}");
        assert_eq!(post_with(&fixture, path, fields, "another key").status, 400, "{path}: it is running");
        fixture.remove("hold");
        wait_until("it has ended", || status(&fixture, &first) != "running");
        assert_eq!(id_of(&post_with(&fixture, path, fields, "my key")), first, "{path}");
        assert_eq!(n_calls(&fixture), 1, "{path}");
        assert_ne!(id_of(&post_with(&fixture, path, fields, "another key")), first, "{path}");
        wait_until("the other one runs", || n_calls(&fixture) == 2);
    }
}

#[test]
fn requests_that_are_sent_twice_at_the_same_moment_start_one_job() {
    let fixture = Fixture::new();
    for n_round in 0..20 {
        let (path, fields) =
            if n_round % 2 == 0 { ("/backup", &[("action", "START")][..]) } else { ("/update", PACKAGE) };
        fixture.reset();
        let key = format!("round {n_round}");
        let ids: Vec<String> = thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| id_of(&post_with(&fixture, path, fields, &key)))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{path}: {ids:?}");
        wait_until("it has ended", || status(&fixture, &ids[0]) != "running");
        assert_eq!(n_calls(&fixture), 1, "{path}");
    }
}

#[test]
fn a_repeated_request_of_another_token_with_the_same_name_is_a_new_one() {
    let fixture = Fixture::new();
    let mut ids = Vec::new();
    for token in ["one", "two"] {
        let verifier = hex::encode(sha2::Digest::finalize(sha2::Digest::chain_update(sha2::Sha256::default(), token)));
        fixture.write(
            "etc/api.tokens.json",
            &format!(r#"{{"tokens":[{{"name":"tmp","scope":"admin","verifier":"{verifier}"}}]}}"#),
        );
        let mut command = command(&fixture, "POST", &format!("/api/v1/admin/backup?token={token}"));
        command.env("HTTP_IDEMPOTENCY_KEY", "my key");
        let (kind, body) = form::encode(&[("action", "START")]);
        let id = id_of(&send_with(command, Some((&kind, body))).0);
        wait_until("it has ended", || status(&fixture, &id) != "running");
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_failed_job_has_the_reason_that_its_own_endpoint_has() {
    let fixture = Fixture::new();
    for (path, fields, files) in [
        (
            "/settings",
            &[("settings", r#"{"network":{"interface":"eth0","hostname":"test.host"}}"#)][..],
            [
                ("etc/status_settings.txt", "failed\n"),
                ("etc/status_error_settings.txt", "There is no interface eth7\n"),
            ],
        ),
        (
            "/storage",
            &[("settings", r#"{"storage":{"type":"local"}}"#)][..],
            [("etc/status_storage.txt", "failed\n"), ("etc/status_error_storage.txt", "No such share\n")],
        ),
        (
            "/backup",
            &[("action", "START")][..],
            [
                ("home/sftp/uploads/backup.json", r#"{"status":"failed"}"#),
                ("etc/status_error_backup.txt", "A file is a device\n"),
            ],
        ),
        (
            "/reboot",
            &[][..],
            [("log/update_reboot.log", ""), ("etc/status_error_reboot.txt", "The system backup failed\n")],
        ),
    ] {
        fixture.reset();
        fixture.write("hold", "");
        let id = start(&fixture, path, fields);
        wait_until("it runs", || n_calls(&fixture) == 1);
        for (name, text) in files {
            fixture.write(name, text);
        }
        fixture.remove("hold");
        wait_until("it has ended", || status(&fixture, &id) != "running");
        let told = get(&fixture, &format!("/jobs/{id}"));
        assert_eq!((&told["status"], &told["error-message"]), (&"failed".into(), &files[1].1.trim().into()), "{told}");
    }
}

#[test]
fn settings_that_nobody_applies_are_stored_and_their_job_succeeded() {
    let fixture = Fixture::new();
    fixture.write("hold", "");
    let id =
        start(&fixture, "/settings", &[("settings", r#"{"network":{"interface":"eth0","hostname":"test.host"}}"#)]);
    wait_until("it runs", || n_calls(&fixture) == 1);
    fixture.write("etc/status_settings.txt", "stored\n");
    fixture.remove("hold");
    wait_until("it has ended", || status(&fixture, &id) != "running");
    assert_eq!(status(&fixture, &id), "success");
}

#[test]
fn a_stop_is_a_job_that_can_be_repeated_and_its_backup_stays_a_success() {
    let fixture = Fixture::new();
    let start = |content: &str| {
        let id = start(&fixture, "/backup", &[("action", "START")]);
        wait_until("it runs", || status(&fixture, &id) != "running");
        fixture.write("home/sftp/uploads/backup.json", content);
        assert_eq!(status(&fixture, &id), "success");
        id
    };
    let json = "home/sftp/uploads/backup.json";
    let first = start(r#"{"status":"success"}"#);
    let stop = id_of(&post_with(&fixture, "/backup", &[("action", "STOP")], "stop"));
    wait_until("it has ended", || n_calls(&fixture) == 2 && status(&fixture, &stop) != "running");
    assert_eq!(status(&fixture, &stop), "interrupted", "the backup is still there");
    fixture.remove(json);
    assert_eq!((status(&fixture, &stop).as_str(), status(&fixture, &first).as_str()), ("success", "success"));
    // The request is sent again, after another backup.
    start(r#"{"status":"success"}"#);
    assert_eq!(id_of(&post_with(&fixture, "/backup", &[("action", "STOP")], "stop")), stop);
    assert_eq!((n_calls(&fixture), status(&fixture, &stop).as_str()), (3, "success"));
    let answer = post_with(&fixture, "/backup", &[("action", "START")], "stop");
    assert_eq!(answer.status, 422, "{}", answer.text());
}

#[test]
fn another_request_with_a_used_key_is_refused() {
    let fixture = Fixture::new();
    let first = id_of(&post_with(&fixture, "/backup", &[("action", "START")], "my key"));
    wait_until("it has ended", || status(&fixture, &first) != "running");
    let answer = post_with(&fixture, "/backup", &[("action", "STOP")], "my key");
    let wanted =
        r#"{"Status":"422 Unprocessable Content","Error-Message":"The Idempotency-Key was used for another request"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (422, wanted));
    // The same key on another path is a different key.
    assert_eq!(post_with(&fixture, "/update", PACKAGE, "my key").status, 202);
    for bad in ["\u{7f}", &"x".repeat(256)] {
        assert_eq!(post_with(&fixture, "/backup", &[("action", "START")], bad).status, 400);
    }
}
