//! The audit log: one line a decision, appended in one write (behaviour, section 6), and the same as JSON in a log whose
//! lines vouch for each other. The only place that writes either.

mod action;
mod budget;
pub mod chain;
mod entry;

pub use action::Action;
pub use entry::record;
