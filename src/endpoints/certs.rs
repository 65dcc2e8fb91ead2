//! `/certs`: the certificate that browsers see.

use super::turn::Turn;
use super::{Call, check_nothing_pending, confirm_seconds, hand_over_confirm, missing, pending_member};
use crate::auth::Admin;
use crate::error::Error;
use crate::jobs::Job;
use crate::json::quote;
use crate::response::Response;
use crate::status::{self, JobStatus, Phase};

const PENDING: &str = "pending_certs.txt";

/// `POST /certs`
pub fn post(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let mut turn = Turn::take(call, Job::Certs, "")?;
    check_nothing_pending(call, PENDING, "/api/v1/admin/certs/confirm")?;
    let mut form = call.form()?;
    let confirm = confirm_seconds(call, &mut form)?;
    let public = form.document("public").ok_or_else(|| missing("public"))?;
    let private = form.document("private").ok_or_else(|| missing("private"))?;
    let ca = form.document("ca");

    turn.document("appliance.pem", &public)?;
    turn.document("appliance.key", &private)?;
    if let Some(ca) = ca {
        turn.document("ca.pem", &ca)?;
    }
    hand_over_confirm(&mut turn, "certs.confirm", confirm)?;
    turn.start(call, "")
}

/// `POST /certs/confirm`: the new certificate stays.
pub fn confirm(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    Turn::take(call, Job::Certs, "confirm")?.wait(call, "confirm")?;
    Ok(Response::done())
}

/// `GET /certs`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let appliance = call.appliance;
    let job = JobStatus::read(appliance, Job::Certs, None, "status_certs.txt");
    let log = call.log_tail("update_certs.log");
    let message = match job.phase {
        Phase::AsSaid => appliance.trimmed_text(&appliance.etc_file("status_error_certs.txt")),
        Phase::Starting => None,
        Phase::Interrupted => {
            Some("The change of the certificates was interrupted: it ended without a result".to_owned())
        }
    };
    let mut body =
        format!("{{\"status\":{},\"log\":{}", status::or_null(job.word.as_deref()), status::or_null(log.as_deref()));
    if let Some(message) = message {
        body.extend([",\"error-message\":", &quote(&message)]);
    }
    body.push_str(&pending_member(call, PENDING));
    body.push('}');
    Ok(Response::json(body))
}
