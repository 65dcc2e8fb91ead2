//! Writes the lines of a decision: the ancestor's, and the one in the chain.

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

/// Appends a line. `target` is a word or a path of ours, never a client's text; `client` is the address it came from, `key`
/// the name of the key that opened, empty for none.
///
/// A log that cannot be written is a line in the other log, not a reason to refuse: whoever fills the disk would
/// otherwise lock the administrator out.
///
/// What was done is always written. Of the rest each key has a budget, and all strangers together have one: beyond it they
/// are counted, and the next line says how many there were.
pub fn record(appliance: &Appliance, action: Action, target: &str, client: &str, key: &str) {
    let left_out = if action.outcome() == Outcome::Done {
        // The owner's decision brings the count of strangers with it, which otherwise waits for the next of them.
        slots::is_there(appliance, Table::Lines).then(|| count_left_out(appliance, "")).transpose().map(Option::flatten)
    } else {
        match spend(appliance, key) {
            Ok(Spent::Nothing) => return,
            Ok(Spent::Line(left_out)) => Ok(left_out),
            // Where there is no folder for it nothing is counted, and every line is written, as the ancestor does.
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
    // Whatever became of the first line, the second one is worth having.
    append_chained(appliance, now, &id, action, target, client, key).and(plain)
}

/// The line of the ancestor, with two fields after its own. What failed had none.
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
    // Nanoseconds are written out in full, so that lines sort as text.
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

/// A text that can stand between quotes on one line.
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
