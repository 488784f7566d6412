"""So many per cent off: of the whole order, or of some SKUs or categories.

The percentage is taken of the sum of the lines and shared out, not of each line: ten lines of 0.05 with 10 % off are
0.05 cheaper and not nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from everopen.trading.pricing.arithmetic import WHOLE_BP, divide
from everopen.trading.pricing.promotions.kind import BasisPoints, Pool, Target


class Percentage(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="percentage", tag_field="kind"
):
    """Basis points off what is left to pay of the lines."""

    off_bp: BasisPoints
    target: Target = Target()

    @property
    def targets(self) -> tuple[Target, ...]:
        return (self.target,)

    @property
    def has_amount(self) -> bool:
        return False

    def take(self, pool: Pool, places: Sequence[int]) -> int:
        """See `Kind`."""
        return pool.share(places, divide(pool.worth(places) * self.off_bp, WHOLE_BP, pool.rounding))
