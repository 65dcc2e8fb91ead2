//! Parses a certificate (RFC 5280). The only file that reads X.509; it checks nothing.
//!
//! It tolerates what clients tolerate: unused fields, such as the serial number, and unused extensions can have any
//! content.

use crate::values::clock;
use base64ct::{Base64, Encoding};
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};
use std::net::IpAddr;

const SECONDS_A_DAY: i64 = 86400;

/// The parts of a certificate that clients use.
pub struct Certificate {
    /// The complete DER encoding.
    pub der: Vec<u8>,
    /// The part that is signed.
    pub signed: Vec<u8>,
    /// The signature over that part.
    pub signature: Vec<u8>,
    /// The signature algorithm.
    pub algorithm: Algorithm,
    /// 1 or 3.
    pub version: u8,
    pub subject: Name,
    pub issuer: Name,
    /// The first and the last second of its validity, since 1970.
    pub validity: (i64, i64),
    /// The encoded public key (`SubjectPublicKeyInfo`).
    pub key_der: Vec<u8>,
    /// The kind of that key.
    pub key: Key,
    /// The alternative names; empty without that extension.
    pub names: Vec<AltName>,
    /// The extension basicConstraints, if present.
    pub authority: Option<Authority>,
    /// The key usage, first bit highest; all bits without that extension.
    pub key_usage: u16,
    /// Whether it is allowed for TLS servers.
    pub is_for_servers: bool,
    /// Whether clients must get an OCSP response with it ("must-staple").
    pub demands_stapling: bool,
    /// Whether it constrains the names below it.
    pub has_name_constraints: bool,
    /// The identifiers of its key and of the issuer's key.
    pub key_ids: (Option<Vec<u8>>, Option<Vec<u8>>),
    /// An unknown critical extension.
    pub unknown_critical: Option<String>,
}

/// The extension basicConstraints.
#[derive(Clone, Copy)]
pub struct Authority {
    /// Whether it is a CA.
    pub is_authority: bool,
    /// Maximum number of CAs between it and a server certificate.
    pub path_length: Option<usize>,
}

/// A distinguished name, encoded and for people.
#[derive(Clone)]
pub struct Name {
    /// Its attributes in order: type and text, normalized for comparison.
    attributes: Vec<(Vec<u8>, String)>,
    text: String,
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.attributes == other.attributes
    }
}

impl Name {
    /// Whether it has no attributes.
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    pub fn common_name(&self) -> Option<&str> {
        self.attributes.iter().find(|(kind, _)| *kind == COMMON_NAME).map(|(_, text)| text.as_str())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An alternative name of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    /// A host, optionally with a wildcard as its first label.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
    /// A mail address or another type that names no server.
    Other,
}

impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AltName::Dns(name) => f.write_str(name),
            AltName::Ip(address) => write!(f, "{address}"),
            AltName::Other => Ok(()),
        }
    }
}

/// The kind of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// RSA with this many bits.
    Rsa(usize),
    /// A curve that every browser supports.
    Curve(&'static str),
    /// P-521, which some browsers support.
    P521,
    /// A curve given by explicit parameters instead of its name.
    Explicit,
    /// Any other kind, by a name for people.
    Other(&'static str),
}

/// The algorithm of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// A digest, by its name in `openssl dgst`, and a plain signature over it.
    Digest(&'static str),
    /// A digest with RSASSA-PSS.
    Pss(&'static str),
    /// An algorithm that browsers refuse, by a name for people.
    Refused(&'static str),
}

/// The values inside a constructed value.
pub struct Values<'a>(SliceReader<'a>);

impl<'a> Values<'a> {
    /// The values in this content.
    pub fn of(content: &'a [u8]) -> Option<Values<'a>> {
        // A reader cannot be empty; an empty value has no next value.
        Some(Values(SliceReader::new(content).ok()?))
    }

    /// The values inside the next value.
    pub fn enter(&mut self, tag: Tag) -> Option<Values<'a>> {
        Values::of(self.next(tag)?)
    }

    /// The content of the next value, which must have this tag.
    pub fn next(&mut self, tag: Tag) -> Option<&'a [u8]> {
        if self.0.peek_tag().ok()? != tag {
            return None;
        }
        Some(self.any()?.1)
    }

    /// The next value, of any kind.
    pub fn any(&mut self) -> Option<(Tag, &'a [u8])> {
        if self.0.is_finished() {
            return None;
        }
        let value = AnyRef::decode(&mut self.0).ok()?;
        Some((der::Tagged::tag(&value), value.value()))
    }

    /// The next value, encoded.
    fn whole(&mut self) -> Option<&'a [u8]> {
        self.0.tlv_bytes().ok()
    }
}

/// A context-specific tag, such as `[0]`.
fn context(number: u8, constructed: bool) -> Tag {
    Tag::ContextSpecific { constructed, number: der::TagNumber::new(number) }
}

const COMMON_NAME: [u8; 3] = [0x55, 4, 3];

/// The attributes with well-known abbreviations.
const ATTRIBUTES: [(&[u8], &str); 8] = [
    (&COMMON_NAME, "CN"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 7], "L"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// Extensions that can be critical because every client supports them: the last number of 2.5.29.N.
const KNOWN_CRITICAL: [u8; 10] = [15, 17, 19, 30, 31, 32, 33, 36, 37, 54];

impl Certificate {
    /// Parses the bytes of a certificate. Ignores data after it, as in openssl's "trusted certificate".
    pub fn parse(bytes: &[u8]) -> Option<Certificate> {
        let whole = Values::of(bytes)?.whole()?;
        let mut outer = Values::of(whole)?.enter(Tag::Sequence)?;
        let signed = outer.whole()?;
        let algorithm = algorithm(outer.enter(Tag::Sequence)?)?;
        let signature = outer.next(Tag::BitString)?.get(1..)?;

        let mut inner = Values::of(signed)?.enter(Tag::Sequence)?;
        let version = match inner.next(context(0, true)) {
            None => 1,
            Some(version) => Values::of(version)?.next(Tag::Integer)?.last()?.checked_add(1)?,
        };
        inner.next(Tag::Integer)?;
        inner.next(Tag::Sequence)?;
        let issuer = name(inner.next(Tag::Sequence)?)?;
        let mut validity = inner.enter(Tag::Sequence)?;
        let validity = (time(validity.any()?)?, time(validity.any()?)?);
        let subject = name(inner.next(Tag::Sequence)?)?;
        let key_der = inner.whole()?;
        let mut certificate = Certificate {
            der: whole.to_vec(),
            signed: signed.to_vec(),
            signature: signature.to_vec(),
            algorithm,
            version,
            subject,
            issuer,
            validity,
            key_der: key_der.to_vec(),
            key: key(key_der)?,
            names: Vec::new(),
            authority: None,
            key_usage: u16::MAX,
            is_for_servers: true,
            demands_stapling: false,
            has_name_constraints: false,
            key_ids: (None, None),
            unknown_critical: None,
        };
        while let Some((tag, content)) = inner.any() {
            if tag == context(3, true) {
                let mut extensions = Values::of(content)?.enter(Tag::Sequence)?;
                let mut seen: Vec<&[u8]> = Vec::new();
                while let Some((Tag::Sequence, extension)) = extensions.any() {
                    let id = certificate.extension(Values::of(extension)?)?;
                    if seen.contains(&id) {
                        return None;
                    }
                    seen.push(id);
                }
            }
        }
        Some(certificate)
    }

    /// Reads one extension, and returns its type.
    fn extension<'a>(&mut self, mut extension: Values<'a>) -> Option<&'a [u8]> {
        let id = extension.next(Tag::ObjectIdentifier)?;
        let is_critical = extension.next(Tag::Boolean).is_some_and(|value| value != [0]);
        let content = extension.next(Tag::OctetString)?;
        match id {
            [0x55, 0x1d, 14] => self.key_ids.0 = Some(Values::of(content)?.next(Tag::OctetString)?.to_vec()),
            [0x55, 0x1d, 15] => {
                let bits = Values::of(content)?.next(Tag::BitString)?;
                let byte = |at: usize| bits.get(at).copied().unwrap_or(0);
                self.key_usage = u16::from_be_bytes([byte(1), byte(2)]);
            }
            [0x55, 0x1d, 17] => {
                let mut names = Values::of(content)?.enter(Tag::Sequence)?;
                while let Some((tag, value)) = names.any() {
                    self.names.push(alternative(tag, value));
                }
            }
            [0x55, 0x1d, 19] => {
                let content = Values::of(content)?.next(Tag::Sequence)?;
                let mut constraints = Values::of(content)?;
                let is_authority = constraints.next(Tag::Boolean).is_some_and(|value| value != [0]);
                let path_length = match constraints.next(Tag::Integer) {
                    // A negative or enormous limit does not restrict anything.
                    Some([length @ 0..=0x7f]) => Some(usize::from(*length)),
                    Some(_) | None => None,
                };
                self.authority = Some(Authority { is_authority, path_length });
            }
            [0x55, 0x1d, 30] => self.has_name_constraints = true,
            // RFC 7633: a list of TLS extensions, of which 5 is the response of OCSP.
            [0x2b, 6, 1, 5, 5, 7, 1, 24] => {
                let mut features = Values::of(content)?.enter(Tag::Sequence)?;
                while let Some(feature) = features.next(Tag::Integer) {
                    self.demands_stapling |= feature == [5];
                }
            }
            [0x55, 0x1d, 35] => {
                let content = Values::of(content)?.next(Tag::Sequence)?;
                self.key_ids.1 = Values::of(content)?.next(context(0, false)).map(<[u8]>::to_vec);
            }
            [0x55, 0x1d, 37] => {
                const SERVER: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 3, 1];
                const ANY: [u8; 4] = [0x55, 0x1d, 37, 0];
                self.is_for_servers = false;
                let mut purposes = Values::of(content)?.enter(Tag::Sequence)?;
                while let Some(purpose) = purposes.next(Tag::ObjectIdentifier) {
                    self.is_for_servers |= purpose == SERVER || purpose == ANY;
                }
            }
            _ => {}
        }
        let is_known = matches!(id, [0x55, 0x1d, number] if KNOWN_CRITICAL.contains(number));
        if is_critical && !is_known {
            self.unknown_critical = Some(dotted(id));
        }
        Some(id)
    }

    /// Whether its issuer is its subject.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether names and identifiers allow that `issuer` issued it. The signature decides.
    pub fn names_issuer(&self, issuer: &Certificate) -> bool {
        let ids = (&self.key_ids.1, &issuer.key_ids.0);
        self.issuer == issuer.subject && (ids.0.is_none() || ids.1.is_none() || ids.0 == ids.1)
    }

    /// The SHA-256 of the encoding, formatted as by openssl and browsers.
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        for byte in Sha256::digest(&self.der) {
            let colon = if text.is_empty() { "" } else { ":" };
            write!(text, "{colon}{byte:02X}").expect("a string takes everything");
        }
        text
    }

    /// The names that a client compares with the requested one.
    pub fn server_names(&self) -> impl Iterator<Item = &AltName> {
        self.names.iter().filter(|name| **name != AltName::Other)
    }

    /// Its name in messages: its subject, or its first alternative name.
    pub fn title(&self) -> String {
        match self.names.first() {
            Some(name) if self.subject.is_empty() => name.to_string(),
            _ => self.subject.to_string(),
        }
    }

    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// Whole days until it expires; negative once it has expired.
    pub fn days_left(&self, now: i64) -> i64 {
        (self.validity.1 - now).div_euclid(SECONDS_A_DAY)
    }
}

pub fn pem(label: &str, bytes: &[u8]) -> String {
    let text = Base64::encode_string(bytes);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out + "-----END " + label + "-----\n"
}

/// A time as the API writes it. Times before 1970 become 1970.
pub fn iso(time: i64) -> String {
    clock::utc(u64::try_from(time).unwrap_or(0))
}

/// The kind of an encoded public key.
pub fn key(bytes: &[u8]) -> Option<Key> {
    const RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    const EC: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    const P256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let mut outer = Values::of(bytes)?.enter(Tag::Sequence)?;
    let mut algorithm = outer.enter(Tag::Sequence)?;
    let bits = outer.next(Tag::BitString)?;
    let id = algorithm.next(Tag::ObjectIdentifier)?;
    if id == RSA {
        let modulus = Values::of(bits.get(1..)?)?.enter(Tag::Sequence)?.next(Tag::Integer)?;
        let modulus = &modulus[modulus.iter().take_while(|byte| **byte == 0).count()..];
        let unused = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        return Some(Key::Rsa(modulus.len() * 8 - unused));
    }
    if id == EC {
        return Some(match algorithm.any()? {
            (Tag::ObjectIdentifier, curve) if curve == P256 => Key::Curve("P-256"),
            (Tag::ObjectIdentifier, [0x2b, 0x81, 4, 0, 34]) => Key::Curve("P-384"),
            (Tag::ObjectIdentifier, [0x2b, 0x81, 4, 0, 35]) => Key::P521,
            (Tag::ObjectIdentifier, _) => Key::Other("of a curve other than P-256 and P-384"),
            _ => Key::Explicit,
        });
    }
    Some(Key::Other(match id {
        [0x2b, 0x65, 112 | 113] => "Ed25519 or Ed448",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10] => "RSASSA-PSS alone",
        [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1] => "DSA",
        _ => "of an unknown kind",
    }))
}

fn digest(id: &[u8]) -> Option<&'static str> {
    match id {
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => Some("sha256"),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => Some("sha384"),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => Some("sha512"),
        _ => None,
    }
}

fn algorithm(mut identifier: Values<'_>) -> Option<Algorithm> {
    let id = identifier.next(Tag::ObjectIdentifier)?;
    Some(match id {
        // PKCS #1, by the last number.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] => {
            Algorithm::Digest("sha256")
        }
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] => {
            Algorithm::Digest("sha384")
        }
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] => {
            Algorithm::Digest("sha512")
        }
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10] => {
            let parameters = identifier.enter(Tag::Sequence);
            let digest = parameters
                .and_then(|mut parameters| Values::of(parameters.next(context(0, true))?)?.enter(Tag::Sequence))
                .and_then(|mut identifier| digest(identifier.next(Tag::ObjectIdentifier)?));
            digest.map_or(Algorithm::Refused("SHA-1 (RSASSA-PSS)"), Algorithm::Pss)
        }
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 2..=4] => Algorithm::Refused("MD5"),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] => {
            Algorithm::Refused("SHA-1")
        }
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 14] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1] => {
            Algorithm::Refused("SHA-224")
        }
        [0x2b, 0x65, 112 | 113] => Algorithm::Refused("Ed25519 or Ed448"),
        _ => Algorithm::Refused("an unknown algorithm"),
    })
}

fn name(content: &[u8]) -> Option<Name> {
    let mut attributes = Vec::new();
    let mut text = String::new();
    let mut sets = Values::of(content)?;
    while let Some((Tag::Set, set)) = sets.any() {
        let mut set = Values::of(set)?;
        while let Some((Tag::Sequence, attribute)) = set.any() {
            let mut attribute = Values::of(attribute)?;
            let kind = attribute.next(Tag::ObjectIdentifier)?;
            let value = string(attribute.any()?);
            let letters = ATTRIBUTES.iter().find(|(id, _)| *id == kind);
            let letters = letters.map_or_else(|| dotted(kind), |(_, letters)| (*letters).to_owned());
            let comma = if text.is_empty() { "" } else { "," };
            write!(text, "{comma}{letters}={value}").expect("a string takes everything");
            let plain: Vec<&str> = value.split_whitespace().collect();
            attributes.push((kind.to_vec(), plain.join(" ").to_lowercase()));
        }
    }
    Some(Name { attributes, text })
}

/// The text of any ASN.1 string type.
fn string((tag, value): (Tag, &[u8])) -> String {
    match tag {
        Tag::BmpString => {
            let units = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        // In practice it is Latin-1.
        Tag::TeletexString => value.iter().map(|byte| char::from(*byte)).collect(),
        _ => String::from_utf8_lossy(value).into_owned(),
    }
}

fn alternative(tag: Tag, value: &[u8]) -> AltName {
    if tag == context(2, false) {
        return AltName::Dns(String::from_utf8_lossy(value).into_owned());
    }
    if tag == context(7, false) {
        if let Ok(bytes) = <[u8; 4]>::try_from(value) {
            return AltName::Ip(IpAddr::from(bytes));
        }
        if let Ok(bytes) = <[u8; 16]>::try_from(value) {
            return AltName::Ip(IpAddr::from(bytes));
        }
    }
    AltName::Other
}

fn dotted(id: &[u8]) -> String {
    ObjectIdentifier::from_bytes(id).map_or_else(|_| "unknown".to_owned(), |id| id.to_string())
}

/// Seconds since 1970 of a `UTCTime` or a `GeneralizedTime`.
fn time((tag, value): (Tag, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        Tag::UtcTime => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        Tag::GeneralizedTime => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let field = |at: usize| rest[at..at + 2].parse::<i64>().ok();
    let (month, day, hour, minute, second) = (field(0)?, field(2)?, field(4)?, field(6)?, field(8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970, with years that start in March, as in clock.rs.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 1
            - 719_468;
    Some(days * SECONDS_A_DAY + hour * 3600 + minute * 60 + second)
}
