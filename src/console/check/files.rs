//! Directories, scripts and secrets of the appliance: whether they exist, and who can change and read them.

use super::takeover::{is_taken_over, keeps_jobs};
use super::{AGAIN, Findings, Severity};
use crate::appliance::keys;
use crate::appliance::{self, Appliance};
use crate::audit::chain;
use crate::caller::pause;
use crate::console::machine::{Machine, USER, WEB_USER};
use crate::jobs::JOBS;
use crate::jobs::job;
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

impl Findings {
    /// Anything planted in place of our files, and anything that was set aside.
    pub(super) fn planted(&mut self, appliance: &Appliance) {
        let uploads = appliance.uploads();
        let locks = JOBS.iter().map(|row| row.lock.to_owned()).chain([job::STARTING.to_owned()]).chain(pause::places());
        let mut own: Vec<_> = locks.map(|name| uploads.join(name)).collect();
        own.extend([appliance.log_file("jidoteki-audit.log"), appliance.audit_file(chain::LOG)]);
        own.extend(inside(&appliance.state_file("")));
        for path in own {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let what = if metadata.is_dir() {
                "a directory"
            } else if metadata.is_symlink() {
                "a link"
            } else if !metadata.is_file() {
                "a named pipe, a socket or a device"
            } else if metadata.nlink() > 1 {
                "a file with another hard link"
            } else if metadata.mode() & 0o600 != 0o600 {
                "a file that its owner cannot open"
            } else {
                continue;
            };
            let shown = path.display();
            self.add(
                Severity::Error,
                format_args!("{shown} is {what}, not a file from this program"),
                format_args!("ls -ld {shown} shows its owner; when no job is running, rm -r {shown}"),
            );
        }
        for path in inside(&uploads) {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            if name.starts_with(appliance::ASIDE.as_bytes()) {
                let shown = path.display();
                self.add(
                    Severity::Warning,
                    format_args!("{shown} was in the place of one of our files, and was set aside"),
                    format_args!("ls -ld {shown} shows its owner; then rm -r {shown}"),
                );
            }
        }
    }

    pub(super) fn folders(&mut self, appliance: &Appliance) {
        for path in [appliance.etc_file(""), appliance.log_file(""), appliance.uploads()] {
            if !path.is_dir() {
                self.add(Severity::Error, format_args!("{} is missing", path.display()), format_args!("{AGAIN}"));
            }
        }
        let state = appliance.state_file("");
        if !state.is_dir() {
            let shown = state.display();
            self.add(
                Severity::Warning,
                format_args!(
                    "{shown} is missing: signed requests are refused, guesses are not counted, the audit log is not chained"
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
                format_args!("everyone can write to {}, and root's jobs read it", path.display()),
                format_args!("chmod o-rwx {}", path.display()),
            );
        }
    }

    /// The program for root's jobs.
    pub(super) fn program_for_jobs(&mut self, machine: &Machine) {
        if machine.program("jidoteki-admin-jobs").is_none() {
            self.add(
                Severity::Error,
                format_args!("jidoteki-admin-jobs is missing, so most jobs fail"),
                format_args!("{AGAIN}"),
            );
        }
    }

    pub(super) fn scripts(&mut self, appliance: &Appliance) {
        let wrapper = appliance.wrapper();
        let shown = wrapper.display();
        match fs::metadata(&wrapper) {
            Err(_) => self.add(
                Severity::Error,
                format_args!("{shown} is missing, so no job can run"),
                format_args!("run ./install.sh again, or install the image's own wrapper.sh"),
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
                    format_args!("users other than its owner can write to {shown}, which runs jobs as root"),
                    format_args!("chmod go-w {shown}"),
                );
            }
            Ok(_) => {}
        }
    }

    /// Lists that root's jobs read: jobs ignore a list that others can change, and paths that are not absolute.
    pub(super) fn lists(&mut self, appliance: &Appliance, machine: &Machine) {
        for name in ["backup.txt", "logs.txt", "debug.txt"] {
            let path = appliance.etc_file(name);
            let (Ok(metadata), Ok(text)) = (fs::metadata(&path), fs::read(&path)) else { continue };
            let shown = path.display();
            if metadata.uid() != machine.owner || metadata.mode() & 0o022 != 0 {
                self.add(
                    Severity::Error,
                    format_args!("users other than root can change {shown}, so jobs ignore it"),
                    format_args!("chown root {shown} && chmod go-w {shown}"),
                );
            }
            // The other two contain words and commands, and the ancestor's jobs read words.
            if name != "backup.txt" || keeps_jobs(machine) {
                continue;
            }
            for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
                let is_path = line.is_empty() || line[0] == b'#' || (line[0] == b'/' && line.len() > 1);
                let has_dots = line.split(|byte| *byte == b'/').any(|part| part == b".." || part == b".");
                if !is_path || has_dots || line.contains(&b'\t') {
                    self.add(
                        Severity::Warning,
                        format_args!("line {} of {shown} is not an absolute path, so backups ignore it", at + 1),
                        format_args!("correct it: one path per line, starting with /, without . and .."),
                    );
                }
            }
        }
    }

    /// Scripts that `install.sh` kept because they are not ours.
    pub(super) fn kept(&mut self, appliance: &Appliance, machine: &Machine) {
        for line in machine.text("/etc/jidoteki-admin-api/kept").lines() {
            self.add(
                Severity::Warning,
                format_args!("{line} was modified or not installed by us; ./install.sh kept it"),
                format_args!("if this is intended, do nothing; otherwise delete it and run ./install.sh again"),
            );
        }
        for line in machine.text("/etc/jidoteki-admin-api/installed").lines() {
            let Some((digest, path)) = line.split_once("  ") else { continue };
            let is_script = Path::new(path).starts_with(appliance.admin().join("bin"));
            if is_script && fs::read(path).is_ok_and(|text| hex::encode(Sha256::digest(&text)) != digest) {
                self.add(
                    Severity::Warning,
                    format_args!("{path} was modified since it was installed"),
                    format_args!("if this is intended, do nothing; otherwise delete it and run ./install.sh again"),
                );
            }
        }
    }

    pub(super) fn secrets(&mut self, appliance: &Appliance) {
        for path in [appliance.token_file(), appliance.setup_file(), appliance.etc_file("updates.key")] {
            if fs::metadata(&path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0) {
                let shown = path.display();
                self.add(
                    Severity::Error,
                    format_args!("everyone can read or write {shown}"),
                    format_args!("chmod o-rwx {shown}"),
                );
            }
        }
        let config = appliance.config();
        let (token, passphrase) = (appliance.token(), appliance.passphrase());
        let is_pending = config.first_run_words.is_some() && matches!(passphrase, Ok(Some(_)));
        for (unreadable, so) in [
            (token.as_ref().err(), "no credential is valid, and nobody can claim this appliance"),
            (passphrase.as_ref().err(), "it is unknown whether first run is over"),
        ] {
            if let Some(error) = unreadable {
                self.add(
                    Severity::Error,
                    format_args!("cannot read {error}: {so}"),
                    format_args!(
                        "make it readable for the user {USER}; or, as root, `rm` it and set a new token with \
                         or POST /setup sets a new token"
                    ),
                );
            }
        }
        if let Err(error) = keys::load(appliance) {
            self.add(
                Severity::Error,
                format_args!("cannot read {error}: no named token is valid"),
                format_args!(
                    "restore it from a copy, or `rm` it and add the tokens again with `jidoteki-admin-api token add`"
                ),
            );
        }
        if is_pending {
            self.add(
                Severity::Warning,
                format_args!("first run is pending: only /setup is open"),
                format_args!(
                    "jidoteki-admin-api first-run shows the passphrase; use it as the token in POST /setup to set a new one"
                ),
            );
        } else if matches!(token, Ok(None)) && config.is_known {
            self.add(
                Severity::Warning,
                format_args!("no API token is set: anyone who can reach the API can set it"),
                format_args!("curl -k -F newtoken=<yourtoken> https://localhost:8443/api/v1/admin/setup"),
            );
        }
        for (name, what) in [("updates.key", "decrypted"), ("updates.pub", "verified")] {
            let path = appliance.etc_file(name);
            if fs::metadata(&path).is_err() {
                self.add(
                    Severity::Warning,
                    format_args!("{} is missing, so updates cannot be {what}", path.display()),
                    format_args!("install the vendor's {name}; see docs/OPERATIONS.md"),
                );
            }
        }
    }

    pub(super) fn permissions(&mut self, appliance: &Appliance, machine: &Machine) {
        let Some((user, group)) = machine.user(USER) else {
            return self.add(Severity::Error, format_args!("the user {USER} does not exist"), format_args!("{AGAIN}"));
        };
        let (root, admin, log) = (machine.owner, appliance.admin(), "log/jidoteki-audit.log");
        let group_name = machine.group(group).unwrap_or_else(|| USER.to_owned());
        let own = Some((group_name.as_str(), group));
        let web = machine.user(WEB_USER).map(|(_, group)| (WEB_USER, group));
        // On a migrated machine, these are as the ancestor created them, because others rely on that.
        let is_old = is_taken_over(machine);
        let of_ancestor = ["etc", "log", "home/sftp/uploads", "lib", "etc/updates.key"].map(|name| admin.join(name));
        // Path, owner, group if it matters, mode.
        for (path, owner, group, mode) in [
            (admin.join("etc"), root, own, 0o2750),
            (admin.join("log"), root, own, 0o2750),
            (appliance.audit_file(""), root, own, 0o2750),
            (appliance.uploads(), user, web, 0o2710),
            (admin.join("lib"), root, None, 0o700),
            (admin.join("state"), user, None, 0o700),
            (appliance.token_file(), root, own, 0o660),
            (appliance.setup_file(), root, own, 0o660),
            (appliance.keys_file(), root, own, 0o640),
            (appliance.etc_file("updates.key"), root, None, 0o600),
            (admin.join(log), root, own, 0o660),
            (appliance.audit_file(chain::LOG), root, own, 0o660),
            (appliance.config_file(), root, None, 0o644),
            (appliance.etc().join("storage.conf"), root, None, 0o600),
            (appliance.etc().join("tls/current/appliance.key"), root, None, 0o600),
        ] {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if is_old && (of_ancestor.contains(&path) || path.ends_with("storage.conf")) {
                continue;
            }
            let is_group = group.is_none_or(|(_, group)| metadata.gid() == group);
            if metadata.uid() == owner && is_group && metadata.mode() & 0o7777 == mode {
                continue;
            }
            let owner = if owner == user && owner != root { USER } else { "root" };
            let group = group.map_or(owner, |(name, _)| name);
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

    /// Only root can change files that root runs.
    fn runnable(&mut self, path: &Path, machine: &Machine) {
        let Ok(metadata) = fs::metadata(path) else { return };
        if metadata.uid() != machine.owner || metadata.mode() & 0o022 != 0 {
            let shown = path.display();
            self.add(
                Severity::Error,
                format_args!("users other than root can change {shown}, which root runs"),
                format_args!("chown root:root {shown} && chmod go-w {shown}"),
            );
        }
        if metadata.is_dir() {
            for path in inside(path) {
                self.runnable(&path, machine);
            }
        }
    }
}

/// The paths in a directory, in order.
fn inside(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
