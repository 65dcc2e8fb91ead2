"""A Debian that is really booted: its image, its disk, power on, power cut, and commands run in it.

The disk is an ext4 filesystem in a file. A power cut ends every process of the machine at one moment and then takes
the disk as it was written so far: what a job had not flushed is lost, as it is when somebody pulls the plug.
"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import time

from report import Failed, poll

# A Debian that boots, the networks that it may have, a DHCP server for our end of the cable, and what the tests need
# in the machine. What install.sh would fetch comes to these.
PACKAGES = ("systemd systemd-sysv dbus nginx-light lighttpd-mod-openssl lighttpd-mod-deflate ifupdown isc-dhcp-client "
            "dnsmasq-base busybox python3-minimal systemd-timesyncd").split()
# The releases that are supported, the first of them where none is named.
RELEASES = {"bookworm": "Debian 12", "trixie": "Debian 13"}
DISK_BYTES = 3 << 30
HOST_LINK = "jaa0"
LINK = "eth0"
ADMIN = "/opt/jidoteki/tinyadmin"
ETC = "/usr/local/etc"
UPLOADS = f"{ADMIN}/home/sftp/uploads"
API_USER = "jidoteki-admin-api"
WEB_USER = "jidoteki-admin-web"
# Without /usr/local/sbin: there the tests put stand-ins for what jobs call, and these are not for the tests.
PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The distribution's own instances, which install.sh switches off when it is the one who installs the package.
NOT_OURS = ("nginx.service", "lighttpd.service", "fcgiwrap.service", "fcgiwrap.socket", "cron.service", "apt-daily.timer",
            "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "logrotate.timer")


def run(*command, check=True, **options):
    """A command of this side. Its output is shown if it fails."""
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


# --- the image ---

def needed_packages(installer):
    """What install.sh asks for ("command:package" in its list), so that it finds all of it there: the machine has no
    network to fetch anything from."""
    body = re.search(r"^needed_packages\(\) \{$(.*?)^\}$", installer.read_text(), re.MULTILINE | re.DOTALL)
    found = set(re.findall(r"[a-z0-9_-]+:([a-z0-9.+-]+)", body.group(1)))
    # A compiler is for who builds in the machine, and the small nginx is enough.
    return sorted((found | set(PACKAGES)) - {"gcc", "nginx"})


def base(cache, installer, say, release="bookworm"):
    """The directory with the unpacked Debian, made when it is not there yet. Its name says what is in it."""
    packages = needed_packages(installer)
    mark = hashlib.sha256(" ".join([release, "2", *packages]).encode()).hexdigest()[:12]
    path = pathlib.Path(cache, f"debian-{release}-{mark}")
    if path.is_dir():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    building = pathlib.Path(f"{path}.new")
    shutil.rmtree(building, ignore_errors=True)
    say(f"Making a {RELEASES[release]} in {path} (once)")
    # What it mounts for the packages' scripts ends with it, however that is.
    run("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
        "debootstrap", "--variant=minbase", f"--include={','.join(packages)}", release, building, *mirror(release))
    for unit in NOT_OURS:
        run("systemctl", f"--root={building}", "disable", unit, check=False)
    shutil.rmtree(building / "var/cache/apt/archives", ignore_errors=True)
    (building / "etc/machine-id").write_text("")
    (building / "etc/resolv.conf").write_text("")
    # The journal of a machine that was cut off would be lost, and with it why something failed.
    (building / "etc/systemd/journald.conf").write_text("[Journal]\nStorage=persistent\nSyncIntervalSec=1\n")
    building.rename(path)
    for old in cache.glob(f"debian-{release}-*"):
        if old != path:
            shutil.rmtree(old)
    return path


def mirror(wanted):
    """Where this machine itself gets the release from, or its own release; debootstrap's choice where it has neither."""
    targets = run("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages", check=False)
    addresses = dict(line.split(" ", 1) for line in reversed(targets.splitlines()) if " " in line)
    for release in (wanted, *RELEASES):
        if release in addresses:
            return [addresses[release]]
    return []


class Disk:
    """An ext4 in a file. Copies are cheap: the files are sparse and in memory."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    @staticmethod
    def filled_from(directory, path):
        with open(path, "wb") as file:
            file.truncate(DISK_BYTES)
        run("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-d", directory, path)
        return Disk(path)

    def copy(self, path):
        run("cp", "--sparse=always", self.path, path)
        return Disk(path)

    def remove(self):
        self.path.unlink(missing_ok=True)

    def mount(self, place):
        # Nothing is written before its time: what a job does not flush itself is lost in a power cut.
        run("mount", "-o", "loop,noatime,commit=300,noauto_da_alloc,errors=remount-ro", self.path, place)


# --- the machine ---

class Machine:
    """One machine, its cable (`jaa0` on our side, `eth0` on its side) and its power."""

    def __init__(self, work, cgroup, name, disk):
        self.work = pathlib.Path(work)
        self.name = name
        self.cgroup = pathlib.Path(cgroup, name)
        self.root = self.work / f"{name}-root"
        self.root.mkdir(exist_ok=True)
        self.disk = disk
        self.addresses = ["10.77.0.1/24", "fd77::1/64"]
        self.nspawn = None
        self.leader = None
        self.boots = 0
        self.console = self.work / f"{name}-console"
        self.is_mounted = False

    def plug(self):
        """Mounts the disk, so that files can be put on it before the machine is switched on."""
        if not self.is_mounted:
            self.disk.mount(self.root)
            self.is_mounted = True

    def unplug(self):
        if self.is_mounted:
            run("umount", self.root)
            self.is_mounted = False

    def path(self, path):
        """A file of the machine that is switched off."""
        return self.root / path.lstrip("/")

    def boot(self):
        self.plug()
        self.cgroup.mkdir(exist_ok=True)
        group = self.cgroup / "cgroup.procs"
        console = open(self.console, "ab")
        console.write(f"\n--- boot {self.boots + 1}\n".encode())
        console.flush()
        self.nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", f"--directory={self.root}",
             f"--machine={self.name}", f"--network-veth-extra={HOST_LINK}:{LINK}", "--console=pipe",
             "--resolv-conf=off", "--timezone=off", "--link-journal=no", "systemd.show_status=0"],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            env={"PATH": PATH, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            preexec_fn=lambda: group.write_text(str(os.getpid())))
        console.close()
        self.boots += 1
        self.leader = poll(self.find_leader, 20, 0.02)
        if not self.leader:
            raise Failed(f"the machine did not start:\n{self.last_words()}")
        self.connect()

    def find_leader(self):
        """Process 1 of the machine, once it is Debian's init and not nspawn's stub any more."""
        if self.nspawn.poll() is not None:
            raise Failed(f"systemd-nspawn ended:\n{self.last_words()}")
        for child in children(self.nspawn.pid):
            try:
                if os.readlink(f"/proc/{child}/exe").endswith("/systemd") and \
                        os.path.exists(f"/proc/{child}/root/run/systemd"):
                    return child
            except OSError:
                continue
        return None

    def connect(self):
        """Plugs in our end of the cable, which is a new one after each boot."""
        if not poll(lambda: os.path.exists(f"/sys/class/net/{HOST_LINK}") or
                    subprocess.run(["ip", "link", "show", HOST_LINK], capture_output=True, check=False).returncode == 0,
                    10, 0.02):
            raise Failed("the cable to the machine did not appear")
        for address in self.addresses:
            run("ip", "addr", "replace", address, "dev", HOST_LINK, *(["nodad"] if ":" in address else []))
        run("ip", "link", "set", HOST_LINK, "up")

    def set_addresses(self, *addresses):
        """The client moves to other networks (and to none: then it can reach nobody)."""
        self.addresses = list(addresses)
        run("ip", "addr", "flush", "dev", HOST_LINK, "scope", "global")
        self.connect()

    def wait_booted(self, seconds=60):
        def is_up():
            state = self.sh("systemctl is-system-running", check=False).strip()
            return state if state in ("running", "degraded") else None
        if not poll(is_up, seconds, 0.2):
            raise Failed(f"the machine did not finish its boot: {self.sh('systemctl list-jobs', check=False)}")

    def sh(self, script, *arguments, user=None, check=True, seconds=60, stdin=None):
        """Runs a script in the machine, as root or as one of its users, and returns what it printed."""
        done = self.attempt(script, *arguments, user=user, seconds=seconds, stdin=stdin)
        if check and done.returncode != 0:
            raise RuntimeError(f"in the machine: {script}: exit {done.returncode}\n{done.stdout}")
        return done.stdout

    def attempt(self, script, *arguments, user=None, seconds=60, stdin=None):
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []
        command = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
                   "--root", "--", "env", "-i", "--chdir=/", f"PATH={PATH}", "LC_ALL=C", "HOME=/",
                   "timeout", "-k", "2", str(seconds), *become, "sh", "-c", script, "sh", *map(str, arguments)]
        return subprocess.run(command, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=seconds + 10, check=False)

    def inside(self, path):
        """A file of the machine that runs, through its process 1, so that /run and /tmp are its own."""
        return pathlib.Path(f"/proc/{self.leader}/root", path.lstrip("/"))

    def read(self, path):
        return self.sh('cat -- "$1"', path)

    def write(self, path, text, mode="644"):
        self.sh('cat >"$1" && chmod "$2" "$1"', path, mode, stdin=text)

    def await_job(self, job, seconds=60):
        """Until no job of this kind runs: its lock is free. False if it still does."""
        return self.attempt('[ ! -e "$2" ] || flock -w "$1" "$2" true', seconds - 1, f"{UPLOADS}/.{job}.lock",
                            seconds=seconds).returncode == 0

    def is_on(self):
        return self.nspawn is not None and self.nspawn.poll() is None

    def await_reboot(self, seconds=60):
        """Waits until the machine has gone down to come back, and lets it. False if it did not go, or for good."""
        if poll(lambda: self.nspawn.poll() is not None, seconds, 0.05) is not True:
            return False
        went = self.nspawn.returncode
        self.end_all()
        if went != 133:  # what nspawn says of a machine that asks for a restart, and not to stay off
            return False
        self.boot()
        return True

    def power_cut(self):
        """Every process ends at one moment, and the disk has what was written to it until then."""
        self.end_all()
        copy = self.disk.copy(self.work / f"{self.name}-{self.boots}.img")
        self.unplug()
        if self.disk.path.name.startswith(self.name):
            self.disk.remove()
        self.disk = copy

    def end_all(self):
        """No process of the machine is alive when this returns."""
        kill = self.cgroup / "cgroup.kill"
        if kill.exists():
            kill.write_text("1")
        elif self.leader:
            # Whoever ends process 1 ends all of them.
            subprocess.run(["kill", "-9", str(self.leader)], check=False)
        if self.nspawn:
            try:
                self.nspawn.wait(20)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()
        poll(lambda: not populated(self.cgroup), 20, 0.02)
        for directory, _, _ in os.walk(self.cgroup, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                pass
        self.leader = None
        self.nspawn = None
        # Debian 13's nspawn mounts something there, and does not start while it is mounted.
        export = pathlib.Path("/run/systemd/nspawn/unix-export", self.name)
        if export.exists():
            subprocess.run(["umount", "-l", export], stderr=subprocess.DEVNULL, check=False)
            export.rmdir()
        # The kernel takes the cable away some time after the last process.
        poll(lambda: subprocess.run(["ip", "link", "show", HOST_LINK], capture_output=True,
                                    check=False).returncode != 0, 10, 0.02)

    def off(self):
        self.end_all()
        self.unplug()

    def last_words(self):
        try:
            return self.console.read_text(errors="replace")[-2000:]
        except OSError:
            return ""


def children(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def populated(cgroup):
    try:
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def now():
    return time.strftime("%H:%M:%S")
