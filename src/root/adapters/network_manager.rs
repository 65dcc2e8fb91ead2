//! `NetworkManager`: our own connection, which takes precedence over others of the interface.

use super::root::Root;
use super::{Change, HEADER, flush};
use crate::root::programs::{ask, is_active, run, try_run};
use crate::values::network::NetworkSettings;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

const OURS: &str = "etc/NetworkManager/system-connections/jidoteki.nmconnection";
const DOWN: &str = "etc/NetworkManager/conf.d/05-jidoteki.conf";
/// The name and the fixed UUID of our connection.
const NAME: &str = "jidoteki";
const UUID: &str = "6a69646f-7465-4b69-8d61-646d696e0001";

/// How long to wait for the previous interface, which may be waiting for a lease.
const CONNECT_SECONDS: &str = "15";

/// Whether it manages that interface: it ignores interfaces in `/etc/network/interfaces`.
pub fn manages(interface: &str) -> bool {
    let state = ask("nmcli", &["-g", "GENERAL.STATE", "device", "show", interface]);
    // 10 is "unmanaged". Before it runs it cannot be asked, and will accept the files.
    state.is_none_or(|state| !state.starts_with("10 "))
}

/// The appliance's interface.
pub fn ours(root: &Root) -> Option<String> {
    root.text(OURS)?.lines().find_map(|line| line.strip_prefix("interface-name=").map(str::to_owned))
}

pub fn apply(change: &Change<'_>, is_running: bool) -> Result<(), String> {
    let root = change.root;
    root.write(OURS, &file(change.settings), 0o600)?;
    let were_down = down_names(root);
    let down: Vec<String> = change.down.iter().map(|name| format!("interface-name:{name}")).collect();
    if down.is_empty() {
        root.remove(DOWN)?;
    } else {
        let text = format!("{HEADER}[device-jidoteki]\nmatch-device={}\nmanaged=0\n", down.join(","));
        root.write(DOWN, &text, 0o644)?;
    }
    if !is_running {
        return Ok(());
    }
    for other in change.left.iter().chain(&change.down).collect::<BTreeSet<_>>() {
        try_run("nmcli", &["device", "disconnect", other]);
        flush(other);
    }
    run("nmcli", &["general", "reload", "conf"])?;
    run("nmcli", &["connection", "reload"])?;
    run("nmcli", &["connection", "up", "uuid", UUID])?;
    for other in change.left.iter().chain(&were_down).filter(|other| !change.down.contains(*other)) {
        if other != change.settings.interface() {
            try_run("nmcli", &["-w", CONNECT_SECONDS, "device", "connect", other]);
        }
    }
    Ok(())
}

pub fn restore_original(root: &Root) -> Result<(), String> {
    let mut touched = down_names(root);
    touched.extend(ours(root));
    let is_running = is_active("NetworkManager");
    if is_running && root.exists(OURS) {
        try_run("nmcli", &["connection", "down", "uuid", UUID]);
    }
    let (was_ours, was_down) = (root.remove(OURS)?, root.remove(DOWN)?);
    if is_running && (was_ours || was_down) {
        run("nmcli", &["general", "reload", "conf"])?;
        run("nmcli", &["connection", "reload"])?;
        for interface in &touched {
            flush(interface);
        }
        for interface in &touched {
            try_run("nmcli", &["-w", CONNECT_SECONDS, "device", "connect", interface]);
        }
    }
    Ok(())
}

fn down_names(root: &Root) -> Vec<String> {
    let text = root.text(DOWN).unwrap_or_default();
    let names = text.lines().find_map(|line| line.strip_prefix("match-device=")).unwrap_or_default();
    names.split(',').filter_map(|name| name.strip_prefix("interface-name:")).map(str::to_owned).collect()
}

fn file(settings: &NetworkSettings) -> String {
    let mut text = format!(
        "{HEADER}[connection]\nid={NAME}\nuuid={UUID}\ntype=ethernet\ninterface-name={}\nautoconnect=true\n\
         autoconnect-priority=999\n",
        settings.interface()
    );
    match settings {
        NetworkSettings::Dhcp { .. } => {
            let _ = write!(text, "\n[ipv4]\nmethod=auto\n\n[ipv6]\n{}", beside(settings));
        }
        NetworkSettings::Static { address, prefix, gateway, dns, .. } => {
            let of = |is_v4: bool| {
                let servers = dns.iter().filter(|server| server.value.is_ipv4() == is_v4);
                let servers: Vec<String> = servers.map(|server| server.value.to_string()).collect();
                if servers.is_empty() { String::new() } else { format!("dns={};\n", servers.join(";")) }
            };
            let manual = format!("method=manual\naddress1={}/{prefix},{}\n", address.value, gateway.value);
            // Writing to a string cannot fail.
            let _ = match address.value {
                IpAddr::V4(_) => {
                    write!(text, "\n[ipv4]\n{manual}{}\n[ipv6]\n{}{}", of(true), beside(settings), of(false))
                }
                IpAddr::V6(_) => write!(text, "\n[ipv4]\nmethod=disabled\n\n[ipv6]\n{manual}{}", of(false)),
            };
        }
    }
    text
}

/// The IPv6 settings, in addition to IPv4.
fn beside(settings: &NetworkSettings) -> String {
    let Some(ipv6) = settings.ipv6() else { return "method=auto\n".to_owned() };
    let gateway = ipv6.gateway.as_ref().map_or_else(String::new, |gateway| format!(",{}", gateway.value));
    // A static address in addition to announced ones. Without a gateway, announced routes are used.
    let method = if gateway.is_empty() { "auto" } else { "manual" };
    format!("method={method}\naddress1={}/{}{gateway}\n", ipv6.address.value, ipv6.prefix)
}
