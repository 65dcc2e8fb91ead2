//! Every test that needs more than one module: rings 3 and 4 of docs/ARCHITECTURE.md.

// A test panics when a precondition fails, in helpers too; measurements are printed; tables are long.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::pedantic)]

mod attack;
mod audit;
mod cases;
mod counts;
mod cross;
mod docs;
mod door;
mod edge;
mod fixture;
mod form;
mod gate;
mod http;
mod jobs;
mod jobs_api;
mod jobs_table;
mod manual;
mod outside;
mod resumable;
mod signed;
