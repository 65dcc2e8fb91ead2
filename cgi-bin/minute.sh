#!/bin/sh
# shellcheck shell=dash
#
# Runs once a minute, as root, from a systemd timer or cron.

set -eu

# cron sets a shorter PATH; jidoteki-admin-jobs is in /usr/local/bin.
PATH=$PATH:/usr/local/bin
bin=$(cd "${0%/*}" && pwd -P)

status=0
"$bin/recover.sh" || status=$?
"$bin/jobs/health" || status=$?
# Certificates that the ancestor's jobs, or the image's own, installed where the ancestor served them from.
"$bin/jobs/old-certificate" || status=$?
# Add to the history of the health values, if the image has that job.
[ ! -x "$bin/jobs/monitor" ] || "$bin/jobs/monitor" sample || status=$?
# Record the state of the audit log where the program's user cannot change it.
JIDO_ADMIN_PATH=${bin%/*} jidoteki-admin-jobs anchor || status=$?
# Renew our own certificate, and record which one is served. Last, because it waits for the web server.
"$bin/jobs/certs" tend || status=$?
exit "$status"
