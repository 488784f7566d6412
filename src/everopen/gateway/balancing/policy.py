"""What every policy is: a choice among backends that may take a request now.

A policy sees only eligible backends (health has been decided before) and gets its randomness handed in, so the
simulator and the tests run the very code that the gateway runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from everopen.base.clock import Rng


class BackendView(Protocol):
    """What a policy may know of a backend: requests in flight from this process, and its weight (> 0)."""

    in_flight: int
    weight: float


B = TypeVar("B", bound=BackendView)


class Policy(Protocol):
    """Chooses one of `eligible` (never empty). One object per gateway process; it may keep a position."""

    def choose(self, eligible: Sequence[B], rng: Rng) -> B: ...
