"""An order whose answer was lost may exist, but only once; one that was refused does not."""

from __future__ import annotations

from everopen.drill.checkers.verdict import Findings, Verdict
from everopen.drill.evidence import Evidence
from everopen.drill.history import UNCERTAIN
from everopen.drill.linear_history import ORDERS

name = "unacknowledged_at_most_once"
description = (
    "An order whose answer was lost exists at most once: no more orders than keys that stand for one."
)
AUDIT = ("keys_match_orders",)


def check(evidence: Evidence) -> Verdict:
    """Counts: the orders that came meanwhile, against the keys that were acknowledged or are known to stand for one."""
    findings = Findings()
    acknowledged: set[str] = set()
    orders: set[str] = set()
    doubtful: set[str] = set()
    for operation in evidence.operations:
        if operation.kind not in ORDERS:
            continue
        if operation.outcome == "acknowledged":
            acknowledged.add(operation.key)
            orders.add(operation.order)
        elif operation.outcome in UNCERTAIN:
            doubtful.add(operation.key)
    doubtful -= acknowledged
    there = sum(
        evidence.existing_keys.get(key, False) for key in evidence.existing_keys.keys() - acknowledged
    )
    unknown = len(doubtful - evidence.existing_keys.keys())
    before, after = evidence.audit_before, evidence.audit
    if evidence.alone and before is not None and after is not None:
        findings.looked_at += len(orders) + len(doubtful)
        added = after.counts["orders"] - before.counts["orders"]
        most = len(orders) + there + unknown
        if added > most:
            findings.blame(
                f"{added:,} orders came, but only {len(orders):,} were acknowledged"
                f" and {there + unknown:,} more keys may stand for one",
                added - most,
            )
    findings.audit(evidence, AUDIT)
    return findings.verdict(
        name,
        f"Of {len(doubtful):,} orders without an answer {there:,} exist, each once"
        + (f"; {unknown:,} were not asked for." if unknown else "."),
    )
