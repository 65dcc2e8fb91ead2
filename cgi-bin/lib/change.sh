# shellcheck shell=dash
#
# A change that can be rolled back: the previous files are saved on disk until the change has succeeded, or was
# confirmed by a client that can still reach the appliance.
#
#   $STATE/NAME.undo          the previous files; exists from before the first change until after the last
#   etc/pending_NAME.txt      exists while the change waits for confirmation: boot id and deadline
#
# Therefore, .undo without pending is an interrupted job, and pending without .undo is a final change. When nothing is
# open, both are gone.

# tell_failed NAME REASON: writes the result of a change, for GET. The reason first, because it is read with the status.
tell_failed() {
	put_line "$ADMIN/etc/status_error_$1.txt" "$2"
	put_line "$ADMIN/etc/status_$1.txt" failed
}

# keep_files NAME FILE:MODE...: saves the files before the first of them changes.
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

# return_files DIR: restores every saved file, and removes those that did not exist. Can be repeated, and must be if it
# fails, as on a full disk. For use in a condition.
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

# should_retry NAME: whether the next minute should repeat a failed rollback, up to a few times: the problem, such as
# a full disk, may be solved meanwhile. If the count cannot be written, the disk is full.
MAX_TRIES=5
should_retry() {
	(printf '.' >>"$STATE/$1.undo/tries") 2>/dev/null || return 0
	[ "$(stat -c %s "$STATE/$1.undo/tries")" -lt "$MAX_TRIES" ]
}

# --- confirmation ---------------------------------------------------------------------------------

boot_id() {
	cat /proc/sys/kernel/random/boot_id
}

# read_confirmation NAME: after take NAME.confirm, sets CONFIRM_SECONDS to the client's deadline; empty without one. (A
# variable, because a function in $( ) could not end the job.)
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

# await_confirmation NAME SECONDS: starts the deadline. There are three timers: a process of its own here,
# bin/minute.sh, and bin/recover.sh at boot. The first one after the deadline rolls back.
await_confirmation() {
	local deadline

	deadline=$(($(uptime_seconds) + $2))
	# The last line is for the executable, for which systemd mounts another /proc.
	printf 'boot_id=%s\ndeadline=%s\nuntil=%s\n' "$(boot_id)" "$deadline" "$(($(date +%s) + $2))" | put_file "$ADMIN/etc/pending_$1.txt"
	detach "$ADMIN/bin/recover.sh" --after "$2"
	say "Waiting $2 seconds for confirmation"
}

# is_pending NAME: whether a change waits for confirmation and has time left.
is_pending() {
	local file="$ADMIN/etc/pending_$1.txt" deadline

	[ -d "$STATE/$1.undo" ] || return 1
	[ -f "$file" ] || return 1
	grep -qx "boot_id=$(boot_id)" "$file" || return 1
	deadline=$(sed -n 's/^deadline=\([0-9][0-9]*\)$/\1/p' "$file")
	[ -n "$deadline" ] || return 1
	[ "$(uptime_seconds)" -lt "$deadline" ]
}

# end_confirmation NAME: ends the deadline now. If this job is interrupted from here on, the minute job rolls back, and
# nobody can confirm half of the change.
end_confirmation() {
	printf 'boot_id=%s\ndeadline=0\nuntil=0\n' "$(boot_id)" | put_file "$ADMIN/etc/pending_$1.txt"
}

# is_open NAME: whether anything must be settled or rolled back.
is_open() {
	[ -d "$STATE/$1.undo" ] || [ -f "$ADMIN/etc/pending_$1.txt" ]
}

# settle NAME: makes the change final, by one rename that is flushed before it is reported. Otherwise a power cut could
# bring back the saved files, and they would be restored.
settle() {
	rm -rf "$STATE/$1.settled"
	[ ! -e "$STATE/$1.undo" ] || mv -fT "$STATE/$1.undo" "$STATE/$1.settled"
	rm -f "$ADMIN/etc/pending_$1.txt"
	flush "$STATE" "$ADMIN/etc"
	rm -rf "$STATE/$1.settled"
}

# complete_settle NAME: completes an interrupted settle. Needs the guard.
complete_settle() {
	[ -d "$STATE/$1.undo" ] || rm -f "$ADMIN/etc/pending_$1.txt"
}

# derive KIND: derives the files in $WORK from the JSON there, with the types that first checked it. Other files from
# uploads are not trusted: a shell of the image sources these files as root.
derive() {
	local reason

	reason=$(JIDO_ADMIN_PATH="$ADMIN" JIDO_ETC_PATH="$ETC" jidoteki-admin-jobs conf "$1" "$WORK") ||
		fail E1000 "${reason:-The settings could not be read}"
}
