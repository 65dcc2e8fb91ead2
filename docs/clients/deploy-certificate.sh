#!/bin/sh
# Sends the certificate that an ACME client obtained to an appliance, and waits until it is in use. The token is in a file that
# only you can read, and in no argument.
#
# Clients renew from cron or a timer, which do not have the variables of your shell. Put them into the hook:
#     hook='env JIDOTEKI_URL=https://box.example:8443 JIDOTEKI_TOKEN_FILE=/etc/jidoteki.token /usr/local/bin/deploy-certificate.sh'
#     certbot certonly -d box.example ... --deploy-hook "$hook"
#     acme.sh --install-cert -d box.example --reloadcmd "$hook"
#     lego ... run --run-hook "$hook" and lego ... renew --renew-hook "$hook"     (lego 4)
#     lego run ... --deploy-hook "$hook"                                          (lego 5)
# If curl does not trust the appliance yet, add CACERT=FILE: its self-signed certificate and, for a CA of your own, the CA's.
#
# By hand; without KEY for a request that the appliance made (POST /certs/csr):
#     deploy-certificate.sh FULLCHAIN [KEY]
set -eu
fail() {
	printf 'deploy-certificate.sh: %s\n' "$1" >&2
	exit 1
}
# certbot names a directory, acme.sh and lego name files. lego 5 has other names than lego 4.
chain=${1-${RENEWED_LINEAGE:+$RENEWED_LINEAGE/fullchain.pem}}
chain=${chain:-${CERT_FULLCHAIN_PATH:-${LEGO_HOOK_CERT_PATH:-${LEGO_CERT_PATH-}}}}
key=${RENEWED_LINEAGE:+$RENEWED_LINEAGE/privkey.pem}
key=${key:-${CERT_KEY_PATH:-${LEGO_HOOK_CERT_KEY_PATH:-${LEGO_CERT_KEY_PATH-}}}}
[ $# -eq 0 ] || key=${2-}
# With --no-bundle, lego leaves the issuer in a file of its own, which not every version names.
issuer=${chain%.crt}.issuer.crt
[ -r "$chain" ] || fail "no certificate: name a file, or run this as a hook of certbot, acme.sh or lego"
# A certificate for a request of the appliance comes without a key.
[ -s "$key" ] || key=
[ -s "$issuer" ] || issuer=
read -r token <"${JIDOTEKI_TOKEN_FILE:?}" || [ -n "$token" ] || fail "no token in $JIDOTEKI_TOKEN_FILE"
url=${JIDOTEKI_URL:?}/api/v1/admin/certs
trust=
if [ -n "${CACERT:-}" ]; then
	# The appliance shows its old certificate first, and the new one afterwards.
	trust=$(mktemp)
	trap 'rm -f "$trust"' EXIT
	{ cat "$CACERT" && echo && cat "$chain"; } >"$trust"
fi
request() {
	printf 'header = "Authorization: Bearer %s"\n' "$(printf %s "$token" | sed 's/["\\]/\\&/g')" |
		curl -sS -K - --max-time 60 ${trust:+--cacert "$trust"} "$@"
}
answer=$(request -F "public=@$chain" ${key:+-F "private=@$key"} ${issuer:+-F "ca=@$issuer"} "$url")
case $answer in
*'"202 Accepted"'*) ;;
*) fail "refused: $answer" ;;
esac
# The server may reload meanwhile, so a missing answer is not a failure yet.
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
fail "the appliance does not say whether the certificate is in use: $answer"
