"""Checkers: what must be true after a drill. One promise per file; each is a pure function of the evidence.

A new checker is one file and one line here. Each has a broken shop that it must catch (tests/drill/test_mutations.py)."""

from __future__ import annotations

from everopen.drill.checkers import (
    acknowledged_once,
    events_announced,
    ledger_zero,
    no_oversell,
    own_writes_read,
    promised_answers,
    provider_books,
    recovered_in_time,
    sessions_kept,
    stock_conserved,
    stock_linearizable,
    unacknowledged_at_most_once,
)
from everopen.drill.checkers.verdict import Checker, Verdict

CHECKERS: dict[str, Checker] = {
    "acknowledged_once": acknowledged_once,
    "unacknowledged_at_most_once": unacknowledged_at_most_once,
    "no_oversell": no_oversell,
    "stock_conserved": stock_conserved,
    "ledger_zero": ledger_zero,
    "provider_books": provider_books,
    "sessions_kept": sessions_kept,
    "events_announced": events_announced,
    "own_writes_read": own_writes_read,
    "promised_answers": promised_answers,
    "recovered_in_time": recovered_in_time,
    "stock_linearizable": stock_linearizable,
}

__all__ = ["CHECKERS", "Checker", "Verdict"]
