"""I/O errors: every write of a node's processes to a file is refused by the kernel.

By the limit on file sizes (RLIMIT_FSIZE = 0): the write system call fails with EFBIG, which PostgreSQL takes as any other
failed write. It stops when the WAL can't be written (PANIC). A device mapper table with an error target was turned down:
the home would have to lie on a mapped device before the shop was started, and where a user's home does (LVM), swapping its
table would break everything else on it. What this leaves out: reads, and a flush that fails after the write was taken.

What the supervisor starts anew has the usual limits, so the fault ends with the processes it hit.
"""

from __future__ import annotations

import resource

from everopen.base import process
from everopen.base.clock import Rng
from everopen.base.process import Identity
from everopen.drill.faults.fault import HANG, Injected, Promise
from everopen.drill.faults.limits import limits_of, may_limit, set_limits
from everopen.drill.faults.victims import as_data, choose, identities, living, missing_role
from everopen.drill.ground import Ground

PROMISES: dict[str, Promise] = {
    # It ends by PANIC: a crash, but one that takes its time to write its last words.
    "primary": HANG,
    "standby": HANG,
}


class IoErrors:
    """A node's writes fail."""

    hold_s = 5.0

    def __init__(self, role: str) -> None:
        self.role = role
        self.name = f"io-errors-{role}"
        self.description = f"Every write of the {role} to a file fails."
        self.promise = PROMISES[role]

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        if sentence := missing_role(ground, self.role):
            return sentence
        for victim in living(ground, self.role)[:1]:
            return may_limit(victim.main, resource.RLIMIT_FSIZE)
        return None

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Forbids."""
        victim = choose(ground, self.role, rng)
        before = limits_of(victim.main.pid, resource.RLIMIT_FSIZE)
        for identity in victim.all:
            set_limits(identity, resource.RLIMIT_FSIZE, (0, before[1]))
        return Injected(
            f"writes of {victim.name} fail",
            victim.pids,
            {"identities": as_data(victim.all), "before": list(before)},
        )

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Allows again, also to children that were born meanwhile."""
        soft, hard = injected.data["before"]
        for victim in _still_there(ground, injected):
            set_limits(victim, resource.RLIMIT_FSIZE, (soft, hard))


def _still_there(ground: Ground, injected: Injected) -> list[Identity]:
    """What still lives of the node that was hit, with children born since."""
    known = identities(injected.data["identities"])
    if not process.alive(known[0]):
        return known
    born = (process.identify(pid) for pid in ground.node_processes(known[0].pid))
    return [*known, *(one for one in born if one is not None and one not in known)]
