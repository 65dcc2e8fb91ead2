//! An appliance in memory, and what must hold of every answer.

use jidoteki_admin_api::appliance::Appliance;
use jidoteki_admin_api::http::request::Request;
use jidoteki_admin_api::respond;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

pub const CONFIG: &str = r#"{"endpoints":["settings","certs","license","storage","backup","monitor"],
"parameters":["public","private","ca","license","action","archive"],"reboot":"both","refusals-per-minute":4000000000}"#;
pub const TOKEN: &str = "yourtoken";

/// The folders of one appliance; jobs are not there, so that nothing is started.
pub struct Machine {
    pub root: PathBuf,
    pub appliance: Appliance,
    /// As long as these are held, nobody who is refused must wait.
    _pauses: Vec<File>,
}

impl Machine {
    pub fn new() -> Machine {
        let root = PathBuf::from(format!("/dev/shm/jidoteki-fuzz-{}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        for folder in ["admin/bin", "admin/etc", "admin/log", "admin/state", "admin/home/sftp/uploads", "usr"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let pauses = (0..4).map(|n| {
            let file = File::create(root.join(format!("admin/home/sftp/uploads/.pause-{n}.lock"))).unwrap();
            file.lock().unwrap();
            file
        });
        let pauses = pauses.collect();
        let appliance = Appliance::new(Some(root.join("admin").into()), Some(root.join("usr").into()));
        let machine = Machine { root, appliance, _pauses: pauses };
        machine.reset();
        machine
    }

    pub fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.root.join(name), content).unwrap();
    }

    pub fn reset(&self) {
        self.write("usr/jidoteki-admin-api.json", CONFIG.as_bytes());
        self.write("admin/etc/api.token", format!("{TOKEN}\n").as_bytes());
        self.write("admin/etc/version.txt", b"canary\n");
        // Would grow with every refusal.
        self.write("admin/log/jidoteki-audit.log", b"");
    }

    /// The answer to a request; its parts are checked.
    pub fn ask(&self, variables: &[(String, Vec<u8>)], body: &[u8]) -> Answer {
        let variable = |name: &str| {
            let value = variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            value.map(OsString::from_vec)
        };
        let response = match Request::from_cgi(variable, body) {
            Ok(mut request) => respond(&mut request, &self.appliance),
            Err(reason) => jidoteki_admin_api::http::error::Error::Bad(reason.to_owned()).into_response(None),
        };
        let mut bytes = Vec::new();
        response.write_to(&mut bytes).unwrap();
        Answer::check(&bytes)
    }
}

impl Default for Machine {
    fn default() -> Self {
        Machine::new()
    }
}

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// Takes an answer apart, which must be well-formed.
    fn check(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&bytes[..end]).expect("a head of text");
        let mut length = None;
        let mut is_json = false;
        for line in head.split("\r\n") {
            let (name, value) = line.split_once(": ").expect("a header");
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{line:?}");
            assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line:?}");
            match name {
                "Content-Length" => assert!(length.replace(value.parse::<usize>().unwrap()).is_none(), "two lengths"),
                "Content-Type" => is_json = value == "application/json",
                _ => {}
            }
        }
        let body = bytes[end + 4..].to_vec();
        // HEAD has the length of a body that does not follow.
        if !body.is_empty() {
            if let Some(length) = length {
                assert_eq!(length, body.len());
            }
            if is_json {
                let value: Result<serde_json::Value, _> = serde_json::from_slice(&body);
                assert!(value.is_ok() || is_too_deep(&body), "{}", body.escape_ascii());
            }
        }
        let status = head.strip_prefix("Status: ").expect("a status first")[..3].parse().unwrap();
        assert_ne!(status, 500, "{head}");
        Answer { status, body }
    }
}

/// A reader of ours has no limit where another one has 128.
fn is_too_deep(body: &[u8]) -> bool {
    body.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > 100
}
