"""Buy some, get some cheaper or for nothing: three for two, or a brush with each two pots of paint.

The cheapest pieces are the ones given, as in every shop's small print. With a `reward` of its own, a piece that both
targets reach counts as bought, so that no piece earns itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from everopen.trading.pricing.arithmetic import WHOLE_BP, divide
from everopen.trading.pricing.promotions.kind import BasisPoints, Pool, Target

Pieces = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class BuyGet(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="buy-get", tag_field="kind"
):
    """For each `buy` pieces of `target`, `get` pieces of `reward` (None: of the same) are `off_bp` cheaper."""

    buy: Pieces
    get: Pieces = 1
    off_bp: BasisPoints = 10_000
    target: Target = Target()
    reward: Target | None = None
    times_max: Pieces | None = None
    """At most so many times in one order."""

    @property
    def targets(self) -> tuple[Target, ...]:
        return (self.target,) if self.reward is None else (self.target, self.reward)

    @property
    def has_amount(self) -> bool:
        return False

    def take(self, pool: Pool, places: Sequence[int]) -> int:
        """See `Kind`. One sort of the lines by price; everything else looks at each line once."""
        lines = pool.lines
        if self.reward is None:
            pieces, group, rewards = (
                sum([lines[place].quantity for place in places]),
                self.buy + self.get,
                places,
            )
        else:
            meant = self.target.matcher()
            bought = {place for place in places if meant(lines[place])}
            pieces, group = sum([lines[place].quantity for place in bought]), self.buy
            rewards = [place for place in places if place not in bought]
        times = pieces // group
        if self.times_max is not None:
            times = min(times, self.times_max)
        given, amount = times * self.get, 0
        if given == 0:
            return 0
        for place in sorted(rewards, key=lambda place: lines[place].unit_price):
            quantity = lines[place].quantity
            count = min(given, quantity)
            worth = pool.left[place] * count // quantity
            amount += pool.take(place, divide(worth * self.off_bp, WHOLE_BP, pool.rounding))
            given -= count
            if given == 0:
                break
        return amount
