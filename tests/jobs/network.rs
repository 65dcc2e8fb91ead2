//! `network.sh`: what it makes of network.conf for systemd-networkd and for ifupdown, and that `none`
//! takes all of it back. The tools themselves are fakes that record; a booted machine has the real ones.

use super::appliance::{Appliance, Outcome, repository, under_each_shell};
use std::fs;

const STATIC: &str = "mode=static\ninterface=eth0\nip=192.0.2.7\nsubnet=255.255.240.0\nrouter=192.0.2.1\n\
                      dns=\"192.0.2.2 192.0.2.3\"\nhostname=\"new.host\"\nntpserver=\"ntp.example\"\n";
const STATIC_6: &str =
    "mode=static\ninterface=eth0\nip=2001:DB8::7\nsubnet_ipv6=/64\nrouter=2001:db8::1\nhostname=\"new.host\"\n";
const DHCP: &str = "mode=dhcp\ninterface=eth0\nhostname=\"new.host\"\n";

const INTERFACES: &str = "auto lo\niface lo inet loopback\n\n# The first.\nallow-hotplug eth0 eth1\niface eth0 inet dhcp\n\
                          \tmetric 5\n\niface eth1 inet manual\nsource /etc/network/interfaces.d/*\n";

fn prepare(appliance: &Appliance, manager: &str) {
    let script = appliance.path("admin/bin/network.sh");
    fs::copy(repository().join("cgi-bin/network.sh"), script).unwrap();
    appliance.write("machine/etc/hostname", "old\n");
    appliance.write("machine/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\told\n");
    appliance.write("machine/etc/resolv.conf", "nameserver 192.0.2.99\n");
    fs::create_dir_all(appliance.path("machine/etc/systemd")).unwrap();
    if manager == "ifupdown" {
        appliance.write("machine/etc/network/interfaces", INTERFACES);
        appliance.write("machine/run/network/ifstate", "eth0=eth0\n");
    }
    appliance.answer("systemctl", &format!("[ {manager} = networkd ]"));
    appliance.hook("fakes/ip", "case \"$*\" in '-o addr'*) echo '2: eth0 inet 192.0.2.7/20 scope global'; echo '2: eth0 inet6 2001:db8::7/64' ;; esac");
}

fn network(appliance: &Appliance, mode: &str) -> Outcome {
    let output = appliance
        .command(&appliance.path("admin/bin/network.sh"))
        .arg(mode)
        .env("JIDO_ROOT_PATH", appliance.path("machine"))
        .output()
        .unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[track_caller]
fn apply(appliance: &Appliance, mode: &str, conf: &str) {
    appliance.write("etc/network.conf", conf);
    let outcome = network(appliance, mode);
    assert_eq!(outcome.code, Some(0), "{:?}: {outcome:?}", appliance.shell);
}

#[test]
fn networkd_gets_a_file_and_is_told() {
    for (mode, conf, body) in [
        ("static", STATIC, "Address=192.0.2.7/20\nGateway=192.0.2.1\nDNS=192.0.2.2\nDNS=192.0.2.3\nNTP=ntp.example\n"),
        ("static", STATIC_6, "Address=2001:db8::7/64\nGateway=2001:db8::1\n"),
        ("dhcp", DHCP, "DHCP=yes\n"),
    ] {
        under_each_shell(|appliance| {
            prepare(appliance, "networkd");
            apply(appliance, mode, conf);
            assert_eq!(
                appliance.read("machine/etc/systemd/network/05-jidoteki.network"),
                format!(
                    "# Made by jidoteki-admin-api from network.conf; a change here is overwritten.\n\
                     [Match]\nName=eth0\n\n[Network]\n{body}"
                )
            );
            assert!(
                appliance.record().contains("networkctl reload\nnetworkctl reconfigure eth0\n"),
                "{}",
                appliance.record()
            );
            assert!(appliance.record().contains("hostname new.host\n"));
            assert_eq!(appliance.read("machine/etc/hostname"), "new.host\n");
            assert_eq!(appliance.read("machine/etc/hosts"), "127.0.0.1\tlocalhost\n127.0.1.1\tnew.host new\n");
        });
    }
}

#[test]
fn ifupdown_gets_a_file_and_the_old_stanza_goes() {
    for (mode, conf, stanza) in [
        (
            "static",
            STATIC,
            "iface eth0 inet static\n\taddress 192.0.2.7/20\n\tgateway 192.0.2.1\n\tdns-nameservers 192.0.2.2 192.0.2.3\n",
        ),
        (
            "static",
            STATIC_6,
            "iface eth0 inet6 static\n\taddress 2001:db8::7/64\n\tgateway 2001:db8::1\n\tdad-attempts 0\n\taccept_ra 1\n",
        ),
        ("dhcp", DHCP, "iface eth0 inet dhcp\n"),
    ] {
        under_each_shell(|appliance| {
            prepare(appliance, "ifupdown");
            apply(appliance, mode, conf);
            // A second time changes nothing more: the original is read, not what we made of it.
            apply(appliance, mode, conf);
            assert_eq!(
                appliance.read("machine/etc/network/interfaces.d/jidoteki"),
                format!(
                    "# Made by jidoteki-admin-api from network.conf; a change here is overwritten.\nauto eth0\n{stanza}"
                )
            );
            assert_eq!(
                appliance.read("machine/etc/network/interfaces"),
                "auto lo\niface lo inet loopback\n\n# The first.\nallow-hotplug eth1\niface eth1 inet manual\n\
                 source /etc/network/interfaces.d/*\n"
            );
            let record = appliance.record();
            let down = record.find("ifdown --force eth0\n").unwrap();
            assert!(down < record.find("ifup --force eth0\n").unwrap(), "{record}");
        });
    }
}

#[test]
fn none_takes_everything_back() {
    for manager in ["networkd", "ifupdown"] {
        under_each_shell(|appliance| {
            prepare(appliance, manager);
            let before: Vec<_> = appliance
                .files("machine")
                .into_iter()
                .filter(|name| !name.ends_with('/'))
                .map(|name| (appliance.read(&format!("machine/{name}")), name))
                .collect();
            apply(appliance, "static", STATIC);
            apply(appliance, "dhcp", DHCP);
            assert_eq!(network(appliance, "none").code, Some(0));
            let after: Vec<_> = appliance
                .files("machine")
                .into_iter()
                .filter(|name| !name.ends_with('/'))
                .map(|name| (appliance.read(&format!("machine/{name}")), name))
                .collect();
            assert_eq!(after, before);
        });
    }
}

#[test]
fn an_address_that_does_not_appear_is_a_failure() {
    let appliance = Appliance::new(super::appliance::Shell::Dash);
    prepare(&appliance, "networkd");
    appliance.write("etc/network.conf", STATIC.replace("192.0.2.7", "192.0.2.8"));
    // Waiting is what takes the time here, so it does not.
    appliance.hook("fakes/sleep", "exit 0");
    let outcome = network(&appliance, "static");
    assert_eq!(outcome.stderr, "network.sh: eth0 did not get its address\n");
    assert_eq!(outcome.code, Some(1));
}

#[test]
fn without_a_manager_that_we_know_only_the_file_counts() {
    under_each_shell(|appliance| {
        prepare(appliance, "none");
        appliance.write("etc/network.conf", STATIC);
        let outcome = network(appliance, "static");
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(appliance.read("machine/etc/hostname"), "old\n");
    });
}

#[test]
fn on_the_way_up_only_files_are_written() {
    under_each_shell(|appliance| {
        prepare(appliance, "ifupdown");
        fs::remove_file(appliance.path("machine/run/network/ifstate")).unwrap();
        appliance.hook("fakes/ip", "exit 1");
        apply(appliance, "static", STATIC);
        assert!(appliance.exists("machine/etc/network/interfaces.d/jidoteki"));
        assert!(!appliance.record().contains("ifup "), "{}", appliance.record());
    });
}
