//! The two clocks: the one on the wall, which a change of the network may move, and the one that runs since the boot.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 for a time before.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |duration| duration.as_secs())
}

/// What tells this boot from every other, and the seconds since it.
pub fn boot() -> Option<(String, u64)> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    Some((id.trim().to_owned(), uptime.split('.').next()?.parse().ok()?))
}
