#!/bin/sh
# shellcheck shell=dash
#
# Ends what was left open: a change that nobody confirmed in time, a job that was cut off by a power
# cut or kill. Run as root at boot (before the network and the web server), once a minute by minute.sh,
# and by a job that awaits a confirmation: "recover.sh --after SECONDS".
#
# Each job knows how to take back its own; "revert" does nothing while the job runs or time is left.

set -eu

jobs=$(cd "${0%/*}" && pwd -P)/jobs

if [ "${1-}" = --after ]; then
	sleep "$2"
fi

status=0
for job in settings certs storage license backup update; do
	"$jobs/$job" revert || status=$?
done
"$jobs/sweep" || status=$?
exit "$status"
