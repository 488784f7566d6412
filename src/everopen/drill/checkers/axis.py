"""Which faults were in force at a time."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from everopen.drill.evidence import Episode

EARLY_S = 0.1
"""A request that ended so shortly before a fault was written down may have felt it."""


class Axis:
    """The drill's faults by time."""

    def __init__(self, timeline: Sequence[Episode]) -> None:
        self._episodes = sorted(timeline, key=lambda episode: episode.start)
        self._starts = [episode.start - EARLY_S for episode in self._episodes]
        self._last: list[float] = []
        """The latest end of this episode and those before it: where looking back may stop."""
        for episode in self._episodes:
            self._last.append(max(episode.until, self._last[-1] if self._last else episode.until))

    def during(self, begin: float, end: float) -> list[Episode]:
        """Faults that a request may have felt: those that struck before it was over, and whose shop was not whole again when
        it was due."""
        found = []
        at = bisect.bisect_right(self._starts, end) - 1
        while at >= 0 and self._last[at] >= begin:
            if self._episodes[at].until >= begin:
                found.append(self._episodes[at])
            at -= 1
        return found[::-1]
