"""What happens to an order is announced: once in the outbox, and to each subscriber at least once and in order.

`Evidence.events` is what a subscriber of the drill's own got (`listener.py`); where nobody listened the verdict says that
deliveries were not judged."""

from __future__ import annotations

from everopen.drill.checkers.verdict import Findings, Verdict
from everopen.drill.evidence import Evidence

name = "events_announced"
description = (
    "The outbox announces each order exactly once; subscribers get its events at least once and in order."
)
AUDIT = ("orders_are_announced", "events_are_numbered")
STAGE = {
    "order.placed": 0,
    "order.paid": 1,
    "order.declined": 1,
    "order.cancelled": 1,
}
"""Where an order's events stand in its life; others may come at any time."""
FOLLOWS = {("order.paid", "order.cancelled"), *((topic, topic) for topic in STAGE)}
"""What may come at the same stage: a paid order of which all was given back before it was sent is cancelled."""


def check(evidence: Evidence) -> Verdict:
    """The audit's look at the outbox, and the deliveries when somebody listened."""
    findings = Findings()
    findings.audit(evidence, AUDIT)
    if evidence.events is None:
        return findings.verdict(
            name,
            "The outbox announces each order exactly once. Deliveries were not judged: no subscriber listened.",
        )
    seen: set[str] = set()
    stage: dict[str, tuple[int, str]] = {}
    for event in evidence.events:
        if event.id in seen or event.topic not in STAGE:
            continue  # delivered again: allowed
        seen.add(event.id)
        findings.looked_at += 1
        now = STAGE[event.topic]
        at, before = stage.get(event.subject, (-1, "nothing"))
        if now == at == 0:
            findings.blame(f"order {event.subject} was announced by two events")
        elif now < at or (now == at and (before, event.topic) not in FOLLOWS) or (at < 0 < now):
            findings.blame(f"order {event.subject}: {event.topic} came after {before}")
        stage[event.subject] = (max(now, at), event.topic)
    for operation in evidence.operations:
        if operation.outcome == "acknowledged" and operation.order not in stage:
            findings.blame(f"order {operation.order} was acknowledged and never announced")
    return findings.verdict(name, f"{len(seen):,} events were delivered, each order's in order.")
