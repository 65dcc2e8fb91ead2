#!/bin/sh
# shellcheck shell=dash
#
# Types the examples of a document, and compares the output with the document:
#
#     tests/docs/console.sh FILE
#
# An example is a line in a ```console block that begins with "$ "; a following line that begins with "> " continues the
# command. The lines up to the next "$ " are its output. In them, "..." matches anything within a line, and a line with
# only "..." matches any number of lines. If there is no output, it is not compared. The exit status must always be 0.
# All examples of a file run in one shell, in the current directory.

set -eu

FILE=${1:?usage: tests/docs/console.sh FILE}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# Each command, n.command, and its output if there is one, n.expected; and one script that runs them in order.
awk -v dir="$WORK" '
function script(text) { print text >(dir "/script") }
function end_command() {
	if (!open) return
	open = 0
	close(dir "/" n ".command")
	script(command "\n} >" dir "/" n ".output 2>&1 </dev/null")
	script("echo $? >" dir "/" n ".status")
}
/^```/ {
	end_command()
	inside = !inside && $0 == "```console"
	next
}
inside && /^\$ / {
	end_command()
	n++
	open = 1
	command = substr($0, 3)
	print command >(dir "/" n ".command")
	script("{")
	next
}
inside && open && !has[n] && /^> / {
	command = command "\n" substr($0, 3)
	print substr($0, 3) >(dir "/" n ".command")
	next
}
inside && open { has[n] = 1; print >(dir "/" n ".expected") }
END { end_command(); print n + 0 >(dir "/count") }
' "$FILE"

read -r COUNT <"$WORK/count"
[ "$COUNT" -gt 0 ] || {
	printf '%s: no example\n' "$FILE" >&2
	exit 1
}
sh "$WORK/script"

# Whether the output is as expected.
matches() { # matches EXPECTED OUTPUT
	awk '
	function regexp(text) {
		gsub(/[][\\.^$*+?(){}|\/]/, "\\\\&", text)
		gsub(/\\\.\\\.\\\./, ".*", text)
		return "^" text "$"
	}
	NR == FNR { want[++n] = $0; next }
	{ got[++m] = $0 }
	function fits(i, j) {
		for (; i <= n; i++) {
			if (want[i] == "...") {
				for (; j <= m + 1; j++) if (fits(i + 1, j)) return 1
				return 0
			}
			if (j > m || got[j] !~ regexp(want[i])) return 0
			j++
		}
		return j == m + 1
	}
	END { exit !fits(1, 1) }
	' "$1" "$2"
}

failed=0
n=0
while [ "$n" -lt "$COUNT" ]; do
	n=$((n + 1))
	status=$(cat "$WORK/$n.status" 2>/dev/null || echo none)
	# A shell that ended early has not run the rest.
	[ -e "$WORK/$n.output" ] || : >"$WORK/$n.output"
	if [ "$status" = 0 ] && { [ ! -e "$WORK/$n.expected" ] || matches "$WORK/$n.expected" "$WORK/$n.output"; }; then
		continue
	fi
	failed=$((failed + 1))
	printf '%s: this does not do what it says (exit status %s):\n' "$FILE" "$status"
	sed 's/^/  $ /' "$WORK/$n.command"
	printf '  expected:\n'
	[ ! -e "$WORK/$n.expected" ] || sed 's/^/    /' "$WORK/$n.expected"
	printf '  came:\n'
	sed 's/^/    /' "$WORK/$n.output"
done
printf '%s passed, %s failed (%s)\n' "$((COUNT - failed))" "$failed" "$FILE"
[ "$failed" -eq 0 ]
