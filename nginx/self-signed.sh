#!/bin/sh
# shellcheck shell=dash
#
# Makes a certificate for this machine, signed by itself, where there is none, or where ours does not serve any more:
#
#     self-signed.sh TLS-DIRECTORY
#
# The web servers read TLS-DIRECTORY/current/appliance.pem and appliance.key. "current" is a link that is put in place
# by rename, so that a pair appears whole or not at all. Runs at installation, whenever the machine starts (a key that is
# part of an image is no secret, and the clock may have been wrong the last time), and once a minute.

set -eu
umask 077

TLS=${1:?usage: self-signed.sh TLS-DIRECTORY}
PAIR=$TLS/current

# An old sync knows no operands and takes everything.
flush() {
	sync "$@" 2>/dev/null || sync
}

fingerprint() {
	openssl x509 -in "$1" -noout -fingerprint -sha256 2>/dev/null
}

# The note lies beside the certificate and says which one we made. One that an owner has put there is another.
is_ours() {
	[ -s "$PAIR/self-signed.txt" ] && [ "$(fingerprint "$PAIR/appliance.pem")" = "$(cat "$PAIR/self-signed.txt")" ]
}

# Is it valid, and does it name the machine? Only a clear no counts: the numbers of openssl for "not yet valid" and "has
# expired", and the status 3 of our program.
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
# Held until the link leads to the pair: one that no link leads to is swept as a leftover.
exec 7<"$TLS"
flock 7

# Half a pair is none.
if [ -s "$PAIR/appliance.pem" ] && [ -s "$PAIR/appliance.key" ]; then
	is_ours || exit 0
	! is_fit || exit 0
fi

# Every name and address under which somebody may reach the machine, each once. A browser looks at these only.
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

# A name in a certificate may have 64 characters as its CN; the longer ones stand among the alternative names.
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

# 825 days is the most that browsers accept of a certificate that a user has trusted by hand.
if ! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 825 \
	-subj "/CN=$COMMON" -addext "subjectAltName=$NAMES" -addext "basicConstraints=critical,CA:FALSE" \
	-addext "keyUsage=critical,digitalSignature" -addext "extendedKeyUsage=serverAuth" \
	-keyout "$NEW/appliance.key" -out "$NEW/appliance.pem" 2>"$NEW/errors"; then
	cat "$NEW/errors" >&2
	printf 'self-signed.sh: openssl could not make a certificate for %s\n' "$NAMES" >&2
	exit 1
fi
rm "$NEW/errors"
fingerprint "$NEW/appliance.pem" >"$NEW/self-signed.txt"
chmod 755 "$NEW"
chmod 644 "$NEW/appliance.pem"
chmod 600 "$NEW/appliance.key"

# A power cut must not leave a link to files that are not on the disk yet: the next boot would make another certificate,
# and clients that trust this one would refuse it.
flush "$NEW"/* "$NEW"
rm -f "$TLS/current.new"
ln -s "${NEW##*/}" "$TLS/current.new"
# -T: "current" is a link to a directory, and mv must replace the link, not move into the directory.
mv -T -f "$TLS/current.new" "$TLS/current"
trap - EXIT
flush "$TLS"
