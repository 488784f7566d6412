"""What the clients saw: every acknowledged order, how long each request waited, and what became of the others.

A drill believes this history and no counter of the shop: an order is acknowledged when its 201 arrived at the client.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

OUTCOMES = {
    "acknowledged": "201: the order exists, for good",
    "read": "200: an answer to a question, or a cart that was changed",
    "done": "201 of anything but an order: a return that was accepted",
    "sold_out": "409: refused, rightly or not; the check of stock says which",
    "refused": "another 4xx",
    "unavailable": "503",
    "server_error": "another 5xx",
    "broken": "the connection was lost and the client gave up (or does not retry)",
    "timeout": "no answer in time",
    "unsent": "the client itself could not keep up: its queue was full",
}
FAILED = ("refused", "unavailable", "server_error", "broken", "timeout", "unsent")
"""Outcomes that count as a failed request."""
FAILURES_KEPT = 10_000
TROUBLED_KEPT = 300_000
UNCERTAIN = ("unavailable", "server_error", "broken", "timeout")
"""Outcomes after which the order may exist all the same."""


class Acknowledged(msgspec.Struct, frozen=True):
    """One acknowledged order. Times are Unix seconds; `intended` is when it should have been sent."""

    key: str
    id: str
    sku: str
    quantity: int
    total: int
    intended: float
    answered: float
    tries: int
    replayed: bool


def outcome_of(status: int) -> str:
    """The class of an answered request."""
    if status == 201:
        return "acknowledged"
    if 200 <= status < 300:
        return "read"
    if status == 409:
        return "sold_out"
    if status == 503:
        return "unavailable"
    return "refused" if 400 <= status < 500 else "server_error"


class Second(msgspec.Struct, frozen=True):
    """What was answered in one second (Unix time), and how long it had waited."""

    at: int
    answered: int
    acknowledged: int
    failed: int
    p50_ms: float
    p99_ms: float
    longest_ms: float


class History:
    """Collects what happens. Acknowledged orders go to a file as JSON lines, waits stay in memory (8 bytes each). A request
    that waited `slow_s` or failed is remembered by itself: it says what a fault felt like."""

    def __init__(self, ledger: Path | None = None, *, slow_s: float = 0.25) -> None:
        self.troubled: list[tuple[float, float, bool]] = []
        """(due, over, failed) of slow or failed requests in Unix time, the first ones."""
        self.seconds: list[Second] = []
        self._slow_s = slow_s
        self._second = 0
        self._of_second = array("d")
        self._acknowledged_in_second = 0
        self._failed_in_second = 0
        self.outcomes: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.broken_connections = 0
        self.retried_requests = 0
        self.waits_s = array("d")
        """From the intended start to the answer, of every request that was answered, in order of the answers."""
        self.late_s = array("d")
        """How late the client itself sent: its own share of the waits."""
        self.broken_at = array("d")
        """When connections with a request under way were lost (Unix time)."""
        self.failures: list[tuple[float, str]] = []
        """(intended start, outcome) of failed requests, the first ones."""
        self.longest: tuple[float, float] = (0.0, 0.0)
        """(wait in s, intended start in Unix time)"""
        self._encode = msgspec.json.Encoder().encode
        self._file: BinaryIO | None = open(ledger, "wb", buffering=1 << 16) if ledger else None  # noqa: SIM115

    def acknowledge(self, order: Acknowledged) -> None:
        """Writes an acknowledged order down."""
        if self._file is not None:
            self._file.write(self._encode(order) + b"\n")

    def answered(self, outcome: str, status: int, wait_s: float, intended_s: float) -> None:
        """Counts a request that is over."""
        self.outcomes[outcome] += 1
        self.statuses[status] += 1
        self.waits_s.append(wait_s)
        if outcome in FAILED and len(self.failures) < FAILURES_KEPT:
            self.failures.append((intended_s, outcome))
        if wait_s > self.longest[0]:
            self.longest = (wait_s, intended_s)
        over_s, failed = intended_s + wait_s, outcome in FAILED
        if (wait_s >= self._slow_s or failed) and len(self.troubled) < TROUBLED_KEPT:
            self.troubled.append((intended_s, over_s, failed))
        if int(over_s) != self._second:
            self._end_second()
            self._second = int(over_s)
        self._of_second.append(wait_s)
        self._acknowledged_in_second += outcome == "acknowledged"
        self._failed_in_second += failed

    def _end_second(self) -> None:
        if not self._of_second:
            return
        ordered = sorted(self._of_second)
        self.seconds.append(
            Second(
                self._second,
                len(ordered),
                self._acknowledged_in_second,
                self._failed_in_second,
                round(rank_of(ordered, 0.5) * 1000, 2),
                round(rank_of(ordered, 0.99) * 1000, 2),
                round(ordered[-1] * 1000, 2),
            )
        )
        self._of_second = array("d")
        self._acknowledged_in_second = self._failed_in_second = 0

    def broke(self, at_s: float) -> None:
        """Counts a connection that was lost with a request under way."""
        self.broken_connections += 1
        self.broken_at.append(at_s)

    def close(self) -> None:
        """Flushes the ledger."""
        self._end_second()
        if self._file is not None:
            self._file.close()
            self._file = None


class Summary(msgspec.Struct, frozen=True):
    """The figures of a run."""

    requests: int
    seconds: float
    per_second: float
    acknowledged_per_second: float
    outcomes: dict[str, int]
    statuses: dict[str, int]
    failed: int
    uncertain: int
    broken_connections: int
    refused_connections: int
    retried_requests: int
    wait_ms: dict[str, float]
    late_ms: dict[str, float]
    longest_wait_ms: float
    longest_wait_at: float


def summarise(history: History, seconds: float, *, refused_connections: int = 0) -> Summary:
    """Figures of a history over its length."""
    total = sum(history.outcomes.values())
    length = max(seconds, 1e-9)
    return Summary(
        requests=total,
        seconds=round(seconds, 3),
        per_second=round(total / length, 1),
        acknowledged_per_second=round(history.outcomes["acknowledged"] / length, 1),
        outcomes=dict(history.outcomes),
        statuses={str(status): count for status, count in sorted(history.statuses.items())},
        failed=sum(history.outcomes[name] for name in FAILED),
        uncertain=sum(history.outcomes[name] for name in UNCERTAIN),
        broken_connections=history.broken_connections,
        refused_connections=refused_connections,
        retried_requests=history.retried_requests,
        wait_ms=percentiles_ms(history.waits_s),
        late_ms=percentiles_ms(history.late_s),
        longest_wait_ms=round(history.longest[0] * 1000, 3),
        longest_wait_at=history.longest[1],
    )


def percentiles_ms(waits_s: Sequence[float] | array[float]) -> dict[str, float]:
    """p50, p90, p99, p99.9 and max in milliseconds (nearest rank); empty without waits."""
    if not waits_s:
        return {}
    ordered = sorted(waits_s)
    ranks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: round(rank_of(ordered, share) * 1000, 3) for name, share in ranks.items()}


def rank_of(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank quantile of values in order: the smallest with at least `share` of all at or below it."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def read_ledger(path: Path) -> Iterator[Acknowledged]:
    """The acknowledged orders of a run. A torn last line (the client was killed) is passed over."""
    decode = msgspec.json.Decoder(Acknowledged).decode
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield decode(line)


# --- after a fault ------------------------------------------------------------------------------------------------


class Outage(msgspec.Struct, frozen=True):
    """What the clients felt of one fault."""

    longest_wait_s: float
    first_write_s: float
    """From the fault to the first acknowledgement of an order that was due after it."""


def outage_after(orders: Iterable[Acknowledged], fault_at: float, until: float) -> Outage:
    """What orders felt that were answered between `fault_at` and `until` (the next fault: what is still under way then is
    that one's)."""
    longest, first = 0.0, float("inf")
    for order in orders:
        if fault_at <= order.answered < until:
            longest = max(longest, order.answered - order.intended)
            if order.intended >= fault_at:
                first = min(first, order.answered)
    return Outage(longest, max(0.0, first - fault_at) if first < float("inf") else 0.0)


class Check(msgspec.Struct, frozen=True):
    """Acknowledged orders against the shop."""

    acknowledged: int
    lost: list[str]
    wrong: list[str]
    """Orders that exist with another total or other units than were acknowledged."""
    doubled: int


def compare(
    ledger: Iterable[Acknowledged],
    found: dict[str, tuple[int, int] | None],
    *,
    orders_added: int | None,
    uncertain: int,
) -> Check:
    """`found`: order id → (units, total) as the shop shows it, None when it has no such order. `orders_added`: by how many
    orders the shop grew meanwhile. More than were acknowledged (and than may exist unknown to the client) are doubled."""
    lost, wrong, count = [], [], 0
    seen: Counter[str] = Counter()
    keys: dict[str, str] = {}
    for order in ledger:
        count += 1
        seen[order.id] += 1
        if keys.setdefault(order.key, order.id) != order.id:
            wrong.append(order.id)
        there = found.get(order.id)
        if there is None:
            lost.append(order.id)
        elif there != (order.quantity, order.total):
            wrong.append(order.id)
    shared = sum(
        times - 1 for times in seen.values()
    )  # two keys acknowledged with one order: one of them is lost
    doubled = 0 if orders_added is None else max(0, orders_added - count - uncertain)
    return Check(count, lost + ["(one order for two keys)"] * shared, wrong, doubled)
