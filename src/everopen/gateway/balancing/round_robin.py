"""Round robin: each backend in turn, weights ignored.

The first turn starts at a random place: gateways that all started at the first backend would march in step.
"""

from __future__ import annotations

from collections.abc import Sequence

from everopen.base.clock import Rng
from everopen.gateway.balancing.policy import B


class RoundRobin:
    """Each in turn."""

    def __init__(self) -> None:
        self._turn = -1

    def choose(self, eligible: Sequence[B], rng: Rng) -> B:
        turn = self._turn + 1 if self._turn >= 0 else int(rng.random() * len(eligible))
        self._turn = turn % len(eligible)
        return eligible[self._turn]
