#!/bin/sh
# shellcheck shell=dash
#
# Writes down, where only root can, how far the audit log has come: "jidoteki-admin-api audit verify" compares the log
# with it. The program's user can rewrite its log and the head of its chain, but not what stands here.
# Run once a minute by minute.sh. Lines: unix time, number of the last entry, its chain value.

set -eu
umask 077
LC_ALL=C
export LC_ALL

admin=$(cd "${0%/*}/.." && pwd -P)
head=$admin/state/audit
anchors=$admin/lib/audit-heads

# The folder is the program's user's: nothing in it is believed to be what it looks like, and reading it may not hang.
[ -f "$head" ] && [ ! -L "$head" ] || exit 0
now=$(timeout 5 dd if="$head" bs=200 count=1 2>/dev/null | sed -n '1s/^\([0-9]\{20\} [0-9a-f]\{64\}\)$/\1/p')
[ -n "$now" ] || exit 0

[ -d "${anchors%/*}" ] || mkdir -m 0700 "${anchors%/*}"
last=
[ ! -s "$anchors" ] || last=$(tail -n 1 "$anchors")
[ "${last#* }" != "$now" ] || exit 0

# Every second one of the older half goes when there are too many. Each vouches for all that came before it, and the
# first one never goes, so that nobody can push the old ones out by writing many entries.
if [ -s "$anchors" ] && [ "$(wc -l <"$anchors")" -ge 2000 ]; then
	awk 'NR > 1000 || NR % 2' "$anchors" >"$anchors.new"
	sync "$anchors.new" 2>/dev/null || sync
	mv -f "$anchors.new" "$anchors"
fi
printf '%s %s\n' "$(date +%s)" "$now" >>"$anchors"
