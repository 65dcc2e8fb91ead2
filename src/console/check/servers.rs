//! The configuration of the web server and of the unit that starts it.

use super::{AGAIN, Findings, Severity};
use crate::appliance::Appliance;
use crate::console::machine::Machine;
use std::fs;

/// Minimum number of fcgiwrap workers: with fewer, a few slow requests block all.
const MIN_WORKERS: u32 = 8;
const UNIT: &str = "/etc/systemd/system/jidoteki-admin-api.service";
/// The socket where a confined unit requests jobs.
const GATE: &str = "/run/jidoteki-admin-api/jobs.sock";

impl Findings {
    pub(super) fn web_server(&mut self, appliance: &Appliance, machine: &Machine) {
        let server = appliance.trimmed_text(&appliance.etc_file("web-server.txt")).unwrap_or_default();
        let limit = match server.as_str() {
            "nginx" => {
                let text = machine.text("/etc/jidoteki-admin-api/nginx.conf");
                let value = text.lines().find_map(|line| line.trim().strip_prefix("client_max_body_size "));
                value.and_then(|value| value.trim_end_matches(';').parse::<u64>().ok())
            }
            "lighttpd" => {
                let text = machine.text("/etc/jidoteki-admin-api/lighttpd.conf");
                let value = text.lines().find_map(|line| line.strip_prefix("server.max-request-size = "));
                // In KiB, rounded down.
                value.and_then(|value| value.trim().parse::<u64>().ok()).map(|kib| (kib << 10) | 1023)
            }
            _ => return,
        };
        let wanted = appliance.config().max_upload;
        match limit {
            Some(limit) if limit >= wanted => {}
            Some(limit) => self.add(
                Severity::Error,
                format_args!(
                    "{server} refuses bodies of more than {limit} bytes, although max-upload-bytes is {wanted}"
                ),
                format_args!("run ./install.sh again; it configures the web server"),
            ),
            None => {
                self.add(
                    Severity::Error,
                    format_args!("the API's configuration for {server} is missing"),
                    format_args!("{AGAIN}"),
                );
            }
        }
        if server == "nginx" {
            let text = machine.text(UNIT) + &machine.text("/etc/init.d/jidoteki-admin-api");
            let workers = text.split("fcgiwrap -c ").nth(1).and_then(|rest| rest.split_whitespace().next());
            match workers.and_then(|workers| workers.parse::<u32>().ok()) {
                Some(workers) if workers >= MIN_WORKERS => {}
                workers => self.add(
                    Severity::Warning,
                    format_args!("fcgiwrap has {} workers: slow requests can block all others", workers.unwrap_or(1)),
                    format_args!("{AGAIN}"),
                ),
            }
        }
    }

    pub(super) fn unit(&mut self, machine: &Machine) {
        let mut text = machine.text(UNIT);
        if text.is_empty() {
            return;
        }
        let mut dropped_in: Vec<_> = fs::read_dir(machine.file(&format!("{UNIT}.d")))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        dropped_in.sort();
        for path in dropped_in {
            text += &fs::read_to_string(path).unwrap_or_default();
        }
        let mode =
            text.lines().filter_map(|line| line.strip_prefix("KillMode=")).next_back().unwrap_or("control-group");
        if mode != "process" {
            self.add(
                Severity::Error,
                format_args!("KillMode={mode} in {UNIT}: a restart of the web server would kill a running update"),
                format_args!("run ./install.sh again; systemctl cat jidoteki-admin-api shows drop-ins"),
            );
        }
        let is_confined = text.lines().any(|line| line == "NoNewPrivileges=yes");
        if is_confined && machine.file("/run/systemd/system").exists() && !machine.file(GATE).exists() {
            self.add(
                Severity::Error,
                format_args!("{GATE} is missing, so no job can be started"),
                format_args!("systemctl enable --now jidoteki-admin-api-jobs.socket"),
            );
        }
    }
}
