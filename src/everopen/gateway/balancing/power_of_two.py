"""Power of two choices: draw two distinct backends, take the less loaded one.

Two draws see enough to avoid a busy backend and too little for all gateways to storm the one that looks idle
(Mitzenmacher 2001; Envoy's LEAST_REQUEST, Finagle's P2C). Taking the least of all was turned down for that reason.
With unequal weights the larger `weight / (in_flight + 1)` wins; ties are broken at random.
"""

from __future__ import annotations

from collections.abc import Sequence

from everopen.base.clock import Rng
from everopen.gateway.balancing.policy import B


class PowerOfTwo:
    """The less loaded of two drawn at random."""

    def choose(self, eligible: Sequence[B], rng: Rng) -> B:
        count = len(eligible)
        if count == 1:
            return eligible[0]
        draw = int(
            rng.random() * (count * (count - 1))
        )  # one number gives an ordered pair of distinct places
        first, second = divmod(draw, count - 1)
        if second >= first:
            second += 1
        one, other = eligible[first], eligible[second]
        if one.weight == other.weight:
            if one.in_flight <= other.in_flight:  # the pair's order is random, so a tie is too
                return one
            return other
        if one.weight * (other.in_flight + 1) >= other.weight * (one.in_flight + 1):
            return one
        return other
