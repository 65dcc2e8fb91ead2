//! `/reboot`: saves data that is only in memory, then restarts the appliance.

use super::Call;
use super::turn::Turn;
use crate::caller::auth::Admin;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::Job;
use crate::values::rule::InvalidOption;

/// `GET /reboot`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    Turn::take(call, Job::Reboot, "")?.start(call, "")
}

/// `POST /reboot`; `force=yes` restarts even if that cuts off a running job.
pub fn post(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let force = call.form()?.text("force").or_else(|| call.request.query("force").map(str::to_owned));
    let turn = match force.as_deref() {
        None | Some("" | "no") => Turn::take(call, Job::Reboot, "")?,
        Some("yes") => Turn::force(call, Job::Reboot, "")?,
        Some(_) => return Err(InvalidOption::new("force", "yes or no").into()),
    };
    turn.start(call, "")
}
