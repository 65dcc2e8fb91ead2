//! Checks certificates: whether clients would accept one, and if not, why. The only place that does.
//!
//! Our own types parse the structure. `openssl` does the cryptography; only its exit status and its error numbers are
//! used. Jobs call this as root, on files that only root can reach.

pub mod x509;
pub mod pem;

use crate::appliance::{self, Appliance};
use crate::root::certificate::pem::Block;
use crate::root::certificate::x509::{Algorithm, AltName, Certificate, Key, iso};
use crate::root::commands::Arguments;
use crate::root::machine;
use crate::values::clock;
use crate::values::json::{Object, quote};
use crate::values::rule::InvalidOption;
use nix::ifaddrs::getifaddrs;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::iter;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// Maximum certificates in a request, including unrelated ones: a file of all roots is a mistake.
const MAX_CERTIFICATES: usize = 64;
/// Minimum bits of an RSA key.
const MIN_RSA: usize = 2048;
/// Days of validity that Apple's clients accept, from private CAs too.
const MAX_DAYS: i64 = 825;
/// Days before expiration from which a warning is given.
pub const SOON: i64 = 30;

/// The relevant bits of the key usage.
const DIGITAL_SIGNATURE: u16 = 1 << 15;
const CERT_SIGN: u16 = 1 << 10;

/// Why a pair is refused: one sentence for the client.
type Refusal = String;

/// An accepted pair.
pub struct Verdict {
    /// The certificate and its issuers, in order, as PEM.
    pub chain: String,
    /// Warnings for the administrator.
    pub warnings: Vec<String>,
}

/// A directory that only this program can reach, for openssl's input files.
pub struct Bench<'a>(pub &'a Path);

impl Bench<'_> {
    /// Runs openssl there. Returns whether it succeeded, its output and its messages. Ignores this machine's openssl
    /// configuration, which could change the results.
    fn openssl<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<(bool, Vec<u8>, String), Refusal> {
        let output = Command::new("openssl")
            .args(arguments)
            .env("OPENSSL_CONF", "/dev/null")
            .current_dir(self.0)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("openssl cannot be started: {error}"))?;
        Ok((output.status.success(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> Result<(), Refusal> {
        let path = self.0.join(name);
        let written = (|| {
            // Anything there is ours, because the directory is.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(content.as_ref())
        })();
        written.map_err(|error| format!("{name}: {error}"))
    }

    /// Whether the key of `issuer` signed `certificate`.
    fn is_signed_by(&self, certificate: &Certificate, issuer: &Certificate) -> Result<bool, Refusal> {
        let digest = match certificate.algorithm {
            Algorithm::Digest(digest) | Algorithm::Pss(digest) => digest,
            // The signature algorithm is refused later; until then, compare the names.
            Algorithm::Refused(_) => return Ok(true),
        };
        self.put("signed", &certificate.signed)?;
        self.put("signature", &certificate.signature)?;
        self.put("issuer.key", x509::pem("PUBLIC KEY", &issuer.key_der))?;
        let digest = format!("-{digest}");
        let mut arguments = vec!["dgst", &digest, "-verify", "issuer.key", "-signature", "signature"];
        if let Algorithm::Pss(_) = certificate.algorithm {
            arguments.extend(["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:auto"]);
        }
        arguments.push("signed");
        Ok(self.openssl(&arguments)?.0)
    }

    /// Verifies the whole chain with openssl. Returns its error number and the position in the chain, if there is one.
    fn fault_of(&self, chain: &[&Certificate], options: &[&str]) -> Result<Option<(u32, usize)>, Refusal> {
        let (leaf, issuers) = chain.split_first().expect("a chain has its first certificate");
        let anchor = issuers.last().unwrap_or(leaf);
        let all: String = issuers.iter().map(|certificate| certificate.pem()).collect();
        self.put("leaf.pem", leaf.pem())?;
        self.put("anchor.pem", anchor.pem())?;
        self.put("issuers.pem", all)?;
        let mut arguments = vec!["verify", "-partial_chain", "-no_check_time", "-no-CApath"];
        arguments.extend(["-no-CAstore", "-trusted", "anchor.pem"]);
        if !issuers.is_empty() {
            arguments.extend(["-untrusted", "issuers.pem"]);
        }
        arguments.extend(options);
        arguments.push("leaf.pem");
        let (is_good, _, said) = self.openssl(&arguments)?;
        Ok(if is_good { None } else { Some(numbers(&said).unwrap_or((1, 0))) })
    }

    /// Whether the system's own store contains the issuer, ignoring the dates.
    fn is_known_here(&self, certificate: &Certificate) -> Result<bool, Refusal> {
        self.put("leaf.pem", certificate.pem())?;
        Ok(self.openssl(&["verify", "-no_check_time", "-partial_chain", "leaf.pem"])?.0)
    }
}

/// The numbers in `error 20 at 0 depth lookup: ...`; the rest is for people.
fn numbers(said: &str) -> Option<(u32, usize)> {
    said.lines().find_map(|line| {
        let (number, rest) = line.strip_prefix("error ")?.split_once(" at ")?;
        Some((number.parse().ok()?, rest.split(' ').next()?.parse().ok()?))
    })
}

/// Checks a certificate, its key and its issuers from a client. `own` are the names of this machine. Without them, the
/// pair is one that the ancestor has served, and only has to be a pair.
pub fn judge(
    bench: &Bench<'_>,
    public: &[u8],
    private: &[u8],
    ca: &[u8],
    own: Option<&[AltName]>,
    now: i64,
) -> Result<Verdict, Refusal> {
    let key_der = private_key(bench, private)?;
    let mut sent = certificates("The certificate", public)?;
    // An empty form field counts as absent.
    if !ca.trim_ascii().is_empty() {
        sent.extend(certificates("The CA certificate", ca)?);
    }
    // Many clients send the whole chain in one file and again as ca: ignore duplicates.
    let mut all: Vec<Certificate> = Vec::new();
    for certificate in sent {
        if !all.iter().any(|known| known.der == certificate.der) {
            all.push(certificate);
        }
    }
    if all.len() > MAX_CERTIFICATES {
        return Err(format!("More than {MAX_CERTIFICATES} certificates: send only those that issued this one"));
    }
    // Of several certificates for one key, as during a renewal, prefer one that is valid now, and the one that ends last.
    let fitting = |certificate: &&Certificate| certificate.key_der == key_der;
    let leaf = all.iter().filter(fitting).min_by_key(|leaf| (dates(leaf, "", now).is_err(), -leaf.validity.1));
    let Some(leaf) = leaf else {
        key_kind(all[0].key, "The certificate")?;
        return Err("The private key belongs to another certificate".to_owned());
    };
    let Some(own) = own else {
        let others = all.iter().filter(|other| other.der != leaf.der);
        let chain = iter::once(leaf).chain(others).map(Certificate::pem).collect();
        return Ok(Verdict { chain, warnings: Vec::new() });
    };
    leaf_alone(leaf, now)?;
    let chain = chain(bench, leaf, &all, now)?;
    if leaf.is_self_issued() && !bench.is_signed_by(leaf, leaf)? {
        return Err("The certificate is damaged: it names itself as its issuer, and did not sign itself".to_owned());
    }
    whole_chain(bench, &chain)?;
    let warnings = warnings(bench, &chain, &all, own, now)?;
    let chain = chain.into_iter().map(Certificate::pem).collect();
    Ok(Verdict { chain, warnings })
}

/// Writes the private key to `key.pem`, as openssl does. Returns its public half as in certificates.
fn private_key(bench: &Bench<'_>, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    const DAMAGED: &str = "The private key is damaged";
    let blocks = pem::blocks(bytes).ok_or(DAMAGED)?;
    let keys: Vec<&Block> = blocks.iter().filter(|block| block.is_key()).collect();
    let block = match keys[..] {
        [block] => block,
        [] if blocks.iter().any(Block::is_certificate) => {
            return Err("The private key is a certificate: were the two files swapped?".to_owned());
        }
        [] => return Err(not_wanted("The private key", "a private key", bytes, !blocks.is_empty())),
        _ => return Err("The private key is not one key: the file has several".to_owned()),
    };
    if block.is_encrypted {
        return Err(
            "The private key is encrypted. Remove its passphrase first: openssl pkey -in FILE -out NEW.pem".to_owned()
        );
    }
    bench.put("key.sent", x509::pem(&block.label, &block.der))?;
    let pkey = |options: &[&str]| bench.openssl(&[&["pkey", "-in", "key.sent", "-passin", "pass:"], options].concat());
    let (is_key, ..) = pkey(&["-out", "key.pem"])?;
    let (is_sound, ..) = pkey(&["-check", "-noout"])?;
    let (has_public, public, _) = pkey(&["-pubout", "-outform", "DER"])?;
    if !is_key || !is_sound || !has_public {
        return Err(DAMAGED.to_owned());
    }
    if let Some(Key::Rsa(bits)) = x509::key(&public)
        && bits < MIN_RSA
    {
        return Err(format!("The private key is too short: {bits} bits, at least {MIN_RSA} needed"));
    }
    Ok(public)
}

/// The certificates in a file, at least one.
fn certificates(what: &str, bytes: &[u8]) -> Result<Vec<Certificate>, Refusal> {
    let damaged = || format!("{what} is damaged");
    let blocks = pem::blocks(bytes).ok_or_else(damaged)?;
    let Some(found) = all(bytes) else {
        let is_bundle = blocks.iter().any(Block::is_bundle);
        return Err(if is_bundle { format!("{what} is {}", pem::BUNDLE) } else { damaged() });
    };
    if !found.is_empty() {
        return Ok(found);
    }
    if blocks.iter().any(Block::is_key) {
        return Err(format!("{what} is a private key: were the two files swapped?"));
    }
    Err(not_wanted(what, "a certificate", bytes, !blocks.is_empty()))
}

fn not_wanted(what: &str, wanted: &str, bytes: &[u8], is_pem: bool) -> Refusal {
    match pem::kind(bytes) {
        Some(kind) => format!("{what} is {kind}"),
        None if is_pem => format!("{what} is not {wanted}"),
        None => format!("{what} is not PEM"),
    }
}

fn key_kind(key: Key, whose: &str) -> Result<(), Refusal> {
    match key {
        Key::Rsa(bits) if bits < MIN_RSA => {
            Err(format!("{whose} has a key that is too short: {bits} bits, at least {MIN_RSA} needed"))
        }
        Key::Rsa(_) | Key::Curve(_) | Key::P521 => Ok(()),
        Key::Explicit => Err(format!(
            "{whose} has an EC key with explicit parameters, which no client accepts: make a key with a named curve, such as P-256"
        )),
        Key::Other(kind) => {
            Err(format!("{whose} has a key that is {kind}, which browsers refuse: use RSA, P-256 or P-384"))
        }
    }
}

fn dates(certificate: &Certificate, whose: &str, now: i64) -> Result<(), Refusal> {
    let (begin, end) = certificate.validity;
    if now < begin {
        return Err(format!(
            "{whose} is not yet valid: it begins {}, and the clock of this appliance says {}",
            iso(begin),
            iso(now)
        ));
    }
    if now > end {
        return Err(format!(
            "{whose} has expired: it ended {}, and the clock of this appliance says {}",
            iso(end),
            iso(now)
        ));
    }
    Ok(())
}

/// Checks the appliance's certificate by itself, without its chain.
fn leaf_alone(leaf: &Certificate, now: i64) -> Result<(), Refusal> {
    const WHOSE: &str = "The certificate";
    key_kind(leaf.key, WHOSE)?;
    dates(leaf, WHOSE, now)?;
    if leaf.server_names().next().is_none() && leaf.subject.common_name().is_none() {
        return Err("The certificate has no name that could match this appliance".to_owned());
    }
    if !leaf.is_for_servers {
        return Err("The certificate is not for servers: its extended key usage lacks serverAuth".to_owned());
    }
    if leaf.key_usage & DIGITAL_SIGNATURE == 0 {
        return Err("The certificate may not sign a TLS connection: its key usage lacks digitalSignature".to_owned());
    }
    extensions(leaf, WHOSE)
}

fn extensions(certificate: &Certificate, whose: &str) -> Result<(), Refusal> {
    if let Some(id) = &certificate.unknown_critical {
        return Err(format!("{whose} has a critical extension that clients do not know: {id}"));
    }
    match certificate.algorithm {
        // Nobody verifies a root's signature of itself.
        Algorithm::Refused(algorithm) if !certificate.is_self_issued() => {
            Err(format!("{whose} is signed with {algorithm}, which browsers refuse"))
        }
        Algorithm::Digest(_) | Algorithm::Pss(_) | Algorithm::Refused(_) => Ok(()),
    }
}

/// Checks an authority that is above `n_below` others.
fn authority(issuer: &Certificate, n_below: usize, now: i64) -> Result<(), Refusal> {
    let whose = format!("The CA certificate {}", issuer.title());
    key_kind(issuer.key, &whose)?;
    dates(issuer, &whose, now)?;
    let may_issue = match issuer.authority {
        Some(authority) => authority.is_authority,
        // Old roots do not have this extension.
        None => issuer.is_self_issued() && (issuer.version < 3 || issuer.key_usage != u16::MAX),
    };
    if !may_issue {
        return Err(format!("{whose} is not that of a CA: its basicConstraints do not say CA:TRUE"));
    }
    if issuer.key_usage & CERT_SIGN == 0 {
        return Err(format!("{whose} may not sign certificates: its key usage lacks keyCertSign"));
    }
    if !issuer.is_for_servers {
        return Err(format!("{whose} is not for servers: its extended key usage lacks serverAuth"));
    }
    if let Some(length) = issuer.authority.and_then(|authority| authority.path_length)
        && n_below > length
    {
        return Err(format!(
            "{whose} allows {length} CA certificates below it, and there are {n_below}: its path length is too short"
        ));
    }
    extensions(issuer, &whose)
}

/// A path from the certificate toward a root, through the certificates that were sent.
struct Way<'a> {
    certificates: Vec<&'a Certificate>,
    /// The first error in it, starting at the certificate.
    fault: Option<Refusal>,
}

impl<'a> Way<'a> {
    fn new(certificates: Vec<&'a Certificate>, now: i64) -> Way<'a> {
        // Self-issued certificates do not count, as when a CA gets a new key.
        let n_below = |at: usize| certificates[1..at].iter().filter(|below| !below.is_self_issued()).count();
        let fault = (1..certificates.len()).find_map(|at| authority(certificates[at], n_below(at), now).err());
        Way { certificates, fault }
    }

    fn is_complete(&self) -> bool {
        self.certificates.last().is_some_and(|last| last.is_self_issued())
    }

    /// If the path continues above a root that an older root once signed, and both of those have expired: the path to
    /// that root. Clients have it, so the rest is only outdated.
    fn without_old_end(&self, now: i64) -> Option<Way<'a>> {
        let has_ended = |certificate: &&Certificate| dates(certificate, "", now).is_err();
        let at = self.certificates.iter().position(&has_ended)?;
        let is_old_end = self.is_complete() && at >= 2 && self.certificates.len() - at >= 2;
        (is_old_end && self.certificates[at..].iter().all(has_ended))
            .then(|| Way::new(self.certificates[..at].to_vec(), now))
            .filter(|way| way.fault.is_none())
    }
}

/// Puts the certificates into the order in which a client follows them, and drops unrelated ones.
fn chain<'a>(
    bench: &Bench<'_>,
    leaf: &'a Certificate,
    all: &'a [Certificate],
    now: i64,
) -> Result<Vec<&'a Certificate>, Refusal> {
    let mut ways = Vec::new();
    follow(bench, &mut vec![leaf], all, &mut ways)?;
    let mut ways: Vec<Way<'_>> = ways.into_iter().map(|certificates| Way::new(certificates, now)).collect();
    // Prefer a complete path, then a shorter one.
    ways.sort_by_key(|way| (way.fault.is_some(), !way.is_complete(), way.certificates.len()));
    let best = ways.swap_remove(0);
    if let Some(fault) = &best.fault {
        return best.without_old_end(now).map(|way| way.certificates).ok_or_else(|| fault.clone());
    }
    let last = *best.certificates.last().expect("a way begins with the certificate");
    if best.is_complete() || bench.is_known_here(last)? {
        return Ok(best.certificates);
    }
    let is_used = |other: &Certificate| best.certificates.iter().any(|certificate| certificate.der == other.der);
    let has_other_root = all.iter().any(|other| other.is_self_issued() && !is_used(other));
    if best.certificates.len() > 1 && !has_other_root {
        // A chain can omit its root, which clients have.
        return Ok(best.certificates);
    }
    if all.iter().any(|other| !is_used(other) && last.issuer == other.subject) {
        return Err(format!(
            "{} was not signed by the key of the CA certificate {}: was that CA certificate renewed?",
            last.title(),
            last.issuer
        ));
    }
    if all.len() == 1 {
        return Err(format!("The chain is incomplete: send the certificate of its issuer, {}, as ca", leaf.issuer));
    }
    Err(format!("The chain is incomplete: the certificate that issued {} is missing", last.title()))
}

/// Finds every continuation of `way` after its last certificate.
fn follow<'a>(
    bench: &Bench<'_>,
    way: &mut Vec<&'a Certificate>,
    all: &'a [Certificate],
    ways: &mut Vec<Vec<&'a Certificate>>,
) -> Result<(), Refusal> {
    const MAX_LENGTH: usize = 10;
    const MAX_WAYS: usize = 32;
    let last = *way.last().expect("a way begins with the certificate");
    let mut is_end = true;
    if !last.is_self_issued() && way.len() < MAX_LENGTH {
        for issuer in all {
            let is_new = !way.iter().any(|known| known.der == issuer.der);
            if ways.len() < MAX_WAYS && is_new && last.names_issuer(issuer) && bench.is_signed_by(last, issuer)? {
                is_end = false;
                way.push(issuer);
                follow(bench, way, all, ways)?;
                way.pop();
            }
        }
    }
    if is_end {
        ways.push(way.clone());
    }
    Ok(())
}

/// Verifies the chain with openssl as a client does, for checks that only openssl has: name constraints, and anything
/// missed here.
fn whole_chain(bench: &Bench<'_>, chain: &[&Certificate]) -> Result<(), Refusal> {
    let Some((number, depth)) = bench.fault_of(chain, &[])? else { return Ok(()) };
    let whose = |depth: usize| chain.get(depth).map_or_else(String::new, |certificate| certificate.title());
    Err(match number {
        // X509_V_ERR_PERMITTED_VIOLATION to X509_V_ERR_UNSUPPORTED_NAME_SYNTAX
        47..=53 => {
            let constrained = chain.iter().find(|certificate| certificate.has_name_constraints);
            let by = constrained.map_or_else(String::new, |certificate| certificate.title());
            format!("A name of {} is outside the name constraints of the CA certificate {by}", whose(depth))
        }
        7 => format!("The signature of {} is not that of its issuer", whose(depth)),
        _ => format!("openssl refuses the certificate {} (error {number})", whose(depth)),
    })
}

fn warnings(
    bench: &Bench<'_>,
    chain: &[&Certificate],
    all: &[Certificate],
    own: &[AltName],
    now: i64,
) -> Result<Vec<String>, Refusal> {
    let leaf = chain[0];
    let mut warnings = Vec::new();
    if leaf.server_names().next().is_none() {
        warnings.push("Warning: the certificate has no subjectAltName, and browsers ignore its common name".to_owned());
    }
    let names = names(leaf);
    if !names.iter().any(|name| own.iter().any(|own| is_named(name, own))) {
        let mut text = "Warning: no name of the certificate matches this appliance:".to_owned();
        for name in &names {
            write!(text, " {name}").expect("a string takes everything");
        }
        warnings.push(text);
    }
    for name in names.iter().map(ToString::to_string).filter(|name| is_too_wide(name)) {
        warnings.push(format!("Warning: browsers ignore the name {name}: a wildcard needs two labels after it"));
    }
    for (at, certificate) in chain.iter().enumerate().filter(|(_, certificate)| certificate.days_left(now) < SOON) {
        let whose =
            if at == 0 { "the certificate".to_owned() } else { format!("the CA certificate {}", certificate.title()) };
        warnings.push(format!("Warning: {}", soon(&whose, certificate, now)));
    }
    if leaf.key == Key::P521 {
        warnings.push("Warning: the certificate has a key of the curve P-521, which Chrome refuses".to_owned());
    }
    if leaf.demands_stapling {
        warnings.push("Warning: the certificate demands OCSP stapling (must-staple), so Firefox refuses it".to_owned());
    }
    let days = (leaf.validity.1 - leaf.validity.0) / 86400;
    if days > MAX_DAYS {
        warnings.push(format!(
            "Warning: the certificate is valid for {days} days, and Safari refuses more than {MAX_DAYS}"
        ));
    }
    if leaf.authority.is_some_and(|authority| authority.is_authority) && chain.len() > 1 {
        warnings.push("Warning: the certificate is that of a CA, which some clients refuse for a server".to_owned());
    }
    for other in all.iter().filter(|other| !chain.iter().any(|certificate| certificate.der == other.der)) {
        warnings.push(format!("Left out, because it is not part of the chain: {}", other.title()));
    }
    // Some clients refuse these, browsers do not: anyExtendedKeyUsage alone, and formal errors in a private CA.
    for (options, who) in [
        (&["-purpose", "sslserver"][..], "clients that use OpenSSL, such as curl,"),
        (&["-x509_strict"], "strict clients, such as Python 3.13,"),
    ] {
        if let Some((number, _)) = bench.fault_of(chain, options)? {
            warnings.push(format!("Warning: {who} refuse this chain (openssl error {number})"));
        }
    }
    Ok(warnings)
}

/// The names of a certificate; if there are none, its common name, as old clients use it.
pub fn names(certificate: &Certificate) -> Vec<AltName> {
    let names: Vec<AltName> = certificate.server_names().cloned().collect();
    match certificate.subject.common_name() {
        Some(name) if names.is_empty() => {
            vec![name.parse().map_or_else(|_| AltName::Dns(name.to_owned()), AltName::Ip)]
        }
        _ => names,
    }
}

/// Whether a name in a certificate is one of this machine's. DNS, which may not be reachable here, decides the real
/// name, so a host name without a domain also matches the first label of a longer name.
pub fn is_named(name: &AltName, own: &AltName) -> bool {
    match (name, own) {
        (AltName::Ip(name), AltName::Ip(own)) => name == own,
        (AltName::Dns(name), AltName::Dns(own)) => {
            let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
            let (plain_name, own) = (plain(name), plain(own));
            let Some((label, rest)) = plain_name.split_once('.') else { return plain_name == own };
            let is_wildcard = label == "*" && !is_too_wide(name);
            match own.split_once('.') {
                Some((_, own_rest)) => plain_name == own || (is_wildcard && rest == own_rest),
                None => own != "localhost" && (is_wildcard || label == own),
            }
        }
        (AltName::Dns(_) | AltName::Ip(_) | AltName::Other, _) => false,
    }
}

/// Whether it is a wildcard for all of a top-level domain, such as `*.local`. Browsers and openssl ignore it.
fn is_too_wide(name: &str) -> bool {
    name.strip_prefix("*.").is_some_and(|rest| !rest.trim_end_matches('.').contains('.'))
}

/// The known names of this machine: its host name, the one in its settings, its addresses.
pub fn own_names(appliance: &Appliance) -> Vec<AltName> {
    let mut names = vec![AltName::Dns("localhost".to_owned())];
    if let Ok(host) = machine::host_name() {
        names.push(AltName::Dns(host));
    }
    let settings = appliance::read(&appliance.etc_file("network.json")).ok();
    let settings = settings.and_then(|text| Object::parse(&String::from_utf8_lossy(&text)).ok());
    if let Some(host) = settings
        .as_ref()
        .and_then(|settings| settings.get("hostname"))
        .and_then(|raw| serde_json::from_slice::<String>(raw.get().as_bytes()).ok())
    {
        names.push(AltName::Dns(host));
    }
    names.extend(addresses().into_iter().map(AltName::Ip));
    names
}

/// The addresses of this machine's interfaces, from the kernel.
fn addresses() -> Vec<IpAddr> {
    getifaddrs().into_iter().flatten().filter_map(|one| Some(machine::address(&one)?.0)).collect()
}

/// The certificate in use, as the member `certificate` of `GET /certs`; `None` if it cannot be read.
pub fn in_use(appliance: &Appliance, now: i64) -> Option<String> {
    let file = appliance::read(&appliance.certificate_file()).ok()?;
    let certificate = first(&file)?;
    let names: Vec<String> = names(&certificate).iter().map(|name| quote(&name.to_string())).collect();
    let fingerprint = certificate.fingerprint();
    let days_left = certificate.days_left(now);
    let mut json = format!(
        "{{\"subject\":{},\"issuer\":{},\"names\":[{}],\"not-before\":\"{}\",\"not-after\":\"{}\",\"days-left\":{days_left},\
         \"sha256\":\"{fingerprint}\",\"self-signed\":{},\"served\":{}",
        quote(&certificate.subject.to_string()),
        quote(&certificate.issuer.to_string()),
        names.join(","),
        iso(certificate.validity.0),
        iso(certificate.validity.1),
        certificate.is_self_issued(),
        served(appliance, &fingerprint).map_or("null", |served| if served { "true" } else { "false" }),
    );
    if days_left < SOON {
        json.push_str(",\"warning\":");
        json.push_str(&quote(&soon("The certificate", &certificate, now)));
    }
    json.push('}');
    Some(json)
}

/// Whether the web server served the certificate with this fingerprint, as `certs tend` last saw; `None` if that was
/// more than a few minutes ago.
pub fn served(appliance: &Appliance, fingerprint: &str) -> Option<bool> {
    const FRESH: Duration = Duration::from_secs(300);
    let path = appliance.etc_file("served_certificate.txt");
    let age = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok()?.elapsed().ok()?;
    let text = appliance.trimmed_text(&path)?;
    (age < FRESH).then(|| text == fingerprint)
}

/// A warning that a certificate expires soon, or has expired.
pub fn soon(whose: &str, certificate: &Certificate, now: i64) -> String {
    match certificate.days_left(now) {
        days @ ..0 => format!("{whose} expired {} days ago", -days),
        0 => format!("{whose} expires today"),
        1 => format!("{whose} expires in 1 day"),
        days => format!("{whose} expires in {days} days"),
    }
}

/// The certificates in a file; `None` if one of them is damaged.
pub fn all(bytes: &[u8]) -> Option<Vec<Certificate>> {
    pem::blocks(bytes)?
        .iter()
        .filter(|block| block.is_certificate())
        .map(|block| Certificate::parse(&block.der))
        .collect()
}

/// The first certificate in a file.
pub fn first(bytes: &[u8]) -> Option<Certificate> {
    all(bytes)?.into_iter().next()
}

/// Seconds since 1970.
pub fn now() -> i64 {
    i64::try_from(clock::now()).unwrap_or(i64::MAX)
}

/// `certificate WHAT ...`: queries of jobs and units about certificates.
pub fn command(arguments: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    let what = arguments.next().unwrap_or_default();
    let path = arguments.next().map(PathBuf::from);
    match (what.to_str(), path) {
        (Some("judge"), Some(directory)) => judge_files(&directory, Some(&own_names(appliance))),
        (Some("split"), Some(directory)) => judge_files(&directory, None),
        (Some("request"), Some(directory)) => make_request(&directory),
        (Some("fingerprint"), Some(file)) => {
            let certificate = first(&read(&file)?).ok_or("no certificate")?;
            print(&certificate.fingerprint())
        }
        (Some("served"), Some(address)) => match served_at(&address) {
            Some(certificate) => print(&certificate.fingerprint()),
            None => Err("no certificate was served".to_owned()),
        },
        (Some("own-names"), None) => {
            let names: Vec<String> = fixed_names(appliance).iter().filter_map(openssl_name).collect();
            print(&names.join(","))
        }
        // A separate status for "no", so that a failure does not make a new certificate.
        (Some("is-fit"), Some(file)) => {
            let certificate = first(&read(&file)?).ok_or("no certificate")?;
            Ok(if is_fit(&certificate, appliance) { ExitCode::SUCCESS } else { ExitCode::from(3) })
        }
        _ => Err("expected a word, and what it needs".to_owned()),
    }
}

/// Checks `appliance.pem`, `appliance.key` and `ca.pem` in a directory of a job. Writes `key.pem` and `chain.pem` there
/// and prints warnings; or prints the reason and fails.
fn judge_files(directory: &Path, own: Option<&[AltName]>) -> Result<ExitCode, String> {
    let ca = match read(&directory.join("ca.pem")) {
        Ok(ca) => ca,
        Err(_) if !directory.join("ca.pem").exists() => Vec::new(),
        Err(error) => return Err(error),
    };
    let bench = Bench(directory);
    let (public, private) = (read(&directory.join("appliance.pem"))?, read(&directory.join("appliance.key"))?);
    match judge(&bench, &public, &private, &ca, own, now()) {
        Ok(verdict) => {
            bench.put("chain.pem", verdict.chain)?;
            for warning in verdict.warnings {
                print(&warning)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            print(&reason)?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The contents of a certificate request.
pub struct Wanted {
    is_rsa: bool,
    names: Vec<AltName>,
}

impl Wanted {
    /// Parses the kind of key, and the names, which commas or white space separate.
    pub fn parse(key: &str, names: &str) -> Result<Wanted, InvalidOption> {
        const ALLOWED: &str = "1 to 50 host names or addresses";
        let is_rsa = match key.trim() {
            "" | "ec" => false,
            "rsa" => true,
            _ => return Err(InvalidOption::new("key", "ec, rsa")),
        };
        let names: Vec<&str> =
            names.split(|c: char| c == ',' || c.is_whitespace()).filter(|name| !name.is_empty()).collect();
        let names: Option<Vec<AltName>> = names.into_iter().map(alt_name).collect();
        match names {
            Some(names) if (1..=50).contains(&names.len()) => Ok(Wanted { is_rsa, names }),
            Some(_) | None => Err(InvalidOption::new("names", ALLOWED)),
        }
    }

    /// As text for the job, which reads it back with `parse`.
    pub fn to_text(&self) -> String {
        let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        format!("{}\n{}\n", if self.is_rsa { "rsa" } else { "ec" }, names.join(","))
    }
}

/// A host name (RFC 1123), optionally with a wildcard as its first label, or an address.
fn alt_name(text: &str) -> Option<AltName> {
    if let Ok(address) = text.parse() {
        return Some(AltName::Ip(address));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let rest = name.strip_prefix("*.").unwrap_or(&name);
    // A name whose last label has only digits is an incomplete address.
    let is_name = name.len() <= 253
        && rest.split('.').all(is_label)
        && !rest.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    is_name.then_some(AltName::Dns(name))
}

fn openssl_name(name: &AltName) -> Option<String> {
    match name {
        AltName::Dns(name) => Some(format!("DNS:{name}")),
        AltName::Ip(address) => Some(format!("IP:{address}")),
        AltName::Other => None,
    }
}

/// Creates a key and a request for it, `request.key` and `request.pem`, from `request.txt` in that directory.
fn make_request(directory: &Path) -> Result<ExitCode, String> {
    let bench = Bench(directory);
    let text = String::from_utf8(read(&directory.join("request.txt"))?).map_err(|error| error.to_string())?;
    let (key, names) = text.split_once('\n').unwrap_or_default();
    let wanted = Wanted::parse(key, names).map_err(|error| error.to_string())?;
    // The common name is limited to 64 characters. Clients check the other names, so it can be missing.
    let common = wanted.names.iter().map(ToString::to_string).find(|name| name.len() <= 64);
    let names: Vec<String> = wanted.names.iter().filter_map(openssl_name).collect();
    let subject = common.map_or_else(String::new, |name| format!("CN={name}\n"));
    bench.put(
        "request.cnf",
        format!(
            "[req]\nprompt=no\ndistinguished_name=subject\nreq_extensions=extensions\n[subject]\n{subject}[extensions]\nsubjectAltName={}\n\
             keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n",
            names.join(",")
        ),
    )?;
    bench.put("request.key", "")?;
    let kind = if wanted.is_rsa {
        ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    } else {
        ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    };
    let [algorithm, option, value] = kind;
    let made = bench.openssl(&["genpkey", "-algorithm", algorithm, option, value, "-out", "request.key"])?;
    let asked = bench.openssl(&[
        "req",
        "-new",
        "-sha256",
        "-key",
        "request.key",
        "-config",
        "request.cnf",
        "-out",
        "request.pem",
    ])?;
    if made.0 && asked.0 {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!("openssl: {}{}", made.2, asked.2))
}

/// The certificate that a server presents now.
fn served_at(address: &Path) -> Option<Certificate> {
    let output = Command::new("openssl")
        .args(["s_client", "-connect"])
        .arg(address)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    first(&output.stdout)
}

/// The names in our own certificate, which it must have to be kept: those by which this machine can be reached for more
/// than a day or so. Temporary addresses (RFC 8981) are excluded.
fn fixed_names(appliance: &Appliance) -> Vec<AltName> {
    let mut names = own_names(appliance);
    names.push(AltName::Ip(IpAddr::from([127, 0, 0, 1])));
    names.push(AltName::Ip(IpAddr::from(Ipv6Addr::LOCALHOST)));
    let temporary = temporary_addresses();
    let mut fixed: Vec<AltName> = Vec::new();
    for name in names {
        let is_fixed = match &name {
            AltName::Ip(IpAddr::V4(address)) => !address.is_link_local() && !address.is_unspecified(),
            AltName::Ip(IpAddr::V6(address)) => !address.is_unicast_link_local() && !temporary.contains(address),
            AltName::Dns(name) => alt_name(name).is_some(),
            AltName::Other => false,
        };
        if is_fixed && !fixed.contains(&name) {
            fixed.push(name);
        }
    }
    fixed
}

/// Addresses that the kernel changes by itself, or does not use yet or any more. A line of its table has an address,
/// the interface's number, the prefix, the scope and the flags in hexadecimal.
fn temporary_addresses() -> Vec<Ipv6Addr> {
    const TEMPORARY_DEPRECATED_TENTATIVE: u32 = 0x01 | 0x20 | 0x40;
    let table = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let flags = u32::from_str_radix(fields.get(4)?, 16).ok()?;
            let address = u128::from_str_radix(fields.first()?, 16).ok()?;
            (flags & TEMPORARY_DEPRECATED_TENTATIVE != 0).then(|| Ipv6Addr::from(address))
        })
        .collect()
}

/// Whether to keep a certificate that we made: it is valid long enough, and names this machine.
fn is_fit(certificate: &Certificate, appliance: &Appliance) -> bool {
    let names = names(certificate);
    dates(certificate, "", now()).is_ok()
        && certificate.days_left(now()) >= SOON
        && fixed_names(appliance).iter().all(|own| names.iter().any(|name| is_named(name, own)))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    appliance::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn print(line: &str) -> Result<ExitCode, String> {
    writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_as_browsers_match_it() {
        for (name, own, wanted) in [
            ("box.example", "box.example", true),
            ("BOX.example.", "box.Example", true),
            ("box.example", "other.example", false),
            ("box", "box", true),
            ("localhost", "localhost", true),
            ("localhost.example", "localhost", false),
            // A host name without its domain.
            ("box.corp.example", "box", true),
            ("other.corp.example", "box", false),
            ("*.corp.example", "box", true),
            ("*.corp.example", "localhost", false),
            ("*.corp.example", "box.corp.example", true),
            ("*.corp.example", "corp.example", false),
            ("*.corp.example", "a.box.corp.example", false),
            ("*.corp.example", "box.example", false),
            // Too wide.
            ("*.local", "box.local", false),
            ("*.LOCAL.", "box.local", false),
            ("*.local", "box", false),
            ("*", "box", false),
        ] {
            let (name, own) = (AltName::Dns(name.to_owned()), AltName::Dns(own.to_owned()));
            assert_eq!(is_named(&name, &own), wanted, "{name} {own}");
        }
    }
}
