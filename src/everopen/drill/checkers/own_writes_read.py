"""Whoever wrote something reads it back at once."""

from __future__ import annotations

from everopen.drill.checkers.sessions import looks
from everopen.drill.checkers.verdict import Findings, Verdict
from everopen.drill.evidence import Evidence, FoundOrder, by_sku

name = "own_writes_read"
description = "A client that placed an order or changed its cart reads just that, at once, from any worker."
AUDIT = ()


def check(evidence: Evidence) -> Verdict:
    """Each client's reads against its own answered writes; reads in doubt (no answer) prove nothing."""
    findings = Findings()
    for change, look, wanted, held in looks(evidence):
        findings.looked_at += 1
        if held != wanted:
            findings.blame(
                f"{look.client} had {wanted} in its cart after {change.kind} and read {held} {_later(look.sent - change.ended)}"
            )
    readers = {operation.client for operation in evidence.operations if operation.kind == "read_order"}
    placed: dict[tuple[str, str], tuple[float, FoundOrder]] = {}
    for operation in evidence.operations:
        if operation.client not in readers:
            continue
        mark = (operation.client, operation.order)
        if operation.outcome == "acknowledged":
            placed[mark] = (
                operation.ended,
                FoundOrder(
                    operation.order_status, operation.total or 0, by_sku(operation.seen or operation.lines)
                ),
            )
        elif operation.kind == "read_order" and mark in placed and operation.answered:
            at, wrote = placed[mark]
            findings.looked_at += 1
            later = _later(operation.sent - at)
            if operation.status == 404:
                findings.blame(
                    f"{operation.client} placed order {operation.order} and did not find it {later}"
                )
            elif operation.good and (operation.total, by_sku(operation.seen)) != (wrote.total, wrote.lines):
                findings.blame(
                    f"{operation.client} placed order {operation.order} as {wrote.lines} and read {by_sku(operation.seen)} {later}"
                )
    return findings.verdict(
        name,
        f"{findings.looked_at:,} reads showed what their clients had written just before.",
        nothing="No client read back what it wrote.",
    )


def _later(seconds: float) -> str:
    return f"{max(0.0, seconds) * 1000:.0f} ms later"
