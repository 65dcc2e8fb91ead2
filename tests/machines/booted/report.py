"""What the transcript looks like: one line a check, and the counts at the end. Nowhere else prints."""

import sys
import time
import traceback

START = time.monotonic()


class Failed(Exception):
    """A check that the rest of its chapter cannot do without did not hold."""


class Report:
    def __init__(self):
        self.passed = 0
        self.failures = []
        self.chapter = ""

    def say(self, text):
        print(text, flush=True)

    def title(self, text):
        self.chapter = text
        self.say(f"\n== {text} ({time.monotonic() - START:.0f} s)")

    def note(self, text):
        self.say(f"        {text}")

    def passes(self, text):
        self.passed += 1
        self.say(f"ok      {text}")

    def fails(self, text, why=""):
        self.failures.append(f"{self.chapter}: {text.splitlines()[0]}")
        self.say(f"FAILED  {text}")
        for line in str(why).splitlines():
            self.note(f"  {line}")

    def check(self, text, holds, why=""):
        """`why` is what was found instead; it may be a function, called only when it is needed."""
        if holds:
            self.passes(text)
        else:
            self.fails(text, why() if callable(why) else why)
        return bool(holds)

    def same(self, text, found, wanted):
        return self.check(text, found == wanted, f"wanted: {wanted!r}\nfound:  {found!r}")

    def need(self, text, holds, why=""):
        """A check without which the rest of the chapter means nothing."""
        if not self.check(text, holds, why):
            raise Failed()

    def run(self, title, chapter, *arguments):
        """A chapter that breaks is one failure; the others go on."""
        self.title(title)
        try:
            chapter(*arguments)
        except Failed as error:
            if error.args:
                self.fails("broke off", error.args[0])
            self.note("the rest of this chapter was not tried")
        except Exception as error:  # whatever it is, it is a failure of this chapter
            self.fails(f"broke off: {type(error).__name__}", traceback.format_exc(limit=-4)[-4000:])

    def end(self):
        self.say(f"\n({time.monotonic() - START:.0f} s)")
        for failure in self.failures:
            self.say(f"failed: {failure}")
        self.say(f"{self.passed} passed, {len(self.failures)} failed")
        return 1 if self.failures else 0


def table(rows):
    """Lines of text columns, as wide as they must be."""
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows)]
    return ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def poll(what, seconds, step=0.1):
    """Asks until the answer is neither None nor False; the last answer when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > deadline:
            return answer
        time.sleep(step)


def fatal(text):
    print(f"tests/machines/booted: {text}", file=sys.stderr)
    sys.exit(2)
