//! Archives: whatever the bytes are, the judge ends, and what it lets pass can be unpacked as root without a trace outside. An
//! input is taken twice: as it is, and as a choice of members out of treacherous pieces.

#![no_main]

use jidoteki_admin_api::root::archive;
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

const PIECES: [&str; 24] = [
    "a",
    "b",
    "c",
    "d",
    "/",
    "/",
    "/",
    ".",
    "..",
    "../",
    "/..",
    "./",
    "//",
    "\n",
    " -> ",
    " link to ",
    " ",
    "\\",
    "\t",
    "*",
    "-",
    "a/b",
    "outside",
    "a/../../outside",
];

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = PathBuf::from(format!("/dev/shm/jidoteki-fuzz-{}/tree", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    root
});

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn name(&mut self) -> Vec<u8> {
        let n = self.byte() % 6;
        let mut name = String::new();
        for _ in 0..n {
            name.push_str(PIECES[usize::from(self.byte()) % PIECES.len()]);
        }
        name.truncate(99);
        name.into_bytes()
    }
}

fn header(name: &[u8], kind: u8, target: &[u8], mode: u32, size: usize) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = kind;
    block[157..157 + target.len()].copy_from_slice(target);
    block[257..265].copy_from_slice(b"ustar\x0000");
    with_sum(block)
}

fn with_sum(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Everything outside of where was unpacked.
fn outside(root: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut seen = Vec::new();
    for entry in fs::read_dir(root).unwrap().flatten() {
        let path = entry.path();
        let metadata = path.symlink_metadata().unwrap();
        let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if !path.ends_with("in") {
            seen.push((path, metadata.permissions().mode() + metadata.nlink() as u32 * 65536, content));
        }
    }
    seen.sort();
    seen
}

fn walk(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let metadata = path.symlink_metadata().unwrap();
        let kind = metadata.file_type();
        assert!(kind.is_dir() || kind.is_file() || kind.is_symlink(), "{} is something else", path.display());
        let mode = metadata.permissions().mode();
        assert!(!kind.is_file() || (mode & 0o4000 == 0 && mode & 0o2010 != 0o2010), "{} is setuid", path.display());
        if kind.is_dir() {
            walk(&path);
        }
    }
}

fn unpack(bytes: &[u8]) {
    let root = &*ROOT;
    drop(fs::remove_dir_all(root));
    fs::create_dir_all(root.join("in")).unwrap();
    fs::write(root.join("outside"), "outside").unwrap();
    let before = outside(root);
    let is_unpacked = archive::unpack_package(bytes, &root.join("in"));
    assert!(before == outside(root), "something outside has changed: {}", bytes.escape_ascii());
    walk(&root.join("in"));
    // What could be unpacked was judged so before.
    assert!(!is_unpacked || archive::judge_package(bytes));
}

fuzz_target!(|data: &[u8]| {
    // Sums are not what a fuzzer should have to find.
    let mut raw = data.to_vec();
    for block in raw.as_chunks_mut::<512>().0 {
        if block[257..262] == *b"ustar" {
            *block = with_sum(*block);
        }
    }
    unpack(&raw);
    let mut input = Input(data);
    let mut archive = Vec::new();
    for _ in 0..input.byte() % 6 + 1 {
        let (name, target) = (input.name(), input.name());
        let kind = b"0000122255534671gLKx"[usize::from(input.byte()) % 20];
        let mode = [0o644, 0o755, 0o4755, 0o2755, 0o777][usize::from(input.byte()) % 5];
        let content = if matches!(kind, b'L' | b'K') { [target.as_slice(), b"\0"].concat() } else { b"evil".to_vec() };
        let has_content = matches!(kind, b'0' | b'7' | b'L' | b'K' | b'g' | b'x');
        archive.extend(header(&name, kind, &target, mode, if has_content { content.len() } else { 0 }));
        if has_content {
            archive.extend(&content);
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
    }
    archive.resize(archive.len() + 1024, 0);
    unpack(&archive);
});
