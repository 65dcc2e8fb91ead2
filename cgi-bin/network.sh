#!/bin/sh
# shellcheck shell=dash
#
# Makes ETC/network.conf the network of a Debian: "static" or "dhcp" as that file says, "none" to take
# back all that was ever done here. An image with a network of its own replaces this file.
#
# Knows systemd-networkd and ifupdown. Where neither runs, network.conf is all there is: the boot
# scripts of the image read it. JIDO_ROOT_PATH is where the machine is, for tests.

set -eu
umask 022

ETC=${JIDO_ETC_PATH:-/usr/local/etc}
ROOT=${JIDO_ROOT_PATH-}
CONF=$ETC/network.conf
NETWORKD_FILE=$ROOT/etc/systemd/network/05-jidoteki.network
INTERFACES=$ROOT/etc/network/interfaces
INTERFACES_FILE=$ROOT/etc/network/interfaces.d/jidoteki

refuse() {
	printf 'network.sh: %s\n' "$1" >&2
	exit 1
}

# value KEY: read, never sourced. The job has seen to it that these are plain constants.
value() {
	sed -n "s/^$1=//p" "$CONF" | tr -d '"'
}

# put_file TARGET: standard input, whole or not at all.
put_file() {
	mkdir -p "${1%/*}"
	cat >"$1.new"
	sync "$1.new" 2>/dev/null || sync
	mv -f "$1.new" "$1"
}

# keep_once FILE: as it was before we ever touched it, for "none".
keep_once() {
	[ ! -f "$1" ] || [ -f "$1.before-jidoteki" ] || cp -p "$1" "$1.before-jidoteki"
}

return_file() {
	[ ! -f "$1.before-jidoteki" ] || mv -f "$1.before-jidoteki" "$1"
}

# prefix_of MASK: 24 of "255.255.255.0", 64 of "/64", "64" and "ffff:ffff:ffff:ffff::".
prefix_of() {
	printf '%s\n' "$1" | awk '
	function ones(n, bits) {
		for (bits = 0; n > 0; n = int(n / 2)) bits += n % 2
		return bits
	}
	{
		sub(/^\//, "")
		if ($0 ~ /^[0-9]+$/) print $0
		else if (index($0, ".")) {
			n = split($0, byte, ".")
			for (i = 1; i <= n; i++) bits += ones(byte[i])
			print bits
		} else {
			$0 = tolower($0)
			for (i = 1; i <= length($0); i++) {
				digit = index("0123456789abcdef", substr($0, i, 1))
				if (digit > 0) bits += ones(digit - 1)
			}
			print bits + 0
		}
	}'
}

# --- systemd-networkd -----------------------------------------------------------------------------

networkd_file() {
	local server

	printf '# Made by jidoteki-admin-api from network.conf; a change here is overwritten.\n'
	printf '[Match]\nName=%s\n\n[Network]\n' "$INTERFACE"
	case "$MODE" in
	dhcp) printf 'DHCP=yes\n' ;;
	static)
		printf 'Address=%s/%s\nGateway=%s\n' "$ADDRESS" "$PREFIX" "$ROUTER"
		for server in $DNS; do
			printf 'DNS=%s\n' "$server"
		done
		;;
	esac
	[ -z "$NTP" ] || printf 'NTP=%s\n' "$NTP"
}

apply_networkd() {
	networkd_file | put_file "$NETWORKD_FILE"
	reload_networkd
}

reload_networkd() {
	# Otherwise it reads its files when it starts.
	systemctl is-active --quiet systemd-networkd || return 0
	networkctl reload
	[ -z "$INTERFACE" ] || networkctl reconfigure "$INTERFACE"
}

# --- ifupdown -------------------------------------------------------------------------------------

interfaces_file() {
	local family=inet

	case "$ADDRESS" in
	*:*) family=inet6 ;;
	esac
	printf '# Made by jidoteki-admin-api from network.conf; a change here is overwritten.\n'
	printf 'auto %s\n' "$INTERFACE"
	case "$MODE" in
	dhcp) printf 'iface %s inet dhcp\n' "$INTERFACE" ;;
	static)
		printf 'iface %s %s static\n\taddress %s/%s\n\tgateway %s\n' "$INTERFACE" "$family" "$ADDRESS" "$PREFIX" "$ROUTER"
		# A new IPv6 address is not usable while it is checked for duplicates; here somebody waits for it.
		[ "$family" = inet ] || printf '\tdad-attempts 0\n\taccept_ra 1\n'
		[ -z "$DNS" ] || printf '\tdns-nameservers %s\n' "$DNS"
		;;
	esac
}

# without_interface: the main file without what it says of this interface, or both would be applied.
without_interface() {
	awk -v name="$INTERFACE" '
	/^[ \t]*(iface|mapping|auto|allow-[a-z]+|source|source-directory|no-auto-down|no-scripts|rename)([ \t]|$)/ { skip = 0 }
	$1 == "iface" && $2 == name { skip = 1 }
	($1 == "auto" || $1 ~ /^allow-/) {
		line = $1
		for (i = 2; i <= NF; i++) if ($i != name) line = line " " $i
		if (NF > 1 && line == $1) next
		if (line != $0) $0 = line
	}
	!skip { print }' "$1"
}

apply_ifupdown() {
	keep_once "$INTERFACES"
	down_ifupdown
	{
		if [ -f "$INTERFACES.before-jidoteki" ]; then
			without_interface "$INTERFACES.before-jidoteki"
		else
			printf 'auto lo\niface lo inet loopback\n'
		fi
		if ! grep -q '^ *source.*interfaces\.d' "$INTERFACES.before-jidoteki" 2>/dev/null; then
			printf '\nsource /etc/network/interfaces.d/*\n'
		fi
	} | put_file "$INTERFACES"
	interfaces_file | put_file "$INTERFACES_FILE"
	up_ifupdown
}

# ifupdown keeps its state here from boot on; before that it brings everything up by itself.
is_up_ifupdown() {
	[ -e "$ROOT/run/network/ifstate" ]
}

down_ifupdown() {
	is_up_ifupdown || return 0
	ifdown --force "$INTERFACE" || :
	ip addr flush dev "$INTERFACE" scope global || :
}

up_ifupdown() {
	is_up_ifupdown || return 0
	ifup --force "$INTERFACE"
}

# --- what is the same for both --------------------------------------------------------------------

apply_hostname() {
	[ -n "$HOSTNAME" ] || return 0
	keep_once "$ROOT/etc/hostname"
	printf '%s\n' "$HOSTNAME" | put_file "$ROOT/etc/hostname"
	hostname "$HOSTNAME"
	# sudo and others look their own host up; without this line each waits for a DNS that may be gone.
	if [ -f "$ROOT/etc/hosts" ]; then
		keep_once "$ROOT/etc/hosts"
		awk -v name="$HOSTNAME" '
		$1 == "127.0.1.1" { next }
		{ print }
		END {
			short = name
			sub(/\..*/, "", short)
			print "127.0.1.1\t" name (short != name ? " " short : "")
		}' "$ROOT/etc/hosts" | put_file "$ROOT/etc/hosts"
	fi
}

# Only where nobody else writes this file: a link means that resolved or resolvconf does.
apply_dns() {
	local server

	[ -n "$DNS" ] || return 0
	[ ! -L "$ROOT/etc/resolv.conf" ] || return 0
	keep_once "$ROOT/etc/resolv.conf"
	for server in $DNS; do
		printf 'nameserver %s\n' "$server"
	done | put_file "$ROOT/etc/resolv.conf"
}

apply_ntp() {
	[ -n "$NTP" ] || return 0
	[ -d "$ROOT/etc/systemd" ] || return 0
	printf '[Time]\nNTP=%s\n' "$NTP" | put_file "$ROOT/etc/systemd/timesyncd.conf.d/jidoteki.conf"
	systemctl try-restart systemd-timesyncd 2>/dev/null || :
}

# A static address that does not appear was not applied, whatever the tools said. A lease may take as
# long as it likes: that is what a confirmation is for.
wait_for_address() {
	local rounds=0

	[ "$MODE" = static ] || return 0
	until ip -o addr show dev "$INTERFACE" | grep -qiF " $ADDRESS/"; do
		rounds=$((rounds + 1))
		[ "$rounds" -lt 100 ] || refuse "$INTERFACE did not get its address"
		sleep 0.2
	done
}

which_manager() {
	if systemctl is-active --quiet systemd-networkd 2>/dev/null || systemctl is-enabled --quiet systemd-networkd 2>/dev/null; then
		printf 'networkd\n'
	elif command -v ifup >/dev/null 2>&1 && [ -d "$ROOT/etc/network" ]; then
		printf 'ifupdown\n'
	else
		printf 'none\n'
	fi
}

MODE=${1-}
INTERFACE=
case "$MODE" in
static | dhcp)
	[ -f "$CONF" ] || refuse "there is no network.conf"
	INTERFACE=$(value interface)
	ADDRESS=$(value ip)
	ROUTER=$(value router)
	PREFIX=$(prefix_of "$(value subnet)$(value subnet_ipv6)")
	DNS=$(value dns)
	NTP=$(value ntpserver)
	HOSTNAME=$(value hostname)
	case "$INTERFACE" in
	'' | -* | *[!A-Za-z0-9]*) refuse "not the name of an interface" ;;
	esac
	case "$HOSTNAME" in
	-*) refuse "not a host name" ;;
	esac
	case "$ADDRESS" in
	*:*) ADDRESS=$(printf '%s\n' "$ADDRESS" | awk '{ print tolower($0) }') ;;
	esac
	;;
none) ;;
*)
	printf 'Usage: network.sh static|dhcp|none\n' >&2
	exit 2
	;;
esac

manager=$(which_manager)
if [ "$MODE" = none ]; then
	if [ -f "$NETWORKD_FILE" ]; then
		INTERFACE=$(sed -n 's/^Name=//p' "$NETWORKD_FILE")
		rm -f "$NETWORKD_FILE"
		[ "$manager" != networkd ] || reload_networkd
	fi
	if [ -f "$INTERFACES_FILE" ]; then
		INTERFACE=$(sed -n 's/^auto //p' "$INTERFACES_FILE")
		down_ifupdown
		rm -f "$INTERFACES_FILE"
		return_file "$INTERFACES"
		up_ifupdown
	fi
	if [ -f "$ROOT/etc/hostname.before-jidoteki" ]; then
		return_file "$ROOT/etc/hostname"
		hostname "$(cat "$ROOT/etc/hostname")"
	fi
	return_file "$ROOT/etc/hosts"
	return_file "$ROOT/etc/resolv.conf"
	rm -f "$ROOT/etc/systemd/timesyncd.conf.d/jidoteki.conf"
	exit 0
fi

# On its way up a machine may not have its interfaces yet, and nothing to wait for: then only the files.
running=yes
case "$manager" in
networkd) systemctl is-active --quiet systemd-networkd || running= ;;
ifupdown) is_up_ifupdown || running= ;;
none)
	printf 'network.sh: nothing that we know manages this network: network.conf counts from the next boot\n' >&2
	exit 0
	;;
esac
[ -z "$running" ] || ip link show dev "$INTERFACE" >/dev/null 2>&1 || refuse "there is no interface $INTERFACE"
apply_hostname
apply_dns
apply_ntp
"apply_$manager"
[ -z "$running" ] || wait_for_address
