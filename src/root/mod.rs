//! Work of root beyond moving files: everything that parses, compares or checks for a job. It trusts nothing that the
//! web side has written. Reached through [`commands`].

pub mod programs;
pub mod walk;
pub mod list;
pub mod redact;
pub mod collect;
pub mod machine;
pub mod certificate;
pub mod derive;
pub mod version;
pub mod package;
pub mod preflight;
pub mod process;
pub mod sweep;
pub mod measure;
pub mod anchor;
pub mod named_token;
pub mod adapters;
pub mod archive;
pub mod commands;
