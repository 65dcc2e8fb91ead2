# shellcheck shell=dash
#
# Part of install.sh for a machine that runs the ancestor. It detects such a machine, records its state before the first
# change, and restores it with --uninstall. See docs/MIGRATION.md.
#
# The ancestor's jobs give installed files to one group (admin, 997), and its API reads them as a member. Therefore our
# group *is* that group on such a machine. Existing owners and modes stay, because other programs rely on them.

# "group NAME GID", "user NAME UID", "jobs keep|ours", "running SCRIPT": exists since the first migration.
TAKEOVER=$CONF/takeover
# "MODE UID:GID PATH": the owner and mode of each file before we changed them.
OWNERS=$CONF/owners
# Files that ours replaced, by their paths.
BEFORE=$CONF/before
OLD_INIT=$ETC/init.d/jidoteki-admin-api
# Every job that our wrapper.sh knows.
WORDS="token tokens update inspect settings certs license storage backup logs debug services reboot monitor"

# Sets TAKES_OVER (yes or no), JOBS (keep or ours) and, if there is an ancestor, OLD_USER, OLD_GROUP, OLD_GID.
notice_ancestor() {
	TAKES_OVER=no
	FIRST_TIME=no
	JOBS=ours
	JOB_DIRECTORY=$ADMIN/bin/jobs
	SUDO_USERS=$USER_NAME
	OLD_USER=
	OLD_GROUP=
	OLD_GID=
	if [ -r "$ROOT$TAKEOVER" ]; then
		OLD_GROUP=$(fact group 2)
		OLD_GID=$(fact group 3)
		OLD_USER=$(fact user 2)
		JOBS=${GIVEN_JOBS:-$(fact jobs 2)}
	elif find_ancestor; then
		FIRST_TIME=yes
		JOBS=${GIVEN_JOBS:-keep}
	else
		[ -z "$GIVEN_JOBS" ] || fail "--jobs requires a machine that runs the ancestor; it was not found here"
		return 0
	fi
	TAKES_OVER=yes
	GROUP_NAME=$OLD_GROUP
	[ "$OLD_USER" != - ] || OLD_USER=
	if [ "$JOBS" = keep ]; then
		JOB_DIRECTORY=$ADMIN/bin/kept
	elif [ -n "$OLD_USER" ]; then
		# Its commands over SSH start our jobs too.
		# shellcheck disable=SC2034  # for the template of sudo's rules
		SUDO_USERS=$USER_NAME,$OLD_USER
	fi
}

fact() { # fact NAME NUMBER
	awk -v name="$1" -v number="$2" '$1 == name { print $number; exit }' "$ROOT$TAKEOVER"
}

# Detected by a wrapper.sh that is not ours, and by the group of that file or of its directory.
find_ancestor() {
	local wrapper="$ROOT$ADMIN/bin/wrapper.sh" ours uid
	[ -f "$wrapper" ] && ! is_ours "$ADMIN/bin/wrapper.sh" || return 1
	[ -d "$ROOT$ADMIN/etc" ] || return 1
	ours=$(number_of group "$GROUP_NAME")
	for OLD_GID in "$(stat -c %g "$wrapper")" "$(stat -c %g "$ROOT$ADMIN/etc")" 0; do
		[ "$OLD_GID" -eq 0 ] || [ "$OLD_GID" = "$ours" ] || break
	done
	[ "$OLD_GID" -ne 0 ] || return 1
	OLD_GROUP=$(name_of group "$OLD_GID")
	[ -n "$OLD_GROUP" ] || fail "$ADMIN/bin/wrapper.sh belongs to group $OLD_GID, which has no name: add it to /etc/group and run this again"
	uid=$(stat -c %u "$ROOT$ADMIN/home" 2>/dev/null || echo 0)
	[ "$uid" -eq 0 ] || OLD_USER=$(name_of passwd "$uid")
}

# An image has its own account files, and perhaps none yet.
accounts() { # accounts passwd|group
	if [ -z "$ROOT" ]; then
		getent "$1"
	elif [ -r "$ROOT/etc/$1" ]; then
		cat "$ROOT/etc/$1"
	fi
}

name_of() { # name_of passwd|group NUMBER
	accounts "$1" | awk -F : -v id="$2" '$3 == id { print $1; exit }'
}

number_of() { # number_of passwd|group NAME
	accounts "$1" | awk -F : -v name="$2" '$1 == name { print $3; exit }'
}

# Announces and records everything before the first change.
begin_takeover() {
	local file
	[ "$TAKES_OVER" = yes ] || return 0
	if [ "$FIRST_TIME" = yes ]; then
		say "This machine runs the ancestor of the admin API. Migrating it:"
		say "  - $USER_NAME joins the group $OLD_GROUP, to read the files of the ancestor's jobs"
		say "  - owners and modes below $ADMIN stay; SSH commands and SFTP uploads keep working"
		say "  - replaced files are saved in $BEFORE; ./install.sh --uninstall restores them"
	fi
	case $JOBS in
	keep) say "  - its jobs (wrapper.sh, update_*.sh) stay and run; our jobs do only what they do not support" ;;
	ours) say "  - its jobs (wrapper.sh, update_*.sh) are replaced by ours; the vendor's network.sh, storage.sh and license.sh stay" ;;
	esac
	directory 755 0:0 "$CONF"
	if [ "$FIRST_TIME" = yes ]; then
		: >"$ROOT$OWNERS"
		# Files that jobs replace, ours and the ancestor's.
		for file in "$ROOT$ADMIN/etc"/* "$ROOT$ETC/network.conf" "$ROOT$ETC/storage.conf"; do
			remember "${file#"$ROOT"}"
		done
		printf 'group %s %s\nuser %s\n' "$OLD_GROUP" "$OLD_GID" "${OLD_USER:--}" >"$ROOT$TAKEOVER.new"
	else
		grep -v '^jobs ' "$ROOT$TAKEOVER" >"$ROOT$TAKEOVER.new"
	fi
	printf 'jobs %s\n' "$JOBS" >>"$ROOT$TAKEOVER.new"
	mv -f "$ROOT$TAKEOVER.new" "$ROOT$TAKEOVER"
}

# Records the owner and mode of an existing file that is about to get others.
remember() { # remember PATH
	[ "${TAKES_OVER:-no}" = yes ] && [ "$FIRST_TIME" = yes ] || return 0
	[ -e "$ROOT$1" ] && [ ! -L "$ROOT$1" ] || return 0
	# A name with a newline would be read back as another file.
	[ "$(printf '%s\n' "$1" | wc -l)" -eq 1 ] || return 0
	! cut -d ' ' -f 3- "$ROOT$OWNERS" | grep -qxF -e "$1" || return 0
	printf '%s %s\n' "$(stat -c '%a %u:%g' "$ROOT$1")" "$1" >>"$ROOT$OWNERS"
}

# Whether a directory has the owner and mode that the ancestor gave it and others rely on.
is_of_ancestor() { # is_of_ancestor PATH
	[ "${TAKES_OVER:-no}" = yes ] && [ -d "$ROOT$1" ] || return 1
	case $1 in
	"$ADMIN"/state | "$ADMIN"/audit) return 1 ;;
	"$ADMIN" | "$ADMIN"/* | "$ETC")
		# Version 2.0.0 gave them to its own group.
		[ "$(stat -c %g "$ROOT$1")" != "$(number_of group "$USER_NAME")" ]
		return
		;;
	esac
	return 1
}

# Files that version 2.0.0, which did not detect the ancestor, gave to its own group.
take_from_old_group() {
	local gid
	gid=$(number_of group "$USER_NAME")
	[ "$TAKES_OVER" = yes ] && [ -n "$gid" ] || return 0
	find "$ROOT$ADMIN" "$ROOT$LOG" -xdev -group "$gid" ! -type l -exec chgrp -h "$API_GID" {} +
}

# Sets a file aside that ours replaces, once.
set_aside() { # set_aside PATH
	[ -e "$ROOT$1" ] || return 0
	[ ! -e "$ROOT$BEFORE$1" ] || return 0
	if [ -r "$ROOT$RECORD" ] && cut -c 67- "$ROOT$RECORD" | grep -qxF "$1"; then
		return 0
	fi
	! cut -c 67- "$RECORD_NEW" | grep -qxF "$1" || return 0
	mkdir -p "$ROOT$BEFORE${1%/*}"
	cp -a "$ROOT$1" "$ROOT$BEFORE$1"
}

# Restores a file that was set aside, unless somebody else has replaced it since.
restore_original() { # restore_original PATH
	if [ -e "$ROOT$1" ] && ! is_ours "$1"; then
		note "kept $1, which was changed since it was installed; the original was not restored"
		return 0
	fi
	mkdir -p "$ROOT${1%/*}"
	mv -f "$ROOT$BEFORE$1" "$ROOT$1"
}

set_aside_jobs() {
	local file
	for file in "$ROOT$ADMIN/bin"/update_*.sh; do
		[ -f "$file" ] || continue
		set_aside "${file#"$ROOT"}"
		rm -f "$file"
	done
}

# Restores what "--jobs ours" set aside.
restore_jobs() {
	local file
	for file in "$ROOT$BEFORE$ADMIN/bin"/*; do
		[ ! -f "$file" ] || restore_original "${file#"$ROOT$BEFORE"}"
	done
}

# The ancestor's jobs behind ours, or ours instead of them.
put_wrapper() {
	local job
	case $TAKES_OVER:$JOBS in
	yes:keep)
		restore_jobs
		KEPT_WRAPPER=$ADMIN/bin/wrapper.sh
		printf '%s\n' "$KEPT_WRAPPER" >>"$WORK/kept"
		put 755 "$SOURCE/cgi-bin/wrapper.sh" "$ADMIN/bin/start.sh"
		for job in $WORDS; do
			put 755 "$SOURCE/nginx/takeover/kept-job.sh" "$JOB_DIRECTORY/$job"
		done
		;;
	yes:ours)
		put 755 "$SOURCE/cgi-bin/wrapper.sh" "$ADMIN/bin/wrapper.sh"
		set_aside_jobs
		;;
	*) put_script 755 "$SOURCE/cgi-bin/wrapper.sh" "$ADMIN/bin/wrapper.sh" ;;
	esac
}

put_old_init() {
	[ "$TAKES_OVER" = yes ] || return 0
	# Its own jobs and scripts use this name.
	[ ! -e "$ROOT$OLD_INIT" ] || put_rendered 755 units/init.sh "$OLD_INIT"
}

# The customer's certificate stays in use.
serve_old_certificate() {
	[ "$TAKES_OVER" = yes ] && [ -s "$ETC/pki/tls/enterprise.pem" ] || return 0
	if "$ADMIN/bin/jobs/old-certificate" </dev/null >/dev/null 2>&1; then
		[ "$FIRST_TIME" = no ] || say "The certificate in $ETC/pki/tls/enterprise.pem stays in use"
	else
		note "the certificate in $ETC/pki/tls/enterprise.pem cannot be served: see $ADMIN/log/update_certs.log"
	fi
}

# Old packages are encrypted with a key from the old derivation.
CIPHERS='"update-ciphers":"legacy"'
read_old_packages() {
	local file="$ETC/jidoteki-admin-api.json"
	[ "$TAKES_OVER" = yes ] && [ "$FIRST_TIME" = yes ] || return 0
	! grep -q '"update-ciphers"' "$ROOT$file" || return 0
	case $(tr -d ' \t\r\n' <"$ROOT$file") in
	'{}') printf '{%s}\n' "$CIPHERS" >"$ROOT$file.new" ;;
	'{'*) awk -v key="$CIPHERS," '!done && sub(/{/, "{" key) { done = 1 } { print }' "$ROOT$file" >"$ROOT$file.new" ;;
	*) return 0 ;;
	esac
	own "$(stat -c %a "$ROOT$file")" "$(stat -c %u:%g "$ROOT$file")" "$ROOT$file.new"
	mv -f "$ROOT$file.new" "$ROOT$file"
	note "$file has $CIPHERS: old update packages (md5, or sha256 without pbkdf2) are accepted; their signature is checked as always"
}

# --- the dashboard ---

# Records a directory of pages that are not ours.
DASHBOARD=$CONF/dashboard
# The ancestor's server allowed code in the pages. Other sites still cannot frame or replace them.
OLD_POLICY="default-src 'self' https: data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'self'"

# Sets PAGES to the directory; empty means ours.
choose_dashboard() {
	local folder
	PAGES=
	case ${GIVEN_DASHBOARD:-recorded} in
	ours) ;;
	recorded)
		[ ! -r "$ROOT$DASHBOARD" ] || PAGES=$(head -n 1 "$ROOT$DASHBOARD")
		;;
	keep)
		for folder in /opt/jidoteki/api /opt/jidoteki/admin-api /opt/jidoteki/jidoteki-admin-api; do
			[ -n "$PAGES" ] || [ ! -f "$ROOT$folder/index.html" ] || PAGES=$folder
		done
		[ -n "$PAGES" ] || fail "the ancestor's dashboard was not found: give its directory, such as --dashboard /opt/jidoteki/api"
		;;
	/*) PAGES=$GIVEN_DASHBOARD ;;
	*) fail "unknown dashboard: $GIVEN_DASHBOARD. Use ours, keep, or the absolute path of a directory" ;;
	esac
	[ -z "$PAGES" ] || [ -f "$ROOT$PAGES/index.html" ] || fail "there is no dashboard in $PAGES: index.html is missing"
}

# Only file types that a page consists of: the ancestor's directory also has its program and its key.
put_dashboard() {
	local from="$SOURCE/nginx/dashboard" file
	choose_dashboard
	if [ -z "$PAGES" ]; then
		rm -f "$ROOT$DASHBOARD"
	else
		from=$ROOT$PAGES
		printf '%s\n' "$PAGES" >"$ROOT$DASHBOARD"
		say "The dashboard is served from $PAGES"
	fi
	(cd "$from" && find . -type f ! -path '*/.*/*' | sed 's|^\./||' | LC_ALL=C sort) >"$WORK/pages"
	while IFS= read -r file; do
		case $file in
		# What a vendor has put there stays.
		vendor/vendor.css | vendor/vendor.json)
			put_script 644 "$from/$file" "$HTML/$file"
			;;
		*.html | *.css | *.js | *.json | *.map | *.txt | *.svg | *.png | *.gif | *.jpg | *.jpeg | *.ico | *.woff | *.woff2 | *.ttf | *.eot)
			put 644 "$from/$file" "$HTML/$file"
			;;
		esac
	done <"$WORK/pages"
}

# A filter for the configuration of a server: the policy of the dashboard.
policy() {
	if [ -z "$PAGES" ]; then
		cat
	else
		sed "/script-src/s|\"default-src [^\"]*\"|\"$OLD_POLICY\"|"
	fi
}

# --- the ancestor's server ---

# Records the script that starts the ancestor, for --uninstall. In an image too, where nothing runs yet.
record_script() {
	local script
	[ "$TAKES_OVER" = yes ] && [ "$FIRST_TIME" = yes ] || return 0
	for script in "$OLD_INIT" "$INIT"; do
		if [ -x "$ROOT$script" ]; then
			printf 'running %s\n' "$script" >>"$ROOT$TAKEOVER"
			break
		fi
	done
}

# The ancestor must release the port. Its own script can stop it, but its stunnel may keep running.
stop_ancestor() {
	local script pid
	[ "$TAKES_OVER" = yes ] && [ "$FIRST_TIME" = yes ] || return 0
	record_script
	script=$(fact running 2)
	if [ -n "$script" ]; then
		say "Stopping the ancestor: $script stop"
		timeout 60 "$script" stop </dev/null >/dev/null 2>&1 || note "$script stop reported a failure"
	fi
	command -v ss >/dev/null || return 0
	for pid in $(ss -H -l -t -n -p "sport = :$PORT" | grep -E '"stunnel4?"' | grep -o 'pid=[0-9]*' | cut -d = -f 2 | sort -u); do
		say "Stopping the ancestor's stunnel on port $PORT (process $pid)"
		kill "$pid" 2>/dev/null || :
	done
	await_port_free
}

# Restores everything, for --uninstall, after ours is removed.
give_back() {
	local file mode owner path
	if [ -d "$BEFORE" ]; then
		find "$BEFORE" ! -type d | LC_ALL=C sort >"$CONF/files"
		while IFS= read -r file; do
			restore_original "${file#"$BEFORE"}"
		done <"$CONF/files"
	fi
	[ -r "$TAKEOVER" ] || return 0
	if grep -q "$CIPHERS" "$ETC/jidoteki-admin-api.json" 2>/dev/null; then
		sed -i "s/$CIPHERS,\{0,1\}//" "$ETC/jidoteki-admin-api.json"
	fi
	# Files that our user created now belong to the ancestor's.
	find "$ADMIN" "$ETC" -xdev -user "$USER_NAME" -exec chown -h "$(fact user 2 | sed 's/^-$/root/')" {} + 2>/dev/null || :
	while read -r mode owner path; do
		if [ ! -e "$path" ] || [ -L "$path" ]; then
			continue
		fi
		chown -h "$owner" "$path"
		[ "$(stat -c %a "$path")" = "$mode" ] || chmod "$mode" "$path"
	done <"$OWNERS"
}

start_ancestor() {
	local script
	[ -r "$TAKEOVER" ] || return 0
	script=$(fact running 2)
	if [ -n "$script" ] && [ -x "$script" ]; then
		timeout 60 "$script" start </dev/null >/dev/null 2>&1 || note "$script start reported a failure"
		say "Started the ancestor again: $script start"
	fi
}
