//! The command line, for people and scripts. Only in builds with the feature `cli`.

use crate::appliance::{self, Appliance, keys};
use crate::caller::first_run::{self, FirstRun};
use crate::console::openapi;
use crate::console::tokens;
use crate::console::verify::{self, Fault};
use crate::endpoints::routes::{Handler, ROUTES};
use crate::values::scope::Scope;
use crate::values::token::{Token, Verifier};
use clap::{Arg, ArgMatches, Command};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::ops::RangeInclusive;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs the command that the arguments name. Returns 0 for success; 1 for a warning or a failure; 2 for wrong arguments
/// or an error finding. `EXIT_STATUS` describes this for people.
pub fn run() -> ExitCode {
    let matches = command().get_matches();
    let folder =
        |name: &str, variable: &str| matches.get_one::<OsString>(name).cloned().or_else(|| std::env::var_os(variable));
    let appliance = Appliance::new(folder("admin", "JIDO_ADMIN_PATH"), folder("etc", "JIDO_ETC_PATH"));
    let mut out = Pipe { inner: io::stdout().lock(), is_closed: false };
    let result = match matches.subcommand() {
        Some(("hash", matches)) => hash(matches, &mut out),
        Some(("routes", _)) => routes(&mut out),
        Some(("check", _)) => return check(&appliance),
        Some(("token", matches)) => token(matches, &appliance, &mut out),
        Some(("unlock", matches)) => {
            tokens::unlock(&appliance, matches.get_one::<String>("ADDRESS").map(String::as_str), &mut out)
        }
        Some(("audit", matches)) => return audit(matches, &appliance, &mut out),
        Some(("first-run", _)) => first_run(&appliance, &mut out),
        Some(("openapi", _)) => out.write_all(openapi::document().as_bytes()).map_err(|error| error.to_string()),
        _ => unreachable!("clap asks for one of the subcommands"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Standard output, which a reader such as `head` can close early: that is not a failure and does not change the exit
/// status.
struct Pipe<W> {
    inner: W,
    is_closed: bool,
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        match self.inner.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(bytes.len())
            }
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed { Ok(()) } else { self.inner.flush() }
    }
}

/// The meaning of the exit status, for `--help` and the manual.
const EXIT_STATUS: &str = "\
Exit status:
  0  done; nothing is wrong
  1  failed; check found warnings; audit verify found the log broken
  2  wrong arguments; check found errors; audit verify could not read the log

Files:
  /usr/local/etc/jidoteki-admin-api.json  the configuration
  /opt/jidoteki/tinyadmin/                the admin path: tokens, logs, jobs";

/// A command, or a group of commands. A table takes a third of the space of calls to clap.
struct Entry {
    name: &'static str,
    about: &'static str,
    parameters: &'static [Parameter],
    inner: &'static [Entry],
}

/// An argument or option of a command.
struct Parameter {
    name: &'static str,
    kind: Kind,
    help: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An option whose value has this name.
    Option(&'static str),
    RequiredOption(&'static str),
    /// A required argument.
    Required,
    /// An optional argument.
    Optional,
    /// Any number of files.
    Files,
}

const fn entry(name: &'static str, about: &'static str, parameters: &'static [Parameter]) -> Entry {
    Entry { name, about, parameters, inner: &[] }
}

const fn parameter(name: &'static str, kind: Kind, help: &'static str) -> Parameter {
    Parameter { name, kind, help }
}

const ENTRIES: &[Entry] = &[
    entry(
        "hash",
        "Signs a request: prints the value of ?hash=. The token is read from standard input",
        &[
            parameter("token-file", Kind::Option("FILE"), "Read the token from this file instead"),
            parameter("METHOD", Kind::Required, "GET or POST"),
            parameter("PATH", Kind::Required, "Such as /api/v1/admin/version; without query"),
        ],
    ),
    entry("routes", "Lists every request of the API", &[]),
    entry("check", "Checks this installation and suggests fixes; run as root for a full check", &[]),
    entry("first-run", "Prints the setup passphrase; creates it if first run is enabled", &[]),
    Entry {
        name: "token",
        about: "Adds, lists, removes and replaces API tokens; as root",
        parameters: &[],
        inner: &[
            entry(
                "add",
                "Adds a named token, and prints it once",
                &[
                    parameter("NAME", Kind::Required, "1 to 32 letters, digits, - and _; shown in the audit log"),
                    parameter(
                        "scope",
                        Kind::RequiredOption("SCOPE"),
                        "What the token allows: read the state, operate the appliance, or everything",
                    ),
                    parameter("days", Kind::Option("N"), "Days until it expires, 1 to 3650 [default: never]"),
                ],
            ),
            entry("list", "Lists the tokens with their scope and expiration time", &[]),
            entry(
                "remove",
                "Removes a named token, effective immediately",
                &[parameter("NAME", Kind::Required, "A name from `token list`")],
            ),
            entry(
                "rotate",
                "Sets or replaces the API token, and prints the new one once",
                &[parameter(
                    "overlap",
                    Kind::RequiredOption("HOURS"),
                    "Hours for which the old token also stays valid, up to 720; 0 for none",
                )],
            ),
        ],
    },
    entry("unlock", "Clears rate limits; as root", &[parameter("ADDRESS", Kind::Optional, "Only for this IP address")]),
    Entry {
        name: "audit",
        about: "Checks the audit log",
        parameters: &[],
        inner: &[entry(
            "verify",
            "Verifies that the audit log is intact, or names the first altered line; as root",
            &[parameter(
                "FILE",
                Kind::Files,
                "Only these files, such as copies of rotated logs [default: the log and its rotated files]",
            )],
        )],
    },
    entry("openapi", "Prints the API as an OpenAPI document", &[]),
];

/// The command line; the manual and the shell completions are generated from it.
pub fn command() -> Command {
    let mut command = Command::new("jidoteki-admin-api")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The HTTP API that manages a virtual appliance. A web server starts it (CGI/1.1); at a terminal, it offers these commands.")
        .after_help(EXIT_STATUS);
    for (name, help) in [
        ("admin", "The admin path [default: /opt/jidoteki/tinyadmin/]"),
        ("etc", "The etc path [default: /usr/local/etc/]"),
    ] {
        let folder = parameter(name, Kind::Option("DIR"), help);
        command = command.arg(argument(&folder).global(true).value_parser(clap::value_parser!(OsString)));
    }
    with_entries(command, "jidoteki-admin-api", ENTRIES)
}

/// `called` is the command so far. Usage lines come from the table too, because clap would need 7 KB for it.
fn with_entries(command: Command, called: &str, entries: &'static [Entry]) -> Command {
    let mut command = command
        .subcommand_required(true)
        .arg_required_else_help(true)
        .override_usage(format!("{called} [OPTIONS] <COMMAND>"));
    for entry in entries {
        let called = format!("{called} {}", entry.name);
        let mut usage = format!("{called} [OPTIONS]");
        let mut own = Command::new(entry.name).about(entry.about);
        for parameter in entry.parameters {
            match parameter.kind {
                Kind::Option(_) => {}
                Kind::RequiredOption(value) => usage.extend([" --", parameter.name, " <", value, ">"]),
                Kind::Required => usage.extend([" <", parameter.name, ">"]),
                Kind::Optional => usage.extend([" [", parameter.name, "]"]),
                Kind::Files => usage.extend([" [", parameter.name, "]..."]),
            }
            own = own.arg(argument(parameter));
        }
        let own = own.override_usage(usage);
        command =
            command.subcommand(if entry.inner.is_empty() { own } else { with_entries(own, &called, entry.inner) });
    }
    command
}

fn argument(parameter: &Parameter) -> Arg {
    let argument = Arg::new(parameter.name).help(parameter.help);
    let argument = match parameter.kind {
        Kind::Option(value) | Kind::RequiredOption(value) => argument.long(parameter.name).value_name(value),
        Kind::Files => argument.num_args(0..),
        Kind::Required | Kind::Optional => argument,
    };
    let argument = argument.required(matches!(parameter.kind, Kind::RequiredOption(_) | Kind::Required));
    if parameter.name == "scope" { argument.value_parser(Scope::ALL.map(Scope::name)) } else { argument }
}

/// The number in an option, if present.
fn number(matches: &ArgMatches, name: &str, allowed: RangeInclusive<u64>) -> Result<Option<u64>, String> {
    let Some(text) = matches.get_one::<String>(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if allowed.contains(&number) => Ok(Some(number)),
        _ => Err(format!("--{name} {text}: must be a number from {} to {}", allowed.start(), allowed.end())),
    }
}

fn token(matches: &ArgMatches, appliance: &Appliance, out: &mut dyn Write) -> Result<(), String> {
    let text = |matches: &ArgMatches, name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    match matches.subcommand() {
        Some(("add", matches)) => {
            let wanted = text(matches, "scope");
            let scope = Scope::parse(&wanted);
            let scope = scope.ok_or_else(|| format!("{wanted}: not a scope"))?;
            let days = number(matches, "days", keys::DAYS)?;
            tokens::add_token(appliance, &text(matches, "NAME"), scope, days, out)
        }
        Some(("list", _)) => tokens::list_tokens(appliance, out),
        Some(("remove", matches)) => tokens::remove_token(appliance, &text(matches, "NAME")),
        Some(("rotate", matches)) => {
            tokens::rotate_token(appliance, number(matches, "overlap", 0..=720)?.unwrap_or(0), out)
        }
        _ => unreachable!("clap asks for one of the subcommands"),
    }
}

fn audit(matches: &ArgMatches, appliance: &Appliance, out: &mut dyn Write) -> ExitCode {
    let files = matches.subcommand_matches("verify").and_then(|matches| matches.get_many::<String>("FILE"));
    let files: Vec<PathBuf> = files.unwrap_or_default().map(PathBuf::from).collect();
    match verify::verify(appliance, &files) {
        Ok(report) => {
            // A closed pipe does not change the exit status.
            drop(writeln!(out, "{report}"));
            ExitCode::SUCCESS
        }
        Err(fault @ Fault::Broken(_)) => {
            drop(writeln!(out, "broken: {fault}"));
            ExitCode::from(1)
        }
        Err(fault @ Fault::Unreadable(_)) => {
            log::error!("{fault}");
            ExitCode::from(2)
        }
    }
}

/// Never takes the token from an argument, which everyone on the machine can see.
fn hash(matches: &ArgMatches, out: &mut dyn Write) -> Result<(), String> {
    let argument = |name: &str| matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let content = if let Some(path) = matches.get_one::<String>("token-file") {
        appliance::read(Path::new(path)).map_err(|error| format!("cannot read {path}: {error}"))?
    } else {
        let mut content = Vec::new();
        let read = io::stdin().take(4096).read_to_end(&mut content);
        read.map_err(|error| format!("cannot read the token: {error}"))?;
        content
    };
    let token = Token::from_file(&content)
        .map_err(|reason| format!("not a valid token: {reason}"))?
        .ok_or("the token is empty: give it on standard input or with --token-file")?;
    let path = argument("PATH");
    if !path.starts_with('/') || path.contains('?') {
        return Err(format!("{path}: a path must begin with / and have no query, such as /api/v1/admin/version"));
    }
    let tag = Verifier::of(token.reveal()).tag(&argument("METHOD").to_ascii_uppercase(), path);
    writeln!(out, "{tag}").map_err(|error| error.to_string())
}

fn routes(out: &mut dyn Write) -> Result<(), String> {
    for route in ROUTES {
        let access = match route.handler {
            Handler::Public(_) | Handler::Open(_) => "anybody",
            Handler::Scoped(scope, _) => scope.name(),
        };
        let feature = route.feature.map_or("always", |feature| feature.name());
        let fields: Vec<&str> = route.fields.iter().map(|field| field.name).collect();
        let line = format!("{:4} {:32} {access:8} {feature:9} {}", route.method.as_str(), route.path, fields.join(","));
        writeln!(out, "{}", line.trim_end()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Hands over to the program for jobs, which has what root's side needs to look at the machine.
fn check(appliance: &Appliance) -> ExitCode {
    let program = std::env::current_exe().unwrap_or_default().with_file_name("jidoteki-admin-jobs");
    // It returns only if it fails.
    let error = std::process::Command::new(&program)
        .arg("check")
        .envs(appliance.variables().iter().map(|(name, value)| (name, value)))
        .exec();
    log::error!("cannot run {}: {error}. To fix it, run ./install.sh again", program.display());
    ExitCode::from(2)
}

fn first_run(appliance: &Appliance, out: &mut dyn Write) -> Result<(), String> {
    let (state, token) = first_run::state(appliance, &appliance.config());
    let text = match (state, token) {
        (FirstRun::NotConfigured, _) => "first run is not configured".to_owned(),
        (FirstRun::Done, _) => "first run is over: a token is set".to_owned(),
        (FirstRun::Pending, Some(passphrase)) => format!("setup passphrase: {}", passphrase.reveal()),
        (FirstRun::Unknown, _) => {
            return Err("cannot tell whether first run is pending: repair the file named above".to_owned());
        }
        (FirstRun::Pending, None) => {
            return Err("the setup passphrase could not be created: run this as root".to_owned());
        }
    };
    writeln!(out, "{text}").map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
    }
}
