//! Every error, its status, and the text that a client gets. The only file that chooses a 4xx or 5xx. The log gets
//! another text.

use crate::appliance::resumable::{MAX_OPEN, MAX_OPEN_PER_KEY};
use crate::http::multipart::MultipartError;
use crate::http::response::{Response, Wait};
use crate::jobs::job::JobError;
use crate::values::clock;
use crate::values::json::quote;
use crate::values::rule::InvalidOption;
use crate::values::scope::Scope;
use crate::values::signature::Fault;
use std::fmt;
use std::io;
use std::time::UNIX_EPOCH;

/// The code for a job that is refused because another one is running.
const ALREADY_RUNNING: &str = "E1004";

/// The status of a refusal before the body: the web server's `auth_request` looks for it.
pub const BODY_REFUSED: &str = "401 Unauthorized";
/// Seconds after which a client should try again if no place is free.
const BUSY_SECONDS: u64 = 10;
/// The same if all uploads are in use.
const PLACE_SECONDS: u64 = 60;

/// Why a request failed.
#[derive(Debug)]
pub enum Error {
    /// The path does not exist, or has no data.
    NotFound,
    /// There is no data, for this reason.
    Absent(String),
    /// There is no data yet. The members (name, JSON value) describe the last attempt.
    NotYet(Vec<(&'static str, String)>),
    /// No valid credential. `Some` explains a failed signature.
    Unauthenticated(Option<Fault>),
    /// The key's scope is too small; this one is required.
    NotAllowed(Scope),
    /// The request comes from a page of another site, or uses a host name that is not ours.
    Foreign(&'static str),
    /// Too many refused requests from this caller, which must wait this many seconds.
    TooMany(u64),
    /// All places for unauthenticated bodies are taken.
    Busy,
    /// The body arrives too slowly.
    Slow,
    /// No valid credential for `/setup`: 403 without a message, as the ancestor does.
    Forbidden,
    /// The path supports only this method.
    Expected(&'static str),
    /// The resource does not support this method; `Allow` lists those it does.
    MethodNotAllowed(String),
    /// The request is invalid, for this reason.
    Bad(String),
    /// A value breaks its rule.
    Invalid(InvalidOption),
    /// The body is larger than the limit, in bytes.
    TooLarge(u64),
    /// The body is larger than the free space.
    NoSpace {
        /// Bytes of the body.
        needed: u64,
        /// Free bytes.
        free: u64,
    },
    /// The maximum number of uploads is open.
    TooManyOpen,
    /// The upload is not where the request says it is; it continues at this byte.
    Conflict(&'static str, u64),
    /// The `Idempotency-Key` was used for another request.
    KeyReused,
    /// A job failed. The text begins the message.
    Job(&'static str, JobError),
    /// A file or a disk failed: the attempted action, for the client, and the cause, for the log.
    Disk(&'static str, io::Error),
    /// A bug in this program.
    Internal(String),
}

impl From<InvalidOption> for Error {
    fn from(error: InvalidOption) -> Self {
        Error::Invalid(error)
    }
}

impl From<MultipartError> for Error {
    fn from(error: MultipartError) -> Self {
        match error {
            MultipartError::Malformed(reason) => Error::Bad(reason.to_owned()),
            MultipartError::Io(error) => Error::from_body(&error),
        }
    }
}

impl fmt::Display for Error {
    /// The text for the log, if it says more than the response.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Job(what, error) => write!(f, "{what}: {error}"),
            Error::Disk(what, error) => write!(f, "{what}: {error}"),
            Error::Internal(what) => f.write_str(what),
            Error::NotFound
            | Error::Absent(_)
            | Error::NotYet(_)
            | Error::Unauthenticated(_)
            | Error::NotAllowed(_)
            | Error::Foreign(_)
            | Error::TooMany(_)
            | Error::Busy
            | Error::Slow
            | Error::Forbidden
            | Error::Expected(_)
            | Error::MethodNotAllowed(_)
            | Error::Bad(_)
            | Error::Invalid(_)
            | Error::TooLarge(_)
            | Error::KeyReused
            | Error::TooManyOpen
            | Error::Conflict(..)
            | Error::NoSpace { .. } => Ok(()),
        }
    }
}

impl Error {
    /// The body could not be read: the client disconnected, or sent less than it announced.
    pub fn from_body(error: &io::Error) -> Error {
        if error.kind() == io::ErrorKind::TimedOut {
            return Error::Slow;
        }
        Error::Bad(match error.kind() {
            io::ErrorKind::UnexpectedEof => "The body is shorter than its Content-Length".to_owned(),
            _ => "The body could not be read".to_owned(),
        })
    }

    /// Whether the caller was refused, whatever the request was.
    pub fn is_refusal(&self) -> bool {
        match self {
            Error::Unauthenticated(_)
            | Error::NotAllowed(_)
            | Error::Foreign(_)
            | Error::TooMany(_)
            | Error::Busy
            | Error::Forbidden => true,
            Error::NotFound
            | Error::Absent(_)
            | Error::NotYet(_)
            | Error::Expected(_)
            | Error::MethodNotAllowed(_)
            | Error::Slow
            | Error::Bad(_)
            | Error::Invalid(_)
            | Error::TooLarge(_)
            | Error::KeyReused
            | Error::TooManyOpen
            | Error::Conflict(..)
            | Error::NoSpace { .. }
            | Error::Job(..)
            | Error::Disk(..)
            | Error::Internal(_) => false,
        }
    }

    /// The response. `first_run` is whether first run is pending, or `None` if it is not configured.
    pub fn into_response(self, first_run: Option<bool>) -> Response {
        let log = self.to_string();
        if !log.is_empty() {
            log::error!("{log}");
        }
        let (status, message) = match &self {
            Error::NotFound | Error::NotYet(_) => ("404 Not Found", None),
            Error::Absent(reason) => ("404 Not Found", Some(reason.clone())),
            Error::Unauthenticated(_) => ("403 Forbidden", Some("Authentication error".to_owned())),
            Error::NotAllowed(scope) => {
                ("403 Forbidden", Some(format!("This token may not do that: it needs the scope {}", scope.name())))
            }
            Error::Foreign(reason) => ("403 Forbidden", Some((*reason).to_owned())),
            Error::TooMany(seconds) => {
                ("429 Too Many Requests", Some(format!("Too many refused requests: try again in {seconds} seconds")))
            }
            Error::Busy => (
                "429 Too Many Requests",
                Some(format!(
                    "Too many uploads without credentials in the head of the request: try again in {BUSY_SECONDS} \
                     seconds, or send credentials there"
                )),
            ),
            Error::Slow => ("408 Request Timeout", Some("The body arrived too slowly".to_owned())),
            Error::Forbidden => ("403 Forbidden", None),
            Error::Expected(method) => {
                ("400 Bad Request", Some(format!("Invalid authentication method. Expected {method}")))
            }
            Error::MethodNotAllowed(_) => ("405 Method Not Allowed", None),
            Error::Bad(message) => ("400 Bad Request", Some(message.clone())),
            Error::Invalid(invalid) => ("400 Bad Request", Some(invalid.to_string())),
            Error::TooLarge(limit) => {
                ("413 Request Entity Too Large", Some(format!("Upload too large: the limit is {limit} bytes")))
            }
            Error::NoSpace { needed, free } => (
                "413 Request Entity Too Large",
                Some(format!("Upload too large: it has {needed} bytes, and {free} bytes are free")),
            ),
            Error::TooManyOpen => (
                "429 Too Many Requests",
                Some(format!(
                    "Too many open uploads: at most {MAX_OPEN_PER_KEY} for each token, and {MAX_OPEN} in all"
                )),
            ),
            Error::Conflict(reason, _) => ("409 Conflict", Some((*reason).to_owned())),
            Error::KeyReused => {
                ("422 Unprocessable Content", Some("The Idempotency-Key was used for another request".to_owned()))
            }
            Error::Job(what, error) => ("400 Bad Request", Some(job_message(what, error))),
            Error::Disk(what, error) => ("400 Bad Request", Some(disk_message(what, error))),
            Error::Internal(_) => ("500 Internal Server Error", None),
        };
        let mut members = Vec::new();
        if let Error::Job(_, JobError::Running(_) | JobError::Excluded { .. }) = self {
            members.push(("Error-Code", quote(ALREADY_RUNNING)));
        }
        if let Error::Invalid(invalid) = &self {
            members.push(("Field", quote(&invalid.name)));
        }
        if let Error::Unauthenticated(Some(Fault(hint))) = self {
            // A client whose clock is wrong can sign with ours.
            members.extend([("Hint", quote(hint)), ("Server-Time", quote(&clock::now().to_string()))]);
        }
        if let Error::NotYet(told) = &self {
            members.extend(told.iter().cloned());
        }
        let response = Response::error(status, message.as_deref(), first_run, &members);
        match self {
            Error::MethodNotAllowed(allow) => response.header("Allow", allow),
            Error::TooMany(seconds) => response.header("Retry-After", seconds.to_string()).waiting(Wait::IfFree),
            Error::Conflict(_, offset) => {
                response.header("Upload-Offset", offset.to_string()).header("Upload-Complete", "?0".to_owned())
            }
            Error::TooManyOpen => response.header("Retry-After", PLACE_SECONDS.to_string()),
            Error::Busy => response.header("Retry-After", BUSY_SECONDS.to_string()),
            Error::Forbidden => response.waiting(Wait::Always),
            _ => response,
        }
    }
}

fn job_message(what: &str, error: &JobError) -> String {
    match error {
        JobError::Running(job) => format!("{what}: a job of this kind ({}) is already running", job.name()),
        JobError::Excluded { by, since, reason, .. } => {
            let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
            let since = clock::utc(since.as_secs());
            format!("{what}: {} is running since {since}, and {reason}", by.name())
        }
        JobError::Unfinished(..) => format!("{what}: the job did not end in time, and may still be running"),
        JobError::NoLock(..) | JobError::NotStarted(..) => format!("{what}: the job could not be started"),
        JobError::Failed(_, None) => what.to_owned(),
        JobError::Failed(_, Some(reason)) => format!("{what}: {reason}"),
    }
}

fn disk_message(what: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("{what}: the disk is full"),
        io::ErrorKind::ReadOnlyFilesystem => format!("{what}: the disk is read-only"),
        io::ErrorKind::PermissionDenied => format!("{what}: permission denied"),
        _ => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Job;

    #[track_caller]
    fn check(error: Error, first_run: Option<bool>, body: &str) {
        let mut out = Vec::new();
        error.into_response(first_run).write_to(&mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.split_once("\r\n\r\n").unwrap().1, body);
    }

    #[test]
    fn details_for_root_alone_stay_in_the_log() {
        let failed = JobError::NotStarted(Job::Update, io::Error::other("/root/secret"));
        check(
            Error::Job("Update failed", failed),
            None,
            r#"{"Status":"400 Bad Request","Error-Message":"Update failed: the job could not be started"}"#,
        );
        check(
            Error::Disk("Cannot store the upload", io::Error::other("/root/secret")),
            None,
            r#"{"Status":"400 Bad Request","Error-Message":"Cannot store the upload"}"#,
        );
        check(Error::Internal("/root/secret".to_owned()), None, r#"{"Status":"500 Internal Server Error"}"#);
    }

    #[test]
    fn first_run_stands_only_beside_a_message() {
        check(
            Error::Unauthenticated(None),
            Some(true),
            r#"{"Status":"403 Forbidden","Error-Message":"Authentication error","First-Run":true}"#,
        );
        check(
            Error::Unauthenticated(None),
            Some(false),
            r#"{"Status":"403 Forbidden","Error-Message":"Authentication error","First-Run":false}"#,
        );
        check(Error::Forbidden, Some(true), r#"{"Status":"403 Forbidden"}"#);
        check(Error::NotFound, Some(true), r#"{"Status":"404 Not Found"}"#);
    }

    #[test]
    fn codes_and_fields_follow_after() {
        check(
            Error::Job("Update failed", JobError::Running(Job::Update)),
            None,
            r#"{"Status":"400 Bad Request","Error-Message":"Update failed: a job of this kind (update) is already running","Error-Code":"E1004"}"#,
        );
        check(
            Error::Invalid(InvalidOption::new("dns1", "a string")),
            None,
            r#"{"Status":"400 Bad Request","Error-Message":"Invalid option: dns1. Allowed: a string","Field":"dns1"}"#,
        );
    }
}
