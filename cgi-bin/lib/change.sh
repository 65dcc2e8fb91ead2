# shellcheck shell=dash
#
# A change that can be taken back: the files of before are kept, on the disk, until the change is known
# to be good, or was confirmed by somebody who can still reach the appliance.
#
#   $STATE/NAME.undo          the files of before; there from before the first change to after the last
#   etc/pending_NAME.txt      there while a confirmation is awaited: this boot and the deadline in it
#
# So .undo without pending is a job that was cut off, and pending without .undo a change that stays. Both are gone when
# nothing is open.

# tell_failed NAME REASON: how a change went, for GET. The reason first: it is asked for with the status.
tell_failed() {
	put_line "$ADMIN/etc/status_error_$1.txt" "$2"
	put_line "$ADMIN/etc/status_$1.txt" failed
}

# keep_files NAME FILE:MODE...: before the first of them changes.
keep_files() {
	local undo="$STATE/$1.undo" file number=0

	shift
	rm -rf "$undo.new"
	mkdir -m 0700 "$undo.new"
	for file in "$@"; do
		number=$((number + 1))
		printf '%s\t%s\t%s\n' "$number" "${file##*:}" "${file%:*}" >>"$undo.new/list"
		if [ -f "${file%:*}" ]; then
			cp -p "${file%:*}" "$undo.new/$number"
		fi
	done
	sync
	mv -fT "$undo.new" "$undo"
	flush "$STATE"
}

# return_files DIR: every file as it was kept; what was not there goes. May be done again, and must be where it fails: on
# a disk that is full just now. For use in a condition.
return_files() {
	local number mode path status=0

	[ -f "$1/list" ] || return 0
	while IFS='	' read -r number mode path; do
		if [ -f "$1/$number" ]; then
			put_file "$path" "$mode" <"$1/$number" || status=1
		else
			rm -f "$path" || status=1
		fi
	done <"$1/list"
	return "$status"
}

# is_to_try_again NAME: what could not be taken back now is tried again by the next minute, a few times: what it lacked,
# such as room on the disk, may come back. Where that cannot be counted it lacks just that.
MOST_TRIES=5
is_to_try_again() {
	(printf '.' >>"$STATE/$1.undo/tries") 2>/dev/null || return 0
	[ "$(stat -c %s "$STATE/$1.undo/tries")" -lt "$MOST_TRIES" ]
}

# --- confirmation ---------------------------------------------------------------------------------

boot_id() {
	cat /proc/sys/kernel/random/boot_id
}

# read_confirmation NAME: after take NAME.confirm, what the client asked for as CONFIRM_SECONDS; empty if
# it did not. (A variable, because a function in $( ) could not end the job.)
read_confirmation() {
	CONFIRM_SECONDS=
	[ -f "$WORK/$1.confirm" ] || return 0
	CONFIRM_SECONDS=$(tr -d '\r\n' <"$WORK/$1.confirm")
	case "$CONFIRM_SECONDS" in
	'' | *[!0-9]* | ?????*) fail E1000 "The time to confirm must be 10 to 3600 seconds" ;;
	esac
	[ "$CONFIRM_SECONDS" -ge 10 ] || fail E1000 "The time to confirm must be 10 to 3600 seconds"
	[ "$CONFIRM_SECONDS" -le 3600 ] || fail E1000 "The time to confirm must be 10 to 3600 seconds"
}

# await_confirmation NAME SECONDS: from now on. The timer is one of three: a process of its own here,
# bin/minute.sh, and bin/recover.sh at boot; whoever comes first finds the deadline in the file.
await_confirmation() {
	local deadline

	deadline=$(($(uptime_seconds) + $2))
	# The last one is for the executable, where systemd shows it another /proc than this.
	printf 'boot_id=%s\ndeadline=%s\nuntil=%s\n' "$(boot_id)" "$deadline" "$(($(date +%s) + $2))" | put_file "$ADMIN/etc/pending_$1.txt"
	detach "$ADMIN/bin/recover.sh" --after "$2"
	say "Waiting $2 seconds for confirmation"
}

# is_pending NAME: is a confirmation awaited, and is there time left for it?
is_pending() {
	local file="$ADMIN/etc/pending_$1.txt" deadline

	[ -d "$STATE/$1.undo" ] || return 1
	[ -f "$file" ] || return 1
	grep -qx "boot_id=$(boot_id)" "$file" || return 1
	deadline=$(sed -n 's/^deadline=\([0-9][0-9]*\)$/\1/p' "$file")
	[ -n "$deadline" ] || return 1
	[ "$(uptime_seconds)" -lt "$deadline" ]
}

# end_confirmation NAME: the time is over now. Whoever is cut off from here on has the change taken back by the minute, and
# nobody can confirm half of it.
end_confirmation() {
	printf 'boot_id=%s\ndeadline=0\nuntil=0\n' "$(boot_id)" | put_file "$ADMIN/etc/pending_$1.txt"
}

# is_open NAME: is there anything that must be settled or taken back?
is_open() {
	[ -d "$STATE/$1.undo" ] || [ -f "$ADMIN/etc/pending_$1.txt" ]
}

# settle NAME: the change stays. It is decided by one rename, which is on the disk before anybody hears of it: kept files
# that a power cut brings back would take the change back.
settle() {
	rm -rf "$STATE/$1.settled"
	[ ! -e "$STATE/$1.undo" ] || mv -fT "$STATE/$1.undo" "$STATE/$1.settled"
	rm -f "$ADMIN/etc/pending_$1.txt"
	flush "$STATE" "$ADMIN/etc"
	rm -rf "$STATE/$1.settled"
}

# complete_settle NAME: what a settle that was cut off has left to do. Under the guard.
complete_settle() {
	[ -d "$STATE/$1.undo" ] || rm -f "$ADMIN/etc/pending_$1.txt"
}

# derive KIND: makes the files of $WORK anew from the JSON among them, by the types that judged it when it came. What else
# was handed over with it is not believed: a shell of the image sources these files as root.
derive() {
	local reason

	reason=$(JIDO_ADMIN_PATH="$ADMIN" JIDO_ETC_PATH="$ETC" jidoteki-admin-jobs conf "$1" "$WORK") ||
		fail E1000 "${reason:-The settings could not be read}"
}
