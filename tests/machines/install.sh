#!/bin/sh
# shellcheck shell=dash
#
# Installs on this machine, types the README's session, installs again, changes the web server, uninstalls, and builds
# an image. It changes the machine, so it requires an option:
#
#     tests/machines/install.sh --yes
#
# With CI=true, it first removes what an earlier run left. Otherwise it refuses a machine that has the admin API.

set -eu
cd "${0%/*}/../.."

ADMIN=/opt/jidoteki/tinyadmin
ETC=/usr/local/etc
USER_NAME=jidoteki-admin-api
URL=https://localhost:8443
VENDOR=/usr/local/share/jidoteki-admin-api/html/vendor
PEM=$ETC/tls/current/appliance.pem
CHECKS=0

fail() {
	printf 'tests/machines/install.sh: %s\n' "$*" >&2
	exit 1
}

# Each check has a name, so that the last line of a run shows how far it came.
ok() {
	CHECKS=$((CHECKS + 1))
	printf 'ok %s %s\n' "$CHECKS" "$*"
}

equal() { # equal WHAT EXPECTED GOT
	[ "$2" = "$3" ] || fail "$1: expected
$2
got
$3"
	ok "$1"
}

refused() { # refused WHAT COMMAND...
	local what="$1"
	shift
	if "$@" >"$WORK/refused" 2>&1; then
		cat "$WORK/refused"
		fail "$what: this should have failed: $*"
	fi
	ok "$what"
}

status_of() { # status_of PATH [CURL-OPTION...]
	local path="$1"
	shift
	curl -sS -o /dev/null -w '%{http_code}' --cacert "$PEM" "$@" "$URL$path"
}

modes() { # modes ROOT PATH...
	local root="$1" path
	shift
	for path in "$@"; do
		printf '%s %s\n' "$(stat -c '%a %u:%g' "$root$path")" "$path"
	done
}

# --- is it allowed? ---

[ "${1-}" = --yes ] || [ "${CI:-}" = true ] || fail "this installs into the running machine: say --yes if that is meant"
[ "$(id -u)" -eq 0 ] || fail "this needs root"

WORK=$(mktemp -d)
INSTALLED=no
# The machine had nothing of ours, so everything that is there now is from this test.
clean() {
	[ "$INSTALLED" = no ] || remove_all >/dev/null 2>&1 || printf 'tests/machines/install.sh: could not clean up\n' >&2
	rm -rf "$WORK"
}
trap clean EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'exit 129' HUP

remove_all() {
	[ ! -r /etc/jidoteki-admin-api/installed ] || ./install.sh --uninstall
	rm -rf /opt/jidoteki "$ETC/tls" "$ETC/jidoteki-admin-api.json" /var/log/jidoteki-admin-api
	# Files that the README's session may have created.
	rm -f "$ETC/network.conf" "$ETC/storage.conf" "$ETC/build.json" "$ETC/allservices.txt" "$ETC/storage-options.json"
}

if [ "${CI:-}" = true ]; then
	remove_all
elif [ -e /etc/jidoteki-admin-api ] || [ -e /opt/jidoteki ] || [ -e "$ETC/tls" ]; then
	fail "this machine has the admin API, or data of it: not touched"
fi

# --- its help ---

ours() {
	find / -xdev \( -path /proc -o -path "$PWD" -o -path /tmp -o -path "$WORK" \) -prune -o -name '*jidoteki*' -print
}
ours >"$WORK/ours"

./install.sh --help >"$WORK/help"
equal "--help begins with the usage" "usage: ./install.sh [--server nginx|lighttpd] [--tls intermediate|modern] [--binary FILE] [--jobs keep|ours]" \
	"$(head -n 1 "$WORK/help")"
refused "an unknown option is refused" ./install.sh --bogus
refused "an unknown web server is refused" ./install.sh --server apache
refused "--server without a name is refused" ./install.sh --server
refused "an unknown kind of TLS is refused" ./install.sh --tls old
refused "an executable that is not there is refused" ./install.sh --binary "$WORK/nothing"
refused "a DESTDIR that is not there is refused" env DESTDIR="$WORK/nothing" ./install.sh
refused "a relative DESTDIR is refused" env DESTDIR=image ./install.sh
refused "nothing can be uninstalled yet" ./install.sh --uninstall
equal "nothing was installed by that" "$(cat "$WORK/ours")" "$(ours)"

# --- an image, before the machine has anything ---

image() { # image SERVER DIR
	DESTDIR=$2 ./install.sh --server "$1" ${BUILT:+--binary "$BUILT"} >"$WORK/image.out" || fail "DESTDIR: $(cat "$WORK/image.out")"
}

BUILT=
IMAGE=$WORK/image
mkdir -p "$IMAGE/etc/rc2.d"
printf 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\nother:x:847:1::/:/bin/false\n' >"$IMAGE/etc/passwd"
printf 'root:x:0:\nwww-data:x:33:\n' >"$IMAGE/etc/group"
printf 'root:*:19000:0:99999:7:::\n' >"$IMAGE/etc/shadow"
image nginx "$IMAGE"
# Built once: from here on, the same executable is installed.
BUILT=$WORK/program
cp "$IMAGE/usr/local/bin/jidoteki-admin-api" "$BUILT"
cp "$IMAGE/usr/local/bin/jidoteki-admin-jobs" "$WORK/"
equal "an image does not touch the machine" "$(cat "$WORK/ours")" "$(ours)"
equal "the user is in the image, by a number that was free" \
	"jidoteki-admin-api:x:846:847:Admin API of the appliance:/nonexistent:/usr/sbin/nologin" "$(grep "^$USER_NAME:" "$IMAGE/etc/passwd")"
equal "the groups are in the image; only the API user is in that of nginx" "jidoteki-admin-api:x:847:
jidoteki-admin-web:x:846:jidoteki-admin-api" "$(grep "^jidoteki" "$IMAGE/etc/group")"
equal "the user cannot log in" "jidoteki-admin-api:!:::::::" "$(grep "^$USER_NAME:" "$IMAGE/etc/shadow")"
equal "modes and owners in the image" "755 0:0 $ADMIN/bin
755 0:0 $ADMIN/bin/wrapper.sh
644 0:0 $ADMIN/bin/lib/job.sh
2750 0:847 $ADMIN/etc
2750 0:847 $ADMIN/log
660 0:847 $ADMIN/log/jidoteki-audit.log
660 0:847 $ADMIN/audit/jidoteki-audit.jsonl
2710 846:846 $ADMIN/home/sftp/uploads
700 0:0 $ADMIN/lib
644 0:0 $ETC/jidoteki-admin-api.json
755 0:0 /usr/local/bin/jidoteki-admin-api
755 0:0 /usr/local/bin/jidoteki-admin-jobs
440 0:0 /etc/sudoers.d/jidoteki-admin-api
755 0:0 /etc/init.d/jidoteki-admin-api
700 846:847 /var/lib/jidoteki-admin-api/spool" "$(modes "$IMAGE" $ADMIN/bin $ADMIN/bin/wrapper.sh $ADMIN/bin/lib/job.sh $ADMIN/etc $ADMIN/log \
	$ADMIN/log/jidoteki-audit.log $ADMIN/audit/jidoteki-audit.jsonl $ADMIN/home/sftp/uploads $ADMIN/lib $ETC/jidoteki-admin-api.json /usr/local/bin/jidoteki-admin-api /usr/local/bin/jidoteki-admin-jobs \
	/etc/sudoers.d/jidoteki-admin-api /etc/init.d/jidoteki-admin-api /var/lib/jidoteki-admin-api/spool)"
equal "no key is part of an image" "" "$(grep -rlE 'PRIVATE KEY-----$' "$IMAGE" || :)"
equal "no placeholder is left" "" "$(grep -rlE '@[A-Z][A-Z0-9_]*@' "$IMAGE/etc" "$IMAGE/usr/lib" || :)"
equal "nothing in the image can be changed by somebody else" "" \
	"$(find "$IMAGE" ! -type l -perm /022 ! -path '*/uploads' ! -name 'jidoteki-audit.*' ! -path '*/var/log/jidoteki-admin-api/*')"
equal "what is enabled" "/etc/rc2.d/S20jidoteki-admin-api
/etc/systemd/system/multi-user.target.wants/jidoteki-admin-api-certificate.service
/etc/systemd/system/multi-user.target.wants/jidoteki-admin-api-nginx.service
/etc/systemd/system/multi-user.target.wants/jidoteki-admin-api-recover.service
/etc/systemd/system/multi-user.target.wants/jidoteki-admin-api.service
/etc/systemd/system/sockets.target.wants/jidoteki-admin-api-jobs.socket
/etc/systemd/system/sockets.target.wants/jidoteki-admin-api.socket
/etc/systemd/system/timers.target.wants/jidoteki-admin-api-minute.timer" "$(cd "$IMAGE" && find . -type l ! -path ./etc/jidoteki-admin-api/unit/paths | sed 's/^\.//' | LC_ALL=C sort)"
before=$(cd "$IMAGE" && find . -printf '%m %U:%G %p %l\n' | LC_ALL=C sort)
image nginx "$IMAGE"
equal "a second time changes nothing in an image" "$before" "$(cd "$IMAGE" && find . -printf '%m %U:%G %p %l\n' | LC_ALL=C sort)"
image lighttpd "$IMAGE"
equal "the other web server in the image" "lighttpd, no nginx, no socket" "$(cat "$IMAGE$ADMIN/etc/web-server.txt"), $(
	[ -e "$IMAGE/etc/systemd/system/jidoteki-admin-api-nginx.service" ] || echo no nginx
), $([ -e "$IMAGE/etc/systemd/system/jidoteki-admin-api.socket" ] || echo no socket)"
mkdir "$WORK/bare"
image nginx "$WORK/bare"
equal "an image without users gets numbers" "2710 847:847" "$(stat -c '%a' "$WORK/bare$ADMIN/home/sftp/uploads") $(
	stat -c '%u:%g' "$WORK/bare/var/lib/jidoteki-admin-api/spool"
)"
if command -v systemd-analyze >/dev/null; then
	# Only complaints about our own units count: the image has no others.
	systemd-analyze --root="$WORK/bare" verify jidoteki-admin-api.service jidoteki-admin-api.socket jidoteki-admin-api-nginx.service jidoteki-admin-api-minute.timer \
		jidoteki-admin-api-jobs.socket jidoteki-admin-api-jobs@x.service \
		jidoteki-admin-api-recover.service jidoteki-admin-api-certificate.service >"$WORK/verify" 2>&1 || :
	equal "systemd understands the units" "" "$(grep -E 'jidoteki.*: *(Unknown|Failed to parse|Invalid|Missing)' "$WORK/verify" || :)"
fi

# --- this machine ---

# The names of existing files, except those that packages bring and keep.
listing() {
	find /etc /usr/local /usr/lib/tmpfiles.d /usr/lib/sysusers.d /opt /run /var/lib /var/log -xdev \
		\( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/systemd -o -path /var/lib/logrotate \) -prune -o -print | LC_ALL=C sort
}
users() {
	cut -d : -f 1 /etc/passwd /etc/group | LC_ALL=C sort
}

listing >"$WORK/before"
users >"$WORK/users"
INSTALLED=yes
./install.sh --binary "$BUILT" >"$WORK/install.out" || fail "install.sh: $(cat "$WORK/install.out")"
cat "$WORK/install.out"
equal "the last line is the next command to type" \
	"    curl --cacert $PEM $URL/api/v1/admin/setup -F newtoken=YOURTOKEN" "$(tail -n 1 "$WORK/install.out")"
equal "a stranger gets 403" 403 "$(status_of /api/v1/admin/version)"
equal "the dashboard is there" 200 "$(status_of /)"
equal "the certificate has the machine's names" "DNS:localhost" "$(openssl x509 -in "$PEM" -noout -ext subjectAltName | grep -o 'DNS:localhost')"
equal "the key is root's alone" "600 root:root" "$(stat -c '%a %U:%G' "$ETC/tls/current/appliance.key")"
as_api() {
	setpriv --reuid="$USER_NAME" --regid="$USER_NAME" --init-groups -- "$@"
}
refused "the API user cannot write a status" as_api touch "$ADMIN/etc/x"
refused "the API user cannot read what jobs keep for themselves" as_api ls "$ADMIN/lib"
refused "the API user cannot be root" as_api sudo -n /bin/sh -c true
refused "the API user cannot give a job another argument" as_api sudo -n "$ADMIN/bin/jobs/settings" evil
refused "the API user cannot give a job an argument that has none" as_api sudo -n "$ADMIN/bin/jobs/token" evil
refused "the API user cannot run what is no job" as_api sudo -n "$ADMIN/bin/jobs/health"
as_api sudo -n "$ADMIN/bin/jobs/services" </dev/null >"$WORK/services" || fail "the API user cannot start a job: $(cat "$WORK/services")"
ok "the API user can start a job"

# The README's session, as a person types it after installation.
[ -r README.md ] || fail "there is no README.md"
tests/docs/console.sh README.md >"$WORK/readme" 2>&1 || fail "$(cat "$WORK/readme")"
ok "README.md: $(tail -n 1 "$WORK/readme")"
[ -s "$ADMIN/etc/api.token" ] || fail "the README's session has set no token"
token() {
	printf 'url = "%s/api/v1/admin/endpoints?token=%s"\n' "$URL" "$(head -n 1 "$ADMIN/etc/api.token")" |
		curl -sS -o /dev/null -w '%{http_code}' --cacert "$PEM" -K -
}
equal "the token is good" 200 "$(token)"

state() {
	cat "$ADMIN/etc/api.token" "$ETC/jidoteki-admin-api.json" "$ETC/tls/current/appliance.pem" "$ETC/tls/current/appliance.key" | sha256sum
}
kept=$(state)
printf '#!/bin/sh\n# the vendor'"'"'s own\nexit 1\n' >"$ADMIN/bin/license.sh"
printf ':root{--main:#603080}\n' >"$VENDOR/vendor.css"
./install.sh --binary "$BUILT" >"$WORK/again.out" || fail "install.sh, again: $(cat "$WORK/again.out")"
equal "a second time keeps token, configuration and certificate" "$kept" "$(state)"
equal "a second time keeps a script of the vendor's, and says so" "# the vendor's own 2" \
	"$(sed -n 2p "$ADMIN/bin/license.sh") $(grep -c "kept $ADMIN/bin/license.sh" "$WORK/again.out")"
equal "a second time keeps the vendor's colors" ":root{--main:#603080}" "$(cat "$VENDOR/vendor.css")"
equal "the token is good after the second time" 200 "$(token)"

./install.sh --server lighttpd --binary "$BUILT" >"$WORK/lighttpd.out" || fail "install.sh --server lighttpd: $(cat "$WORK/lighttpd.out")"
equal "changing to lighttpd keeps token, configuration and certificate" "$kept" "$(state)"
equal "the token is good through lighttpd" 200 "$(token)"
equal "lighttpd answers" "" "$(curl -sS -I --cacert "$PEM" "$URL/" | grep -i '^server:' || :)"
"$ADMIN/bin/web-server.sh" test || fail "web-server.sh test"
"$ADMIN/bin/web-server.sh" reload || fail "web-server.sh reload"
equal "lighttpd answers after the reload of a new certificate" 200 "$(token)"
./install.sh --binary "$BUILT" >"$WORK/lighttpd.out" || fail "install.sh, again: $(cat "$WORK/lighttpd.out")"
equal "without --server it stays" lighttpd "$(cat "$ADMIN/etc/web-server.txt")"
./install.sh --server nginx --binary "$BUILT" >"$WORK/nginx.out" || fail "install.sh --server nginx: $(cat "$WORK/nginx.out")"
equal "and back to nginx" "200 server: nginx" "$(token) $(curl -sS -I --cacert "$PEM" "$URL/" | tr -d '\r' | grep -i '^server:')"
"$ADMIN/bin/web-server.sh" test || fail "web-server.sh test"
"$ADMIN/bin/web-server.sh" reload || fail "web-server.sh reload"
equal "nginx answers after the reload of a new certificate" 200 "$(token)"

if command -v logrotate >/dev/null; then
	logrotate -d /etc/logrotate.d/$USER_NAME >"$WORK/logrotate" 2>&1 || fail "logrotate: $(cat "$WORK/logrotate")"
	equal "logrotate has nothing to say against its file" "" "$(grep -i '^error' "$WORK/logrotate" || :)"
fi

# --- uninstall ---

./install.sh --uninstall >"$WORK/uninstall.out" || fail "install.sh --uninstall: $(cat "$WORK/uninstall.out")"
cat "$WORK/uninstall.out"
refused "nobody answers any more" curl -sS --insecure "$URL/"
# If cron was missing, its package added its group, and stays like every Debian package.
equal "users and groups are as before" "$(grep -vx crontab "$WORK/users")" "$(users | grep -vx crontab)"
equal "no process of ours is left" "" "$(for process in /proc/[0-9]*/cmdline; do
	# A container's processes are visible from here too, and are not ours.
	[ "$(readlink "${process%/*}/ns/pid")" = "$(readlink /proc/self/ns/pid)" ] || continue
	{ tr '\0' ' ' <"$process"; } 2>/dev/null | grep -E '/usr/local/bin/jidoteki-admin-api|/etc/jidoteki-admin-api/' || :
done)"
equal "data belongs to root" "" "$(find "$ADMIN" "$ETC" /var/log/jidoteki-admin-api \( -nouser -o -nogroup \))"
[ -s "$ADMIN/etc/api.token" ] || fail "the token is gone"
equal "the vendor's script is still there" "# the vendor's own" "$(sed -n 2p "$ADMIN/bin/license.sh")"
equal "the vendor's colors are still there" vendor.css "$(ls "$VENDOR")"
rm -r "${ADMIN:?}/bin" "${VENDOR%/html/*}"
listing >"$WORK/after"
# Ignore files of packages and of the package manager.
left=$(comm -13 "$WORK/before" "$WORK/after" | while read -r path; do
	case $path in
	"$ADMIN" | "$ADMIN"/* | /opt/jidoteki | "$ETC"/* | /var/log/jidoteki-admin-api | /var/log/jidoteki-admin-api/*) ;;
	/var/log/nginx* | /run/nginx.pid | /run/sudo* | /run/crond* | /run/lock* | /var/lib/sudo* | /var/lib/nginx*) ;;
	/etc/rc?.d/* | /etc/systemd/system/*.wants/* | /etc/*-) ;;
	*) dpkg -S "$path" >/dev/null 2>&1 || printf '%s\n' "$path" ;;
	esac
done)
equal "nothing but the data is left" "" "$left"

printf '%s passed, 0 failed\n' "$CHECKS"
