"""Clock jump: the wall clock of the shop's Python processes leaps, as after a bad time server or a resumed virtual machine.

The clock of one process can be moved only from within: the kernel's time namespaces leave the wall clock alone, and setting
the machine's clock would hit everybody. So a shop whose clock is to leap is started with `preloaded`: an environment in
which Python runs a few lines of ours before anything else, and these add to the wall clock what eight shared bytes say.
libfaketime was tried first: with clocks for durations left alone, its sleep fails under Python 3.11 and later (EINVAL), and
with all clocks moved every timer goes off at once, which no bad time server does.

Left out: PostgreSQL (its environment is made anew by the supervisor), and the guardian, which compares the wall clock with the
date of a file; files are dated by the kernel, whose clock does not leap here.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from everopen.base.clock import Rng
from everopen.drill.faults.fault import CRASH, Injected
from everopen.drill.ground import Ground

JUMPS_S = (3600, -3600, 86400, -120)
VARIABLE = "EVEROPEN_DRILL_CLOCK"
FOLDER = "clock"
OFFSET = struct.Struct("d")

BEFORE_ALL_ELSE = f'''"""Run by Python at its start, in processes of a shop under drill: the wall clock is off by what a shared file says."""
import os
import sys

path = os.environ.get("{VARIABLE}")
if path and "everopen.compose" in sys.orig_argv and "guardian" not in sys.orig_argv:
    import mmap
    import struct
    import time

    with open(path, "rb") as handle:
        shared = mmap.mmap(handle.fileno(), {OFFSET.size}, prot=mmap.PROT_READ)
    read, true_s, true_ns = struct.Struct("d").unpack_from, time.time, time.time_ns
    time.time = lambda: true_s() + read(shared)[0]
    time.time_ns = lambda: true_ns() + int(read(shared)[0]) * 10**9
'''


def preloaded(folder: Path) -> dict[str, str]:
    """The environment of a shop whose clock can leap; what moves it lies in `folder`."""
    place = folder / FOLDER
    place.mkdir(mode=0o755, exist_ok=True)
    (place / "sitecustomize.py").write_text(BEFORE_ALL_ELSE)
    (place / "offset").write_bytes(OFFSET.pack(0.0))
    path = os.pathsep.join(filter(None, (str(place), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, VARIABLE: str(place / "offset")}


class ClockJump:
    """The wall clock leaps by an hour, a day or two minutes, forward or back; clocks for durations do not."""

    name = "clock-jump"
    description = "The wall clock leaps by minutes, an hour or a day, as the shop's Python processes see it."
    promise = CRASH
    hold_s = 4.0

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        if VARIABLE not in ground.environment:
            return "The shop was not started so that its clock can be moved (a scratch shop can: clock_jump.preloaded)."
        return None

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Leaps."""
        jump_s = rng.choice(JUMPS_S)
        _set(ground, float(jump_s))
        return Injected(f"the clock leapt by {jump_s:+d} s", data={"jump_s": jump_s})

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Leaps back."""
        _set(ground, 0.0)


def _set(ground: Ground, offset_s: float) -> None:
    """In place: the processes have mapped this very file."""
    with open(ground.environment[VARIABLE], "r+b") as handle:
        handle.write(OFFSET.pack(offset_s))
