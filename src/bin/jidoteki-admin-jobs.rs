//! What jobs call as root, where text or an archive has to be parsed, compared or judged: `jidoteki-admin-jobs NAME ...`.
//!
//! It is a program of its own so that a web server never starts one that can unpack archives or write the configuration of
//! a network, and so that a request does not pay for code that it never runs.

use jidoteki_admin_api::http::request;
use jidoteki_admin_api::logging;
use jidoteki_admin_api::root::commands;
use std::env;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    logging::start(env!("CARGO_BIN_NAME"));
    let appliance = request::appliance(|name| env::var_os(name));
    commands::run(commands::JOBS, env::args_os().skip(1), &appliance).unwrap_or_else(|| {
        log::error!("it is called by jobs, with the name of a command");
        ExitCode::from(2)
    })
}
