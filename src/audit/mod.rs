//! The audit log: one line per decision, appended in one write, and the same as JSON in a
//! chained log. The only place that writes either.

mod action;
mod budget;
pub mod chain;
mod entry;

pub use action::Action;
pub use entry::record;
