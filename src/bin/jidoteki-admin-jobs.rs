//! The program that root's jobs use to parse, compare or check texts and archives: `jidoteki-admin-jobs NAME ...`.
//!
//! It is a separate program, so that a web server never starts code that unpacks archives or configures a network, and
//! a request does not pay for code that it never runs.

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
    // Asked by `jidoteki-admin-api check`, which is what a person types.
    #[cfg(feature = "cli")]
    if env::args_os().nth(1).is_some_and(|name| name == "check") {
        return jidoteki_admin_api::console::check::report(&appliance, &mut std::io::stdout());
    }
    commands::run(commands::JOBS, env::args_os().skip(1), &appliance).unwrap_or_else(|| {
        log::error!("this program is for jobs: expected the name of a command");
        ExitCode::from(2)
    })
}
