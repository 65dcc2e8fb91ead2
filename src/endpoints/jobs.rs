//! `/jobs`: running and ended jobs. Also the only place that detects repeated requests.

use super::Call;
use crate::appliance::Appliance;
use crate::caller::auth::Admin;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::JOBS;
use crate::jobs::history::{self, Entry, Stage};
use crate::jobs::record::Idempotency;
use crate::upload::Reading;
use crate::values::rule::InvalidOption;
use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

/// Maximum seconds that a client can wait for a change: below every proxy's timeout.
const MAX_WAIT: u64 = 25;
/// Maximum requests that wait at once, because they occupy workers; further ones get their response immediately.
const MAX_WAITING: usize = 4;
/// How often a waiting request checks.
const STEP: Duration = Duration::from_millis(250);

/// `GET /jobs`: running jobs, then the last hundred.
pub fn list(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let entries: Vec<String> = history::list(call.appliance)
        .iter()
        .map(|entry| entry.to_json(call.appliance, |text| call.redacted(text)))
        .collect();
    Ok(Response::json(format!("{{\"jobs\":[{}]}}", entries.join(","))))
}

/// `GET /jobs/ID`; with `wait=25`, responds after a change or 25 seconds.
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let seconds = match call.request.query("wait").map(str::parse::<u64>) {
        None => 0,
        Some(Ok(seconds)) if seconds <= MAX_WAIT => seconds,
        Some(_) => return Err(InvalidOption::new("wait", "0 to 25 seconds").into()),
    };
    let id = call.target.rsplit('/').next().unwrap_or_default().to_owned();
    let find = || history::find(call.appliance, &id).ok_or(Error::NotFound);
    let mut entry = find()?;
    if seconds > 0
        && entry.stage == Stage::Running
        && let Some(_place) = waiting_place(call)
    {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let seen = entry.progress(call.appliance);
        while entry.stage == Stage::Running && entry.progress(call.appliance) == seen && Instant::now() < deadline {
            std::thread::sleep(STEP);
            entry = find()?;
        }
    }
    Ok(Response::json(entry.to_json(call.appliance, |text| call.redacted(text))))
}

/// A place for a waiting request; released when dropped, also by a kill.
fn waiting_place(call: &Call<'_, '_>) -> Option<File> {
    (0..MAX_WAITING).find_map(|n| {
        let place = state_file(call.appliance, &format!("jobs.wait.{n}"));
        place.ok().filter(|place| place.try_lock().is_ok())
    })
}

/// The response to an earlier request with this `Idempotency-Key`. Otherwise stores the key for the job that the call
/// starts.
pub fn repeated(call: &mut Call<'_, '_>) -> Result<Option<Response>, Error> {
    let value = call.request.headers.get("idempotency-key").to_owned();
    if value.is_empty() {
        return Ok(None);
    }
    if value.len() > 255 || !value.bytes().all(|byte| (32..=126).contains(&byte)) {
        return Err(Error::Bad("Idempotency-Key must have 1 to 255 printable characters".to_owned()));
    }
    let form = call.form()?;
    let mut body = Sha256::new().chain_update(form.digest().unwrap_or_default());
    for (name, value) in call.request.parameters().filter(|(name, _)| !matches!(*name, "hash" | "token")) {
        body = body.chain_update([name, "=", value, "&"].concat());
    }
    call.reading = Some(Reading { form: Ok(form), credential: None });
    let key = [&call.caller.identity(), call.target.as_str(), value.as_str()].join("\0");
    let idempotency = Idempotency { key: hex::encode(Sha256::digest(key)), body: hex::encode(body.finalize()) };
    call.lock_of_key.set(lock_of(call.appliance, &idempotency.key));
    match history::started_by(call.appliance, &idempotency.key) {
        None => {
            call.idempotency = Some(idempotency);
            Ok(None)
        }
        Some(entry) if entry.record.idempotency.as_ref().is_some_and(|own| own.body == idempotency.body) => {
            Ok(Some(accepted(&entry)))
        }
        Some(_) => Err(Error::KeyReused),
    }
}

/// Waits until no other request with the same `Idempotency-Key` is about to start a job: two at the same moment would
/// start two. Released when the job has its record, or at the end of the request. `None` on an image without that
/// directory, which stores no records either.
fn lock_of(appliance: &Appliance, key: &str) -> Option<File> {
    let lock = state_file(appliance, &format!("jobs.key.{}", key.get(..1)?)).ok()?;
    lock.lock().ok()?;
    Some(lock)
}

/// Opens a file in the executable's state, or creates it.
fn state_file(appliance: &Appliance, name: &str) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    options.open(appliance.state_file(name))
}

fn accepted(entry: &Entry) -> Response {
    let location = JOBS.iter().find(|row| row.name == entry.job).map_or("/api/v1/admin/jobs", |row| row.location);
    Response::accepted(location, &entry.record.id)
}
