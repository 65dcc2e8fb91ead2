#!/bin/sh
#
# Fills in a template of this directory: every @NAME@ becomes the value given as NAME=VALUE.
#
#     render.sh TEMPLATE NAME=VALUE...
#
# The one place where our configurations get their paths and ports: install.sh uses it, and so do the tests.
# A line that ends in " # NAME=VALUE ..." is there only where each NAME has that VALUE, and loses that remark.

set -eu

fail() {
	printf 'render.sh: %s\n' "$1" >&2
	exit 1
}

[ $# -ge 1 ] || fail "usage: render.sh TEMPLATE NAME=VALUE..."
TEMPLATE=$1
shift
[ -r "$TEMPLATE" ] || fail "cannot read $TEMPLATE"

REMARK=' #\( [A-Z0-9_]*=[a-z0-9]*\)\{1,\}'
script=
for pair in "$@"; do
	name=${pair%%=*}
	value=${pair#*=}
	case $name in
	*[!A-Z0-9_]* | '') fail "not a name: $name" ;;
	esac
	# What sed, a web server's configuration or a shell would read as more than text has no place in a path of ours.
	case $value in
	*[!A-Za-z0-9/._:,+=@\[\]-]*) fail "$name has a character that cannot stand in a configuration: $value" ;;
	esac
	script="${script}s|@$name@|$value|g
"
	case $value in
	'' | *[!a-z0-9]*) ;;
	*) script="$script/$REMARK\$/{/ # \(.* \)*$name=/{/ # \(.* \)*$name=$value\( .*\)*\$/!d
}
}
" ;;
	esac
done

text=$(sed -e "${script}s/$REMARK\$//" "$TEMPLATE")
case $text in
*@[A-Z]*[A-Z0-9]@*)
	left=$(printf '%s\n' "$text" | sed -n 's/.*\(@[A-Z][A-Z0-9_]*@\).*/\1/p' | head -n 1)
	[ -z "$left" ] || fail "$TEMPLATE: $left has no value"
	;;
esac
printf '%s\n' "$text"
