# shellcheck shell=dash
#
# What can be wrong with a certificate and its key, each mistake by its name. Used by the job certs.
# Each check ends the job with the first mistake that it finds. Leaves $WORK/key.pem, and
# $WORK/chain.pem: the certificate of the appliance first, then those that issued it.

# clean FILE: PEM as Unix writes it. Windows adds carriage returns, some editors a byte order mark.
clean() {
	tr -d '\r' <"$1" | sed "1s/^$(printf '\357\273\277')//"
}

x509() {
	openssl x509 -in "$WORK/cert.$1" -noout "$2" "$3" 2>/dev/null | sed "s/^[A-Za-z]*=//"
}

# RFC 2253, so that subject and issuer are comparable texts.
subject_of() {
	x509 "$1" -subject -nameopt=RFC2253
}

issuer_of() {
	x509 "$1" -issuer -nameopt=RFC2253
}

public_key_of() {
	openssl x509 -in "$WORK/cert.$1" -noout -pubkey
}

check_key() {
	local bits

	clean "$WORK/appliance.key" >"$WORK/key.clean"
	if ! grep -q -e '-----BEGIN [A-Z ]*-----' "$WORK/key.clean"; then
		fail E1005 "The private key is not PEM"
	fi
	if grep -q -e 'BEGIN ENCRYPTED PRIVATE KEY' -e '^Proc-Type:.*ENCRYPTED' "$WORK/key.clean"; then
		fail E1005 "The private key is encrypted: remove its passphrase first"
	fi
	if ! grep -q -e '-----BEGIN [A-Z ]*PRIVATE KEY-----' "$WORK/key.clean"; then
		! grep -q -e '-----BEGIN CERTIFICATE-----' "$WORK/key.clean" || fail E1005 "The private key is a certificate: were the two files swapped?"
		fail E1005 "The private key is not a private key"
	fi
	openssl pkey -in "$WORK/key.clean" -passin pass: -out "$WORK/key.pem" || fail E1005 "The private key is damaged"
	openssl pkey -in "$WORK/key.pem" -check -noout >/dev/null || fail E1005 "The private key is damaged"
	openssl pkey -in "$WORK/key.pem" -noout -text >"$WORK/key.text"
	if grep -q '^modulus:' "$WORK/key.text"; then
		bits=$(sed -n '1s/[^0-9]*\([0-9][0-9]*\) bit.*/\1/p' "$WORK/key.text")
		[ "${bits:-0}" -ge 2048 ] || fail E1005 "The private key is too short: $bits bits, at least 2048 needed"
	fi
	rm -f "$WORK/key.text"
}

# The blocks of a file as cert.N, from number $2 on; the last number on standard output.
split_certificates() {
	awk -v prefix="$WORK/cert." -v n="$2" '
	/-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----/ { inside = 1; n++ }
	inside { print > (prefix n) }
	/-----END (TRUSTED |X509 )?CERTIFICATE-----/ { inside = 0; close(prefix n) }
	END { print n }' "$1"
}

check_certificates() {
	local number=0 other fingerprint

	clean "$WORK/appliance.pem" >"$WORK/pem.clean"
	if ! grep -q -e '-----BEGIN [A-Z0-9 ]*-----' "$WORK/pem.clean"; then
		fail E1005 "The certificate is not PEM"
	fi
	if ! grep -q -e '-----BEGIN [A-Z0-9 ]*CERTIFICATE-----' "$WORK/pem.clean"; then
		! grep -q -e 'PRIVATE KEY-----' "$WORK/pem.clean" || fail E1005 "The certificate is a private key: were the two files swapped?"
		fail E1005 "The certificate is not a certificate"
	fi
	SENT=$(split_certificates "$WORK/pem.clean" 0)
	COUNT=$SENT
	if [ -f "$WORK/ca.pem" ]; then
		clean "$WORK/ca.pem" >"$WORK/ca.clean"
		grep -q -e '-----BEGIN [A-Z0-9 ]*CERTIFICATE-----' "$WORK/ca.clean" || fail E1005 "The CA certificate is not PEM"
		COUNT=$(split_certificates "$WORK/ca.clean" "$SENT")
	fi
	[ "$COUNT" -le 16 ] || fail E1005 "More than 16 certificates"
	: >"$WORK/fingerprints"
	while [ "$number" -lt "$COUNT" ]; do
		number=$((number + 1))
		if ! openssl x509 -in "$WORK/cert.$number" -noout 2>/dev/null; then
			[ "$number" -gt "$SENT" ] || fail E1005 "The certificate is damaged"
			fail E1005 "The CA certificate is damaged"
		fi
		fingerprint=$(x509 "$number" -fingerprint -sha256)
		# Many send the whole chain in one file and the same again as ca: twice the same is once.
		if grep -qxF "$fingerprint" "$WORK/fingerprints"; then
			rm -f "$WORK/cert.$number"
		fi
		printf '%s\n' "$fingerprint" >>"$WORK/fingerprints"
	done
	other=0
	number=0
	while [ "$number" -lt "$COUNT" ]; do
		number=$((number + 1))
		[ -f "$WORK/cert.$number" ] || continue
		other=$((other + 1))
		[ "$other" -eq "$number" ] || mv -fT "$WORK/cert.$number" "$WORK/cert.$other"
	done
	COUNT=$other
}

check_pair() {
	local key number=1

	key=$(openssl pkey -in "$WORK/key.pem" -pubout)
	[ "$(public_key_of 1)" != "$key" ] || return 0
	while [ "$number" -lt "$COUNT" ]; do
		number=$((number + 1))
		[ "$(public_key_of "$number")" != "$key" ] || fail E1005 "The chain is in the wrong order: the certificate of the appliance must be the first"
	done
	fail E1005 "The private key belongs to another certificate"
}

# day DATE: "Nov 23 12:00:00 2026 GMT" as 20261123120000, which is a number and a date.
day() {
	printf '%s\n' "$1" | awk '{
		month = index("JanFebMarAprMayJunJulAugSepOctNovDec", $1)
		split($3, time, ":")
		printf "%04d%02d%02d%02d%02d%02d\n", $4, (month + 2) / 3, $2, time[1], time[2], time[3]
	}'
}

# By our own clock and not by openssl's, so that what we compare is what we tell.
check_dates() {
	local number=0 now from to whose

	now=$(date -u +%Y%m%d%H%M%S)
	while [ "$number" -lt "$COUNT" ]; do
		number=$((number + 1))
		whose="The certificate"
		[ "$number" -eq 1 ] || whose="A certificate of the chain"
		from=$(day "$(x509 "$number" -startdate -noout)")
		to=$(day "$(x509 "$number" -enddate -noout)")
		[ "$now" -ge "$from" ] || fail E1005 "$whose is not yet valid: it begins $(date_of "$from"), and the clock of this appliance says $(date_of "$now")"
		[ "$now" -le "$to" ] || fail E1005 "$whose has expired: it ended $(date_of "$to"), and the clock of this appliance says $(date_of "$now")"
	done
}

date_of() {
	printf '%s\n' "$1" | sed 's/^\(....\)\(..\)\(..\).*/\1-\2-\3/'
}

# issued_by NUMBER ISSUER: by its name and by its signature.
issued_by() {
	[ "$(issuer_of "$1")" = "$(subject_of "$2")" ] || return 1
	openssl verify -partial_chain -no_check_time -trusted "$WORK/cert.$2" "$WORK/cert.$1" >/dev/null 2>&1
}

check_chain() {
	local number=1 other

	: >"$WORK/chain.pem"
	while :; do
		openssl x509 -in "$WORK/cert.$number" >>"$WORK/chain.pem"
		if [ "$number" -ge "$COUNT" ]; then
			break
		fi
		if ! issued_by "$number" "$((number + 1))"; then
			other=0
			while [ "$other" -lt "$COUNT" ]; do
				other=$((other + 1))
				[ "$other" -ne "$number" ] || continue
				! issued_by "$number" "$other" || fail E1005 "The chain is in the wrong order: each certificate must be followed by the one that issued it"
			done
			fail E1005 "The chain is incomplete: the certificate that issued $(plain "$(subject_of "$number")") is missing"
		fi
		number=$((number + 1))
	done
	# A chain may leave out its root, which clients have. What issued the appliance's own certificate has
	# to be here, or be known to this system.
	[ "$COUNT" -eq 1 ] || return 0
	[ "$(issuer_of 1)" != "$(subject_of 1)" ] || return 0
	openssl verify -no_check_time "$WORK/cert.1" >/dev/null 2>&1 ||
		fail E1005 "The chain is incomplete: send the certificate of its issuer, $(plain "$(issuer_of 1)"), as ca"
}

# The names of a certificate, one a line: those of the extension, or the common name where it has none.
names_of() {
	openssl x509 -in "$WORK/cert.$1" -noout -ext subjectAltName 2>/dev/null |
		tr ',' '\n' | sed -n -e 's/^ *DNS://p' -e 's/^ *IP Address://p' >"$WORK/names"
	if [ ! -s "$WORK/names" ]; then
		openssl x509 -in "$WORK/cert.$1" -noout -subject -nameopt multiline |
			sed -n 's/^ *commonName *= //p' >"$WORK/names"
	fi
	cat "$WORK/names"
}

# The names that this appliance goes by, as far as it can know.
names_of_appliance() {
	hostname
	sed -n 's/^hostname=//p' "$ETC/network.conf" 2>/dev/null | tr -d '"'
	if command -v ip >/dev/null 2>&1; then
		ip -o addr show | awk '{ sub(/\/.*/, "", $4); print $4 }'
	fi
	printf 'localhost\n'
}

# A certificate without any name is of no use to any client. That no name is one of ours is told and
# no more: what people call an appliance is decided in a DNS that we may not see.
check_names() {
	names_of 1 >"$WORK/cert.names"
	[ -s "$WORK/cert.names" ] || fail E1005 "The certificate has no name that could match this appliance"
	names_of_appliance | awk '{ print tolower($0) }' | awk '
	FNR == NR {
		name = tolower($0)
		if (sub(/^\*\./, "", name)) wild[name] = 1
		else plain[name] = 1
		next
	}
	$0 in plain { found = 1 }
	{
		# Our own name may be the first label of the certificate'"'"'s, or below its wildcard.
		for (name in plain) if (index(name, $0 ".") == 1 && $0 != "localhost") found = 1
		rest = $0
		if (sub(/^[^.]*\./, "", rest) && rest in wild) found = 1
	}
	END { exit !found }' "$WORK/cert.names" - ||
		say "Warning: no name of the certificate matches this appliance: $(plain "$(tr '\n' ' ' <"$WORK/cert.names")")"
}
