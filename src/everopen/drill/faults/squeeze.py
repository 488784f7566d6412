"""A limit that comes closer step by step: how a leak is brought about from outside.

Nobody can make another process lose memory or descriptors without touching its code. But what a leak comes to in the end is
that what is left grows less, and that can be had exactly: the limit of the process (prlimit) is lowered towards its present
use, a step every so often, until the next request for more is refused. The process's own use does not grow; the room above
it shrinks (`/proc/PID/limits`), and that is what telemetry should take for the signal.
"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path

from everopen.base.process import Identity
from everopen.drill.faults.limits import limits_of, set_limits

STEPS = 10
STEP_S = 0.4


def address_space(pid: int) -> int:
    """Bytes of address space in use. Raises OSError."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """One more than the highest descriptor in use: that is what the limit counts. Raises OSError."""
    return 1 + max((int(name) for name in os.listdir(f"/proc/{pid}/fd")), default=0)


class Squeeze(threading.Thread):
    """Lowers the soft limit of one process in steps from `room` above its use down to `least` above it."""

    def __init__(
        self, victim: Identity, kind: int, used: Callable[[int], int], *, room: int, least: int
    ) -> None:
        super().__init__(daemon=True, name="drill-squeeze")
        self._victim, self._kind, self._used = victim, kind, used
        self._room, self._least = room, least
        self.before = limits_of(victim.pid, kind)
        self._enough = threading.Event()

    def run(self) -> None:
        for step in range(1, STEPS + 1):
            room = self._least + (self._room - self._least) * (STEPS - step) // STEPS
            try:
                self.lower(room)
            except OSError:
                return  # it ended
            if self._enough.wait(STEP_S):
                return

    def lower(self, room: int) -> None:
        """Leaves so much above the present use. Raises OSError when the process is gone."""
        hard = self.before[1]
        limit = self._used(self._victim.pid) + room
        wanted = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        if not set_limits(self._victim, self._kind, (wanted, hard)):
            raise ProcessLookupError(self._victim.pid)

    def stop(self) -> None:
        """Lowers no more; the limit stays."""
        self._enough.set()
        if self.is_alive():
            self.join(2.0)
