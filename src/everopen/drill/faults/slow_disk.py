"""Slow disk: the primary's processes may write a few times a second, so each flush of the WAL waits.

By control group (io.max, or the block throttle of version 1), which holds for these processes only. Where none can be made
it is not run: ionice only orders requests among those that wait, and on a disk that is fast enough nobody waits.
"""

from __future__ import annotations

import msgspec

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.drill.faults import cgroups
from everopen.drill.faults.cgroups import Group
from everopen.drill.faults.disks import device_of
from everopen.drill.faults.fault import NOTHING_FAILS, Injected
from everopen.drill.faults.victims import choose, missing_role
from everopen.drill.ground import Ground

WRITES_PER_S = 20


class SlowDisk:
    """A node's disk takes few writes. Commits are late, not lost."""

    promise = NOTHING_FAILS
    hold_s = 5.0

    def __init__(self, role: str) -> None:
        self.role = role
        self.name = f"slow-disk-{role}"
        self.description = f"The disk takes {WRITES_PER_S} writes a second of the {role}."

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        if sentence := missing_role(ground, self.role):
            return sentence
        if device_of(ground.home.nodes.resolve()) is None:
            return "The home lies in memory or on a layered file system, which no block throttle sees."
        if not ground.root or cgroups.controller("io", "io.max") is None:
            return "A control group with an io controller can't be made here; it needs root."
        return None

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Throttles."""
        victim = choose(ground, self.role, rng)
        found, device = cgroups.controller("io", "io.max"), device_of(ground.home.nodes.resolve())
        if found is None or device is None:
            raise EveropenError(self.missing(ground) or "The disk can't be slowed.")
        folder, version = found
        limits = (
            {"io.max": f"{device} wiops={WRITES_PER_S}"}
            if version == 2
            else {"blkio.throttle.write_iops_device": f"{device} {WRITES_PER_S}"}
        )
        group = cgroups.enter(folder, victim.pids, limits)
        return Injected(
            f"throttled {victim.name} on {device}", victim.pids, {"group": msgspec.to_builtins(group)}
        )

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Lets it write again."""
        cgroups.leave(msgspec.convert(injected.data["group"], Group))
