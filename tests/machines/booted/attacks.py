"""Whoever has become the user of the web server wants to become root, through the jobs that root runs for it.

Each attack is tried as that user, on the installed machine. Afterwards nothing of root's may have changed that no
job changes, root's secret may be readable nowhere, and the jobs must still work.
"""

import io
import tarfile

from api import Api, settings
from machine import ADMIN, API_USER, ETC, UPLOADS
from report import poll, table
from stage import LICENSE_PASSPHRASE, TOKEN
from whole import outcome

CANARY = "canary-of-root-3f1c"
GOOD = "/var/tmp/good"

# job word and argument, and what it takes out of uploads.
TAKES = (
    ("token", "", ("api.token",)),
    ("settings", "static", ("network.conf", "network.json", "app.json", "settings.confirm")),
    ("certs", "", ("appliance.pem", "appliance.key", "ca.pem", "certs.confirm")),
    ("license", "", ("license.asc",)),
    ("storage", "", ("storage.conf", "storage.json")),
    ("backup", "RESTORE", ("backup-archive.tar",)),
    ("update", "", ("software_package-zzz.enc",)),
)
# How the executable starts a job: nothing but this in the environment.
CALL = (f"cd {UPLOADS} && exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "
        f"SSH_ORIGINAL_COMMAND=\"$1\" timeout 40 {ADMIN}/bin/wrapper.sh ${{2:+\"$2\"}} </dev/null")
# What no attack may change. Left out: what jobs write when they are asked to.
ROOTS = (f"find / -xdev \\( -path /var/log -o -path /var/tmp -o -path /tmp -o -path {ADMIN} -o -path {ETC} -o -path /root/src "
         "-o -path /var/lib/systemd -o -path /etc/systemd/network -o -path /etc/hostname -o -path /etc/hosts "
         "-o -path /var/lib/private -o -path /usr/share -o -path /usr/lib -o -name .jidoteki-restore \\) -prune -o \\( -type f -o -type l \\) "
         f"-printf '%p %u %g %m %s %T@ %l\\n' | sort; find {ADMIN}/bin -printf '%p %u %g %m %s %T@\\n' | sort; "
         "sha256sum /etc/shadow /etc/passwd /etc/sudoers.d/*")


class Attacker:
    def __init__(self, stage, machine, api):
        self.stage = stage
        self.machine = machine
        self.api = api
        self.report = stage.report
        self.rows = []
        self.before = machine.sh(ROOTS)

    def sh(self, script, *arguments, seconds=60):
        """As the user of the web server: exit status and output."""
        done = self.machine.attempt(script, *arguments, user=API_USER, seconds=seconds)
        return done.returncode, done.stdout

    def call(self, job, argument=""):
        return self.sh(CALL, job, argument)

    def held(self, attack, what, holds, why=""):
        """One line of the list, after a look at everything that must not have happened."""
        why = why() if callable(why) and not holds else why
        after = self.machine.sh(ROOTS)
        if after != self.before:
            changed = "\n".join(sorted(set(after.splitlines()) ^ set(self.before.splitlines()))[:10])
            why, holds = f"{why}\nchanged of root's:\n{changed}", False
            self.before = after
        seen = self.machine.sh(f"grep -rlaF {CANARY} {UPLOADS} {ADMIN}/etc {ADMIN}/log {ETC} /tmp /var/tmp "
                               "/var/log/nginx /var/log/jidoteki-admin-api 2>/dev/null || :").strip()
        if seen:
            why, holds = f"{why}\nroot's secret is in {seen}", False
        self.report.check(f"{attack}: {what}", holds, why)
        self.rows.append((attack, what if holds else "SUCCEEDED"))

    def restock(self):
        """Uploads as an honest executable would have left them, all files at once."""
        self.sh(f"cd {UPLOADS} && find . -mindepth 1 -maxdepth 1 ! -name '.*.lock' -exec rm -rf {{}} + ; "
                f"cp {GOOD}/* . && rm -f settings.confirm certs.confirm ca.pem")


def attacks(stage):
    machine, api = stage.ready("nginx")
    machine.wait_booted()
    machine.sh("systemctl stop jidoteki-admin-api-minute.timer")
    machine.write("/root/canary", CANARY + "\n", "600")
    prepare(stage, machine, api)
    attacker = Attacker(stage, machine, api)
    for attack in (planted, constants, races, published, locks, other_commands, environment, limits, forbidden_files,
                   processes, archives, swapped_package, swept, of_another_service):
        attack(attacker)
    still_works(attacker)
    stage.report.note("")
    for line in table(attacker.rows):
        stage.report.note(line)


def prepare(stage, machine, api):
    """Good files for every job, as the executable would hand them over."""
    api.post("/settings", {"settings": settings("10.77.0.2", "10.77.0.1")})
    api.post("/storage", {"settings": b'{"storage":{"type":"local"}}'})
    pair = stage.vendor.certificate("good", kind="ec")
    for job in ("settings", "storage"):
        machine.await_job(job)
    machine.sh(f"mkdir {GOOD}; chmod 755 {GOOD}; cp {ADMIN}/etc/network.json {ADMIN}/etc/app.json {ADMIN}/etc/storage.json "
               f"{ETC}/network.conf {ETC}/storage.conf {GOOD}; cd /root && mkdir -m 700 gnupg && printf '{{}}' | "
               "gpg --homedir gnupg --batch --quiet --no-tty --pinentry-mode loopback --passphrase \"$1\" --armor "
               f"-o {GOOD}/license.asc --symmetric && gpgconf --homedir gnupg --kill gpg-agent; chmod 644 {GOOD}/*",
               LICENSE_PASSPHRASE)
    machine.write(f"{GOOD}/api.token", TOKEN + "\n")
    machine.write(f"{GOOD}/appliance.pem", pair.pem.decode())
    machine.write(f"{GOOD}/appliance.key", pair.key.decode())
    api.post("/backup", {"action": "START"})
    machine.await_job("backup")
    machine.sh(f"cp {UPLOADS}/backup.tar {GOOD}/backup-archive.tar; chmod 644 {GOOD}/*")
    # Over the cable into uploads, and from there: the executable's own way.
    machine.inside(f"{GOOD}/software_package-zzz.enc").write_bytes(stage.vendor.package("1.0.0+again", "true"))


def planted(attacker):
    """Something else in place of each file that a job takes."""
    honest = []
    for job, argument, _ in TAKES:
        attacker.restock()
        honest.append((job, attacker.call(job, argument)))
    attacker.report.check("the same calls with honest files work (so what follows is refused for what it is)",
                          all(status == 0 for _, (status, _) in honest), honest)
    attacker.before = attacker.machine.sh(ROOTS)
    kinds = (
        ("a symbolic link to root's secret", 'ln -sfn /root/canary "$1"'),
        ("a symbolic link to /etc/shadow", 'ln -sfn /etc/shadow "$1"'),
        ("a symbolic link to the private key in force", f'ln -sfn {ETC}/tls/current/appliance.key "$1"'),
        ("a hard link to a file of ours", 'rm -f "$1" && touch keep && ln keep "$1"'),
        ("a pipe that nobody writes to", 'rm -f "$1" && mkfifo "$1"'),
        ("a directory with files in it", 'rm -f "$1" && mkdir "$1" && touch "$1/x"'),
        ("a socket", 'rm -f "$1" && python3 -c "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])" "$1"'),
    )
    for what, plant in kinds:
        n_refused, faults = 0, []
        for job, argument, names in TAKES:
            for name in names:
                attacker.restock()
                attacker.sh(f"cd {UPLOADS} && {plant}", name)
                status, output = attacker.call(job, argument)
                if status == 124:
                    faults.append(f"{job} hangs on {name}")
                elif status != 0 and "is not a regular file" in output:
                    n_refused += 1
                else:
                    faults.append(f"{job} took {name}: {output}")
        n_all = sum(len(names) for _, _, names in TAKES)
        attacker.held(f"{what}, for each of {n_all} files", f"refused {n_refused} times", not faults, "\n".join(faults))
    status, output = attacker.sh(f"ln /etc/shadow {UPLOADS}/x; ln /root/canary {UPLOADS}/y")
    attacker.held("hard links to root's own files", "the kernel refuses them", status != 0, output)
    # A name in uploads must not lead a job anywhere else afterwards.
    attacker.restock()


def constants(attacker):
    """Files that a shell of the image will source as root."""
    evil = ("hostname=\"$(touch /root/owned)\"", "hostname=`touch /root/owned`", "touch /root/owned",
            "hostname=a;touch /root/owned",
            "hostname=\"a\"; touch /root/owned", "PATH=/tmp/evil", "hostname=a touch /root/owned", "hostname=$IFS",
            "hostname='a'$(id)", "hostname=\"\\$(id)\"$(touch /root/owned)", "export LD_PRELOAD=/tmp/x", ". /tmp/evil")
    faults = []
    for line in evil:
        attacker.restock()
        attacker.sh(f'printf "mode=static\\n%s\\n" "$1" >{UPLOADS}/network.conf', line)
        attacker.call("settings", "static")
        faults.extend(in_force(attacker, "network.conf", line))
        attacker.sh(f'printf "%s\\n" "$1" >{UPLOADS}/storage.conf', line)
        attacker.call("storage")
        faults.extend(in_force(attacker, "storage.conf", line))
    attacker.held(f"{2 * len(evil)} ways to put a command into network.conf and storage.conf", "none came into force",
                  not faults, "\n".join(faults))


def in_force(attacker, name, line):
    """What is wrong after a job was given a file with that line: the file in force is derived from the JSON."""
    content = attacker.machine.sh(f"cat {ETC}/{name}; ls /root/owned 2>/dev/null || :")
    return [f"{name}: {line}\n{content}"] if line in content or "/root/owned" in content else []


def races(attacker):
    """What was checked is changed before it is used."""
    def race(job, argument, change, rounds=15):
        return attacker.sh(
            f"cd {UPLOADS}; ( while :; do {change}; done ) >/dev/null 2>&1 & changer=$!; n=0; "
            f"while [ $n -lt {rounds} ]; do n=$((n + 1)); cp {GOOD}/* . 2>/dev/null; "
            "rm -f settings.confirm certs.confirm ca.pem; "
            f"env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C SSH_ORIGINAL_COMMAND='{job}' "
            f"{ADMIN}/bin/wrapper.sh {argument} </dev/null >/dev/null 2>&1; "
            f"cat {ETC}/network.conf; done; kill -9 $changer", seconds=240)

    attacker.restock()
    evil = "mode=static\\nhostname=\"$(touch /root/owned)\"\\n"
    _, output = race("settings", "static", f"printf '{evil}' >.evil; mv -f .evil network.conf; cp {GOOD}/network.conf .ok; "
                     "mv -f .ok network.conf")
    attacker.held("network.conf swapped for another one, all the time, 15 changes", "no command came into force",
                  "touch" not in output and "mode=static" in output, output[-500:])
    attacker.restock()
    _, output = race("settings", "static", f"ln -sfn /root/canary network.conf; cp {GOOD}/network.conf .ok; "
                     "mv -f .ok network.conf", 10)
    attacker.held("network.conf swapped for a link to root's secret, 10 changes", "the secret came nowhere",
                  CANARY not in output, output[-500:])
    attacker.restock()
    _, output = attacker.sh(
        f"cd {UPLOADS}; n=0; while [ $n -lt 15 ]; do n=$((n + 1)); rm -f api.token; cp {GOOD}/api.token .t; exec 3<>.t; "
        "mv .t api.token; ( while :; do printf 'evil\\nline\\n' >&3; done ) 2>/dev/null & w=$!; "
        f"env -i PATH=/usr/bin:/bin LC_ALL=C SSH_ORIGINAL_COMMAND=token {ADMIN}/bin/wrapper.sh </dev/null >/dev/null 2>&1; "
        f"kill -9 $w; exec 3>&-; wc -l <{ADMIN}/etc/api.token; done", seconds=120)
    attacker.held("a file written to while the job reads it, by a descriptor that stayed open, 15 times",
                  "the token in force is always one line", set(output.split()) == {"1"}, output)
    attacker.restock()
    attacker.call("token")


def published(attacker):
    """What jobs leave in uploads: names that are taken already, and change meanwhile."""
    for job, argument, name in (("logs", "", "logs.tar.gz"), ("debug", "", "debug-bundle.tar"),
                                ("backup", "START", "backup.tar"), ("backup", "START", "backup.json")):
        for what, plant in (("a link to /etc/cron.d/evil", f"ln -sfn /etc/cron.d/evil {name}"),
                            ("a link to /etc/passwd", f"ln -sfn /etc/passwd {name}"),
                            ("a directory", f"rm -f {name}; mkdir {name} && touch {name}/x"),
                            ("a pipe", f"rm -f {name}; mkfifo {name}")):
            attacker.restock()
            attacker.sh(f"cd {UPLOADS} && {plant}")
            status, output = attacker.call(job, argument)
            if status == 124:
                attacker.held(f"{name} is {what}", "hangs", False, output)
                return
    attacker.held("logs.tar.gz, debug-bundle.tar, backup.tar and backup.json are links, directories and pipes already",
                  "nothing outside was touched", True)
    _, output = attacker.sh(
        f"cd {UPLOADS}; ( while :; do ln -sfn /etc/cron.d/evil backup.tar; rm -rf backup.tar; mkdir backup.tar; "
        "rm -rf .backup.*; mv -f backup.json old.json; ln -sfn /etc/cron.d/evil backup.json; done ) >/dev/null 2>&1 & c=$!; "
        f"n=0; while [ $n -lt 8 ]; do n=$((n + 1)); env -i PATH=/usr/bin:/bin LC_ALL=C SSH_ORIGINAL_COMMAND=backup "
        f"timeout 30 {ADMIN}/bin/wrapper.sh START </dev/null >/dev/null 2>&1; done; kill -9 $c; ls -la", seconds=280)
    attacker.held("the same, changing all the time while 8 backups are made", "nothing outside was touched",
                  attacker.machine.attempt("test -e /etc/cron.d/evil").returncode != 0, output)
    attacker.restock()


def locks(attacker):
    """The lock files are in uploads as well."""
    faults = []
    for plant, kind in (("ln -sfn /etc/passwd .update.lock", "symbolic link"), ("ln -sfn /root/canary .update.lock", "symbolic link"),
                        ("mkfifo .update.lock", "fifo"), ("mkdir .update.lock", "directory"),
                        ("touch keep && ln keep .update.lock", "regular empty file")):
        attacker.sh(f"cd {UPLOADS} && rm -rf .update.lock keep && {plant}")
        answer = attacker.api.post("/update", {"update": b"nothing"}, timeout=60)
        # It is put aside as it is, and the job begins with a lock of its own.
        if answer.status != 202:
            faults.append(f"{plant}: {answer}")
        attacker.api.get("/update", timeout=60)
        attacker.machine.await_job("update")
        _, seen = attacker.sh(f"cd {UPLOADS} && stat -c '%F %h' .update.lock .aside-*")
        wanted = ["regular empty file 1", f"{kind} {2 if kind in ('regular empty file', 'directory') else 1}"]
        if seen.splitlines() != wanted:
            faults.append(f"{plant}: in uploads is {seen}, and not {wanted}")
        attacker.sh(f"rm -rf {UPLOADS}/.update.lock {UPLOADS}/.aside-* {UPLOADS}/keep")
    attacker.held("the lock of a job is a link, a pipe, a directory, a file with another name",
                  "each is put aside, nothing is opened through it, the job starts", not faults, "\n".join(faults))


def other_commands(attacker):
    """sudo with anything but exactly the words in sudoers; the wrapper with anything but its words."""
    jobs = f"{ADMIN}/bin/jobs"
    commands = (
        "/bin/sh", "/bin/sh -c id", f"{jobs}/settings", f"{jobs}/settings recover", f"{jobs}/settings static x",
        f"{jobs}/settings ''", f"{jobs}/token x", f"{jobs}/token ''", f"{jobs}/update recover", f"{jobs}/backup",
        f"{jobs}/backup recover", f"{jobs}/backup START STOP", f"{jobs}/backup start", f"{jobs}/certs recover",
        f"{jobs}/storage recover", f"{jobs}/license recover", f"{jobs}/health", f"{jobs}/monitor sample",
        f"{jobs}/monitor", f"{jobs}/../network.sh none",
        f"{ADMIN}/bin/recover.sh", f"{ADMIN}/bin/minute.sh", f"{ADMIN}/bin/wrapper.sh", f"/bin/sh {jobs}/token",
        "-s", "-i", f"-e {jobs}/token", f"-u www-data {jobs}/token", f"-g root {jobs}/token", "-l -U root",
        f"-D /tmp {jobs}/token", f"-R /tmp {jobs}/token", f"-C 200 {jobs}/token", f"-E {jobs}/token",
        f"PATH=/tmp {jobs}/token", f"LD_PRELOAD=/tmp/x {jobs}/token")
    attacker.restock()
    faults = []
    for command in commands:
        status, output = attacker.sh(f"cd / && sudo -n {command} </dev/null 2>&1")
        if status == 0:
            faults.append(f"sudo {command}: {output[:200]}")
    attacker.held(f"sudo with {len(commands)} other commands, words and options", "each refused", not faults,
                  "\n".join(faults))

    # sudo allows a path that leads to an allowed file. What counts is which path it then runs: a job finds its library
    # and everything else from its own.
    attacker.sh("mkdir -p /tmp/evil/bin/lib /tmp/evil/bin/jobs /tmp/other/bin && "
                f"for job in token services reboot; do ln -s {jobs}/$job /tmp/evil/bin/jobs/$job; done; "
                f"ln -s {jobs} /tmp/other/bin/jobs; "
                "printf ': >/tmp/evil/ran-as-$(/usr/bin/id -un)\\n' >/tmp/evil/bin/lib/job.sh; "
                "cp -r /tmp/evil/bin/lib /tmp/other/bin")
    for path in ("/tmp/evil/bin/jobs/token", "/tmp/evil/bin/jobs/services", "/tmp/other/bin/jobs/token",
                 f"{jobs}/../jobs/token", f"{jobs}//token", "jobs/token"):
        attacker.sh(f"cd /tmp/evil/bin && sudo -n {path} </dev/null 2>&1")
        attacker.sh(f"cd /tmp/evil/bin/jobs && PATH=. && exec /usr/bin/sudo -n token </dev/null 2>&1")
    ran = attacker.machine.sh("ls /tmp/evil | grep root || :; ls /tmp/other")
    attacker.held("jobs called by links of ours, beside a library of ours", "what ran was root's own", ran == "bin\n", ran)
    attacker.machine.sh("rm -rf /tmp/evil /tmp/other")

    requests = (("token; id", ""), ("token", "x"), ("settings", "recover"), ("settings static recover", ""),
                ("../../../bin/sh", ""), ("sh", ""), ("", ""), ("backup", "START STOP"), ("backup", "-x"),
                ("settings", "static\nrecover"), ("health", ""), ("*", ""), ("monitor", "sample"), ("services", "--help"))
    faults = [str(request) for request in requests if attacker.call(*request)[0] == 0]
    attacker.held(f"wrapper.sh with {len(requests)} other requests", "each refused", not faults, "\n".join(faults))
    done = attacker.machine.attempt(f"sudo -n {jobs}/token </dev/null", user="www-data")
    attacker.held("sudo by nginx's own user", "refused", done.returncode != 0, done.stdout)


def environment(attacker):
    """Programs of ours, found by a job of root's because of what stands in the environment."""
    evil = "/tmp/evil"
    attacker.sh(f"mkdir -p {evil} && cd {evil} && for name in systemctl mv cat rm stat date awk sed mkdir openssl flock head "
                "tr sync id sh tar; do printf '#!/bin/sh\\n: >/tmp/evil/ran-as-$(/usr/bin/id -un)\\n' >$name; chmod 755 $name; "
                "done; printf ': >/tmp/evil/sourced-as-$(/usr/bin/id -un)\\n' >profile")
    tried = (f"PATH={evil}:/usr/bin:/bin", f"ENV={evil}/profile", f"BASH_ENV={evil}/profile", f"LD_PRELOAD={evil}/mv",
             f"LD_LIBRARY_PATH={evil}", f"JIDO_ADMIN_PATH={evil}", f"JIDO_ETC_PATH={evil}", "IFS=/", f"TMPDIR={evil}",
             f"HOME={evil}", f"OPENSSL_CONF={evil}/profile", f"OPENSSL_MODULES={evil}",
             f"TAR_OPTIONS=--use-compress-program={evil}/sh",
             "TAPE=/dev/tcp", "POSIXLY_CORRECT=1", f"GZIP=-S{evil}", f"AWKPATH={evil}", f"GNUPGHOME={evil}", "PS4=$(id)",
             "SUDO_EDITOR=/bin/sh", f"SHELL={evil}/sh", "TERM=../../tmp/evil", "LC_ALL=../../tmp/evil", f"TZ={evil}/profile")
    for variable in tried:
        attacker.restock()
        for job in ("services", "token", "logs"):
            for option in ("-n", '-n --preserve-env="${1%%=*}"'):
                attacker.sh(f"cd {evil} && env \"$1\" /usr/bin/sudo {option} {ADMIN}/bin/jobs/{job} </dev/null >/dev/null 2>&1",
                            variable)
    ran = attacker.machine.sh("ls /tmp/evil | grep root || :")
    attacker.held(f"{len(tried)} variables in the environment of sudo, also asked to be kept", "no program of ours ran as root",
                  ran == "", ran)
    attacker.machine.sh("rm -rf /tmp/evil")


def limits(attacker):
    """What a process of root's inherits in spite of sudo."""
    faults = []
    for setup in ("ulimit -f 0", "ulimit -n 5", "ulimit -t 1", "ulimit -v 20000", "ulimit -c unlimited", "umask 000", "umask 777",
                  "exec <&-", "exec >&- 2>&-", "exec <&- >&- 2>&-", "trap '' TERM INT HUP PIPE", "exec 3</etc/passwd 4<&3 9<&3",
                  "mkdir /tmp/gone && cd /tmp/gone && rmdir /tmp/gone", "nice -n 19 true"):
        attacker.restock()
        attacker.sh(f"{setup}; exec /usr/bin/sudo -n {ADMIN}/bin/jobs/token")
        state = attacker.machine.sh(f"stat -c '%a %U %G' {ADMIN}/etc/api.token; cat {ADMIN}/etc/api.token; "
                                    f"ls {ADMIN}/etc | grep -c '\\.new$' || :").split()
        if state[:4] != ["660", "root", API_USER, TOKEN]:
            faults.append(f"{setup}: {state}")
    attacker.restock()
    status, output = attacker.call("token")
    attacker.held("14 limits, masks, closed descriptors and places to start a job in",
                  "the token in force is whole, its mode right; the next job works", not faults and status == 0,
                  f"{faults} {status} {output}")
    loose = attacker.machine.sh(f"find {ADMIN}/etc {ADMIN}/lib {ETC} -perm /022 ! -type l ! -name 'api.token*' -print")
    attacker.held("a mask that lets everybody write", "nothing of root's can be written by others", loose == "", loose)


def forbidden_files(attacker):
    """Files and directories of root's, directly."""
    write = [f"{ADMIN}/etc/new", f"{ADMIN}/etc/version.txt", f"{ADMIN}/etc/status_update.json", f"{ADMIN}/log/new",
             f"{ADMIN}/log/update.log", f"{ADMIN}/bin/new", f"{ADMIN}/bin/wrapper.sh", f"{ADMIN}/bin/jobs/token",
             f"{ADMIN}/bin/lib/job.sh", f"{ADMIN}/bin/network.sh", f"{ADMIN}/lib/new", f"{ADMIN}/new", f"{ADMIN}/home/new",
             f"{ADMIN}/home/sftp/new", f"{ETC}/new", f"{ETC}/network.conf", f"{ETC}/jidoteki-admin-api.json",
             f"{ETC}/allservices.txt", f"{ETC}/tls/new", f"{ETC}/tls/current/appliance.pem", "/etc/sudoers.d/new",
             "/etc/cron.d/new", "/usr/local/bin/jidoteki-admin-api", "/usr/local/sbin/mv", "/run/jidoteki-admin-api/x",
             f"{ADMIN}/bin/self-signed.sh", "/etc/jidoteki-admin-api/installed"]
    _, output = attacker.sh('for path in "$@"; do if ( : >>"$path" ) 2>/dev/null; then echo "wrote $path"; fi; done', *write)
    attacker.held(f"write to {len(write)} files and directories of root's", "each refused", output == "", output)
    move = [UPLOADS, f"{ADMIN}/home/sftp", f"{ADMIN}/etc", f"{ADMIN}/bin", f"{ADMIN}/bin/jobs/token", f"{ADMIN}/etc/api.token",
            f"{ADMIN}/log/jidoteki-audit.log", f"{ETC}/tls/current", f"{ETC}/network.conf"]
    _, output = attacker.sh('for path in "$@"; do if mv "$path" "$path.away" 2>/dev/null || rm -f "$path" 2>/dev/null; then '
                            'echo "moved $path"; fi; done', *move)
    attacker.held(f"rename or remove {len(move)} of them", "each refused", output == "", output)
    read = [f"{ADMIN}/etc/updates.key", f"{ADMIN}/lib", f"{ETC}/tls/current/appliance.key", f"{ETC}/storage.conf", "/root/canary",
            "/etc/shadow", f"/etc/sudoers.d/{API_USER}"]
    _, output = attacker.sh('for path in "$@"; do if [ -d "$path" ]; then ls "$path"; else cat "$path"; fi >/dev/null 2>&1 && '
                            'echo "read $path"; done; :', *read)
    attacker.held(f"read {len(read)} files that are root's alone", "each refused", output == "", output)


def processes(attacker):
    """The processes of a job of root's."""
    package = attacker.stage.vendor.package("1.0.1", "echo $$ >/root/pid; sleep 8")
    attacker.api.post("/update", {"update": package})
    pid = poll(lambda: attacker.machine.attempt("test -s /root/pid").returncode == 0, 20)
    attacker.report.check("a job of root's runs", pid, lambda: attacker.machine.sh(
        f"tail -n 5 /var/log/jidoteki-admin-api/error.log; ls -la {UPLOADS}"))
    attacker.machine.sh("rm -f /root/pid")
    _, output = attacker.sh(
        "for pid in $(pgrep -u root -f '^/bin/sh .*(jobs/update|update.sh)$'); do for signal in KILL STOP TERM; do "
        "kill -$signal $pid && echo \"sent $signal\"; done; cat /proc/$pid/environ && echo environ; "
        "ls /proc/$pid/fd && echo fd; cat /proc/$pid/mem && echo mem; ls -d /proc/$pid/cwd/ && echo cwd; tried=tried; "
        "done 2>/dev/null; echo $tried")
    attacker.held("signals to a job that runs, its environment, descriptors and memory", "each refused",
                  output == "tried\n", output)
    answer = attacker.api.post("/update", {"update": package})
    attacker.held("a second update while it runs", "refused with E1004", answer.json().get("Error-Code") == "E1004",
                  lambda: f"{answer}\n" + attacker.machine.sh("tail -n 5 /var/log/jidoteki-admin-api/error.log"))
    # Who has asked for it is a process of the user's; it is not the job.
    _, output = attacker.sh("pkill -KILL -f '^jidoteki-admin-api gate-ask .* update$' && echo killed")
    ended = outcome(attacker.machine, attacker.api, "update")
    attacker.held("kill -9 of who has asked for it", "the job does not notice, and ends with success",
                  output == "killed\n" and ended.get("status") == "success", f"{output}{ended}")


def archives(attacker):
    """Archives that lead out of their place, sent through the API to the job of root's that unpacks them."""
    def archive(name, **members):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            member = tarfile.TarInfo(name)
            for key, value in members.items():
                setattr(member, key, value)
            tar.addfile(member)
            inner = tarfile.TarInfo(f"{name}/inner")
            tar.addfile(inner)
        return packed.getvalue()

    evil = (archive("/etc/cron.d/evil"), archive("data/documents/../../../etc/cron.d/evil"),
            archive("data/documents/link", type=tarfile.SYMTYPE, linkname="/etc"),
            archive("data/documents/link", type=tarfile.SYMTYPE, linkname="../../etc"),
            archive("data/documents/link", type=tarfile.LNKTYPE, linkname="/etc/shadow"),
            archive("data/documents/null", type=tarfile.CHRTYPE, devmajor=1, devminor=1),
            archive("data/documents/sh", mode=0o4755),
            archive("etc/shadow"), archive("etc/cron.d/pipe", type=tarfile.FIFOTYPE), archive("data/documents\n/etc"), b"no archive at all" * 100, b"")
    # Beside what the last restore keeps for UNDO until the next one is unpacked.
    look = "find /data /srv -name .jidoteki-restore -prune -o -printf '%p %m %s\\n' | sort"
    before = attacker.machine.sh(look)
    answers = [attacker.api.post("/backup/restore", {"archive": data}, timeout=60) for data in evil]
    after = attacker.machine.sh(look)
    attacker.held(f"{len(evil)} evil archives to restore", "each refused, no data touched",
                  all(answer.status == 400 for answer in answers) and before == after, f"{answers}\n{after}")
    # A pipe among what was backed up, by another program than ours, is no data: the rest comes back.
    # Its times are whole seconds.
    attacker.machine.sh("find /data /srv -type f -exec touch -d @1700000000 {} +; mkfifo /data/documents/pipe; "
                        "tar -C / -cf /var/tmp/pipe.tar data/documents srv/settings; rm /data/documents/pipe")
    attacker.before = attacker.machine.sh(ROOTS)
    packed = attacker.machine.inside("/var/tmp/pipe.tar").read_bytes()
    answer = attacker.api.post("/backup/restore", {"archive": packed}, timeout=60)
    said = attacker.machine.sh(f"grep -c 'Left out: /*data/documents/pipe: a pipe$' {ADMIN}/log/update_backup.log; {look}")
    attacker.held("a pipe in an archive", "it is left out, which the log says, and the data comes back",
                  answer.status == 200 and said == f"1\n{before}", f"{answer}\n{said}")


def swapped_package(attacker):
    """A real package is uploaded; a process of ours changes it before, while and after it is checked."""
    package = attacker.stage.vendor.package("1.0.2", "touch /var/tmp/good-update", tampered=False)
    attacker.machine.sh(f"printf 'not signed by the vendor' >{GOOD}/evil.enc; chmod 644 {GOOD}/evil.enc")
    results = []
    for _ in range(4):
        answers = []
        attacker.sh(f"cd {UPLOADS}; ( n=0; while [ $n -lt 3000 ]; do n=$((n + 1)); [ -f software_package-zzz.enc ] && "
                    f"{{ exec 3<>software_package-zzz.enc; cp {GOOD}/evil.enc .e; mv .e software_package-zzz.enc; "
                    "printf 'evil' >&3; }; done ) >/dev/null 2>&1 &")
        answers.append(attacker.api.post("/update", {"update": package}).status)
        ended = outcome(attacker.machine, attacker.api, "update")
        results.append(ended.get("error-code") or ended.get("status"))
    attacker.sh("pkill -9 -u jidoteki-admin-api -x sh; :")
    attacker.held("the package of an update swapped and written to while it is checked, 4 updates",
                  f"ended in {', '.join(sorted(set(results)))}; nothing that was not signed ran",
                  set(results) <= {"success", "E1005", "E1003", "E1001", "E1000"}, results)


def swept(attacker):
    """Where root removes what nobody came for, once a minute."""
    machine = attacker.machine
    attacker.restock()
    # A request leaves its lock beside what it leaves.
    attacker.sh(f"cd {UPLOADS} && touch .token.lock .certs.lock .license.lock .storage.lock .update.lock .backup.lock && "
                "for name in api.token backup-archive.tar .appliance.key.new; do ln -sfn /root/canary $name; "
                "done; rm -f license.asc storage.conf evil.enc; touch keep; ln keep storage.conf; mkfifo .api.token.new; "
                "mkdir -p software_package-zzz.enc.d && rm -f software_package-zzz.enc && "
                "ln -s software_package-zzz.enc.d software_package-zzz.enc; mkdir license.asc && ln -s /root license.asc/x")
    recover = f"timeout 60 {ADMIN}/bin/recover.sh"
    # Noted the first time; then as if it were before a boot.
    output = machine.sh(f"{recover}; for note in {ADMIN}/lib/left.*; do read -r up mark <\"$note\"; "
                        f"printf '99999999999 %s\\n' \"$mark\" >\"$note\"; done; {recover}; test -f /root/canary && ls -A {UPLOADS}",
                        seconds=150)
    left = sorted(name for name in output.split() if not name.endswith(".lock"))
    attacker.held("links, a pipe, a hard link and directories where the sweep of root's removes what nobody came for",
                  "they went, and nothing that they lead to",
                  left == ["keep", "license.asc", "software_package-zzz.enc.d"], output)
    attacker.sh(f"rm -rf {UPLOADS}/license.asc {UPLOADS}/software_package-zzz.enc.d")
    machine.sh(recover, seconds=90)


def of_another_service(attacker):
    """Another web application of the appliance was broken into: it is www-data, and has nothing of ours."""
    def sh(script):
        return attacker.machine.attempt(script, user="www-data").returncode == 0
    done = [what for what, script in (
        ("reads the token", f"cat {ADMIN}/etc/api.token"),
        ("writes the token", f"echo evil >{ADMIN}/etc/api.token"),
        ("sees what is in uploads", f"ls {UPLOADS}/"),
        ("writes into uploads", f"touch {UPLOADS}/software_package-zzz.enc"),
        ("reads a backup", f"cat {UPLOADS}/backup.tar"),
        ("reads our logs", "cat /var/log/jidoteki-admin-api/access.log"),
        ("speaks to fcgiwrap", "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"/run/jidoteki-admin-api/fcgi.sock\")'"),
        ("speaks to the socket of jobs", "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"/run/jidoteki-admin-api/jobs.sock\")'"),
    ) if sh(script)]
    attacker.held("another service of the appliance, as www-data, wants the token, uploads, backups, logs and sockets",
                  "it gets none of them", not done, ", ".join(done))
    groups = attacker.machine.sh("id -nG www-data").strip()
    attacker.held("... and it is in no group of ours", groups, groups == "www-data", groups)


def still_works(attacker):
    attacker.restock()
    attacker.sh(f"find {UPLOADS} -mindepth 1 ! -name '.*.lock' -delete; rm -rf {UPLOADS}/.[!.]*.lock")
    answer = attacker.api.post("/update", {"update": attacker.stage.vendor.package("1.2.0", "true")})
    ended = outcome(attacker.machine, attacker.api, "update")
    attacker.report.check("after all that an honest update works", ended.get("status") == "success", f"{answer} {ended}")
    attacker.report.same("... and the API", Api(token=TOKEN).get("/version").json().get("version"), "1.2.0")
