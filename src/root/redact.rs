//! Removes secrets from a text. The only file that does: for logs and bundles that root collects, and for callers whose
//! scope does not include secrets.
//!
//! It removes, wherever they are: the secrets of this appliance (`Secrets::of`), private keys, and values with a
//! telling name (`password=`, `"token":`, `Authorization:`, `https://user:password@host`). Everything else is
//! unchanged. The time is linear in the size of any text.

use crate::appliance::{self, Appliance};
use crate::values::json::{Object, quote};
use crate::values::shell_conf::ShellConf;
use crate::values::token::{Token, Verifier};

/// Minimum bytes of a secret to search for. A shorter one would remove half of a text; only a telling name removes it.
const MIN_SECRET: usize = 6;
/// Maximum bytes of a secret to search for; of a longer one, only its beginning.
const MAX_SECRET: usize = 1024;
/// Maximum bytes of a name before a separator.
const MAX_NAME: usize = 64;
/// Hexadecimal digits of a verifier.
const VERIFIER: usize = 64;

const REDACTED: &[u8] = b"[redacted]";
const REDACTED_KEY: &[u8] = b"[redacted private key]";

/// Name endings whose value is a secret, in lowercase.
const NAMES: [&str; 18] = [
    "pass",
    "password",
    "passphrase",
    "passwd",
    "secret",
    "token",
    "verifier",
    "credential",
    "credentials",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "accesskey",
    "secret_key",
    "secretkey",
    "private_key",
    "privatekey",
];
/// Complete names whose value is a secret.
const WHOLE_NAMES: [&str; 3] = ["hash", "cookie", "set-cookie"];
/// Headers whose value is the rest of the line, except for the scheme.
const AUTHORIZATION: [&str; 2] = ["authorization", "proxy-authorization"];

/// The secrets of an appliance, by their first byte.
pub struct Secrets(Vec<Vec<Box<[u8]>>>);

impl Secrets {
    /// No secrets.
    pub fn none() -> Secrets {
        Secrets(vec![Vec::new(); 256])
    }

    /// The secrets of this appliance, from the files that can be read: root reads all of them.
    pub fn of(appliance: &Appliance) -> Secrets {
        let mut secrets = Secrets::none();
        for path in [appliance.token_file(), appliance.setup_file()] {
            let content = appliance::read(&path).unwrap_or_default();
            secrets.add(first_line(&content));
            if let Ok(Some(token)) = Token::from_file(&content) {
                // The key of signed requests is equivalent to the token.
                secrets.add(Verifier::of(token.reveal()).reveal().as_bytes());
            }
        }
        for name in ["updates.key", "license.key"] {
            secrets.add(first_line(&appliance::read(&appliance.etc_file(name)).unwrap_or_default()));
        }
        // Also from a broken file: the holder of a verifier can sign.
        let keys = appliance::read(&appliance.keys_file()).unwrap_or_default();
        for digits in keys.split(|byte| !byte.is_ascii_hexdigit()).filter(|digits| digits.len() >= VERIFIER) {
            secrets.add(digits);
        }
        let storage = appliance::read(&appliance.etc_file("storage.json")).unwrap_or_default();
        let storage = Object::parse(&String::from_utf8_lossy(&storage)).ok();
        let storage = storage.as_ref().and_then(|root| Object::parse(root.get("storage")?.get()).ok());
        for name in ["username", "password"] {
            let value = storage.as_ref().and_then(|storage| storage.get(name));
            if let Some(value) = value.and_then(|raw| serde_json::from_slice::<String>(raw.get().as_bytes()).ok()) {
                secrets.add(value.as_bytes());
            }
        }
        let conf = appliance::read(&appliance.etc().join("storage.conf")).unwrap_or_default();
        for line in conf.split(|byte| *byte == b'\n') {
            if let Some(value) = line.strip_prefix(b"password=").or_else(|| line.strip_prefix(b"username=")) {
                secrets.add(&unquoted(value));
            }
        }
        secrets
    }

    /// Adds a secret, in each spelling that it has in files and requests.
    pub fn add(&mut self, secret: &[u8]) {
        if secret.len() < MIN_SECRET {
            return;
        }
        self.insert(secret);
        if let Ok(text) = std::str::from_utf8(secret) {
            let json = quote(text);
            self.insert(&json.as_bytes()[1..json.len() - 1]);
            if !text.contains(['\n', '\0']) {
                let mut conf = ShellConf::default();
                conf.quoted("", text);
                let line = conf.into_string();
                self.insert(&line.as_bytes()[2..line.len() - 2]);
            }
        }
        let percent = |digits: fn(u8) -> String| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let spell = |byte: &u8| if is_plain(*byte) { char::from(*byte).to_string() } else { digits(*byte) };
            secret.iter().map(spell).collect::<String>()
        };
        self.insert(percent(|byte| format!("%{byte:02X}")).as_bytes());
        self.insert(percent(|byte| format!("%{byte:02x}")).as_bytes());
    }

    fn insert(&mut self, spelling: &[u8]) {
        let spelling = &spelling[..spelling.len().min(MAX_SECRET)];
        let known = &mut self.0[usize::from(spelling[0])];
        if !known.iter().any(|other| **other == *spelling) {
            known.push(spelling.into());
        }
    }

    /// The longest secret that starts here.
    fn at(&self, text: &[u8]) -> Option<usize> {
        let first = text.first()?;
        self.0[usize::from(*first)].iter().filter(|secret| text.starts_with(secret)).map(|secret| secret.len()).max()
    }
}

fn first_line(content: &[u8]) -> &[u8] {
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The value in a line that a shell reads, with or without quotes.
fn unquoted(value: &[u8]) -> Vec<u8> {
    match value {
        [b'"', inner @ .., b'"'] => {
            let mut bytes = inner.iter();
            let mut out = Vec::new();
            while let Some(byte) = bytes.next() {
                out.push(if *byte == b'\\' { bytes.next().copied().unwrap_or(b'\\') } else { *byte });
            }
            out
        }
        [b'\'', inner @ .., b'\''] => inner.to_vec(),
        _ => value.to_vec(),
    }
}

/// A range of the text to remove.
#[derive(Clone, Copy)]
struct Mark {
    start: usize,
    end: usize,
    is_key: bool,
}

/// A text without secrets.
pub fn text(text: &[u8], secrets: &Secrets) -> Vec<u8> {
    let mut marks = known(text, secrets);
    marks.extend(private_keys(text));
    marks.extend(named(text));
    marks.sort_unstable_by_key(|mark| mark.start);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    let mut marks = marks.into_iter().peekable();
    while let Some(mut mark) = marks.next() {
        while let Some(next) = marks.next_if(|next| next.start < mark.end) {
            mark = Mark { start: mark.start, end: mark.end.max(next.end), is_key: mark.is_key || next.is_key };
        }
        out.extend_from_slice(&text[at..mark.start]);
        out.extend_from_slice(if mark.is_key { REDACTED_KEY } else { REDACTED });
        at = mark.end;
    }
    out.extend_from_slice(&text[at..]);
    out
}

/// A valid JSON text without secrets: members with a telling name get another value, and other strings are searched.
/// Members keep their order.
pub fn json(text: &str, secrets: &Secrets) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'"' {
            let end = bytes[at..].iter().position(|byte| *byte == b'"').map_or(bytes.len(), |n| at + n);
            out.push_str(&text[at..end]);
            at = end;
            continue;
        }
        let end = end_of_string(bytes, at);
        let raw = &text[at..end];
        let value: String = serde_json::from_slice(raw.as_bytes()).unwrap_or_default();
        let clean = self::text(value.as_bytes(), secrets);
        if clean == value.as_bytes() {
            out.push_str(raw);
        } else {
            out.push_str(&quote(&String::from_utf8_lossy(&clean)));
        }
        at = end;
        let gap = bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if bytes.get(at + gap) == Some(&b':') && is_secret_name(value.as_bytes()) {
            let start = at + gap + 1;
            let start = start + bytes[start..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            out.push_str(&text[at..start]);
            at = end_of_value(bytes, start);
            // An absent value is not a secret.
            let value = &text[start..at];
            out.push_str(if matches!(value, "null" | "\"\"") { value } else { "\"[redacted]\"" });
        }
    }
    out
}

/// Where the JSON string that starts here ends.
fn end_of_string(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// Where the JSON value that starts here ends.
fn end_of_value(text: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < text.len() {
        match text[at] {
            b'"' => {
                at = end_of_string(text, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    at
}

/// The known secrets. Overlapping ones are removed together.
fn known(text: &[u8], secrets: &Secrets) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for start in 0..text.len() {
        let Some(length) = secrets.at(&text[start..]) else { continue };
        let end = start + length;
        match marks.last_mut() {
            Some(last) if start < last.end => last.end = last.end.max(end),
            Some(_) | None => marks.push(Mark { start, end, is_key: false }),
        }
    }
    marks
}

/// Private keys: from their first line to their last, or to the end of the text. If a key's first line was cut off,
/// removes the lines before its last that look like key data.
fn private_keys(text: &[u8]) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut begin = None;
    let mut done = 0;
    let mut at = 0;
    while let Some(n) = text[at..].iter().position(|byte| *byte == b'-') {
        at += n;
        if let Some(length) = armor(&text[at..], b"-----BEGIN ") {
            begin = begin.or(Some(at));
            at += length;
        } else if let Some(length) = armor(&text[at..], b"-----END ") {
            let start = begin.take().unwrap_or_else(|| start_of_cut_key(text, done, at));
            at += length;
            done = at;
            marks.push(Mark { start, end: at, is_key: true });
        } else {
            at += 1;
        }
    }
    marks.extend(begin.map(|start| Mark { start, end: text.len(), is_key: true }));
    marks
}

/// The length of a line such as `-----BEGIN RSA PRIVATE KEY-----`.
fn armor(text: &[u8], beginning: &[u8]) -> Option<usize> {
    let label = text.strip_prefix(beginning)?;
    let n = label.iter().take(MAX_NAME).take_while(|byte| is_label(**byte)).count();
    let is_private = label[..n].windows(11).any(|words| words == b"PRIVATE KEY");
    let dashes = label[n..].iter().take(5).take_while(|byte| **byte == b'-').count();
    is_private.then_some(beginning.len() + n + dashes)
}

fn is_label(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' '
}

fn start_of_cut_key(text: &[u8], from: usize, end: usize) -> usize {
    let is_part = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.len() <= 80 && line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=,:- ".contains(byte))
    };
    let mut start = end;
    // Line by line, toward the beginning; a text that ends with our last line also starts with it.
    while start > from {
        let before = text[from..start].strip_suffix(b"\n").unwrap_or(&text[from..start]);
        let line = before.iter().rposition(|byte| *byte == b'\n').map_or(from, |n| from + n + 1);
        if !is_part(&text[line..from + before.len()]) {
            break;
        }
        start = line;
    }
    start
}

/// Values with a telling name.
fn named(text: &[u8]) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    let mut covered = 0;
    for at in 0..text.len() {
        if at < covered {
            continue;
        }
        let value = match text[at] {
            b'=' | b':' => value_of_name(text, at).or_else(|| password_of_url(text, at)),
            b'>' => value_of_element(text, at),
            _ => None,
        };
        if let Some((start, end)) = value.filter(|(start, end)| start < end) {
            // Text that was already removed stays as it is.
            if !text[start..end].starts_with(b"[redacted") {
                marks.push(Mark { start, end, is_key: false });
            }
            covered = end;
        }
    }
    marks
}

/// The name that ends here, in lowercase.
fn name_before(text: &[u8], end: usize) -> Vec<u8> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(*byte, b'_' | b'-' | b'.');
    let length = text[..end].iter().rev().take(MAX_NAME).take_while(|byte| is_name(byte)).count();
    text[end - length..end].to_ascii_lowercase()
}

fn is_secret_name(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|end| name.ends_with(end.as_bytes())) || WHOLE_NAMES.iter().any(|whole| name == whole.as_bytes())
}

fn n_blanks(text: &[u8]) -> usize {
    text.iter().take(8).take_while(|byte| matches!(**byte, b' ' | b'\t')).count()
}

/// The value after the separator at `at`, if the name before it is telling.
fn value_of_name(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let blanks = text[..at].iter().rev().take(8).take_while(|byte| matches!(**byte, b' ' | b'\t')).count();
    let mut end = at - blanks;
    // A quote after the name; with a backslash if the text is itself a JSON string.
    if text[..end].ends_with(b"\"") || text[..end].ends_with(b"'") {
        end -= 1;
        end -= usize::from(text[..end].ends_with(b"\\"));
    }
    let name = name_before(text, end);
    let is_authorization = AUTHORIZATION.iter().any(|header| name == header.as_bytes());
    if !is_authorization && !is_secret_name(&name) {
        return None;
    }
    let mut start = at + 1;
    start += usize::from(text[start..].starts_with(b">"));
    start += n_blanks(&text[start..]);
    let until =
        |ends: fn(u8) -> bool| start + text[start..].iter().position(|byte| ends(*byte)).unwrap_or(text.len() - start);
    let (start, end) = match quoted(&text[start..]) {
        Some((open, close)) => (start + open, start + close),
        None if is_authorization || name.ends_with(b"cookie") => (start, until(ends_line)),
        None => (start, until(|byte| ends_line(byte) || b"]&\"' ;,}[\t<".contains(&byte))),
    };
    if !is_authorization {
        return Some((start, end));
    }
    // The scheme names the kind of secret, and is not one.
    let word = text[start..end].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
    let blanks = n_blanks(&text[start + word..end]);
    Some(if blanks > 0 && start + word + blanks < end { (start + word + blanks, end) } else { (start, end) })
}

fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Where the inside of a quoted value starts and ends. Without a closing quote, it is the rest of the line.
fn quoted(text: &[u8]) -> Option<(usize, usize)> {
    let (open, quote): (usize, &[u8]) = match text {
        [b'"', ..] => (1, b"\""),
        [b'\'', ..] => (1, b"'"),
        [b'\\', b'"', ..] => (2, b"\\\""),
        [b'\\', b'\'', ..] => (2, b"\\'"),
        _ => return None,
    };
    let mut at = open;
    while at < text.len() && !ends_line(text[at]) && !text[at..].starts_with(quote) {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    Some((open, at.min(text.len())))
}

/// The password of `://user:password@host`, whose second colon is at `at`.
fn password_of_url(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let is_part = |byte: &u8| !byte.is_ascii_whitespace() && !b"/@?#\"'<>".contains(byte);
    let user = text[..at].iter().rev().take(256).take_while(|byte| is_part(byte) && **byte != b':').count();
    if !text[..at - user].ends_with(b"://") {
        return None;
    }
    let length = text[at + 1..].iter().take(MAX_SECRET).take_while(|byte| is_part(byte)).count();
    (text.get(at + 1 + length) == Some(&b'@')).then_some((at + 1, at + 1 + length))
}

/// The text of `<password>...</password>`, whose first `>` is at `at`.
fn value_of_element(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let name = name_before(text, at);
    if !is_secret_name(&name) || !text[..at - name.len()].ends_with(b"<") {
        return None;
    }
    let start = at + 1;
    let length = text[start..].iter().position(|byte| matches!(byte, b'<' | b'\n')).unwrap_or(text.len() - start);
    Some((start, start + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(input: &str) -> String {
        let mut secrets = Secrets::none();
        secrets.add(b"canary$\"1");
        String::from_utf8(text(input.as_bytes(), &secrets)).unwrap()
    }

    #[test]
    fn values_with_secret_names_are_redacted_and_nothing_else() {
        for (input, output) in [
            ("GET /x?token=abc HTTP/1.1", "GET /x?token=[redacted] HTTP/1.1"),
            ("/x?a=b&hash=0123&c=d", "/x?a=b&hash=[redacted]&c=d"),
            ("git hash 0123, checksum=12", "git hash 0123, checksum=12"),
            ("newtoken=a\ntoken: b\n", "newtoken=[redacted]\ntoken: [redacted]\n"),
            (r#"{"password":"a b\"c","x":1}"#, r#"{"password":"[redacted]","x":1}"#),
            (r#""{\"password\": \"a b\",\"x\":1}""#, r#""{\"password\": \"[redacted]\",\"x\":1}""#),
            ("password = 'with space' end", "password = '[redacted]' end"),
            ("password=\"never closed\nnext", "password=\"[redacted]\nnext"),
            ("DB_PASSWORD=x PATH=/bin", "DB_PASSWORD=[redacted] PATH=/bin"),
            (":pass => 'x'", ":pass => '[redacted]'"),
            ("api_key: x, access_key=y", "api_key: [redacted], access_key=[redacted]"),
            ("Authorization: Bearer a b\r\nHost: c", "Authorization: Bearer [redacted]\r\nHost: c"),
            ("authorization: raw", "authorization: [redacted]"),
            (r#""Authorization": "Basic eA==", "x""#, r#""Authorization": "Basic [redacted]", "x""#),
            ("Cookie: a=b; c=d\nx", "Cookie: [redacted]\nx"),
            ("https://user:pa55@host:443/x a:b@c", "https://user:[redacted]@host:443/x a:b@c"),
            ("http://host:80/a@b", "http://host:80/a@b"),
            ("<password>a</password><a>b</a>", "<password>[redacted]</password><a>b</a>"),
            ("password=[redacted] token=", "password=[redacted] token="),
            ("a canary$\"1canary$\"1 b", "a [redacted][redacted] b"),
            (r#"canary$\"1 canary\$\"1 canary%24%221"#, "[redacted] [redacted] [redacted]"),
        ] {
            assert_eq!(clean(input), output, "{input}");
        }
    }

    #[test]
    fn a_private_key_goes_however_much_of_it_is_there() {
        let key =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nQ0FO\nQVJZ\n-----END RSA PRIVATE KEY-----";
        for (input, output) in [
            (format!("a\n{key}\nb"), "a\n[redacted private key]\nb"),
            (format!("a {} b", key.replace('\n', "\\n")), "a [redacted private key] b"),
            (format!("a\n{}", &key[..60]), "a\n[redacted private key]"),
            (format!("{}\nb", &key[45..]), "[redacted private key]\nb"),
            (format!("[1] text\n{}\nb", &key[60..]), "[1] text\n[redacted private key]\nb"),
            ("-----BEGIN CERTIFICATE-----\nx".to_owned(), "-----BEGIN CERTIFICATE-----\nx"),
        ] {
            assert_eq!(clean(&input), output, "{input}");
        }
    }

    #[test]
    fn redacted_json_stays_json_and_loses_the_values_of_secret_names() {
        let mut secrets = Secrets::none();
        secrets.add(b"canary-1");
        for (input, output) in [
            (r#"{"a":1,"password":"x","b":[true]}"#, r#"{"a":1,"password":"[redacted]","b":[true]}"#),
            (r#"{"db_password":{"a":["}"]},"b":2}"#, r#"{"db_password":"[redacted]","b":2}"#),
            (
                r#"{"token":12,"secret":[1,"]"],"pass":null}"#,
                r#"{"token":"[redacted]","secret":"[redacted]","pass":null}"#,
            ),
            (
                r#"{"url":"https://u:p@h","say":"x\\canary-1\"y"}"#,
                r#"{"url":"https://u:[redacted]@h","say":"x\\[redacted]\"y"}"#,
            ),
            (r#"["password",{"p\u0061ssword":"x"}]"#, r#"["password",{"p\u0061ssword":"[redacted]"}]"#),
        ] {
            assert_eq!(json(input, &secrets), output);
            assert!(crate::values::json::is_valid(output));
        }
    }

    /// Secrets of any bytes at any place of any text are removed, and everything else stays.
    #[test]
    fn no_secret_comes_out_of_any_text_and_the_rest_does() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap() % n
        };
        for round in 0..2000 {
            let alphabet: &[u8] = [&b"ab"[..], b"xyz01 \n", b"\x00\xff\xc3\xa4\n-"][next(3)];
            let mut bytes = |n: usize| (0..n).map(|_| alphabet[next(alphabet.len())]).collect::<Vec<u8>>();
            let mut secrets = Secrets::none();
            let canaries: Vec<Vec<u8>> = (0..3).map(|n| [&bytes(6 + 4 * n)[..], b"!"].concat()).collect();
            for canary in &canaries {
                secrets.add(canary);
            }
            let (mut input, mut expected) = (Vec::new(), Vec::new());
            for n in 0..6 {
                // Without the mark that ends each canary, so that none occurs by chance.
                let rest = bytes(n * 3);
                input.extend_from_slice(&rest);
                expected.extend_from_slice(&rest);
                if n < 5 {
                    input.extend_from_slice(&canaries[n % 3]);
                    expected.push(b'!');
                }
            }
            let output = text(&input, &secrets);
            for canary in &canaries {
                assert!(
                    !output.windows(canary.len()).any(|window| window == canary),
                    "round {round}: {}",
                    input.escape_ascii()
                );
            }
            // The beginning of a canary can be the end of the text before it; then the longer one is removed.
            let kept: Vec<u8> = String::from_utf8_lossy(&output).replace("[redacted]", "!").into_bytes();
            let expected = String::from_utf8_lossy(&expected).into_owned().into_bytes();
            assert_eq!(kept, expected, "round {round}: {}", input.escape_ascii());
        }
    }

    /// Texts that are slow for a search that restarts at each byte. The test ends because the time is linear.
    #[test]
    fn a_large_text_of_any_kind_ends_soon() {
        let mut secrets = Secrets::none();
        secrets.add(&b"a".repeat(255));
        for piece in [
            "password:",
            "password=\"",
            "a",
            "-----BEGIN PRIVATE KEY",
            "-----END PRIVATE KEY-----\n",
            "://a:",
            "\\\"",
            "token=x ",
        ] {
            let input = piece.repeat((1 << 20) / piece.len());
            assert!(text(input.as_bytes(), &secrets).len() <= input.len() * 3, "{piece}");
        }
    }
}
