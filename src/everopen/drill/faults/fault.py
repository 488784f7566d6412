"""What every fault is: a name, a promise, and three acts.

A fault says beforehand what the shop promises under it; the checkers hold the shop to that and to nothing else. `inject`
and `heal` are plain functions with bounded waits: whoever runs them decides how long a fault stays, and `heal` may be
called twice, late, or after the victim is long gone.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from everopen.base.clock import Rng
from everopen.drill.ground import Ground


class Promise(msgspec.Struct, frozen=True):
    """What may happen to requests that were due from the start of a fault until the shop is whole again."""

    failed: Literal["none", "own connections", "not covered"]
    """none: no request fails. own connections: only those on connections that the victim held. not covered: the shop
    promises nothing about single requests here (what was acknowledged still holds, always)."""
    wait_s_max: float | None = None
    """The longest that an answer may take; None: not promised."""
    whole_s_max: float | None = None
    """From healing until everything runs and a standby confirms; None: not promised."""


CRASH = Promise("none", wait_s_max=1.0, whole_s_max=30.0)
HANG = Promise("none", wait_s_max=3.0, whole_s_max=30.0)
OWN_CONNECTIONS = Promise("own connections", wait_s_max=1.0, whole_s_max=30.0)
NOTHING_FAILS = Promise("none", whole_s_max=30.0)
NOT_COVERED = Promise("not covered", whole_s_max=60.0)


class Injected(msgspec.Struct):
    """What was hit, for healing and for the report."""

    what: str
    pids: tuple[int, ...] = ()
    data: dict[str, Any] = {}


class Fault(Protocol):
    """One way to break a shop. One file per fault; registered in `FAULTS`."""

    @property
    def name(self) -> str:
        """The key in `FAULTS`."""
        ...

    @property
    def description(self) -> str:
        """One sentence: what is done, not what it causes."""
        ...

    @property
    def promise(self) -> Promise:
        """What the shop promises under it."""
        ...

    @property
    def hold_s(self) -> float:
        """How long it stays before it is healed."""
        ...

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run on this machine or on this shop, in a sentence; None: it can."""
        ...

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Does it. Returns within seconds. Raises EveropenError when there is nothing to break just now."""
        ...

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Takes it back. Always called, may be called again."""
        ...
