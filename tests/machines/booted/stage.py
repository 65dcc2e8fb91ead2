"""What the chapters share: machines with the API installed, each chapter's own copy of the disk."""

import json
import shutil

from api import Api
from machine import ADMIN, ETC, Machine
from report import Failed, poll

TOKEN = "machine-token-1"
LICENSE_PASSPHRASE = "of-the-license"

# How the machine has its address before the API ever changes it.
NETWORKD = """[Match]
Name=eth0

[Network]
Address=10.77.0.2/24
Gateway=10.77.0.1
Address=fd77::2/64
IPv6AcceptRA=no
LinkLocalAddressing=ipv6
"""
INTERFACES = """# The interfaces of this machine.
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
	address 10.77.0.2/24
	gateway 10.77.0.1
"""

# The clock is that of the machine under this one: no container may set it, and Debian does not start the client there.
TIMESYNCD = """[Unit]
ConditionVirtualization=
ConditionCapability=

[Service]
AmbientCapabilities=
CapabilityBoundingSet=
"""


def is_addressed(machine):
    """Whether a new machine has its addresses, and the kernel has checked them for duplicates."""
    links = json.loads(machine.sh("ip -j addr"))
    ready = {address["local"] for link in links for address in link["addr_info"] if not address.get("tentative")}
    return {"10.77.0.2", "fd77::2"} <= ready


class Stage:
    def __init__(self, report, repository, work, cgroup, options, debian, disk, vendor):
        self.report = report
        self.repository = repository
        self.work = work
        self.cgroup = cgroup
        self.options = options
        self.debian = debian
        self.disk = disk
        self.vendor = vendor
        self.installed = {}
        self.machine = None
        self.n_machines = 0

    def new_machine(self, disk=None):
        self.tidy()
        self.n_machines += 1
        name = f"jaa{self.n_machines}"
        copy = (disk or self.disk).copy(self.work / f"{name}.img")
        self.machine = Machine(self.work, self.cgroup, name, copy)
        return self.machine

    def tidy(self):
        """Switches the machine of the chapter off; with failures its console and journal are of interest."""
        if self.machine:
            self.machine.off()
            self.machine.disk.remove()
            self.machine = None

    def end(self):
        if self.machine:
            self.machine.end_all()

    # --- a machine as it comes from its vendor ---

    def furnish(self, machine, flavour="networkd"):
        """Files of an appliance on a Debian that is still switched off."""
        self.connect(machine, flavour)
        self.fill_admin(machine.path(f"{ADMIN}/etc"), machine.path(ETC))
        data = machine.path("/data")
        data.mkdir()
        (data / "documents").mkdir()
        (data / "documents/letter").write_text("one\n")
        (data / "app-version").write_text("1.0.0\n")
        machine.path("/srv/settings").mkdir(parents=True)
        machine.path("/srv/settings/app.conf").write_text("color=one\n")

    def connect(self, machine, flavour="networkd"):
        """A Debian that is still switched off gets our sources, a name and an address, and nothing of an appliance."""
        machine.plug()
        self.sources(machine.path("/root/src"))
        machine.path("/etc/hostname").write_text("appliance\n")
        machine.path("/etc/hosts").write_text("127.0.0.1\tlocalhost\n127.0.1.1\tappliance\n::1\tlocalhost\n")
        override = machine.path("/etc/systemd/system/systemd-timesyncd.service.d/container.conf")
        override.parent.mkdir()
        override.write_text(TIMESYNCD)
        if flavour == "networkd":
            machine.path("/etc/systemd/network/50-eth0.network").write_text(NETWORKD)
            machine.path("/etc/network/interfaces").write_text("auto lo\niface lo inet loopback\n")
            enable(machine, "systemd-networkd.service", "systemd-networkd.socket")
            mask(machine, "systemd-networkd-wait-online.service", "networking.service")
        else:
            machine.path("/etc/network/interfaces").write_text(INTERFACES)
            mask(machine, "systemd-networkd.service", "systemd-networkd.socket")

    def sources(self, target):
        target.mkdir()
        for name in ("cgi-bin", "nginx", "docs"):
            shutil.copytree(self.repository / name, target / name, symlinks=True)
        (target / "tests/docs").mkdir(parents=True)
        for name in ("install.sh", "README.md", "tests/docs/console.sh"):
            shutil.copy2(self.repository / name, target / name)
        shutil.copy2(self.options.binary, target / "jidoteki-admin-api")
        shutil.copy2(self.options.binary.parent / "jidoteki-admin-jobs", target / "jidoteki-admin-jobs")

    def fill_admin(self, etc, local):
        etc.mkdir(parents=True, exist_ok=True)
        for name, text in {
                "version.txt": "1.0.0\n", "changelog.txt": "1.0.0: the first\n", "license.key": LICENSE_PASSPHRASE + "\n",
                "backup.txt": "/data/documents\n/srv/settings\n", "logs.txt": "/var/log/appliance.log\n",
                "debug.txt": "uname -a\nip addr\n"}.items():
            (etc / name).write_text(text)
        shutil.copy(self.vendor.file("updates.pub"), etc / "updates.pub")
        shutil.copy(self.vendor.file("updates.key"), etc / "updates.key")
        (etc / "updates.key").chmod(0o600)
        local.mkdir(parents=True, exist_ok=True)
        (local / "build.json").write_text('{"build":"7"}\n')
        (local / "storage-options.json").write_text('{"options":["local","nfs"]}\n')
        (local / "allservices.txt").write_text("jidoteki-admin-api\njidoteki-admin-api-minute.timer\nabsent\n")

    def install(self, machine, server):
        return machine.sh("cd /root/src && ./install.sh --server \"$1\" --binary ./jidoteki-admin-api 2>&1",
                          server, seconds=180)

    def ready(self, server="nginx", flavour="networkd"):
        """A booted machine with the API installed and its token set; made once, copied for each chapter."""
        key = (server, flavour)
        if key not in self.installed:
            machine = self.new_machine()
            self.furnish(machine, flavour)
            machine.boot()
            machine.wait_booted()
            self.install(machine, server)
            api = Api()
            answer = api.post("/setup", {"newtoken": TOKEN})
            if answer.status != 200:
                raise Failed(f"no token could be set: {answer}")
            self.keep(machine, key)
        machine = self.new_machine(self.installed[key])
        machine.boot()
        api = Api(token=TOKEN)
        if not api.wait():
            journal = machine.sh("journalctl -b --no-pager | tail -n 40", check=False)
            raise Failed(f"the API does not answer after boot:\n{journal}")
        return machine, api

    def keep(self, machine, key):
        """Puts the disk of a machine aside, as it is after a shutdown."""
        machine.sh("sync; systemctl poweroff", check=False)
        poll(lambda: not machine.is_on(), 30, 0.05)
        machine.off()
        self.installed[key] = machine.disk.copy(self.work / f"installed-{'-'.join(key)}.img")


def enable(machine, *units):
    for unit in units:
        section = "sockets.target.wants" if unit.endswith(".socket") else "multi-user.target.wants"
        link = machine.path(f"/etc/systemd/system/{section}/{unit}")
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(f"/lib/systemd/system/{unit}")


def mask(machine, *units):
    for unit in units:
        link = machine.path(f"/etc/systemd/system/{unit}")
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
