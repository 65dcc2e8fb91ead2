#!/bin/sh
# shellcheck shell=dash
#
# Makes a self-signed certificate for this machine, if there is none, or if ours is no longer usable:
#
#     self-signed.sh TLS-DIRECTORY
#
# The web servers read TLS-DIRECTORY/current/appliance.pem and appliance.key. "current" is a link that a rename
# replaces, so the pair is complete or absent. This runs at installation, at boot and once a minute. At boot, because a
# key in an image is no secret, and because the clock may have been wrong before.

set -eu
umask 077

TLS=${1:?usage: self-signed.sh TLS-DIRECTORY}
PAIR=$TLS/current

# An old sync accepts no operands and flushes everything.
flush() {
	sync "$@" 2>/dev/null || sync
}

fingerprint() {
	openssl x509 -in "$1" -noout -fingerprint -sha256 2>/dev/null
}

# The note next to the certificate has the fingerprint of ours. The owner's certificate has another.
is_ours() {
	[ -s "$PAIR/self-signed.txt" ] && [ "$(fingerprint "$PAIR/appliance.pem")" = "$(cat "$PAIR/self-signed.txt")" ]
}

# Is the certificate valid, and does it name the machine? Replace it only for a definite no: openssl's codes for "not
# yet valid" and "has expired", and our program's status 3.
is_fit() {
	local said status=0
	said=$(openssl verify -partial_chain -trusted "$PAIR/appliance.pem" "$PAIR/appliance.pem" 2>&1) || :
	case $said in
	*"error 9 at "* | *"error 10 at "*) return 1 ;;
	esac
	if command -v jidoteki-admin-jobs >/dev/null; then
		jidoteki-admin-jobs certificate is-fit "$PAIR/appliance.pem" || status=$?
	fi
	[ "$status" -ne 3 ]
}

mkdir -p "$TLS"
# Held until the link points to the pair: a pair without a link is removed as a leftover.
exec 7<"$TLS"
flock 7

# Half a pair counts as none.
if [ -s "$PAIR/appliance.pem" ] && [ -s "$PAIR/appliance.key" ]; then
	is_ours || exit 0
	! is_fit || exit 0
fi

# Every name and address by which clients can reach the machine, once each. Browsers check only these.
names() {
	printf 'DNS:%s\n' localhost
	hostname 2>/dev/null | sed -n 's/^[A-Za-z0-9.-]*$/DNS:&/p'
	hostname -f 2>/dev/null | sed -n 's/^[A-Za-z0-9.-]*$/DNS:&/p'
	printf 'IP:%s\n' 127.0.0.1 ::1
	# Our program asks the kernel for the others.
	if command -v jidoteki-admin-jobs >/dev/null; then
		jidoteki-admin-jobs certificate own-names | tr , '\n'
	fi
}

# A CN can have 64 characters. Longer names are only in the alternative names.
COMMON=$(hostname 2>/dev/null | cut -c 1-64)
case $COMMON in
'' | *[!A-Za-z0-9.-]*) COMMON=localhost ;;
esac
NAMES=$(names | awk '!seen[$0]++' | paste -s -d , -)

chmod 755 "$TLS"
NEW=$(mktemp -d "$TLS/pair.XXXXXX")
trap 'rm -rf "$NEW" "$TLS/current.new"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'exit 129' HUP

# Browsers accept at most 825 days for a certificate that a user has trusted manually.
if ! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 825 \
	-subj "/CN=$COMMON" -addext "subjectAltName=$NAMES" -addext "basicConstraints=critical,CA:FALSE" \
	-addext "keyUsage=critical,digitalSignature" -addext "extendedKeyUsage=serverAuth" \
	-keyout "$NEW/appliance.key" -out "$NEW/appliance.pem" 2>"$NEW/errors"; then
	cat "$NEW/errors" >&2
	printf 'self-signed.sh: openssl could not create a certificate for %s\n' "$NAMES" >&2
	exit 1
fi
rm "$NEW/errors"
fingerprint "$NEW/appliance.pem" >"$NEW/self-signed.txt"
chmod 755 "$NEW"
chmod 644 "$NEW/appliance.pem"
chmod 600 "$NEW/appliance.key"

# After a power cut, the link must not point to files that are not on disk yet. Otherwise the next boot makes another
# certificate, which clients that trust this one refuse.
flush "$NEW"/* "$NEW"
rm -f "$TLS/current.new"
ln -s "${NEW##*/}" "$TLS/current.new"
# -T: "current" is a link to a directory; mv must replace the link, not move into the directory.
mv -T -f "$TLS/current.new" "$TLS/current"
trap - EXIT
flush "$TLS"
