//! `/setup`: sets the API token.

use super::Call;
use super::turn::Turn;
use crate::audit::Action;
use crate::caller::auth::{self, Caller};
use crate::caller::first_run::{self, FirstRun};
use crate::http::error::Error;
use crate::http::response::Response;
use crate::jobs::Job;
use crate::values::clock;
use crate::values::scope::Scope;
use crate::values::token::Token;

/// `POST /setup`
pub fn post(call: &mut Call<'_, '_>) -> Result<Response, Error> {
    let is_unclaimed = call.token.is_none() && call.first_run == FirstRun::NotConfigured;
    let is_admin = call.caller.admit(Scope::Admin).is_some();
    match &call.caller {
        Caller::Known(_) if is_admin => {}
        Caller::Anonymous(_) if is_unclaimed => {
            // Nobody is authenticated here, so a page whose name resolves to us could claim the appliance.
            if !auth::is_own_name(&call.request.headers.host_name(), call.config, call.appliance) {
                call.audit(Action::ForeignRefused, "api/v1/admin/setup");
                return Err(Error::Foreign(
                    "The name in the address is not this appliance's: use its host name or its IP address",
                ));
            }
            if !is_open(call.config.setup_minutes, clock::boot().map(|(_, seconds)| seconds)) {
                return Err(call.refuse(
                    Action::SetupRefused,
                    Error::Foreign(
                        "The time to claim this appliance is over: restart it, or set the token at its console",
                    ),
                ));
            }
        }
        Caller::Known(_) | Caller::Anonymous(_) => {
            return Err(call.refuse(Action::SetupRefused, Error::Forbidden));
        }
    }
    let value = call.form()?.text("newtoken").unwrap_or_default();
    let token = Token::parse(&value)?;
    let mut turn = Turn::take(call, Job::Token, "")?;
    turn.document("api.token", format!("{}\n", token.reveal()).as_bytes())?;
    turn.wait(call, "")?;
    if call.first_run == FirstRun::Pending {
        first_run::end(call.appliance);
    }
    Ok(Response::done())
}

/// Whether anyone can still claim an appliance without a token. If the clock cannot be read: no.
fn is_open(minutes: Option<u64>, seconds_since_boot: Option<u64>) -> bool {
    match (minutes, seconds_since_boot) {
        (None, _) => true,
        (Some(minutes), Some(seconds)) => seconds / 60 < minutes,
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_claim_ends_and_only_where_it_is_limited() {
        for (minutes, seconds, wanted) in [
            (None, None, true),
            (None, Some(1 << 40), true),
            (Some(0), Some(0), false),
            (Some(10), Some(0), true),
            (Some(10), Some(599), true),
            (Some(10), Some(600), false),
            (Some(10), None, false),
        ] {
            assert_eq!(is_open(minutes, seconds), wanted, "{minutes:?} {seconds:?}");
        }
    }
}
