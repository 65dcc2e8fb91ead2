//! A job's own progress: a number and text, in the file that `JIDO_PROGRESS` names. The only file that reads it.
//! Vendors' scripts write it, so it has limits, and invalid text counts as none.

use crate::appliance::{self, Appliance};
use crate::jobs::{Job, Row};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::{Duration, SystemTime};

/// Bytes to read at the end of the file: its last line, if it only grows.
const MAX_BYTES: u64 = 512;
/// Maximum characters of the text.
const MAX_WORDS: usize = 80;
/// The percentage of an update when its own script starts, which is a fifth of the whole.
const SCRIPT_STARTS: u8 = 70;

/// A running job's progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Percentage, 0 to 100.
    pub percentage: u8,
    /// The current step; empty if it is not reported.
    pub words: String,
}

impl Progress {
    /// Parses the last line: `NUMBER WORD...` with 0 to 100, or `DONE/ALL WORD...` in bytes.
    pub fn parse(text: &[u8]) -> Option<Progress> {
        let line = text.trim_ascii_end().rsplit(|byte| matches!(byte, b'\n' | b'\r')).next()?.trim_ascii();
        let (number, words) = line.split_at(line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len()));
        let number = std::str::from_utf8(number).ok()?;
        let percentage = match number.split_once('/') {
            Some((done, all)) => of_bytes(whole(done)?, whole(all)?)?,
            None => u8::try_from(whole(number.trim_end_matches('%'))?).ok().filter(|share| *share <= 100)?,
        };
        let words = String::from_utf8_lossy(words);
        let words = words.trim().chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
        Some(Progress { percentage, words })
    }

    /// The progress of the job that started at this time; `None` if it has reported none.
    pub fn read(appliance: &Appliance, row: &Row, began: SystemTime) -> Option<Progress> {
        let mut file = appliance::open_unlinked(&appliance.progress_file(row.name)).ok()?;
        // An interrupted job leaves its file behind.
        let at = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
        (at + Duration::from_millis(10) >= began).then(|| Progress::parse(&end(&mut file).ok()?)).flatten()
    }

    /// The percentage of the whole job. `said` is the one in its status file. An update's script is only part of the
    /// job.
    pub fn of_job(&self, job: Job, said: Option<u8>) -> Option<u8> {
        match (job, said) {
            (Job::Update, Some(SCRIPT_STARTS)) => Some(SCRIPT_STARTS + self.percentage / 5),
            (Job::Update, said) => said,
            (_, said) => said.or(Some(self.percentage)),
        }
    }
}

/// A number without its fraction.
fn whole(text: &str) -> Option<u64> {
    let digits = text.split_once('.').map_or(text, |(digits, _)| digits);
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The data can grow after it was measured, so `done` can exceed `all`.
fn of_bytes(done: u64, all: u64) -> Option<u8> {
    // Avoid an overflow of the multiplication.
    let (done, all) = if all >> 56 == 0 { (done, all) } else { (done >> 8, all >> 8) };
    u8::try_from((done.min(all) * 100).checked_div(all)?).ok()
}

fn end(file: &mut File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_BYTES)))?;
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_a_number_with_words_or_nothing() {
        for (text, wanted) in [
            ("40 Copying files\n", Some((40, "Copying files"))),
            ("0", Some((0, ""))),
            ("100%\r\n", Some((100, ""))),
            (" 7.9\tx\u{1b}[31my\0 ", Some((7, "x[31my"))),
            ("10 a\n20 b\r30 c\n\n", Some((30, "c"))),
            ("512/2048 packing /data/ü", Some((25, "packing /data/ü"))),
            ("3000/2048", Some((100, ""))),
            ("9223372036854775808/18446744073709551615 much", Some((50, "much"))),
            ("101 x", None),
            ("256 x", None),
            ("-1 x", None),
            ("+1 x", None),
            ("1e1 x", None),
            ("0/0 x", None),
            ("1/x", None),
            ("18446744073709551616/1", None),
            ("", None),
            ("\n\n", None),
            ("half way", None),
            ("50x", None),
            (".5", None),
        ] {
            let wanted = wanted.map(|(percentage, words)| Progress { percentage, words: words.to_owned() });
            assert_eq!(Progress::parse(text.as_bytes()), wanted, "{text:?}");
        }
        assert_eq!(Progress::parse(b"\xff 1"), None);
        let long = Progress::parse(format!("1 {}", "ü".repeat(300)).as_bytes()).unwrap();
        assert_eq!(long.words, "ü".repeat(80));
    }

    #[test]
    fn the_script_of_an_update_is_20_of_its_100() {
        for (percentage, said, wanted) in
            [(0, Some(70), Some(70)), (50, Some(70), Some(80)), (100, Some(70), Some(90)), (50, Some(30), Some(30))]
        {
            let progress = Progress { percentage, words: String::new() };
            assert_eq!(progress.of_job(Job::Update, said), wanted);
        }
        let progress = Progress { percentage: 50, words: String::new() };
        assert_eq!(progress.of_job(Job::Update, None), None);
        assert_eq!(progress.of_job(Job::Backup, None), Some(50));
    }
}
