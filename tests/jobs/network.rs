//! `network.sh`: what it makes of network.json for each manager of a network, in a network namespace of its own with two
//! interfaces. The managers are stand-ins that read our files as the real ones do; a booted machine has the real ones.

use super::appliance::{Appliance, is_root, under_each_shell};
use std::fs;
use std::thread;

const STATIC: &str = r#"{"mode":"static","interface":"eth0","hostname":"new.host","ip_address":"192.0.2.7","netmask":"255.255.240.0","gateway":"192.0.2.1","dns1":"192.0.2.2","dns2":"192.0.2.3","ntpserver":"ntp.example"}"#;
const BARE: &str = r#"{"mode":"static","interface":"eth0","hostname":"new.host","ip_address":"192.0.2.8","netmask":"/20","gateway":"192.0.2.1"}"#;
const MOVED: &str = r#"{"mode":"static","interface":"eth1","hostname":"new.host","ip_address":"192.0.2.7","netmask":"/20","gateway":"192.0.2.1"}"#;
const LONG_6: &str = r#"{"mode":"static","interface":"eth0","hostname":"new.host","ip_address":"2001:0DB8:0000:0000:0001:0000:0000:0010","netmask":"64","gateway":"2001:db8:0:0:1::1"}"#;
const OUTSIDE: &str = r#"{"mode":"static","interface":"eth0","hostname":"new.host","ip_address":"192.0.2.7","netmask":"/32","gateway":"198.51.100.1"}"#;
const OUTSIDE_6: &str = r#"{"mode":"static","interface":"eth0","hostname":"new.host","ip_address":"2001:db8::7","netmask":"/128","gateway":"fe80::1"}"#;
const BOTH: &str = r#"{"mode":"static","interface":"eth0","hostname":"new.host","ip_address":"192.0.2.7","netmask":"/20","gateway":"192.0.2.1","ip6_address":"2001:0DB8::0007","ip6_prefix":"64","ip6_gateway":"2001:db8::1"}"#;
const BOTH_DHCP: &str =
    r#"{"mode":"dhcp","interface":"eth0","hostname":"new.host","ip6_address":"2001:db8::7","ip6_prefix":"/64"}"#;
const DHCP: &str = r#"{"mode":"dhcp","interface":"eth0","hostname":"new.host"}"#;

const INTERFACES: &str = "auto lo\niface lo inet loopback\n\n# The first.\nauto eth0\nallow-hotplug eth1\n\
                          iface eth0 inet static\n\taddress 192.0.2.77/20\n\tgateway 192.0.2.1\n\n\
                          iface eth1 inet manual\nsource /etc/network/interfaces.d/*\n";

/// What stands in for systemd-networkd: our file in force, or the machine's own where there is none.
const NETWORKCTL: &str = r#"
[ "$1" = reconfigure ] || exit 0
cd "$JIDO_ROOT_PATH/etc/systemd/network"
for file in 05-jidoteki-down.network 05-jidoteki.network 50-own.network; do
	[ -f "$file" ] && sed -n 's/^Name=//p' "$file" | grep -qw "$2" && break
	file=
done
ip addr flush dev "$2" scope global
ip -6 route flush default dev "$2"
[ -n "$file" ] || exit 0
if grep -q ActivationPolicy=down "$file"; then ip link set "$2" down; exit 0; fi
ip link set "$2" up
value() { sed -n "s/^$1=//p" "$file"; }
[ -z "$(value DHCP)" ] || ip addr add 192.0.2.99/20 dev "$2"
for own in $(value Address); do ip addr add "$own" dev "$2" nodad; done
onlink=
[ -z "$(value GatewayOnLink)" ] || onlink=onlink
for gateway in $(value Gateway); do ip route replace default via "$gateway" dev "$2" $onlink; done
"#;

/// What stands in for ifup: a stanza of static or dhcp, in any of the files.
const IFUP: &str = r#"
shift
cat "$JIDO_ROOT_PATH/etc/network/interfaces" "$JIDO_ROOT_PATH"/etc/network/interfaces.d/* 2>/dev/null |
	awk -v name="$1" '$1 == "iface" { on = $2 == name; if (on) print "method", $4 } on && NF == 2 { print $1, $2 }' >"$JIDO_ROOT_PATH/stanza"
ip link set "$1" up
while read -r word value; do
	case $word in
	method) [ "$value" != dhcp ] || ip addr add 192.0.2.99/20 dev "$1" ;;
	address) ip addr add "$value" dev "$1" nodad || exit 1 ;;
	gateway) ip route add default via "$value" dev "$1" onlink || exit 1 ;;
	esac
done <"$JIDO_ROOT_PATH/stanza"
"#;
const IFDOWN: &str = "shift; ip addr flush dev \"$1\" scope global; ip link set \"$1\" down";

/// What stands in for NetworkManager, which has its own state in a file.
const NMCLI: &str = r#"
[ "$1" != -w ] || shift 2
file=$JIDO_ROOT_PATH/etc/NetworkManager/system-connections/jidoteki.nmconnection
value() { sed -n "s/^$1=//p" "$file"; }
case "$*" in
*GENERAL.STATE*) echo '100 (connected)' ;;
'connection up'*)
	name=$(value interface-name)
	ip addr flush dev "$name" scope global
	ip -6 route flush default dev "$name"
	ip link set "$name" up
	! sed -n '/^.ipv4/,/^$/p' "$file" | grep -q method=auto || ip addr add 192.0.2.99/20 dev "$name"
	for own in $(value address1); do
		ip addr add "${own%,*}" dev "$name" nodad
		[ "${own%,*}" = "$own" ] || ip route replace default via "${own#*,}" dev "$name" onlink
	done
	for server in $(value dns | tr ';' ' '); do echo "nameserver $server"; done >"$JIDO_ROOT_PATH/etc/resolv.conf"
	;;
'device connect'*)
	ip link set "$3" up
	[ "$3" != eth0 ] || { ip addr add 192.0.2.77/20 dev eth0; ip route add default via 192.0.2.1 dev eth0; }
	;;
'device disconnect'*) ip addr flush dev "$3"; ip link set "$3" down ;;
esac
"#;

/// What stands in for the programs that keep the clock: they ask the servers in our files.
const TIMEDATECTL: &str = r#"sed -n 's/^NTP=//p' "$JIDO_ROOT_PATH"/etc/systemd/timesyncd.conf.d/*.conf"#;
const CHRONYC: &str = r#"
[ "$1" = -c ] || exit 0
sed -n 's/^server \([^ ]*\) .*/^,?,\1,0,6,0,4294967295,0.0,0.0,0.0/p' "$JIDO_ROOT_PATH"/etc/chrony/sources.d/*.sources
"#;

const MANAGERS: [&str; 3] = ["networkd", "ifupdown", "NetworkManager"];

fn prepare(appliance: &Appliance, manager: &str) {
    let script = appliance.path("admin/bin/network.sh");
    fs::copy(super::appliance::repository().join("cgi-bin/network.sh"), script).unwrap();
    appliance.write("machine/etc/hostname", "old\n");
    appliance.write("machine/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\told\n");
    appliance.write("machine/etc/resolv.conf", "search own.example\nnameserver 192.0.2.99\noptions rotate\n");
    fs::create_dir_all(appliance.path("machine/etc/systemd/timesyncd.conf.d")).unwrap();
    match manager {
        "networkd" => appliance.write(
            "machine/etc/systemd/network/50-own.network",
            "[Match]\nName=eth0\n\n[Network]\nAddress=192.0.2.77/20\nGateway=192.0.2.1\n",
        ),
        "ifupdown" => {
            appliance.write("machine/etc/network/interfaces", INTERFACES);
            appliance.write("machine/etc/network/interfaces.d/50-cloud-init", "auto eth2\niface eth2 inet dhcp\n");
            appliance.write("machine/run/network/ifstate", "eth0=eth0\n");
        }
        _ => {
            fs::create_dir_all(appliance.path("machine/etc/NetworkManager/system-connections")).unwrap();
            fs::create_dir_all(appliance.path("machine/etc/NetworkManager/conf.d")).unwrap();
        }
    }
    appliance.answer("systemctl", &format!("case \"$*\" in *timesyncd*|*{manager}*) ;; *) exit 1 ;; esac"));
    // The namespace has a network of its own, which the real one may ask and change.
    let _ = fs::remove_file(appliance.path("fakes/ip"));
    appliance.answer("networkctl", NETWORKCTL);
    appliance.answer("ifup", IFUP);
    appliance.answer("ifdown", IFDOWN);
    for name in ["nmcli", "timedatectl", "chronyc"] {
        fs::copy(appliance.path("fakes/ifup"), appliance.path("fakes").join(name)).unwrap();
    }
    appliance.answer("timedatectl", TIMEDATECTL);
    appliance.answer("chronyc", CHRONYC);
    appliance.answer("nmcli", NMCLI);
}

/// Runs steps in a namespace, in which eth0 is as the machine's own files say. `change JSON` in a step puts settings in
/// force as the job does.
fn machine(appliance: &Appliance, steps: &str) -> String {
    let script = format!(
        r#"
        set -eu
        ip link set lo up
        for n in 0 1; do ip link add "eth$n" type veth peer name "peer$n"; ip link set "peer$n" up; done
        ip link set eth0 up
        ip addr add 192.0.2.77/20 dev eth0
        ip route add default via 192.0.2.1 dev eth0
        hostname old 2>/dev/null || echo old >/proc/sys/kernel/hostname
        change() {{
            printf '%s\n' "$2" >"$JIDO_ADMIN_PATH/etc/network.json"
            "$JIDO_ADMIN_PATH/bin/network.sh" "$1" || echo "exit $?"
        }}
        addresses() {{ ip -o addr show scope global | awk '{{ print $2, $4 }}' | tr '\n' ';'; ip route show default | awk '{{ print "by", $3, $5 }}'; ip -6 route show default | awk '{{ print "by", $3, $5 }}'; }}
        {steps}"#
    );
    let mut command = appliance.command("/usr/bin/unshare".as_ref());
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--uts", "/bin/sh", "-c", &script]).env("JIDO_ROOT_PATH", appliance.path("machine"));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {text}{errors}\n{}", appliance.shell, appliance.record());
    text
}

/// What the machine has after these settings.
#[track_caller]
fn check(appliance: &Appliance, mode: &str, json: &str, wanted: &str) {
    let text = machine(appliance, &format!("change {mode} '{json}'; addresses"));
    assert_eq!(text, wanted, "{:?}\n{}", appliance.shell, appliance.record());
}

fn with_each_manager(test: impl Fn(&Appliance, &str)) {
    for manager in MANAGERS {
        under_each_shell(|appliance| {
            prepare(appliance, manager);
            test(appliance, manager);
        });
    }
}

/// The machine's files with what is in them, but for the stand-ins' own.
fn files(appliance: &Appliance) -> Vec<(String, String)> {
    let names = appliance.files("machine").into_iter().filter(|name| !name.ends_with('/') && name != "stanza");
    names.map(|name| (appliance.read(&format!("machine/{name}")), name)).collect()
}

#[test]
fn each_manager_gives_the_address_that_was_asked_for() {
    with_each_manager(|appliance, manager| {
        check(appliance, "static", STATIC, "eth0 192.0.2.7/20;by 192.0.2.1 eth0\n");
        assert_eq!(appliance.read("machine/etc/hostname"), "new.host\n");
        assert_eq!(appliance.read("machine/etc/hosts"), "127.0.0.1\tlocalhost\n127.0.1.1\tnew.host new\n");
        let resolv_conf = appliance.read("machine/etc/resolv.conf");
        assert!(resolv_conf.contains("nameserver 192.0.2.2\nnameserver 192.0.2.3\n"), "{manager}: {resolv_conf}");
        assert!(!resolv_conf.contains("192.0.2.99"), "{manager}: {resolv_conf}");
        check(appliance, "dhcp", DHCP, "eth0 192.0.2.99/20;");
    });
}

#[test]
fn an_address_as_people_paste_it_is_the_same_address() {
    with_each_manager(|appliance, _| {
        check(appliance, "static", LONG_6, "eth0 2001:db8::1:0:0:10/64;by 2001:db8::1:0:0:1 eth0\n");
    });
}

#[test]
fn a_gateway_outside_the_network_is_a_way_out() {
    with_each_manager(|appliance, _| {
        check(appliance, "static", OUTSIDE, "eth0 192.0.2.7/32;by 198.51.100.1 eth0\n");
        check(appliance, "static", OUTSIDE_6, "eth0 2001:db8::7/128;by fe80::1 eth0\n");
    });
}

#[test]
fn an_ipv6_address_is_there_beside_ipv4_and_gone_when_it_is_left_out() {
    with_each_manager(|appliance, manager| {
        let both = "eth0 192.0.2.7/20;eth0 2001:db8::7/64;by 192.0.2.1 eth0\nby 2001:db8::1 eth0\n";
        check(appliance, "static", BOTH, both);
        check(appliance, "dhcp", BOTH_DHCP, "eth0 192.0.2.99/20;eth0 2001:db8::7/64;");
        let text = machine(appliance, &format!("change static '{BOTH}'; change static '{BARE}'; addresses"));
        assert_eq!(text, "eth0 192.0.2.8/20;by 192.0.2.1 eth0\n", "{manager}");
    });
}

#[test]
fn a_time_server_that_is_not_used_fails_the_change_and_an_unverified_one_is_reported() {
    under_each_shell(|appliance| {
        prepare(appliance, "ifupdown");
        // chrony in place of timesyncd.
        fs::create_dir_all(appliance.path("machine/etc/chrony/sources.d")).unwrap();
        appliance.answer("systemctl", "case \"$*\" in *chrony*) ;; *) exit 1 ;; esac");
        check(appliance, "static", STATIC, "eth0 192.0.2.7/20;by 192.0.2.1 eth0\n");
        let file = "machine/etc/chrony/sources.d/jidoteki.sources";
        assert!(appliance.read(file).ends_with("\nserver ntp.example iburst prefer\n"), "{}", appliance.read(file));
        check(appliance, "static", BARE, "eth0 192.0.2.8/20;by 192.0.2.1 eth0\n");
        assert!(!appliance.exists(file));
        // Neither of them, or one that does not answer.
        for (systemctl, timedatectl) in [("exit 1", ""), ("case \"$*\" in *timesyncd*) ;; *) exit 1 ;; esac", "exit 1")]
        {
            appliance.answer("systemctl", systemctl);
            appliance.answer("timedatectl", timedatectl);
            check(
                appliance,
                "static",
                STATIC,
                "Whether the time server ntp.example is used is not known: neither systemd-timesyncd nor chrony answers\n\
                 eth0 192.0.2.7/20;by 192.0.2.1 eth0\n",
            );
        }
    });
}

#[test]
fn a_time_server_in_another_spelling_is_the_same() {
    under_each_shell(|appliance| {
        prepare(appliance, "ifupdown");
        fs::create_dir_all(appliance.path("machine/etc/chrony/sources.d")).unwrap();
        appliance.answer("systemctl", "case \"$*\" in *chrony*) ;; *) exit 1 ;; esac");
        let [long, short] = ["2001:0DB8:0000::0005", "2001:db8::5"].map(|server| STATIC.replace("ntp.example", server));
        let text = machine(appliance, &format!("change static '{long}'; change static '{short}'; addresses"));
        assert_eq!(text, "eth0 192.0.2.7/20;by 192.0.2.1 eth0\n");
        let sources = appliance.read("machine/etc/chrony/sources.d/jidoteki.sources");
        assert!(sources.ends_with("\nserver 2001:db8::5 iburst prefer\n"), "{sources}");
        // chrony adds the new ones before it removes the old ones, and refuses an address that it has.
        assert_eq!(appliance.record().matches("chronyc reload sources").count(), 1, "{}", appliance.record());
    });
}

#[test]
fn omitted_settings_are_as_before_the_first_change() {
    for manager in ["networkd", "ifupdown"] {
        under_each_shell(|appliance| {
            prepare(appliance, manager);
            let before = appliance.read("machine/etc/resolv.conf");
            machine(appliance, &format!("change static '{STATIC}'"));
            let text = appliance.read("machine/etc/resolv.conf");
            assert!(text.contains("search own.example\noptions rotate\n"), "{text}");
            assert!(appliance.exists("machine/etc/systemd/timesyncd.conf.d/jidoteki.conf"));
            machine(appliance, &format!("change static '{BARE}'"));
            assert_eq!(appliance.read("machine/etc/resolv.conf"), before);
            assert!(!appliance.exists("machine/etc/systemd/timesyncd.conf.d/jidoteki.conf"));
            machine(appliance, &format!("change static '{STATIC}'; change dhcp '{DHCP}'"));
            assert_eq!(appliance.read("machine/etc/resolv.conf"), before);
        });
    }
}

#[test]
fn a_move_takes_the_first_interface_down_and_back_again() {
    with_each_manager(|appliance, manager| {
        let before = files(appliance);
        let text = machine(
            appliance,
            &format!(
                "change static '{MOVED}'; addresses
                 change static '{STATIC}'; addresses
                 change static '{MOVED}'; addresses
                 rm \"$JIDO_ADMIN_PATH/etc/network.json\"; \"$JIDO_ADMIN_PATH/bin/network.sh\" none; addresses"
            ),
        );
        assert_eq!(
            text,
            "eth1 192.0.2.7/20;by 192.0.2.1 eth1\neth0 192.0.2.7/20;by 192.0.2.1 eth0\n\
             eth1 192.0.2.7/20;by 192.0.2.1 eth1\neth0 192.0.2.77/20;by 192.0.2.1 eth0\n",
            "{manager} {:?}\n{}",
            appliance.shell,
            appliance.record()
        );
        if manager != "NetworkManager" {
            assert_eq!(files(appliance), before, "{manager}");
        }
        assert!(!appliance.exists("admin/lib/network.before"));
    });
}

#[test]
fn none_takes_everything_back() {
    for manager in ["networkd", "ifupdown"] {
        under_each_shell(|appliance| {
            prepare(appliance, manager);
            let before = files(appliance);
            machine(
                appliance,
                &format!("change static '{STATIC}'; change dhcp '{DHCP}'; \"$JIDO_ADMIN_PATH/bin/network.sh\" none"),
            );
            assert_eq!(files(appliance), before, "{manager}");
        });
    }
}

#[test]
fn each_failure_has_its_own_reason() {
    // A manager that does nothing, or not all. Waiting is what takes the time, so they wait together.
    let cases = [
        ("no interface", "exit 0", STATIC.replace("eth0", "eth7"), "There is no interface eth7"),
        ("a manager that fails", "exit 1", STATIC.to_owned(), "networkctl failed"),
        ("no address", "exit 0", STATIC.to_owned(), "eth0 did not get the address 192.0.2.7/20"),
        (
            "another prefix",
            "ip addr add 192.0.2.7/24 dev eth0 2>/dev/null; exit 0",
            STATIC.to_owned(),
            "eth0 did not get the address 192.0.2.7/20",
        ),
        (
            "no way out",
            "ip addr add 192.0.2.7/20 dev eth0 2>/dev/null; ip route del default 2>/dev/null; exit 0",
            STATIC.to_owned(),
            "eth0 has no default route by 192.0.2.1",
        ),
        (
            "no name server",
            "ip addr add 192.0.2.7/20 dev eth0 2>/dev/null; echo >\"$JIDO_ROOT_PATH/etc/resolv.conf\"; exit 0",
            STATIC.to_owned(),
            "The name server 192.0.2.2 is not in force",
        ),
        (
            "another time server",
            "ip addr add 192.0.2.7/20 dev eth0 2>/dev/null; exit 0",
            STATIC.to_owned(),
            "The time server ntp.example is not in force",
        ),
        (
            "no IPv6 address",
            "ip addr add 192.0.2.7/20 dev eth0 2>/dev/null; exit 0",
            BOTH.to_owned(),
            "eth0 did not get the address 2001:db8::7/64",
        ),
        (
            "no way out by IPv6",
            "ip addr add 192.0.2.7/20 dev eth0 2>/dev/null; ip addr add 2001:db8::7/64 dev eth0 nodad 2>/dev/null; exit 0",
            BOTH.to_owned(),
            "eth0 has no default route by 2001:db8::1",
        ),
        (
            "an address that another machine has",
            // The other end of the wire.
            "ip addr add 2001:db8::7/64 dev peer0 nodad 2>/dev/null; ip addr add 192.0.2.7/20 dev eth0 2>/dev/null; \
             sleep 1; ip addr add 2001:db8::7/64 dev eth0 2>/dev/null; exit 0",
            BOTH.to_owned(),
            "Another machine has the address 2001:db8::7",
        ),
        (
            "an address that another machine has, and that the manager has removed already",
            // As NetworkManager does.
            "ip addr add 2001:db8::7/64 dev peer0 nodad; ip addr add 2001:db8::7/64 dev eth0
             until ip -o addr show dev eth0 dadfailed | grep -q 2001:db8::7; do sleep 0.05; done
             ip addr del 2001:db8::7/64 dev eth0; exit 1",
            BOTH.to_owned(),
            "Another machine has the address 2001:db8::7",
        ),
    ];
    thread::scope(|scope| {
        for (what, networkctl, json, reason) in &cases {
            scope.spawn(move || {
                let appliance = Appliance::new(super::appliance::Shell::Dash);
                prepare(&appliance, "networkd");
                appliance.answer("networkctl", networkctl);
                if *what == "another time server" {
                    appliance.answer("timedatectl", "echo ntp.example.org pool.example");
                }
                let text = machine(&appliance, &format!("change static '{json}'"));
                assert_eq!(text, format!("Reason: {reason}\nexit 1\n"), "{what}");
            });
        }
    });
}

/// Steps with a network at the other end of eth0. `other COMMANDS` runs there, on the router's own machine; `another
/// ADDRESS` plugs in a machine with another hardware address. `job WORD JSON` is the job as it is started for a client,
/// and `told` is what the client can read afterwards.
fn machine_with_another(appliance: &Appliance, steps: &str) -> String {
    machine_with_another_at(appliance, "peer0", steps)
}

/// The same, with the network at the other end of another interface.
fn machine_with_another_at(appliance: &Appliance, peer: &str, steps: &str) -> String {
    machine(
        appliance,
        &format!(
            r#"
            mkfifo here end
            unshare --net sh -c 'echo >here; read -r _ <end' &
            pid=$!
            read -r _ <here
            ip link set {peer} netns "$pid"
            other() {{ nsenter --target "$pid" --net sh -c "$1"; }}
            other 'ip link set {peer} up; ip addr add 192.0.2.1/20 dev {peer}; ip route add default dev {peer}'
            another() {{
                other 'ip link add link {peer} name other type macvlan mode bridge; ip link set other up
                    ip addr add '"$1"' dev other nodad; ip route add default dev other metric 5
                    echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore'
            }}
            # The kernel does not ask for IPv6 addresses while its own is tentative.
            ip addr add fe80::77/64 dev eth0 nodad
            job() {{
                printf '%s
' "${{2-}}" >"$JIDO_ADMIN_PATH/home/sftp/uploads/network.json"
                : >lock
                "$JIDO_ADMIN_PATH/bin/jobs/settings" "$1" <lock || :
            }}
            told() {{ cat "$JIDO_ADMIN_PATH/etc/status_settings.txt" "$JIDO_ADMIN_PATH/etc/status_error_settings.txt" 2>/dev/null || :; }}
            {steps}
            echo >end
            wait"#
        ),
    )
}

#[test]
fn an_address_of_another_machine_is_refused_before_anything_changes() {
    const HERE: &str = "eth0 192.0.2.77/20;by 192.0.2.1 eth0\n";
    // Its address, and the settings for ours.
    let four = "192.0.2.7/20";
    let six = "2001:db8::7/64";
    let through_another = STATIC.replace("192.0.2.1\"", "192.0.2.3\"");
    for (address, mode, json) in [
        (four, "static", STATIC.to_owned()),
        // The gateway does not answer.
        (four, "static", through_another),
        (six, "static", BOTH.to_owned()),
        (six, "dhcp", BOTH_DHCP.to_owned()),
    ] {
        let steps = format!("another {address}; job {mode} '{json}'; told; addresses");
        under_each_shell(|appliance| {
            prepare(appliance, "networkd");
            let before = files(appliance);
            let reason = format!(
                "The network settings could not be applied: Another machine has the address {}",
                address.split('/').next().unwrap()
            );
            assert_eq!(
                machine_with_another(appliance, &steps),
                format!("Reason: {reason}\nfailed\n{reason}\n{HERE}"),
                "{address} {json}\n{}",
                appliance.describe()
            );
            assert_eq!(files(appliance), before);
            assert!(!appliance.record().contains("networkctl"), "{}", appliance.record());
        });
    }
}

#[test]
fn an_address_that_no_other_machine_has_is_not_refused() {
    let changed = "success\neth0 192.0.2.7/20;by 192.0.2.1 eth0\n";
    for (what, before) in [
        ("nobody has it", ""),
        ("a router answers for every address", "other 'ip addr add 192.0.2.7/32 dev peer0'"),
        ("its machine has gone", "ip neigh replace 192.0.2.7 dev eth0 lladdr 02:00:00:00:00:07 nud reachable"),
        // As at each change of anything else.
        ("it is ours", "ip addr add 192.0.2.7/20 dev eth0; another 192.0.2.7/20"),
        ("the interface is down", "ip link set eth0 down"),
    ] {
        under_each_shell(|appliance| {
            prepare(appliance, "networkd");
            let steps = format!("{before}\njob static '{STATIC}'; told; addresses");
            assert_eq!(machine_with_another(appliance, &steps), changed, "{what}\n{}", appliance.describe());
        });
    }
}

#[test]
fn an_ipv6_address_is_asked_for_as_soon_as_the_kernel_can_ask() {
    // The interface has just come up: the kernel checks its link-local address for two seconds, and asks for no other.
    let steps = format!(
        "another 2001:db8::7/64
         cd /proc/sys/net/ipv6/conf/eth0; echo 0 >router_solicitation_delay; echo 2 >dad_transmits; cd \"$OLDPWD\"
         ip link set eth0 down; ip link set eth0 up; ip route add default via 192.0.2.1 dev eth0
         job static '{BOTH}'; told; addresses"
    );
    under_each_shell(|appliance| {
        prepare(appliance, "networkd");
        let reason = "The network settings could not be applied: Another machine has the address 2001:db8::7";
        assert_eq!(
            machine_with_another(appliance, &steps),
            format!("Reason: {reason}\nfailed\n{reason}\neth0 192.0.2.77/20;by 192.0.2.1 eth0\n"),
            "{}",
            appliance.describe()
        );
    });
}

#[test]
fn an_interface_that_is_down_comes_up_for_the_question_and_nobody_learns_of_it() {
    const STATE: &str = "ip -o link show eth1 | grep -o 'state [A-Z]*'; ip -o addr show dev eth1
         cat /proc/sys/net/ipv4/conf/eth1/arp_ignore /proc/sys/net/ipv6/conf/eth1/accept_ra";
    // With its own address, the machine would move to this interface in the memory of others, which is down soon.
    const LEARNED: &str = "other 'ip neigh show 192.0.2.77'";
    let moved_6 = BOTH.replace("eth0", "eth1");
    for (address, json) in [("192.0.2.7/20", MOVED), ("2001:db8::7/64", moved_6.as_str())] {
        let steps = format!("another {address}; job static '{json}'; told; addresses; {STATE}; {LEARNED}");
        under_each_shell(|appliance| {
            prepare(appliance, "networkd");
            let before = files(appliance);
            let reason = format!(
                "The network settings could not be applied: Another machine has the address {}",
                address.split('/').next().unwrap()
            );
            assert_eq!(
                machine_with_another_at(appliance, "peer1", &steps),
                format!("Reason: {reason}\nfailed\n{reason}\neth0 192.0.2.77/20;by 192.0.2.1 eth0\nstate DOWN\n0\n1\n"),
                "{address}\n{}",
                appliance.describe()
            );
            assert_eq!(files(appliance), before);
        });
    }
    // Nobody has it.
    let steps =
        format!("job static '{MOVED}'; told; addresses; ip -o -4 addr show dev eth1 | awk '{{ print $4 }}'; {LEARNED}");
    under_each_shell(|appliance| {
        prepare(appliance, "networkd");
        assert_eq!(
            machine_with_another_at(appliance, "peer1", &steps),
            "success\neth1 192.0.2.7/20;by 192.0.2.1 eth1\n192.0.2.7/20\n",
            "{}",
            appliance.describe()
        );
    });
}

#[test]
fn a_service_of_the_clock_may_restart_as_often_as_the_time_server_changes() {
    let appliance = Appliance::new(super::appliance::Shell::Dash);
    prepare(&appliance, "ifupdown");
    machine(&appliance, &format!("change static '{STATIC}'; change static '{BARE}'"));
    let record = appliance.record();
    let told: Vec<&str> = record.lines().filter(|line| line.contains("timesyncd") && !line.contains("is-")).collect();
    // systemd counts starts, and refuses the sixth within ten seconds.
    let once = ["systemctl reset-failed systemd-timesyncd", "systemctl try-restart systemd-timesyncd"];
    assert_eq!(told, [once, once].concat(), "{record}");
}

#[test]
fn a_rollback_does_not_ask_who_has_the_address() {
    under_each_shell(|appliance| {
        prepare(appliance, "networkd");
        let steps = format!(
            "job static '{BARE}'; told
             printf '60\n' >\"$JIDO_ADMIN_PATH/home/sftp/uploads/settings.confirm\"
             job static '{STATIC}'; told
             another 192.0.2.8/20
             job undo; told; addresses"
        );
        assert_eq!(
            machine_with_another(appliance, &steps),
            "success\nsuccess\nsuccess\neth0 192.0.2.8/20;by 192.0.2.1 eth0\n",
            "{}",
            appliance.describe()
        );
    });
}

#[test]
fn without_a_manager_that_we_know_the_settings_are_stored_and_not_applied() {
    under_each_shell(|appliance| {
        prepare(appliance, "none");
        let before = files(appliance);
        let text = machine(appliance, &format!("change static '{STATIC}'; addresses"));
        assert!(text.starts_with("Nothing that we know manages this network"), "{text}");
        assert!(text.ends_with("exit 3\neth0 192.0.2.77/20;by 192.0.2.1 eth0\n"), "{text}");
        assert_eq!(files(appliance), before);
    });
}

#[test]
fn on_the_way_up_only_files_are_written() {
    under_each_shell(|appliance| {
        prepare(appliance, "ifupdown");
        fs::remove_file(appliance.path("machine/run/network/ifstate")).unwrap();
        let text = machine(appliance, &format!("ip link del eth0; change static '{STATIC}'"));
        assert_eq!(text, "exit 3\n", "stored, because nothing was applied");
        assert!(appliance.exists("machine/etc/network/interfaces.d/jidoteki"));
        assert!(!appliance.record().contains("ifup "), "{}", appliance.record());
    });
}

#[test]
fn another_file_of_interfaces_does_not_set_ours_up_too() {
    let appliance = Appliance::new(super::appliance::Shell::Dash);
    prepare(&appliance, "ifupdown");
    let cloud = "auto eth0\niface eth0 inet dhcp\n";
    appliance.write("machine/etc/network/interfaces.d/50-cloud-init", cloud);
    machine(&appliance, &format!("change static '{STATIC}'"));
    assert_eq!(appliance.read("machine/etc/network/interfaces.d/50-cloud-init"), "");
    // Nor does what is kept of it, which ifupdown would read there.
    assert_eq!(appliance.files("machine/etc/network/interfaces.d"), ["50-cloud-init", "jidoteki"]);
    machine(&appliance, "\"$JIDO_ADMIN_PATH/bin/network.sh\" none");
    assert_eq!(appliance.read("machine/etc/network/interfaces.d/50-cloud-init"), cloud);
}

#[test]
fn a_network_json_written_by_hand_is_validated_again() {
    let appliance = Appliance::new(super::appliance::Shell::Dash);
    prepare(&appliance, "ifupdown");
    let before = files(&appliance);
    for json in [
        r#"{"interface":"eth0","hostname":"a.b","ip_address":"192.0.2.7","netmask":"/20","gateway":"\tup id >/root/x"}"#,
        r#"{"interface":"eth0\n\tup id","hostname":"a.b","ip_address":"192.0.2.7","netmask":"/20","gateway":"192.0.2.1"}"#,
        r#"{"interface":"eth0","hostname":"-F","ip_address":"192.0.2.7","netmask":"/20","gateway":"192.0.2.1"}"#,
        "no json",
        "",
    ] {
        let text = machine(&appliance, &format!("change static '{json}'"));
        assert!(text.starts_with("Reason: ") && text.ends_with("exit 1\n"), "{json}: {text}");
        assert_eq!(files(&appliance), before, "{json}");
    }
}
