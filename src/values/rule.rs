//! The character and length rules of the API document, with its exact messages. The only file that words them.

use std::fmt;

/// Digits and letters, in the order in which the ancestor lists them.
pub const ALPHANUMERIC: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The characters of an IPv4 or IPv6 address.
pub const ADDRESS: &str = "abcdef0123456789ABCDEF.:";
/// ASCII 33 to 126.
pub const PRINTABLE: &str =
    "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";

/// A rule for a named value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The name as clients send it.
    pub name: &'static str,
    /// The allowed characters, in two parts, so that "alphanumeric plus a few" needs no string of its own.
    pub allowed: [&'static str; 2],
    /// Minimum number of characters.
    pub min: usize,
    /// Maximum number of characters.
    pub max: usize,
}

/// A value that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidOption {
    /// The name of the value, as clients send it.
    pub name: String,
    message: String,
}

impl InvalidOption {
    /// An error that is neither about characters nor about length; `allowed` describes valid values.
    pub fn new(name: &str, allowed: &str) -> Self {
        InvalidOption::worded(name, format!("Invalid option: {name}. Allowed: {allowed}"))
    }

    /// An error with its own message.
    pub fn worded(name: &str, message: String) -> Self {
        InvalidOption { name: name.to_owned(), message }
    }
}

impl fmt::Display for InvalidOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Rule {
    /// A value of `min` to `max` characters, all of them in `allowed`.
    pub const fn new(name: &'static str, allowed: [&'static str; 2], min: usize, max: usize) -> Rule {
        Rule { name, allowed, min, max }
    }

    /// Checks the characters first, then their number, as the ancestor does and clients see. Then checks that the value
    /// cannot be an option.
    pub fn check(&self, value: &str) -> Result<(), InvalidOption> {
        let is_allowed = |c: char| self.allowed.iter().any(|run| run.contains(c));
        if !value.chars().all(is_allowed) {
            return Err(InvalidOption {
                name: self.name.to_owned(),
                message: format!(
                    "Missing or invalid string for option: {}. Allowed: {}{}",
                    self.name, self.allowed[0], self.allowed[1]
                ),
            });
        }
        if value.len() < self.min || value.len() > self.max {
            return Err(self.wrong_length());
        }
        // A program would read it as an option, and not every image's scripts prevent that. A password is never an
        // argument.
        if value.starts_with('-') && self.allowed[0] != PRINTABLE {
            return Err(InvalidOption::new(self.name, "no - at the beginning"));
        }
        Ok(())
    }

    /// The error for a value that is too short, too long or missing.
    pub fn wrong_length(&self) -> InvalidOption {
        InvalidOption {
            name: self.name.to_owned(),
            message: format!(
                "Invalid string length for option: {}. Allowed: >= {} and <= {}",
                self.name, self.min, self.max
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule::new("hostname", [ALPHANUMERIC, ".-"], 3, 5);

    #[test]
    fn characters_are_judged_before_length() {
        let bad = "Missing or invalid string for option: hostname. Allowed: \
                   0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.-";
        let length = "Invalid string length for option: hostname. Allowed: >= 3 and <= 5";
        for (value, message) in
            [("a b", bad), ("_", bad), ("tést", bad), ("ab", length), ("abcdef", length), ("", length)]
        {
            assert_eq!(RULE.check(value).map_err(|e| e.to_string()), Err(message.to_owned()), "{value}");
        }
        for value in ["abc", "a.-b", "abcde"] {
            assert_eq!(RULE.check(value), Ok(()), "{value}");
        }
    }

    #[test]
    fn a_value_that_looks_like_an_option_is_refused() {
        let refused = Err("Invalid option: hostname. Allowed: no - at the beginning".to_owned());
        for value in ["-ab", "---", "-.a"] {
            assert_eq!(RULE.check(value).map_err(|e| e.to_string()), refused, "{value}");
        }
        assert_eq!(Rule::new("password", [PRINTABLE, ""], 3, 5).check("-ab"), Ok(()));
    }

    #[test]
    fn printable_is_ascii_33_to_126() {
        assert!(PRINTABLE.bytes().eq(33..=126));
    }
}
