"""Time and randomness, passed in: logic takes a `Clock` and an `Rng`, so tests run it on virtual time."""

from __future__ import annotations

import random
import time
from typing import Protocol

Rng = random.Random
"""A seeded source; `random.Random(seed)` in tests, `random.Random()` (seeded by the system) in processes."""


class Clock(Protocol):
    """Two clocks in one: `monotonic_s` for durations, `wall_s` for what people read (Unix time)."""

    def monotonic_s(self) -> float: ...

    def wall_s(self) -> float: ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        return time.time()


class VirtualClock:
    """A clock that a test moves."""

    def __init__(self, start_s: float = 0.0) -> None:
        self.now_s = start_s

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds
