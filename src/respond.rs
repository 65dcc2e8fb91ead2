//! The steps from a request to its response.

use crate::appliance::Appliance;
use crate::audit::Action;
use crate::caller::auth::{Caller, Credential, Guard};
use crate::caller::first_run::{self, FirstRun};
use crate::caller::pause;
use crate::endpoints::routes::{self, Handler, Resource, Route, Success, Verb};
use crate::endpoints::{self, Call};
use crate::http::error::{self, Error};
use crate::http::request::{Method, Path, Request};
use crate::http::response::Response;
use crate::upload::{self, Sender};
use crate::values::config::{Config, Legacy};

/// Answers one request.
pub fn respond(request: &mut Request<'_>, appliance: &Appliance) -> Response {
    let config = appliance.config();
    let response = match request.path.clone().and_then(|path| Some((routes::find(&path, &config)?, path))) {
        Some((resource, path)) => answer(request, appliance, &config, &resource, &path),
        None if request.is_question => Response::accept_body(false),
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
    let route = resource.route(&request.method);
    let mut call = Call::new(appliance, config, request, path, route.as_ref().ok().copied());
    if resource.is_public() {
        return public(&mut call, route);
    }
    if let Err(response) = identify(&mut call, path) {
        return response;
    }
    let response = handle(&mut call, route).unwrap_or_else(|error| failed(&call, error));
    if call.caller.is_legacy() && config.legacy == Legacy::Warn && !call.request.is_question {
        call.audit(Action::LegacyUsed, &call.target);
        return response.header("Warning", "299 - \"Credentials in the query or the form are deprecated\"".to_owned());
    }
    response
}

/// Responds to requests for which no credential is checked.
fn public(call: &mut Call<'_, '_>, route: Result<&Route, Error>) -> Response {
    if call.request.is_question {
        return Response::accept_body(false);
    }
    match route.map(|route| route.handler) {
        Ok(Handler::Public(handler) | Handler::Open(handler)) => handler(call),
        Ok(Handler::Scoped(..)) => Err(Error::NotFound),
        Err(error) => Err(error),
    }
    .unwrap_or_else(|error| error.into_response(None))
}

/// Identifies the caller. `Err` is a response that is the same for every caller.
fn identify(call: &mut Call<'_, '_>, path: &Path) -> Result<(), Response> {
    let (appliance, config) = (call.appliance, call.config);
    (call.first_run, call.token) = first_run::state(appliance, config);
    let mut credential = Credential::from_head(call.request, path);
    if credential.is_none() && call.request.is_question {
        return Err(Response::accept_body(false));
    }
    if credential.is_none() && call.request.method == Method::Post && call.route.is_some() {
        // The credential can be among the fields, in any order, so the whole form must be read first.
        let mut read = upload::receive(call.request, call.fields(), config, appliance, Sender::Unknown);
        if let Err(error @ (Error::Busy | Error::Slow)) = read.form {
            return Err(error.into_response(None));
        }
        credential = read.credential.take();
        call.reading = Some(read);
    }
    let guard = Guard { appliance, config, token: call.token.as_ref(), is_question: call.request.is_question };
    call.caller = guard.identify(credential.as_ref(), call.request, path);
    Ok(())
}

/// Calls the handler of the route if the caller is allowed to use it.
fn handle(call: &mut Call<'_, '_>, route: Result<&Route, Error>) -> Result<Response, Error> {
    if call.changes_state() && call.request.headers.is_cross_site() {
        call.audit(Action::ForeignRefused, &call.target);
        return Err(Error::Foreign("A page of another site may not do that"));
    }
    if let Ok(Route { handler: Handler::Public(handler) | Handler::Open(handler), .. }) = route {
        if call.request.is_question {
            return Ok(Response::accept_body(call.caller.is_known()));
        }
        return handler(call);
    }
    // Only a caller with a valid credential learns that a method is not supported.
    authenticate(call)?;
    let route = route?;
    let Handler::Scoped(scope, handler) = route.handler else { return Err(Error::NotFound) };
    let Some(admin) = call.caller.admit(scope) else {
        return Err(call.refuse(Action::ScopeRefused, Error::NotAllowed(scope)));
    };
    if call.request.is_question {
        return Ok(match endpoints::uploads::may_send_body(call, route) {
            Ok(()) => Response::accept_body(true),
            Err(error) => {
                call.audit(Action::RequestFailed, &call.target);
                error.into_response(call.first_run.is_pending()).instead_of_body(error::BODY_REFUSED)
            }
        });
    }
    if route.fields.is_empty() && route.method != Verb::Patch && call.caller.proof().is_some() {
        // A handler that reads no form would not notice a body that nobody signed.
        call.form()?;
    }
    if route.method == Verb::Post
        && route.success == Success::Accepted
        && let Some(response) = endpoints::jobs::repeated(call)?
    {
        return Ok(response);
    }
    handler(call, admin)
}

/// Refuses a caller without a valid credential, and every caller while first run is pending.
fn authenticate(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let is_pending = call.first_run == FirstRun::Pending;
    let (action, fault) = match call.caller {
        Caller::Known(_) if !is_pending => return Ok(()),
        Caller::Known(_) => (Action::FirstRunRefused, None),
        Caller::Anonymous(fault) if is_pending => (Action::FirstRunRefused, fault),
        Caller::Anonymous(fault) => (Action::AuthenticationFailed, fault),
    };
    Err(call.refuse(action, Error::Unauthenticated(fault)))
}

/// The response to a failed request. Refusals are in the audit log already.
fn failed(call: &Call<'_, '_>, error: Error) -> Response {
    if call.changes_state() && call.caller.is_known() && !error.is_refusal() {
        call.audit(Action::RequestFailed, &call.target);
    }
    let is_question = call.request.is_question;
    if is_question && !error.is_refusal() {
        return Response::accept_body(true);
    }
    let response = error.into_response(call.first_run.is_pending()).waiting(call.wait);
    if is_question { response.instead_of_body(error::BODY_REFUSED) } else { response }
}
