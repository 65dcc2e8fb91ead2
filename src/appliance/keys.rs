//! The keys that open the API: the one token of the document, and named tokens beside it with a scope and an end.
//!
//! A named token is kept as a verifier, the SHA-256 of its text, in `etc/api.tokens.json`; the document has the first one
//! kept as it is, in `etc/api.token`.

use crate::appliance::slots::{self, Table};
use crate::appliance::{self, Appliance, about};
use crate::values::scope::Scope;
use crate::values::token::{Token, Verifier};
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::RangeInclusive;

/// The name of the one token of the document.
pub const FIRST: &str = "admin";
/// What the names of its predecessors begin with.
const PREVIOUS: &str = "previous-";

/// Days after which a named token may end.
pub const DAYS: RangeInclusive<u64> = 1..=3650;

/// A key, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    /// What it is called, in the audit log and as `keyid`: 1 to 32 letters, digits, `-` and `_`.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// When it ends, in seconds since 1970; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// What checks it.
    pub verifier: Verifier,
}

#[derive(Serialize, Deserialize)]
struct KeyFile {
    tokens: Vec<Key>,
}

/// The key of the one token of the document.
pub fn first(token: &Token) -> Key {
    Key { name: FIRST.to_owned(), scope: Scope::Admin, expires: None, verifier: Verifier::of(token.reveal()) }
}

/// The named keys, expired ones too. A file that cannot be used is a line in the log, and opens nothing.
pub fn named(appliance: &Appliance) -> Vec<Key> {
    load(appliance).unwrap_or_else(|error| {
        log::error!("no named token is valid: {error}");
        Vec::new()
    })
}

/// The named keys, or why they cannot be told.
pub fn load(appliance: &Appliance) -> io::Result<Vec<Key>> {
    let path = appliance.keys_file();
    let content = match appliance::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        content => content.map_err(|error| about(&path, error.kind(), error))?,
    };
    let file = serde_json::from_slice::<KeyFile>(&content);
    Ok(file.map_err(|error| about(&path, io::ErrorKind::InvalidData, error))?.tokens)
}

/// Keeps the named keys. Only root can: the API's own user reads them.
pub fn keep(appliance: &Appliance, keys: Vec<Key>) -> io::Result<()> {
    let text = serde_json::to_string(&KeyFile { tokens: keys }).map_err(io::Error::other)?;
    let path = appliance.keys_file();
    appliance::replace(&path, format!("{text}\n").as_bytes(), 0o640)?;
    // The API's user must read it, whatever umask root has.
    appliance::set_mode(&path, 0o640)
}

/// Where the nonces are remembered that were used with a key, whatever name it has now. The place tells nothing of the key.
pub fn nonces(key: &Key) -> Table {
    Table::Nonces(slots::key_of(key.verifier.tag("nonces of", "").as_bytes()))
}

/// Whether a key was the first one once.
pub fn is_previous(key: &Key) -> bool {
    key.name.starts_with(PREVIOUS)
}

/// The name of what was the first key, while it stays valid beside its successor.
pub fn previous(now: u64) -> String {
    format!("{PREVIOUS}{now}")
}

/// Whether a signature that names this key, `None` for none, may be of that one. A person who has a token need not know what
/// it is called, and whoever signs with the first key need not know that it was replaced.
pub fn is_meant(key: &Key, named: Option<&str>) -> bool {
    match named {
        None => true,
        Some(FIRST) => key.name == FIRST || is_previous(key),
        Some(name) => key.name == name,
    }
}

/// What names there are, in words.
pub const NAME: &str = "1 to 32 letters, digits, - and _; admin and previous-... belong to the first token";

/// Whether a key can have this name.
pub fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && name != FIRST
        && !name.starts_with(PREVIOUS)
}
