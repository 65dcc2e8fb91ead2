//! What can go wrong, and the status each comes out as. The only file that picks a 4xx or 5xx, and what a client may read
//! of it; the log gets its own text (behaviour, section 5).

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

/// The code of a job that is refused because another one is running.
const ALREADY_RUNNING: &str = "E1004";

/// The status of a refusal that the web server gives in place of a body: its `auth_request` looks for this one.
pub const TO_THE_QUESTION: &str = "401 Unauthorized";
/// When a client comes back that found no place.
const BUSY_SECONDS: u64 = 10;

/// Why a request was not carried out.
#[derive(Debug)]
pub enum Error {
    /// No such path, or nothing there.
    NotFound,
    /// Nothing is there, and this is why.
    Absent(String),
    /// Nothing is there yet, and these members, each with its value as JSON, tell how the attempt went.
    NotYet(Vec<(&'static str, String)>),
    /// The caller is not who it must be; with a word for one who tried to sign.
    Unauthenticated(Option<Fault>),
    /// The caller's key may not do this.
    NotAllowed(Scope),
    /// The request comes from a page of another site, or calls us by a name that is not ours.
    Foreign(&'static str),
    /// The caller was refused too often, and must wait so many seconds.
    TooMany(u64),
    /// All places for bodies of strangers are taken.
    Busy,
    /// The body came more slowly than a body must.
    Slow,
    /// The same, said as briefly as the ancestor says it for `/setup`.
    Forbidden,
    /// The path has another method: this one.
    Expected(&'static str),
    /// The path has not this method, but these.
    MethodNotAllowed(String),
    /// The request says something that it must not.
    Bad(String),
    /// A value breaks its rule.
    Invalid(InvalidOption),
    /// The body is larger than this many bytes, which is the limit.
    TooLarge(u64),
    /// The body is larger than what is free where it must be kept.
    NoSpace {
        /// Bytes of the body.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The `Idempotency-Key` was sent before, with another request.
    KeyReused,
    /// A job did not do what it was asked to; the text begins the message.
    Job(&'static str, JobError),
    /// A file or a disk failed: what was tried, for the client, and why, for the log.
    Disk(&'static str, io::Error),
    /// Our own bug.
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
    /// The text for the log, where it tells more than the answer.
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
            | Error::NoSpace { .. } => Ok(()),
        }
    }
}

impl Error {
    /// A body that could not be read: the client broke off, or sent less than it said.
    pub fn from_body(error: &io::Error) -> Error {
        if error.kind() == io::ErrorKind::TimedOut {
            return Error::Slow;
        }
        Error::Bad(match error.kind() {
            io::ErrorKind::UnexpectedEof => "The body is shorter than its Content-Length".to_owned(),
            _ => "The body could not be read".to_owned(),
        })
    }

    /// Whether the caller was not allowed to ask, whatever it asked for.
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
            | Error::NoSpace { .. }
            | Error::Job(..)
            | Error::Disk(..)
            | Error::Internal(_) => false,
        }
    }

    /// The answer. `first_run` is whether first run is pending, where it is configured at all.
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
                     seconds, or send them there"
                )),
            ),
            Error::Slow => ("408 Request Timeout", Some("The body came too slowly".to_owned())),
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
            // A client with a wrong clock can sign by ours.
            members.extend([("Hint", quote(hint)), ("Server-Time", quote(&clock::now().to_string()))]);
        }
        if let Error::NotYet(told) = &self {
            members.extend(told.iter().cloned());
        }
        let response = Response::error(status, message.as_deref(), first_run, &members);
        match self {
            Error::MethodNotAllowed(allow) => response.header("Allow", allow),
            Error::TooMany(seconds) => response.header("Retry-After", seconds.to_string()).waiting(Wait::IfFree),
            Error::Busy => response.header("Retry-After", BUSY_SECONDS.to_string()),
            Error::Forbidden => response.waiting(Wait::Always),
            _ => response,
        }
    }
}

fn job_message(what: &str, error: &JobError) -> String {
    match error {
        JobError::Running(job) => format!("{what}: a job of this kind ({}) is already running", job.word()),
        JobError::Excluded { by, since, reason, .. } => {
            let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
            let since = clock::utc(since.as_secs());
            format!("{what}: {} is running since {since}, and {reason}", by.word())
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
    fn what_only_root_may_know_stays_in_the_log() {
        let failed = JobError::NotStarted(Job::Update, io::Error::other("/root/secret"));
        check(
            Error::Job("Update failed", failed),
            None,
            r#"{"Status":"400 Bad Request","Error-Message":"Update failed: the job could not be started"}"#,
        );
        check(
            Error::Disk("Cannot keep the upload", io::Error::other("/root/secret")),
            None,
            r#"{"Status":"400 Bad Request","Error-Message":"Cannot keep the upload"}"#,
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
