"""A session that was there before a fault still has its cart after it."""

from __future__ import annotations

import bisect

from everopen.drill.checkers.sessions import looks
from everopen.drill.checkers.verdict import Findings, Verdict
from everopen.drill.evidence import Evidence

name = "sessions_kept"
description = "A session keeps its cart, whichever worker serves it and whatever was killed in between."
AUDIT = (
    "sessions_lead_to_own_carts",
    "cart_lines_have_carts",
)


def check(evidence: Evidence) -> Verdict:
    """No line of a cart may be gone at a later look of the same session."""
    findings = Findings()
    findings.audit(evidence, AUDIT)
    starts = sorted(episode.start for episode in evidence.timeline)
    across = 0
    for change, look, wanted, held in looks(evidence):
        findings.looked_at += 1
        across += bisect.bisect(starts, change.ended) < bisect.bisect(starts, look.sent)
        missing = {sku: n for sku, n in wanted.items() if held.get(sku, 0) < n}
        if missing:
            findings.blame(
                f"session {look.client} had {wanted} in its cart at {change.ended:.3f} and only {held} at {look.ended:.3f}"
            )
    return findings.verdict(
        name,
        f"{findings.looked_at:,} looks at carts, {across:,} of them with a fault in between: nothing was gone.",
        nothing="No session looked at its cart again.",
    )
