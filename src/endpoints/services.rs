//! `/services`: the status of services.

use super::Call;
use super::turn::Turn;
use crate::caller::auth::Admin;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::Job;

/// `GET /services`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    Turn::take(call, Job::Services, "")?.wait(call, "").map(Response::json)
}
