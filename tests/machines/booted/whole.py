"""The whole API on an installed machine, once through each web server; and what is left when it is removed."""

import hashlib
import io
import json
import subprocess
import tarfile

from api import Api, settings
from machine import ADMIN, API_USER, ETC
from report import poll
from stage import LICENSE_PASSPHRASE, TOKEN, is_addressed

# What the vendor's scripts do in the machine: they say who they were, and what they were told.
UPDATE = """id -un >/root/update-user
printf '%s %s\\n' "$JIDO_VERSION_BEFORE" "$JIDO_VERSION_AFTER" >/root/update-versions
printf '%s\\n' "$JIDO_VERSION_AFTER" >/data/app-version
"""


def nginx(stage):
    machine = stage.new_machine()
    stage.furnish(machine)
    machine.boot()
    machine.wait_booted()
    report = stage.report
    report.same("process 1 of the machine is systemd", machine.sh("cat /proc/1/comm").strip(), "systemd")
    report.note(machine.sh("systemctl --version").splitlines()[0] + ", kernel " + machine.sh("uname -r").strip())

    # The certificate names them. Without one of them, the next run would replace it.
    report.need("the machine has its addresses", poll(lambda: is_addressed(machine), 30, 0.2))
    output = stage.install(machine, "nginx")
    report.need("./install.sh ends well", "The admin API runs on https://localhost:8443 (nginx" in output, output)
    before = state_of(machine)
    # As version 2.0.0 left a machine: a site of the distribution's nginx, whose user is in our group.
    machine.sh("systemctl stop jidoteki-admin-api-nginx jidoteki-admin-api && rm -f /etc/nginx/sites-enabled/* && "
               "printf 'server { listen 8443; return 418; }\\n' >/etc/nginx/sites-available/jidoteki-admin-api && "
               "ln -s ../sites-available/jidoteki-admin-api /etc/nginx/sites-enabled/ && "
               "usermod -aG jidoteki-admin-api www-data && systemctl enable --now nginx && systemctl reload-or-restart nginx")
    output = stage.install(machine, "nginx")
    report.same("a second ./install.sh changes no file of data", state_of(machine), before)
    report.same("... the site of version 2.0.0 is gone, and www-data is in no group of ours",
                machine.sh("ls /etc/nginx/sites-enabled; id -nG www-data"), "www-data\n")
    report.check("... and the distribution's nginx, which served nobody else, is off", "served only our site" in output and
                 machine.attempt("systemctl is-active nginx").returncode != 0, output)

    api = Api()
    report.same("a stranger gets 403", api.get("/version").status, 403)
    answer = api.post("/setup", {"newtoken": TOKEN})
    report.need("the first token is set by whoever comes first", answer.status == 200, answer)
    api.token = TOKEN
    report.same("after that nobody sets another one without it",
                Api().post("/setup", {"newtoken": "mine-now"}, timeout=30).status, 403)
    the_whole_api(stage, machine, api, "nginx", "1.0.0", "1.1.0")
    stage.keep(machine, ("used", "nginx"))


def lighttpd(stage):
    if ("used", "nginx") in stage.installed:
        machine = stage.new_machine(stage.installed["used", "nginx"])
        machine.boot()
        api = Api(token=TOKEN)
        stage.report.need("the machine that nginx served boots again", api.wait())
        version = "1.1.0"
    else:
        machine, api = stage.ready("nginx")
        version = "1.0.0"
    report = stage.report
    machine.wait_booted()
    output = stage.install(machine, "lighttpd")
    report.need("./install.sh --server lighttpd ends well", "localhost:8443 (lighttpd" in output, output)
    report.check("lighttpd has the port now", "lighttpd" in machine.sh("ss -Hltnp sport = :8443"),
                 lambda: machine.sh("ss -Hltnp"))
    report.same("the token is kept", api.get("/version").status, 200)
    answer = api.post("/setup", {"newtoken": "another-token"})
    report.same("the token is changed by who has it", answer.status, 200)
    report.same("... the old one is worth nothing now", api.get("/version").status, 403)
    api.token = "another-token"
    report.same("... the new one counts", api.get("/version").status, 200)
    report.same("... and is changed back", api.post("/setup", {"newtoken": TOKEN}).status, 200)
    api.token = TOKEN
    the_whole_api(stage, machine, api, "lighttpd", version, "1.2.0")


def outcome(machine, api, job):
    """How a job that was started has ended: asked when it is really over."""
    machine.await_job(job)
    return api.get(f"/{job}").json()


def state_of(machine):
    """What an installation must not touch: everything that somebody has set."""
    return machine.sh(f"cd / && find {ADMIN}/etc {ETC} -type f ! -name health.json ! -name machine.json ! -name served_certificate.txt -exec sha256sum {{}} + | sort -k 2; "
                      f"readlink {ETC}/tls/current")


def the_whole_api(stage, machine, api, server, version, next_version):
    report = stage.report
    for name, path in (("version", "/version"), ("changelog", "/changelog"), ("build", "/build")):
        report.same(f"GET {path} with the token", api.get(path).status, 200)
        report.same(f"GET {path} with a signature", api.get(path, signed=True).status, 200)
    report.same("GET /version says the version", api.get("/version").json().get("version"), version)
    report.same("GET /docs needs no token", Api().get("/docs").status, 200)
    report.check("GET /endpoints lists the optional ones",
                 "/api/v1/admin/backup" in api.get("/endpoints").json().get("endpoints", []),
                 lambda: api.get("/endpoints"))
    updates(stage, machine, api, version, next_version)
    network(report, machine, api, server)
    certificates(stage, machine, api, server)
    license(stage, machine, api)
    storage(report, machine, api)
    backup(report, machine, api)
    support(stage, machine, api)
    services(report, machine, api)
    restart(report, machine, api, next_version, server)


def updates(stage, machine, api, version, next_version):
    report, vendor = stage.report, stage.vendor
    refused = (
        ("a package that was changed after it was signed", "E1005",
         lambda: vendor.package("9.0.0", "touch /root/tampered", tampered=True)),
        ("a package older than what runs", "E1001", lambda: vendor.package("0.9.0", "touch /root/tampered")),
        ("a package encrypted for another appliance", "E1005",
         lambda: vendor.package("9.0.0", "touch /root/tampered", key="other.key")))
    for what, code, package in refused:
        answer = api.post("/update", {"update": package()})
        ended = outcome(machine, api, "update")
        report.check(f"{what} ends in {code}", answer.status == 202 and ended.get("error-code") == code, ended)
        report.same("... and the version is what it was", api.get("/version").json().get("version"), version)
    report.same("nothing of them was run", machine.sh("ls /root/tampered 2>/dev/null || :"), "")

    answer = api.post("/update", {"update": vendor.package(next_version, UPDATE)})
    report.same("POST /update of a real package is accepted", answer.status, 202)
    at_once = api.get("/update").json()
    report.check("GET /update speaks of this update at once, and not of the one before",
                 at_once.get("status") in ("running", "success") and at_once.get("version-after") != "0.9.0", at_once)
    ended = outcome(machine, api, "update")
    report.need("it ends with success and 100 %", (ended.get("status"), ended.get("percentage")) == ("success", 100),
                f"{ended}\n{machine.sh(f'tail -n 30 {ADMIN}/log/update.log', check=False)}")
    report.same("... names the versions before and after", (ended.get("version-before"), ended.get("version-after")),
                (version, next_version))
    report.same("GET /version is the new one", api.get("/version").json().get("version"), next_version)
    report.same("its script ran as root", machine.read("/root/update-user").strip(), "root")
    report.same("... while the program itself runs as nobody in particular",
                machine.sh("ps -o user= -C fcgiwrap,lighttpd | sort -u").split(), [API_USER])


def network(report, machine, api, server):
    document = settings("10.77.0.2", "10.77.0.1", hostname=f"by-{server}", app=server)
    report.same("POST /settings is accepted", api.post("/settings", {"settings": document}).status, 202)
    ended = poll(lambda: api.get("/settings").json().get("app", {}).get("name") == server and
                 machine.sh("hostname").strip() == f"by-{server}", 20)
    report.check("the machine has the new name, GET /settings the new values", ended,
                 lambda: machine.sh(f"tail -n 20 {ADMIN}/log/update_settings.log; hostname"))
    machine.await_job("settings")
    report.check("network.conf is in force", f'hostname="by-{server}"' in machine.read(f"{ETC}/network.conf"))
    report.check("systemd-networkd has the address from us",
                 "Address=10.77.0.2/24" in machine.read("/etc/systemd/network/05-jidoteki.network"))


def certificates(stage, machine, api, server):
    report = stage.report
    before = api.fingerprint()
    for kind in ("rsa", "ec"):
        pair = stage.vendor.certificate(f"by-{server}", kind=kind)
        report.same(f"POST /certs with a new {kind.upper()} pair is accepted",
                    api.post("/certs", pair.form()).status, 202)
        ended = outcome(machine, api, "certs")
        report.need("it ends with success", ended.get("status") == "success", ended)
        report.same("a client is shown the new certificate", api.fingerprint(), pair.fingerprint)
        report.check("... and can check it", api.trusts(str(pair.pem_path), "appliance"))
    report.check("it is not the one of before", before != pair.fingerprint)
    other = stage.vendor.certificate("other")
    api.post("/certs", {"public": pair.pem, "private": other.key})
    ended = outcome(machine, api, "certs")
    report.check("a key that belongs to another certificate is refused, and the reason says so",
                 ended.get("status") == "failed" and "key" in ended.get("error-message", ""), ended)
    report.same("... the right one is still served", api.fingerprint(), pair.fingerprint)
    report.same("the key is root's alone", machine.sh(f"stat -L -c '%a %U' {ETC}/tls/current/appliance.key").strip(),
                "600 root")


def license(stage, machine, api):
    report = stage.report
    machine.write("/root/license.json", '{"customer":"the tests"}\n')
    machine.sh('cd /root && rm -rf gnupg license.asc && mkdir -m 700 gnupg && gpg --homedir gnupg --batch --quiet '
               '--no-tty --pinentry-mode loopback --passphrase "$1" --armor -o license.asc --symmetric license.json && '
               'gpgconf --homedir gnupg --kill gpg-agent', LICENSE_PASSPHRASE)
    answer = api.post("/license", {"license": machine.read("/root/license.asc").encode()}, timeout=60)
    report.same("POST /license answers with what is in it", answer.json(), {"customer": "the tests"})
    answer = api.post("/license", {"license": b"-----BEGIN PGP MESSAGE-----\n\nnone\n"}, timeout=60)
    report.same("one that does not open is refused", answer.status, 400)
    report.same("... and the good one stays", api.get("/license", timeout=60).json(), {"customer": "the tests"})


def storage(report, machine, api):
    def post(document):
        answer = api.post("/storage", {"settings": json.dumps(document).encode()})
        machine.await_job("storage")
        return answer

    post({"storage": {"type": "local"}})
    answer = post({"storage": {"type": "nfs", "ip": "10.77.0.1", "share": "/export", "mount_options": "vers=4"}})
    report.same("POST /storage is accepted", answer.status, 202)
    stored = poll(lambda: api.get("/storage").json().get("storage", {}).get("type") == "nfs", 20)
    report.check("GET /storage has it", stored, lambda: api.get("/storage"))
    report.same("storage.conf is root's alone", machine.sh(f"stat -c '%a %U' {ETC}/storage.conf").strip(), "600 root")
    answer = api.request("POST", "/storage/undo", {})
    machine.await_job("storage")
    report.check("POST /storage/undo returns the settings of before",
                 poll(lambda: api.get("/storage").json().get("storage", {}).get("type") == "local", 20), answer)
    answer = post({"storage": {"type": "local", "x": "$(touch /root/pwned)"}})
    report.same("a key that nobody knows is refused", answer.status, 400)


def backup(report, machine, api):
    machine.sh("printf 'two\\n' >/data/documents/letter; printf 'color=two\\n' >/srv/settings/app.conf")
    report.same("POST /backup START is accepted", api.post("/backup", {"action": "START"}).status, 202)
    made = outcome(machine, api, "backup")
    report.need("the backup is made", made.get("status") == "success",
                lambda: f"{made}\n{machine.sh(f'tail -n 20 {ADMIN}/log/update_backup.log')}")
    archive = api.get("/backup/download", timeout=60)
    report.same("what is downloaded has the sum that GET /backup says",
                hashlib.sha256(archive.body).hexdigest(), made.get("sha256"))
    names = tarfile.open(fileobj=io.BytesIO(archive.body)).getnames()
    report.check("the data is in it", "data/documents/letter" in names and "srv/settings/app.conf" in names, names)
    machine.sh("printf 'three\\n' >/data/documents/letter; touch /data/documents/newer")
    answer = api.post("/backup/restore", {"archive": archive.body}, timeout=120)
    report.same("POST /backup/restore", answer.status, 200)
    report.same("... puts the data of the archive back", machine.sh("cat /data/documents/*; cat /srv/settings/*"),
                "two\ncolor=two\n")
    answer = api.post("/backup/restore", {"action": "UNDO"}, timeout=120)
    report.check("... and UNDO takes that back",
                 machine.sh("cd /data/documents; cat letter; ls") == "three\nletter\nnewer\n",
                 lambda: f"{answer}\n{machine.sh('cd /data/documents; cat letter; ls')}")
    bad = io.BytesIO()
    with tarfile.open(fileobj=bad, mode="w") as tar:
        evil = tarfile.TarInfo("data/documents/../../etc/cron.d/evil")
        tar.addfile(evil)
    answer = api.post("/backup/restore", {"archive": bad.getvalue()}, timeout=60)
    report.check("an archive that leads out of its place is refused, with the reason",
                 answer.status == 400 and "extract" in answer.json().get("Error-Message", ""), answer)
    report.same("GET /backup/log", api.get("/backup/log").status, 200)
    api.post("/backup", {"action": "STOP"})
    report.check("STOP deletes it", poll(lambda: api.get("/backup/download").status == 404, 20),
                 lambda: api.get("/backup"))


def support(stage, machine, api):
    report = stage.report
    key = stage.vendor.file("updates.key").read_text().strip()
    machine.write("/var/log/appliance.log", f"GET /api/v1/admin/version?token={TOKEN}\nthe key is {key}\nharmless\n")
    answer = api.get("/logs", timeout=60)
    texts = b""
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        for member in tar.getmembers():
            if member.isfile():
                texts += tar.extractfile(member).read()
    report.check("GET /logs has the logs", b"harmless" in texts, lambda: str(answer))
    report.check("... and no secret", TOKEN.encode() not in texts and key.encode() not in texts)
    bundle = api.get("/debug", timeout=120)
    report.same("GET /debug opens with the vendor's key and the commands of OPERATIONS",
                open_bundle(stage, bundle.body), True)
    log = machine.sh("cat /var/log/nginx/*.log /var/log/jidoteki-admin-api/*.log 2>/dev/null || :")
    report.check("no log of a web server has the token", TOKEN not in log,
                 lambda: "\n".join(line for line in log.splitlines() if TOKEN in line))
    audit = machine.read(f"{ADMIN}/log/jidoteki-audit.log")
    report.check("the audit log tells who did what, without it",
                 "update.post" in audit and TOKEN not in audit, audit[-500:])


def open_bundle(stage, bundle):
    work = stage.work / "bundle"
    subprocess.run(["rm", "-rf", work], check=True)
    work.mkdir()
    try:
        with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
            tar.extractall(work, filter="data")
    except (tarfile.TarError, TypeError) as error:
        return f"not a bundle: {error}: {bundle[:200]!r}"
    done = subprocess.run(
        ["sh", "-c", 'openssl pkeyutl -decrypt -inkey "$1" -in debug.key.enc -out debug.key && '
         "openssl enc -d -aes-256-cbc -md sha256 -pbkdf2 -pass file:debug.key -in debug.tar.gz.enc | tar -tzf -",
         "sh", stage.vendor.file("sign.key")], cwd=work, capture_output=True, text=True, check=False)
    return True if "debug-1.log" in done.stdout else done.stdout + done.stderr


def services(report, machine, api):
    answer = api.get("/services").json().get("services")
    report.same("GET /services asks systemd", answer,
                [{"jidoteki-admin-api": "running"}, {"jidoteki-admin-api-minute.timer": "running"},
                 {"absent": "not running"}])
    age = poll(lambda: machine.attempt(f"test $(( $(date +%s) - $(stat -c %Y {ADMIN}/etc/health.json) )) -le 70")
               .returncode == 0, 75, 1)
    report.check("the timer writes health.json each minute, GET /health has it",
                 age and api.get("/health").json().get("disk"), lambda: api.get("/health"))
    asked = {(one["ifname"], f"{info['local']}/{info['prefixlen']}")
             for one in json.loads(machine.sh("ip -j addr show")) if one["ifname"] != "lo"
             for info in one["addr_info"] if "local" in info}
    zone = machine.sh("readlink /etc/localtime || :").strip().partition("/zoneinfo/")[2] or "UTC"
    report.check("GET /machine has the addresses, the host name and the zone of the machine",
                 poll(lambda: of_machine(api) == (machine.sh("hostname").strip(), zone, asked), 75, 1),
                 lambda: (of_machine(api), zone, asked))


def of_machine(api):
    told = api.get("/machine").json()
    addresses = {(one["name"], address) for one in told.get("interfaces", []) for address in one["addresses"]}
    return told.get("hostname"), told.get("timezone"), addresses


def restart(report, machine, api, version, server):
    boots = machine.boots
    identity = machine.sh("cat /proc/sys/kernel/random/boot_id")
    report.same("GET /reboot is accepted", api.get("/reboot").status, 202)
    report.need("the machine goes down to come back", machine.await_reboot() and machine.boots == boots + 1,
                machine.last_words)
    report.need("... comes back, and the API answers", api.wait(), machine.last_words)
    report.check("... it was a boot", machine.sh("cat /proc/sys/kernel/random/boot_id") != identity)
    report.same("... with the token and the version of before", api.get("/version").json().get("version"), version)
    report.same("... its name", machine.sh("hostname").strip(), f"by-{server}")
    machine.wait_booted()
    report.same("no unit of the machine failed",
                machine.sh("systemctl list-units --failed --plain --no-legend").strip(), "")


def uninstall(stage):
    report = stage.report
    machine, _ = stage.ready("nginx")
    machine.wait_booted()
    before = machine.sh(f"cat {ADMIN}/etc/api.token; readlink {ETC}/tls/current; cat {ETC}/jidoteki-admin-api.json")
    output = machine.sh("cd /root/src && ./install.sh --uninstall 2>&1", seconds=120)
    report.check("./install.sh --uninstall ends well", "is removed" in output, output)
    left = machine.sh(
        "find / -xdev \\( -path /root -o -path /var/log/journal \\) -prune -o "
        f"\\( -path '{ADMIN}/*' -o -path '{ETC}/*' -o -path '/var/log/*' \\) -prune -o -name '*jidoteki*' -print | sort")
    report.same("nothing of that name is left outside the data", left.split(), ["/opt/jidoteki"])
    report.same("no program or job of ours is left", machine.sh(f"find {ADMIN}/bin -type f 2>/dev/null || :"), "")
    report.same("the token, the certificate and the configuration are kept",
                machine.sh(f"cat {ADMIN}/etc/api.token; readlink {ETC}/tls/current; cat {ETC}/jidoteki-admin-api.json"),
                before)
    report.same("the user is gone", machine.attempt(f"id {API_USER}").returncode, 1)
    report.same("no unit is left", machine.sh("systemctl list-unit-files --no-legend 'jidoteki*' || :").strip(), "")
    report.same("no process of ours runs", machine.sh("pgrep -l fcgiwrap; pgrep -l lighttpd; :"), "")
    report.same("nothing listens on our port", machine.sh("ss -Hltn sport = :8443"), "")
    report.same("nobody owns a file who does not exist",
                machine.sh("find / -xdev \\( -nouser -o -nogroup \\) -print"), "")
    output = stage.install(machine, "nginx")
    report.check("installed again, it goes on with the same token", Api(token=TOKEN).get("/version").status == 200,
                 output)
