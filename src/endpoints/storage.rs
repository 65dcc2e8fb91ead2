//! `/storage`: where the appliance keeps its data.

use super::settings::parse_document;
use super::{Call, missing, status_members};
use crate::audit::Action;
use crate::auth::Admin;
use crate::error::Error;
use crate::job::{Job, Lock};
use crate::json::{self, quote};
use crate::response::Response;
use crate::status;
use crate::storage::StorageSettings;
use crate::upload::Handover;
use serde_json::value::RawValue;

const WHAT: &str = "Unable to change the storage";

/// `POST /storage`
pub fn post(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let lock = Lock::take(call.appliance, Job::Storage).map_err(|error| Error::Job(WHAT, error))?;
    let document = call.form()?.document("settings").ok_or_else(|| missing("settings"))?;
    let root = parse_document(&document)?;
    let storage = root.get("storage").map_or("{}", RawValue::get);
    let (settings, storage) = StorageSettings::read(storage, &status::storage_options(call.appliance))?;

    let mut handover = Handover::new(call.appliance);
    handover.document("storage.json", settings.to_json(&storage).as_bytes())?;
    // Not for our own job, which derives its own: for one of the image.
    handover.document("storage.conf", settings.to_conf().as_bytes())?;
    lock.begin_status();
    lock.start(call.appliance, None).map_err(|error| Error::Job(WHAT, error))?;
    handover.complete();
    call.audit(Action::StoragePost, "");
    Ok(Response::accepted("/api/v1/admin/storage"))
}

/// `POST /storage/undo`
pub fn undo(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let lock = Lock::take(call.appliance, Job::Storage).map_err(|error| Error::Job(WHAT, error))?;
    lock.start(call.appliance, Some("undo")).map_err(|error| Error::Job(WHAT, error))?;
    call.audit(Action::StoragePost, "undo");
    Ok(Response::accepted("/api/v1/admin/storage"))
}

/// `GET /storage`: what was stored, and the types that could be.
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let stored = status::read_object(&call.appliance.etc_file("storage.json")).ok_or(Error::NotFound)?;
    // An image without the file has no storage to tell of; one whose file says nothing offers what is always there.
    if !call.appliance.storage_options_file().exists() {
        return Err(Error::NotFound);
    }
    let mut members: Vec<String> = stored
        .members()
        .filter(|(name, _)| *name != "options")
        .map(|(name, value)| format!("{}:{}", quote(name), json::compact(value.get())))
        .collect();
    let options: Vec<String> = status::storage_options(call.appliance).iter().map(|option| quote(option)).collect();
    members.push(format!("\"options\":[{}]", options.join(",")));
    let status = status_members(call, Job::Storage, "status_storage.txt", "update_storage.log");
    Ok(Response::json(format!("{{{}{status}}}", members.join(","))))
}
