#!/bin/sh
# shellcheck shell=dash
# shellcheck disable=SC2016,SC2064
#
# A little PKI, made in the directory where it is run: a root, an intermediate, and leaves with all that can be wrong with
# one, or that people do to one on the way.

set -eu

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
# What signs: openssl itself, or two days ago. OpenSSL 3.5 refuses -days -1.
NOW=
PAST='faketime -f -2d'
# sign NAME ISSUER OPTION...
sign() {
    name=$1; issuer=$2; shift 2
    printf %b "$EXT" >"$name.ext"
    openssl req -new -key "$name.key" -subj "$SUBJECT" |
        $NOW openssl x509 -req -CA "$issuer.pem" -CAkey "$issuer.key" -extfile "$name.ext" -out "$name.pem" "$@"
}
# expire NAME ISSUER: one that ended yesterday.
expire() { NOW=$PAST; sign "$@" -days 1; NOW=; }
export OPENSSL_CONF=/dev/null
key root; openssl req -x509 -config /etc/ssl/openssl.cnf -key root.key -days 3650 -subj '/CN=Test Root' -out root.pem
key middle; EXT='basicConstraints=critical,CA:TRUE\n' SUBJECT='/CN=Test Middle' sign middle root -days 3650
EXT='subjectAltName=DNS:appliance.example,IP:192.0.2.7\n'
SUBJECT='/CN=appliance.example'
key leaf; sign leaf middle -days 30
key direct; sign direct root -days 30
key other; sign other root -days 30
key expired; expire expired root
key nameless; EXT='keyUsage=digitalSignature\n' SUBJECT='/O=Nobody' sign nameless root -days 30
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key
sign rsa root -days 30
openssl pkey -in rsa.key -traditional -out rsa1.key
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out short.key
sign short root -days 30
openssl pkey -in leaf.key -aes128 -passout pass:secret -out encrypted.key
openssl rsa -in rsa1.key -traditional -aes128 -passout pass:secret -out encrypted1.key
openssl req -x509 -config /etc/ssl/openssl.cnf -key other.key -days 30 -subj /CN=self -out self.pem
cat middle.pem root.pem >chain.pem
cat root.pem middle.pem >reversed.pem
cat leaf.pem middle.pem >full.pem
cat middle.pem leaf.pem >upside-down.pem
sed 's/$/\r/' leaf.pem >crlf.pem
{ printf '\357\273\277'; sed 's/$/\r/' leaf.key; } >bom.key
{ printf '\357\273\277'; cat leaf.pem; } >bom.pem
openssl x509 -in leaf.pem -outform DER -out der.pem
sed '3s/^.\{10\}/AAAAAAAAAA/' leaf.pem >broken.pem
sed '2s/^.\{10\}/AAAAAAAAAA/' leaf.key >broken.key

# What people really send.
printf %s "$(cat leaf.pem)" >glued.pem; cat middle.pem >>glued.pem
key root2; openssl req -x509 -config /etc/ssl/openssl.cnf -key root2.key -days 3650 -subj '/CN=Test Root 2' -out root2.pem
cat root2.pem root.pem >roots.pem
cat root2.pem middle.pem root.pem middle.pem >heap.pem
: >empty; printf '\r\n' >blank
sed 's/^/    /' leaf.pem >indented.pem
tr '\n' '\r' <leaf.pem >cr.pem
awk '{ printf "%s\\n", $0 }' leaf.pem >escaped.pem
awk '{ printf "%s\\n", $0 }' leaf.key >escaped.key
{ printf '\377\376'; iconv -f ASCII -t UTF-16LE leaf.pem; } >utf16.pem
{ printf 'Bag Attributes\n    friendlyName: gr\374n\nsubject=CN = x\n'; cat leaf.pem; } >bag.pem
openssl x509 -in leaf.pem -text -out text.pem
cat leaf.key leaf.pem middle.pem >both.pem
# An older certificate of the same key, and an older one of the CA.
EXT='subjectAltName=DNS:appliance.example,IP:192.0.2.7\n' SUBJECT='/CN=appliance.example'
cp leaf.key old.key; expire old middle
cat old.pem leaf.pem >renewed.pem
cp leaf.key fresh.key; sign fresh middle -days 300
cat leaf.pem fresh.pem >leaffresh.pem
cat fresh.pem old.pem leaf.pem >freshleaf.pem
EXT='basicConstraints=critical,CA:TRUE\n' SUBJECT='/CN=Test Middle'
cp middle.key oldmiddle.key; expire oldmiddle root
cat oldmiddle.pem middle.pem >middles.pem
# A root that an older one has signed once; both of these have ended.
key older; printf %b "$EXT" >older.ext
openssl req -new -key older.key -subj '/CN=Older Root' | $PAST openssl x509 -req -signkey older.key -extfile older.ext -days 1 -out older.pem
SUBJECT='/CN=Test Root'; cp root.key cross.key; expire cross older
cat middle.pem cross.pem older.pem >crossed.pem

openssl req -new -key leaf.key -subj /CN=x -config /etc/ssl/openssl.cnf -out request.pem
openssl req -in request.pem -outform DER -out request.der
sed 's/CERTIFICATE REQUEST/NEW CERTIFICATE REQUEST/' request.pem >iis.pem
openssl crl2pkcs7 -nocrl -certfile full.pem -out bundle.p7b
openssl crl2pkcs7 -nocrl -certfile full.pem -outform DER -out bundle.der
# As the web pages of Windows' CA give it out.
sed 's/PKCS7/CERTIFICATE/' bundle.p7b >certnew.p7b
openssl pkcs7 -print_certs -in certnew.p7b -out converted.pem
openssl pkcs12 -export -inkey leaf.key -in full.pem -passout pass:x -out bundle.p12
openssl pkey -in leaf.key -outform DER -out key.der
openssl pkey -in leaf.key -pubout -out public.pem
{ echo '-----BEGIN OPENSSH PRIVATE KEY-----'; printf 'openssh-key-v1' | base64; echo '-----END OPENSSH PRIVATE KEY-----'; } >ssh.key
printf '\376\355\376\355\000\000\000\002' >keystore.jks
cat leaf.key other.key >two.key

# leaf NAME ISSUER EXTENSION: one that is good but for that.
leaf() { key "$1"; EXT="subjectAltName=DNS:appliance.example\n${3-}" SUBJECT='/CN=appliance.example' sign "$1" "$2" -days 30; }
# authority NAME ISSUER EXTENSIONS
authority() { key "$1"; EXT=$3 SUBJECT="/CN=Test $1" sign "$1" "$2" -days 300; }
leaf client root 'extendedKeyUsage=clientAuth\n'
leaf mail root 'extendedKeyUsage=emailProtection,codeSigning\n'
leaf any root 'extendedKeyUsage=clientAuth,anyExtendedKeyUsage\n'
leaf wrap root 'keyUsage=critical,keyEncipherment\n'
leaf critical root '1.3.6.1.4.1.99999.7=critical,ASN1:UTF8String:hello\n'
authority mute root 'basicConstraints=critical,CA:TRUE\nkeyUsage=digitalSignature\n'; leaf bymute mute
authority plain root 'basicConstraints=critical,CA:FALSE\n'; leaf byplain plain
authority silent root 'keyUsage=critical,keyCertSign\n'; leaf bysilent silent
authority mailca root 'basicConstraints=critical,CA:TRUE\nextendedKeyUsage=emailProtection\n'; leaf bymailca mailca
authority narrow root 'basicConstraints=critical,CA:TRUE,pathlen:0\n'
authority below narrow 'basicConstraints=critical,CA:TRUE\n'; leaf bybelow below
cat below.pem narrow.pem >long.pem
authority corp root 'basicConstraints=critical,CA:TRUE\nnameConstraints=critical,permitted;DNS:corp.local\n'; leaf outside corp
authority odd root 'basicConstraints=critical,CA:TRUE\n1.3.6.1.4.1.99999.8=critical,ASN1:NULL\n'; leaf byodd odd
authority gone root 'basicConstraints=critical,CA:TRUE\n'; leaf bygone gone
EXT='basicConstraints=critical,CA:TRUE\n' SUBJECT='/CN=Test gone' expire gone root
cat gone.pem root.pem >gonechain.pem
# The same name, another key.
key again; EXT='basicConstraints=critical,CA:TRUE\n' SUBJECT='/CN=Test Middle' sign again root -days 300
EXT='subjectAltName=DNS:appliance.example\n' SUBJECT='/CN=appliance.example'
openssl ecparam -name prime256v1 -genkey -noout -param_enc explicit -out explicit.key; sign explicit root -days 30
openssl ecparam -name secp256k1 -genkey -noout -out koblitz.key; sign koblitz root -days 30
openssl ecparam -name brainpoolP256r1 -genkey -noout -out brain.key; sign brain root -days 30
openssl ecparam -name secp521r1 -genkey -noout -out large.key; sign large root -days 60
openssl genpkey -algorithm ed25519 -out edwards.key; sign edwards root -days 30
cp rsa.key sha1.key; sign sha1 root -days 30 -sha1
openssl req -x509 -config /etc/ssl/openssl.cnf -key rsa.key -days 300 -subj '/CN=RSA Root' -out rsaroot.pem; cp rsa.key rsaroot.key
key pss; sign pss rsaroot -days 30 -sigopt rsa_padding_mode:pss
key common; EXT='basicConstraints=CA:FALSE\n' SUBJECT='/CN=appliance.example' sign common root -days 60
key loopback; EXT='subjectAltName=IP:0:0:0:0:0:0:0:1\n' SUBJECT='/CN=box' sign loopback root -days 60
key wild; EXT='subjectAltName=DNS:*.CORP.EXAMPLE\n' SUBJECT='/CN=box' sign wild root -days 60
key wide; EXT='subjectAltName=DNS:*.EXAMPLE\n' SUBJECT='/CN=box' sign wide root -days 60
# Begins tomorrow: only "ca" takes a first day.
mkdir ca; : >ca/index; echo 01 >ca/serial
printf %b '[ca]\ndefault_ca=own\n[own]\ndatabase=ca/index\nserial=ca/serial\nnew_certs_dir=ca\ndefault_md=sha256\npolicy=any\nunique_subject=no\ncopy_extensions=copy\n[any]\ncommonName=supplied\n' >ca.cnf
openssl req -new -key leaf.key -subj /CN=appliance.example -config /etc/ssl/openssl.cnf -addext subjectAltName=DNS:appliance.example -out early.req
openssl ca -batch -notext -config ca.cnf -cert root.pem -keyfile root.key -in early.req -out early.pem \
    -startdate "$(date -u -d '+2 days' +%Y%m%d%H%M%SZ)" -enddate "$(date -u -d '+30 days' +%Y%m%d%H%M%SZ)"

# What some browsers refuse.
key staple; EXT='subjectAltName=DNS:appliance.example\ntlsfeature=status_request\n' SUBJECT='/CN=staple' sign staple root -days 40
key years; EXT='subjectAltName=DNS:appliance.example\n' SUBJECT='/CN=years' sign years root -days 826
openssl pkcs12 -export -legacy -inkey leaf.key -in leaf.pem -passout pass:x -out old.p12
openssl pkcs12 -export -legacy -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-RC2-128 -inkey leaf.key -in leaf.pem -passout pass:x -out mixed.p12
