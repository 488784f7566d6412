"""A fixed amount off: once for the whole order (or for all lines of some SKUs or categories together), or off each piece.
Never more than there is to pay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from everopen.trading.pricing.promotions.kind import Pool, Target


class Fixed(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="fixed", tag_field="kind"
):
    """An amount in minor units of the promotion's currency."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=10**10)]
    each: Literal["order", "piece"] = "order"
    target: Target = Target()

    @property
    def targets(self) -> tuple[Target, ...]:
        return (self.target,)

    @property
    def has_amount(self) -> bool:
        return True

    def take(self, pool: Pool, places: Sequence[int]) -> int:
        """See `Kind`."""
        if self.each == "order":
            return pool.share(places, min(self.amount, pool.worth(places)))
        return sum(
            [
                pool.take(place, min(self.amount * pool.lines[place].quantity, pool.left[place]))
                for place in places
            ]
        )
