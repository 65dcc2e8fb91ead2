#!/bin/sh
# shellcheck shell=dash
#
# The one place that knows which web server this is: "test" its configuration, "reload" it, or print the
# "address" at which it answers. etc/web-server.txt says "nginx" or "lighttpd", and may say a port.

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

# At boot a server that still waits for its turn to start needs no reload, and to ask systemd for one would be to
# wait for a start that waits for us (recover.sh comes before the web servers).
is_active() {
	systemctl is-active --quiet "$1"
}

# A server of ours that was killed leaves its pid behind, so the number alone proves nothing.
is_running() {
	[ -s "$1" ] || return 1
	tr '\0' '\n' <"/proc/$(cat "$1")/cmdline" 2>/dev/null | grep -q "$2"
}

# What a server says of a configuration that it takes is for whoever installs it, not for the log of a job.
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
		exec systemctl reload "$nginx_unit"
	fi
	pid_file=/run/jidoteki-admin-api/nginx.pid
	is_running "$pid_file" nginx || exit 0
	kill -HUP "$(cat "$pid_file")"
	;;
lighttpd:test)
	quietly lighttpd -tt -f "$lighttpd_conf"
	;;
lighttpd:reload)
	# lighttpd gives up root when it starts and cannot read the key a second time: it has to restart.
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
	# One that has ended and whose parent never asks for it has no "exe" any more.
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
