"""Power cuts, full disks and read-only disks: in the middle of every job that changes something, at steps spread over it.

A step is a command that changes something. Each has a stand-in, first in the PATH that jobs get, which counts and
stops before the one where the power or the disk is to go. After the boot the first answers must be true, everything
must be as before or as wanted and never a mixture, and the same request must work.
"""

import hashlib
import json
import pathlib
import threading
import time

from api import NOTHING, Api, settings
from machine import ADMIN, ETC, UPLOADS, run
from report import poll, table
from stage import LICENSE_PASSPHRASE, TOKEN

COMMANDS = ("mv rm mkdir rmdir cat chmod chgrp chown cp ln sync tar gzip openssl head dd tee touch mktemp "
            "systemctl networkctl ip hostname gpg").split()
STAND_IN = """#!/bin/sh
# Counts the steps of a job, and stops before the one at which the power goes.
if [ -f /run/jaa/at ]; then
	printf '%s\\n' "${0##*/}" >>/run/jaa/steps
	read -r at </run/jaa/at
	if [ "$(/usr/bin/wc -l </run/jaa/steps)" -ge "$at" ]; then
		: >/run/jaa/reached
		while [ ! -e /run/jaa/go ]; do /usr/bin/sleep 0.1; done
	fi
fi
exec "/usr/bin/${0##*/}" "$@"
"""
CUTS_A_JOB = 5
NEVER = 1000000

# What may lie there when no job runs and nothing waits for confirmation.
LEFTOVERS = f"""
find {UPLOADS} -mindepth 1 ! -name '.*.lock' ! -name backup.json ! -name backup.tar -print
find {ADMIN}/etc {ADMIN}/log {ETC} \\( -name '*.new' -o -name '*.tmp' -o -name '.*' \\) -print
find {ADMIN}/lib -mindepth 1 ! -name '*.guard' ! -path '*/storage.previous*' ! -name restore.undo \\
	! -name restore.stages ! -name update.version ! -name work ! -path '*/network.before*' -print
[ -f {ADMIN}/lib/restore.undo ] || find / -xdev -name .jidoteki-restore -print
[ "$(find {ETC}/tls -mindepth 1 -maxdepth 1 -type d | wc -l)" -eq 1 ] || ls {ETC}/tls
"""


class Job:
    """What is cut, and how it is seen what is in force. Values are numbers: the one in force, and the next one."""

    name = ""
    lock = ""
    # What GET /update may say of one that was ended.
    codes = ("E1000",)

    def __init__(self, stage):
        self.stage = stage
        self.vendor = stage.vendor

    def post(self, api, value):
        """Asks for the value; the answer."""
        raise NotImplementedError

    def in_force(self, machine, api):
        """The value in force, or a text that says what is wrong."""
        raise NotImplementedError

    def lie(self, machine, api, value, wanted):
        """What the API says that is not so, when `value` is in force after `wanted` was cut; or nothing."""
        return None


class Token(Job):
    name = lock = "token"

    def post(self, api, value):
        answer = api.post("/setup", {"newtoken": f"token-{value}"})
        api.token = f"token-{value}" if answer.status == 200 else api.token
        return answer

    def in_force(self, machine, api):
        right = [n for n in range(self.stage.value - 1, self.stage.value + 2)
                 if n >= 0 and api.get("/version", token=f"token-{n}").status == 200]
        if len(right) != 1:
            return f"{len(right)} tokens are accepted: {right}"
        api.token = f"token-{right[0]}"
        return right[0]


class Update(Job):
    name = lock = "update"
    # As a vendor should: beside, flushed, renamed.
    PUT = "cat >/data/app-version.new\nsync /data/app-version.new\nmv /data/app-version.new /data/app-version\nsync /data\n"
    SCRIPT = "printf '%s\\n' \"$JIDO_VERSION_AFTER\" | " + PUT
    ROLLBACK = "printf '%s\\n' \"$JIDO_VERSION_BEFORE\" | " + PUT

    def post(self, api, value):
        package = self.vendor.package(f"2.{value}.0", self.SCRIPT, self.ROLLBACK)
        return api.post("/update", {"update": package})

    def in_force(self, machine, api):
        version = api.get("/version").json().get("version", "none")
        application = machine.read("/data/app-version").strip()
        if version != application:
            return f"the version says {version}, the application is {application}"
        return int(version.split(".")[1])

    def lie(self, machine, api, value, wanted):
        answer = api.get("/update").json()
        status, after = answer.get("status"), answer.get("version-after")
        if status == "success" and after in (None, f"2.{value}.0"):
            return None
        if status == "failed" and value != wanted and answer.get("error-code") in self.codes:
            return None
        return f"2.{value}.0 is in force, and GET /update says {answer}"


class Settings(Job):
    name = lock = "settings"

    def post(self, api, value):
        document = settings("10.77.0.2", "10.77.0.1", hostname=f"name{value}", app=str(value))
        return api.post("/settings", {"settings": document})

    def in_force(self, machine, api):
        answer = api.get("/settings").json()
        found = {
            "GET /settings": answer.get("network", {}).get("hostname"),
            "its app": f"name{answer.get('app', {}).get('name')}",
            "network.conf": machine.sh(f"sed -n 's/^hostname=//p' {ETC}/network.conf").strip().strip('"'),
            "the machine": machine.sh("hostname").strip(),
            "/etc/hostname": machine.sh("cat /etc/hostname").strip(),
            "its address": f"name{answer.get('app', {}).get('name')}" if
                           "Address=10.77.0.2/24" in machine.read("/etc/systemd/network/05-jidoteki.network") else "",
        }
        if len(set(found.values())) != 1:
            return f"a mixture: {found}"
        return int(found["the machine"][4:])

    def lie(self, machine, api, value, wanted):
        word = machine.sh(f"cat {ADMIN}/etc/status_settings.txt").strip()
        if (word == "failed" and value == wanted) or "pending" in api.get("/settings").json():
            return f"name{value} is in force, and the status is {word}"
        return None


class Confirmed(Settings):
    """A change on trial, and its confirmation: two jobs."""
    name = "settings-confirmed"

    def post(self, api, value):
        document = settings("10.77.0.2", "10.77.0.1", hostname=f"name{value}", app=str(value))
        answer = api.post("/settings", {"settings": document, "confirm": "600"})
        if answer.status != 202:
            return answer
        poll(lambda: "pending" in api.get("/settings").json(), 30)
        return api.post("/settings/confirm", {})


class Certs(Job):
    name = lock = "certs"
    pairs = {}

    def post(self, api, value):
        if value not in self.pairs:
            self.pairs[value] = self.vendor.certificate(f"cert{value}", kind="ec")
        return api.post("/certs", self.pairs[value].form())

    def in_force(self, machine, api):
        served = api.fingerprint()
        for value, pair in self.pairs.items():
            if pair.fingerprint == served:
                return value
        return f"a certificate that nobody sent: {served}"

    def lie(self, machine, api, value, wanted):
        answer = api.get("/certs").json()
        if answer.get("status") == "success" or (answer.get("status") == "failed" and value != wanted):
            return None
        return f"certificate {value} is in force, and GET /certs says {answer}"


class Storage(Job):
    name = lock = "storage"

    def post(self, api, value):
        return api.post("/storage", {"settings": json.dumps({"storage": {
            "type": "nfs", "ip": "10.77.0.1", "share": f"/share{value}", "mount_options": "vers=4"}}).encode()})

    def in_force(self, machine, api):
        shown = api.get("/storage").json().get("storage", {}).get("share")
        conf = machine.sh(f"sed -n 's/^share=//p' {ETC}/storage.conf").strip().strip('"')
        if shown != conf:
            return f"GET /storage shows {shown}, storage.conf has {conf}"
        return int(shown[6:])

    def lie(self, machine, api, value, wanted):
        word = machine.sh(f"cat {ADMIN}/etc/status_storage.txt").strip()
        return f"share{value} is in force, and the status is failed" if word == "failed" and value == wanted else None


class License(Job):
    name = lock = "license"

    def post(self, api, value):
        machine = self.stage.machine
        machine.sh('cd /root && rm -rf gnupg && mkdir -m 700 gnupg && printf \'{"number":%s}\' "$1" | gpg --homedir gnupg '
                   '--batch --quiet --no-tty --pinentry-mode loopback --passphrase "$2" --armor --yes -o license.asc '
                   '--symmetric && gpgconf --homedir gnupg --kill gpg-agent', value, LICENSE_PASSPHRASE)
        return api.post("/license", {"license": machine.read("/root/license.asc").encode()}, timeout=60)

    def in_force(self, machine, api):
        answer = api.get("/license", timeout=60)
        return answer.json().get("number", f"GET /license answers {answer}")


class Restore(Job):
    """The data before and after are two archives that the appliance itself has made."""
    name = "restore"
    lock = "backup"
    archives = {}

    def fill(self, machine, value):
        machine.sh("printf '%s\\n' \"$1\" >/data/documents/letter; printf '%s\\n' \"$1\" >/srv/settings/app.conf; "
                   "rm -f /data/documents/only-*; : >\"/data/documents/only-$1\"; sync", value)

    def post(self, api, value):
        return api.post("/backup/restore", {"archive": self.archives[value % 2]}, timeout=120)

    def in_force(self, machine, api):
        found = machine.sh("cd /data/documents; cat letter /srv/settings/app.conf; echo only-* | sed s/only-//").split()
        if len(found) != 3 or len(set(found)) != 1:
            return f"a mixture: {found}"
        # Archive 0 or 1 is in force: as a number it is the nearest of that kind.
        return int(found[0])


class Backup(Job):
    name = lock = "backup"

    def post(self, api, value):
        return api.post("/backup", {"action": "START"})

    def in_force(self, machine, api):
        answer = api.get("/backup")
        word = answer.json().get("status")
        archive = api.get("/backup/download", timeout=60)
        if word == "success":
            if hashlib.sha256(archive.body).hexdigest() != answer.json().get("sha256"):
                return "the archive is not the one that GET /backup speaks of"
            return self.stage.value
        # "failed" beside an archive is one whose success was cut off: it is whole, or it would not have this name.
        return self.stage.value if word == "failed" or answer.status == 404 else f"GET /backup says {answer}"


JOBS = (Token, Update, Settings, Confirmed, Certs, Storage, License, Restore, Backup)


def cuts(stage):
    report = stage.report
    machine, api = stage.ready("nginx")
    machine.wait_booted()
    prepare(machine)
    rows = [("job", "steps", "cuts", "survived")]
    for kind in JOBS:
        if stage.options.job and kind.name not in stage.options.job:
            continue
        stage.value = 0
        rows.append(cut_job(stage, machine, api, kind(stage)))
    half_upload(stage, machine, api)
    report.note("")
    for line in table(rows):
        report.note(line)
    total = [sum(row[n] for row in rows[1:]) for n in (1, 2, 3)]
    report.note(f"{total[1]} power cuts, {total[2]} survived")


def prepare(machine):
    """Stand-ins for the commands; nothing else may use them while steps are counted. And nobody but the jobs brings
    anything to the disk: a journal that is flushed every second would do a forgotten flush of theirs for them."""
    machine.sh("sed -i 's/^SyncIntervalSec=.*/SyncIntervalSec=1h/' /etc/systemd/journald.conf && "
               "systemctl restart systemd-journald")
    machine.sh("systemctl disable --now jidoteki-admin-api-minute.timer 2>&1")
    machine.write("/usr/local/sbin/stand-in", STAND_IN, "755")
    for command in COMMANDS:
        machine.sh('ln -s stand-in "/usr/local/sbin/$1"', command)
    machine.sh("sync")


def cut_job(stage, machine, api, job):
    """Counts the steps of one whole run, then cuts the power at some of them, and once right after the end."""
    n_steps, names = begin(stage, machine, api, job)
    stage.value = 1
    points = choose(n_steps, stage.options.every_cut)
    survived = 0
    for point in points:
        where = "cut after its end" if point > n_steps else f"cut before step {point} of {n_steps} ({names[point - 1]})"
        survived += cut_at(stage, machine, api, job, point, n_steps, where)
    return job.name, n_steps, len(points), survived


def begin(stage, machine, api, job):
    """Puts 0 in force and then 1, without a cut: how many steps that takes, and which."""
    report = stage.report
    api.token = api.token if job.name != "token" else TOKEN
    if job.name == "restore":
        for value in (1, 0):
            job.fill(machine, value)
            api.post("/backup", {"action": "START"})
            machine.await_job("backup")
            job.archives[value] = api.get("/backup/download", timeout=60).body
        api.post("/backup", {"action": "STOP"})
        machine.await_job("backup")
    else:
        ask(machine, api, job, 0)
        machine.await_job(job.lock)
    n_steps = count_steps(machine, api, job)
    names = machine.sh("cat /run/jaa/steps").split()
    machine.sh("rm -rf /run/jaa")
    report.check(f"{job.name}: a run that is not cut puts 1 in force, in {n_steps} steps",
                 job.in_force(machine, api) == 1 or job.name == "backup", lambda: job.in_force(machine, api))
    return n_steps, names


def choose(n_steps, every):
    """Steps spread over the job, from the first to the last, and one beyond it."""
    if every or n_steps <= CUTS_A_JOB:
        return [*range(1, n_steps + 1), n_steps + 1]
    return [*sorted({1 + round(n * (n_steps - 1) / (CUTS_A_JOB - 1)) for n in range(CUTS_A_JOB)}), n_steps + 1]


def ask(machine, api, job, value):
    """A request in a thread of its own: where the job stops, nobody answers."""
    answers = []

    def request():
        try:
            answers.append(job.post(Api(api.address, api.token), value))
        except NOTHING as error:
            answers.append(error)
    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(60)
    if job.name == "token" and answers and getattr(answers[0], "status", 0) == 200:
        api.token = f"token-{value}"
    return answers


def stop_before(machine, step):
    machine.sh('rm -rf /run/jaa; mkdir -m 777 /run/jaa; umask 0; : >/run/jaa/steps; printf "%s\\n" "$1" >/run/jaa/at.new; '
               'mv /run/jaa/at.new /run/jaa/at', step)


def count_steps(machine, api, job):
    stop_before(machine, NEVER)
    answers = ask(machine, api, job, 1)
    machine.await_job(job.lock)
    machine.sh("rm /run/jaa/at")
    if not answers or getattr(answers[0], "status", 0) not in (200, 202):
        raise RuntimeError(f"{job.name}: {answers}")
    return int(machine.sh("wc -l </run/jaa/steps"))


def power_fails(machine, api, job):
    machine.power_cut()
    machine.boot()


def cut_at(stage, machine, api, job, point, n_steps, where, calamity=power_fails):
    report = stage.report
    before, wanted = stage.value, stage.value + 1
    if job.name == "restore":
        before, wanted = stage.value % 2, (stage.value + 1) % 2
    what = f"{job.name}, {where}"
    is_after = point > n_steps
    asked = wanted
    if is_after:
        answers = ask(machine, api, job, asked)
        if not machine.await_job(job.lock):
            return report.check(what, False, "the job does not end")
        if not answers or getattr(answers[0], "status", 0) not in (200, 202):
            return report.check(what, False, f"the request itself failed: {answers}")
    else:
        stop_before(machine, point)
        thread = threading.Thread(target=ask, args=(machine, api, job, asked), daemon=True)
        token = api.token
        thread.start()
        reached = poll(lambda: machine.inside("/run/jaa/reached").exists(), 30, 0.02)
        if not reached:
            machine.sh("rm -f /run/jaa/at")
            thread.join(30)
            machine.await_job(job.lock)
            api.token = token if job.name != "token" else api.token
            found = job.in_force(machine, api)
            stage.value = found if isinstance(found, int) else stage.value
            report.note(f"{what}: this run did not come that far")
            return 1
    faults = [fault for fault in [calamity(machine, api, job)] if fault]
    if not api.wait(60):
        report.check(what, False, f"the API does not answer after the boot\n{machine.last_words()}")
        machine.wait_booted()
        return 0
    found = job.in_force(machine, api)
    if found not in (before, wanted):
        faults.append(f"in force is neither the old nor the new: {found}")
    if is_after and found != wanted and job.name != "backup":
        faults.append(f"it had ended with success, and after the cut in force is {found}, not {wanted}")
    lie = job.lie(machine, api, found, wanted) if isinstance(found, int) else None
    if lie:
        faults.append(lie)

    # The same request again must do it, and leave nothing behind.
    again = wanted + 1 if job.name in ("update", "token") and found == wanted else wanted
    stage.value = again - 1 if job.name in ("update", "token") else stage.value
    machine.sh("rm -rf /run/jaa")
    answers = ask(machine, api, job, again)
    machine.await_job(job.lock)
    stage.value = again if job.name != "restore" else again
    now = job.in_force(machine, api)
    if now != again:
        faults.append(f"the next request did not put {again} in force, but: {now}; its answer: {answers}")
    # What runs once a minute is switched off here, and some things may stay until then.
    machine.sh(f"{ADMIN}/bin/recover.sh")
    left = machine.sh(LEFTOVERS).strip()
    if left:
        faults.append(f"left behind: {left}")
    words = "the new" if found == wanted and before != wanted else "the old"
    if faults:
        log = "update" if job.lock == "update" else f"update_{job.lock}"
        faults.append(machine.sh(f"tail -n 10 {ADMIN}/log/{log}.log", check=False))
    return int(report.check(f"{what}: {words} is in force; the next request works", not faults, "\n".join(faults)))


# --- a disk that fails ---

def disk(stage):
    """The disk fills up, or an error makes it read-only, in the middle of a job, and stays so to the end of the job."""
    report = stage.report
    machine, api = stage.ready("nginx")
    machine.wait_booted()
    prepare(machine)
    rows = [("job", "steps", "full", "read-only", "survived")]
    for kind in (Update, Settings, Certs, Storage, Restore):
        if stage.options.job and kind.name not in stage.options.job:
            continue
        job = kind(stage)
        # It knows what it lacks; and where there is no room, there may be none for the code.
        job.codes = ("E1000", "E1002", None)
        stage.value = 0
        n_steps, names = begin(stage, machine, api, job)
        stage.value = 1
        points = sorted({1 + round(n * (n_steps - 1) / 4) for n in (1, 2, 3)})
        survived = 0
        for what, calamity in (("the disk is full", disk_fills), ("the disk is read-only", disk_is_lost)):
            for point in points:
                where = f"{what} from step {point} of {n_steps} on ({names[point - 1]})"
                survived += cut_at(stage, machine, api, job, point, n_steps, where, calamity)
        rows.append((job.name, n_steps, len(points), len(points), survived))
    report.note("")
    for line in table(rows):
        report.note(line)


def go_on(machine, job):
    machine.sh(": >/run/jaa/go")
    return None if machine.await_job(job.lock, 120) else "the job does not end"


def disk_fills(machine, api, job):
    """Until somebody makes room, and the next minute comes."""
    machine.sh("mkdir /fill; n=0; for size in 1G 100M 10M 1M 64K 4K; do while n=$((n + 1)); fallocate -l $size /fill/$n; do :; "
               "done; done 2>/dev/null; ! dd if=/dev/zero of=/fill/last bs=4k count=64 conv=fsync 2>/dev/null", seconds=120)
    fault = go_on(machine, job)
    machine.sh("rm -rf /fill")
    machine.sh(f"{ADMIN}/bin/recover.sh", seconds=120)
    return fault


def disk_is_lost(machine, api, job):
    """As ext4 does it after an error. It ends with a restart, which finds what was on the disk until then."""
    device = run("findmnt", "-n", "-o", "SOURCE", machine.root).strip().rpartition("/")[2]
    pathlib.Path("/sys/fs/ext4", device, "trigger_fs_error").write_text("1")
    faults = [] if machine.attempt("echo x >/data/x").returncode != 0 else ["(the disk is not read-only at all)"]
    faults.append(go_on(machine, job))
    try:
        answer = api.get("/version")
        faults.append(f"on a read-only disk the API answers: {answer}" if answer.status != 200 else None)
    except NOTHING as error:
        faults.append(f"the API does not answer on a read-only disk: {error!r}")
    machine.power_cut()
    machine.boot()
    return "\n".join(fault for fault in faults if fault)


def half_upload(stage, machine, api):
    """The power goes while a package is still on its way."""
    report = stage.report
    connection = api.half_upload("/update", "update", 300000)
    time.sleep(0.3)
    version = api.get("/version").json()
    machine.power_cut()
    connection.close()
    machine.boot()
    report.check("an upload, cut in the middle: the API answers", api.wait())
    report.same("... nothing of it is left", machine.sh(LEFTOVERS.strip().splitlines()[0]).strip(), "")
    report.same("... and the version is the one of before", api.get("/version").json(), version)
