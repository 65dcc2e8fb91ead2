//! Whether jobs can run as root, how the last ones ended, and which changes wait for confirmation.

use super::{AGAIN, Findings, Severity};
use crate::appliance::Appliance;
use crate::console::machine::{Machine, USER};
use crate::jobs::Job;
use crate::jobs::status::{self, JobStatus, Phase};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Jobs that need sudo.
pub(super) const JOBS: [&str; 13] = [
    "token", "update", "inspect", "settings", "certs", "license", "storage", "backup", "logs", "debug", "services",
    "reboot", "monitor",
];

impl Findings {
    pub(super) fn jobs(&mut self, appliance: &Appliance) {
        let read = |job, json, text| JobStatus::read(appliance, job, json, text).phase == Phase::Interrupted;
        let backup = appliance.uploads().join("backup.json");
        let says_running = || {
            status::read_object(&backup)
                .is_some_and(|object| object.get("status").is_some_and(|raw| raw.get() == "\"running\""))
        };
        let is_backup = status::phase_of_file(appliance, Job::Backup, &backup, says_running) == Phase::Interrupted;
        for (name, is_interrupted) in [
            ("update", read(Job::Update, Some("status_update.json"), "status_update.txt")),
            ("certs", read(Job::Certs, None, "status_certs.txt")),
            ("settings", read(Job::Settings, None, "status_settings.txt")),
            ("storage", read(Job::Storage, None, "status_storage.txt")),
            ("backup", is_backup),
        ] {
            if is_interrupted {
                self.add(
                    Severity::Warning,
                    format_args!("the last {name} job was interrupted"),
                    format_args!("send POST /{name} again; the interrupted job does not block it"),
                );
            }
        }
        for (name, file) in [("settings", "pending_settings.txt"), ("certs", "pending_certs.txt")] {
            match status::pending(appliance, file) {
                Ok(None) => {}
                Ok(Some(seconds)) => self.add(
                    Severity::Warning,
                    format_args!("a change of {name} is pending, and will be rolled back in {seconds} seconds"),
                    format_args!("to keep it, send POST /{name}/confirm"),
                ),
                Err(error) => self.add(
                    Severity::Error,
                    format_args!("cannot read {error}: a change of {name} may be pending, so no other is accepted"),
                    format_args!("reboot; if the file still exists, `rm -r` it"),
                ),
            }
        }
    }

    pub(super) fn sudo(&mut self, appliance: &Appliance, machine: &Machine) {
        let file = "/etc/sudoers.d/jidoteki-admin-api";
        if !machine.file(file).exists() {
            return self.add(
                Severity::Error,
                format_args!("{file} is missing, so no job can run as root"),
                format_args!("{AGAIN}"),
            );
        }
        if !machine.is_root {
            return;
        }
        let Some(valid) = machine.ask("visudo", &["-c", "-q"]) else {
            return self.add(
                Severity::Error,
                format_args!("sudo is not installed, so no job can run as root"),
                format_args!("apt-get install sudo"),
            );
        };
        if !valid.is_good {
            let reason = valid.text.lines().next().unwrap_or_default().to_owned();
            return self.add(
                Severity::Error,
                format_args!("the sudo rules are invalid, so sudo does not work at all: {reason}"),
                format_args!(
                    "visudo -c shows the file; edit /etc/sudoers with visudo, files in /etc/sudoers.d with visudo -f"
                ),
            );
        }
        let rights = machine.ask("sudo", &["-n", "-l", "-U", USER]).map(|said| said.text).unwrap_or_default();
        // The ancestor's jobs start from another directory.
        let is_kept = appliance.wrapper().ends_with("start.sh");
        let bin = appliance.admin().join(if is_kept { "bin/kept" } else { "bin/jobs" });
        // sudo wraps long lists.
        let rights: String = rights.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_missing = |job: &&&str| !rights.contains(&format!("{} ", bin.join(job).display()));
        let missing: Vec<&str> = JOBS.iter().filter(is_missing).copied().collect();
        if !missing.is_empty() || !rights.contains("NOPASSWD") {
            let missing = if missing.is_empty() { "any job without a password".to_owned() } else { missing.join(", ") };
            self.add(Severity::Error, format_args!("sudo does not let {USER} run {missing}"), format_args!("{AGAIN}"));
        }
    }

    pub(super) fn minute(&mut self, appliance: &Appliance, machine: &Machine) {
        let written = fs::metadata(appliance.etc_file("health.json")).map(|metadata| metadata.mtime());
        let age = written.ok().and_then(|time| Some(machine.now.saturating_sub(u64::try_from(time).ok()?)));
        if age.is_none_or(|age| age > 600) {
            self.add(
                Severity::Warning,
                format_args!(
                    "the minute job does not run: health is outdated, and unconfirmed changes are not rolled back"
                ),
                format_args!("systemctl enable --now jidoteki-admin-api-minute.timer; without systemd, start cron"),
            );
        }
    }
}
