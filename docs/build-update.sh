#!/bin/sh
# shellcheck shell=dash
#
# Builds an update package, as a vendor does (docs/OPERATIONS.md).
#
#   build-update.sh --key PRIVATE.pem --pass updates.key --out software_package-1.0.1.enc [--program FILE] DIRECTORY
#
# Needs openssl, tar, gzip and jidoteki-admin-jobs, which checks the package as an appliance does. If that is not in PATH,
# --program names it. It must be a build for the machine where this script runs.
#
# DIRECTORY contains the files of the package: at least version.txt and update.sh. PRIVATE.pem signs the package; its public
# key is etc/updates.pub of the appliance. updates.key has the passphrase of the encryption; the appliance has the same file.

set -eu
umask 077

usage() {
	printf 'Usage: build-update.sh --key PRIVATE.pem --pass updates.key --out PACKAGE.enc [--program FILE] DIRECTORY\n' >&2
	exit 2
}

refuse() {
	printf 'build-update.sh: %s\n' "$1" >&2
	exit 1
}

# judged FILE: prints why an appliance would refuse the package, from a file with a code and a reason.
judged() {
	local code="" reason=""

	read -r code reason <"$1" || :
	printf 'an appliance would refuse this package: %s (%s)\n' "${reason:-$program cannot judge it}" "${code:-E1000}"
}

main() {
	local key="" pass="" out="" program=jidoteki-admin-jobs content work version first=""

	while [ "$#" -gt 0 ]; do
		case "$1" in
		--key | --pass | --out | --program)
			[ "$#" -ge 2 ] || usage
			case "$1" in
			--key) key=$2 ;;
			--pass) pass=$2 ;;
			--out) out=$2 ;;
			--program) program=$2 ;;
			esac
			shift 2
			;;
		-*) usage ;;
		*) break ;;
		esac
	done
	[ "$#" -eq 1 ] || usage
	content=$1
	if [ -z "$key" ] || [ -z "$pass" ] || [ -z "$out" ]; then
		usage
	fi

	command -v "$program" >/dev/null 2>&1 ||
		refuse "$program is needed, to judge the package as an appliance will: put it into PATH, or name it with --program"
	[ -d "$content" ] || refuse "there is no directory $content"
	openssl pkey -in "$key" -noout || refuse "$key is not a private key"
	[ -s "$pass" ] || refuse "$pass is empty"

	work=$(mktemp -d)
	# shellcheck disable=SC2064  # expanded now, because the variable no longer exists when the trap runs
	trap "rm -rf '$work'" EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM

	# All users can read the files in the package, whatever the umask is here.
	(umask 022 && tar --owner=0 --group=0 --numeric-owner -czf "$work/software_package.tar.gz" -C "$content" .)

	# Refuse here what an appliance would refuse: unpack the package as an appliance does.
	mkdir "$work/unpacked"
	gzip -dc "$work/software_package.tar.gz" | "$program" archive unpack "$work/unpacked" >"$work/judged" ||
		refuse "$(judged "$work/judged")"
	"$program" package check "$work/unpacked" >"$work/judged" || refuse "$(judged "$work/judged")"
	read -r version _ <"$work/judged"
	IFS= read -r first <"$work/unpacked/update.sh" || :
	case "$first" in
	'#!/bin/sh' | '#!/bin/sh '*) sh -n "$work/unpacked/update.sh" || refuse "update.sh is not a shell script" ;;
	esac

	openssl dgst -sha256 -sign "$key" -out "$work/software_package.tar.gz.sign" "$work/software_package.tar.gz"
	tar -cf "$work/package.tar" -C "$work" software_package.tar.gz software_package.tar.gz.sign
	openssl enc -aes-256-cbc -md sha256 -pbkdf2 -pass "file:$pass" -in "$work/package.tar" -out "$work/package.enc"

	# Verify the signature before the package is written.
	openssl pkey -in "$key" -pubout -out "$work/updates.pub"
	openssl dgst -sha256 -verify "$work/updates.pub" -signature "$work/software_package.tar.gz.sign" \
		"$work/software_package.tar.gz" >/dev/null
	mv -f "$work/package.enc" "$out"
	printf '%s: version %s, %s bytes\n' "$out" "$version" "$(wc -c <"$out" | tr -d ' ')"
}

main "$@"
