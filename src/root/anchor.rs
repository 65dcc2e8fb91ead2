//! Records the state of the audit log once a minute, where only root can write. The API's user can rewrite its log and the
//! head of its chain, but not this record: `jidoteki-admin-api audit verify` compares the two. The command `anchor`.

use crate::appliance::{self, Appliance};
use crate::root::commands::Arguments;
use crate::values::clock;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::process::ExitCode;

/// Maximum number of anchors.
const MAX_ANCHORS: usize = 2000;

/// `anchor`
pub fn command(_: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    if let Some(head) = head(appliance) {
        note(appliance, &head).map_err(|error| error.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The number of the last entry and its chain value. The directory belongs to the API's user, so nothing in it is trusted.
fn head(appliance: &Appliance) -> Option<String> {
    let file = appliance::open_unlinked(&appliance.state_file("audit")).ok()?;
    let mut text = String::new();
    file.take(200).read_to_string(&mut text).ok()?;
    let line = text.lines().next()?;
    let (number, chain) = line.split_once(' ')?;
    let is_head = number.len() == 20
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && chain.len() == 64
        && chain.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_head.then(|| line.to_owned())
}

fn note(appliance: &Appliance, head: &str) -> io::Result<()> {
    let folder = appliance.admin().join("lib");
    if !folder.is_dir() {
        DirBuilder::new().mode(0o700).create(&folder)?;
    }
    let path = folder.join("audit-heads");
    let before = match appliance::read(&path) {
        Ok(content) => String::from_utf8_lossy(&content).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    if before.lines().next_back().and_then(|line| line.split_once(' ')).is_some_and(|(_, last)| last == head) {
        return Ok(());
    }
    // Remove every second anchor of the older half. Each anchor covers all entries before it, and the first one is never
    // removed, so that writing many entries cannot push the old ones out.
    if before.lines().count() >= MAX_ANCHORS {
        let kept: String = before
            .lines()
            .enumerate()
            .filter(|(at, _)| *at >= MAX_ANCHORS / 2 || at % 2 == 0)
            .flat_map(|(_, line)| [line, "\n"])
            .collect();
        appliance::replace(&path, kept.as_bytes(), 0o600)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    file.write_all(format!("{} {head}\n", clock::now()).as_bytes())
}
