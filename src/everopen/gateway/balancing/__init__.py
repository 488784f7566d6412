"""Load-balancing policies, one pure file each. A new policy is one file and one line in `POLICIES`."""

from __future__ import annotations

from collections.abc import Callable

from everopen.gateway.balancing.policy import BackendView, Policy
from everopen.gateway.balancing.power_of_two import PowerOfTwo
from everopen.gateway.balancing.random_choice import RandomChoice
from everopen.gateway.balancing.round_robin import RoundRobin
from everopen.gateway.balancing.weighted_random import WeightedRandom

POLICIES: dict[str, Callable[[], Policy]] = {
    "power_of_two": PowerOfTwo,
    "random": RandomChoice,
    "round_robin": RoundRobin,
    "weighted_random": WeightedRandom,
}

__all__ = ["POLICIES", "BackendView", "Policy"]
