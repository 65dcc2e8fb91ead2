#!/bin/sh
# shellcheck shell=dash
#
# Prints the license as JSON. A vendor with another kind of license replaces this file.
#
# The license is an OpenPGP message, etc/license.asc. It is opened with files from the image:
#   etc/license.key   passphrase of a symmetric message, and of the secret key below if it has one
#   etc/license.gpg   secret key that the message is encrypted to (gpg --export-secret-keys)
#   etc/license.pub   the vendor's public key; if it exists, the license must be signed by it
# Runs as root in the license job and as the web user for GET /license. It writes only a temporary keyring.

set -eu
umask 077

admin=$(cd "${0%/*}/.." && pwd -P)

refuse() {
	printf 'license.sh: %s\n' "$1" >&2
	exit 1
}

finish() {
	local status="$1"

	trap - EXIT
	# Stop the agent; otherwise it would notice only later that its home is gone.
	gpgconf --homedir "$home" --kill gpg-agent >/dev/null 2>&1 || :
	rm -rf "$home"
	exit "$status"
}

[ -s "$admin/etc/license.asc" ] || refuse "no license"
command -v gpg >/dev/null 2>&1 || refuse "gpg is not installed"

# Short and not under the admin path: the agent's socket is in it, and its name is limited to 107 bytes.
home=$(mktemp -d /tmp/jidoteki-license.XXXXXX)
trap 'finish $?' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM


gpg_open() {
	gpg --homedir "$home" --batch --quiet --no-tty --pinentry-mode loopback --trust-model always \
		--status-file "$home/status" --max-output 65536 "$@" --decrypt "$admin/etc/license.asc" 2>>"$home/errors"
}

gpg_import() {
	gpg --homedir "$home" --batch --quiet --no-tty --pinentry-mode loopback "$@" 2>>"$home/errors"
}

set --
if [ -f "$admin/etc/license.key" ]; then
	set -- --passphrase-file "$admin/etc/license.key"
fi
if [ -f "$admin/etc/license.gpg" ]; then
	gpg_import "$@" --import "$admin/etc/license.gpg" || refuse "etc/license.gpg is not a key"
fi
vendor=
if [ -f "$admin/etc/license.pub" ]; then
	gpg_import --import "$admin/etc/license.pub" || refuse "etc/license.pub is not a key"
	vendor=$(gpg --batch --no-tty --homedir "$home" --with-colons --show-keys "$admin/etc/license.pub" 2>/dev/null |
		awk -F: '$1 == "fpr" { print $10 }')
fi

gpg_open "$@" >"$home/license.json" || refuse "the license cannot be opened"

if [ -n "$vendor" ]; then
	signer=$(awk '$2 == "VALIDSIG" { print $3 }' "$home/status")
	[ -n "$signer" ] || refuse "the license is not signed"
	printf '%s\n' "$vendor" | grep -qxF -- "$signer" || refuse "the license is not signed by the vendor"
fi

[ "$(head -c 1 "$home/license.json")" = "{" ] || refuse "the license is not JSON"
cat "$home/license.json"
