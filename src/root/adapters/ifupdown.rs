//! ifupdown: a file of ours in `interfaces.d`. In the other files, our interface and those that stay down are removed.

use super::root::Root;
use super::{Change, HEADER, flush};
use crate::root::programs::{run, try_run};
use crate::values::network::NetworkSettings;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

const MAIN: &str = "etc/network/interfaces";
const FOLDER: &str = "etc/network/interfaces.d";
const OURS: &str = "etc/network/interfaces.d/jidoteki";
/// ifupdown's state since boot; without it, ifupdown brings everything up by itself.
const STATE: &str = "run/network/ifstate";

/// Words that start a new stanza in an interfaces file.
const WORDS: [&str; 9] =
    ["iface", "mapping", "auto", "source", "source-directory", "no-auto-down", "no-scripts", "rename", "template"];

pub fn is_up(root: &Root) -> bool {
    root.exists(STATE)
}

/// The appliance's interface.
pub fn ours(root: &Root) -> Option<String> {
    root.text(OURS)?.lines().find_map(|line| line.strip_prefix("auto ").map(str::to_owned))
}

pub fn apply(change: &Change<'_>, is_running: bool) -> Result<(), String> {
    let root = change.root;
    let interface = change.settings.interface();
    let mut taken: BTreeSet<&str> = change.down.iter().map(String::as_str).collect();
    taken.insert(interface);
    // By the current files, before they change.
    if is_running {
        for name in taken.iter().copied().chain(change.left.as_deref()) {
            down(name);
        }
    }
    write_others(root, &taken)?;
    root.write(OURS, &file(change.settings), 0o644)?;
    if !is_running {
        return Ok(());
    }
    // Our interface gets the settings of the other files again.
    if let Some(left) = change.left.as_deref().filter(|left| !taken.contains(left) && is_automatic(root, left)) {
        try_run("ifup", &["--force", left]);
    }
    run("ifup", &["--force", interface])
}

pub fn restore_original(root: &Root) -> Result<(), String> {
    let Some(interface) = ours(root) else { return Ok(()) };
    let is_running = is_up(root);
    if is_running {
        down(&interface);
    }
    root.remove(OURS)?;
    let before = all_automatic(root);
    root.bring_back(MAIN)?;
    for name in root.files(FOLDER) {
        root.bring_back(&name)?;
    }
    root.forget_folder(FOLDER);
    if is_running {
        // Brings up the interfaces that were down for ours, and ours as it was. Without the one that had the default
        // route, the old state is not restored.
        let led_out = root.led_out_before(None, BTreeSet::new)?;
        let (needed, others): (Vec<String>, Vec<String>) =
            all_automatic(root).difference(&before).cloned().partition(|name| led_out.contains(name));
        for name in &needed {
            run("ifup", &["--force", name])?;
        }
        for name in &others {
            try_run("ifup", &["--force", name]);
        }
    }
    Ok(())
}

fn down(interface: &str) {
    try_run("ifdown", &["--force", interface]);
    flush(interface);
}

/// The other files as before our first change, without these interfaces.
fn write_others(root: &Root, taken: &BTreeSet<&str>) -> Result<(), String> {
    root.keep(MAIN)?;
    let before = root.text_before(MAIN).unwrap_or_else(|| "auto lo\niface lo inet loopback\n".to_owned());
    let mut main = without(&before, taken);
    if !is_sourced(&before) {
        main.push_str("\nsource /etc/network/interfaces.d/*\n");
    }
    root.write(MAIN, &main, 0o644)?;
    for name in root.files(FOLDER).into_iter().filter(|name| name != OURS) {
        let Some(before) = root.text_before(&name) else { continue };
        let text = without(&before, taken);
        if text == before {
            root.bring_back(&name)?;
        } else {
            root.keep(&name)?;
            root.write(&name, &text, 0o644)?;
        }
    }
    Ok(())
}

fn file(settings: &NetworkSettings) -> String {
    let interface = settings.interface();
    let mut text = format!("{HEADER}auto {interface}\n");
    // Writing to a string cannot fail.
    match settings {
        NetworkSettings::Dhcp { .. } => drop(writeln!(text, "iface {interface} inet dhcp")),
        NetworkSettings::Static { address, prefix, gateway, dns, .. } => {
            text.push_str(&stanza(interface, address.value, *prefix, Some(gateway.value)));
            if !dns.is_empty() {
                let dns: Vec<String> = dns.iter().map(|server| server.value.to_string()).collect();
                let _ = writeln!(text, "\tdns-nameservers {}", dns.join(" "));
            }
        }
    }
    if let Some(ipv6) = settings.ipv6() {
        let gateway = ipv6.gateway.as_ref().map(|gateway| gateway.value);
        text.push_str(&stanza(interface, ipv6.address.value, ipv6.prefix, gateway));
    }
    text
}

fn stanza(interface: &str, address: IpAddr, prefix: u8, gateway: Option<IpAddr>) -> String {
    let family = if address.is_ipv4() { "inet" } else { "inet6" };
    let mut text = format!("iface {interface} {family} static\n\taddress {address}/{prefix}\n");
    if let Some(gateway) = gateway {
        let _ = writeln!(text, "\tgateway {gateway}");
    }
    if address.is_ipv6() {
        // A new address is unusable during duplicate address detection, and the job waits for it.
        text.push_str("\tdad-attempts 0\n\taccept_ra 1\n");
    }
    text
}

/// An interfaces file without these interfaces.
fn without(text: &str, taken: &BTreeSet<&str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_skipped = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let first = words.first().copied().unwrap_or_default();
        let is_list = first == "auto" || first.starts_with("allow-");
        if is_list || WORDS.contains(&first) {
            is_skipped = first == "iface" && words.get(1).is_some_and(|name| taken.contains(name));
        }
        if is_list && words[1..].iter().any(|name| taken.contains(name)) {
            let others: Vec<&str> = words[1..].iter().copied().filter(|name| !taken.contains(name)).collect();
            if !others.is_empty() {
                let _ = writeln!(out, "{first} {}", others.join(" "));
            }
        } else if !is_skipped {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

fn is_sourced(text: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next().is_some_and(|word| word.starts_with("source")) && words.any(|name| name.contains("interfaces.d"))
    })
}

/// The text of all current files, ours last.
fn all_text(root: &Root) -> String {
    let mut names: Vec<String> = root.files(FOLDER).into_iter().collect();
    names.insert(0, MAIN.to_owned());
    names.iter().filter_map(|name| root.text(name)).collect::<Vec<_>>().join("\n")
}

/// The interfaces that the files bring up at boot.
fn all_automatic(root: &Root) -> BTreeSet<String> {
    let text = all_text(root);
    let lists = text.lines().filter(|line| line.starts_with("auto ") || line.starts_with("allow-hotplug "));
    lists
        .flat_map(|line| line.split_ascii_whitespace().skip(1))
        .filter(|name| *name != "lo")
        .map(str::to_owned)
        .collect()
}

fn is_automatic(root: &Root, interface: &str) -> bool {
    all_automatic(root).contains(interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_taken_interfaces_goes() {
        let text = "auto lo eth0\niface lo inet loopback\n\n# The first.\nallow-hotplug eth0 eth1\niface eth0 inet dhcp\n\
                    \tmetric 5\n\tup route add x\n\niface eth0 inet6 auto\n  accept_ra 2\nauto eth0\niface eth0.5 inet manual\n\
                    mapping eth*\n\tscript x\nsource /etc/network/interfaces.d/*\n";
        assert_eq!(
            without(text, &BTreeSet::from(["eth0"])),
            "auto lo\niface lo inet loopback\n\n# The first.\nallow-hotplug eth1\niface eth0.5 inet manual\n\
             mapping eth*\n\tscript x\nsource /etc/network/interfaces.d/*\n"
        );
        assert_eq!(without(text, &BTreeSet::from(["eth7"])), text);
        assert!(is_sourced(text) && !is_sourced("auto lo\n#source /etc/network/interfaces.d/*\n"));
    }
}
