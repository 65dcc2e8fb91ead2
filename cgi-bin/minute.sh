#!/bin/sh
# shellcheck shell=dash
#
# What the machine does once a minute, as root, from a systemd timer or cron.

set -eu

bin=$(cd "${0%/*}" && pwd -P)

status=0
"$bin/recover.sh" || status=$?
"$bin/jobs/health" || status=$?
# What the ancestor's jobs, or the image's own, have put where the ancestor served it from.
"$bin/jobs/old-certificate" || status=$?
# The history of the health values, where the image keeps one.
[ ! -x "$bin/jobs/monitor" ] || "$bin/jobs/monitor" sample || status=$?
# How far the audit log has come, where the program's user cannot change it.
"$bin/anchor.sh" || status=$?
# The certificate of our own, and which one is served. Last, because it waits for the web server.
"$bin/jobs/certs" tend || status=$?
exit "$status"
