//! What docs/SECURITY.md promises. `mutants` breaks each defense and expects a test to fail; `fuzz/`, `flood`, `tls/` and
//! `dependencies` are steps of their own.

mod attack;
mod audit;
mod door;
mod gate;
pub mod signed;
