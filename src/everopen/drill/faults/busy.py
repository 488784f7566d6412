"""A busy machine: one endless loop on each core, beside the shop. Somebody's backup, or a neighbour on the same host.

The loops end with the drill (they watch whose children they are) and by themselves after two minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys

from everopen.base import process
from everopen.base.clock import Rng
from everopen.drill.faults.fault import NOTHING_FAILS, Injected
from everopen.drill.faults.victims import as_data, identities
from everopen.drill.ground import Ground

SECONDS_MAX = 120
LOOP = """
import os, sys, time
parent, core, end = int(sys.argv[1]), int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
os.sched_setaffinity(0, {core})
while time.monotonic() < end and os.getppid() == parent:
    for _ in range(200_000):
        pass
"""


class Busy:
    """Loops on all cores."""

    name = "busy-machine"
    description = "An endless loop is pinned on each core."
    promise = NOTHING_FAILS
    hold_s = 5.0

    def __init__(self) -> None:
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def missing(self, ground: Ground) -> str | None:
        """Always possible."""
        return None

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Starts the loops."""
        found = []
        for core in sorted(os.sched_getaffinity(0)):
            command = [sys.executable, "-S", "-c", LOOP, str(os.getpid()), str(core), str(SECONDS_MAX)]
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
            self._running[child.pid] = child
            if (identity := process.identify(child.pid)) is not None:
                found.append(identity)
        return Injected(f"{len(found)} loops", tuple(one.pid for one in found), {"loops": as_data(found)})

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Ends the loops."""
        for identity in identities(injected.data["loops"]):
            process.send(identity, 9)
            child = self._running.pop(identity.pid, None)
            if child is not None:
                child.wait(5.0)
