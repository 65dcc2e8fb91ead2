//! Settings that do not depend on the network manager: host name, name servers, time server.

use super::root::{Root, lines};
use super::{Adapter, HEADER};
use crate::root::programs::{ask, is_active, try_run};
use crate::values::network::NetworkSettings;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

const HOSTNAME: &str = "etc/hostname";
const HOSTS: &str = "etc/hosts";
const RESOLV_CONF: &str = "etc/resolv.conf";
const RESOLVED: &str = "etc/systemd/resolved.conf.d/jidoteki.conf";
const CHRONY: &str = "etc/chrony/sources.d/jidoteki.sources";
const TIMESYNCD: &str = "etc/systemd/timesyncd.conf.d/jidoteki.conf";
/// Where systemd-resolved lists the servers that it uses.
const RESOLVED_TELLS: &str = "run/systemd/resolve/resolv.conf";

/// Applies all three. A setting that is absent gets its value from before our first change.
pub fn apply(root: &Root, settings: &NetworkSettings, manager: Adapter) -> Result<(), String> {
    let name = settings.hostname();
    root.keep(HOSTNAME)?;
    root.write(HOSTNAME, &format!("{name}\n"), 0o644)?;
    set_host_name(name)?;
    // sudo and others look up their own host name. Without a line here, each waits for a name server that may be
    // unreachable.
    if let Some(hosts) = root.text(HOSTS) {
        root.keep(HOSTS)?;
        root.write(HOSTS, &with_own_name(&hosts, name), 0o644)?;
    }
    apply_dns(root, settings, manager)?;
    apply_ntp(root, settings.ntpserver())
}

pub fn restore_original(root: &Root) -> Result<(), String> {
    if root.bring_back(HOSTNAME)?
        && let Some(name) = root.text(HOSTNAME)
    {
        set_host_name(name.trim())?;
    }
    root.bring_back(HOSTS)?;
    root.bring_back(RESOLV_CONF)?;
    put_drop_in(root, RESOLVED, None, "systemd-resolved")?;
    apply_ntp(root, "")
}

fn with_own_name(hosts: &str, name: &str) -> String {
    let others = hosts.lines().filter(|line| line.split_ascii_whitespace().next() != Some("127.0.1.1"));
    let short = name.split('.').next().filter(|short| *short != name);
    let short = short.map_or_else(String::new, |short| format!(" {short}"));
    format!("{}127.0.1.1\t{name}{short}\n", lines(others))
}

/// If it is a link, another program writes the file; the network manager or this program tells it.
fn apply_dns(root: &Root, settings: &NetworkSettings, manager: Adapter) -> Result<(), String> {
    let dns: Vec<String> = match settings {
        NetworkSettings::Dhcp { .. } => Vec::new(),
        NetworkSettings::Static { dns, .. } => dns.iter().map(|server| server.value.to_string()).collect(),
    };
    let is_link = root.path(RESOLV_CONF).is_symlink();
    // ifupdown does not support resolved; the others tell it themselves.
    let is_told = is_link && is_resolved(root) && manager == Adapter::Ifupdown && !dns.is_empty();
    let drop_in = is_told.then(|| format!("{HEADER}[Resolve]\nDNS={}\n", dns.join(" ")));
    put_drop_in(root, RESOLVED, drop_in.as_deref(), "systemd-resolved")?;
    if is_link || manager == Adapter::NetworkManager {
        return Ok(());
    }
    if dns.is_empty() {
        root.bring_back(RESOLV_CONF)?;
        return Ok(());
    }
    root.keep(RESOLV_CONF)?;
    // Keep everything except servers, including later additions, but not the lines of a lease.
    let now = root.text(RESOLV_CONF).and_then(|text| text.strip_prefix(HEADER).map(str::to_owned));
    let text = now.or_else(|| root.text_before(RESOLV_CONF)).unwrap_or_default();
    let others = text.lines().filter(|line| line.split_ascii_whitespace().next() != Some("nameserver"));
    let servers = dns.iter().map(|server| format!("nameserver {server}"));
    root.write(RESOLV_CONF, &format!("{HEADER}{}{}", lines(others), lines(servers)), 0o644).map(drop)
}

fn is_resolved(root: &Root) -> bool {
    let target = std::fs::read_link(root.path(RESOLV_CONF)).unwrap_or_default();
    target.components().any(|part| part.as_os_str() == "resolve")
}

/// The name servers that programs of this machine use.
pub fn servers(root: &Root) -> BTreeSet<IpAddr> {
    let text = if is_resolved(root) { root.text(RESOLVED_TELLS) } else { root.text(RESOLV_CONF) };
    let text = text.unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok()).collect()
}

fn apply_ntp(root: &Root, server: &str) -> Result<(), String> {
    // One spelling for an address: if only that changes, chrony loses the server at a reload.
    let address = server.parse::<IpAddr>().map(|address| address.to_string());
    let server = address.as_deref().unwrap_or(server);
    let drop_in = (!server.is_empty()).then(|| format!("{HEADER}[Time]\nNTP={server}\n"));
    put_drop_in(root, TIMESYNCD, drop_in.as_deref(), "systemd-timesyncd")?;
    // chrony's drop-in directory, under its name in Debian 12 and later.
    let is_chrony = !server.is_empty() && is_chrony() && root.path(CHRONY).parent().is_some_and(Path::is_dir);
    let is_changed = if is_chrony {
        root.write(CHRONY, &format!("{HEADER}server {server} iburst prefer\n"), 0o644)?
    } else {
        root.remove(CHRONY)?
    };
    if is_changed {
        try_run("chronyc", &["reload", "sources"]);
    }
    Ok(())
}

fn is_timesyncd() -> bool {
    is_active("systemd-timesyncd")
}

fn is_chrony() -> bool {
    is_active("chrony")
}

/// Whether the clock's synchronization uses this server; `None` if no program can tell.
pub fn asks_time_server(server: &str) -> Option<bool> {
    let servers = if is_timesyncd() {
        ask("timedatectl", &["show-timesync", "--property=SystemNTPServers", "--value"])?
    } else if is_chrony() {
        // Mode, state, name and numbers. -N shows the configured name, -a also servers that are not resolved yet.
        let text = ask("chronyc", &["-c", "-N", "sources", "-a"])?;
        lines(text.lines().filter_map(|line| line.split(',').nth(2)))
    } else {
        return None;
    };
    let value = server.parse::<IpAddr>().ok();
    Some(servers.split_whitespace().any(|one| one == server || (value.is_some() && one.parse().ok() == value)))
}

/// Installs or removes our drop-in, and makes its service read it.
fn put_drop_in(root: &Root, name: &str, content: Option<&str>, service: &str) -> Result<(), String> {
    let is_changed = match content {
        Some(content) => root.write(name, content, 0o644)?,
        None => root.remove(name)?,
    };
    if is_changed {
        // systemd refuses the sixth start of a unit within ten seconds, and counts our restarts.
        try_run("systemctl", &["reset-failed", service]);
        try_run("systemctl", &["try-restart", service]);
    }
    Ok(())
}

fn set_host_name(name: &str) -> Result<(), String> {
    nix::unistd::sethostname(name).map_err(|error| format!("The host name cannot be set ({})", error.desc()))
}

pub fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
