#!/bin/sh
#
# Makes a certificate for this machine, signed by itself, where there is none yet:
#
#     self-signed.sh TLS-DIRECTORY
#
# The web servers read TLS-DIRECTORY/current/appliance.pem and appliance.key. "current" is a link that is put in place
# by rename, so that a pair appears whole or not at all. Runs at installation, and at the first start of a machine
# made from an image: a key that is part of an image is no secret.

set -eu
umask 077

TLS=${1:?usage: self-signed.sh TLS-DIRECTORY}

# Asks for both: half a pair is none.
if [ -s "$TLS/current/appliance.pem" ] && [ -s "$TLS/current/appliance.key" ]; then
	exit 0
fi

# Every name and address under which somebody may reach the machine today, each once. A browser looks at these only.
names() {
	printf 'DNS:%s\n' localhost
	hostname 2>/dev/null | sed -n 's/^[A-Za-z0-9.-]*$/DNS:&/p'
	hostname -f 2>/dev/null | sed -n 's/^[A-Za-z0-9.-]*$/DNS:&/p'
	printf 'IP:%s\n' 127.0.0.1 ::1
	if command -v ip >/dev/null; then
		ip -o addr show scope global 2>/dev/null | sed -n 's|.* inet6\{0,1\} \([0-9a-fA-F.:]*\).*|IP:\1|p'
	fi
}

# A name in a certificate may have 64 characters as its CN; the longer ones stand among the alternative names.
COMMON=$(hostname 2>/dev/null | cut -c 1-64)
case $COMMON in
'' | *[!A-Za-z0-9.-]*) COMMON=localhost ;;
esac
NAMES=$(names | awk '!seen[$0]++' | paste -s -d , -)

mkdir -p "$TLS"
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
chmod 755 "$NEW"
chmod 644 "$NEW/appliance.pem"
chmod 600 "$NEW/appliance.key"

ln -s "${NEW##*/}" "$TLS/current.new"
# -T: "current" is a link to a directory, and mv must replace the link, not move into the directory.
mv -T -f "$TLS/current.new" "$TLS/current"
trap - EXIT
