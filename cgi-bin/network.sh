#!/bin/sh
#
# Makes the network of a Debian as etc/network.json says: "static" or "dhcp" as that file says too, "none" to take back all
# that was ever done here. Exit 3: nothing that we know manages this network, so the settings are only stored. An image with
# a network of its own replaces this file, and reads network.conf.

exec jidoteki-admin-jobs network "$@"
