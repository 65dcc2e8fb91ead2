"""The chapters in their order, and the machines that they share."""

import attacks
import confined
import cuts
import interruptions
import lost
import plain
import session
import takeover
import whole
from machine import RELEASES, Disk
from report import Report
from stage import Stage
from vendor import Vendor

# name, title, function
ALL = [
    ("nginx", "Install, and the whole API through nginx", whole.nginx),
    ("lighttpd", "install.sh --server lighttpd, and the whole API again", whole.lighttpd),
    ("session-nginx", "A new machine, the README's session and the conformance cases through nginx", session.nginx),
    ("session-lighttpd", "A new machine, the README's session and the conformance cases through lighttpd", session.lighttpd),
    ("servers", "Web servers are restarted, stopped and killed while an update runs", interruptions.servers),
    ("reboot", "A reboot in the middle of an update", interruptions.reboot),
    ("confined", "The unit of the executable is confined, and its jobs are not", confined.confined),
    ("attacks", "The user of the web server against the jobs of root", attacks.attacks),
    ("cuts", "Power cuts in the middle of jobs", cuts.cuts),
    ("disk", "Disks that are full or read-only in the middle of jobs", cuts.disk),
    ("networkd", "Network changes with systemd-networkd", lost.networkd),
    ("ifupdown", "Network changes with ifupdown", lost.ifupdown),
    ("certs", "Certificates that nobody confirms", lost.certs),
    ("uninstall", "install.sh --uninstall leaves the data", whole.uninstall),
    ("takeover", "An appliance of the ancestor is taken over and given back", takeover.takeover),
    ("plain", "A machine without systemd, from an image filled by DESTDIR", plain.plain),
]
NAMES = [name for name, _, _ in ALL]
# What runs side by side where no chapter is named, and on which release: everything on the first, and on each other one
# what meets its servers and its systemd. lighttpd goes on with the machine that nginx leaves.
LANES = [("bookworm", ["nginx", "lighttpd", "servers", "reboot", "confined", "attacks", "uninstall"]),
         ("bookworm", ["cuts", "session-nginx", "session-lighttpd"]),
         ("bookworm", ["networkd", "ifupdown", "disk", "certs", "takeover", "plain"]),
         ("trixie", ["session-nginx", "session-lighttpd", "nginx", "lighttpd", "uninstall"])]
assert sorted(name for release, names in LANES if release == "bookworm" for name in names) == sorted(NAMES)
assert {release for release, _ in LANES} == set(RELEASES)

STAGES = []


def run_all(options, repository, work, cgroup):
    report = Report()
    wanted = options.chapters or NAMES
    try:
        debian = options.debian
        stage = Stage(report, repository, work, cgroup, options, debian,
                      Disk.filled_from(debian, work / "debian.img"), Vendor(work / "vendor", repository, options.binary.parent / "jidoteki-admin-jobs"))
        STAGES.append(stage)
        for name, title, chapter in ALL:
            if name in wanted:
                report.run(f"{RELEASES[options.release]}: {title}", chapter, stage)
                stage.tidy()
    except KeyboardInterrupt:
        report.fails("interrupted from the keyboard")
    return report.end()


def end_all():
    for stage in STAGES:
        stage.end()
