//! Lists from the image: what to back up, what to collect, which services to show and which commands to run. The only
//! parser of `backup.txt`, `logs.txt`, `debug.txt` and `allservices.txt`.
//!
//! All lists have the same syntax, as bytes:
//!
//! - A line ends with LF, CRLF, or the end of the file. Surrounding spaces and a byte order mark are ignored.
//! - A line that begins with `#` is a comment.
//! - Several words on a line are several entries, as for the ancestor. In `debug.txt`, a line is one command.
//! - In a list of paths, a line with spaces is **one** entry if that path exists or matches as a pattern, and several
//!   entries otherwise. If neither exists, as on a new appliance, the list contains both readings. `\ ` is a space in
//!   a name.
//! - In `backup.txt`, a path that does not begin with `/` is below `/data`. Patterns are those of the shell
//!   (`glob.rs`). They cover every name that matches, whether it exists or not.

use crate::appliance::{self, Appliance};
use crate::root::commands::Arguments;
use crate::root::walk::{Walk, WalkError, components};
use crate::values::glob::{self, Component};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

/// The directory of relative entries in the backup list, and of members in the ancestor's archives.
pub const DATA: &[u8] = b"/data";

/// Maximum entries of a list; a longer one was not written by a person.
const MAX_ENTRIES: usize = 10_000;

/// The lines without comments and empty lines.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    text.split(|byte| *byte == b'\n').map(trim).filter(|line| !line.is_empty() && line[0] != b'#')
}

/// The words of these lines.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines(text).flat_map(split)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c')
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = line
        && is_space(*first)
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && is_space(*last)
        // `name\ ` ends with a quoted space.
        && !(*last == b' ' && rest.ends_with(b"\\") && !rest.ends_with(b"\\\\"))
    {
        line = rest;
    }
    line
}

/// The words of a line.
fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        while let [first, after @ ..] = rest
            && is_space(*first)
        {
            rest = after;
        }
        let mut end = 0;
        while end < rest.len() && !is_space(rest[end]) {
            end += if glob::is_escape(&rest[end..]) { 2 } else { 1 };
        }
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

/// The relation of a path to a list of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is an entry or below one: this many of its bytes are the entry.
    Inside(usize),
    /// It is a directory above an entry.
    Above,
    /// The list does not contain it.
    Outside,
}

/// A list of paths and patterns.
#[derive(Debug)]
pub struct Paths {
    lines: Vec<Line>,
    refused: Vec<Unmet>,
}

/// A line. Whether it is one entry was decided when the list was read.
#[derive(Debug)]
struct Line {
    whole: Entry,
    /// The same as words; empty if the line has only one reading.
    words: Vec<Entry>,
}

/// An absolute path whose components can be patterns.
#[derive(Debug)]
struct Entry {
    /// As written in the list.
    text: Vec<u8>,
    components: Vec<Component>,
}

/// An entry that a job cannot use, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// As written in the list.
    pub entry: Vec<u8>,
    /// The reason, for the log.
    pub reason: String,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.entry.escape_ascii(), self.reason)
    }
}

/// An existing path that an entry means.
#[derive(Debug)]
pub struct Found<'a> {
    /// The path as the list names it: absolute, normalized, links included.
    pub path: &'a [u8],
    /// Its real path. It is not a link, and never `/`.
    pub walk: &'a Walk,
    /// Whether the path itself is a link, not only a directory above it.
    pub is_link: bool,
}

impl Paths {
    /// Reads a list. `base` is the directory of relative entries; without it, there are none.
    pub fn parse(text: &[u8], base: Option<&[u8]>) -> Paths {
        let mut paths = Paths { lines: Vec::new(), refused: Vec::new() };
        for line in lines(text) {
            if paths.lines.len() == MAX_ENTRIES {
                paths.refuse(line, "the list has too many entries");
                break;
            }
            let mut words = Vec::new();
            let mut faults = Vec::new();
            for word in split(line) {
                match Entry::parse(word, base) {
                    Ok(entry) => words.push(entry),
                    Err(reason) => faults.push((word, reason)),
                }
            }
            let is_one_word = words.len() + faults.len() == 1;
            match Entry::parse(line, base) {
                // Errors in a word do not matter if the whole line names something.
                Ok(whole) if is_one_word || whole.exists() => {
                    paths.lines.push(Line::of(whole));
                    continue;
                }
                Ok(whole) if faults.is_empty() => paths.lines.push(Line { whole, words }),
                Ok(_) | Err(_) => paths.lines.extend(words.into_iter().map(Line::of)),
            }
            for (word, reason) in faults {
                paths.refuse(word, reason);
            }
        }
        paths
    }

    fn refuse(&mut self, entry: &[u8], reason: &str) {
        self.refused.push(Unmet { entry: entry.to_vec(), reason: reason.to_owned() });
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether an entry means this path, which is absolute and normalized, whether or not it exists.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.place(path) == Place::Inside(path.len())
    }

    /// Whether an entry means exactly this path, even if another entry is above it.
    pub fn has(&self, path: &[u8]) -> bool {
        let names: Vec<&[u8]> = components(path).collect();
        self.lines.iter().flat_map(Line::entries).any(|entry| {
            entry.components.len() == names.len()
                && entry.components.iter().zip(&names).all(|(component, name)| component.matches(name))
        })
    }

    /// The relation of an absolute, normalized path to the list, whether or not it exists. For nested entries, the
    /// outermost counts.
    pub fn place(&self, path: &[u8]) -> Place {
        self.place_among(path, true)
    }

    /// The same, but only entries that the list names below `base` count.
    pub fn place_below_base(&self, path: &[u8]) -> Place {
        self.place_among(path, false)
    }

    fn place_among(&self, path: &[u8], absolute_too: bool) -> Place {
        let names: Vec<&[u8]> = components(path).collect();
        let mut place = Place::Outside;
        for entry in self.lines.iter().flat_map(Line::entries) {
            if entry.text[0] == b'/' && !absolute_too {
                continue;
            }
            if !entry.components.iter().zip(&names).all(|(component, name)| component.matches(name)) {
                continue;
            }
            match (entry.components.len() <= names.len(), place) {
                (true, Place::Inside(n)) => place = Place::Inside(n.min(length(&names[..entry.components.len()]))),
                (true, Place::Above | Place::Outside) => {
                    place = Place::Inside(length(&names[..entry.components.len()]));
                }
                (false, Place::Outside) => place = Place::Above,
                (false, Place::Above | Place::Inside(_)) => {}
            }
        }
        place
    }

    /// Visits the existing paths of the entries, in the order of the list and each path once. Returns the entries that
    /// match nothing. A path inside another one is visited too, because it can be a mount point. An error of `each`
    /// ends the visit.
    pub fn expand<E>(&self, each: &mut dyn FnMut(Found<'_>) -> Result<(), E>) -> Result<Vec<Unmet>, E> {
        let mut fault = None;
        let unmet = self.search(&mut |found| {
            each(found).map_err(|error| {
                fault = Some(error);
                Stop
            })
        });
        match (fault, unmet) {
            (Some(fault), _) => Err(fault),
            (None, unmet) => Ok(unmet.unwrap_or_default()),
        }
    }

    fn search(&self, each: &mut dyn FnMut(Found<'_>) -> Result<(), Stop>) -> Result<Vec<Unmet>, Stop> {
        let mut unmet = self.refused.clone();
        let mut seen = BTreeSet::new();
        for line in &self.lines {
            let mut visit = |found: Found<'_>| if seen.insert(found.path.to_vec()) { each(found) } else { Ok(()) };
            for entry in line.entries_now() {
                let mut search = Search { each: &mut visit, n_found: 0, lost: Vec::new() };
                match Walk::new() {
                    Ok(walk) => search.descend(walk, &entry.components, Vec::new(), false)?,
                    Err(lost) => search.lost.push((b"/".to_vec(), lost)),
                }
                let Search { n_found, lost, .. } = search;
                for (path, lost) in &lost {
                    unmet.push(Unmet { entry: path.clone(), reason: lost.to_string() });
                }
                if n_found == 0 && lost.is_empty() {
                    unmet.push(Unmet { entry: entry.text.clone(), reason: WalkError::Missing.to_string() });
                }
            }
        }
        Ok(unmet)
    }
}

/// Bytes of the path with these names.
fn length(names: &[&[u8]]) -> usize {
    names.iter().map(|name| name.len() + 1).sum()
}

impl Line {
    fn of(whole: Entry) -> Line {
        Line { whole, words: Vec::new() }
    }

    /// All readings of the line.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        std::iter::once(&self.whole).chain(&self.words)
    }

    /// The reading that applies to the existing files.
    fn entries_now(&self) -> impl Iterator<Item = &Entry> {
        self.entries().skip(usize::from(!self.words.is_empty()))
    }
}

impl Entry {
    fn parse(text: &[u8], base: Option<&[u8]>) -> Result<Entry, &'static str> {
        let base = match (text.starts_with(b"/"), base) {
            (true, _) => b"",
            (false, Some(base)) => base,
            (false, None) => return Err("a path must begin with /"),
        };
        if text.contains(&0) {
            return Err("a path must not contain NUL");
        }
        if components(text).any(|component| component == b"..") {
            return Err("a path must not contain ..");
        }
        let names = components(base).chain(components(text));
        let components: Vec<Component> = names.map(Component::parse).collect();
        if components.is_empty() {
            return Err("/ cannot be an entry");
        }
        Ok(Entry { text: text.to_vec(), components })
    }

    fn exists(&self) -> bool {
        let mut first = |_: Found<'_>| Err(Stop);
        let mut search = Search { each: &mut first, n_found: 0, lost: Vec::new() };
        Walk::new().is_ok_and(|walk| search.descend(walk, &self.components, Vec::new(), false).is_err())
    }
}

/// Ends a search. Not the error itself: a search for each kind of error would be 3 KB larger.
struct Stop;

struct Search<'a> {
    each: &'a mut dyn FnMut(Found<'_>) -> Result<(), Stop>,
    n_found: usize,
    /// Paths that exist or are named, but still lead nowhere.
    lost: Vec<(Vec<u8>, WalkError)>,
}

impl Search<'_> {
    /// Visits everything that matches the components, starting where the walk is, at `path`.
    fn descend(&mut self, walk: Walk, ahead: &[Component], path: Vec<u8>, is_link: bool) -> Result<(), Stop> {
        let Some((component, ahead)) = ahead.split_first() else {
            match walk.arrive() {
                Ok(walk) if walk.parent().is_some() => {
                    self.n_found += 1;
                    (self.each)(Found { path: &path, walk: &walk, is_link })?;
                }
                Ok(_) => self.lost.push((path, WalkError::Missing)),
                Err(lost) => self.lost.push((path, lost)),
            }
            return Ok(());
        };
        let (names, is_pattern) = match component.name() {
            Some(name) => (vec![name], false),
            None => match walk.names() {
                Ok(mut names) => {
                    names.retain(|name| component.matches(name));
                    (names, true)
                }
                Err(lost) => {
                    self.lose(path, lost);
                    return Ok(());
                }
            },
        };
        for name in names {
            let path = [&path, &b"/"[..], &name].concat();
            match walk.clone().go(&name) {
                Ok(next) => {
                    let is_link = next.n_links() > walk.n_links();
                    self.descend(next, ahead, path, is_link)?;
                }
                // A broken link in a directory does not match a pattern.
                Err(WalkError::Missing) if is_pattern => {}
                Err(lost) => self.lose(path, lost),
            }
        }
        Ok(())
    }

    fn lose(&mut self, path: Vec<u8>, lost: WalkError) {
        // A missing path is reported once, for the entry.
        if lost != WalkError::Missing {
            self.lost.push((path, lost));
        }
    }
}

/// Prints the lines (`lines FILE`) or words (`words FILE`) of a list of root's, one per line, for jobs. Exits with 1 if
/// others can change the list.
pub fn print(arguments: Arguments<'_>, _: &Appliance) -> Result<ExitCode, String> {
    let (Some(form), Some(file), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("expected lines FILE or words FILE".to_owned());
    };
    let text = appliance::read_trusted(Path::new(&file)).map_err(|error| error.to_string())?;
    let entries: Vec<&[u8]> = match form.as_bytes() {
        b"lines" => lines(&text).collect(),
        b"words" => words(&text).collect(),
        _ => return Err(format!("{}: neither lines nor words", OsStr::display(&form))),
    };
    let mut output = entries.join(&b'\n');
    if !output.is_empty() {
        output.push(b'\n');
    }
    io::stdout().write_all(&output).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::path::PathBuf;
    use std::process::Command;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let root = std::env::temp_dir().canonicalize().unwrap();
            let root = root.join(format!("list-{name}-{}", std::process::id()));
            drop(std::fs::remove_dir_all(&root));
            std::fs::create_dir(&root).unwrap();
            Folder(root)
        }

        fn bytes(&self) -> &[u8] {
            self.0.as_os_str().as_bytes()
        }

        fn file(&self, name: &[u8]) {
            let path = self.0.join(OsStr::from_bytes(name));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }

        /// What a list matches, without the directory's own path, and which entries match nothing.
        fn expand(&self, list: &[u8]) -> (Vec<String>, Vec<String>) {
            let mut found = Vec::new();
            let unmet = Paths::parse(list, Some(self.bytes()))
                .expand(&mut |one| {
                    assert_eq!(one.walk.path(), one.path);
                    found.push(one.path.strip_prefix(self.bytes()).unwrap().escape_ascii().to_string());
                    Ok::<(), ()>(())
                })
                .unwrap();
            (found, unmet.iter().map(Unmet::to_string).collect())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_list_is_the_same_however_an_editor_leaves_it() {
        let folder = Folder::new("forms");
        folder.file(b"one/x");
        folder.file(b"two");
        let absolute = [folder.bytes(), b"/two"].concat();
        for list in [
            [b"one\n", &absolute[..], b"\n"].concat(),
            [b"one\n", &absolute[..]].concat(),
            [b"one\r\n", &absolute[..], b"\r\n"].concat(),
            [b"\xef\xbb\xbfone\r\n\r\n", &absolute[..]].concat(),
            [b"one ", &absolute[..]].concat(),
            [b"one\t", &absolute[..], b"\r\n"].concat(),
            [b" \tone  \n# a comment\n  # another\n\n", &absolute[..], b"\x0c\n"].concat(),
            b"one\rtwo\r".to_vec(),
            b"./one//\ntwo two\none".to_vec(),
            b"[o]n? t*".to_vec(),
        ] {
            let expected = (vec!["/one".to_owned(), "/two".to_owned()], Vec::new());
            assert_eq!(folder.expand(&list), expected, "{}", list.escape_ascii());
            let paths = Paths::parse(&list, Some(folder.bytes()));
            let path = |name: &str| [folder.bytes(), name.as_bytes()].concat();
            let n = path("/one").len();
            assert_eq!(paths.place(&path("/one/x/y")), Place::Inside(n));
            assert!(paths.matches(&path("/two")) && !paths.matches(&path("/one/x")));
            assert_eq!(paths.place(folder.bytes()), Place::Above);
            assert_eq!(paths.place(&path("/on")), Place::Outside);
        }
    }

    #[test]
    fn a_line_is_one_name_if_it_is_there_and_otherwise_words() {
        let folder = Folder::new("names");
        for name in [&b"my files/x"[..], b"a", b"b", b"tail ", b"Gr\xf6\xdfe", b"back\\x2dslash", b"2024 -> 2025.txt"] {
            folder.file(name);
        }
        for (list, found, unmet) in [
            (&b"my files"[..], &["/my files"][..], &[][..]),
            (b"my*les", &["/my files"], &[]),
            (b"my\\ files a", &["/my files", "/a"], &[]),
            (b"a b", &["/a", "/b"], &[]),
            (b"a missing", &["/a"], &["missing: there is no such file"]),
            (b"tail\\ ", &["/tail "], &[]),
            (b"Gr\xf6\xdfe", &[r"/Gr\xf6\xdfe"], &[]),
            (br"back\x2dslash", &[r"/back\\x2dslash"], &[]),
            (b"2024 -> 2025.txt", &["/2024 -> 2025.txt"], &[]),
            (b"../a b", &["/b"], &["../a: a path must not contain .."]),
            (b"/ a", &["/a"], &["/: / cannot be an entry"]),
            (b"nothing*", &[], &["nothing*: there is no such file"]),
            (b"a/x", &[], &["a/x: there is no such file"]),
            (b"a\0b", &[], &[r"a\x00b: a path must not contain NUL"]),
            (b"# nothing", &[], &[]),
        ] {
            let (is, said) = folder.expand(list);
            assert_eq!(
                (is.iter().map(String::as_str).collect::<Vec<_>>(), said.iter().map(String::as_str).collect()),
                (found.to_vec(), unmet.to_vec()),
                "{}",
                list.escape_ascii()
            );
        }
        // For a lost path, the meaning is unknown: both readings come back.
        let paths = Paths::parse(b"/lost files", Some(DATA));
        for path in [&b"/lost files"[..], b"/lost", b"/data/files"] {
            assert!(paths.matches(path), "{}", path.escape_ascii());
        }
        assert!(!Paths::parse(b"my files", Some(folder.bytes())).matches(&[folder.bytes(), b"/my"].concat()));
    }

    const NAMES: [&str; 10] = ["a", "b", "ab", ".a", "a b", "-", "x.log", "\u{f6}", "b]", "a]"];
    const PATTERNS: [&str; 9] = ["*", "?", "a*", "*b", "[ab]", "[!a]*", ".*", "*.log", "[a-b]?"];

    /// Any list over any tree matches what dash expands it to, and the list contains every match.
    #[test]
    fn a_list_stands_for_its_expansion_by_a_shell() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap() % n
        };
        for round in 0..40 {
            let folder = Folder::new("shell");
            for _ in 0..12 {
                let depth = 1 + next(3);
                let name: Vec<&str> = (0..depth).map(|_| NAMES[next(NAMES.len())]).collect();
                // Where a file is in the way of a directory, it stays.
                let path = folder.0.join(name.join("/"));
                if std::fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
                    std::fs::write(path, "").unwrap();
                }
            }
            let list: Vec<String> = (0..8)
                .map(|_| {
                    let piece = |at: usize| if at < 9 { PATTERNS[at] } else { NAMES[at - 9] };
                    (0..=next(3)).map(|_| piece(next(19))).collect::<Vec<_>>().join("/")
                })
                .collect();
            let script = "IFS='\n'; while read -r line; do for path in $line; do [ ! -e \"$path\" ] || printf '%s\\n' \"$path\"; done; done";
            let mut shell = Command::new("dash");
            shell.arg("-c").arg(script).current_dir(&folder.0).env("LC_ALL", "C");
            let mut child =
                shell.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all((list.join("\n") + "\n").as_bytes()).unwrap();
            let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
            // Shells differ in whether `.*` includes these two.
            let is_real = |path: &&str| !path.split('/').any(|name| name == "." || name == "..");
            let theirs: BTreeSet<String> = output.lines().filter(is_real).map(|path| format!("/{path}")).collect();
            // Tell the shell that a space separates nothing, as in our list.
            let paths = Paths::parse(list.join("\n").replace(' ', "\\ ").as_bytes(), Some(folder.bytes()));
            let mut ours = BTreeSet::new();
            paths
                .expand(&mut |found| {
                    assert!(matches!(paths.place(found.path), Place::Inside(_)));
                    ours.insert(String::from_utf8(found.path[folder.bytes().len()..].to_vec()).unwrap());
                    Ok::<(), ()>(())
                })
                .unwrap();
            assert_eq!(ours, theirs, "round {round}: {list:?}");
        }
    }
}
