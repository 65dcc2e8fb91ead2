//! The API token and its tags: their syntax, and comparisons in constant time.
//!
//! The HMAC key is the *hexadecimal text* of SHA-256(token). The tag is lowercase hexadecimal over method and path
//! without query (docs/API.md).

use crate::values::rule::{InvalidOption, PRINTABLE, Rule};
use base64ct::{Base64, Encoding};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

const RULE: Rule = Rule::new("newtoken", [PRINTABLE, ""], 1, 255);

/// A token: 1 to 255 characters of ASCII 33 to 126.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Parses a token that a client chose.
    pub fn parse(text: &str) -> Result<Token, InvalidOption> {
        RULE.check(text)?;
        Ok(Token(text.to_owned()))
    }

    /// The token in a file: its first line, without a final CR. `None` for an empty file: there is no empty token, and
    /// so never an empty key. `Err` for any other invalid content: somebody set something.
    pub fn from_file(content: &[u8]) -> Result<Option<Token>, &'static str> {
        if content.trim_ascii().is_empty() {
            return Ok(None);
        }
        let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| "its first line is not UTF-8")?;
        // The ancestor may have set longer or other tokens than we accept; they keep working.
        if text.is_empty() { Err("its first line is empty") } else { Ok(Some(Token(text.to_owned()))) }
    }

    /// The token itself, for the file that the job reads.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Verifies a token: the hexadecimal text of its SHA-256, which is also the key of its tags. Its holder can sign.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Verifier(String);

impl TryFrom<String> for Verifier {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Verifier, &'static str> {
        // A shorter text, above all an empty one, would be a key that anybody can guess.
        let is_digest = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_digest { Ok(Verifier(text)) } else { Err("a verifier is 64 lower-case hexadecimal digits") }
    }
}

impl Verifier {
    pub fn of(token: &str) -> Verifier {
        Verifier(hex::encode(Sha256::digest(token.as_bytes())))
    }

    /// The key itself, to search for it where it must not be.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `guess` is the token. It is hashed first, so the time depends on neither length nor content.
    pub fn matches(&self, guess: &str) -> bool {
        // Compared as tags over nothing, because that comparison takes constant time.
        let own = self.mac(&[]).finalize().into_bytes();
        Verifier::of(guess).mac(&[]).verify(&own).is_ok()
    }

    /// The tag that signs `method` and `path`, as sent in `hash`.
    pub fn tag(&self, method: &str, path: &str) -> String {
        hex::encode(self.mac(&[method, path]).finalize().into_bytes())
    }

    /// The tag that signs a text.
    pub fn tag_of_text(&self, text: &str) -> [u8; 32] {
        self.mac(&[text]).finalize().into_bytes().into()
    }

    /// Whether `tag` signs `method` and `path`. Only lowercase hexadecimal is a tag, as for the ancestor.
    pub fn signs(&self, method: &str, path: &str, tag: &str) -> bool {
        let mut bytes = [0; 32];
        let is_tag =
            hex::decode_to_slice(tag, &mut bytes).is_ok() && !tag.bytes().any(|byte| byte.is_ascii_uppercase());
        // Compute the tag even for an invalid text, so that the response takes as long.
        self.mac(&[method, path]).verify_slice(&bytes).is_ok() && is_tag
    }

    /// Whether `tag`, in base64, signs a text.
    pub fn signs_text(&self, text: &str, tag: &str) -> bool {
        let mut bytes = [0; 32];
        let is_tag = Base64::decode(tag, &mut bytes).is_ok_and(|tag| tag.len() == 32);
        self.mac(&[text]).verify_slice(&bytes).is_ok() && is_tag
    }

    fn mac(&self, texts: &[&str]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(self.0.as_bytes()).expect("HMAC takes a key of any length");
        for text in texts {
            mac.update(text.as_bytes());
        }
        mac
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/api/v1/admin/version";

    #[test]
    fn tags_are_those_of_the_document() {
        for (token, tag) in [
            ("yourtoken", "b714a60732e096ccef06e360eefe0f1ba4fa5d16ef7da726612e2026e5523241"),
            ("testtoken", "39791be66bfbce4966b6c3feb7bfcb9118c285fa952b030a9af2fcf64f1a67ac"),
        ] {
            let token = Verifier::of(token);
            assert_eq!(token.tag("GET", PATH), tag);
            assert!(token.signs("GET", PATH, tag));
            assert!(!token.signs("POST", PATH, tag));
            assert!(!token.signs("GET", PATH, &tag.to_uppercase()));
            assert!(!token.signs("GET", PATH, &tag[1..]));
        }
    }

    #[test]
    fn no_file_gives_an_empty_key() {
        for content in ["", "\n", "\r\n", " \n"] {
            assert_eq!(Token::from_file(content.as_bytes()), Ok(None), "{content:?}");
        }
        assert_eq!(Token::from_file(b"\nsecond line"), Err("its first line is empty"));
        assert_eq!(Token::from_file(b"\xff\n"), Err("its first line is not UTF-8"));
    }

    #[test]
    fn the_token_of_a_file_is_its_first_line_as_it_is() {
        for (content, token) in [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a \n", "a "), ("a\nb\n", "a")] {
            assert_eq!(Token::from_file(content.as_bytes()).unwrap().unwrap().reveal(), token, "{content:?}");
        }
    }

    #[test]
    fn a_guess_must_be_the_whole_token() {
        let token = Verifier::of("secret");
        assert!(token.matches("secret"));
        for guess in ["", "secre", "secret ", "Secret", "secretsecret"] {
            assert!(!token.matches(guess), "{guess:?}");
        }
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(format!("{:?}", Token::parse("secret").unwrap()), "Token(..)");
        assert_eq!(format!("{:?}", Verifier::of("secret")), "Verifier(..)");
    }

    #[test]
    fn a_verifier_is_the_whole_digest_in_lowercase() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(Verifier::try_from(digest.clone()).unwrap().reveal(), digest);
        assert_eq!(Verifier::of("secret").reveal().len(), 64);
        for text in ["", "0", &digest[1..], &format!("{digest}0"), &digest.to_uppercase(), &digest.replace('f', "g")] {
            assert!(Verifier::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_the_whole_tag_over_the_same_text_signs_it() {
        let verifier = Verifier::of("secret");
        let bytes = verifier.tag_of_text("text");
        let tag = Base64::encode_string(&bytes);
        assert!(verifier.signs_text("text", &tag));
        assert!(!verifier.signs_text("texts", &tag));
        assert!(!Verifier::of("other").signs_text("text", &tag));
        let longer = [&bytes[..], b"x"].concat();
        for guess in ["", "=", &Base64::encode_string(&bytes[..31]), &Base64::encode_string(&longer), &tag[1..]] {
            assert!(!verifier.signs_text("text", guess), "{guess:?}");
        }
        // A tag that ends with a zero byte must not be valid without it.
        let ends_with_zero = |text: &String| verifier.tag_of_text(text)[31] == 0;
        let text = (0..100_000).map(|n: u32| n.to_string()).find(ends_with_zero).unwrap();
        let tag = verifier.tag_of_text(&text);
        assert!(verifier.signs_text(&text, &Base64::encode_string(&tag)));
        assert!(!verifier.signs_text(&text, &Base64::encode_string(&tag[..31])));
    }

    #[test]
    fn a_new_token_has_1_to_255_printable_characters() {
        let (longest, too_long) = ("t".repeat(255), "t".repeat(256));
        for (text, is_good) in [("t", true), (&longest, true), ("", false), (&too_long, false), ("a b", false)] {
            assert_eq!(Token::parse(text).is_ok(), is_good, "{text:?}");
        }
    }
}
