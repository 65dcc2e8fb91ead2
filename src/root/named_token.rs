//! Changes of the named tokens, made by root: for a person at the console, and for a request. The only place that writes the
//! file of their verifiers.

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

/// How many tokens an appliance can have beside the first one: each is compared with every guess.
pub const MAX_KEYS: usize = 32;
const DAY: u64 = 86400;

/// Why the tokens were not changed.
#[derive(Debug)]
pub enum Fault {
    /// The request asks for something that cannot be; a client may read why.
    Refused(String),
    /// A file cannot be used; this is for the console and the log.
    Failed(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Refused(reason) | Fault::Failed(reason) => f.write_str(reason),
        }
    }
}

/// What a request asks for. It was written by the API's user, so nothing in it is believed.
#[derive(Deserialize)]
struct Wanted {
    name: String,
    scope: Option<Scope>,
    days: Option<u64>,
}

/// `named-token add|remove FOLDER`: does what `tokens.json` in the folder says. Prints the answer with the new token; the
/// reason of a refusal goes into `reason` in the folder.
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

/// Makes a token and prints it. If nobody reads it, it is removed again: a token that was never shown is of no use.
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
        return Err(Fault::Failed(format!("nobody reads the new token: {error}")));
    }
    Ok(())
}

/// Adds a named token, and returns it: afterwards it is nowhere.
pub fn add(appliance: &Appliance, name: &str, scope: Scope, days: Option<u64>) -> Result<Token, Fault> {
    if !keys::is_name(name) {
        return Err(Fault::Refused(format!("{name}: a name has {}", keys::NAME)));
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
    keep(appliance, all)?;
    Ok(token)
}

/// Removes a named token: from now on it opens nothing.
pub fn remove(appliance: &Appliance, name: &str) -> Result<(), Fault> {
    let _lock = lock(appliance)?;
    let (removed, all): (Vec<Key>, Vec<Key>) = load(appliance)?.into_iter().partition(|key| key.name == name);
    if removed.is_empty() {
        return Err(Fault::Refused(format!("there is no token {name}")));
    }
    keep(appliance, all)?;
    forget_nonces(appliance, &removed);
    Ok(())
}

/// What was signed with a key that opens nothing any more need not be remembered.
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

/// Two changes at the same time must not undo each other: the folder itself is locked.
pub fn lock(appliance: &Appliance) -> Result<File, Fault> {
    let path = appliance.etc_file("");
    let folder = File::open(&path).map_err(|error| cannot("open", &path, &error))?;
    folder.lock().map_err(|error| cannot("lock", &path, &error))?;
    Ok(folder)
}

/// The named tokens.
pub fn load(appliance: &Appliance) -> Result<Vec<Key>, Fault> {
    keys::load(appliance).map_err(|error| Fault::Failed(format!("cannot read {error}{}", hint(&error))))
}

/// Puts the named tokens in force.
pub fn keep(appliance: &Appliance, all: Vec<Key>) -> Result<(), Fault> {
    let path = appliance.keys_file();
    keys::keep(appliance, all).map_err(|error| cannot("write", &path, &error))
}

/// The failure of a file, with what to do about it.
pub fn cannot(what: &str, path: &Path, error: &io::Error) -> Fault {
    Fault::Failed(format!("cannot {what} {}: {error}{}", path.display(), hint(error)))
}

/// What to do about the failure of a file.
pub fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { ". Run this as root" } else { "" }
}
