//! `/certs`: the certificate that browsers see.

use super::{Call, check_nothing_pending, confirm_seconds, hand_over_confirm, missing, pending_member};
use crate::audit::Action;
use crate::auth::Admin;
use crate::error::Error;
use crate::job::{Job, Lock};
use crate::json::quote;
use crate::response::Response;
use crate::status::{self, JobStatus, Phase};
use crate::upload::Handover;

const WHAT: &str = "Unable to change the certificates";
const PENDING: &str = "pending_certs.txt";

/// `POST /certs`
pub fn post(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let lock = Lock::take(call.appliance, Job::Certs).map_err(|error| Error::Job(WHAT, error))?;
    check_nothing_pending(call, PENDING, "/api/v1/admin/certs/confirm")?;
    let mut form = call.form()?;
    let confirm = confirm_seconds(call, &mut form)?;
    let public = form.document("public").ok_or_else(|| missing("public"))?;
    let private = form.document("private").ok_or_else(|| missing("private"))?;
    let ca = form.document("ca");

    let mut handover = Handover::new(call.appliance);
    handover.document("appliance.pem", &public)?;
    handover.document("appliance.key", &private)?;
    match ca {
        Some(ca) => handover.document("ca.pem", &ca)?,
        // The chain of an earlier upload does not belong to this certificate.
        None => handover.absent("ca.pem")?,
    }
    hand_over_confirm(&mut handover, "certs.confirm", confirm)?;
    lock.begin_status();
    lock.start(call.appliance, None).map_err(|error| Error::Job(WHAT, error))?;
    handover.complete();
    call.audit(Action::CertsPost, "");
    Ok(Response::accepted("/api/v1/admin/certs"))
}

/// `POST /certs/confirm`: the new certificate stays.
pub fn confirm(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    const WHAT: &str = "Unable to confirm the certificates";
    let lock = Lock::take(call.appliance, Job::Certs).map_err(|error| Error::Job(WHAT, error))?;
    lock.wait(call.appliance, Some("confirm")).map_err(|error| Error::Job(WHAT, error))?;
    call.audit(Action::CertsPost, "confirm");
    Ok(Response::done())
}

/// `GET /certs`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let appliance = call.appliance;
    let job = JobStatus::read(appliance, Job::Certs, None, "status_certs.txt");
    let log = status::tail(&appliance.log_file("update_certs.log"));
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
