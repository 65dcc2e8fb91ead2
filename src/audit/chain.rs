//! A chain of audit entries: one JSON object per line, each with the SHA-256 over the previous line's chain value and
//! its own text. Changing, removing or adding a line changes every later chain value.
//!
//! `state/audit` has the head: the last number and chain value. A rotated log continues from it, and a truncated log is
//! detected. If the appliance has no directories `audit` and `state`, there is no chain.

use crate::appliance::{self, Appliance};
use crate::values::json;
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The name of the log.
pub const LOG: &str = "jidoteki-audit.jsonl";
/// The chain value before the first line.
const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The text between a line's content and its chain value, and after it.
const MARK: &str = ",\"chain\":\"";
const END: &str = "\"}";
/// Bytes of a chain value in hexadecimal.
const CHAIN: usize = 64;
/// Bytes of the head: twenty digits, a space, a chain value and a newline.
const HEAD: usize = 20 + 1 + CHAIN + 1;
/// Maximum bytes of a line.
const MAX_LINE: usize = 4 << 10;
/// Bytes that a page reads at a time.
const STEP: usize = 16 << 10;
/// Maximum bytes of one file that a page reads, whatever the file contains.
const MAX_PAGE_BYTES: u64 = 1 << 20;

/// A position in the chain: a line's number and its chain value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The first line is 1.
    pub seq: u64,
    /// 64 hexadecimal digits.
    pub chain: String,
}

impl Link {
    /// Before the first line.
    pub fn start() -> Link {
        Link { seq: 0, chain: START.to_owned() }
    }

    /// The link after this one, for a line with this text.
    pub fn next(&self, text: &str) -> Link {
        let digest = Sha256::new().chain_update(&self.chain).chain_update("\n").chain_update(text).finalize();
        Link { seq: self.seq + 1, chain: hex::encode(digest) }
    }

    /// Splits a line into its own link and its text without the chain value.
    pub fn of(line: &str) -> Option<(Link, String)> {
        let (text, chain) = line.strip_suffix(END)?.rsplit_once(MARK)?;
        let digits = text.strip_prefix("{\"seq\":")?.split(',').next()?;
        Some((Link::parse(digits, chain)?, format!("{text}}}")))
    }

    /// The head as it is stored.
    pub fn from_head(head: &str) -> Option<Link> {
        let (digits, chain) = head.strip_suffix('\n')?.split_once(' ')?;
        Link::parse(digits, chain)
    }

    /// Parses a number and a chain value; `None` if they are invalid.
    pub fn parse(digits: &str, chain: &str) -> Option<Link> {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_chain = chain.len() == CHAIN && chain.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_number || !is_chain {
            return None;
        }
        Some(Link { seq: digits.parse().ok()?, chain: chain.to_owned() })
    }
}

/// Whether a line must be on disk before the request continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Yes: something was done.
    Synced,
    /// No: unauthenticated callers could cause more of these than a disk can sync.
    Lazy,
}

/// Appends a line with these members: JSON without the braces.
pub fn append(appliance: &Appliance, members: &str, durability: Durability) -> io::Result<()> {
    let head_file = match open_head(appliance) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    head_file.lock()?;
    let mut log = open_log(&appliance.audit_file(LOG))?;
    let mut length = log.metadata()?.len();
    let tail = last_bytes(&log, length)?;
    let end = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut gap = "";
    if end < tail.len() {
        if end == 0 && length > tail.len() as u64 {
            // We write nothing that long; `verify` reports it.
            gap = "\n";
        } else {
            // Remove a line that a crash or a full disk truncated. It never counted, because the head is written after
            // the line.
            length -= (tail.len() - end) as u64;
            log.set_len(length)?;
        }
    }
    let before = latest(read_head(&head_file)?, last_line(&tail[..end]));

    let text = format!("{{\"seq\":{},{members}}}", before.seq + 1);
    let link = before.next(&text);
    let whole = format!("{gap}{}{MARK}{}{END}\n", &text[..text.len() - 1], link.chain);
    if let Err(error) = log.write_all(whole.as_bytes()) {
        // A partial line counts as none. If this fails too, the next call removes it.
        let _ = log.set_len(length);
        return Err(error);
    }
    if durability == Durability::Synced {
        log.sync_data()?;
    }
    head_file.write_all_at(format!("{:020} {}\n", link.seq, link.chain).as_bytes(), 0)
}

/// The end of the chain. If the log is ahead of the head, its writer was killed in between. If it is behind, lines were
/// lost. That remains visible forever, because the chain continues from the head.
fn latest(head: Option<Link>, last: Option<Link>) -> Link {
    match (head, last) {
        (Some(head), Some(last)) if last.seq > head.seq => last,
        (Some(head), _) => head,
        (None, last) => last.unwrap_or_else(Link::start),
    }
}

fn open_head(appliance: &Appliance) -> io::Result<File> {
    let path = appliance.state_file("audit");
    let open = |is_new: bool| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(is_new).mode(0o600);
        options.custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(&path).and_then(appliance::regular)
    };
    match open(false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        file => return file,
    }
    match open(true) {
        // Another process was first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(false),
        Ok(file) => {
            // Root created it at the console, but the web server's user needs it too.
            let folder = fs::metadata(appliance.state_file(""))?;
            if folder.uid() != file.metadata()?.uid() {
                fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
            }
            Ok(file)
        }
        file => file,
    }
}

/// Opens one of our logs for appending. On an installed appliance, only rotation can create it, and needs a moment for
/// that. Elsewhere, it is created if missing.
pub fn open_log(path: &Path) -> io::Result<File> {
    let open = |is_new: bool| {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(is_new).mode(0o660);
        options.custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path).and_then(appliance::regular)
    };
    let mut n_tries = 0;
    loop {
        match open(false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => return file,
        }
        n_tries += 1;
        match open(true) {
            Ok(file) => {
                // The group appends, whatever the creator's umask.
                file.set_permissions(Permissions::from_mode(0o660))?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound || n_tries == 4 => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn read_head(file: &File) -> io::Result<Option<Link>> {
    let mut bytes = [0; HEAD];
    let n = read_at(file, &mut bytes, 0)?;
    Ok(std::str::from_utf8(&bytes[..n]).ok().and_then(Link::from_head))
}

/// The current head, for readers.
pub fn head(appliance: &Appliance) -> io::Result<Option<Link>> {
    match appliance::open_unlinked(&appliance.state_file("audit")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => read_head(&file?),
    }
}

fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut n_read = 0;
    while n_read < bytes.len() {
        match file.read_at(&mut bytes[n_read..], offset + n_read as u64)? {
            0 => break,
            n => n_read += n,
        }
    }
    Ok(n_read)
}

/// The end of a file: as much as the longest line.
fn last_bytes(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; MAX_LINE.min(usize::try_from(length).unwrap_or(MAX_LINE))];
    let start = length - bytes.len() as u64;
    let n = read_at(file, &mut bytes, start)?;
    bytes.truncate(n);
    Ok(bytes)
}

fn last_line(bytes: &[u8]) -> Option<Link> {
    let bytes = bytes.strip_suffix(b"\n")?;
    let line = bytes.rsplit(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok().and_then(Link::of).map(|(link, _)| link)
}

/// A page of lines, newest first.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub lines: Vec<String>,
    /// The `before` of the next page, if there is one.
    pub next: Option<u64>,
}

/// The newest lines before a number, at most `limit`; `None` if there is no log. The cost does not depend on the size
/// of the log: numbers are in order, so a binary search finds the place. Compressed files are not searched.
pub fn page(appliance: &Appliance, before: Option<u64>, limit: usize) -> io::Result<Option<Page>> {
    let current = match appliance::open(&appliance.audit_file(LOG)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut found = Vec::new();
    // One more than requested, to know whether there are more.
    lines_before(&current, before, limit + 1, &mut found)?;
    if found.len() <= limit {
        for file in rotated(appliance)? {
            lines_before(&file, before, limit + 1 - found.len(), &mut found)?;
            if found.len() > limit {
                break;
            }
        }
    }
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|(seq, _)| *seq);
    Ok(Some(Page { lines: found.into_iter().map(|(_, line)| line).collect(), next }))
}

/// The names of the log and of its rotated files.
pub fn files(appliance: &Appliance) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(appliance.audit_file(""))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(LOG.as_bytes())) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// The uncompressed rotated files, newest first.
fn rotated(appliance: &Appliance) -> io::Result<Vec<File>> {
    let mut rotated = Vec::new();
    let is_plain = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.len() > LOG.len() && name[LOG.len()..].bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte))
    };
    for path in files(appliance)?.into_iter().filter(|path| is_plain(path)) {
        let file = appliance::open(&path)?;
        if let Some((_, link, _)) = line_from(&file, 0)? {
            rotated.push((link.map_or(0, |link| link.seq), file));
        }
    }
    rotated.sort_by_key(|(first, _)| std::cmp::Reverse(*first));
    Ok(rotated.into_iter().map(|(_, file)| file).collect())
}

/// Adds up to `n_wanted` lines of a file whose numbers are below `before`, last one first.
fn lines_before(file: &File, before: Option<u64>, n_wanted: usize, found: &mut Vec<(u64, String)>) -> io::Result<()> {
    let length = file.metadata()?.len();
    let end = match before {
        Some(before) => place(file, length, before)?,
        None => length,
    };
    let n_wanted = found.len() + n_wanted;
    let mut start = end;
    let mut bytes = Vec::new();
    loop {
        // Use only complete lines: the first may start before the part that was read, and the last may not be complete
        // yet.
        let is_all = start == 0 || end - start >= MAX_PAGE_BYTES;
        let head =
            if is_all { 0 } else { bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1) };
        let tail = bytes.iter().rposition(|byte| *byte == b'\n').map_or(head, |at| at.max(head));
        for line in bytes[head..tail].rsplit(|byte| *byte == b'\n') {
            // Other lines are not ours.
            if let Some(line) = std::str::from_utf8(line).ok().filter(|line| json::is_valid(line))
                && let Some((link, _)) = Link::of(line)
                && found.len() < n_wanted
            {
                found.push((link.seq, line.to_owned()));
            }
        }
        if is_all || found.len() >= n_wanted {
            return Ok(());
        }
        bytes.truncate(head);
        let mut more = vec![0; STEP.min(usize::try_from(start).unwrap_or(STEP))];
        start -= more.len() as u64;
        let n_read = read_at(file, &mut more, start)?;
        more.truncate(n_read);
        more.extend_from_slice(&bytes);
        bytes = more;
    }
}

/// The offset after the lines with numbers below `before`.
fn place(file: &File, length: u64, before: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low.midpoint(high);
        match line_from(file, middle)? {
            Some((start, link, _)) if start < high => {
                if link.is_some_and(|link| link.seq >= before) {
                    high = middle;
                } else {
                    low = start + 1;
                }
            }
            Some(_) | None => high = middle,
        }
    }
    Ok(line_from(file, low)?.map_or(length, |(start, ..)| start))
}

/// The first line that starts at or after an offset: its offset, its link, and its length.
fn line_from(file: &File, offset: u64) -> io::Result<Option<(u64, Option<Link>, usize)>> {
    let from = offset.saturating_sub(1);
    let mut bytes = vec![0; 2 * MAX_LINE];
    let n = read_at(file, &mut bytes, from)?;
    let bytes = &bytes[..n];
    let start = if offset == 0 {
        0
    } else {
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None => return Ok(None),
        }
    };
    let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let link = std::str::from_utf8(&bytes[start..start + length]).ok().and_then(Link::of).map(|(link, _)| link);
    Ok(Some((from + start as u64, link, length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// An appliance with the directories of the log and its head.
    fn appliance(name: &str) -> (PathBuf, Appliance) {
        let root = std::env::temp_dir().join(format!("chain-{name}-{}", std::process::id()));
        for folder in ["audit", "state"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        (root.clone(), Appliance::new(Some(root.into()), None))
    }

    fn add(appliance: &Appliance, n_entries: usize) {
        for _ in 0..n_entries {
            append(appliance, "\"x\":1", Durability::Lazy).unwrap();
        }
    }

    fn number(line: &str) -> u64 {
        Link::of(line).unwrap().0.seq
    }

    #[test]
    fn a_link_is_digits_and_64_hexadecimal_digits() {
        let chain = "0123456789abcdef".repeat(4);
        assert_eq!(Link::parse("7", &chain), Some(Link { seq: 7, chain: chain.clone() }));
        for digits in ["", "+7", "7 ", "x", "99999999999999999999"] {
            assert_eq!(Link::parse(digits, &chain), None, "{digits:?}");
        }
        for wrong in ["", &chain[1..], &format!("{chain}0"), &chain.to_uppercase(), &chain.replace('f', "g")] {
            assert_eq!(Link::parse("7", wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn without_a_place_nothing_is_written_and_a_place_that_cannot_be_used_is_an_error() {
        let (root, appliance) = appliance("place");
        fs::remove_dir(root.join("state")).unwrap();
        add(&appliance, 1);
        assert!(!appliance.audit_file(LOG).exists());
        assert_eq!(page(&appliance, None, 1).unwrap(), None);
        assert_eq!(head(&appliance).unwrap(), None);
        // The directory is there, but nobody can create a file in it.
        std::os::unix::fs::symlink("/sys", root.join("state")).unwrap();
        assert!(append(&appliance, "\"x\":1", Durability::Lazy).is_err());
        assert!(!appliance.audit_file(LOG).exists());
        fs::remove_file(root.join("state")).unwrap();
        fs::create_dir(root.join("state")).unwrap();
        // Something else has the name of the log, or of the head.
        for path in [appliance.audit_file(LOG), appliance.state_file("audit")] {
            let elsewhere = root.join("elsewhere");
            fs::write(&elsewhere, "").unwrap();
            std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
            assert!(append(&appliance, "\"x\":1", Durability::Lazy).is_err(), "{}", path.display());
            assert_eq!(fs::read(elsewhere).unwrap(), b"");
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            assert!(append(&appliance, "\"x\":1", Durability::Lazy).is_err(), "{}", path.display());
            if path.ends_with(LOG) {
                assert!(page(&appliance, None, 1).is_err());
                fs::remove_file(appliance.state_file("audit")).unwrap();
            } else {
                assert!(head(&appliance).is_err());
            }
            fs::remove_dir(&path).unwrap();
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn the_chain_continues_from_its_head_unless_the_log_is_ahead() {
        let link = |seq, digit: &str| Some(Link { seq, chain: digit.repeat(CHAIN) });
        for (head, last, wanted) in [
            (None, None, Some(Link::start())),
            (None, link(7, "a"), link(7, "a")),
            (link(7, "b"), None, link(7, "b")),
            (link(7, "b"), link(6, "a"), link(7, "b")),
            (link(7, "b"), link(7, "a"), link(7, "b")),
            (link(7, "b"), link(8, "a"), link(8, "a")),
        ] {
            assert_eq!(Some(latest(head.clone(), last.clone())), wanted, "{head:?} {last:?}");
        }
    }

    #[test]
    fn the_head_belongs_to_the_owner_of_its_directory() {
        let (root, appliance) = appliance("owner");
        // Only root can give a directory away.
        let is_root = std::os::unix::fs::chown(root.join("state"), Some(12345), Some(12345)).is_ok();
        add(&appliance, 1);
        let (head, folder) = (fs::metadata(appliance.state_file("audit")).unwrap(), fs::metadata(root.join("state")));
        assert_eq!((head.uid(), head.uid() == 12345), (folder.unwrap().uid(), is_root));
        assert_eq!(super::head(&appliance).unwrap().map(|link| link.seq), Some(1));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn half_a_line_is_removed_whatever_is_before_it_and_a_line_of_others_stays() {
        let (root, appliance) = appliance("half");
        let log = appliance.audit_file(LOG);
        // More than the last bytes that are looked at.
        add(&appliance, 60);
        let whole = fs::read_to_string(&log).unwrap();
        assert!(whole.len() > MAX_LINE);
        fs::write(&log, format!("{whole}{{\"seq\":61,\"x")).unwrap();
        add(&appliance, 1);
        let text = fs::read_to_string(&log).unwrap();
        assert_eq!(
            (text.strip_prefix(&whole).map(|line| number(line.trim_end())), text.lines().count()),
            (Some(61), 61)
        );
        // Longer than any line of ours.
        let foreign = "y".repeat(MAX_LINE + 1);
        fs::write(&log, &foreign).unwrap();
        add(&appliance, 1);
        let text = fs::read_to_string(&log).unwrap();
        assert_eq!(text.lines().next(), Some(foreign.as_str()));
        assert_eq!(text.lines().count(), 2);
        assert_eq!(number(text.lines().last().unwrap()), 62);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_log_is_created_where_it_can_be_and_otherwise_rotation_gets_a_moment() {
        let (root, _) = appliance("open");
        let path = root.join("audit/x.log");
        for n_bytes in [0, 1] {
            let mut file = open_log(&path).unwrap();
            assert_eq!(file.metadata().unwrap().len(), n_bytes, "it is appended to");
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o660);
            file.write_all(b"x").unwrap();
        }
        assert_eq!(open_log(&root.join("nothing/x.log")).unwrap_err().kind(), io::ErrorKind::NotFound);
        // Nobody can create a file there.
        let start = Instant::now();
        assert_ne!(open_log(Path::new("/sys/x.log")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(start.elapsed() >= Duration::from_millis(6));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_page_is_the_newest_lines_before_a_number_in_whichever_files_they_are() {
        for n_files in [1, 3] {
            let (root, appliance) = appliance("page");
            for number in 1..n_files {
                add(&appliance, 3);
                let log = appliance.audit_file(LOG);
                fs::rename(&log, appliance.audit_file(&format!("{LOG}.{number}"))).unwrap();
            }
            add(&appliance, 3);
            let n_lines = 3 * n_files;
            for before in (1..=n_lines + 2).map(Some).chain([None]) {
                for limit in 1..=10 {
                    let mut wanted: Vec<u64> = (1..before.unwrap_or(u64::MAX).min(n_lines + 1)).rev().collect();
                    let has_more = wanted.len() > limit;
                    wanted.truncate(limit);
                    let page = page(&appliance, before, limit).unwrap().unwrap();
                    let numbers: Vec<u64> = page.lines.iter().map(|line| number(line)).collect();
                    assert_eq!(page.next, wanted.last().copied().filter(|_| has_more), "{before:?} {limit}");
                    assert_eq!(numbers, wanted, "{before:?} {limit}");
                }
            }
            fs::remove_dir_all(root).unwrap();
        }
    }

    #[test]
    fn a_page_may_have_many_lines_and_reads_no_more_than_a_mebibyte_of_others() {
        let (root, appliance) = appliance("long");
        add(&appliance, 400);
        let numbers = |limit| -> Vec<u64> {
            page(&appliance, None, limit).unwrap().unwrap().lines.iter().map(|line| number(line)).collect()
        };
        assert_eq!(numbers(400), (1..=400).rev().collect::<Vec<_>>());
        let log = appliance.audit_file(LOG);
        let others = "no entry\n".repeat(usize::try_from(MAX_PAGE_BYTES).unwrap() / 9 - STEP);
        open_log(&log).unwrap().write_all(others.as_bytes()).unwrap();
        assert_eq!(numbers(1), [400]);
        open_log(&log).unwrap().write_all("no entry\n".repeat(2 * STEP).as_bytes()).unwrap();
        assert!(numbers(1).is_empty());
        fs::remove_dir_all(root).unwrap();
    }
}
