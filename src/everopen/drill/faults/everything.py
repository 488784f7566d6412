"""Everything at once: several faults of different kinds in the same second, as on the bad day when one thing led to another.

A worker dies, the primary dies, the provider's answers are lost, the machine is busy, and the database runs out of
connections. Whatever of these can't be run here is left out and named.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.drill.faults.fault import NOT_COVERED, Fault, Injected
from everopen.drill.ground import Ground


class Everything:
    """A few faults together. Not covered: each of them alone is within a promise, their sum is not."""

    name = "everything"
    promise = NOT_COVERED
    hold_s = 5.0

    def __init__(self, parts: Sequence[Fault]) -> None:
        self._parts = {part.name: part for part in parts}
        self.description = f"{', '.join(self._parts)}, all at once."

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        able = [part for part in self._parts.values() if part.missing(ground) is None]
        return None if len(able) >= 2 else "Fewer than two of its faults can be run here."

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Injects all that can be; what fails to be is named. When it raises, nothing is left injected."""
        done: list[tuple[str, Injected]] = []
        words: list[str] = []
        try:
            for name, part in self._parts.items():
                if (why := part.missing(ground)) is not None:
                    words.append(f"not {name} ({why})")
                    continue
                try:
                    one = part.inject(ground, rng)
                except (EveropenError, OSError, TimeoutError) as error:
                    words.append(f"not {name} ({error})")
                    continue
                done.append((name, one))
                words.append(one.what)
        except BaseException:
            self._heal(ground, done)
            raise
        return Injected(
            "; ".join(words),
            tuple(pid for _, one in done for pid in one.pids),
            {"parts": [[name, msgspec.to_builtins(one)] for name, one in done]},
        )

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Heals them, the last one first."""
        self._heal(ground, [(name, msgspec.convert(one, Injected)) for name, one in injected.data["parts"]])

    def _heal(self, ground: Ground, done: list[tuple[str, Injected]]) -> None:
        errors = []
        for name, one in reversed(done):
            try:
                self._parts[name].heal(ground, one)
            except Exception as error:  # the others must be healed all the same
                errors.append(error)
        if errors:
            raise errors[0]
