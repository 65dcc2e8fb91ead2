//! The audit log: one line a decision, appended in one write (behaviour, section 6), and the same as JSON in a log whose
//! lines vouch for each other.

use crate::appliance::Appliance;
use crate::chain::{self, Durability};
use crate::json::quote;
use crate::random;
use crate::slots::{self, Slot, Table};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Lines that are no decision and that the holder of one key, or all strangers together, may cause at once.
const LINES: u32 = 600;
/// Seconds after which one more of these is written: 720 a day. A month of them is less than what a log has before it is
/// rotated early, so they push nothing out that the owner decided.
const SECONDS_A_LINE: u32 = 120;

/// What is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Refused because first run is pending.
    FirstRunRefused,
    /// Refused for want of valid credentials.
    AuthenticationFailed,
    /// `POST /setup` refused for want of valid credentials.
    SetupRefused,
    /// A new token is in force.
    TokenUpdated,
    /// An update was started.
    UpdatePost,
    /// New settings were handed to their job.
    SettingsPost,
    /// New certificates were handed to their job.
    CertsPost,
    /// A new licence is in force.
    LicensePost,
    /// New storage settings were handed to their job.
    StoragePost,
    /// A backup was started or deleted.
    BackupPost,
    /// A backup was restored.
    BackupRestored,
    /// A backup was downloaded.
    BackupDownloaded,
    /// The appliance was told to restart.
    Reboot,
    /// Logs were downloaded.
    LogsDownloaded,
    /// A debug bundle was downloaded.
    DebugDownloaded,
    /// A key was used for what its scope does not allow.
    ScopeRefused,
    /// A credential stood in a query or a form, which is allowed but should not be.
    LegacyUsed,
    /// A request came from a page of another site, or by a name that is not ours.
    ForeignRefused,
    /// Somebody who may change something tried to, and it was not done.
    RequestFailed,
    /// A named token was made at the console.
    TokenAdded,
    /// A named token was taken away at the console.
    TokenRemoved,
    /// The first token was changed at the console.
    TokenRotated,
    /// Refusals were forgotten at the console.
    Unlocked,
    /// Some lines were left out, because there were too many.
    LeftOut,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
    Failed,
    /// Nothing was decided; it is worth knowing nevertheless.
    Noted,
}

impl Action {
    fn outcome(self) -> Outcome {
        match self {
            Action::FirstRunRefused
            | Action::AuthenticationFailed
            | Action::SetupRefused
            | Action::ScopeRefused
            | Action::ForeignRefused => Outcome::Refused,
            Action::RequestFailed => Outcome::Failed,
            Action::LegacyUsed | Action::LeftOut => Outcome::Noted,
            Action::TokenUpdated
            | Action::UpdatePost
            | Action::SettingsPost
            | Action::CertsPost
            | Action::LicensePost
            | Action::StoragePost
            | Action::BackupPost
            | Action::BackupRestored
            | Action::BackupDownloaded
            | Action::Reboot
            | Action::LogsDownloaded
            | Action::DebugDownloaded
            | Action::TokenAdded
            | Action::TokenRemoved
            | Action::TokenRotated
            | Action::Unlocked => Outcome::Done,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Action::FirstRunRefused => "token.firstrun.failed",
            Action::AuthenticationFailed => "token.authenticate.failed",
            Action::SetupRefused => "token.setup.failed",
            Action::TokenUpdated => "token.update.success",
            Action::UpdatePost => "update.post",
            Action::SettingsPost => "settings.post",
            Action::CertsPost => "certs.post",
            Action::LicensePost => "license.post",
            Action::StoragePost => "storage.post",
            Action::BackupPost => "backup.post",
            Action::BackupRestored => "backup.restore",
            Action::BackupDownloaded => "backup.download",
            Action::Reboot => "reboot.get",
            Action::LogsDownloaded => "logs.get",
            Action::DebugDownloaded => "debug.get",
            Action::ScopeRefused => "token.scope.failed",
            Action::LegacyUsed => "token.legacy.used",
            Action::ForeignRefused => "request.foreign.failed",
            Action::RequestFailed => "request.failed",
            Action::TokenAdded => "token.add",
            Action::TokenRemoved => "token.remove",
            Action::TokenRotated => "token.rotate",
            Action::Unlocked => "refusals.forget",
            Action::LeftOut => "lines.left.out",
        }
    }
}

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

/// What became of the budget.
#[derive(Debug, PartialEq, Eq)]
enum Spent {
    /// There is none left: the line is counted, not written.
    Nothing,
    /// A line, after one about those that were left out before.
    Line(Option<String>),
}

/// The slots of a key, or of strangers, in their bucket: one for the budget, the other for what was left out.
fn slots_of(key: &str) -> (u64, u64) {
    let digest = Sha256::digest(key.as_bytes());
    let own = u64::from_be_bytes(digest[..8].try_into().expect("a digest has more than eight bytes")).max(1);
    (own, (!own).max(1))
}

fn seconds() -> u32 {
    u32::try_from(crate::clock::now()).unwrap_or(u32::MAX)
}

fn spend(appliance: &Appliance, key: &str) -> io::Result<Spent> {
    let (own, left_out) = slots_of(key);
    slots::update(appliance, Table::Lines, own, |slots| spend_at(slots, own, left_out, seconds()))
}

fn spend_at(slots: &mut [Slot], own: u64, left_out: u64, now: u32) -> Spent {
    let budget = find(slots, own, now);
    let last = budget.time;
    // A clock that was set back gives nothing back, once.
    budget.count = budget.count.saturating_sub(now.saturating_sub(last));
    budget.time = now;
    if budget.count + SECONDS_A_LINE > LINES * SECONDS_A_LINE {
        let counted = find(slots, left_out, now);
        counted.count = counted.count.saturating_add(1);
        return Spent::Nothing;
    }
    budget.count += SECONDS_A_LINE;
    Spent::Line(take_left_out(slots, left_out, last))
}

/// The slot with a key. The one that was quiet for longest gives way.
fn find(slots: &mut [Slot], key: u64, now: u32) -> &mut Slot {
    let at = slots.iter().position(|slot| slot.key == key).unwrap_or_else(|| {
        let oldest = slots.iter().enumerate().min_by_key(|(_, slot)| (slot.time, slot.count));
        oldest.map_or(0, |(at, _)| at)
    });
    if slots[at].key != key {
        slots[at] = Slot { key, time: now, count: 0 };
    }
    &mut slots[at]
}

fn count_left_out(appliance: &Appliance, key: &str) -> io::Result<Option<String>> {
    let (own, left_out) = slots_of(key);
    slots::update(appliance, Table::Lines, own, |slots| {
        let last = slots.iter().find(|slot| slot.key == own).map_or(0, |slot| slot.time);
        take_left_out(slots, left_out, last)
    })
}

/// Says how many lines were left out, once.
fn take_left_out(slots: &mut [Slot], key: u64, last: u32) -> Option<String> {
    let slot = slots.iter_mut().find(|slot| slot.key == key && slot.count > 0)?;
    let at = |seconds: u32| timestamp(Duration::from_secs(seconds.into()))[..19].to_owned() + "Z";
    let text = format!("{} more between {} and {}", slot.count, at(slot.time), at(last));
    *slot = Slot::default();
    Some(text)
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

/// A time as RFC 3339 has it, in UTC.
pub fn timestamp(time: Duration) -> String {
    let (days, seconds) = (time.as_secs() / 86400, time.as_secs() % 86400);
    // Years that begin in March end with the leap day, so that months have the same days in each (after Hinnant,
    // "chrono-compatible low-level date algorithms"). 719468 days lie between 0000-03-01 and 1970-01-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year_of_era + turn;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        time.subsec_nanos()
    )
}

/// A text that can stand between quotes on one line.
fn escape(text: &str) -> String {
    text.escape_default().to_string().replace("\\\"", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_that_of_the_calendar() {
        for (seconds, nanoseconds, wanted) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, 1, "2000-02-28T23:59:59.000000001Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000000Z"),
            (1_709_251_199, 0, "2024-02-29T23:59:59.000000000Z"),
            (1_735_689_599, 999_999_999, "2024-12-31T23:59:59.999999999Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(timestamp(Duration::new(seconds, nanoseconds)), wanted);
        }
    }

    #[test]
    fn strangers_have_a_budget_of_lines_and_what_is_beyond_it_is_counted() {
        const NOW: u32 = 1_800_000_000;
        let mut slots = [Slot::default(); 8];
        let mut spend = |now| spend_at(&mut slots, 1, 2, now);
        for _ in 0..LINES {
            assert_eq!(spend(NOW), Spent::Line(None));
        }
        for second in [0, 5, SECONDS_A_LINE - 1] {
            assert_eq!(spend(NOW + second), Spent::Nothing);
        }
        let text = "3 more between 2027-01-15T08:00:00Z and 2027-01-15T08:01:59Z";
        assert_eq!(spend(NOW + SECONDS_A_LINE), Spent::Line(Some(text.to_owned())));
        assert_eq!(spend(NOW + SECONDS_A_LINE), Spent::Nothing, "one line was given back, not more");
        // A day of guesses.
        let n_written = (0..86_400).filter(|second| spend(NOW + 1000 + second) != Spent::Nothing).count();
        assert!((700..=740).contains(&n_written), "{n_written}");
        assert_ne!(spend(NOW + 10 * 86_400), Spent::Nothing);
        assert_eq!(spend(NOW + 10 * 86_400), Spent::Line(None), "it is said once");
    }

    #[test]
    fn a_target_cannot_end_its_line_or_its_quotes() {
        assert_eq!(escape("a\"b\nc\\"), "a'b\\nc\\\\");
        assert_eq!(escape("api/v1/admin/setup"), "api/v1/admin/setup");
    }
}
