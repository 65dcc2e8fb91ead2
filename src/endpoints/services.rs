//! `/services`: which services run.

use super::Call;
use crate::auth::Admin;
use crate::error::Error;
use crate::job::{Job, Lock};
use crate::response::Response;

const WHAT: &str = "Unable to read the status of the services";

/// `GET /services`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let lock = Lock::take(call.appliance, Job::Services).map_err(|error| Error::Job(WHAT, error))?;
    let output = lock.wait(call.appliance, None).map_err(|error| Error::Job(WHAT, error))?;
    Ok(Response::json(output))
}
