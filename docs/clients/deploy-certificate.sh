#!/bin/sh
# Sends the certificate that an ACME client got to an appliance, and waits until it is in force. The token is in a file that
# only you can read, and in no argument:
#     export JIDOTEKI_URL=https://box:8443 JIDOTEKI_TOKEN_FILE=/etc/jidoteki.token
#     certbot renew --deploy-hook deploy-certificate.sh
#     acme.sh --install-cert -d box.example --fullchain-file F --key-file K --reloadcmd deploy-certificate.sh
#     lego ... renew --renew-hook deploy-certificate.sh
# By hand; without the key for a request that the appliance made (POST /certs/csr):
#     deploy-certificate.sh FULLCHAIN [KEY]
set -eu
fail() {
	printf 'deploy-certificate.sh: %s\n' "$1" >&2
	exit 1
}
# certbot names a directory, acme.sh and lego name files.
chain=${1-${RENEWED_LINEAGE:+$RENEWED_LINEAGE/fullchain.pem}}
chain=${chain:-${CERT_FULLCHAIN_PATH:-${LEGO_CERT_PATH-}}}
key=${RENEWED_LINEAGE:+$RENEWED_LINEAGE/privkey.pem}
key=${key:-${CERT_KEY_PATH:-${LEGO_CERT_KEY_PATH-}}}
[ $# -eq 0 ] || key=${2-}
[ -r "$chain" ] || fail "no certificate: give me a file, or run me as a hook of certbot, acme.sh or lego"
# A certificate for a request of the appliance's comes without a key.
[ -s "$key" ] || key=
read -r token <"${JIDOTEKI_TOKEN_FILE:?}" || [ -n "$token" ] || fail "no token in $JIDOTEKI_TOKEN_FILE"
url=${JIDOTEKI_URL:?}/api/v1/admin/certs
request() {
	printf 'header = "Authorization: Bearer %s"\n' "$(printf %s "$token" | sed 's/["\\]/\\&/g')" |
		curl -sS -K - ${CACERT:+--cacert "$CACERT"} "$@"
}
answer=$(request -F "public=@$chain" ${key:+-F "private=@$key"} "$url")
case $answer in
*'"202 Accepted"'*) ;;
*) fail "refused: $answer" ;;
esac
# The server may reload meanwhile, so an answer that does not come is no failure yet.
rounds=0
while [ "$rounds" -lt 60 ]; do
	rounds=$((rounds + 1))
	answer=$(request "$url") || answer=
	case $answer in
	'{"status":"success"'*) exit 0 ;;
	'{"status":"failed"'*) fail "$answer" ;;
	esac
	sleep 1
done
fail "the appliance does not say how it went: $answer"
