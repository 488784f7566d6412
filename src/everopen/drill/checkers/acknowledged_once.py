"""An order that was acknowledged exists, once, as it was acknowledged."""

from __future__ import annotations

from everopen.drill.checkers.verdict import Findings, Verdict
from everopen.drill.evidence import Evidence, by_sku

name = "acknowledged_once"
description = "Every acknowledged order exists once, with the lines and the total that its client was told."
AUDIT = (
    "keys_match_orders",
    "orders_have_lines",
    "references_are_unique",
    "orders_follow_the_table",
    "documents_have_no_gaps",
    "paid_orders_have_invoices",
    "refunds_have_credit_notes",
    "coupon_uses_match_orders",
    "coupons_count_their_uses",
    "coupons_within_customer_limits",
)


def check(evidence: Evidence) -> Verdict:
    """Each key's order and each order's key, and each order read back."""
    findings = Findings()
    order_of: dict[str, str] = {}
    key_of: dict[str, str] = {}
    for operation in evidence.operations:
        if operation.outcome != "acknowledged" or not operation.order:
            continue
        findings.looked_at += 1
        order, key = operation.order, operation.key
        if key and order_of.setdefault(key, order) != order:
            findings.blame(f"key {key} was acknowledged as order {order_of[key]} and again as {order}")
        if key and key_of.setdefault(order, key) != key:
            findings.blame(f"order {order} was acknowledged for key {key_of[order]} and for key {key}")
        if order not in evidence.found:
            continue
        there = evidence.found[order]
        if there is None:
            findings.blame(f"order {order} (key {key}) was acknowledged and is lost")
        elif operation.total is not None and there.total != operation.total:
            findings.blame(f"order {order} was acknowledged with {operation.total} and has {there.total}")
        elif operation.seen and there.lines != by_sku(operation.seen):
            findings.blame(
                f"order {order} was acknowledged with {by_sku(operation.seen)} and has {there.lines}"
            )
    findings.audit(evidence, AUDIT)
    return findings.verdict(
        name,
        f"All {len(key_of):,} acknowledged orders exist once, as they were acknowledged.",
        nothing="No order was acknowledged.",
    )
