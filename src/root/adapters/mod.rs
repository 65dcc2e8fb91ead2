//! Configures a Debian's network: `jidoteki-admin-jobs network static|dhcp|none`, which `bin/network.sh` calls. It
//! reads `network.json` and trusts no other file.
//!
//! The result depends only on the settings and on the machine before our first change. Therefore a rollback restores
//! exactly the previous files, and "none" restores those before the first change. Afterwards the kernel is asked
//! whether the machine matches.

mod ifupdown;
mod look;
mod names;
mod network_manager;
mod networkd;
mod root;

use crate::appliance::{self, Appliance};
use crate::root::commands::Arguments;
use crate::root::programs::{self, is_active, is_enabled, try_run};
use crate::values::json::Object;
use crate::values::network::NetworkSettings;
use root::Root;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Exit status for settings that are stored but that nothing here applies.
const STORED: u8 = 3;

/// The first line of each file that is entirely ours.
const HEADER: &str = "# Made by jidoteki-admin-api; a change here is overwritten.\n";

/// The manager of this machine's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adapter {
    /// `NetworkManager`, also under netplan.
    NetworkManager,
    /// `systemd-networkd`, also under netplan: our file sorts before netplan's.
    Networkd,
    /// `ifup` and `ifdown`.
    Ifupdown,
}

/// A machine whose network changes.
struct Change<'a> {
    root: &'a Root,
    settings: &'a NetworkSettings,
    /// Other interfaces that had a default route before our first change. They stay down, because two default routes
    /// conflict.
    down: BTreeSet<String>,
    /// The previous interface of the appliance, if it is a different one.
    left: Option<String>,
}

/// Configures the network from `network.json`. Arguments: `static`, `dhcp`, or `none` to remove all of our changes. For a
/// failure, prints the reason on standard output, in a line that starts with `Reason: `.
pub fn network(arguments: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    let mode = arguments.next().unwrap_or_default();
    let root = Root::new(appliance);
    let done = match mode.to_str() {
        Some("none") => restore_original(&root).map(|()| ExitCode::SUCCESS),
        // Without settings, use those of the machine.
        Some("static" | "dhcp") if !appliance.etc_file("network.json").exists() => {
            restore_original(&root).map(|()| ExitCode::SUCCESS)
        }
        Some(mode @ ("static" | "dhcp")) => settings(&appliance.etc_file("network.json")).and_then(|settings| {
            if settings.mode() == mode {
                apply(&root, &settings)
            } else {
                Err(format!("The network settings are not {mode}"))
            }
        }),
        _ => return Err("usage: network static|dhcp|none".to_owned()),
    };
    done.or_else(|reason| {
        writeln!(io::stdout(), "Reason: {reason}").map_err(|error| error.to_string())?;
        Ok(ExitCode::FAILURE)
    })
}

/// Checks that no other machine has a new address. The argument is a directory with `network.json`. Prints the reason, if
/// there is one. Only for a change: a rollback must not depend on other machines.
pub fn check_free(arguments: Arguments<'_>, _: &Appliance) -> Result<ExitCode, String> {
    let folder = arguments.next().ok_or("the folder is missing")?;
    if let Err(reason) = look::check_free(&settings(&Path::new(&folder).join("network.json"))?) {
        writeln!(io::stdout(), "{reason}").map_err(|error| error.to_string())?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Settings, parsed with the same types as on the web side.
fn settings(path: &Path) -> Result<NetworkSettings, String> {
    let content = appliance::read(path).map_err(|error| format!("There are no network settings ({})", error.kind()))?;
    let text = String::from_utf8(content).map_err(|_| "The network settings are not UTF-8".to_owned())?;
    let object = Object::parse(&text).map_err(|reason| format!("Invalid network settings: {reason}"))?;
    NetworkSettings::parse(&object).map_err(|fault| fault.to_string())
}

fn apply(root: &Root, settings: &NetworkSettings) -> Result<ExitCode, String> {
    let interface = settings.interface();
    let Some(manager) = find_manager(root, interface) else {
        say(
            "Nothing that we know manages this network: the settings are stored for the image, which reads network.conf",
        );
        return Ok(ExitCode::from(STORED));
    };
    // During boot, interfaces may not exist yet and there is nothing to wait for: write only the files.
    let is_running = match manager {
        Adapter::NetworkManager => is_active("NetworkManager"),
        Adapter::Networkd => is_active("systemd-networkd"),
        Adapter::Ifupdown => ifupdown::is_up(root),
    };
    if is_running && !look::is_interface(interface) {
        return Err(format!("There is no interface {interface}"));
    }
    let ours = match manager {
        Adapter::NetworkManager => network_manager::ours(root),
        Adapter::Networkd => networkd::ours(root),
        Adapter::Ifupdown => ifupdown::ours(root),
    };
    let before = root.led_out_before(ours.as_deref(), look::leading_out)?;
    let change = Change {
        root,
        settings,
        down: before.into_iter().filter(|other| other != interface).collect(),
        left: ours.filter(|ours| ours != interface),
    };
    names::apply(root, settings, manager)?;
    let reports = look::Reports::begin();
    match manager {
        Adapter::NetworkManager => network_manager::apply(&change, is_running),
        Adapter::Networkd => networkd::apply(&change, is_running),
        Adapter::Ifupdown => ifupdown::apply(&change, is_running),
    }
    .and_then(|()| if is_running { look::wait(root, settings) } else { Ok(()) })
    .map_err(|reason| reports.reason(settings).unwrap_or(reason))?;
    // A manager that is not running has applied nothing, so nothing was checked.
    Ok(ExitCode::from(if is_running { 0 } else { STORED }))
}

/// Restores everything from before our first change, whichever manager runs now.
fn restore_original(root: &Root) -> Result<(), String> {
    names::restore_original(root)?;
    network_manager::restore_original(root)?;
    networkd::restore_original(root)?;
    ifupdown::restore_original(root)?;
    root.forget_what_led_out()
}

fn find_manager(root: &Root, interface: &str) -> Option<Adapter> {
    let is_there = |unit| is_active(unit) || is_enabled(unit);
    if is_there("NetworkManager") && network_manager::manages(interface) {
        Some(Adapter::NetworkManager)
    } else if is_there("systemd-networkd") {
        Some(Adapter::Networkd)
    } else if programs::is_installed("ifup") && root.path("etc/network").is_dir() {
        Some(Adapter::Ifupdown)
    } else {
        None
    }
}

/// Removes every global address from an interface.
fn flush(interface: &str) {
    try_run("ip", &["addr", "flush", "dev", interface, "scope", "global"]);
}

/// A line for the log of the job.
fn say(text: &str) {
    // Nothing can be done if the log cannot be written.
    drop(writeln!(io::stdout(), "{text}"));
}
