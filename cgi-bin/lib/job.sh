# shellcheck shell=dash
#
# What every job has in common: its lock, its log, how it fails, how it takes what the web user left
# for it, and how it puts a file in force. docs/JOBS.md explains each function by what it promises.
#
# Descriptors: 6 is held for a moment by who makes or sweeps private directories, 7 is the guard (a second lock, only root's), 8 what the executable reads (the job's
# standard output as it came), 9 the job's lock.

set -eu
umask 027
IFS=' 	
'
LC_ALL=C
# cron starts recover.sh with less than jobs need; jidoteki-admin-jobs is in /usr/local/bin.
case ":$PATH:" in
*:/usr/local/bin:*) ;;
*) PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin ;;
esac
export LC_ALL PATH

# Standard input is our lock; we keep it as 9 for as long as we live, and our commands read nothing.
exec 9<&0 </dev/null 8>&1

JOB=${0##*/}
ADMIN=$(cd "${0%/*}/../.." && pwd -P)
ETC=${JIDO_ETC_PATH:-/usr/local/etc}
ETC=${ETC%/}
UPLOADS=$ADMIN/home/sftp/uploads
STATE=$ADMIN/lib
WORK=
CHILD=
export JIDO_PROGRESS=/dev/null
FAILED_CODE=
FAILED_TEXT=

# --- what a job says ------------------------------------------------------------------------------

say() {
	printf '[%s][SYSTEM] %s\n' "$(date +%s)" "$1"
}

# From here on all output is the job's log. A log that cannot be written is no reason to refuse work.
start_log() {
	local log="$ADMIN/log/$1"

	# Where the ancestor has made this folder, its group may make files in it: one of theirs is no log of ours.
	if [ -L "$log" ] || { [ -e "$log" ] && [ "$(stat -c '%u %h' "$log")" != "$(id -u) 1" ]; }; then
		rm -rf "$log"
	fi
	if [ -f "$log" ] && [ "$(stat -c %s "$log")" -gt 1048576 ]; then
		mv -fT "$log" "$log.1"
	fi
	# A new one must be new, or somebody has been faster with a link.
	if [ ! -e "$log" ] && (set -C && : >"$log") 2>/dev/null; then
		give_group "$log"
	fi
	if [ ! -L "$log" ] && (: >>"$log") 2>/dev/null; then
		exec >>"$log" 2>&1
	else
		exec >/dev/null 2>&1
	fi
}

# Text that came from a file and goes to a person or into JSON: printable ASCII, no quotes, bounded.
plain() {
	printf '%s' "$1" | tr -c ' -~' ' ' | tr -d '"\134' | cut -c1-200
}

# --- how a job ends -------------------------------------------------------------------------------

# A job that must put something right when it fails defines this again. It runs without set -e.
on_failure() {
	:
}

# fail CODE TEXT: the code is for programs, the text for people; it may not name a path or a secret.
# Never in a subshell: only the shell that ends can say why.
fail() {
	FAILED_CODE=$1
	FAILED_TEXT=$(plain "$2")
	exit 1
}

finish() {
	local status="$1"

	trap - EXIT
	trap '' HUP INT TERM
	set +e
	stop_child
	if [ "$status" -ne 0 ]; then
		if [ -z "$FAILED_CODE" ]; then
			FAILED_CODE=E1000
			FAILED_TEXT="Script error"
			[ "$status" -le 128 ] || FAILED_TEXT="Interrupted"
		fi
		on_failure "$FAILED_CODE" "$FAILED_TEXT"
		say "$FAILED_TEXT"
		# The executable may be gone already; its end of the pipe must not be the end of us.
		(printf 'Reason: %s\n' "$FAILED_TEXT" >&8) 2>/dev/null
	fi
	[ -z "$WORK" ] || rm -rf "$WORK" "$STATE/${WORK##*/}.owner" "$ADMIN/progress/${WORK##*/}"
	case "$status $JOB" in
	'0 token' | '0 tokens' | '0 update' | '0 settings' | '0 certs' | '0 license' | '0 storage' | '0 backup')
		save_system || say "The system could not be saved: the change is lost with the next boot"
		;;
	esac
	exit "$status"
}

# dash and busybox do not run the EXIT trap when a signal kills them.
trap 'finish $?' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- locks and leftovers --------------------------------------------------------------------------

# guard NAME: keeps the revert timer and the job of this kind apart. Waits: a revert is short.
guard() {
	[ -d "$STATE" ] || mkdir -m 0700 "$STATE"
	exec 7>>"$STATE/$1.guard"
	flock 7
}

# try_guard NAME: the same for who can as well come back later.
try_guard() {
	[ -d "$STATE" ] || return 1
	exec 7>>"$STATE/$1.guard"
	flock -n 7
}

# make_work NAME: a directory that only root can see. Its name is fixed, so whatever a killed job of
# this name left is gone now; the lock says that it is not in use.
make_work() {
	[ -d "$STATE" ] || mkdir -m 0700 "$STATE"
	[ -d "$STATE/work" ] || mkdir -m 0700 "$STATE/work"
	end_leftover "$1"
	exec 6>>"$STATE/work.guard"
	flock 6
	rm -rf "${STATE:?}/work/$1"
	printf '%s %s\n' "$$" "$(started "$$")" >"$STATE/$1.owner"
	mkdir -m 0700 "$STATE/work/$1"
	exec 6>&-
	WORK=$STATE/work/$1
	start_progress "$1"
}

# start_progress NAME: from here on what we run can write how far it is into a file that the executable reads. Where the file
# cannot be made nobody is told, and nothing fails.
start_progress() {
	JIDO_PROGRESS=$ADMIN/progress/$1
	(: >"$JIDO_PROGRESS") 2>/dev/null || JIDO_PROGRESS=/dev/null
}

# sweep_work: what jobs left that are gone. A certificate's key or half of an update must not lie there
# until somebody happens to send the next one. An update that is still to be rolled back or completed keeps its own.
sweep_work() {
	local place name

	[ -d "$STATE/work" ] || return 0
	exec 6>>"$STATE/work.guard"
	flock 6
	# After a power cut either of the two may be there without the other.
	for place in "$STATE/work"/* "$STATE"/*.owner; do
		name=${place##*/}
		name=${name%.owner}
		if [ ! -e "$place" ] || is_alive "$STATE/$name.owner"; then
			continue
		fi
		if [ "$name" = update ]; then
			[ ! -f "$STATE/update.applying" ] || continue
			[ ! -f "$STATE/update.applied" ] || continue
		fi
		end_leftover "$name"
		rm -rf "$STATE/work/$name" "$STATE/$name.owner"
	done
	exec 6>&-
}

# The start time of a process, in ticks since boot: with it a number that was used again is noticed.
started() {
	local stat

	read -r stat <"/proc/$1/stat" || return 1
	# The name in parentheses may contain anything, so everything up to the last one goes.
	stat=${stat##*) }
	# shellcheck disable=SC2086  # split on purpose: these are numbers
	set -- $stat
	printf '%s\n' "${20}"
}

# is_alive FILE: does the process that FILE speaks of ("pid start") still run?
is_alive() {
	local pid ticks

	[ -s "$1" ] || return 1
	read -r pid ticks <"$1" || return 1
	[ -d "/proc/$pid" ] || return 1
	[ "$(started "$pid" 2>/dev/null)" = "$ticks" ]
}

children() {
	local stat pid rest

	for stat in /proc/[0-9]*/stat; do
		{ read -r rest <"$stat"; } 2>/dev/null || continue
		pid=${rest%% *}
		rest=${rest##*) }
		rest=${rest#* }
		[ "${rest%% *}" != "$1" ] || printf '%s\n' "$pid"
	done
}

# end_tree PID: politely, then not. Children are looked up before their parent is gone.
end_tree() {
	local all="" pid rounds=0

	for pid in $(descendants "$1"); do
		all="$all $pid"
	done
	for pid in $all; do
		kill -TERM "$pid" 2>/dev/null || :
	done
	while any_alive "$all"; do
		rounds=$((rounds + 1))
		[ "$rounds" -le 25 ] || break
		sleep 0.2
	done
	for pid in $all; do
		kill -KILL "$pid" 2>/dev/null || :
	done
}

descendants() {
	local child

	printf '%s\n' "$1"
	for child in $(children "$1"); do
		descendants "$child"
	done
}

any_alive() {
	local pid

	for pid in $1; do
		! kill -0 "$pid" 2>/dev/null || return 0
	done
	return 1
}

stop_child() {
	[ -n "$CHILD" ] || return 0
	end_tree "$CHILD"
	CHILD=
}

# A command that outlived its killed job is ended before the next job starts.
end_leftover() {
	local pid ticks

	if is_alive "$STATE/$1.child"; then
		read -r pid ticks <"$STATE/$1.child"
		say "Ending what an interrupted $1 left running ($pid, $ticks)"
		end_tree "$pid"
	fi
	rm -f "$STATE/$1.child"
}

# --- commands of others ---------------------------------------------------------------------------

# bounded SECONDS COMMAND...: runs it with none of our descriptors, so that a daemon that it starts
# holds neither lock nor answer; a signal to us ends it. Its exit status is ours; 124 is "too long",
# and then all that it started is gone. (Not by timeout: busybox's leaves the children.)
bounded() {
	local limit="$1" status=0 ticks deadline

	shift
	deadline=$(($(uptime_seconds) + limit))
	"$@" 7>&- 8>&- 9<&- &
	CHILD=$!
	ticks=$(started "$CHILD" 2>/dev/null || :)
	[ -z "$WORK" ] || printf '%s %s\n' "$CHILD" "$ticks" >"$STATE/${WORK##*/}.child"
	# By exec, for good: dash keeps copies of what it redirects for the time of one function.
	(
		exec </dev/null >/dev/null 2>&1 7>&- 8>&- 9<&-
		watch_child "$ticks" "$deadline"
	) &
	wait "$CHILD" || status=$?
	CHILD=
	[ -z "$WORK" ] || rm -f "$STATE/${WORK##*/}.child"
	if [ "$status" -gt 128 ] && [ "$(uptime_seconds)" -ge "$deadline" ]; then
		status=124
	fi
	return "$status"
}

# A process of its own, which goes when the child has gone. Nobody has to tell it, so nobody can fail to.
watch_child() {
	[ -n "$1" ] || return 0
	while [ "$(started "$CHILD")" = "$1" ]; do
		if [ "$(uptime_seconds)" -ge "$2" ]; then
			end_tree "$CHILD"
			return 0
		fi
		sleep 1
	done
}

uptime_seconds() {
	local up

	read -r up </proc/uptime
	printf '%s\n' "${up%%.*}"
}

# hook SECONDS COMMAND...: a command of the image, which is told where it is. It runs as the ancestor ran it: root is at
# home, and others can read what it makes, such as /etc/resolv.conf.
hook() {
	local limit="$1"

	shift
	# shellcheck disable=SC2016  # for the inner shell
	bounded "$limit" env JIDO_ADMIN_PATH="$ADMIN" JIDO_ETC_PATH="$ETC" HOME=/root USER=root LOGNAME=root \
		sh -c 'umask 022 && exec "$@"' sh "$@"
}

# ask COMMAND...: lets the program for jobs judge what scripts should not.
ask() {
	JIDO_ADMIN_PATH="$ADMIN" JIDO_ETC_PATH="$ETC" jidoteki-admin-jobs "$@"
}

# save_system: where the system lives in memory, a change is there after the next boot only if it is saved. The tool of
# the image does, if there is one, as it did for the ancestor after every change.
save_system() {
	local device

	if command -v symlinktool.sh >/dev/null; then
		device=$(sed 's|/||' /etc/sysconfig/backup_device) || return 1
		bounded 600 symlinktool.sh -c "$device" && bounded 600 symlinktool.sh -r "$device"
	elif command -v filetool.sh >/dev/null; then
		bounded 600 filetool.sh -b -s
	fi
}

# detach COMMAND...: outlives the job, the web server and whoever else; in a unit of its own where
# systemd runs, because a restart of the web server's unit would take its whole control group along.
detach() {
	if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null 2>&1; then
		if systemd-run --quiet --collect -- "$@" 7>&- 8>&- 9<&-; then
			return 0
		fi
	fi
	setsid "$@" </dev/null >/dev/null 2>&1 7>&- 8>&- 9<&- &
}

# --- files ----------------------------------------------------------------------------------------

# flush PATH...: on the disk before we go on. An old sync knows no operands and takes everything.
flush() {
	sync "$@" 2>/dev/null || sync
}

# put_file TARGET [MODE]: standard input becomes TARGET, whole or not at all. A group that could read the file that was
# there can read this one.
put_file() {
	local target="$1" mode="${2:-0640}" directory="${1%/*}" new="$1.new" group="" place=""

	# Each step by its own word and not by "set -e", which is off in on_failure: there half a file would come into force.
	# shellcheck disable=SC2046  # owner, group and mode of the folder and then of the file, split on purpose
	set -- $(stat -c '%u %g %a' "$directory" "$target" 2>/dev/null)
	[ "$#" -ge 3 ] || return 1
	group=$(new_group "$@")
	case "$group:$mode:${6-}" in
	?*:0600:*[4567]?) mode=0640 ;;
	esac
	# In a folder where others can make files, a name is ours only inside a folder of ours.
	if [ "$1" != "$(id -u)" ] || is_writable "$3"; then
		drop_places "$directory"
		place=$(mktemp -d "$directory/.$JOB.XXXXXX") || return 1
		new=$place/new
	fi
	rm -f "$new" || return 1
	if ! { (umask 077 && cat >"$new") && { [ -z "$group" ] || chgrp "$group" "$new"; } && chmod "$mode" "$new" && flush "$new"; }; then
		rm -rf "$new" "$place"
		return 1
	fi
	mv -fT "$new" "$target" || return 1
	[ -z "$place" ] || rmdir "$place"
	flush "$directory"
}

# drop_places FOLDER: what a killed job of this name has left of its folders there. Those of others are not ours to touch.
drop_places() {
	local old

	for old in "$1/.$JOB".*; do
		if [ -d "$old" ] && [ ! -L "$old" ] && [ "$(stat -c %u "$old" 2>/dev/null)" = "$(id -u)" ]; then
			rm -rf "$old"
		fi
	done
}

# new_group UID GID MODE [UID GID MODE]: of a folder, and of the file in it that is replaced, if there is one; prints the
# group that the new file must be given. Nothing in folders of our own, which have the set-group-ID bit.
new_group() {
	case "$3" in
	[2367]???) return 0 ;;
	esac
	if [ "$2" -ne 0 ]; then
		printf '%s\n' "$2"
	elif [ "${5:-0}" -ne 0 ] && [ "$4" = "$(id -u)" ] && ! is_writable "$6"; then
		printf '%s\n' "$5"
	fi
}

# is_writable MODE: for others than the owner?
is_writable() {
	case "$1" in
	*[2367] | *[2367]?) return 0 ;;
	esac
	return 1
}

# give_group FILE: the group of its folder, if that does not come by itself.
give_group() {
	local group

	# shellcheck disable=SC2046  # split on purpose: these are numbers
	group=$(new_group $(stat -c '%u %g %a' "${1%/*}"))
	[ -z "$group" ] || chgrp "$group" "$1" || :
}

# put_line TARGET TEXT: a status of one line.
put_line() {
	printf '%s\n' "$2" | put_file "$1"
}

# is_trusted FILE: may a root job believe it? A list that the web user could write is not a list.
is_trusted() {
	local owner mode

	[ -f "$1" ] || return 1
	owner=$(stat -L -c %u "$1")
	mode=$(stat -L -c %a "$1")
	[ "$owner" = "$(id -u)" ] && ! is_writable "$mode"
}

# take NAME LIMIT: moves what the web user left for us out of its reach and copies it, so that not even
# a descriptor still open can change what is checked afterwards. The copy is $WORK/NAME; where there was
# nothing there is no copy, and the job decides what that means. Anything but a plain file ends the job.
take() {
	local name="$1" limit="$2"

	seize "$name"
	[ -f "$WORK/seized.$name" ] || return 0
	head -c "$((limit + 1))" "$WORK/seized.$name" >"$WORK/$name"
	rm -f "$WORK/seized.$name"
	[ "$(stat -c %s "$WORK/$name")" -le "$limit" ] || fail E1000 "$name is too large"
}

# seize NAME: the first half of take, for what is too large to copy and is read in one pass only.
# Rename first and look afterwards: in our directory nobody changes what a name stands for.
seize() {
	local name="$1" file="$WORK/seized.$1"

	if [ ! -e "$UPLOADS/$name" ] && [ ! -L "$UPLOADS/$name" ]; then
		return 0
	fi
	mv -fT "$UPLOADS/$name" "$file"
	# The sweep need not remember any more that it lay there.
	[ ! -e "$STATE/left.$name" ] || rm -f "$STATE/left.$name"
	if [ -L "$file" ] || [ ! -f "$file" ] || [ "$(stat -c %h "$file")" -ne 1 ]; then
		fail E1000 "$name is not a regular file"
	fi
}

# publish FILE NAME: hands a file of ours to the executable. Uploads is hostile ground, so the only
# thing we do there is one rename that follows nothing. It is on the disk when this returns, so that what is published
# first is there first, also after a power cut.
publish() {
	local file="$1" name="$2"

	chgrp "$(stat -c %g "$UPLOADS")" "$file"
	chmod 0640 "$file"
	# No rename replaces a directory, and busybox takes a link to one for one.
	[ ! -d "$UPLOADS/$name" ] || withdraw "$name"
	if [ "$(stat -c %d "$file")" = "$(stat -c %d "$UPLOADS")" ]; then
		flush "$file"
		mv -fT "$file" "$UPLOADS/$name"
		flush "$UPLOADS"
		return 0
	fi
	# Uploads is a filesystem of its own. We copy inside a directory of root's there and stand in it,
	# because its name could be given to something else behind our back; where we stand could not.
	(
		cd "$UPLOADS"
		for old in ".$JOB".*; do
			[ "$(stat -c %u "$old" 2>/dev/null || :)" != "$(id -u)" ] || rm -rf "./$old"
		done
		place=$(mktemp -d "./.$JOB.XXXXXX")
		cd "$place"
		[ "$(stat -c '%u %a' .)" = "$(id -u) 700" ] || [ "$(stat -c '%u %a' .)" = "$(id -u) 2700" ]
		cp -p "$file" "./$name"
		flush "./$name"
		mv -fT "./$name" "../$name"
		cd ..
		rmdir "$place"
		flush .
	)
	rm -f "$file"
}

# withdraw NAME: the executable shall not find it any more.
withdraw() {
	[ ! -d "$UPLOADS/$1" ] || [ -L "$UPLOADS/$1" ] || mv -fT "$UPLOADS/$1" "$WORK/withdrawn.$1"
	rm -f "$UPLOADS/$1"
}

# --- room -----------------------------------------------------------------------------------------

# space DIR: KiB of its filesystem in all, in use, and free for us. Not by df: that of busybox looks for where it is mounted,
# and what an initramfs was unpacked into is mounted nowhere.
space() {
	stat -f -c '%S %b %f %a' "$1" | awk '{ printf "%.0f %.0f %.0f\n", $1 * $2 / 1024, $1 * ($2 - $3) / 1024, $1 * $4 / 1024 }'
}

# room DIR: KiB that a file there may grow to. A filesystem that says it has no blocks (ramfs) and one
# that lives in memory can take no more than the memory that is free.
room() {
	local total free memory

	# shellcheck disable=SC2046  # three numbers, split on purpose
	set -- "$1" $(space "$1")
	total=$2
	free=$4
	if [ "$total" -eq 0 ] || [ "$(stat -f -c %T "$1")" = tmpfs ] || [ "$(stat -f -c %T "$1")" = ramfs ]; then
		memory=$(free_memory)
		if [ "$total" -eq 0 ] || [ "$memory" -lt "$free" ]; then
			free=$memory
		fi
	fi
	printf '%s\n' "$free"
}

free_memory() {
	awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo
}

# kib FILE: its size, rounded up.
kib() {
	printf '%s\n' "$((($(stat -c %s "$1") + 1023) / 1024))"
}

# need_room DIR KIB [CODE]: 1 MiB stays free for logs and status files, or nobody would learn how it went.
need_room() {
	local free

	free=$(room "$1")
	[ "$free" -ge "$(($2 + 1024))" ] || fail "${3:-E1000}" "Not enough free space: $2 KiB needed, $free KiB free"
}
