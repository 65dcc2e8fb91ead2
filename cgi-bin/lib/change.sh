# shellcheck shell=dash
#
# A change that can be rolled back. A job keeps the previous files, changes them, and settles the change. If the job
# fails, is interrupted, or its change is not confirmed in time, the change is rolled back.
#
#   $STATE/JOB.undo          the previous files; exists from before the first change until after the last
#   etc/pending_JOB.txt      exists while the change waits for confirmation: boot id and deadline
#
# Therefore, .undo without pending is an interrupted job, and pending without .undo is a settled change. When nothing is
# open, both are gone.
#
# The job sets CHANGE, the words for what it changes. It can redefine the functions of the next section.

# shellcheck disable=SC2034  # for the job
ACTION=${1-}
UNDO=$STATE/$JOB.undo
PENDING=$ADMIN/etc/pending_$JOB.txt
CHANGE=
# Not empty while a failure of this job is a failed change.
CHANGING=
CONFIRM_SECONDS=

# --- what a job can redefine ----------------------------------------------------------------------

# apply_previous: makes restored files take effect. For use in a condition.
apply_previous() {
	:
}

# after_settle: removes what only an open change needs.
after_settle() {
	:
}

# adopt: takes over what 2.0.0 left open, if it had another form. Needs the guard.
adopt() {
	:
}

put_status() {
	put_line "$ADMIN/etc/status_$JOB.txt" "$1"
}

has_status() {
	[ "$(cat "$ADMIN/etc/status_$JOB.txt" 2>/dev/null)" = "$1" ]
}

# tell_failed REASON: the reason first, because it is read with the status.
tell_failed() {
	put_line "$ADMIN/etc/status_error_$JOB.txt" "$1" && put_status failed
}

# A pending change is not rolled back because another job failed.
on_failure() {
	[ -n "$CHANGING" ] || return 0
	[ ! -d "$UNDO" ] || [ -f "$PENDING" ] || roll_back
	tell_failed "$2"
	say "Failed updating $CHANGE"
}

# --- keep, roll back, settle ----------------------------------------------------------------------

# keep FILE:MODE...: saves the files before the first of them changes. The mode of a link is "link".
keep() {
	local path mode number=0

	begin_keep
	for path in "$@"; do
		mode=${path##*:}
		path=${path%:*}
		number=$((number + 1))
		printf '%s\t%s\t%s\n' "$number" "$mode" "$path" >>"$UNDO.new/list"
		if [ "$mode" != link ]; then
			[ ! -f "$path" ] || cp -p "$path" "$UNDO.new/$number"
		elif [ -L "$path" ]; then
			readlink "$path" >"$UNDO.new/$number"
		fi
	done
	end_keep
}

# begin_keep, end_keep: in between, a job can save something else in $UNDO.new. It is on disk, as a whole, before the
# change begins.
begin_keep() {
	rm -rf "$UNDO.new"
	mkdir -m 0700 "$UNDO.new"
}

end_keep() {
	sync
	mv -fT "$UNDO.new" "$UNDO"
	flush "$STATE"
}

# restore_files DIR: restores every file that keep saved, and removes those that did not exist. Can be repeated, and must
# be if it fails, as on a full disk. For use in a condition.
restore_files() {
	local number mode path target status=0

	[ -f "$1/list" ] || return 0
	while IFS='	' read -r number mode path; do
		if [ ! -f "$1/$number" ]; then
			rm -f "$path" || status=1
		elif [ "$mode" = link ]; then
			{ read -r target <"$1/$number" && put_link "$path" "$target"; } || status=1
		else
			put_file "$path" "$mode" <"$1/$number" || status=1
		fi
	done <"$1/list"
	return "$status"
}

# roll_back [STATUS]: restores the saved files and makes them take effect. If that fails, the next minute tries again.
# Writes the status before the change stops being pending, so that nobody takes rolled-back values for current ones. For
# use in a condition, so it checks each step.
roll_back() {
	local are_restored=yes is_applied=yes

	restore_files "$UNDO" || are_restored=
	apply_previous || is_applied=
	if [ -z "$are_restored" ] || { [ -z "$is_applied" ] && should_retry; }; then
		say "The previous $CHANGE cannot be restored now: trying again in a minute"
		return 1
	fi
	[ -z "${1-}" ] || put_status "$1" || return 1
	settle || return 1
	if [ -n "$is_applied" ]; then
		say "Rolled back to the previous $CHANGE"
	else
		say "The previous $CHANGE could not be applied: giving up"
	fi
}

# should_retry: whether to apply the previous files again, up to a few times: the problem, such as a full disk, may be
# solved meanwhile. If the count cannot be written, the disk is full. Saved files are never given up.
MAX_TRIES=5
should_retry() {
	(printf '.' >>"$UNDO/tries") 2>/dev/null || return 0
	[ "$(stat -c %s "$UNDO/tries")" -lt "$MAX_TRIES" ]
}

# settle [DIR]: ends the change, by one rename that is flushed before it is reported. Otherwise a power cut could bring
# back the saved files, and they would be restored. A job that still needs them gets them as DIR.
settle() {
	local settled="${1:-$STATE/$JOB.settled}"

	rm -rf "$settled"
	[ ! -e "$UNDO" ] || mv -fT "$UNDO" "$settled" || return 1
	rm -f "$PENDING" || return 1
	flush "$STATE" "$ADMIN/etc"
	[ -n "${1-}" ] || rm -rf "$settled"
	after_settle
}

# complete_settle: completes an interrupted settle. Needs the guard.
complete_settle() {
	adopt
	[ -d "$UNDO" ] || rm -f "$PENDING"
	rm -rf "$UNDO.new" "$STATE/$JOB.settled"
}

# is_left: whether an interrupted job left anything of a change.
is_left() {
	is_open || [ -d "$UNDO.new" ] || [ -d "$STATE/$JOB.settled" ]
}

# is_open: whether anything must be settled or rolled back.
is_open() {
	[ -d "$UNDO" ] || [ -f "$PENDING" ]
}

# --- the steps of a job ---------------------------------------------------------------------------

# begin_change: excludes other changes of this kind. From here on, a failure is told and rolled back.
begin_change() {
	start_log "update_$JOB.log"
	guard "$JOB"
	complete_settle
	CHANGING=yes
	make_work "$JOB"
}

# close_last: rolls back what an interrupted job left, before a new change. A change that waits for confirmation stays.
close_last() {
	is_open || return 0
	! is_pending || fail E1004 "A change of $CHANGE is waiting for confirmation"
	say "The last change of $CHANGE was interrupted"
	roll_back || fail E1002 "The previous $CHANGE cannot be restored now"
}

# begin_status: the result of the last change is outdated.
begin_status() {
	rm -f "$ADMIN/etc/status_error_$JOB.txt"
	put_status running
}

# end_change STATUS [DIR]: settles the change, or lets it wait for confirmation. The status is written while a rollback is
# still possible: if it cannot be written, the previous files return and "failed" is true.
end_change() {
	put_status "$1"
	if [ -n "$CONFIRM_SECONDS" ]; then
		await_confirmation
	else
		settle ${2:+"$2"}
	fi
}

# recover: for bin/recover.sh. Rolls back a change that was interrupted or not confirmed in time.
recover() {
	local reason="The change of $CHANGE was not completed"

	is_left || has_status running || return 0
	try_guard "$JOB" || return 0
	complete_settle
	if ! is_open; then
		# Everything is restored, but the disk had no space for the final status.
		! has_status running || tell_failed "$reason"
		return 0
	fi
	! is_pending || return 0
	[ ! -f "$PENDING" ] || reason="The change of $CHANGE was not confirmed in time"
	start_log "update_$JOB.log"
	make_work "$JOB"
	say "$reason"
	# Write the status first: once the saved files are gone, nothing brings us back here. Write it again in case the disk
	# was full. Until then, "running" is reported as interrupted, which is also true.
	has_status running || tell_failed "$reason" || :
	roll_back || return 0
	tell_failed "$reason"
}

# --- confirmation ---------------------------------------------------------------------------------

boot_id() {
	cat /proc/sys/kernel/random/boot_id
}

# read_confirmation: after take JOB.confirm, sets CONFIRM_SECONDS to the client's deadline; empty without one. (A
# variable, because a function in $( ) could not end the job.)
read_confirmation() {
	CONFIRM_SECONDS=
	[ -f "$WORK/$JOB.confirm" ] || return 0
	CONFIRM_SECONDS=$(tr -d '\r\n' <"$WORK/$JOB.confirm")
	case "$CONFIRM_SECONDS" in
	'' | *[!0-9]* | ?????*) fail E1000 "The time to confirm must be 10 to 3600 seconds" ;;
	esac
	[ "$CONFIRM_SECONDS" -ge 10 ] || fail E1000 "The time to confirm must be 10 to 3600 seconds"
	[ "$CONFIRM_SECONDS" -le 3600 ] || fail E1000 "The time to confirm must be 10 to 3600 seconds"
}

# await_confirmation: starts the deadline. There are three timers: a process of its own here, bin/minute.sh, and
# bin/recover.sh at boot. The first one after the deadline rolls back.
await_confirmation() {
	local deadline

	deadline=$(($(uptime_seconds) + CONFIRM_SECONDS))
	# The last line is for the executable, for which systemd mounts another /proc.
	printf 'boot_id=%s\ndeadline=%s\nuntil=%s\n' "$(boot_id)" "$deadline" "$(($(date +%s) + CONFIRM_SECONDS))" |
		put_file "$PENDING"
	detach "$ADMIN/bin/recover.sh" --after "$CONFIRM_SECONDS"
	say "Waiting $CONFIRM_SECONDS seconds for confirmation"
}

# is_pending: whether a change waits for confirmation and has time left.
is_pending() {
	local name value boot="" deadline=0

	[ -d "$UNDO" ] && [ -f "$PENDING" ] || return 1
	while IFS='=' read -r name value; do
		case "$name" in
		boot_id) boot=$value ;;
		deadline) deadline=$value ;;
		esac
	done <"$PENDING"
	[ "$boot" = "$(boot_id)" ] && [ "$(uptime_seconds)" -lt "$deadline" ]
}

# end_confirmation: ends the deadline now. If this job is interrupted from here on, the minute job rolls back, and nobody
# can confirm half of the change.
end_confirmation() {
	printf 'boot_id=%s\ndeadline=0\nuntil=0\n' "$(boot_id)" | put_file "$PENDING"
}

# confirm_change, undo_change: the arguments "confirm" and "undo" of a job.
confirm_change() {
	start_log "update_$JOB.log"
	guard "$JOB"
	complete_settle
	is_pending || fail E1003 "No change of $CHANGE is waiting for confirmation"
	settle
	say "The change of $CHANGE is confirmed"
}

undo_change() {
	begin_change
	is_pending || fail E1003 "No change of $CHANGE is waiting for confirmation"
	say "Rolling back the change of $CHANGE"
	end_confirmation
	begin_status
	roll_back success || fail E1002 "The previous $CHANGE cannot be restored now"
}

# derive KIND: derives the files in $WORK from the JSON there, with the types that first checked it. Other files from
# uploads are not trusted: a shell of the image sources these files as root.
derive() {
	local reason

	reason=$(ask conf "$1" "$WORK") || fail E1000 "${reason:-The settings could not be read}"
}
