//! `/license`: the vendor's licence.

use super::{Call, missing};
use crate::audit::Action;
use crate::auth::Admin;
use crate::error::Error;
use crate::job::{self, Job, Lock};
use crate::response::Response;
use crate::upload::Handover;

const WHAT: &str = "Unable to change the license";

/// `POST /license`: the new licence is the answer.
pub fn post(call: &mut Call<'_, '_>, admin: Admin) -> Result<Response, Error> {
    let lock = Lock::take(call.appliance, Job::License).map_err(|error| Error::Job(WHAT, error))?;
    let license = call.form()?.document("license").ok_or_else(|| missing("license"))?;
    let mut handover = Handover::new(call.appliance);
    handover.document("license.asc", &license)?;
    lock.wait(call.appliance, None).map_err(|error| Error::Job(WHAT, error))?;
    handover.complete();
    call.audit(Action::LicensePost, "");
    get(call, admin)
}

/// `GET /license`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    job::license(call.appliance).map(Response::json).ok_or(Error::NotFound)
}
