"""Checkers: what must be true after a drill. One promise per file; each is a pure function of the evidence.

A new checker is one file and one line here. Each has a broken shop that it must catch (tests/drill/test_mutations.py)."""

from __future__ import annotations

from everopen.drill.checkers.verdict import Checker, Verdict

CHECKERS: dict[str, Checker] = {}

__all__ = ["CHECKERS", "Checker", "Verdict"]
