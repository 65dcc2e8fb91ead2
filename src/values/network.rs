//! Network settings, valid by construction, and the files in which jobs read them.

use crate::values::json::{self, Object};
use crate::values::rule::{ADDRESS, ALPHANUMERIC, InvalidOption, Rule};
use crate::values::shell_conf::ShellConf;
use serde_json::Value;
use std::net::IpAddr;

const INTERFACE: Rule = Rule::new("interface", [ALPHANUMERIC, ""], 3, 14);
const HOSTNAME: Rule = Rule::new("hostname", [ALPHANUMERIC, ".-"], 3, 255);
const IP_ADDRESS: Rule = Rule::new("ip_address", [ADDRESS, ""], 3, 45);
const NETMASK: Rule = Rule::new("netmask", [ADDRESS, "/"], 2, 45);
const GATEWAY: Rule = Rule::new("gateway", [ADDRESS, ""], 3, 45);
const DNS1: Rule = Rule::new("dns1", [ADDRESS, ""], 3, 45);
const DNS2: Rule = Rule::new("dns2", [ADDRESS, ""], 3, 45);
const IP6_ADDRESS: Rule = Rule::new("ip6_address", [ADDRESS, ""], 3, 45);
const IP6_PREFIX: Rule = Rule::new("ip6_prefix", [ALPHANUMERIC, "/"], 1, 4);
const IP6_GATEWAY: Rule = Rule::new("ip6_gateway", [ADDRESS, ""], 3, 45);
const NTPSERVER: Rule = Rule::new("ntpserver", [ALPHANUMERIC, ".-:"], 3, 255);

/// Maximum characters of a host name that the kernel accepts.
const MAX_HOSTNAME: usize = 64;
/// Maximum characters of any host name.
const MAX_NAME: usize = 253;

/// How the appliance gets its address. Half of a static address cannot be expressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkSettings {
    /// From a DHCP server.
    Dhcp {
        /// The interface to configure.
        interface: String,
        /// The appliance's own name.
        hostname: String,
        /// The time server; empty for the default.
        ntpserver: String,
        /// An IPv6 address in addition.
        ipv6: Option<Ipv6Settings>,
    },
    /// A static address.
    Static {
        /// The interface to configure.
        interface: String,
        /// The appliance's own name.
        hostname: String,
        /// The appliance's own address.
        address: Address,
        /// Its prefix length in bits.
        prefix: u8,
        /// The netmask as the client wrote it: a dotted mask, or the prefix length with or without `/`.
        netmask: String,
        /// The default gateway, which can be outside the network.
        gateway: Address,
        /// Up to two name servers.
        dns: Vec<Address>,
        /// The time server; empty for the default.
        ntpserver: String,
        /// An IPv6 address in addition to an IPv4 one.
        ipv6: Option<Ipv6Settings>,
    },
}

/// An IPv6 address in addition to IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv6Settings {
    pub address: Address,
    /// Its prefix length.
    pub prefix: u8,
    /// The gateway; without one, router announcements decide.
    pub gateway: Option<Address>,
}

impl Ipv6Settings {
    /// Whether the gateway is outside the network, so the system must be told that it is on the link. A link-local address
    /// always is.
    pub fn is_gateway_outside(&self) -> bool {
        self.gateway.as_ref().is_some_and(|gateway| {
            !is_same_network(self.address.value, gateway.value, self.prefix) && !is_of_the_link(gateway.value)
        })
    }
}

fn is_of_the_link(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// An address with the client's spelling: `network.conf` contains the spelling, comparisons use the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub value: IpAddr,
    /// The client's spelling.
    pub text: String,
}

impl Address {
    /// Parses an address, and checks that a reachable machine can have it. `Loopback::Allowed` is for servers: a
    /// resolver or a tunnel on the machine itself.
    pub fn parse(name: &str, text: String, loopback: Loopback) -> Result<Address, InvalidOption> {
        let Ok(value) = text.parse::<IpAddr>() else {
            return Err(InvalidOption::new(name, "an IPv4 or IPv6 address"));
        };
        if !is_host(value) || (loopback == Loopback::Refused && value.is_loopback()) {
            let but = if loopback == Loopback::Refused { "loopback, " } else { "" };
            return Err(InvalidOption::new(
                name,
                &format!("the address of a machine, not one that is {but}unspecified, multicast or reserved"),
            ));
        }
        Ok(Address { value, text })
    }

    fn family(&self) -> u32 {
        width(self.value)
    }
}

/// Whether loopback addresses are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loopback {
    Allowed,
    Refused,
}

/// Whether it is the address of one machine to which packets can be sent.
fn is_host(address: IpAddr) -> bool {
    match address {
        // 0.0.0.0/8, and 224.0.0.0/4 and 240.0.0.0/4, which includes the broadcast address.
        IpAddr::V4(address) => !matches!(address.octets()[0], 0 | 224..),
        // Unspecified, and the oldest IPv4 embedding (::/96 except ::1). Mapped addresses (::ffff:0:0/96) were always
        // accepted.
        IpAddr::V6(address) => {
            let high = address.to_bits() >> 32;
            !address.is_multicast() && (address.is_loopback() || high != 0)
        }
    }
}

fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The host bits of an address, and their number.
fn host_bits(address: IpAddr, prefix: u8) -> (u128, u32) {
    let bits = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let n_bits = width(address).saturating_sub(u32::from(prefix));
    (bits & 1_u128.checked_shl(n_bits).map_or(u128::MAX, |above| above - 1), n_bits)
}

/// Whether it is the network's own or, for IPv4, its broadcast address. A network of one or two addresses has neither.
fn is_of_all(address: IpAddr, prefix: u8) -> bool {
    let (bits, n_bits) = host_bits(address, prefix);
    n_bits > 1 && (bits == 0 || (address.is_ipv4() && bits == (1 << n_bits) - 1))
}

/// Whether both are in one network of this prefix length.
fn is_same_network(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let network = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()).checked_shr(32 - u32::from(prefix.min(32))),
        IpAddr::V6(address) => address.to_bits().checked_shr(128 - u32::from(prefix.min(128))),
    };
    one.is_ipv4() == other.is_ipv4() && network(one) == network(other)
}

/// A host name by RFC 1123, without a trailing dot, of at most `max` characters. A name that ends in a number would be
/// parsed as an address.
fn host_name(name: &str, text: &str, max: usize) -> Result<String, InvalidOption> {
    let host = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let ends_in_number = host.rsplit_once('.').is_some_and(|(_, last)| last.bytes().all(|byte| byte.is_ascii_digit()));
    if host.len() <= max && host.split('.').all(is_label) && !ends_in_number {
        return Ok(host.to_owned());
    }
    Err(InvalidOption::new(
        name,
        &format!("a host name: at most {max} characters, in labels of 1 to 63 letters, digits and inner hyphens"),
    ))
}

/// A server: a name or an address.
fn server(name: &str, text: &str) -> Result<String, InvalidOption> {
    if text.parse::<IpAddr>().is_ok() {
        return Address::parse(name, text.to_owned(), Loopback::Allowed).map(|address| address.text);
    }
    host_name(name, text, MAX_NAME)
}

/// The client's fields, all optional; exists only inside `parse`.
struct Wire {
    interface: String,
    hostname: String,
    ip_address: Option<String>,
    netmask: Option<String>,
    gateway: Option<String>,
    dns1: Option<String>,
    dns2: Option<String>,
    ntpserver: Option<String>,
    ip6_address: Option<String>,
    ip6_prefix: Option<String>,
    ip6_gateway: Option<String>,
}

/// The files of a settings change. The web side makes them for the job, and root makes its own from the JSON in them.
pub struct SettingsFiles {
    /// The parsed network settings.
    pub network: NetworkSettings,
    /// `network.json`.
    pub network_json: String,
    /// `app.json`.
    pub app_json: String,
}

impl SettingsFiles {
    /// Parses the two JSON texts; a missing one is an empty object.
    pub fn new(network: Option<&str>, app: Option<&str>) -> Result<SettingsFiles, InvalidOption> {
        let not_an_object = |name| InvalidOption::worded(name, format!("Invalid settings: {name} must be an object"));
        let object = Object::parse(network.unwrap_or("{}")).map_err(|_| not_an_object("network"))?;
        let network = NetworkSettings::parse(&object)?;
        let app = match app.map(str::trim_ascii) {
            None | Some("null") => "{}",
            Some(app) if app.starts_with('{') && json::is_valid(app) => app,
            Some(_) => return Err(not_an_object("app")),
        };
        json::check_readable("app", app)?;
        let network_json = network.to_json(&object);
        Ok(SettingsFiles { network, network_json, app_json: json::compact(app) + "\n" })
    }
}

impl NetworkSettings {
    /// Parses the client's `network` object. Fields are checked in the order of the document, and the first error is
    /// reported.
    pub fn parse(network: &Object) -> Result<NetworkSettings, InvalidOption> {
        let wire = Wire {
            interface: required(network, &INTERFACE)?,
            hostname: required(network, &HOSTNAME)?,
            ip_address: optional(network, &IP_ADDRESS)?,
            netmask: optional(network, &NETMASK)?,
            gateway: optional(network, &GATEWAY)?,
            dns1: optional(network, &DNS1)?,
            dns2: optional(network, &DNS2)?,
            ntpserver: optional(network, &NTPSERVER)?,
            ip6_address: optional(network, &IP6_ADDRESS)?,
            ip6_prefix: optional(network, &IP6_PREFIX)?,
            ip6_gateway: optional(network, &IP6_GATEWAY)?,
        };
        let hostname = host_name("hostname", &wire.hostname, MAX_HOSTNAME)?;
        let given = (wire.ip_address, wire.netmask, wire.gateway);
        let own = match &given {
            (Some(address), Some(netmask), Some(gateway)) => {
                Some(own(["ip_address", "netmask", "gateway"], address, netmask, Some(gateway))?)
            }
            (None, _, _) | (_, None, _) | (_, _, None) => None,
        };
        let mut dns = Vec::new();
        for (name, value) in [("dns1", wire.dns1), ("dns2", wire.dns2)] {
            if let Some(text) = value {
                dns.push(Address::parse(name, text, Loopback::Allowed)?);
            }
        }
        let ntpserver = wire.ntpserver.map_or(Ok(String::new()), |text| server("ntpserver", &text))?;
        let ipv6 = ipv6(wire.ip6_address, wire.ip6_prefix, wire.ip6_gateway)?;
        if ipv6.is_some() && own.as_ref().is_some_and(|(address, ..)| address.value.is_ipv6()) {
            return Err(InvalidOption::new("ip6_address", "none if ip_address is IPv6"));
        }
        network.check_readable()?;
        let interface = wire.interface;
        match (given, own) {
            ((None, None, None), _) => Ok(NetworkSettings::Dhcp { interface, hostname, ntpserver, ipv6 }),
            ((_, Some(netmask), _), Some((address, prefix, Some(gateway)))) => Ok(NetworkSettings::Static {
                interface,
                hostname,
                address,
                prefix,
                netmask,
                gateway,
                dns,
                ntpserver,
                ipv6,
            }),
            ((ip_address, netmask, _), _) => {
                let missing = if ip_address.is_none() {
                    "ip_address"
                } else if netmask.is_none() {
                    "netmask"
                } else {
                    "gateway"
                };
                Err(InvalidOption::new(
                    missing,
                    "static settings need ip_address, netmask and gateway, DHCP none of them",
                ))
            }
        }
    }

    /// The interface to configure.
    pub fn interface(&self) -> &str {
        match self {
            NetworkSettings::Dhcp { interface, .. } | NetworkSettings::Static { interface, .. } => interface,
        }
    }

    /// The appliance's own name.
    pub fn hostname(&self) -> &str {
        match self {
            NetworkSettings::Dhcp { hostname, .. } | NetworkSettings::Static { hostname, .. } => hostname,
        }
    }

    /// The time server; empty for the default.
    pub fn ntpserver(&self) -> &str {
        match self {
            NetworkSettings::Dhcp { ntpserver, .. } | NetworkSettings::Static { ntpserver, .. } => ntpserver,
        }
    }

    /// Whether the gateway is outside the appliance's network, so that it needs an on-link route.
    pub fn is_gateway_outside(&self) -> bool {
        match self {
            NetworkSettings::Dhcp { .. } => false,
            NetworkSettings::Static { address, prefix, gateway, .. } => {
                !is_same_network(address.value, gateway.value, *prefix)
            }
        }
    }

    /// The IPv6 address in addition to IPv4, if any.
    pub fn ipv6(&self) -> Option<&Ipv6Settings> {
        match self {
            NetworkSettings::Dhcp { ipv6, .. } | NetworkSettings::Static { ipv6, .. } => ipv6.as_ref(),
        }
    }

    /// The job's argument for these settings.
    pub fn mode(&self) -> &'static str {
        match self {
            NetworkSettings::Dhcp { .. } => "dhcp",
            NetworkSettings::Static { .. } => "static",
        }
    }

    /// `network.conf`, which the image's boot scripts source.
    pub fn to_conf(&self) -> String {
        let mut conf = ShellConf::default();
        conf.bare("mode", self.mode());
        match self {
            NetworkSettings::Dhcp { interface, hostname, ntpserver, .. } => {
                conf.bare("interface", interface);
                conf.quoted("hostname", hostname);
                conf.quoted("ntpserver", ntpserver);
            }
            NetworkSettings::Static { interface, hostname, address, netmask, gateway, dns, ntpserver, .. } => {
                conf.bare("interface", interface);
                conf.bare("ip", &address.text);
                match address.value {
                    IpAddr::V4(_) => conf.bare("subnet", netmask),
                    IpAddr::V6(_) => conf.bare("subnet_ipv6", netmask),
                }
                conf.bare("router", &gateway.text);
                let dns: Vec<&str> = dns.iter().map(|server| server.text.as_str()).collect();
                conf.quoted("dns", &dns.join(" "));
                conf.quoted("hostname", hostname);
                conf.quoted("ntpserver", ntpserver);
            }
        }
        if let Some(ipv6) = self.ipv6() {
            conf.bare("ip6", &ipv6.address.text);
            conf.bare("ip6_prefix", &ipv6.prefix.to_string());
            conf.bare("ip6_router", ipv6.gateway.as_ref().map_or("", |gateway| &gateway.text));
        }
        conf.into_string()
    }

    /// `network.json`: the client's own object with our `mode` first.
    pub fn to_json(&self, network: &Object) -> String {
        let mut text = format!("{{\"mode\":\"{}\"", self.mode());
        let (hostname, ntpserver) = (self.hostname(), self.ntpserver());
        for (name, value) in network.members().filter(|(name, _)| *name != "mode") {
            text.push(',');
            text.push_str(&json::quote(name));
            text.push(':');
            // A trailing dot of a name is removed there too.
            match name {
                "hostname" => text.push_str(&json::quote(hostname)),
                "ntpserver" if !ntpserver.is_empty() => text.push_str(&json::quote(ntpserver)),
                _ => text.push_str(&json::compact(value.get())),
            }
        }
        text.push_str("}\n");
        text
    }
}

/// The text of a member. An empty string or `null` in an optional field counts as absent, because dashboards send them.
fn optional(network: &Object, rule: &Rule) -> Result<Option<String>, InvalidOption> {
    match text(network, rule)? {
        Some(value) if !value.is_empty() => rule.check(&value).map(|()| Some(value)),
        _ => Ok(None),
    }
}

fn required(network: &Object, rule: &Rule) -> Result<String, InvalidOption> {
    let value = text(network, rule)?.ok_or_else(|| rule.wrong_length())?;
    rule.check(&value)?;
    Ok(value)
}

fn text(network: &Object, rule: &Rule) -> Result<Option<String>, InvalidOption> {
    let Some(raw) = network.get(rule.name) else { return Ok(None) };
    match serde_json::from_slice(raw.get().as_bytes()) {
        Ok(Value::String(value)) => Ok(Some(value)),
        Ok(Value::Null) => Ok(None),
        _ => Err(InvalidOption::new(rule.name, "a string")),
    }
}

/// The machine's own address, its prefix length, and the gateway.
fn own(
    names: [&str; 3],
    address: &str,
    netmask: &str,
    gateway: Option<&str>,
) -> Result<(Address, u8, Option<Address>), InvalidOption> {
    const ONE: &str = "an address of one machine, not the network's own or its broadcast";
    let [address_name, netmask_name, gateway_name] = names;
    let address = Address::parse(address_name, address.to_owned(), Loopback::Refused)?;
    let prefix = prefix(netmask_name, netmask, address.value)?;
    if is_of_all(address.value, prefix) {
        return Err(InvalidOption::new(address_name, ONE));
    }
    let Some(gateway) = gateway else { return Ok((address, prefix, None)) };
    let gateway = Address::parse(gateway_name, gateway.to_owned(), Loopback::Refused)?;
    let fault = |allowed: &str| Err(InvalidOption::new(gateway_name, allowed));
    if gateway.family() != address.family() {
        return fault(&format!("an address of the same family as {address_name}"));
    }
    if gateway.value == address.value {
        return fault(&format!("an address other than {address_name}"));
    }
    // The network address of an IPv6 network belongs to its routers.
    let is_inside = is_same_network(gateway.value, address.value, prefix);
    if is_inside && gateway.value.is_ipv4() && is_of_all(gateway.value, prefix) {
        return fault(ONE);
    }
    Ok((address, prefix, Some(gateway)))
}

/// The IPv6 address in addition to IPv4: complete, or none.
fn ipv6(
    address: Option<String>,
    prefix: Option<String>,
    gateway: Option<String>,
) -> Result<Option<Ipv6Settings>, InvalidOption> {
    const NEEDS: &str = "ip6_gateway needs ip6_address and ip6_prefix, which need each other";
    let (address, prefix) = match (address, prefix) {
        (None, None) if gateway.is_none() => return Ok(None),
        (Some(address), Some(prefix)) => (address, prefix),
        (None, _) => return Err(InvalidOption::new("ip6_address", NEEDS)),
        (_, None) => return Err(InvalidOption::new("ip6_prefix", NEEDS)),
    };
    if !address.contains(':') {
        return Err(InvalidOption::new("ip6_address", "an IPv6 address"));
    }
    let names = ["ip6_address", "ip6_prefix", "ip6_gateway"];
    let (address, prefix, gateway) = own(names, &address, &prefix, gateway.as_deref())?;
    Ok(Some(Ipv6Settings { address, prefix, gateway }))
}

/// The prefix length from a mask of the address's family, or from a number with or without `/`.
fn prefix(name: &str, netmask: &str, address: IpAddr) -> Result<u8, InvalidOption> {
    let length = netmask.strip_prefix('/').unwrap_or(netmask);
    let is_digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let of_mask = |bits: u128, n_bits: u32| {
        let ones = (bits << (128 - n_bits)).leading_ones();
        (ones + bits.trailing_zeros().min(n_bits) >= n_bits).then_some(ones)
    };
    let ones = match (address, netmask.parse::<IpAddr>()) {
        (IpAddr::V4(_), Ok(IpAddr::V4(mask))) => of_mask(u128::from(mask.to_bits()), 32),
        (IpAddr::V6(_), Ok(IpAddr::V6(mask))) => of_mask(mask.to_bits(), 128),
        _ if is_digits => length.parse().ok().filter(|length| *length <= width(address)),
        _ => None,
    };
    let allowed = match address {
        IpAddr::V4(_) => "a mask such as 255.255.255.0, or a prefix length such as /24",
        IpAddr::V6(_) => "a prefix length such as /64",
    };
    ones.and_then(|ones| u8::try_from(ones).ok()).ok_or_else(|| InvalidOption::new(name, allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(members: &str) -> Result<NetworkSettings, String> {
        let text = format!(r#"{{"interface":"eth0","hostname":"test.host"{members}}}"#);
        NetworkSettings::parse(&Object::parse(&text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_files_are_those_of_the_ancestor() {
        let settings = parse(
            r#","ip_address":"192.168.1.100","netmask":"255.255.255.0","gateway":"192.168.1.1","dns1":"192.168.1.2","ntpserver":"pool.ntp.org""#,
        )
        .unwrap();
        assert_eq!(
            settings.to_conf(),
            "mode=static\ninterface=eth0\nip=192.168.1.100\nsubnet=255.255.255.0\nrouter=192.168.1.1\ndns=\"192.168.1.2\"\nhostname=\"test.host\"\nntpserver=\"pool.ntp.org\"\n"
        );
        let settings = parse(r#","ip_address":"fe80::2","netmask":"/64","gateway":"fe80::1""#).unwrap();
        assert!(settings.to_conf().contains("\nsubnet_ipv6=/64\n"));
        assert_eq!(parse("").unwrap().to_conf(), "mode=dhcp\ninterface=eth0\nhostname=\"test.host\"\nntpserver=\"\"\n");
    }

    #[test]
    fn the_json_is_the_clients_with_our_mode_first() {
        let network =
            Object::parse(r#"{"hostname":"test.host", "interface":"eth0", "mode":"static", "x":[1.0]}"#).unwrap();
        let settings = NetworkSettings::parse(&network).unwrap();
        assert_eq!(
            settings.to_json(&network),
            "{\"mode\":\"dhcp\",\"hostname\":\"test.host\",\"interface\":\"eth0\",\"x\":[1.0]}\n"
        );
    }

    #[test]
    fn half_of_a_static_set_is_refused_and_empty_is_absent() {
        for (members, missing) in [
            (r#","ip_address":"10.0.0.2","netmask":"255.0.0.0""#, "gateway"),
            (r#","ip_address":"10.0.0.2","gateway":"10.0.0.1""#, "netmask"),
            (r#","gateway":"10.0.0.1","netmask":"255.0.0.0","ip_address":null"#, "ip_address"),
        ] {
            assert!(parse(members).unwrap_err().contains(missing), "{members}");
        }
        assert_eq!(parse(r#","ip_address":"","netmask":null,"gateway":"""#).unwrap().mode(), "dhcp");
    }

    #[test]
    fn a_mask_is_contiguous_and_of_the_addresss_family() {
        for (mask, v4, v6) in [
            ("255.255.255.0", Some(24), None),
            ("0.0.0.0", Some(0), None),
            ("255.255.255.255", Some(32), None),
            ("255.0.255.0", None, None),
            ("/24", Some(24), Some(24)),
            ("64", None, Some(64)),
            ("129", None, None),
            ("/24/", None, None),
            ("//24", None, None),
            ("+24", None, None),
            ("ffff:ffff::", None, Some(32)),
            ("::", None, Some(0)),
            ("ffff:0:ffff::", None, None),
            ("/", None, None),
        ] {
            let lengths = ["10.0.0.2", "fe80::2"].map(|address| prefix("netmask", mask, address.parse().unwrap()).ok());
            assert_eq!(lengths, [v4, v6], "{mask}");
        }
    }

    #[test]
    fn a_gateway_of_the_other_family_is_no_way_out() {
        let fault = parse(r#","ip_address":"10.0.0.2","netmask":"/8","gateway":"fe80::1""#).unwrap_err();
        assert_eq!(fault, "Invalid option: gateway. Allowed: an address of the same family as ip_address");
    }

    #[test]
    fn a_value_that_is_no_string_is_named() {
        assert_eq!(parse(r#","dns1":{"a":1}"#), Err("Invalid option: dns1. Allowed: a string".to_owned()));
    }

    /// The name of the field with an error in this static address, or `None`.
    fn fault(address: &str, netmask: &str, gateway: &str) -> Option<String> {
        let members = format!(r#","ip_address":"{address}","netmask":"{netmask}","gateway":"{gateway}""#);
        let text = format!(r#"{{"interface":"eth0","hostname":"test.host"{members}}}"#);
        NetworkSettings::parse(&Object::parse(&text).unwrap()).err().map(|fault| fault.name)
    }

    #[test]
    fn an_address_that_no_machine_can_have_is_refused_with_its_field() {
        for address in [
            "127.0.0.1",
            "127.255.0.9",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.5",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::2",
            "::192.0.2.1",
            "ff02::1",
            "FF0E::7",
        ] {
            let (mask, other) = if address.contains(':') { ("/64", "2001:db8::1") } else { ("/24", "192.0.2.1") };
            assert_eq!(fault(address, mask, other).as_deref(), Some("ip_address"), "{address}");
            let own = if address.contains(':') { "2001:db8::7" } else { "192.0.2.7" };
            assert_eq!(fault(own, mask, address).as_deref(), Some("gateway"), "{address}");
        }
    }

    #[test]
    fn a_broadcast_address_is_no_host_address() {
        for (address, netmask, gateway, wanted) in [
            ("192.0.2.0", "/24", "192.0.2.1", Some("ip_address")),
            ("192.0.2.255", "255.255.255.0", "192.0.2.1", Some("ip_address")),
            ("192.0.3.0", "/23", "192.0.2.1", None),
            ("192.0.3.255", "/23", "192.0.2.1", Some("ip_address")),
            ("10.255.255.255", "/8", "10.0.0.1", Some("ip_address")),
            ("192.0.2.0", "/31", "192.0.2.1", None),
            ("192.0.2.255", "/32", "192.0.2.1", None),
            ("192.0.2.7", "/24", "192.0.2.0", Some("gateway")),
            ("192.0.2.7", "/24", "192.0.2.255", Some("gateway")),
            ("192.0.2.7", "/24", "192.0.2.7", Some("gateway")),
            ("192.0.2.7", "/32", "198.51.100.1", None),
            ("192.0.2.7", "/24", "198.51.100.0", None),
            ("2001:db8::", "/64", "2001:db8::1", Some("ip_address")),
            ("2001:db8::", "/127", "2001:db8::1", None),
            ("2001:db8::", "/128", "fe80::1", None),
            ("2001:db8::ffff:ffff:ffff:ffff", "/64", "2001:db8::", None),
            ("2001:0DB8:0000:0000:0000:0000:0000:0010", "64", "2001:db8::10", Some("gateway")),
            ("10.0.0.2", "/0", "10.0.0.1", None),
        ] {
            assert_eq!(fault(address, netmask, gateway).as_deref(), wanted, "{address} {netmask} {gateway}");
        }
    }

    #[test]
    fn a_host_name_is_one_by_rfc_1123() {
        let label = "a".repeat(63);
        let longest = format!("{label}.b");
        for (name, wanted) in [
            ("box", Some("box")),
            ("box.", Some("box")),
            ("3com.net", Some("3com.net")),
            ("x--y.z", Some("x--y.z")),
            ("123", Some("123")),
            (label.as_str(), Some(label.as_str())),
            (&"a".repeat(64), None),
            (".box", None),
            ("a..b", None),
            ("box..", None),
            ("...", None),
            ("a-.b", None),
            ("a.-b", None),
            ("1.2.3.4", None),
            ("host.300", None),
            (&longest, None),
            (&longest[1..], Some(&longest[1..])),
        ] {
            assert_eq!(host_name("hostname", name, MAX_HOSTNAME).ok().as_deref(), wanted, "{name}");
        }
        let long = [label.as_str(); 4].join(".");
        assert_eq!(server("ntpserver", &long[2..]).ok().as_deref(), Some(&long[2..]));
        for (name, is_good) in [
            (long.as_str(), false),
            ("pool.ntp.org.", true),
            ("192.0.2.1", true),
            ("2001:db8::1", true),
            ("127.0.0.1", true),
            ("224.0.1.1", false),
            ("0.0.0.0", false),
            ("::ffff:1.2.3.4", true),
            ("1.2.3", false),
            ("a:b", false),
            ("ntp:123", false),
        ] {
            assert_eq!(server("ntpserver", name).is_ok(), is_good, "{name}");
        }
        let network = Object::parse(r#"{"interface":"eth0","hostname":"box.","ntpserver":"ntp.example."}"#).unwrap();
        let settings = NetworkSettings::parse(&network).unwrap();
        assert_eq!(settings.to_conf(), "mode=dhcp\ninterface=eth0\nhostname=\"box\"\nntpserver=\"ntp.example\"\n");
        assert_eq!(
            settings.to_json(&network),
            "{\"mode\":\"dhcp\",\"interface\":\"eth0\",\"hostname\":\"box\",\"ntpserver\":\"ntp.example\"}\n"
        );
    }

    #[test]
    fn a_name_server_may_be_on_the_machine_itself() {
        for (server, is_good) in [
            ("127.0.0.53", true),
            ("::1", true),
            ("8.8.8.8", true),
            ("0.0.0.0", false),
            ("224.0.0.251", false),
            ("ff02::fb", false),
        ] {
            assert_eq!(parse(&format!(r#","dns1":"{server}""#)).is_ok(), is_good, "{server}");
        }
    }

    #[test]
    fn an_ipv6_address_beside_ipv4_is_whole_or_refused_with_its_field() {
        const V4: &str = r#","ip_address":"192.0.2.7","netmask":"/24","gateway":"192.0.2.1""#;
        for (members, wanted) in [
            (r#""ip6_address":"2001:db8::7","ip6_prefix":"64","ip6_gateway":"fe80::1""#, ""),
            (r#""ip6_address":"2001:db8::7","ip6_prefix":"/64""#, ""),
            (r#""ip6_address":"2001:db8::7","ip6_prefix":"128","ip6_gateway":"2001:db8::1""#, ""),
            (r#""ip6_address":"","ip6_prefix":null,"ip6_gateway":"""#, ""),
            (r#""ip6_address":"2001:db8::7""#, "ip6_prefix"),
            (r#""ip6_prefix":"64""#, "ip6_address"),
            (r#""ip6_gateway":"fe80::1""#, "ip6_address"),
            (r#""ip6_address":"192.0.2.8","ip6_prefix":"24""#, "ip6_address"),
            (r#""ip6_address":"2001:db8::7","ip6_prefix":"129""#, "ip6_prefix"),
            (r#""ip6_address":"2001:db8::7","ip6_prefix":"x""#, "ip6_prefix"),
            (r#""ip6_address":"2001:db8::","ip6_prefix":"64""#, "ip6_address"),
            (r#""ip6_address":"::1","ip6_prefix":"128""#, "ip6_address"),
            (r#""ip6_address":"ff02::1","ip6_prefix":"64""#, "ip6_address"),
            (r#""ip6_address":"fe80::1%eth0","ip6_prefix":"64""#, "ip6_address"),
            (r#""ip6_address":"2001:db8::7","ip6_prefix":"64","ip6_gateway":"2001:db8::7""#, "ip6_gateway"),
            (r#""ip6_address":"2001:db8::7","ip6_prefix":"64","ip6_gateway":"192.0.2.1""#, "ip6_gateway"),
        ] {
            for four in ["", V4] {
                let text = format!(r#"{{"interface":"eth0","hostname":"test.host"{four},{members}}}"#);
                let parsed = NetworkSettings::parse(&Object::parse(&text).unwrap());
                assert_eq!(parsed.err().map(|fault| fault.name).unwrap_or_default(), wanted, "{text}");
            }
        }
        let fault = parse(
            r#","ip_address":"2001:db8::8","netmask":"/64","gateway":"fe80::1","ip6_address":"2001:db8::7","ip6_prefix":"64""#,
        );
        assert!(fault.unwrap_err().contains("ip6_address"));
        let settings = parse(&format!(r#"{V4},"ip6_address":"2001:DB8::7","ip6_prefix":"/64""#)).unwrap();
        let conf = settings.to_conf();
        assert!(conf.ends_with("ntpserver=\"\"\nip6=2001:DB8::7\nip6_prefix=64\nip6_router=\n"), "{conf}");
    }
}
