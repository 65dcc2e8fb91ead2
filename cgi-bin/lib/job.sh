# shellcheck shell=dash
#
# What all jobs share: the lock, the log, how a job fails, how it takes its input from the web user, and how it
# installs a file. docs/JOBS.md documents each function.
#
# Descriptors: 6 is the short lock on private directories, 7 the guard (a second lock that only root can take), 8 the
# job's original standard output, which the executable reads, 9 the job's lock.

set -eu
umask 027
IFS=' 	
'
LC_ALL=C
# cron starts recover.sh with a short PATH; jidoteki-admin-jobs is in /usr/local/bin.
case ":$PATH:" in
*:/usr/local/bin:*) ;;
*) PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin ;;
esac
export LC_ALL PATH

# Standard input is the job's lock. Keep it as 9 until the job ends; commands get an empty standard input.
exec 9<&0 </dev/null 8>&1

JOB=${0##*/}
# A timer of 2.0.0 can still be waiting; this is its word.
[ "${1-}" != revert ] || set -- recover
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

# --- output ---------------------------------------------------------------------------------------

say() {
	printf '[%s][SYSTEM] %s\n' "$(date +%s)" "$1"
}

# start_log NAME: redirects all output to the job's log. A job runs even if its log cannot be written.
start_log() {
	local log="$ADMIN/log/$1"

	# If the ancestor created this directory, its group can create files here. Do not write to such a file.
	if [ -L "$log" ] || { [ -e "$log" ] && [ "$(stat -c '%u %h' "$log")" != "$(id -u) 1" ]; }; then
		rm -rf "$log"
	fi
	if [ -f "$log" ] && [ "$(stat -c %s "$log")" -gt 1048576 ]; then
		mv -fT "$log" "$log.1"
	fi
	# Create it exclusively: somebody else could have created a link with this name.
	if [ ! -e "$log" ] && (set -C && : >"$log") 2>/dev/null; then
		give_group "$log"
	fi
	if [ ! -L "$log" ] && (: >>"$log") 2>/dev/null; then
		exec >>"$log" 2>&1
	else
		exec >/dev/null 2>&1
	fi
}

# plain TEXT: makes text from a file safe for people and JSON: printable ASCII, no quotes, limited length.
plain() {
	printf '%s' "$1" | tr -c ' -~' ' ' | tr -d '"\134' | cut -c1-200
}

# --- end of a job ---------------------------------------------------------------------------------

# A job that must clean up after a failure redefines this. It runs without set -e.
on_failure() {
	:
}

# fail CODE TEXT: the code is for programs, the text for people; it must not contain a path or a secret. Never call it
# in a subshell, because the job would lose the reason.
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
		# The executable may have ended. A closed pipe must not end the job.
		(printf 'Reason: %s\n' "$FAILED_TEXT" >&8) 2>/dev/null
	fi
	[ -z "$WORK" ] || rm -rf "$WORK" "$STATE/${WORK##*/}.owner" "$ADMIN/progress/${WORK##*/}"
	case "$status $JOB" in
	'0 token' | '0 tokens' | '0 update' | '0 settings' | '0 certs' | '0 license' | '0 storage' | '0 backup')
		save_system || say "The system could not be saved: the change will be lost at the next boot"
		;;
	esac
	exit "$status"
}

# Without these, dash and busybox do not run the EXIT trap when a signal ends the job.
trap 'finish $?' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- locks and leftovers --------------------------------------------------------------------------

# guard NAME: excludes the rollback timer and jobs of this kind. Waits, because a rollback is short.
guard() {
	[ -d "$STATE" ] || mkdir -m 0700 "$STATE"
	exec 7>>"$STATE/$1.guard"
	flock 7
}

# try_guard NAME: the same without waiting, for callers that can try again later.
try_guard() {
	[ -d "$STATE" ] || return 1
	exec 7>>"$STATE/$1.guard"
	flock -n 7
}

# make_work NAME: creates the private directory $WORK. Its name is fixed, so this also removes what a killed job of this
# kind left; the job's lock ensures that it is not in use.
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

# start_progress NAME: lets commands write their progress to a file that the executable reads. If the file cannot be
# created, progress is not reported, but the job continues.
start_progress() {
	JIDO_PROGRESS=$ADMIN/progress/$1
	# A script can have replaced it by something else.
	rm -f "$JIDO_PROGRESS"
	(: >"$JIDO_PROGRESS") 2>/dev/null || JIDO_PROGRESS=/dev/null
}

# started PID: prints the start time of a process, in ticks since boot. It distinguishes processes that reuse a PID.
started() {
	local stat

	read -r stat <"/proc/$1/stat" || return 1
	# The name in parentheses can contain anything, so skip to the last parenthesis.
	stat=${stat##*) }
	# shellcheck disable=SC2086  # split on purpose: these are numbers
	set -- $stat
	printf '%s\n' "${20}"
}

# is_alive FILE: whether the process in FILE ("pid start") is running.
is_alive() {
	local pid ticks

	[ -s "$1" ] || return 1
	read -r pid ticks <"$1" || return 1
	[ -d "/proc/$pid" ] || return 1
	[ "$(started "$pid" 2>/dev/null)" = "$ticks" ]
}

# end_tree PID: ends a process and its descendants, with TERM and then KILL, and returns when they are gone.
end_tree() {
	ask end "$1"
}

stop_child() {
	[ -n "$CHILD" ] || return 0
	end_tree "$CHILD"
	CHILD=
}

# end_leftover NAME: ends a command that is still running although its job was killed.
end_leftover() {
	local pid ticks

	if is_alive "$STATE/$1.child"; then
		read -r pid ticks <"$STATE/$1.child"
		say "Ending what an interrupted $1 left running ($pid, $ticks)"
		end_tree "$pid"
	fi
	rm -f "$STATE/$1.child"
}

# --- commands -------------------------------------------------------------------------------------

# bounded SECONDS COMMAND...: runs a command without our descriptors, so that a daemon that it starts holds no lock and
# keeps no response open. A signal to the job ends the command. Returns its exit status, or 124 after the time limit,
# when all its processes were ended. (Not with timeout: busybox's leaves child processes running.)
bounded() {
	local limit="$1" status=0 ticks deadline

	shift
	deadline=$(($(uptime_seconds) + limit))
	# It records itself before it becomes the command, so that a job that is killed leaves no command unrecorded.
	(
		[ -z "$WORK" ] || record_itself >"$STATE/${WORK##*/}.child"
		"$@"
	) 7>&- 8>&- 9<&- &
	CHILD=$!
	ticks=$(started "$CHILD" 2>/dev/null || :)
	# With exec, because dash keeps copies of descriptors that it redirects for one function.
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

# record_itself: prints the PID and the start time of this process, which in a subshell $$ is not.
record_itself() {
	local pid

	read -r pid _ </proc/self/stat
	printf '%s %s\n' "$pid" "$(started "$pid")"
}

# watch_child TICKS DEADLINE: ends the child at the deadline. It is a separate process and exits after the child.
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

# hook SECONDS COMMAND...: runs a command of the image with our paths in its environment. As for the ancestor, HOME is
# /root, and other users can read the files that it creates, such as /etc/resolv.conf.
hook() {
	local limit="$1"

	shift
	# shellcheck disable=SC2016  # for the inner shell
	bounded "$limit" env JIDO_ADMIN_PATH="$ADMIN" JIDO_ETC_PATH="$ETC" HOME=/root USER=root LOGNAME=root \
		sh -c 'umask 022 && exec "$@"' sh "$@"
}

# web_server test|reload: asks the script that knows the web server, if the appliance has one.
web_server() {
	[ -x "$ADMIN/bin/web-server.sh" ] || return 0
	hook 60 "$ADMIN/bin/web-server.sh" "$1"
}

# ask COMMAND...: runs the program for jobs, which makes the decisions that scripts should not make.
ask() {
	JIDO_ADMIN_PATH="$ADMIN" JIDO_ETC_PATH="$ETC" jidoteki-admin-jobs "$@"
}

# save_system: if the system runs from memory, saves a change for the next boot. Uses the image's tool, if it has one,
# like the ancestor did after every change.
save_system() {
	local device

	if command -v symlinktool.sh >/dev/null; then
		device=$(sed 's|/||' /etc/sysconfig/backup_device) || return 1
		bounded 600 symlinktool.sh -c "$device" && bounded 600 symlinktool.sh -r "$device"
	elif command -v filetool.sh >/dev/null; then
		bounded 600 filetool.sh -b -s
	fi
}

# detach COMMAND...: runs a command that outlives the job and the web server. With systemd it gets its own unit, because
# a restart of the web server's unit ends all processes in that control group.
detach() {
	if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null 2>&1; then
		if systemd-run --quiet --collect -- "$@" 7>&- 8>&- 9<&-; then
			return 0
		fi
	fi
	setsid "$@" </dev/null >/dev/null 2>&1 7>&- 8>&- 9<&- &
}

# --- files ----------------------------------------------------------------------------------------

# flush PATH...: writes these to disk. An old sync has no operands; then it writes everything.
flush() {
	sync "$@" 2>/dev/null || sync
}

# put_file TARGET [MODE]: replaces TARGET atomically with standard input. A group that could read the previous file can
# read the new one.
put_file() {
	local target="$1" mode="${2:-0640}" directory="${1%/*}" new="$1.new" group="" place=""

	# Check each step: "set -e" is off in on_failure, where a partial file would otherwise be installed.
	# shellcheck disable=SC2046  # owner, group and mode of the directory and of the file, split on purpose
	set -- $(stat -c '%u %g %a' "$directory" "$target" 2>/dev/null)
	[ "$#" -ge 3 ] || return 1
	group=$(new_group "$@")
	case "$group:$mode:${6-}" in
	?*:0600:*[4567]?) mode=0640 ;;
	esac
	# If other users can create files in this directory, work in a private directory inside it.
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

# drop_places DIRECTORY: removes private directories that a killed job of this kind left there, but only our own.
drop_places() {
	local old

	for old in "$1/.$JOB".*; do
		if [ -d "$old" ] && [ ! -L "$old" ] && [ "$(stat -c %u "$old" 2>/dev/null)" = "$(id -u)" ]; then
			rm -rf "$old"
		fi
	done
}

# new_group UID GID MODE [UID GID MODE]: takes these of a directory and of the file to replace, if any, and prints the
# group for the new file. Prints nothing for our own directories, which have the set-group-ID bit.
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

# is_writable MODE: whether the group or other users can write.
is_writable() {
	case "$1" in
	*[2367] | *[2367]?) return 0 ;;
	esac
	return 1
}

# give_group FILE: sets the group of its directory, if the file did not inherit it.
give_group() {
	local group

	# shellcheck disable=SC2046  # split on purpose: these are numbers
	group=$(new_group $(stat -c '%u %g %a' "${1%/*}"))
	[ -z "$group" ] || chgrp "$group" "$1" || :
}

# put_link PATH TARGET: replaces a link atomically by one to TARGET in the same directory. If TARGET is gone, the old link
# is better.
put_link() {
	[ -e "${1%/*}/$2" ] || return 0
	rm -f "$1.new" && ln -s "$2" "$1.new" && mv -fT "$1.new" "$1" || return 1
	flush "${1%/*}"
}

# put_line TARGET TEXT: writes a status file of one line.
put_line() {
	printf '%s\n' "$2" | put_file "$1"
}

# is_trusted FILE: whether only the user that runs this job, normally root, can write this list.
is_trusted() {
	local owner mode

	[ -f "$1" ] || return 1
	owner=$(stat -L -c %u "$1")
	mode=$(stat -L -c %a "$1")
	[ "$owner" = "$(id -u)" ] && ! is_writable "$mode"
}

# take NAME LIMIT: moves the web user's file to $WORK and copies it there as NAME, so that not even an open descriptor
# can change it after the checks. Without such a file there is no copy, and the job decides what that means. If it is
# not a regular file, the job fails.
take() {
	local name="$1" limit="$2"

	seize "$name"
	[ -f "$WORK/seized.$name" ] || return 0
	head -c "$((limit + 1))" "$WORK/seized.$name" >"$WORK/$name"
	rm -f "$WORK/seized.$name"
	[ "$(stat -c %s "$WORK/$name")" -le "$limit" ] || fail E1000 "$name is too large"
}

# seize NAME: only moves the file, if it is too large to copy. Such a file must be read in one pass. Rename it before
# checking it: nobody else can replace a file in our directory.
seize() {
	local name="$1" file="$WORK/seized.$1"

	if [ ! -e "$UPLOADS/$name" ] && [ ! -L "$UPLOADS/$name" ]; then
		return 0
	fi
	mv -fT "$UPLOADS/$name" "$file"
	# The sweep no longer needs its record of this file.
	[ ! -e "$STATE/left.$name" ] || rm -f "$STATE/left.$name"
	if [ -L "$file" ] || [ ! -f "$file" ] || [ "$(stat -c %h "$file")" -ne 1 ]; then
		fail E1000 "$name is not a regular file"
	fi
}

# publish FILE NAME: moves our file to uploads for the executable. Other users control that directory, so the only
# operation there is one rename that follows no link. The file is on disk when this returns, so that files are published
# in order, even if the power is cut.
publish() {
	local file="$1" name="$2"

	chgrp "$(stat -c %g "$UPLOADS")" "$file"
	chmod 0640 "$file"
	# A rename cannot replace a directory, and busybox follows a link to one.
	[ ! -d "$UPLOADS/$name" ] || withdraw "$name"
	if [ "$(stat -c %d "$file")" = "$(stat -c %d "$UPLOADS")" ]; then
		flush "$file"
		mv -fT "$file" "$UPLOADS/$name"
		flush "$UPLOADS"
		return 0
	fi
	# Uploads is a separate filesystem. Copy inside a private directory there, as the working directory: somebody
	# could replace its name, but not our working directory.
	# Check each step: "set -e" is off in on_failure, and in here.
	(
		cd "$UPLOADS" || exit 1
		for old in ".$JOB".*; do
			[ "$(stat -c %u "$old" 2>/dev/null || :)" != "$(id -u)" ] || rm -rf "./$old"
		done
		place=$(mktemp -d "./.$JOB.XXXXXX") && cd "$place" || exit 1
		[ "$(stat -c '%u %a' .)" = "$(id -u) 700" ] || [ "$(stat -c '%u %a' .)" = "$(id -u) 2700" ] || exit 1
		cp -p "$file" "./$name" && flush "./$name" && mv -fT "./$name" "../$name" || exit 1
		cd .. && rmdir "$place" && flush .
	) || return 1
	rm -f "$file"
}

# withdraw NAME: removes a published file.
withdraw() {
	[ ! -d "$UPLOADS/$1" ] || [ -L "$UPLOADS/$1" ] || mv -fT "$UPLOADS/$1" "$WORK/withdrawn.$1"
	rm -f "$UPLOADS/$1"
}

# --- free space -----------------------------------------------------------------------------------

# room DIR: prints the KiB that a file there can use. A filesystem in memory, or one that reports no blocks (ramfs), is
# limited by free memory. Not with df: busybox's needs the mount point, and the filesystem of an initramfs has none.
room() {
	local free memory

	# shellcheck disable=SC2046  # three numbers, split on purpose
	set -- "$1" $(stat -f -c '%S %b %a' "$1")
	# In two parts, because the bytes of a large filesystem can be more than the shell can count.
	# shellcheck disable=SC2017
	free=$(($4 / 1024 * $2 + $4 % 1024 * $2 / 1024))
	if [ "$3" -eq 0 ] || [ "$(stat -f -c %T "$1")" = tmpfs ] || [ "$(stat -f -c %T "$1")" = ramfs ]; then
		memory=$(free_memory)
		if [ "$3" -eq 0 ] || [ "$memory" -lt "$free" ]; then
			free=$memory
		fi
	fi
	printf '%s\n' "$free"
}

free_memory() {
	local name kib rest

	while read -r name kib rest; do
		[ "$name" != MemAvailable: ] || printf '%s\n' "$kib"
	done </proc/meminfo
}

# kib FILE: prints its size in KiB, rounded up.
kib() {
	printf '%s\n' "$((($(stat -c %s "$1") + 1023) / 1024))"
}

# need_room DIR KIB [CODE]: fails if there is not enough space. Keeps 1 MiB for logs and status files.
need_room() {
	local free

	free=$(room "$1")
	[ "$free" -ge "$(($2 + 1024))" ] || fail "${3:-E1000}" "Not enough free space: $2 KiB needed, $free KiB free"
}
