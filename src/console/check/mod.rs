//! Problems of an installation, and the command that fixes each: a file per subject.

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
use std::io::Write;
use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It will cause a problem one day, or may be intended.
    Warning,
    /// It does not work, or is not safe.
    Error,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub problem: String,
    /// The fix; a command if possible.
    pub remedy: String,
}

const AGAIN: &str = "run ./install.sh again; it adds what is missing and keeps existing files";

/// Writes what is wrong with this installation. The status is 1 after warnings and 2 after errors.
pub fn report(appliance: &Appliance, out: &mut dyn Write) -> ExitCode {
    let findings = findings(appliance, &Machine::this());
    for finding in &findings {
        let word = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        drop(writeln!(out, "{word}: {}\n  fix: {}", finding.problem, finding.remedy));
    }
    if findings.is_empty() {
        drop(writeln!(out, "nothing is wrong"));
    }
    match findings.iter().map(|finding| finding.severity).max() {
        None => ExitCode::SUCCESS,
        Some(Severity::Warning) => ExitCode::from(1),
        Some(Severity::Error) => ExitCode::from(2),
    }
}

/// Everything that is wrong with an installation, worst first.
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
    // Without install.sh, another program may have set this up differently.
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
                format_args!("not running as root: sudo rules and files of root were not checked"),
                format_args!("sudo jidoteki-admin-api check"),
            );
        }
    }
    findings.0.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    /// Takes unformatted texts: formatting them here, once, saves 10 KB.
    #[inline(never)]
    fn add(&mut self, severity: Severity, problem: Arguments<'_>, remedy: Arguments<'_>) {
        self.0.push(Finding { severity, problem: problem.to_string(), remedy: remedy.to_string() });
    }
}
