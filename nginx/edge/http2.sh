#!/bin/sh
#
# Prints how this nginx enables HTTP/2, as a value for render.sh: "listen" before 1.25.1, "on" since.
#
#     http2.sh PROGRAM
#
# The version is read from the file, because the program of an image can be for another processor.

set -eu

version=$(grep -aom 1 'nginx/[0-9]*\.[0-9]*\.[0-9]*' "$1" 2>/dev/null | head -n 1) || version=
if [ -n "$version" ] && [ "$(printf 'nginx/1.25.1\n%s\n' "$version" | sort -V | head -n 1)" = nginx/1.25.1 ]; then
	echo on
else
	# If nginx is not installed yet, assume the new form; at worst, nginx prints a warning.
	echo listen
fi
