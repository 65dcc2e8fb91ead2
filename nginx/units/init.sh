#!/bin/sh
# shellcheck shell=dash
### BEGIN INIT INFO
# Provides:          jidoteki-admin-api
# Required-Start:    $local_fs $remote_fs
# Required-Stop:     $local_fs $remote_fs
# Should-Start:      $network
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Admin API of the appliance
# Description:       The web server of the admin API on port @PORT@, and fcgiwrap, which starts the program.
### END INIT INFO
#
# For machines without systemd; with systemd, the unit of the same name takes precedence. install.sh generates this from
# nginx/units/init.sh.
#
#     jidoteki-admin-api start | stop | restart | reload | status
#
# Jobs outlive "stop" and "restart": only processes in our pid files are stopped.

set -eu
umask 022
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

RUN=@RUN@
LOG=@LOG@
SERVER=$(cat @ADMIN@/etc/web-server.txt)

fail() {
	printf 'jidoteki-admin-api: %s\n' "$1" >&2
	exit 1
}

# Prints the process in the pid file, if it is alive and is the program that we started.
running() { # running PIDFILE PROGRAM
	local pid
	[ -r "$1" ] || return 1
	# spawn-fcgi writes no final newline, which read reports as a failure.
	read -r pid <"$1" || [ -n "$pid" ] || return 1
	case $pid in
	'' | *[!0-9]*) return 1 ;;
	esac
	case $(readlink "/proc/$pid/exe" 2>/dev/null) in
	"$2" | "$2 (deleted)") printf '%s\n' "$pid" ;;
	*) return 1 ;;
	esac
}

# Waits until the process has ended. If stop returned before, the next start would find the port in use. A zombie has no
# "exe"; it does not matter whether its parent waits for it.
await_end() { # await_end PID
	local n=0
	while [ -e "/proc/$1/exe" ]; do
		n=$((n + 1))
		[ "$n" -le 100 ] || return 1
		sleep 0.1
	done
}

start_fcgiwrap() {
	local pid
	if pid=$(running "$RUN/fcgiwrap.pid" /usr/sbin/fcgiwrap); then
		return 0
	fi
	rm -f "$RUN/fcgi.sock"
	# -c: one slow request must not block the others. -p: start nothing except the program. No -f: the program's
	# messages go to our log. With -f, nginx would write them to its own error log, together with the request line and
	# its credentials. The socket is only for the workers of our nginx: a client of it chooses every parameter
	# of a request.
	spawn-fcgi -s "$RUN/fcgi.sock" -M 0600 -u @USER@ -g @GROUP@ -U @WEB_USER@ -G @WEB_GROUP@ -P "$RUN/fcgiwrap.pid" \
		-- /usr/sbin/fcgiwrap -c @WORKERS@ -p @BINARY@ </dev/null >>"$LOG/error.log" 2>&1 ||
		fail "spawn-fcgi could not start fcgiwrap: see $LOG/error.log"
}

# The workers do not end with their parent and cannot be found afterwards, so look them up before.
stop_fcgiwrap() {
	local pid worker workers
	pid=$(running "$RUN/fcgiwrap.pid" /usr/sbin/fcgiwrap) || return 0
	workers=$(children "$pid")
	kill -TERM "$pid"
	for worker in $workers; do
		# A process that has already ended needs no signal.
		kill -TERM "$worker" 2>/dev/null || :
	done
	await_end "$pid" || fail "fcgiwrap did not stop (process $pid)"
	rm -f "$RUN/fcgiwrap.pid" "$RUN/fcgi.sock"
}

children() { # children PID
	local status parent
	for status in /proc/[0-9]*/status; do
		parent=$(sed -n 's/^PPid:[^0-9]*//p' "$status" 2>/dev/null) || continue
		[ "$parent" != "$1" ] || printf '%s\n' "$status" | tr -dc '0-9\n'
	done
}

# Removes everything in a directory. Not every busybox supports find -delete.
empty() { # empty DIRECTORY
	find "$1" -mindepth 1 -maxdepth 1 -exec rm -rf {} +
}

# Creates directories that a boot removes if /run or /var/log is in memory. lighttpd opens its logs as the API user,
# which cannot create a file there.
prepare() {
	local log
	mkdir -p "$RUN" "$LOG" @SPOOL@ @BODIES@
	chmod 755 "$RUN"
	chown root:@GROUP@ "$LOG"
	chmod 2750 "$LOG"
	for log in error access lighttpd nginx; do
		: >>"$LOG/$log.log"
		chown root:@GROUP@ "$LOG/$log.log"
		chmod 660 "$LOG/$log.log"
	done
	# Bodies that lighttpd spools have a total limit, and those of a killed lighttpd are removed.
	umount @SPOOL@ 2>/dev/null || :
	empty @SPOOL@
	mount -t tmpfs -o size=160m,nr_inodes=10k,nosuid,nodev,noexec tmpfs @SPOOL@ 2>/dev/null ||
		printf 'jidoteki-admin-api: cannot mount @SPOOL@, so lighttpd can store bodies there without a limit\n' >&2
	chown @USER@:@GROUP@ @SPOOL@
	chmod 700 @SPOOL@
	chown @WEB_USER@:@WEB_GROUP@ @BODIES@
	chmod 700 @BODIES@
}

start() {
	prepare
	# Roll back changes that were not confirmed or were interrupted before the machine went down. Nothing to roll back
	# is no failure.
	if [ -x @ADMIN@/bin/recover.sh ]; then
		@ADMIN@/bin/recover.sh </dev/null || printf 'jidoteki-admin-api: recover.sh failed\n' >&2
	fi
	# An appliance whose image was migrated serves its old certificate from the first start on.
	if [ -x @ADMIN@/bin/jobs/old-certificate ]; then
		@ADMIN@/bin/jobs/old-certificate </dev/null || printf 'jidoteki-admin-api: old-certificate failed\n' >&2
	fi
	@ADMIN@/bin/self-signed.sh @TLS@
	case $SERVER in
	nginx)
		start_fcgiwrap
		if ! running "$RUN/nginx.pid" /usr/sbin/nginx >/dev/null; then
			# A killed process leaves incomplete bodies.
			empty @BODIES@
			nginx -c @CONF@/nginx.conf </dev/null || fail "nginx did not start: see $LOG/nginx.log"
		fi
		;;
	lighttpd)
		if ! running "$RUN/lighttpd.pid" /usr/sbin/lighttpd >/dev/null; then
			lighttpd -f @CONF@/lighttpd.conf </dev/null || fail "lighttpd did not start: see $LOG/lighttpd.log"
		fi
		;;
	*) fail "@ADMIN@/etc/web-server.txt: expected nginx or lighttpd" ;;
	esac
}

stop() {
	# On these signals a server releases the port at once, and ends after its last request.
	stop_server nginx QUIT
	stop_server lighttpd INT
	stop_fcgiwrap
	umount @SPOOL@ 2>/dev/null || :
}

stop_server() { # stop_server NAME SIGNAL
	local pid
	pid=$(running "$RUN/$1.pid" "/usr/sbin/$1") || return 0
	kill -s "$2" "$pid"
	if ! await_end "$pid"; then
		kill -TERM "$pid"
		await_end "$pid" || fail "$1 did not stop (process $pid)"
	fi
	rm -f "$RUN/$1.pid"
}

reload_nginx() {
	local pid
	nginx -t -q -c @CONF@/nginx.conf || fail "nginx refuses its configuration; see its message above"
	pid=$(running "$RUN/nginx.pid" /usr/sbin/nginx) || fail "nginx is not running"
	kill -HUP "$pid"
}

# After a change of the certificate. lighttpd is restarted, because it can no longer read the key.
reload() {
	case $SERVER in
	nginx) reload_nginx ;;
	lighttpd)
		stop
		start
		;;
	esac
}

status() {
	local pid
	case $SERVER in
	nginx)
		pid=$(running "$RUN/fcgiwrap.pid" /usr/sbin/fcgiwrap) || fail "fcgiwrap is not running"
		running "$RUN/nginx.pid" /usr/sbin/nginx >/dev/null || fail "nginx is not running"
		printf 'jidoteki-admin-api is running (fcgiwrap, process %s, and nginx)
' "$pid"
		;;
	*)
		pid=$(running "$RUN/lighttpd.pid" /usr/sbin/lighttpd) || fail "lighttpd is not running"
		printf 'jidoteki-admin-api is running (lighttpd, process %s)\n' "$pid"
		;;
	esac
}

# Under systemd, pass the command to systemd: scripts for the ancestor control a service by its init script.
by_systemd() { # by_systemd COMMAND UNIT...
	local command="$1" unit
	shift
	[ "$command" = status ] || exec systemctl "$command" "$@"
	for unit in "$@"; do
		systemctl -q is-active "$unit" || fail "jidoteki-admin-api is not running"
	done
	printf 'jidoteki-admin-api is running\n'
}

# With nginx, a socket starts fcgiwrap.
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
	case $SERVER:${1-} in
	nginx:status) by_systemd status jidoteki-admin-api.socket jidoteki-admin-api-nginx.service ;;
	nginx:start | nginx:stop | nginx:restart) by_systemd "$1" jidoteki-admin-api.service jidoteki-admin-api-nginx.service ;;
	*:status | *:start | *:stop | *:restart) by_systemd "$1" jidoteki-admin-api.service ;;
	*:reload | *:force-reload) exec @ADMIN@/bin/web-server.sh reload ;;
	*) fail "usage: jidoteki-admin-api start|stop|restart|reload|status" ;;
	esac
	exit 0
fi

case ${1-} in
start) start ;;
stop) stop ;;
restart)
	stop
	start
	;;
reload | force-reload) reload ;;
status) status ;;
*) fail "usage: jidoteki-admin-api start|stop|restart|reload|status" ;;
esac
