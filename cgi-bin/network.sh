#!/bin/sh
#
# Configures a Debian's network from etc/network.json: "static" or "dhcp", as that file says too; "none" undoes all of
# our changes. Exit status 3: no supported manager runs, so the settings are only stored. An image with its own network
# configuration replaces this file, and reads network.conf.

exec jidoteki-admin-jobs network "$@"
