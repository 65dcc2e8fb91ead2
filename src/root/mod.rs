//! The work of root that is more than moving the machine: everything that parses, compares or judges for a job. The only
//! place that trusts nothing the web side has written. Reached through [`commands`].

pub mod programs;
pub mod walk;
pub mod list;
pub mod redact;
pub mod collect;
pub mod certificate;
pub mod derive;
pub mod version;
pub mod package;
pub mod preflight;
pub mod adapters;
pub mod archive;
pub mod commands;
