//! `/update`: inspects and installs a software update, and reports its progress.

use super::turn::Turn;
use super::{Call, log_file, missing, uploads};
use crate::appliance::resumable::Purpose;
use crate::caller::auth::Admin;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::Job;
use crate::jobs::status::{self, JobStatus, Phase};
use crate::values::json::quote;
use crate::values::rule::InvalidOption;

const LOG: &str = "update.log";
/// The name of the job's input file.
const PACKAGE: &str = "software_package-zzz.enc";

/// `POST /update`
pub fn post(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let mut turn = Turn::take(call, Job::Update, "")?;
    // Before the package arrives, so that none of it is sent in vain.
    uploads::check_room(call, Purpose::Update, call.request.body.expected())?;
    let mut form = call.form()?;
    match (form.file("update"), form.text("upload")) {
        (Some(package), None) => turn.file(PACKAGE, package)?,
        (None, Some(id)) => turn.upload(PACKAGE, uploads::complete(call, &id, Purpose::Update)?)?,
        (None, None) => return Err(missing("update")),
        (Some(_), Some(_)) => return Err(InvalidOption::new("upload", "an id, without a file").into()),
    }
    turn.start(call, "")
}

/// `POST /update/inspect`
pub fn inspect(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let mut turn = Turn::take(call, Job::Inspect, "")?;
    let id = call.form()?.text("upload").ok_or_else(|| missing("upload"))?;
    // Keeps its lock until the job has read it.
    let upload = uploads::complete(call, &id, Purpose::Update)?;
    uploads::check_room_to_inspect(call.appliance, &upload)?;
    turn.document("inspect.upload", id.as_bytes())?;
    turn.wait(call, "").map(Response::json)
}

/// `GET /update`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let appliance = call.appliance;
    let job = JobStatus::read(appliance, Job::Update, Some("status_update.json"), "status_update.txt");
    let text = |name: &str| appliance.trimmed_text(&appliance.etc_file(name));
    let (message, code) = match job.phase {
        Phase::Consistent => (text("status_error_message.txt"), text("status_error_code.txt")),
        Phase::Starting => (None, None),
        Phase::Interrupted => {
            (Some("The update was interrupted: it ended without a result".to_owned()), Some("E1000".to_owned()))
        }
    };

    let mut body = format!("{{\"status\":{}", status::or_null(job.text.as_deref()));
    let mut member = |name: &str, value: &str| body.extend([",", &quote(name), ":", value]);
    let (stored, others): (Vec<_>, Vec<_>) = job.members.iter().partition(|(name, _)| name == "percentage");
    // While the update runs, its script can report a newer percentage than the status file has.
    let (reported, signs_of_life) = super::life_by_status(call, Job::Update, &job);
    for (name, value) in stored {
        member(name, reported.map(|percentage| percentage.to_string()).as_ref().unwrap_or(value));
    }
    member("log", &status::or_null(call.log_tail(LOG).as_deref()));
    for (name, value) in [("error-message", message), ("error-code", code)] {
        if let Some(value) = value {
            member(name, &quote(&call.redacted(value)));
        }
    }
    // A job's additional members, such as the versions before and after, follow the documented ones.
    let known = ["log", "error-message", "error-code"];
    for (name, value) in others.into_iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        member(name, value);
    }
    for (name, value) in signs_of_life {
        member(name, &value);
    }
    body.push('}');
    Ok(Response::json(body))
}

/// `GET /update/log`
pub fn log(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    log_file(call, LOG)
}
