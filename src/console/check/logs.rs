//! The logs: whether the audit log is intact, and whether all of them are rotated.

use super::{AGAIN, Findings, Severity};
use crate::appliance::Appliance;
use crate::console::machine::Machine;
use crate::console::verify::{self, Fault};
use std::fs;

/// Maximum bytes of a rotated log: 64 MiB.
const MAX_LOG: u64 = 64 << 20;

impl Findings {
    pub(super) fn audit(&mut self, appliance: &Appliance) {
        if let Err(Fault::Broken(reason)) = verify::verify(appliance, &[]) {
            self.add(
                Severity::Error,
                format_args!("the audit log was altered: {reason}"),
                format_args!(
                    "save a copy of {} and find out who changed it; rotation eventually removes the broken part",
                    appliance.log_file("").display()
                ),
            );
        }
    }

    pub(super) fn rotation(&mut self, appliance: &Appliance, machine: &Machine) {
        let file = "/etc/logrotate.d/jidoteki-admin-api";
        if !machine.text(file).contains("jidoteki-audit.jsonl") {
            self.add(Severity::Warning, format_args!("{file} does not rotate the audit log"), format_args!("{AGAIN}"));
        }
        let mut logs: Vec<_> = [appliance.log_file(""), appliance.audit_file("")]
            .iter()
            .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()))
            .collect();
        logs.sort();
        for path in logs {
            if let Ok(metadata) = fs::metadata(&path)
                && metadata.len() > MAX_LOG
            {
                self.add(
                    Severity::Warning,
                    format_args!("{} has {} MiB and is not rotated", path.display(), metadata.len() >> 20),
                    format_args!("logrotate -v {file} shows why"),
                );
            }
        }
    }
}
