//! Checks whether the server of new storage settings is reachable, for the log. It blocks nothing: the settings apply
//! from the next boot, and a server that is down now can be up then.

use crate::appliance::Appliance;
use crate::root::commands::Arguments;
use crate::root::derive;
use crate::root::programs::ask;
use crate::values::storage::StorageSettings;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Time limit for a server's response.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints its findings, one per line. Argument: root's directory with `storage.json`.
pub fn preflight(arguments: Arguments<'_>, appliance: &Appliance) -> Result<ExitCode, String> {
    let folder = arguments.next().ok_or("the folder is missing")?;
    let (settings, _) = derive::storage_settings(Path::new(&folder), appliance)?;
    for line in look(&settings) {
        writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn look(settings: &StorageSettings) -> Vec<String> {
    let server = settings.value("ip").parse::<IpAddr>().ok();
    let port = match settings.kind() {
        "nfs" => Some(2049),
        "iscsi" => Some(3260),
        "nbd" => settings.value("port").parse().ok(),
        _ => None,
    };
    let (Some(server), Some(port)) = (server, port) else { return device(settings.value("device")) };
    let address = SocketAddr::new(server, port);
    if TcpStream::connect_timeout(&address, PATIENCE).is_err() {
        return vec![format!("the server does not answer at {server} port {port}")];
    }
    let mut lines = vec![format!("the server answers at {server} port {port}")];
    let offers = match settings.kind() {
        // A line has a share and its allowed clients.
        "nfs" => ask("showmount", &["--no-headers", "-e", &server.to_string()])
            .map(|text| (text, 0, settings.value("share"), ["the share is exported", "the share is not exported"])),
        // A line has a portal and a target.
        "iscsi" => ask("iscsiadm", &["-m", "discovery", "-t", "sendtargets", "-p", &address.to_string()])
            .map(|text| (text, 1, settings.value("target"), ["the target exists", "the target does not exist"])),
        _ => None,
    };
    if let Some((text, column, wanted, [is_there, is_not])) = offers {
        let is_offered = text.lines().any(|line| line.split_ascii_whitespace().nth(column) == Some(wanted));
        lines.push(if is_offered { is_there } else { is_not }.to_owned());
    }
    lines
}

/// ATA over Ethernet has no server, but a device if one is found.
fn device(name: &str) -> Vec<String> {
    if name.is_empty() {
        return Vec::new();
    }
    let is_there = Path::new("/dev/etherd").join(name).exists();
    vec![if is_there { "the device is there" } else { "the device is not there now" }.to_owned()]
}
