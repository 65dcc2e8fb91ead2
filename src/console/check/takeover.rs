//! A migrated appliance: files that the API's user must be able to read, the ancestor's jobs, and its lists and
//! certificates (docs/MIGRATION.md).

use super::{Findings, Severity};
use crate::appliance::Appliance;
use crate::console::machine::{Machine, USER};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Files below `etc` that the API returns.
const ANSWERS: [&str; 11] = [
    "app.json",
    "changelog.txt",
    "health.json",
    "license.asc",
    "machine.json",
    "network.json",
    "status_certs.txt",
    "status_update.json",
    "status_update.txt",
    "storage.json",
    "version.txt",
];

/// Written by `install.sh` when it migrates a machine.
const TAKEOVER: &str = "/etc/jidoteki-admin-api/takeover";

/// Whether this machine was migrated, so that others rely on the ancestor's owners and modes.
pub(super) fn is_taken_over(machine: &Machine) -> bool {
    machine.file(TAKEOVER).exists()
}

/// Whether the ancestor's jobs run there: they read lists differently.
pub(super) fn keeps_jobs(machine: &Machine) -> bool {
    machine.text(TAKEOVER).lines().any(|line| line == "jobs keep")
}

impl Findings {
    pub(super) fn readable(&mut self, appliance: &Appliance, machine: &Machine) {
        let Some((user, group)) = machine.user(USER) else { return };
        let may = |metadata: &fs::Metadata, bit: u32| {
            let mode = metadata.mode();
            if metadata.uid() == user {
                mode & (bit << 6) != 0
            } else if metadata.gid() == group {
                mode & (bit << 3) != 0
            } else {
                mode & bit != 0
            }
        };
        let name = machine.group(group).unwrap_or_else(|| USER.to_owned());
        for path in ANSWERS.iter().map(|name| appliance.etc_file(name)) {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if !may(&metadata, 4) {
                let shown = path.display();
                self.add(
                    Severity::Error,
                    format_args!("{USER} cannot read {shown}, so the API cannot return it"),
                    format_args!("chgrp {name} {shown} && chmod g+r {shown}"),
                );
            }
        }
        let wrapper = appliance.wrapper();
        if let Ok(metadata) = fs::metadata(&wrapper)
            && metadata.mode() & 0o111 != 0
            && !may(&metadata, 1)
        {
            let shown = wrapper.display();
            self.add(
                Severity::Error,
                format_args!("{USER} cannot run {shown}, so no job runs without systemd"),
                format_args!("run ./install.sh again; it adapts the ancestor's wrapper.sh"),
            );
        }
    }

    pub(super) fn takeover(&mut self, appliance: &Appliance, machine: &Machine) {
        if !is_taken_over(machine) {
            return;
        }
        if keeps_jobs(machine) {
            self.old_certificate(appliance, machine);
        }
    }

    /// The ancestor's job installs a certificate where the ancestor served it; our server reads another directory.
    fn old_certificate(&mut self, appliance: &Appliance, machine: &Machine) {
        let (old, served) = (
            appliance.etc().join("pki/tls/enterprise.pem").display().to_string(),
            appliance.etc().join("tls/current/appliance.pem").display().to_string(),
        );
        let fingerprint = |path: &str| {
            machine
                .ask("openssl", &["x509", "-noout", "-fingerprint", "-sha256", "-in", path])
                .filter(|said| said.is_good)
                .map(|said| said.text)
        };
        if let Some(wanted) = fingerprint(&old)
            && fingerprint(&served).as_ref() != Some(&wanted)
        {
            let job = appliance.admin().join("bin/jobs/old-certificate");
            self.add(
                Severity::Error,
                format_args!("the certificate in {old} is not the one being served"),
                format_args!(
                    "run {} to install it; {} has the reason if that fails",
                    job.display(),
                    appliance.log_file("update_certs.log").display()
                ),
            );
        }
    }
}
