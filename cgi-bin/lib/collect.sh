# shellcheck shell=dash
#
# Collects logs for support through the program: with limits, without secrets, and without following planted links. Used
# by the jobs logs and debug.

MAX_KIB=65536

# collect_logs audit|no-audit: packs our logs and those in etc/logs.txt into $WORK/logs.tar.gz, if there are any. The
# audit log is included only in the encrypted bundle; GET /audit shows it to callers with access.
collect_logs() {
	local audit="$1" status=0 line

	need_room "$WORK" "$MAX_KIB"
	mkdir -m 0700 "$WORK/logs"
	# The program stops after a minute, but can hang in a filesystem whose server is gone.
	bounded 90 env JIDO_ADMIN_PATH="$ADMIN" JIDO_ETC_PATH="$ETC" \
		jidoteki-admin-jobs collect "$WORK/logs" "$audit" >"$WORK/left-out" || status=$?
	while IFS= read -r line; do
		say "$line"
	done <"$WORK/left-out"
	[ "$status" -ne 124 ] || fail E1000 "Collecting the logs took too long"
	[ "$status" -eq 0 ] || fail E1000 "The logs cannot be collected"
	[ -n "$(find "$WORK/logs" -type f -print)" ] || return 0
	# A pipe has the exit status of its last command.
	{ tar -cf - -C "$WORK/logs" . || : >"$WORK/torn"; } | gzip -c >"$WORK/logs.tar.gz"
	[ ! -e "$WORK/torn" ] || fail E1000 "The logs cannot be packed"
	rm -rf "$WORK/logs"
}
