#!/bin/sh
# shellcheck shell=dash
#
# Rolls back open changes: those that were not confirmed in time, and jobs that were interrupted by a power cut or kill.
# Runs as root at boot (before the network and the web server), once a minute by minute.sh, and by a job that waits for
# confirmation: "recover.sh --after SECONDS".
#
# Each job can roll back its own changes; "recover" does nothing while the job is running or time is left.

set -eu

jobs=$(cd "${0%/*}" && pwd -P)/jobs

if [ "${1-}" = --after ]; then
	sleep "$2"
fi

status=0
for job in settings certs storage license backup update; do
	code=0
	"$jobs/$job" recover || code=$?
	# 2 is an unknown argument: a vendor's job may know only the word of 2.0.0.
	if [ "$code" -eq 2 ]; then
		code=0
		"$jobs/$job" revert || code=$?
	fi
	[ "$code" -eq 0 ] || status=$code
done
"$jobs/sweep" || status=$?
exit "$status"
