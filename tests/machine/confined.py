"""The unit that runs the executable is confined, as systemd says and as a program in it finds; jobs are not, and work."""

import re

from machine import ADMIN, API_USER, ETC

SOCKET = "/run/jidoteki-admin-api/jobs.sock"
# What the executable runs without root, and so in its own unit: the licence script tells what it may not do there.
PROBE = f"""#!/bin/sh
tries() {{ "$@" >/dev/null 2>&1 && echo yes || echo no; }}
printf '{{"sudo":"%s","etc":"%s","system":"%s","admin":"%s","namespace":"%s","interfaces":"%s","capabilities":"%s"}}\\n' \
	"$(tries sudo -n -l)" "$(tries touch {ETC}/probe)" "$(tries touch /usr/bin/probe /var/tmp/../lib/probe)" \
	"$(tries touch {ADMIN}/state/probe)" "$(tries unshare --user true)" \
	"$(sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev | grep -vx lo | wc -l)" \
	"$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)"
"""


def confined(stage):
    for server in ("nginx", "lighttpd"):
        machine, api = stage.ready(server)
        machine.wait_booted()
        one_server(stage.report, machine, api, server)


def one_server(report, machine, api, server):
    said = machine.sh("systemd-analyze security --no-pager jidoteki-admin-api.service")
    level = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    report.check(f"{server}: systemd-analyze security gives the unit {level and level[1]}, which is 2.0 or better",
                 level and float(level[1]) <= 2.0, said)
    status = machine.sh("cat /proc/$(systemctl show -p MainPID --value jidoteki-admin-api.service)/status")
    report.check("... nothing in it can gain rights, and its system calls are filtered",
                 "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status, status)
    machine.write(f"{ADMIN}/bin/license.sh", PROBE, "755")
    answer = api.get("/license")
    # The bounding set is what a program that is root could still have: two of lighttpd's, none of fcgiwrap's.
    wanted = {"sudo": "no", "etc": "no", "system": "no", "admin": "yes", "namespace": "no",
              "interfaces": "0" if server == "nginx" else "1",
              "capabilities": "0000000000000000" if server == "nginx" else "00000000000000c0"}
    report.same("... a program that runs in it finds just that", answer.json(), wanted)
    report.same("... only the API's user may ask for a job", machine.sh(f"stat -c '%U %a' {SOCKET}").strip(), f"{API_USER} 600")
    report.same("... a job that it asks for works", api.get("/services").status, 200)
    units = machine.sh("journalctl -b -o cat --no-pager -u 'jidoteki-admin-api-jobs@*' | grep -c Started || :").strip()
    report.check("... in a unit of its own", int(units) > 0, units)
    refused = machine.attempt(f"timeout 20 /usr/local/bin/jidoteki-admin-api gate-ask {SOCKET} 'shutdown now'",
                              user=API_USER)
    report.check("... and what is on no list is refused there as well", refused.returncode == 1 and "unknown job" in refused.stdout,
                 refused.stdout)
