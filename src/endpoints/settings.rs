//! `/settings`: network settings and the application's own.

use super::turn::Turn;
use super::{
    Call, StatusFiles, check_nothing_pending, confirm_seconds, hand_over_confirm, joined, missing, pending_member,
};
use crate::caller::auth::Admin;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::Job;
use crate::jobs::status::{self, Phase};
use crate::root::redact::{self, Secrets};
use crate::values::json::{self, Object};
use crate::values::network::SettingsFiles;
use crate::values::scope::Scope;
use serde_json::value::RawValue;

const PENDING: &str = "pending_settings.txt";

/// The member `pending` during a rollback.
const NO_TIME_LEFT: &str = ",\"pending\":{\"seconds-left\":0}";

const FILES: StatusFiles = StatusFiles {
    job: Job::Settings,
    status: "status_settings.txt",
    message: "status_error_settings.txt",
    log: "update_settings.log",
};

/// `POST /settings`
pub fn post(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    // Both kinds of settings take the same lock.
    let mut turn = Turn::take(call, Job::Settings, "static")?;
    check_nothing_pending(call, PENDING, "/api/v1/admin/settings/confirm")?;
    let mut form = call.form()?;
    let confirm = confirm_seconds(call, &mut form)?;
    let document = form.document("settings").ok_or_else(|| missing("settings"))?;
    let root = parse_document(&document)?;
    let raw = |name| root.get(name).map(RawValue::get);
    let files = SettingsFiles::new(raw("network"), raw("app"))?;
    let mode = files.network.mode();

    turn.document("app.json", files.app_json.as_bytes())?;
    turn.document("network.json", files.network_json.as_bytes())?;
    // For the image's own jobs; ours derive their own.
    turn.document("network.conf", files.network.to_conf().as_bytes())?;
    hand_over_confirm(&mut turn, "settings.confirm", confirm)?;
    turn.start(call, mode)
}

/// `POST /settings/confirm`
pub fn confirm(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    Turn::take(call, Job::Settings, "confirm")?.wait(call, "confirm")?;
    Ok(Response::done())
}

/// `POST /settings/revert`
pub fn revert(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    super::revert(call, Job::Settings, PENDING, "No change of settings is waiting for confirmation")
}

/// `GET /settings`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let read = |name| status::read_json(&call.appliance.etc_file(name)).ok_or_else(|| FILES.not_yet(call));
    let (network, mut app) = (read("network.json")?, read("app.json")?);
    // An interrupted change is rolled back within a minute; until then it is not final.
    let pending = match pending_member(call, PENDING) {
        none if none.is_empty() && FILES.status(call).phase == Phase::Interrupted => NO_TIME_LEFT.to_owned(),
        pending => pending,
    };
    if call.caller.scope() != Scope::Admin {
        // The application's own settings, which can contain passwords.
        app = redact::json(&app, &Secrets::of(call.appliance));
    }
    Ok(Response::json(format!(
        "{{\"network\":{},\"app\":{}{}{}}}",
        json::compact(&network),
        json::compact(&app),
        pending,
        joined(FILES.members(call))
    )))
}

/// A `settings.json` from a client: one object.
pub fn parse_document(document: &[u8]) -> Result<Object, Error> {
    let text = std::str::from_utf8(document).map_err(|_| Error::Bad("Invalid settings file: not UTF-8".to_owned()))?;
    Object::parse(text).map_err(|reason| Error::Bad(format!("Invalid settings file: {reason}")))
}
