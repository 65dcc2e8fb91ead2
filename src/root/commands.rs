//! Commands for jobs and units, which no person types. The only file that has their names.
//!
//! A job that runs as root uses them to parse, compare or check text, so that root uses the same types as the web side.

use crate::appliance::Appliance;
use crate::jobs::gate;
use crate::jobs::job;
use crate::root::adapters;
use crate::root::anchor;
use crate::root::archive;
use crate::root::certificate;
use crate::root::collect;
use crate::root::derive;
use crate::root::list;
use crate::root::machine;
use crate::root::measure;
use crate::root::named_token;
use crate::root::package;
use crate::root::preflight;
use crate::root::process;
use crate::root::sweep;
use crate::root::version;
use std::ffi::OsString;
use std::process::ExitCode;

/// The arguments after the command's name.
pub type Arguments<'a> = &'a mut dyn Iterator<Item = OsString>;

/// Runs a command. `Err` is one line for the caller's log.
type Command = fn(Arguments<'_>, &Appliance) -> Result<ExitCode, String>;

/// Commands by their names.
type Commands = &'static [(&'static str, Command)];

/// Commands of the executable: both ends of the gate.
pub const GATE: Commands = &[("gate-answer", gate::answer), (job::GATE_ASK, gate::ask)];

/// Commands of `jidoteki-admin-jobs`, for jobs and units.
pub const JOBS: Commands = &[
    ("anchor", anchor::command),
    ("archive", archive::run),
    ("certificate", certificate::command),
    ("collect", collect::command),
    ("conf", derive::conf),
    ("conf-mode", derive::mode),
    ("end", process::command),
    ("health", measure::health),
    ("history", measure::history),
    ("list", list::print),
    ("machine", machine::command),
    ("named-token", named_token::command),
    ("network", adapters::network),
    ("network-free", adapters::check_free),
    ("package", package::command),
    ("preflight", preflight::preflight),
    ("redact", collect::redact),
    ("sample", measure::sample),
    ("sweep", sweep::command),
    ("version", version::command),
];

/// Runs the command that the arguments name; `None` for an unknown one.
pub fn run(
    commands: Commands,
    mut arguments: impl Iterator<Item = OsString>,
    appliance: &Appliance,
) -> Option<ExitCode> {
    let name = arguments.next()?;
    let (name, command) = commands.iter().find(|(known, _)| name == *known)?;
    Some(command(&mut arguments, appliance).unwrap_or_else(|error| {
        log::error!("{name}: {error}");
        ExitCode::FAILURE
    }))
}
