//! Identifies the caller. It never fails and decides nothing: the route's scope and its handler's type decide.

use crate::appliance::Appliance;
use crate::appliance::keys::{self, Key};
use crate::appliance::slots::{self, NotStored, Slot, Table};
use crate::http::request::{Method, Path, Request, last_value};
use crate::values::clock::now;
use crate::values::config::{Config, Legacy};
use crate::values::scope::Scope;
use crate::values::signature::{BodyProof, Fault, MAX_SKEW, Message, Signature};
use crate::values::token::{Token, Verifier};
use std::io;
use std::net::IpAddr;

/// Proof that the caller is allowed to use the route. A handler that requires it takes it as an argument, and only
/// `Caller::admit` creates it.
#[derive(Debug)]
pub struct Admin(());

/// How much one refusal adds to its source's bucket. It drains at `limit` of these a second, so one refusal takes 60 /
/// `limit` seconds.
const PARTS: u32 = 60;
/// Seconds that a source must be quiet before an overfull bucket drains.
const QUIET: u32 = 5;

#[derive(Debug)]
pub enum Caller {
    /// No valid credential. `Some` explains a failed signature.
    Anonymous(Option<Fault>),
    /// The holder of a key.
    Known(Known),
}

/// The holder of a key.
#[derive(Debug)]
pub struct Known {
    key: String,
    verifier: Verifier,
    scope: Scope,
    /// Whether the credential was in the query or in the form.
    is_legacy: bool,
    /// How the signature covers the body; `None` without a signature.
    proof: Option<BodyProof>,
}

impl Caller {
    /// Whether the credential is valid.
    pub fn is_known(&self) -> bool {
        self.known().is_some()
    }

    /// Whether the credential came in the query or in the form.
    pub fn is_legacy(&self) -> bool {
        self.known().is_some_and(|known| known.is_legacy)
    }

    /// The name of the token; empty for an anonymous caller.
    pub fn key(&self) -> &str {
        self.known().map_or("", |known| &known.key)
    }

    /// Identifies the token, whatever its name (`keys::identity`); empty for an anonymous caller.
    pub fn identity(&self) -> String {
        self.known().map_or(String::new(), |known| keys::identity(&known.verifier))
    }

    /// The scope of the token; `Read` for an anonymous caller.
    pub fn scope(&self) -> Scope {
        self.known().map_or(Scope::Read, |known| known.scope)
    }

    /// How the request vouches for its body, if it is signed.
    pub fn proof(&self) -> Option<&BodyProof> {
        self.known()?.proof.as_ref()
    }

    /// Admits the caller if the scope of its token includes this one.
    pub fn admit(&self, scope: Scope) -> Option<Admin> {
        self.known().filter(|known| known.scope >= scope).map(|_| Admin(()))
    }

    fn known(&self) -> Option<&Known> {
        match self {
            Caller::Known(known) => Some(known),
            Caller::Anonymous(_) => None,
        }
    }
}

pub enum Credential {
    /// `?hash=`, the tag over method and path. It takes precedence over a token.
    Hash(String),
    /// `?token=`, the token itself.
    Token(String),
    /// `Authorization: Bearer`, the token itself.
    Bearer(String),
    /// A signature over the request, or why it is invalid.
    Signed(Result<Signature, &'static str>),
}

impl Credential {
    /// The credential in the head of a request. A header takes precedence over the query.
    pub fn from_head(request: &Request<'_>, path: &Path) -> Option<Credential> {
        if !request.headers.get("signature-input").is_empty() {
            let message = Message {
                method: request.method.as_str(),
                path: path.sent(),
                query: request.raw_query(),
                host: request.headers.get("host"),
                header: &|name| request.headers.get(name).to_owned(),
            };
            return Some(Credential::Signed(Signature::parse(&message)));
        }
        let bearer = request.headers.get("authorization").split_once(' ');
        if let Some((_, token)) =
            bearer.filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty())
        {
            return Some(Credential::Bearer(token.trim().to_owned()));
        }
        Credential::choose(request.query("hash"), request.query("token"))
    }

    /// The credential in the fields of a form.
    pub fn from_fields(fields: &[(String, String)]) -> Option<Credential> {
        Credential::choose(last_value(fields, "hash"), last_value(fields, "token"))
    }

    fn choose(hash: Option<&str>, token: Option<&str>) -> Option<Credential> {
        match (hash, token) {
            (Some(hash), _) => Some(Credential::Hash(hash.to_owned())),
            (None, Some(token)) => Some(Credential::Token(token.to_owned())),
            (None, None) => None,
        }
    }
}

/// What is needed to identify a caller.
pub struct Guard<'a> {
    pub appliance: &'a Appliance,
    pub config: &'a Config,
    /// The API token, if it is set. Without it, no credential is valid.
    pub token: Option<&'a Token>,
    /// Whether this is a question about a request whose body is still to come. A question does not use up the nonce.
    pub is_question: bool,
}

impl Guard<'_> {
    pub fn identify(&self, credential: Option<&Credential>, request: &Request<'_>, path: &Path) -> Caller {
        let (Some(token), Some(credential)) = (self.token, credential) else { return Caller::Anonymous(None) };
        let is_legacy = matches!(credential, Credential::Hash(_) | Credential::Token(_));
        if is_legacy && self.config.legacy == Legacy::Deny {
            return Caller::Anonymous(Some(Fault(
                "Credentials in the query or the form are not accepted: sign the request, or send Authorization: Bearer",
            )));
        }
        let first = keys::first(token);
        let is_good = |key: &Key| key.is_valid(now) && opens(key, credential, &request.method, path);
        // Try the API token first, so that its holder does not wait for the others.
        let key = if is_good(&first) { Some(first) } else { keys::named(self.appliance).into_iter().find(is_good) };
        let proof = match credential {
            Credential::Signed(Err(fault)) => return Caller::Anonymous(Some(Fault(fault))),
            Credential::Signed(Ok(signature)) => {
                let Some(key) = &key else {
                    return Caller::Anonymous(Some(Fault(
                        "The signature does not match this request and a known token",
                    )));
                };
                if let Err(fault) = self.check_once(key, signature, request, now()) {
                    return Caller::Anonymous(Some(fault));
                }
                Some(signature.proof.clone())
            }
            Credential::Hash(_) | Credential::Token(_) | Credential::Bearer(_) => None,
        };
        match key {
            Some(key) => {
                Caller::Known(Known { key: key.name, verifier: key.verifier, scope: key.scope, is_legacy, proof })
            }
            None => Caller::Anonymous(None),
        }
    }

    /// Checks what makes a signature valid only once: its time, its nonce, and that it covers the body.
    fn check_once(&self, key: &Key, signature: &Signature, request: &Request<'_>, now: u64) -> Result<(), Fault> {
        if request.body.expected() != Some(0) {
            match signature.proof {
                BodyProof::Nothing => {
                    return Err(Fault("The signature must cover the body, by content-digest or part-digest"));
                }
                // With another boundary, the same bytes are another form.
                BodyProof::Whole(_) if !signature.covers_type => {
                    return Err(Fault("With content-digest, the signature must also cover content-type"));
                }
                // Covers each field by name and content: in any encoding, it is the same form.
                BodyProof::Whole(_) | BodyProof::Fields(_) => {}
            }
        }
        if signature.expires.is_some_and(|expires| expires < now) {
            return Err(Fault("The signature has expired"));
        }
        if signature.created.abs_diff(now) > MAX_SKEW {
            return Err(Fault("The signature was not made within 300 seconds of Server-Time"));
        }
        if self.is_question {
            return Ok(());
        }
        let nonce = slots::key_of(signature.nonce.as_bytes());
        let created = u32::try_from(signature.created).unwrap_or(u32::MAX);
        let remembered = slots::update(self.appliance, keys::nonces(key), nonce, |slots| {
            slots::store_once(slots, nonce, created, 2 * MAX_SKEW, now).map_err(|reason| match reason {
                NotStored::Known => Fault("The nonce was used before"),
                NotStored::NoRoom => Fault("Too many requests were signed with this token: try again in ten minutes"),
            })
        });
        remembered.unwrap_or_else(|error| {
            log::error!("nonces cannot be stored, so signed requests are refused: {error}. Create the directory `state` below the admin path, writable only for this user");
            Err(Fault("Signed requests are not available on this appliance"))
        })
    }
}

fn opens(key: &Key, credential: &Credential, method: &Method, path: &Path) -> bool {
    match credential {
        Credential::Token(guess) | Credential::Bearer(guess) => key.verifier.matches(guess),
        Credential::Hash(tag) => {
            // The path can be signed as sent or without its trailing slash; HEAD can be signed as GET.
            let methods = if *method == Method::Head { &["HEAD", "GET"][..] } else { &[method.as_str()] };
            let paths = [path.sent(), path.canonical()];
            methods.iter().any(|method| paths.iter().any(|path| key.verifier.signs(method, path, tag)))
        }
        Credential::Signed(Ok(signature)) => {
            keys::is_meant(key, signature.key.as_deref()) && key.verifier.signs_text(&signature.base, &signature.tag)
        }
        Credential::Signed(Err(_)) => false,
    }
}

/// Whether a host name is the appliance's own. With DNS rebinding, another site's page uses that site's name.
pub fn is_own_name(name: &str, config: &Config, appliance: &Appliance) -> bool {
    let is_kernels = || {
        appliance
            .trimmed_text(std::path::Path::new("/proc/sys/kernel/hostname"))
            .is_some_and(|own| own.eq_ignore_ascii_case(name))
    };
    name.is_empty()
        || name == "localhost"
        || name.parse::<IpAddr>().is_ok()
        || config.hosts.iter().any(|host| host == name)
        || is_kernels()
}

/// How to answer a refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// At once.
    Answered,
    /// After a delay: there are too many refusals from all sources together.
    Paused,
    /// With 429: this source has too many refusals, and must be quiet for this many seconds.
    TooMany(u64),
}

/// Counts a refusal for its source and for all sources together.
pub fn count_refusal(appliance: &Appliance, client: &str, limit: u32) -> Refusal {
    // If nothing can be counted, answer at once.
    if fill(appliance, source(client), limit, limit, QUIET).unwrap_or(false) {
        let seconds = u64::from(QUIET + PARTS.div_ceil(limit.max(1)));
        return Refusal::TooMany(seconds.min(60));
    }
    // All sources together get the same rate as a single one, but a smaller burst.
    let is_over = fill(appliance, source("everybody"), limit.div_ceil(4), limit, 0).unwrap_or(false);
    if is_over { Refusal::Paused } else { Refusal::Answered }
}

/// Adds a refusal to a bucket with room for `n_held` that drains `limit` a minute. Returns whether it overflows. Then
/// it also waits `quiet` seconds before it drains.
fn fill(appliance: &Appliance, key: u64, n_held: u32, limit: u32, quiet: u32) -> io::Result<bool> {
    let now = u32::try_from(now()).unwrap_or(u32::MAX);
    let full = n_held.saturating_mul(PARTS);
    slots::update(appliance, Table::Refusals, key, |slots| {
        let at = slots.iter().position(|slot| slot.key == key);
        // Replace the slot that has been unused for longest.
        let at = at.unwrap_or_else(|| {
            slots.iter().enumerate().min_by_key(|(_, slot)| (slot.time, slot.count)).map_or(0, |(at, _)| at)
        });
        let slot = &mut slots[at];
        if slot.key != key {
            *slot = Slot { key, time: now, count: 0 };
        }
        // Each second drains `limit` parts. If the clock was set back, nothing drains this time.
        let leaked = now.saturating_sub(slot.time).saturating_mul(limit);
        let level = slot.count.saturating_sub(leaked).saturating_add(PARTS);
        let is_over = level > full;
        slot.count = if is_over { full.saturating_add(limit.saturating_mul(quiet)) } else { level };
        slot.time = now;
        is_over
    })
}

/// Clears the rate limit of a source, or of all.
pub fn forget_refusals(appliance: &Appliance, client: Option<&str>) -> io::Result<()> {
    let Some(client) = client else { return slots::clear(appliance, Table::Refusals) };
    let key = source(client);
    slots::update(appliance, Table::Refusals, key, |slots| {
        slots.iter_mut().filter(|slot| slot.key == key).for_each(|slot| *slot = Slot::default());
    })
}

/// The key under which a client's refusals are counted.
fn source(client: &str) -> u64 {
    // An IPv6 client can use any address in its /64, so the prefix counts.
    let source = match client.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("{:x}", address.to_bits() >> 64),
        _ => client.to_owned(),
    };
    slots::key_of(source.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// An appliance with a directory for state.
    fn appliance(name: &str) -> (PathBuf, Appliance) {
        let root = std::env::temp_dir().join(format!("auth-{name}-{}", std::process::id()));
        std::fs::create_dir_all(root.join("state")).unwrap();
        (root.clone(), Appliance::new(Some(root.into()), None))
    }

    fn request(target: &str) -> Request<'static> {
        Request::from_cgi(|name| (name == "REQUEST_URI").then(|| target.into()), &b""[..]).unwrap()
    }

    #[test]
    fn a_caller_is_nobody_or_the_holder_of_a_key() {
        let told = |caller: &Caller| {
            let admitted = [Scope::Read, Scope::Operate, Scope::Admin].map(|scope| caller.admit(scope).is_some());
            (caller.is_known(), caller.is_legacy(), caller.key().to_owned(), caller.scope(), admitted)
        };
        assert_eq!(told(&Caller::Anonymous(None)), (false, false, String::new(), Scope::Read, [false; 3]));
        for is_legacy in [false, true] {
            let verifier = Verifier::of("token");
            let known = Known { key: "ops".to_owned(), verifier, scope: Scope::Operate, is_legacy, proof: None };
            let wanted = (true, is_legacy, "ops".to_owned(), Scope::Operate, [true, true, false]);
            assert_eq!(told(&Caller::Known(known)), wanted);
        }
    }

    #[test]
    fn a_form_can_have_a_tag_or_a_token_and_the_tag_comes_first() {
        let fields = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect::<Vec<_>>();
        assert!(Credential::from_fields(&fields(&["other"])).is_none());
        assert!(matches!(Credential::from_fields(&fields(&["token"])), Some(Credential::Token(token)) if token == "x"));
        assert!(matches!(Credential::from_fields(&fields(&["token", "hash"])), Some(Credential::Hash(_))));
    }

    #[test]
    fn a_tag_is_of_the_method_and_of_the_path_with_or_without_its_slash() {
        let key = keys::first(&Token::parse("secret").unwrap());
        let path = request("/docs/").path.unwrap();
        for (method, signed, path_signed, is_good) in [
            (Method::Get, "GET", "/docs/", true),
            (Method::Get, "GET", "/docs", true),
            (Method::Get, "GET", "/doc", false),
            (Method::Get, "HEAD", "/docs", false),
            (Method::Head, "HEAD", "/docs", true),
            (Method::Head, "GET", "/docs/", true),
            (Method::Head, "POST", "/docs", false),
            (Method::Post, "GET", "/docs", false),
        ] {
            let credential = Credential::Hash(key.verifier.tag(signed, path_signed));
            assert_eq!(opens(&key, &credential, &method, &path), is_good, "{method:?} {signed} {path_signed}");
        }
    }

    fn signature(created: u64, expires: Option<u64>) -> Signature {
        Signature {
            key: None,
            created,
            expires,
            nonce: "nonce".to_owned(),
            base: String::new(),
            tag: String::new(),
            proof: BodyProof::Nothing,
            covers_type: false,
        }
    }

    #[test]
    fn a_signature_is_valid_for_300_seconds_around_its_time_and_until_it_expires() {
        let (root, appliance) = appliance("time");
        let guard = Guard { appliance: &appliance, config: &Config::default(), token: None, is_question: true };
        let key = keys::first(&Token::parse("secret").unwrap());
        for (expires, now, is_good) in [
            (None, 699, false),
            (None, 700, true),
            (None, 1300, true),
            (None, 1301, false),
            (Some(1100), 1100, true),
            (Some(1100), 1101, false),
        ] {
            let checked = guard.check_once(&key, &signature(1000, expires), &request("/docs"), now);
            assert_eq!(checked.is_ok(), is_good, "{expires:?} {now}");
        }
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_nonce_is_kept_for_ten_minutes() {
        let (root, appliance) = appliance("nonces");
        let guard = Guard { appliance: &appliance, config: &Config::default(), token: None, is_question: false };
        let key = keys::first(&Token::parse("secret").unwrap());
        // No room for another one.
        let old = Slot { key: 1, time: 10_000, count: 1 };
        slots::update(&appliance, keys::nonces(&key), slots::key_of(b"nonce"), |slots| slots.fill(old)).unwrap();
        let check = |now| guard.check_once(&key, &signature(now, None), &request("/docs"), now);
        assert!(check(10_600).is_err());
        assert_eq!(check(10_601), Ok(()));
        assert_eq!(check(10_601), Err(Fault("The nonce was used before")));
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_source_that_is_refused_too_often_must_be_quiet_until_it_is_cleared() {
        let (root, appliance) = appliance("refusals");
        // Two a minute, and then five seconds and half a minute of silence.
        let overfill = |client: &str| {
            (0..99).map(|_| count_refusal(&appliance, client, 2)).find(|refusal| matches!(refusal, Refusal::TooMany(_)))
        };
        for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
            assert_eq!(overfill(client), Some(Refusal::TooMany(35)), "{client}");
        }
        let is_counted = |client: &str| {
            let key = source(client);
            slots::update(&appliance, Table::Refusals, key, |slots| slots.iter().any(|slot| slot.key == key)).unwrap()
        };
        forget_refusals(&appliance, Some("192.0.2.1")).unwrap();
        forget_refusals(&appliance, Some("2001:db8::ffff")).unwrap();
        assert_eq!(["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(is_counted), [false, true, false]);
        forget_refusals(&appliance, None).unwrap();
        assert!(!is_counted("192.0.2.2"));
        std::fs::remove_dir_all(root).unwrap();
    }
}
