"""The rules that prices follow, as one frozen snapshot: promotions, coupons, tax rates and shipping methods of one version.

A worker keeps the snapshot and prices any number of baskets with it; `place_orders` refuses what was priced with a
version that has moved on. (Asking the database for the rules of each basket was turned down: that is what makes the
peers' carts slower with every promotion that is added.)

Nothing is ever deleted from these tables, only ended, so a snapshot can be renewed by reading what changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from everopen.store import load_statements
from everopen.store.primary import Connection
from everopen.trading.pricing.arithmetic import Rounding
from everopen.trading.pricing.promotions import Rule

SQL = load_statements("everopen.trading", "pricing.sql")
STANDARD = "standard"
"""The tax category of whatever names none."""


def within(at: datetime, starts_at: datetime | None, ends_at: datetime | None) -> bool:
    """Whether a moment lies in a time from `starts_at` up to, not with, `ends_at`; None is open."""
    return (starts_at is None or starts_at <= at) and (ends_at is None or at < ends_at)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all prices of the shop."""

    prices_include_tax: bool = True
    rounding: Rounding = "half-even"
    """Of each line's tax, and of each percentage."""
    home_country: str | None = None
    """The country of a basket that names none (ISO 3166-1 alpha-2)."""
    shipping_required: bool = True
    """Once there are shipping methods, an order with anything to send must choose one."""


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """Something off, under conditions."""

    id: UUID
    label: str
    rule: Rule
    currency: str | None = None
    """Of its amounts; None: it names none and holds in any currency."""
    min_value: int = 0
    """Goods of the order before discounts, minor units."""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    priority: int = 100
    """Lower numbers come first; each promotion works on what the ones before left to pay."""
    exclusive: bool = False
    """It applies alone: not after another one, and nothing after it."""
    coupon_only: bool = False


class Coupon(msgspec.Struct, frozen=True, kw_only=True):
    """A code that makes a promotion due. Its limits are counted in the database when an order is placed."""

    id: UUID
    code: str
    """In capitals."""
    promotion_id: UUID
    limit_total: int | None = None
    limit_per_customer: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    ended: bool = False


class TaxRate(msgspec.Struct, frozen=True, kw_only=True):
    """The tax on a category of goods that go to a country, for a time."""

    country: str
    tax_category: str
    rate_bp: int
    """Basis points."""
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class ShippingStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From `at_least` (grams or minor units) on shipping costs `price`, until the next step."""

    at_least: int
    price: int


class ShippingMethod(msgspec.Struct, frozen=True, kw_only=True):
    """A way to send goods, to some countries (none named: to all)."""

    code: str
    label: str
    currency: str
    countries: tuple[str, ...] = ()
    tax_category: str = STANDARD
    basis: Literal["weight", "value"] = "value"
    """What the steps measure: grams, or the value of the goods before discounts."""
    weight_g_max: int | None = None
    steps: tuple[ShippingStep, ...]
    """Rising; below the first one the method isn't offered."""

    def serves(self, country: str | None) -> bool:
        """Whether it sends to a country."""
        return not self.countries or country in self.countries

    def price(self, measure: int) -> int | None:
        """What shipping costs for a weight or a value; None: it isn't offered for so little."""
        found = None
        for step in self.steps:
            if step.at_least > measure:
                break
            found = step.price
        return found


class Index(msgspec.Struct, frozen=True):
    """Where to look, made once per snapshot, so that a basket meets only the promotions that reach it."""

    promotions: dict[UUID, int]
    everything: tuple[int, ...]
    by_sku: dict[str, tuple[int, ...]]
    by_category: dict[str, tuple[int, ...]]
    tax: dict[tuple[str, str], tuple[TaxRate, ...]]
    shipping: dict[str, ShippingMethod]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """All rules of one version. Of promotions only those that have not ended."""

    version: int = 0
    terms: Terms = Terms()
    promotions: tuple[Promotion, ...] = ()
    """In the order in which they are applied: by priority, then by id."""
    coupons: Mapping[str, Coupon] = {}
    """By code, in capitals."""
    tax_rates: tuple[TaxRate, ...] = ()
    shipping_methods: tuple[ShippingMethod, ...] = ()
    index: Index = Index({}, (), {}, {}, {}, {})
    """Made from the rest."""

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.promotions, key=lambda found: (found.priority, found.id)))
        msgspec.structs.force_setattr(self, "promotions", ordered)
        msgspec.structs.force_setattr(self, "index", _index(ordered, self.tax_rates, self.shipping_methods))

    @property
    def empty(self) -> bool:
        """Nothing comes off, nothing comes on: an order costs the sum of its lines."""
        return not (self.promotions or self.coupons or self.tax_rates or self.shipping_methods)


def _index(
    promotions: Iterable[Promotion], rates: Iterable[TaxRate], methods: Iterable[ShippingMethod]
) -> Index:
    """Of promotions that need a coupon only where they stand: a basket names its coupons."""
    everything: list[int] = []
    places: dict[UUID, int] = {}
    by_sku: dict[str, dict[int, None]] = {}
    by_category: dict[str, dict[int, None]] = {}
    for place, promotion in enumerate(promotions):
        places[promotion.id] = place
        if promotion.coupon_only:
            continue
        if any(target.everything for target in promotion.rule.targets):
            everything.append(place)
            continue
        for target in promotion.rule.targets:
            for sku in target.skus:
                by_sku.setdefault(sku, {})[place] = None
            for category in target.categories:
                by_category.setdefault(category, {})[place] = None
    tax: dict[tuple[str, str], tuple[TaxRate, ...]] = {}
    for rate in rates:
        key = rate.country, rate.tax_category
        tax[key] = (*tax.get(key, ()), rate)
    return Index(
        places,
        tuple(everything),
        {sku: tuple(found) for sku, found in by_sku.items()},
        {category: tuple(found) for category, found in by_category.items()},
        tax,
        {method.code: method for method in methods},
    )


class _Document(msgspec.Struct, frozen=True):
    """What the statement `load_rules` answers."""

    version: int
    terms: Terms
    promotions: tuple[Promotion, ...]
    coupons: tuple[Coupon, ...]
    tax_rates: tuple[TaxRate, ...]
    shipping_methods: tuple[ShippingMethod, ...]


_decode = msgspec.json.Decoder(_Document).decode


async def load_rules(connection: Connection, since: Rules | None = None) -> Rules:
    """The rules of this moment. With the snapshot that one had (`since`) only the coupons that changed are read again: a shop
    may have given out a hundred thousand codes."""
    found = _decode(await connection.fetchval(SQL["load_rules"], 0 if since is None else since.version))
    if since is not None and found.version < since.version:
        return await load_rules(connection)  # the shop went back to a recovery point
    coupons = {} if since is None else dict(since.coupons)
    coupons.update({coupon.code: coupon for coupon in found.coupons})
    return Rules(
        version=found.version,
        terms=found.terms,
        promotions=found.promotions,
        coupons=coupons,
        tax_rates=found.tax_rates,
        shipping_methods=found.shipping_methods,
    )
