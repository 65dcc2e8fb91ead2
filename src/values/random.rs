//! Random bytes from the kernel, and words that a person can read from a console.

use std::fs::File;
use std::io::{self, Read};

/// Fills an array from the kernel's generator.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut buffer = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut buffer)?;
    Ok(buffer)
}

/// A passphrase of pronounceable words joined by `-`, with 16 random bits each. Consonants and vowels alternate,
/// without letters that look or sound alike, so that it can be read over a telephone (after "A Proposal for Proquints",
/// Wilkerson 2009).
pub fn passphrase(words: usize) -> io::Result<String> {
    let mut phrase = String::new();
    for _ in 0..words {
        if !phrase.is_empty() {
            phrase.push('-');
        }
        push_word(&mut phrase, u16::from_be_bytes(bytes()?));
    }
    Ok(phrase)
}

fn push_word(phrase: &mut String, bits: u16) {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 4] = b"aiou";
    for (shift, letters) in [(12, &CONSONANTS[..]), (10, VOWELS), (6, CONSONANTS), (4, VOWELS), (0, CONSONANTS)] {
        let index = usize::from(bits >> shift) & (letters.len() - 1);
        phrase.push(char::from(letters[index]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_all_sixteen_bits() {
        // 127.0.0.1 is lusab-babad in the paper.
        let mut phrase = String::new();
        push_word(&mut phrase, 0x7f00);
        push_word(&mut phrase, 0x0001);
        assert_eq!(phrase, "lusabbabad");
    }

    #[test]
    fn a_passphrase_has_as_many_words_as_asked_and_never_the_same() {
        let phrase = passphrase(4).unwrap();
        assert_eq!(phrase.split('-').count(), 4);
        assert_ne!(phrase, passphrase(4).unwrap());
    }
}
