"""No request fails that the promises cover."""

from __future__ import annotations

from collections import Counter

from everopen.drill.checkers.axis import Axis
from everopen.drill.checkers.verdict import Findings, Verdict
from everopen.drill.evidence import Evidence
from everopen.drill.history import FAILED

name = "promised_answers"
description = "No request fails, except where a fault's promise says so."
AUDIT = ()
CUT = ("broken", "timeout")
"""What a client without patience sees of a lost connection."""


def check(evidence: Evidence) -> Verdict:
    """Each failed request against the promises of the faults in whose time it was."""
    findings = Findings()
    axis = Axis(evidence.timeline)
    excused: Counter[str] = Counter()
    unsent = 0
    for operation in evidence.operations:
        findings.looked_at += 1
        if operation.outcome not in FAILED:
            continue
        if operation.outcome == "unsent":
            unsent += 1  # the client's own fault
            continue
        faults = axis.during(operation.begun, operation.ended)
        excuse = next(
            (
                fault.fault
                for fault in faults
                if fault.promise.failed == "not covered"
                or (fault.promise.failed == "own connections" and operation.outcome in CUT)
            ),
            None,
        )
        if excuse is not None:
            excused[excuse] += 1
        else:
            under = " and ".join(sorted({fault.fault for fault in faults})) or "no fault"
            findings.blame(
                f"{operation.kind} {operation.key or operation.client} failed under {under}:"
                f" {operation.outcome}, status {operation.status}, at {operation.ended:.3f}"
            )
    good = f"None of {findings.looked_at:,} requests failed that the promises cover"
    good += f"; {sum(excused.values()):,} did under {', '.join(sorted(excused))}" if excused else ""
    good += f"; {unsent:,} were not sent, because the clients could not keep up" if unsent else ""
    return findings.verdict(name, good + ".", nothing="There were no requests.")
