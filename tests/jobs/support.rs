//! The jobs `logs`, `debug`, `services`, `reboot` and `health`.

use super::appliance::{Appliance, Shell, sh, under_each_shell, vendor_keys};

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
        std::fs::create_dir(&place).unwrap();
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
        std::fs::create_dir(&place).unwrap();
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
        check_no_canary(&String::from_utf8_lossy(&std::fs::read(bundle).unwrap()), &key);
        let _ = std::fs::remove_dir_all(&place);
        assert_eq!(appliance.files("admin/lib/work"), [""; 0]);
    });
}

#[test]
fn without_a_key_there_is_no_debug_bundle() {
    under_each_shell(|appliance| {
        std::fs::remove_file(appliance.path("admin/etc/updates.pub")).unwrap();
        appliance.upload("debug-bundle.tar", "of another day");
        appliance.refuse("debug", "This appliance has no key to encrypt a debug bundle with");
        assert!(!appliance.exists("admin/home/sftp/uploads/debug-bundle.tar"));
    });
}

#[test]
fn services_are_told_by_init_scripts_and_by_openrc() {
    under_each_shell(|appliance| {
        appliance.write("etc/allservices.txt", "openssh\n# nothing\n\nstopped\nmissing\n-rf\nx;y\n");
        std::fs::remove_file(appliance.path("fakes/rc-service")).unwrap();
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
fn services_without_a_list_are_none_and_a_list_of_others_is_refused() {
    under_each_shell(|appliance| {
        assert_eq!(appliance.succeed("services").stdout, "{\"services\":[]}\n");
        appliance.write("etc/allservices.txt", "openssh\n");
        appliance.chmod("etc/allservices.txt", 0o666);
        appliance.refuse("services", "The list of services can be changed by others than root");
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
fn a_reboot_that_would_lose_what_could_not_be_saved_does_not_happen() {
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
