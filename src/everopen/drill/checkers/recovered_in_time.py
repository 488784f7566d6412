"""The shop recovers within the time that it states."""

from __future__ import annotations

from everopen.drill.checkers.axis import Axis
from everopen.drill.checkers.verdict import Findings, Verdict
from everopen.drill.evidence import Evidence

name = "recovered_in_time"
description = (
    "After each fault no answer takes longer, and the shop is whole again sooner, than its promise says."
)
AUDIT = ()


def check(evidence: Evidence) -> Verdict:
    """Each fault's time to wholeness, and the wait of each request in its time. Under several faults at once the most
    patient promise counts."""
    findings = Findings()
    longest = 0.0
    for episode in evidence.timeline:
        findings.looked_at += 1
        most = episode.promise.whole_s_max
        if most is None:
            continue
        if episode.whole is None:
            findings.blame(f"the shop was never whole again after {episode.fault} {episode.target}".rstrip())
            continue
        took = episode.whole - (episode.start if episode.healed is None else episode.healed)
        longest = max(longest, took)
        if took > most:
            findings.blame(f"{episode.fault} {episode.target}: whole after {took:.2f} s, promised {most:g} s")
    axis = Axis(evidence.timeline)
    limits = [episode.promise.wait_s_max for episode in evidence.timeline]
    shortest = min((limit for limit in limits if limit is not None), default=None)
    worst = 0.0
    if shortest is not None:
        for operation in evidence.operations:
            wait = operation.ended - operation.begun
            if wait <= min(shortest, worst) or operation.outcome == "unsent":
                continue
            faults = axis.during(operation.begun, operation.ended)
            if not faults or any(fault.promise.wait_s_max is None for fault in faults):
                continue
            worst = max(worst, wait)
            allowed = max(fault.promise.wait_s_max or 0.0 for fault in faults)
            if wait > allowed:
                named = " and ".join(sorted({fault.fault for fault in faults}))
                findings.blame(
                    f"{operation.kind} {operation.key or operation.client} waited {wait:.2f} s under {named},"
                    f" promised {allowed:g} s"
                )
    return findings.verdict(
        name,
        f"After {len(evidence.timeline):,} faults the shop was whole within {longest:.2f} s; the longest wait that a promise"
        f" covers was {worst:.2f} s.",
        nothing="Nothing was broken.",
    )
