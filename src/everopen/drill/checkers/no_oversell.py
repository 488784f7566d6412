"""Nothing is sold that is not there."""

from __future__ import annotations

from collections import Counter

from everopen.drill.checkers.verdict import Findings, Verdict
from everopen.drill.evidence import Evidence
from everopen.drill.linear_history import GIVEN_UP

name = "no_oversell"
description = "No SKU is promised or sold more often than it was there."
AUDIT = (
    "stock_within_bounds",
    "reserved_matches_open_orders",
    "sales_match_paid_orders",
    "limited_sales_match_lines",
)


def check(evidence: Evidence) -> Verdict:
    """Acknowledged units against the stock at the beginning and what came later."""
    findings = Findings()
    sold: Counter[str] = Counter()
    came: Counter[str] = Counter()
    counted: set[str] = set()
    for operation in evidence.operations:
        if operation.outcome == "acknowledged" and operation.order not in counted:
            counted.add(operation.order)
            now = evidence.found.get(operation.order)
            kept = operation.token == "tok_approve" if now is None else now.status not in GIVEN_UP
            if kept:
                sold.update(dict(operation.seen or operation.lines))
        elif operation.kind == "restock" and (operation.good or not operation.answered):
            came.update({sku: n for sku, n in operation.seen or operation.lines if n > 0})
    for sku in sorted(evidence.opening.keys() & sold.keys()):
        findings.looked_at += 1
        most = evidence.opening[sku] + came[sku]
        if sold[sku] > most:
            findings.blame(f"{sku}: {sold[sku]:,} were sold, {most:,} were there")
    findings.audit(evidence, AUDIT)
    return findings.verdict(name, f"{sum(sold.values()):,} units were sold, none that was not there.")
