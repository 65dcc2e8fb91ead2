//! `/license`: the vendor's license.

use super::turn::Turn;
use super::{Call, missing};
use crate::caller::auth::Admin;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::Job;
use crate::jobs::job;

/// `POST /license`: returns the new license.
pub fn post(call: &mut Call<'_, '_>, admin: Admin) -> Result<Response, Error> {
    let mut turn = Turn::take(call, Job::License, "")?;
    let license = call.form()?.document("license").ok_or_else(|| missing("license"))?;
    turn.document("license.asc", &license)?;
    turn.wait(call, "")?;
    get(call, admin)
}

/// `GET /license`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    job::license(call.appliance).map(Response::json).ok_or(Error::NotFound)
}
