//! Checks whether the machine matches the settings: asks the kernel, and compares values.

use super::names;
use super::root::Root;
use super::say;
use crate::root::programs;
use crate::values::network::NetworkSettings;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long our own address may take to appear.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same for a DHCP lease: clients ask for about as long.
const LEASE_PATIENCE: Duration = Duration::from_secs(60);
/// How long another machine may take to answer for an address. Most answer within a few milliseconds; an address that
/// is free costs all of it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// How long a cable may take until it works, after an interface comes up.
const CABLE_PATIENCE: Duration = Duration::from_secs(5);
/// How long the kernel may check a link-local address before it asks for others: up to a second until it sends the
/// question, and a second for the answer.
const LINK_LOCAL_PATIENCE: Duration = Duration::from_secs(3);

/// The sender of questions on an interface without an address: no machine has it (RFC 7600).
const NOBODY: &str = "192.0.0.8/32";
/// On an interface that is up only for a question, the kernel neither answers for addresses of other interfaces nor
/// follows routers.
const QUIET: [(&str, &str); 2] = [("ipv4/conf/IF/arp_ignore", "1"), ("ipv6/conf/IF/accept_ra", "0")];

/// An address of the machine.
struct Own {
    interface: String,
    address: IpAddr,
    prefix: u64,
    is_tentative: bool,
    is_duplicate: bool,
}

/// What the kernel reports about its IPv6 addresses during a change: `NetworkManager` removes an address that another
/// machine has at once, so it cannot be seen afterwards.
pub struct Reports(Option<File>);

impl Reports {
    pub fn begin() -> Reports {
        // RTMGRP_IPV6_IFADDR
        const ADDRESSES: u32 = 0x100;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // NETLINK_ROUTE is the protocol 0.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None).ok();
        // Without reports, a failure has its general reason.
        Reports(socket.filter(|socket| bind(socket, &SocketAddrNetlink::new(0, ADDRESSES)).is_ok()).map(File::from))
    }

    /// The reason for a failure, if it is an address of these settings that another machine has.
    pub fn reason(self, settings: &NetworkSettings) -> Option<String> {
        let wanted = wanted(settings);
        let mut socket = self.0?;
        let mut buffer = [0; 1024];
        // Each message is a report. When there is none any more, reading fails.
        while let Ok(length) = socket.read(&mut buffer) {
            let report = buffer.get(..length)?;
            let is_in = |address: &IpAddr| match address {
                IpAddr::V4(_) => false,
                IpAddr::V6(ipv6) => report.windows(16).any(|bytes| bytes == ipv6.octets()),
            };
            // RTM_NEWADDR, and IFA_F_DADFAILED among the flags after family and prefix.
            let is_duplicate = report.get(4) == Some(&20) && report.get(18).is_some_and(|flags| flags & 8 != 0);
            if is_duplicate && let Some((address, _)) = wanted.iter().find(|(address, _)| is_in(address)) {
                return Some(is_of_another(*address));
            }
        }
        None
    }
}

/// The static addresses of settings, each with its gateway.
fn wanted(settings: &NetworkSettings) -> Vec<(IpAddr, Option<IpAddr>)> {
    let ipv4 = match settings {
        NetworkSettings::Dhcp { .. } => None,
        NetworkSettings::Static { address, gateway, .. } => Some((address.value, Some(gateway.value))),
    };
    let ipv6 = settings.ipv6().map(|ipv6| (ipv6.address.value, ipv6.gateway.as_ref().map(|gateway| gateway.value)));
    ipv4.into_iter().chain(ipv6).collect()
}

/// Waits until the machine matches the settings, or returns the difference.
pub fn wait(root: &Root, settings: &NetworkSettings) -> Result<(), String> {
    let patience = match settings {
        NetworkSettings::Dhcp { .. } => LEASE_PATIENCE,
        NetworkSettings::Static { .. } => PATIENCE,
    };
    let end = Instant::now() + patience;
    while let Err(reason) = check(root, settings) {
        if Instant::now() >= end {
            return Err(reason);
        }
        sleep(Duration::from_millis(100));
    }
    let server = settings.ntpserver();
    if !server.is_empty() && names::asks_time_server(server).is_none() {
        say(&format!(
            "Whether the time server {server} is used is not known: neither systemd-timesyncd nor chrony answers"
        ));
    }
    Ok(())
}

fn check(root: &Root, settings: &NetworkSettings) -> Result<(), String> {
    let addresses = addresses();
    match settings {
        NetworkSettings::Dhcp { interface, .. } => {
            if !addresses.iter().any(|own| own.interface == *interface && is_global(own.address)) {
                return Err(format!("No server has given {interface} an address"));
            }
        }
        NetworkSettings::Static { interface, address, prefix, gateway, dns, .. } => {
            check_own(interface, address.value, *prefix, Some(gateway.value), &addresses)?;
            let servers = names::servers(root);
            if let Some(missing) = dns.iter().find(|server| !servers.contains(&server.value)) {
                return Err(format!("The name server {} is not in force", missing.value));
            }
        }
    }
    if let Some(ipv6) = settings.ipv6() {
        let gateway = ipv6.gateway.as_ref().map(|gateway| gateway.value);
        check_own(settings.interface(), ipv6.address.value, ipv6.prefix, gateway, &addresses)?;
    }
    if names::host_name().as_deref() != Some(settings.hostname()) {
        return Err(format!("The host name is not {}", settings.hostname()));
    }
    let server = settings.ntpserver();
    if !server.is_empty() && names::asks_time_server(server) == Some(false) {
        return Err(format!("The time server {server} is not in force"));
    }
    Ok(())
}

/// Checks that the interface has the address and the gateway, and that no other interface has the address.
fn check_own(
    interface: &str,
    address: IpAddr,
    prefix: u8,
    gateway: Option<IpAddr>,
    addresses: &[Own],
) -> Result<(), String> {
    match addresses.iter().find(|own| own.interface == interface && own.address == address) {
        Some(own) if own.prefix != u64::from(prefix) => Err(()),
        Some(own) if own.is_duplicate => return Err(is_of_another(address)),
        // Unusable until duplicate address detection ends.
        Some(own) if own.is_tentative => Err(()),
        Some(_) => Ok(()),
        None => Err(()),
    }
    .map_err(|()| format!("{interface} did not get the address {address}/{prefix}"))?;
    if let Some(other) = addresses.iter().find(|own| own.interface != interface && own.address == address) {
        return Err(format!("{} has the address {address} too", other.interface));
    }
    match gateway {
        Some(gateway) if !default_routes().contains(&(interface.to_owned(), gateway)) => {
            Err(format!("{interface} has no default route by {gateway}"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Fails if another machine of the network answers for a new address, by ARP or neighbor discovery. The kernel asks.
/// An interface that is down comes up for the question: after the change it would be too late, because the kernel does
/// not ask for an IPv4 address that it has.
pub fn check_free(settings: &NetworkSettings) -> Result<(), String> {
    let interface = settings.interface();
    let own = addresses();
    let mut new = wanted(settings);
    new.retain(|(address, _)| own.iter().all(|own| own.address != *address));
    if new.is_empty() || !is_interface(interface) {
        return Ok(());
    }
    if has_flag(interface, "UP") {
        return ask_for(interface, &new);
    }
    let files = QUIET.map(|(name, value)| {
        let path = format!("/proc/sys/net/{}", name.replace("IF", interface));
        (std::fs::read_to_string(&path).unwrap_or_default(), path, value)
    });
    for (_, path, value) in &files {
        // Without IPv6 there is no such file.
        drop(std::fs::write(path, value));
    }
    tell(&["addr", "add", NOBODY, "dev", interface]);
    tell(&["link", "set", interface, "up"]);
    within(CABLE_PATIENCE, &mut || has_flag(interface, "LOWER_UP"));
    let answer = ask_for(interface, &new);
    tell(&["link", "set", interface, "down"]);
    tell(&["addr", "del", NOBODY, "dev", interface]);
    for (before, path, _) in &files {
        drop(std::fs::write(path, before));
    }
    answer
}

/// Asks for addresses, each with its gateway.
fn ask_for(interface: &str, new: &[(IpAddr, Option<IpAddr>)]) -> Result<(), String> {
    if new.iter().any(|(address, _)| address.is_ipv6()) {
        // The kernel asks from this address. Without it, nobody would answer.
        within(LINK_LOCAL_PATIENCE, &mut || {
            addresses().iter().any(|own| own.interface == interface && !own.is_tentative && is_link_local(own.address))
        });
    }
    let neigh = |verb, address: &IpAddr, option: &[&str]| {
        tell(&[&["neigh", verb, &address.to_string(), "dev", interface][..], option].concat());
    };
    for (address, gateway) in new {
        // The last answer may be from a machine that has gone.
        neigh("del", address, &[]);
        for asked in gateway.iter().chain([address]) {
            neigh("replace", asked, &["use"]);
        }
    }
    let mut neighbors = Vec::new();
    within(ANSWER_PATIENCE, &mut || {
        neighbors = ip(&["neigh", "show", "dev", interface]);
        neighbors.iter().all(|one| one["state"][0] != "INCOMPLETE")
    });
    let hardware = |address| neighbors.iter().find(|one| to_address(&one["dst"]) == Some(address))?["lladdr"].as_str();
    for (address, gateway) in new {
        neigh("del", address, &[]);
        // A router that answers for every address, as in some clouds, does not have this one.
        if hardware(*address).is_some_and(|other| gateway.and_then(hardware) != Some(other)) {
            return Err(is_of_another(*address));
        }
    }
    Ok(())
}

/// Tells the kernel something for a question. Errors show as missing answers.
fn tell(arguments: &[&str]) {
    drop(programs::ask("ip", arguments));
}

/// Waits for something, as long as it may take.
fn within(patience: Duration, is_so: &mut dyn FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !is_so() && Instant::now() < end {
        sleep(Duration::from_millis(50));
    }
}

fn has_flag(interface: &str, flag: &str) -> bool {
    ip(&["link", "show", "dev", interface])
        .iter()
        .any(|one| one["flags"].as_array().is_some_and(|flags| flags.iter().any(|one| one == flag)))
}

fn is_of_another(address: IpAddr) -> String {
    format!("Another machine has the address {address}")
}

pub fn is_interface(name: &str) -> bool {
    ip(&["addr", "show"]).iter().any(|one| one["ifname"] == name)
}

/// The interfaces that have a default route.
pub fn leading_out() -> BTreeSet<String> {
    default_routes().into_iter().map(|(name, _)| name).collect()
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_link_local() && !address.is_loopback(),
        IpAddr::V6(address) => !address.is_unicast_link_local() && !address.is_loopback(),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// A list from `ip`, as JSON.
fn ip(arguments: &[&str]) -> Vec<Value> {
    let text = programs::ask("ip", &[&["-j"][..], arguments].concat()).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn to_address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

/// The addresses of this machine.
fn addresses() -> Vec<Own> {
    let mut found = Vec::new();
    for interface in ip(&["addr", "show"]) {
        for info in interface["addr_info"].as_array().into_iter().flatten() {
            // Some releases print an empty object in addition to the requested addresses.
            if let (Some(name), Some(address), Some(prefix)) =
                (interface["ifname"].as_str(), to_address(&info["local"]), info["prefixlen"].as_u64())
            {
                found.push(Own {
                    interface: name.to_owned(),
                    address,
                    prefix,
                    is_tentative: info["tentative"] == true,
                    is_duplicate: info["dadfailed"] == true,
                });
            }
        }
    }
    found
}

/// The default routes with a gateway: the interface and the gateway.
fn default_routes() -> BTreeSet<(String, IpAddr)> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    let (ipv4, ipv6) = (read("route"), read("ipv6_route"));
    ipv4.lines().filter_map(route_of_ipv4).chain(ipv6.lines().filter_map(route_of_ipv6)).collect()
}

/// A line of `/proc/net/route`: name, destination, gateway, flags, three counts, mask.
fn route_of_ipv4(line: &str) -> Option<(String, IpAddr)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [name, destination, gateway, _, _, _, _, mask, ..] = fields[..] else { return None };
    let is_default = destination == "00000000" && mask == "00000000" && gateway != "00000000";
    let bytes = u32::from_str_radix(gateway, 16).ok().filter(|_| is_default)?.to_ne_bytes();
    Some((name.to_owned(), Ipv4Addr::from(bytes).into()))
}

/// A line of `/proc/net/ipv6_route`: destination and its length, source and its length, gateway, four counts, name.
fn route_of_ipv6(line: &str) -> Option<(String, IpAddr)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, length, _, _, gateway, _, _, _, _, name] = fields[..] else { return None };
    let gateway = u128::from_str_radix(gateway, 16).ok().filter(|gateway| length == "00" && *gateway != 0)?;
    Some((name.to_owned(), Ipv6Addr::from(gateway).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_read_as_the_kernel_writes_them() {
        for (line, wanted) in [
            ("eth0\t00000000\t0100020A\t0003\t0\t0\t0\t00000000\t0\t0\t0", Some(("eth0", "10.2.0.1"))),
            ("eth0\t0000020A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0", None),
            ("eth0\t00000000\t0100020A\t0003\t0\t0\t0\t00000080\t0\t0\t0", None),
            ("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT", None),
        ] {
            // The kernel writes numbers in the machine's byte order; these are from a little-endian machine.
            if cfg!(target_endian = "little") {
                let wanted = wanted.map(|(name, gateway)| (name.to_owned(), gateway.parse().unwrap()));
                assert_eq!(route_of_ipv4(line), wanted, "{line}");
            }
        }
        let zero = "0".repeat(32);
        let by = "fe800000000000000000000000000001";
        for (line, wanted) in [
            (
                format!("{zero} 00 {zero} 00 {by} 00000400 00000001 00000000 00000003     eth0"),
                Some(("eth0", "fe80::1")),
            ),
            (format!("{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo"), None),
            (format!("20010db8{} 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001 eth0", &zero[8..]), None),
        ] {
            let wanted = wanted.map(|(name, gateway)| (name.to_owned(), gateway.parse().unwrap()));
            assert_eq!(route_of_ipv6(&line), wanted, "{line}");
        }
    }
}
