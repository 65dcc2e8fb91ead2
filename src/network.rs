//! Network settings that are valid once they exist, and the files that jobs read them from (behaviour, section 7).

use crate::json::{self, Object};
use crate::rule::{ADDRESS, ALPHANUMERIC, InvalidOption, Rule};
use crate::shell_conf::ShellConf;
use serde_json::Value;
use std::net::IpAddr;

const INTERFACE: Rule = Rule::new("interface", [ALPHANUMERIC, ""], 3, 14);
const HOSTNAME: Rule = Rule::new("hostname", [ALPHANUMERIC, ".-"], 3, 255);
const IP_ADDRESS: Rule = Rule::new("ip_address", [ADDRESS, ""], 3, 45);
const NETMASK: Rule = Rule::new("netmask", [ADDRESS, "/"], 2, 45);
const GATEWAY: Rule = Rule::new("gateway", [ADDRESS, ""], 3, 45);
const DNS1: Rule = Rule::new("dns1", [ADDRESS, ""], 3, 45);
const DNS2: Rule = Rule::new("dns2", [ADDRESS, ""], 3, 45);
const NTPSERVER: Rule = Rule::new("ntpserver", [ALPHANUMERIC, ".-:"], 3, 255);

/// How the appliance gets its address. Half of a static set is neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkSettings {
    /// From a DHCP server.
    Dhcp {
        /// The interface to configure.
        interface: String,
        /// The appliance's own name.
        hostname: String,
        /// Where it takes the time from; empty for its default.
        ntpserver: String,
    },
    /// As the administrator says.
    Static {
        /// The interface to configure.
        interface: String,
        /// The appliance's own name.
        hostname: String,
        /// The appliance's own address, as it was written.
        address: String,
        /// Whether the address is of IPv4 or IPv6 says how the mask is written.
        family: Family,
        /// A dotted mask, or the length of the prefix with or without `/`, as it was written.
        netmask: String,
        /// The way out.
        gateway: String,
        /// Up to two name servers, as they were written.
        dns: Vec<String>,
        /// Where it takes the time from; empty for its default.
        ntpserver: String,
    },
}

/// The version of the Internet Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Version 4.
    V4,
    /// Version 6.
    V6,
}

/// Everything optional, as it comes from the client; lives only inside `parse`.
struct Wire {
    interface: String,
    hostname: String,
    ip_address: Option<String>,
    netmask: Option<String>,
    gateway: Option<String>,
    dns1: Option<String>,
    dns2: Option<String>,
    ntpserver: Option<String>,
}

/// The files of a change of settings. The web side makes them for the job, and root's side makes its own from the JSON
/// among them.
pub struct SettingsFiles {
    /// The network that they speak of.
    pub network: NetworkSettings,
    /// `network.json`.
    pub network_json: String,
    /// `app.json`.
    pub app_json: String,
}

impl SettingsFiles {
    /// Judges the two JSON texts; what is not there is an empty object.
    pub fn new(network: Option<&str>, app: Option<&str>) -> Result<SettingsFiles, InvalidOption> {
        let not_an_object = |name| InvalidOption::worded(name, format!("Invalid settings: {name} must be an object"));
        let object = Object::parse(network.unwrap_or("{}")).map_err(|_| not_an_object("network"))?;
        let network = NetworkSettings::parse(&object)?;
        let app = match app.map(str::trim_ascii) {
            None | Some("null") => "{}",
            Some(app) if app.starts_with('{') && json::is_valid(app) => app,
            Some(_) => return Err(not_an_object("app")),
        };
        if !json::has_readable_numbers(app) {
            return Err(json::unreadable_number("app"));
        }
        let network_json = network.to_json(&object);
        Ok(SettingsFiles { network, network_json, app_json: json::compact(app) + "\n" })
    }
}

impl NetworkSettings {
    /// Reads the client's `network` object. The fields are checked in the order of the document, and the first fault is
    /// the one reported.
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
        };
        for (name, value) in [("dns1", &wire.dns1), ("dns2", &wire.dns2)] {
            if let Some(value) = value {
                address(name, value)?;
            }
        }
        network.check_numbers()?;
        let ntpserver = wire.ntpserver.unwrap_or_default();
        match (wire.ip_address, wire.netmask, wire.gateway) {
            (None, None, None) => {
                Ok(NetworkSettings::Dhcp { interface: wire.interface, hostname: wire.hostname, ntpserver })
            }
            (Some(ip_address), Some(netmask), Some(gateway)) => {
                let family = address("ip_address", &ip_address)?;
                check_netmask(&netmask, family)?;
                if address("gateway", &gateway)? != family {
                    return Err(InvalidOption::new("gateway", "an address of the same family as ip_address"));
                }
                Ok(NetworkSettings::Static {
                    interface: wire.interface,
                    hostname: wire.hostname,
                    address: ip_address,
                    family,
                    netmask,
                    gateway,
                    dns: [wire.dns1, wire.dns2].into_iter().flatten().collect(),
                    ntpserver,
                })
            }
            (ip_address, netmask, _) => {
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

    /// The job's word for these settings.
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
            NetworkSettings::Dhcp { interface, hostname, ntpserver } => {
                conf.bare("interface", interface);
                conf.quoted("hostname", hostname);
                conf.quoted("ntpserver", ntpserver);
            }
            NetworkSettings::Static { interface, hostname, address, family, netmask, gateway, dns, ntpserver } => {
                conf.bare("interface", interface);
                conf.bare("ip", address);
                match family {
                    Family::V4 => conf.bare("subnet", netmask),
                    Family::V6 => conf.bare("subnet_ipv6", netmask),
                }
                conf.bare("router", gateway);
                conf.quoted("dns", &dns.join(" "));
                conf.quoted("hostname", hostname);
                conf.quoted("ntpserver", ntpserver);
            }
        }
        conf.into_string()
    }

    /// `network.json`: the client's own object with our `mode` first.
    pub fn to_json(&self, network: &Object) -> String {
        let mut text = format!("{{\"mode\":\"{}\"", self.mode());
        for (name, value) in network.members().filter(|(name, _)| *name != "mode") {
            text.push(',');
            text.push_str(&json::quote(name));
            text.push(':');
            text.push_str(&json::compact(value.get()));
        }
        text.push_str("}\n");
        text
    }
}

/// The text of a member. An empty string and `null` in an optional field count as absent, because dashboards send them.
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
    match serde_json::from_str(raw.get()) {
        Ok(Value::String(value)) => Ok(Some(value)),
        Ok(Value::Null) => Ok(None),
        _ => Err(InvalidOption::new(rule.name, "a string")),
    }
}

/// Checks that a text which has only the characters of an address is one.
pub fn address(name: &str, value: &str) -> Result<Family, InvalidOption> {
    match value.parse() {
        Ok(IpAddr::V4(_)) => Ok(Family::V4),
        Ok(IpAddr::V6(_)) => Ok(Family::V6),
        Err(_) => Err(InvalidOption::new(name, "an IPv4 or IPv6 address")),
    }
}

/// A mask of the address's own family, or the length of its prefix with or without `/`.
fn check_netmask(value: &str, family: Family) -> Result<(), InvalidOption> {
    let prefix = value.strip_prefix('/').unwrap_or(value);
    let is_digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let is_good = match (family, value.parse::<IpAddr>()) {
        (Family::V4, Ok(IpAddr::V4(mask))) => mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() >= 32,
        (Family::V6, Ok(IpAddr::V6(mask))) => mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() >= 128,
        (Family::V4, _) => is_digits && prefix.parse().is_ok_and(|length: u8| length <= 32),
        (Family::V6, _) => is_digits && prefix.parse().is_ok_and(|length: u8| length <= 128),
    };
    let allowed = match family {
        Family::V4 => "a mask such as 255.255.255.0, or the length of a prefix such as /24",
        Family::V6 => "the length of a prefix such as /64",
    };
    if is_good { Ok(()) } else { Err(InvalidOption::new("netmask", allowed)) }
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
            ("255.255.255.0", true, false),
            ("0.0.0.0", true, false),
            ("255.0.255.0", false, false),
            ("/24", true, true),
            ("64", false, true),
            ("129", false, false),
            ("/24/", false, false),
            ("//24", false, false),
            ("+24", false, false),
            ("ffff:ffff::", false, true),
            ("ffff:0:ffff::", false, false),
            ("/", false, false),
        ] {
            let is_good = [Family::V4, Family::V6].map(|family| check_netmask(mask, family).is_ok());
            assert_eq!(is_good, [v4, v6], "{mask}");
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
}
