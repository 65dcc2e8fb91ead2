//! systemd-networkd. Our file sorts before any other, including netplan's, and the first match counts.

use super::root::Root;
use super::{Change, HEADER, flush};
use crate::root::programs::{is_active, run, try_run};
use crate::values::network::NetworkSettings;
use std::fmt::Write as _;

const OURS: &str = "etc/systemd/network/05-jidoteki.network";
const DOWN: &str = "etc/systemd/network/05-jidoteki-down.network";

/// The appliance's interface.
pub fn ours(root: &Root) -> Option<String> {
    names(&root.text(OURS)?).next()
}

/// The names that our file matches.
fn names(text: &str) -> impl Iterator<Item = String> {
    let names = text.lines().find_map(|line| line.strip_prefix("Name=")).unwrap_or_default();
    names.split_ascii_whitespace().map(str::to_owned)
}

pub fn apply(change: &Change<'_>, is_running: bool) -> Result<(), String> {
    let is_changed = change.root.write(OURS, &file(change.settings), 0o644)?;
    // Interfaces that no longer stay down are configured again below.
    let were_down: Vec<String> = change.root.text(DOWN).map(|text| names(&text).collect()).unwrap_or_default();
    let down: Vec<&str> = change.down.iter().map(String::as_str).collect();
    if down.is_empty() {
        change.root.remove(DOWN)?;
    } else {
        change.root.write(DOWN, &down_file(&down.join(" ")), 0o644)?;
    }
    if !is_running {
        return Ok(());
    }
    let interface = change.settings.interface();
    // The previous interface must not keep an address that moves; an old static address is not a lease either.
    for other in change.left.iter().chain(&change.down) {
        flush(other);
    }
    if is_changed && matches!(change.settings, NetworkSettings::Dhcp { .. }) {
        flush(interface);
    }
    run("networkctl", &["reload"])?;
    for other in change.left.iter().chain(&change.down).chain(&were_down).filter(|other| *other != interface) {
        try_run("networkctl", &["reconfigure", other]);
    }
    run("networkctl", &["reconfigure", interface])
}

pub fn restore_original(root: &Root) -> Result<(), String> {
    let of = |file| root.text(file).map(|text| names(&text).collect::<Vec<_>>()).unwrap_or_default();
    let touched = [of(OURS), of(DOWN)].concat();
    let (was_ours, was_down) = (root.remove(OURS)?, root.remove(DOWN)?);
    if (was_ours || was_down) && is_active("systemd-networkd") {
        for interface in &touched {
            flush(interface);
        }
        run("networkctl", &["reload"])?;
        for interface in &touched {
            try_run("networkctl", &["reconfigure", interface]);
        }
    }
    Ok(())
}

fn file(settings: &NetworkSettings) -> String {
    let mut text = format!("{HEADER}[Match]\nName={}\n\n[Network]\n", settings.interface());
    let mut route = String::new();
    match settings {
        NetworkSettings::Dhcp { .. } => text.push_str("DHCP=yes\n"),
        NetworkSettings::Static { address, prefix, gateway, dns, .. } => {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "Address={}/{prefix}", address.value);
            for server in dns {
                let _ = writeln!(text, "DNS={}", server.value);
            }
            let on_link = if settings.is_gateway_outside() { "GatewayOnLink=yes\n" } else { "" };
            route = format!("\n[Route]\nGateway={}\n{on_link}", gateway.value);
        }
    }
    if let Some(ipv6) = settings.ipv6() {
        let _ = writeln!(text, "Address={}/{}", ipv6.address.value, ipv6.prefix);
        if let Some(gateway) = &ipv6.gateway {
            let on_link = if ipv6.is_gateway_outside() { "GatewayOnLink=yes\n" } else { "" };
            let _ = write!(route, "\n[Route]\nGateway={}\n{on_link}", gateway.value);
        }
    }
    if !settings.ntpserver().is_empty() {
        let _ = writeln!(text, "NTP={}", settings.ntpserver());
    }
    text + &route
}

/// Interfaces that had a default route before ours.
fn down_file(names: &str) -> String {
    format!(
        "{HEADER}[Match]\nName={names}\n\n[Link]\nActivationPolicy=down\nRequiredForOnline=no\n\n\
         [Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )
}
