"""What is asked of the pricing engine and what it answers: plain values, money in minor units, nothing about the shop's
tables. Whoever shows a cart and whoever places an order hand in the same basket and so get the same sum."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec


class BasketLine(msgspec.Struct, frozen=True):
    """So many pieces of a SKU at the catalogue's price for one."""

    sku: str
    quantity: int
    unit_price: int
    category: str | None = None
    tax_category: str | None = None
    """None: the standard one."""
    weight_g: int | None = None
    """Of one piece. None: nobody weighed it, it counts as nothing. 0: there is nothing to send (a ticket, a fee)."""


class Basket(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to buy, and where it goes."""

    lines: tuple[BasketLine, ...]
    currency: str
    country: str | None = None
    """Where the goods go (ISO 3166-1 alpha-2). None: the shop's own country."""
    coupons: tuple[str, ...] = ()
    """Codes as the buyer typed them."""
    shipping_method: str | None = None
    customer: str | None = None
    """Who buys: the customer's id, else the e-mail address. Limits per customer are counted under it when the order is
    placed; the engine doesn't look at it."""


class QuotedLine(msgspec.Struct, frozen=True):
    """A line of the basket, in its place, with what came off it and its tax."""

    sku: str
    quantity: int
    unit_price: int
    discount: int = 0
    """What came off the whole line, with its share of discounts on the whole order."""
    tax: int = 0
    tax_rate_bp: int = 0
    """Basis points: 2000 is 20 %."""


class Applied(msgspec.Struct, frozen=True):
    """A promotion that gave something, with what it took off goods or shipping."""

    promotion_id: UUID
    label: str
    amount: int


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What the basket costs.

    `total` is `goods - discount + shipping`, and `+ tax` where prices come without it (`tax_added`). The sums are
    sums of the lines, to the penny."""

    currency: str
    lines: tuple[QuotedLine, ...]
    goods: int
    """Pieces times prices, before discounts."""
    discount: int = 0
    """What came off the goods: the sum of the lines' discounts."""
    shipping: int = 0
    """What shipping costs after promotions."""
    shipping_tax: int = 0
    tax: int = 0
    """All tax, with shipping's."""
    tax_added: bool = False
    """False: prices include tax. True: tax is added on top of them."""
    total: int
    applied: tuple[Applied, ...] = ()
    coupons: tuple[UUID, ...] = ()
    """The coupons that gave something: these are used up by the order."""
    shipping_method: str | None = None
    rules_version: int = 0


class Refused(msgspec.Struct, frozen=True):
    """The basket can't be bought like this; `detail` is a sentence for the buyer."""

    reason: Literal[
        "unknown-coupon", "coupon-expired", "coupon-used-up", "not-shippable", "no-shipping-method"
    ]
    detail: str


class Recorded(msgspec.Struct, frozen=True):
    """What `orders.quote` keeps for people and for the audit; the amounts of lines are in the order's own columns."""

    goods: int
    discount: int
    applied: tuple[Applied, ...]
    coupons: tuple[UUID, ...]
    rules_version: int


def recorded(quote: Quote) -> Recorded:
    """What is to be kept of a quote with its order (encode it as JSON)."""
    return Recorded(quote.goods, quote.discount, quote.applied, quote.coupons, quote.rules_version)
