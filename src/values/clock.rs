//! Two clocks: wall time, which a change of the network can set, and time since boot. Also the calendar.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 for an earlier time.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |duration| duration.as_secs())
}

/// The id of this boot, and the seconds since it.
pub fn boot() -> Option<(String, u64)> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    Some((id.trim().to_owned(), uptime.split('.').next()?.parse().ok()?))
}

/// A time as RFC 3339, in UTC, with nanoseconds.
pub fn timestamp(time: Duration) -> String {
    let (days, seconds) = (time.as_secs() / 86400, time.as_secs() % 86400);
    // Years that start in March end with the leap day, so that months have the same days in every year (after Hinnant,
    // "chrono-compatible low-level date algorithms"). There are 719468 days between 0000-03-01 and 1970-01-01.
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

/// Seconds since 1970 as RFC 3339, in UTC.
pub fn utc(seconds: u64) -> String {
    timestamp(Duration::from_secs(seconds))[..19].to_owned() + "Z"
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
}
