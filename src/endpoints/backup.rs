//! `/backup`: makes a backup, tells how it goes, hands it out, deletes and restores it.

use super::{Call, download, missing, text_file};
use crate::audit::Action;
use crate::auth::Admin;
use crate::error::Error;
use crate::job::{Job, JobError, Lock};
use crate::response::Response;
use crate::rule::InvalidOption;
use crate::status::{self, Phase};
use crate::upload::Handover;

const WHAT: &str = "Backup failed";
const CANNOT_RESTORE: &str = "Unable to extract backup archive";
const NAME: &str = "backup.tar";

/// `POST /backup`
pub fn post(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let action = call.form()?.text("action").unwrap_or_default();
    // The ancestor forgives a space behind the word, not before it.
    let (argument, lock) = match action.trim_end_matches(' ').to_ascii_uppercase().as_str() {
        "START" => ("START", Lock::take(call.appliance, Job::Backup)),
        "STOP" => ("STOP", stop_lock(call)),
        _ => return Err(Error::Bad("Missing or invalid option: action. Expected value 'START' or 'STOP'".to_owned())),
    };
    let lock = lock.map_err(|error| Error::Job(WHAT, error))?;
    if argument == "START" {
        lock.begin_status();
    }
    lock.start(call.appliance, Some(argument)).map_err(|error| Error::Job(WHAT, error))?;
    call.audit(Action::BackupPost, argument);
    Ok(Response::accepted("/api/v1/admin/backup"))
}

/// The lock under which a backup is deleted. One that is being made can be stopped at any time, so that `STOP` needs a
/// lock of its own then; a restore cannot.
fn stop_lock(call: &Call<'_, '_>) -> Result<Lock, JobError> {
    match Lock::take(call.appliance, Job::Backup) {
        Err(JobError::Running(_)) if says_running(call) => Lock::take(call.appliance, Job::BackupStop),
        result => result,
    }
}

fn says_running(call: &Call<'_, '_>) -> bool {
    let status = status::read_object(&call.appliance.uploads().join("backup.json"));
    status.is_some_and(|status| status.get("status").is_some_and(|raw| raw.get() == "\"running\""))
}

/// `GET /backup`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let path = call.appliance.uploads().join("backup.json");
    match status::phase_of_file(call.appliance, Job::Backup, &path, || says_running(call)) {
        Phase::AsSaid => status::read_json(&path).map(Response::json).ok_or(Error::NotFound),
        Phase::Starting => Ok(Response::json("{\"status\":\"running\"}")),
        Phase::Interrupted => Ok(Response::json(
            "{\"status\":\"failed\",\"error-message\":\"The backup was interrupted: it ended without a result\"}",
        )),
    }
}

/// `GET /backup/download`
pub fn file(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let response = download(call, NAME).ok_or(Error::NotFound)?;
    call.audit(Action::BackupDownloaded, NAME);
    Ok(response)
}

/// `GET /backup/log`
pub fn log(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    text_file(&call.appliance.log_file("update_backup.log"))
}

/// `POST /backup/restore`
pub fn restore(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let lock = Lock::take(call.appliance, Job::Backup).map_err(|error| Error::Job(CANNOT_RESTORE, error))?;
    let mut form = call.form()?;
    match (form.text("action"), form.file("archive")) {
        (None, Some(archive)) => {
            let mut handover = Handover::new(call.appliance);
            handover.file("backup-archive.tar", archive)?;
            lock.wait(call.appliance, Some("RESTORE")).map_err(|error| Error::Job(CANNOT_RESTORE, error))?;
            handover.complete();
            call.audit(Action::BackupRestored, "backup-archive.tar");
        }
        (Some(action), None) if action.trim_end_matches(' ').eq_ignore_ascii_case("UNDO") => {
            lock.wait(call.appliance, Some("UNDO")).map_err(|error| Error::Job("Unable to undo the restore", error))?;
            call.audit(Action::BackupRestored, "UNDO");
        }
        (None, None) => return Err(missing("archive")),
        (Some(_), _) => return Err(InvalidOption::new("action", "UNDO, without an archive").into()),
    }
    Ok(Response::done())
}
