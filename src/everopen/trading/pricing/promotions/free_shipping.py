"""Shipping for nothing: for every order that is due it, or only with some shipping methods, or with something in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from everopen.trading.pricing.promotions.kind import Pool, Target

MethodCode = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$(?!\\n)")]


class FreeShipping(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="free-shipping",
    tag_field="kind",
):
    """What shipping costs comes off, when the order holds a line of the target."""

    methods: Annotated[tuple[MethodCode, ...], msgspec.Meta(max_length=100)] = ()
    """With these shipping methods; empty: with any."""
    target: Target = Target()

    @property
    def targets(self) -> tuple[Target, ...]:
        return (self.target,)

    @property
    def has_amount(self) -> bool:
        return False

    def take(self, pool: Pool, places: Sequence[int]) -> int:
        """See `Kind`."""
        if self.methods and pool.shipping_method not in self.methods:
            return 0
        amount, pool.shipping = pool.shipping, 0
        return amount
