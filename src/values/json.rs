//! JSON from clients, preserved as it was written: members in order, numbers with their digits.
//!
//! Values that the API only passes on (`app`, the `network` object) must be returned unchanged, so they are never
//! converted to our own numbers and maps.

use crate::values::rule::InvalidOption;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Maximum nesting: deeper values overflow other programs that read them after us.
const MAX_DEPTH: usize = 100;

/// An object as its members, in order. A repeated name is refused, because two parsers would see two values.
#[derive(Debug)]
pub struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// Parses a text that is one object, with or without a byte order mark, as Windows writes one.
    pub fn parse(text: &str) -> Result<Object, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if !is_shallow(text) {
            return Err(format!("nested more than {MAX_DEPTH} deep"));
        }
        serde_json::from_slice(text.as_bytes()).map_err(|error| error.to_string())
    }

    /// The member with this name, as it was written.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.members().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Fails with the first member that another parser could not read.
    pub fn check_readable(&self) -> Result<(), InvalidOption> {
        self.members().try_for_each(|(name, value)| check_readable(name, value.get()))
    }

    /// The members in order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), &**value))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format_args!("the member {} occurs twice", quote(&name))));
                    }
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Whether a text is one JSON value within the nesting limit.
pub fn is_valid(text: &str) -> bool {
    is_shallow(text) && serde_json::from_slice::<&RawValue>(text.as_bytes()).is_ok()
}

/// A valid JSON text without white space between its parts.
pub fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_string = false;
    let mut is_escaped = false;
    for c in text.chars() {
        if in_string {
            in_string = c != '"' || is_escaped;
            is_escaped = c == '\\' && !is_escaped;
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
    out
}

/// Fails if another parser could not read a valid JSON text: not every number fits double precision, or not every string
/// is text.
pub fn check_readable(name: &str, text: &str) -> Result<(), InvalidOption> {
    let allowed = if !has_readable_numbers(text) {
        "numbers that fit into double precision"
    } else if !has_whole_characters(text) {
        "both halves of a surrogate pair"
    } else {
        return Ok(());
    };
    Err(InvalidOption::new(&printable(name), allowed))
}

/// Whether the escapes in a valid JSON text are characters: `\ud83d` alone is half of one, which UTF-8 cannot write.
fn has_whole_characters(text: &str) -> bool {
    let half = |digits: &str| u16::from_str_radix(digits, 16).ok().filter(|unit| (0xD800..0xE000).contains(unit));
    let mut rest = text;
    while let Some((_, escape)) = rest.split_once('\\') {
        // An escaped backslash begins no escape.
        rest = escape.get(1..).unwrap_or_default();
        let Some(first) = escape.strip_prefix('u').and_then(|digits| half(digits.get(..4)?)) else { continue };
        let second = rest.get(4..).and_then(|after| after.strip_prefix("\\u")?.get(..4)).and_then(half);
        match (first < 0xDC00, second) {
            (true, Some(0xDC00..)) => rest = &rest[10..],
            _ => return false,
        }
    }
    true
}

/// Whether every number in a valid JSON text fits double precision: `1e400` would be infinite.
fn has_readable_numbers(text: &str) -> bool {
    let mut in_string = false;
    let mut is_escaped = false;
    // Every character that cannot be in a number ends one.
    let mut words = text.split(|c: char| {
        let was_in_string = in_string;
        if in_string {
            in_string = c != '"' || is_escaped;
            is_escaped = c == '\\' && !is_escaped;
        } else {
            in_string = c == '"';
        }
        was_in_string || !(c.is_ascii_digit() || "+-.eE".contains(c))
    });
    words.all(|word| {
        let is_number = word.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        // Two parsers: an exact one, and one that rounds at each step, as many do.
        !is_number || is_finite(word) && serde_json::from_slice::<f64>(word.as_bytes()).is_ok()
    })
}

/// Whether a number of a valid JSON text is finite in double precision, rounded exactly. By its digits: a parser for
/// such numbers has 14 KB of tables.
fn is_finite(number: &str) -> bool {
    /// The first digits of the smallest number that is rounded to infinity, 2^1024 - 2^970, and its decimal exponent.
    const LIMIT: &str = "179769313486231580793728971405303415079934132710037826936173";
    const EXPONENT: i64 = 308;
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let mantissa = mantissa.trim_start_matches('-');
    let n_whole = mantissa.find('.').unwrap_or(mantissa.len());
    let digits = mantissa.replace('.', "");
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return true;
    }
    // One that does not fit is far beyond either end.
    let exponent = exponent.parse().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
    let n_zeros = digits.len() - significant.len();
    let first = i64::try_from(n_whole).unwrap_or(i64::MAX) - 1 - i64::try_from(n_zeros).unwrap_or(i64::MAX);
    match exponent.saturating_add(first) {
        EXPONENT => significant < LIMIT,
        exponent => exponent < EXPONENT,
    }
}

pub fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

/// A name from a client, safe for a message: characters other than printable ASCII become `?`, and a long name is cut.
pub fn printable(name: &str) -> String {
    name.chars().take(40).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

fn is_shallow(text: &str) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut is_escaped = false;
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_their_digits() {
        let object = Object::parse(r#" {"b": 1.50, "a": [1, 2], "c": "x y"} "#).unwrap();
        let members: Vec<_> = object.members().map(|(name, value)| (name, compact(value.get()))).collect();
        assert_eq!(members, [("b", "1.50".to_owned()), ("a", "[1,2]".to_owned()), ("c", "\"x y\"".to_owned())]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_object() {
        for text in ["\u{feff}{\"a\":1}", "\u{feff}\r\n{\"a\":1}\r\n"] {
            assert_eq!(Object::parse(text).unwrap().get("a").map(RawValue::get), Some("1"), "{text:?}");
        }
    }

    #[test]
    fn only_one_valid_object_is_accepted() {
        let deep = "{\"a\":".repeat(200) + "1" + &"}".repeat(200);
        for text in [
            "",
            "\u{feff}",
            "\u{feff}\u{feff}{}",
            "[]",
            "7",
            "null",
            "{\"a\":1,}",
            "{\"a\":1}x",
            "{\"a\":1,\"a\":2}",
            "{'a':1}",
            &deep,
        ] {
            assert!(Object::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn white_space_goes_but_for_that_in_strings() {
        for (text, wanted) in [
            ("{ \"a b\" :\n [ 1 ,\t2 ] }", r#"{"a b":[1,2]}"#),
            (r#""a \" b \\" "#, r#""a \" b \\""#),
            (r#"[ "\\" , 1 ]"#, r#"["\\",1]"#),
        ] {
            assert_eq!(compact(text), wanted);
        }
    }

    #[test]
    fn a_number_that_would_be_read_as_infinite_is_noticed() {
        for text in ["1e400", "-1e309", "9900e01358", "1.8e308", "1.7976931348623159e308"] {
            assert!(!has_readable_numbers(text), "{text}");
            assert!(!has_readable_numbers(&format!("{{\"a\":[0, {{\"b\\\"\":{text}}}]}}")), "{text}");
            assert!(has_readable_numbers(&format!("{{\"{text}\":\"\\\"{text}\"}}")), "{text} in a string");
        }
        assert!(!has_readable_numbers(&"9".repeat(310)));
        for text in ["0", "-0.0", "1e308", "1.5e-400", "0e999", "[true,false,null,\"e\",1E5]", "9007199254740993"] {
            assert!(has_readable_numbers(text), "{text}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_noticed() {
        for half in
            ["\\ud83d", "\\uDE00", "\\ud83d\\ud83d", "\\ude00\\ud83d", "\\ud83dx\\ude00", "\\uDFd0dpp", "\\ud83d\\n"]
        {
            for text in [format!("\"{half}\""), format!("[1,{{\"{half}\":0}}]"), format!("\"\\\\\\\"{half}\\\\\"")] {
                assert!(is_valid(&text) && serde_json::from_str::<serde_json::Value>(&text).is_err(), "{text}");
                assert!(!has_whole_characters(&text), "{text}");
            }
        }
        for text in [
            r#""\ud83d\ude00""#,
            r#""\\ud83d""#,
            r#"["\\\ud83d\udE00\u00e9\\"]"#,
            r#""\ud7ff\ue000\uffff""#,
            "\"\u{1f600}\"",
        ] {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
            assert!(has_whole_characters(text), "{text}");
        }
    }

    #[test]
    fn a_number_is_finite_where_an_exact_reader_says_so() {
        let limit = "17976931348623158079372897140530341507993413271003782693617377898044496829276475094664901797758720709633028641669288791094655554785194040265743067150568206819089200090";
        let zeros = "0".repeat(307);
        for text in [
            "0",
            "-0",
            "0.000",
            "0e999999999999999999999",
            "1e-999999999999999999999",
            "1e999999999999999999999",
            "1E+308",
            "1e309",
            "-1.7976931348623157e308",
            "1.7976931348623158e308",
            "17976931348623158.0793e292",
            "0.17976931348623158e309",
            "1.79769313486231580793728e308",
            "1.79769313486231580793729e308",
            "0.00001e313",
            "0.00001e314",
            "123456789e300",
            "100e306",
            "100e307",
            "9007199254740993",
            "1.797693134862315807e+0308",
            "1.797693134862315808e+0308",
            &format!("1{zeros}0"),
            &format!("2{zeros}0"),
            &format!("0.{zeros}1e616"),
            &format!("0.{zeros}1e617"),
            &format!("0.{zeros}1e99"),
            &format!("{limit}e142"),
            &format!("1.{}e308", &limit[1..40]),
            &format!("1.{}e308", &limit[1..16]),
        ] {
            assert_eq!(is_finite(text), text.parse::<f64>().unwrap().is_finite(), "{text}");
        }
    }

    #[test]
    fn brackets_in_strings_are_not_depth() {
        let text = format!("[\"{}\\\"[\"]", "[".repeat(500));
        assert!(is_valid(&text));
        assert!(!is_valid(&("[".repeat(500) + &"]".repeat(500))));
    }
}
