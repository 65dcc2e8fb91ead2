//! Form fields by the route's table, and files received next to their place. The only file that writes client data.
//!
//! A file has no name until it is complete, so a refused, broken or canceled upload leaves nothing.

use crate::appliance::resumable::{self, Upload};
use crate::appliance::{self, Appliance};
use crate::caller::auth::Credential;
use crate::http::error::Error;
use crate::http::multipart::Multipart;
use crate::http::request::{Body, ContentType, Request};
use crate::values::config::Config;
use crate::values::signature::{BodyProof, Fault, base64};
use nix::fcntl::AtFlags;
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Maximum bytes of a field in memory.
const MAX_IN_MEMORY: usize = 1 << 20;
/// Maximum bytes of a form whose credentials are among its fields, so that its sender is not known yet.
pub const MAX_UNIDENTIFIED: u64 = 32 << 20;

/// Shorter forms need no place.
const SHORT: u64 = 10_000;
/// Maximum simultaneous forms of unknown senders: in total, and per network.
const PLACES: usize = 8;
const PLACES_OF_A_NETWORK: usize = 2;
/// Why a received body is refused.
pub const CHANGED: Fault = Fault("The body is not the one that was signed");

/// Minimum average bytes a second of a form from an unknown sender, and the time before this is enforced.
const STRANGERS_PACE: (u64, Duration) = (8 << 10, Duration::from_secs(10));
/// The same for a known caller, whose connection may be slow.
pub const KNOWN_PACE: (u64, Duration) = (256, Duration::from_secs(60));

/// How a field is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A short value.
    Text,
    /// A document that this program parses, or that is small enough for memory.
    Document,
    /// A file of any size, received into the exchange directory.
    File,
}

/// Whether a form must have a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Yes.
    Required,
    /// No.
    Optional,
}

/// A field that a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The name in the form.
    pub name: &'static str,
    /// How it is received.
    pub kind: Kind,
    /// Whether it is required.
    pub presence: Presence,
    /// Its description in the documents.
    pub summary: &'static str,
}

/// The fields of a form that was received completely.
#[derive(Default)]
pub struct Form {
    values: Vec<(&'static str, Vec<u8>)>,
    files: Vec<(&'static str, Received)>,
    /// The SHA-256 over names and digests of its fields, if needed.
    digest: Option<String>,
}

impl Form {
    /// The bytes of a field.
    pub fn document(&mut self, name: &str) -> Option<Vec<u8>> {
        let at = self.values.iter().position(|(known, _)| *known == name)?;
        Some(self.values.swap_remove(at).1)
    }

    /// The value of a field; invalid UTF-8 becomes `U+FFFD`, which no rule allows.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.document(name).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// The SHA-256 of all fields in hexadecimal, whatever their order and encoding; `None` if the request has no
    /// `Idempotency-Key`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The file of a field.
    pub fn file(&mut self, name: &str) -> Option<Received> {
        let at = self.files.iter().position(|(known, _)| *known == name)?;
        Some(self.files.swap_remove(at).1)
    }
}

/// The sender of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// Known from the head of the request.
    Known,
    /// Known from a signature, which covers the body too.
    Signed(BodyProof),
    /// Known only after the form is read, if at all.
    Unknown,
}

/// A form, and the credential among its fields as far as it was read. Only an authenticated caller gets an error in it.
pub struct Reading {
    /// The form, or its error.
    pub form: Result<Form, Error>,
    /// The sender's credential.
    pub credential: Option<Credential>,
}

/// Receives the form of a request.
pub fn receive(
    request: &mut Request<'_>,
    fields: &[Field],
    config: &Config,
    appliance: &Appliance,
    sender: Sender,
) -> Reading {
    let (limit, place, (bytes_per_second, grace)) = match sender {
        Sender::Known | Sender::Signed(_) => (config.max_upload, Ok(None), KNOWN_PACE),
        Sender::Unknown => (limit_of_strangers(config, appliance), Place::take(request, appliance), STRANGERS_PACE),
    };
    // Until the form is read.
    let _place = match place {
        Ok(place) => place,
        Err(error) => return Reading { form: Err(error), credential: None },
    };
    request.body.set_pace(grace, bytes_per_second);
    let wants_digest = !request.headers.get("idempotency-key").is_empty();
    let digests = wants_digest.then(Vec::new);
    let mut receiver =
        Receiver { fields, config, appliance, limit, credentials: Vec::new(), form: Form::default(), digests };
    let form = match sender {
        Sender::Known | Sender::Unknown => receiver.receive(&request.content_type, &mut request.body),
        Sender::Signed(proof) => receiver.receive_signed(&request.content_type, &mut request.body, &proof),
    };
    if wants_digest {
        receiver.form.digest = receiver.digests.take().map(digest_of_all);
    }
    Reading { credential: Credential::from_fields(&receiver.credentials), form: form.map(|()| receiver.form) }
}

/// The same for a form with the same fields in another order. Credentials can differ.
fn digest_of_all(mut digests: Vec<(String, String)>) -> String {
    digests.retain(|(name, _)| !matches!(name.as_str(), "hash" | "token"));
    digests.sort();
    let text: Vec<String> = digests.into_iter().map(|(name, digest)| format!("{name}:{digest}\n")).collect();
    hex::encode(Sha256::digest(text.concat()))
}

/// Maximum bytes of a form from an unknown sender. All of them together leave half of the free space.
fn limit_of_strangers(config: &Config, appliance: &Appliance) -> u64 {
    let share = appliance::free_bytes(&appliance.uploads()).map_or(u64::MAX, |free| free / (2 * PLACES as u64));
    config.max_upload.min(MAX_UNIDENTIFIED).min(share.max(MAX_IN_MEMORY as u64))
}

/// A place that unknown senders share. A locked file is a taken place; it contains the sender's network.
struct Place {
    /// Locked while the place is taken.
    _file: File,
}

impl Place {
    /// Takes a place for the form of an unknown sender. `None` if it needs none, or if the appliance has no directory
    /// for state.
    fn take(request: &Request<'_>, appliance: &Appliance) -> Result<Option<Place>, Error> {
        if request.body.expected().is_some_and(|expected| expected < SHORT) {
            return Ok(None);
        }
        let network = request.network();
        let (mut free, mut n_of_network) = (None, 0);
        for number in 0..PLACES {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
                .open(appliance.state_file(&format!("stranger-{number}")));
            let Ok(mut file) = file else { return Ok(None) };
            if file.try_lock().is_ok() {
                free.get_or_insert(file);
            } else {
                let mut taken_by = String::new();
                let is_read = (&mut file).take(64).read_to_string(&mut taken_by).is_ok();
                n_of_network += usize::from(is_read && taken_by == network);
            }
        }
        let Some(file) = free.filter(|_| n_of_network < PLACES_OF_A_NETWORK) else { return Err(Error::Busy) };
        // If the network cannot be written, the place just does not count for it.
        let _ = file.set_len(0).and_then(|()| file.write_all_at(network.as_bytes(), 0));
        Ok(Some(Place { _file: file }))
    }
}

struct Receiver<'a> {
    fields: &'a [Field],
    config: &'a Config,
    appliance: &'a Appliance,
    limit: u64,
    credentials: Vec<(String, String)>,
    form: Form,
    /// The SHA-256 of each field in base64, if a signature covers the fields one by one.
    digests: Option<Vec<(String, String)>>,
}

impl Receiver<'_> {
    fn receive_signed(
        &mut self,
        content_type: &ContentType,
        body: &mut Body<'_>,
        proof: &BodyProof,
    ) -> Result<(), Error> {
        match proof {
            BodyProof::Nothing => {}
            BodyProof::Whole(_) => body.start_digest(),
            BodyProof::Fields(_) => self.digests = Some(Vec::new()),
        }
        self.receive(content_type, body)?;
        let is_proven = match proof {
            BodyProof::Nothing => body.n_read() == 0,
            BodyProof::Whole(digest) => body.take_digest().is_some_and(|own| base64(&own) == *digest),
            BodyProof::Fields(fields) => {
                let mut wanted = fields.clone();
                let mut own = self.digests.clone().unwrap_or_default();
                wanted.sort();
                own.sort();
                wanted == own
            }
        };
        if is_proven { Ok(()) } else { Err(Error::Unauthenticated(Some(CHANGED))) }
    }

    fn receive(&mut self, content_type: &ContentType, body: &mut Body<'_>) -> Result<(), Error> {
        if body.expected().is_some_and(|expected| expected > self.limit) {
            return Err(Error::TooLarge(self.limit));
        }
        match content_type {
            ContentType::Multipart(Ok(boundary)) => self.multipart(boundary, body),
            ContentType::Multipart(Err(reason)) => Err(Error::Bad((*reason).to_owned())),
            ContentType::UrlEncoded => self.url_encoded(body),
            ContentType::Other if body.is_empty() => Ok(()),
            ContentType::Other => Err(Error::Bad("Expected a body of multipart/form-data".to_owned())),
        }
    }

    fn multipart(&mut self, boundary: &str, body: &mut Body<'_>) -> Result<(), Error> {
        let expected = body.expected();
        let mut limited = Limited { n_left: self.limit, body };
        let mut form = Multipart::new(&mut limited, boundary);
        match self.parts(&mut form, expected).and_then(|()| Ok(form.finish()?)) {
            Err(_) if limited.n_left == 0 => Err(Error::TooLarge(self.limit)),
            result => result,
        }
    }

    fn parts<R: Read>(&mut self, form: &mut Multipart<R>, expected: Option<u64>) -> Result<(), Error> {
        while let Some(name) = form.next_part()? {
            match self.field(&name)? {
                Some(Field { name, kind: Kind::File, .. }) => {
                    let received = self.file(form, name, expected)?;
                    self.form.files.push((name, received));
                }
                Some(Field { name, .. }) => {
                    let value = self.in_memory(form, name)?;
                    self.form.values.push((name, value));
                }
                None => {
                    let value = self.in_memory(form, &name)?;
                    self.credentials.push((name, String::from_utf8_lossy(&value).into_owned()));
                }
            }
        }
        Ok(())
    }

    fn url_encoded(&mut self, body: &mut Body<'_>) -> Result<(), Error> {
        let mut text = Vec::new();
        body.take(MAX_IN_MEMORY as u64 + 1).read_to_end(&mut text).map_err(|error| Error::from_body(&error))?;
        if text.len() > MAX_IN_MEMORY {
            return Err(Error::Bad(format!("The form is too large: the limit is {MAX_IN_MEMORY} bytes")));
        }
        for (name, value) in form_urlencoded::parse(&text) {
            match self.field(&name)? {
                Some(Field { name, kind: Kind::Text, .. }) => {
                    if let Some(digests) = &mut self.digests {
                        digests.push((name.to_owned(), base64(&Sha256::digest(value.as_bytes()))));
                    }
                    self.form.values.push((name, value.into_owned().into_bytes()));
                }
                Some(Field { name, .. }) => {
                    return Err(Error::Bad(format!("The field {name} must be sent as multipart/form-data")));
                }
                None => self.credentials.push((name.into_owned(), value.into_owned())),
            }
        }
        Ok(())
    }

    /// The field of that name in the route's table; `None` for a credential, which every form can have.
    fn field(&self, name: &str) -> Result<Option<Field>, Error> {
        let known = self.fields.iter().find(|field| field.name == name && self.config.accepts_field(name)).copied();
        let is_credential = matches!(name, "hash" | "token");
        if known.is_none() && !is_credential {
            return Err(Error::Bad(format!("Unknown field in the form. Expected: {}", self.names())));
        }
        let is_twice = self
            .form
            .values
            .iter()
            .map(|(known, _)| *known)
            .chain(self.form.files.iter().map(|(known, _)| *known))
            .any(|known| known == name)
            || self.credentials.iter().any(|(known, _)| known == name);
        if is_twice {
            return Err(Error::Bad(format!("The field {} occurs twice", known.map_or(name, |field| field.name))));
        }
        Ok(known)
    }

    fn names(&self) -> String {
        let names: Vec<&str> =
            self.fields.iter().map(|field| field.name).filter(|name| self.config.accepts_field(name)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    fn file<R: Read>(&mut self, form: &mut Multipart<R>, name: &str, expected: Option<u64>) -> Result<Received, Error> {
        const WHAT: &str = "Cannot store the upload";
        let folder = self.appliance.uploads();
        if let (Some(expected), Some(free)) = (expected, resumable::free_bytes(self.appliance))
            && expected > free
        {
            return Err(Error::NoSpace { needed: expected, free });
        }
        let mut received = Received::new(folder).map_err(|error| Error::Disk(WHAT, error))?;
        self.content(form, name, |chunk| received.file.write_all(chunk).map_err(|error| Error::Disk(WHAT, error)))?;
        Ok(received)
    }

    fn in_memory<R: Read>(&mut self, form: &mut Multipart<R>, name: &str) -> Result<Vec<u8>, Error> {
        let mut value = Vec::new();
        self.content(form, name, |chunk| {
            if value.len() + chunk.len() > MAX_IN_MEMORY {
                return Err(Error::Bad(format!("The field {name} is too large: the limit is {MAX_IN_MEMORY} bytes")));
            }
            value.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(value)
    }

    /// Passes on the content of a part, and computes its digest if needed.
    fn content<R: Read>(
        &mut self,
        form: &mut Multipart<R>,
        name: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut digest = self.digests.is_some().then(Sha256::new);
        while let Some(chunk) = form.chunk()? {
            if let Some(digest) = &mut digest {
                digest.update(chunk);
            }
            take(chunk)?;
        }
        if let (Some(digests), Some(digest)) = (&mut self.digests, digest) {
            digests.push((name.to_owned(), base64(&digest.finalize())));
        }
        Ok(())
    }
}

/// A body with a limit, which records whether it was reached.
struct Limited<'a, 'b> {
    body: &'a mut Body<'b>,
    n_left: u64,
}

impl Read for Limited<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.n_left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.body.read(&mut buffer[..most])?;
        self.n_left -= n as u64;
        Ok(n)
    }
}

/// A received file without a name in the exchange directory.
pub struct Received {
    folder: PathBuf,
    file: File,
    /// Its temporary name, if the filesystem has no unnamed files.
    working_name: Option<PathBuf>,
}

impl Received {
    fn new(folder: PathBuf) -> io::Result<Received> {
        let unnamed =
            OpenOptions::new().write(true).read(true).mode(0o600).custom_flags(nix::libc::O_TMPFILE).open(&folder);
        let has_proc = Path::new("/proc/self/fd").exists();
        if let (Ok(file), true) = (unnamed, has_proc) {
            return Ok(Received { folder, file, working_name: None });
        }
        remove_abandoned(&folder);
        let name = folder.join(format!(".part-{}", std::process::id()));
        appliance::remove_or_set_aside(&name)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name)?;
        // If the name exists without this lock, its owner is dead.
        file.try_lock().map_err(io::Error::from)?;
        Ok(Received { folder, file, working_name: Some(name) })
    }

    /// Gives the file its name, atomically replacing an existing one.
    fn place(mut self, name: &str) -> io::Result<()> {
        let place = self.folder.join(name);
        let beside = if let Some(working_name) = self.working_name.take() {
            working_name
        } else {
            // A link cannot replace a file; a rename can.
            let beside = self.folder.join(format!(".{name}.new"));
            appliance::remove_or_set_aside(&beside)?;
            let unnamed = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
            nix::unistd::linkat(None, &unnamed, None, &beside, AtFlags::AT_SYMLINK_FOLLOW)?;
            beside
        };
        appliance::rename(&beside, &place).inspect_err(|_| drop(fs::remove_file(&beside)))
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(name) = &self.working_name {
            // If this fails, the next upload removes it.
            let _ = fs::remove_file(name);
        }
    }
}

/// Removes temporary files of killed processes.
fn remove_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_part = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".part-"));
        if is_part && appliance::open_unlinked(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// The input in the exchange directory for a job that has not started; dropping it removes the input.
pub struct Handover {
    folder: PathBuf,
    names: Vec<&'static str>,
    uploads: Vec<(&'static str, Upload)>,
}

impl Handover {
    /// An empty handover.
    pub fn new(appliance: &Appliance) -> Handover {
        Handover { folder: appliance.uploads(), names: Vec::new(), uploads: Vec::new() }
    }

    /// Adds a received file.
    pub fn file(&mut self, name: &'static str, received: Received) -> Result<(), Error> {
        received.place(name).map_err(|error| Error::Disk("Cannot store the upload", error))?;
        self.names.push(name);
        Ok(())
    }

    /// Puts down an upload that came in pieces. If the job is not started, it is there as before.
    pub fn upload(&mut self, name: &'static str, upload: Upload) -> Result<(), Error> {
        upload.place(&self.folder.join(name)).map_err(|error| Error::Disk("Cannot store the upload", error))?;
        self.uploads.push((name, upload));
        Ok(())
    }

    /// Adds a document.
    pub fn document(&mut self, name: &'static str, content: &[u8]) -> Result<(), Error> {
        appliance::replace(&self.folder.join(name), content, 0o600)
            .map_err(|error| Error::Disk("Cannot store the upload", error))?;
        self.names.push(name);
        Ok(())
    }

    /// Removes a file that the job must not find.
    pub fn absent(&mut self, name: &str) -> Result<(), Error> {
        appliance::remove_or_set_aside(&self.folder.join(name))
            .map_err(|error| Error::Disk("Cannot remove an old upload", error))
    }

    /// The job has started: the input belongs to it now.
    pub fn complete(&mut self) {
        self.names.clear();
        self.uploads.drain(..).for_each(|(_, upload)| upload.forget());
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        for name in &self.names {
            // There is no caller to report it to; the next upload replaces the file.
            let _ = fs::remove_file(self.folder.join(name));
        }
        for (name, upload) in self.uploads.drain(..) {
            // If the job has taken it anyway, there is nothing to move back, and the upload is used up.
            if upload.reclaim(&self.folder.join(name)).is_err() {
                upload.forget();
            }
        }
    }
}
