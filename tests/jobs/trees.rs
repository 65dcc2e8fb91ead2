//! Trees of files that no person would make, from a seed: backed up, destroyed, restored, and compared in everything.
//!
//! `TREES=100000 cargo test jobs::trees::` tries more of them; a seed that fails is printed, and `TREE=seed` tries only it.
//! Most run the executable's commands as the job does; every hundredth runs the whole job, under either shell.

use super::appliance::{Appliance, SHELLS, Shell, is_root, must};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Trees of one run of the suite.
const TREES: u64 = 1_000;

/// SplitMix64: the same trees everywhere, for ever.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len() as u64) as usize]
    }

    fn name(&mut self) -> OsString {
        let strange: [&[u8]; 20] = [
            b"a -> b",
            b"2024 -> 2025 report.txt",
            b"-rf",
            b"--",
            b"a\nb",
            b"\n",
            b"tab\there",
            b"\xff\xfe\x80",
            "Größe".as_bytes(),
            b" leading and trailing ",
            b"back\\slash",
            b"*",
            b"[a]?",
            b"...",
            b"..x",
            b"\"'$(reboot)`",
            b"a link to b",
            b"\x01\x1b[2J",
            b".hidden",
            b"%s%n",
        ];
        match self.below(10) {
            0..3 => OsStr::from_bytes(self.of(&strange)).to_owned(),
            3 => OsString::from_vec(vec![b'n'; self.below(255) as usize + 1]),
            4 => {
                let length = self.below(12) + 1;
                let byte = |dice: &mut Dice| loop {
                    let byte = dice.below(256) as u8;
                    if byte != 0 && byte != b'/' {
                        return byte;
                    }
                };
                let name: Vec<u8> = (0..length).map(|_| byte(self)).collect();
                if name == b"." || name == b".." { OsString::from("dots") } else { OsString::from_vec(name) }
            }
            _ => OsString::from(format!("f{}", self.below(30))),
        }
    }
}

/// Makes a tree; the files in it, for hard links.
fn plant(dice: &mut Dice, folder: &Path, depth: u64, files: &mut Vec<PathBuf>) {
    for _ in 0..dice.below(if depth == 0 { 9 } else { 5 }) {
        let path = folder.join(dice.name());
        if path.symlink_metadata().is_ok() {
            continue;
        }
        match dice.below(12) {
            0..3 if depth < 5 => {
                fs::create_dir(&path).unwrap();
                plant(dice, &path, depth + 1, files);
                dress(dice, &path, &[0o755, 0o700, 0o2775, 0o1777, 0o000, 0o3770]);
            }
            0..4 => {
                let target: &[u8] = dice.of(&[
                    &b"/etc/passwd"[..],
                    b"../../../../../../../../../../etc/cron.hourly",
                    b"nowhere",
                    b".",
                    b"..",
                    b"a -> b",
                    b"\xff\n",
                    b"f1",
                    b"f2/f3",
                    &[b'x'; 300],
                ]);
                symlink(OsStr::from_bytes(target), &path).unwrap();
                own(dice, &path);
                let at = dice.time();
                touch(&path, at);
            }
            4 if !files.is_empty() => {
                let from = &files[dice.below(files.len() as u64) as usize];
                fs::hard_link(from, &path).unwrap();
            }
            5 => {
                sparse(dice, &path);
                dress(dice, &path, &[0o644, 0o600, 0o000]);
                files.push(path);
            }
            _ => {
                let size = match dice.below(8) {
                    0 => 0,
                    1 => 512,
                    2 => 511 + dice.below(3),
                    3 => 100_000 + dice.below(100_000),
                    _ => dice.below(2_000),
                };
                let byte = dice.below(4) as u8;
                fs::write(&path, vec![byte; size as usize]).unwrap();
                dress(dice, &path, &[0o644, 0o600, 0o755, 0o444, 0o000, 0o1644, 0o2644]);
                files.push(path);
            }
        }
    }
}

impl Dice {
    fn time(&mut self) -> (i64, i64) {
        let seconds = match self.below(6) {
            0 => 0,
            1 => -(self.below(1 << 30) as i64) - 1,
            2 => (1 << 33) + self.below(1 << 20) as i64,
            _ => self.below(1 << 31) as i64,
        };
        (seconds, if self.is(50) { 0 } else { self.below(1_000_000_000) as i64 })
    }
}

fn sparse(dice: &mut Dice, path: &Path) {
    let file = File::create(path).unwrap();
    let size = dice.below(1 << 22);
    file.set_len(size).unwrap();
    for _ in 0..dice.below(30) {
        let at = dice.below(size.max(1));
        let length = dice.below(10_000).min(size.saturating_sub(at));
        file.write_all_at(&vec![7; length as usize], at).unwrap();
    }
    if dice.is(10) {
        file.set_len(20 << 20).unwrap();
    }
}

/// Owner, mode, attributes and time, in the order in which the one does not change the other.
fn dress(dice: &mut Dice, path: &Path, modes: &[u32]) {
    own(dice, path);
    fs::set_permissions(path, PermissionsExt::from_mode(modes[dice.below(modes.len() as u64) as usize])).unwrap();
    let put = |name: &str, value: &[u8]| {
        // Not every filesystem takes every attribute: then there is one less to bring back.
        let _ = rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty());
    };
    if dice.is(10) {
        put("user.note", b"a value\nwith = and \0 in it\n12 size=0\n");
    }
    if is_root() && dice.is(5) {
        // cap_net_raw+ep, as setcap writes it; a newline is among such bytes sooner or later.
        put("security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0");
    }
    if dice.is(5) {
        // user::rw-, user:1234:r--, group::r--, mask::r--, other::---
        let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xd2\x04\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
        put("system.posix_acl_access", acl);
        put("system.posix_acl_default", acl);
    }
    let at = dice.time();
    touch(path, at);
}

fn own(dice: &mut Dice, path: &Path) {
    if is_root() && dice.is(50) {
        let id = dice.of(&[&0u32, &997, &65_534, &3_000_000, &4_000_000_000]);
        std::os::unix::fs::lchown(path, Some(*id), Some(dice.below(2_000) as u32)).unwrap();
    }
}

fn touch(path: &Path, (tv_sec, tv_nsec): (i64, i64)) {
    let time = rustix::fs::Timespec { tv_sec, tv_nsec: tv_nsec as _ };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Everything that there is to say of a tree.
fn portrait(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    look(folder, folder, &mut all, &mut inodes);
    all
}

fn look(root: &Path, path: &Path, all: &mut BTreeMap<PathBuf, String>, inodes: &mut BTreeMap<(u64, u64), PathBuf>) {
    let metadata = path.symlink_metadata().unwrap();
    let name = path.strip_prefix(root).unwrap().to_owned();
    let kind = metadata.file_type();
    let content = if kind.is_symlink() {
        format!("{:?}", fs::read_link(path).unwrap())
    } else if kind.is_file() {
        let content = fs::read(path).unwrap();
        let mut hasher = DefaultHasher::new();
        hasher.write(&content);
        format!("{} bytes, sum {}", content.len(), hasher.finish())
    } else {
        String::new()
    };
    let same = (!kind.is_dir())
        .then(|| inodes.entry((metadata.dev(), metadata.ino())).or_insert_with(|| name.clone()).clone());
    let mut list = vec![0; 4096];
    let n = rustix::fs::llistxattr(path, list.as_mut_slice()).unwrap_or(0);
    let mut attributes: Vec<_> = list[..n]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 4096];
            let n = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).unwrap();
            format!("{}={:?}", String::from_utf8_lossy(name), &value[..n])
        })
        .collect();
    attributes.sort();
    let is_sparse = kind.is_file() && metadata.len() > (8 << 20) && metadata.blocks() * 512 < metadata.len() / 2;
    let text = format!(
        "{kind:?} {:o} {}:{} {}.{:09} {content} same as {same:?} {attributes:?} sparse {is_sparse}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    );
    all.insert(name, text);
    if kind.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        entries.sort();
        for entry in entries.iter().filter(|entry| !entry.as_bytes().starts_with(b".jidoteki-restore")) {
            look(root, &path.join(entry), all, inodes);
        }
    }
}

/// Two listed paths, with hard links between them; what is lost is some of it, or all.
fn try_tree(appliance: &Appliance, seed: u64, is_whole_job: bool) {
    let mut dice = Dice(seed);
    let data = appliance.path("data");
    drop(fs::remove_dir_all(&data));
    fs::create_dir(&data).unwrap();
    let mut files = Vec::new();
    for name in ["one", "two Größe"] {
        fs::create_dir(data.join(name)).unwrap();
        plant(&mut dice, &data.join(name), 0, &mut files);
        dress(&mut dice, &data.join(name), &[0o755, 0o2750, 0o700]);
    }
    let list = if dice.is(30) { "{}/*\n" } else { "{}/one\n{}/two\\ Größe" };
    appliance.write("admin/etc/backup.txt", list.replace("{}", &data.display().to_string()));
    let before = portrait(&data);
    let run = |job: &str, words: &[&str]| {
        if is_whole_job {
            appliance.succeed(&format!("backup {job}"));
            return;
        }
        let mut command = appliance.command(Path::new(env!("CARGO_BIN_EXE_jidoteki-admin-jobs")));
        let output = command.arg("archive").args(words).output().unwrap();
        assert!(output.status.success(), "seed {seed}: {words:?}: {output:?}");
    };
    let archive = appliance.path("tmp/archive.tar");
    let file = archive.display().to_string();
    drop(fs::remove_file(&archive));
    run("START", &["pack", &file]);
    if is_whole_job {
        fs::copy(
            appliance.path("admin/home/sftp/uploads/backup.tar"),
            appliance.path("admin/home/sftp/uploads/backup-archive.tar"),
        )
        .unwrap();
    }
    match dice.below(3) {
        0 => fs::remove_dir_all(&data).unwrap(),
        1 => fs::remove_dir_all(data.join("one")).unwrap(),
        _ => {
            fs::write(data.join("one/something new"), "x").unwrap();
            fs::remove_dir_all(data.join("two Größe")).unwrap();
            fs::write(data.join("two Größe"), "not even a directory").unwrap();
        }
    }
    let destroyed = data.exists().then(|| portrait(&data));
    run("RESTORE", &["restore", &file]);
    compare(seed, &before, &portrait(&data));
    if let (true, Some(destroyed)) = (dice.is(20), destroyed) {
        run("UNDO", &["undo"]);
        compare(seed, &destroyed, &portrait(&data));
    } else {
        // The next tree begins without what this one has kept.
        run("UNDO", &["undo"]);
    }
}

#[track_caller]
fn compare(seed: u64, before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) {
    // The directory itself is not on the list.
    let differ = |(path, text): &(&PathBuf, &String), other: &BTreeMap<PathBuf, String>| {
        !path.as_os_str().is_empty() && other.get(*path) != Some(*text)
    };
    let lost: Vec<_> = before.iter().filter(|entry| differ(entry, after)).collect();
    let strange: Vec<_> = after.iter().filter(|entry| differ(entry, before)).collect();
    assert!(lost.is_empty() && strange.is_empty(), "seed {seed}\nwas {lost:#?}\nis {strange:#?}");
}

#[test]
fn any_tree_comes_back_as_it_was() {
    if let Ok(seed) = std::env::var("TREE") {
        for shell in SHELLS {
            try_tree(&Appliance::new(shell), seed.parse().unwrap(), true);
        }
        return;
    }
    let trees = std::env::var("TREES").map_or(TREES, |trees| trees.parse().unwrap());
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let in_memory = Appliance::in_memory(Shell::Dash);
                let appliances = [Appliance::new(Shell::Dash), Appliance::new(Shell::Busybox)];
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= trees {
                        return;
                    }
                    if seed.is_multiple_of(100) {
                        try_tree(&appliances[(seed / 100 % 2) as usize], seed, true);
                    } else {
                        try_tree(&in_memory, seed, false);
                    }
                }
            });
        }
    });
}

/// What is mounted below: an own disk, one of the same filesystem, one that is listed itself, one below another.
#[test]
fn trees_with_other_disks_in_them_come_back_and_the_disks_stay() {
    if !is_root() {
        return;
    }
    let appliance = Appliance::in_memory(Shell::Dash);
    let mut mounted = Vec::new();
    for seed in 0..40 {
        let mut dice = Dice(seed ^ 0xD15C);
        let data = appliance.path("data");
        let mut files = Vec::new();
        plant(&mut dice, &data, 0, &mut files);
        if dice.is(30) {
            must(Command::new("mount").arg("--bind").arg(&data).arg(&data));
            mounted.push(data.clone());
        }
        let places = ["m1", "deep/er/m2", "m1/inner", "deep/m 3"];
        let mut list = format!("{}\n", data.display());
        for (number, place) in places.iter().enumerate().filter(|_| dice.is(60)).collect::<Vec<_>>() {
            let point = data.join(place);
            fs::create_dir_all(&point).unwrap();
            let disk = appliance.path(&format!("disk{number}"));
            fs::create_dir_all(&disk).unwrap();
            if dice.is(50) {
                must(Command::new("mount").arg("--bind").arg(&disk).arg(&point));
            } else {
                must(Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "none"]).arg(&point));
            }
            mounted.push(point.clone());
            fs::write(point.join("on the disk"), "of before").unwrap();
            if dice.is(30) {
                list += &format!("{}\n", point.display().to_string().replace(' ', "\\ "));
            }
        }
        appliance.write("admin/etc/backup.txt", &list);
        let before = portrait(&data);
        let archive = appliance.path("tmp/archive.tar");
        drop(fs::remove_file(&archive));
        let run = |words: &[&str]| {
            let mut command = appliance.command(Path::new(env!("CARGO_BIN_EXE_jidoteki-admin-jobs")));
            command.arg("archive").args(words).output().unwrap()
        };
        let file = archive.display().to_string();
        let packed = run(&["pack", &file]);
        for entry in fs::read_dir(&data).unwrap() {
            let path = entry.unwrap().path();
            if !mounted.iter().any(|point| point.starts_with(&path)) {
                if path.is_dir() && !path.is_symlink() {
                    fs::remove_dir_all(&path).unwrap();
                } else {
                    fs::remove_file(&path).unwrap();
                }
            }
        }
        fs::write(data.join("new"), "x").unwrap();
        let destroyed = portrait(&data);
        let restored = run(&["restore", &file]);
        let after = portrait(&data);
        let again = run(&["restore", &file]);
        let after_again = portrait(&data);
        let undone = [run(&["undo"]), run(&["undo"])];
        let is_mounted: Vec<_> = mounted
            .iter()
            .map(|point| Command::new("mountpoint").arg("-q").arg(point).status().unwrap().success())
            .collect();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        while let Some(point) = mounted.pop() {
            must(Command::new("umount").arg(point));
        }
        for output in [&packed, &restored, &again, &undone[0]] {
            assert!(output.status.success(), "seed {seed}: {list}{output:?}\n{table}");
        }
        assert!(is_mounted.iter().all(|is| *is), "seed {seed}: {is_mounted:?}");
        compare(seed, &before, &after);
        compare(seed, &before, &after_again);
        assert!(!undone[1].status.success());
        drop(destroyed);
        fs::remove_dir_all(&data).unwrap();
        fs::create_dir(&data).unwrap();
        for number in 0..places.len() {
            drop(fs::remove_dir_all(appliance.path(&format!("disk{number}"))));
        }
    }
}
