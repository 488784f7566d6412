"""Clock jump: the wall clock of the shop's Python processes leaps, as after a bad time server or a resumed virtual machine.

The clock of a process can be moved only from within (libfaketime, preloaded): the kernel's time namespaces leave the wall
clock alone, and setting the machine's clock would hit everybody. So the shop must have been started with the library
(`preloaded` gives the environment); then a file says how far the clock is off, and a change of it is a jump. PostgreSQL keeps
the true clock: its environment is made anew by the supervisor.
"""

from __future__ import annotations

import glob
from pathlib import Path

from everopen.base.clock import Rng
from everopen.drill.faults.fault import CRASH, Injected
from everopen.drill.ground import Ground

JUMPS_S = (3600, -3600, 86400, -120)
PLACES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1", "/usr/local/lib*/faketime/libfaketime.so.1")  # fmt: skip
FILE = "clock.faketime"


def library() -> str | None:
    """Where libfaketime is installed."""
    return next((found for place in PLACES for found in sorted(glob.glob(place))), None)


def preloaded(found: str, folder: Path) -> dict[str, str]:
    """The environment of a shop whose clock can jump; the file that moves it lies in `folder`."""
    (folder / FILE).write_text("+0\n")
    (folder / FILE).chmod(0o644)
    return {
        "LD_PRELOAD": found,
        "FAKETIME_TIMESTAMP_FILE": str(folder / FILE),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


class ClockJump:
    """The wall clock leaps by an hour, a day or two minutes, forward or back; clocks for durations do not."""

    name = "clock-jump"
    description = "The wall clock leaps by minutes, an hour or a day, as the shop's Python processes see it."
    promise = CRASH
    hold_s = 4.0

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        if library() is None and "LD_PRELOAD" not in ground.environment:
            return "libfaketime is not installed, and nothing else moves one process's clock."
        if "FAKETIME_TIMESTAMP_FILE" not in ground.environment:
            return "The shop was not started with libfaketime preloaded (clock_jump.preloaded)."
        return None

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Leaps."""
        jump_s = rng.choice(JUMPS_S)
        self._file(ground).write_text(f"{jump_s:+d}\n")
        return Injected(f"the clock leapt by {jump_s:+d} s", data={"jump_s": jump_s})

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Leaps back."""
        self._file(ground).write_text("+0\n")

    def _file(self, ground: Ground) -> Path:
        return Path(ground.environment["FAKETIME_TIMESTAMP_FILE"])
