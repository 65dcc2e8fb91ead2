#!/bin/sh
#
# lighttpd's own errors, in the format of the API. lighttpd calls this as its error handler, with the status in
# REDIRECT_STATUS. It prints no client value, because it runs for every client.

set -eu

STATUS=${REDIRECT_STATUS:-500}
MESSAGE=
ALLOW=

# Not an error of lighttpd, but a request for an unknown path. Read its body to the end, because lighttpd ends an HTTP/2
# stream that is answered sooner, and the response with it.
if [ "$STATUS" = 200 ]; then
	case ${REQUEST_METHOD:-GET} in
	GET | HEAD) STATUS=404 ;;
	*) STATUS=405 ;;
	esac
	/bin/cat >/dev/null
fi

case $STATUS in
400) STATUS="400 Bad Request" ;;
403 | 404) STATUS="404 Not Found" ;;
405)
	STATUS="405 Method Not Allowed"
	ALLOW="GET, HEAD"
	;;
408) STATUS="408 Request Timeout" ;;
411) STATUS="411 Length Required" ;;
412) STATUS="412 Precondition Failed" ;;
413)
	STATUS="413 Request Entity Too Large"
	MESSAGE="Upload too large: the limit is ${JIDO_LIMIT:-smaller}"
	;;
414) STATUS="414 URI Too Long" ;;
416) STATUS="416 Range Not Satisfiable" ;;
417) STATUS="417 Expectation Failed" ;;
431) STATUS="431 Request Header Fields Too Large" ;;
501) STATUS="501 Not Implemented" ;;
502)
	STATUS="502 Bad Gateway"
	MESSAGE="The admin program gave no answer"
	;;
503) STATUS="503 Service Unavailable" ;;
504)
	STATUS="504 Gateway Timeout"
	MESSAGE="The admin program took too long to answer"
	;;
505) STATUS="505 HTTP Version Not Supported" ;;
*)
	STATUS="500 Internal Server Error"
	;;
esac

BODY="{\"Status\":\"$STATUS\"}"
[ -z "$MESSAGE" ] || BODY="{\"Status\":\"$STATUS\",\"Error-Message\":\"$MESSAGE\"}"

header() {
	printf '%s: %s\r\n' "$1" "$2"
}

header Status "$STATUS"
[ -z "$MESSAGE" ] || header Error-Message "$MESSAGE"
[ -z "$ALLOW" ] || header Allow "$ALLOW"
header Content-Type application/json
header Cache-Control no-cache
header Strict-Transport-Security "max-age=31536000; includeSubDomains"
header X-Frame-Options DENY
header X-Content-Type-Options nosniff
header Referrer-Policy no-referrer
header Content-Security-Policy "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
header Accept-Ranges none
header Content-Length "${#BODY}"
printf '\r\n%s' "$BODY"
