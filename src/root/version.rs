//! Versions of the appliance: their syntax, and which of two is newer. The only file that compares them.
//!
//! Two semantic versions (semver.org 2.0.0, with an optional `v`) are compared by semantic precedence: `2.0.0-rc.1` is
//! older than `2.0.0`, and build metadata does not count. Others are compared as by `sort -V` of coreutils, which
//! earlier releases used for all.

use crate::appliance::Appliance;
use crate::root::commands::Arguments;
use std::cmp::Ordering;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Maximum length of a version.
const MAX_LENGTH: usize = 64;

/// A version: 1 to 64 letters, digits and `._+~:-`, so it means nothing in JSON, in a shell or as a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// Parses a version, with or without surrounding white space.
    pub fn parse(text: &str) -> Option<Version> {
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~:-".contains(&byte);
        ((1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(is_part)).then(|| Version(text.to_owned()))
    }

    /// Reads the first line of a file.
    pub fn of_file(content: &[u8]) -> Option<Version> {
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        let line = content.split(|byte| *byte == b'\n').next()?;
        Version::parse(std::str::from_utf8(line).ok()?)
    }

    /// Whether this version is older, equal, or newer.
    pub fn compare(&self, other: &Version) -> Ordering {
        match (Semantic::parse(&self.0), Semantic::parse(&other.0)) {
            (Some(own), Some(other)) => own.compare(&other),
            (Some(_) | None, _) => natural(self.0.as_bytes(), other.0.as_bytes()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A semantic version, without its build metadata.
struct Semantic<'a> {
    numbers: [&'a str; 3],
    pre_release: Option<&'a str>,
}

impl Semantic<'_> {
    fn parse(text: &str) -> Option<Semantic<'_>> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (text, pre_release) = text.split_once('-').map_or((text, None), |(text, pre)| (text, Some(pre)));
        let mut parts = text.split('.');
        let numbers = [parts.next()?, parts.next()?, parts.next()?];
        let is_identifier =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_whole = parts.next().is_none()
            && numbers.iter().all(|part| is_number(part))
            && build.is_none_or(|build| build.split('.').all(is_identifier))
            // A number has no leading zeros.
            && pre_release.is_none_or(|pre| {
                pre.split('.').all(|part| is_identifier(part) && (!is_digits(part) || is_number(part)))
            });
        is_whole.then_some(Semantic { numbers, pre_release })
    }

    fn compare(&self, other: &Semantic<'_>) -> Ordering {
        let numbers = self.numbers.iter().zip(&other.numbers).map(|(one, other)| compare_numbers(one, other));
        let numbers = numbers.fold(Ordering::Equal, Ordering::then);
        numbers.then_with(|| match (self.pre_release, other.pre_release) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(own), Some(other)) => compare_pre_releases(own, other),
        })
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    is_digits(text) && (text == "0" || !text.starts_with('0'))
}

/// Compares two numbers of any length, without leading zeros.
fn compare_numbers(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

fn compare_pre_releases(one: &str, other: &str) -> Ordering {
    let (mut own, mut others) = (one.split('.'), other.split('.'));
    loop {
        let order = match (own.next(), others.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(other)) => match (is_digits(one), is_digits(other)) {
                (true, true) => compare_numbers(one, other),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => one.cmp(other),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// As `sort -V` of coreutils: first without suffixes such as `.tar.gz`, then with them.
pub fn natural(one: &[u8], other: &[u8]) -> Ordering {
    for special in [&b""[..], b".", b".."] {
        match (one == special, other == special) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
    }
    match (one[0] == b'.', other[0] == b'.') {
        (true, false) => return Ordering::Less,
        (false, true) => return Ordering::Greater,
        (true, true) | (false, false) => {}
    }
    let (short, other_short) = (without_suffix(one), without_suffix(other));
    let order = compare_runs(short, other_short);
    if order != Ordering::Equal || (short.len() == one.len() && other_short.len() == other.len()) {
        return order;
    }
    compare_runs(one, other)
}

fn without_suffix(text: &[u8]) -> &[u8] {
    let mut at = 0;
    loop {
        if at == text.len() {
            return text;
        }
        at += 1;
        let length = at;
        while at + 1 < text.len() && text[at] == b'.' && (text[at + 1].is_ascii_alphabetic() || text[at + 1] == b'~') {
            at += 2;
            while at < text.len() && (text[at].is_ascii_alphanumeric() || text[at] == b'~') {
                at += 1;
            }
        }
        if at == text.len() {
            return &text[..length];
        }
    }
}

/// Compares alternating runs of non-digits and digits: the former by character, the latter by value.
fn compare_runs(mut one: &[u8], mut other: &[u8]) -> Ordering {
    let n_digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    while !one.is_empty() || !other.is_empty() {
        while one.first().is_some_and(|byte| !byte.is_ascii_digit())
            || other.first().is_some_and(|byte| !byte.is_ascii_digit())
        {
            let order = rank(one).cmp(&rank(other));
            if order != Ordering::Equal {
                return order;
            }
            (one, other) = (one.get(1..).unwrap_or_default(), other.get(1..).unwrap_or_default());
        }
        let (digits, rest) = one.split_at(n_digits(one));
        let (other_digits, other_rest) = other.split_at(n_digits(other));
        let value = |digits: &[u8]| digits.iter().position(|byte| *byte != b'0').unwrap_or(digits.len());
        let (digits, other_digits) = (&digits[value(digits)..], &other_digits[value(other_digits)..]);
        let order = digits.len().cmp(&other_digits.len()).then_with(|| digits.cmp(other_digits));
        if order != Ordering::Equal {
            return order;
        }
        (one, other) = (rest, other_rest);
    }
    Ordering::Equal
}

/// `~` sorts before the end, the end before digits, digits before letters, and letters before everything else.
fn rank(text: &[u8]) -> i32 {
    match text.first() {
        Some(b'~') => -2,
        None => -1,
        Some(byte) if byte.is_ascii_digit() => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

/// `version ONE OTHER`: prints whether the first is `older`, `equal` or `newer`.
pub fn command(arguments: Arguments<'_>, _: &Appliance) -> Result<ExitCode, String> {
    let mut version = || Version::parse(arguments.next()?.to_str()?);
    let (Some(one), Some(other)) = (version(), version()) else {
        return Err("expected two versions".to_owned());
    };
    let word: &[u8] = match one.compare(&other) {
        Ordering::Less => b"older\n",
        Ordering::Equal => b"equal\n",
        Ordering::Greater => b"newer\n",
    };
    io::stdout().write_all(word).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn compare(one: &str, other: &str) -> Ordering {
        Version::parse(one).unwrap().compare(&Version::parse(other).unwrap())
    }

    struct Random(u64);

    impl Random {
        fn next(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 33).unwrap() % n
        }

        fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
            from[self.next(from.len())]
        }
    }

    #[test]
    fn semantic_versions_are_in_the_order_of_their_document() {
        let order = [
            "0.9.9",
            "1.0.0-0",
            "1.0.0-9",
            "1.0.0-10",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.10",
            "1.2.0",
            "1.10.0",
            "2.0.0-rc.1",
            "2.0.0",
            "99999999999999999999999.0.0",
        ];
        for (at, one) in order.iter().enumerate() {
            for (other_at, other) in order.iter().enumerate() {
                assert_eq!(compare(one, other), at.cmp(&other_at), "{one} {other}");
                assert_eq!(
                    compare(&format!("v{one}"), &format!("{other}+build.7")),
                    at.cmp(&other_at),
                    "{one} {other}"
                );
            }
        }
    }

    #[test]
    fn a_malformed_version_is_not_parsed() {
        for text in ["", " ", "1 0", "1.0.0\"", "\u{f6}", &"1".repeat(65), "1.0/0"] {
            assert_eq!(Version::parse(text), None, "{text:?}");
        }
        for content in ["1.0\n2.0", "\u{feff}1.0\r\n", " 1.0 \t\n"] {
            assert_eq!(Version::of_file(content.as_bytes()), Version::parse("1.0"), "{content:?}");
        }
        assert_eq!(Version::of_file(b"\n1.0"), None);
    }

    /// A total order: antisymmetric and transitive.
    #[test]
    fn any_three_semantic_versions_are_in_one_order() {
        let mut random = Random(0x1234_5678_9abc_def1);
        let mut version = || {
            let mut text = [(); 3].map(|()| random.pick(&["0", "1", "2", "10"])).join(".");
            for n in 0..random.next(4) {
                text.push(if n == 0 { '-' } else { '.' });
                text.push_str(random.pick(&["0", "1", "10", "a", "B", "a-b", "rc", "1a", "-"]));
            }
            text.push_str(random.pick(&["", "", "+1", "+b.01"]));
            text
        };
        for _ in 0..20_000 {
            let (a, b, c) = (version(), version(), version());
            assert!([&a, &b, &c].iter().all(|one| Semantic::parse(one).is_some()), "{a} {b} {c}");
            assert_eq!(compare(&a, &b), compare(&b, &a).reverse(), "{a} {b}");
            if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
                assert_ne!(compare(&a, &c), Ordering::Greater, "{a} {b} {c}");
            }
            let release = |text: &str| text.split(['-', '+']).next().unwrap().to_owned();
            if a.contains('-') && !a.split_once('-').unwrap().0.contains('+') {
                assert_eq!(compare(&a, &release(&a)), Ordering::Less, "a release is newer than {a}");
            }
        }
    }

    /// Versions that are not semantic are in the order of `sort -V`.
    #[test]
    fn other_versions_are_in_the_order_of_sort() {
        const PIECES: [&str; 16] =
            ["0", "1", "9", "10", "01", ".", "-", "~", "+", "a", "Z", "rc", ".tar", ".gz", ":", "_"];
        let mut random = Random(0x0fed_cba9_8765_4321);
        // coreutils releases disagree about names with a leading dot, and no version has one.
        let mut versions: Vec<String> = (0..2000)
            .map(|_| (0..=random.next(6)).map(|_| random.pick(&PIECES)).collect())
            .filter(|version: &String| !version.starts_with('.'))
            .collect();
        let mut sort = Command::new("sort");
        // A stable sort: equal versions stay in the order of the input.
        let mut child =
            sort.args(["-V", "-s"]).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = versions.join("\n") + "\n";
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
        let output = child.wait_with_output().unwrap().stdout;
        writer.join().unwrap();
        versions.sort_by(|one, other| natural(one.as_bytes(), other.as_bytes()));
        for (ours, theirs) in versions.iter().zip(String::from_utf8(output).unwrap().lines()) {
            assert_eq!(ours, theirs);
        }
    }
}
