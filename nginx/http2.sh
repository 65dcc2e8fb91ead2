#!/bin/sh
#
# How an nginx wants to be told to speak HTTP/2, as a value for render.sh: "listen" before 1.25.1, and "on" since.
#
#     http2.sh PROGRAM
#
# The version is read out of the file, which may be that of an image for another processor, and cannot be run then.

set -eu

version=$(grep -aom 1 'nginx/[0-9]*\.[0-9]*\.[0-9]*' "$1" 2>/dev/null | head -n 1) || version=
if [ -n "$version" ] && [ "$(printf 'nginx/1.25.1\n%s\n' "$version" | sort -V | head -n 1)" = nginx/1.25.1 ]; then
	echo on
else
	# What is not there yet warns, at worst.
	echo listen
fi
