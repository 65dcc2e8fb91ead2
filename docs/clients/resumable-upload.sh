#!/bin/sh
# Sends a large file in pieces, then starts the update or the restore. The token comes on standard input, and is in no
# argument. Each request is signed (RFC 9421), and can be used once:
#     resumable-upload.sh https://box:8443 update package.enc <token
#     resumable-upload.sh https://box:8443 restore backup.tar <token
# A line that breaks costs one piece. Stopped and started again, it continues where it was; FILE.upload says where that is.
set -eu
box=$1 purpose=$2 file=$3 api=/api/v1/admin
read -r token || [ -n "$token" ]
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
key=$(printf %s "$token" | openssl dgst -sha256 -r | cut -d ' ' -f 1)
# HMAC-SHA256 by hand, as in signed-request.sh: openssl takes its key as an argument.
inner() { printf %s "$key" | tr 0-9a-f '\006\007\004\005\002\003\000\001\016\017WTURSP'; }
outer() { printf %s "$key" | tr 0-9a-f 'lmnohijkde=>?89:'; }
sha256() { openssl dgst -sha256 -binary; }

# ask METHOD PATH TYPE [OPTION...]: sends $work/body. Leaves the head and the body of the answer, and prints the status.
ask() {
	method=$1 path=$2 type=$3
	shift 3
	digest="sha-256=:$(sha256 <"$work/body" | openssl base64):"
	input="(\"@method\" \"@path\" \"@query\" \"content-type\" \"content-digest\");created=$(date +%s);nonce=\"$(openssl rand -hex 16)\""
	tag=$( (outer; (inner; printf '"@method": %s\n"@path": %s\n"@query": ?\n"content-type": %s\n"content-digest": %s\n"@signature-params": %s' \
		"$method" "$path" "$type" "$digest" "$input") | sha256) | sha256 | openssl base64)
	[ "$method" = HEAD ] || set -- "$@" -X "$method" --data-binary "@$work/body"
	[ "$method" != HEAD ] || set -- "$@" --head
	: >"$work/head"
	curl -sS ${CACERT:+--cacert "$CACERT"} --max-time 3600 -D "$work/head" -o "$work/answer" -w '%{http_code}' -H "Content-Type: $type" \
		-H "Content-Digest: $digest" -H "Signature-Input: sig=$input" -H "Signature: sig=:$tag:" "$@" "$box$path" || :
}
header() { tr -d '\r' <"$work/head" | awk -F ': *' -v "name=$1" 'tolower($1) == name { value = $2 } END { print value }'; }
fail() {
	printf '%s\n' "$1" >&2
	[ ! -s "$work/answer" ] || cat "$work/answer" >&2
	exit 1
}
form() { printf %s "$1" >"$work/body"; }

length=$(($(wc -c <"$file")))
upload=
[ ! -s "$file.upload" ] || read -r upload <"$file.upload"
if [ -z "$upload" ]; then
	form "for=$purpose&length=$length&sha256=$(openssl dgst -sha256 -r "$file" | cut -d ' ' -f 1)"
	status=$(ask POST "$api/uploads" application/x-www-form-urlencoded)
	[ "$status" = 201 ] || fail "The upload was refused ($status)"
	upload=$(header location)
	printf '%s\n' "$upload" >"$file.upload"
fi

# A piece takes about ten seconds: that is what a line that breaks costs.
wait=1 size=1048576 limit=1073741824
while :; do
	form ""
	status=$(ask HEAD "$upload" application/partial-upload)
	case $status in
	204)
		offset=$(header upload-offset)
		[ "$(header upload-complete)" != '?1' ] || break
		most=$(header upload-limit | sed -n 's/.*max-append-size=\([0-9]*\).*/\1/p')
		[ "$size" -ge 1048576 ] || size=1048576
		[ "$most" -le "$limit" ] || most=$limit
		[ "$size" -le "$most" ] || size=$most
		tail -c "+$((offset + 1))" "$file" | head -c "$size" >"$work/body"
		last='?0'
		[ "$((offset + $(wc -c <"$work/body")))" -lt "$length" ] || last='?1'
		began=$(date +%s)
		status=$(ask PATCH "$upload" application/partial-upload -H "Upload-Offset: $offset" -H "Upload-Complete: $last")
		seconds=$(($(date +%s) - began))
		[ "$seconds" -ge 1 ] || seconds=1
		[ "$status" != 204 ] || size=$((size * 10 / seconds))
		;;
	404)
		rm -f "$file.upload"
		fail "The upload is gone: start again"
		;;
	esac
	# A web server in front may take less than the appliance.
	if [ "$status" = 413 ] && [ "$size" -ge 131072 ]; then
		limit=$((size / 2))
		continue
	fi
	case $status in
	204)
		wait=1
		printf '\r%s of %s bytes' "$(header upload-offset)" "$length" >&2
		;;
	000 | 408 | 409 | 429 | 5??)
		# Over a bad line, a short piece arrives more easily.
		size=1048576
		sleep "$wait"
		[ "$wait" -ge 60 ] || wait=$((wait * 2))
		;;
	*) fail "The piece was refused ($status)" ;;
	esac
done
printf '\n' >&2
rm -f "$file.upload"

case $purpose in
update) path=$api/update ;;
restore) path=$api/backup/restore ;;
esac
form "upload=${upload##*/}"
status=$(ask POST "$path" application/x-www-form-urlencoded)
cat "$work/answer"
[ "$status" -lt 400 ]
