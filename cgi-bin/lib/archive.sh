# shellcheck shell=dash
#
# Tar archives of other people: what is in them, and whether it may be unpacked. The only place that
# decides that. Works from the listing, so that nothing exists on the disk before it was judged.

MOST_MEMBERS=200000

# list_archive FILE: one line a member, of the form of "tar -tv" with numbers for owners. "-" is
# standard input, always a plain tar: a tar that finds out the compression by itself is not asked to.
list_archive() {
	local status=0

	tar --numeric-owner -tvf "$1" 2>"$WORK/list.said" || status=$?
	# busybox lists what it would make of such names; we want them as they are.
	if grep -q 'emoving leading' "$WORK/list.said"; then
		printf '%s\n' '-rw-r--r-- 0/0 0 1970-01-01 00:00 /'
	fi
	return "$status"
}

# judge_archive LIST: 0 if every member may be unpacked below one directory; otherwise 1, and why on
# standard output. A line that does not look as tar writes it is a name with a newline in it: refused.
#
# Refused are absolute paths and "..", everything but files, directories and links, setuid, links that
# lead out, hard links to what is not in the archive, and a member below something that is a link.
judge_archive() {
	awk -v most="$MOST_MEMBERS" '
	function no(why) {
		print why
		bad = 1
		exit 1
	}
	function climbs(path, part, parts, n, depth) {
		n = split(path, parts, "/")
		depth = 0
		for (part = 1; part <= n; part++) {
			if (parts[part] == "..") depth--
			else if (parts[part] != "" && parts[part] != ".") depth++
			if (depth < 0) return 1
		}
		return 0
	}
	function dotted(path) { return ("/" path "/") ~ /\/\.\.\// }
	function clean(path) {
		gsub(/\/+/, "/", path)
		while (sub(/^\.\//, "", path)) continue
		while (sub(/\/\.\//, "/", path)) continue
		sub(/\/\.?$/, "", path)
		return path
	}
	{
		if (++members > most) no("more than " most " members")
		# mode owner size date time name; nothing else is a line of tar.
		if (!match($0, /^[-dlhbcpsDCLMNSV][-rwxsStT]+ +[^\/ ]+\/[^\/ ]+ +[0-9,]+ +[0-9][0-9][0-9][0-9]+-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9](:[0-9][0-9])? /))
			no("a member has an impossible name")
		name = substr($0, RLENGTH + 1)
		mode = $1
		type = substr(mode, 1, 1)
		target = ""
		# busybox shows a hard link as a file with an arrow.
		if ((at = index(name, " -> ")) > 0 && (type == "l" || type == "-")) {
			target = substr(name, at + 4)
			name = substr(name, 1, at - 1)
			if (index(target, " -> ") > 0) no("a member has an impossible name")
			if (type == "-") type = "h"
		} else if (type == "h" && (at = index(name, " link to ")) > 0) {
			target = substr(name, at + 9)
			name = substr(name, 1, at - 1)
		}
		if (name == "") no("a member has no name")
		if (name ~ /^\//) no("a member has an absolute path or one with ..")
		if (dotted(name)) no("a member has an absolute path or one with ..")
		if (type !~ /^[-dlh]$/) no("a member is a device or something else that is not a file")
		if (substr(mode, 4, 1) ~ /[sS]/) no("a member is setuid")
		if (type != "d" && substr(mode, 7, 1) ~ /[sS]/) no("a member is setgid")
		name = clean(name)
		if (name in links) no("a member stands twice, once as a link")
		path = ""
		n = split(name, parts, "/")
		for (i = 1; i < n; i++) {
			path = path (i > 1 ? "/" : "") parts[i]
			if (path in links) no("a member is below a link")
		}
		if (type == "l") {
			if (target == "") no("a link leads nowhere")
			if (target ~ /^\//) no("a link leads out")
			directory = name
			if (!sub(/\/[^\/]*$/, "", directory)) directory = ""
			if (climbs(directory "/" target)) no("a link leads out")
			if (name in seen) no("a member stands twice, once as a link")
			links[name] = 1
		}
		if (type == "h") {
			if (target ~ /^\// || dotted(target)) no("a link leads out")
			if (!(clean(target) in files)) no("a hard link leads to what is not in the archive")
		}
		if (type == "-" || type == "h") files[name] = 1
		seen[name] = 1
	}
	END { exit bad ? 1 : 0 }
	' "$1"
}

# archive_kib LIST: what it needs on the disk, a block more for every member.
archive_kib() {
	awk '{ bytes += $3 + 4096 } END { printf "%d\n", bytes / 1024 + 1 }' "$1"
}

# is_whole LIST FILE: does the file have room for all that the listing speaks of? busybox restores what
# there is of a truncated archive without a word.
is_whole() {
	local bytes

	bytes=$(awk '{ bytes += 512 } /^-/ { bytes += int(($3 + 511) / 512) * 512 } END { printf "%d\n", bytes }' "$1")
	[ "$(stat -c %s "$2")" -ge "$bytes" ]
}
