//! Disk, memory and clock of the machine.

use super::{Findings, Severity};
use crate::appliance::Appliance;
use crate::audit;
use crate::machine::Machine;
use std::time::Duration;

/// Bytes that should be free for an update of usual size: 64 MiB.
const MIN_FREE: u64 = 64 << 20;
/// Bytes that should be free for logs: 8 MiB.
const MIN_FREE_LOG: u64 = 8 << 20;
/// Bytes of memory that should be available: 64 MiB.
const MIN_MEMORY: u64 = 64 << 20;
/// 2024-01-01: a clock that says less was never set.
const EARLIEST: u64 = 1_704_067_200;

impl Findings {
    pub(super) fn space(&mut self, appliance: &Appliance, machine: &Machine) {
        let places = [(appliance.uploads(), MIN_FREE, "uploads"), (appliance.log_file(""), MIN_FREE_LOG, "logs")];
        for (path, wanted, what) in places {
            if let Some(free) = (machine.free)(&path)
                && free < wanted
            {
                self.add(
                    Severity::Warning,
                    format_args!("only {} MiB are free for {what} in {}", free >> 20, path.display()),
                    format_args!("delete what is not needed; POST /backup with action=STOP deletes a backup"),
                );
            }
        }
        let text = machine.text("/proc/meminfo");
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB"));
        if let Some(available) = line.and_then(|kibibytes| kibibytes.trim().parse::<u64>().ok()).map(|kib| kib << 10)
            && available < MIN_MEMORY
        {
            self.add(
                Severity::Warning,
                format_args!("only {} MiB of memory are available", available >> 20),
                format_args!("give the machine more, or end what takes it: ps -eo rss,comm --sort=-rss | head"),
            );
        }
    }

    pub(super) fn clock(&mut self, machine: &Machine) {
        // The names of processes have 15 characters.
        const KEEPERS: [&str; 6] = ["systemd-timesyn", "chronyd", "ntpd", "ntpsec", "openntpd", "ptp4l"];
        let shown = audit::timestamp(Duration::from_secs(machine.now));
        if machine.now < EARLIEST {
            self.add(
                Severity::Error,
                format_args!(
                    "the clock says {}: certificates are not valid yet, and the logs have wrong times",
                    &shown[..10]
                ),
                format_args!("date -s 'YYYY-MM-DD HH:MM:SS', then hwclock -w"),
            );
        }
        if !machine.runs(&KEEPERS) {
            self.add(
                Severity::Warning,
                format_args!("nothing keeps the clock right: no program for NTP runs"),
                format_args!("apt-get install systemd-timesyncd, and POST /settings with an ntpserver"),
            );
        }
    }
}
