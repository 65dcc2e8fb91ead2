# shellcheck shell=dash
#
# Files for support: collected within bounds, and without secrets. Used by the jobs logs and debug.

MOST_FILES=500
MOST_BYTES_A_FILE=2097152
MOST_KIB=65536

# secrets: what must not leave this machine in clear, one a line. Only for the redactor, by a file.
secrets() {
	local file

	for file in "$ADMIN/etc/api.token" "$ADMIN/etc/api.token.setup" "$ADMIN/etc/updates.key" "$ADMIN/etc/license.key"; do
		[ ! -f "$file" ] || head -n 1 "$file" | tr -d '\r'
	done
	# The key of the signed requests is a password as well: the hexadecimal SHA-256 of the token.
	if [ -s "$ADMIN/etc/api.token" ]; then
		head -n 1 "$ADMIN/etc/api.token" | tr -d '\r\n' | sha256sum | cut -d ' ' -f 1
	fi
	if [ -f "$ETC/storage.conf" ]; then
		sed -n -e 's/^password=//p' -e 's/^username=//p' "$ETC/storage.conf" | sed -e "s/^[\"']//" -e "s/[\"']\$//"
	fi
	if [ -f "$ADMIN/etc/storage.json" ]; then
		sed 's/[,{}]/\n/g' "$ADMIN/etc/storage.json" |
			sed -n -e 's/.*"password" *: *"\(.*\)".*/\1/p' -e 's/.*"username" *: *"\(.*\)".*/\1/p'
	fi
}

# redact: standard input without secrets. The known ones wherever they stand, anything that looks like
# a parameter or header with one, and private keys. Short secrets would redact half the file: they go
# only where a name gives them away.
redact() {
	awk -v file="$WORK/secrets" '
	BEGIN {
		while ((getline line < file) > 0) if (length(line) >= 6) secret[++n] = line
		close(file)
	}
	/-----BEGIN [A-Z0-9 ]*PRIVATE KEY/ { print "[redacted private key]"; key = 1 }
	/-----END [A-Z0-9 ]*PRIVATE KEY/ { key = 0; next }
	key { next }
	{
		rest = $0
		for (i = 1; i <= n; i++) {
			done = ""
			while ((at = index(rest, secret[i])) > 0) {
				done = done substr(rest, 1, at - 1) "[redacted]"
				rest = substr(rest, at + length(secret[i]))
			}
			rest = done rest
		}
		print rest
	}' | sed -E \
		-e 's/([?&" ;,'"'"'](new)?token|[?&" ;,'"'"']hash)(["'"'"']?[=:] ?["'"'"']?)[^]&"'"'"' ;,}[]+/\1\3[redacted]/g' \
		-e 's/^((new)?token|hash)=[^& ]+/\1=[redacted]/' \
		-e 's/([Pp][Aa][Ss][Ss]([Ww][Oo][Rr][Dd]|[Pp][Hh][Rr][Aa][Ss][Ee]|[Ww][Dd])?|[Ss][Ee][Cc][Rr][Ee][Tt])(["'"'"']?[=:] ?["'"'"']?)[^]&"'"'"' ;,}[]+/\1\3[redacted]/g' \
		-e 's/([Aa][Uu][Tt][Hh][Oo][Rr][Ii][Zz][Aa][Tt][Ii][Oo][Nn]: *[A-Za-z0-9]+) .*/\1 [redacted]/'
}

# prepare_secrets: once a job. A mode that the web user cannot read, as all of $WORK.
prepare_secrets() {
	secrets >"$WORK/secrets"
}

# collect_file FILE TARGET: the end of it, redacted. Packed ones are unpacked, since a secret cannot be
# seen in them; what is neither text nor gzip is left out.
collect_file() {
	local file="$1" target="$2"

	mkdir -p "${target%/*}"
	case "$file" in
	*.gz)
		target=${target%.gz}
		gzip -dc "$file" 2>/dev/null | head -c "$MOST_BYTES_A_FILE" | redact >"$target" || :
		;;
	*.xz | *.bz2 | *.zst | *.key | *.pem | *.journal) return 0 ;;
	*) tail -c "$MOST_BYTES_A_FILE" "$file" | redact >"$target" ;;
	esac
}

# collect_paths DIR: copies what the paths on standard input name, files and directories, below DIR.
# No link is followed and no pipe opened: only files that find calls files.
collect_paths() {
	local directory="$1" path file count=0

	while IFS= read -r path; do
		case "$path" in
		/*) ;;
		*) continue ;;
		esac
		[ -e "$path" ] || continue
		find "$path" -type f -print 2>/dev/null
	done | sort -u >"$WORK/files"
	while IFS= read -r file; do
		# A path that leads to the secrets themselves is a mistake in the list.
		case "$file" in
		"$ADMIN"/etc/api.token* | "$ADMIN"/etc/updates.key | "$ADMIN"/etc/license.* | "$STATE"/* | "$ETC"/tls/*) continue ;;
		esac
		[ -f "$file" ] || continue
		[ -s "$file" ] || continue
		count=$((count + 1))
		if [ "$count" -gt "$MOST_FILES" ] || [ "$(du -sk "$directory" | awk '{ print $1 }')" -gt "$MOST_KIB" ]; then
			say "More than $MOST_FILES files or $MOST_KIB KiB: the rest is left out"
			break
		fi
		collect_file "$file" "$directory$file"
	done <"$WORK/files"
}

# list_of NAME: the words of a list of paths, one a line, patterns expanded; root's own list or none.
list_of() {
	local path

	[ -f "$ADMIN/etc/$1" ] || return 0
	if ! is_trusted "$ADMIN/etc/$1"; then
		say "Ignored, because others than root can change it: $1" >&2
		return 0
	fi
	# shellcheck disable=SC2013  # words are what the ancestor has in this file, patterns among them
	for path in $(grep -v '^#' "$ADMIN/etc/$1"); do
		printf '%s\n' "$path"
	done
}

# collect_logs: our own logs and those of etc/logs.txt as $WORK/logs.tar.gz, if there are any.
collect_logs() {
	mkdir -m 0700 "$WORK/logs"
	{
		printf '%s\n' "$ADMIN/log" "$ADMIN/audit"
		list_of logs.txt
	} | collect_paths "$WORK/logs"
	[ -n "$(find "$WORK/logs" -type f -print)" ] || return 0
	tar -cf - -C "$WORK/logs" . | gzip -c >"$WORK/logs.tar.gz"
}
