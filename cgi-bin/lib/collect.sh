# shellcheck shell=dash
#
# Logs for support, collected by the executable: within bounds, without secrets, and without following what others put in
# the way. Used by the jobs logs and debug.

MOST_KIB=65536

# collect_logs audit|no-audit: our own logs and those of etc/logs.txt as $WORK/logs.tar.gz, if there are any. The audit log
# is in it only for the bundle that nobody but the vendor can open. GET /audit shows it to those who may see it.
collect_logs() {
	local audit="$1" status=0 line

	need_room "$WORK" "$MOST_KIB"
	mkdir -m 0700 "$WORK/logs"
	# The executable stops after a minute. It can still hang in a file system whose server is gone.
	bounded 90 env JIDO_ADMIN_PATH="$ADMIN" JIDO_ETC_PATH="$ETC" \
		jidoteki-admin-jobs collect "$WORK/logs" "$audit" >"$WORK/left-out" || status=$?
	while IFS= read -r line; do
		say "$line"
	done <"$WORK/left-out"
	[ "$status" -ne 124 ] || fail E1000 "Collecting the logs took too long"
	[ "$status" -eq 0 ] || fail E1000 "The logs cannot be collected"
	[ -n "$(find "$WORK/logs" -type f -print)" ] || return 0
	# A pipe ends as its last command does.
	{ tar -cf - -C "$WORK/logs" . || : >"$WORK/torn"; } | gzip -c >"$WORK/logs.tar.gz"
	[ ! -e "$WORK/torn" ] || fail E1000 "The logs cannot be packed"
	rm -rf "$WORK/logs"
}
