//! Signed requests that nobody can replay: HTTP Message Signatures (RFC 9421) with `hmac-sha256`.
//!
//! The signature covers method, path and query. It covers the body by its `Content-Digest` (RFC 9530) or, for a client
//! that streams a form, by a `Part-Digest` over each field. `created` and `nonce` make it valid only once.

use base64ct::{Base64, Encoding};

/// Maximum difference between the clocks of client and appliance, in seconds.
pub const MAX_SKEW: u64 = 300;
/// Components that a signature must cover.
const REQUIRED: [&str; 3] = ["@method", "@path", "@query"];

/// Why a signature failed, as a text for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault(pub &'static str);

/// The parts of a request that a signature can cover.
pub struct Message<'a> {
    /// `@method`
    pub method: &'a str,
    /// `@path`, as sent.
    pub path: &'a str,
    /// `@query`, without its `?`.
    pub query: &'a str,
    /// `@authority`: the `Host`.
    pub host: &'a str,
    /// Headers by their names in lowercase; empty if absent.
    pub header: &'a dyn Fn(&str) -> String,
}

/// How a signature covers the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyProof {
    /// Not at all: there must be no body.
    Nothing,
    /// As a whole, by its SHA-256 in base64.
    Whole(String),
    /// Each form field, by name and SHA-256 in base64.
    Fields(Vec<(String, String)>),
}

/// A parsed signature that is not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// `keyid`, the name of the key; `None` if absent.
    pub key: Option<String>,
    /// `created`, in seconds since 1970.
    pub created: u64,
    /// `expires`, in seconds since 1970, if present.
    pub expires: Option<u64>,
    /// `nonce`, different for each request.
    pub nonce: String,
    /// The text that is signed.
    pub base: String,
    /// The tag over that text, in base64.
    pub tag: String,
    /// How the body is covered.
    pub proof: BodyProof,
    /// Whether `content-type` is covered.
    pub covers_type: bool,
}

impl Signature {
    /// Parses the headers of a signed request; `Err` says what is missing, as a text for the client.
    pub fn parse(message: &Message<'_>) -> Result<Signature, &'static str> {
        let input = (message.header)("signature-input");
        let (label, parameters) = input.split_once('=').ok_or("Signature-Input is not label=(...)")?;
        let label = label.trim();
        let list = parameters.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let (components, rest) = list.ok_or("Signature-Input is not label=(...)")?;
        if rest.contains(',') {
            return Err("Signature-Input must have one signature");
        }
        let mut base = String::new();
        let mut covered = Vec::new();
        for component in components.split(' ').filter(|component| !component.is_empty()) {
            let name = component.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
            let name = name.ok_or("A component of Signature-Input is not a quoted name")?;
            if covered.contains(&name) {
                return Err("A component of Signature-Input occurs twice");
            }
            base.extend([component, ": ", &value(message, name)?, "\n"]);
            covered.push(name);
        }
        base.extend(["\"@signature-params\": ", parameters]);
        if REQUIRED.iter().any(|name| !covered.contains(name)) {
            return Err("The signature must cover @method, @path and @query");
        }

        let mut signature = Signature {
            key: None,
            created: 0,
            expires: None,
            nonce: String::new(),
            base,
            tag: tag(&(message.header)("signature"), label).ok_or("Signature has no value with this label")?,
            proof: proof(message, &covered)?,
            covers_type: covered.contains(&"content-type"),
        };
        for parameter in rest.split(';').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').ok_or("A parameter of Signature-Input has no value")?;
            let text = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            match (name, text) {
                ("created", None) => {
                    signature.created = value.parse().map_err(|_| "created is not a number of seconds")?;
                }
                ("expires", None) => {
                    signature.expires = Some(value.parse().map_err(|_| "expires is not a number of seconds")?);
                }
                ("nonce", Some(nonce)) => nonce.clone_into(&mut signature.nonce),
                ("keyid", Some(key)) => signature.key = Some(key.to_owned()),
                ("alg", Some("hmac-sha256")) => {}
                ("alg", _) => return Err("alg must be hmac-sha256"),
                ("created" | "expires" | "nonce" | "keyid", _) => {
                    return Err("A parameter of Signature-Input has the wrong type");
                }
                // `tag` is weaker than our requirements anyway.
                _ => {}
            }
        }
        if signature.created == 0 || !(8..=128).contains(&signature.nonce.len()) {
            return Err("Signature-Input needs created, and a nonce of 8 to 128 characters");
        }
        Ok(signature)
    }
}

/// The value of a component in the text that is signed (RFC 9421, section 2).
fn value(message: &Message<'_>, name: &str) -> Result<String, &'static str> {
    Ok(match name {
        "@method" => message.method.to_owned(),
        "@path" => message.path.to_owned(),
        "@query" => format!("?{}", message.query),
        "@authority" => message.host.to_ascii_lowercase(),
        "content-digest" | "content-type" | "content-length" | "part-digest" | "upload-complete" | "upload-offset" => {
            (message.header)(name).trim().to_owned()
        }
        _ => return Err("The signature covers a component that is not supported here"),
    })
}

fn proof(message: &Message<'_>, covered: &[&str]) -> Result<BodyProof, &'static str> {
    if covered.contains(&"content-digest") {
        return digest(&(message.header)("content-digest")).map(BodyProof::Whole);
    }
    if covered.contains(&"part-digest") {
        let fields = dictionary(&(message.header)("part-digest")).ok_or("Part-Digest is not field=:base64:")?;
        return Ok(BodyProof::Fields(fields));
    }
    Ok(BodyProof::Nothing)
}

/// The SHA-256 in base64 that a `Content-Digest` tells.
pub fn digest(header: &str) -> Result<String, &'static str> {
    let digests = dictionary(header).ok_or("Content-Digest is not name=:base64:")?;
    let digest = digests.into_iter().find(|(name, _)| name == "sha-256").ok_or("Content-Digest has no sha-256")?;
    Ok(digest.1)
}

fn tag(header: &str, label: &str) -> Option<String> {
    dictionary(header)?.into_iter().find(|(name, _)| name == label).map(|(_, value)| value)
}

/// The members of a dictionary of byte sequences (RFC 8941, section 3.2): `a=:base64:, b=:base64:`.
fn dictionary(header: &str) -> Option<Vec<(String, String)>> {
    let member = |member: &str| {
        let (name, value) = member.trim().split_once('=')?;
        let value = value.strip_prefix(':')?.strip_suffix(':')?;
        Some((name.to_owned(), value.to_owned()))
    };
    header.split(',').map(member).collect()
}

/// Bytes as these headers encode them.
pub fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(input: &str) -> Result<Signature, &'static str> {
        let header = |name: &str| match name {
            "signature-input" => input.to_owned(),
            "signature" => "sig=:dGFn:, other=:eA==:".to_owned(),
            "content-digest" => "sha-512=:eA==:, sha-256=:eQ==:".to_owned(),
            "part-digest" => "update=:eg==:".to_owned(),
            _ => String::new(),
        };
        Signature::parse(&Message { method: "GET", path: "/x", query: "a=1", host: "Box:8443", header: &header })
    }

    #[test]
    fn the_text_that_is_signed_is_that_of_the_standard() {
        let input = r#"sig=("@method" "@path" "@query" "@authority" "content-digest");created=1618884473;nonce="12345678";keyid="ops""#;
        let signature = parse(input).unwrap();
        assert_eq!(
            signature.base,
            "\"@method\": GET\n\"@path\": /x\n\"@query\": ?a=1\n\"@authority\": box:8443\n\"content-digest\": sha-512=:eA==:, sha-256=:eQ==:\n\
             \"@signature-params\": (\"@method\" \"@path\" \"@query\" \"@authority\" \"content-digest\");created=1618884473;nonce=\"12345678\";keyid=\"ops\""
        );
        assert_eq!(
            (signature.created, signature.nonce.as_str(), signature.key.as_deref()),
            (1_618_884_473, "12345678", Some("ops"))
        );
        assert_eq!((signature.tag.as_str(), signature.proof), ("dGFn", BodyProof::Whole("eQ==".to_owned())));
    }

    #[test]
    fn each_fault_is_named() {
        const WELL: &str = r#";created=1;nonce="12345678""#;
        for (input, fault) in [
            ("", "Signature-Input is not label=(...)"),
            ("sig=x", "Signature-Input is not label=(...)"),
            (&format!(r#"sig=("@method" "@path"){WELL}"#), "The signature must cover @method, @path and @query"),
            (
                &format!(r#"sig=("@method" "@path" "@query" "x"){WELL}"#),
                "The signature covers a component that is not supported here",
            ),
            (
                &format!(r#"sig=("@method" "@path" "@query" "@query"){WELL}"#),
                "A component of Signature-Input occurs twice",
            ),
            (
                &format!(r#"sig=("@method" "@path" "@query" @method){WELL}"#),
                "A component of Signature-Input is not a quoted name",
            ),
            (&format!(r#"sig=("@method" "@path" "@query"){WELL}, b=()"#), "Signature-Input must have one signature"),
            (&format!(r#"nosig=("@method" "@path" "@query"){WELL}"#), "Signature has no value with this label"),
            (
                r#"sig=("@method" "@path" "@query");nonce="12345678""#,
                "Signature-Input needs created, and a nonce of 8 to 128 characters",
            ),
            (
                r#"sig=("@method" "@path" "@query");created=1;nonce="1234567""#,
                "Signature-Input needs created, and a nonce of 8 to 128 characters",
            ),
            (&format!(r#"sig=("@method" "@path" "@query"){WELL};expires=-1"#), "expires is not a number of seconds"),
            (
                &format!(r#"sig=("@method" "@path" "@query"){WELL};expires="1""#),
                "A parameter of Signature-Input has the wrong type",
            ),
            (r#"sig=("@method" "@path" "@query");created=x;nonce="12345678""#, "created is not a number of seconds"),
            (&format!(r#"sig=("@method" "@path" "@query"){WELL};alg="none""#), "alg must be hmac-sha256"),
            (
                &format!(r#"sig=("@method" "@path" "@query"){WELL};keyid=7"#),
                "A parameter of Signature-Input has the wrong type",
            ),
        ] {
            assert_eq!(parse(input), Err(fault), "{input}");
        }
    }

    #[test]
    fn the_components_of_a_signature_decide_how_the_body_is_verified() {
        let whole = || BodyProof::Whole("eQ==".to_owned());
        let fields = BodyProof::Fields(vec![("update".to_owned(), "eg==".to_owned())]);
        for (covered, proof, covers_type) in [
            ("", BodyProof::Nothing, false),
            (r#""content-length" "upload-offset" "upload-complete""#, BodyProof::Nothing, false),
            (r#""content-type""#, BodyProof::Nothing, true),
            (r#""content-digest""#, whole(), false),
            (r#""content-digest" "content-type""#, whole(), true),
            (r#""part-digest""#, fields, false),
            (r#""part-digest" "content-digest""#, whole(), false),
        ] {
            let input = format!(r#"sig=("@method" "@path" "@query" {covered});created=1;nonce="12345678""#);
            let signature = parse(&input).unwrap();
            assert_eq!((signature.proof, signature.covers_type), (proof, covers_type), "{covered}");
        }
    }

    #[test]
    fn bytes_are_encoded_in_base64_with_padding() {
        assert_eq!([base64(b""), base64(b"\x00\xff")], ["", "AP8="]);
    }

    #[test]
    fn parameters_are_those_of_the_header() {
        let with = |parameters: &str| parse(&format!(r#"sig=("@method" "@path" "@query"){parameters}"#));
        let signature = with(r#";created=7;expires=9;nonce="12345678";alg="hmac-sha256";keyid="a";tag="x""#).unwrap();
        assert_eq!((signature.created, signature.expires, signature.key.as_deref()), (7, Some(9), Some("a")));
        let signature = with(r#";created=7;nonce="12345678""#).unwrap();
        assert_eq!((signature.expires, signature.key), (None, None));
        for (length, is_good) in [(7, false), (8, true), (128, true), (129, false)] {
            let nonce = "n".repeat(length);
            assert_eq!(with(&format!(r#";created=7;nonce="{nonce}""#)).is_ok(), is_good, "{length}");
        }
        for parameters in [
            r#";created="7";nonce="12345678""#,
            r";created=7;nonce=12345678",
            r#";created=7;expires="9";nonce="12345678""#,
        ] {
            assert_eq!(with(parameters), Err("A parameter of Signature-Input has the wrong type"), "{parameters}");
        }
        assert_eq!(with(r#";created=7;nonce="12345678";alg=1"#), Err("alg must be hmac-sha256"));
        assert_eq!(
            with(r#";created=0;nonce="12345678""#),
            Err("Signature-Input needs created, and a nonce of 8 to 128 characters")
        );
    }
}
