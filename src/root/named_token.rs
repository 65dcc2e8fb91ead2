//! Changes to named tokens, by root: for a person at the console, and for a request. The only file that writes their
//! verifiers.

use crate::appliance::keys::{self, Key};
use crate::appliance::{self, Appliance, slots};
use crate::root::commands::Arguments;
use crate::values::scope::Scope;
use crate::values::token::{Token, Verifier};
use crate::values::{clock, random};
use serde::Deserialize;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Maximum number of named tokens: each guess is compared with all of them.
pub const MAX_KEYS: usize = 32;
const DAY: u64 = 86400;

/// Why the tokens were not changed.
#[derive(Debug)]
pub enum Fault {
    /// The request is invalid; the reason is for the client.
    Refused(String),
    /// A file cannot be used; the reason is for the console and the log.
    Failed(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Refused(reason) | Fault::Failed(reason) => f.write_str(reason),
        }
    }
}

/// A request, written by the API's user, so nothing in it is trusted.
#[derive(Deserialize)]
struct Wanted {
    name: String,
    scope: Option<Scope>,
    days: Option<u64>,
}

/// `named-token add|remove FOLDER`: carries out the request in the directory's `tokens.json`. Prints the response with
/// the new token; writes the reason of a refusal to `reason` there.
pub fn command(arguments: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    let (Some(action), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("the action and the folder are missing".to_owned());
    };
    let folder = Path::new(&folder);
    let wanted = appliance::read(&folder.join("tokens.json")).map_err(|error| error.to_string())?;
    let done = match (action.to_str(), serde_json::from_slice::<Wanted>(&wanted)) {
        (_, Err(_)) => Err(Fault::Refused("Invalid request".to_owned())),
        (Some("add"), Ok(wanted)) => answer(appliance, &wanted),
        (Some("remove"), Ok(wanted)) => remove(appliance, &wanted.name),
        _ => return Err("no such action".to_owned()),
    };
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Fault::Failed(error)) => Err(error),
        Err(Fault::Refused(reason)) => {
            fs::write(folder.join("reason"), reason).map_err(|error| error.to_string())?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Creates a token and prints it. If the output fails, removes it again: a token that was never shown is useless.
fn answer(appliance: &Appliance, wanted: &Wanted) -> Result<(), Fault> {
    let scope = wanted.scope.ok_or_else(|| Fault::Refused("Missing scope".to_owned()))?;
    if wanted.days.is_some_and(|days| !keys::DAYS.contains(&days)) {
        return Err(Fault::Refused("Invalid number of days".to_owned()));
    }
    let token = add(appliance, &wanted.name, scope, wanted.days)?;
    let mut out = io::stdout();
    let shown = writeln!(out, "{{\"Status\":\"200 OK\",\"token\":\"{}\"}}", token.reveal()).and_then(|()| out.flush());
    if let Err(error) = shown {
        remove(appliance, &wanted.name)?;
        return Err(Fault::Failed(format!("the new token could not be returned: {error}")));
    }
    Ok(())
}

/// Adds a named token, and returns it. It is stored nowhere.
pub fn add(appliance: &Appliance, name: &str, scope: Scope, days: Option<u64>) -> Result<Token, Fault> {
    if !keys::is_name(name) {
        return Err(Fault::Refused(format!("{name}: a name must have {}", keys::NAME)));
    }
    let _lock = lock(appliance)?;
    let mut all = load(appliance)?;
    if all.iter().any(|key| key.name == name) {
        return Err(Fault::Refused(format!("{name} already exists: remove it first, or choose another name")));
    }
    if all.len() >= MAX_KEYS {
        return Err(Fault::Refused(format!("there are {MAX_KEYS} named tokens already: remove one first")));
    }
    let token = new_token()?;
    let expires = days.map(|days| clock::now() + days * DAY);
    all.push(Key { name: name.to_owned(), scope, expires, verifier: Verifier::of(token.reveal()) });
    store(appliance, all)?;
    Ok(token)
}

/// Removes a named token: it stops working.
pub fn remove(appliance: &Appliance, name: &str) -> Result<(), Fault> {
    let _lock = lock(appliance)?;
    let (removed, all): (Vec<Key>, Vec<Key>) = load(appliance)?.into_iter().partition(|key| key.name == name);
    if removed.is_empty() {
        return Err(Fault::Refused(format!("there is no token {name}")));
    }
    store(appliance, all)?;
    forget_nonces(appliance, &removed);
    Ok(())
}

/// Nonces of a key that is no longer valid need not be stored.
pub fn forget_nonces(appliance: &Appliance, keys: &[Key]) {
    for key in keys {
        if let Err(error) = slots::remove(appliance, keys::nonces(key)) {
            log::warn!("the nonces of the token {} cannot be removed: {error}", key.name);
        }
    }
}

/// 256 random bits.
pub fn new_token() -> Result<Token, Fault> {
    let bytes = random::bytes::<32>().map_err(|error| Fault::Failed(format!("no random bytes: {error}")))?;
    Token::parse(&hex::encode(bytes)).map_err(|error| Fault::Failed(error.to_string()))
}

/// Locks the directory itself, so that two concurrent changes do not undo each other.
pub fn lock(appliance: &Appliance) -> Result<File, Fault> {
    let path = appliance.etc_file("");
    let folder = File::open(&path).map_err(|error| cannot("open", &path, &error))?;
    folder.lock().map_err(|error| cannot("lock", &path, &error))?;
    Ok(folder)
}

pub fn load(appliance: &Appliance) -> Result<Vec<Key>, Fault> {
    keys::load(appliance).map_err(|error| Fault::Failed(format!("cannot read {error}{}", hint(&error))))
}

/// Stores the named tokens.
pub fn store(appliance: &Appliance, all: Vec<Key>) -> Result<(), Fault> {
    let path = appliance.keys_file();
    keys::keep(appliance, all).map_err(|error| cannot("write", &path, &error))
}

/// The error of a file, with a hint.
pub fn cannot(what: &str, path: &Path, error: &io::Error) -> Fault {
    Fault::Failed(format!("cannot {what} {}: {error}{}", path.display(), hint(error)))
}

/// The hint for the error of a file.
pub fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { ". Run this as root" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::slots::Slot;

    #[test]
    fn a_token_expires_after_its_days_and_leaves_no_nonces() {
        let root = std::env::temp_dir().join(format!("named-token-{}", std::process::id()));
        for folder in ["etc", "state"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let appliance = Appliance::new(Some(root.clone().into()), None);
        let before = clock::now();
        add(&appliance, "ops", Scope::Operate, Some(2)).unwrap();
        add(&appliance, "for-ever", Scope::Read, None).unwrap();
        let after = clock::now();
        let keys = load(&appliance).unwrap();
        let expires = keys[0].expires.unwrap();
        assert!((before + 2 * 86400..=after + 2 * 86400).contains(&expires), "{expires}");
        assert_eq!(keys[1].expires, None);
        assert!(matches!(add(&appliance, "ops", Scope::Read, None), Err(Fault::Refused(_))), "the name is taken");

        for key in &keys {
            slots::update(&appliance, keys::nonces(key), 7, |slots| slots[0] = Slot { key: 7, time: 1, count: 1 })
                .unwrap();
        }
        remove(&appliance, "ops").unwrap();
        assert_eq!(fs::read_dir(root.join("state")).unwrap().count(), 1, "the other token keeps its nonces");
        assert!(matches!(remove(&appliance, "ops"), Err(Fault::Refused(_))), "it is gone");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn only_a_refused_file_asks_for_root() {
        let told = |kind: io::ErrorKind| cannot("open", Path::new("/x"), &kind.into()).to_string();
        assert_eq!(told(io::ErrorKind::PermissionDenied), "cannot open /x: permission denied. Run this as root");
        assert_eq!(told(io::ErrorKind::StorageFull), "cannot open /x: no storage space");
    }
}
