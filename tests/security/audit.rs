//! The chained audit log, the console commands, and what a flood of guesses must not achieve.

use crate::contract::cases::Answer;
use crate::contract::http::{Edge, command, send_with};
use crate::support::{Fixture, wait_until};
use jidoteki_admin_api::appliance::Appliance;
use jidoteki_admin_api::audit::chain::{self, Link};
use jidoteki_admin_api::console::verify::{self, Fault};
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

const LOG: &str = "audit/jidoteki-audit.jsonl";
const CONFIG: &str = r#"{"endpoints":["audit","backup"],"parameters":["action"]}"#;

fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.write("usr/jidoteki-admin-api.json", CONFIG);
    fixture
}

fn ask(fixture: &Fixture, token: &str, method: &str, target: &str, body: Option<(&str, Vec<u8>)>) -> Answer {
    let mut command = command(fixture, method, &format!("/api/v1/admin{target}"));
    command.env("HTTP_AUTHORIZATION", format!("Bearer {token}"));
    send_with(command, body).0
}

fn short(form: &str) -> (&'static str, Vec<u8>) {
    ("application/x-www-form-urlencoded", form.as_bytes().to_vec())
}

fn console(fixture: &Fixture, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_jidoteki-admin-api"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .args(["--admin", fixture.admin().to_str().unwrap(), "--etc", fixture.etc().to_str().unwrap()])
        .args(arguments)
        .output()
        .unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn appliance(fixture: &Fixture) -> Appliance {
    Appliance::new(Some(fixture.admin().into()), Some(fixture.etc().into()))
}

/// Writes this many entries, as requests do.
fn append(fixture: &Fixture, n_entries: usize) {
    for _ in 0..n_entries {
        chain::append(&appliance(fixture), "\"x\":1", chain::Durability::Lazy).unwrap();
    }
}

fn lines(fixture: &Fixture, name: &str) -> Vec<String> {
    fixture.read(name).lines().map(str::to_owned).collect()
}

fn write_lines(fixture: &Fixture, name: &str, lines: &[String]) {
    fixture.write(name, &lines.iter().fold(String::new(), |text, line| text + line + "\n"));
}

/// The output of `audit verify`, without the directory.
fn verified(fixture: &Fixture) -> (Option<i32>, String) {
    let (code, stdout, stderr) = console(fixture, &["audit", "verify"]);
    let admin = format!("{}/", fixture.admin().display());
    (code, (stdout + &stderr).replace(&admin, "").trim_end().to_owned())
}

fn rotate(fixture: &Fixture, name: &str) {
    fs::rename(fixture.path(LOG), fixture.path(&format!("{LOG}-{name}"))).unwrap();
    fixture.write(LOG, "");
}

#[test]
fn an_entry_names_caller_action_and_outcome() {
    let fixture = fixture();
    assert_eq!(ask(&fixture, "yourtoken", "POST", "/backup", Some(short("action=START"))).status, 202);
    assert_eq!(ask(&fixture, "wrong", "GET", "/version", None).status, 403);
    assert_eq!(ask(&fixture, "yourtoken", "POST", "/backup", Some(short("action=x"))).status, 400);
    assert_eq!(ask(&fixture, "yourtoken", "GET", "/version", None).status, 200);
    let told: Vec<String> = lines(&fixture, LOG)
        .iter()
        .map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(entry["id"].as_str().unwrap().len(), 16, "{line}");
            assert!(entry["time"].as_str().unwrap().ends_with('Z'), "{line}");
            ["seq", "action", "target", "result", "client", "key"].map(|name| entry[name].to_string()).join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            r#"1 "backup.post" "START" "done" "192.0.2.7" "admin""#,
            r#"2 "token.authenticate.failed" "api/v1/admin/version" "refused" "192.0.2.7" """#,
            r#"3 "request.failed" "api/v1/admin/backup" "failed" "192.0.2.7" "admin""#,
        ]
    );
    assert_eq!(fixture.audit().len(), 2, "the old log has no line for what failed: {:?}", fixture.audit());
    let ids = |text: String| text.lines().map(|line| line[21..37].to_owned()).collect::<Vec<_>>();
    let first: serde_json::Value = serde_json::from_str(&lines(&fixture, LOG)[0]).unwrap();
    assert_eq!(ids(fixture.read("log/jidoteki-audit.log"))[0], first["id"], "both logs speak of the same");
}

#[test]
fn nothing_is_chained_without_a_place_for_the_head() {
    let fixture = fixture();
    fs::remove_dir(fixture.path("state")).unwrap();
    assert_eq!(ask(&fixture, "wrong", "GET", "/version", None).status, 403);
    assert_eq!((fixture.audit().len(), fixture.path(LOG).exists()), (1, false));
    assert_eq!(ask(&fixture, "yourtoken", "GET", "/audit", None).status, 404);
}

#[test]
fn a_whole_log_is_whole_through_every_rotation() {
    let fixture = fixture();
    assert_eq!(
        verified(&fixture),
        (Some(0), "the audit log has no entries; not compared with anchors: lib/audit-heads: No such file or directory (os error 2)".to_owned())
    );
    append(&fixture, 3);
    rotate(&fixture, "20261101-1");
    append(&fixture, 2);
    rotate(&fixture, "20261102-2");
    assert!(Command::new("gzip").arg(fixture.path(&format!("{LOG}-20261101-1"))).status().unwrap().success());
    append(&fixture, 1);
    fs::create_dir(fixture.path("lib")).unwrap();
    let head = fixture.read("state/audit");
    fixture.write("lib/audit-heads", &format!("1432140922 {head}"));
    assert_eq!(verified(&fixture), (Some(0), "entries 1 to 6 in 3 files are intact; 1 anchors match".to_owned()));
    fixture.remove(&format!("{LOG}-20261101-1.gz"));
    assert_eq!(
        verified(&fixture),
        (
            Some(0),
            "entries 4 to 6 in 2 files are intact; those before 4 are no longer kept; 1 anchors match".to_owned()
        )
    );
    let copy = fixture.path(&format!("{LOG}-20261102-2"));
    let (code, stdout, _) = console(&fixture, &["audit", "verify", copy.to_str().unwrap()]);
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), "entries 4 to 5 in 1 files are intact; those before 4 are no longer kept; 0 anchors match\n")
    );
}

#[test]
fn the_first_line_that_is_not_as_it_was_written_is_named() {
    type Spoil = fn(&mut Vec<String>);
    let cases: [(&str, Spoil, &str); 8] = [
        (
            "changed",
            |lines| lines[2] = lines[2].replace("\"x\":1", "\"x\":2"),
            "audit/jidoteki-audit.jsonl: line 3: entry 3 does not follow from the one before",
        ),
        (
            "removed",
            |lines| drop(lines.remove(1)),
            "audit/jidoteki-audit.jsonl: line 2: entries 2 to 2 are missing before this line",
        ),
        (
            "doubled",
            |lines| lines.insert(1, lines[0].clone()),
            "audit/jidoteki-audit.jsonl: line 2: entry 1 comes after entry 1",
        ),
        ("foreign", |lines| lines.insert(0, "hello".to_owned()), "audit/jidoteki-audit.jsonl: line 1: not an entry"),
        (
            "cut off",
            |lines| lines.truncate(3),
            "entries 4 to 5 are missing at the end: state/audit has a record of them",
        ),
        ("emptied", Vec::clear, "entries 1 to 5 are missing at the end: state/audit has a record of them"),
        (
            "swapped",
            |lines| lines.swap(3, 4),
            "audit/jidoteki-audit.jsonl: line 4: entries 4 to 4 are missing before this line",
        ),
        (
            "first changed",
            |lines| lines[0] = lines[0].replace("\"x\":1", "\"x\":2"),
            "audit/jidoteki-audit.jsonl: line 1: entry 1 does not follow from the one before",
        ),
    ];
    let fixture = fixture();
    append(&fixture, 5);
    let whole = lines(&fixture, LOG);
    for (name, spoil, wanted) in cases {
        let mut spoilt = whole.clone();
        spoil(&mut spoilt);
        write_lines(&fixture, LOG, &spoilt);
        assert_eq!(verified(&fixture), (Some(1), format!("broken: {wanted}")), "{name}");
    }
    fixture.write(&format!("{LOG}-1.gz"), "this is not packed");
    let (code, text) = verified(&fixture);
    assert_eq!(
        (code, text.as_str()),
        (Some(2), "jidoteki-admin-api: error: audit/jidoteki-audit.jsonl-1.gz: gzip cannot unpack it")
    );
}

/// As root does once a minute.
fn note_head(fixture: &Fixture) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jidoteki-admin-jobs"));
    assert!(command.arg("anchor").env("JIDO_ADMIN_PATH", fixture.admin()).status().unwrap().success());
}

/// The web server's user can write a new history with a matching head, but not root's anchors.
#[test]
fn a_rewritten_history_does_not_agree_with_the_anchors() {
    let fixture = fixture();
    append(&fixture, 4);
    fs::create_dir(fixture.path("lib")).unwrap();
    note_head(&fixture);
    note_head(&fixture);
    let anchors = lines(&fixture, "lib/audit-heads");
    assert_eq!(anchors.len(), 1, "a head that has not moved is noted once: {anchors:?}");
    let time = &anchors[0].split(' ').next().unwrap().parse::<u64>().unwrap();
    let witness = format!("lib/audit-heads of {}", jidoteki_admin_api::values::clock::utc(*time));

    let forge = |n_entries: usize| {
        let (mut link, mut text) = (Link::start(), String::new());
        for number in 1..=n_entries {
            let members = format!("{{\"seq\":{number},\"forged\":1}}");
            link = link.next(&members);
            writeln!(text, "{},\"chain\":\"{}\"}}", &members[..members.len() - 1], link.chain).unwrap();
        }
        fixture.write(LOG, &text);
        fixture.write("state/audit", &format!("{:020} {}\n", link.seq, link.chain));
    };
    for (n_entries, wanted) in [
        (6, format!("broken: audit/jidoteki-audit.jsonl: line 4: entry 4 is not the one in {witness}")),
        (2, format!("broken: entries 3 to 4 are missing at the end: {witness} has a record of them")),
    ] {
        forge(n_entries);
        assert_eq!(verified(&fixture), (Some(1), wanted));
    }
    fixture.write("lib/audit-heads", "1 2 x\n");
    assert_eq!(verified(&fixture), (Some(1), "broken: lib/audit-heads: not an anchor: 1 2 x".to_owned()));
}

#[test]
fn anchors_are_bounded_and_the_old_ones_thin_out() {
    let fixture = fixture();
    fs::create_dir_all(fixture.path("lib")).unwrap();
    let anchor = |number: usize| format!("{number} {number:020} {}", "a".repeat(64));
    write_lines(&fixture, "lib/audit-heads", &(1..=2000).map(anchor).collect::<Vec<_>>());
    let run = || note_head(&fixture);
    for head in ["", "no head\n", &format!("{:020} {}\n", 7, "A".repeat(64))] {
        fixture.write("state/audit", head);
        run();
        assert_eq!(lines(&fixture, "lib/audit-heads").len(), 2000, "{head:?} is no head");
    }
    fixture.remove("state/audit");
    std::os::unix::fs::symlink("/etc/passwd", fixture.path("state/audit")).unwrap();
    run();
    fixture.remove("state/audit");
    append(&fixture, 1);
    run();
    let kept = lines(&fixture, "lib/audit-heads");
    assert_eq!((kept.len(), &kept[0], &kept[1], &kept[500]), (1501, &anchor(1), &anchor(3), &anchor(1001)));
    assert_eq!(kept[1500].split_once(' ').unwrap().1, fixture.read("state/audit").trim_end());
}

#[test]
fn a_crash_at_any_moment_heals_with_the_next_entry() {
    type Crash = fn(&Fixture);
    let cases: [(&str, Crash); 6] = [
        ("after the line, before the head", |fixture| {
            let head = fixture.read("state/audit");
            append(fixture, 1);
            fixture.write("state/audit", &head);
        }),
        ("three heads behind", |fixture| {
            let head = fixture.read("state/audit");
            append(fixture, 3);
            fixture.write("state/audit", &head);
        }),
        ("in the middle of the line", |fixture| {
            fixture.write(LOG, &(fixture.read(LOG) + "{\"seq\":3,\"x"));
        }),
        ("in the middle of the head", |fixture| fixture.write("state/audit", "0000")),
        ("with the head lost", |fixture| fixture.remove("state/audit")),
        ("with the first line of a rotated log cut", |fixture| {
            rotate(fixture, "1");
            fixture.write(LOG, "{\"se");
        }),
    ];
    for (name, crash) in cases {
        let fixture = fixture();
        append(&fixture, 2);
        crash(&fixture);
        append(&fixture, 2);
        let report = verify::verify(&appliance(&fixture), &[]);
        let range = report.as_ref().map(|report| report.range);
        assert!(matches!(range, Ok(Some((1, 4..=7)))), "{name}: {report:?}");
    }
    // Lost lines stay lost, and are detected.
    let fixture = fixture();
    append(&fixture, 3);
    write_lines(&fixture, LOG, &lines(&fixture, LOG)[..1]);
    append(&fixture, 1);
    let fault = verify::verify(&appliance(&fixture), &[]).unwrap_err();
    let Fault::Broken(text) = fault else { panic!("{fault:?}") };
    assert!(text.ends_with("line 2: entries 2 to 3 are missing before this line"), "{text}");
}

#[test]
fn many_at_once_make_one_chain() {
    let fixture = fixture();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| append(&fixture, 25));
        }
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(ask(&fixture, "wrong", "GET", "/version", None).status, 403));
        }
    });
    let report = verify::verify(&appliance(&fixture), &[]).unwrap();
    assert_eq!(report.range, Some((1, 203)));
}

#[test]
fn a_full_disk_costs_the_line_and_not_the_chain() {
    let fixture = fixture();
    let log = fixture.path("audit");
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=8k,mode=777", "tmpfs"]).arg(&log).output().unwrap();
    if !mount.status.success() {
        assert!(std::env::var_os("CI").is_none(), "CI must be able to mount");
        eprintln!("skipped: cannot mount a small file system here");
        return;
    }
    let n_kept = (1..1000)
        .take_while(|_| chain::append(&appliance(&fixture), "\"x\":1", chain::Durability::Lazy).is_ok())
        .count();
    assert!(n_kept < 999, "the disk was never full");
    let report = verify::verify(&appliance(&fixture), &[]);
    assert!(Command::new("umount").arg(&log).status().unwrap().success());
    assert_eq!(report.unwrap().range, Some((1, n_kept as u64)));
}

#[test]
fn a_log_of_any_size_can_be_paged_through() {
    let fixture = fixture();
    append(&fixture, 40);
    rotate(&fixture, "20261101-1");
    append(&fixture, 260);
    let page = |query: &str| {
        let answer = ask(&fixture, "yourtoken", "GET", &format!("/audit{query}"), None);
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let page: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        let numbers: Vec<u64> =
            page["entries"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
        (numbers, page["next"].as_u64())
    };
    let down = |from: u64, to: u64| (to..=from).rev().collect::<Vec<u64>>();
    for (query, wanted) in [
        ("", (down(300, 251), Some(251))),
        ("?limit=1", (vec![300], Some(300))),
        ("?before=301&limit=2", (vec![300, 299], Some(299))),
        ("?before=300&limit=2", (vec![299, 298], Some(298))),
        ("?before=42&limit=3", (vec![41, 40, 39], Some(39))),
        ("?before=41&limit=3", (vec![40, 39, 38], Some(38))),
        ("?before=3&limit=2", (vec![2, 1], None)),
        ("?before=1", (vec![], None)),
        ("?before=99999", (down(300, 251), Some(251))),
    ] {
        assert_eq!(page(query), wanted, "{query}");
    }
    // The whole log, page by page.
    let (mut all, mut next) = (Vec::new(), Some(u64::from(u32::MAX)));
    while let Some(before) = next {
        let (numbers, after) = page(&format!("?limit=77&before={before}"));
        all.extend(numbers);
        next = after;
    }
    assert_eq!(all, down(300, 1));

    for (query, name, allowed) in [
        ("?limit=0", "limit", "1 to 100"),
        ("?limit=101", "limit", "1 to 100"),
        ("?limit=x", "limit", "1 to 100"),
        ("?before=0", "before", "a number from 1"),
        ("?before=99999999999999999999", "before", "a number from 1"),
    ] {
        assert_eq!(
            ask(&fixture, "yourtoken", "GET", &format!("/audit{query}"), None).text(),
            format!(
                r#"{{"Status":"400 Bad Request","Error-Message":"Invalid option: {name}. Allowed: {allowed}","Field":"{name}"}}"#
            ),
            "{query}"
        );
    }
}

#[test]
fn a_page_costs_the_same_of_a_large_log_and_shows_nothing_but_entries() {
    let fixture = fixture();
    let mut text = String::new();
    for number in 1..=60_000 {
        writeln!(text, "{{\"seq\":{number},\"x\":\"{}\",\"chain\":\"{}\"}}", "y".repeat(number % 200), "0".repeat(64))
            .unwrap();
    }
    text.push_str("no entry\n{\"seq\":60001,\"x\":\"unfinished");
    fixture.write(LOG, &text);
    for (before, wanted) in [(None, 60_000), (Some(30_000), 29_999), (Some(2), 1), (Some(59_999), 59_998)] {
        let page = chain::page(&appliance(&fixture), before, 2).unwrap().unwrap();
        assert!(page.lines[0].starts_with(&format!("{{\"seq\":{wanted},")), "{before:?}: {:?}", page.lines);
    }
    // Counts system calls, because times mean nothing on a busy machine.
    let trace = fixture.path("trace");
    let command = command(&fixture, "GET", "/api/v1/admin/audit?token=yourtoken&before=31234");
    let program = command.get_program().to_owned();
    let mut traced = Command::new("strace");
    traced.args(["-f", "-e", "trace=pread64", "-o"]).arg(&trace).arg(program).env_clear();
    for (name, value) in command.get_envs() {
        traced.env(name, value.unwrap());
    }
    let output = traced.stdin(std::process::Stdio::null()).output().expect("strace");
    assert!(output.status.success(), "{output:?}");
    let n_reads = fs::read_to_string(trace).unwrap().lines().filter(|line| line.contains("pread64")).count();
    assert!((3..120).contains(&n_reads), "{n_reads} reads");
}

#[test]
fn a_revoked_token_stays_revoked_after_a_power_failure() {
    let fixture = fixture();
    console(&fixture, &["token", "add", "ops", "--scope", "operate"]);
    let trace = fixture.path("trace");
    let status = Command::new("strace")
        .args(["-y", "-e", "trace=rename,renameat,renameat2,fsync", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_jidoteki-admin-api"))
        .args(["--admin", fixture.admin().to_str().unwrap(), "--etc", fixture.etc().to_str().unwrap()])
        .args(["token", "remove", "ops"])
        .status()
        .expect("strace");
    assert!(status.success());
    let calls = fs::read_to_string(trace).unwrap();
    let place = |what: &dyn Fn(&str) -> bool| calls.lines().position(what).unwrap_or_else(|| panic!("{calls}"));
    let folder = format!("<{}>", fixture.admin().join("etc").display());
    let content = place(&|call| call.starts_with("fsync(") && call.contains(".api.tokens.json.new>"));
    let name = place(&|call| call.starts_with("rename") && call.contains("/api.tokens.json\""));
    let flushed = place(&|call| call.starts_with("fsync(") && call.contains(&folder));
    assert!(content < name && name < flushed, "{calls}");
}

#[test]
fn a_token_is_created_listed_and_revoked_at_the_console() {
    let fixture = fixture();
    let (code, token, told) = console(&fixture, &["token", "add", "ops", "--scope", "operate", "--days", "1"]);
    assert_eq!((code, token.trim().len()), (Some(0), 64), "{told}");
    assert!(told.contains("shown only once") && !told.contains(token.trim()));
    assert!(!fixture.read("etc/api.tokens.json").contains(token.trim()), "only a verifier is kept");
    assert_eq!(ask(&fixture, token.trim(), "GET", "/version", None).status, 200);
    assert_eq!(ask(&fixture, token.trim(), "GET", "/audit", None).status, 403);
    let (_, list, _) = console(&fixture, &["token", "list"]);
    let list: Vec<&str> = list.lines().map(|line| &line[..49]).collect();
    assert_eq!(list, [format!("{:32} admin   never ex", "admin"), format!("{:32} operate expires ", "ops")]);
    assert_eq!(console(&fixture, &["token", "remove", "ops"]).0, Some(0));
    assert_eq!(ask(&fixture, token.trim(), "GET", "/version", None).status, 403);
    assert_eq!(fixture.audit()[..1], [r#"token.add,"ops","console","""#]);

    fixture.write("etc/api.tokens.json", "{");
    fixture.write("etc/other", "");
    for (arguments, wanted) in [
        (&["token", "add", "x", "--scope", "read"][..], "cannot read etc/api.tokens.json: EOF while parsing"),
        (&["token", "add", "admin", "--scope", "read"], "admin: a name must have 1 to 32 letters"),
        (&["token", "add", "previous-1", "--scope", "read"], "previous-1: a name must have 1 to 32 letters"),
        (&["token", "add", "a b", "--scope", "read"], "a b: a name must have 1 to 32 letters"),
        (&["token", "remove", "admin"], "the API token cannot be removed: `token rotate` replaces it"),
        (&["unlock", "nowhere"], "nowhere: not an IP address"),
    ] {
        let (code, stdout, stderr) = console(&fixture, arguments);
        let stderr = stderr.replace(&format!("{}/", fixture.admin().display()), "");
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(stderr.starts_with(&format!("jidoteki-admin-api: error: {wanted}")), "{arguments:?}: {stderr}");
    }
    assert_eq!(fixture.read("etc/api.tokens.json"), "{", "a file that cannot be read is not written over");
    fixture.remove("etc/api.tokens.json");
    assert!(console(&fixture, &["token", "remove", "ops"]).2.contains("there is no token ops"));
    assert_eq!(console(&fixture, &["token", "add", "ops", "--scope", "god"]).0, Some(2));
    assert_eq!(console(&fixture, &["token", "add", "ops", "--scope", "read"]).0, Some(0));
    assert!(console(&fixture, &["token", "add", "ops", "--scope", "read"]).2.contains("ops already exists"));
}

#[test]
fn the_first_token_is_replaced_with_an_overlap() {
    let fixture = fixture();
    let (code, token, _) = console(&fixture, &["token", "rotate", "--overlap", "2"]);
    assert_eq!(code, Some(0));
    assert_eq!(fixture.read("etc/api.token"), token);
    for old_or_new in ["yourtoken", token.trim()] {
        assert_eq!(ask(&fixture, old_or_new, "GET", "/audit?limit=1", None).status, 200, "{old_or_new}");
    }
    let (_, list, _) = console(&fixture, &["token", "list"]);
    assert!(list.lines().nth(1).unwrap().starts_with("previous-") && list.contains("admin   expires "), "{list}");
    let (_, again, _) = console(&fixture, &["token", "rotate", "--overlap", "0"]);
    assert_eq!(ask(&fixture, token.trim(), "GET", "/version", None).status, 403, "without an overlap it ends at once");
    assert_eq!(ask(&fixture, "yourtoken", "GET", "/version", None).status, 200, "that of the first lasts");
    assert_eq!(ask(&fixture, again.trim(), "GET", "/version", None).status, 200);
}

#[test]
fn the_console_sets_the_api_token_where_none_is_set() {
    let fixture = fixture();
    fixture.remove("etc/api.token");
    let (code, stdout, stderr) = console(&fixture, &["token", "add", "ops", "--scope", "read"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("set it with POST /setup or `token rotate`"), "{stderr}");
    let (code, token, _) = console(&fixture, &["token", "rotate", "--overlap", "1"]);
    assert_eq!((code, fixture.read("etc/api.token")), (Some(0), token.clone()));
    assert_eq!(ask(&fixture, token.trim(), "GET", "/version", None).status, 200);
    assert_eq!(console(&fixture, &["token", "list"]).1.lines().count(), 1, "no previous token is kept");
}

#[test]
fn an_administrator_can_clear_rate_limits() {
    let fixture = fixture();
    fixture.write("usr/jidoteki-admin-api.json", r#"{"refusals-per-minute":5}"#);
    let guess = |address: &str| {
        let mut command = command(&fixture, "GET", "/api/v1/admin/version?token=wrong");
        command.env("REMOTE_ADDR", address);
        send_with(command, None).0.status
    };
    assert_eq!(console(&fixture, &["unlock"]).1, "no refused requests are recorded\n");
    let exhaust = |address: &str| wait_until("the budget is used up", || guess(address) == 429);
    exhaust("192.0.2.9");
    exhaust("192.0.2.10");
    assert_eq!(console(&fixture, &["unlock", "192.0.2.9"]).1, "rate limits cleared for 192.0.2.9\n");
    assert_eq!([guess("192.0.2.9"), guess("192.0.2.10")], [403, 429]);
    assert_eq!(console(&fixture, &["unlock"]).1, "rate limits cleared for all addresses\n");
    assert_eq!(guess("192.0.2.10"), 403);
}

/// A flood gets slow responses and a valid client does not; tests/security/flood has the figures.
#[test]
fn a_flood_of_guesses_refuses_no_valid_client_and_breaks_nothing() {
    for (server, port) in [("nginx", 27011), ("lighttpd", 27012)] {
        let fixture = fixture();
        fixture.write("usr/jidoteki-admin-api.json", r#"{"refusals-per-minute":40}"#);
        let edge = Edge::start(&fixture, server, port);
        let ask = |address: &str, token: &str| {
            let output = Command::new("curl")
                .args(["-s", "-i", "-4", "--max-time", "60", "--interface", address, "--cacert"])
                .arg(edge.certificate())
                .args(["-H", &format!("Authorization: Bearer {token}")])
                .arg(format!("https://localhost:{port}/api/v1/admin/version"))
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let is_over = AtomicBool::new(false);
        let guesses: Vec<String> = std::thread::scope(|scope| {
            let guessers: Vec<_> = (0..24)
                .map(|n| {
                    let (ask, is_over) = (&ask, &is_over);
                    scope.spawn(move || {
                        let mut answers = Vec::new();
                        while !is_over.load(Ordering::Relaxed) {
                            answers.push(ask(&format!("127.0.0.{}", n % 4 + 2), "guess"));
                        }
                        answers
                    })
                })
                .collect();
            for _ in 0..60 {
                let answer = ask("127.0.0.2", "yourtoken");
                if !answer.ends_with(r#"{"version":"1.2.3"}"#) {
                    is_over.store(true, Ordering::Relaxed);
                    panic!("{server}: a valid client among the guessers: {answer}");
                }
            }
            is_over.store(true, Ordering::Relaxed);
            guessers.into_iter().flat_map(|guesser| guesser.join().unwrap()).collect()
        });
        // One address continues until it gets 429.
        let mut last = String::new();
        std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| ask("127.0.0.9", "guess"));
            }
        });
        wait_until("the source is told to wait", || {
            last = ask("127.0.0.9", "guess");
            last.contains(" 429 ")
        });
        for answer in guesses.iter().chain([&last]) {
            let (head, body) = answer.split_once("\r\n\r\n").expect(answer);
            let head = head.to_ascii_lowercase();
            let status = head.split(' ').nth(1).unwrap();
            let wanted = match status {
                "403" => r#"{"Status":"403 Forbidden","Error-Message":"Authentication error"}"#,
                "429" => {
                    r#"{"Status":"429 Too Many Requests","Error-Message":"Too many refused requests: try again in 7 seconds"}"#
                }
                _ => panic!("{server}: {answer}"),
            };
            assert_eq!(body, wanted, "{server}");
            for (name, n) in [
                ("content-type: application/json", 1),
                ("cache-control: no-cache", 1),
                ("strict-transport-security: max-age=31536000; includesubdomains", 1),
                ("x-content-type-options: nosniff", 1),
                ("x-frame-options: deny", 1),
                ("content-security-policy: ", 1),
                ("error-message: ", 1),
                ("retry-after: 7", usize::from(status == "429")),
                ("jidoteki-answer", 0),
            ] {
                assert_eq!(head.matches(&format!("\r\n{name}")).count(), n, "{server}: {name} in {head}");
            }
        }
    }
}

/// Under nginx, the delay of /setup occupies no process.
#[test]
fn unauthenticated_setup_requests_hold_no_worker() {
    for (server, port) in [("nginx", 27013), ("lighttpd", 27014)] {
        let fixture = fixture();
        let edge = Edge::start(&fixture, server, port);
        let curl = |arguments: &[&str]| {
            let mut curl = Command::new("curl");
            curl.args(["-s", "-w", " %{http_code}", "--max-time", "60", "--cacert"])
                .arg(edge.certificate())
                .args(arguments);
            String::from_utf8(curl.output().unwrap().stdout).unwrap()
        };
        let setup = format!("https://localhost:{port}/api/v1/admin/setup");
        let version = format!("https://localhost:{port}/api/v1/admin/version");
        let n_waiting = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            // More than there are workers.
            for _ in 0..40 {
                scope.spawn(|| {
                    assert_eq!(curl(&["-F", "newtoken=mine", &setup]), r#"{"Status":"403 Forbidden"} 403"#, "{server}");
                    n_waiting.fetch_add(1, Ordering::SeqCst);
                });
            }
            wait_until("all are refused", || {
                fixture.audit().iter().filter(|line| line.starts_with("token.setup.failed")).count() == 40
            });
            assert_eq!(
                curl(&["-H", "Authorization: Bearer yourtoken", &version]),
                r#"{"version":"1.2.3"} 200"#,
                "{server}"
            );
        });
        assert_eq!(n_waiting.into_inner(), 40, "{server}");
    }
}
