//! The HTTP API that administers a virtual appliance, as one CGI program.
//!
//! The modules below stand in reading order: each uses those above it, never those below. Two tables are the exception:
//! `routes` names the handlers, and `/endpoints` tells it; `commands` names the commands, which take its `Arguments`.

// The ground: what is configured, and values that are valid once they exist.
pub mod logging;
pub mod clock;
pub mod config;
pub mod rule;
pub mod json;
pub mod random;
pub mod shell_conf;
pub mod token;
pub mod network;
pub mod storage;
// The machine: its files, its jobs, what is remembered of its callers.
pub mod appliance;
pub mod chain;
pub mod slots;
pub mod audit;
pub mod jobs;
pub mod record;
pub mod job;
pub mod gate;
pub mod status;
pub mod history;
pub mod x509;
pub mod pem;
pub mod certificate;
pub mod keys;
pub mod signature;
pub mod redact;
pub mod glob;
pub mod walk;
pub mod list;
pub mod collect;
// The way in and the way out.
pub mod request;
pub mod multipart;
pub mod response;
pub mod pause;
pub mod error;
pub mod auth;
pub mod upload;
// What we do.
pub mod first_run;
pub mod endpoints;
pub mod routes;
// For jobs and units: what root asks of the executable, and the commands for it, which no person types.
pub mod programs;
pub mod derive;
pub mod version;
pub mod package;
pub mod preflight;
pub mod adapters;
pub mod archive;
pub mod commands;
// For people at a terminal.
#[cfg(feature = "cli")]
pub mod openapi;
#[cfg(feature = "cli")]
pub mod verify;
#[cfg(feature = "cli")]
pub mod console;
#[cfg(feature = "cli")]
pub mod machine;
#[cfg(feature = "cli")]
pub mod check;
#[cfg(feature = "cli")]
pub mod cli;

use appliance::Appliance;
use audit::Action;
use auth::{Caller, Credential, Guard};
use config::{Config, Legacy};
use endpoints::Call;
use error::Error;
use first_run::FirstRun;
use keys::Scope;
use request::{Method, Path, Request};
use response::{Response, Wait};
use routes::{Handler, Resource, Route, Success, Verb};
use upload::Sender;

/// Answers one request.
pub fn respond(request: &mut Request<'_>, appliance: &Appliance) -> Response {
    let config = appliance.config();
    let response = match request.path.clone().and_then(|path| Some((routes::find(&path, &config)?, path))) {
        Some((resource, path)) => answer(request, appliance, &config, &resource, &path),
        None if request.is_question => Response::let_come(false),
        None => Error::NotFound.into_response(None),
    };
    if request.is_question {
        return response;
    }
    request.body.drain(config.max_upload);
    let response = pause::pause(response, appliance, request.waiting_room);
    if request.method == Method::Head { response.without_body() } else { response }
}

fn answer(
    request: &mut Request<'_>,
    appliance: &Appliance,
    config: &Config,
    resource: &Resource,
    path: &Path,
) -> Response {
    let route = match resource.route(&request.method) {
        Err(_) if resource.is_public() && request.is_question => return Response::let_come(false),
        Err(error) if resource.is_public() => return error.into_response(None),
        route => route,
    };
    let fields = route.as_ref().map_or(&[][..], |route| route.fields);
    let mut caller = Caller::Anonymous(None);
    let (mut first_run, mut token, mut reading) = (FirstRun::NotConfigured, None, None);
    if !resource.is_public() {
        (first_run, token) = first_run::state(appliance, config);
        let mut credential = Credential::from_head(request, path);
        if credential.is_none() && request.is_question {
            return Response::let_come(false);
        }
        if credential.is_none() && request.method == Method::Post && route.is_ok() {
            // It may be among the fields, in any order, so all of the form must be read to know.
            let mut read = upload::receive(request, fields, config, appliance, Sender::Unknown);
            if let Err(error @ (Error::Busy | Error::Slow)) = read.form {
                return error.into_response(None);
            }
            credential = read.credential.take();
            reading = Some(read);
        }
        let guard = Guard { appliance, config, token: token.as_ref(), is_question: request.is_question };
        caller = guard.identify(credential.as_ref(), request, path);
    }
    let (key, scope, proof) = match &caller {
        Caller::Known(known) => (known.key().to_owned(), known.scope(), known.proof.clone()),
        Caller::Anonymous(_) => (String::new(), Scope::Read, None),
    };
    let target = path.canonical()[1..].to_owned();
    let changes_state = route.as_ref().is_ok_and(|route| route.changes_state());
    let mut call = Call {
        appliance,
        config,
        request,
        fields,
        reading,
        first_run,
        token,
        target,
        key,
        scope,
        proof,
        wait: Wait::No,
        idempotency: None,
    };
    let response = handle(&mut call, route, &caller).unwrap_or_else(|error| {
        // What was refused is written down where it was.
        if changes_state && !call.key.is_empty() && !error.is_refusal() {
            call.audit(Action::RequestFailed, &call.target);
        }
        let is_question = call.request.is_question;
        if is_question && !error.is_refusal() {
            return Response::let_come(true);
        }
        let response = error.into_response(first_run.is_pending()).waiting(call.wait);
        if is_question { response.instead_of_body(error::TO_THE_QUESTION) } else { response }
    });
    match caller {
        Caller::Known(known) if known.is_legacy && config.legacy == Legacy::Warn && !call.request.is_question => {
            call.audit(Action::LegacyUsed, &call.target);
            response.header("Warning", "299 - \"Credentials in the query or the form are deprecated\"".to_owned())
        }
        Caller::Known(_) | Caller::Anonymous(_) => response,
    }
}

/// Lets the scope of the route and the type of its handler decide who may go on.
fn handle(call: &mut Call<'_, '_>, route: Result<&Route, Error>, caller: &Caller) -> Result<Response, Error> {
    if route.as_ref().is_ok_and(|route| route.changes_state()) && call.request.headers.is_cross_site() {
        call.audit(Action::ForeignRefused, &call.target);
        return Err(Error::Foreign("A page of another site may not do that"));
    }
    if let Ok(Route { handler: Handler::Open(handler), .. }) = route {
        if call.request.is_question {
            return Ok(Response::let_come(matches!(caller, Caller::Known(_))));
        }
        return handler(call, caller);
    }
    let known = match caller {
        Caller::Known(known) if call.first_run != FirstRun::Pending => known,
        Caller::Known(_) => return Err(call.refuse(Action::FirstRunRefused, Error::Unauthenticated(None))),
        Caller::Anonymous(fault) => {
            let is_pending = call.first_run == FirstRun::Pending;
            let action = if is_pending { Action::FirstRunRefused } else { Action::AuthenticationFailed };
            return Err(call.refuse(action, Error::Unauthenticated(*fault)));
        }
    };
    let route = route?;
    let Some(admin) = known.admit(route.scope) else {
        return Err(call.refuse(Action::ScopeRefused, Error::NotAllowed(route.scope)));
    };
    if call.request.is_question {
        return Ok(Response::let_come(true));
    }
    if route.fields.is_empty() && call.proof.is_some() {
        // A handler that reads no form would not notice a body that nobody signed.
        call.form()?;
    }
    if route.method == Verb::Post
        && route.success == Success::Accepted
        && let Some(response) = endpoints::jobs::repeated(call)?
    {
        return Ok(response);
    }
    match route.handler {
        Handler::Admin(handler) => handler(call, admin),
        Handler::Open(handler) => handler(call, caller),
    }
}
