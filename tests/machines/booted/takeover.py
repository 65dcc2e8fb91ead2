"""An appliance of the ancestor that systemd has booted is taken over, used, rebooted, and given back."""

import importlib.util
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
SHARED = HERE.parent / "takeover"


def load():
    """What the test without systemd looks at as well; under its own name, so that it is found from anywhere."""
    spec = importlib.util.spec_from_file_location("passes", SHARED / "passes.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["passes"] = module
    spec.loader.exec_module(module)
    return module


class Booted:
    """A machine as the passes know one: it runs scripts and has the sources."""

    source = "/root/src"

    def __init__(self, machine):
        self.machine = machine

    def attempt(self, script, *arguments, seconds=120):
        return self.machine.attempt(script, *arguments, seconds=seconds)

    def sh(self, script, *arguments, seconds=120):
        return self.machine.sh(script, *arguments, seconds=seconds)


def takeover(stage):
    passes = load()
    for server, jobs in (("nginx", "keep"), ("lighttpd", "ours")):
        machine = stage.new_machine()
        machine.plug()
        stage.sources(machine.path("/root/src"))
        shutil.copy2(SHARED / "appliance", machine.path("/root/src"))
        machine.boot()
        machine.wait_booted()
        stage.report.note(f"{server}, --jobs {jobs}")
        passes.one_pass(stage.report, Booted(machine), server, jobs)
