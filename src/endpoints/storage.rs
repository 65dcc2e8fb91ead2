//! `/storage`: where the appliance stores its data.

use super::settings::parse_document;
use super::turn::Turn;
use super::{Call, StatusFiles, joined, missing};
use crate::caller::auth::Admin;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::Job;
use crate::jobs::status;
use crate::values::json::{self, quote};
use crate::values::storage::StorageSettings;
use serde_json::value::RawValue;

const FILES: StatusFiles = StatusFiles {
    job: Job::Storage,
    status: "status_storage.txt",
    message: "status_error_storage.txt",
    log: "update_storage.log",
};

/// `POST /storage`
pub fn post(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let mut turn = Turn::take(call, Job::Storage, "")?;
    let document = call.form()?.document("settings").ok_or_else(|| missing("settings"))?;
    let root = parse_document(&document)?;
    let storage = root.get("storage").map_or("{}", RawValue::get);
    let (settings, storage) = StorageSettings::read(storage, &status::storage_options(call.appliance))?;

    turn.document("storage.json", settings.to_json(&storage).as_bytes())?;
    // For a job of the image; ours derives its own.
    turn.document("storage.conf", settings.to_conf().as_bytes())?;
    turn.start(call, "")
}

/// `POST /storage/undo`
pub fn undo(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    Turn::take(call, Job::Storage, "undo")?.start(call, "undo")
}

/// `GET /storage`: the current settings, and the available types.
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let stored = status::read_object(&call.appliance.etc_file("storage.json")).ok_or_else(|| FILES.not_yet(call))?;
    // An image without the file has no storage settings; an empty file offers the default.
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
    Ok(Response::json(format!("{{{}{}}}", members.join(","), joined(FILES.members(call)))))
}
