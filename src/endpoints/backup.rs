//! `/backup`: creates, reports, downloads, deletes and restores a backup.

use super::turn::Turn;
use super::{Call, download, joined, life, log_file, missing, uploads};
use crate::appliance::resumable::Purpose;
use crate::audit::Action;
use crate::caller::auth::Admin;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::Job;
use crate::jobs::job::JobError;
use crate::jobs::status::{self, Phase};
use crate::values::rule::InvalidOption;

/// The input of a restore, as its job takes it.
const ARCHIVE: &str = "backup-archive.tar";
/// The backup, as its job publishes it and as clients download it.
const BACKUP: &str = "backup.tar";

/// `POST /backup`
pub fn post(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let action = call.form()?.text("action").unwrap_or_default();
    // The ancestor accepts spaces after the word, not before it.
    match action.trim_end_matches(' ').to_ascii_uppercase().as_str() {
        "START" => Turn::take(call, Job::Backup, "START")?.start(call, "START"),
        "STOP" => turn_to_stop(call)?.start(call, "STOP"),
        _ => Err(Error::Bad("Missing or invalid option: action. Expected value 'START' or 'STOP'".to_owned())),
    }
}

/// Takes the turn of `STOP`. A running backup has the lock of its job, so `STOP` then takes another one. During a restore
/// it is refused, because a restore cannot be stopped.
fn turn_to_stop(call: &Call<'_, '_>) -> Result<Turn, Error> {
    match Turn::take(call, Job::Backup, "STOP") {
        Err(Error::Job(_, JobError::Running(_))) if says_running(call) => Turn::take(call, Job::BackupStop, "STOP"),
        result => result,
    }
}

/// Whether the status file says that a backup is running.
fn says_running(call: &Call<'_, '_>) -> bool {
    let status = status::read_object(&call.appliance.uploads().join("backup.json"));
    status.is_some_and(|status| status.get("status").is_some_and(|raw| raw.get() == "\"running\""))
}

/// `GET /backup`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let path = call.appliance.uploads().join("backup.json");
    match status::phase_of_file(call.appliance, Job::Backup, &path, || says_running(call)) {
        Phase::Consistent if says_running(call) => Ok(running(call)),
        Phase::Consistent => status::read_json(&path).map(Response::json).ok_or(Error::NotFound),
        Phase::Starting => Ok(Response::json("{\"status\":\"running\"}")),
        Phase::Interrupted => Ok(Response::json(
            "{\"status\":\"failed\",\"error-message\":\"The backup was interrupted: it ended without a result\"}",
        )),
    }
}

fn running(call: &Call<'_, '_>) -> Response {
    let (percentage, mut members) = life(call, Job::Backup);
    members.extend(percentage.map(|percentage| ("percentage", percentage.to_string())));
    Response::json(format!("{{\"status\":\"running\"{}}}", joined(members)))
}

/// `GET /backup/download`
pub fn file(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let response = download(call, BACKUP).ok_or(Error::NotFound)?;
    call.audit(Action::BackupDownloaded, BACKUP);
    Ok(response)
}

/// `GET /backup/log`
pub fn log(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    log_file(call, "update_backup.log")
}

/// `POST /backup/restore`
pub fn restore(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let mut turn = Turn::take(call, Job::Backup, "RESTORE")?;
    uploads::check_room(call, Purpose::Restore, call.request.body.expected())?;
    let mut form = call.form()?;
    match (form.text("action"), form.file("archive"), form.text("upload")) {
        (None, Some(archive), None) => {
            turn.file(ARCHIVE, archive)?;
            turn.wait(call, "RESTORE")?;
        }
        (None, None, Some(id)) => {
            turn.upload(ARCHIVE, uploads::complete(call, &id, Purpose::Restore)?)?;
            turn.wait(call, "RESTORE")?;
        }
        (Some(action), None, None) if action.trim_end_matches(' ').eq_ignore_ascii_case("UNDO") => {
            turn.wait(call, "UNDO")?;
        }
        (None, None, None) => return Err(missing("archive")),
        (None, Some(_), Some(_)) => return Err(InvalidOption::new("upload", "an id, without an archive").into()),
        (Some(_), _, _) => return Err(InvalidOption::new("action", "UNDO, without an archive").into()),
    }
    Ok(Response::done())
}
