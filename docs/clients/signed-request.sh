#!/bin/sh
# Sends a request that nobody can replay (RFC 9421). The token comes on standard input, and is in no argument:
#     signed-request.sh GET https://box:8443/api/v1/admin/version <token
#     signed-request.sh POST https://box:8443/api/v1/admin/backup action=START <token
set -eu
method=$1 url=$2 body=${3-} target=/${2#*://*/}
read -r token || [ -n "$token" ]
key=$(printf %s "$token" | openssl dgst -sha256 -r | cut -d ' ' -f 1)
# HMAC-SHA256 by hand, since openssl takes its key as an argument. The key is as long as a block, 64 hexadecimal digits,
# and tr exclusive-ors each with 0x36 (inner) and 0x5c (outer).
inner() { printf %s "$key" | tr 0-9a-f '\006\007\004\005\002\003\000\001\016\017WTURSP'; }
outer() { printf %s "$key" | tr 0-9a-f 'lmnohijkde=>?89:'; }
sha256() { openssl dgst -sha256 -binary; }
case $target in *\?*) query="?${target#*\?}" ;; *) query='?' ;; esac
digest="sha-256=:$(printf %s "$body" | sha256 | openssl base64):"
# The type says how the body is read, so it is covered with it.
type=application/x-www-form-urlencoded
input="(\"@method\" \"@path\" \"@query\" \"content-type\" \"content-digest\");created=$(date +%s);nonce=\"$(openssl rand -hex 16)\""
tag=$( (outer; (inner; printf '"@method": %s\n"@path": %s\n"@query": %s\n"content-type": %s\n"content-digest": %s\n"@signature-params": %s' \
	"$method" "${target%%\?*}" "$query" "$type" "$digest" "$input") | sha256) | sha256 | openssl base64)
exec curl -sS ${CACERT:+--cacert "$CACERT"} -X "$method" ${body:+--data "$body"} -H "Content-Type: $type" -H "Content-Digest: $digest" \
	-H "Signature-Input: sig=$input" -H "Signature: sig=:$tag:" "$url"
