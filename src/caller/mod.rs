//! Identifies the caller, decides what it is allowed to do, and how long a refused caller waits. The only place that
//! checks a credential.

pub mod auth;
pub mod pause;
pub mod first_run;
