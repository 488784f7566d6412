"""Memory leak and descriptor leak, from outside: the room above a process's use shrinks until nothing is left.

See `squeeze` for why this is done with limits (RLIMIT_AS, RLIMIT_NOFILE) and what it leaves out: the use itself does not
grow. At the end the victim has its present use and a little more, so it fails when it wants more and may go on when it does
not. Not covered by a promise about single requests: a process out of memory answers what it can.
"""

from __future__ import annotations

import resource
from collections.abc import Callable

from everopen.base.clock import Rng
from everopen.drill.faults import squeeze
from everopen.drill.faults.fault import NOT_COVERED, Injected
from everopen.drill.faults.limits import may_limit, set_limits
from everopen.drill.faults.squeeze import Squeeze
from everopen.drill.faults.victims import as_data, choose, identities, living, missing_role
from everopen.drill.ground import Ground

MIB = 2**20
KINDS: dict[str, tuple[int, Callable[[int], int], int, int]] = {
    "memory": (resource.RLIMIT_AS, squeeze.address_space, 256 * MIB, 0),
    "descriptor": (resource.RLIMIT_NOFILE, squeeze.descriptors, 200, 0),
}
"""The limit, what is in use, the room at first and at last."""


class Leak:
    """One process of a role runs out of one thing."""

    hold_s = squeeze.STEPS * squeeze.STEP_S + 3.0
    promise = NOT_COVERED

    def __init__(self, kind: str, role: str) -> None:
        self.kind, self.role = kind, role
        self.name = f"{kind}-leak-{role}"
        self.description = f"The room that one {role} has for more {kind}s shrinks to nothing.".replace(
            "memorys", "memory"
        )
        self._running: dict[int, Squeeze] = {}

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        if sentence := missing_role(ground, self.role):
            return sentence
        for victim in living(ground, self.role)[:1]:
            return may_limit(victim.main, KINDS[self.kind][0])
        return None

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Begins to squeeze; it goes on by itself."""
        victim = choose(ground, self.role, rng)
        limit, used, room, least = KINDS[self.kind]
        squeezing = Squeeze(victim.main, limit, used, room=room, least=least)
        self._running[victim.main.pid] = squeezing
        squeezing.start()
        return Injected(
            f"squeezing {victim.name}",
            victim.pids,
            {"identities": as_data(victim.all), "before": list(squeezing.before)},
        )

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Gives the room back."""
        squeezing = self._running.pop(injected.pids[0], None)
        if squeezing is not None:
            squeezing.stop()
        soft, hard = injected.data["before"]
        set_limits(identities(injected.data["identities"])[0], KINDS[self.kind][0], (soft, hard))
