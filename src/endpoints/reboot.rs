//! `/reboot`: restarts the appliance, after a backup.

use super::Call;
use crate::audit::Action;
use crate::auth::Admin;
use crate::error::Error;
use crate::job::{Job, Lock};
use crate::response::Response;

const WHAT: &str = "Unable to reboot";

/// `GET /reboot`
pub fn get(call: &mut Call<'_, '_>, admin: Admin) -> Result<Response, Error> {
    post(call, admin)
}

/// `POST /reboot`
pub fn post(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let lock = Lock::take(call.appliance, Job::Reboot).map_err(|error| Error::Job(WHAT, error))?;
    lock.start(call.appliance, None).map_err(|error| Error::Job(WHAT, error))?;
    call.audit(Action::Reboot, "");
    Ok(Response::accepted("/api/v1/admin/reboot"))
}
