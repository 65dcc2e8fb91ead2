//! The job `update`, and the script with which a vendor builds a package.

use super::appliance::{Appliance, Shell, sh, under_each_shell, vendor_keys};
use std::fs;
use std::process::Command;

const UPDATE: &str = "#!/bin/sh\necho applied >>\"$JIDO_ETC_PATH/applied\"\n";

/// A package as a vendor would build it, by the script that vendors have.
pub struct Package {
    files: Vec<(&'static str, String)>,
    signature_key: &'static str,
    pass: &'static str,
    derivation: &'static str,
}

impl Package {
    pub fn new(version: &str) -> Package {
        Package {
            files: vec![
                ("version.txt", format!("{version}\n")),
                ("changelog.txt", format!("# Changelog of {version}\n")),
                ("update.sh", UPDATE.to_owned()),
            ],
            signature_key: "updates.pem",
            pass: "a pass phrase of the image\n",
            derivation: "-md sha256 -pbkdf2",
        }
    }

    pub fn with(mut self, name: &'static str, content: &str) -> Package {
        self = self.without(name);
        self.files.push((name, content.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Package {
        self.files.retain(|(file, _)| *file != name);
        self
    }

    pub fn signed_by(mut self, key: &'static str) -> Package {
        self.signature_key = key;
        self
    }

    pub fn encrypted_with(mut self, pass: &'static str) -> Package {
        self.pass = pass;
        self
    }

    /// As OpenSSL did it before it had a derivation that takes time.
    pub fn encrypted_weakly(mut self) -> Package {
        self.derivation = "-md md5";
        self
    }

    /// Builds it step by step, so that a test can do something else in between.
    pub fn build(&self, appliance: &Appliance, between: &str) -> Vec<u8> {
        let place = appliance.path("vendor");
        let _ = fs::remove_dir_all(&place);
        for (name, content) in &self.files {
            appliance.write(&format!("vendor/content/{name}"), content);
        }
        appliance.write("vendor/pass", self.pass);
        sh(
            &place,
            &format!(
                "umask 022; mkdir -p content; tar -czf software_package.tar.gz -C content .
                 openssl dgst -sha256 -sign {}/{} -out software_package.tar.gz.sign software_package.tar.gz
                 {between}
                 tar -cf package.tar software_package.tar.gz software_package.*sign
                 openssl enc -aes-256-cbc {} -pass file:pass -in package.tar -out package.enc 2>/dev/null",
                vendor_keys().display(),
                self.signature_key,
                self.derivation
            ),
        );
        let bytes = fs::read(place.join("package.enc")).unwrap();
        fs::remove_dir_all(&place).unwrap();
        bytes
    }

    pub fn upload(&self, appliance: &Appliance) {
        appliance.upload("software_package-zzz.enc", self.build(appliance, ""));
    }
}

pub fn status(appliance: &Appliance) -> String {
    let json: serde_json::Value = serde_json::from_str(&appliance.read("admin/etc/status_update.json")).unwrap();
    let word = appliance.read("admin/etc/status_update.txt");
    assert_eq!(json["status"].as_str().unwrap(), word.trim_end());
    json.to_string()
}

#[track_caller]
fn check_refused(appliance: &Appliance, code: &str, message: &str, percentage: u8) {
    appliance.refuse("update", message);
    assert_eq!(appliance.read("admin/etc/status_error_code.txt"), format!("{code}\n"));
    assert_eq!(appliance.read("admin/etc/status_error_message.txt"), format!("{message}\n"));
    let status = status(appliance);
    assert!(status.contains(&format!("\"percentage\":{percentage}")), "{status}");
    assert!(status.contains("\"status\":\"failed\""), "{status}");
    assert_eq!(appliance.maybe("etc/applied"), None, "its script has run\n{}", appliance.describe());
    assert_eq!(appliance.maybe("admin/etc/version.txt").as_deref(), Some("1.0.0\n"), "the version has changed");
    assert_eq!(appliance.files("admin/lib/work"), [""; 0], "something was left");
    assert!(!appliance.exists("admin/home/sftp/uploads/software_package-zzz.enc"));
}

fn appliance_at_1_0_0(shell: Shell) -> Appliance {
    let appliance = Appliance::new(shell);
    appliance.write("admin/etc/version.txt", "1.0.0\n");
    appliance
}

#[track_caller]
fn refused(package: &Package, code: &str, message: &str, percentage: u8) {
    for shell in super::appliance::SHELLS {
        let appliance = appliance_at_1_0_0(shell);
        package.upload(&appliance);
        check_refused(&appliance, code, message, percentage);
    }
}

#[test]
fn a_valid_package_is_applied_and_changes_version_and_changelog() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        appliance.write("admin/etc/status_error_code.txt", "E1005\n");
        appliance.write("admin/etc/status_error_message.txt", "of another day\n");
        Package::new("1.0.10").upload(appliance);
        appliance.succeed("update");
        assert_eq!(
            status(appliance),
            r#"{"percentage":100,"status":"success","version-after":"1.0.10","version-before":"1.0.0"}"#
        );
        assert_eq!(appliance.read("admin/etc/version.txt"), "1.0.10\n");
        assert_eq!(appliance.read("admin/etc/changelog.txt"), "# Changelog of 1.0.10\n");
        assert_eq!(appliance.read("etc/applied"), "applied\n");
        assert_eq!(appliance.maybe("admin/etc/status_error_code.txt"), None);
        assert_eq!(appliance.maybe("admin/etc/status_error_message.txt"), None);
        let log = appliance.read("admin/log/update.log");
        assert!(log.contains("][SYSTEM] Updating system. Please wait..\n"), "{log}");
        assert!(log.ends_with("][SYSTEM] Updating system successful\n"), "{log}");
        assert_eq!(appliance.files("admin/lib/work"), [""; 0]);
    });
}

/// Runs the job `inspect` for an upload with this content.
fn inspect(appliance: &Appliance, package: &[u8]) -> super::appliance::Outcome {
    const ID: &str = "8a1c6f0b2d3e4f508a1c6f0b2d3e4f50";
    appliance.upload(&format!(".resumable/{ID}"), package);
    appliance.upload("inspect.upload", ID);
    appliance.run("inspect")
}

#[test]
fn a_package_is_inspected_without_installing_it() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        let package = Package::new("1.0.1").with("changelog.txt", "1.0.1: \"quotes\"\n").build(appliance, "");
        let wanted = "{\"version\":\"1.0.1\",\"version-before\":\"1.0.0\",\"signature\":\"valid\",\
                      \"changelog\":\"1.0.1: \\\"quotes\\\"\\n\"}\n";
        // As often as somebody asks: the upload stays.
        for _ in 0..2 {
            let run = inspect(appliance, &package);
            assert_eq!((run.code, run.stdout.as_str()), (Some(0), wanted), "{}", appliance.describe());
        }
        let upload = "admin/home/sftp/uploads/.resumable/8a1c6f0b2d3e4f508a1c6f0b2d3e4f50";
        assert_eq!(fs::read(appliance.path(upload)).unwrap(), package);
        assert_eq!(appliance.maybe("etc/applied"), None);
        assert_eq!(appliance.read("admin/etc/version.txt"), "1.0.0\n");
        assert!(!appliance.exists("admin/etc/status_update.txt"));
        assert_eq!(appliance.files("admin/lib/work"), [""; 0], "something was left");
    });
}

#[test]
fn a_package_that_would_be_refused_is_refused_by_its_inspection_for_the_same_reason() {
    for (package, message) in [
        (Package::new("1.0.0"), "Software update package v1.0.0 already up-to-date"),
        (Package::new("0.9"), "Software update package v0.9 is too old"),
        (Package::new("1.0.1").without("update.sh"), "No update script in the package"),
        (Package::new("1.0.1").signed_by("other.pem"), "Error verifying software update package signature"),
        (Package::new("1.0.1").encrypted_with("another pass phrase\n"), "Error decrypting software update package"),
    ] {
        under_each_shell(|appliance| {
            appliance.write("admin/etc/version.txt", "1.0.0\n");
            let bytes = package.build(appliance, "");
            let run = inspect(appliance, &bytes);
            assert_ne!(run.code, Some(0));
            assert!(run.stdout.contains(&format!("Reason: {message}")), "{message}: {}", run.stdout);
            assert_eq!(appliance.files("admin/lib/work"), [""; 0], "something was left");
        });
    }
}

#[test]
fn nothing_but_an_upload_is_inspected() {
    under_each_shell(|appliance| {
        // A valid package, so that it would be noticed.
        appliance.write("secret", Package::new("1.0.1").build(appliance, ""));
        let folder = appliance.path("admin/home/sftp/uploads/.resumable");
        fs::create_dir_all(&folder).unwrap();
        let id = "8a1c6f0b2d3e4f508a1c6f0b2d3e4f50";
        for plant in [
            "ln -s ../../../../../secret ID",
            "mkfifo ID",
            "mkdir ID",
            ":",
            "cd ..; rm -r .resumable; ln -s ../../../.. .resumable; cp ../../../../secret ../../../../ID",
        ] {
            sh(&folder, &plant.replace("ID", id));
            appliance.upload("inspect.upload", id);
            appliance.refuse("inspect", "Error decrypting software update package");
            sh(&appliance.path("admin/home/sftp/uploads"), "rm -rf .resumable; mkdir .resumable");
        }
        for id in ["../../../../../../secret", "", "8a1c6f0b2d3e4f508a1c6f0b2d3e4f5", "-"] {
            appliance.upload("inspect.upload", id);
            appliance.refuse("inspect", "Error decrypting software update package");
        }
        appliance.refuse("inspect", "Missing upload");
    });
}

#[test]
fn the_first_package_needs_no_version_before_it() {
    under_each_shell(|appliance| {
        Package::new("0.1").upload(appliance);
        appliance.succeed("update");
        assert_eq!(status(appliance), r#"{"percentage":100,"status":"success","version-after":"0.1"}"#);
    });
}

#[test]
fn a_missing_package_is_e1003() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        check_refused(appliance, "E1003", "Missing update package", 0);
    });
}

#[test]
fn an_old_package_is_e1001() {
    for (version, message) in [
        ("0.9.9", "Software update package v0.9.9 is too old"),
        ("1.0.0", "Software update package v1.0.0 already up-to-date"),
        ("1.0.0\" }", "Software update package has no version"),
    ] {
        refused(&Package::new(version), "E1001", message, 60);
    }
}

#[test]
fn a_package_without_a_version_may_not_go_back_unless_it_says_so() {
    refused(&Package::new("").without("version.txt"), "E1001", "Software update package has no version", 60);
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        Package::new("0.9.9").with("update.conf", "allow-downgrade=yes\n").upload(appliance);
        appliance.succeed("update");
        assert_eq!(appliance.read("admin/etc/version.txt"), "0.9.9\n");
    });
}

#[test]
fn an_appliance_that_lost_its_version_still_knows_the_version_of_the_last_update() {
    for lost in ["", "what is this?\n"] {
        under_each_shell(|appliance| {
            Package::new("2.0.0").upload(appliance);
            appliance.succeed("update");
            appliance.write("admin/etc/version.txt", lost);
            Package::new("1.9.9").upload(appliance);
            appliance.refuse("update", "Software update package v1.9.9 is too old");
            Package::new("2.0.1").upload(appliance);
            appliance.succeed("update");
            assert_eq!(
                status(appliance),
                r#"{"percentage":100,"status":"success","version-after":"2.0.1","version-before":"2.0.0"}"#
            );
        });
    }
}

#[test]
fn a_package_encrypted_with_another_key_is_e1005() {
    refused(
        &Package::new("1.0.1").encrypted_with("another pass phrase\n"),
        "E1005",
        "Error decrypting software update package",
        10,
    );
}

#[test]
fn a_package_whose_key_was_derived_weakly_is_e1005() {
    let reason = "Error decrypting software update package: its encryption is no longer supported";
    refused(&Package::new("1.0.1").encrypted_weakly(), "E1005", reason, 10);
}

#[test]
fn a_package_signed_with_another_key_is_e1005_and_nothing_of_it_is_unpacked() {
    refused(
        &Package::new("1.0.1").signed_by("other.pem"),
        "E1005",
        "Error verifying software update package signature",
        40,
    );
}

#[test]
fn a_package_that_differs_from_the_signed_one_is_e1005() {
    let verifying = "Error verifying software update package signature";
    for (between, message, percentage) in [
        // Something appended, something changed, something that only begins with what was signed.
        ("printf x >>software_package.tar.gz", verifying, 40),
        ("printf evil | dd of=software_package.tar.gz bs=1 seek=30 conv=notrunc 2>/dev/null", verifying, 40),
        ("head -c 100 software_package.tar.gz >x; mv x software_package.tar.gz", verifying, 40),
        ("rm software_package.tar.gz.sign; : >software_package.x.sign", verifying, 30),
        // Links and directories by the name of a member are no bytes.
        (
            "rm software_package.tar.gz; ln -s /etc/passwd software_package.tar.gz",
            "Error extracting software update package",
            30,
        ),
        ("rm software_package.tar.gz; mkdir software_package.tar.gz", "Error extracting software update package", 30),
    ] {
        for shell in super::appliance::SHELLS {
            let appliance = appliance_at_1_0_0(shell);
            let package = Package::new("1.0.1").build(&appliance, between);
            appliance.upload("software_package-zzz.enc", package);
            check_refused(&appliance, "E1005", message, percentage);
        }
    }
}

#[test]
fn bytes_that_are_no_package_are_e1005() {
    for (bytes, code, message) in [
        (&b"x"[..], "E1005", "Error decrypting software update package"),
        (b"Salted__12345678 and so on and on", "E1005", "Error decrypting software update package"),
        (b"", "E1003", "The update package is empty"),
    ] {
        for shell in super::appliance::SHELLS {
            let appliance = appliance_at_1_0_0(shell);
            appliance.upload("software_package-zzz.enc", bytes);
            check_refused(&appliance, code, message, if bytes.is_empty() { 0 } else { 10 });
        }
    }
}

#[test]
fn the_ancestors_other_name_of_the_signature_is_known() {
    under_each_shell(|appliance| {
        let package = Package::new("1.0.1").build(appliance, "mv software_package.tar.gz.sign software_package.sign");
        appliance.upload("software_package-zzz.enc", package);
        appliance.succeed("update");
    });
}

#[test]
fn a_package_without_a_script_is_an_error_and_not_a_success() {
    refused(&Package::new("1.0.1").without("update.sh"), "E1002", "No update script in the package", 60);
}

#[test]
fn a_package_that_was_damaged_before_it_was_signed_is_e1005() {
    let archive = "software_package.tar.gz";
    for damage in [
        // The sum at the end of the file.
        format!("head -c -8 {archive} >x; mv x {archive}"),
        format!("head -c -8 {archive} >x; printf '\\0\\1\\2\\3' >>x; tail -c 4 {archive} >>x; mv x {archive}"),
    ] {
        for shell in super::appliance::SHELLS {
            let appliance = appliance_at_1_0_0(shell);
            let sign = format!("openssl dgst -sha256 -sign {}/updates.pem", vendor_keys().display());
            let between = format!("{damage}; {sign} -out {archive}.sign {archive}");
            appliance.upload("software_package-zzz.enc", Package::new("1.0.1").build(&appliance, &between));
            check_refused(&appliance, "E1005", "Error extracting software update package: it is damaged", 50);
        }
    }
}

#[test]
fn a_script_may_remove_its_package() {
    for removal in ["rm -rf \"$JIDO_PACKAGE_PATH\"", "rm version.txt changelog.txt"] {
        under_each_shell(|appliance| {
            appliance.write("admin/etc/version.txt", "1.0.0\n");
            Package::new("1.0.1").with("update.sh", &format!("#!/bin/sh\n{removal}\n")).upload(appliance);
            appliance.succeed("update");
            assert_eq!(appliance.read("admin/etc/version.txt"), "1.0.1\n", "{removal}");
            assert_eq!(appliance.read("admin/etc/changelog.txt"), "# Changelog of 1.0.1\n", "{removal}");
        });
    }
}

#[test]
fn an_inspection_shows_the_beginning_of_a_long_changelog() {
    let appliance = appliance_at_1_0_0(Shell::Dash);
    let changelog = "x".repeat(5 << 20);
    let run = inspect(&appliance, &Package::new("1.0.1").with("changelog.txt", &changelog).build(&appliance, ""));
    let wanted = format!("\"changelog\":\"{}\"}}\n", &changelog[..64 << 10]);
    assert!(run.stdout.ends_with(&wanted), "{} bytes: {:?}", run.stdout.len(), run.code);
}

#[test]
fn a_failing_script_is_e1002_and_its_rollback_runs() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        Package::new("1.0.1")
            .with("update.sh", "#!/bin/sh\nexit 3\n")
            .with("rollback.sh", "#!/bin/sh\necho \"$JIDO_REASON $JIDO_VERSION_BEFORE\" >\"$JIDO_ETC_PATH/rolled\"\n")
            .upload(appliance);
        check_refused(appliance, "E1002", "Error running update", 70);
        assert_eq!(appliance.read("etc/rolled"), "E1002 1.0.0\n");
    });
}

#[test]
fn an_update_that_lacked_only_its_final_status_is_not_rolled_back() {
    for last in ["/etc/changelog.txt", "/etc/version.txt", "/lib/update.version"] {
        under_each_shell(|appliance| {
            appliance.write("admin/etc/version.txt", "1.0.0\n");
            appliance.write("admin/etc/changelog.txt", "old\n");
            Package::new("1.0.1")
                .with("changelog.txt", "new\n")
                .with("update.sh", "#!/bin/sh\n: >\"$JIDO_ETC_PATH/applied\"\n")
                .with("rollback.sh", "#!/bin/sh\n: >\"$JIDO_ETC_PATH/rolled\"\n")
                .upload(appliance);
            // It is killed right after it has put this one in force.
            let kill = format!(
                "PATH=${{PATH#*:}}; mv \"$@\"; case \"$*\" in *{last}) [ ! -e \"$JIDO_ETC_PATH/applied\" ] || kill -9 $PPID ;; esac"
            );
            appliance.hook("fakes/mv", &kill);
            assert_ne!(appliance.run("update").code, Some(0), "{last}: {}", appliance.describe());
            fs::remove_file(appliance.path("fakes/mv")).unwrap();
            appliance.recover();
            assert!(!appliance.exists("etc/rolled"), "{last}: {}", appliance.describe());
            assert_eq!(
                appliance.read("admin/etc/version.txt") + &appliance.read("admin/etc/changelog.txt"),
                "1.0.1\nnew\n"
            );
            assert_eq!(
                status(appliance),
                r#"{"percentage":100,"status":"success","version-after":"1.0.1","version-before":"1.0.0"}"#
            );
            assert_eq!(appliance.files("admin/lib/work"), [""; 0]);
            assert!(!appliance.exists("admin/lib/update.installed"));
        });
    }
}

#[test]
fn a_rollback_that_fails_is_tried_again_and_not_for_ever() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        Package::new("1.0.1")
            .with("update.sh", "#!/bin/sh\nexit 3\n")
            .with("rollback.sh", "#!/bin/sh\necho tried >>\"$JIDO_ETC_PATH/rolled\"; [ -e \"$JIDO_ETC_PATH/room\" ]\n")
            .upload(appliance);
        appliance.refuse("update", "Error running update");
        appliance.recover();
        assert_eq!(appliance.read("etc/rolled"), "tried\ntried\n");
        assert!(appliance.exists("admin/lib/update.undo/package"), "{}", appliance.describe());
        // What went wrong is told as it was.
        assert_eq!(appliance.read("admin/etc/status_error_code.txt"), "E1002\n");
        assert_eq!(
            status(appliance),
            r#"{"percentage":70,"status":"failed","version-after":"1.0.1","version-before":"1.0.0"}"#
        );
        appliance.write("etc/room", "");
        appliance.recover();
        appliance.recover();
        assert_eq!(appliance.read("etc/rolled"), "tried\ntried\ntried\n");
        assert_eq!(appliance.files("admin/lib/work"), [""; 0]);
        assert!(!appliance.exists("admin/lib/update.undo"), "{}", appliance.describe());
        // One that never succeeds.
        fs::remove_file(appliance.path("etc/room")).unwrap();
        fs::remove_file(appliance.path("etc/rolled")).unwrap();
        Package::new("1.0.1")
            .with("update.sh", "#!/bin/sh\nexit 3\n")
            .with("rollback.sh", "#!/bin/sh\necho tried >>\"$JIDO_ETC_PATH/rolled\"; exit 1\n")
            .upload(appliance);
        appliance.refuse("update", "Error running update");
        for _ in 0..8 {
            appliance.recover();
        }
        assert_eq!(appliance.read("etc/rolled"), "tried\n".repeat(5));
        assert_eq!(appliance.files("admin/lib/work"), [""; 0]);
        assert!(!appliance.exists("admin/lib/update.undo"), "{}", appliance.describe());
    });
}

#[test]
fn a_script_may_name_its_own_error_as_the_ancestors_do() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        let script = "#!/bin/sh\ncd \"$JIDO_ADMIN_PATH/etc\"\necho 'Wrong \"base\" system' >status_error_message.txt\n\
                      echo E1001 >status_error_code.txt\nexit 1\n";
        Package::new("1.0.1").with("update.sh", script).upload(appliance);
        check_refused(appliance, "E1001", "Wrong base system", 70);
    });
}

#[test]
fn a_script_that_takes_too_long_is_ended_with_its_children() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        Package::new("1.0.1")
            .with("update.sh", "#!/bin/sh\nsleep 1000\n")
            .with("update.conf", "time-limit=1\n")
            .upload(appliance);
        check_refused(appliance, "E1002", "The update took longer than 1 seconds", 70);
        super::appliance::eventually("nothing that the package started runs", || !has_process_of(appliance));
    });
}

/// Whether anything with the environment of the package's scripts still runs. A zombie has no environment any more.
fn has_process_of(appliance: &Appliance) -> bool {
    let own = format!("JIDO_PACKAGE_PATH={}", appliance.path("admin/lib/update.undo/package").display());
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let mut environments = processes.filter_map(|process| fs::read(process.join("environ")).ok());
    environments.any(|environment| environment.split(|byte| *byte == 0).any(|variable| variable == own.as_bytes()))
}

#[test]
fn a_time_limit_must_be_a_number_and_has_a_limit_itself() {
    for (limit, message) in [
        ("soon", "The time limit of the package is not a number of seconds"),
        ("86401", "The time limit of the package is longer than 86400 seconds"),
    ] {
        let package = Package::new("1.0.1").with("update.conf", &format!("time-limit={limit}\n"));
        refused(&package, "E1002", message, 60);
    }
}

#[test]
fn the_script_gets_the_documented_environment_and_nothing_else() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        Package::new("1.0.1")
            .with("update.sh", "#!/bin/dash\nexec >\"$JIDO_ETC_PATH/given\"\nenv | grep -v ^OLDPWD= | sort\npwd\nfor fd in 7 8 9; do [ ! -e /proc/$$/fd/$fd ] || echo open; done\n")
            .upload(appliance);
        appliance.succeed("update");
        let package = appliance.path("admin/lib/update.undo/package");
        assert_eq!(
            appliance.read("etc/given"),
            format!(
                "HOME=/root\nJIDO_ADMIN_PATH={}\nJIDO_ETC_PATH={}\nJIDO_PACKAGE_PATH={}\nJIDO_PROGRESS={}\nJIDO_REASON=apply\n\
                 JIDO_VERSION_AFTER=1.0.1\nJIDO_VERSION_BEFORE=1.0.0\nLC_ALL=C\nPATH={}\nPWD={}\n{}\n",
                appliance.path("admin").display(),
                appliance.path("etc").display(),
                package.display(),
                appliance.path("admin/progress/update").display(),
                appliance.search_path(),
                package.display(),
                package.display(),
            )
        );
    });
}

#[test]
fn scripts_say_how_far_they_are_where_the_executable_reads_it() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        let look = "cat \"$JIDO_ADMIN_PATH/progress/update\"; stat -c %a \"$JIDO_ADMIN_PATH/progress/update\"";
        let package = || {
            Package::new("1.0.1").with(
                "rollback.sh",
                "#!/bin/sh\ncat \"$JIDO_PROGRESS\" >\"$JIDO_ETC_PATH/rolled\"; echo 5 Back >\"$JIDO_PROGRESS\"\n",
            )
        };
        let script =
            format!("#!/bin/sh\necho '40 Copying files' >\"$JIDO_PROGRESS\"; ({look}) >\"$JIDO_ETC_PATH/seen\"");
        package().with("update.sh", &format!("{script}; exit 1\n")).upload(appliance);
        appliance.refuse("update", "Error running update");
        assert_eq!(appliance.read("etc/seen"), "40 Copying files\n640\n");
        assert_eq!(appliance.read("etc/rolled"), "", "what the script said is no progress of the rollback");
        assert_eq!(appliance.files("admin/progress"), [""; 0]);
        // Something else in its place blocks nothing, and is not followed.
        for replace in ["mkfifo \"$JIDO_PROGRESS\"", "ln -s \"$JIDO_ETC_PATH/seen\" \"$JIDO_PROGRESS\""] {
            let script = format!("#!/bin/sh\nrm \"$JIDO_PROGRESS\"; {replace}\n");
            appliance.write("admin/etc/version.txt", "1.0.0\n");
            package().with("update.sh", &script).upload(appliance);
            appliance.succeed("update");
            assert_eq!(appliance.read("etc/seen"), "40 Copying files\n640\n");
        }
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        // Where it cannot be written it is said to nobody.
        fs::remove_dir(appliance.path("admin/progress")).unwrap();
        package().with("update.sh", "#!/bin/sh\necho 40 >\"$JIDO_PROGRESS\"\n").upload(appliance);
        appliance.succeed("update");
        assert!(!appliance.exists("admin/progress"));
    });
}

#[test]
fn a_daemon_started_by_the_script_does_not_hold_the_lock() {
    under_each_shell(|appliance| {
        fs::remove_file(appliance.path("fakes/setsid")).unwrap();
        let script = "#!/bin/sh\nsetsid sleep 30 >/dev/null 2>&1 &\necho $! >\"$JIDO_ETC_PATH/daemon\"\n";
        Package::new("1.0.1").with("update.sh", script).upload(appliance);
        appliance.succeed("update");
        // Would panic if the lock were taken.
        appliance.refuse("update", "Missing update package");
        let daemon = appliance.read("etc/daemon");
        let _ = Command::new("kill").arg(daemon.trim()).status();
    });
}

#[test]
fn a_package_may_not_unpack_outside_its_directory() {
    let below_a_link = "ln -s \"$(cd ..; pwd)/etc\" content/out; tar -cf x.tar -C content .; rm content/out
         mkdir content/out; echo evil >content/out/evil; tar -rf x.tar -C content ./out/evil; gzip -c x.tar >software_package.tar.gz";
    let pack = "tar -czf software_package.tar.gz -C content .";
    for (make, fault) in [
        (format!("cp /bin/true content/x; chmod 4755 content/x; {pack}"), "a member is setuid"),
        (
            "echo evil >evil; tar -czPf software_package.tar.gz -C content . -C .. \"$PWD/evil\"".to_owned(),
            "a member has an absolute path or one with ..",
        ),
        (below_a_link.to_owned(), ""),
    ] {
        for shell in super::appliance::SHELLS {
            let appliance = appliance_at_1_0_0(shell);
            let between = format!(
                "{make}
                 openssl dgst -sha256 -sign {}/updates.pem -out software_package.tar.gz.sign software_package.tar.gz",
                vendor_keys().display()
            );
            let package = Package::new("1.0.1").build(&appliance, &between);
            appliance.upload("software_package-zzz.enc", package);
            if fault.is_empty() {
                let outcome = appliance.run("update");
                assert!(!appliance.exists("etc/evil"), "{outcome:?} {}", appliance.describe());
                assert_ne!(outcome.code, Some(0), "{}", appliance.describe());
            } else {
                check_refused(&appliance, "E1005", &format!("Error extracting software update package: {fault}"), 50);
            }
        }
    }
}

#[test]
fn keys_that_other_users_can_change_are_ignored() {
    for name in ["updates.pub", "updates.key"] {
        let appliance = appliance_at_1_0_0(Shell::Dash);
        Package::new("1.0.1").upload(&appliance);
        appliance.chmod(&format!("admin/etc/{name}"), 0o666);
        let outcome = appliance.run("update");
        assert!(outcome.stdout.starts_with("Reason: This appliance has no key for"), "{outcome:?}");
        assert_eq!(appliance.read("admin/etc/status_error_code.txt"), "E1005\n");
    }
}

/// Whether a process runs. A dead one keeps its number until its new parent, which is not ours, asks for it.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_signal_ends_the_update_and_its_script_and_rolls_back() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        Package::new("1.0.1")
            .with("update.sh", "#!/bin/sh\necho $$ >\"$JIDO_ETC_PATH/running\"\nexec sleep 1000\n")
            .with("rollback.sh", "#!/bin/sh\necho \"$JIDO_REASON\" >\"$JIDO_ETC_PATH/rolled\"\n")
            .upload(appliance);
        let job = appliance.start("update");
        super::appliance::eventually("the script runs", || {
            appliance.maybe("etc/running").is_some_and(|pid| pid.ends_with('\n'))
        });
        sh(&appliance.root, &format!("kill -TERM {}", job.id()));
        let outcome = super::appliance::wait(job, "update");
        assert_eq!(outcome.stdout, "Reason: Interrupted\n");
        assert_eq!(appliance.read("etc/rolled"), "E1000\n");
        let script = appliance.read("etc/running");
        assert!(!runs(script.trim()), "the script still runs");
    });
}

#[test]
fn an_update_that_was_cut_off_is_rolled_back_at_the_next_boot() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        Package::new("1.0.1")
            .with("update.sh", "#!/bin/sh\necho $$ >\"$JIDO_ETC_PATH/running\"\nexec sleep 1000\n")
            .with("rollback.sh", "#!/bin/sh\necho \"$JIDO_REASON $JIDO_VERSION_AFTER\" >\"$JIDO_ETC_PATH/rolled\"\n")
            .upload(appliance);
        let job = appliance.start("update");
        super::appliance::eventually("the script runs", || {
            appliance.maybe("etc/running").is_some_and(|pid| pid.ends_with('\n'))
        });
        sh(&appliance.root, &format!("kill -KILL {}", job.id()));
        super::appliance::wait(job, "update");
        appliance.recover();
        assert_eq!(appliance.read("etc/rolled"), "interrupted 1.0.1\n");
        assert_eq!(appliance.read("admin/etc/status_error_code.txt"), "E1000\n");
        assert_eq!(appliance.read("admin/etc/status_error_message.txt"), "The update was interrupted\n");
        let script = appliance.read("etc/running");
        assert!(!runs(script.trim()), "the script still runs");
        // Once is enough.
        fs::remove_file(appliance.path("etc/rolled")).unwrap();
        appliance.recover();
        assert!(!appliance.exists("etc/rolled"));
    });
}

/// Runs the script with which a vendor builds `vendor/content` into `vendor/x.enc`; what it says on standard error.
fn build_as_a_vendor(appliance: &Appliance) -> Result<String, String> {
    let script = super::appliance::repository().join("docs/build-update.sh");
    let output = Command::new(script)
        .arg("--key")
        .arg(vendor_keys().join("updates.pem"))
        .arg("--pass")
        .arg(appliance.path("admin/etc/updates.key"))
        .args(["--out", "x.enc", "--program", env!("CARGO_BIN_EXE_jidoteki-admin-jobs"), "content"])
        .current_dir(appliance.path("vendor"))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn the_vendors_script_builds_a_package_that_works() {
    under_each_shell(|appliance| {
        appliance.write("vendor/content/version.txt", "2.0.0\n");
        appliance.write("vendor/content/update.sh", UPDATE);
        let said = build_as_a_vendor(appliance).unwrap();
        assert!(said.starts_with("x.enc: version 2.0.0, "), "{said}");
        appliance.upload("software_package-zzz.enc", fs::read(appliance.path("vendor/x.enc")).unwrap());
        appliance.succeed("update");
        assert_eq!(appliance.read("admin/etc/version.txt"), "2.0.0\n");
    });
}

/// One judge: what the vendor's script builds is installed, and what it refuses is refused in the same words.
#[test]
fn the_vendors_script_refuses_exactly_the_packages_that_an_appliance_refuses() {
    const VERSION: &str = "echo 1.0.1 >version.txt";
    for (content, refusal) in [
        (VERSION, None),
        ("printf '1.0.1\\r\\n' >version.txt; mkdir Gr\u{f6}\u{df}e", None),
        ("echo 0.1 >version.txt; echo allow-downgrade=yes >update.conf", None),
        // A virtual environment of Python has absolute links, and people name files as they like.
        ("echo 1.0.1 >version.txt; mkdir -p venv/bin; ln -s /usr/bin/python3 venv/bin/python3; ln -s ../../x up", None),
        (
            "echo 1.0.1 >version.txt; echo x >'a -> b'; echo y >'c link to d'; ln 'a -> b' hard; ln -s 'a -> b' soft",
            None,
        ),
        (
            "echo 1.0.1 >version.txt; cp /bin/true helper; chmod 4755 helper",
            Some(("E1005", "Error extracting software update package: a member is setuid")),
        ),
        (
            "echo 1.0.1 >version.txt; ln -s a update; mkdir b; rm update.sh; ln -s /bin/true update.sh",
            Some(("E1002", "No update script in the package")),
        ),
        (":", Some(("E1001", "Software update package has no version"))),
        ("echo 1 0 >version.txt", Some(("E1001", "Software update package has no version"))),
        (
            "echo 1.0.1 >version.txt; printf '#!/bin/sh\\r\\necho hello\\r\\n' >update.sh",
            Some(("E1002", "update.sh has Windows line endings (CRLF): save it with LF")),
        ),
        // Root would show what they lead to.
        ("ln -s /etc/hostname version.txt", Some(("E1002", "version.txt is not a regular file"))),
        (
            "echo 1.0.1 >version.txt; ln -s /etc/shadow changelog.txt",
            Some(("E1002", "changelog.txt is not a regular file")),
        ),
        ("echo 1.0.1 >version.txt; ln -s missing update.conf", Some(("E1002", "update.conf is not a regular file"))),
        ("echo 1.0.1 >version.txt; mkdir rollback.sh", Some(("E1002", "rollback.sh is not a regular file"))),
        ("echo 1.0.1 >version.txt; rm update.sh", Some(("E1002", "No update script in the package"))),
        (
            "echo 1.0.1 >version.txt; echo time-limit=1h >update.conf",
            Some(("E1002", "The time limit of the package is not a number of seconds")),
        ),
    ] {
        let appliance = appliance_at_1_0_0(Shell::Dash);
        appliance.write("vendor/content/update.sh", UPDATE);
        sh(&appliance.path("vendor/content"), content);
        let built = build_as_a_vendor(&appliance);
        match refusal {
            None => drop(built.unwrap_or_else(|said| panic!("{content}: {said}"))),
            Some((code, reason)) => {
                // Before it, a line of the judge's own names the file.
                let why = reason.rsplit_once("package: ").map_or(reason, |(_, why)| why);
                let said = format!("build-update.sh: an appliance would refuse this package: {why} ({code})\n");
                assert!(built.clone().is_err_and(|built| built.ends_with(&said)), "{content}: {built:?}");
                assert!(!appliance.exists("vendor/x.enc"));
            }
        }
        // The same files by the steps of docs/OPERATIONS.md, without the script.
        sh(
            &appliance.path("vendor"),
            &format!(
                "umask 022; tar -czf software_package.tar.gz -C content .
                 openssl dgst -sha256 -sign {}/updates.pem -out software_package.tar.gz.sign software_package.tar.gz
                 tar -cf package.tar software_package.tar.gz software_package.tar.gz.sign
                 openssl enc -aes-256-cbc -md sha256 -pbkdf2 -pass file:../admin/etc/updates.key -in package.tar \
                     -out ../admin/home/sftp/uploads/software_package-zzz.enc",
                vendor_keys().display()
            ),
        );
        match refusal {
            None => drop(appliance.succeed("update")),
            Some((_, reason)) => appliance.refuse("update", reason),
        }
    }
}

#[test]
fn the_vendors_script_names_missing_programs() {
    let appliance = Appliance::new(Shell::Dash);
    appliance.write("vendor/content/update.sh", UPDATE);
    let script = super::appliance::repository().join("docs/build-update.sh");
    let output = Command::new(script)
        .args(["--key", "k", "--pass", "p", "--out", "x.enc", "--program", "/nowhere/program", "content"])
        .current_dir(appliance.path("vendor"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "build-update.sh: /nowhere/program is needed, to judge the package as an appliance will: put it into PATH, or name it \
         with --program\n"
    );
}

#[test]
fn versions_are_compared_by_number_and_not_by_letter() {
    for (before, version, accepted) in
        [("1.0.9", "1.0.10", true), ("1.0.10", "1.0.9", false), ("1.9", "1.10", true), ("v2.0.0", "v1.12.0", false)]
    {
        let appliance = Appliance::new(Shell::Busybox);
        appliance.write("admin/etc/version.txt", format!("{before}\n"));
        Package::new(version).upload(&appliance);
        let outcome = appliance.run("update");
        assert_eq!(outcome.code == Some(0), accepted, "{before} -> {version}: {outcome:?}");
    }
}

/// Encrypted as the tools of the ancestor's days did.
fn encrypted_the_old_way(appliance: &Appliance, options: &str) -> Vec<u8> {
    let again = format!(
        "tar -cf package.tar software_package.tar.gz software_package.*sign
         openssl enc -aes-256-cbc {options} -pass file:pass -in package.tar -out ../old.enc 2>/dev/null"
    );
    Package::new("1.0.1").build(appliance, &again);
    fs::read(appliance.path("old.enc")).unwrap()
}

#[test]
fn packages_of_the_old_format_are_read_only_where_root_allows_them() {
    for options in ["-md md5", "-md sha256"] {
        for shell in super::appliance::SHELLS {
            let appliance = appliance_at_1_0_0(shell);
            let package = encrypted_the_old_way(&appliance, options);
            let reason = "Error decrypting software update package: its encryption is no longer supported";
            for (config, mode) in [(None, 0), (Some("{}"), 0o644), (Some("{\"update-ciphers\":\"legacy\"}"), 0o666)] {
                if let Some(config) = config {
                    appliance.write("etc/jidoteki-admin-api.json", config);
                    appliance.chmod("etc/jidoteki-admin-api.json", mode);
                }
                appliance.upload("software_package-zzz.enc", &package);
                check_refused(&appliance, "E1005", reason, 10);
            }
            appliance.chmod("etc/jidoteki-admin-api.json", 0o644);
            appliance.upload("software_package-zzz.enc", &package);
            appliance.succeed("update");
            assert_eq!(appliance.read("admin/etc/version.txt"), "1.0.1\n");
            // What is made today is read as well, and the signature decides in each case.
            Package::new("1.0.2").upload(&appliance);
            appliance.succeed("update");
            fs::copy(vendor_keys().join("updates.pub"), appliance.path("admin/etc/updates.pub")).unwrap();
            appliance.upload("software_package-zzz.enc", &package);
            sh(
                &appliance.root,
                &format!("openssl pkey -in {}/other.pem -pubout -out admin/etc/updates.pub", vendor_keys().display()),
            );
            appliance.refuse("update", "Error verifying software update package signature");
        }
    }
}

#[test]
fn a_package_that_came_by_sftp_is_installed_the_newest_first() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        appliance.upload("software_package-1.0.9.enc", "not this one");
        let package = Package::new("1.0.10").build(appliance, "");
        appliance.upload("software_package-1.0.10.enc", package);
        appliance.upload("notes of somebody.txt", "kept");
        appliance.succeed("update");
        assert_eq!(appliance.read("admin/etc/version.txt"), "1.0.10\n");
        let left = |appliance: &Appliance| {
            let mut left = appliance.files("admin/home/sftp/uploads");
            left.retain(|name| !name.ends_with(".lock"));
            left
        };
        assert_eq!(left(appliance), ["notes of somebody.txt", "software_package-1.0.9.enc"]);
        // Nor is anything swept away that belongs to somebody else than requests do, whatever it is called.
        appliance.upload("software_package-zzz.enc", "of a request");
        appliance.upload("backup-archive.tar", "of an SFTP user");
        if super::appliance::is_root() {
            sh(&appliance.path("admin/home/sftp/uploads"), "touch .backup.lock; chown 12345 backup-archive.tar");
        }
        for _ in 0..2 {
            // As if a minute went by.
            sh(&appliance.root, "sed -i 's/^[0-9]*/0/' admin/lib/left.* 2>/dev/null || :");
            appliance.recover();
        }
        let kept: &[&str] = match super::appliance::is_root() {
            true => &["backup-archive.tar", "notes of somebody.txt", "software_package-1.0.9.enc"],
            false => &["notes of somebody.txt", "software_package-1.0.9.enc"],
        };
        assert_eq!(left(appliance), kept);
    });
}

#[test]
fn a_script_that_was_saved_on_windows_is_named() {
    refused(
        &Package::new("1.0.1").with("update.sh", "#!/bin/sh\r\necho hello\r\n"),
        "E1002",
        "update.sh has Windows line endings (CRLF): save it with LF",
        60,
    );
}

#[test]
fn a_file_system_mounted_noexec_is_named() {
    if !super::appliance::is_root() {
        return;
    }
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "1.0.0\n");
        Package::new("1.0.1").upload(appliance);
        let outcome = appliance.run_with_mount("update", "admin/lib", "noexec,mode=700");
        let reason = "The admin path is on a file system that is mounted noexec: update.sh cannot run";
        assert_eq!(outcome.stdout, format!("Reason: {reason}\n"), "{}", appliance.describe());
        assert_eq!(appliance.read("admin/etc/status_error_code.txt"), "E1002\n");
        assert_eq!(appliance.maybe("etc/applied"), None);
    });
}

#[test]
fn a_release_is_newer_than_its_candidate() {
    under_each_shell(|appliance| {
        appliance.write("admin/etc/version.txt", "2.0.0-rc.1\n");
        Package::new("2.0.0").upload(appliance);
        appliance.succeed("update");
        Package::new("2.0.0-rc.2").upload(appliance);
        appliance.refuse("update", "Software update package v2.0.0-rc.2 is too old");
    });
}
