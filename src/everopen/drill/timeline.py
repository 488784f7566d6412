"""What was broken and when, with exact labels: the history of a drill, and the training data of prediction.

Times are Unix seconds. Start and healing are known to the drill itself; effect, failure and service come from the clients'
own ledger afterwards, because only clients know what was felt.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import msgspec


class Entry(msgspec.Struct, kw_only=True):
    """One injected fault."""

    fault: str
    group: int
    """Strikes of one group overlap on purpose (a pair, a storm)."""
    target: str
    pids: tuple[int, ...] = ()
    kills: int = 0
    """Processes that were ended with SIGKILL; those of a node each count."""
    planned: float
    """When the plan wanted it."""
    start: float
    """When injecting began."""
    injected: float
    """When it was in place."""
    effect: float | None = None
    """When the first request was due that it slowed or failed; None: nobody felt it."""
    failure: float | None = None
    """When the first request was due that failed."""
    healed: float | None = None
    """When it was taken away (kills: nothing to take away, the same as `injected`)."""
    served: float | None = None
    """When the last slow or failed request of its time was over: clients are served as usual again."""
    whole: float | None = None
    """When every process ran and a standby confirmed again."""
    end: float | None = None
    """When its time was over: the next group began, or the run ended. What was felt until then is laid to its charge."""
    longest_wait_s: float = 0.0
    failed: int = 0
    broken_connections: int = 0
    data: dict[str, object] = {}
    note: str = ""


class NotRun(msgspec.Struct, frozen=True):
    """A fault that could not be run here."""

    fault: str
    times: int
    reason: str


class Slow(msgspec.Struct, frozen=True):
    """A request that was slow or failed. `over` is when the client knew its end."""

    due: float
    over: float
    failed: bool


def label(
    entries: Sequence[Entry],
    troubled: Iterable[Slow],
    broken_at: Iterable[float],
    *,
    ended: float,
    early_s: float = 0.1,
) -> None:
    """Fills in what clients felt. Each group's time ends where the next group begins; within a group, every fault that
    had begun shares what was felt (the drill can't tell two faults at once apart, and does not pretend to)."""
    starts: dict[int, float] = {}
    for entry in entries:
        starts[entry.group] = min(entry.start, starts.get(entry.group, entry.start))
    order = sorted(starts, key=lambda group: starts[group])
    until = {
        group: starts[order[index + 1]] if index + 1 < len(order) else ended
        for index, group in enumerate(order)
    }
    slow = sorted(troubled, key=lambda request: request.due)
    dues = [request.due for request in slow]
    longest_s = max((request.over - request.due for request in slow), default=0.0)
    broken = sorted(broken_at)
    for entry in entries:
        entry.end = until[entry.group]
        # Due before the fault and over after it: it was under way when the fault struck.
        first = bisect_left(dues, entry.start - early_s - longest_s)
        for request in slow[first : bisect_left(dues, entry.end - early_s)]:
            if request.over < entry.start - early_s:
                continue
            felt_from = max(request.due, entry.start)
            if entry.effect is None or felt_from < entry.effect:
                entry.effect = felt_from
            entry.served = max(entry.served or 0.0, request.over)
            entry.longest_wait_s = max(entry.longest_wait_s, request.over - request.due)
            if request.failed:
                entry.failed += 1
                if entry.failure is None or felt_from < entry.failure:
                    entry.failure = felt_from
        entry.broken_connections = bisect_left(broken, entry.end) - bisect_left(broken, entry.start - early_s)


def by_itself(entry: Entry, entries: Sequence[Entry]) -> bool:
    """Whether no other fault was in place during its time, and the shop was whole again after those before it."""

    def over(other: Entry) -> float:
        ends = other.whole or other.end
        return max(other.healed or other.injected, ends if ends is not None else float("inf"))

    until = entry.end if entry.end is not None else float("inf")
    return not any(
        other is not entry and other.start < until and over(other) > entry.start for other in entries
    )


def at_once(entries: Sequence[Entry], at: float) -> list[str]:
    """Names of the faults in place at a moment."""
    return [entry.fault for entry in entries if entry.start <= at < (entry.healed or entry.end or at)]


def troubled_at(entries: Sequence[Entry], at: float) -> list[str]:
    """Names of the faults whose effect lasts at a moment (felt, or the shop not whole yet)."""
    return [
        entry.fault
        for entry in entries
        if entry.start <= at < max(entry.served or 0.0, entry.whole or 0.0, entry.healed or 0.0)
    ]
