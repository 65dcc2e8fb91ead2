"""Changes that must be confirmed: a network that loses its way and comes back, a certificate that nobody wanted."""

import subprocess
import time

from api import Api, settings
from machine import ADMIN, ETC, now, run
from report import poll, table
from stage import TOKEN
from whole import outcome

HERE = ["10.77.0.1/24", "fd77::1/64"]
THERE = ["10.78.0.1/24", "fd78::1/64"]
CONFIRM = 10  # the shortest time that the API takes


class Transcript:
    """What somebody at the other end of the cable would have written down."""

    def __init__(self, report):
        self.report = report
        self.start = time.monotonic()
        self.lines = []

    def add(self, text):
        self.lines.append((f"{time.monotonic() - self.start:5.1f} s", now(), text))

    def show(self):
        self.report.note("")
        for line in table(self.lines):
            self.report.note(line)
        self.report.note("")


class Leases:
    """A DHCP server at our end of the cable: dnsmasq out of the machine's own Debian."""

    def __init__(self, stage):
        self.root = stage.work / "dnsmasq-root"
        self.root.mkdir()
        run("mount", "--bind", "-o", "ro", stage.debian, self.root)
        run("mount", "-o", "remount,ro,bind", self.root)
        run("mount", "-t", "tmpfs", "tmpfs", self.root / "run")
        self.server = None

    def start(self):
        self.server = subprocess.Popen(
            ["chroot", self.root, "/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
             "--interface=jaa0", "--bind-dynamic", "--user=root", "--pid-file=", "--dhcp-authoritative",
             "--dhcp-leasefile=/run/leases", "--dhcp-range=10.77.0.100,10.77.0.120,255.255.255.0,2m",
             "--dhcp-option=3,10.77.0.1", "--dhcp-range=fd77::100,fd77::120,64,2m", "--enable-ra"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.root / "run/log", "ab"))

    def stop(self):
        if self.server:
            self.server.terminate()
            self.server.wait()
            self.server = None

    def end(self):
        self.stop()
        run("umount", self.root / "run")
        run("umount", self.root)
        self.root.rmdir()

    def find(self, prefix):
        """The newest address that was given away of this network, or None."""
        try:
            words = [line.split() for line in (self.root / "run/leases").read_text().splitlines()]
        except OSError:
            return None
        found = [word[2] for word in words if len(word) > 2 and word[2].startswith(prefix)]
        return found[-1] if found else None


def networkd(stage):
    network(stage, "networkd")


def ifupdown(stage):
    network(stage, "ifupdown")


def network(stage, flavour):
    machine, api = stage.ready("nginx", flavour)
    machine.wait_booted()
    report = stage.report
    running = "systemd-networkd" if flavour == "networkd" else "networking"
    report.same(f"the network of this machine is {running}'s",
                machine.sh(f"systemctl is-active {running}").strip(), "active")
    leases = Leases(stage)
    try:
        of_another(stage, machine, api)
        lost_and_back(stage, machine, api)
        api = found_and_confirmed(stage, machine, api)
        time_server(stage, machine, api)
        cut_off(stage, machine, api)
        by_dhcp(stage, machine, api, leases, flavour)
        version_six(stage, machine, flavour)
    finally:
        leases.end()


def change(api, document, confirm=None):
    return api.post("/settings", {"settings": document}, query=f"confirm={confirm}" if confirm else "")


def answers(address):
    return bool(address) and Api(address, TOKEN).answers(1)


def addresses(machine):
    """Of the machine's end of the cable, without those that the kernel makes up itself."""
    found = machine.sh("ip -o addr show dev eth0 scope global | awk '{ print $4 }'").split()
    return sorted(address for address in found if "dynamic" not in address)


def of_another(stage, machine, api):
    """Our end of the cable already has the address that the machine is to get. (Nobody has that of the gateway, so no
    router answers for the address.)"""
    report = stage.report
    before = addresses(machine)
    machine.set_addresses(*HERE, "10.77.0.9/24", "fd77::9/64")
    for address, gateway in (("10.77.0.9", "10.77.0.3"), ("fd77::9", "fd77::3")):
        answer = change(api, settings(address, gateway))
        machine.await_job("settings")
        state = api.get("/settings").json()
        report.check(f"a change to {address}, which another machine has: failed, and GET /settings says why",
                     answer.status == 202 and state.get("status") == "failed" and
                     f"Another machine has the address {address}" in state.get("error-message", ""), state)
        report.same("... and nothing has changed", addresses(machine), before)
    machine.set_addresses(*HERE)


def lost_and_back(stage, machine, api):
    """The change leads where nobody can follow: the client knows no way there, and nobody confirms."""
    report, log = stage.report, Transcript(stage.report)
    before = addresses(machine)
    log.add(f"the machine is at {api.address}, its link has {' '.join(before)}")
    answer = change(api, settings("10.78.0.2", "10.78.0.1"), CONFIRM)
    log.add(f"POST /settings?confirm={CONFIRM}: 10.78.0.2 by 10.78.0.1, a network that we are not in -> {answer.status}")
    gone = poll(lambda: not answers(api.address), 15)
    log.add(f"{api.address} does not answer any more" if gone else f"{api.address} still answers")
    report.check("a change to a wrong network: the machine is lost", answer.status == 202 and gone, answer)
    during = addresses(machine)
    log.add(f"(its console: the link has {' '.join(during)})")
    report.same("... it did what it was told", during, ["10.78.0.2/24"])
    back = poll(lambda: answers(api.address), CONFIRM + 30, 0.1)
    took = time.monotonic() - log.start
    log.add(f"nobody has confirmed: {api.address} answers again" if back else "it does not come back")
    after = poll(lambda: addresses(machine) == before, 10) and addresses(machine)
    log.add(f"(its console: the link has {' '.join(addresses(machine))})")
    report.check(f"... nobody confirms, and it comes back by itself to {api.address}",
                 back, lambda: diagnosis(machine))
    report.check(f"... about when the {CONFIRM} seconds are over, not a minute later", took < CONFIRM + 12, f"{took:.0f} s")
    report.same("... with all the addresses of before", after, before)
    state = api.get("/settings")
    log.add(f"GET /settings -> {state.status} {state.body.decode()}")
    report.check("... GET /settings shows what is in force",
                 state.status == 404 or "10.78" not in state.body.decode(), state)
    log.show()


def found_and_confirmed(stage, machine, api):
    report, log = stage.report, Transcript(stage.report)
    machine.set_addresses(*HERE, *THERE)
    old, new = api, api.at("10.78.0.2")
    answer = change(old, settings("10.78.0.2", "10.78.0.1", hostname="moved"), CONFIRM)
    log.add(f"POST /settings?confirm={CONFIRM} at {old.address}: 10.78.0.2 -> {answer.status}")
    report.need("the same change, with a client who knows the way: the new address answers",
                poll(lambda: answers(new.address), 15), lambda: diagnosis(machine))
    log.add(f"{new.address} answers, {old.address} {'does' if answers(old.address) else 'does not'}")
    pending = new.get("/settings")
    left = pending.json().get("pending", {}).get("seconds-left", 0)
    log.add(f"GET /settings: pending {pending.json().get('pending')}")
    report.check("... GET /settings tells what is pending and the seconds left", 0 < left <= CONFIRM, pending)
    refused = change(new, settings("10.78.0.3", "10.78.0.1"))
    report.check("... a second change meanwhile is refused", refused.status == 400, refused)
    machine.await_job("settings")
    answer = new.request("POST", "/settings/confirm", {})
    log.add(f"POST /settings/confirm at {new.address} -> {answer.status}")
    report.same("... POST /settings/confirm from the new address", answer.status, 200)
    time.sleep(max(0, CONFIRM + 2 - (time.monotonic() - log.start)))  # the time itself is what is tested
    log.add(f"the time is over: {new.address} {'answers' if answers(new.address) else 'is gone'}, "
            f"GET /settings: {new.get('/settings').json().get('network', {}).get('ip_address')}")
    report.check("... it stays when the time is over", answers(new.address) and addresses(machine) == ["10.78.0.2/24"],
                 lambda: diagnosis(machine))
    new.get("/reboot")
    report.check("... and after a reboot", machine.await_reboot() and poll(lambda: answers(new.address), 40) and
                 machine.sh("hostname").strip() == "moved", lambda: diagnosis(machine))
    log.show()
    return new


def time_server(stage, machine, api):
    """systemd-timesyncd is asked which servers it uses."""
    report = stage.report

    def ended(server):
        answer = change(api, settings(api.address, "10.78.0.1", hostname="moved", ntpserver=server))
        machine.await_job("settings")
        state = api.get("/settings").json()
        asked = machine.sh("timedatectl show-timesync --property=SystemNTPServers --value", check=False).split()
        return answer, state, asked

    answer, state, asked = ended("ntp.example")
    report.check("a time server: systemd-timesyncd asks it, and the change is a success",
                 state.get("status") == "success" and asked == ["ntp.example"] and "is not known" not in state["log"],
                 (answer, state, asked))
    # Empty assignments reset the list, and the last file counts.
    machine.sh("printf '[Time]\nNTP=\nNTP=other.example\n' >/etc/systemd/timesyncd.conf.d/zz.conf && "
               "systemctl restart systemd-timesyncd")
    answer, state, asked = ended("second.example")
    report.check("... one that a file of the owner rules out: failed, and GET /settings says why",
                 state.get("status") == "failed" and asked == ["other.example"] and
                 "The time server second.example is not in force" in state.get("error-message", ""),
                 (answer, state, asked))
    machine.sh("rm /etc/systemd/timesyncd.conf.d/zz.conf && systemctl restart systemd-timesyncd")
    answer, state, asked = ended(None)
    report.check("... none any more: it is gone", state.get("status") == "success" and asked == [],
                 (answer, state, asked))


def cut_off(stage, machine, api):
    report = stage.report
    # What runs once a minute would put it right as well, later: here the boot itself has to.
    machine.sh("systemctl disable --now jidoteki-admin-api-minute.timer 2>&1")
    for what in ("the power fails", "the machine restarts"):
        change(api, settings("10.77.0.9", "10.77.0.1", hostname="elsewhere"), 600)
        other = api.at("10.77.0.9")
        report.need("a change that waits 600 seconds for confirmation is in force",
                    poll(lambda: answers(other.address), 20), lambda: diagnosis(machine))
        machine.await_job("settings")
        if what == "the power fails":
            machine.power_cut()
            machine.boot()
        else:
            other.get("/reboot")
            machine.await_reboot()
        report.check(f"... {what}: the settings of before are in force at once after the boot",
                     poll(lambda: answers(api.address), 40) and addresses(machine) == [f"{api.address}/24"] and
                     machine.sh("hostname").strip() == "moved", lambda: diagnosis(machine))
        report.check("... and nothing is pending", "pending" not in api.get("/settings").json())


def by_dhcp(stage, machine, api, leases, flavour):
    report, log = stage.report, Transcript(stage.report)
    answer = change(api, settings(None, hostname="moved"), CONFIRM)
    log.add(f"POST /settings?confirm={CONFIRM}: by DHCP, and no server is there -> {answer.status}")
    report.check("a change to DHCP where there is no server: lost", poll(lambda: not answers(api.address), 15), answer)
    log.add(f"{api.address} does not answer any more")
    report.check("... and back", poll(lambda: answers(api.address), CONFIRM + 30), lambda: diagnosis(machine))
    log.add(f"nobody has confirmed: {api.address} answers again")
    machine.await_job("settings")
    poll(lambda: not machine.read(f"{ADMIN}/etc/status_settings.txt").startswith("running"), 10)

    leases.start()
    answer = change(api, settings(None, hostname="leased"), 60)
    log.add(f"POST /settings?confirm=60: by DHCP, and now there is one -> {answer.status}")
    address = poll(lambda: leases.find("10.77.") if answers(leases.find("10.77.") or "10.77.0.250") else None, 40)
    report.need("a change to DHCP: the machine answers at its lease", address,
                lambda: f"{diagnosis(machine)}\n{(leases.root / 'run/log').read_text()[-1500:]}")
    log.add(f"the machine answers at {address}, its lease")
    machine.await_job("settings")
    if flavour == "networkd":
        # (ifupdown's dhclient is asked for IPv4 only.)
        six = poll(lambda: leases.find("fd77:") if answers(leases.find("fd77:")) else None, 40)
        report.check("... and at one of IPv6", six, lambda: f"{diagnosis(machine)}\n{(leases.root / 'run/leases').read_text()}")
        log.add(f"and at {six}, its lease of IPv6")
    leased = api.at(address)
    report.same("... and is confirmed there", leased.request("POST", "/settings/confirm", {}).status, 200)
    log.add("POST /settings/confirm -> 200")
    leased.get("/reboot")
    report.check("... after a reboot it asks for a lease again",
                 machine.await_reboot() and poll(lambda: answers(leases.find("10.77.")), 40),
                 lambda: diagnosis(machine))
    log.add(f"after a reboot it answers at {leases.find('10.77.')}")
    log.show()
    leased = api.at(leases.find("10.77."))
    change(leased, settings(leased.address, "10.77.0.1", hostname="moved"))
    machine.await_job("settings")
    state = leased.get("/settings").json()
    flags = machine.sh(f"ip -o -4 addr show dev eth0 to {leased.address}")
    report.check("from DHCP to a static address, the one of the lease: it is for ever",
                 state.get("status") == "success" and "valid_lft forever" in flags, (state, flags))
    answer = change(leased, settings("10.77.0.2", "10.77.0.1", hostname="moved"), 60)
    back = api.at("10.77.0.2")
    report.need("... and another one", poll(lambda: answers(back.address), 20), lambda: diagnosis(machine))
    machine.await_job("settings")
    report.same("... which is confirmed", back.request("POST", "/settings/confirm", {}).status, 200)
    leases.stop()


def version_six(stage, machine, flavour):
    report = stage.report
    api = Api("10.77.0.2", TOKEN)
    here, there = api.at("fd77::2"), api.at("fd78::2")
    change(api, settings("fd77::2", "fd77::1", hostname="six"), 60)
    report.need("IPv6: a change to a static address of it", poll(lambda: answers(here.address), 20),
                lambda: diagnosis(machine))
    machine.await_job("settings")
    report.same("... is confirmed there", here.request("POST", "/settings/confirm", {}).status, 200)
    before = addresses(machine)
    change(here, settings("fd78::2", "fd78::1", hostname="six"), CONFIRM)
    machine.set_addresses(*HERE)
    report.check("... the next one leads where nobody follows: lost", poll(lambda: not answers(here.address), 15),
                 lambda: diagnosis(machine))
    report.check("... nobody confirms, and it comes back", poll(lambda: answers(here.address), CONFIRM + 30) and
                 poll(lambda: addresses(machine) == before, 10), lambda: diagnosis(machine))
    machine.set_addresses(*HERE, *THERE)
    machine.await_job("settings")
    change(here, settings("fd78::2", "fd78::1", hostname="six"), 60)
    report.check("... with a client who knows the way it answers at the new address",
                 poll(lambda: answers(there.address), 20), lambda: diagnosis(machine))
    machine.await_job("settings")
    report.same("... and is confirmed there", there.request("POST", "/settings/confirm", {}).status, 200)
    there.get("/reboot")
    report.check("... where it also is after a reboot", machine.await_reboot() and
                 poll(lambda: answers(there.address), 40), lambda: diagnosis(machine))


def diagnosis(machine):
    return machine.sh(f"ip addr show dev eth0; ip route; cat {ETC}/network.conf; tail -n 25 {ADMIN}/log/update_settings.log;"
                      " cat /etc/systemd/network/05-jidoteki.network /etc/network/interfaces.d/jidoteki; "
                      "journalctl -b --no-pager -u systemd-networkd -u networking -u 'run-*' -u 'jidoteki*' | tail -n 25",
                      check=False)


# --- certificates ---

def certs(stage):
    for server in ("nginx", "lighttpd"):
        machine, api = stage.ready(server)
        machine.wait_booted()
        if server == "nginx":
            reload_waits(report=stage.report, machine=machine)
        unconfirmed_certificate(stage, machine, api, server)
        stage.tidy()


def reload_waits(report, machine):
    """For a while, a reload leaves old workers that still accept beside new ones. Here they are kept from ending."""
    reload = f"{ADMIN}/bin/web-server.sh reload"
    of_nginx = 'pgrep -P "$(systemctl show --property MainPID --value jidoteki-admin-api-nginx)"'
    old = machine.sh(of_nginx).split()
    machine.sh('kill -STOP "$@"', *old)
    report.same("nginx: a reload does not end while a worker could show the previous certificate",
                machine.attempt(f"timeout 3 {reload}").returncode, 124)
    machine.sh('kill -CONT "$@"', *old)
    report.same("... it ends when none is left", machine.attempt(f"{reload} && {of_nginx}").returncode, 0)
    report.check("... and the workers of before have ended", poll(lambda: not set(old) & set(machine.sh(of_nginx).split()), 20),
                 lambda: (old, machine.sh(of_nginx)))


def unconfirmed_certificate(stage, machine, api, server):
    report = stage.report
    first = stage.vendor.certificate("first", kind="ec")
    second = stage.vendor.certificate("second", kind="ec")
    before = api.fingerprint()
    started = time.monotonic()
    answer = api.post("/certs", first.form(), query=f"confirm={CONFIRM}")
    report.check(f"{server}: a certificate to be confirmed is served",
                 answer.status == 202 and poll(lambda: api.fingerprint() == first.fingerprint, 15), answer)
    machine.await_job("certs")
    state = api.get("/certs").json()
    report.check("... GET /certs tells the seconds left", state.get("pending", {}).get("seconds-left", 0) > 0, state)
    back = poll(lambda: api.fingerprint() == before, CONFIRM + 30)
    report.check(f"... nobody confirms: the one of before is served again", back, lambda: api.get("/certs"))
    report.check("... when the time is over", CONFIRM <= time.monotonic() - started + 1 < CONFIRM + 20)
    state = poll(lambda: api.get("/certs").json().get("status") == "failed" and api.get("/certs").json(), 10)
    report.check("... and GET /certs says why", state and "not confirmed" in state.get("error-message", ""), state)

    api.post("/certs", second.form(), query="confirm=600")
    report.need("another one, to be confirmed within 600 seconds, is served",
                poll(lambda: api.fingerprint() == second.fingerprint, 15), lambda: api.get("/certs"))
    machine.await_job("certs")
    machine.power_cut()
    machine.boot()
    report.check("... the power fails: after the boot the one of before is served",
                 api.wait(40) and api.fingerprint() == before, lambda: api.get("/certs"))
    api.post("/certs", second.form(), query=f"confirm={CONFIRM}")
    poll(lambda: api.fingerprint() == second.fingerprint, 15)
    machine.await_job("certs")
    report.same("... sent again, it is confirmed", api.request("POST", "/certs/confirm", {}).status, 200)
    time.sleep(CONFIRM + 2)  # the time itself is what is tested
    report.same("... and stays", api.fingerprint(), second.fingerprint)
    machine.power_cut()
    machine.boot()
    report.check("... also when the power fails after that", api.wait(40) and api.fingerprint() == second.fingerprint,
                 lambda: api.get("/certs"))
    ended = outcome(machine, api, "certs")
    report.same("... and GET /certs says success", ended.get("status"), "success")
