//! What an appliance has of the ancestor whose place we took: files that the API's user must be able to read, the jobs that
//! were kept, lists and certificates where the ancestor had them (docs/MIGRATION.md).

use super::{Findings, Severity};
use crate::appliance::Appliance;
use crate::console::machine::{Machine, USER};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Files below `etc` that the API answers with.
const ANSWERS: [&str; 10] = [
    "app.json",
    "changelog.txt",
    "health.json",
    "license.asc",
    "network.json",
    "status_certs.txt",
    "status_update.json",
    "status_update.txt",
    "storage.json",
    "version.txt",
];

/// Written by `install.sh` when it takes a machine over.
const TAKEOVER: &str = "/etc/jidoteki-admin-api/takeover";

/// Whether this machine was taken over from the ancestor, whose owners and modes others rely on.
pub(super) fn is_taken_over(machine: &Machine) -> bool {
    machine.file(TAKEOVER).exists()
}

/// Whether the ancestor's jobs are what runs there: they read their lists in their own way.
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
                    format_args!("{USER} cannot read {shown}, so the API does not know it"),
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
                format_args!("{USER} cannot start {shown}, so no job runs where systemd does not"),
                format_args!("run ./install.sh again: it takes the ancestor's wrapper.sh over"),
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

    /// The ancestor's job puts a certificate where the ancestor served it from; ours are served from elsewhere.
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
                format_args!("the certificate in {old} is not the one that is served"),
                format_args!(
                    "{} puts it in force; {} says why not",
                    job.display(),
                    appliance.log_file("update_certs.log").display()
                ),
            );
        }
    }
}
