//! Console commands for tokens and rate limits. A secret is printed once, and never taken from an argument.

use crate::appliance::keys::{self, Key};
use crate::appliance::slots::{self, Table};
use crate::appliance::{self, Appliance};
use crate::audit::{self, Action};
use crate::caller::auth;
use crate::root::named_token::{self, Fault, MAX_KEYS};
use crate::values::clock;
use crate::values::scope::Scope;
use crate::values::token::{Token, Verifier};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

/// Maximum number of previous API tokens among the named tokens; a new one replaces the oldest.
const MAX_PREVIOUS: usize = 3;
const HOUR: u64 = 3600;

/// `token add`: creates a named token and prints it.
pub fn add_token(
    appliance: &Appliance,
    name: &str,
    scope: Scope,
    days: Option<u64>,
    out: &mut dyn Write,
) -> Result<(), String> {
    if api_token(appliance)?.is_none() {
        return Err(
            "no API token is set yet, and without it no token is valid: set it with POST /setup or `token rotate`"
                .to_owned(),
        );
    }
    let token = named_token::add(appliance, name, scope, days).map_err(message_of)?;
    record(appliance, Action::TokenAdded, name);
    print_token(&token, out)
}

/// `token list`
pub fn list_tokens(appliance: &Appliance, out: &mut dyn Write) -> Result<(), String> {
    let mut lines = Vec::new();
    if api_token(appliance)?.is_some() {
        lines.push(format!("{:32} {:7} never expires", keys::API_TOKEN, Scope::Admin.name()));
    }
    for key in named_token::load(appliance).map_err(message_of)? {
        let end = match key.expires {
            None => "never expires".to_owned(),
            Some(time) if !key.is_valid(clock::now) => format!("expired {}", date(time)),
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
    if name == keys::API_TOKEN {
        return Err("the API token cannot be removed: `token rotate` replaces it".to_owned());
    }
    named_token::remove(appliance, name).map_err(message_of)?;
    record(appliance, Action::TokenRemoved, name);
    Ok(())
}

/// `token rotate`: creates and prints a new API token, also if none is set. The old one stays valid for some hours.
pub fn rotate_token(appliance: &Appliance, overlap: u64, out: &mut dyn Write) -> Result<(), String> {
    let _lock = named_token::lock(appliance).map_err(message_of)?;
    let old = api_token(appliance)?;
    let now = clock::now();
    let token = named_token::new_token().map_err(message_of)?;
    let mut all = named_token::load(appliance).map_err(message_of)?;
    if overlap > 0
        && let Some(old) = old
    {
        // Expired tokens make room.
        let (kept, mut ended): (Vec<Key>, Vec<Key>) = all.into_iter().partition(|key| key.is_valid(|| now));
        all = kept;
        // They are in the order in which they were added.
        while all.iter().filter(|key| keys::is_previous(key)).count() >= MAX_PREVIOUS
            && let Some(oldest) = all.iter().position(keys::is_previous)
        {
            log::warn!("the token {} was removed: at most {MAX_PREVIOUS} previous tokens are kept", all[oldest].name);
            ended.push(all.remove(oldest));
        }
        if all.len() >= MAX_KEYS {
            return Err(format!(
                "there are already {MAX_KEYS} named tokens, so the old one cannot be kept: use `token remove`, or \
                 --overlap 0"
            ));
        }
        let expires = Some(now + overlap * HOUR);
        let verifier = Verifier::of(old.reveal());
        all.push(Key { name: keys::previous(now), scope: Scope::Admin, expires, verifier });
        // First: if the other step fails, the old token is valid twice, instead of not at all.
        named_token::store(appliance, all).map_err(message_of)?;
        named_token::forget_nonces(appliance, &ended);
    }
    let path = appliance.token_file();
    appliance::replace(&path, format!("{}\n", token.reveal()).as_bytes(), 0o660)
        .and_then(|()| appliance::share(&path, 0o660))
        .map_err(|error| cannot("write", &path, &error))?;
    record(appliance, Action::TokenRotated, keys::API_TOKEN);
    print_token(&token, out)
}

/// `unlock`: clears the rate limits of an address, or of all.
pub fn unlock(appliance: &Appliance, address: Option<&str>, out: &mut dyn Write) -> Result<(), String> {
    if let Some(address) = address
        && address.parse::<IpAddr>().is_err()
    {
        return Err(format!("{address}: not an IP address"));
    }
    if !slots::exists(appliance, Table::Refusals) {
        return print_line("no refused requests are recorded", out);
    }
    let path = appliance.state_file("refusals");
    auth::forget_refusals(appliance, address).map_err(|error| cannot("write", &path, &error))?;
    record(appliance, Action::Unlocked, address.unwrap_or_default());
    print_line(&format!("rate limits cleared for {}", address.unwrap_or("all addresses")), out)
}

fn record(appliance: &Appliance, action: Action, target: &str) {
    audit::record(appliance, action, target, "console", "");
}

fn api_token(appliance: &Appliance) -> Result<Option<Token>, String> {
    appliance.token().map_err(|error| format!("cannot read {error}{}", named_token::hint(&error)))
}

/// The text of a failure, with a hint.
pub fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    message_of(named_token::cannot(what, path, error))
}

fn message_of(fault: Fault) -> String {
    fault.to_string()
}

fn date(time: u64) -> String {
    clock::utc(time)[..16].replace('T', " ") + " UTC"
}

fn print_token(token: &Token, out: &mut dyn Write) -> Result<(), String> {
    print_line(token.reveal(), out)?;
    log::info!("this token is shown only once: store it where nobody else can read it");
    Ok(())
}

fn print_line(text: &str, out: &mut dyn Write) -> Result<(), String> {
    writeln!(out, "{text}").map_err(|error| error.to_string())
}
