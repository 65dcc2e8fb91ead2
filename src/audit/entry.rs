//! Writes both lines of a decision: in the ancestor's format, and in the chain.

use crate::appliance::Appliance;
use crate::appliance::slots::{self, Table};
use crate::audit::action::{Action, Outcome};
use crate::audit::budget::{Spent, count_left_out, spend};
use crate::audit::chain::{self, Durability};
use crate::values::clock::timestamp;
use crate::values::json::quote;
use crate::values::random;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Appends a line. `target` is our own word or path, never client text. `client` is the caller's address. `key` is the
/// name of the key, empty for none.
///
/// If the log cannot be written, the error log says so and the request continues. Otherwise a full disk would lock the
/// administrator out.
///
/// Completed actions are always written. For other lines, each key has a budget, and all unauthenticated callers share
/// one. Above it, lines are counted, and the next line reports their number.
pub fn record(appliance: &Appliance, action: Action, target: &str, client: &str, key: &str) {
    let left_out = if action.outcome() == Outcome::Done {
        // An action also writes the count of unauthenticated callers, which would otherwise wait for the next of their
        // lines.
        slots::exists(appliance, Table::Lines).then(|| count_left_out(appliance, "")).transpose().map(Option::flatten)
    } else {
        match spend(appliance, key) {
            Ok(Spent::Nothing) => return,
            Ok(Spent::Line(left_out)) => Ok(left_out),
            // Without a directory for counting, every line is written, as by the ancestor.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                return log::error!(
                    "cannot count the lines of the audit log, so this one is left out: {error}: {}",
                    action.name()
                );
            }
        }
    };
    match left_out {
        Ok(None) => {}
        Ok(Some(left_out)) => write(appliance, Action::LeftOut, &left_out, "", ""),
        Err(error) => log::error!("cannot tell how many lines of the audit log were left out: {error}"),
    }
    write(appliance, action, target, client, key);
}

fn write(appliance: &Appliance, action: Action, target: &str, client: &str, key: &str) {
    if let Err(error) = append(appliance, action, target, client, key) {
        log::error!("cannot write the audit log: {error}: {} \"{target}\"", action.name());
    }
}

fn append(appliance: &Appliance, action: Action, target: &str, client: &str, key: &str) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let id = hex::encode(random::bytes::<8>()?);
    let plain = append_plain(appliance, now, &id, action, target, client, key);
    // Write the second line even if the first one failed.
    append_chained(appliance, now, &id, action, target, client, key).and(plain)
}

/// The ancestor's line, plus two fields at its end. The ancestor wrote no line for a failed request.
fn append_plain(
    appliance: &Appliance,
    now: Duration,
    id: &str,
    action: Action,
    target: &str,
    client: &str,
    key: &str,
) -> io::Result<()> {
    if action == Action::RequestFailed {
        return Ok(());
    }
    let name = action.name();
    // Nanoseconds have all digits, so that lines sort as text.
    let line = format!(
        "{:010}.{:09},{id},web,admin,{name},\"{}\",\"{client}\",\"{key}\"\n",
        now.as_secs(),
        now.subsec_nanos(),
        escape(target)
    );
    chain::open_log(&appliance.log_file("jidoteki-audit.log"))?.write_all(line.as_bytes())
}

fn append_chained(
    appliance: &Appliance,
    now: Duration,
    id: &str,
    action: Action,
    target: &str,
    client: &str,
    key: &str,
) -> io::Result<()> {
    let (result, durability) = match action.outcome() {
        Outcome::Done => ("done", Durability::Synced),
        Outcome::Failed => ("failed", Durability::Lazy),
        Outcome::Refused => ("refused", Durability::Lazy),
        Outcome::Noted => ("noted", Durability::Lazy),
    };
    let mut members = format!("\"time\":\"{}\",\"id\":\"{id}\"", timestamp(now));
    for (name, value) in
        [("action", action.name()), ("target", target), ("result", result), ("client", client), ("key", key)]
    {
        members.extend([",\"", name, "\":", &quote(value)]);
    }
    chain::append(appliance, &members, durability)
}

/// Makes a text safe between quotes on one line.
fn escape(text: &str) -> String {
    text.escape_default().to_string().replace("\\\"", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_cannot_end_its_line_or_its_quotes() {
        assert_eq!(escape("a\"b\nc\\"), "a'b\\nc\\\\");
        assert_eq!(escape("api/v1/admin/setup"), "api/v1/admin/setup");
    }
}
