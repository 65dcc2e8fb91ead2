#!/bin/sh
# shellcheck shell=dash
#
# Records the state of the audit log where only root can write. "jidoteki-admin-api audit verify" compares the log with
# it: the program's user can rewrite the log and the head of its chain, but not this file. minute.sh runs it once a
# minute. Each line has the Unix time, the number of the last entry, and its chain value.

set -eu
umask 077
LC_ALL=C
export LC_ALL

admin=$(cd "${0%/*}/.." && pwd -P)
head=$admin/state/audit
anchors=$admin/lib/audit-heads

# The program's user controls this directory: follow no link, and limit the time of a read.
[ -f "$head" ] && [ ! -L "$head" ] || exit 0
now=$(timeout 5 dd if="$head" bs=200 count=1 2>/dev/null | sed -n '1s/^\([0-9]\{20\} [0-9a-f]\{64\}\)$/\1/p')
[ -n "$now" ] || exit 0

[ -d "${anchors%/*}" ] || mkdir -m 0700 "${anchors%/*}"
last=
[ ! -s "$anchors" ] || last=$(tail -n 1 "$anchors")
[ "${last#* }" != "$now" ] || exit 0

# If there are too many lines, remove every second one of the older half. Each line covers all entries before it, and
# the first one stays, so that nobody can displace old lines by writing many entries.
if [ -s "$anchors" ] && [ "$(wc -l <"$anchors")" -ge 2000 ]; then
	awk 'NR > 1000 || NR % 2' "$anchors" >"$anchors.new"
	sync "$anchors.new" 2>/dev/null || sync
	mv -f "$anchors.new" "$anchors"
fi
printf '%s %s\n' "$(date +%s)" "$now" >>"$anchors"
