#!/bin/sh
# shellcheck shell=dash
#
# Runs a job of the ancestor's, on a machine that was taken over with --jobs keep. It lies in bin/kept once for each
# job, by the job's name, and start.sh (our wrapper.sh by another name) becomes root for it.
#
# What the vendor's jobs do not know is done by ours: the history of health values, and changes that must be
# confirmed, because only our jobs can take them back.

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
*' confirm' | *' undo' | *' UNDO') ours "$@" ;;
esac
[ ! -e "$uploads/$job.confirm" ] || ours "$@"

# The ancestor's API ran as the user that an archive is unpacked by, so the archive was that user's.
give_archive() {
	local place user
	user=$(stat -c %u "$admin/home")
	[ "$user" -ne 0 ] && [ -e "$uploads/backup-archive.tar" ] || return 0
	# In a folder of ours, so that nobody gives the name to something else meanwhile.
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

# As it was under the ancestor's API: what it makes, others can read, and root is at home. The lock of the job is
# standard input, and goes on with it.
umask 022
status=0
env -i PATH="$PATH" HOME=/root USER=root LOGNAME=root ${JIDO_ADMIN_PATH:+JIDO_ADMIN_PATH="$JIDO_ADMIN_PATH"} \
	${JIDO_ETC_PATH:+JIDO_ETC_PATH="$JIDO_ETC_PATH"} SSH_ORIGINAL_COMMAND="$job" "$bin/wrapper.sh" "$@" || status=$?

# Its certificates lie where the ancestor served them from.
if [ "$job" = certs ]; then
	"$bin/jobs/old-certificate" </dev/null >/dev/null 2>&1 || :
fi
exit "$status"
