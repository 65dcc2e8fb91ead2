#!/bin/sh
# shellcheck shell=dash
#
# The only place that knows which web server this is: "test" its configuration, "reload" it, or print its "address".
# etc/web-server.txt contains "nginx" or "lighttpd", and optionally a port.

set -eu

admin=$(cd "${0%/*}/.." && pwd -P)
nginx_conf=/etc/jidoteki-admin-api/nginx.conf
nginx_unit=jidoteki-admin-api-nginx
lighttpd_conf=/etc/jidoteki-admin-api/lighttpd.conf
lighttpd_unit=jidoteki-admin-api-lighttpd

server=
port=
if [ -f "$admin/etc/web-server.txt" ]; then
	read -r server port <"$admin/etc/web-server.txt" || :
fi

is_systemd() {
	[ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1
}

# At boot, a server that has not started yet needs no reload. Asking systemd for one would deadlock: its start waits for
# recover.sh.
is_active() {
	systemctl is-active --quiet "$1"
}

# A killed server leaves its pid file behind, so the number alone proves nothing.
is_running() {
	[ -s "$1" ] || return 1
	tr '\0' '\n' <"/proc/$(cat "$1")/cmdline" 2>/dev/null | grep -q "$2"
}

# workers MASTER: the process ids of its workers that accept connections. A worker that stops accepting changes its title.
workers() {
	local status

	grep -ls "^PPid:	$1\$" /proc/[0-9]*/status | while IFS= read -r status; do
		grep -qs 'shutting down' "${status%status}cmdline" || basename "${status%/status}"
	done
}

# await_end_of WORKERS MASTER: until all of them have stopped accepting. Until then, a client can be shown the previous
# certificate.
await_end_of() {
	local worker rounds=0

	for worker in $1; do
		while workers "$2" | grep -qx "$worker"; do
			rounds=$((rounds + 1))
			[ "$rounds" -lt 100 ] || return 1
			sleep 0.1
		done
	done
}

# Output about a valid configuration is for the installer, not for a job's log.
quietly() {
	local said status=0
	said=$("$@" 2>&1) || status=$?
	[ "$status" -eq 0 ] || printf '%s\n' "$said" >&2
	return "$status"
}

case "$server:${1-}" in
nginx:test)
	quietly nginx -t -q -c "$nginx_conf"
	;;
nginx:reload)
	# Nothing to reload is not a failure: the server reads the new pair when it starts.
	if is_systemd; then
		is_active "$nginx_unit" || exit 0
		master=$(systemctl show --property MainPID --value "$nginx_unit")
		old=$(workers "$master")
		systemctl reload "$nginx_unit"
	else
		pid_file=/run/jidoteki-admin-api/nginx.pid
		is_running "$pid_file" nginx || exit 0
		master=$(cat "$pid_file")
		old=$(workers "$master")
		kill -HUP "$master"
	fi
	await_end_of "$old" "$master"
	;;
lighttpd:test)
	quietly lighttpd -tt -f "$lighttpd_conf"
	;;
lighttpd:reload)
	# lighttpd drops root when it starts and cannot read the key again, so it must restart.
	if is_systemd; then
		is_active "$lighttpd_unit" || exit 0
		exec systemctl restart "$lighttpd_unit"
	fi
	if [ -x "/etc/init.d/$lighttpd_unit" ]; then
		exec "/etc/init.d/$lighttpd_unit" restart
	fi
	pid_file=/run/jidoteki-admin-api/lighttpd.pid
	is_running "$pid_file" lighttpd || exit 0
	pid=$(cat "$pid_file")
	kill -INT "$pid"
	rounds=0
	# A zombie has no "exe" any more.
	while [ -e "/proc/$pid/exe" ]; do
		rounds=$((rounds + 1))
		if [ "$rounds" -eq 50 ]; then
			kill -TERM "$pid"
		fi
		sleep 0.1
	done
	exec lighttpd -f "$lighttpd_conf"
	;;
nginx:address | lighttpd:address)
	printf '127.0.0.1:%s\n' "${port:-8443}"
	;;
:test | :reload | :address) ;;
*)
	printf 'Usage: web-server.sh test|reload|address\n' >&2
	exit 2
	;;
esac
