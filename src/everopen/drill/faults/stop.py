"""Stop: a process lives and does nothing (SIGSTOP): it keeps its connections, its locks and its place, and answers
nobody. Harder than a crash, because nothing ends that others could notice.

The shop's answer is to kill what hangs, so most of the stopped are gone before they are healed; whoever still lives is
continued.
"""

from __future__ import annotations

import signal

from everopen.base import process
from everopen.base.clock import Rng
from everopen.drill.faults.fault import CRASH, HANG, Injected, Promise
from everopen.drill.faults.victims import as_data, choose, identities, may_touch, missing_role
from everopen.drill.ground import Ground

PROMISES: dict[str, Promise] = {
    "primary": HANG,
    "worker": HANG,
    "gateway": Promise("own connections", wait_s_max=3.0, whole_s_max=30.0),
    "standby": HANG,
    "supervisor": CRASH,
    "guardian": CRASH,
    "payments": CRASH,
    "console": CRASH,
}


class Stop:
    """Stops one process of a role (a node with all its children)."""

    hold_s = 6.0

    def __init__(self, role: str, promise: Promise | None = None) -> None:
        self.role = role
        self.name = f"stop-{role}"
        self.description = (
            f"SIGSTOP to every process of the {role}."
            if role in ("primary", "standby")
            else f"SIGSTOP to one {role}."
        )
        self.promise = promise or PROMISES[role]

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        return missing_role(ground, self.role) or may_touch(ground, self.role)

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Stops."""
        victim = choose(ground, self.role, rng)
        for identity in victim.all:
            process.send(identity, signal.SIGSTOP)
        return Injected(f"stopped {victim.name}", victim.pids, {"identities": as_data(victim.all)})

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Continues what still lives."""
        for identity in identities(injected.data["identities"]):
            process.send(identity, signal.SIGCONT)
