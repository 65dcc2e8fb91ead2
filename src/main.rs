//! CGI or command line: the environment decides, before the arguments are read: some web servers turn a query into
//! arguments, and a query must never become a command line.

use jidoteki_admin_api::http::request::{self, Request};
use jidoteki_admin_api::root::commands;
use jidoteki_admin_api::{logging, respond};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::env;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes of a body to read after a panic, when its limit is unknown.
const MAX_DRAIN: u64 = 1 << 30;

/// musl's own allocator guards against errors that safe Rust cannot make, for a fifth of a request's time.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

static IS_ANSWERED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    logging::start(env!("CARGO_BIN_NAME"));
    if request::is_cgi(|name| env::var_os(name)) {
        serve();
        return ExitCode::SUCCESS;
    }
    let appliance = request::appliance(|name| env::var_os(name));
    if let Some(status) = commands::run(commands::GATE, env::args_os().skip(1), &appliance) {
        return status;
    }
    #[cfg(feature = "cli")]
    return jidoteki_admin_api::console::cli::run();
    #[cfg(not(feature = "cli"))]
    {
        log::error!("this build has no command line: it is started by a web server (CGI/1.1)");
        ExitCode::from(2)
    }
}

/// Responds to one request. The exit status is 0 if a response was sent.
fn serve() {
    std::panic::set_hook(Box::new(|panic| {
        log::error!("panic: {panic}");
        if !IS_ANSWERED.swap(true, Ordering::Relaxed) {
            drop(io::copy(&mut Stdin.take(MAX_DRAIN), &mut io::sink()));
            // Nothing can be done about a failure here.
            drop(Stdout.write_all(b"Status: 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 38\r\n\r\n{\"Status\":\"500 Internal Server Error\"}"));
        }
    }));
    let variable = |name: &str| env::var_os(name);
    let appliance = request::appliance(variable);
    let response = match Request::from_cgi(variable, Stdin) {
        Ok(mut request) => {
            request.body.wait_with(stdin_is_ready);
            respond(&mut request, &appliance)
        }
        Err(reason) => jidoteki_admin_api::http::error::Error::Bad(reason.to_owned()).into_response(None),
    };
    IS_ANSWERED.store(true, Ordering::Relaxed);
    if let Err(error) = response.write_to(&mut Stdout) {
        // The client has disconnected. The request is complete, and nobody is left to tell.
        log::info!("the response could not be written: {error}");
    }
}

/// Standard input without std's buffer: a body is read in chunks that are large enough.
struct Stdin;

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(nix::libc::STDIN_FILENO, buffer)?)
    }
}

fn stdin_is_ready(patience: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut wanted = [PollFd::new(&stdin, PollFlags::IN)];
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    Ok(poll(&mut wanted, Some(&patience))? > 0)
}

/// Standard output without std's buffer, which would write a response in two parts.
struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(io::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
