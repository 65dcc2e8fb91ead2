//! Files of the appliance that jobs, vendors and people write: whatever is in them, every answer is well-formed, and a
//! configuration never lets in who showed nothing. The first byte says which file it is.

#![no_main]

use jidoteki_admin_api_fuzz::Machine;
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

thread_local! {
    static MACHINE: RefCell<Machine> = RefCell::new(Machine::new());
}

/// A file, and what shows it.
const FILES: [(&str, &[&str]); 25] = [
    ("usr/jidoteki-admin-api.json", &["version", "endpoints", "storage", "setup", "reboot"]),
    ("admin/etc/api.token", &["version"]),
    ("admin/etc/api.token.setup", &["version"]),
    ("admin/etc/api.tokens.json", &["version", "storage"]),
    ("admin/etc/version.txt", &["version"]),
    ("admin/etc/changelog.txt", &["changelog"]),
    ("admin/etc/health.json", &["health"]),
    ("usr/build.json", &["build"]),
    ("usr/storage-options.json", &["storage"]),
    ("admin/etc/storage.json", &["storage"]),
    ("admin/etc/app.json", &["settings"]),
    ("admin/etc/network.json", &["settings"]),
    ("admin/etc/status_update.json", &["update"]),
    ("admin/etc/status_update.txt", &["update"]),
    ("admin/etc/status_error_message.txt", &["update"]),
    ("admin/etc/status_error_code.txt", &["update"]),
    ("admin/etc/status_certs.txt", &["certs"]),
    ("admin/etc/status_error_certs.txt", &["certs"]),
    ("admin/etc/pending_settings.txt", &["settings"]),
    ("admin/etc/pending_certs.txt", &["certs"]),
    ("admin/log/update.log", &["update", "update/log"]),
    ("admin/log/update_certs.log", &["certs"]),
    ("admin/home/sftp/uploads/backup.json", &["backup"]),
    ("admin/state/nonces-cacad733927d3c08", &["version"]),
    ("admin/etc/machine.json", &["machine"]),
];

fn variables(name: &str, query: &str) -> Vec<(String, Vec<u8>)> {
    vec![
        ("REQUEST_METHOD".to_owned(), b"GET".to_vec()),
        ("REQUEST_URI".to_owned(), format!("/api/v1/admin/{name}{query}").into_bytes()),
        ("REMOTE_ADDR".to_owned(), b"192.0.2.1".to_vec()),
    ]
}

fuzz_target!(|data: &[u8]| {
    let Some((which, content)) = data.split_first() else { return };
    // JSON files of the image are passed on unchanged, and a number has no limit in JSON. What a client sends is limited.
    let value = serde_json::from_slice::<serde_json::Value>(content);
    if value.is_err_and(|error| error.to_string().starts_with("number out of range")) {
        return;
    }
    let (file, shown_by) = FILES[usize::from(*which) % FILES.len()];
    MACHINE.with_borrow(|machine| {
        for (name, content) in [
            ("usr/storage-options.json", &b"{\"options\":[\"local\"]}"[..]),
            ("admin/etc/storage.json", b"{\"storage\":{\"type\":\"local\"}}"),
            ("admin/etc/app.json", b"{}"),
            ("admin/etc/network.json", b"{\"mode\":\"dhcp\"}"),
        ] {
            machine.write(name, content);
        }
        machine.write(file, content);
        for name in shown_by {
            let answer = machine.ask(&variables(name, ""), b"");
            assert!(answer.status >= 400, "{name} for a stranger: {}", answer.status);
            machine.ask(&variables(name, "?token=yourtoken"), b"");
        }
        std::fs::remove_file(machine.root.join(file)).unwrap();
        machine.reset();
    });
});
