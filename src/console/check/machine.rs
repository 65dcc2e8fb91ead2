//! Disk, memory, clock and network of the machine.

use super::{Findings, Severity};
use crate::appliance::Appliance;
use crate::console::machine::Machine;
use std::os::unix::fs::MetadataExt;

/// Minimum free bytes for an update of usual size: 64 MiB.
const MIN_FREE: u64 = 64 << 20;
/// Minimum free bytes for logs: 8 MiB.
const MIN_FREE_LOG: u64 = 8 << 20;
/// Minimum available bytes of memory: 64 MiB.
const MIN_MEMORY: u64 = 64 << 20;
/// 2024-01-01: an earlier time means that the clock was never set.
const MIN_CLOCK: u64 = 1_704_067_200;

const DAY: u64 = 86_400;

impl Findings {
    /// Whether `network.sh` finds a network manager that it supports.
    pub(super) fn network(&mut self, machine: &Machine) {
        let has_ifupdown = ["/sbin/ifup", "/usr/sbin/ifup"].iter().any(|path| machine.file(path).exists())
            && machine.file("/etc/network/interfaces").exists();
        // An image can have a script of its own, which needs none of these.
        let is_ours = machine.text("/etc/jidoteki-admin-api/installed").contains("/bin/network.sh\n");
        if is_ours && !has_ifupdown && !machine.runs(&["systemd-network", "NetworkManager"]) {
            self.add(
                Severity::Warning,
                format_args!(
                    "POST /settings cannot configure the network: no NetworkManager, systemd-networkd or ifupdown"
                ),
                format_args!("systemctl enable --now systemd-networkd, or replace bin/network.sh with the image's own"),
            );
        }
    }

    pub(super) fn space(&mut self, appliance: &Appliance, machine: &Machine) {
        let places = [(appliance.uploads(), MIN_FREE, "uploads"), (appliance.log_file(""), MIN_FREE_LOG, "logs")];
        for (path, wanted, what) in places {
            if let Some(free) = (machine.free)(&path)
                && free < wanted
            {
                self.add(
                    Severity::Warning,
                    format_args!("only {} MiB free for {what} in {}", free >> 20, path.display()),
                    format_args!("delete unused files; POST /backup with action=STOP deletes a backup"),
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
                format_args!("only {} MiB of memory available", available >> 20),
                format_args!("add memory, or stop programs that use it: ps -eo rss,comm --sort=-rss | head"),
            );
        }
    }

    pub(super) fn clock(&mut self, machine: &Machine) {
        // Process names have at most 15 characters.
        const NTP_CLIENTS: [&str; 6] = ["systemd-timesyn", "chronyd", "ntpd", "ntpsec", "openntpd", "ptp4l"];
        let shown = crate::values::clock::utc(machine.now);
        if machine.now < MIN_CLOCK {
            self.add(
                Severity::Error,
                format_args!(
                    "the clock says {}: certificates are not valid yet, and the logs have wrong times",
                    &shown[..10]
                ),
                format_args!("date -s 'YYYY-MM-DD HH:MM:SS', then hwclock -w"),
            );
        }
        let executable = machine.file("/usr/local/bin/jidoteki-admin-api");
        let installed = std::fs::metadata(&executable).ok().and_then(|metadata| u64::try_from(metadata.mtime()).ok());
        if machine.now >= MIN_CLOCK && installed.is_some_and(|installed| machine.now + DAY < installed) {
            self.add(
                Severity::Error,
                format_args!("the clock says {}, before the day of the installation", &shown[..10]),
                format_args!("date -s 'YYYY-MM-DD HH:MM:SS', then hwclock -w"),
            );
        }
        if !machine.runs(&NTP_CLIENTS) {
            self.add(
                Severity::Warning,
                format_args!("the clock is not synchronized: no NTP client is running"),
                format_args!("apt-get install systemd-timesyncd, then POST /settings with an ntpserver"),
            );
        }
    }
}
