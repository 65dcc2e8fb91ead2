"""Chapters side by side: most of their time goes into waiting, and each lane has a machine and a network of its own.

What a lane prints comes out a chapter at a time (at once where it is the only one), and the counts of all of them once,
at the end.
"""

import re
import subprocess
import threading

COUNTS = re.compile(r"^(\d+) passed, (\d+) failed$")


class Lane:
    def __init__(self, command, preexec):
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      text=True, errors="replace", preexec_fn=preexec)
        self.counts = None
        self.failures = []

    def read(self, printing, is_alone):
        chapter = []

        def show():
            with printing:
                print("".join(chapter), end="", flush=True)
            chapter.clear()
        for line in self.child.stdout:
            counts = COUNTS.match(line)
            if counts:
                self.counts = int(counts[1]), int(counts[2])
            elif line.startswith("failed: "):
                self.failures.append(line)
            else:
                if is_alone or line.startswith("== "):
                    show()
                chapter.append(line)
        show()
        self.child.wait()


def run_all(lanes):
    """The exit status of all of them together."""
    printing = threading.Lock()
    readers = [threading.Thread(target=lane.read, args=(printing, len(lanes) == 1)) for lane in lanes]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    passed = sum(lane.counts[0] for lane in lanes if lane.counts)
    failed = sum(lane.counts[1] for lane in lanes if lane.counts)
    for lane in lanes:
        print("".join(lane.failures), end="")
        if not lane.counts or (lane.child.returncode != 0 and not lane.counts[1]):
            print(f"failed: {lane.child.args[-1]}: ended with {lane.child.returncode} before it was through")
            failed += 1
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0
