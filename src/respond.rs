//! The path of a request, from its head to its response.

use crate::appliance::Appliance;
use crate::audit::Action;
use crate::caller::auth::{Caller, Credential, Guard};
use crate::caller::first_run::{self, FirstRun};
use crate::caller::pause;
use crate::endpoints::routes::{self, Handler, Resource, Route, Success, Verb};
use crate::endpoints::{self, Call};
use crate::http::error::{self, Error};
use crate::http::request::{Method, Path, Request};
use crate::http::response::{Response, Wait};
use crate::upload::{self, Sender};
use crate::values::config::{Config, Legacy};
use crate::values::scope::Scope;

/// Responds to one request.
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
            // The credential can be among the fields, in any order, so the whole form must be read.
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
        // The place that refused the request also logged it.
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

/// The scope of the route and the type of its handler decide who is allowed.
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
        return Ok(match endpoints::uploads::may_come(call, route) {
            Ok(()) => Response::let_come(true),
            Err(error) => {
                call.audit(Action::RequestFailed, &call.target);
                error.into_response(call.first_run.is_pending()).instead_of_body(error::TO_THE_QUESTION)
            }
        });
    }
    if route.fields.is_empty() && route.method != Verb::Patch && call.proof.is_some() {
        // A handler that reads no form would not detect an unsigned body.
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
