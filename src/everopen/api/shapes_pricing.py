"""What goes in and out as JSON for promotions, coupons, tax rates and shipping methods.

Amounts here are whole minor units of the `currency` that stands beside them: a promotion or a shipping method names many
amounts of one currency."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from everopen.api.shapes import CURRENCY_PATTERN, SKU_PATTERN, Country, Title
from everopen.trading.orders import ORDER_TOTAL_MAX, UNIT_PRICE_MAX
from everopen.trading.pricing.promotions import Rule
from everopen.trading.pricing.rules import STANDARD

CODE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$(?!\n)"
METHOD_PATTERN = r"^[a-z0-9][a-z0-9-]{0,39}$(?!\n)"

Currency = Annotated[str, Meta(pattern=CURRENCY_PATTERN, description="ISO 4217.")]
Code = Annotated[
    str, Meta(pattern=CODE_PATTERN, description="Letters, digits, - and _; capitals are the same.")
]
TaxCategory = Annotated[str, Meta(min_length=1, max_length=64, pattern=SKU_PATTERN)]
Time = Annotated[datetime, Meta(tz=True)]
RateBp = Annotated[int, Meta(ge=0, le=100_000, description="Basis points: 2000 is 20 %.")]
Amount = Annotated[int, Meta(ge=0, le=UNIT_PRICE_MAX)]


class TermsBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What holds for all prices of the shop."""

    prices_include_tax: bool
    """false: tax comes on top of them."""
    rounding: Literal["half-even", "half-up"] = "half-even"
    """Of half a minor unit, in a line's tax and in a percentage."""
    home_country: Country | None = None
    """Where goods go when an order doesn't say."""
    shipping_required: bool = True
    """Once there are shipping methods, an order with anything to send must choose one."""


class TermsAnswer(Struct, frozen=True, kw_only=True):
    prices_include_tax: bool
    rounding: Literal["half-even", "half-up"]
    home_country: str | None
    shipping_required: bool
    version: int
    """Of all rules: it grows with every change of any of them."""


class PromotionBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something off, under conditions. `rule` says what, and of which lines."""

    label: Title
    """What buyers read on their order."""
    rule: Rule
    currency: Currency | None = None
    """Of the amounts in it; the promotion holds for prices in that currency only. Needed where there is an amount."""
    min_value: Annotated[int, Meta(ge=0, le=ORDER_TOTAL_MAX)] = 0
    """Goods of the order, before discounts."""
    starts_at: Time | None = None
    ends_at: Time | None = None
    """The first moment at which it no longer holds."""
    priority: Annotated[int, Meta(ge=0, le=1_000_000)] = 100
    """Lower numbers are applied first; each promotion works on what the ones before left to pay."""
    exclusive: bool = False
    """It is applied alone: not after another promotion, and none after it."""
    coupon_only: bool = False


class PromotionAnswer(Struct, frozen=True, kw_only=True):
    id: UUID
    label: str
    rule: Rule
    currency: str | None
    min_value: int
    starts_at: datetime | None
    ends_at: datetime | None
    priority: int
    exclusive: bool
    coupon_only: bool
    ended_at: datetime | None
    """When staff took it back."""


class PromotionsAnswer(Struct, frozen=True):
    promotions: list[PromotionAnswer]
    next: str | None
    """`after` of the next page; null on the last one."""


class CouponBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A code that makes a promotion due."""

    code: Code
    promotion_id: UUID
    limit_total: Annotated[int, Meta(ge=1, le=10**12)] | None = None
    """Most orders that may use it; null: any number."""
    limit_per_customer: Annotated[int, Meta(ge=1, le=10**6)] | None = None
    starts_at: Time | None = None
    ends_at: Time | None = None


class CouponsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Coupons to add or replace, all or none. A code that was ended begins again."""

    coupons: Annotated[list[CouponBody], Meta(min_length=1)]


class CouponAnswer(Struct, frozen=True, kw_only=True):
    code: str
    promotion_id: UUID
    limit_total: int | None
    limit_per_customer: int | None
    starts_at: datetime | None
    ends_at: datetime | None
    ended_at: datetime | None
    used: int
    """Orders that use it now; one that was cancelled or declined has given it back."""


class CouponsAnswer(Struct, frozen=True):
    coupons: list[CouponAnswer]
    next: str | None


class CouponsChangedAnswer(Struct, frozen=True):
    added: int
    updated: int


class TaxRateBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The tax on a category of goods that go to a country. Of two rates that hold at once the one that began later counts."""

    country: Country
    tax_category: TaxCategory = STANDARD
    """Goods of a category without a rate of its own bear the one of `standard`."""
    rate_bp: RateBp
    starts_at: Time | None = None
    ends_at: Time | None = None


class TaxRateAnswer(Struct, frozen=True, kw_only=True):
    id: UUID
    country: str
    tax_category: str
    rate_bp: int
    starts_at: datetime | None
    ends_at: datetime | None
    ended_at: datetime | None


class TaxRatesAnswer(Struct, frozen=True):
    tax_rates: list[TaxRateAnswer]


class ShippingStepBody(Struct, frozen=True, forbid_unknown_fields=True):
    """From `at_least` (grams or minor units, as `basis` says) on it costs `price`, until the next step."""

    at_least: Annotated[int, Meta(ge=0, le=ORDER_TOTAL_MAX)]
    price: Amount


class ShippingMethodBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A way to send goods."""

    label: Title
    currency: Currency
    countries: Annotated[list[Country], Meta(max_length=300)] = []
    """Where it sends to; empty: everywhere."""
    tax_category: TaxCategory = STANDARD
    basis: Literal["weight", "value"] = "value"
    """What the steps measure: the order's grams, or its goods before discounts in minor units."""
    weight_g_max: Annotated[int, Meta(ge=1, le=10**12)] | None = None
    steps: Annotated[list[ShippingStepBody], Meta(min_length=1, max_length=100)]
    """Rising. For less than the first one it isn't offered."""


class ShippingMethodAnswer(Struct, frozen=True, kw_only=True):
    code: str
    label: str
    currency: str
    countries: list[str]
    tax_category: str
    basis: Literal["weight", "value"]
    weight_g_max: int | None
    steps: list[ShippingStepBody]
    ended_at: datetime | None


class ShippingMethodsAnswer(Struct, frozen=True):
    shipping_methods: list[ShippingMethodAnswer]
