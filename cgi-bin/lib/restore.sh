# shellcheck shell=dash
#
# Backups beyond packing: the list, the manifest, and a restore that can be cut off anywhere. Used by
# the job backup, and by bin/recover.sh for a restore that was.
#
# Stages are directories named .jidoteki-restore beside the data, on its filesystem: new/N holds what
# is to come, old/N what was. $RESTORE_JOURNAL exists from the first rename to the last; $RESTORE_UNDO
# is the same table, kept after success until the next restore. A line is N, "new" or "gone", stage and
# path, by tabs; "gone" is what the archive does not have and a mount point still has.

BACKUP_MARK=.jidoteki-backup
BACKUP_MANIFEST=.jidoteki-manifest
STAGE_NAME=.jidoteki-restore
RESTORE_JOURNAL=$STATE/restore.journal
RESTORE_UNDO=$STATE/restore.undo
TAB='	'

# trust_backup_list: before anything is done with it.
trust_backup_list() {
	[ -f "$ADMIN/etc/backup.txt" ] || fail E1003 "There is no backup list"
	is_trusted "$ADMIN/etc/backup.txt" || fail E1000 "The backup list can be changed by others than root"
}

# backup_list: the paths of etc/backup.txt that exist, one a line, absolute and clean. Patterns are
# allowed, as they were for the ancestor; the list is root's own.
backup_list() {
	local list="$ADMIN/etc/backup.txt" line path

	[ -f "$list" ] || return 0
	while IFS= read -r line; do
		case "$line" in
		/*/../* | */.. | */./* | *"$TAB"* | / | '#'* | '') continue ;;
		/*) ;;
		*) continue ;;
		esac
		IFS='
'
		for path in $line; do
			path=${path%/}
			[ ! -e "$path" ] || printf '%s\n' "$path"
		done
		IFS=' 	
'
	done <"$list"
}

# --- manifest -------------------------------------------------------------------------------------

# manifest_of ARCHIVE: SHA-256, size and name of every file in it, as they are in the archive and not
# as they are on the disk by now.
manifest_of() {
	tar -xf "$1" --to-command "$ADMIN/bin/lib/manifest-line.sh" |
		grep -v -e " $BACKUP_MANIFEST\$" -e "/$BACKUP_MARK\$" || :
}

# add_manifest ARCHIVE: appends it as the last member. tar's own way of appending is not in busybox, so
# we write over the zeros at the end. The last file of the archive is our mark, whose content we know:
# zeros before it belong to the data, zeros after it do not.
add_manifest() {
	local blocks tail

	manifest_of "$1" >"$WORK/mark/$BACKUP_MANIFEST"
	tar --numeric-owner -cf "$WORK/manifest.tar" -C "$WORK/mark" "$BACKUP_MANIFEST"
	blocks=$(($(stat -c %s "$1") / 512))
	tail=$(tail -c 20480 "$1" | od -An -v -tx1 -w512 | awk '/[1-9a-f]/ { last = NR } END { print NR - last }')
	dd if="$WORK/manifest.tar" of="$1" bs=512 seek="$((blocks - tail))" conv=notrunc 2>/dev/null
	rm -f "$WORK/manifest.tar"
}

# --- judging --------------------------------------------------------------------------------------

# judge_restore ARCHIVE: ends the job unless every member may be unpacked, lies under a path of the
# list, has the content that the manifest says, and all of it fits on the disk.
judge_restore() {
	local archive="$1" magic

	trust_backup_list
	magic=$(dd if="$archive" bs=1 skip=257 count=5 2>/dev/null | tr -d '\0')
	[ "$magic" = ustar ] || fail E1005 "The archive is not a tar file"
	list_archive "$archive" >"$WORK/list" || fail E1005 "The archive is damaged"
	judge_archive "$WORK/list" >"$WORK/fault" || fail E1005 "The archive was refused: $(cat "$WORK/fault")"
	is_whole "$WORK/list" "$archive" || fail E1005 "The archive is damaged"

	backup_targets >"$WORK/targets"
	[ -s "$WORK/targets" ] || fail E1003 "Nothing may be restored: the backup list is empty"
	archive_names "$WORK/list" >"$WORK/names"
	awk -v mark="$BACKUP_MARK" -v manifest="$BACKUP_MANIFEST" '
	FNR == NR { target[++n] = substr($0, 2); next }
	$0 == manifest || $0 == "" { next }
	substr($0, length($0) - length(mark)) == "/" mark { next }
	{
		for (i = 1; i <= n; i++) {
			if ($0 == target[i] || index($0, target[i] "/") == 1) next
			# A directory on the way to a path of the list changes nothing.
			if (index(target[i], $0 "/") == 1) next
		}
		exit 1
	}' "$WORK/targets" "$WORK/names" || fail E1005 "The archive has files that do not belong to the backup list"

	if grep -qxF "$BACKUP_MANIFEST" "$WORK/names"; then
		tar -xOf "$archive" "$BACKUP_MANIFEST" >"$WORK/manifest.said"
		manifest_of "$archive" >"$WORK/manifest.found"
		cmp -s "$WORK/manifest.said" "$WORK/manifest.found" || fail E1005 "The archive is damaged: its content is not what its manifest says"
	else
		say "The archive has no manifest: its content is not checked"
	fi
}

# The targets of a restore: the list, its paths that do not exist now among them.
backup_targets() {
	local line

	{
		backup_list
		while IFS= read -r line; do
			case "$line" in
			*[*?[]* | /*/../* | */.. | */./* | *"$TAB"* | /) ;;
			/*) printf '%s\n' "${line%/}" ;;
			esac
		done <"$ADMIN/etc/backup.txt"
	} | sort -u | awk '{
		# What lies in another path of the list is restored with it.
		for (i = 1; i <= n; i++) if (index($0, kept[i] "/") == 1) next
		kept[++n] = $0
		print
	}'
}

# archive_names LIST: the names of a listing that was judged, cleaned as judge_archive cleans them.
archive_names() {
	awk '{
		match($0, /[0-9][0-9][0-9][0-9]+-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9](:[0-9][0-9])? /)
		name = substr($0, RSTART + RLENGTH)
		if (substr($0, 1, 1) == "l" || substr($0, 1, 1) == "-") sub(/ -> .*/, "", name)
		if (substr($0, 1, 1) == "h") sub(/ link to .*/, "", name)
		gsub(/\/+/, "/", name)
		while (sub(/^\.\//, "", name)) continue
		sub(/\/\.?$/, "", name)
		if (name != ".") print name
	}' "$1"
}

# --- staging --------------------------------------------------------------------------------------

# stage_restore ARCHIVE: unpacks beside the data and writes the table of what is to be swapped. What is
# mounted cannot be renamed, so of a mount point the entries in it are swapped.
stage_restore() {
	local archive="$1" target parent stage kib number=0 name

	drop_undo
	: >"$WORK/table"
	kib=$(archive_kib "$WORK/list")
	while IFS= read -r target; do
		awk -v target="${target#/}" '$0 == target || index($0, target "/") == 1 { found = 1; exit }
			END { exit !found }' "$WORK/names" || continue
		parent=${target%/*}
		[ -n "$parent" ] || parent=/
		if is_mounted "$target"; then
			stage=$target/$STAGE_NAME
		else
			stage=${parent%/}/$STAGE_NAME
		fi
		# A rename would carry off what is mounted below, and the next restore would empty it.
		[ -z "$(mounted_below "$target")" ] ||
			fail E1002 "Something is mounted below a path of the backup list: unmount it, or list what is beside it"
		[ -d "${stage%/*}" ] || [ "$parent" = / ] || mkdir -p "${stage%/*}"
		need_room "${stage%/*}/" "$kib"
		[ -z "$(mounted_below "$stage")" ] || fail E1002 "Something is mounted where the restore would work: unmount it"
		if ! grep -qxF "$stage" "$STATE/restore.stages" 2>/dev/null; then
			# Written down first, so that it is removed even if we do not get any further. That it must not
			# exist keeps us from standing in a directory, or behind a link, that somebody else has made.
			[ ! -e "$stage" ] || fail E1002 "The place for the restore is taken"
			printf '%s\n' "$stage" >>"$STATE/restore.stages"
			# On the disk first, too: a directory that a power cut left and nobody knows of would be in the way of
			# every restore after it.
			flush "$STATE/restore.stages" "$STATE"
			mkdir -m 0700 "$stage"
			mkdir -m 0700 "$stage/new" "$stage/old" "$stage/unpacked"
		fi
		# By name, so that only this path is unpacked here; its owners and modes are those of the archive.
		tar --numeric-owner -xpf "$archive" -C "$stage/unpacked" "$(member_name "$target")" ||
			fail E1002 "The archive cannot be unpacked"
		[ -z "$(find "$stage/unpacked" ! -type f ! -type d ! -type l -print)" ] ||
			fail E1005 "The archive was refused: a member is not a file"
		if is_mounted "$target"; then
			for name in "$stage/unpacked$target"/* "$stage/unpacked$target"/.[!.]* "$stage/unpacked$target"/..?*; do
				[ -e "$name" ] || [ -L "$name" ] || continue
				number=$((number + 1))
				mv -fT "$name" "$stage/new/$number"
				printf '%s\tnew\t%s\t%s\n' "$number" "$stage" "$target/${name##*/}" >>"$WORK/table"
			done
			for name in "$target"/* "$target"/.[!.]* "$target"/..?*; do
				[ -e "$name" ] || [ -L "$name" ] || continue
				[ "$name" != "$stage" ] || continue
				! awk -F "$TAB" -v path="$name" '$4 == path { found = 1 } END { exit !found }' "$WORK/table" || continue
				number=$((number + 1))
				printf '%s\tgone\t%s\t%s\n' "$number" "$stage" "$name" >>"$WORK/table"
			done
		else
			number=$((number + 1))
			mv -fT "$stage/unpacked$target" "$stage/new/$number"
			printf '%s\tnew\t%s\t%s\n' "$number" "$stage" "$target" >>"$WORK/table"
		fi
		rm -rf "$stage/unpacked"
		mkdir -m 0700 "$stage/unpacked"
	done <"$WORK/targets"
	[ -s "$WORK/table" ] || fail E1005 "The archive has nothing of the backup list"
	sync
}

is_mounted() {
	[ -d "$1" ] || return 1
	[ ! -L "$1" ] || return 1
	[ "$(stat -c %d "$1")" != "$(stat -c %d "$1/..")" ]
}

# mounted_below PATH: what is mounted below it, in the kernel's spelling: also what is of the same filesystem.
mounted_below() {
	local real

	[ -d "$1" ] || return 0
	real=$(cd -P "$1" && pwd -P)
	BELOW=$(printf '%s/' "$real" | sed -e 's/\\/\\134/g' -e 's/ /\\040/g' -e 's/	/\\011/g') \
		awk 'index($5, ENVIRON["BELOW"]) == 1 { print $5 }' /proc/self/mountinfo
}

# member_name TARGET: how the archive spells it, since tar compares names as they are written.
member_name() {
	local name="${1#/}"

	if grep -q "[0-9] \\./" "$WORK/list"; then
		name=./$name
	fi
	printf '%s\n' "$name"
}

# --- swapping -------------------------------------------------------------------------------------

swap_restore() {
	local number kind stage path

	put_file "$RESTORE_JOURNAL" 0600 <"$WORK/table"
	while IFS="$TAB" read -r number kind stage path; do
		if [ -e "$path" ] || [ -L "$path" ]; then
			mv -fT "$path" "$stage/old/$number"
		fi
		[ "$kind" != new ] || mv -fT "$stage/new/$number" "$path"
	done <"$WORK/table"
	sync
	mv -fT "$RESTORE_JOURNAL" "$RESTORE_UNDO"
	flush "$STATE"
}

# unswap TABLE: every path as it was before the swap, however far that had come. What exists says where
# it was cut, so this may itself be cut off and done again. 1 where a path could not be moved: for use in a condition.
unswap() {
	local number kind stage path

	while IFS="$TAB" read -r number kind stage path; do
		if [ "$kind" = new ] && [ ! -e "$stage/new/$number" ] && [ ! -L "$stage/new/$number" ]; then
			mv -fT "$path" "$stage/new/$number" || return 1
		fi
		if [ -e "$stage/old/$number" ] || [ -L "$stage/old/$number" ]; then
			mv -fT "$stage/old/$number" "$path" || return 1
		fi
	done <"$1"
	sync
}

# recover_restore: after a restore or an undo that was cut off: the data of before, nothing of ours.
recover_restore() {
	[ ! -f "$RESTORE_JOURNAL" ] || {
		say "The last restore was interrupted: the data of before returns"
		# As long as the journal is there the stages have the data of before, and are not ours to remove.
		if ! unswap "$RESTORE_JOURNAL"; then
			say "It cannot return now: it is tried again in a minute"
			return 1
		fi
		rm -f "$RESTORE_JOURNAL"
	}
	[ -f "$RESTORE_UNDO" ] || drop_stages
}

undo_restore() {
	[ -f "$RESTORE_UNDO" ] || fail E1003 "There is no restore to undo"
	# From here on it is an interrupted restore, and ends as one does.
	mv -fT "$RESTORE_UNDO" "$RESTORE_JOURNAL"
	unswap "$RESTORE_JOURNAL" || fail E1002 "The data of before cannot be put back now"
	rm -f "$RESTORE_JOURNAL"
	drop_stages
}

drop_undo() {
	rm -f "$RESTORE_UNDO"
	drop_stages
}

drop_stages() {
	local stage kept=""

	[ -f "$STATE/restore.stages" ] || return 0
	while IFS= read -r stage; do
		case "$stage" in
		*/"$STAGE_NAME")
			# Files of a disk that an older version has carried off into the stage are not ours to remove.
			if [ -n "$(mounted_below "$stage")" ]; then
				say "Something is mounted in $(plain "$stage"), which stays: unmount it"
				kept=yes
			else
				rm -rf "$stage"
			fi
			;;
		esac
	done <"$STATE/restore.stages"
	[ -z "$kept" ] || return 0
	rm -f "$STATE/restore.stages"
}
