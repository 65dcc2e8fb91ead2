//! `JOBS`, the one table of root's work for the API: every job with its orders, its files, and the jobs that it
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

/// The kinds of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Sets a new API token.
    Token,
    /// Creates and revokes named tokens.
    Tokens,
    /// Installs a software update.
    Update,
    /// Applies network and application settings.
    Settings,
    /// Installs TLS certificates.
    Certs,
    /// Installs a license.
    License,
    /// Applies storage settings.
    Storage,
    /// Creates, deletes and restores a backup.
    Backup,
    /// Stops a running backup, so it must be able to run beside `Backup`.
    BackupStop,
    /// Collects logs.
    Logs,
    /// Collects an encrypted debug bundle.
    Debug,
    /// Prints the status of services.
    Services,
    /// Restarts the appliance.
    Reboot,
    /// Prints the history of processor, memory, disk and network.
    Monitor,
}

/// Whether the client waits for the end of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The client gets 202 and polls the status.
    Leaves,
    /// The response is the result.
    Waits,
}

/// How the outcome of an order can be read later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// A status in its job's files, and a record for `GET /jobs`.
    Status,
    /// Only a record: the status files describe another order of this job.
    Record,
    /// Not at all: it only reads, and pages request it all the time.
    None,
}

/// Whether an order obeys [`EXCLUSIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Yes.
    Excluded,
    /// No: it confirms or stops a change, so it must always be accepted.
    Free,
}

/// One task of a job.
#[derive(Debug, PartialEq, Eq)]
pub struct Order {
    /// The argument of the script; empty for none.
    pub argument: &'static str,
    /// Whether the client waits.
    pub client: Client,
    /// How its outcome can be read later.
    pub trace: Trace,
    /// Whether it obeys [`EXCLUSIONS`].
    pub beside: Beside,
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
    /// One word.
    pub word: Option<&'static str>,
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
    /// The job.
    pub job: Job,
    /// Its word for `wrapper.sh`, and the name of its script.
    pub word: &'static str,
    /// Its lock file in the exchange directory.
    pub lock: &'static str,
    /// The path at which a client polls the status.
    pub location: &'static str,
    /// The files in which it reports its status.
    pub files: Files,
    /// Its tasks.
    pub orders: &'static [Order],
}

const fn log(log: &'static str) -> Files {
    Files { json: None, word: None, message: None, code: None, log }
}

const fn leaves(
    argument: &'static str,
    inputs: &'static [&'static str],
    action: Action,
    failure: &'static str,
) -> Order {
    let (trace, beside) = (Trace::Status, Beside::Excluded);
    Order { argument, client: Client::Leaves, trace, beside, inputs, action: Some(action), target: argument, failure }
}

const fn waits(
    argument: &'static str,
    inputs: &'static [&'static str],
    action: Action,
    failure: &'static str,
) -> Order {
    let (trace, beside) = (Trace::Record, Beside::Excluded);
    Order { argument, client: Client::Waits, trace, beside, inputs, action: Some(action), target: argument, failure }
}

/// Confirms or stops a change.
const fn free(order: Order) -> Order {
    Order { beside: Beside::Free, trace: Trace::Record, ..order }
}

/// Rolls back a pending change. The client does not wait: rolling back can cut its connection.
const fn reverts(action: Action, failure: &'static str) -> Order {
    Order { beside: Beside::Free, ..leaves("undo", &[], action, failure) }
}

const fn reads(argument: &'static str, failure: &'static str) -> Order {
    let (client, trace, beside) = (Client::Waits, Trace::None, Beside::Free);
    Order { argument, client, trace, beside, inputs: &[], action: None, target: "", failure }
}

/// The endpoint writes the audit entry, once there is a file to send.
const fn collects(failure: &'static str) -> Order {
    Order { trace: Trace::Record, ..reads("", failure) }
}

/// The endpoint writes the audit entry, with the name from the request.
const fn names(argument: &'static str, failure: &'static str) -> Order {
    Order { trace: Trace::Record, inputs: &["tokens.json"], ..reads(argument, failure) }
}

const fn targets(target: &'static str, order: Order) -> Order {
    Order { target, ..order }
}

const SETTINGS: &[&str] = &["app.json", "network.json", "network.conf", "settings.confirm"];
const CERTS: &[&str] = &["appliance.pem", "appliance.key", "ca.pem", "certs.confirm"];
/// It leaves no result, so it has no record.
const STOP: Order = Order { trace: Trace::None, ..free(leaves("STOP", &[], Action::BackupPost, "Backup failed")) };
const HISTORY: &str = "Cannot show the history";

/// Every job, in the order of the API document.
pub const JOBS: &[Row] = &[
    Row {
        job: Job::Token,
        word: "token",
        lock: ".token.lock",
        location: "/api/v1/admin/setup",
        files: log("update_token.log"),
        orders: &[targets(
            "api/v1/admin/setup",
            free(waits("", &["api.token"], Action::TokenUpdated, "Unable to set the token")),
        )],
    },
    Row {
        job: Job::Tokens,
        word: "tokens",
        lock: ".tokens.lock",
        location: "/api/v1/admin/tokens",
        files: log("update_tokens.log"),
        orders: &[names("add", "Unable to create the token"), names("remove", "Unable to remove the token")],
    },
    Row {
        job: Job::Update,
        word: "update",
        lock: ".update.lock",
        location: "/api/v1/admin/update",
        files: Files {
            json: Some("status_update.json"),
            word: Some("status_update.txt"),
            message: Some("status_error_message.txt"),
            code: Some("status_error_code.txt"),
            log: "update.log",
        },
        orders: &[leaves("", &["software_package-zzz.enc"], Action::UpdatePost, "Update failed")],
    },
    Row {
        job: Job::Settings,
        word: "settings",
        lock: ".settings.lock",
        location: "/api/v1/admin/settings",
        files: Files { word: Some("status_settings.txt"), ..log("update_settings.log") },
        orders: &[
            leaves("static", SETTINGS, Action::SettingsPost, "Unable to change the settings"),
            leaves("dhcp", SETTINGS, Action::SettingsPost, "Unable to change the settings"),
            free(waits("confirm", &[], Action::SettingsPost, "Unable to confirm the settings")),
            reverts(Action::SettingsPost, "Unable to roll back the settings"),
        ],
    },
    Row {
        job: Job::Certs,
        word: "certs",
        lock: ".certs.lock",
        location: "/api/v1/admin/certs",
        files: Files {
            word: Some("status_certs.txt"),
            message: Some("status_error_certs.txt"),
            ..log("update_certs.log")
        },
        orders: &[
            leaves("", CERTS, Action::CertsPost, "Unable to change the certificates"),
            free(waits("confirm", &[], Action::CertsPost, "Unable to confirm the certificates")),
            reverts(Action::CertsPost, "Unable to roll back the certificates"),
            free(waits("csr", &["request.txt"], Action::CertsPost, "Unable to create a certificate request")),
            free(waits("forget", &[], Action::CertsPost, "Unable to remove the certificate request")),
        ],
    },
    Row {
        job: Job::License,
        word: "license",
        lock: ".license.lock",
        location: "/api/v1/admin/license",
        files: log("update_license.log"),
        orders: &[waits("", &["license.asc"], Action::LicensePost, "Unable to change the license")],
    },
    Row {
        job: Job::Storage,
        word: "storage",
        lock: ".storage.lock",
        location: "/api/v1/admin/storage",
        files: Files { word: Some("status_storage.txt"), ..log("update_storage.log") },
        orders: &[
            leaves("", &["storage.json", "storage.conf"], Action::StoragePost, "Unable to change the storage"),
            leaves("undo", &[], Action::StoragePost, "Unable to roll back the storage settings"),
        ],
    },
    Row {
        job: Job::Backup,
        word: "backup",
        lock: ".backup.lock",
        location: "/api/v1/admin/backup",
        files: Files { json: Some("backup.json"), ..log("update_backup.log") },
        orders: &[
            leaves("START", &[], Action::BackupPost, "Backup failed"),
            STOP,
            targets(
                "backup-archive.tar",
                waits("RESTORE", &["backup-archive.tar"], Action::BackupRestored, "Unable to extract backup archive"),
            ),
            waits("UNDO", &[], Action::BackupRestored, "Unable to roll back the restore"),
        ],
    },
    Row {
        job: Job::BackupStop,
        word: "backup",
        lock: ".backup-stop.lock",
        location: "/api/v1/admin/backup",
        files: log("update_backup.log"),
        orders: &[STOP],
    },
    Row {
        job: Job::Logs,
        word: "logs",
        lock: ".logs.lock",
        location: "/api/v1/admin/logs",
        files: log("update_logs.log"),
        orders: &[collects("Unable to collect the logs")],
    },
    Row {
        job: Job::Debug,
        word: "debug",
        lock: ".debug.lock",
        location: "/api/v1/admin/debug",
        files: log("update_debug.log"),
        orders: &[collects("Unable to create the debug bundle")],
    },
    Row {
        job: Job::Services,
        word: "services",
        lock: ".services.lock",
        location: "/api/v1/admin/services",
        files: log("update_services.log"),
        orders: &[reads("", "Unable to read the status of the services")],
    },
    Row {
        job: Job::Reboot,
        word: "reboot",
        lock: ".reboot.lock",
        location: "/api/v1/admin/reboot",
        files: log("update_reboot.log"),
        orders: &[Order { trace: Trace::Record, ..leaves("", &[], Action::Reboot, "Unable to reboot") }],
    },
    Row {
        job: Job::Monitor,
        word: "monitor",
        lock: ".monitor.lock",
        location: "/api/v1/admin/health/history",
        files: log("update_monitor.log"),
        orders: &[
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

    /// Its word for `wrapper.sh`.
    pub fn word(self) -> &'static str {
        self.row().word
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

impl Order {
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

    /// The status file with one word, if the job has one.
    pub fn word_file(&self, appliance: &Appliance) -> Option<PathBuf> {
        Some(appliance.etc_file(self.files.word?))
    }

    /// The order with this argument; empty for none.
    pub fn order(&self, argument: &str) -> Option<&'static Order> {
        self.orders.iter().find(|order| order.argument == argument)
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
            for order in row.orders {
                assert_eq!(row.order(order.argument), Some(order));
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
