//! The job `storage`.

use super::appliance::{Appliance, under_each_shell};
use std::net::TcpListener;

pub const LOCAL: &str = r#"{"type":"local"}"#;
pub const AOE: &str = r#"{"type":"aoe","device":"e0.1"}"#;
const LOCAL_CONF: &str = "type=\"local\"\n";

/// As the executable hands settings over, but for storage.conf: that one is of somebody who would like to be root.
pub fn upload(appliance: &Appliance, storage: &str) {
    appliance.upload("storage.json", format!("{{\"storage\":{storage}}}"));
    appliance.upload("storage.conf", "type=\"local\"\npassword=\"$(id >/root/x)\"\nx='\n'; id >/root/x\n");
}

/// Settings that are in force, on an appliance that offers every type.
pub fn old_settings(appliance: &Appliance) {
    appliance.write("etc/storage-options.json", r#"{"options":["local","nfs","aoe","iscsi","nbd"]}"#);
    appliance.write("admin/etc/storage.json", "{}");
    appliance.write("etc/storage.conf", LOCAL_CONF);
}

#[test]
fn settings_are_put_in_force_privately_and_undone() {
    under_each_shell(|appliance| {
        let secret =
            r#"{"type":"iscsi","target":"iqn.x:y","ip":"127.0.0.1","username":"user","password":"a$(b)`c`\\d'\\''e"}"#;
        let conf = "type=\"iscsi\"\ntarget=\"iqn.x:y\"\nip=\"127.0.0.1\"\nusername=\"user\"\n\
                    password=\"a\\$(b)\\`c\\`\\\\d'\\\\''e\"\n";
        old_settings(appliance);
        appliance.hook("admin/bin/storage.sh", "cat \"$JIDO_ETC_PATH/storage.conf\" >>\"$JIDO_ETC_PATH/told\"");
        upload(appliance, LOCAL);
        appliance.succeed("storage");
        upload(appliance, secret);
        appliance.succeed("storage");
        assert_eq!(appliance.read("etc/storage.conf"), conf);
        assert_eq!(appliance.mode("etc/storage.conf"), 0o600);
        assert_eq!(appliance.mode("admin/etc/storage.json"), 0o640);
        assert_eq!(appliance.read("etc/told"), format!("{LOCAL_CONF}{conf}"));
        assert_eq!(appliance.read("admin/etc/status_storage.txt"), "success\n");
        let log = appliance.read("admin/log/update_storage.log");
        assert!(!log.contains("a$(b)"), "a secret in the log: {log}");
        appliance.succeed("storage undo");
        assert_eq!(appliance.read("etc/storage.conf"), LOCAL_CONF);
        assert_eq!(appliance.read("admin/etc/storage.json"), format!("{{\"storage\":{LOCAL}}}\n"));
        appliance.succeed("storage undo");
        assert_eq!(appliance.read("etc/storage.conf"), conf);
    });
}

#[test]
fn settings_that_the_image_refuses_are_rolled_back() {
    under_each_shell(|appliance| {
        old_settings(appliance);
        upload(appliance, LOCAL);
        appliance.succeed("storage");
        appliance.hook("admin/bin/storage.sh", "! grep -q aoe \"$JIDO_ETC_PATH/storage.conf\"");
        upload(appliance, AOE);
        appliance.refuse("storage", "The storage settings could not be applied");
        assert_eq!(appliance.read("etc/storage.conf"), LOCAL_CONF);
        assert_eq!(appliance.read("admin/etc/storage.json"), format!("{{\"storage\":{LOCAL}}}\n"));
        assert_eq!(appliance.read("admin/etc/status_storage.txt"), "failed\n");
    });
}

#[test]
fn missing_storage_settings_and_unknown_types_are_refused() {
    under_each_shell(|appliance| {
        appliance.refuse("storage", "Missing storage settings");
        appliance.refuse("storage undo", "There is no storage change to roll back");
        // The file of types is root's, and the web side's word for them is not asked.
        upload(appliance, AOE);
        appliance.refuse("storage", "Invalid option: type. Allowed: local");
        assert!(!appliance.exists("etc/storage.conf"));
    });
}

#[test]
fn the_log_says_whether_the_server_is_there_before_anything_changes() {
    under_each_shell(|appliance| {
        old_settings(appliance);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let storage = format!(r#"{{"type":"nbd","export_name":"the/export","ip":"127.0.0.1","port":{port}}}"#);
        upload(appliance, &storage);
        let server = std::thread::spawn(move || drop(listener.accept()));
        appliance.succeed("storage");
        server.join().unwrap();
        let log = appliance.read("admin/log/update_storage.log");
        assert!(log.contains(&format!("Preflight: the server answers at 127.0.0.1 port {port}\n")), "{log}");
        // Nobody listens there now.
        upload(appliance, &storage);
        appliance.succeed("storage");
        let log = appliance.read("admin/log/update_storage.log");
        assert!(log.contains(&format!("Preflight: the server does not answer at 127.0.0.1 port {port}\n")), "{log}");
    });
}
