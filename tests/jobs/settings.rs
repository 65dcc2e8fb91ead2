//! The job `settings`, and the confirmation of a change.

use super::appliance::{Appliance, Shell, eventually, under_each_shell};
use std::fs;

/// What the job derives of the two settings that it is sent here.
pub const DHCP: &str = "mode=dhcp\ninterface=eth0\nhostname=\"new.host\"\nntpserver=\"\"\n";
const STATIC: &str = "mode=static\ninterface=eth0\nip=192.0.2.7\nsubnet=255.255.255.0\nrouter=192.0.2.1\n\
                      dns=\"192.0.2.2 192.0.2.3\"\nhostname=\"new.host\"\nntpserver=\"ntp.example\"\n";
pub const DHCP_JSON: &str = r#"{"mode":"dhcp","interface":"eth0","hostname":"new.host"}"#;
const STATIC_JSON: &str = r#"{"mode":"static","interface":"eth0","hostname":"new.host","ip_address":"192.0.2.7","netmask":"255.255.255.0","gateway":"192.0.2.1","dns1":"192.0.2.2","dns2":"192.0.2.3","ntpserver":"ntp.example"}"#;

/// The image's own network.sh: writes down what it is told.
const NETWORK: &str =
    "printf '%s %s\\n' \"$1\" \"$(grep -c . \"$JIDO_ETC_PATH/network.conf\")\" >>\"$JIDO_ETC_PATH/told\"";

/// As the executable hands settings over, but for network.conf: that one is of somebody who would like to be root.
pub fn upload(appliance: &Appliance, network: &str) {
    appliance.upload("app.json", "{\"name\":\"new\"}");
    appliance.upload("network.json", network);
    appliance.upload("network.conf", "mode=dhcp\ninterface=eth0\nrouter=\"\tup id >/root/x\"\nip=$(id >/root/x)\n");
}

pub fn in_force(appliance: &Appliance) -> [Option<String>; 3] {
    ["admin/etc/app.json", "admin/etc/network.json", "etc/network.conf"].map(|name| appliance.maybe(name))
}

pub fn old_settings(appliance: &Appliance) -> [Option<String>; 3] {
    appliance.write("admin/etc/app.json", "{\"name\":\"old\"}");
    appliance.write("admin/etc/network.json", "{\"mode\":\"old\"}");
    appliance.write("etc/network.conf", "mode=static\ninterface=eth0\n");
    in_force(appliance)
}

#[track_caller]
fn check_nothing_open(appliance: &Appliance) {
    let mut files = appliance.files("admin/lib");
    // Where something has applied the settings, the job has written what the machine is like now.
    files.retain(|name| name != "health.guard");
    assert_eq!(files, ["settings.guard", "work.guard", "work/"], "{}", appliance.describe());
    assert!(!appliance.exists("admin/etc/pending_settings.txt"));
}

#[test]
fn settings_take_effect_and_the_image_is_notified() {
    for (mode, json, conf) in [("dhcp", DHCP_JSON, DHCP), ("static", STATIC_JSON, STATIC)] {
        under_each_shell(|appliance| {
            appliance.hook("admin/bin/network.sh", NETWORK);
            upload(appliance, json);
            appliance.succeed(&format!("settings {mode}"));
            assert_eq!(
                in_force(appliance),
                [Some("{\"name\":\"new\"}\n".to_owned()), Some(format!("{json}\n")), Some(conf.to_owned())]
            );
            assert_eq!(appliance.files("admin/home/sftp/uploads"), [".settings.lock"]);
            assert_eq!(appliance.read("etc/told"), format!("{mode} {}\n", conf.lines().count()));
            assert_eq!(appliance.mode("etc/network.conf"), 0o644);
            assert_eq!(appliance.mode("admin/etc/app.json"), 0o640);
            assert_eq!(appliance.read("admin/etc/status_settings.txt"), "success\n");
            assert!(
                appliance
                    .read("admin/log/update_settings.log")
                    .ends_with("] Updating settings successful\n".trim_start_matches(']'))
            );
            check_nothing_open(appliance);
        });
    }
}

#[test]
fn a_script_of_the_image_can_say_how_far_it_is() {
    under_each_shell(|appliance| {
        let script =
            "echo '50 Waiting for an address' >\"$JIDO_PROGRESS\"; cp \"$JIDO_PROGRESS\" \"$JIDO_ETC_PATH/seen\"";
        appliance.hook(
            "admin/bin/network.sh",
            &format!("{script}; [ \"$JIDO_PROGRESS\" = \"$JIDO_ADMIN_PATH/progress/settings\" ]"),
        );
        upload(appliance, DHCP_JSON);
        appliance.succeed("settings dhcp");
        assert_eq!(appliance.read("etc/seen"), "50 Waiting for an address\n");
        assert_eq!(appliance.files("admin/progress"), [""; 0]);
    });
}

#[test]
fn settings_that_cannot_be_applied_are_rolled_back_and_the_network_too() {
    under_each_shell(|appliance| {
        let before = old_settings(appliance);
        appliance.hook("admin/bin/network.sh", &format!("{NETWORK}; [ \"$1\" = static ]"));
        upload(appliance, DHCP_JSON);
        appliance.refuse("settings dhcp", "The network settings could not be applied");
        assert_eq!(in_force(appliance), before);
        assert_eq!(appliance.read("etc/told"), "dhcp 4\nstatic 2\n");
        assert_eq!(appliance.read("admin/etc/status_settings.txt"), "failed\n");
        check_nothing_open(appliance);
    });
}

#[test]
fn missing_or_mismatched_settings_are_refused() {
    under_each_shell(|appliance| {
        appliance.refuse("settings dhcp", "Missing network settings");
        upload(appliance, STATIC_JSON);
        appliance.refuse("settings dhcp", "The network settings are not dhcp");
        upload(appliance, DHCP_JSON);
        fs::remove_file(appliance.path("admin/home/sftp/uploads/network.json")).unwrap();
        appliance.refuse("settings dhcp", "Missing network settings");
        assert_eq!(in_force(appliance), [None, None, None]);
        for seconds in ["9", "3601", "99999", "", "1e3", "-60", "60 # x"] {
            upload(appliance, DHCP_JSON);
            appliance.upload("settings.confirm", seconds);
            appliance.refuse("settings dhcp", "The time to confirm must be 10 to 3600 seconds");
        }
        check_nothing_open(appliance);
    });
}

fn change_with_confirmation(appliance: &Appliance, seconds: &str) {
    appliance.hook("admin/bin/network.sh", NETWORK);
    upload(appliance, DHCP_JSON);
    appliance.upload("settings.confirm", format!("{seconds}\n"));
    appliance.succeed("settings dhcp");
    assert_eq!(appliance.read("etc/network.conf"), DHCP);
}

/// The same, where none waits yet.
pub fn put_on_trial(appliance: &Appliance) {
    if !appliance.exists("admin/etc/pending_settings.txt") {
        change_with_confirmation(appliance, "3600");
    }
}

/// The deadline of the pending change, moved to where a test needs it.
pub fn set_pending(appliance: &Appliance, boot_id: &str, seconds_left: i64) {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let now: i64 = uptime.split('.').next().unwrap().parse().unwrap();
    appliance.write("admin/etc/pending_settings.txt", format!("boot_id={boot_id}\ndeadline={}\n", now + seconds_left));
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned()
}

#[test]
fn a_confirmed_change_stays() {
    under_each_shell(|appliance| {
        old_settings(appliance);
        change_with_confirmation(appliance, "3600");
        let recover = appliance.path("admin/bin/recover.sh");
        eventually("the timer is told", || {
            appliance.record().contains(&format!("setsid {} --after 3600\n", recover.display()))
        });
        let pending = appliance.read("admin/etc/pending_settings.txt");
        assert!(pending.starts_with(&format!("boot_id={}\ndeadline=", boot_id())), "{pending}");
        assert_eq!(appliance.mode("admin/etc/pending_settings.txt"), 0o640);
        // Neither the minute nor anybody else takes it back while there is time.
        appliance.recover();
        assert_eq!(appliance.read("etc/network.conf"), DHCP);
        appliance.succeed("settings confirm");
        check_nothing_open(appliance);
        appliance.recover();
        assert_eq!(appliance.read("etc/network.conf"), DHCP);
        appliance.refuse("settings confirm", "No change of settings is waiting for confirmation");
    });
}

#[test]
fn a_change_is_rolled_back_at_once_and_stays_pending_until_the_network_is_notified() {
    under_each_shell(|appliance| {
        let before = old_settings(appliance);
        appliance.refuse("settings undo", "No change of settings is waiting for confirmation");
        change_with_confirmation(appliance, "3600");
        let look = "cat \"$JIDO_ADMIN_PATH/etc/pending_settings.txt\" \"$JIDO_ADMIN_PATH/etc/status_settings.txt\"";
        appliance.hook("admin/bin/network.sh", &format!("{NETWORK}; {look} >\"$JIDO_ETC_PATH/seen\""));
        appliance.succeed("settings undo");
        assert_eq!(appliance.read("etc/seen"), format!("boot_id={}\ndeadline=0\nuntil=0\nrunning\n", boot_id()));
        assert_eq!(in_force(appliance), before);
        assert_eq!(appliance.read("etc/told"), "dhcp 4\nstatic 2\n");
        assert_eq!(appliance.read("admin/etc/status_settings.txt"), "success\n");
        assert!(!appliance.exists("admin/etc/status_error_settings.txt"));
        check_nothing_open(appliance);
        appliance.refuse("settings undo", "No change of settings is waiting for confirmation");
        appliance.refuse("settings confirm", "No change of settings is waiting for confirmation");
    });
}

#[test]
fn a_change_that_cannot_be_rolled_back_at_once_is_by_the_next_minute() {
    under_each_shell(|appliance| {
        let before = old_settings(appliance);
        change_with_confirmation(appliance, "3600");
        appliance.hook("admin/bin/network.sh", "exit 1");
        appliance.refuse("settings undo", "The previous settings cannot be restored now");
        assert!(appliance.exists("admin/etc/pending_settings.txt"), "nobody may take the values for those in force");
        appliance.refuse("settings confirm", "No change of settings is waiting for confirmation");
        appliance.hook("admin/bin/network.sh", NETWORK);
        appliance.recover();
        assert_eq!(in_force(appliance), before);
        check_nothing_open(appliance);
    });
}

#[test]
fn an_unconfirmed_change_is_rolled_back_in_time() {
    let appliance = Appliance::new(Shell::Dash);
    let before = old_settings(&appliance);
    appliance.let_timers_run();
    change_with_confirmation(&appliance, "10");
    eventually("the settings return", || in_force(&appliance) == before);
    eventually("the network is told", || appliance.read("etc/told") == "dhcp 4\nstatic 2\n");
    eventually("nothing is open", || !appliance.exists("admin/etc/pending_settings.txt"));
    eventually("the status is told", || appliance.read("admin/etc/status_settings.txt") == "failed\n");
    appliance.refuse("settings confirm", "No change of settings is waiting for confirmation");
}

#[test]
fn an_expired_change_is_rolled_back_within_a_minute_and_cannot_be_confirmed() {
    under_each_shell(|appliance| {
        let before = old_settings(appliance);
        change_with_confirmation(appliance, "3600");
        set_pending(appliance, &boot_id(), -1);
        appliance.refuse("settings confirm", "No change of settings is waiting for confirmation");
        // It is pending until the network is told, and the last settings are not called a success until then.
        let look =
            "[ -f \"$JIDO_ADMIN_PATH/etc/pending_settings.txt\" ] && cat \"$JIDO_ADMIN_PATH/etc/status_settings.txt\"";
        appliance.hook("admin/bin/network.sh", &format!("{NETWORK}; {look} >\"$JIDO_ETC_PATH/pending\""));
        appliance.recover();
        assert_eq!(appliance.read("etc/pending"), "failed\n");
        assert_eq!(in_force(appliance), before);
        assert_eq!(appliance.read("etc/told"), "dhcp 4\nstatic 2\n");
        check_nothing_open(appliance);
    });
}

#[test]
fn a_reboot_rolls_an_unconfirmed_change_back() {
    under_each_shell(|appliance| {
        let before = old_settings(appliance);
        change_with_confirmation(appliance, "3600");
        set_pending(appliance, "another-boot", 1000);
        appliance.recover();
        assert_eq!(in_force(appliance), before);
        check_nothing_open(appliance);
    });
}

#[test]
fn the_first_settings_ever_are_rolled_back_to_none() {
    under_each_shell(|appliance| {
        change_with_confirmation(appliance, "60");
        set_pending(appliance, "another-boot", 1000);
        appliance.hook("admin/bin/network.sh", "echo \"$1\" >>\"$JIDO_ETC_PATH/told\"");
        appliance.recover();
        assert_eq!(in_force(appliance), [None, None, None]);
        assert_eq!(appliance.read("etc/told"), "dhcp 4\nnone\n");
        check_nothing_open(appliance);
    });
}

#[test]
fn a_second_change_is_refused_while_one_waits() {
    under_each_shell(|appliance| {
        old_settings(appliance);
        change_with_confirmation(appliance, "3600");
        upload(appliance, STATIC_JSON);
        appliance.refuse("settings static", "A change of settings is waiting for confirmation");
        assert_eq!(appliance.read("etc/network.conf"), DHCP);
        appliance.succeed("settings confirm");
        assert_eq!(appliance.read("etc/network.conf"), DHCP);
        upload(appliance, STATIC_JSON);
        appliance.succeed("settings static");
        assert_eq!(appliance.read("etc/network.conf"), STATIC);
    });
}

#[test]
fn settings_that_no_adapter_applies_are_stored_and_not_called_a_success() {
    for hook in [None, Some("exit 3")] {
        under_each_shell(|appliance| {
            if let Some(hook) = hook {
                appliance.hook("admin/bin/network.sh", hook);
            }
            upload(appliance, DHCP_JSON);
            appliance.succeed("settings dhcp");
            assert_eq!(appliance.read("admin/etc/status_settings.txt"), "stored\n");
            assert_eq!(appliance.read("etc/network.conf"), DHCP);
            let log = appliance.read("admin/log/update_settings.log");
            assert!(log.contains("The settings are stored.") && !log.contains("successful"), "{log}");
            check_nothing_open(appliance);
        });
    }
}

#[test]
fn the_reason_of_a_failure_can_be_read() {
    under_each_shell(|appliance| {
        appliance.hook(
            "admin/bin/network.sh",
            "[ \"$1\" = none ] || { echo 'Reason: There is no interface eth7'; exit 1; }",
        );
        upload(appliance, DHCP_JSON);
        let reason = "The network settings could not be applied: There is no interface eth7";
        appliance.refuse("settings dhcp", reason);
        assert_eq!(appliance.read("admin/etc/status_error_settings.txt"), format!("{reason}\n"));
        assert_eq!(appliance.read("admin/etc/status_settings.txt"), "failed\n");
        assert_eq!(in_force(appliance), [None, None, None]);
        appliance.hook("admin/bin/network.sh", NETWORK);
        upload(appliance, DHCP_JSON);
        appliance.succeed("settings dhcp");
        assert!(!appliance.exists("admin/etc/status_error_settings.txt"));
    });
}
