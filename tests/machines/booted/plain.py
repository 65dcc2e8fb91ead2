"""A machine without systemd: an image filled by DESTDIR, started in a chroot by the init script that is installed."""

import os
import shutil
import subprocess
import time

from machine import ADMIN, API_USER, ETC, PATH, UPLOADS, run
from report import poll
from stage import LICENSE_PASSPHRASE
from whole import UPDATE

INIT = "/etc/init.d/jidoteki-admin-api"


class Chroot:
    """The image as a machine: its processes are in a namespace of their own, and nothing is process 1 but a sleeping shell."""

    def __init__(self, stage, root):
        self.root = root
        self.cgroup = stage.cgroup / "plain"
        self.cgroup.mkdir(exist_ok=True)
        self.init = None

    def start(self):
        group = self.cgroup / "cgroup.procs"
        # busybox's init would want a console; this one only has to be there, and to bury the dead.
        self.init = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount", "--uts", "--net", "--propagation", "private",
             "sh", "-c", 'mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/run" && mount --bind /dev "$1/dev" && '
             "ip link set lo up && hostname plain && exec chroot \"$1\" busybox sh -c "
             "': >/run/ready; trap : CHLD; while :; do sleep 1000 & wait $!; done'", "sh", self.root],
            stdin=subprocess.DEVNULL, env={"PATH": PATH}, preexec_fn=lambda: group.write_text(str(os.getpid())))
        return poll(lambda: self.leader() and os.path.exists(f"/proc/{self.leader()}/root/run/ready"), 10, 0.05)

    def leader(self):
        try:
            with open(f"/proc/{self.init.pid}/task/{self.init.pid}/children", encoding="ascii") as file:
                return file.read().split()[0]
        except (OSError, IndexError):
            return None

    def attempt(self, script, *arguments, stdin=None, seconds=60):
        return subprocess.run(
            ["nsenter", f"--target={self.leader()}", "--mount", "--uts", "--net", "--pid", "--root", "--", "env", "-i",
             "--chdir=/", f"PATH={PATH}", "LC_ALL=C", "timeout", str(seconds), "sh", "-c", script, "sh",
             *map(str, arguments)], input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)

    def sh(self, script, *arguments, **options):
        done = self.attempt(script, *arguments, **options)
        if done.returncode != 0:
            raise RuntimeError(f"in the image: {script}: exit {done.returncode}\n{done.stdout}")
        return done.stdout

    def curl(self, path, *options):
        return self.sh(f"curl -s -k --max-time 30 \"$@\" 'https://localhost:8443/api/v1/admin{path}'", *options)

    def stop(self):
        kill = self.cgroup / "cgroup.kill"
        if kill.exists():
            kill.write_text("1")
        else:
            self.init.kill()
        self.init.wait()
        poll(lambda: "populated 0" in (self.cgroup / "cgroup.events").read_text(), 10, 0.02)
        self.cgroup.rmdir()


def plain(stage):
    for server in ("nginx", "lighttpd"):
        one_server(stage, server)


def one_server(stage, server):
    report = stage.report
    root = stage.work / f"image-{server}"
    run("cp", "-a", stage.debian, root)
    # An image whose init is not systemd: nothing of it is asked, and nothing of it answers.
    for name in ("systemctl", "systemd-run", "networkctl"):
        (root / "usr/bin" / name).unlink()
    source = stage.work / "plain-src"
    shutil.rmtree(source, ignore_errors=True)
    stage.sources(source)
    mine = fingerprint_of_this_side()
    output = run(source / "install.sh", "--server", server, "--binary", source / "jidoteki-admin-api",
                 env={"PATH": os.environ["PATH"], "DESTDIR": str(root), "HOME": "/root"})
    report.check(f"DESTDIR=... ./install.sh --server {server} fills an image", "The admin API is in" in output, output)
    report.same("... and touches nothing of the machine that it runs on", fingerprint_of_this_side(), mine)
    fill(stage, root)
    machine = Chroot(stage, root)
    try:
        report.need("the image is started by chroot, without systemd", machine.start())
        report.check("there is no systemd in it", machine.attempt("[ -d /run/systemd/system ]").returncode != 0)
        use(stage, machine, server)
    finally:
        machine.stop()
        run("rm", "-rf", root, source)


def fill(stage, root):
    etc, local = root / ADMIN.lstrip("/") / "etc", root / ETC.lstrip("/")
    stage.fill_admin(etc, local)
    (root / "data/documents").mkdir(parents=True)
    (root / "data/documents/letter").write_text("one\n")
    (root / "srv/settings").mkdir(parents=True)
    (root / "srv/settings/app.conf").write_text("color=one\n")


def fingerprint_of_this_side():
    """Accounts and directories where an installation would show."""
    return run("sh", "-c", "sha256sum /etc/passwd /etc/group /etc/sudoers; ls -la /etc/sudoers.d /etc/init.d "
               "/etc/systemd/system /usr/local/bin /usr/local/etc /opt /etc/nginx/sites-enabled 2>/dev/null", check=False)


def use(stage, machine, server):
    report = stage.report
    started = machine.attempt(f"{INIT} start", seconds=60)
    report.need(f"{INIT} start", started.returncode == 0, started.stdout)
    up = poll(lambda: machine.curl("/version", "-o", "/dev/null", "-w", "%{http_code}") == "403", 20)
    report.need(f"the API answers over TLS on loopback, through {server}", up,
                lambda: machine.attempt("cat /var/log/jidoteki-admin-api/*.log; ss -Hltnp").stdout)
    names = machine.sh("openssl s_client -connect 127.0.0.1:8443 </dev/null 2>/dev/null | "
                       "openssl x509 -noout -ext subjectAltName")
    report.check("... with a certificate that this machine made for itself", "DNS:plain" in names, names)
    report.check("a token is set", '"200 OK"' in machine.curl("/setup", "-F", "newtoken=plain-token"))
    token = "?token=plain-token"
    report.same("GET /version", machine.curl(f"/version{token}"), '{"version":"1.0.0"}')
    report.same("the program runs as its own user",
                set(machine.sh("ps -o user= -C fcgiwrap,lighttpd").split()), {API_USER})

    package = machine.root / "var/tmp/package.enc"
    package.write_bytes(stage.vendor.package("1.1.0", UPDATE + "sleep 4\n"))
    answer = machine.curl(f"/update{token}", "-F", "update=@/var/tmp/package.enc")
    report.check("an update is accepted", "202" in answer, answer)
    time.sleep(0.5)
    restarted = machine.attempt(f"{INIT} restart", seconds=60)
    report.check(f"{INIT} restart, while it runs", restarted.returncode == 0, restarted.stdout)
    done = poll(lambda: '"success"' in machine.attempt(f"curl -s -k 'https://localhost:8443/api/v1/admin/update{token}'").stdout
                and "1.1.0" in machine.curl(f"/version{token}"), 40, 0.3)
    report.check("... the update goes on, to success and the new version", done, lambda: machine.curl(f"/update{token}"))
    report.same("... its script ran as root", machine.sh("cat /root/update-user").strip(), "root")

    pair = stage.vendor.certificate("plain", address=None, kind="ec")
    (machine.root / "var/tmp/new.pem").write_bytes(pair.pem)
    (machine.root / "var/tmp/new.key").write_bytes(pair.key)
    machine.curl(f"/certs{token}", "-F", "public=@/var/tmp/new.pem", "-F", "private=@/var/tmp/new.key")
    machine.sh(f"flock -w 40 {UPLOADS}/.certs.lock true")
    served = "openssl s_client -connect 127.0.0.1:8443 </dev/null 2>/dev/null | openssl x509 -noout -subject"
    report.check("a new certificate is served", poll(lambda: "CN = plain" in machine.sh(served), 10),
                 lambda: machine.curl(f"/certs{token}"))
    machine.sh("printf '{\"customer\":\"plain\"}' | gpg --batch --quiet --no-tty --pinentry-mode loopback --passphrase \"$1\" "
               "--armor -o /var/tmp/license.asc --symmetric", LICENSE_PASSPHRASE)
    report.same("a license", machine.curl(f"/license{token}", "-F", "license=@/var/tmp/license.asc"), '{"customer":"plain"}')
    machine.curl(f"/backup{token}", "-F", "action=START")
    machine.sh(f"flock -w 40 {UPLOADS}/.backup.lock true")
    machine.curl(f"/backup/download{token}", "-o", "/var/tmp/backup.tar")
    machine.sh("echo two >/data/documents/letter")
    machine.curl(f"/backup/restore{token}", "-F", "archive=@/var/tmp/backup.tar")
    report.same("a backup, and back", machine.sh("cat /data/documents/letter"), "one\n")
    logs = machine.sh("curl -s -k 'https://localhost:8443/api/v1/admin/logs?token=plain-token' | tar -tzf - | wc -l")
    report.check("logs", int(logs) > 3, logs)
    document = '{"network":{"interface":"eth0","hostname":"plain2"},"app":{}}'
    (machine.root / "var/tmp/settings.json").write_text(document)
    machine.curl(f"/settings{token}", "-F", "settings=@/var/tmp/settings.json")
    machine.sh(f"flock -w 60 {UPLOADS}/.settings.lock true")
    report.check("settings are written for the boot scripts of the image",
                 "mode=dhcp" in machine.sh(f"cat {ETC}/network.conf 2>/dev/null || :"),
                 lambda: machine.sh(f"cat {ADMIN}/log/update_settings.log"))
    machine.sh(f"{ADMIN}/bin/minute.sh")
    report.check("minute.sh, as cron runs it, writes health.json", "percentage" in machine.curl(f"/health{token}"))
    services = machine.curl(f"/services{token}")
    report.check("GET /services asks the init scripts", '{"jidoteki-admin-api":"running"}' in services, services)
    stopped = machine.attempt(f"{INIT} stop")
    left = machine.sh("pgrep -u jidoteki-admin-api -a || :")
    report.check(f"{INIT} stop leaves no process of the API's user", stopped.returncode == 0 and left == "",
                 f"{stopped.stdout}{left}")
