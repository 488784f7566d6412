"""Session store down: the process that keeps sessions and carts stops.

Sessions lie in PostgreSQL, in the same database as everything else, so its loss is what kill-primary and its kin drill, and
there is no other process to take away. This one is for shops that keep sessions elsewhere.
"""

from __future__ import annotations

from everopen.base.clock import Rng
from everopen.drill.faults.fault import NOT_COVERED, Injected
from everopen.drill.faults.stop import Stop
from everopen.drill.faults.victims import may_touch, missing_role
from everopen.drill.ground import Ground

ROLE = "sessions"


class SessionStoreDown:
    """Stops the session store, where it is a process of its own."""

    name = "session-store-down"
    description = "SIGSTOP to the session store."
    promise = NOT_COVERED
    hold_s = 5.0

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        if missing_role(ground, ROLE):
            return (
                "Sessions are kept in PostgreSQL here; its loss is what kill-primary and stop-primary drill."
            )
        return may_touch(ground, ROLE)

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Stops it."""
        return Stop(ROLE, self.promise).inject(ground, rng)

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Continues it."""
        Stop(ROLE, self.promise).heal(ground, injected)
