"""Is a backend worth a request? A small state machine, and the choice of who is eligible. Pure.

A refused or reset connection puts a backend out at once: the next request would only find the same. It comes back
when a probe of its own succeeds; probes back off. A worker that restarts has a new endpoint and so is a new backend
with a clean record. Counting errors over a window was turned down here: the worker is a local process, its death is
certain and the request that finds it can be repeated elsewhere, so waiting for more evidence only costs requests.

A worker that answers 500 is another matter: the fault may lie in the request. So the request is asked of a second
worker, and only when that one can carry it out the first is to blame (`blamed`); it is out for a time that doubles,
because its own probe says that it is well. (Comparing error rates with the pool's median needs many requests to
tell the same, and tells it only after they have failed.)

Verdicts by suspicion (reset, hung, failing) may be wrong for all backends at once, as when the machine is overloaded. Then,
with fewer than half healthy, the suspects are used too ("panic"). A refused connection is no suspicion: nobody
listens there, so a refusing backend is only used when nothing else is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

State = Literal["healthy", "suspect", "failing", "refusing"]
Event = Literal["refused", "reset", "hung", "blamed", "probe_failed", "answered"]
Effect = Literal["none", "eject", "probe_later", "admit"]


class Transition(msgspec.Struct, frozen=True):
    """One line of the table."""

    to: State
    effect: Effect
    reason: str


TRANSITIONS: dict[tuple[State, Event], Transition] = {
    ("healthy", "refused"): Transition("refusing", "eject", "nobody listens on its endpoint"),
    ("healthy", "reset"): Transition("suspect", "eject", "it closed a connection with a request on it"),
    ("healthy", "hung"): Transition("suspect", "eject", "it holds requests and does not answer a probe"),
    ("healthy", "blamed"): Transition("failing", "eject", "it answers 500 where others do not"),
    ("healthy", "probe_failed"): Transition("suspect", "eject", "it does not answer a probe"),
    ("healthy", "answered"): Transition("healthy", "none", "it answers"),
    ("suspect", "refused"): Transition("refusing", "probe_later", "now nobody listens on its endpoint"),
    ("suspect", "reset"): Transition("suspect", "none", "known already"),
    ("suspect", "hung"): Transition("suspect", "none", "known already"),
    ("suspect", "blamed"): Transition("suspect", "none", "known already"),
    ("suspect", "probe_failed"): Transition("suspect", "probe_later", "it still does not answer a probe"),
    ("suspect", "answered"): Transition("healthy", "admit", "it answers again"),
    ("failing", "refused"): Transition("refusing", "probe_later", "now nobody listens on its endpoint"),
    ("failing", "reset"): Transition("failing", "none", "known already"),
    ("failing", "hung"): Transition("failing", "none", "known already"),
    ("failing", "blamed"): Transition("failing", "none", "known already"),
    ("failing", "probe_failed"): Transition("suspect", "probe_later", "now it does not answer a probe"),
    ("failing", "answered"): Transition("healthy", "admit", "its time is over, and it answers a probe"),
    ("refusing", "refused"): Transition("refusing", "none", "known already"),
    ("refusing", "reset"): Transition("refusing", "none", "known already"),
    ("refusing", "hung"): Transition("refusing", "none", "known already"),
    ("refusing", "blamed"): Transition("refusing", "none", "known already"),
    ("refusing", "probe_failed"): Transition("refusing", "probe_later", "still nobody answers"),
    ("refusing", "answered"): Transition("healthy", "admit", "it answers again"),
}


def probe_delay_s(failures: int, first_s: float, max_s: float, jitter: float) -> float:
    """Time to the next probe after so many failed ones: doubles, bounded, spread by ±25% (`jitter` in 0..1)."""
    return min(first_s * 2.0 ** min(failures, 30), max_s) * (0.75 + 0.5 * jitter)


class HealthView(Protocol):
    """What eligibility depends on."""

    state: State
    draining: bool


H = TypeVar("H", bound=HealthView)


def eligible(backends: Iterable[H]) -> Sequence[H]:
    """Those that may get a request now: the healthy ones; in panic the suspects too; refusing ones at the last."""
    able = [backend for backend in backends if not backend.draining]
    healthy = [backend for backend in able if backend.state == "healthy"]
    if len(healthy) * 2 >= len(able):
        return tuple(healthy)
    wider = [backend for backend in able if backend.state != "refusing"]
    return tuple(wider or able)
