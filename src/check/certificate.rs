//! The certificate in force, and its key.

use super::{Findings, Severity};
use crate::appliance::Appliance;
use crate::audit;
use crate::machine::Machine;
use std::fs;
use std::time::Duration;

pub(super) const DAY: u64 = 86_400;

impl Findings {
    pub(super) fn certificate(&mut self, appliance: &Appliance, machine: &Machine) {
        let folder = appliance.etc().join("tls/current");
        let (pem, key) = (folder.join("appliance.pem"), folder.join("appliance.key"));
        if !pem.exists() {
            // Another image keeps it elsewhere; that is not wrong.
            return;
        }
        let shown = pem.display().to_string();
        let send = "send a new one: POST /certs with public, private and ca";
        let ask =
            |arguments: &[&str]| machine.ask("openssl", arguments).filter(|said| said.is_good).map(|said| said.text);
        let Some(public) = ask(&["x509", "-noout", "-pubkey", "-in", &shown]) else {
            return self.add(
                Severity::Error,
                format_args!("{shown} is no certificate that openssl reads"),
                format_args!("{send}"),
            );
        };
        let dates = ask(&["x509", "-noout", "-dates", "-dateopt", "iso_8601", "-in", &shown]).unwrap_or_default();
        let date =
            |name: &str| dates.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
        let (begin, end) = (date("notBefore"), date("notAfter"));
        let at = |time: u64| audit::timestamp(Duration::from_secs(time))[..19].replace('T', " ");
        // Written in the same way, times sort as text.
        if !end.is_empty() && *end <= *at(machine.now) {
            self.add(
                Severity::Error,
                format_args!("the certificate {shown} has expired: it ended {end}"),
                format_args!("{send}"),
            );
        } else if !end.is_empty() && *end <= *at(machine.now + 14 * DAY) {
            self.add(
                Severity::Warning,
                format_args!("the certificate {shown} expires within 14 days: {end}"),
                format_args!("{send}"),
            );
        }
        if *begin > *at(machine.now) {
            self.add(
                Severity::Error,
                format_args!("the certificate {shown} is not valid yet: it begins {begin}"),
                format_args!("set the clock, if that is wrong (date -s); otherwise wait"),
            );
        }
        let path = key.display().to_string();
        if fs::File::open(&key).is_ok() && ask(&["pkey", "-pubout", "-in", &path]).is_none_or(|own| own != public) {
            self.add(Severity::Error, format_args!("{path} is not the key of {shown}"), format_args!("{send}"));
        }
        let host = machine.text("/proc/sys/kernel/hostname").trim().to_owned();
        let names = ask(&["x509", "-noout", "-checkhost", &host, "-in", &shown]).unwrap_or_default();
        if names.contains("NOT match") {
            self.add(
                Severity::Warning,
                format_args!("the certificate {shown} does not name this machine, {host}: browsers refuse it"),
                format_args!("{send}"),
            );
        }
    }
}
