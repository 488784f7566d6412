"""Each SKU's stock behaves as one register, although many workers and two nodes hold it."""

from __future__ import annotations

from everopen.drill.checkers.verdict import Findings, Verdict
from everopen.drill.evidence import Evidence
from everopen.drill.linear import judge
from everopen.drill.linear_history import histories

name = "stock_linearizable"
description = "The sales, refusals and reads of each SKU are those of one register, in one order that the clients' clocks allow."
AUDIT = ()


def check(evidence: Evidence) -> Verdict:
    """Every register's history (see `linear`)."""
    findings = Findings()
    if not evidence.alone:
        return findings.verdict(
            name, "", nothing="Others ordered too; without their histories nothing can be judged."
        )
    found = histories(evidence)
    undecided = 0
    for sku, ops in found.items():
        judgement = judge(ops, [evidence.opening[sku]])
        findings.looked_at += len(ops)
        if judgement.linearizable is None:
            undecided += 1
        elif not judgement.linearizable:
            values = " or ".join(map(str, judgement.values))
            findings.blame(
                f"{sku}, which held {values}: no order of events explains that {judgement.broken_by}"
            )
    good = f"{findings.looked_at:,} operations on {len(found):,} SKUs are linearizable"
    good += f"; {undecided:,} histories had too much at once to decide" if undecided else ""
    return findings.verdict(name, good + ".", nothing="No register's beginning was known.")
