#!/bin/sh
# shellcheck shell=dash
#
# Installs the admin API on this machine, or into DESTDIR for an appliance image. See --help.

set -eu
umask 022
# "su" leaves these out, and the servers are there.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

SOURCE=$(cd "${0%/*}" && pwd -P)

USER_NAME=jidoteki-admin-api
GROUP_NAME=jidoteki-admin-api
# User of our nginx workers. The API's user is in its group, so that lighttpd can also send files that jobs publish.
WEB_USER=jidoteki-admin-web
WEB_GROUP=jidoteki-admin-web
PORT=8443
# Requests that nginx can process at once. One that waits for a job costs a sleeping process of 1 MB.
WORKERS=32
# Maximum bytes that lighttpd spools of a body without Content-Length.
MAX_SPOOL=134217728

ADMIN=/opt/jidoteki/tinyadmin
ETC=/usr/local/etc
TLS=$ETC/tls
BINARY=/usr/local/bin/jidoteki-admin-api
# The program for root's jobs; it is always built and installed together with the executable.
JOBS_BINARY=${BINARY%/*}/jidoteki-admin-jobs
LIB=/usr/local/lib/jidoteki-admin-api
SHARE=/usr/local/share
HTML=$SHARE/jidoteki-admin-api/html
CONF=/etc/jidoteki-admin-api
RUN=/run/jidoteki-admin-api
LOG=/var/log/jidoteki-admin-api
BODIES=/var/lib/jidoteki-admin-api/bodies
SPOOL=/var/lib/jidoteki-admin-api/spool
LIGHTTPD_MODULES=/usr/lib/lighttpd
# The CA certificates that Debian's curl and cargo use.
TRUSTED=/etc/ssl/certs/ca-certificates.crt
SUDOERS=/etc/sudoers.d/jidoteki-admin-api
SYSTEMD=/etc/systemd/system
INIT=/etc/init.d/jidoteki-admin-api
# Version 2.0.0 was a site of the distribution's nginx, whose user it added to our group.
OLD_SITE_LINK=/etc/nginx/sites-enabled/jidoteki-admin-api
OLD_WEB_USER=www-data
# TLS 1.2 ciphers: Mozilla's "intermediate", with forward secrecy only.
TLS_CIPHERS=ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384
TLS_CIPHERS=$TLS_CIPHERS:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305
# One line per file of ours, "sha256  path": --uninstall removes these. It also distinguishes our files from those that
# a vendor has put in their place.
RECORD=$CONF/installed
# One line per directory that we created: --uninstall removes each that is empty.
DIRECTORIES=$CONF/directories

# shellcheck source=nginx/takeover/takeover.sh
. "$SOURCE/nginx/takeover/takeover.sh"

usage() {
	cat <<EOF
usage: ./install.sh [--server nginx|lighttpd] [--tls intermediate|modern] [--binary FILE] [--jobs keep|ours]
       ./install.sh --uninstall
       ./install.sh --build FILE [--target PROCESSOR] [--how HOW] [--no-cli]
       DESTDIR=/path/of/image ./install.sh [--server ...] [--binary ...]

Installs the admin API, its dashboard and its jobs on this Debian machine, starts
them on port $PORT, and prints the next step. Run it as root. To update, run it
again: it keeps the API token, settings and certificates.

  --server nginx|lighttpd  the web server (default: the last choice, or nginx)
  --tls intermediate|modern
                           TLS 1.2 and 1.3, or 1.3 only (default: the last choice, or both)
  --binary FILE            install this executable, and jidoteki-admin-jobs from the same
                           directory, instead of building them
  --build FILE             only build: write the executable to FILE, and jidoteki-admin-jobs
                           to the same directory; does not need root
  --target PROCESSOR       build for x86_64, aarch64 or armv7 (with DESTDIR or --build)
  --how HOW                how to build: sources (musl; rustup with rust-src), prebuilt (musl; rustup's target),
                           debian (musl; Debian's compiler and sources, unpacked in target/), glibc
                           (default: the first of these that works on this machine)
  --no-cli                 build without the command line (for a small image)
  --no-start               install everything, but start nothing: for a package
                           that is unpacked where no service can run
  --no-ipv6                listen on IPv4 only (always, if the kernel has no IPv6)
  --jobs keep|ours         on a machine that runs the ancestor (docs/MIGRATION.md): keep running its jobs
                           (keep, the default), or replace them by ours (ours)
  --dashboard ours|keep|DIR  serve our dashboard, the ancestor's (keep), or the pages in DIR; the last two
                           with a policy that allows code in the pages. The choice is remembered
  --uninstall              stop and remove everything except your data: $ADMIN,
                           $ETC, logs and Debian's packages stay. On a migrated
                           machine, restore the ancestor
  --help                   print this text

With DESTDIR, the running machine is not changed. Files are installed below DESTDIR.
The user and group are added to DESTDIR/etc/passwd and group; if the image has no
such files yet, files belong to uid and gid 847, and a sysusers.d file is written.
No package is installed, nothing is started, and no certificate is made: each machine
makes its own when it first starts, so that no two machines share a key.
EOF
}

main() {
	parse "$@"
	if [ "$ACTION" = uninstall ]; then
		uninstall
	elif [ "$ACTION" = build ]; then
		build
		cp "$BUILT" "$BUILD_TO"
		cp "${BUILT%/*}/${JOBS_BINARY##*/}" "$(dirname "$BUILD_TO")/${JOBS_BINARY##*/}"
	elif [ -n "$ROOT" ]; then
		install_image
	else
		install_machine
	fi
}

# --- messages ---

say() {
	printf '%s\n' "$*"
}

# Results beyond the requested ones: skipped, kept or changed files. Repeated at the end, where people look.
NOTES=
note() {
	printf '  note: %s\n' "$*"
	NOTES="$NOTES
  - $*"
}

fail() {
	printf 'install.sh: %s\n' "$*" >&2
	exit 1
}

# Runs a command that should succeed; prints its output only if it fails.
ensure() { # ensure WHAT-TO-DO-ABOUT-IT COMMAND...
	local advice="$1" output
	shift
	if ! output=$("$@" 2>&1); then
		printf '%s\n' "$output" >&2
		fail "failed: $*${advice:+. $advice}"
	fi
}

parse() {
	ACTION=install
	SERVER=
	TLS_PROFILE=
	GIVEN_BINARY=
	GIVEN_JOBS=
	GIVEN_DASHBOARD=
	TARGET=
	HOW=
	CLI=yes
	IPV6=yes
	START=yes
	ROOT=${DESTDIR:-}
	while [ $# -gt 0 ]; do
		case $1 in
		--help | -h)
			usage
			exit 0
			;;
		--server)
			[ $# -ge 2 ] || fail "--server needs a value: nginx or lighttpd"
			SERVER=$2
			shift
			;;
		--server=*) SERVER=${1#*=} ;;
		--tls)
			[ $# -ge 2 ] || fail "--tls needs a value: intermediate or modern"
			TLS_PROFILE=$2
			shift
			;;
		--tls=*) TLS_PROFILE=${1#*=} ;;
		--binary)
			[ $# -ge 2 ] || fail "--binary needs a value: a file"
			GIVEN_BINARY=$2
			shift
			;;
		--binary=*) GIVEN_BINARY=${1#*=} ;;
		--build | --target | --how)
			[ $# -ge 2 ] || fail "$1 needs a value (see ./install.sh --help)"
			case $1 in
			--build) ACTION=build BUILD_TO=$2 ;;
			--target) TARGET=$2 ;;
			--how) HOW=$2 ;;
			esac
			shift
			;;
		--jobs)
			[ $# -ge 2 ] || fail "--jobs needs a value: keep or ours"
			GIVEN_JOBS=$2
			shift
			;;
		--jobs=*) GIVEN_JOBS=${1#*=} ;;
		--dashboard)
			[ $# -ge 2 ] || fail "--dashboard needs a value: ours, keep, or a directory"
			GIVEN_DASHBOARD=$2
			shift
			;;
		--dashboard=*) GIVEN_DASHBOARD=${1#*=} ;;
		--no-cli) CLI=no ;;
		--no-ipv6) IPV6=no ;;
		--no-start) START=no ;;
		--uninstall) ACTION=uninstall ;;
		*) fail "unknown option: $1 (see ./install.sh --help)" ;;
		esac
		shift
	done

	case $GIVEN_JOBS in
	'' | keep | ours) ;;
	*) fail "unknown value for --jobs: $GIVEN_JOBS. Use keep or ours" ;;
	esac
	if [ "$ACTION" = build ]; then
		return 0
	fi
	if [ -n "$TARGET" ] && [ -z "$ROOT" ]; then
		fail "--target requires DESTDIR or --build"
	fi
	[ "$(id -u)" -eq 0 ] || fail "root is required: run this with sudo or as root (for an image, fakeroot is enough)"
	if [ -n "$ROOT" ]; then
		case $ROOT in
		/*) ;;
		*) fail "DESTDIR must be an absolute path: $ROOT" ;;
		esac
		[ -d "$ROOT" ] || fail "DESTDIR is not a directory: $ROOT. Create it, or unpack the image there first"
		ROOT=${ROOT%/}
		[ -n "$ROOT" ] || fail "DESTDIR is /: omit it to install on this machine"
	elif [ ! -e /proc/net/if_inet6 ]; then
		IPV6=no
	fi

	if [ -z "$SERVER" ] && [ -r "$ROOT$ADMIN/etc/web-server.txt" ]; then
		SERVER=$(head -n 1 "$ROOT$ADMIN/etc/web-server.txt")
	fi
	SERVER=${SERVER:-nginx}
	case $SERVER in
	nginx | lighttpd) ;;
	*) fail "unknown web server: $SERVER. Use nginx or lighttpd" ;;
	esac
	if [ -z "$TLS_PROFILE" ] && [ -r "$ROOT$CONF/tls.txt" ]; then
		TLS_PROFILE=$(head -n 1 "$ROOT$CONF/tls.txt")
	fi
	TLS_PROFILE=${TLS_PROFILE:-intermediate}
	case $TLS_PROFILE in
	intermediate | modern) ;;
	*) fail "unknown TLS profile: $TLS_PROFILE. Use intermediate or modern" ;;
	esac
	if [ -n "$GIVEN_BINARY" ]; then
		[ -x "$GIVEN_BINARY" ] || fail "not an executable: $GIVEN_BINARY"
		[ -x "$(dirname "$GIVEN_BINARY")/${JOBS_BINARY##*/}" ] ||
			fail "${JOBS_BINARY##*/} is missing in the directory of $GIVEN_BINARY; a build creates both"
	fi
}

has_systemd() {
	[ -d /run/systemd/system ]
}

# --- requirements ---

# Installs missing Debian packages. Each is checked by the command that we need, so a command from elsewhere is
# accepted.
install_packages() {
	local missing="" pair
	for pair in $(needed_packages); do
		command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
	done
	if [ "$SERVER" = lighttpd ]; then
		for pair in openssl deflate; do
			[ -e "$LIGHTTPD_MODULES/mod_$pair.so" ] || missing="$missing lighttpd-mod-$pair"
		done
	fi
	# Without recommended packages, a compiler comes without these and cannot link.
	if [ -z "$GIVEN_BINARY" ] && [ ! -e /usr/include/stdio.h ]; then
		missing="$missing libc6-dev"
	fi
	# Cargo downloads the crates by HTTPS.
	if [ -z "$GIVEN_BINARY" ] && [ ! -e "$TRUSTED" ]; then
		missing="$missing ca-certificates"
	fi
	[ -n "$missing" ] || return 0
	missing=" $(printf '%s\n' "$missing" | tr ' ' '\n' | sort -u | sed '/^$/d' | tr '\n' ' ')"
	command -v apt-get >/dev/null ||
		fail "missing packages:${missing}(Debian's names). This machine has no apt-get: install them with its package manager, then run this again"
	say "Installing Debian packages (about a minute):$missing"
	ensure "Is the machine's package source reachable?" env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y -o DPkg::Lock::Timeout=600 update
	# shellcheck disable=SC2086  # a list of names
	ensure "Is the machine's package source reachable?" env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends $missing
	quieten "$missing"
}

# "command:package", one per line.
needed_packages() {
	printf '%s\n' openssl:openssl curl:curl sudo:sudo visudo:sudo gpg:gnupg tar:tar gzip:gzip flock:util-linux awk:mawk pkill:procps \
		logrotate:logrotate ip:iproute2 hostname:hostname rrdtool:rrdtool
	case $SERVER in
	nginx) printf '%s\n' nginx:nginx fcgiwrap:fcgiwrap ;;
	lighttpd) printf '%s\n' lighttpd:lighttpd ;;
	esac
	has_systemd || printf '%s\n' spawn-fcgi:spawn-fcgi cron:cron
	[ -n "$GIVEN_BINARY" ] || printf '%s\n' cc:gcc
}

# Debian starts new servers: a welcome page on port 80, and an fcgiwrap that runs any program for anyone who can reach
# its socket. Switch off those that were not installed before.
quieten() { # quieten PACKAGES
	case " $1 " in
	*" nginx "*)
		switch_off nginx.service nginx
		note "nginx was just installed: its default instance on port 80 was disabled"
		;;
	esac
	case " $1 " in
	*" fcgiwrap "*) switch_off fcgiwrap.socket fcgiwrap ;;
	esac
	case " $1 " in
	*" lighttpd "*)
		switch_off lighttpd.service lighttpd
		note "lighttpd was just installed: its default instance on port 80 was disabled"
		;;
	esac
}

switch_off() { # switch_off UNIT SERVICE
	if has_systemd; then
		systemctl -q disable --now "$1" "$2.service" 2>/dev/null || note "could not disable Debian's $2"
		return 0
	fi
	if [ -x "/etc/init.d/$2" ]; then
		"/etc/init.d/$2" stop >/dev/null 2>&1 || note "could not stop Debian's $2"
		update-rc.d "$2" disable >/dev/null 2>&1 || note "could not disable Debian's $2"
	fi
}

# --- the executable ---

# Sets BUILT to the path of the executable; the program for jobs is next to it.
build() {
	if [ -n "$GIVEN_BINARY" ]; then
		BUILT=$(dirname "$GIVEN_BINARY")/${GIVEN_BINARY##*/}
		say "Executable: $BUILT (as given)"
		return 0
	fi
	# shellcheck source=src/build.sh
	. "$SOURCE/src/build.sh"
	compile
}

# --- users ---

# Sets API_UID, API_GID, WEB_UID, WEB_GID.
make_user() {
	make_account "$USER_NAME" "$GROUP_NAME" "Admin API of the appliance"
	make_account "$WEB_USER" "$WEB_GROUP" "Web server of the admin API"
	ensure "" usermod --append --groups "$WEB_GROUP" "$USER_NAME"
	if [ "$TAKES_OVER" = yes ]; then
		# Files that the ancestor's jobs publish belong to its group.
		ensure "" usermod --append --groups "$GROUP_NAME" "$WEB_USER"
	fi
	API_UID=$(id -u "$USER_NAME")
	API_GID=$(getent group "$GROUP_NAME" | cut -d : -f 3)
	WEB_UID=$(id -u "$WEB_USER")
	WEB_GID=$(getent group "$WEB_GROUP" | cut -d : -f 3)
}

make_account() { # make_account USER GROUP COMMENT
	if ! getent group "$2" >/dev/null; then
		ensure "" groupadd --system "$2"
	fi
	if ! getent passwd "$1" >/dev/null; then
		ensure "" useradd --system --gid "$2" --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin \
			--comment "$3" "$1"
	elif [ "$(id -g -n "$1")" != "$2" ]; then
		ensure "" usermod --gid "$2" "$1"
	fi
}

# The same for an image's own account files, without the image's programs, which can be for another processor.
make_image_user() {
	local passwd="$ROOT/etc/passwd" group="$ROOT/etc/group"
	API_UID=847 API_GID=847 WEB_UID=846 WEB_GID=846
	if [ ! -f "$passwd" ] || [ ! -f "$group" ]; then
		note "the image has no etc/passwd and etc/group yet: files belong to the ids 847 ($USER_NAME) and 846" \
			"($WEB_USER), which its users and groups must have (see /usr/lib/sysusers.d/$USER_NAME.conf)"
		return 0
	fi
	make_image_account "$USER_NAME" "$GROUP_NAME" "Admin API of the appliance"
	API_UID=$ACCOUNT_UID API_GID=$ACCOUNT_GID
	make_image_account "$WEB_USER" "$WEB_GROUP" "Web server of the admin API"
	WEB_UID=$ACCOUNT_UID WEB_GID=$ACCOUNT_GID
	leave_image_group "$group" "$GROUP_NAME" "$OLD_WEB_USER"
	join_image_group "$group" "$WEB_GROUP" "$USER_NAME"
	[ "$TAKES_OVER" = no ] || join_image_group "$group" "$GROUP_NAME" "$WEB_USER"
}

# Sets ACCOUNT_UID, ACCOUNT_GID.
make_image_account() { # make_image_account USER GROUP COMMENT
	local passwd="$ROOT/etc/passwd" group="$ROOT/etc/group"
	if grep -q "^$2:" "$group"; then
		ACCOUNT_GID=$(sed -n "s/^$2:[^:]*:\([0-9]*\):.*/\1/p" "$group")
	else
		ACCOUNT_GID=$(free_id "$group")
		printf '%s:x:%s:\n' "$2" "$ACCOUNT_GID" >>"$group"
		[ ! -f "$ROOT/etc/gshadow" ] || printf '%s:!::\n' "$2" >>"$ROOT/etc/gshadow"
	fi
	if grep -q "^$1:" "$passwd"; then
		ACCOUNT_UID=$(sed -n "s/^$1:[^:]*:\([0-9]*\):.*/\1/p" "$passwd")
	else
		ACCOUNT_UID=$(free_id "$passwd")
		printf '%s:x:%s:%s:%s:/nonexistent:/usr/sbin/nologin\n' "$1" "$ACCOUNT_UID" "$ACCOUNT_GID" "$3" >>"$passwd"
		[ ! -f "$ROOT/etc/shadow" ] || printf '%s:!:::::::\n' "$1" >>"$ROOT/etc/shadow"
	fi
}

join_image_group() { # join_image_group GROUP-FILE GROUP USER
	sed -n "s/^$2:[^:]*:[^:]*://p" "$1" | tr , '\n' | grep -qx "$3" && return 0
	sed -e "s/^\($2:[^:]*:[^:]*:\)$/\1$3/" -e t -e "s/^\($2:.*\)$/\1,$3/" "$1" >"$1.new"
	cat "$1.new" >"$1"
	rm -f "$1.new"
}

leave_image_group() { # leave_image_group GROUP-FILE GROUP USER
	sed -e "/^$2:/{s/:$3\$/:/;s/:$3,/:/;s/,$3\$//;s/,$3,/,/;}" "$1" >"$1.new"
	cat "$1.new" >"$1"
	rm -f "$1.new"
}

# The first free number from 847 down.
free_id() { # free_id FILE
	local id=847
	while cut -d : -f 3 "$1" | grep -qx "$id"; do
		id=$((id - 1))
	done
	printf '%s\n' "$id"
}

# --- files ---

own() { # own MODE OWNER:GROUP PATH
	chown -h "$2" "$3"
	chmod "$1" "$3"
}

# Makes a directory and its parents, and records which are new.
make_directory() { # make_directory PATH
	[ ! -d "$ROOT$1" ] || return 0
	case $1 in
	/*/*) make_directory "${1%/*}" ;;
	esac
	mkdir "$ROOT$1"
	# Before our own directory exists, only its parents can be new, and these are the system's.
	[ ! -d "$ROOT$CONF" ] || printf '%s\n' "$1" >>"$ROOT$DIRECTORIES"
}

directory() { # directory MODE UID:GID PATH
	! is_of_ancestor "$3" || return 0
	remember "$3"
	make_directory "$3"
	own "$1" "$2" "$ROOT$3"
}

make_directories() {
	# First, because the others are recorded in it.
	directory 755 0:0 "$CONF"
	directory 755 0:0 "$ETC"
	directory 755 0:0 "${ADMIN%/*}"
	directory 755 0:0 "$ADMIN"
	directory 755 0:0 "$ADMIN/bin"
	directory 2750 "0:$API_GID" "$ADMIN/etc"
	directory 2750 "0:$API_GID" "$ADMIN/log"
	directory 2750 "0:$API_GID" "$ADMIN/audit"
	directory 755 0:0 "$ADMIN/home"
	directory 755 0:0 "$ADMIN/home/sftp"
	# The program writes here; files that jobs publish belong to the group of nginx's workers.
	directory 2710 "$API_UID:$WEB_GID" "$ADMIN/home/sftp/uploads"
	directory 700 0:0 "$ADMIN/lib"
	# The progress of jobs: scripts of vendors write it, the program reads it.
	directory 2750 "0:$API_GID" "$ADMIN/progress"
	# The program's state between requests: nonces, refusals, the head of the audit log.
	directory 700 "$API_UID:$API_GID" "$ADMIN/state"
	directory 755 0:0 "$LIB"
	directory 755 0:0 "$TLS"
	directory 2750 "0:$API_GID" "$LOG"
	directory 755 0:0 "${SPOOL%/*}"
	directory 700 "$API_UID:$API_GID" "$SPOOL"
	directory 700 "$WEB_UID:$WEB_GID" "$BODIES"
	directory 755 0:0 "$CONF/unit"
	[ -n "$ROOT" ] || directory 755 0:0 "$RUN"
	[ -n "$ROOT" ] || directory 755 0:0 "$RUN/unit"
}

# Replaces a file atomically: a concurrent request or job sees the old file or the new one.
put() { # put MODE FROM TO
	make_directory "${3%/*}"
	set_aside "$3"
	cp "$2" "$ROOT$3.new"
	own "$1" 0:0 "$ROOT$3.new"
	mv -f "$ROOT$3.new" "$ROOT$3"
	record "$3"
}

record() { # record PATH
	printf '%s  %s\n' "$(digest "$ROOT$1")" "$1" >>"$RECORD_NEW"
}

digest() { # digest FILE
	sha256sum <"$1" | cut -d ' ' -f 1
}

# Whether the file is as we last installed it.
is_ours() { # is_ours PATH
	[ -r "$ROOT$RECORD" ] && grep -qx "$(digest "$ROOT$1")  $1" "$ROOT$RECORD"
}

# Like put, but keeps a file that somebody else installed or changed. Vendors customize an appliance by the scripts in
# bin (license.sh, network.sh, storage.sh), and the ancestor's wrapper.sh with its jobs keeps working with our
# executable.
put_script() { # put_script MODE FROM TO
	if [ -e "$ROOT$3" ] && ! is_ours "$3" && ! cmp -s "$2" "$ROOT$3"; then
		note "kept $3 (modified or not installed by us). To replace it, delete it and run install.sh again"
		printf '%s\n' "$3" >>"$WORK/kept"
		return 0
	fi
	put "$1" "$2" "$3"
}

render() { # render TEMPLATE
	local deflate=no
	[ ! -e "$ROOT$LIGHTTPD_MODULES/mod_deflate.so" ] || deflate=yes
	# shellcheck disable=SC2153  # by notice_ancestor
	"$SOURCE/nginx/edge/render.sh" "$SOURCE/nginx/$1" ADMIN="$ADMIN" ETC="$ETC" TLS="$TLS" BINARY="$BINARY" LIB="$LIB" HTML="$HTML" \
		CONF="$CONF" RUN="$RUN" LOG="$LOG" BODIES="$BODIES" SPOOL="$SPOOL" USER="$USER_NAME" GROUP="$GROUP_NAME" \
		WEB_USER="$WEB_USER" WEB_GROUP="$WEB_GROUP" PORT="$PORT" WORKERS="$WORKERS" UID="$API_UID" WEB_UID="$WEB_UID" \
		TLS_PROFILE="$TLS_PROFILE" TLS_CIPHERS="$TLS_CIPHERS" \
		ADDRESS4=0.0.0.0 'ADDRESS6=[::]' IPV6="$IPV6" HTTP2="$("$SOURCE/nginx/edge/http2.sh" "$ROOT/usr/sbin/nginx")" \
		DEFLATE="$deflate" MAX_BODY="$MAX_BODY" MAX_BODY_KIB="$((MAX_BODY / 1024))" \
		JOBS="$JOB_DIRECTORY" SUDO_USERS="$SUDO_USERS" \
		MAX_STRANGER="$MAX_STRANGER" MAX_SPOOL="$MAX_SPOOL" MAX_SPOOL_KIB="$((MAX_SPOOL / 1024))" ||
		fail "could not fill in nginx/$1"
}

put_rendered() { # put_rendered MODE TEMPLATE TO [FILTER]
	render "$2" >"$WORK/unfiltered"
	"${4:-cat}" <"$WORK/unfiltered" >"$WORK/rendered"
	put "$1" "$WORK/rendered" "$3"
}

put_files() {
	local file mode
	put 755 "$BUILT" "$BINARY"
	put 755 "${BUILT%/*}/${JOBS_BINARY##*/}" "$JOBS_BINARY"

	for file in $(cd "$SOURCE/cgi-bin" && find . -type f ! -name '*.md' | sed 's|^\./||' | sort); do
		case $file in
		lib/*)
			# A program among the libraries is run, not sourced.
			mode=644
			[ ! -x "$SOURCE/cgi-bin/$file" ] || mode=755
			put_script "$mode" "$SOURCE/cgi-bin/$file" "$ADMIN/bin/$file"
			;;
		wrapper.sh) put_wrapper ;;
		*) put_script 755 "$SOURCE/cgi-bin/$file" "$ADMIN/bin/$file" ;;
		esac
	done
	put 644 "$SOURCE/docs/man/jidoteki-admin-api.1" "$SHARE/man/man1/jidoteki-admin-api.1"
	put 644 "$SOURCE/docs/completions/jidoteki-admin-api.bash" "$SHARE/bash-completion/completions/jidoteki-admin-api"
	put 644 "$SOURCE/docs/completions/_jidoteki-admin-api" "$SHARE/zsh/site-functions/_jidoteki-admin-api"
	put 644 "$SOURCE/docs/completions/jidoteki-admin-api.fish" "$SHARE/fish/vendor_completions.d/jidoteki-admin-api.fish"
	# The job certs runs it too.
	put 755 "$SOURCE/nginx/edge/self-signed.sh" "$ADMIN/bin/self-signed.sh"
	put 755 "$SOURCE/nginx/edge/lighttpd-error.sh" "$LIB/lighttpd-error.sh"
	put_dashboard

	put_rendered 644 units/tmpfiles.conf "/usr/lib/tmpfiles.d/$USER_NAME.conf"
	put_rendered 644 units/logrotate "/etc/logrotate.d/$USER_NAME"
	put_sudoers
	put_web_server
	put_services
}

# Checked before it is in place: a sudoers file with a syntax error disables sudo.
put_sudoers() {
	render units/sudoers >"$WORK/sudoers"
	if [ "$TAKES_OVER" = yes ] && [ "$JOBS" = keep ]; then
		render units/sudoers-kept >>"$WORK/sudoers"
	fi
	if command -v visudo >/dev/null; then
		ensure "This is a bug in install.sh; please report it" visudo -c -q -f "$WORK/sudoers"
	else
		note "visudo is not installed: $SUDOERS was not checked"
	fi
	put 440 "$WORK/sudoers" "$SUDOERS"
}

put_web_server() {
	local file
	# Installed for both; switching only changes which one is started.
	put_rendered 644 edge/lighttpd.conf "$CONF/lighttpd.conf" policy
	put_rendered 644 edge/nginx.conf "$CONF/nginx.conf" policy
	for file in nginx-fastcgi nginx-headers nginx-error; do
		put_rendered 644 "edge/$file.conf" "$CONF/$file.conf"
	done
	# A link is read by one system call. Its text counts; it points nowhere (src/http/request.rs).
	ln -sfn "$ADMIN:$ETC:$RUN/jobs.sock" "$ROOT$CONF/unit/paths"
	printf '%s\n' "$TLS_PROFILE" >"$WORK/tls.txt"
	put 644 "$WORK/tls.txt" "$CONF/tls.txt"
	printf '%s\n' "$SERVER" >"$WORK/web-server.txt"
	put 644 "$WORK/web-server.txt" "$ADMIN/etc/web-server.txt"
}

put_services() {
	local file
	put_rendered 755 units/init.sh "$INIT"
	put_old_init
	for file in certificate.service recover.service minute.service minute.timer jobs.socket jobs@.service; do
		put_rendered 644 "units/jidoteki-admin-api-$file" "$SYSTEMD/jidoteki-admin-api-$file"
	done
	put_rendered 644 "units/$SERVER/jidoteki-admin-api.service" "$SYSTEMD/jidoteki-admin-api.service"
	if [ "$SERVER" = nginx ]; then
		for file in jidoteki-admin-api.socket jidoteki-admin-api-nginx.service; do
			put_rendered 644 "units/nginx/$file" "$SYSTEMD/$file"
		done
	fi
	put_rendered 644 units/cron "/etc/cron.d/$USER_NAME"
}

# Data: written once, then the appliance's own.
put_data() {
	local file
	if [ ! -e "$ROOT$ETC/jidoteki-admin-api.json" ]; then
		printf '%s\n' '{' \
			'    "endpoints": ["settings", "certs", "license", "storage", "backup", "monitor"],' \
			'    "parameters": ["public", "private", "ca", "license", "action", "archive"],' \
			'    "reboot": "both"' \
			'}' >"$ROOT$ETC/jidoteki-admin-api.json"
		own 644 0:0 "$ROOT$ETC/jidoteki-admin-api.json"
		say "Wrote $ETC/jidoteki-admin-api.json: settings, certs, license, storage, backup and monitor are enabled"
	fi
	if [ ! -e "$ROOT$ETC/storage-options.json" ]; then
		printf '{"options":["local"]}\n' >"$ROOT$ETC/storage-options.json"
		own 644 0:0 "$ROOT$ETC/storage-options.json"
	fi
	read_old_packages
	take_from_old_group
	# The program can append, but not create files in this directory, because then it could also replace them.
	for file in log/jidoteki-audit.log audit/jidoteki-audit.jsonl; do
		remember "$ADMIN/$file"
		# A link is not ours: the ancestor's group can create one there.
		[ ! -L "$ROOT$ADMIN/$file" ] || rm -f "$ROOT$ADMIN/$file"
		[ -e "$ROOT$ADMIN/$file" ] || : >"$ROOT$ADMIN/$file"
		own 660 "0:$API_GID" "$ROOT$ADMIN/$file"
	done
	for file in error access lighttpd nginx; do
		[ -e "$ROOT$LOG/$file.log" ] || : >"$ROOT$LOG/$file.log"
		own 660 "0:$API_GID" "$ROOT$LOG/$file.log"
	done
	# Files that jobs have published for download.
	[ "$TAKES_OVER" = yes ] ||
		find "$ROOT$ADMIN/home/sftp/uploads" -maxdepth 1 -type f -user 0 -exec chgrp -h "$WEB_GID" {} +
	# The program must be able to read the files that it returns. A vendor's other files stay private.
	for file in app.json network.json storage.json license.asc version.txt changelog.txt health.json machine.json \
		status_update.json status_update.txt status_error_message.txt status_error_code.txt status_certs.txt \
		status_error_certs.txt status_settings.txt status_storage.txt updates.pub; do
		let_read "$ADMIN/etc/$file"
	done
	for file in api.token api.token.setup; do
		if [ ! -f "$ROOT$ADMIN/etc/$file" ] || [ -L "$ROOT$ADMIN/etc/$file" ]; then
			continue
		fi
		remember "$ADMIN/etc/$file"
		own 660 "0:$API_GID" "$ROOT$ADMIN/etc/$file"
	done
}

let_read() { # let_read PATH
	local group mode
	[ -f "$ROOT$1" ] && [ ! -L "$ROOT$1" ] || return 0
	mode=$(stat -c %a "$ROOT$1")
	group=$(stat -c %g "$ROOT$1")
	case $mode in
	*[4567]) return 0 ;;
	*[4567]?) [ "$group" != "$API_GID" ] || return 0 ;;
	esac
	remember "$1"
	chgrp -h "$API_GID" "$ROOT$1"
	chmod g+r "$ROOT$1"
	note "$1 is now readable for the group $GROUP_NAME, because the API returns it"
}

# The limit is the program's own; the web server only has to know it.
read_limit() {
	MAX_BODY=
	if [ -r "$ROOT$ETC/jidoteki-admin-api.json" ]; then
		MAX_BODY=$(tr -d ' \t\r\n' <"$ROOT$ETC/jidoteki-admin-api.json" | sed -n 's/.*"max-upload-bytes":\([0-9][0-9]*\).*/\1/p')
	fi
	MAX_BODY=${MAX_BODY:-4294967296}
	# The program's own limit for a form whose sender is not known from the head of the request.
	MAX_STRANGER=33554432
	[ "$MAX_BODY" -ge "$MAX_STRANGER" ] || MAX_STRANGER=$MAX_BODY
	[ "$MAX_BODY" -ge 1024 ] || fail "$ETC/jidoteki-admin-api.json: max-upload-bytes is $MAX_BODY; it must be at least 1024"
}

begin() {
	WORK=$(mktemp -d)
	trap 'rm -rf "$WORK"' EXIT
	trap 'exit 143' TERM
	trap 'exit 130' INT
	trap 'exit 129' HUP
	RECORD_NEW=$WORK/record
	: >"$RECORD_NEW"
	: >"$WORK/kept"
	read_limit
	notice_ancestor
	begin_takeover
}

# Remove files that the last installation had and this one does not.
finish_record() {
	local line path
	if [ -r "$ROOT$RECORD" ]; then
		while read -r line; do
			path=${line#*  }
			if ! cut -c 67- "$RECORD_NEW" | cat - "$WORK/kept" | grep -qxF "$path"; then
				remove_file "$path"
			fi
		done <"$ROOT$RECORD"
	fi
	# --jobs keep: the ancestor's wrapper.sh stays.
	grep -vxF "${KEPT_WRAPPER:--}" "$WORK/kept" >"$ROOT$CONF/kept" || :
	own 644 0:0 "$ROOT$CONF/kept"
	cp "$RECORD_NEW" "$ROOT$RECORD.new"
	own 644 0:0 "$ROOT$RECORD.new"
	mv -f "$ROOT$RECORD.new" "$ROOT$RECORD"
}

remove_file() { # remove_file PATH
	[ -e "$ROOT$1" ] || return 0
	case $1 in
	"$ADMIN"/bin/*)
		if ! is_ours "$1"; then
			note "kept $1, because it was modified since it was installed"
			return 0
		fi
		;;
	esac
	rm -f "$ROOT$1"
}

# --- this machine ---

install_machine() {
	[ "$START" = no ] || install_packages
	build
	begin
	[ "$START" = no ] || stop_ancestor
	[ "$START" = no ] || check_port
	make_user
	make_directories
	put_files
	put_data
	if [ "$START" = no ]; then
		finish_record
		enable_in_image
		return 0
	fi
	serve_old_certificate
	"$ADMIN/bin/self-signed.sh" "$TLS"
	finish_record
	start_everything
	await_answer
	goodbye
}

# If another server has our port, ours fails with an obscure message.
check_port() {
	local line pid
	command -v ss >/dev/null || return 0
	# The distribution's nginx, with the site of version 2.0.0; it releases the port before ours starts.
	[ ! -L "$OLD_SITE_LINK" ] || return 0
	ss -H -l -t -n -p "sport = :$PORT" >"$WORK/listeners"
	while read -r line; do
		pid=$(printf '%s\n' "$line" | sed -n 's/.*,pid=\([0-9]*\),.*/\1/p')
		[ -z "$pid" ] || is_our_server "$pid" ||
			fail "port $PORT is used by $(cat "/proc/$pid/comm" 2>/dev/null). Stop that program, then run this again"
	done <"$WORK/listeners"
}

# An nginx worker does not show its arguments; its master does.
is_our_server() { # is_our_server PID
	local pid="$1"
	case $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) in
	"nginx: worker"*) pid=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$pid/status") ;;
	esac
	case $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) in
	*" $CONF/"*) ;;
	*) return 1 ;;
	esac
}

start_everything() {
	leave_distribution_nginx
	if has_systemd; then
		start_systemd
	else
		start_plain
	fi
}

start_systemd() {
	# The alias by which jobs know lighttpd must not point to fcgiwrap. "disable" would not find its file, which is gone
	# after a change of the server.
	case $SERVER in
	nginx) rm -f "$SYSTEMD/jidoteki-admin-api-lighttpd.service" ;;
	lighttpd)
		systemctl -q stop jidoteki-admin-api-nginx.service jidoteki-admin-api.socket 2>/dev/null || :
		rm -f "$SYSTEMD/sockets.target.wants/jidoteki-admin-api.socket" \
			"$SYSTEMD/multi-user.target.wants/jidoteki-admin-api-nginx.service"
		;;
	esac
	ensure "" systemd-tmpfiles --create "/usr/lib/tmpfiles.d/$USER_NAME.conf"
	ensure "" systemctl daemon-reload
	ensure "" systemctl -q enable jidoteki-admin-api-certificate.service jidoteki-admin-api-recover.service
	ensure "See: journalctl -u jidoteki-admin-api-minute" systemctl -q enable --now jidoteki-admin-api-minute.timer
	ensure "See: journalctl -u jidoteki-admin-api-jobs.socket" systemctl -q enable --now jidoteki-admin-api-jobs.socket
	case $SERVER in
	nginx)
		test_nginx
		# The other server may still have the port, as the unit of the same name.
		systemctl -q stop jidoteki-admin-api.service
		# Stop it, so that the socket is created with its new owner and mode.
		systemctl -q stop jidoteki-admin-api.socket 2>/dev/null || :
		ensure "See: journalctl -u jidoteki-admin-api.socket" systemctl -q enable --now jidoteki-admin-api.socket
		ensure "See: journalctl -u jidoteki-admin-api" systemctl -q enable jidoteki-admin-api.service jidoteki-admin-api-nginx.service
		ensure "See: journalctl -u jidoteki-admin-api" systemctl restart jidoteki-admin-api.service
		ensure "See: journalctl -u jidoteki-admin-api-nginx and $LOG/nginx.log" systemctl restart jidoteki-admin-api-nginx.service
		;;
	lighttpd)
		ensure "See: journalctl -u jidoteki-admin-api" systemctl -q enable jidoteki-admin-api.service
		ensure "See: journalctl -u jidoteki-admin-api and $LOG/lighttpd.log" systemctl restart jidoteki-admin-api.service
		;;
	esac
}

start_plain() {
	if command -v update-rc.d >/dev/null; then
		ensure "" update-rc.d jidoteki-admin-api defaults
	fi
	[ "$SERVER" = lighttpd ] || test_nginx
	ensure "" "$INIT" stop
	"$INIT" start || fail "the web server did not start; see its message above"
	note "systemd is not running: $INIT started the services. Make sure that this machine's init runs it at boot"
	if [ ! -x /etc/init.d/cron ]; then
		note "there is no cron: run $ADMIN/bin/minute.sh once a minute (health, unconfirmed changes)"
	elif ! /etc/init.d/cron start >/dev/null 2>&1 && ! pgrep -x cron >/dev/null; then
		note "cron is not running: start it, or run $ADMIN/bin/minute.sh once a minute (health, unconfirmed changes)"
	fi
}

test_nginx() {
	ensure "This is a bug in install.sh; please report it" nginx -t -q -c "$CONF/nginx.conf"
}

# Version 2.0.0 was a site of the distribution's nginx, and nginx's user was in our group. Remove both, and switch off
# that nginx if it serves nothing else.
leave_distribution_nginx() {
	local file
	if id -nG "$OLD_WEB_USER" 2>/dev/null | tr ' ' '\n' | grep -qx "$USER_NAME"; then
		ensure "" gpasswd --delete "$OLD_WEB_USER" "$USER_NAME"
		note "$OLD_WEB_USER was removed from the group $USER_NAME: restart other services that run as $OLD_WEB_USER"
	fi
	[ -L "$OLD_SITE_LINK" ] || return 0
	rm -f "$OLD_SITE_LINK"
	for file in /etc/nginx/sites-enabled/* /etc/nginx/conf.d/*; do
		if [ -e "$file" ]; then
			note "the distribution's nginx keeps running without our site, for $file"
			reload_distribution_nginx
			return 0
		fi
	done
	note "the distribution's nginx served only our site and was disabled"
	if has_systemd; then
		systemctl -q disable --now nginx.service 2>/dev/null || :
	elif [ -r /run/nginx.pid ] && [ -d "/proc/$(cat /run/nginx.pid)" ]; then
		kill -QUIT "$(cat /run/nginx.pid)"
	fi
	await_port_free
}

reload_distribution_nginx() {
	if has_systemd; then
		systemctl -q is-active nginx.service || return 0
		systemctl reload nginx.service || note "nginx could not be reloaded: see nginx -t"
	elif [ -r /run/nginx.pid ] && [ -d "/proc/$(cat /run/nginx.pid)" ]; then
		kill -HUP "$(cat /run/nginx.pid)"
	fi
	await_port_free
}

# A reload returns before the old workers release the port.
await_port_free() {
	local n=0
	command -v ss >/dev/null || return 0
	while [ -n "$(ss -H -l -t -n "sport = :$PORT")" ]; do
		n=$((n + 1))
		[ "$n" -le 100 ] || fail "nginx does not release port $PORT"
		sleep 0.1
	done
}

# 403 is right, because the request has no credentials.
await_answer() {
	local n=0 answer=
	while [ "$n" -lt 300 ]; do
		answer=$(curl -s -o /dev/null -w '%{http_code}' --insecure --max-time 5 "https://localhost:$PORT/api/v1/admin/version") || answer=
		[ "$answer" != 403 ] || return 0
		n=$((n + 1))
		sleep 0.1
	done
	fail "https://localhost:$PORT does not respond correctly (status: ${answer:-none}). See $LOG/error.log, $LOG/$SERVER.log"
}

goodbye() {
	say
	say "The admin API runs on https://localhost:$PORT (${SERVER}, as $USER_NAME)."
	if [ -n "$NOTES" ]; then
		say "Notes:$NOTES"
	fi
	say
	if [ -s "$ADMIN/etc/api.token" ]; then
		say "Your API token is unchanged. Try it:"
		say
		say "    curl --cacert $TLS/current/appliance.pem https://localhost:$PORT/api/v1/admin/version?token=YOURTOKEN"
	else
		say "Next, set the API token. Until then, anyone who can reach port $PORT can set it:"
		say
		say "    curl --cacert $TLS/current/appliance.pem https://localhost:$PORT/api/v1/admin/setup -F newtoken=YOURTOKEN"
	fi
}

# --- an image ---

install_image() {
	build
	begin
	record_script
	make_image_user
	make_directories
	put_files
	put_rendered 644 units/sysusers.conf "/usr/lib/sysusers.d/$USER_NAME.conf"
	put_data
	finish_record
	enable_in_image
	say
	say "The admin API is in $ROOT, for $SERVER on port $PORT (uid $API_UID, gid $API_GID)."
	say "Packages, certificate and start are not done here; each machine does them."
	say "Notes:$NOTES"
	say
	say "The image needs these Debian packages: openssl sudo gnupg tar gzip util-linux mawk procps logrotate iproute2 hostname"
	case $SERVER in
	nginx) say "nginx fcgiwrap, and without systemd: spawn-fcgi cron" ;;
	lighttpd) say "lighttpd lighttpd-mod-openssl lighttpd-mod-deflate, and without systemd: cron" ;;
	esac
}

# The links of "systemctl enable", and those that a System V init follows.
enable_in_image() {
	local level
	image_link "$SYSTEMD/jidoteki-admin-api.service" "$SYSTEMD/multi-user.target.wants/jidoteki-admin-api.service"
	image_link "$SYSTEMD/jidoteki-admin-api-certificate.service" "$SYSTEMD/multi-user.target.wants/jidoteki-admin-api-certificate.service"
	image_link "$SYSTEMD/jidoteki-admin-api-recover.service" "$SYSTEMD/multi-user.target.wants/jidoteki-admin-api-recover.service"
	image_link "$SYSTEMD/jidoteki-admin-api-minute.timer" "$SYSTEMD/timers.target.wants/jidoteki-admin-api-minute.timer"
	image_link "$SYSTEMD/jidoteki-admin-api-jobs.socket" "$SYSTEMD/sockets.target.wants/jidoteki-admin-api-jobs.socket"
	case $SERVER in
	nginx)
		image_link "$SYSTEMD/jidoteki-admin-api.socket" "$SYSTEMD/sockets.target.wants/jidoteki-admin-api.socket"
		image_link "$SYSTEMD/jidoteki-admin-api-nginx.service" "$SYSTEMD/multi-user.target.wants/jidoteki-admin-api-nginx.service"
		rm -f "$ROOT$SYSTEMD/jidoteki-admin-api-lighttpd.service"
		;;
	lighttpd)
		image_link "$SYSTEMD/jidoteki-admin-api.service" "$SYSTEMD/jidoteki-admin-api-lighttpd.service"
		rm -f "$ROOT$SYSTEMD/sockets.target.wants/jidoteki-admin-api.socket" \
			"$ROOT$SYSTEMD/multi-user.target.wants/jidoteki-admin-api-nginx.service"
		;;
	esac
	rm -f "$ROOT$OLD_SITE_LINK"
	for level in 2 3 4 5; do
		[ ! -d "$ROOT/etc/rc$level.d" ] || image_link ../init.d/jidoteki-admin-api "/etc/rc$level.d/S20jidoteki-admin-api"
	done
	note "if the init supports neither units nor rc directories, it must call $INIT start at boot and $ADMIN/bin/minute.sh once a minute"
}

image_link() { # image_link TARGET LINK
	make_directory "${2%/*}"
	ln -sfn "$1" "$ROOT$2"
}

# --- uninstall ---

# The directories that --uninstall tries to remove: those that we created. Older installations did not record them and
# created these.
made_directories() {
	local path
	printf '%s\n' "$ADMIN/bin/jobs" "$ADMIN/bin/lib" "$ADMIN/bin/kept" "$ADMIN/bin" "$LIB"
	[ ! -d "${HTML%/*}" ] || find "${HTML%/*}" -type d
	[ ! -r "$DIRECTORIES" ] || while IFS= read -r path; do
		case $path in
		# Data, and its location.
		"$ADMIN"/bin | "$ADMIN"/bin/*) printf '%s\n' "$path" ;;
		"${ADMIN%/*}" | "$ADMIN" | "$ADMIN"/* | "$ETC" | "$ETC"/* | "$LOG" | "$LOG"/*) ;;
		*) printf '%s\n' "$path" ;;
		esac
	done <"$DIRECTORIES"
}

uninstall() {
	local line path name directories
	[ -z "$ROOT" ] || fail "--uninstall works only on the running machine; discard the image instead"
	if [ ! -r "$RECORD" ]; then
		fail "nothing is installed here ($RECORD is missing)"
	fi
	[ ! -r "$TAKEOVER" ] || GROUP_NAME=$(fact group 2)
	if has_systemd; then
		systemctl -q disable --now jidoteki-admin-api-minute.timer jidoteki-admin-api-certificate.service \
			jidoteki-admin-api-recover.service jidoteki-admin-api.socket jidoteki-admin-api-jobs.socket \
			jidoteki-admin-api-nginx.service jidoteki-admin-api.service 2>/dev/null || :
	elif [ -x "$INIT" ]; then
		ensure "" "$INIT" stop
	fi
	# systemctl does not know links that were made for an image.
	rm -f "$SYSTEMD"/*.target.wants/jidoteki-admin-api* "$SYSTEMD/jidoteki-admin-api-lighttpd.service"
	leave_distribution_nginx

	while read -r line; do
		path=${line#*  }
		remove_file "$path"
	done <"$RECORD"
	directories=$(made_directories)
	give_back
	rm -rf "$RUN" "${SPOOL%/*}"
	# Deepest first, and only if empty: other files are not ours.
	printf '%s\n' "$directories" | LC_ALL=C sort -r -u | while IFS= read -r path; do
		rmdir "$path" 2>/dev/null || :
	done
	if has_systemd; then
		systemctl daemon-reload
	fi
	# systemctl keeps the links of System V as well.
	if command -v update-rc.d >/dev/null; then
		update-rc.d jidoteki-admin-api remove >/dev/null 2>&1 || note "update-rc.d could not remove the links to $INIT"
	fi

	# Otherwise data of the removed group would belong to the next group with its number.
	for name in "$USER_NAME" "$WEB_USER"; do
		find "$ADMIN" "$LOG" "$ETC" -xdev \( -user "$name" -o -group "$name" \) -exec chown -h root:root {} + 2>/dev/null || :
		if getent passwd "$name" >/dev/null; then
			userdel "$name" 2>/dev/null || note "the user $name could not be removed"
		fi
		if getent group "$name" >/dev/null; then
			groupdel "$name" || note "the group $name could not be removed"
		fi
	done
	start_ancestor
	rm -rf "$CONF"

	say "The admin API is removed. Your data stays:"
	say "  $ADMIN (token, settings, logs, uploads), $ETC (configuration, certificates), $LOG"
	say "  and Debian's packages."
	[ -z "$NOTES" ] || say "Notes:$NOTES"
}

main "$@"
