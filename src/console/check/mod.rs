//! What can be wrong with an installation, and the command that mends each: a file a subject.

mod certificate;
mod configuration;
mod door;
mod files;
mod jobs;
mod logs;
mod machine;
mod servers;
mod takeover;
#[cfg(test)]
mod tests;

use crate::appliance::Appliance;
use crate::console::machine::Machine;
use std::fmt::Arguments;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something that will hurt one day, or that is perhaps meant.
    Warning,
    /// Something that does not work, or is not safe.
    Error,
}

/// Something that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub problem: String,
    /// What to do about it; a command where one does it.
    pub remedy: String,
}

const AGAIN: &str = "run ./install.sh again: it makes what is missing and keeps what is there";

/// Everything that is wrong with an installation, the worst first.
pub fn findings(appliance: &Appliance, machine: &Machine) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    findings.configuration(appliance);
    findings.folders(appliance);
    findings.planted(appliance);
    findings.scripts(appliance);
    findings.lists(appliance, machine);
    findings.secrets(appliance);
    findings.space(appliance, machine);
    findings.clock(machine);
    findings.jobs(appliance);
    findings.certificate(appliance, machine);
    findings.audit(appliance);
    // What install.sh has not made is somebody else's, who may do it in another way.
    if machine.file("/etc/jidoteki-admin-api").is_dir() {
        findings.program_for_jobs(machine);
        findings.permissions(appliance, machine);
        findings.readable(appliance, machine);
        findings.takeover(appliance, machine);
        findings.sudo(appliance, machine);
        findings.web_server(appliance, machine);
        findings.unit(machine);
        findings.kept(appliance, machine);
        findings.network(machine);
        findings.door(appliance, machine);
        findings.rotation(appliance, machine);
        findings.minute(appliance, machine);
        if !machine.is_root {
            findings.add(
                Severity::Warning,
                format_args!("only root can see everything: sudo and what only root may read were not checked"),
                format_args!("sudo jidoteki-admin-api check"),
            );
        }
    }
    findings.0.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    /// Takes texts that are not made yet: making them here, once, is 10 KB less of the executable.
    #[inline(never)]
    fn add(&mut self, severity: Severity, problem: Arguments<'_>, remedy: Arguments<'_>) {
        self.0.push(Finding { severity, problem: problem.to_string(), remedy: remedy.to_string() });
    }
}
