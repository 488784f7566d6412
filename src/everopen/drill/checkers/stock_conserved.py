"""Stock neither appears nor vanishes."""

from __future__ import annotations

from collections import Counter

from everopen.drill.checkers.verdict import Findings, Verdict
from everopen.drill.evidence import Evidence
from everopen.drill.linear_history import registers

name = "stock_conserved"
description = "What is available is what there was, less what was sold, plus what came back."
AUDIT = (
    "on_hand_matches_movements",
    "stock_for_each_product",
    "returns_match_refunds",
    "shipments_within_sales",
    "returns_were_inspected",
    "locations_match_movements",
    "picks_within_sales",
    "moves_between_places_sum_to_zero",
    "versions_are_complete",
    "price_versions_are_complete",
    "scheduled_products_have_prices",
    "categories_are_a_tree",
)


def check(evidence: Evidence) -> Verdict:
    """Opening and closing stock of each SKU against what clients took and gave."""
    findings = Findings()
    if evidence.alone and evidence.opening and evidence.closing:
        least: Counter[str] = Counter(evidence.opening)
        most: Counter[str] = Counter(evidence.opening)
        for sku, ops in registers(evidence).items():
            for op in ops:
                change = op.after(0)
                least[sku] += change if op.certain else min(change, 0)
                most[sku] += change if op.certain else max(change, 0)
        for sku in sorted(evidence.opening.keys() & evidence.closing.keys()):
            findings.looked_at += 1
            now = evidence.closing[sku]
            if not least[sku] <= now <= most[sku]:
                wanted = f"{least[sku]:,}" if least[sku] == most[sku] else f"{least[sku]:,} to {most[sku]:,}"
                findings.blame(f"{sku}: {now:,} are available, by the clients' own books {wanted}")
    findings.audit(evidence, AUDIT)
    return findings.verdict(name, "The stock of every SKU is what its sales and returns leave of it.")
