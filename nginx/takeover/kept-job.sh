#!/bin/sh
# shellcheck shell=dash
#
# Runs a job of the ancestor on a machine that was migrated with --jobs keep. bin/kept has a copy for each job, named
# after it; start.sh (our wrapper.sh under another name) starts it as root.
#
# Our jobs do what the vendor's do not support: the history of health values, requests for certificates, named
# tokens, and changes that must be confirmed, because only our jobs can roll them back.

set -eu

admin=$(cd "${0%/*}/../.." && pwd -P)
bin=$admin/bin
job=${0##*/}
uploads=$admin/home/sftp/uploads

ours() {
	exec "$bin/jobs/$job" "$@"
}

script=$bin/update_$job.sh
case $job in
update) script=$bin/update_vm.sh ;;
reboot) script=$bin/wrapper.sh ;;
esac
if [ ! -x "$script" ] || [ ! -x "$bin/wrapper.sh" ]; then
	ours "$@"
fi
case "$job ${1-}" in
*' confirm' | *' undo' | *' UNDO' | *' csr' | *' forget') ours "$@" ;;
esac
# A certificate without a key is for the key that waits here, which only our job knows.
if [ "$job" = certs ] && [ ! -e "$uploads/appliance.key" ] && [ -s "$admin/lib/certs.request.key" ]; then
	ours "$@"
fi
[ ! -e "$uploads/$job.confirm" ] || ours "$@"

# tar ran as the user of the ancestor's API, so that user owned the archive.
give_archive() {
	local place user
	user=$(stat -c %u "$admin/home")
	[ "$user" -ne 0 ] && [ -e "$uploads/backup-archive.tar" ] || return 0
	# In a directory of ours, so that nobody else can use the name meanwhile.
	place=$(mktemp -d "$uploads/.kept.XXXXXX")
	(
		cd "$place"
		[ "$(stat -c %u .)" -eq 0 ]
		mv -fT ../backup-archive.tar archive
		if [ -f archive ] && [ ! -L archive ] && [ "$(stat -c %h archive)" -eq 1 ]; then
			chown "$user" archive
			mv -fT archive ../backup-archive.tar
		fi
	)
	rm -rf "$place"
}
[ "$job ${1-}" != "backup RESTORE" ] || give_archive

# As under the ancestor's API: others can read its files, and HOME is root's. The job's lock is standard input and is
# passed on.
umask 022
status=0
env -i PATH="$PATH" HOME=/root USER=root LOGNAME=root ${JIDO_ADMIN_PATH:+JIDO_ADMIN_PATH="$JIDO_ADMIN_PATH"} \
	${JIDO_ETC_PATH:+JIDO_ETC_PATH="$JIDO_ETC_PATH"} SSH_ORIGINAL_COMMAND="$job" "$bin/wrapper.sh" "$@" || status=$?

# Its certificates are where the ancestor's server read them.
if [ "$job" = certs ]; then
	"$bin/jobs/old-certificate" </dev/null >/dev/null 2>&1 || :
fi
exit "$status"
