//! The job `storage`.

use super::appliance::{Appliance, under_each_shell};
use std::net::TcpListener;

fn upload(appliance: &Appliance, conf: &str) {
    appliance.upload("storage.json", format!("{{\"storage\":{{\"n\":{}}}}}", conf.len()));
    appliance.upload("storage.conf", conf);
}

const LOCAL: &str = "type=\"local\"\n";

#[test]
fn settings_are_put_in_force_privately_and_undone() {
    under_each_shell(|appliance| {
        let secret =
            "type=\"iscsi\"\ntarget=\"iqn.x:y\"\nip=\"127.0.0.1\"\nusername=\"user\"\npassword='a$(b)`c`\\d'\\''e'\n";
        appliance.hook("admin/bin/storage.sh", "cat \"$JIDO_ETC_PATH/storage.conf\" >>\"$JIDO_ETC_PATH/told\"");
        upload(appliance, LOCAL);
        appliance.succeed("storage");
        upload(appliance, secret);
        appliance.succeed("storage");
        assert_eq!(appliance.read("etc/storage.conf"), secret);
        assert_eq!(appliance.mode("etc/storage.conf"), 0o600);
        assert_eq!(appliance.mode("admin/etc/storage.json"), 0o640);
        assert_eq!(appliance.read("etc/told"), format!("{LOCAL}{secret}"));
        assert_eq!(appliance.read("admin/etc/status_storage.txt"), "success\n");
        let log = appliance.read("admin/log/update_storage.log");
        assert!(!log.contains("a$(b)"), "a secret in the log: {log}");
        appliance.succeed("storage undo");
        assert_eq!(appliance.read("etc/storage.conf"), LOCAL);
        assert_eq!(appliance.read("admin/etc/storage.json"), "{\"storage\":{\"n\":13}}");
        appliance.succeed("storage undo");
        assert_eq!(appliance.read("etc/storage.conf"), secret);
    });
}

#[test]
fn settings_that_the_image_refuses_are_taken_back() {
    under_each_shell(|appliance| {
        upload(appliance, LOCAL);
        appliance.succeed("storage");
        appliance.hook("admin/bin/storage.sh", "! grep -q nfs \"$JIDO_ETC_PATH/storage.conf\"");
        upload(appliance, "type=\"nfs\"\nip=\"127.0.0.1\"\n");
        appliance.refuse("storage", "The storage settings could not be applied");
        assert_eq!(appliance.read("etc/storage.conf"), LOCAL);
        assert_eq!(appliance.read("admin/etc/storage.json"), "{\"storage\":{\"n\":13}}");
        assert_eq!(appliance.read("admin/etc/status_storage.txt"), "failed\n");
    });
}

#[test]
fn what_is_missing_or_would_run_is_refused() {
    under_each_shell(|appliance| {
        appliance.refuse("storage", "Missing storage settings");
        appliance.refuse("storage undo", "There is no change of storage to undo");
        upload(appliance, "type=\"iscsi\"\npassword=\"$(reboot)\"\n");
        appliance.refuse("storage", "The storage settings are not plain assignments");
        assert!(!appliance.exists("etc/storage.conf"));
    });
}

#[test]
fn the_log_says_whether_the_server_is_there_before_anything_changes() {
    under_each_shell(|appliance| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let conf = format!("type=\"nbd\"\nexport_name=\"x\"\nip=\"127.0.0.1\"\nport=\"{port}\"\n");
        upload(appliance, &conf);
        let server = std::thread::spawn(move || drop(listener.accept()));
        appliance.succeed("storage");
        server.join().unwrap();
        let log = appliance.read("admin/log/update_storage.log");
        assert!(log.contains(&format!("Preflight: the server answers at 127.0.0.1 port {port}\n")), "{log}");
        // Nobody listens there now.
        upload(appliance, &conf);
        appliance.succeed("storage");
        let log = appliance.read("admin/log/update_storage.log");
        assert!(log.contains(&format!("Preflight: the server does not answer at 127.0.0.1 port {port}\n")), "{log}");
    });
}
