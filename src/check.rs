//! What can be wrong with an installation, and the command that mends each.

use crate::appliance::{self, Appliance};
use crate::audit;
use crate::config::{Config, Feature};
use crate::first_run;
use crate::job::{self, Job};
use crate::machine::{Machine, USER};
use crate::status::{self, JobStatus, Phase};
use crate::verify::{self, Fault};
use serde_json::Value;
use std::fmt::Arguments;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

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

/// Bytes that should be free for an update of usual size: 64 MiB.
const MIN_FREE: u64 = 64 << 20;
/// Bytes that should be free for logs: 8 MiB.
const MIN_FREE_LOG: u64 = 8 << 20;
/// Bytes of memory that should be available: 64 MiB.
const MIN_MEMORY: u64 = 64 << 20;
/// Bytes beyond which a log is one that nobody rotates: 64 MiB.
const MAX_LOG: u64 = 64 << 20;
/// Workers of fcgiwrap that there should be: fewer are all busy with a few slow requests.
const MIN_WORKERS: u32 = 8;
/// 2024-01-01: a clock that says less was never set.
const EARLIEST: u64 = 1_704_067_200;
const DAY: u64 = 86_400;

const AGAIN: &str = "run ./install.sh again: it makes what is missing and keeps what is there";
const UNIT: &str = "/etc/systemd/system/jidoteki-admin-api.service";
/// The socket at which a unit that is confined asks for jobs.
const GATE: &str = "/run/jidoteki-admin-api/jobs.sock";

/// Jobs that need sudo.
const JOBS: [&str; 12] = [
    "token", "update", "settings", "certs", "license", "storage", "backup", "logs", "debug", "services", "reboot",
    "monitor",
];

/// Everything that is wrong with an installation, the worst first.
pub fn findings(appliance: &Appliance, machine: &Machine) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    findings.configuration(appliance);
    findings.folders(appliance);
    findings.scripts(appliance);
    findings.secrets(appliance);
    findings.space(appliance, machine);
    findings.clock(machine);
    findings.jobs(appliance);
    findings.certificate(appliance, machine);
    findings.audit(appliance);
    // What install.sh has not made is somebody else's, who may do it in another way.
    if machine.file("/etc/jidoteki-admin-api").is_dir() {
        findings.permissions(appliance, machine);
        findings.sudo(appliance, machine);
        findings.web_server(appliance, machine);
        findings.unit(machine);
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

    fn configuration(&mut self, appliance: &Appliance) {
        let path = appliance.config_file();
        let shown = path.display();
        let Ok(text) = appliance::read(&path) else {
            return self.add(
                Severity::Warning,
                format_args!("{shown} cannot be read, so only the default endpoints are enabled"),
                format_args!("write {shown}, with at least {{\"endpoints\":[],\"parameters\":[]}}"),
            );
        };
        if let Err(error) = Config::parse(&text) {
            return self.add(
                Severity::Error,
                format_args!("{shown} is not valid JSON ({error}), so only the default endpoints are enabled"),
                format_args!("correct it; `python3 -m json.tool {shown}` shows where it is wrong"),
            );
        }
        let config = Config::parse(&text).unwrap_or_default();
        let root: Value = serde_json::from_slice(&text).unwrap_or_default();
        let listed = root["endpoints"].as_array().cloned().unwrap_or_default();
        for name in listed.iter().filter(|name| !Feature::OPTIONAL.iter().any(|feature| *name == feature.name())) {
            let names: Vec<&str> = Feature::OPTIONAL.iter().map(|feature| feature.name()).collect();
            self.add(
                Severity::Warning,
                format_args!("{shown} enables {name}, which is no optional endpoint"),
                format_args!("take it out of \"endpoints\"; there are {}", names.join(", ")),
            );
        }
        for route in crate::routes::ROUTES.iter().filter(|route| config.is_enabled(route.feature)) {
            for field in route.fields.iter().filter(|field| !config.accepts_field(field.name)) {
                self.add(
                    Severity::Error,
                    format_args!(
                        "{} {} is enabled, but its field {} is not, so it answers 400",
                        route.method.as_str(),
                        route.path,
                        field.name
                    ),
                    format_args!("add \"{}\" to \"parameters\" in {shown}", field.name),
                );
            }
        }
    }

    fn folders(&mut self, appliance: &Appliance) {
        for path in [appliance.etc_file(""), appliance.log_file(""), appliance.uploads()] {
            if !path.is_dir() {
                self.add(Severity::Error, format_args!("{} is not there", path.display()), format_args!("{AGAIN}"));
            }
        }
        let state = appliance.state_file("");
        if !state.is_dir() {
            let shown = state.display();
            self.add(
                Severity::Warning,
                format_args!(
                    "{shown} is not there: no signed request is accepted, guesses are not counted, the audit log is not chained"
                ),
                format_args!("install -d -m 700 -o {USER} -g {USER} {shown}"),
            );
        }
        if let Ok(metadata) = fs::metadata(appliance.uploads())
            && metadata.mode() & 0o002 != 0
        {
            let path = appliance.uploads();
            self.add(
                Severity::Error,
                format_args!("everybody may write into {}, and root's jobs read from there", path.display()),
                format_args!("chmod o-rwx {}", path.display()),
            );
        }
    }

    fn scripts(&mut self, appliance: &Appliance) {
        let wrapper = appliance.wrapper();
        let shown = wrapper.display();
        match fs::metadata(&wrapper) {
            Err(_) => self.add(
                Severity::Error,
                format_args!("{shown} is not there, so no job can run"),
                format_args!("run ./install.sh again, or put the image's own wrapper.sh there"),
            ),
            Ok(metadata) if metadata.mode() & 0o111 == 0 => {
                self.add(
                    Severity::Error,
                    format_args!("{shown} is not executable, so no job can run"),
                    format_args!("chmod 755 {shown}"),
                );
            }
            Ok(metadata) if metadata.mode() & 0o022 != 0 => {
                self.add(
                    Severity::Error,
                    format_args!("others than its owner may write {shown}, which runs jobs as root"),
                    format_args!("chmod go-w {shown}"),
                );
            }
            Ok(_) => {}
        }
    }

    fn secrets(&mut self, appliance: &Appliance) {
        for path in [appliance.token_file(), appliance.setup_file(), appliance.etc_file("updates.key")] {
            if fs::metadata(&path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0) {
                let shown = path.display();
                self.add(
                    Severity::Error,
                    format_args!("everybody may read or write {shown}"),
                    format_args!("chmod o-rwx {shown}"),
                );
            }
        }
        let config = appliance.config();
        let is_pending = config.first_run_words.is_some() && first_run::passphrase(appliance).is_some();
        if is_pending {
            self.add(
                Severity::Warning,
                format_args!("first run is pending: nothing but /setup is open"),
                format_args!(
                    "jidoteki-admin-api first-run shows the passphrase; POST /setup with it as the token sets a new one"
                ),
            );
        } else if appliance.token().is_none() {
            self.add(
                Severity::Warning,
                format_args!("no API token is set: whoever comes first can set it"),
                format_args!("curl -k -F newtoken=<yourtoken> https://localhost:8443/api/v1/admin/setup"),
            );
        }
        for (name, what) in [("updates.key", "decrypted"), ("updates.pub", "verified")] {
            let path = appliance.etc_file(name);
            if fs::metadata(&path).is_err() {
                self.add(
                    Severity::Warning,
                    format_args!("{} is not there, so no update can be {what}", path.display()),
                    format_args!("put the vendor's {name} there; docs/OPERATIONS.md tells how it is made"),
                );
            }
        }
    }

    fn space(&mut self, appliance: &Appliance, machine: &Machine) {
        let places = [(appliance.uploads(), MIN_FREE, "uploads"), (appliance.log_file(""), MIN_FREE_LOG, "logs")];
        for (path, wanted, what) in places {
            if let Some(free) = (machine.free)(&path)
                && free < wanted
            {
                self.add(
                    Severity::Warning,
                    format_args!("only {} MiB are free for {what} in {}", free >> 20, path.display()),
                    format_args!("delete what is not needed; POST /backup with action=STOP deletes a backup"),
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
                format_args!("only {} MiB of memory are available", available >> 20),
                format_args!("give the machine more, or end what takes it: ps -eo rss,comm --sort=-rss | head"),
            );
        }
    }

    fn clock(&mut self, machine: &Machine) {
        // The names of processes have 15 characters.
        const KEEPERS: [&str; 6] = ["systemd-timesyn", "chronyd", "ntpd", "ntpsec", "openntpd", "ptp4l"];
        let shown = audit::timestamp(Duration::from_secs(machine.now));
        if machine.now < EARLIEST {
            self.add(
                Severity::Error,
                format_args!(
                    "the clock says {}: certificates are not valid yet, and the logs have wrong times",
                    &shown[..10]
                ),
                format_args!("date -s 'YYYY-MM-DD HH:MM:SS', then hwclock -w"),
            );
        }
        if !machine.runs(&KEEPERS) {
            self.add(
                Severity::Warning,
                format_args!("nothing keeps the clock right: no program for NTP runs"),
                format_args!("apt-get install systemd-timesyncd, and POST /settings with an ntpserver"),
            );
        }
    }

    fn jobs(&mut self, appliance: &Appliance) {
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
                    format_args!("the last job {name} was interrupted"),
                    format_args!("send it again: POST /{name} is not blocked by it"),
                );
            }
        }
        if job::is_running(appliance, Job::Update) {
            self.add(
                Severity::Warning,
                format_args!("an update is running"),
                format_args!("wait for it; GET /update tells how it goes"),
            );
        }
        for (name, file) in [("settings", "pending_settings.txt"), ("certs", "pending_certs.txt")] {
            if let Some(seconds) = status::pending(appliance, file) {
                self.add(
                    Severity::Warning,
                    format_args!("a change of {name} waits to be confirmed, and is undone in {seconds} seconds"),
                    format_args!("POST /{name}/confirm keeps it"),
                );
            }
        }
    }

    fn certificate(&mut self, appliance: &Appliance, machine: &Machine) {
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

    fn audit(&mut self, appliance: &Appliance) {
        if let Err(Fault::Broken(reason)) = verify::verify(appliance, &[]) {
            self.add(
                Severity::Error,
                format_args!("the audit log is not as it was written: {reason}"),
                format_args!(
                    "keep a copy of {}, and find out who changed it; rotation takes the broken part away in time",
                    appliance.log_file("").display()
                ),
            );
        }
    }

    fn permissions(&mut self, appliance: &Appliance, machine: &Machine) {
        let Some((user, group)) = machine.user(USER) else {
            return self.add(Severity::Error, format_args!("there is no user {USER}"), format_args!("{AGAIN}"));
        };
        let (root, admin, log) = (machine.owner, appliance.admin(), "log/jidoteki-audit.log");
        // Path, owner, group where it matters, mode.
        for (path, owner, group, mode) in [
            (admin.join("etc"), root, Some(group), 0o2750),
            (admin.join("log"), root, Some(group), 0o2750),
            (appliance.audit_file(""), root, Some(group), 0o2750),
            (admin.join("home/sftp/uploads"), root, Some(group), 0o2770),
            (admin.join("lib"), root, None, 0o700),
            (admin.join("state"), user, None, 0o700),
            (appliance.token_file(), root, Some(group), 0o660),
            (appliance.setup_file(), root, Some(group), 0o660),
            (appliance.keys_file(), root, Some(group), 0o640),
            (appliance.etc_file("updates.key"), root, None, 0o600),
            (admin.join(log), root, Some(group), 0o660),
            (appliance.audit_file(crate::chain::LOG), root, Some(group), 0o660),
            (appliance.config_file(), root, None, 0o644),
            (appliance.etc().join("storage.conf"), root, None, 0o600),
            (appliance.etc().join("tls/current/appliance.key"), root, None, 0o600),
        ] {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let is_group = group.is_none_or(|group| metadata.gid() == group);
            if metadata.uid() == owner && is_group && metadata.mode() & 0o7777 == mode {
                continue;
            }
            let owner = if owner == user && owner != root { USER } else { "root" };
            let group = if group.is_some() || owner == USER { USER } else { "root" };
            let shown = path.display();
            let (is, uid, gid) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
            self.add(
                Severity::Error,
                format_args!(
                    "{shown} has mode {is:o} and belongs to {uid}:{gid}, not mode {mode:o} and {owner}:{group}"
                ),
                format_args!("chown {owner}:{group} {shown} && chmod {mode:o} {shown}"),
            );
        }
        self.runnable(&admin.join("bin"), machine);
    }

    /// What root runs, only root may change.
    fn runnable(&mut self, path: &Path, machine: &Machine) {
        let Ok(metadata) = fs::metadata(path) else { return };
        if metadata.uid() != machine.owner || metadata.mode() & 0o022 != 0 {
            let shown = path.display();
            self.add(
                Severity::Error,
                format_args!("others than root may change {shown}, and root runs it"),
                format_args!("chown root:root {shown} && chmod go-w {shown}"),
            );
        }
        if metadata.is_dir() {
            let mut inner: Vec<_> =
                fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            inner.sort();
            for path in inner {
                self.runnable(&path, machine);
            }
        }
    }

    fn sudo(&mut self, appliance: &Appliance, machine: &Machine) {
        let file = "/etc/sudoers.d/jidoteki-admin-api";
        if !machine.file(file).exists() {
            return self.add(
                Severity::Error,
                format_args!("{file} is not there, so no job can run as root"),
                format_args!("{AGAIN}"),
            );
        }
        if !machine.is_root {
            return;
        }
        let Some(valid) = machine.ask("visudo", &["-c", "-q"]) else {
            return self.add(
                Severity::Error,
                format_args!("sudo is not there, so no job can run as root"),
                format_args!("apt-get install sudo"),
            );
        };
        if !valid.is_good {
            let reason = valid.text.lines().next().unwrap_or_default().to_owned();
            return self.add(
                Severity::Error,
                format_args!("the rules of sudo are not valid, so it does nothing for anybody: {reason}"),
                format_args!(
                    "visudo -c shows where; visudo corrects /etc/sudoers, visudo -f the files of /etc/sudoers.d"
                ),
            );
        }
        let rights = machine.ask("sudo", &["-n", "-l", "-U", USER]).map(|said| said.text).unwrap_or_default();
        let bin = appliance.admin().join("bin/jobs");
        // Long lists are broken into lines.
        let rights: String = rights.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_missing = |job: &&&str| !rights.contains(&format!("{} ", bin.join(job).display()));
        let missing: Vec<&str> = JOBS.iter().filter(is_missing).copied().collect();
        if !missing.is_empty() || !rights.contains("NOPASSWD") {
            let missing = if missing.is_empty() { "any job without a password".to_owned() } else { missing.join(", ") };
            self.add(Severity::Error, format_args!("sudo does not let {USER} run {missing}"), format_args!("{AGAIN}"));
        }
    }

    fn web_server(&mut self, appliance: &Appliance, machine: &Machine) {
        let server = appliance.trimmed_text(&appliance.etc_file("web-server.txt")).unwrap_or_default();
        let limit = match server.as_str() {
            "nginx" => {
                let text = machine.text("/etc/nginx/sites-available/jidoteki-admin-api");
                let value = text.lines().find_map(|line| line.trim().strip_prefix("client_max_body_size "));
                value.and_then(|value| value.trim_end_matches(';').parse::<u64>().ok())
            }
            "lighttpd" => {
                let text = machine.text("/etc/jidoteki-admin-api/lighttpd.conf");
                let value = text.lines().find_map(|line| line.strip_prefix("server.max-request-size = "));
                // It counts in kibibytes, and rounds down.
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
                format_args!("run ./install.sh again: it tells the web server"),
            ),
            None => {
                self.add(
                    Severity::Error,
                    format_args!("the configuration of {server} for the API is not there"),
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
                    format_args!("fcgiwrap has {} workers: slow requests hold up all others", workers.unwrap_or(1)),
                    format_args!("{AGAIN}"),
                ),
            }
        }
    }

    fn unit(&mut self, machine: &Machine) {
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
                format_args!("KillMode={mode} in {UNIT}: a restart of the web server would kill an update that runs"),
                format_args!("run ./install.sh again, and see systemctl cat jidoteki-admin-api for what adds to it"),
            );
        }
        let is_confined = text.lines().any(|line| line == "NoNewPrivileges=yes");
        if is_confined && machine.file("/run/systemd/system").exists() && !machine.file(GATE).exists() {
            self.add(
                Severity::Error,
                format_args!("{GATE} is not there, so no job can be asked for"),
                format_args!("systemctl enable --now jidoteki-admin-api-jobs.socket"),
            );
        }
    }

    fn rotation(&mut self, appliance: &Appliance, machine: &Machine) {
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
                    format_args!("{} has {} MiB: nobody rotates it", path.display(), metadata.len() >> 20),
                    format_args!("logrotate -v {file} says why"),
                );
            }
        }
    }

    fn minute(&mut self, appliance: &Appliance, machine: &Machine) {
        let written = fs::metadata(appliance.etc_file("health.json")).map(|metadata| metadata.mtime());
        let age = written.ok().and_then(|time| Some(machine.now.saturating_sub(u64::try_from(time).ok()?)));
        if age.is_none_or(|age| age > 600) {
            self.add(
                Severity::Warning,
                format_args!("nothing runs once a minute: health is old, and what nobody confirms is not taken back"),
                format_args!("systemctl enable --now jidoteki-admin-api-minute.timer; without systemd, start cron"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::path::PathBuf;
    use std::process::Command;
    use std::sync::OnceLock;

    /// 2026-11-23, when the certificate is good.
    const NOW: u64 = 1_795_392_000;

    /// A whole installation in a folder, whose root is whoever runs the tests.
    struct Installation {
        root: PathBuf,
        machine: Machine,
    }

    impl Installation {
        fn new(name: &str) -> Installation {
            let root = std::env::temp_dir().join(format!("check-{name}-{}", std::process::id()));
            drop(fs::remove_dir_all(&root));
            fs::create_dir(&root).unwrap();
            let own = fs::metadata(&root).unwrap();
            let path = OsString::from(format!("{}/programs:/usr/bin:/bin", root.display()));
            let (owner, free) = (own.uid(), |_: &Path| Some(1 << 30));
            let machine = Machine { root: root.clone(), path, now: NOW, owner, is_root: true, free };
            let installation = Installation { root, machine };
            for (folder, mode) in [
                ("admin/bin/jobs", 0o755),
                ("admin/etc", 0o2750),
                ("admin/log", 0o2750),
                ("admin/audit", 0o2750),
                ("admin/state", 0o700),
                ("admin/lib", 0o700),
                ("admin/home/sftp/uploads", 0o2770),
                ("usr/tls/current", 0o755),
                ("etc/jidoteki-admin-api", 0o755),
                ("proc/1", 0o755),
            ] {
                fs::create_dir_all(installation.root.join(folder)).unwrap();
                installation.mode(folder, mode);
            }
            let admin = installation.root.join("admin");
            let rights: Vec<String> =
                JOBS.iter().map(|job| format!("{}/bin/jobs/{job} \"\"", admin.display())).collect();
            for (name, content, mode) in [
                ("usr/jidoteki-admin-api.json", "{}".to_owned(), 0o644),
                ("admin/bin/wrapper.sh", "#!/bin/sh\n".to_owned(), 0o755),
                ("admin/bin/jobs/update", "#!/bin/sh\n".to_owned(), 0o755),
                ("admin/etc/api.token", "x\n".to_owned(), 0o660),
                ("admin/etc/api.tokens.json", "{\"tokens\":[]}".to_owned(), 0o640),
                ("admin/etc/updates.key", "x\n".to_owned(), 0o600),
                ("admin/etc/updates.pub", "x\n".to_owned(), 0o640),
                ("admin/etc/web-server.txt", "nginx\n".to_owned(), 0o644),
                ("admin/etc/health.json", "{}".to_owned(), 0o640),
                ("admin/log/jidoteki-audit.log", String::new(), 0o660),
                ("admin/audit/jidoteki-audit.jsonl", String::new(), 0o660),
                ("etc/passwd", format!("root:x:0:0::/:\n{USER}:x:{}:{}::/:\n", own.uid(), own.gid()), 0o644),
                ("etc/sudoers.d/jidoteki-admin-api", "x\n".to_owned(), 0o440),
                ("etc/logrotate.d/jidoteki-admin-api", "jidoteki-audit.jsonl {}\n".to_owned(), 0o644),
                (
                    "etc/nginx/sites-available/jidoteki-admin-api",
                    "\tclient_max_body_size 4294967296;\n".to_owned(),
                    0o644,
                ),
                (
                    "etc/jidoteki-admin-api/lighttpd.conf",
                    "\tserver.max-request-size = 1\nserver.max-request-size = 4194304\n".to_owned(),
                    0o644,
                ),
                (
                    "etc/systemd/system/jidoteki-admin-api.service",
                    "ExecStart=/usr/sbin/fcgiwrap -c 32 -p /x\nKillMode=process\n".to_owned(),
                    0o644,
                ),
                ("proc/1/comm", "chronyd\n".to_owned(), 0o644),
                ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    999999 kB\n".to_owned(), 0o644),
                ("proc/sys/kernel/hostname", "box.example\n".to_owned(), 0o644),
                ("programs/visudo", "#!/bin/sh\n".to_owned(), 0o755),
                ("programs/sudo", format!("#!/bin/sh\necho '(root) NOPASSWD: {} ,'\n", rights.join(", ")), 0o755),
            ] {
                installation.write(name, &content, mode);
            }
            installation.certificate();
            installation.written("admin/etc/health.json", NOW - 30);
            installation
        }

        fn mode(&self, name: &str, mode: u32) {
            fs::set_permissions(self.root.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }

        fn write(&self, name: &str, content: &str, mode: u32) {
            let path = self.root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            self.mode(name, mode);
        }

        fn remove(&self, name: &str) {
            let path = self.root.join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }

        fn at(&mut self, now: u64) {
            self.machine.now = now;
            self.written("admin/etc/health.json", now);
        }

        fn written(&self, name: &str, time: u64) {
            let time = std::time::UNIX_EPOCH + Duration::from_secs(time);
            fs::File::options().write(true).open(self.root.join(name)).unwrap().set_modified(time).unwrap();
        }

        /// Puts a pair there that is good from 2026-11-01 to 2026-12-31 for box.example. One serves all tests.
        fn certificate(&self) {
            static PAIR: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
            let folder = self.root.join("usr/tls/current");
            let pair = PAIR.get_or_init(|| {
                let made = self.root.join("made");
                fs::create_dir(&made).unwrap();
                let script = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key
                    openssl req -new -key key -subj /CN=box.example -addext subjectAltName=DNS:box.example -out request
                    printf '%s\n' '[ca]' default_ca=c '[c]' database=index new_certs_dir=. serial=serial default_md=sha256 \
                        policy=p copy_extensions=copy unique_subject=no '[p]' CN=supplied >config
                    : >index; echo 01 >serial
                    openssl ca -batch -notext -selfsign -config config -keyfile key -in request \
                        -startdate 20261101000000Z -enddate 20261231000000Z -out pem";
                let output = Command::new("sh").args(["-ec", script]).current_dir(&made).output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                ["pem", "key"].map(|name| fs::read(made.join(name)).unwrap())
            });
            fs::write(folder.join("appliance.pem"), &pair[0]).unwrap();
            fs::write(folder.join("appliance.key"), &pair[1]).unwrap();
            self.mode("usr/tls/current/appliance.key", 0o600);
        }

        fn appliance(&self) -> Appliance {
            Appliance::new(Some(self.root.join("admin").into()), Some(self.root.join("usr").into()))
        }

        fn problems(&self) -> Vec<String> {
            let root = self.root.display().to_string();
            let own = fs::metadata(&self.root).unwrap();
            let ids = format!("belongs to {}:{}", own.uid(), own.gid());
            let told = findings(&self.appliance(), &self.machine);
            assert!(told.iter().all(|finding| !finding.remedy.is_empty()), "{told:?}");
            told.into_iter().map(|finding| finding.problem.replace(&root, "").replace(&ids, "belongs to US")).collect()
        }
    }

    impl Drop for Installation {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.root));
        }
    }

    #[test]
    fn a_good_installation_has_no_findings() {
        let mut installation = Installation::new("good");
        assert_eq!(installation.problems(), Vec::<String>::new());
        installation.write("admin/etc/web-server.txt", "lighttpd\n", 0o644);
        assert_eq!(installation.problems(), Vec::<String>::new());
        // What is not ours is left alone.
        installation.machine.is_root = false;
        installation.remove("etc");
        assert_eq!(installation.problems(), Vec::<String>::new());
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "it is a table")]
    fn each_thing_that_is_wrong_is_named() {
        type Spoil = fn(&mut Installation);
        let cases: Vec<(&str, Spoil, &str)> = vec![
            (
                "nojson",
                |i| i.write("usr/jidoteki-admin-api.json", "{", 0o644),
                "/usr/jidoteki-admin-api.json is not valid JSON (EOF while parsing an object at line 1 column 1), so only the default endpoints are enabled",
            ),
            (
                "noconfig",
                |i| i.remove("usr/jidoteki-admin-api.json"),
                "/usr/jidoteki-admin-api.json cannot be read, so only the default endpoints are enabled",
            ),
            (
                "field",
                |i| i.write("usr/jidoteki-admin-api.json", r#"{"endpoints":["license"]}"#, 0o644),
                "POST /api/v1/admin/license is enabled, but its field license is not, so it answers 400",
            ),
            (
                "unknown",
                |i| i.write("usr/jidoteki-admin-api.json", r#"{"endpoints":["x"]}"#, 0o644),
                "/usr/jidoteki-admin-api.json enables \"x\", which is no optional endpoint",
            ),
            (
                "wrapper",
                |i| i.mode("admin/bin/wrapper.sh", 0o644),
                "/admin/bin/wrapper.sh is not executable, so no job can run",
            ),
            (
                "nowrapper",
                |i| i.remove("admin/bin/wrapper.sh"),
                "/admin/bin/wrapper.sh is not there, so no job can run",
            ),
            (
                "job",
                |i| i.mode("admin/bin/jobs/update", 0o775),
                "others than root may change /admin/bin/jobs/update, and root runs it",
            ),
            (
                "claim",
                |i| i.write("admin/etc/api.token", "", 0o660),
                "no API token is set: whoever comes first can set it",
            ),
            (
                "firstrun",
                |i| {
                    i.write("usr/jidoteki-admin-api.json", r#"{"first-run":{"word-length":4,"enabled":true}}"#, 0o644);
                    i.write("admin/etc/api.token.setup", "x\n", 0o660);
                },
                "first run is pending: nothing but /setup is open",
            ),
            (
                "nokey",
                |i| i.remove("admin/etc/updates.key"),
                "/admin/etc/updates.key is not there, so no update can be decrypted",
            ),
            (
                "nopub",
                |i| i.remove("admin/etc/updates.pub"),
                "/admin/etc/updates.pub is not there, so no update can be verified",
            ),
            ("log", |i| i.remove("admin/log"), "/admin/log/ is not there"),
            (
                "state",
                |i| i.remove("admin/state"),
                "/admin/state/ is not there: no signed request is accepted, guesses are not counted, the audit log is not chained",
            ),
            (
                "disk",
                |i| i.machine.free = |path| Some(if path.ends_with("uploads") { 3 << 20 } else { 1 << 30 }),
                "only 3 MiB are free for uploads in /admin/home/sftp/uploads",
            ),
            (
                "logdisk",
                |i| i.machine.free = |path| Some(if path.ends_with("uploads") { 1 << 30 } else { 0 }),
                "only 0 MiB are free for logs in /admin/log/",
            ),
            (
                "memory",
                |i| i.write("proc/meminfo", "MemAvailable: 2048 kB\n", 0o644),
                "only 2 MiB of memory are available",
            ),
            (
                "ntp",
                |i| i.write("proc/1/comm", "init\n", 0o644),
                "nothing keeps the clock right: no program for NTP runs",
            ),
            (
                "update",
                |i| i.write("admin/etc/status_update.txt", "running\n", 0o640),
                "the last job update was interrupted",
            ),
            (
                "certs",
                |i| i.write("admin/etc/status_certs.txt", "running\n", 0o640),
                "the last job certs was interrupted",
            ),
            (
                "settings",
                |i| i.write("admin/etc/status_settings.txt", "running\n", 0o640),
                "the last job settings was interrupted",
            ),
            (
                "storage",
                |i| i.write("admin/etc/status_storage.txt", "running\n", 0o640),
                "the last job storage was interrupted",
            ),
            (
                "backup",
                |i| i.write("admin/home/sftp/uploads/backup.json", r#"{"status":"running"}"#, 0o640),
                "the last job backup was interrupted",
            ),
            (
                "expired",
                |i| i.at(NOW + 60 * DAY),
                "the certificate /usr/tls/current/appliance.pem has expired: it ended 2026-12-31 00:00:00Z",
            ),
            (
                "soon",
                |i| i.at(NOW + 30 * DAY),
                "the certificate /usr/tls/current/appliance.pem expires within 14 days: 2026-12-31 00:00:00Z",
            ),
            (
                "early",
                |i| i.at(NOW - 30 * DAY),
                "the certificate /usr/tls/current/appliance.pem is not valid yet: it begins 2026-11-01 00:00:00Z",
            ),
            (
                "otherkey",
                |i| {
                    let key = i.root.join("usr/tls/current/appliance.key");
                    let mut openssl = Command::new("openssl");
                    openssl.args(["genpkey", "-algorithm", "ED25519", "-out"]).arg(key);
                    assert!(openssl.status().unwrap().success());
                },
                "/usr/tls/current/appliance.key is not the key of /usr/tls/current/appliance.pem",
            ),
            (
                "nocert",
                |i| i.write("usr/tls/current/appliance.pem", "x", 0o644),
                "/usr/tls/current/appliance.pem is no certificate that openssl reads",
            ),
            (
                "name",
                |i| i.write("proc/sys/kernel/hostname", "other.example\n", 0o644),
                "the certificate /usr/tls/current/appliance.pem does not name this machine, other.example: browsers refuse it",
            ),
            (
                "audit",
                |i| i.write("admin/audit/jidoteki-audit.jsonl", "x\n", 0o660),
                "the audit log is not as it was written: /admin/audit/jidoteki-audit.jsonl: line 1: this is no entry",
            ),
            ("nouser", |i| i.write("etc/passwd", "root:x:0:0::/:\n", 0o644), "there is no user jidoteki-admin-api"),
            (
                "nosudoers",
                |i| i.remove("etc/sudoers.d"),
                "/etc/sudoers.d/jidoteki-admin-api is not there, so no job can run as root",
            ),
            (
                "nosudo",
                |i| {
                    i.remove("programs/visudo");
                    i.machine.path = OsString::from(i.root.join("nothing").as_os_str());
                    i.remove("usr/tls");
                },
                "sudo is not there, so no job can run as root",
            ),
            (
                "visudo",
                |i| i.write("programs/visudo", "#!/bin/sh\necho 'x:3: syntax error'; exit 1\n", 0o755),
                "the rules of sudo are not valid, so it does nothing for anybody: x:3: syntax error",
            ),
            (
                "rights",
                |i| {
                    let text = fs::read_to_string(i.root.join("programs/sudo")).unwrap();
                    i.write("programs/sudo", &text.replace("/jobs/certs ", "/jobs/cert "), 0o755);
                },
                "sudo does not let jidoteki-admin-api run certs",
            ),
            (
                "password",
                |i| {
                    let text = fs::read_to_string(i.root.join("programs/sudo")).unwrap();
                    i.write("programs/sudo", &text.replace("NOPASSWD:", ""), 0o755);
                },
                "sudo does not let jidoteki-admin-api run any job without a password",
            ),
            (
                "limit",
                |i| i.write("usr/jidoteki-admin-api.json", r#"{"max-upload-bytes":8589934592}"#, 0o644),
                "nginx refuses bodies of more than 4294967296 bytes, although max-upload-bytes is 8589934592",
            ),
            (
                "kibibytes",
                |i| {
                    i.write("admin/etc/web-server.txt", "lighttpd\n", 0o644);
                    i.write("etc/jidoteki-admin-api/lighttpd.conf", "server.max-request-size = 2\n", 0o644);
                },
                "lighttpd refuses bodies of more than 3071 bytes, although max-upload-bytes is 4294967296",
            ),
            ("nosite", |i| i.remove("etc/nginx"), "the configuration of nginx for the API is not there"),
            (
                "gate",
                |i| {
                    let unit = "etc/systemd/system/jidoteki-admin-api.service";
                    let text = fs::read_to_string(i.root.join(unit)).unwrap() + "NoNewPrivileges=yes\n";
                    i.write(unit, &text, 0o644);
                    i.write("run/systemd/system/x", "", 0o644);
                },
                "/run/jidoteki-admin-api/jobs.sock is not there, so no job can be asked for",
            ),
            (
                "workers",
                |i| {
                    i.write(
                        "etc/systemd/system/jidoteki-admin-api.service",
                        "ExecStart=/usr/sbin/fcgiwrap -c 1 -p /x\nKillMode=process\n",
                        0o644,
                    );
                },
                "fcgiwrap has 1 workers: slow requests hold up all others",
            ),
            (
                "killmode",
                |i| {
                    i.write(
                        "etc/systemd/system/jidoteki-admin-api.service.d/x.conf",
                        "[Service]\nKillMode=mixed\n",
                        0o644,
                    );
                },
                "KillMode=mixed in /etc/systemd/system/jidoteki-admin-api.service: a restart of the web server would kill an update that runs",
            ),
            (
                "rotation",
                |i| i.remove("etc/logrotate.d"),
                "/etc/logrotate.d/jidoteki-admin-api does not rotate the audit log",
            ),
            (
                "large",
                |i| fs::File::create(i.root.join("admin/log/update.log")).unwrap().set_len(65 << 20).unwrap(),
                "/admin/log/update.log has 65 MiB: nobody rotates it",
            ),
            (
                "minute",
                |i| i.written("admin/etc/health.json", NOW - 700),
                "nothing runs once a minute: health is old, and what nobody confirms is not taken back",
            ),
            (
                "notroot",
                |i| i.machine.is_root = false,
                "only root can see everything: sudo and what only root may read were not checked",
            ),
        ];
        for (name, spoil, wanted) in cases {
            let mut installation = Installation::new(name);
            spoil(&mut installation);
            assert_eq!(installation.problems(), [wanted], "{name}");
        }
    }

    #[test]
    fn every_path_has_its_mode_and_its_owner() {
        let installation = Installation::new("modes");
        for (name, mode, wanted) in [
            ("admin/etc", 0o755, "mode 755 and belongs to US, not mode 2750 and root:jidoteki-admin-api"),
            ("admin/log", 0o2770, "mode 2770 and belongs to US, not mode 2750 and root:jidoteki-admin-api"),
            ("admin/lib", 0o755, "mode 755 and belongs to US, not mode 700 and root:root"),
            ("admin/etc/api.token", 0o600, "mode 600 and belongs to US, not mode 660 and root:jidoteki-admin-api"),
            (
                "admin/etc/api.tokens.json",
                0o600,
                "mode 600 and belongs to US, not mode 640 and root:jidoteki-admin-api",
            ),
            (
                "admin/audit/jidoteki-audit.jsonl",
                0o640,
                "mode 640 and belongs to US, not mode 660 and root:jidoteki-admin-api",
            ),
            ("usr/tls/current/appliance.key", 0o640, "mode 640 and belongs to US, not mode 600 and root:root"),
            ("usr/jidoteki-admin-api.json", 0o600, "mode 600 and belongs to US, not mode 644 and root:root"),
        ] {
            let before = fs::metadata(installation.root.join(name)).unwrap().mode() & 0o7777;
            installation.mode(name, mode);
            assert_eq!(installation.problems(), [format!("/{name} has {wanted}")]);
            installation.mode(name, before);
        }
        // Somebody else is the API's user now.
        installation.write("etc/passwd", &format!("{USER}:x:4242:4242::/:\n"), 0o644);
        let problems = installation.problems();
        assert_eq!(problems.len(), 9, "{problems:?}");
        assert!(
            problems.contains(
                &"/admin/state has mode 700 and belongs to US, not mode 700 and jidoteki-admin-api:jidoteki-admin-api"
                    .to_owned()
            ),
            "{problems:?}"
        );
    }

    #[test]
    fn a_clock_that_was_never_set_and_a_change_that_waits_are_named() {
        let mut installation = Installation::new("clock");
        installation.machine.now = 86_400;
        installation.remove("usr/tls");
        installation.remove("admin/etc/health.json");
        let (boot_id, uptime) = crate::clock::boot().unwrap();
        let pending = format!("boot_id={boot_id}\ndeadline={}\n", uptime + 10_000);
        installation.write("admin/etc/pending_settings.txt", &pending, 0o640);
        installation.write("admin/etc/pending_certs.txt", &pending, 0o640);
        let problems = installation.problems();
        assert_eq!(
            problems[0],
            "the clock says 1970-01-02: certificates are not valid yet, and the logs have wrong times"
        );
        assert!(
            problems[1].starts_with("a change of settings waits to be confirmed, and is undone in "),
            "{problems:?}"
        );
        assert!(problems[2].starts_with("a change of certs waits to be confirmed, and is undone in "), "{problems:?}");
        assert_eq!(problems.len(), 4, "{problems:?}");
    }
}
