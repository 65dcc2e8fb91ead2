//! The command line: what a person at the console, or as root, asks of the executable. Never reached under CGI.

pub mod openapi;
pub mod verify;
pub mod tokens;
pub mod machine;
pub mod check;
pub mod cli;
