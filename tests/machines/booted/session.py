"""A new machine: install, do what the README says, uninstall, install again, run the conformance cases."""

import re
import subprocess

from machine import ADMIN, ETC, PATH
from report import poll

UNIT = "/etc/systemd/system/jidoteki-admin-api-jobs@.service.d/conformance.conf"


def nginx(stage):
    session(stage, "nginx")


def lighttpd(stage):
    session(stage, "lighttpd")


def session(stage, server):
    report = stage.report
    machine = stage.new_machine()
    stage.connect(machine)
    machine.boot()
    machine.wait_booted()
    before = everything(machine)

    output = stage.install(machine, server)
    report.need(f"./install.sh --server {server} ends well", f"localhost:8443 ({server}" in output, output)
    report.same("... and its web server accepts the configuration without a warning", complaints(machine, server), "")
    errors = faults(machine)
    report.check("check finds no error after the installation", not errors, errors)
    typed = machine.attempt("cd /root/src && tests/docs/console.sh README.md", seconds=300)
    report.check("the README's session does what it says", typed.returncode == 0, typed.stdout)
    errors = faults(machine)
    report.check("check finds no error after the README's commands", not errors, errors)

    output = machine.sh("cd /root/src && ./install.sh --uninstall 2>&1", seconds=120)
    report.check("./install.sh --uninstall ends well", "is removed" in output, output)
    left = [path for path in sorted(everything(machine) - before) if not is_data(path)]
    report.same("it leaves no file and no directory except the data", left, [])
    gone = sorted(before - everything(machine))
    report.same("... and removes nothing that was there before", gone, [])

    stage.install(machine, server)
    conformance(stage, machine, server)


def everything(machine):
    """Every path of the machine, except temporary files, files of this test, and files that Debian's programs keep."""
    paths = machine.sh("find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /root -o -path /dev "
                       "-o -path /var/log/journal -o -path /var/lib/systemd -o -path /var/cache -o -path /var/tmp \\) "
                       "-prune -o -print")
    return set(paths.splitlines())


def is_data(path):
    """Whether a path may stay: data that --uninstall keeps, network settings from a job, or a file of Debian's programs."""
    ours = (ADMIN, ETC, "/opt/jidoteki", "/var/log")
    # useradd and groupdel leave backups such as /etc/passwd-. The network settings of a job stay.
    return any(path == place or path.startswith(f"{place}/") for place in ours) or \
        path in ("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-") or path.startswith("/etc/systemd/network/") or \
        path.startswith(("/var/lib/nginx", "/var/lib/lighttpd", "/var/lib/logrotate", "/var/lib/sudo"))


def complaints(machine, server):
    """What the server prints when it tests its configuration; empty if it accepts it without a warning."""
    script = {"nginx": "nginx -q -t", "lighttpd": "lighttpd -tt -f /etc/jidoteki-admin-api/lighttpd.conf"}[server]
    done = machine.attempt(script)
    return done.stdout if done.returncode == 0 else f"exit {done.returncode}: {done.stdout}"


def faults(machine):
    """The errors of `check`. Warnings are not faults: a person decides about them."""
    said = machine.attempt("jidoteki-admin-api check", seconds=120).stdout
    return "\n".join(line for line in said.splitlines() if line.startswith("error"))


def conformance(stage, machine, server):
    report, cases = stage.report, stage.options.conformance
    if not cases:
        report.note("skipped the conformance cases: --conformance names their directory")
        return
    # The cases use fake jobs, which do not give their files to the API's group as ours do. So all users must be able to
    # read them.
    machine.sh(f"mkdir -p {UNIT.rsplit('/', 1)[0]} && printf '[Service]\\nUMask=0022\\n' >{UNIT} && systemctl daemon-reload")
    # The timer writes files that a case would take for the result of its request.
    machine.sh("systemctl stop jidoteki-admin-api-minute.timer jidoteki-admin-api-minute.service")
    # Without rate limits: the cases are refused more often than a caller may be in a day.
    # Without the certificate, which the server has already read: no case expects one in the response of GET /certs.
    machine.sh(f"mv {ADMIN}/state /root/state && mv {ETC}/tls/current {ETC}/tls/aside")
    overtaken = "|".join(re.escape(line.split()[0]) for line in
                         (stage.repository / "tests/contract/overtaken.txt").read_text().splitlines() if line[:1].islower())
    # In the machine's network and process namespaces, but with the files of this host. The appliance's folders are mounted at
    # their usual paths, because the jobs get these paths.
    script = f"""mount -t proc proc /proc && mount -t tmpfs tmpfs /opt && mkdir -p {ADMIN} &&
        mount --bind "$1{ADMIN}" {ADMIN} && mount --bind "$1{ETC}" {ETC} &&
        exec python3 -B "$2/replay.py" --force --url https://127.0.0.1:8443 --admin {ADMIN} --etc {ETC} --only "$3" "$2/cases.json" """
    done = subprocess.run(
        ["nsenter", f"--target={machine.leader}", "--pid", "--net", "--", "unshare", "--mount", "--propagation", "private",
         "sh", "-c", script, "sh", str(machine.root), str(cases),
         f"^(?!({overtaken})$)"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", env={"PATH": PATH}, check=False)
    machine.sh(f"mv /root/state {ADMIN}/state && mv {ETC}/tls/aside {ETC}/tls/current")
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith("FAIL")]
    report.check(f"the conformance cases through {server}: {lines[-1] if lines else 'nothing'}", done.returncode == 0,
                 "\n".join(failed[:40]) or done.stdout[-3000:])
