//! `wrapper.sh`: the list of what there is, and how it becomes root.

use super::appliance::{Appliance, Shell, is_root, must, sh, under_each_shell};
use std::process::Command;

#[test]
fn commands_outside_the_list_are_refused() {
    for (command, arguments) in [
        ("", &[][..]),
        ("shutdown", &[]),
        ("settings", &[]),
        ("settings", &["static; reboot"]),
        ("settings static dhcp", &[]),
        ("settings", &["recover"]),
        ("backup", &["start"]),
        ("update", &["x"]),
        ("../jobs/token", &[]),
        ("jobs/token", &[]),
        ("health", &[]),
        ("token\nupdate", &[]),
        ("services", &["-x"]),
    ] {
        under_each_shell(|appliance| {
            let output = appliance
                .command(&appliance.path("admin/bin/wrapper.sh"))
                .args(arguments)
                .env("SSH_ORIGINAL_COMMAND", command)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(1), "{command} {arguments:?}: {output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "wrapper.sh: unknown job\n", "{command} {arguments:?}");
        });
    }
}

#[test]
fn two_arguments_are_one_too_many() {
    under_each_shell(|appliance| {
        let output = appliance
            .command(&appliance.path("admin/bin/wrapper.sh"))
            .args(["static", "dhcp"])
            .env("SSH_ORIGINAL_COMMAND", "settings")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "wrapper.sh: more than one argument\n");
    });
}

#[test]
fn the_ancestors_form_with_the_argument_in_the_command_is_understood() {
    under_each_shell(|appliance| {
        let output = appliance
            .command(&appliance.path("admin/bin/wrapper.sh"))
            .env("SSH_ORIGINAL_COMMAND", "backup STOP")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(appliance.read("admin/log/update_backup.log").contains("Deleting backup archive"));
    });
}

#[test]
fn without_root_it_asks_sudo_for_exactly_one_command() {
    if !is_root() {
        return;
    }
    for (command, argument, asked) in
        [("settings", Some("dhcp"), "settings dhcp"), ("token", None, "token"), ("backup", Some("UNDO"), "backup UNDO")]
    {
        let appliance = Appliance::new(Shell::Dash);
        sh(&appliance.root, "touch record; chmod 666 record; chmod 755 . admin admin/bin");
        // The job itself would need root: what counts is what sudo is asked.
        appliance.hook("fakes/sudo", "printf 'sudo %s\\n' \"$*\" >>\"${0%/*}/../record\"");
        must(
            appliance
                .command("/usr/bin/setpriv".as_ref())
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(appliance.path("admin/bin/wrapper.sh"))
                .args(argument)
                .env("SSH_ORIGINAL_COMMAND", command),
        );
        let jobs = appliance.path("admin/bin/jobs");
        assert_eq!(appliance.record(), format!("sudo -n -- {}/{asked}\n", jobs.display()));
    }
}

#[test]
fn every_script_is_clean_for_shellcheck() {
    let output = Command::new("shellcheck")
        .arg("-x")
        .args(["cgi-bin/wrapper.sh", "cgi-bin/license.sh", "cgi-bin/network.sh", "cgi-bin/web-server.sh"])
        .args(["cgi-bin/recover.sh", "cgi-bin/minute.sh", "docs/build-update.sh"])
        .args(["tests/jobs/fakes/record", "tests/jobs/fakes/sudo", "tests/jobs/fakes/fault"])
        .args(glob("cgi-bin/jobs"))
        .args(glob("cgi-bin/lib"))
        .current_dir(super::appliance::repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn glob(directory: &str) -> Vec<String> {
    std::fs::read_dir(super::appliance::repository().join(directory))
        .unwrap()
        .map(|entry| format!("{directory}/{}", entry.unwrap().file_name().to_string_lossy()))
        .collect()
}
