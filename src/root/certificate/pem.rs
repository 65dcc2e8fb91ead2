//! PEM as people send it: joined, indented, with other line endings, after notes. For other formats, names the command
//! that converts them. The only file that reads certificates and keys from clients.

use crate::root::certificate::x509::{Certificate, Values};
use base64ct::{Base64, Encoding};
use der::Tag;
use std::borrow::Cow;

/// One block between BEGIN and END.
pub struct Block {
    /// The label after BEGIN.
    pub label: String,
    /// The decoded bytes.
    pub der: Vec<u8>,
    /// Whether it is encrypted with a passphrase.
    pub is_encrypted: bool,
}

impl Block {
    /// Whether it is a certificate.
    pub fn is_certificate(&self) -> bool {
        matches!(self.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE")
    }

    /// Whether it is a PKCS#7 bundle, which the CA of Windows labels as a certificate.
    pub fn is_bundle(&self) -> bool {
        matches!(self.label.as_str(), "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA") || is_bundle(&self.der)
    }

    /// Whether it is a private key that openssl can read.
    pub fn is_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY") && self.label != "OPENSSH PRIVATE KEY"
    }
}

/// The blocks in a file; `None` if one of them is damaged.
pub fn blocks(bytes: &[u8]) -> Option<Vec<Block>> {
    const DASHES: &str = "-----";
    let text = text(bytes);
    let mut rest: &str = &text;
    let mut blocks = Vec::new();
    while let Some(at) = rest.find("-----BEGIN ") {
        let after = &rest[at + "-----BEGIN ".len()..];
        let label = &after[..after.find(DASHES)?];
        let after = &after[label.len() + DASHES.len()..];
        let end = format!("-----END {label}-----");
        let body = &after[..after.find(&end)?];
        rest = &after[body.len() + end.len()..];
        let mut is_encrypted = label == "ENCRYPTED PRIVATE KEY";
        let mut base64 = String::with_capacity(body.len());
        for line in body.split(['\r', '\n']) {
            // A header, as in old encrypted keys; Base64 has no colon.
            if line.contains(':') {
                is_encrypted |= line.contains("ENCRYPTED");
                continue;
            }
            base64.extend(line.split_whitespace());
        }
        // Encrypted content is not checked, and in the old format it is not DER.
        let der = Base64::decode_vec(&base64).ok()?;
        blocks.push(Block { label: label.to_owned(), der, is_encrypted });
    }
    Some(blocks)
}

/// A file as text: without byte order marks, decoded from UTF-16, and with literal \n sequences as newlines.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    let units = |bytes: &[u8], join: fn([u8; 2]) -> u16| -> String {
        char::decode_utf16(bytes.chunks_exact(2).map(|pair| join([pair[0], pair[1]])))
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    };
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(units(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(units(rest, u16::from_be_bytes)),
        _ => String::from_utf8_lossy(bytes),
    };
    if text.contains("\\n") { Cow::Owned(text.replace("\\r", "").replace("\\n", "\n")) } else { text }
}

/// The format of a file that is not a PEM certificate or key, and how to convert it.
pub fn kind(bytes: &[u8]) -> Option<&'static str> {
    if let Some(Some(block)) = blocks(bytes).map(|blocks| blocks.into_iter().next()) {
        return match block.label.as_str() {
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Some(REQUEST),
            "OPENSSH PRIVATE KEY" => Some("a key of OpenSSH. Convert it: ssh-keygen -p -m PEM -f FILE"),
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "SSH2 PUBLIC KEY" => Some("a public key"),
            label if label.ends_with("CRL") => Some("a revocation list"),
            label if label.ends_with("PARAMETERS") => Some("a file of parameters without a key"),
            _ if block.is_bundle() => Some(BUNDLE),
            _ => None,
        };
    }
    if bytes.starts_with(b"PuTTY-User-Key-File") {
        return Some(
            "a key of PuTTY. Convert it: puttygen FILE -O private-openssh -o NEW; ssh-keygen -p -m PEM -f NEW",
        );
    }
    if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
        return Some(
            "a key store of Java. Convert it: keytool -importkeystore -srckeystore FILE -destkeystore NEW.p12 -deststoretype PKCS12; \
             openssl pkcs12 -in NEW.p12 -nodes -out NEW.pem, and send that as both",
        );
    }
    if bytes.starts_with(b"ssh-") || bytes.starts_with(b"ecdsa-") {
        return Some("a public key of OpenSSH");
    }
    if Certificate::parse(bytes).is_some() {
        return Some("DER and not PEM. Convert it: openssl x509 -inform DER -in FILE -out NEW.pem");
    }
    if is_bundle(bytes) {
        return Some("a PKCS#7 bundle. Convert it: openssl pkcs7 -inform DER -print_certs -in FILE -out NEW.pem");
    }
    let mut values = Values::of(bytes)?.enter(Tag::Sequence)?;
    match values.any()? {
        (Tag::Integer, [3]) if has_old_cipher(bytes) => Some(
            "a PKCS#12 file with an old cipher. Convert it: openssl pkcs12 -legacy -in FILE -nodes -out NEW.pem, and send that \
             as both",
        ),
        (Tag::Integer, [3]) => {
            Some("a PKCS#12 file. Convert it: openssl pkcs12 -in FILE -nodes -out NEW.pem, and send that as both")
        }
        (Tag::Integer, [0 | 1]) => Some("DER and not PEM. Convert it: openssl pkey -inform DER -in FILE -out NEW.pem"),
        (Tag::Sequence, content) => {
            let mut inner = Values::of(content)?;
            match (inner.any()?, inner.any()?) {
                ((Tag::Integer, [0]), (Tag::Sequence, _)) => Some(REQUEST),
                ((Tag::ObjectIdentifier, _), (Tag::OctetString | Tag::Sequence, _)) => {
                    Some("an encrypted key. Convert it: openssl pkcs8 -inform DER -in FILE -out NEW.pem")
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether it is PKCS#7 with certificates: 1.2.840.113549.1.7.2.
fn is_bundle(der: &[u8]) -> bool {
    const SIGNED: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
    let first = Values::of(der).and_then(|mut values| values.enter(Tag::Sequence)?.any());
    first.is_some_and(|first| first == (Tag::ObjectIdentifier, &SIGNED[..]))
}

/// How a block that is a PKCS#7 bundle is converted; openssl ignores its label.
pub const BUNDLE: &str = "a PKCS#7 bundle. Convert it: openssl pkcs7 -print_certs -in FILE -out NEW.pem";

const REQUEST: &str = "a certificate request. Send it to your CA, and send the certificate that it issues";

/// Whether a PKCS#12 file uses RC2 or RC4, which OpenSSL 3 reads only with `-legacy`: 1.2.840.113549.1.12.1.1, 2, 5 or 6.
fn has_old_cipher(bytes: &[u8]) -> bool {
    const CIPHERS: [u8; 10] = [6, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12];
    bytes.windows(12).any(|window| window.starts_with(&CIPHERS) && matches!(window[10..], [1, 1 | 2 | 5 | 6]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "-----BEGIN X-----\nAAEC\nAwQF\n-----END X-----\n";

    #[test]
    fn a_block_is_read_however_it_was_pasted() {
        let utf16 = |mark: [u8; 2], join: fn(u16) -> [u8; 2]| {
            [mark.to_vec(), PLAIN.encode_utf16().flat_map(join).collect()].concat()
        };
        for (name, bytes) in [
            ("as it is", PLAIN.into()),
            ("CRLF", PLAIN.replace('\n', "\r\n").into_bytes()),
            ("CR", PLAIN.replace('\n', "\r").into_bytes()),
            ("a mark", format!("\u{feff}{PLAIN}").into_bytes()),
            ("indented", format!("\t  {}", PLAIN.replace('\n', " \n\t  ")).into_bytes()),
            ("in one line", PLAIN.replace("C\nA", "CA").into_bytes()),
            ("two characters", PLAIN.replace('\n', "\\n").into_bytes()),
            ("four characters", PLAIN.replace('\n', "\\r\\n").into_bytes()),
            ("attributes", format!("Bag Attributes\n friendlyName: gr\u{fc}n\n{PLAIN}").into_bytes()),
            ("Latin-1 before it", [b"gr\xfcn\n", PLAIN.as_bytes()].concat()),
            ("no last line end", PLAIN.trim_end().into()),
            ("UTF-16", utf16([0xff, 0xfe], u16::to_le_bytes)),
            ("UTF-16, big", utf16([0xfe, 0xff], u16::to_be_bytes)),
        ] {
            // Twice, to find a match that follows without a newline.
            for times in [1, 2] {
                let found = blocks(&bytes.repeat(if name.starts_with("UTF") { 1 } else { times })).expect(name);
                assert!(!found.is_empty(), "{name}");
                for block in found {
                    assert_eq!(
                        (block.label.as_str(), block.der, block.is_encrypted),
                        ("X", vec![0, 1, 2, 3, 4, 5], false),
                        "{name}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_truncated_or_mismatched_block_is_damaged() {
        for text in [
            &PLAIN[..PLAIN.len() - 3],
            "-----BEGIN X-----\nA*EC\n-----END X-----",
            "-----BEGIN X-----\nAAEC\n-----END Y-----",
            "-----BEGIN X",
        ] {
            assert!(blocks(text.as_bytes()).is_none(), "{text}");
        }
        assert!(blocks(b"nothing").is_some_and(|blocks| blocks.is_empty()));
    }
}
