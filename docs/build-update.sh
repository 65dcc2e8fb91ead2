#!/bin/sh
# shellcheck shell=dash
#
# Builds an update package, as a vendor does (docs/OPERATIONS.md).
#
#   build-update.sh --key PRIVATE.pem --pass updates.key --out software_package-1.0.1.enc [--program FILE] DIRECTORY
#
# Needs openssl, tar, gzip, and jidoteki-admin-jobs, which judges the package as an appliance will: the one in PATH,
# or that of --program. Any build of it does, for the machine where this runs.
#
# DIRECTORY holds what is to be in the package: version.txt and update.sh at least.
# The private key signs; its public half is etc/updates.pub of the appliance. updates.key is the pass
# file of the encryption, the same file on both sides.

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

# judged FILE: what the executable says of a package that an appliance would refuse: a code, and the reason.
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
	# shellcheck disable=SC2064  # the name of now: the variable is gone when the trap runs
	trap "rm -rf '$work'" EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM

	# Readable by everybody inside, whatever the umask of whoever builds.
	(umask 022 && tar --owner=0 --group=0 --numeric-owner -czf "$work/software_package.tar.gz" -C "$content" .)

	# What an appliance would refuse is refused here, before the package has left the house: unpacked as an appliance unpacks it.
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

	# What we would not open ourselves does not go out.
	openssl pkey -in "$key" -pubout -out "$work/updates.pub"
	openssl dgst -sha256 -verify "$work/updates.pub" -signature "$work/software_package.tar.gz.sign" \
		"$work/software_package.tar.gz" >/dev/null
	mv -f "$work/package.enc" "$out"
	printf '%s: version %s, %s bytes\n' "$out" "$version" "$(wc -c <"$out" | tr -d ' ')"
}

main "$@"
