"""Random: each eligible backend with equal chance, weights ignored. No memory, so no two gateways can fall in step."""

from __future__ import annotations

from collections.abc import Sequence

from everopen.base.clock import Rng
from everopen.gateway.balancing.policy import B


class RandomChoice:
    """Equal chance for each."""

    def choose(self, eligible: Sequence[B], rng: Rng) -> B:
        return eligible[int(rng.random() * len(eligible))]
