"""Kill: a process ends in the middle of whatever it did (SIGKILL), the plainest of all crashes.

Of a node, the postmaster goes first and then all its children, as when the machine had lost them: a postmaster that is
killed alone leaves children that go on for a moment, which is a kinder fault. Nothing is to be healed; the shop does that.
"""

from __future__ import annotations

import signal

from everopen.base import process
from everopen.base.clock import Rng
from everopen.drill.faults.fault import CRASH, HANG, OWN_CONNECTIONS, Injected, Promise
from everopen.drill.faults.victims import as_data, choose, may_touch, missing_role
from everopen.drill.ground import Ground

PROMISES: dict[str, Promise] = {
    "primary": CRASH,
    "worker": CRASH,
    "gateway": OWN_CONNECTIONS,
    # Commits wait up to cluster.standby_grace_s (1 s) for a standby that is started again, then the primary goes on alone.
    "standby": HANG,
    "supervisor": CRASH,
    "guardian": CRASH,
    "payments": CRASH,
    "console": CRASH,
}


class Kill:
    """Kills one process of a role (a node with all its children)."""

    hold_s = 0.0

    def __init__(self, role: str) -> None:
        self.role = role
        self.name = f"kill-{role}"
        self.description = (
            f"SIGKILL to every process of the {role}."
            if role in ("primary", "standby")
            else f"SIGKILL to one {role}."
        )
        self.promise = PROMISES[role]

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        return missing_role(ground, self.role) or may_touch(ground, self.role)

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Kills."""
        victim = choose(ground, self.role, rng)
        for identity in victim.all:
            process.send(identity, signal.SIGKILL)
        return Injected(f"killed {victim.name}", victim.pids, {"identities": as_data(victim.all)})

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Nothing: the shop starts it again."""
