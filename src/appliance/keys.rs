//! The keys of the API: the API token, and named tokens with a scope and an expiration time.
//!
//! A named token is stored as a verifier, the SHA-256 of its text, in `etc/api.tokens.json`. The first one is stored in
//! clear, in `etc/api.token`, as the API document requires.

use crate::appliance::slots::{self, Table};
use crate::appliance::{self, Appliance, about};
use crate::values::scope::Scope;
use crate::values::token::{Token, Verifier};
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::RangeInclusive;

/// The name of the API token.
pub const API_TOKEN: &str = "admin";
/// The prefix of the name under which a replaced API token stays valid.
const PREVIOUS: &str = "previous-";

/// Allowed days until a named token expires.
pub const DAYS: RangeInclusive<u64> = 1..=3650;

/// A stored key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    /// Its name, in the audit log and as `keyid`: 1 to 32 letters, digits, `-` and `_`.
    pub name: String,
    /// What the key allows.
    pub scope: Scope,
    /// When it expires, in seconds since 1970; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// The SHA-256 of the token.
    pub verifier: Verifier,
}

impl Key {
    /// Whether the key has not expired.
    pub fn is_valid(&self, now: impl FnOnce() -> u64) -> bool {
        self.expires.is_none_or(|expires| now() < expires)
    }
}

#[derive(Serialize, Deserialize)]
struct KeyFile {
    tokens: Vec<Key>,
}

pub fn first(token: &Token) -> Key {
    Key { name: API_TOKEN.to_owned(), scope: Scope::Admin, expires: None, verifier: Verifier::of(token.reveal()) }
}

/// The named keys, including expired ones. A file that cannot be used is logged, and gives no access.
pub fn named(appliance: &Appliance) -> Vec<Key> {
    load(appliance).unwrap_or_else(|error| {
        log::error!("no named token is valid: {error}");
        Vec::new()
    })
}

/// The named keys, or why they cannot be read.
pub fn load(appliance: &Appliance) -> io::Result<Vec<Key>> {
    let path = appliance.keys_file();
    let content = match appliance::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        content => content.map_err(|error| about(&path, error.kind(), error))?,
    };
    let file = serde_json::from_slice::<KeyFile>(&content);
    Ok(file.map_err(|error| about(&path, io::ErrorKind::InvalidData, error))?.tokens)
}

/// Stores the named keys. Only root can: the API's own user only reads them.
pub fn keep(appliance: &Appliance, keys: Vec<Key>) -> io::Result<()> {
    let text = serde_json::to_string(&KeyFile { tokens: keys }).map_err(io::Error::other)?;
    let path = appliance.keys_file();
    appliance::replace(&path, format!("{text}\n").as_bytes(), 0o640)?;
    // The API's user must be able to read it, whatever root's umask.
    appliance::share(&path, 0o640)
}

/// The table of nonces of a key, whatever its current name. Its file name reveals nothing about the key.
pub fn nonces(key: &Key) -> Table {
    Table::Nonces(slots::key_of(key.verifier.tag("nonces of", "").as_bytes()))
}

/// Identifies a key, whatever its current name, and reveals nothing about it. A new token with the name of a removed one
/// is another key.
pub fn identity(verifier: &Verifier) -> String {
    format!("{:016x}", slots::key_of(verifier.tag("identity of", "").as_bytes()))
}

/// Whether a key is a previous API token.
pub fn is_previous(key: &Key) -> bool {
    key.name.starts_with(PREVIOUS)
}

/// The name of a previous API token while it stays valid.
pub fn previous(now: u64) -> String {
    format!("{PREVIOUS}{now}")
}

/// Whether a signature with this `keyid` (`None` for none) can be from that key. The holder of a token need not know
/// its name, and a client that signs with the first key need not know that it was replaced.
pub fn is_meant(key: &Key, named: Option<&str>) -> bool {
    match named {
        None => true,
        Some(API_TOKEN) => key.name == API_TOKEN || is_previous(key),
        Some(name) => key.name == name,
    }
}

/// The syntax of names, for messages.
pub const NAME: &str = "1 to 32 letters, digits, - and _; admin and previous-... are reserved";

/// Whether this is a valid name for a key.
pub fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && name != API_TOKEN
        && !name.starts_with(PREVIOUS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn key(name: &str) -> Key {
        Key { name: name.to_owned(), scope: Scope::Read, expires: None, verifier: Verifier::of(name) }
    }

    #[test]
    fn a_name_is_short_and_never_that_of_the_first_token() {
        let (longest, too_long) = ("n".repeat(32), "n".repeat(33));
        for name in ["a", "Z9-_", "administrator", "previous", &longest] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "admin", "previous-", "previous-7", "a b", "a\n", "a/b", "ä", &too_long] {
            assert!(!is_name(name), "{name}");
        }
        assert_eq!(previous(7), "previous-7");
        assert!(is_previous(&key("previous-7")));
        assert!(!is_previous(&key("ops")));
    }

    #[test]
    fn a_key_is_valid_until_the_second_in_which_it_expires() {
        let ends = Key { expires: Some(100), ..key("ops") };
        assert_eq!([0, 99, 100, 101].map(|now| ends.is_valid(|| now)), [true, true, false, false]);
        // The clock costs two page faults, so it is only read if a token expires.
        assert!(key("ops").is_valid(|| unreachable!("the clock was read")));
    }

    #[test]
    fn a_signature_that_names_a_key_is_only_that_keys() {
        for (name, named, is_its) in [
            ("ops", None, true),
            ("ops", Some("ops"), true),
            ("ops", Some("other"), false),
            ("ops", Some("admin"), false),
            ("admin", Some("admin"), true),
            ("admin", Some("ops"), false),
            ("previous-7", Some("admin"), true),
            ("previous-7", Some("previous-7"), true),
            ("previous-7", Some("previous-8"), false),
        ] {
            assert_eq!(is_meant(&key(name), named), is_its, "{name} {named:?}");
        }
    }

    #[test]
    fn the_first_token_is_admin_and_each_key_has_its_table_of_nonces() {
        let key_of_first = first(&Token::parse("secret").unwrap());
        assert_eq!(
            (key_of_first.name.as_str(), key_of_first.scope, key_of_first.expires),
            ("admin", Scope::Admin, None)
        );
        assert!(key_of_first.verifier.matches("secret"));
        let renamed = Key { name: "previous-7".to_owned(), ..key_of_first.clone() };
        assert_eq!(nonces(&key_of_first), nonces(&renamed));
        assert_ne!(nonces(&key_of_first), nonces(&key("ops")));
    }

    #[test]
    fn keys_are_read_as_they_were_stored_and_a_broken_file_is_no_empty_one() {
        let root = std::env::temp_dir().join(format!("keys-{}", std::process::id()));
        std::fs::create_dir_all(root.join("etc")).unwrap();
        let appliance = Appliance::new(Some(root.clone().into()), None);
        assert!(load(&appliance).unwrap().is_empty());
        keep(&appliance, vec![Key { expires: Some(7), ..key("ops") }, key("read")]).unwrap();
        let text = std::fs::read_to_string(appliance.keys_file()).unwrap();
        assert_eq!(text.matches("expires").count(), 1, "{text}");
        assert_eq!(std::fs::metadata(appliance.keys_file()).unwrap().permissions().mode() & 0o777, 0o640);
        let stored: Vec<_> = load(&appliance).unwrap().into_iter().map(|key| (key.name, key.expires)).collect();
        assert_eq!(stored, [("ops".to_owned(), Some(7)), ("read".to_owned(), None)]);
        assert_eq!(named(&appliance).len(), 2);
        std::fs::write(appliance.keys_file(), "{").unwrap();
        assert_eq!(load(&appliance).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(named(&appliance).is_empty());
        // A file that cannot be read is not a missing one: adding a key to "none" would remove all others.
        std::fs::remove_file(appliance.keys_file()).unwrap();
        std::fs::create_dir(appliance.keys_file()).unwrap();
        assert!(load(&appliance).is_err());
        std::fs::remove_dir_all(root).unwrap();
    }
}
