//! `/uploads`: files that arrive in pieces and can be resumed (draft-ietf-httpbis-resumable-upload-12). Also the only
//! place that refuses an upload by the head of its request, before the body arrives.

use super::turn::may_start;
use super::{Call, missing};
use crate::appliance::resumable::{self, Folder, LIFETIME, MAX_OPEN, MAX_OPEN_PER_KEY, PIECE, Purpose, Record, Upload};
use crate::appliance::{self, Appliance, keys};
use crate::audit::Action;
use crate::caller::auth::Admin;
use crate::endpoints::routes::{Route, Verb};
use crate::http::error::Error;
use crate::http::request::Method;
use crate::http::response::Response;
use crate::jobs::Job;
use crate::upload::{self, KNOWN_PACE};
use crate::values::clock;
use crate::values::config::Feature;
use crate::values::json::quote;
use crate::values::rule::InvalidOption;
use crate::values::scope::Scope;
use crate::values::signature::{self, BodyProof, base64};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// Free bytes that the job requires before it opens a package, as in `cgi-bin/jobs/update`.
const MEMORY_OF_AN_UPDATE: u64 = 16 << 20;
/// Bytes that the job leaves free, as `need_room` in `cgi-bin/lib/job.sh`.
const MARGIN: u64 = 1 << 20;
/// Bytes to read at a time.
const BUFFER: usize = 64 << 10;
/// A request that receives nothing for this time gives way to another one that sends the same upload.
const IDLE: Duration = Duration::from_secs(1);

/// The scope that an upload needs: that of its job.
fn scope(purpose: Purpose) -> Scope {
    match purpose {
        Purpose::Update => Scope::Operate,
        Purpose::Restore => Scope::Admin,
    }
}

/// The job that takes an upload, with its argument.
fn job(purpose: Purpose) -> (Job, &'static str) {
    match purpose {
        Purpose::Update => (Job::Update, ""),
        Purpose::Restore => (Job::Backup, "RESTORE"),
    }
}

fn disk(error: io::Error) -> Error {
    Error::Disk("Cannot store the upload", error)
}

/// `POST /uploads`
pub fn post(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let mut form = call.form()?;
    let purpose = form.text("for").ok_or_else(|| missing("for"))?;
    let can_restore = call.config.is_enabled(Some(Feature::Backup)) && call.config.accepts_field("archive");
    let purpose = Purpose::parse(&purpose).filter(|purpose| *purpose != Purpose::Restore || can_restore);
    let purpose = purpose.ok_or_else(|| InvalidOption::new("for", "update, restore"))?;
    if call.caller.scope() < scope(purpose) {
        return Err(call.refuse(Action::ScopeRefused, Error::NotAllowed(scope(purpose))));
    }
    let length = form.text("length").ok_or_else(|| missing("length"))?;
    let length = number(&length).filter(|length| *length > 0);
    let length = length.ok_or_else(|| InvalidOption::new("length", "the number of bytes, 1 or more"))?;
    let sha256 = form.text("sha256").unwrap_or_default();
    if !sha256.is_empty() && (sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err(InvalidOption::new("sha256", "64 hexadecimal digits").into());
    }

    resumable::sweep(call.appliance).map_err(disk)?;
    let folder = Folder::make(call.appliance).map_err(disk)?;
    folder.lock_folder().map_err(disk)?;
    forget_orphans(call, &folder).map_err(disk)?;
    check(call, purpose, Some(length))?;
    let caller = call.caller.identity();
    let open = folder.list().map_err(disk)?;
    if open.len() >= MAX_OPEN || open.iter().filter(|(_, record)| record.key == caller).count() >= MAX_OPEN_PER_KEY {
        return Err(Error::TooManyOpen);
    }
    let (started, sha256) = (clock::now(), sha256.to_ascii_lowercase());
    let record =
        Record { purpose, length, offset: 0, is_complete: false, started, sha256, key: caller, left: LIFETIME };
    let id = folder.add(&record).map_err(disk)?;
    call.audit(Action::UploadOpened, purpose.name());
    let location = format!("{}/{id}", call.request.path.as_ref().map_or("", |path| path.canonical()));
    let body = format!(
        "{{\"Status\":\"201 Created\",\"Location\":{},\"Upload\":{},\"Length\":{length},\"Offset\":0,\"Piece\":{PIECE}}}",
        quote(&location),
        quote(&id)
    );
    Ok(Response::created(body).header("Location", location).header("Upload-Limit", limit(&record)))
}

/// Removes the uploads of tokens that do not exist any more: nobody could continue or remove them.
fn forget_orphans(call: &Call<'_, '_>, folder: &Folder) -> io::Result<()> {
    // If the tokens cannot be read, it is unknown which exist.
    let Ok(named) = keys::load(call.appliance) else { return Ok(()) };
    let first = call.token.as_ref().map(keys::first);
    let keys: Vec<String> = first.iter().chain(&named).map(|key| keys::identity(&key.verifier)).collect();
    folder.forget_others(&keys)
}

/// `GET /uploads`: the caller's uploads.
pub fn list(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let folder = Folder::open(call.appliance).map_err(disk)?;
    let list = folder.map_or(Ok(Vec::new()), |folder| folder.list()).map_err(disk)?;
    let caller = call.caller.identity();
    let own: Vec<String> =
        list.iter().filter(|(_, record)| record.key == caller).map(|(id, record)| to_json(id, record)).collect();
    Ok(Response::json(format!("{{\"uploads\":[{}]}}", own.join(","))))
}

/// `GET /uploads/ID` and `HEAD /uploads/ID`
pub fn get(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let id = id(call);
    let (_, record) = find(call, id)?;
    let response = match call.request.method {
        Method::Head => Response::no_content(),
        _ => Response::json(to_json(id, &record)),
    };
    let response = with_state(response, &record).header("Upload-Length", record.length.to_string());
    Ok(response.header("Upload-Limit", limit(&record)).header("Cache-Control", "no-store".to_owned()))
}

/// `PATCH /uploads/ID`
pub fn patch(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let (folder, record) = find(call, id(call))?;
    let piece = Piece::parse(call)?;
    let mut upload = lock(folder, id(call), &record)?;
    piece.judge(&upload.record, call.request.body.expected())?;
    let n = receive(call, &upload, &piece)?;
    let record = &upload.record;
    let is_end = record.offset + n == record.length;
    if piece.is_last && !is_end {
        return Err(not_the_end(record, n));
    }
    if !record.is_complete {
        // A client that loses its connection while the file is hashed does not have to send the piece again.
        if n > 0 {
            upload.count(n).map_err(disk)?;
        }
        if piece.is_last && !upload.complete().map_err(disk)? {
            return Err(Error::Bad("The upload does not have the announced SHA-256, and was removed".to_owned()));
        }
    }
    Ok(with_state(Response::no_content(), &upload.record).header("Upload-Limit", limit(&upload.record)))
}

/// `DELETE /uploads/ID`
pub fn delete(call: &mut Call<'_, '_>, _: Admin) -> Result<Response, Error> {
    let (folder, record) = find(call, id(call))?;
    lock(folder, id(call), &record)?.forget();
    Ok(Response::no_content())
}

/// The upload with this id for the job, if it is complete.
pub fn complete(call: &Call<'_, '_>, id: &str, purpose: Purpose) -> Result<Upload, Error> {
    let none = || InvalidOption::worded("upload", "There is no upload with this id for this request".to_owned());
    let found = find(call, id).map_err(|error| if let Error::NotFound = error { none().into() } else { error });
    let upload = found.and_then(|(folder, record)| lock(folder, id, &record))?;
    if upload.record.purpose != purpose {
        return Err(none().into());
    }
    if !upload.record.is_complete {
        return Err(Error::Conflict("The upload is not complete", upload.record.offset));
    }
    Ok(upload)
}

/// Refuses a request by its head, if it would be refused after its body arrived.
pub fn may_send_body(call: &Call<'_, '_>, route: &Route) -> Result<(), Error> {
    // A repeated request gets its first response, even if another job is running now.
    if !call.request.headers.get("idempotency-key").is_empty() {
        return Ok(());
    }
    let length = call.request.body.expected();
    match (route.method, route.path.rsplit_once('/')) {
        (Verb::Patch, _) => {
            let (_, record) = find(call, id(call))?;
            Piece::parse(call)?.judge(&record, length)
        }
        (Verb::Post, Some((_, "update"))) => check(call, Purpose::Update, length),
        (Verb::Post, Some((_, "restore"))) => check(call, Purpose::Restore, length),
        _ => Ok(()),
    }
}

/// Refuses an upload that its job would refuse: the job is running, an excluded one is running, or space is missing.
pub fn check(call: &Call<'_, '_>, purpose: Purpose, length: Option<u64>) -> Result<(), Error> {
    let (job, argument) = job(purpose);
    may_start(call.appliance, job, argument)?;
    check_room(call, purpose, length)
}

/// The same for a request that holds the lock of the job.
pub fn check_room(call: &Call<'_, '_>, purpose: Purpose, length: Option<u64>) -> Result<(), Error> {
    if purpose == Purpose::Update
        && let Some(free) = appliance::available_memory().filter(|free| *free < MEMORY_OF_AN_UPDATE)
    {
        let (needed, free) = (MEMORY_OF_AN_UPDATE >> 10, free >> 10);
        return Err(Error::Bad(format!("Not enough free memory: {needed} KiB needed, {free} KiB free")));
    }
    let Some(length) = length else { return Ok(()) };
    if length > call.config.max_upload {
        return Err(Error::TooLarge(call.config.max_upload));
    }
    if let Some(free) = resumable::free_bytes(call.appliance) {
        if length > free {
            return Err(Error::NoSpace { needed: length, free });
        }
        check_room_of_job(call.appliance, purpose, length, free)?;
    }
    Ok(())
}

/// The job works in a directory of root's. If that is on another filesystem, it needs space for the upload there. A
/// package is decrypted next to it.
fn check_room_of_job(appliance: &Appliance, purpose: Purpose, length: u64, free_here: u64) -> Result<(), Error> {
    let work = appliance.admin().join("lib");
    let device = |path: &std::path::Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let is_same = device(&work) == device(&appliance.uploads());
    let n_copies = u64::from(!is_same) + u64::from(purpose == Purpose::Update);
    let free = if is_same { free_here - length } else { appliance::free_bytes(&work).unwrap_or(u64::MAX) };
    if n_copies == 0 { Ok(()) } else { fits(length.saturating_mul(n_copies), free) }
}

/// The same for a job that only reads an upload.
pub fn check_room_to_inspect(appliance: &Appliance, upload: &Upload) -> Result<(), Error> {
    fits(upload.record.length, appliance::free_bytes(&appliance.admin().join("lib")).unwrap_or(u64::MAX))
}

fn fits(n_bytes: u64, free: u64) -> Result<(), Error> {
    let needed = n_bytes.saturating_add(MARGIN);
    if needed > free {
        let (needed, free) = (needed >> 10, free >> 10);
        return Err(Error::Bad(format!("Not enough free space for the job: {needed} KiB needed, {free} KiB free")));
    }
    Ok(())
}

/// The head of a `PATCH` request.
struct Piece {
    offset: u64,
    is_last: bool,
    /// Bytes of the complete upload, if the client repeats them.
    length: Option<u64>,
}

impl Piece {
    fn parse(call: &Call<'_, '_>) -> Result<Piece, Error> {
        let header = |name| call.request.headers.get(name).trim();
        let bad = |text: &str| Err(Error::Bad(text.to_owned()));
        if !header("content-type").eq_ignore_ascii_case("application/partial-upload") {
            return bad("Expected Content-Type: application/partial-upload");
        }
        let Some(offset) = number(header("upload-offset")) else {
            return bad("Expected Upload-Offset: a number of bytes");
        };
        let is_last = match header("upload-complete") {
            "?0" => false,
            "?1" => true,
            _ => return bad("Expected Upload-Complete: ?0 or ?1"),
        };
        Ok(Piece { offset, is_last, length: number(header("upload-length")) })
    }

    /// Whether a piece of this length continues the upload. `None` if the length is unknown until its end.
    fn judge(&self, record: &Record, length: Option<u64>) -> Result<(), Error> {
        // The client's file has changed since the upload was opened.
        if self.length.is_some_and(|length| length != record.length) {
            return Err(Error::Bad(format!("Upload-Length differs: the upload has {} bytes", record.length)));
        }
        if self.offset != record.offset {
            return Err(Error::Conflict("The upload continues at another offset", record.offset));
        }
        // The response to the last piece may have been lost.
        if record.is_complete && !(self.is_last && length == Some(0)) {
            return Err(Error::Conflict("The upload is complete", record.offset));
        }
        match length {
            Some(length) if length > most(record) => Err(Error::TooLarge(most(record))),
            Some(length) if self.is_last && record.offset + length != record.length => Err(not_the_end(record, length)),
            _ => Ok(()),
        }
    }
}

/// Maximum bytes of the next piece.
fn most(record: &Record) -> u64 {
    PIECE.min(record.length - record.offset)
}

fn not_the_end(record: &Record, length: u64) -> Error {
    let end = record.offset.saturating_add(length);
    Error::Bad(format!("The last piece ends at byte {end} of {}", record.length))
}

/// Receives a piece after the bytes that count. Returns its length if it is complete and has its announced digest.
fn receive(call: &mut Call<'_, '_>, upload: &Upload, piece: &Piece) -> Result<u64, Error> {
    let most = most(&upload.record);
    let wanted = match call.caller.proof() {
        Some(BodyProof::Whole(digest)) => Some(digest.clone()),
        Some(BodyProof::Fields(_)) => {
            return Err(Error::Bad("The signature of a piece must cover content-digest".to_owned()));
        }
        Some(BodyProof::Nothing) | None => match call.request.headers.get("content-digest") {
            "" => None,
            header => Some(signature::digest(header).map_err(|reason| Error::Bad(reason.to_owned()))?),
        },
    };
    let body = &mut call.request.body;
    body.set_pace(KNOWN_PACE.1, KNOWN_PACE.0);
    if wanted.is_some() {
        body.start_digest();
    }
    let mut buffer = vec![0; BUFFER];
    let mut n = 0;
    loop {
        while body.is_idle(IDLE).map_err(|error| Error::from_body(&error))? {
            if upload.is_wanted() {
                return Err(Error::Conflict("Another request is sending this upload", piece.offset));
            }
        }
        match body.read(&mut buffer).map_err(|error| Error::from_body(&error))? {
            0 => break,
            n_read if n + n_read as u64 > most => return Err(Error::TooLarge(most)),
            n_read => {
                upload.write(n, &buffer[..n_read]).map_err(disk)?;
                n += n_read as u64;
            }
        }
    }
    if let Some(wanted) = wanted
        && body.take_digest().is_none_or(|own| base64(&own) != wanted)
    {
        return Err(match call.caller.proof() {
            Some(_) => Error::Unauthenticated(Some(upload::CHANGED)),
            None => Error::Bad("The piece does not match its Content-Digest".to_owned()),
        });
    }
    Ok(n)
}

/// The id in the path.
fn id<'a>(call: &'a Call<'_, '_>) -> &'a str {
    call.target.rsplit('/').next().unwrap_or_default()
}

/// The upload with this id, if it is the caller's.
fn find(call: &Call<'_, '_>, id: &str) -> Result<(Folder, Record), Error> {
    let folder = Folder::open(call.appliance).map_err(disk)?.filter(|_| resumable::is_id(id)).ok_or(Error::NotFound)?;
    let caller = call.caller.identity();
    let record = folder.record(id).map_err(disk)?.filter(|record| record.key == caller).ok_or(Error::NotFound)?;
    if call.caller.scope() < scope(record.purpose) {
        return Err(Error::NotAllowed(scope(record.purpose)));
    }
    Ok((folder, record))
}

/// Takes an upload for this request alone.
fn lock(folder: Folder, id: &str, record: &Record) -> Result<Upload, Error> {
    match folder.take(id) {
        Ok(upload) => upload.ok_or(Error::NotFound),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(Error::Conflict("Another request is using this upload", record.offset))
        }
        Err(error) => Err(disk(error)),
    }
}

fn to_json(id: &str, record: &Record) -> String {
    let started = clock::timestamp(Duration::from_secs(record.started));
    format!(
        "{{\"id\":{},\"for\":{},\"length\":{},\"offset\":{},\"complete\":{},\"started\":\"{}Z\"}}",
        quote(id),
        quote(record.purpose.name()),
        record.length,
        record.offset,
        record.is_complete,
        &started[..19]
    )
}

fn with_state(response: Response, record: &Record) -> Response {
    let is_complete = if record.is_complete { "?1" } else { "?0" };
    response.header("Upload-Offset", record.offset.to_string()).header("Upload-Complete", is_complete.to_owned())
}

fn limit(record: &Record) -> String {
    format!("max-append-size={PIECE}, max-age={}", record.left)
}

/// A number in a form or header: digits only.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
