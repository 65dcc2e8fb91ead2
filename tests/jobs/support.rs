//! The jobs `logs`, `debug`, `services`, `reboot` and `health`.

use super::appliance::{Appliance, Shell, sh, under_each_shell, vendor_keys};
use std::fs;
use std::os::unix::fs::MetadataExt;

const LOGS: &str = "admin/home/sftp/uploads/logs.tar.gz";

/// One of each secret that there is. None of them may be found in anything that leaves the machine.
const CANARIES: [&str; 7] = [
    "canary-token",
    "canary-pass",
    "canary-iscsi-pass",
    "canary-other",
    "Q0FOQVJZ",
    "canary-header",
    "9d6e0d6c8d3c4cbef42ac07cb0b0ff14d8cd7f6a2fa32be0a6b3e9d3a8b1f0aa",
];

fn with_secrets(appliance: &Appliance) -> String {
    appliance.write("admin/etc/api.token", "canary-token\n");
    appliance.write("admin/etc/updates.key", "canary-pass\n");
    appliance.write("etc/storage.conf", "type=\"iscsi\"\nusername=\"user\"\npassword=\"canary-iscsi-pass\"\n");
    let key = sh(&appliance.root, "printf canary-token | sha256sum | cut -d ' ' -f 1");
    let log = format!(
        "GET /api/v1/admin/version?token=canary-other HTTP/1.1\n\
         GET /x?a=b&hash={}&c=d\n\
         the key {key}the token canary-token the pass canary-pass and canary-iscsi-pass\n\
         newtoken=canary-other password: \"canary-other\" {{\"password\":\"canary-other\"}} secret=canary-other\n\
         Authorization: Bearer canary-header\n\
         -----BEGIN RSA PRIVATE KEY-----\nQ0FOQVJZ\n-----END RSA PRIVATE KEY-----\n\
         the end\n",
        CANARIES[6]
    );
    appliance.write("data/log/app.log", &log);
    sh(&appliance.path("data/log"), "gzip -k app.log; ln -s /etc/shadow link; mkfifo pipe");
    appliance.write("admin/etc/logs.txt", format!("{}\n/nowhere\n", appliance.path("data/log").display()));
    key.trim().to_owned()
}

#[track_caller]
fn check_no_canary(text: &str, key: &str) {
    for canary in CANARIES.iter().chain([&key]) {
        assert!(!text.contains(canary), "{canary} got out: {text}");
    }
}

#[test]
fn logs_are_collected_without_secrets() {
    under_each_shell(|appliance| {
        let key = with_secrets(appliance);
        appliance.succeed("logs");
        assert_eq!(appliance.mode(LOGS), 0o640);
        let place = appliance.path("out");
        fs::create_dir(&place).unwrap();
        sh(&place, &format!("tar -xzf ../{LOGS}"));
        let names = appliance.files("out").join("\n");
        assert!(names.contains("data/log/app.log"), "{names}");
        assert!(names.contains("admin/log/update_logs.log"), "{names}");
        assert!(!names.contains("shadow") && !names.contains("link") && !names.contains("pipe"), "{names}");
        let all = sh(&place, "find . -type f -exec cat {} +");
        check_no_canary(&all, &key);
        assert!(all.contains("?token=[redacted] HTTP/1.1\n"), "{all}");
        assert!(all.contains("?a=b&hash=[redacted]&c=d\n"), "{all}");
        assert!(all.contains("[redacted private key]\nthe end\n"), "{all}");
    });
}

#[test]
fn logs_are_bounded() {
    under_each_shell(|appliance| {
        appliance.write("data/log/large.log", "a line of a large log\n".repeat(300_000));
        appliance.write("admin/etc/logs.txt", format!("{}\n", appliance.path("data/log").display()));
        appliance.succeed("logs");
        let size = sh(&appliance.root, &format!("tar -tvzf {LOGS} | awk '/large.log/ {{ print $3 }}'"));
        assert_eq!(size.trim().parse::<u64>().unwrap() / 1_000_000, 2);
    });
}

#[test]
fn a_list_that_others_can_change_is_ignored() {
    let appliance = Appliance::new(Shell::Dash);
    appliance.write("data/log/x.log", "text\n");
    appliance.write("admin/etc/logs.txt", format!("{}\n", appliance.path("data/log").display()));
    appliance.chmod("admin/etc/logs.txt", 0o660);
    appliance.succeed("logs");
    let names = sh(&appliance.root, &format!("tar -tzf {LOGS}"));
    assert!(!names.contains("x.log"), "{names}");
}

#[test]
fn a_debug_bundle_opens_with_the_ancestors_commands_and_only_with_the_vendors_key() {
    under_each_shell(|appliance| {
        let key = with_secrets(appliance);
        appliance.write(
            "admin/etc/debug.txt",
            "echo one two\n# a comment\necho $(id); id\nuname\ncat /nowhere\necho password=canary-other\n",
        );
        appliance.succeed("debug");
        let bundle = appliance.path("admin/home/sftp/uploads/debug-bundle.tar");
        let place = appliance.path("out");
        fs::create_dir(&place).unwrap();
        // The commands of docs/OPERATIONS.md.
        sh(
            &place,
            &format!(
                "tar -xf {}
                 openssl rsautl -decrypt -inkey {}/updates.pem -in debug.key.enc -out debug.key 2>/dev/null
                 openssl enc -d -aes-256-cbc -md sha256 -pbkdf2 -pass file:debug.key -in debug.tar.gz.enc -out debug.tar.gz
                 openssl enc -d -aes-256-cbc -md sha256 -pbkdf2 -pass file:debug.key -in logs.tar.gz.enc -out logs.tar.gz
                 mkdir debug logs; tar -xzf debug.tar.gz -C debug; tar -xzf logs.tar.gz -C logs
                 cd debug; sha256sum -c manifest.txt",
                bundle.display(),
                vendor_keys().display()
            ),
        );
        assert_eq!(appliance.read("out/debug/debug-1.log"), "Running: echo one two\none two\nExit status: 0\n");
        assert!(appliance.read("out/debug/debug-2.log").contains("Not run: this would need a shell"));
        assert_eq!(appliance.read("out/debug/debug-3.log"), "Running: uname\nLinux\nExit status: 0\n");
        assert!(appliance.read("out/debug/debug-4.log").ends_with("Exit status: 1\n"));
        check_no_canary(&sh(&place, "find debug logs -type f -exec cat {} +"), &key);
        check_no_canary(&String::from_utf8_lossy(&fs::read(bundle).unwrap()), &key);
        let _ = fs::remove_dir_all(&place);
        assert_eq!(appliance.files("admin/lib/work"), [""; 0]);
    });
}

#[test]
fn without_a_key_there_is_no_debug_bundle() {
    under_each_shell(|appliance| {
        fs::remove_file(appliance.path("admin/etc/updates.pub")).unwrap();
        appliance.upload("debug-bundle.tar", "of another day");
        appliance.refuse("debug", "This appliance has no key to encrypt a debug bundle with");
        assert!(!appliance.exists("admin/home/sftp/uploads/debug-bundle.tar"));
    });
}

#[test]
fn services_are_read_from_init_scripts_and_openrc() {
    under_each_shell(|appliance| {
        appliance.write("etc/allservices.txt", "openssh\n# nothing\n\nstopped\nmissing\n-rf\nx;y\n");
        fs::remove_file(appliance.path("fakes/rc-service")).unwrap();
        appliance.hook("etc/init.d/openssh", "[ \"$1\" = status ]");
        appliance.hook("etc/init.d/stopped", "exit 3");
        let body =
            "{\"services\":[{\"openssh\":\"running\"},{\"stopped\":\"not running\"},{\"missing\":\"not running\"}]}\n";
        assert_eq!(appliance.succeed("services").stdout, body);
        appliance.hook("fakes/rc-service", "[ \"$1 $2\" = 'openssh status' ]");
        assert_eq!(appliance.succeed("services").stdout, body);
    });
}

#[test]
fn without_a_list_there_are_no_services_and_a_list_of_another_owner_is_refused() {
    under_each_shell(|appliance| {
        assert_eq!(appliance.succeed("services").stdout, "{\"services\":[]}\n");
        appliance.write("etc/allservices.txt", "openssh\n");
        appliance.chmod("etc/allservices.txt", 0o666);
        appliance.refuse("services", "Users other than root can change the list of services");
    });
}

#[test]
fn a_reboot_makes_the_system_backup_first() {
    under_each_shell(|appliance| {
        appliance.hook("admin/bin/system-backup.sh", "echo backup >>\"${0%/*}/../../record\"");
        appliance.succeed("reboot");
        assert_eq!(appliance.record(), "backup\nreboot\n");
    });
}

#[test]
fn a_reboot_that_would_lose_unsaved_data_does_not_happen() {
    under_each_shell(|appliance| {
        appliance.hook("admin/bin/system-backup.sh", "exit 1");
        appliance.refuse("reboot", "The system backup failed: not rebooting");
        assert_eq!(appliance.record(), "");
    });
}

#[test]
fn health_has_the_shape_of_the_document() {
    under_each_shell(|appliance| {
        let output = appliance.command(&appliance.path("admin/bin/minute.sh")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let health: serde_json::Value = serde_json::from_str(&appliance.read("admin/etc/health.json")).unwrap();
        for (part, name) in [("disk", "used"), ("disk", "total"), ("memory", "used"), ("memory", "total")] {
            let value = health[part][name].as_str().unwrap();
            let (number, unit) = value.split_at(value.len() - 1);
            assert!(number.parse::<f64>().unwrap() >= 0.0, "{health}");
            assert!("KMGT".contains(unit), "{health}");
        }
        assert!(health["disk"]["percentage"].as_u64().unwrap() <= 100, "{health}");
        assert!(health["memory"]["percentage"].as_u64().unwrap() <= 100, "{health}");
        assert!(health["cpu"]["num"].as_u64().unwrap() >= 1, "{health}");
        assert_eq!(health["cpu"]["load"].as_str().unwrap().split(", ").count(), 3, "{health}");
        assert!(health["cpu"]["cpu5min"].is_u64(), "{health}");
        let mut keys: Vec<_> = health.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["cpu", "disk", "memory"]);
        assert_eq!(appliance.mode("admin/etc/health.json"), 0o640);
    });
}

#[test]
fn the_machine_is_as_the_kernel_has_it() {
    under_each_shell(|appliance| {
        let minute = || {
            let output = appliance.command(&appliance.path("admin/bin/minute.sh")).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let metadata = fs::metadata(appliance.path("admin/etc/machine.json")).unwrap();
            let text = appliance.read("admin/etc/machine.json");
            (metadata.ino(), serde_json::from_str::<serde_json::Value>(&text).unwrap())
        };
        let (first, machine) = minute();
        let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(machine["hostname"], hostname.trim());
        assert!(machine["started"].as_str().unwrap().ends_with('Z'), "{machine}");
        let mut names: Vec<_> = machine["interfaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        let mut wanted: Vec<_> = fs::read_dir("/sys/class/net")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "lo" && name != "bonding_masters")
            .collect();
        wanted.sort();
        assert_eq!(names, wanted);
        assert_eq!(appliance.mode("admin/etc/machine.json"), 0o640);
        // A file that stays the same costs no write to the disk each minute.
        assert_eq!(minute().0, first);
    });
}

/// Unpacks the logs that were collected: their names, and all their text.
#[track_caller]
fn collected(appliance: &Appliance) -> (String, String) {
    appliance.succeed("logs");
    let place = appliance.path("out");
    drop(fs::remove_dir_all(&place));
    fs::create_dir(&place).unwrap();
    sh(&place, &format!("tar -xzf ../{LOGS}"));
    (appliance.files("out").join("\n"), sh(&place, "find . -type f -exec cat {} +"))
}

#[test]
fn every_entry_of_a_list_of_logs_counts_however_an_editor_leaves_it() {
    under_each_shell(|appliance| {
        for name in ["one.log", "two.log", "with space.log", "Gr\u{f6}\u{df}e.log", "deep/three.log"] {
            appliance.write(&format!("data/{name}"), "text\n");
        }
        let data = appliance.path("data").display().to_string();
        for list in [
            format!("{data}/one.log\n{data}/two.log"),
            format!("{data}/one.log\r\n{data}/two.log\r\n"),
            format!("  {data}/one.log   {data}/two.log"),
            format!("{data}/*.log\n"),
        ] {
            appliance.write("admin/etc/logs.txt", &list);
            let (names, _) = collected(appliance);
            assert!(names.contains("data/one.log") && names.contains("data/two.log"), "{list:?}: {names}");
        }
        appliance.write("admin/etc/logs.txt", format!("{data}/with space.log\n{data}/deep {data}/missing relative\n"));
        let (names, _) = collected(appliance);
        assert!(names.contains("data/with space.log") && names.contains("data/deep/three.log"), "{names}");
        let log = appliance.read("admin/log/update_logs.log");
        assert!(log.contains(&format!("Left out: {data}/missing: there is no such file\n")), "{log}");
        assert!(log.contains("Left out: relative: a path must begin with /\n"), "{log}");
    });
}

#[test]
fn a_link_or_pipe_in_the_place_of_a_log_is_neither_followed_nor_waited_for() {
    under_each_shell(|appliance| {
        appliance.write("data/log/good.log", "good\n");
        appliance.write("secret/shadow", "canary-shadow\n");
        appliance.write("admin/etc/api.tokens.json", "{\"tokens\":[]}");
        let admin = appliance.path("admin").display().to_string();
        sh(
            &appliance.path("data/log"),
            &format!(
                "mkfifo pipe.log; ln -s ../../secret link; ln -s ../../secret/shadow link.log
                 ln -s {admin}/etc/updates.key key.log; ln {admin}/etc/updates.key hard.log
                 mkdir theirs; ln ../../secret/shadow theirs/hard.log; chmod 600 ../../secret/shadow; ln -s loop loop"
            ),
        );
        let is_root = super::appliance::is_root();
        if is_root {
            sh(
                &appliance.path("data/log"),
                "mknod tty.log c 5 0; chown 12345:12345 theirs; chown -h 12345 link link.log",
            );
        }
        let log = appliance.path("data/log").display().to_string();
        // Listed as a directory, one by one, and by a pattern.
        for list in
            [log.clone(), format!("{log}/pipe.log {log}/good.log {log}/loop"), format!("{log}/*.log {log}/theirs/*")]
        {
            appliance.write("admin/etc/logs.txt", format!("{list}\n{admin}/etc\n{admin}/lib\n"));
            let (names, text) = collected(appliance);
            assert!(names.contains("data/log/good.log"), "{list}: {names}");
            for canary in ["canary-shadow", "a pass phrase of the image"] {
                assert!(!text.contains(canary) || !is_root && canary == "canary-shadow", "{list}: {text}");
            }
            assert!(!names.contains("pipe") && !names.contains("tty"), "{names}");
        }
        let said = appliance.read("admin/log/update_logs.log");
        assert!(said.contains("/pipe.log: it is not a regular file\n"), "{said}");
        assert!(said.contains("/updates.key: it is secret\n"), "{said}");
    });
}

/// What a list names is looked at and opened as one thing, whatever its owner does meanwhile.
#[test]
fn a_link_that_comes_and_goes_never_reveals_its_target() {
    let appliance = Appliance::new(Shell::Dash);
    appliance.write("secret", "canary-shadow\n");
    appliance.write("data/log/a.log", "good\n");
    appliance.write("data/log/sub/b.log", "good\n");
    appliance.write("admin/etc/logs.txt", format!("{}\n", appliance.path("data/log").display()));
    sh(&appliance.path("data/log"), "ln -s ../../secret link; ln -s ../.. up");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let path = |name: &str| appliance.path("data/log").join(name);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for (one, other) in [("a.log", "link"), ("sub", "up")] {
                    let _ = rustix::fs::renameat_with(
                        rustix::fs::CWD,
                        path(one),
                        rustix::fs::CWD,
                        path(other),
                        rustix::fs::RenameFlags::EXCHANGE,
                    );
                }
            }
        });
        for _ in 0..20 {
            let out = appliance.path("out");
            drop(fs::remove_dir_all(&out));
            fs::create_dir(&out).unwrap();
            let mut command = appliance.command(&appliance.path("fakes/jidoteki-admin-jobs"));
            let output = command.arg("collect").arg(&out).arg("no-audit").output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let text = sh(&out, "find . -type f -exec cat {} +");
            assert!(!text.contains("canary-shadow"), "{text}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn credentials_are_redacted_in_logs_and_the_audit_log_is_only_in_the_bundle() {
    under_each_shell(|appliance| {
        let verifier = "0123456789abcdef".repeat(4);
        appliance.write("admin/etc/api.token", "canary-token\n");
        appliance.write(
            "admin/etc/api.tokens.json",
            format!("{{\"tokens\":[{{\"name\":\"x\",\"scope\":\"read\",\"verifier\":\"{verifier}\"}}]}}"),
        );
        appliance.write("etc/storage.conf", "type=\"iscsi\"\nusername=\"canary-user\"\npassword=\"canary\\$(x)\"\n");
        appliance.write("admin/audit/audit.json", "canary-audit\n");
        appliance.write("admin/log/jidoteki-audit.log", "canary-audit\n");
        appliance.write("admin/log/jidoteki-audit.log.1", "canary-audit\n");
        appliance.write(
            "data/log/x.log",
            format!("a {verifier} b canary-user c canary$(x) d canary\\$(x) e canary%24%28x%29 f\n"),
        );
        let lists = ["data/log", "admin/audit", "admin/log"].map(|name| appliance.path(name).display().to_string());
        appliance.write("admin/etc/logs.txt", lists.join("\n"));
        let (_, text) = collected(appliance);
        assert!(text.contains("a [redacted] b [redacted] c [redacted] d [redacted] e [redacted] f\n"), "{text}");
        assert!(!text.contains("canary"), "{text}");

        appliance.write("admin/etc/debug.txt", "yes password=canary\n# comment\r\ncat /nowhere");
        appliance.succeed("debug");
        let place = appliance.path("bundle");
        fs::create_dir(&place).unwrap();
        sh(
            &place,
            &format!(
                "tar -xf ../admin/home/sftp/uploads/debug-bundle.tar
                 openssl pkeyutl -decrypt -inkey {}/updates.pem -in debug.key.enc -out debug.key
                 for name in logs debug; do
                     openssl enc -d -aes-256-cbc -md sha256 -pbkdf2 -pass file:debug.key -in $name.tar.gz.enc | tar -xz
                 done",
                vendor_keys().display()
            ),
        );
        let text = sh(&place, "cat .$(cd ..; pwd)/admin/audit/audit.json debug-2.log; head -n 2 debug-1.log");
        let expected = "canary-audit\nRunning: cat /nowhere\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("Running: yes password=[redacted]\npassword=[redacted]\n"), "{text}");
        let size = fs::metadata(place.join("debug-1.log")).unwrap().len();
        assert!((1 << 20..2 << 20).contains(&size), "a command without an end gave {size} bytes");
    });
}

#[test]
fn every_service_of_a_list_is_shown_and_a_script_of_the_image_says_how_it_is() {
    under_each_shell(|appliance| {
        appliance.hook("etc/init.d/one", "echo 'one is running'");
        appliance.hook("etc/init.d/two", "echo 'two is not running'");
        appliance.hook("etc/init.d/hangs", "sleep 1000");
        appliance.hook("fakes/rc-service", "[ \"$1\" = other ]");
        let body = "{\"services\":[{\"one\":\"running\"},{\"two\":\"not running\"},{\"jidoteki-admin-api\":\"running\"},\
                    {\"other\":\"running\"}]}\n";
        for list in [
            "one\ntwo\njidoteki-admin-api\nother",
            "one\r\ntwo\r\njidoteki-admin-api\r\nother\r\n",
            "\u{feff}  one two\tjidoteki-admin-api other",
        ] {
            appliance.write("etc/allservices.txt", list);
            assert_eq!(appliance.succeed("services").stdout, body, "{list:?}");
        }
        appliance.write("etc/allservices.txt", "hangs");
        assert_eq!(appliance.succeed("services").stdout, "{\"services\":[{\"hangs\":\"not running\"}]}\n");
    });
}
