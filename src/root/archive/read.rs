//! Reads a tar archive as a stream of members, in one pass and constant memory: ustar, GNU and PAX, with their long
//! names, large numbers and sparse files. The only file that knows the formats of other programs.
//!
//! The crate `tar` parses the headers. Its own iteration is not used: it splits PAX records at each newline, so a name
//! with one is an error, and a capability with one hides the size of the file. It stores an extended header of any
//! size, and does not support PAX sparse files.

use super::acl;
use super::member::{BLOCK, Fault, Kind, MAX_PIECES, Member, Pairs};
use super::sum::Sum;
use std::io::{BufRead, BufReader, Read};
use std::str::FromStr;
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

/// Maximum bytes of an extended header: long names, and attributes of up to 64 KiB each.
const MAX_EXTENSION: u64 = 1 << 20;

/// Bytes per read.
const BUFFER: usize = 1 << 17;

/// The content of the global header in our own backups.
pub const MARK: &[u8] = b"jidoteki-admin-api backup 2";

/// An archive that is being read.
pub struct Reader<'a> {
    // Not a type parameter, because each kind of source would get its own copy of this code and of all that unpacks.
    input: BufReader<&'a mut dyn Read>,
    /// Sum of all bytes so far.
    sum: Sum,
    position: u64,
    /// Sum of the archive before the current member's headers, extended ones included.
    before: (u64, u64),
    is_marked: bool,
    /// Unread bytes of the current member: data, and the padding after it.
    n_data: u64,
    n_padding: u64,
    pieces: Vec<(u64, u64)>,
    /// The index of the next piece, and the bytes of it that were read.
    at: (usize, u64),
}

/// Values for a member from the headers before its own.
#[derive(Default)]
struct Extension {
    long_name: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
    /// PAX records in order; a later one takes precedence.
    records: Pairs,
}

impl Reader<'_> {
    /// Opens an archive.
    pub fn new(input: &mut dyn Read) -> Reader<'_> {
        Reader {
            input: BufReader::with_capacity(BUFFER, input),
            sum: Sum::new(),
            position: 0,
            before: (0, 0),
            is_marked: false,
            n_data: 0,
            n_padding: 0,
            pieces: Vec::new(),
            at: (0, 0),
        }
    }

    /// Whether this is our own backup, version 2.1 or later: it starts with our mark and ends with a manifest.
    pub fn is_marked(&self) -> bool {
        self.is_marked
    }

    /// Sum and number of the bytes before the current member.
    pub fn before(&self) -> (u64, u64) {
        self.before
    }

    /// The next member. Skips the rest of the current one.
    pub fn advance(&mut self) -> Result<Option<Member>, Fault> {
        self.pass_content()?;
        let mut extension = Extension::default();
        self.before = (self.sum.value(), self.position);
        loop {
            let is_first = self.position == 0;
            let Some(header) = self.header(is_first)? else {
                if extension.long_name.is_some() || extension.long_target.is_some() || !extension.records.is_empty() {
                    return Err(Fault::Damaged("it ends in the middle of a member"));
                }
                return Ok(None);
            };
            let size = header.entry_size().map_err(|_| Fault::Damaged("a number is invalid"))?;
            match header.entry_type() {
                EntryType::GNULongName => extension.long_name = Some(self.text(size)?),
                EntryType::GNULongLink => extension.long_target = Some(self.text(size)?),
                EntryType::XHeader => {
                    let text = self.extension(size)?;
                    extension.records.extend(records(&text)?);
                }
                EntryType::XGlobalHeader => {
                    let text = self.extension(size)?;
                    for (key, value) in records(&text)? {
                        self.is_marked |= is_first && key == b"comment" && value == MARK;
                        // Programs disagree about its meaning.
                        if matches!(&*key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.") {
                            return Err(Fault::Damaged("a global header has fields of one member"));
                        }
                    }
                    self.before = (self.sum.value(), self.position);
                }
                // A tape label, which GNU tar writes with -V.
                EntryType::__Nonexhaustive(b'V') => {}
                _ => return self.member(&header, extension).map(Some),
            }
        }
    }

    /// The next bytes of the current member, and their offset in the file.
    pub fn content<'b>(&mut self, buffer: &'b mut [u8]) -> Result<Option<(u64, &'b [u8])>, Fault> {
        while let Some((_, length)) = self.pieces.get(self.at.0)
            && self.at.1 == *length
        {
            self.at = (self.at.0 + 1, 0);
        }
        let Some((offset, length)) = self.pieces.get(self.at.0).copied() else { return Ok(None) };
        let n = usize::try_from(length - self.at.1).unwrap_or(usize::MAX).min(buffer.len());
        let piece = &mut buffer[..n];
        self.take(piece)?;
        self.n_data -= n as u64;
        let offset = offset + self.at.1;
        self.at.1 += n as u64;
        Ok(Some((offset, piece)))
    }

    /// Reads to the end of the file: only zeros can follow the last member.
    pub fn finish(&mut self) -> Result<(), Fault> {
        loop {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                return Ok(());
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Err(Fault::Damaged("something follows its end"));
            }
            let n = bytes.len();
            self.input.consume(n);
        }
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<(), Fault> {
        self.input.read_exact(buffer)?;
        self.sum.update(buffer);
        self.position += buffer.len() as u64;
        Ok(())
    }

    fn pass_content(&mut self) -> Result<(), Fault> {
        let mut left = self.n_data + self.n_padding;
        (self.n_data, self.n_padding) = (0, 0);
        self.pieces.clear();
        while left > 0 {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                return Err(Fault::Damaged("it ends in the middle of a member"));
            }
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            self.sum.update(&bytes[..n]);
            self.input.consume(n);
            self.position += n as u64;
            left -= n as u64;
        }
        Ok(())
    }

    /// A header with the right checksum; `None` at the end. A truncated archive has no end.
    fn header(&mut self, is_first: bool) -> Result<Option<Header>, Fault> {
        let mut header = Header::new_old();
        let wrong = if is_first { Fault::NotTar } else { Fault::Damaged("a header has a wrong checksum") };
        if is_first && self.input.fill_buf()?.is_empty() {
            return Err(wrong);
        }
        let mut block = [0; 512];
        match self.take(&mut block) {
            Err(Fault::Damaged(_)) if is_first => return Err(wrong),
            result => result?,
        }
        if block == [0; 512] {
            return if is_first { Err(wrong) } else { Ok(None) };
        }
        let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum();
        *header.as_mut_bytes() = block;
        if header.cksum().ok() != Some(sum + 8 * u32::from(b' ')) {
            return Err(wrong);
        }
        Ok(Some(header))
    }

    /// The content of an extended header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        if size > MAX_EXTENSION {
            return Err(Fault::Damaged("an extended header is too large"));
        }
        let mut text = vec![0; usize::try_from(size.next_multiple_of(BLOCK)).unwrap_or(usize::MAX)];
        self.take(&mut text)?;
        text.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(text)
    }

    fn text(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        let mut text = self.extension(size)?;
        if let Some(end) = text.iter().position(|byte| *byte == 0) {
            text.truncate(end);
        }
        Ok(text)
    }

    fn member(&mut self, header: &Header, extension: Extension) -> Result<Member, Fault> {
        let number = |number: std::io::Result<u64>| number.map_err(|_| Fault::Damaged("a number is invalid"));
        let records = &extension.records;
        let stored = match value(records, b"size") {
            Some(size) => parse(size)?,
            None => number(header.entry_size())?,
        };
        let name = value(records, b"GNU.sparse.name").or_else(|| value(records, b"path")).map(<[u8]>::to_vec);
        let target = value(records, b"linkpath").map(<[u8]>::to_vec);
        let name = name.or(extension.long_name).unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match header.entry_type() {
            // Formats without types mark a directory by its name.
            EntryType::Regular if name.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Link => Kind::HardLink,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Directory => Kind::Directory,
            EntryType::Fifo => Kind::Pipe,
            _ => Kind::Other,
        };
        // Skip the data of other types. The size of a link is that of its file, whose data is not here.
        let has_data = !matches!(header.entry_type(), EntryType::Link | EntryType::Symlink | EntryType::Directory);
        self.n_data = if has_data { stored } else { 0 };
        let mut size = if kind == Kind::File { stored } else { 0 };
        let mut pieces = if size > 0 { vec![(0, size)] } else { Vec::new() };
        if let (true, Some(gnu)) = (header.entry_type() == EntryType::GNUSparse, header.as_gnu()) {
            size = number(gnu.real_size())?;
            pieces = self.gnu_pieces(gnu)?;
        } else if kind == Kind::File
            && let Some(real) = value(records, b"GNU.sparse.realsize").or_else(|| value(records, b"GNU.sparse.size"))
        {
            size = parse(real)?;
            pieces = match value(records, b"GNU.sparse.major") {
                Some(b"1") => self.pax_pieces()?,
                Some(b"0") | None => old_pax_pieces(records)?,
                Some(_) => return Err(Fault::Damaged("a sparse file has an unknown version")),
            };
        }
        pieces.retain(|(_, length)| *length > 0);
        check_pieces(&pieces, size, if kind == Kind::File { self.n_data } else { 0 })?;
        self.n_padding = stored.next_multiple_of(BLOCK) - stored;
        if !has_data {
            self.n_padding = 0;
        }
        let (seconds, nanoseconds) = match value(records, b"mtime") {
            Some(time) => parse_time(time)?,
            None => (number(header.mtime())?.cast_signed(), 0),
        };
        let id = |key: &[u8], own: std::io::Result<u64>| -> Result<u32, Fault> {
            let id = match value(records, key) {
                Some(id) => parse(id)?,
                None => number(own)?,
            };
            u32::try_from(id).map_err(|_| Fault::Damaged("a number is invalid"))
        };
        let member = Member {
            kind,
            target: target
                .or(extension.long_target)
                .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                .unwrap_or_default(),
            mode: header.mode().map_err(|_| Fault::Damaged("a number is invalid"))? & 0o7777,
            uid: id(b"uid", header.uid())?,
            gid: id(b"gid", header.gid())?,
            seconds,
            nanoseconds,
            attributes: attributes(records),
            size,
            pieces: pieces.clone(),
            name,
        };
        self.pieces = if kind == Kind::File { pieces } else { Vec::new() };
        self.at = (0, 0);
        Ok(member)
    }

    /// The table of a sparse file in GNU's own format, and its extension after the header.
    fn gnu_pieces(&mut self, gnu: &tar::GnuHeader) -> Result<Vec<(u64, u64)>, Fault> {
        let mut pieces = Vec::new();
        let mut is_extended = gnu.is_extended();
        add_gnu(&mut pieces, &gnu.sparse)?;
        while is_extended {
            let mut block = GnuExtSparseHeader::new();
            self.take(block.as_mut_bytes())?;
            add_gnu(&mut pieces, block.sparse())?;
            is_extended = block.is_extended();
        }
        Ok(pieces)
    }

    /// The table of a sparse file in PAX 1.0: decimal lines before the data, padded to a block.
    fn pax_pieces(&mut self) -> Result<Vec<(u64, u64)>, Fault> {
        let n: usize = parse(&self.line()?)?;
        let mut pieces = Vec::new();
        for _ in 0..n {
            let piece = (parse(&self.line()?)?, parse(&self.line()?)?);
            push(&mut pieces, piece)?;
        }
        while self.n_data > 0 && !self.position.is_multiple_of(BLOCK) {
            self.byte()?;
        }
        Ok(pieces)
    }

    fn line(&mut self) -> Result<Vec<u8>, Fault> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(line),
                byte if line.len() < 20 => line.push(byte),
                _ => return Err(Fault::Damaged("a number is invalid")),
            }
        }
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let mut byte = [0];
        self.n_data = self.n_data.checked_sub(1).ok_or(Fault::Damaged("the table of a sparse file has no end"))?;
        self.take(&mut byte)?;
        Ok(byte[0])
    }
}

fn add_gnu(pieces: &mut Vec<(u64, u64)>, table: &[GnuSparseHeader]) -> Result<(), Fault> {
    for piece in table.iter().filter(|piece| !piece.is_empty()) {
        let (Ok(offset), Ok(length)) = (piece.offset(), piece.length()) else {
            return Err(Fault::Damaged("a number is invalid"));
        };
        push(pieces, (offset, length))?;
    }
    Ok(())
}

fn push(pieces: &mut Vec<(u64, u64)>, piece: (u64, u64)) -> Result<(), Fault> {
    if pieces.len() == MAX_PIECES {
        return Err(Fault::Damaged("a sparse file has too many pieces"));
    }
    pieces.push(piece);
    Ok(())
}

/// The table in PAX 0.0, a record each, or 0.1, one record.
fn old_pax_pieces(records: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<(u64, u64)>, Fault> {
    let mut numbers = Vec::new();
    if let Some(map) = value(records, b"GNU.sparse.map") {
        for number in map.split(|byte| *byte == b',').filter(|number| !number.is_empty()) {
            numbers.push(parse(number)?);
        }
    } else {
        for (key, value) in records {
            if key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes" {
                numbers.push(parse(value)?);
            }
        }
    }
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > MAX_PIECES {
        return Err(Fault::Damaged("the table of a sparse file is incomplete"));
    }
    Ok(pairs.iter().map(|[offset, length]| (*offset, *length)).collect())
}

/// Checks that the pieces are in order, inside the file, and match the data in the archive.
fn check_pieces(pieces: &[(u64, u64)], size: u64, stored: u64) -> Result<(), Fault> {
    let mut end = 0u64;
    let mut sum = 0u64;
    for (offset, length) in pieces {
        let after = offset.checked_add(*length).filter(|after| *after <= size && *offset >= end);
        end = after.ok_or(Fault::Damaged("the pieces of a file overlap"))?;
        sum += length;
    }
    // Larger values cannot be written.
    if i64::try_from(size).is_err() || sum != stored {
        return Err(Fault::Damaged("a file does not have the size in its header"));
    }
    Ok(())
}

/// Parses PAX records: `LENGTH KEY=VALUE\n`. The length counts all of it, and the value can be any bytes.
fn records(mut text: &[u8]) -> Result<Pairs, Fault> {
    const WRONG: Fault = Fault::Damaged("an extended header is invalid");
    let mut records = Vec::new();
    while !text.is_empty() && text[0] != 0 {
        let space = text.iter().take(8).position(|byte| *byte == b' ').ok_or(WRONG)?;
        let length: usize = parse(&text[..space])?;
        let record = text.get(space + 1..length).ok_or(WRONG)?;
        let record = record.strip_suffix(b"\n").ok_or(WRONG)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(WRONG)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        text = &text[length..];
    }
    Ok(records)
}

/// The extended attributes among the records. A list of access that is there only as text becomes one, too.
fn attributes(records: &Pairs) -> Pairs {
    let own =
        records.iter().filter_map(|(key, value)| Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value.clone())));
    let mut attributes: Pairs = own.collect();
    for (key, name) in acl::KEYS {
        if let Some(text) = value(records, key)
            && !attributes.iter().any(|(known, _)| known == name)
        {
            // One that cannot be set here is not silently dropped: no filesystem takes an attribute of the record's name.
            let (name, value) = acl::of_text(text).map_or((key, text.to_vec()), |acl| (name, acl));
            attributes.push((name.to_vec(), value));
        }
    }
    attributes
}

fn value<'a>(records: &'a [(Vec<u8>, Vec<u8>)], key: &[u8]) -> Option<&'a [u8]> {
    records.iter().rfind(|(known, _)| known == key).map(|(_, value)| value.as_slice())
}

fn parse<N: FromStr>(text: &[u8]) -> Result<N, Fault> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or(Fault::Damaged("a number is invalid"))
}

/// Seconds since 1970 with a fraction; can be negative.
fn parse_time(text: &[u8]) -> Result<(i64, u32), Fault> {
    let (is_negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds: i64 = parse(parts.next().unwrap_or_default())?;
    let mut nanoseconds = 0;
    let fraction = parts.next().unwrap_or_default();
    for at in 0..9 {
        let digit = fraction.get(at).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return Err(Fault::Damaged("a number is invalid"));
        }
        nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
    }
    Ok(match (is_negative, nanoseconds) {
        (false, n) => (seconds, n),
        (true, 0) => (-seconds, 0),
        (true, n) => (-seconds - 1, 1_000_000_000 - n),
    })
}
