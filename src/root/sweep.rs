//! Removes what web clients left, for the job `sweep`: a descriptor leads to it, so that root deletes nothing of others.

use super::commands::Arguments;
use crate::appliance::{Appliance, resumable};
use std::process::ExitCode;

/// Removes open uploads whose time is over.
pub fn uploads(_: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    resumable::sweep(appliance).map(|()| ExitCode::SUCCESS).map_err(|error| error.to_string())
}
