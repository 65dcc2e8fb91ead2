//! The API, one file per resource. Nothing here depends on CGI.

pub mod audit;
pub mod backup;
pub mod certs;
pub mod docs;
pub mod information;
pub mod jobs;
pub mod license;
pub mod reboot;
pub mod services;
pub mod settings;
pub mod setup;
pub mod storage;
pub mod support;
pub mod tokens;
pub mod turn;
pub mod update;
pub mod uploads;
pub mod routes;

use crate::appliance::{self, Appliance};
use crate::audit::Action;
use crate::caller::auth::{self, Caller, Refusal};
use crate::caller::first_run::FirstRun;
use crate::endpoints::routes::Route;
use crate::http;
use crate::http::error::Error;
use crate::http::request::Request;
use crate::http::response::{Response, Wait};
use crate::jobs::Job;
use crate::jobs::history::Life;
use crate::jobs::job::{self, JobError};
use crate::jobs::record::Idempotency;
use crate::jobs::status::{self, JobStatus, Phase};
use crate::root::collect;
use crate::root::redact::{self, Secrets};
use crate::upload::{self, Field, Form, Reading, Sender};
use crate::values::config::Config;
use crate::values::json;
use crate::values::rule::InvalidOption;
use crate::values::scope::Scope;
use crate::values::token::Token;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::Path;
use turn::Turn;

/// Bytes at the end of a log for a caller without access to secrets: in a status, and as a whole.
const BYTES_OF_A_TAIL: u64 = 64 << 10;
const BYTES_OF_A_LOG: u64 = 2 << 20;

/// A request and what its handler needs.
pub struct Call<'a, 'b> {
    pub appliance: &'a Appliance,
    pub config: &'a Config,
    /// The request. Its body may already be read.
    pub request: &'a mut Request<'b>,
    /// The row of the request; `None` if the resource does not support the method.
    pub route: Option<&'static Route>,
    pub caller: Caller,
    /// The form, if it had to be read to identify the caller.
    pub reading: Option<Reading>,
    /// The state of the first run.
    pub first_run: FirstRun,
    /// The current token.
    pub token: Option<Token>,
    /// The path without its first slash, as written to the audit log.
    pub target: String,
    /// Whether a refusal is delayed.
    pub wait: Wait,
    /// Identifies a request with an `Idempotency-Key`.
    pub idempotency: Option<Idempotency>,
    /// The lock of its `Idempotency-Key`, until the job has its record.
    pub lock_of_key: Cell<Option<File>>,
}

impl<'a, 'b> Call<'a, 'b> {
    /// A request of an anonymous caller.
    pub fn new(
        appliance: &'a Appliance,
        config: &'a Config,
        request: &'a mut Request<'b>,
        path: &http::request::Path,
        route: Option<&'static Route>,
    ) -> Call<'a, 'b> {
        let target = path.canonical()[1..].to_owned();
        let (caller, first_run, wait) = (Caller::Anonymous(None), FirstRun::NotConfigured, Wait::No);
        let (reading, token, idempotency, lock_of_key) = (None, None, None, Cell::new(None));
        Call {
            appliance,
            config,
            request,
            route,
            caller,
            reading,
            first_run,
            token,
            target,
            wait,
            idempotency,
            lock_of_key,
        }
    }
}

impl Call<'_, '_> {
    /// The fields that the route takes.
    pub fn fields(&self) -> &'static [Field] {
        self.route.map_or(&[], |route| route.fields)
    }

    /// Whether the request changes something.
    pub fn changes_state(&self) -> bool {
        self.route.is_some_and(Route::changes_state)
    }

    /// The form of the request. Receives it if needed, so take the lock of a job first.
    pub fn form(&mut self) -> Result<Form, Error> {
        let reading = self.reading.take().unwrap_or_else(|| {
            let sender = self.caller.proof().cloned().map_or(Sender::Known, Sender::Signed);
            upload::receive(self.request, self.fields(), self.config, self.appliance, sender)
        });
        reading.form
    }

    /// Records a decision in the audit log.
    pub fn audit(&self, action: Action, target: &str) {
        crate::audit::record(self.appliance, action, target, &self.request.client, self.caller.key());
    }

    /// The end of a log for a status. Other programs write to logs, so secrets are removed for callers without access
    /// to them.
    pub fn log_tail(&self, log: &str) -> Option<String> {
        let path = self.appliance.log_file(log);
        match self.caller.scope() {
            Scope::Admin => status::tail(&path),
            Scope::Read | Scope::Operate => {
                let end = collect::redacted_end(&path, self.appliance, BYTES_OF_A_TAIL).ok()?;
                (!end.is_empty()).then(|| status::last_lines(&end).0)
            }
        }
    }

    /// A text that other programs wrote, without secrets if this caller has no access to them.
    pub fn redacted(&self, text: String) -> String {
        match self.caller.scope() {
            Scope::Admin => text,
            Scope::Read | Scope::Operate => {
                let clean = redact::text(text.as_bytes(), &Secrets::of(self.appliance));
                String::from_utf8_lossy(&clean).into_owned()
            }
        }
    }

    /// Refuses the caller with `error`, or with 429 after too many refusals. These are not logged, so that nobody can
    /// fill the log.
    pub fn refuse(&mut self, action: Action, error: Error) -> Error {
        let limit = self.config.refusals_per_minute;
        match auth::count_refusal(self.appliance, &self.request.client, limit) {
            Refusal::TooMany(seconds) => return Error::TooMany(seconds),
            Refusal::Paused => self.wait = Wait::IfFree,
            Refusal::Answered => {}
        }
        self.audit(action, &self.target);
        error
    }
}

/// The deadline for confirmation in seconds, 10 to 3600, from the query or the form; `None` for a final change.
fn confirm_seconds(call: &Call<'_, '_>, form: &mut Form) -> Result<Option<u64>, Error> {
    // A browser sends an empty field.
    let text = form
        .text("confirm")
        .filter(|text| !text.is_empty())
        .or_else(|| call.request.query("confirm").map(str::to_owned));
    match text.as_deref().map(|text| (text.bytes().all(|byte| byte.is_ascii_digit()), text.parse::<u64>())) {
        None => Ok(None),
        Some((true, Ok(seconds @ 10..=3600))) => Ok(Some(seconds)),
        Some(_) => Err(InvalidOption::new("confirm", "10 to 3600 seconds").into()),
    }
}

/// Passes the deadline for confirmation to the job.
fn hand_over_confirm(turn: &mut Turn, name: &'static str, seconds: Option<u64>) -> Result<(), Error> {
    seconds.map_or(Ok(()), |seconds| turn.document(name, format!("{seconds}\n").as_bytes()))
}

/// Refuses a change while another one is pending.
fn check_nothing_pending(call: &Call<'_, '_>, file: &str, confirm: &str) -> Result<(), Error> {
    match status::pending(call.appliance, file) {
        Ok(None) => Ok(()),
        Ok(Some(seconds)) => Err(Error::Bad(format!(
            "A change is pending: confirm it with POST {confirm}, or wait {seconds} seconds until it is rolled back"
        ))),
        Err(error) => Err(Error::Disk("Cannot tell whether a change is pending", error)),
    }
}

/// Rolls back a pending change. If none is pending, the request is refused with this message, as a confirmation would
/// be. The change stays pending until the previous state is restored.
fn revert(call: &Call<'_, '_>, job: Job, file: &str, none_pending: &str) -> Result<Response, Error> {
    let turn = Turn::take(call, job, "undo")?;
    match status::pending(call.appliance, file) {
        Ok(Some(_)) => turn.start(call, "undo"),
        Ok(None) => {
            let failure = job.row().operation("undo").map_or("", |operation| operation.failure);
            Err(Error::Job(failure, JobError::Failed(job, Some(none_pending.to_owned()))))
        }
        Err(error) => Err(Error::Disk("Cannot tell whether a change is pending", error)),
    }
}

/// The member `pending` of a response, with a leading comma; empty if none is pending. It stays, with no seconds left,
/// during a rollback, so that nobody takes those values for the final ones.
fn pending_member(call: &Call<'_, '_>, file: &str) -> String {
    status::unsettled(call.appliance, file)
        .map_or_else(String::new, |seconds| format!(",\"pending\":{{\"seconds-left\":{seconds}}}"))
}

/// The names of a job's status files, for endpoints whose response has more than the status.
struct StatusFiles {
    job: Job,
    status: &'static str,
    message: &'static str,
    log: &'static str,
}

impl StatusFiles {
    /// The result of the last change, as members with JSON values; none if the job never reported one, as with the
    /// ancestor's.
    fn members(&self, call: &Call<'_, '_>) -> Vec<(&'static str, String)> {
        if !call.appliance.etc_file(self.status).exists() {
            return Vec::new();
        }
        let status = self.status(call);
        let log = call.log_tail(self.log);
        let mut members =
            vec![("status", status::or_null(status.text.as_deref())), ("log", status::or_null(log.as_deref()))];
        let message = match status.phase {
            Phase::Consistent => call.appliance.trimmed_text(&call.appliance.etc_file(self.message)),
            Phase::Starting => None,
            Phase::Interrupted => Some("The change was interrupted: it ended without a result".to_owned()),
        };
        members.extend(message.map(|message| ("error-message", json::quote(&call.redacted(message)))));
        members.extend(life_by_status(call, self.job, &status).1);
        members
    }

    fn status(&self, call: &Call<'_, '_>) -> JobStatus {
        JobStatus::read(call.appliance, self.job, None, self.status)
    }

    /// The 404 without settings, with the result of the first change.
    fn not_yet(&self, call: &Call<'_, '_>) -> Error {
        Error::NotYet(self.members(call))
    }
}

/// The signs of life of a running job: its percentage, if it reports one, and other members of the response.
fn life(call: &Call<'_, '_>, job: Job) -> (Option<u8>, Vec<(&'static str, String)>) {
    let began = job::running_since(call.appliance, job);
    let life = began.map(|began| Life::of(call.appliance, job.row(), began));
    life.map_or((None, Vec::new()), |life| (life.percentage, life.members_of_status(&|text| call.redacted(text))))
}

/// The same if the status file says `running`; empty for a job that just started and has not written its status.
fn life_by_status(call: &Call<'_, '_>, job: Job, status: &JobStatus) -> (Option<u8>, Vec<(&'static str, String)>) {
    match status {
        JobStatus { phase: Phase::Consistent, text: Some(text), .. } if text == "running" => life(call, job),
        _ => (None, Vec::new()),
    }
}

/// Members to append to others.
fn joined(members: Vec<(&str, String)>) -> String {
    members
        .iter()
        .flat_map(|(name, value)| [",".to_owned(), json::quote(name), ":".to_owned(), value.clone()])
        .collect()
}

/// The error for a missing required field.
fn missing(name: &str) -> Error {
    Error::Bad(format!("Missing field: {name}"))
}

/// 200 with a log: complete, or its end without secrets for a caller without access to them. 404 if there is none.
fn log_file(call: &Call<'_, '_>, name: &str) -> Result<Response, Error> {
    let path = call.appliance.log_file(name);
    if call.caller.scope() == Scope::Admin {
        return text_file(&path);
    }
    collect::redacted_end(&path, call.appliance, BYTES_OF_A_LOG)
        .map(Response::text)
        .map_err(|error| unreadable(&path, &error))
}

/// 404; logs an error if the file exists and cannot be read.
fn unreadable(path: &Path, error: &io::Error) -> Error {
    if error.kind() != io::ErrorKind::NotFound {
        log::error!("cannot read {}: {error}", path.display());
    }
    Error::NotFound
}

/// 200 with an unchanged text file; 404 if there is none.
fn text_file(path: &Path) -> Result<Response, Error> {
    appliance::open(path).and_then(Response::text_file).map_err(|error| unreadable(path, &error))
}

/// 200 with a file from the exchange directory; `None` if there is none.
fn download(call: &Call<'_, '_>, name: &'static str) -> Option<Response> {
    let path = call.appliance.uploads().join(name);
    match appliance::open_unlinked(&path).and_then(|file| Response::download(&path, name, file, call.request.sendfile))
    {
        Ok(response) => Some(response),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                log::error!("cannot read {}: {error}", path.display());
            }
            None
        }
    }
}
