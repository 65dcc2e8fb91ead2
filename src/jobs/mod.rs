//! `JOBS`, the one table of root's work for the API: every job with its operations, its files, and the jobs that it
//! excludes. Tests compare it with `wrapper.sh`, `sudoers`, `sweep` and docs/JOBS.md.

pub mod record;
pub mod job;
pub mod gate;
pub mod progress;
pub mod status;
pub mod history;

use crate::appliance::Appliance;
use crate::audit::Action;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Sets a new API token.
    Token,
    /// Creates and revokes named tokens.
    Tokens,
    /// Installs a software update.
    Update,
    /// Reads a software update without installing it.
    Inspect,
    /// Applies network and application settings.
    Settings,
    /// Installs TLS certificates.
    Certs,
    License,
    /// Applies storage settings.
    Storage,
    /// Creates, deletes and restores a backup.
    Backup,
    /// Stops a running backup, so it must be able to run beside `Backup`.
    BackupStop,
    Logs,
    /// Collects an encrypted debug bundle.
    Debug,
    /// Prints the status of services.
    Services,
    Reboot,
    /// Prints the history of processor, memory, disk and network.
    Monitor,
}

/// Whether the client waits for the end of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No: the response is 202, and the client polls the status.
    Background,
    /// Yes: the response is the result.
    Foreground,
}

/// How the outcome of an operation can be read later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// A status in its job's files, and a record for `GET /jobs`.
    Status,
    /// Only a record: the status files describe another operation of this job.
    Record,
    /// Not at all: it only reads, and pages request it all the time.
    None,
}

/// Whether an operation obeys [`EXCLUSIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// It is refused while an excluded job runs.
    Obeyed,
    /// It confirms, stops or rolls back a change, or only reads, so it is always accepted.
    Exempt,
}

/// One operation of a job, chosen by the argument of its script.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// The argument of the script; empty for none.
    pub argument: &'static str,
    /// Whether the client waits.
    pub mode: Mode,
    /// How its outcome can be read later.
    pub trace: Trace,
    /// Whether it obeys [`EXCLUSIONS`].
    pub exclusion: Exclusion,
    /// The files that it takes from the exchange directory. Before it starts, files that the client did not send are
    /// removed.
    pub inputs: &'static [&'static str],
    /// The action in the audit log; `None` if there is no entry, or if the endpoint writes it.
    pub action: Option<Action>,
    /// The target in the audit log.
    pub target: &'static str,
    /// The beginning of the error message.
    pub failure: &'static str,
}

/// The status files of a job. They are in `etc`, except `json` of a backup, which is next to its archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Files {
    /// A JSON object with `status` and other members.
    pub json: Option<&'static str>,
    /// Plain text: the status.
    pub status: Option<&'static str>,
    /// One line: why the job failed.
    pub message: Option<&'static str>,
    /// The error code, `E1000` to `E1005`.
    pub code: Option<&'static str>,
    /// The log, in `log`.
    pub log: &'static str,
}

/// Everything about one job.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub job: Job,
    /// The name of its script, for `wrapper.sh` too.
    pub name: &'static str,
    /// Its lock file in the exchange directory.
    pub lock: &'static str,
    /// The path at which a client polls the status.
    pub location: &'static str,
    /// The files in which it reports its status.
    pub files: Files,
    /// What it can do.
    pub operations: &'static [Operation],
}

const fn log(log: &'static str) -> Files {
    Files { json: None, status: None, message: None, code: None, log }
}

const fn background(
    argument: &'static str,
    inputs: &'static [&'static str],
    action: Action,
    failure: &'static str,
) -> Operation {
    let (trace, exclusion) = (Trace::Status, Exclusion::Obeyed);
    Operation {
        argument,
        mode: Mode::Background,
        trace,
        exclusion,
        inputs,
        action: Some(action),
        target: argument,
        failure,
    }
}

const fn foreground(
    argument: &'static str,
    inputs: &'static [&'static str],
    action: Action,
    failure: &'static str,
) -> Operation {
    Operation { mode: Mode::Foreground, trace: Trace::Record, ..background(argument, inputs, action, failure) }
}

/// Confirms or stops a change.
const fn exempt(operation: Operation) -> Operation {
    Operation { exclusion: Exclusion::Exempt, trace: Trace::Record, ..operation }
}

/// Rolls back a pending change. The client does not wait: rolling back can cut its connection.
const fn rolls_back(action: Action, failure: &'static str) -> Operation {
    Operation { exclusion: Exclusion::Exempt, ..background("undo", &[], action, failure) }
}

const fn reads(argument: &'static str, failure: &'static str) -> Operation {
    let (mode, trace, exclusion) = (Mode::Foreground, Trace::None, Exclusion::Exempt);
    Operation { argument, mode, trace, exclusion, inputs: &[], action: None, target: "", failure }
}

/// The endpoint writes the audit entry, once there is a file to send.
const fn collects(failure: &'static str) -> Operation {
    Operation { trace: Trace::Record, ..reads("", failure) }
}

/// The endpoint writes the audit entry, with the name from the request.
const fn changes_tokens(argument: &'static str, failure: &'static str) -> Operation {
    Operation { trace: Trace::Record, inputs: &["tokens.json"], ..reads(argument, failure) }
}

const fn targets(target: &'static str, operation: Operation) -> Operation {
    Operation { target, ..operation }
}

const SETTINGS: &[&str] = &["app.json", "network.json", "network.conf", "settings.confirm"];
const CERTS: &[&str] = &["appliance.pem", "appliance.key", "ca.pem", "certs.confirm"];
const STOP: Operation = exempt(background("STOP", &[], Action::BackupPost, "Backup failed"));
const HISTORY: &str = "Cannot show the history";

/// Every job, in the order of the API document.
pub const JOBS: &[Row] = &[
    Row {
        job: Job::Token,
        name: "token",
        lock: ".token.lock",
        location: "/api/v1/admin/setup",
        files: log("update_token.log"),
        operations: &[targets(
            "api/v1/admin/setup",
            exempt(foreground("", &["api.token"], Action::TokenUpdated, "Unable to set the token")),
        )],
    },
    Row {
        job: Job::Tokens,
        name: "tokens",
        lock: ".tokens.lock",
        location: "/api/v1/admin/tokens",
        files: log("update_tokens.log"),
        operations: &[
            changes_tokens("add", "Unable to create the token"),
            changes_tokens("remove", "Unable to remove the token"),
        ],
    },
    Row {
        job: Job::Update,
        name: "update",
        lock: ".update.lock",
        location: "/api/v1/admin/update",
        files: Files {
            json: Some("status_update.json"),
            status: Some("status_update.txt"),
            message: Some("status_error_message.txt"),
            code: Some("status_error_code.txt"),
            log: "update.log",
        },
        operations: &[background("", &["software_package-zzz.enc"], Action::UpdatePost, "Update failed")],
    },
    Row {
        job: Job::Inspect,
        name: "inspect",
        lock: ".inspect.lock",
        location: "/api/v1/admin/update",
        files: log("update_inspect.log"),
        operations: &[Operation { inputs: &["inspect.upload"], ..reads("", "Unable to inspect the package") }],
    },
    Row {
        job: Job::Settings,
        name: "settings",
        lock: ".settings.lock",
        location: "/api/v1/admin/settings",
        files: Files {
            status: Some("status_settings.txt"),
            message: Some("status_error_settings.txt"),
            ..log("update_settings.log")
        },
        operations: &[
            background("static", SETTINGS, Action::SettingsPost, "Unable to change the settings"),
            background("dhcp", SETTINGS, Action::SettingsPost, "Unable to change the settings"),
            exempt(foreground("confirm", &[], Action::SettingsPost, "Unable to confirm the settings")),
            rolls_back(Action::SettingsPost, "Unable to roll back the settings"),
        ],
    },
    Row {
        job: Job::Certs,
        name: "certs",
        lock: ".certs.lock",
        location: "/api/v1/admin/certs",
        files: Files {
            status: Some("status_certs.txt"),
            message: Some("status_error_certs.txt"),
            ..log("update_certs.log")
        },
        operations: &[
            background("", CERTS, Action::CertsPost, "Unable to change the certificates"),
            exempt(foreground("confirm", &[], Action::CertsPost, "Unable to confirm the certificates")),
            rolls_back(Action::CertsPost, "Unable to roll back the certificates"),
            exempt(foreground("csr", &["request.txt"], Action::CertsPost, "Unable to create a certificate request")),
            exempt(foreground("forget", &[], Action::CertsPost, "Unable to remove the certificate request")),
        ],
    },
    Row {
        job: Job::License,
        name: "license",
        lock: ".license.lock",
        location: "/api/v1/admin/license",
        files: log("update_license.log"),
        operations: &[foreground("", &["license.asc"], Action::LicensePost, "Unable to change the license")],
    },
    Row {
        job: Job::Storage,
        name: "storage",
        lock: ".storage.lock",
        location: "/api/v1/admin/storage",
        files: Files {
            status: Some("status_storage.txt"),
            message: Some("status_error_storage.txt"),
            ..log("update_storage.log")
        },
        operations: &[
            background("", &["storage.json", "storage.conf"], Action::StoragePost, "Unable to change the storage"),
            background("undo", &[], Action::StoragePost, "Unable to roll back the storage settings"),
        ],
    },
    Row {
        job: Job::Backup,
        name: "backup",
        lock: ".backup.lock",
        location: "/api/v1/admin/backup",
        files: Files {
            json: Some("backup.json"),
            message: Some("status_error_backup.txt"),
            ..log("update_backup.log")
        },
        operations: &[
            background("START", &[], Action::BackupPost, "Backup failed"),
            STOP,
            targets(
                "backup-archive.tar",
                foreground(
                    "RESTORE",
                    &["backup-archive.tar"],
                    Action::BackupRestored,
                    "Unable to extract backup archive",
                ),
            ),
            foreground("UNDO", &[], Action::BackupRestored, "Unable to roll back the restore"),
        ],
    },
    Row {
        job: Job::BackupStop,
        name: "backup",
        lock: ".backup-stop.lock",
        location: "/api/v1/admin/backup",
        files: log("update_backup.log"),
        operations: &[STOP],
    },
    Row {
        job: Job::Logs,
        name: "logs",
        lock: ".logs.lock",
        location: "/api/v1/admin/logs",
        files: log("update_logs.log"),
        operations: &[collects("Unable to collect the logs")],
    },
    Row {
        job: Job::Debug,
        name: "debug",
        lock: ".debug.lock",
        location: "/api/v1/admin/debug",
        files: log("update_debug.log"),
        operations: &[collects("Unable to create the debug bundle")],
    },
    Row {
        job: Job::Services,
        name: "services",
        lock: ".services.lock",
        location: "/api/v1/admin/services",
        files: log("update_services.log"),
        operations: &[reads("", "Unable to read the status of the services")],
    },
    Row {
        job: Job::Reboot,
        name: "reboot",
        lock: ".reboot.lock",
        location: "/api/v1/admin/reboot",
        files: Files { message: Some("status_error_reboot.txt"), ..log("update_reboot.log") },
        operations: &[Operation { trace: Trace::Record, ..background("", &[], Action::Reboot, "Unable to reboot") }],
    },
    Row {
        job: Job::Monitor,
        name: "monitor",
        lock: ".monitor.lock",
        location: "/api/v1/admin/health/history",
        files: log("update_monitor.log"),
        operations: &[
            reads("1h", HISTORY),
            reads("1d", HISTORY),
            reads("1w", HISTORY),
            reads("1m", HISTORY),
            reads("1y", HISTORY),
        ],
    },
];

/// Jobs that must not run at the same time, each pair with the reason.
pub const EXCLUSIONS: &[(Job, Job, &str)] = &[
    (Job::Update, Job::Reboot, "a restart would interrupt the update"),
    (Job::Update, Job::Backup, "an update can change the data"),
    (Job::Update, Job::Settings, "both change the configuration of the appliance"),
    (Job::Update, Job::Certs, "both change the configuration of the appliance"),
    (Job::Update, Job::Storage, "both change the configuration of the appliance"),
    (Job::Update, Job::License, "both change the configuration of the appliance"),
    (Job::Backup, Job::Reboot, "a restart would interrupt it"),
    (Job::Backup, Job::Storage, "the data may move to another disk"),
    (Job::Settings, Job::Reboot, "a restart would interrupt the change"),
    (Job::Settings, Job::Certs, "the certificate is tested at an address that may change"),
    (Job::Certs, Job::Reboot, "a restart would interrupt the change"),
    (Job::Storage, Job::Reboot, "a restart would interrupt the change"),
    (Job::License, Job::Reboot, "a restart would interrupt the change"),
];

impl Job {
    /// The row of this job.
    pub fn row(self) -> &'static Row {
        JOBS.iter().find(|row| row.job == self).expect("a test finds the row of every job")
    }

    /// The name of its script.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The jobs that must not run at the same time, each with the reason.
    pub fn exclusions(self) -> impl Iterator<Item = (Job, &'static str)> {
        EXCLUSIONS.iter().filter_map(move |(one, other, reason)| match (*one == self, *other == self) {
            (true, _) => Some((*other, *reason)),
            (_, true) => Some((*one, *reason)),
            (false, false) => None,
        })
    }
}

impl Operation {
    /// The argument of the script, if it has one.
    pub fn argument(&self) -> Option<&'static str> {
        (!self.argument.is_empty()).then_some(self.argument)
    }
}

impl Row {
    /// The status file with JSON, if the job has one.
    pub fn json_file(&self, appliance: &Appliance) -> Option<PathBuf> {
        let name = self.files.json?;
        Some(if self.job == Job::Backup { appliance.uploads().join(name) } else { appliance.etc_file(name) })
    }

    /// The status file with plain text, if the job has one.
    pub fn status_file(&self, appliance: &Appliance) -> Option<PathBuf> {
        Some(appliance.etc_file(self.files.status?))
    }

    /// The operation with this argument; empty for none.
    pub fn operation(&self, argument: &str) -> Option<&'static Operation> {
        self.operations.iter().find(|operation| operation.argument == argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_has_one_row_and_every_lock_is_of_one_job() {
        for row in JOBS {
            assert_eq!(row.job.row(), row);
            assert_eq!(JOBS.iter().filter(|other| other.lock == row.lock).count(), 1, "{}", row.lock);
            for operation in row.operations {
                assert_eq!(row.operation(operation.argument), Some(operation));
            }
        }
    }

    #[test]
    fn a_pair_is_excluded_once_and_both_ways() {
        for (one, other, _) in EXCLUSIONS {
            assert_ne!(one, other, "one job of a kind runs at a time anyway");
            assert_eq!(one.exclusions().filter(|(job, _)| job == other).count(), 1, "{one:?} {other:?}");
            assert_eq!(other.exclusions().filter(|(job, _)| job == one).count(), 1, "{one:?} {other:?}");
        }
    }
}
