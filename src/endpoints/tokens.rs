//! `/tokens`: the named tokens, and who is calling.

use super::Call;
use super::turn::Turn;
use crate::appliance::keys;
use crate::audit::Action;
use crate::caller::auth::Admin;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::Job;
use crate::values::clock::timestamp;
use crate::values::json::quote;
use crate::values::rule::InvalidOption;
use crate::values::scope::Scope;
use std::time::Duration;

/// `GET /tokens`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let one = |name: &str, scope: Scope| ["{\"name\":", &quote(name), ",\"scope\":\"", scope.name(), "\""].concat();
    let mut body = ["{\"you\":", &one(call.caller.key(), call.caller.scope()), "}"].concat();
    if call.caller.scope() == Scope::Admin {
        body.push_str(",\"tokens\":[");
        for (at, key) in named(call)?.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            body.extend([comma, &one(&key.name, key.scope)]);
            if let Some(expires) = key.expires {
                body.extend([",\"expires\":\"", &timestamp(Duration::from_secs(expires))[..19], "Z\""]);
            }
            body.push('}');
        }
        body.push(']');
    }
    body.push('}');
    Ok(Response::json(body))
}

/// `POST /tokens`: the new token is shown only in this response.
pub fn add(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let mut turn = Turn::take(call, Job::Tokens, "add")?;
    let mut form = call.form()?;
    let name = form.text("name").unwrap_or_default();
    if !keys::is_name(&name) {
        return Err(InvalidOption::new("name", keys::NAME).into());
    }
    let scope = form.text("scope").and_then(|text| Scope::parse(&text));
    let scope = scope.ok_or_else(|| InvalidOption::new("scope", "read, operate, admin"))?;
    let days = match form.text("days").map(|text| text.parse::<u64>()) {
        None => String::new(),
        Some(Ok(days)) if keys::DAYS.contains(&days) => format!(",\"days\":{days}"),
        Some(_) => return Err(InvalidOption::new("days", "1 to 3650").into()),
    };
    if named(call)?.iter().any(|key| key.name == name) {
        return Err(InvalidOption::new("name", "one that no other token has").into());
    }
    let wanted = ["{\"name\":\"", &name, "\",\"scope\":\"", scope.name(), "\"", &days, "}"].concat();
    turn.document("tokens.json", wanted.as_bytes())?;
    let answer = turn.wait(call, "add")?;
    call.audit(Action::TokenAdded, &name);
    Ok(Response::json(answer))
}

/// `POST /tokens/remove`
pub fn remove(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let mut turn = Turn::take(call, Job::Tokens, "remove")?;
    let name = call.form()?.text("name").unwrap_or_default();
    if !named(call)?.iter().any(|key| key.name == name) {
        return Err(InvalidOption::new("name", "a name that GET /tokens lists").into());
    }
    turn.document("tokens.json", ["{\"name\":", &quote(&name), "}"].concat().as_bytes())?;
    turn.wait(call, "remove")?;
    call.audit(Action::TokenRemoved, &name);
    Ok(Response::done())
}

fn named(call: &Call<'_, '_>) -> Result<Vec<keys::Key>, Error> {
    keys::load(call.appliance).map_err(|error| Error::Disk("Cannot read the tokens", error))
}
