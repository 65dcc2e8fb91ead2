//! The certificate in use, and its key.

use super::{Findings, Severity};
use crate::appliance::{self, Appliance};
use crate::console::machine::Machine;
use crate::root::certificate;
use crate::root::certificate::x509::{AltName, iso, pem as pem_of};
use std::fs;

impl Findings {
    pub(super) fn certificate(&mut self, appliance: &Appliance, machine: &Machine) {
        let pem = appliance.certificate_file();
        let key = pem.with_file_name("appliance.key");
        if !pem.exists() {
            // An image can store it elsewhere; that is not an error.
            return;
        }
        let shown = pem.display().to_string();
        let send = "send a new one: POST /certs with public, private and ca";
        let chain = appliance::read(&pem).ok().and_then(|bytes| certificate::all(&bytes)).unwrap_or_default();
        let Some(own) = chain.first() else {
            return self.add(Severity::Error, format_args!("{shown} is not a certificate"), format_args!("{send}"));
        };
        let now = i64::try_from(machine.now).unwrap_or(i64::MAX);
        for (at, certificate) in chain.iter().enumerate() {
            let what = if at == 0 {
                format!("the certificate {shown}")
            } else {
                format!("the CA certificate {} in {shown}", certificate.title())
            };
            let (begin, end) = certificate.validity;
            let day = |time| iso(time).replace('T', " ");
            if end < now {
                self.add(Severity::Error, format_args!("{what} expired on {}", day(end)), format_args!("{send}"));
            } else if certificate.days_left(now) < certificate::SOON {
                self.add(
                    Severity::Warning,
                    format_args!("{what} expires within {} days: {}", certificate::SOON, day(end)),
                    format_args!("{send}"),
                );
            }
            if now < begin {
                self.add(
                    Severity::Error,
                    format_args!("{what} is not valid before {}", day(begin)),
                    format_args!("if the clock is wrong, set it (date -s); otherwise wait"),
                );
            }
        }
        let path = key.display().to_string();
        let public = machine.ask("openssl", &["pkey", "-pubout", "-in", &path]).filter(|said| said.is_good);
        let is_own = public.is_some_and(|said| said.text == pem_of("PUBLIC KEY", &own.key_der));
        if fs::File::open(&key).is_ok() && !is_own {
            self.add(Severity::Error, format_args!("{path} is not the key of {shown}"), format_args!("{send}"));
        }
        let host = machine.text("/proc/sys/kernel/hostname").trim().to_owned();
        let own_name = AltName::Dns(host.clone());
        if !certificate::names(own).iter().any(|name| certificate::is_named(name, &own_name)) {
            self.add(
                Severity::Warning,
                format_args!(
                    "the certificate {shown} does not contain this machine's name, {host}: browsers refuse it"
                ),
                format_args!("{send}"),
            );
        }
    }
}
