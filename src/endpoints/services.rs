//! `/services`: which services run.

use super::Call;
use super::turn::Turn;
use crate::auth::Admin;
use crate::error::Error;
use crate::jobs::Job;
use crate::response::Response;

/// `GET /services`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    Turn::take(call, Job::Services, "")?.wait(call, "").map(Response::json)
}
