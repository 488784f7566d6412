"""The payment provider's books and ours are the same."""

from __future__ import annotations

from everopen.drill.checkers.verdict import Findings, Verdict
from everopen.drill.evidence import Evidence

name = "provider_books"
description = "The provider captured and gave back exactly what our orders and refunds say."
AUDIT = (
    "provider_books_match",
    "orders_match_payments",
    "authorised_orders_are_held",
    "captures_within_authorisations",
    "payments_are_taken_up_once",
    "reconciliations_add_up",
    "refunds_within_captures",
)


def check(evidence: Evidence) -> Verdict:
    """The audit's comparison, which reads the provider's own books."""
    findings = Findings()
    findings.audit(evidence, AUDIT)
    return findings.verdict(name, "The provider's books agree with ours.")
