"""Connection leak: somebody opens connections to the database under the shop's own account and never closes one, until the
server refuses.

The lanes hold theirs already and the supervisor has reserved ones, so nothing fails as long as nobody must connect anew.
That is the point of the fault: combined with a crash it takes the last place away from whoever comes back.
"""

from __future__ import annotations

import asyncpg

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.drill.faults.fault import CRASH, Injected
from everopen.drill.faults.held import Held
from everopen.drill.ground import Ground

CONNECTIONS_MAX = 400
INJECT_S_MAX = 20.0


class ConnectionLeak:
    """Idle sessions of `everopen_app` until none is left."""

    name = "connection-leak"
    description = "Idle database sessions of the shop's account are opened until the primary refuses more."
    promise = CRASH
    hold_s = 4.0

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}

    def missing(self, ground: Ground) -> str | None:
        """Always possible."""
        return None

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Opens them."""
        topology = ground.topology()
        if topology is None or topology.primary is None:
            raise EveropenError("There is no primary just now.")
        endpoint, password, held = topology.primary.endpoint, ground.secrets.app, Held()

        async def fill() -> str:
            while len(held.connections) < CONNECTIONS_MAX:
                try:
                    held.connections.append(
                        await asyncpg.connect(
                            host=endpoint.path,
                            port=endpoint.port,
                            user="everopen_app",
                            password=password,
                            database="everopen",
                            timeout=5.0,
                        )
                    )
                except (asyncpg.PostgresError, OSError, TimeoutError) as error:
                    return str(error)
            return "the drill's own bound"

        try:
            why = held.run(fill(), INJECT_S_MAX)
        except BaseException:
            held.end()
            raise
        self._held[id(held)] = held
        return Injected(
            f"{len(held.connections)} idle sessions, until: {why}",
            data={"held": id(held), "connections": len(held.connections)},
        )

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Closes them."""
        held = self._held.pop(injected.data["held"], None)
        if held is not None:
            held.end()
