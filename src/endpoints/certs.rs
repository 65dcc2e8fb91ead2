//! `/certs`: the TLS certificate.

use super::turn::Turn;
use super::{
    Call, check_nothing_pending, confirm_seconds, hand_over_confirm, joined, life_by_status, missing, pending_member,
    text_file,
};
use crate::caller::auth::Admin;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::Job;
use crate::jobs::status::{self, JobStatus, Phase};
use crate::root::certificate::{self, Wanted};
use crate::values::json::quote;
use crate::values::rule::InvalidOption;

const PENDING: &str = "pending_certs.txt";
/// The pending certificate request; only root can read its key.
const REQUEST: &str = "certs_request.pem";

/// `POST /certs`
pub fn post(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let mut turn = Turn::take(call, Job::Certs, "")?;
    check_nothing_pending(call, PENDING, "/api/v1/admin/certs/confirm")?;
    let mut form = call.form()?;
    let confirm = confirm_seconds(call, &mut form)?;
    let public = form.document("public").ok_or_else(|| missing("public"))?;
    let private = form.document("private");
    if private.is_none() && !call.appliance.etc_file(REQUEST).exists() {
        return Err(missing("private"));
    }
    let ca = form.document("ca");

    turn.document("appliance.pem", &public)?;
    // Without it, the job uses the pending key.
    if let Some(private) = private {
        turn.document("appliance.key", &private)?;
    }
    if let Some(ca) = ca {
        turn.document("ca.pem", &ca)?;
    }
    hand_over_confirm(&mut turn, "certs.confirm", confirm)?;
    turn.start(call, "")
}

/// `POST /certs/confirm`: keeps the new certificate.
pub fn confirm(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    Turn::take(call, Job::Certs, "confirm")?.wait(call, "confirm")?;
    Ok(Response::done())
}

/// `POST /certs/revert`: restores the previous certificate now.
pub fn revert(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    super::revert(call, Job::Certs, PENDING, "No change of certificates is waiting for confirmation")
}

/// `GET /certs`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let appliance = call.appliance;
    let job = JobStatus::read(appliance, Job::Certs, None, "status_certs.txt");
    let log = call.log_tail("update_certs.log");
    let message = match job.phase {
        Phase::Consistent => appliance.trimmed_text(&appliance.etc_file("status_error_certs.txt")),
        Phase::Starting => None,
        Phase::Interrupted => {
            Some("The change of the certificates was interrupted: it ended without a result".to_owned())
        }
    };
    let mut body =
        format!("{{\"status\":{},\"log\":{}", status::or_null(job.text.as_deref()), status::or_null(log.as_deref()));
    if let Some(message) = message {
        body.extend([",\"error-message\":", &quote(&message)]);
    }
    body.push_str(&joined(life_by_status(call, Job::Certs, &job).1));
    body.push_str(&pending_member(call, PENDING));
    if let Some(certificate) = certificate::in_use(appliance, certificate::now()) {
        body.extend([",\"certificate\":", &certificate]);
    }
    body.push('}');
    Ok(Response::json(body))
}

/// `POST /certs/csr`: creates a key that stays on the appliance, and returns a certificate request.
pub fn post_csr(call: &mut Call<'_, '_>, admin: Admin) -> Result<Response, Error> {
    let mut turn = Turn::take(call, Job::Certs, "csr")?;
    let mut form = call.form()?;
    if let Some(action) = form.text("action") {
        if !action.trim().eq_ignore_ascii_case("FORGET") {
            return Err(InvalidOption::new("action", "FORGET").into());
        }
        turn.wait(call, "forget")?;
        return Ok(Response::done());
    }
    let names = form.text("names").ok_or_else(|| missing("names"))?;
    let wanted = Wanted::parse(&form.text("key").unwrap_or_default(), &names)?;
    turn.document("request.txt", wanted.to_text().as_bytes())?;
    turn.wait(call, "csr")?;
    csr(call, admin)
}

/// `GET /certs/csr`
pub fn csr(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    text_file(&call.appliance.etc_file(REQUEST))
}
