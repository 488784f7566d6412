"""What goes in and out as JSON: one struct per body, with the limits that clients can see.

The same structs decode requests, encode answers and become the schemas of the OpenAPI document, so the three cannot
disagree. Unknown fields are refused: a mistyped optional field that is silently dropped is found months later.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from everopen.base.money import Money
from everopen.trading.orders import ORDER_TOTAL_MAX, UNIT_PRICE_MAX
from everopen.trading.states import OrderStatus

EMAIL_PATTERN = r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$(?!\n)"
"""(`$` alone lets a line feed pass at the end, which in a header of a letter begins the next one.)"""
SKU_PATTERN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$(?!\n)"
"""An SKU is part of an address and stands in lists with one entry per line."""
CURRENCY_PATTERN = r"^[A-Z]{3}$(?!\n)"
COUNTRY_PATTERN = r"^[A-Z]{2}$(?!\n)"

Sku = Annotated[
    str, Meta(min_length=1, max_length=64, description="Stock keeping unit, as in the catalogue.")
]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=EMAIL_PATTERN)]
NewSku = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=SKU_PATTERN,
        description="Stock keeping unit: anything but control characters.",
    ),
]
Reference = Annotated[str, Meta(min_length=1, max_length=128, description="The caller's own name for it.")]
Reason = Annotated[str, Meta(min_length=1, max_length=500)]
Title = Annotated[str, Meta(min_length=1, max_length=300)]


class Amount(Struct, frozen=True, forbid_unknown_fields=True):
    """A price in a request: minor units (pence, cents) and ISO 4217 currency."""

    amount: Annotated[int, Meta(ge=0, le=UNIT_PRICE_MAX)]
    currency: Annotated[str, Meta(pattern=CURRENCY_PATTERN)]


class TotalAmount(Struct, frozen=True, forbid_unknown_fields=True):
    """The sum of an order in a request."""

    amount: Annotated[int, Meta(ge=0, le=ORDER_TOTAL_MAX)]
    currency: Annotated[str, Meta(pattern=CURRENCY_PATTERN)]


Currency = Annotated[
    str, Meta(pattern=CURRENCY_PATTERN, description="ISO 4217; null is the shop's own currency.")
]
Country = Annotated[str, Meta(pattern=COUNTRY_PATTERN, description="ISO 3166-1 alpha-2.")]
Coupons = Annotated[list[Annotated[str, Meta(min_length=1, max_length=40)]], Meta(max_length=10)]
ShippingMethodCode = Annotated[str, Meta(min_length=1, max_length=40)]
_Part = Annotated[str, Meta(max_length=200)]
_NeededPart = Annotated[str, Meta(min_length=1, max_length=200)]


# --- requests ---------------------------------------------------------------------------------------------------


class LineBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of an order. The same SKU in several lines is summed."""

    sku: Sku
    quantity: Quantity
    unit_price: Amount | None = None
    """Staff only: the price of a sale that happened elsewhere; else the catalogue's price counts."""


class CustomerBody(Struct, frozen=True, forbid_unknown_fields=True):
    email: Email


class PaymentBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which provider charges what its own widget gave the buyer. Sandbox tokens: tok_approve, tok_decline,
    tok_slow, tok_lost."""

    provider: Annotated[str, Meta(min_length=1, max_length=40)]
    token: Annotated[str, Meta(min_length=1, max_length=255)]
    capture: Literal["automatic", "manual"] = "automatic"
    """manual: the money is authorised when the order is placed, and captured by staff later."""


class AddressBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the goods go."""

    recipient: _NeededPart
    line1: _NeededPart
    city: _NeededPart
    country: Country
    line2: _Part = ""
    region: _Part = ""
    postcode: _Part = ""
    phone: _Part = ""


class ShippingBody(Struct, frozen=True, forbid_unknown_fields=True):
    """How the goods travel, and where to. The address's country decides about tax."""

    method: ShippingMethodCode | None = None
    address: AddressBody | None = None


class OrderBody(Struct, frozen=True, forbid_unknown_fields=True):
    """An order."""

    lines: Annotated[list[LineBody], Meta(min_length=1)]
    customer: CustomerBody
    payment: PaymentBody
    reference: Reference | None = None
    placed_at: Annotated[datetime, Meta(tz=True)] | None = None
    """Staff only: when the sale happened, for history that is replayed."""
    expected_total: TotalAmount | None = None
    """What the buyer was shown: another total is refused (409 price-changed) and nothing happens."""
    coupons: Coupons = []
    shipping: ShippingBody | None = None
    currency: Currency | None = None


class CheckoutBody(Struct, frozen=True, forbid_unknown_fields=True):
    """An order of what lies in the session's cart."""

    customer: CustomerBody
    payment: PaymentBody
    reference: Reference | None = None
    expected_total: TotalAmount | None = None
    """What the buyer was shown: another total is refused (409 price-changed) and the cart stays as it is."""
    coupons: Coupons = []
    shipping: ShippingBody | None = None
    currency: Currency | None = None


class QuoteLineBody(Struct, frozen=True, forbid_unknown_fields=True):
    sku: Sku
    quantity: Quantity = 1


class QuoteShippingBody(Struct, frozen=True, forbid_unknown_fields=True):
    method: ShippingMethodCode | None = None
    country: Country | None = None


class QuoteBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What would these cost?"""

    lines: Annotated[list[QuoteLineBody], Meta(min_length=1)]
    coupons: Coupons = []
    shipping: QuoteShippingBody | None = None
    currency: Currency | None = None


class CartLineBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Adds to what the cart holds of the SKU."""

    sku: Sku
    quantity: Quantity = 1


class QuantityBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Sets a cart line."""

    quantity: Quantity


class RefundLineBody(Struct, frozen=True, forbid_unknown_fields=True):
    sku: Sku
    quantity: Quantity


class RefundBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Gives money back for lines of an order, with their share of discount and tax, never for more than was sold and not yet
    refunded."""

    lines: Annotated[list[RefundLineBody], Meta(min_length=1)]
    reason: Reason
    restock: bool = True
    shipping: bool = False
    """Give back what was charged for shipping too."""


class CancelBody(Struct, frozen=True, forbid_unknown_fields=True):
    """An unpaid order is taken back as a whole, without `lines`. Of a paid one, `lines` that have not left the house are
    cancelled and refunded."""

    reason: Reason = "cancelled"
    lines: list[RefundLineBody] = []


class CreditLineBody(Struct, frozen=True, forbid_unknown_fields=True):
    sku: Sku
    quantity: Quantity
    unit_price: Amount


class CreditBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Money back for a sale that is not in this shop."""

    lines: Annotated[list[CreditLineBody], Meta(min_length=1)]
    customer: CustomerBody
    reason: Reason
    reference: Reference | None = None
    restock: bool = False


# --- answers ----------------------------------------------------------------------------------------------------


class OrderLineAnswer(Struct, frozen=True):
    sku: str
    title: str
    quantity: int
    unit_price: Money
    amount: Money
    """What the line comes to: pieces times price, less `discount`, and with `tax` where it is added to prices."""
    discount: Money | UnsetType = UNSET
    tax: Money | UnsetType = UNSET
    tax_rate_bp: int | UnsetType = UNSET
    """Basis points: 2000 is 20 %."""


class TaxAnswer(Struct, frozen=True):
    """All tax of an order. `included`: it is in the prices; else it was added to them."""

    amount: Money
    included: bool


class ShippingAnswer(Struct, frozen=True):
    """Shipping after promotions; its tax is part of the order's."""

    amount: Money
    method: str | None
    address: AddressBody | None


class AppliedAnswer(Struct, frozen=True):
    """A promotion that took so much off."""

    label: str
    amount: Money


class CustomerAnswer(Struct, frozen=True):
    email: str


class OrderAnswer(Struct, frozen=True):
    """An order: as it was placed (`POST`), or as it is now (`GET`).

    placed: stock is reserved, payment is under way. authorised: the provider holds the money. paid: money captured.
    declined: the provider said no, stock released. cancelled: taken back before anything was sent. partly_shipped,
    shipped: on the way. completed: arrived. returned: all of it was given back."""

    id: UUID
    status: OrderStatus
    total: Money
    lines: list[OrderLineAnswer]
    customer: CustomerAnswer
    placed_at: datetime
    reference: str | None = None
    refunded: Money | UnsetType = UNSET
    """What was promised back so far (`GET` only)."""
    paid_at: datetime | UnsetType | None = UNSET
    """When its money was captured; it stays when all is given back later (`GET` only)."""
    discount: Money | UnsetType = UNSET
    """Off the goods; part of the lines' amounts. Like what follows, only where the shop's rules applied to the order."""
    tax: TaxAnswer | UnsetType = UNSET
    shipping: ShippingAnswer | UnsetType = UNSET
    promotions: list[AppliedAnswer] | UnsetType = UNSET


class QuoteAnswer(Struct, frozen=True):
    """What a basket would cost now. Send `total` as `expected_total` with the order, and it costs that or isn't placed."""

    total: Money
    goods: Money
    """Pieces times prices."""
    discount: Money
    tax: TaxAnswer
    shipping: ShippingAnswer
    promotions: list[AppliedAnswer]
    lines: list[OrderLineAnswer]


class RefundAnswer(Struct, frozen=True):
    """Money promised back; the provider is asked by itself. `order_id` is null for a stand-alone credit."""

    id: UUID
    order_id: UUID | None
    amount: Money
    lines: list[OrderLineAnswer]
    reason: str
    reference: str | None
    created_at: datetime
    shipping: Money | UnsetType = UNSET
    """Of the amount: what was charged for shipping."""
    tax: Money | UnsetType = UNSET
    """Of the amount: all tax."""


class CancelAnswer(Struct, frozen=True):
    """What was cancelled. `status` is the order's now; `refund` what goes back of a paid one."""

    order_id: UUID
    status: OrderStatus = "cancelled"
    refund: RefundAnswer | None = None


class CartLineAnswer(Struct, frozen=True):
    sku: str
    title: str
    quantity: int
    unit_price: Money | None
    amount: Money | None
    available: int | None
    price_was: Money | None = None
    """What one cost when the line was last changed, where that is another price than today's."""
    short: int = 0
    """How many pieces of the line are not available now."""


class CartAnswer(Struct, frozen=True):
    """The session's cart at today's prices."""

    lines: list[CartLineAnswer]
    units: int
    total: Money


class Ready(Struct, frozen=True):
    """Whether this worker can take an order."""

    status: str
    epoch: int | None = None


encode = msgspec.json.Encoder().encode
"""The encoder of every answer."""
