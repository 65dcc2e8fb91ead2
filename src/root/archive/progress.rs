//! How far START or RESTORE has come: `BYTES/TOTAL WORDS` in the file that `JIDO_PROGRESS` names.
//!
//! The line is written in place, by one call and always with the same length, so no reader sees parts of two lines. A file that
//! cannot be written does not make the job fail.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Bytes of the line without its newline: two numbers of up to 20 digits and a few words.
const WIDTH: usize = 63;

const INTERVAL: Duration = Duration::from_secs(1);

/// The progress of a command.
pub struct Progress {
    file: Option<File>,
    next: Instant,
    words: &'static str,
    done: u64,
    total: u64,
}

/// A source or a destination whose bytes count as progress.
pub struct Metered<'a> {
    file: &'a File,
    progress: &'a mut Progress,
}

impl Progress {
    /// A command that has to process so many bytes.
    pub fn new(total: u64) -> Progress {
        let path = std::env::var_os("JIDO_PROGRESS");
        // The job creates the file and removes it.
        let file = path.and_then(|path| File::options().write(true).open(path).ok());
        // Everything is done only when the command ends.
        Progress { file, next: Instant::now(), words: "", done: 0, total: total + 1 }
    }

    /// Begins a phase, after so many bytes.
    pub fn begin(&mut self, words: &'static str, done: u64) {
        (self.words, self.done) = (words, done);
        self.tell();
    }

    /// The same file, with its bytes counted.
    pub fn meter<'a>(&'a mut self, file: &'a File) -> Metered<'a> {
        Metered { file, progress: self }
    }

    fn add(&mut self, n: usize) {
        self.done += n as u64;
        if self.file.is_some() && Instant::now() >= self.next {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let Some(file) = &self.file else { return };
        let text = format!("{}/{} {}", self.done.min(self.total - 1), self.total, self.words);
        let _ = file.write_at(format!("{text:<WIDTH$}\n").as_bytes(), 0);
        self.next = Instant::now() + INTERVAL;
    }
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).inspect(|n| self.progress.add(*n))
    }
}

impl Write for Metered<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect(|n| self.progress.add(*n))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
