//! `machine` prints the body of `GET /machine`: host name, time zone, start, and the interfaces with their addresses, as
//! the kernel has them now.

use crate::appliance::Appliance;
use crate::root::commands::Arguments;
use crate::values::clock;
use crate::values::json::quote;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

/// `machine`
pub fn command(_: Arguments<'_>, _: &Appliance) -> Result<ExitCode, String> {
    let hostname = host_name().map_err(|error| error.to_string())?;
    let stat = fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
    let text = |value: Option<String>| value.as_deref().map_or("null".to_owned(), quote);
    writeln!(
        io::stdout(),
        "{{\"hostname\":{},\"timezone\":{},\"started\":{},\"interfaces\":[{}]}}",
        quote(&hostname),
        text(time_zone(Path::new("/"))),
        text(started(&stat)),
        interfaces()?,
    )
    .map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// The host name of this machine.
pub fn host_name() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// When the kernel started, as RFC 3339.
fn started(stat: &str) -> Option<String> {
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(clock::utc(seconds.trim().parse().ok()?))
}

/// The name of the time zone, `Europe/Berlin` for example. Without a setting, C libraries use UTC.
fn time_zone(root: &Path) -> Option<String> {
    let target = match fs::read_link(root.join("etc/localtime")) {
        Ok(target) => target.into_os_string().into_string().ok()?,
        // A copy of the zone: only this file has its name.
        Err(_) if root.join("etc/localtime").exists() => fs::read_to_string(root.join("etc/timezone")).ok()?,
        Err(_) => "UTC".to_owned(),
    };
    let name = target.split_once("/zoneinfo/").map_or(&*target, |(_, name)| name).trim();
    let is_name = |c: u8| c.is_ascii_alphanumeric() || b"/_+-".contains(&c);
    (name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(is_name)).then(|| name.to_owned())
}

/// Every interface except loopback, in the kernel's order: the elements of a JSON array.
fn interfaces() -> Result<String, String> {
    let mut known: Vec<Interface> = Vec::new();
    for one in getifaddrs().map_err(|error| error.to_string())? {
        if one.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        // The kernel lists every interface once, then its addresses.
        let at = known.iter().position(|of| of.name == one.interface_name).unwrap_or_else(|| {
            let has_link = one.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
            known.push(Interface { name: one.interface_name.clone(), has_link, addresses: String::new() });
            known.len() - 1
        });
        if let Some((ip, n_bits)) = address(&one) {
            let comma = if known[at].addresses.is_empty() { "" } else { "," };
            known[at].addresses += &[comma, &quote(&format!("{ip}/{n_bits}"))].concat();
        }
    }
    let mut all = String::new();
    for Interface { name, has_link, addresses } in known {
        let comma = if all.is_empty() { "" } else { "," };
        let link = if has_link { "true" } else { "false" };
        all += &[comma, "{\"name\":", &quote(&name), ",\"link\":", link, ",\"addresses\":[", &addresses, "]}"].concat();
    }
    Ok(all)
}

struct Interface {
    name: String,
    /// Whether it is on and its cable is plugged in.
    has_link: bool,
    /// The elements of a JSON array.
    addresses: String,
}

/// The address and netmask of an interface; `None` for other kinds of addresses.
pub fn address(one: &InterfaceAddress) -> Option<(IpAddr, u32)> {
    let (address, mask) = (one.address.as_ref()?, one.netmask.as_ref()?);
    Some(match address.as_sockaddr_in() {
        Some(ipv4) => (ipv4.ip().into(), mask.as_sockaddr_in()?.ip().to_bits().count_ones()),
        None => (address.as_sockaddr_in6()?.ip().into(), mask.as_sockaddr_in6()?.ip().to_bits().count_ones()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_time_zone_is_the_one_that_c_libraries_use() {
        let root = std::env::temp_dir().join(format!("time-zone-{}", std::process::id()));
        let etc = root.join("etc");
        for (link, copy, wanted) in [
            (Some("/usr/share/zoneinfo/Europe/Berlin"), None, Some("Europe/Berlin")),
            (
                Some("../usr/share/zoneinfo/America/Argentina/Buenos_Aires"),
                None,
                Some("America/Argentina/Buenos_Aires"),
            ),
            (Some("/usr/share/zoneinfo/Etc/GMT+5"), Some("Europe/Paris\n"), Some("Etc/GMT+5")),
            (Some("/opt/my zone"), None, None),
            (None, Some("Asia/Tokyo\n"), Some("Asia/Tokyo")),
            (None, Some("<b>\n"), None),
            (None, None, Some("UTC")),
        ] {
            fs::create_dir_all(&etc).unwrap();
            if let Some(target) = link {
                symlink(target, etc.join("localtime")).unwrap();
            }
            if let Some(name) = copy {
                fs::write(etc.join("timezone"), name).unwrap();
                // With a link, this is only left over.
                drop(fs::OpenOptions::new().create_new(true).write(true).open(etc.join("localtime")));
            }
            assert_eq!(time_zone(&root).as_deref(), wanted, "{link:?} {copy:?}");
            fs::remove_dir_all(&root).unwrap();
        }
    }

    #[test]
    fn the_start_is_that_of_the_kernel() {
        assert_eq!(started("cpu  1 2\nbtime 1432140922\n").as_deref(), Some("2015-05-20T16:55:22Z"));
        assert_eq!(started("cpu  1 2\n"), None);
    }
}
