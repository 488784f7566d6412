"""What every kind of promotion is given and what it may do: take something off the lines that it reaches, or off shipping.

A kind knows its arithmetic and nothing else. Whether a promotion is due (time, coupon, least value, priority) is decided
once for all kinds in `engine.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Protocol

import msgspec

from everopen.base.errors import InvariantBroken
from everopen.trading.pricing.arithmetic import Rounding, share
from everopen.trading.pricing.quote import BasketLine

Sku = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Category = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
BasisPoints = Annotated[
    int, msgspec.Meta(ge=1, le=10_000, description="Hundredths of a per cent: 2000 is 20 %.")
]


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which lines a promotion reaches: those of the SKUs and those of the categories; all when both are empty."""

    skus: Annotated[tuple[Sku, ...], msgspec.Meta(max_length=1000)] = ()
    categories: Annotated[tuple[Category, ...], msgspec.Meta(max_length=200)] = ()

    @property
    def everything(self) -> bool:
        """Whether it reaches every line."""
        return not self.skus and not self.categories

    def matcher(self) -> Callable[[BasketLine], bool]:
        """A function that says whether a line is meant, in the same time however long the lists are."""
        if self.everything:
            return lambda _line: True
        skus, categories = frozenset(self.skus), frozenset(self.categories)
        return lambda line: line.sku in skus or line.category in categories


class Pool:
    """What is left to pay of a basket while promotions are applied, one after the other."""

    __slots__ = ("left", "lines", "rounding", "shipping", "shipping_method")

    def __init__(
        self, lines: Sequence[BasketLine], rounding: Rounding, shipping_method: str | None, shipping: int
    ) -> None:
        self.lines = lines
        self.left = [line.quantity * line.unit_price for line in lines]
        self.rounding = rounding
        self.shipping_method = shipping_method
        self.shipping = shipping

    def worth(self, places: Iterable[int]) -> int:
        """What is left to pay of these lines."""
        left = self.left
        return sum([left[place] for place in places])

    def take(self, place: int, amount: int) -> int:
        """Takes an amount off one line; never more than is left."""
        if not 0 <= amount <= self.left[place]:
            raise InvariantBroken(f"{amount} was to come off a line with {self.left[place]} left.")
        self.left[place] -= amount
        return amount

    def share(self, places: Sequence[int], amount: int) -> int:
        """Takes an amount off several lines, in proportion to what is left of each."""
        parts = share(amount, [self.left[place] for place in places])
        for place, part in zip(places, parts, strict=True):
            self.left[place] -= part
        return amount


class Kind(Protocol):
    """A kind of promotion: a frozen struct whose fields are what staff can set."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """The lines that it looks at: those of any of these."""
        ...

    @property
    def has_amount(self) -> bool:
        """Whether it names an amount of money and so holds for one currency only."""
        ...

    def take(self, pool: Pool, places: Sequence[int]) -> int:
        """Takes off what the promotion gives on the lines at `places` (all that its targets reach, at least one) and
        says how much that was; 0: nothing, the promotion didn't apply."""
        ...
