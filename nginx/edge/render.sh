#!/bin/sh
#
# Fills in a template of this directory: replaces every @NAME@ by the value from NAME=VALUE.
#
#     render.sh TEMPLATE NAME=VALUE...
#
# The only place that puts paths and ports into our configurations; install.sh and the tests use it. A line that ends in
# " # NAME=VALUE ..." is kept only if each NAME has that VALUE. This remark is removed.

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
	# Refuse characters that are special to sed, a web server's configuration or a shell.
	case $value in
	*[!A-Za-z0-9/._:,+=@\[\]-]*) fail "$name has a character that is not allowed in a configuration: $value" ;;
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
