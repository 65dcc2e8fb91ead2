//! `/logs` and `/debug`: what helps those who help.

use super::turn::Turn;
use super::{Call, download};
use crate::audit::Action;
use crate::auth::Admin;
use crate::error::Error;
use crate::jobs::Job;
use crate::response::Response;

/// `GET /logs`
pub fn logs(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    collect(call, Job::Logs, "logs.tar.gz", Action::LogsDownloaded)
}

/// `GET /debug`
pub fn debug(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    collect(call, Job::Debug, "debug-bundle.tar", Action::DebugDownloaded)
}

fn collect(call: &mut Call<'_, '_>, job: Job, name: &'static str, action: Action) -> Result<Response, Error> {
    let mut turn = Turn::take(call, job, "")?;
    turn.forget(name)?;
    turn.wait(call, "")?;
    let response = download(call, name).ok_or(Error::NotFound)?;
    call.audit(action, name);
    Ok(response)
}
