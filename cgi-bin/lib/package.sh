# shellcheck shell=dash
#
# Opens an update package, for the jobs "update" and "inspect". The job defines read_package, which prints the package,
# and progress.
#
# Nothing in a package is trusted before its signature is verified: decrypted data are bytes, two named members are
# copied out of them, and only the signed one is unpacked.

# open_package: decrypts the package, verifies its signature, and unpacks it into $WORK/package.
open_package() {
	is_trusted "$ADMIN/etc/updates.key" || fail E1005 "This appliance has no key for update packages"
	is_trusted "$ADMIN/etc/updates.pub" || fail E1005 "This appliance has no key for the signature of update packages"
	[ "$(free_memory)" -ge 16384 ] || fail E1002 "Not enough free memory: 16384 KiB needed, $(free_memory) KiB free"
	progress 10

	# One pass over the web user's file; from here on, it is ours and cannot change.
	choose_cipher
	read_package | decrypt_with "$CIPHER" >"$WORK/package.tar" || fail E1005 "Error decrypting software update package"
	rm -f "$WORK"/seized.*
	progress 30

	need_room "$WORK" "$(kib "$WORK/package.tar")" E1002
	member software_package.tar.gz >"$WORK/software_package.tar.gz"
	member software_package.tar.gz.sign software_package.sign >"$WORK/software_package.sign"
	rm -f "$WORK/package.tar"
	[ -s "$WORK/software_package.tar.gz" ] || fail E1005 "Error extracting software update package"
	[ -s "$WORK/software_package.sign" ] || fail E1005 "Error verifying software update package signature"
	progress 40

	openssl dgst -sha256 -verify "$ADMIN/etc/updates.pub" -signature "$WORK/software_package.sign" \
		"$WORK/software_package.tar.gz" || fail E1005 "Error verifying software update package signature"
	progress 50

	# The vendor is trusted, but a mistake must not write outside the package's directory. Read it once to check it,
	# before anything exists on disk, and once to unpack it.
	unpacked | ask archive judge >"$WORK/judged" ||
		refuse_as_judged "Error extracting software update package: "
	[ ! -e "$WORK/damaged" ] || fail E1005 "Error extracting software update package: it is damaged"
	need_room "$WORK" "$(cat "$WORK/judged")" E1002
	mkdir -m 0700 "$WORK/package"
	unpacked | ask archive unpack "$WORK/package" >"$WORK/judged" ||
		refuse_as_judged "Error extracting software update package: "
	rm -f "$WORK/software_package.tar.gz"
	progress 60
}

# unpacked: prints the archive of a package. The reader must read it to its end. If it is damaged, $WORK/damaged exists.
unpacked() {
	gzip -dc "$WORK/software_package.tar.gz" || : >"$WORK/damaged"
}

# refuse_as_judged [BEFORE]: ends the job with the program's code and reason, after these words.
refuse_as_judged() {
	local code="" text=""

	read -r code text <"$WORK/judged" || :
	fail "${code:-E1000}" "${1-}${text:-Script error}"
}

# decrypt_with OPTIONS: decrypts a package from standard input.
decrypt_with() {
	# shellcheck disable=SC2086  # options are words
	openssl enc -d -aes-256-cbc $1 -pass "file:$ADMIN/etc/updates.key"
}

# is_encrypted_with OPTIONS: checks whether the first decrypted block is a tar header. The rest is cut off, which does
# not matter.
is_encrypted_with() {
	read_package 2>/dev/null | head -c 4096 | decrypt_with "$1" 2>/dev/null | head -c 512 >"$WORK/beginning" || :
	[ "$(tail -c +258 "$WORK/beginning" | head -c 5 | tr -d '\0')" = ustar ]
}

# choose_cipher: sets CIPHER. The ancestor's tools used weak key derivations. They are accepted only if root's own
# configuration allows them. The signature is always checked.
choose_cipher() {
	local options

	CIPHER="-md sha256 -pbkdf2"
	! is_encrypted_with "$CIPHER" || return 0
	for options in "-md sha256" "-md md5"; do
		is_encrypted_with "$options" || continue
		ask package reads-legacy ||
			fail E1005 "Error decrypting software update package: its encryption is no longer supported"
		say "The package was encrypted by old tools ($options)"
		CIPHER=$options
		return 0
	done
}

# member NAME...: prints the first of these members that the package has. -O creates no files, whatever the archive
# says.
member() {
	local name

	for name in "$@"; do
		if tar -tf "$WORK/package.tar" "$name" >/dev/null 2>&1; then
			tar -xOf "$WORK/package.tar" "$name"
			return 0
		fi
	done
	return 0
}
