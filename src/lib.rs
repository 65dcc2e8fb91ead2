//! The HTTP API that administers a virtual appliance, as one CGI program.
//!
//! The folders below stand in reading order: each uses those above it, never those below, and so do the files in a folder
//! (its `mod.rs` has their order). Two tables are the exception: `endpoints::routes` names the handlers, and
//! `/endpoints` tells it; `root::commands` names the commands, which take its `Arguments`.

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
