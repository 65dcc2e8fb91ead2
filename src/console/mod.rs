//! The command line of the executable, for a person at the console or root. Never used under CGI.

pub mod openapi;
pub mod verify;
pub mod tokens;
pub mod machine;
pub mod check;
pub mod cli;
