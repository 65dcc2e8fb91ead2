#!/bin/sh
# shellcheck shell=dash
#
# The only way from the executable to a job. It has the list of all jobs and arguments, and becomes root for exactly one
# of them; sudoers has the same list (docs/JOBS.md).

set -eu

refuse() {
	printf 'wrapper.sh: %s\n' "$1" >&2
	exit 1
}

[ "$#" -le 1 ] || refuse "more than one argument"

# The ancestor's callers put the argument into the command itself ("settings static"); the executable passes it as $1.
# Both use one list.
request=${SSH_ORIGINAL_COMMAND-}${1:+ $1}

bin=$(cd "${0%/*}" && pwd -P)

case "$request" in
# Requests over SSH that are not jobs.
version | changelog)
	exec cat "${bin%/*}/etc/$request.txt"
	;;
token | update | inspect | certs | "certs confirm" | "certs undo" | "certs csr" | "certs forget" | license | storage | "storage undo" | logs | debug | services | reboot) ;;
"settings static" | "settings dhcp" | "settings confirm" | "settings undo") ;;
"backup START" | "backup STOP" | "backup RESTORE" | "backup UNDO") ;;
"tokens add" | "tokens remove") ;;
"monitor 1h" | "monitor 1d" | "monitor 1w" | "monitor 1m" | "monitor 1y") ;;
*) refuse "unknown job" ;;
esac

job=${request%% *}
# If the appliance keeps the ancestor's jobs, this is start.sh next to their wrapper.sh.
jobs=$bin/jobs
[ "${0##*/}" != start.sh ] || jobs=$bin/kept

# An absent argument stays absent: sudoers has "" for a job without one.
case "$request" in
*' '*) set -- "$jobs/$job" "${request#* }" ;;
*) set -- "$jobs/$job" ;;
esac

[ -x "$1" ] || refuse "job $job is not installed"

# Standard input is the job's lock and is passed on: sudo keeps 0, 1 and 2.
[ "$(id -u)" -ne 0 ] || exec "$@"
exec sudo -n -- "$@"
