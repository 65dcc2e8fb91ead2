//! Verifies the audit log: every line follows from the one before, and it matches the anchors, which only root can
//! write.

use crate::appliance::{self, Appliance};
use crate::audit::chain::{self, Link};
use crate::values::clock;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Root's own record of the head, once a minute if it has moved: lines `<unix time> <number> <chain value>`.
pub fn anchors_file(appliance: &Appliance) -> PathBuf {
    appliance.admin().join("lib/audit-heads")
}

/// The result.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// Number of files with entries.
    pub n_files: usize,
    /// The first and last existing entry; `None` for none.
    pub range: Option<(u64, u64)>,
    /// Number of matching anchors.
    pub n_anchors: usize,
    /// Why there are no anchors, if so.
    pub no_anchors: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// The log was altered: where, and how.
    Broken(String),
    /// The log cannot be read.
    Unreadable(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Broken(text) | Fault::Unreadable(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range {
            None => write!(f, "the audit log has no entries")?,
            Some((first, last)) => {
                write!(f, "entries {first} to {last} in {} files are intact", self.n_files)?;
                if first > 1 {
                    write!(f, "; those before {first} are no longer kept")?;
                }
            }
        }
        match &self.no_anchors {
            None => write!(f, "; {} anchors match", self.n_anchors),
            Some(reason) => write!(f, "; not compared with anchors: {reason}"),
        }
    }
}

/// An entry that must be in the log, and the source of that claim.
struct Anchor {
    link: Link,
    witness: String,
}

/// Verifies the log and its rotated files, or only these files, in the order of their entries.
pub fn verify(appliance: &Appliance, given: &[PathBuf]) -> Result<Report, Fault> {
    // Read the anchors first: concurrent writers only add entries.
    let (mut anchors, mut no_anchors) = (Vec::new(), None);
    let path = anchors_file(appliance);
    match appliance::read(&path) {
        Ok(content) => read_anchors(&path, &String::from_utf8_lossy(&content), &mut anchors)?,
        Err(error) => no_anchors = Some(format!("{}: {error}", path.display())),
    }
    let n_noted = anchors.len();
    match chain::head(appliance).map_err(|error| Fault::Unreadable(format!("state/audit: {error}"))) {
        Ok(head) => anchors.extend(head.map(|link| Anchor { link, witness: "state/audit".to_owned() })),
        // Anyone who has the files can verify them.
        Err(_) if !given.is_empty() => {}
        Err(fault) => return Err(fault),
    }

    let paths = if given.is_empty() {
        chain::files(appliance).map_err(|error| Fault::Unreadable(format!("log: {error}")))?
    } else {
        given.to_vec()
    };
    let mut files = Vec::new();
    for path in paths {
        let first = Lines::open(&path).and_then(|mut lines| lines.first_number());
        let first = first.map_err(|error| Fault::Unreadable(format!("{}: {error}", path.display())))?;
        // An empty file has none; other content is detected below.
        if let Some(number) = first {
            files.push((number, path));
        }
    }
    files.sort();

    let mut state = State { first: None, before: None, anchors: &anchors };
    let n_files = files.len();
    for (at, (_, path)) in files.iter().enumerate() {
        state.check_file(path, at + 1 == n_files)?;
    }
    let last = state.before.map_or(0, |link| link.seq);
    if given.is_empty()
        && let Some(anchor) =
            anchors.iter().filter(|anchor| anchor.link.seq > last).max_by_key(|anchor| anchor.link.seq)
    {
        return Err(Fault::Broken(format!(
            "entries {} to {} are missing at the end: {} has a record of them",
            last + 1,
            anchor.link.seq,
            anchor.witness
        )));
    }
    let range = state.first.map(|first| (first, last));
    let is_met = |anchor: &&Anchor| range.is_some_and(|(first, last)| (first..=last).contains(&anchor.link.seq));
    let n_met = anchors[..n_noted].iter().filter(is_met).count();
    Ok(Report { n_files, range, n_anchors: n_met, no_anchors })
}

fn read_anchors(path: &Path, content: &str, anchors: &mut Vec<Anchor>) -> Result<(), Fault> {
    for line in content.lines() {
        let mut words = line.split(' ');
        let time = words.next().and_then(|word| word.parse().ok());
        let link = words.next().zip(words.next()).and_then(|(digits, chain)| Link::parse(digits, chain));
        let (Some(time), Some(link), None) = (time, link, words.next()) else {
            return Err(Fault::Broken(format!("{}: not an anchor: {}", path.display(), line.escape_default())));
        };
        anchors.push(Anchor { link, witness: format!("{} of {}", path.display(), clock::utc(time)) });
    }
    Ok(())
}

struct State<'a> {
    first: Option<u64>,
    before: Option<Link>,
    anchors: &'a [Anchor],
}

impl State<'_> {
    fn check_file(&mut self, path: &Path, is_newest: bool) -> Result<(), Fault> {
        let unreadable = |error: io::Error| Fault::Unreadable(format!("{}: {error}", path.display()));
        let mut lines = Lines::open(path).map_err(unreadable)?;
        let mut number = 0;
        while let Some(line) = lines.next().map_err(unreadable)? {
            number += 1;
            let Some(line) = line.strip_suffix('\n') else {
                // It is being written, or a crash truncated it; the next entry will replace it.
                if is_newest {
                    break;
                }
                return Err(broken(path, number, "the line is truncated"));
            };
            self.check_entry(line).map_err(|reason| broken(path, number, &reason))?;
        }
        lines.end().map_err(unreadable)
    }

    fn check_entry(&mut self, entry: &str) -> Result<(), String> {
        let (link, content) = Link::of(entry).ok_or("not an entry")?;
        let before = self.before.take().or_else(|| (link.seq == 1).then(Link::start));
        if let Some(before) = before {
            if link.seq > before.seq + 1 {
                return Err(format!("entries {} to {} are missing before this line", before.seq + 1, link.seq - 1));
            }
            if link.seq <= before.seq {
                return Err(format!("entry {} comes after entry {}", link.seq, before.seq));
            }
            if before.next(&content) != link {
                return Err(format!("entry {} does not follow from the one before", link.seq));
            }
        }
        for anchor in self.anchors.iter().filter(|anchor| anchor.link.seq == link.seq) {
            if anchor.link != link {
                return Err(format!("entry {} is not the one in {}", link.seq, anchor.witness));
            }
        }
        self.first.get_or_insert(link.seq);
        self.before = Some(link);
        Ok(())
    }
}

fn broken(path: &Path, number: u64, reason: &str) -> Fault {
    Fault::Broken(format!("{}: line {number}: {reason}", path.display()))
}

/// The lines of a file, which rotation may have compressed.
struct Lines {
    reader: BufReader<Box<dyn Read>>,
    gzip: Option<Child>,
}

impl Lines {
    fn open(path: &Path) -> io::Result<Lines> {
        let file: File = appliance::open(path)?;
        if path.extension().is_none_or(|extension| extension != "gz") {
            return Ok(Lines { reader: BufReader::new(Box::new(file)), gzip: None });
        }
        let mut gzip =
            Command::new("gzip").args(["-d", "-c"]).stdin(file).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = gzip.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Lines { reader: BufReader::new(Box::new(stdout)), gzip: Some(gzip) })
    }

    /// The next line with its newline; bytes that are not UTF-8 are not an entry.
    fn next(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let n = self.reader.read_until(b'\n', &mut line)?;
        Ok((n > 0).then(|| String::from_utf8_lossy(&line).into_owned()))
    }

    /// The number of the first entry; 0 for a nonempty file without one, `None` for an empty file.
    fn first_number(&mut self) -> io::Result<Option<u64>> {
        let mut number = None;
        while let Some(line) = self.next()? {
            if let Some((link, _)) = Link::of(line.trim_end()) {
                number = Some(link.seq);
                break;
            }
            number = Some(0);
        }
        if number.is_none_or(|number| number == 0) {
            self.end()?;
        }
        Ok(number)
    }

    /// Ends gzip, and returns whether it could read the file to its end.
    fn end(&mut self) -> io::Result<()> {
        let Some(gzip) = &mut self.gzip else { return Ok(()) };
        if gzip.wait()?.success() { Ok(()) } else { Err(io::Error::other("gzip cannot unpack it")) }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(gzip) = &mut self.gzip {
            // A reader that stops early leaves gzip waiting.
            drop(gzip.kill());
            drop(gzip.wait());
        }
    }
}
