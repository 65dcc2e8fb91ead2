//! `/audit`: the entries of the audit log.

use super::Call;
use crate::audit::chain;
use crate::caller::auth::Admin;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::values::rule::InvalidOption;

/// Default number of entries on a page.
const DEFAULT_LIMIT: usize = 50;

/// `GET /audit`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let number = |name: &str, allowed: &str, is_good: fn(u64) -> bool| match call.request.query(name) {
        None => Ok(None),
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => match text.parse() {
            Ok(number) if is_good(number) => Ok(Some(number)),
            Ok(_) | Err(_) => Err(InvalidOption::new(name, allowed)),
        },
        Some(_) => Err(InvalidOption::new(name, allowed)),
    };
    let before = number("before", "a number from 1", |number| number >= 1)?;
    let limit = number("limit", "1 to 100", |number| (1..=100).contains(&number))?;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(DEFAULT_LIMIT);
    let page = chain::page(call.appliance, before, limit)
        .map_err(|error| Error::Disk("Cannot read the audit log", error))?
        .ok_or(Error::NotFound)?;
    let next = page.next.map_or_else(|| "null".to_owned(), |next| next.to_string());
    Ok(Response::json(format!("{{\"entries\":[{}],\"next\":{next}}}", page.lines.join(","))))
}
