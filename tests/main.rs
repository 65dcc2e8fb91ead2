//! Every test that needs more than one module: rings 3 and 4 of docs/ARCHITECTURE.md. A folder for each promise; scripts
//! and Rust stand in the same one.

// A test panics when a precondition fails, in helpers too; measurements are printed; tables are long.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::pedantic)]

mod contract;
mod cost;
mod docs;
mod jobs;
mod security;
mod support;
