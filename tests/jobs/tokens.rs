//! The job `tokens`.

use super::appliance::{Appliance, under_each_shell};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

const FILE: &str = "admin/etc/api.tokens.json";

#[track_caller]
fn add(appliance: &Appliance, request: &str) -> String {
    appliance.upload("tokens.json", request);
    let answer = appliance.succeed("tokens add").stdout;
    let token = answer.strip_prefix("{\"Status\":\"200 OK\",\"token\":\"").and_then(|rest| rest.strip_suffix("\"}\n"));
    let token = token.unwrap_or_else(|| panic!("{answer:?}"));
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    token.to_owned()
}

#[test]
fn a_token_is_made_shown_once_and_removed() {
    under_each_shell(|appliance| {
        let one = add(appliance, r#"{"name":"one","scope":"operate","days":30}"#);
        let two = add(appliance, r#"{"name":"two","scope":"read"}"#);
        assert_ne!(one, two);
        let kept = appliance.read(FILE);
        assert!(kept.contains(r#"{"name":"one","scope":"operate","expires":"#), "{kept}");
        assert!(kept.contains(r#"{"name":"two","scope":"read","verifier":"#), "{kept}");
        assert_eq!(appliance.mode(FILE), 0o640);
        appliance.upload("tokens.json", r#"{"name":"one"}"#);
        assert_eq!(appliance.succeed("tokens remove").stdout, "");
        assert!(!appliance.read(FILE).contains("one"));
        assert_eq!(appliance.files("admin/home/sftp/uploads"), [".tokens.lock"]);
        assert!(appliance.files("admin/lib/work").is_empty(), "nothing is left of the request");
        let everything = ["admin/log/update_tokens.log", FILE].map(|name| appliance.read(name)).concat();
        assert!(!everything.contains(&one) && !everything.contains(&two), "a secret is kept");
    });
}

#[test]
fn a_job_request_that_root_rejects_changes_nothing() {
    let full: Vec<String> =
        (0..32).map(|n| format!(r#"{{"name":"n{n}","scope":"read","verifier":"{}"}}"#, "0".repeat(64))).collect();
    let full = format!("{{\"tokens\":[{}]}}\n", full.join(","));
    let some =
        format!("{{\"tokens\":[{{\"name\":\"ops\",\"scope\":\"read\",\"verifier\":\"{}\"}}]}}\n", "1".repeat(64));
    let rule = "a name must have 1 to 32 letters, digits, - and _; admin and previous-... are reserved";
    for (action, before, request, reason) in [
        (
            "add",
            &some,
            r#"{"name":"ops","scope":"read"}"#,
            "ops already exists: remove it first, or choose another name",
        ),
        ("add", &some, r#"{"name":"admin","scope":"admin"}"#, &format!("admin: {rule}")),
        ("add", &some, r#"{"name":"previous-1","scope":"admin"}"#, &format!("previous-1: {rule}")),
        ("add", &some, r#"{"name":"a b","scope":"admin"}"#, &format!("a b: {rule}")),
        ("add", &some, r#"{"name":"","scope":"admin"}"#, &format!(": {rule}")),
        ("add", &some, r#"{"name":"x","scope":"god"}"#, "Invalid request"),
        ("add", &some, r#"{"name":"x"}"#, "Missing scope"),
        ("add", &some, r#"{"name":"x","scope":"read","days":0}"#, "Invalid number of days"),
        ("add", &some, r#"{"name":"x","scope":"read","days":3651}"#, "Invalid number of days"),
        ("add", &some, "{", "Invalid request"),
        ("add", &some, "", "Invalid request"),
        ("add", &full, r#"{"name":"x","scope":"read"}"#, "there are 32 named tokens already: remove one first"),
        ("remove", &some, r#"{"name":"x"}"#, "there is no token x"),
        ("remove", &some, r#"{"name":"admin"}"#, "there is no token admin"),
    ] {
        under_each_shell(|appliance| {
            appliance.write(FILE, before);
            appliance.upload("tokens.json", request);
            appliance.refuse(&format!("tokens {action}"), reason);
            assert_eq!(&appliance.read(FILE), before, "{request}");
        });
    }
    under_each_shell(|appliance| {
        appliance.refuse("tokens add", "Missing name");
        // What cannot be read is not replaced, and the client is not told where it is.
        appliance.write(FILE, "{");
        appliance.upload("tokens.json", r#"{"name":"x","scope":"read"}"#);
        appliance.refuse("tokens add", "The tokens could not be changed");
        assert_eq!(appliance.read(FILE), "{");
        assert!(appliance.read("admin/log/update_tokens.log").contains("api.tokens.json"));
    });
}

#[test]
fn a_token_that_is_not_read_is_removed() {
    under_each_shell(|appliance| {
        appliance.upload("tokens.json", r#"{"name":"one","scope":"read"}"#);
        let lock = File::create(appliance.path("admin/home/sftp/uploads/.tokens.lock")).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = appliance.command(&appliance.path("admin/bin/wrapper.sh"));
        command.env("SSH_ORIGINAL_COMMAND", "tokens").arg("add").stdin(lock).stdout(writer).stderr(Stdio::null());
        assert!(!command.process_group(0).status().unwrap().success());
        assert_eq!(appliance.read(FILE), "{\"tokens\":[]}\n");
        fs::remove_file(appliance.path(FILE)).unwrap();
    });
}
