"""Weighted random: backend i with chance w_i / Σw. Where all weights are 0, equal chance."""

from __future__ import annotations

from collections.abc import Sequence

from everopen.base.clock import Rng
from everopen.gateway.balancing.policy import B


class WeightedRandom:
    """Chance in proportion to weight."""

    def choose(self, eligible: Sequence[B], rng: Rng) -> B:
        total = 0.0
        for backend in eligible:
            total += backend.weight
        if total <= 0.0:
            return eligible[int(rng.random() * len(eligible))]
        point = rng.random() * total
        for backend in eligible:
            point -= backend.weight
            if point < 0.0:
                return backend
        return max(eligible, key=lambda backend: backend.weight)  # rounding ate the last sliver
