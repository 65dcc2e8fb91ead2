#!/bin/sh
#
# One line of a backup's manifest: SHA-256, size and name of the member that tar hands us on standard
# input. A newline in a name becomes a question mark, on both sides of the comparison.

set -eu

sum=$(sha256sum)
printf '%s %s %s' "${sum%% *}" "$TAR_SIZE" "$TAR_FILENAME" | tr '\n' '?'
printf '\n'
