"""What a checker says, and how it leans on the audit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from everopen.drill.evidence import Evidence

SHOWN = 5
"""How many samples of what is wrong a verdict shows."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`ok` with nothing `looked_at` means that there was nothing to judge; a report should say so."""

    name: str
    ok: bool
    detail: str
    """One sentence: what was proven, or what is wrong."""
    looked_at: int = 0
    """How many facts were judged."""
    samples: tuple[str, ...] = ()
    """The first things that are wrong."""


class Checker(Protocol):
    """A module of this folder."""

    name: str
    description: str

    def check(self, evidence: Evidence) -> Verdict: ...


class Findings:
    """Collects what is wrong while a checker looks."""

    def __init__(self) -> None:
        self.looked_at = 0
        self.wrong = 0
        self.samples: list[str] = []

    def blame(self, sample: str, times: int = 1) -> None:
        """One more thing that is wrong."""
        self.wrong += times
        if len(self.samples) < SHOWN:
            self.samples.append(sample)

    def audit(self, evidence: Evidence, names: Iterable[str]) -> None:
        """The audit's checks of these names: one meaning of each promise, not two."""
        if evidence.audit is None:
            return
        for name in names:
            check = evidence.audit.named(name)
            self.looked_at += 1
            if check is None:
                self.blame(f"the audit has no check {name}")
            elif not check.ok:
                self.blame(f"audit, {name}: {check.detail}")

    def verdict(self, name: str, good: str, *, nothing: str = "There was nothing to look at.") -> Verdict:
        """The verdict; `good` is said when nothing is wrong."""
        if self.wrong:
            more = (
                "" if self.wrong <= len(self.samples) else f" (and {self.wrong - len(self.samples):,} more)"
            )
            return Verdict(
                name=name,
                ok=False,
                detail=f"{self.samples[0]}{more}" if self.samples else "Broken.",
                looked_at=self.looked_at,
                samples=tuple(self.samples),
            )
        return Verdict(
            name=name, ok=True, detail=good if self.looked_at else nothing, looked_at=self.looked_at
        )
