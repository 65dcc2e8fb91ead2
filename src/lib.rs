//! The HTTP API that manages a virtual appliance, as one CGI program.
//!
//! The folders are in reading order: each uses only those above it, and so do the files in a folder (`mod.rs` has their
//! order). Two tables are exceptions: `endpoints::routes` names the handlers, and `/endpoints` prints it;
//! `root::commands` names the commands, which use its `Arguments`.

pub mod logging;
pub mod values;
pub mod appliance;
pub mod audit;
pub mod jobs;
pub mod root;
pub mod http;
pub mod caller;
pub mod upload;
pub mod endpoints;
pub mod respond;
#[cfg(feature = "cli")]
pub mod console;

pub use respond::respond;
