//! Whether the server of new storage settings is there, for the log. It stops nothing: the settings count from the next boot,
//! and a server that is down now may be up then.

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

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints what it finds, a line each. Argument: the folder of root's with `storage.json`.
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
        // A line is a share and who may have it.
        "nfs" => ask("showmount", &["--no-headers", "-e", &server.to_string()])
            .map(|text| (text, 0, settings.value("share"), ["the share is exported", "the share is not exported"])),
        // A line is a portal and a target.
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

/// ATA over Ethernet has no server, but a device where one is found.
fn device(name: &str) -> Vec<String> {
    if name.is_empty() {
        return Vec::new();
    }
    let is_there = Path::new("/dev/etherd").join(name).exists();
    vec![if is_there { "the device is there" } else { "the device is not there now" }.to_owned()]
}
