//! Shell patterns, matched against bytes: the only file that interprets `*`, `?` and `[...]`.
//!
//! A pattern is matched component by component, as a shell expands it: no wildcard matches a `/` or a leading dot of a
//! name. Only matching decides, not whether a file exists now.

/// One component of a path: a file name, or a pattern for file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Any,
    Star,
    /// The ranges of a bracket expression; `true` if it matches the bytes outside of them.
    Class(bool, Vec<(u8, u8)>),
}

/// Characters that a backslash quotes. Before any other character, a backslash is part of the name: systemd units have
/// names such as `srv-a\x2db.mount`.
fn is_special(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\\' | b'*' | b'?' | b'[' | b'#')
}

/// Whether the bytes start with a backslash that quotes the next byte.
pub fn is_escape(text: &[u8]) -> bool {
    matches!(text, [b'\\', next, ..] if is_special(*next))
}

impl Component {
    /// Parses a component from a list; it has no `/`.
    pub fn parse(mut text: &[u8]) -> Component {
        let mut tokens = Vec::with_capacity(text.len());
        while let [first, rest @ ..] = text {
            text = rest;
            tokens.push(match first {
                b'*' => Token::Star,
                b'?' => Token::Any,
                b'[' => match class(rest) {
                    Some((token, after)) => {
                        text = after;
                        token
                    }
                    // Without its closing bracket, it is a normal byte.
                    None => Token::Byte(b'['),
                },
                b'\\' if rest.first().is_some_and(|next| is_special(*next)) => {
                    text = &rest[1..];
                    Token::Byte(rest[0])
                }
                byte => Token::Byte(*byte),
            });
        }
        Component(tokens)
    }

    /// The name, unless this is a pattern.
    pub fn name(&self) -> Option<Vec<u8>> {
        let byte = |token: &Token| match token {
            Token::Byte(byte) => Some(*byte),
            Token::Any | Token::Star | Token::Class(..) => None,
        };
        self.0.iter().map(byte).collect()
    }

    /// Whether a file name matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        if name.first() == Some(&b'.') && self.0.first() != Some(&Token::Byte(b'.')) {
            return false;
        }
        let (mut token, mut at) = (0, 0);
        // Where to continue if the part after the last star does not match: the star takes one more byte.
        let mut retry = None;
        while at < name.len() {
            match self.0.get(token) {
                Some(Token::Star) => {
                    retry = Some((token, at));
                    token += 1;
                }
                Some(one) if one.takes(name[at]) => {
                    token += 1;
                    at += 1;
                }
                Some(_) | None => match retry {
                    Some((star, start)) => {
                        retry = Some((star, start + 1));
                        (token, at) = (star + 1, start + 1);
                    }
                    None => return false,
                },
            }
        }
        self.0[token..].iter().all(|token| *token == Token::Star)
    }
}

impl Token {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Token::Byte(own) => *own == byte,
            Token::Any => true,
            Token::Star => false,
            Token::Class(is_negated, ranges) => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&byte)) != *is_negated
            }
        }
    }
}

/// A bracket expression without its `[`, and the bytes after it.
fn class(text: &[u8]) -> Option<(Token, &[u8])> {
    let (is_negated, mut text) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut ranges = Vec::new();
    let mut is_first = true;
    loop {
        match text {
            [] => return None,
            [b']', rest @ ..] if !is_first => return Some((Token::Class(is_negated, ranges), rest)),
            [b'[', b':', rest @ ..] => {
                let end = rest.windows(2).position(|pair| pair == b":]")?;
                ranges.extend(named(&rest[..end]));
                text = &rest[end + 2..];
            }
            [b'\\', byte, rest @ ..] => {
                ranges.push((*byte, *byte));
                text = rest;
            }
            [first, b'-', last, rest @ ..] if *last != b']' => {
                ranges.push((*first, *last));
                text = rest;
            }
            [byte, rest @ ..] => {
                ranges.push((*byte, *byte));
                text = rest;
            }
        }
        is_first = false;
    }
}

/// The ranges of `[:name:]` in ASCII; none for an unknown name.
fn named(name: &[u8]) -> &'static [(u8, u8)] {
    match name {
        b"alnum" => &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')],
        b"alpha" => &[(b'A', b'Z'), (b'a', b'z')],
        b"blank" => &[(b' ', b' '), (b'\t', b'\t')],
        b"cntrl" => &[(0, 31), (127, 127)],
        b"digit" => &[(b'0', b'9')],
        b"graph" => &[(33, 126)],
        b"lower" => &[(b'a', b'z')],
        b"print" => &[(32, 126)],
        b"punct" => &[(33, 47), (58, 64), (91, 96), (123, 126)],
        b"space" => &[(9, 13), (b' ', b' ')],
        b"upper" => &[(b'A', b'Z')],
        b"xdigit" => &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_backslash_escapes_special_characters_and_is_literal_before_others() {
        for (pattern, name, is_match) in [
            (&br"a\ b"[..], &b"a b"[..], true),
            (br"\*", b"*", true),
            (br"\*", b"x", false),
            (br"\\", br"\", true),
            (br"a\x2db", br"a\x2db", true),
            (br"*\x2d*", br"a\x2db", true),
            (br"a\", br"a\", true),
            (b"[", b"[", true),
            (b"[a", b"[a", true),
            (b"a[]]b", b"a]b", true),
            (b"?", b"\xff", true),
            (b"*", b"", true),
        ] {
            assert_eq!(Component::parse(pattern).matches(name), is_match, "{} {name:?}", pattern.escape_ascii());
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_longer_than_its_length_times_that_of_the_name() {
        let pattern = Component::parse(&b"*a".repeat(2000));
        assert!(!pattern.matches(&[&b"a".repeat(200)[..], b"b"].concat()));
    }

    /// Every pattern of up to four of these pieces, against names made of the same bytes, compared with dash.
    #[test]
    fn patterns_match_the_names_that_a_shell_matches() {
        const PIECES: [&str; 9] = ["a", "b", ".", "*", "?", "[ab]", "[!a]", "[a-c]", "[[:alpha:]-]"];
        let names: Vec<String> = (0..4_u32.pow(4))
            .map(|number| (0..4).map(|at| ["a", "b", ".", "-"][(number / 4_u32.pow(at) % 4) as usize]).collect())
            .chain(["a", "b", "ab", ".a", ".b", "aa", "-", "..a"].map(str::to_owned))
            .collect();
        let root = std::env::temp_dir().join(format!("glob-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        for name in &names {
            std::fs::write(root.join(name), "").unwrap();
        }
        let patterns: Vec<String> = (0..9_u32.pow(3))
            .map(|number| (0..3).map(|at| PIECES[(number / 9_u32.pow(at) % 9) as usize]).collect())
            .collect();
        for shell in [&["dash"][..], &["busybox", "sh"]] {
            let script =
                patterns.iter().map(|pattern| format!("printf '%s/' {pattern}; echo\n")).collect::<Vec<_>>().concat();
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).arg("-c").arg(script).current_dir(&root).env("LC_ALL", "C");
            let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
            assert_eq!(output.lines().count(), patterns.len());
            for (pattern, line) in patterns.iter().zip(output.lines()) {
                let component = Component::parse(pattern.as_bytes());
                let mut ours: Vec<&str> = names
                    .iter()
                    .map(String::as_str)
                    .filter(|name| component.matches(name.as_bytes()))
                    // Shells differ in whether their expansion includes these.
                    .collect();
                ours.sort_unstable();
                let theirs: Vec<&str> =
                    line.split('/').filter(|name| !["", ".", ".."].contains(name) && *name != pattern).collect();
                let is_name = component.name().is_some();
                assert!(is_name || ours == theirs, "{shell:?} {pattern}: {ours:?} {theirs:?}");
            }
        }
        std::fs::remove_dir_all(root).unwrap();
    }
}
