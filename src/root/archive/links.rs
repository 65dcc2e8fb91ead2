//! The files with several names that are already in the archive, and their name there. Stored in a file, because there
//! can be as many as files; only the current lookup is in memory.

use super::member::Fault;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A slot: inode, device, and the offset of the name in the file of names, which starts with an unused byte.
const SLOT: usize = 24;
const MIN_SLOTS: u64 = 1 << 10;

/// Names by device and inode.
pub struct Links {
    folder: PathBuf,
    table: Option<Table>,
}

struct Table {
    slots: File,
    n_slots: u64,
    n_taken: u64,
    names: File,
    end: u64,
}

impl Links {
    /// An empty table. Its file is in a directory that only root can enter, and has no name there.
    pub fn new(folder: &Path) -> Links {
        Links { folder: folder.to_owned(), table: None }
    }

    /// The name of a file that was seen before. Otherwise, records this name for it.
    pub fn seen(&mut self, device: (u32, u32), inode: u64, name: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let device = u64::from(device.0) << 32 | u64::from(device.1);
        if self.table.is_none() {
            let (slots, names) = (self.file()?, self.file()?);
            slots.set_len(MIN_SLOTS * SLOT as u64)?;
            self.table = Some(Table { slots, n_slots: MIN_SLOTS, n_taken: 0, names, end: 1 });
        }
        let larger = match &self.table {
            Some(table) if table.n_taken * 2 >= table.n_slots => Some(self.file()?),
            _ => None,
        };
        let Some(table) = &mut self.table else { return Ok(None) };
        if let Some(larger) = larger {
            table.grow(larger)?;
        }
        match find(&table.slots, table.n_slots, device, inode)? {
            (_, Some(at)) => {
                let mut length = [0; 4];
                table.names.read_exact_at(&mut length, at)?;
                let mut name = vec![0; u32::from_le_bytes(length) as usize];
                table.names.read_exact_at(&mut name, at + 4)?;
                Ok(Some(name))
            }
            (slot, None) => {
                let length = u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes();
                table.names.write_all_at(&[&length, name].concat(), table.end)?;
                put(&table.slots, slot, device, inode, table.end)?;
                table.end += 4 + name.len() as u64;
                table.n_taken += 1;
                Ok(None)
            }
        }
    }

    fn file(&self) -> Result<File, Fault> {
        let path = self.folder.join("links");
        let _ = std::fs::remove_file(&path);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }
}

impl Table {
    fn grow(&mut self, larger: File) -> Result<(), Fault> {
        let n_slots = self.n_slots * 4;
        larger.set_len(n_slots * SLOT as u64)?;
        let mut some = vec![0; SLOT << 10];
        for at in (0..self.n_slots * SLOT as u64).step_by(some.len()) {
            self.slots.read_exact_at(&mut some, at)?;
            for slot in some.chunks_exact(SLOT) {
                let (inode, device, name) = parts(slot);
                if name != 0 {
                    let (slot, _) = find(&larger, n_slots, device, inode)?;
                    put(&larger, slot, device, inode, name)?;
                }
            }
        }
        self.slots = larger;
        self.n_slots = n_slots;
        Ok(())
    }
}

/// The slot of a file and the offset of its name; otherwise the free slot for it.
fn find(slots: &File, n_slots: u64, device: u64, inode: u64) -> Result<(u64, Option<u64>), Fault> {
    let mut slot = (inode ^ device.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
    loop {
        slot %= n_slots;
        let mut bytes = [0; SLOT];
        slots.read_exact_at(&mut bytes, slot * SLOT as u64)?;
        match parts(&bytes) {
            (_, _, 0) => return Ok((slot, None)),
            (known, on, name) if known == inode && on == device => return Ok((slot, Some(name))),
            _ => slot += 1,
        }
    }
}

fn put(slots: &File, slot: u64, device: u64, inode: u64, name: u64) -> Result<(), Fault> {
    let bytes = [inode.to_le_bytes(), device.to_le_bytes(), name.to_le_bytes()].concat();
    Ok(slots.write_all_at(&bytes, slot * SLOT as u64)?)
}

fn parts(slot: &[u8]) -> (u64, u64, u64) {
    let number = |at: usize| slot[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    (number(0), number(8), number(16))
}
