"""Jobs outlive the web servers that started them; and what becomes of a job when the machine restarts under it."""

import json
import threading
import time

from api import NOTHING
from machine import ADMIN
from report import poll
from whole import outcome

# An update that says when it began, and ends when it is told to.
WAITS = """printf '%s\\n' "$$" >/root/update-pid
rm -f /root/update-go
n=0
while [ ! -e /root/update-go ]; do
	n=$((n + 1))
	[ "$n" -le 600 ] || exit 1
	sleep 0.1
done
printf '%s\\n' "$JIDO_VERSION_AFTER" >/data/app-version
"""
ROLLBACK = """printf 'rolled back to %s because %s\\n' "$JIDO_VERSION_BEFORE" "$JIDO_REASON" >>/root/rollbacks
printf '%s\\n' "$JIDO_VERSION_BEFORE" >/data/app-version
"""

FCGIWRAP = "jidoteki-admin-api.service"
NGINX = "jidoteki-admin-api-nginx"


def start_waiting(stage, machine, api, version):
    """An update that is in the middle of its own script when this returns: the number of its process."""
    machine.sh("rm -f /root/update-pid")
    answer = api.post("/update", {"update": stage.vendor.package(version, WAITS, ROLLBACK)})
    stage.report.need(f"an update to {version} is accepted", answer.status == 202, answer)
    pid = poll(lambda: machine.sh("cat /root/update-pid 2>/dev/null || :").strip() or None, 30)
    stage.report.need("... and is in the middle of its work", pid, lambda: api.get("/update"))
    return pid


def goes_on(stage, machine, api, pid, what):
    report = stage.report
    report.need(f"{what}: the API is back", api.wait(20),
                lambda: machine.sh("systemctl --no-pager status 'jidoteki*' | tail -n 60", check=False))
    report.check("... the update still runs, and GET /update says so",
                 api.get("/update").json().get("status") == "running" and
                 machine.attempt(f"kill -0 {pid}").returncode == 0,
                 lambda: api.get("/update"))


def ends_well(stage, machine, api, version):
    machine.sh("touch /root/update-go")
    ended = outcome(machine, api, "update")
    stage.report.check("the update, let go, ends with success", (ended.get("status"), ended.get("percentage")) ==
                       ("success", 100), ended)
    stage.report.same("... and the version is the new one", api.get("/version").json().get("version"), version)


def servers(stage):
    machine, api = stage.ready("nginx")
    machine.wait_booted()
    pid = start_waiting(stage, machine, api, "1.1.0")
    for what, command in (
            ("nginx is restarted", f"systemctl restart {NGINX}"),
            ("fcgiwrap's unit is restarted", f"systemctl restart {FCGIWRAP}"),
            ("fcgiwrap's socket is restarted", "systemctl restart jidoteki-admin-api.socket"),
            ("both are stopped and started", f"systemctl stop {NGINX} {FCGIWRAP} jidoteki-admin-api.socket; "
                                             f"systemctl start jidoteki-admin-api.socket {FCGIWRAP} {NGINX}"),
            ("everything of both is killed with -9", "pkill -9 nginx; pkill -9 fcgiwrap; sleep 0.2; "
                                                     f"systemctl start {NGINX} {FCGIWRAP}"),
            ("install.sh runs again", "cd /root/src && ./install.sh --binary ./jidoteki-admin-api")):
        machine.sh(command, check=False, seconds=120)
        goes_on(stage, machine, api, pid, what)
    answer = api.post("/update", {"update": stage.vendor.package("1.1.5", "true")})
    stage.report.check("a second update beside it is refused", answer.json().get("Error-Code") == "E1004", answer)
    ends_well(stage, machine, api, "1.1.0")

    stage.install(machine, "lighttpd")
    pid = start_waiting(stage, machine, api, "1.2.0")
    for what, command in (
            ("lighttpd's unit is restarted", f"systemctl restart {FCGIWRAP}"),
            ("it is stopped and started", f"systemctl stop {FCGIWRAP}; systemctl start {FCGIWRAP}"),
            ("it is killed with -9", f"pkill -9 lighttpd; sleep 0.2; systemctl start {FCGIWRAP}")):
        machine.sh(command, check=False)
        goes_on(stage, machine, api, pid, what)
    answer = api.post("/certs", stage.vendor.certificate("appliance").form())
    stage.report.check("a new certificate, which would restart lighttpd, is refused beside the update",
                       answer.json().get("Error-Code") == "E1004" and b"update is running since" in answer.body, answer)
    goes_on(stage, machine, api, pid, "after that")
    machine.sh("cd /root/src && ./install.sh --server nginx --binary ./jidoteki-admin-api", seconds=120)
    goes_on(stage, machine, api, pid, "install.sh changes to nginx")
    ends_well(stage, machine, api, "1.2.0")


class Follower(threading.Thread):
    """A client that follows a job with GET /jobs/ID?wait=25, also while nobody answers: what it was told, each thing once."""

    def __init__(self, api, job):
        super().__init__(daemon=True)
        self.api, self.job, self.told, self.began = api, job, [], time.monotonic()
        self.start()

    def run(self):
        while time.monotonic() - self.began < 180:
            try:
                # What it waits for is a change of what it was told first.
                answer = self.api.get(f"/jobs/{self.job}", query="wait=25" if self.told else "", timeout=40)
                said = answer.json() if answer.status == 200 else {"status": f"HTTP {answer.status}"}
                self.hear({name: said.get(name) for name in ("status", "percentage", "step", "ended", "error-code", "error-message")
                           if name in said})
                if said["status"] not in ("running", "HTTP 502", "HTTP 503", "HTTP 504"):
                    return
            except NOTHING as error:
                self.hear({"status": f"no answer ({type(error).__name__})"})
            time.sleep(0.2)

    def hear(self, said):
        if not self.told or self.told[-1][1] != said:
            self.told.append((time.monotonic() - self.began, said))


def reboot(stage):
    machine, api = stage.ready("nginx")
    report = stage.report
    start_waiting(stage, machine, api, "1.1.0")
    job = api.get("/jobs").json()["jobs"][0]
    report.check("GET /jobs says that the update runs", (job["job"], job["status"]) == ("update", "running"), job)
    follower = Follower(api, job["id"])
    machine.sh("rm -f /root/rollbacks")
    answer = api.get("/reboot")
    report.check("GET /reboot is refused while an update runs", answer.json().get("Error-Code") == "E1004", answer)
    report.same("POST /reboot with force=yes is accepted", api.post("/reboot", {"force": "yes"}).status, 202)
    report.need("the machine restarts", machine.await_reboot(), machine.last_words)
    report.need("the API answers again", api.wait())
    follower.join(60)
    for seconds, said in follower.told:
        report.note(f"GET /jobs/{job['id']}?wait=25 after {seconds:5.1f} s: {json.dumps(said)}")
    ends = [said.get("status") for _, said in follower.told]
    report.check("a client that followed the job by its id is told the truth before and after the restart",
                 ends[0] == "running" and ends[-1] in ("failed", "interrupted") and "success" not in ends, follower.told)
    first = api.get("/update").json()
    report.check("the first GET /update says: failed, E1000, interrupted",
                 first.get("status") == "failed" and first.get("error-code") == "E1000" and
                 "interrupted" in first.get("error-message", "").lower(), first)
    report.same("the version is the one of before", api.get("/version").json().get("version"), "1.0.0")
    rollbacks = machine.sh("cat /root/rollbacks 2>/dev/null || :").splitlines()
    report.check("the package's rollback script has run, once", len(rollbacks) == 1 and "to 1.0.0 " in rollbacks[0],
                 rollbacks)
    machine.sh("rm -f /root/update-pid")
    answer = api.post("/update", {"update": stage.vendor.package("1.1.0", "true")})
    ended = outcome(machine, api, "update")
    report.check("the same update, sent again, ends with success", ended.get("status") == "success",
                 lambda: f"{answer} {ended}\n{machine.sh(f'tail -n 40 {ADMIN}/log/update.log')}")
    report.same("... and the version is the new one", api.get("/version").json().get("version"), "1.1.0")
    left = machine.sh(f"ls {ADMIN}/lib/work {ADMIN}/lib/update.undo {ADMIN}/lib/update.installed 2>/dev/null || :").strip()
    report.same("nothing of the interrupted one is left", left, f"{ADMIN}/lib/work:")
