//! The job `token`.

use super::appliance::under_each_shell;
use std::fs::{self, File};

#[test]
fn a_token_is_put_in_force_and_ends_the_first_run() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/api.token", "old\n");
        appliance.write("admin/etc/api.token.setup", "four-words-of-ours\n");
        appliance.upload("api.token", "!new~\r\n");
        let outcome = appliance.succeed("token");
        assert_eq!(outcome.stdout, "");
        assert_eq!(appliance.read("admin/etc/api.token"), "!new~\n");
        assert_eq!(appliance.mode("admin/etc/api.token"), 0o660);
        assert_eq!(appliance.read("admin/etc/api.token.setup"), "");
        assert_eq!(appliance.mode("admin/etc/api.token.setup"), 0o660);
        assert_eq!(appliance.files("admin/home/sftp/uploads"), [".token.lock"]);
        assert!(!appliance.read("admin/log/update_token.log").contains("new"), "a secret in the log");
    });
}

#[test]
fn an_invalid_token_changes_nothing() {
    let long = "x".repeat(256);
    for (token, reason) in [
        ("", "The token is empty"),
        ("\n", "The token is empty"),
        ("two\nlines\n", "The token must be one line"),
        ("two\n\nlines", "The token must be one line"),
        ("with space\n", "The token has a character that is not printable ASCII"),
        ("umlaut-\u{e4}\n", "The token has a character that is not printable ASCII"),
        (&long, "The token is longer than 255 characters"),
        (&long.repeat(2), "api.token is too large"),
    ] {
        under_each_shell(|appliance| {
            appliance.write("admin/etc/api.token", "old\n");
            appliance.write("admin/etc/api.token.setup", "words\n");
            appliance.upload("api.token", token);
            appliance.refuse("token", reason);
            assert_eq!(appliance.read("admin/etc/api.token"), "old\n");
            assert_eq!(appliance.read("admin/etc/api.token.setup"), "words\n");
        });
    }
}

#[test]
fn no_token_is_an_error() {
    under_each_shell(|appliance| appliance.refuse("token", "Missing token"));
}

#[test]
fn an_unclaimed_upload_is_removed_and_a_recent_one_is_not() {
    under_each_shell(|appliance| {
        let names = [".api.token.new", "api.token", "appliance.key", "backup-archive.tar", "storage.conf"];
        // A request leaves its lock beside what it leaves.
        let locks = [".backup.lock", ".certs.lock", ".storage.lock", ".token.lock"];
        for name in names.into_iter().chain(locks) {
            appliance.upload(name, "secret\n");
        }
        let left = || {
            let mut left = appliance.files("admin/home/sftp/uploads");
            left.retain(|name| !locks.contains(&name.as_str()));
            left
        };
        appliance.recover();
        assert_eq!(left(), names, "their job may be about to start");
        // A minute later, by what is noted of them. One has come again meanwhile.
        for name in names {
            let note = appliance.read(&format!("admin/lib/left.{name}"));
            let (up, mark) = note.split_once(' ').unwrap();
            appliance.write(&format!("admin/lib/left.{name}"), format!("{} {mark}", up.parse::<i64>().unwrap() - 60));
        }
        appliance.upload("fresh", "secret\n");
        fs::rename(
            appliance.path("admin/home/sftp/uploads/fresh"),
            appliance.path("admin/home/sftp/uploads/api.token"),
        )
        .unwrap();
        // A job that waits for its guard will still come for its input.
        let guard = File::create(appliance.path("admin/lib/restore.guard")).unwrap();
        guard.lock().unwrap();
        appliance.recover();
        assert_eq!(left(), ["api.token", "backup-archive.tar"]);
        drop(guard);
        appliance.recover();
        assert_eq!(left(), ["api.token"]);
        // Noted before the boot: whoever put it there is gone.
        let note = appliance.read("admin/lib/left.api.token");
        appliance.write("admin/lib/left.api.token", format!("99999999999 {}", note.split_once(' ').unwrap().1));
        appliance.recover();
        assert_eq!(left(), [""; 0]);
        appliance.recover();
        assert!(!appliance.files("admin/lib").iter().any(|name| name.starts_with("left.")));
    });
}
