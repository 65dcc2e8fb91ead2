"""The chapters in their order, and the machines that they share."""

import attacks
import confined
import cuts
import interruptions
import lost
import plain
import whole
from machine import Disk
from report import Report
from stage import Stage
from vendor import Vendor

# name, title, function
ALL = [
    ("nginx", "Install, and the whole API through nginx", whole.nginx),
    ("lighttpd", "install.sh --server lighttpd, and the whole API again", whole.lighttpd),
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
    ("plain", "A machine without systemd, from an image filled by DESTDIR", plain.plain),
]
NAMES = [name for name, _, _ in ALL]
# What runs side by side where no chapter is named. lighttpd goes on with the machine that nginx leaves.
LANES = [["nginx", "lighttpd", "servers", "reboot", "confined", "attacks", "uninstall"], ["cuts"],
         ["networkd", "ifupdown", "disk", "certs", "plain"]]
assert sorted(sum(LANES, [])) == sorted(NAMES)

STAGES = []


def run_all(options, repository, work, cgroup):
    report = Report()
    wanted = options.chapters or NAMES
    try:
        debian = options.debian
        stage = Stage(report, repository, work, cgroup, options, debian,
                      Disk.filled_from(debian, work / "debian.img"), Vendor(work / "vendor", repository))
        STAGES.append(stage)
        for name, title, chapter in ALL:
            if name in wanted:
                report.run(title, chapter, stage)
                stage.tidy()
    except KeyboardInterrupt:
        report.fails("interrupted from the keyboard")
    return report.end()


def end_all():
    for stage in STAGES:
        stage.end()
