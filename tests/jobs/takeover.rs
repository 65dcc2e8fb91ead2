//! Jobs in the folders of an appliance that was taken over: its group can make files there.

use super::appliance::{Appliance, is_root, sh, under_each_shell};
use std::os::unix::fs::{MetadataExt, symlink};

/// The group of the ancestor's files, by its number: no account is needed.
const GROUP: u32 = 997;

/// Owners and modes as the ancestor made them; needs root.
fn take_over(appliance: &Appliance) {
    sh(
        &appliance.root,
        "chgrp 997 admin/etc admin/log admin/home/sftp/uploads; chmod 1775 admin/etc admin/log; chmod 770 admin/home/sftp/uploads
         chmod 755 admin/lib",
    );
}

fn group(appliance: &Appliance, name: &str) -> u32 {
    appliance.path(name).symlink_metadata().unwrap().gid()
}

#[test]
fn applied_files_belong_to_the_group_of_the_folder() {
    if !is_root() {
        return;
    }
    under_each_shell(|appliance| {
        take_over(appliance);
        appliance.write("admin/etc/api.token", "old\n");
        appliance.upload("api.token", "new\n");
        appliance.succeed("token");
        assert_eq!(appliance.read("admin/etc/api.token"), "new\n");
        for (name, mode) in [("admin/etc/api.token", 0o660), ("admin/log/update_token.log", 0o640)] {
            assert_eq!((group(appliance, name), appliance.mode(name)), (GROUP, mode), "{name}");
        }
        // Whoever could read a file by its group can read the next one, and nobody else.
        sh(
            &appliance.root,
            "echo 'type=\"local\"' >etc/storage.conf; chgrp 997 etc/storage.conf; chmod 640 etc/storage.conf",
        );
        appliance.upload("storage.json", "{\"storage\":{\"type\":\"local\"}}");
        appliance.upload("storage.conf", "type=\"local\"\n");
        appliance.hook("admin/bin/storage.sh", "umask >>record; echo \"$HOME $USER $LOGNAME\" >>record");
        appliance.succeed("storage");
        assert_eq!((group(appliance, "etc/storage.conf"), appliance.mode("etc/storage.conf")), (GROUP, 0o640));
        assert!(appliance.record().contains("0022\n/root root root\n"), "{}", appliance.record());
        sh(&appliance.root, "chgrp 0 etc/storage.conf; chmod 600 etc/storage.conf");
        appliance.upload("storage.json", "{\"storage\":{\"type\":\"local\"}}");
        appliance.upload("storage.conf", "type=\"local\"\n");
        appliance.succeed("storage");
        assert_eq!((group(appliance, "etc/storage.conf"), appliance.mode("etc/storage.conf")), (0, 0o600));
        assert!(
            !appliance.files("admin/etc").iter().any(|name| name.starts_with('.')),
            "{:?}",
            appliance.files("admin/etc")
        );
    });
}

#[test]
fn tokens_that_root_makes_can_be_read_by_the_group() {
    if !is_root() {
        return;
    }
    under_each_shell(|appliance| {
        take_over(appliance);
        appliance.write("admin/etc/api.token", "old\n");
        appliance.upload("tokens.json", r#"{"name":"one","scope":"read"}"#);
        appliance.succeed("tokens add");
        let mut rotate = appliance.command(env!("CARGO_BIN_EXE_jidoteki-admin-api").as_ref());
        assert!(rotate.args(["token", "rotate", "--overlap", "0"]).output().unwrap().status.success());
        for (name, mode) in [("admin/etc/api.tokens.json", 0o640), ("admin/etc/api.token", 0o660)] {
            assert_eq!((group(appliance, name), appliance.mode(name)), (GROUP, mode), "{name}");
        }
    });
}

#[test]
fn files_planted_by_the_group_neither_mislead_a_job_nor_stop_it() {
    if !is_root() {
        return;
    }
    under_each_shell(|appliance| {
        take_over(appliance);
        appliance.write("victim", "untouched\n");
        for log in ["admin/log/update_token.log", "admin/log/update_license.log"] {
            symlink(appliance.path("victim"), appliance.path(log)).unwrap();
        }
        std::fs::hard_link(appliance.path("victim"), appliance.path("admin/log/update_storage.log")).unwrap();
        // The name beside a file that is being replaced, as something that cannot be removed as a file.
        appliance.write("admin/etc/api.token.new/in/the/way", "x");
        appliance.upload("api.token", "new\n");
        appliance.succeed("token");
        assert_eq!(appliance.read("admin/etc/api.token"), "new\n");
        assert!(appliance.read("admin/log/update_token.log").contains("API token changed"));
        appliance.run("license");
        appliance.run("storage");
        assert_eq!(appliance.read("victim"), "untouched\n");
    });
}

#[test]
fn files_that_people_put_into_uploads_are_kept_for_them() {
    if !is_root() {
        return;
    }
    under_each_shell(|appliance| {
        sh(
            &appliance.root,
            "for job in token license; do touch admin/home/sftp/uploads/.$job.lock; chown 4242 admin/home/sftp/uploads/.$job.lock; done",
        );
        for (name, owner) in [("api.token", 998), ("license.asc", 4242)] {
            appliance.upload(name, "x\n");
            sh(&appliance.root, &format!("chown {owner} admin/home/sftp/uploads/{name}"));
            let mark = sh(&appliance.root, &format!("stat -c '%i %Z' admin/home/sftp/uploads/{name}"));
            appliance.write(&format!("admin/lib/left.{name}"), format!("99999999999 {mark}"));
        }
        appliance.recover();
        assert!(appliance.exists("admin/home/sftp/uploads/api.token"), "of a person");
        assert!(!appliance.exists("admin/home/sftp/uploads/license.asc"), "of a request");
    });
}

#[test]
fn a_change_is_saved_where_the_system_lives_in_memory() {
    under_each_shell(|appliance| {
        appliance.upload("api.token", "new\n");
        appliance.succeed("token");
        assert!(!appliance.record().contains("filetool"));
        appliance.hook("fakes/filetool.sh", "echo \"filetool.sh $*\" >>\"${0%/*}/../record\"");
        appliance.upload("api.token", "newer\n");
        appliance.succeed("token");
        assert!(appliance.record().contains("filetool.sh -b -s\n"), "{}", appliance.record());
        // What has failed has changed nothing.
        let before = appliance.record();
        appliance.refuse("token", "Missing token");
        assert_eq!(appliance.record(), before);
    });
}

#[test]
fn our_jobs_do_the_work_that_kept_jobs_do_not_know() {
    under_each_shell(|appliance| {
        let kept = super::appliance::repository().join("nginx/takeover/kept-job.sh");
        for job in ["certs", "tokens"] {
            let script = format!("admin/bin/kept/{job}");
            appliance.hook(&script, std::fs::read_to_string(&kept).unwrap().split_once('\n').unwrap().1);
        }
        appliance.hook("admin/bin/update_certs.sh", "exit 0");
        let ours = std::fs::read_to_string(appliance.path("admin/bin/wrapper.sh")).unwrap();
        appliance.write("admin/bin/start.sh", ours);
        appliance.chmod("admin/bin/start.sh", 0o755);
        appliance.hook("admin/bin/wrapper.sh", "echo \"vendor: $SSH_ORIGINAL_COMMAND $*\" >>\"${0%/*}/../../record\"");
        let run = |job: &str, argument: &[&str]| {
            let mut command = appliance.command(&appliance.path("admin/bin/start.sh"));
            command.env("SSH_ORIGINAL_COMMAND", job).args(argument).stdin(std::process::Stdio::null());
            let output = command.output().unwrap();
            assert!(output.status.success(), "{job} {argument:?}: {output:?}\n{}", appliance.describe());
            String::from_utf8(output.stdout).unwrap()
        };
        appliance.upload("tokens.json", r#"{"name":"one","scope":"read"}"#);
        assert!(run("tokens", &["add"]).contains("token"));
        appliance.upload("request.txt", "ec\nbox.example\n");
        run("certs", &["csr"]);
        assert!(appliance.exists("admin/etc/certs_request.pem"));
        assert!(!appliance.record().contains("vendor"), "{}", appliance.record());
        // A pair with its own key is the vendor's matter, one for the key that waits is ours.
        appliance.upload("appliance.pem", "x");
        appliance.upload("appliance.key", "x");
        run("certs", &[]);
        assert!(appliance.record().contains("vendor: certs \n"), "{}", appliance.record());
        std::fs::remove_file(appliance.path("admin/home/sftp/uploads/appliance.key")).unwrap();
        let outcome = appliance
            .command(&appliance.path("admin/bin/start.sh"))
            .env("SSH_ORIGINAL_COMMAND", "certs")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), "Reason: The certificate is not PEM\n");
        run("certs", &["forget"]);
        assert_eq!(appliance.record().matches("vendor").count(), 1, "{}", appliance.record());
    });
}
