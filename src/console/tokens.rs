//! What the person at the console does: tokens, forgetting refusals, the audit log. A secret is printed once, and never taken
//! from an argument.

use crate::appliance::slots::{self, Table};
use crate::appliance::{self, Appliance};
use crate::audit::{self, Action};
use crate::caller::auth;
use crate::caller::keys::{self, Key};
use crate::values::clock;
use crate::values::random;
use crate::values::scope::Scope;
use crate::values::token::{Token, Verifier};
use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

/// Tokens that an appliance may have beside the first one: each is compared with every guess.
const MAX_KEYS: usize = 32;
/// Previous first tokens among these; the oldest one ends when another comes.
const MAX_PREVIOUS: usize = 3;
const DAY: u64 = 86400;
const HOUR: u64 = 3600;

/// Scopes by their names.
pub const SCOPES: [Scope; 3] = [Scope::Read, Scope::Operate, Scope::Admin];

/// `token add`: makes a named token and prints it.
pub fn add_token(
    appliance: &Appliance,
    name: &str,
    scope: Scope,
    days: Option<u64>,
    out: &mut dyn Write,
) -> Result<(), String> {
    if !keys::is_name(name) {
        return Err(format!(
            "{name}: a name has 1 to 32 letters, digits, - and _; \"admin\" and \"previous-...\" are the first token's"
        ));
    }
    if first_token(appliance)?.is_none() {
        return Err("no API token is set yet, and without it nothing authenticates: POST /setup sets it".to_owned());
    }
    let _lock = lock(appliance)?;
    let mut all = load(appliance)?;
    if all.iter().any(|key| key.name == name) {
        return Err(format!("{name} is there already: `token remove {name}` takes it away"));
    }
    if all.len() >= MAX_KEYS {
        return Err(format!("there are {MAX_KEYS} named tokens already: `token remove` takes one away"));
    }
    let token = new_token()?;
    let expires = days.map(|days| clock::now() + days * DAY);
    all.push(Key { name: name.to_owned(), scope, expires, verifier: Verifier::of(token.reveal()) });
    keep(appliance, all)?;
    record(appliance, Action::TokenAdded, name);
    print_token(&token, out)
}

/// `token list`
pub fn list_tokens(appliance: &Appliance, out: &mut dyn Write) -> Result<(), String> {
    let mut lines = Vec::new();
    if first_token(appliance)?.is_some() {
        lines.push(format!("{:32} {:7} never expires", keys::FIRST, Scope::Admin.name()));
    }
    for key in load(appliance)? {
        let end = match key.expires {
            None => "never expires".to_owned(),
            Some(time) if time <= clock::now() => format!("expired {}", date(time)),
            Some(time) => format!("expires {}", date(time)),
        };
        lines.push(format!("{:32} {:7} {end}", key.name, key.scope.name()));
    }
    if lines.is_empty() {
        lines.push("no token is set".to_owned());
    }
    print_line(&lines.join("\n"), out)
}

/// `token remove`
pub fn remove_token(appliance: &Appliance, name: &str) -> Result<(), String> {
    if name == keys::FIRST {
        return Err("the first token cannot be removed: `token rotate` replaces it".to_owned());
    }
    let _lock = lock(appliance)?;
    let all = load(appliance)?;
    let (removed, all): (Vec<Key>, Vec<Key>) = all.into_iter().partition(|key| key.name == name);
    if removed.is_empty() {
        return Err(format!("there is no token {name}: `token list` shows those that are there"));
    }
    keep(appliance, all)?;
    forget_nonces(appliance, &removed);
    record(appliance, Action::TokenRemoved, name);
    Ok(())
}

/// `token rotate`: a new first token, which it prints. The old one stays valid for some hours.
pub fn rotate_token(appliance: &Appliance, overlap: u64, out: &mut dyn Write) -> Result<(), String> {
    let _lock = lock(appliance)?;
    let old = first_token(appliance)?.ok_or("no API token is set yet: POST /setup sets it")?;
    let now = clock::now();
    let token = new_token()?;
    let mut all = load(appliance)?;
    if overlap > 0 {
        // What expired makes room.
        let (kept, mut ended): (Vec<Key>, Vec<Key>) =
            all.into_iter().partition(|key| key.expires.is_none_or(|expires| expires > now));
        all = kept;
        // They were added in the order of their time.
        while all.iter().filter(|key| keys::is_previous(key)).count() >= MAX_PREVIOUS
            && let Some(oldest) = all.iter().position(keys::is_previous)
        {
            log::warn!("the token {} has ended: {MAX_PREVIOUS} previous ones are the limit", all[oldest].name);
            ended.push(all.remove(oldest));
        }
        if all.len() >= MAX_KEYS {
            return Err(format!(
                "there are {MAX_KEYS} named tokens already, so the old one has no place: `token remove` takes one away, and \
                 --overlap 0 needs none"
            ));
        }
        let expires = Some(now + overlap * HOUR);
        let verifier = Verifier::of(old.reveal());
        all.push(Key { name: keys::previous(now), scope: Scope::Admin, expires, verifier });
        // First: were the other half not to happen, the old token would be valid twice, and not at all the other way round.
        keep(appliance, all)?;
        forget_nonces(appliance, &ended);
    }
    let path = appliance.token_file();
    appliance::replace(&path, format!("{}\n", token.reveal()).as_bytes(), 0o660)
        .and_then(|()| appliance::set_mode(&path, 0o660))
        .map_err(|error| cannot("write", &path, &error))?;
    record(appliance, Action::TokenRotated, keys::FIRST);
    print_token(&token, out)
}

/// What was signed with a key that opens nothing any more need not be remembered.
fn forget_nonces(appliance: &Appliance, keys: &[Key]) {
    for key in keys {
        if let Err(error) = slots::remove(appliance, auth::nonces(key)) {
            log::warn!("the nonces of the token {} cannot be removed: {error}", key.name);
        }
    }
}

/// `unlock`: forgets the refusals of an address, or of all.
pub fn unlock(appliance: &Appliance, address: Option<&str>, out: &mut dyn Write) -> Result<(), String> {
    if let Some(address) = address
        && address.parse::<IpAddr>().is_err()
    {
        return Err(format!("{address}: this is no IP address"));
    }
    if !slots::is_there(appliance, Table::Refusals) {
        return print_line("nobody was refused", out);
    }
    let path = appliance.state_file("refusals");
    auth::forget_refusals(appliance, address).map_err(|error| cannot("write", &path, &error))?;
    record(appliance, Action::Unlocked, address.unwrap_or_default());
    print_line(&format!("the refusals of {} are forgotten", address.unwrap_or("all addresses")), out)
}

fn record(appliance: &Appliance, action: Action, target: &str) {
    audit::record(appliance, action, target, "console", "");
}

/// 256 random bits.
fn new_token() -> Result<Token, String> {
    let bytes = random::bytes::<32>().map_err(|error| format!("no random bytes: {error}"))?;
    Token::parse(&hex::encode(bytes)).map_err(|error| error.to_string())
}

/// Two people at two consoles must not undo each other's change: the folder itself is locked.
fn lock(appliance: &Appliance) -> Result<File, String> {
    let path = appliance.etc_file("");
    let folder = File::open(&path).map_err(|error| cannot("open", &path, &error))?;
    folder.lock().map_err(|error| cannot("lock", &path, &error))?;
    Ok(folder)
}

fn first_token(appliance: &Appliance) -> Result<Option<Token>, String> {
    appliance.token().map_err(|error| format!("cannot read {error}{}", hint(&error)))
}

fn load(appliance: &Appliance) -> Result<Vec<Key>, String> {
    keys::load(appliance).map_err(|error| format!("cannot read {error}{}", hint(&error)))
}

fn keep(appliance: &Appliance, all: Vec<Key>) -> Result<(), String> {
    let path = appliance.keys_file();
    keys::keep(appliance, all).map_err(|error| cannot("write", &path, &error))
}

/// The text of a failure, with what to do about it.
pub fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}{}", path.display(), hint(error))
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { ". Run this as root" } else { "" }
}

fn date(time: u64) -> String {
    clock::utc(time)[..16].replace('T', " ") + " UTC"
}

fn print_token(token: &Token, out: &mut dyn Write) -> Result<(), String> {
    print_line(token.reveal(), out)?;
    log::info!("this token is shown only now: keep it where no one else reads it");
    Ok(())
}

fn print_line(text: &str, out: &mut dyn Write) -> Result<(), String> {
    writeln!(out, "{text}").map_err(|error| error.to_string())
}
