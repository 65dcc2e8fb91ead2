//! Small facts about many callers in files of a fixed size, so that storage is bounded whatever clients send.
//!
//! A file is a table of slots in buckets. A fact can only be in the bucket of its key, so a lookup costs the same
//! however full the table is.

use crate::appliance::{self, Appliance};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Bytes of a slot.
const SLOT: usize = 16;

/// One fact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slot {
    /// Its key; 0 for an empty slot.
    pub key: u64,
    /// Seconds since 1970.
    pub time: u32,
    /// A counter; for facts that are stored once, the order in the bucket.
    pub count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Nonces of signed requests, per key, so that one key cannot fill another's table.
    Nonces(u64),
    /// Refused requests, by source.
    Refusals,
    /// Lines of the audit log, by caller.
    Lines,
}

impl Table {
    /// The numbers of buckets, and of slots in each. 20 signed requests a second are 12,000 nonces at a time, 23 per
    /// bucket: statistically, one overflows in ten thousand years. Refusals can be dropped, and need less.
    fn shape(self) -> (u64, usize) {
        match self {
            Table::Nonces(_) => (512, 64),
            Table::Refusals => (2048, 8),
            Table::Lines => (64, 8),
        }
    }

    fn path(self, appliance: &Appliance) -> PathBuf {
        appliance.state_file(&match self {
            Table::Nonces(key) => format!("nonces-{key:016x}"),
            Table::Refusals => "refusals".to_owned(),
            Table::Lines => "lines".to_owned(),
        })
    }
}

/// Changes the bucket of a key under a lock. Fails if the appliance has no directory `state`.
pub fn update<R>(
    appliance: &Appliance,
    table: Table,
    key: u64,
    change: impl FnOnce(&mut [Slot]) -> R,
) -> io::Result<R> {
    let (n_buckets, n_slots) = table.shape();
    let file = appliance::open_own(&table.path(appliance), Some(0o600))?;
    file.lock()?;
    let mut bytes = vec![0; n_slots * SLOT];
    let offset = key % n_buckets * bytes.len() as u64;
    // Beyond the end of the file, all slots are empty.
    let mut n_read = 0;
    while n_read < bytes.len() {
        match file.read_at(&mut bytes[n_read..], offset + n_read as u64)? {
            0 => break,
            n => n_read += n,
        }
    }
    let read = |bytes: &[u8]| Slot { key: number(&bytes[..8]), time: short(&bytes[8..12]), count: short(&bytes[12..]) };
    let mut slots: Vec<Slot> = bytes.chunks_exact(SLOT).map(read).collect();
    let result = change(&mut slots);
    let before = bytes.clone();
    for (slot, bytes) in slots.iter().zip(bytes.chunks_exact_mut(SLOT)) {
        bytes[..8].copy_from_slice(&slot.key.to_le_bytes());
        bytes[8..12].copy_from_slice(&slot.time.to_le_bytes());
        bytes[12..].copy_from_slice(&slot.count.to_le_bytes());
    }
    if bytes != before {
        file.write_all_at(&bytes, offset)?;
    }
    Ok(result)
}

/// Why a fact is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// It is already stored.
    Known,
    /// Its bucket is full of facts that must stay.
    NoRoom,
}

/// Stores a key with its time, once. Facts within `span` seconds of now stay. Others are replaced only if there is no
/// room: oldest first, those in the future last. A clock that restarts in 1970 comes back to a time in its past or
/// future, and must still find those facts.
pub fn store_once(slots: &mut [Slot], key: u64, time: u32, span: u64, now: u64) -> Result<(), NotStored> {
    if slots.iter().any(|slot| slot.key == key && slot.time == time) {
        return Err(NotStored::Known);
    }
    let count = slots.iter().map(|slot| slot.count).max().unwrap_or(0).saturating_add(1);
    let slot = slots
        .iter_mut()
        .filter(|slot| slot.key == 0 || u64::from(slot.time).abs_diff(now) > span)
        .min_by_key(|slot| (u64::from(slot.time) > now, slot.count))
        .ok_or(NotStored::NoRoom)?;
    *slot = Slot { key, time, count };
    Ok(())
}

pub fn clear(appliance: &Appliance, table: Table) -> io::Result<()> {
    match appliance::open_own(&table.path(appliance), None) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        file => {
            let file = file?;
            file.lock()?;
            file.set_len(0)
        }
    }
}

/// Removes a table that is no longer used.
pub fn remove(appliance: &Appliance, table: Table) -> io::Result<()> {
    match fs::remove_file(table.path(appliance)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a table exists.
pub fn exists(appliance: &Appliance, table: Table) -> bool {
    table.path(appliance).exists()
}

/// The key of a fact about these bytes.
pub fn key_of(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has more than eight bytes")).max(1)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn short(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_slots_are_read_back_and_the_table_does_not_grow() {
        let root = std::env::temp_dir().join(format!("slots-{}", std::process::id()));
        fs::create_dir_all(root.join("state")).unwrap();
        let appliance = Appliance::new(Some(root.clone().into()), None);
        let slot = Slot { key: u64::MAX, time: 1_432_140_922, count: 7 };
        for (table, name, n_slots, n_bytes) in [
            (Table::Nonces(7), "nonces-0000000000000007", 64, 512 << 10),
            (Table::Refusals, "refusals", 8, 256 << 10),
            (Table::Lines, "lines", 8, 8 << 10),
        ] {
            update(&appliance, table, slot.key, |slots| slots[3] = slot).unwrap();
            assert_eq!(update(&appliance, table, slot.key, |slots| slots.to_vec()).unwrap()[3], slot);
            assert_eq!(update(&appliance, table, 0, |slots| slots.to_vec()).unwrap(), vec![Slot::default(); n_slots]);
            for key in 1..10_000_u64 {
                update(&appliance, table, key * 7919, |slots| slots[0].count += 1).unwrap();
            }
            assert_eq!(fs::metadata(root.join("state").join(name)).unwrap().len(), n_bytes);
            clear(&appliance, table).unwrap();
            assert_eq!(
                update(&appliance, table, slot.key, |slots| slots.to_vec()).unwrap(),
                vec![Slot::default(); n_slots]
            );
            assert!(exists(&appliance, table));
            remove(&appliance, table).unwrap();
            remove(&appliance, table).unwrap();
            assert!(!exists(&appliance, table));
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_table_that_was_cut_off_is_empty_there() {
        let root = std::env::temp_dir().join(format!("slots-cut-{}", std::process::id()));
        fs::create_dir_all(root.join("state")).unwrap();
        let appliance = Appliance::new(Some(root.clone().into()), None);
        let slot = Slot { key: 1, time: NOW, count: 7 };
        for key in 0..2 {
            update(&appliance, Table::Lines, key, |slots| slots.fill(slot)).unwrap();
        }
        // In the middle of the second bucket.
        fs::File::options().write(true).open(root.join("state/lines")).unwrap().set_len(10 * SLOT as u64).unwrap();
        let second = update(&appliance, Table::Lines, 1, |slots| slots.to_vec()).unwrap();
        assert_eq!(second, [vec![slot; 2], vec![Slot::default(); 6]].concat());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_missing_table_is_clear_and_one_that_cannot_be_cleared_is_an_error() {
        let root = std::env::temp_dir().join(format!("slots-clear-{}", std::process::id()));
        fs::create_dir_all(root.join("state")).unwrap();
        let appliance = Appliance::new(Some(root.clone().into()), None);
        clear(&appliance, Table::Refusals).unwrap();
        assert!(!root.join("state/refusals").exists());
        fs::create_dir(root.join("state/refusals")).unwrap();
        assert!(clear(&appliance, Table::Refusals).is_err());
        assert!(remove(&appliance, Table::Refusals).is_err());
        fs::remove_dir_all(root).unwrap();
    }

    const NOW: u32 = 1_800_000_000;

    fn remember(slots: &mut [Slot], key: u64, time: u32, now: u32) -> Result<(), NotStored> {
        store_once(slots, key, time, 600, now.into())
    }

    #[test]
    fn twenty_signed_requests_a_second_lose_none() {
        let (n_buckets, n_slots) = Table::Nonces(1).shape();
        let mut buckets = vec![vec![Slot::default(); n_slots]; usize::try_from(n_buckets).unwrap()];
        let mut key = 88_172_645_463_325_252_u64;
        for second in 0..3600 {
            for _ in 0..20 {
                // Xorshift, after Marsaglia: uniform like digests, and the same each time.
                key ^= key << 13;
                key ^= key >> 7;
                key ^= key << 17;
                let bucket = &mut buckets[usize::try_from(key % n_buckets).unwrap()];
                assert_eq!(remember(bucket, key, NOW + second, NOW + second), Ok(()), "second {second}");
            }
        }
    }

    #[test]
    fn a_clock_that_starts_again_in_1970_forgets_nothing_that_it_will_believe_again() {
        let mut slots = [Slot::default(); 8];
        remember(&mut slots, 1, NOW, NOW).unwrap();
        // The battery is flat: the next facts are from another time, and more than there is room for.
        for key in 2..20_u32 {
            remember(&mut slots, key.into(), key * 1000, key * 1000).unwrap();
        }
        assert_eq!(remember(&mut slots, 1, NOW, NOW + 100), Err(NotStored::Known), "the time is known again");
    }

    #[test]
    fn nonces_stored_under_a_wrong_clock_are_kept_while_there_is_room() {
        let mut slots = [Slot::default(); 8];
        remember(&mut slots, 1, 100, 100).unwrap();
        for key in 2..=8_u32 {
            remember(&mut slots, key.into(), NOW + key * 1000, NOW + key * 1000).unwrap();
        }
        assert_eq!(remember(&mut slots, 1, 100, 120), Err(NotStored::Known), "the next start in 1970");
    }

    #[test]
    fn a_wrong_clock_locks_no_client_out_for_ever() {
        let mut slots = [Slot::default(); 8];
        for key in 1..=8_u32 {
            remember(&mut slots, key.into(), u32::MAX - key, u32::MAX).unwrap();
        }
        assert_eq!(remember(&mut slots, 9, u32::MAX, u32::MAX), Err(NotStored::NoRoom));
        remember(&mut slots, 9, NOW, NOW).unwrap();
    }

    #[test]
    fn a_fact_stays_for_its_span_and_the_one_stored_first_gives_way() {
        let mut slots = [Slot::default(); 2];
        for (key, time, now, stored) in [
            (1, NOW, NOW, Ok(())),
            (2, NOW, NOW, Ok(())),
            (1, NOW, NOW, Err(NotStored::Known)),
            // The same key with another time is another fact.
            (1, NOW + 1, NOW, Err(NotStored::NoRoom)),
            (3, NOW, NOW + 600, Err(NotStored::NoRoom)),
            (3, NOW + 601, NOW + 601, Ok(())),
            (2, NOW, NOW + 601, Err(NotStored::Known)),
        ] {
            assert_eq!(remember(&mut slots, key, time, now), stored, "{key} {time} {now}");
        }
        assert_eq!(slots[0].key, 3);
    }

    #[test]
    fn a_key_is_the_start_of_the_digest_and_never_that_of_an_empty_slot() {
        assert_eq!(key_of(b"abc"), 0xba78_16bf_8f01_cfea);
        assert_eq!((number(&[1, 2, 0, 0, 0, 0, 0, 3]), short(&[1, 2, 0, 4])), (0x0300_0000_0000_0201, 0x0400_0201));
    }
}
