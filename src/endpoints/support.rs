//! `/logs` and `/debug`: what helps those who help.

use super::{Call, download};
use crate::audit::Action;
use crate::auth::Admin;
use crate::error::Error;
use crate::job::{Job, Lock};
use crate::response::Response;
use crate::upload::Handover;

/// `GET /logs`
pub fn logs(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    collect(call, Job::Logs, "logs.tar.gz", "Unable to collect the logs", Action::LogsDownloaded)
}

/// `GET /debug`
pub fn debug(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    collect(call, Job::Debug, "debug-bundle.tar", "Unable to create the debug bundle", Action::DebugDownloaded)
}

fn collect(
    call: &mut Call<'_, '_>,
    job: Job,
    name: &'static str,
    what: &'static str,
    action: Action,
) -> Result<Response, Error> {
    let lock = Lock::take(call.appliance, job).map_err(|error| Error::Job(what, error))?;
    // What an earlier request left is not an answer to this one.
    Handover::new(call.appliance).absent(name)?;
    lock.wait(call.appliance, None).map_err(|error| Error::Job(what, error))?;
    let response = download(call, name).ok_or(Error::NotFound)?;
    call.audit(action, name);
    Ok(response)
}
