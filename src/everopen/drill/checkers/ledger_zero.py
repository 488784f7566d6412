"""The books: the ledger sums to zero and says what the orders say, and nobody has changed the log of what staff did."""

from __future__ import annotations

from everopen.drill.checkers.verdict import Findings, Verdict
from everopen.drill.evidence import Evidence

name = "ledger_zero"
description = "Each money event sums to zero, and the ledger has each order, capture and refund once."
AUDIT = (
    "ledger_balances",
    "ledger_matches_orders",
    "ledger_matches_refunds",
    "money_captured_matches_orders",
    "refunds_have_lines",
    "payments_back_have_reasons",
    "refunds_within_sales",
    "audit_log_is_chained",
    "refunds_within_charges",
    "ledger_splits_orders",
)


def check(evidence: Evidence) -> Verdict:
    """The audit's own checks: nobody outside can see a ledger."""
    findings = Findings()
    findings.audit(evidence, AUDIT)
    return findings.verdict(name, "The ledger balances and agrees with orders and refunds.")
