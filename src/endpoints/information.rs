//! `/version`, `/changelog`, `/build`, `/health`, `/machine` and `/endpoints`: facts about the appliance.

use super::turn::Turn;
use super::{Call, text_file};
use crate::appliance;
use crate::appliance::keys::API_TOKEN;
use crate::caller::auth::Admin;
use crate::endpoints::routes::{PREFIX, ROUTES};
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::Job;
use crate::jobs::job::JobError;
use crate::jobs::status;
use crate::values::json::quote;

/// `GET /version`
pub fn version(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let content = appliance::read(&call.appliance.etc_file("version.txt")).map_err(|_| Error::NotFound)?;
    let text = String::from_utf8_lossy(&content);
    match text.lines().next().unwrap_or_default().trim() {
        "" => Err(Error::NotFound),
        version => Ok(Response::json(format!("{{\"version\":{}}}", quote(version)))),
    }
}

/// `GET /changelog`
pub fn changelog(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    text_file(&call.appliance.etc_file("changelog.txt"))
}

/// `GET /build`
pub fn build(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    status::read_json(&call.appliance.build_file()).map(Response::json).ok_or(Error::NotFound)
}

/// `GET /health`
pub fn health(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    status::read_json(&call.appliance.etc_file("health.json")).map(Response::json).ok_or(Error::NotFound)
}

/// `GET /machine`
pub fn machine(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    status::read_json(&call.appliance.etc_file("machine.json")).map(Response::json).ok_or(Error::NotFound)
}

/// `GET /health/history`
pub fn history(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    const RANGES: [&str; 5] = ["1h", "1d", "1w", "1m", "1y"];
    const WHAT: &str = "Cannot show the history";
    let wanted = call.request.query("range").unwrap_or("1h");
    let range = RANGES.into_iter().find(|range| *range == wanted);
    let range = range.ok_or_else(|| Error::Bad(format!("Invalid option: range. Allowed: {}", RANGES.join(", "))))?;
    match Turn::take(call, Job::Monitor, range)?.try_wait(call, range)? {
        Ok(output) => Ok(Response::json(output)),
        // An image can omit the history, and a new one has none yet.
        Err(JobError::Failed(_, Some(reason))) => Err(Error::Absent(reason)),
        Err(error) => Err(Error::Job(WHAT, error)),
    }
}

/// `GET /endpoints`: the enabled first-level endpoints and `/docs`, sorted. A caller with a named token also gets its
/// name and scope.
pub fn endpoints(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let enabled = ROUTES.iter().filter(|route| call.config.is_enabled(route.feature)).map(|route| route.path);
    // Clients compare this list, so later additions that cannot be disabled are not in it.
    let is_first_level = |path: &&str| {
        path.strip_prefix(PREFIX).is_none_or(|rest| {
            !rest[1..].contains('/') && !matches!(rest, "/jobs" | "/machine" | "/tokens" | "/uploads")
        })
    };
    let mut paths: Vec<String> = enabled.filter(is_first_level).map(quote).collect();
    paths.sort();
    paths.dedup();
    let token = match call.caller.key() {
        API_TOKEN => String::new(),
        name => [",\"token\":{\"name\":", &quote(name), ",\"scope\":\"", call.caller.scope().name(), "\"}"].concat(),
    };
    Ok(Response::json(["{\"endpoints\":[", &paths.join(","), "]", &token, "}"].concat()))
}
