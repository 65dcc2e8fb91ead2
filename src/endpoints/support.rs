//! `/logs` and `/debug`: downloads for support.

use super::turn::Turn;
use super::{Call, download};
use crate::audit::Action;
use crate::caller::auth::Admin;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::Job;

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
