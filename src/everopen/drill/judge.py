"""After a drill: asks the shop for everything that was acknowledged, hands the evidence to the checkers, and makes the
report. Nothing of the shop's own counters is believed that the clients' ledger contradicts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import msgspec

from everopen.base.errors import EveropenError
from everopen.drill.checkers import Checker, Verdict
from everopen.drill.clients import Clients
from everopen.drill.evidence import (
    Audit,
    Episode,
    Evidence,
    probe_keys,
    read_audit,
    read_orders,
    read_stock,
)
from everopen.drill.faults import Fault, Promise
from everopen.drill.ground import Ground
from everopen.drill.history import UNCERTAIN, rank_of
from everopen.drill.history_operations import Operations
from everopen.drill.listener import Listener
from everopen.drill.load import Result
from everopen.drill.machine import machine
from everopen.drill.plan import Plan
from everopen.drill.report import FaultRow, Report, Times
from everopen.drill.sampling import Sample, lines_of
from everopen.drill.timeline import Entry, NotRun, at_once, by_itself, troubled_at
from everopen.drill.wire import Target

DELIVERED_S_MAX = 120.0
"""So long after the end, events may still be delivered."""
SETTLED_S_MAX = 180.0
ORDER_KINDS = ("order", "checkout")
STATELESS = (
    *("*-worker", "*-gateway", "*-payments", "*-console", "*-supervisor", "*-guardian"),
    *("payments-*", "network-*-gateway-worker", "network-*-worker-payments", "clock-*"),
    *("client-connections", "session-store-*"),
)
"""Faults that leave both nodes alone. Two others at once may hit both nodes, and no promise about single requests covers
that: what was acknowledged still holds, but somebody must be there to answer."""
_T = TypeVar("_T")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the run itself knows."""

    plan: Plan
    seed: int
    began: float
    ended: float
    seconds_planned: float
    scratch: bool
    url: str
    result: Result
    entries: list[Entry]
    not_run: list[NotRun]
    opening: dict[str, int]
    audit_before: Audit
    samples: list[Sample]
    epochs: tuple[tuple[float, float], ...]


def sync(work: Coroutine[Any, Any, _T]) -> _T:
    """Runs a coroutine to its end."""
    return asyncio.run(work)


def read_audit_of(ground: Ground) -> Audit:
    """`everopen audit --json`."""
    return read_audit(ground.audit())


def gather(
    facts: Facts,
    ground: Ground,
    target: Target,
    clients: Clients,
    faults: Mapping[str, Fault],
    listener: Listener | None = None,
) -> Evidence:
    """Reads back what clients were told. Raises EveropenError when the shop does not answer any more."""
    audit = _settled(ground)
    operations = Operations(clients.operations)
    acknowledged, unknown = set(), set()
    for operation in operations:
        if operation.kind not in ORDER_KINDS:
            continue
        if operation.outcome == "acknowledged":
            acknowledged.add(operation.order)
        elif operation.outcome in UNCERTAIN and operation.key:
            unknown.add(operation.key)
    return Evidence(
        operations=operations,
        timeline=tuple(episodes(facts.entries, {name: fault.promise for name, fault in faults.items()})),
        audit=audit,
        audit_before=facts.audit_before,
        found=sync(read_orders(target, acknowledged)),
        existing_keys=sync(probe_keys(target, unknown)),
        opening=facts.opening,
        closing=sync(read_stock(target, clients.skus)),
        alone=facts.scratch,
        epochs=facts.epochs,
        events=None if listener is None else listener.events(DELIVERED_S_MAX),
    )


def _settled(ground: Ground) -> Audit:
    deadline = time.monotonic() + SETTLED_S_MAX
    pause = 0.2
    while True:
        begun = time.monotonic()
        try:
            audit = read_audit_of(ground)
            open_now = audit.counts.get("charges_open", 0) + audit.counts.get("refunds_open", 0)
            if open_now == 0 or time.monotonic() > deadline:
                return audit
        except EveropenError:
            if time.monotonic() > deadline:
                raise
        time.sleep(max(pause, 2 * (time.monotonic() - begun)))


def episodes(entries: Sequence[Entry], promises: Mapping[str, Promise]) -> list[Episode]:
    """The timeline with its promises. A promise is about one fault. Under several at once no wait is promised (who kills the
    primary together with the supervisor waits for both), and nothing about single requests when both nodes may be hit."""
    found = []
    for entry in entries:
        promise = promises[entry.fault]
        others = [other for other in entries if other is not entry and _overlap(entry, other)]
        if others:
            promise = msgspec.structs.replace(promise, wait_s_max=None)
        if _hits_node(entry) and any(map(_hits_node, others)):
            promise = msgspec.structs.replace(promise, failed="not covered")
        episode = Episode.of(entry, promise)
        found.append(msgspec.structs.replace(episode, end=max(episode.end, entry.whole or 0.0)))
    return sorted(found, key=lambda episode: episode.start)


def _hits_node(entry: Entry) -> bool:
    return not any(fnmatchcase(entry.fault, pattern) for pattern in STATELESS)


def _overlap(one: Entry, other: Entry) -> bool:
    def until(entry: Entry) -> float:
        return max(entry.healed or entry.injected, entry.whole or entry.end or entry.injected)

    return one.start < until(other) and other.start < until(one)


# --- the report ---------------------------------------------------------------------------------------------------


def build_report(
    facts: Facts, evidence: Evidence, checkers: Mapping[str, Checker], faults: Mapping[str, Fault]
) -> Report:
    """Judges, and puts the figures together."""
    verdicts = [_judge(name, checker, evidence) for name, checker in checkers.items()]
    lost_at = [
        operation.ended
        for operation in evidence.operations
        if operation.outcome == "acknowledged" and evidence.found.get(operation.order) is None
    ]
    acknowledged = len(evidence.found)
    summary = facts.result.summary
    doubled = None
    if facts.scratch and evidence.audit is not None:
        added = evidence.audit.counts["orders"] - facts.audit_before.counts["orders"]
        doubled = max(0, added - acknowledged - sum(evidence.existing_keys.values()))
    names = list(
        dict.fromkeys([*(entry.fault for entry in facts.entries), *(gap.fault for gap in facts.not_run)])
    )
    return Report(
        plan=facts.plan.name,
        description=facts.plan.description,
        seed=facts.seed,
        began=facts.began,
        ended=facts.ended,
        seconds=round(facts.ended - facts.began, 3),
        seconds_planned=facts.seconds_planned,
        scratch=facts.scratch,
        url=facts.url,
        ok=all(verdict.ok for verdict in verdicts),
        machine=machine(),
        load=facts.plan.load,
        summary=summary,
        acknowledged=acknowledged,
        lost=len(lost_at),
        doubled=doubled,
        injections=len(facts.entries),
        kills=sum(1 for entry in facts.entries if entry.kills),
        processes_killed=sum(entry.kills for entry in facts.entries),
        failovers=len(facts.epochs),
        faults=[_row(name, facts, lost_at, faults) for name in names],
        verdicts=verdicts,
        timeline=facts.entries,
        not_run=facts.not_run,
        seconds_seen=facts.result.seconds,
        counts=dict(evidence.audit.counts) if evidence.audit else {},
    )


def _judge(name: str, checker: Checker, evidence: Evidence) -> Verdict:
    try:
        return checker.check(evidence)
    except Exception as problem:  # a checker that breaks has not proven anything
        return Verdict(name=name, ok=False, detail=f"The checker itself failed: {problem!r}")


def _row(name: str, facts: Facts, lost_at: Sequence[float], faults: Mapping[str, Fault]) -> FaultRow:
    chosen = [entry for entry in facts.entries if entry.fault == name]
    gaps = [gap for gap in facts.not_run if gap.fault == name]
    alone = [entry for entry in chosen if by_itself(entry, facts.entries)]
    return FaultRow(
        fault=name,
        description=faults[name].description if name in faults else "",
        injections=len(chosen),
        alone=len(alone),
        processes_killed=sum(entry.kills for entry in chosen),
        not_run=sum(max(1, gap.times) for gap in gaps),
        reason="; ".join(dict.fromkeys(gap.reason for gap in gaps)),
        promise=faults[name].promise.failed if name in faults else "",
        wait_s_promised=faults[name].promise.wait_s_max if name in faults else None,
        failed=sum(entry.failed for entry in chosen),
        broken_connections=sum(entry.broken_connections for entry in chosen),
        worst_wait_s=round(max((entry.longest_wait_s for entry in chosen), default=0.0), 3),
        failed_alone=sum(entry.failed for entry in alone),
        worst_wait_alone_s=round(max((entry.longest_wait_s for entry in alone), default=0.0), 3),
        served=_times([max(0.0, entry.served - entry.start) if entry.served else 0.0 for entry in chosen]),
        whole=_times([entry.whole - (entry.healed or entry.start) for entry in chosen if entry.whole]),
        never_whole=sum(1 for entry in chosen if entry.whole is None),
        lost=sum(
            1 for at in lost_at if any(entry.start <= at < (entry.end or entry.start) for entry in chosen)
        ),
    )


def _times(values: Sequence[float]) -> Times | None:
    if not values:
        return None
    ordered = sorted(values)
    return Times(round(rank_of(ordered, 0.5), 3), round(rank_of(ordered, 0.95), 3), round(ordered[-1], 3))


def telemetry_lines(
    facts_entries: Sequence[Entry], samples: Sequence[Sample], seconds: Sequence[Any]
) -> bytes:
    """The samples with their labels, as JSON lines."""
    labels = {
        int(sample.at): {
            "faults": at_once(facts_entries, sample.at),
            "troubled": troubled_at(facts_entries, sample.at),
        }
        for sample in samples
    }
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines_of(samples, seconds, labels))
