//! The way back of every change (`cgi-bin/lib/change.sh`): also for what 2.0.0 left open, and if it fails at first.

use super::appliance::{Appliance, Shell, sh, under_each_shell};
use super::{settings, storage};
use std::fs;

/// Both words with which a timer calls the jobs: ours, and that of a timer of 2.0.0 that still waits after an upgrade.
const WORDS: [&str; 2] = ["recover", "revert"];

/// What the timer does, with this word.
#[track_caller]
fn recover(appliance: &Appliance, job: &str, word: &str) {
    let output = appliance.command(&appliance.path("admin/bin/jobs").join(job)).arg(word).output().unwrap();
    assert!(output.status.success(), "{job} {word} under {:?}: {output:?}\n{}", appliance.shell, appliance.describe());
}

#[track_caller]
fn check_nothing_left(appliance: &Appliance) {
    let mut left = appliance.files("admin/lib");
    left.retain(|name| !name.ends_with(".guard") && name != "work/" && !name.starts_with("storage.previous/"));
    left.retain(|name| name != "update.version");
    assert_eq!(left, [""; 0], "{}", appliance.describe());
}

#[test]
fn settings_that_2_0_0_left_open_are_rolled_back() {
    for word in WORDS {
        under_each_shell(|appliance| {
            let admin = appliance.path("admin").display().to_string();
            let etc = appliance.path("etc").display().to_string();
            appliance.write(
                "admin/lib/settings.undo/list",
                format!(
                    "1\t0640\t{admin}/etc/app.json\n2\t0640\t{admin}/etc/network.json\n3\t0644\t{etc}/network.conf\n"
                ),
            );
            appliance.write("admin/lib/settings.undo/2", "{\"mode\":\"old\"}");
            appliance.write("admin/lib/settings.undo/3", "mode=static\n");
            appliance.write("admin/etc/app.json", "{}");
            appliance.write("admin/etc/network.json", "{\"mode\":\"new\"}");
            appliance.write("etc/network.conf", "mode=dhcp\n");
            settings::set_pending(appliance, "another-boot", 1000);
            recover(appliance, "settings", word);
            assert_eq!(
                settings::in_force(appliance),
                [None, Some("{\"mode\":\"old\"}".to_owned()), Some("mode=static\n".to_owned())]
            );
            assert!(!appliance.exists("admin/etc/pending_settings.txt"));
            check_nothing_left(appliance);
        });
    }
}

#[test]
fn certificates_that_2_0_0_left_open_are_rolled_back() {
    for is_pending in [true, false] {
        for had_pair in [true, false] {
            under_each_shell(|appliance| {
                sh(&appliance.path("etc"), "mkdir -p tls/pair.1 tls/pair.2; ln -s pair.2 tls/current");
                fs::create_dir(appliance.path("admin/lib/certs.undo")).unwrap();
                if had_pair {
                    appliance.write("admin/lib/certs.undo/pair", "pair.1\n");
                }
                if is_pending {
                    appliance.write("admin/etc/pending_certs.txt", "boot_id=another\ndeadline=999999999\n");
                }
                recover(appliance, "certs", "recover");
                let expected: &[&str] = if had_pair { &["current", "pair.1/"] } else { &[] };
                assert_eq!(appliance.files("etc/tls"), expected, "{}", appliance.describe());
                assert!(!had_pair || fs::read_link(appliance.path("etc/tls/current")).unwrap().ends_with("pair.1"));
                assert!(!appliance.exists("admin/etc/pending_certs.txt"));
                check_nothing_left(appliance);
            });
        }
    }
}

#[test]
fn a_license_that_2_0_0_left_open_is_rolled_back() {
    for old in ["old\n", ""] {
        under_each_shell(|appliance| {
            let license = || appliance.maybe("admin/etc/license.asc").unwrap_or_default();
            appliance.write("admin/etc/license.asc", "new\n");
            appliance.write("admin/lib/license.previous", old);
            recover(appliance, "license", "recover");
            assert_eq!(license(), old);
            check_nothing_left(appliance);
            // By the next license, too.
            appliance.write("admin/etc/license.asc", "new\n");
            appliance.write("admin/lib/license.previous", old);
            appliance.refuse("license", "Missing license file");
            assert_eq!(license(), old);
            check_nothing_left(appliance);
        });
    }
}

#[test]
fn storage_settings_that_2_0_0_left_open_are_rolled_back_and_can_be_undone() {
    // The previous files of the last change were moved away before this one was settled, and the power was cut.
    for is_open in [true, false] {
        under_each_shell(|appliance| {
            let paths = ["admin/etc/storage.json", "etc/storage.conf"].map(|name| appliance.path(name));
            let list = format!("1\t0640\t{}\n2\t0600\t{}\n", paths[0].display(), paths[1].display());
            for (directory, text) in [("storage.undo", "last"), ("storage.previous.old", "before")] {
                if is_open || directory != "storage.undo" {
                    appliance.write(&format!("admin/lib/{directory}/list"), &list);
                    appliance.write(&format!("admin/lib/{directory}/1"), text);
                    appliance.write(&format!("admin/lib/{directory}/2"), text);
                }
            }
            appliance.write("admin/etc/storage.json", if is_open { "refused" } else { "last" });
            appliance.write("etc/storage.conf", if is_open { "refused" } else { "last" });
            appliance.recover();
            assert_eq!(appliance.read("etc/storage.conf"), "last", "{}", appliance.describe());
            appliance.succeed("storage undo");
            assert_eq!(appliance.read("etc/storage.conf"), "before", "{}", appliance.describe());
            check_nothing_left(appliance);
        });
    }
}

#[test]
fn an_update_that_2_0_0_left_open_is_rolled_back_or_completed() {
    for by_next_update in [false, true] {
        under_each_shell(|appliance| {
            appliance.write("admin/etc/version.txt", "1.0.0\n");
            appliance.write("admin/lib/update.applying", "1.0.1 1.0.0\n");
            appliance.write("admin/lib/update.rollbacks", "..");
            appliance.write(
                "admin/lib/work/update/package/rollback.sh",
                "#!/bin/sh\necho \"$JIDO_REASON $JIDO_VERSION_AFTER $JIDO_VERSION_BEFORE\" >>\"$JIDO_ETC_PATH/rolled\"\n",
            );
            if by_next_update {
                appliance.refuse("update", "Missing update package");
            } else {
                appliance.recover();
                appliance.recover();
                assert_eq!(appliance.read("admin/etc/status_error_message.txt"), "The update was interrupted\n");
            }
            assert_eq!(appliance.read("etc/rolled"), "interrupted 1.0.1 1.0.0\n", "{}", appliance.describe());
            check_nothing_left(appliance);
            // Its script succeeded, and only the version was not recorded.
            appliance.write("admin/lib/update.applied", "1.0.1 1.0.0\n");
            appliance.write("admin/lib/work/update/package/version.txt", "1.0.1\n");
            if by_next_update {
                appliance.refuse("update", "Missing update package");
            } else {
                appliance.recover();
            }
            assert_eq!(appliance.read("admin/etc/version.txt"), "1.0.1\n");
            check_nothing_left(appliance);
        });
    }
}

/// Its package is moved before its versions are copied.
#[test]
fn an_interrupted_takeover_of_an_update_of_2_0_0_is_completed() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        appliance.write("admin/lib/update.applying", "1.0.1 1.0.0\n");
        appliance.write("admin/lib/update.undo.new/package/rollback.sh", "#!/bin/sh\n: >\"$JIDO_ETC_PATH/rolled\"\n");
        appliance.recover();
        assert!(appliance.exists("etc/rolled"), "{}", appliance.describe());
        check_nothing_left(appliance);
    });
}

#[test]
fn a_vendors_job_that_knows_only_the_word_of_2_0_0_is_called_with_it() {
    under_each_shell(|appliance| {
        appliance.hook(
            "admin/bin/jobs/storage",
            "echo \"$1\" >>\"${0%/*}/../../../etc/told\"; [ \"$1\" = revert ] || exit 2",
        );
        appliance.recover();
        assert_eq!(appliance.read("etc/told"), "recover\nrevert\n");
    });
}

/// The minute can come at any moment of a job.
#[test]
fn a_running_job_is_not_rolled_back() {
    under_each_shell(|appliance| {
        settings::old_settings(appliance);
        appliance
            .hook("admin/bin/network.sh", "\"$JIDO_ADMIN_PATH/bin/recover.sh\"; echo \"$1\" >>\"$JIDO_ETC_PATH/told\"");
        settings::upload(appliance, settings::DHCP_JSON);
        appliance.succeed("settings dhcp");
        assert_eq!(appliance.read("etc/told"), "dhcp\n", "{}", appliance.describe());
        assert_eq!(appliance.read("etc/network.conf"), settings::DHCP);
        assert_eq!(appliance.read("admin/etc/status_settings.txt"), "success\n");
    });
}

#[test]
fn saved_files_are_tried_again_until_they_are_restored() {
    under_each_shell(|appliance| {
        storage::old_settings(appliance);
        let before = appliance.read("etc/storage.conf");
        // The place of a file is taken while the change is applied.
        appliance.hook(
            "admin/bin/storage.sh",
            "rm -f \"$JIDO_ETC_PATH/storage.conf\"; mkdir -p \"$JIDO_ETC_PATH/storage.conf/x\"; exit 1",
        );
        storage::upload(appliance, storage::AOE);
        appliance.refuse("storage", "The storage settings could not be applied");
        for _ in 0..8 {
            appliance.recover();
        }
        fs::remove_file(appliance.path("admin/bin/storage.sh")).unwrap();
        fs::remove_dir_all(appliance.path("etc/storage.conf")).unwrap();
        appliance.recover();
        assert_eq!(appliance.read("etc/storage.conf"), before, "{}", appliance.describe());
        check_nothing_left(appliance);
    });
}

#[test]
fn settings_that_never_apply_again_are_given_up_with_the_previous_files() {
    let appliance = Appliance::new(Shell::Dash);
    let before = settings::old_settings(&appliance);
    appliance.hook("admin/bin/network.sh", "echo \"$1\" >>\"$JIDO_ETC_PATH/told\"; exit 1");
    settings::upload(&appliance, settings::DHCP_JSON);
    appliance.refuse("settings dhcp", "The network settings could not be applied");
    for _ in 0..8 {
        appliance.recover();
    }
    assert_eq!(appliance.read("etc/told"), format!("dhcp\n{}", "static\n".repeat(5)));
    assert_eq!(settings::in_force(&appliance), before);
    check_nothing_left(&appliance);
}

/// An image can link to its configuration. The link is replaced, and the content is what returns.
#[test]
fn of_a_link_the_content_is_kept() {
    under_each_shell(|appliance| {
        appliance.hook("admin/bin/network.sh", "[ \"$1\" = static ]");
        settings::old_settings(appliance);
        let etc = appliance.path("etc");
        sh(&etc, "mv network.conf of-the-image.conf; ln -s of-the-image.conf network.conf");
        let before = appliance.read("etc/network.conf");
        settings::upload(appliance, settings::DHCP_JSON);
        appliance.refuse("settings dhcp", "The network settings could not be applied");
        assert_eq!(appliance.read("etc/network.conf"), before, "{}", appliance.describe());
        assert_eq!(appliance.read("etc/of-the-image.conf"), before);
    });
}
