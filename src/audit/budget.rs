//! Limits the lines for refusals: each key has a budget, and all unauthenticated callers share one.

use crate::appliance::Appliance;
use crate::appliance::slots::{self, Slot, Table};
use crate::values::clock;
use sha2::{Digest, Sha256};
use std::io;

/// Lines without a decision that a key, or all unauthenticated callers together, can cause at once.
const LINES: u32 = 600;
/// Seconds until another one can be written: 720 a day. A month of them is smaller than a log that is rotated early, so
/// they push out none of the owner's actions.
const SECONDS_A_LINE: u32 = 120;

/// The result of using the budget.
#[derive(Debug, PartialEq, Eq)]
pub enum Spent {
    /// Nothing is left: the line is counted, not written.
    Nothing,
    /// Write a line, after one about those that were left out before.
    Line(Option<String>),
}

/// The slots of a key, or of unauthenticated callers: one for the budget, the other for the number of lines left out.
fn slots_of(key: &str) -> (u64, u64) {
    let digest = Sha256::digest(key.as_bytes());
    let own = u64::from_be_bytes(digest[..8].try_into().expect("a digest has more than eight bytes")).max(1);
    (own, (!own).max(1))
}

fn seconds() -> u32 {
    u32::try_from(clock::now()).unwrap_or(u32::MAX)
}

pub fn spend(appliance: &Appliance, key: &str) -> io::Result<Spent> {
    let (own, left_out) = slots_of(key);
    slots::update(appliance, Table::Lines, own, |slots| spend_at(slots, own, left_out, seconds()))
}

fn spend_at(slots: &mut [Slot], own: u64, left_out: u64, now: u32) -> Spent {
    let budget = find(slots, own, now);
    let last = budget.time;
    // If the clock was set back, this line refills nothing.
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

/// The slot with this key. If there is none, replaces the slot that has been unused for longest.
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

pub fn count_left_out(appliance: &Appliance, key: &str) -> io::Result<Option<String>> {
    let (own, left_out) = slots_of(key);
    slots::update(appliance, Table::Lines, own, |slots| {
        let last = slots.iter().find(|slot| slot.key == own).map_or(0, |slot| slot.time);
        take_left_out(slots, left_out, last)
    })
}

/// Reports once how many lines were left out.
fn take_left_out(slots: &mut [Slot], key: u64, last: u32) -> Option<String> {
    let slot = slots.iter_mut().find(|slot| slot.key == key && slot.count > 0)?;
    let at = |seconds: u32| clock::utc(seconds.into());
    let text = format!("{} more between {} and {}", slot.count, at(slot.time), at(last));
    *slot = Slot::default();
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_callers_have_a_budget_of_lines_and_the_rest_is_counted() {
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
}
