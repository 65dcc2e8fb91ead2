//! `settings.json` for network and storage: what is written for a shell to source gives back exactly the values, to a reader
//! of our own for every input and to dash for some.

#![no_main]

use jidoteki_admin_api::values::json::Object;
use jidoteki_admin_api::values::network::NetworkSettings;
use jidoteki_admin_api::values::storage::StorageSettings;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::cell::Cell;
use std::io::Write;
use std::process::{Command, Stdio};

thread_local! {
    static WRITTEN: Cell<u32> = const { Cell::new(0) };
}

/// Reads `key=value` and `key="value"` as a POSIX shell does, and nothing else; `None` for what could be a command.
fn source(conf: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = conf;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        let mut value = String::new();
        if let Some(quoted) = after.strip_prefix('"') {
            let mut characters = quoted.char_indices();
            loop {
                match characters.next()? {
                    (at, '"') => {
                        rest = quoted[at + 1..].strip_prefix('\n')?;
                        break;
                    }
                    (_, '\\') => match characters.next()?.1 {
                        c @ ('"' | '$' | '`' | '\\') => value.push(c),
                        '\n' => {}
                        c => value.extend(['\\', c]),
                    },
                    (_, '$' | '`') => return None,
                    (_, c) => value.push(c),
                }
            }
        } else {
            let (bare, next) = after.split_once('\n')?;
            if !bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-/_".contains(&byte)) {
                return None;
            }
            value.push_str(bare);
            rest = next;
        }
        pairs.push((key.to_owned(), value));
    }
    Some(pairs)
}

/// The same by dash, which must run nothing and say nothing.
fn dash(pairs: &[(String, String)], conf: &str) {
    let n = WRITTEN.get();
    WRITTEN.set(n + 1);
    if n % 4096 != 0 {
        return;
    }
    let mut child = Command::new("dash")
        .args(["-c", "set -f; PATH=/nowhere; . /dev/stdin; shift 0; for key in \"$@\"; do eval \"printf '%s\\\\0' \\\"\\${$key}\\\"\"; done", "dash"])
        .args(pairs.iter().map(|(key, _)| key))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(conf.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let wanted: Vec<u8> = pairs.iter().flat_map(|(_, value)| [value.as_bytes(), b"\0"].concat()).collect();
    assert!(output.status.success() && output.stdout == wanted && output.stderr.is_empty(), "{conf}: {output:?}");
}

fn check(conf: &str, json: &str) -> Vec<(String, String)> {
    let pairs = source(conf).unwrap_or_else(|| panic!("a shell could run this: {conf}"));
    serde_json::from_str::<Value>(json).expect("the job's JSON is JSON");
    dash(&pairs, conf);
    pairs
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(object) = Object::parse(text) else { return };
    let options: Vec<String> = ["local", "nfs", "aoe", "iscsi", "nbd"].map(str::to_owned).into();
    let inner = |name: &str| object.get(name).and_then(|raw| Object::parse(raw.get()).ok());
    if let Some(storage) = inner("storage")
        && let Ok(settings) = StorageSettings::parse(&storage, &options)
    {
        let pairs = check(&settings.to_conf(), &settings.to_json(&storage));
        for (key, value) in pairs {
            let sent: Value = serde_json::from_str(storage.get(&key).expect("a key that was sent").get()).unwrap();
            let sent = sent.as_str().map_or_else(|| sent.to_string(), str::to_owned);
            assert_eq!(value, sent, "{key}");
            assert!(!value.starts_with('-') || ["username", "password"].contains(&key.as_str()), "{key}: {value}");
        }
    }
    if let Some(network) = inner("network")
        && let Ok(settings) = NetworkSettings::parse(&network)
    {
        let pairs = check(&settings.to_conf(), &settings.to_json(&network));
        assert_eq!(pairs[0], ("mode".to_owned(), settings.mode().to_owned()));
        for (_, value) in pairs {
            assert!(!value.starts_with('-'), "{value}");
            // Each value is one that was sent, but for the two name servers in one.
            for word in value.split(' ').filter(|word| !word.is_empty()) {
                assert!(word == settings.mode() || text.contains(word) || text.contains('\\'), "{word}");
            }
        }
    }
});
