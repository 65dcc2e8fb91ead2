"""The unit that runs the executable is confined, as systemd says and as a program in it finds; jobs are not, and work."""

import re

from machine import ADMIN, API_USER, ETC, WEB_USER

SOCKET = "/run/jidoteki-admin-api/jobs.sock"
# What the executable runs without root, and so in its own unit: the license script tells what it may not do there.
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
    if server == "nginx":
        own_nginx(report, machine)
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


def own_nginx(report, machine):
    """Our nginx has a unit and a user of its own; the socket of fcgiwrap is that user's."""
    said = machine.sh("systemd-analyze security --no-pager jidoteki-admin-api-nginx.service")
    level = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    report.check(f"... the unit of nginx is given {level and level[1]}, which is 2.1 or better",
                 level and float(level[1]) <= 2.1, said)
    report.same("... its workers are a user of their own",
                set(machine.sh("ps -o user:32= -C nginx").split()), {"root", WEB_USER})
    report.same("... nobody but they may speak to fcgiwrap",
                machine.sh("stat -c '%U %a' /run/jidoteki-admin-api/fcgi.sock").strip(), f"{WEB_USER} 600")
    report.same("... the API's user is in their group, and they are in no other", machine.sh(f"id -nG {WEB_USER}; id -nG {API_USER}"),
                f"{WEB_USER}\n{API_USER} {WEB_USER}\n")
    faults = [path for path in ("etc/api.token", "etc/updates.key", "state", "log", "lib")
              if machine.attempt(f"cat {ADMIN}/{path} || ls {ADMIN}/{path}/", user=WEB_USER).returncode == 0]
    report.same("... what they may not read", faults, [])
    # Whoever has broken into a worker can send any parameter. It says where the appliance is, and is not believed.
    machine.sh("mkdir -p /var/tmp/evil/bin /var/tmp/evil/etc && chmod -R 755 /var/tmp/evil && echo evil >/var/tmp/evil/etc/api.token "
               "&& echo 6.6.6 >/var/tmp/evil/etc/version.txt")
    answer = machine.attempt(f"python3 -c '{FASTCGI}' /run/jidoteki-admin-api/fcgi.sock", user=WEB_USER)
    report.check("... and cannot tell the program where the appliance is",
                 "403 Forbidden" in answer.stdout and "6.6.6" not in answer.stdout, answer.stdout)


# Asks fcgiwrap as nginx does, with paths of its own.
FASTCGI = """
import socket, struct, sys
def record(kind, content): return struct.pack(">BBHHBx", 1, kind, 1, len(content), 0) + content
def pair(name, value): return bytes([len(name), len(value)]) + name.encode() + value.encode()
params = {"SCRIPT_FILENAME": "/usr/local/bin/jidoteki-admin-api", "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET",
          "REQUEST_URI": "/api/v1/admin/version?token=evil", "JIDO_ADMIN_PATH": "/var/tmp/evil", "JIDO_ETC_PATH": "/var/tmp/evil/etc"}
wire = socket.socket(socket.AF_UNIX)
wire.connect(sys.argv[1])
wire.sendall(record(1, struct.pack(">HB5x", 1, 0)) + record(4, b"".join(pair(*item) for item in params.items())) + record(4, b"") + record(5, b""))
while piece := wire.recv(65536): print(piece.decode(errors="replace"))
"""
