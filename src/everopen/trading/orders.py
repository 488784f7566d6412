"""What is asked of the shop and what it answers, as plain values.

An outcome is a value and never an exception: orders are committed in groups, and an exception of one would be the
failure of all. Amounts are whole minor units (pence) of the currency that each answer names; the shop has one of
its own, and may take orders in others.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from everopen.trading.states import OrderStatus

UNIT_PRICE_MAX = 10**10
ORDER_TOTAL_MAX = 10**12
"""Minor units. A thousand lines of a million pieces at the highest price would be more than a bigint holds."""


class LineRequest(msgspec.Struct, frozen=True):
    """So many of a SKU. `unit_price` is for staff (replay of a history); None means the catalogue's price."""

    sku: str
    quantity: int
    unit_price: int | None = None


class Address(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where goods go. `country` is ISO 3166-1 alpha-2."""

    recipient: str
    line1: str
    line2: str = ""
    city: str
    region: str = ""
    postcode: str = ""
    country: str
    phone: str = ""


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One order to place. The key decides whether it is new; the fingerprint whether it is the same request."""

    key: str
    fingerprint: bytes
    lines: tuple[LineRequest, ...]
    email: str
    provider: str
    token: str
    reference: str | None = None
    """The order's number elsewhere (an invoice of a replayed history); unique where given."""
    cart_id: UUID | None = None
    """Checkout: this cart is emptied in the order's transaction."""
    cart_version: int | None = None
    """The cart's version that the lines were read from; another version → `CartChanged`."""
    placed_at: datetime | None = None
    """Staff only (history): aware datetime; None means now."""
    customer_id: UUID | None = None
    """Who is logged in; None is a guest."""
    currency: str | None = None
    """None: the shop's own."""
    expected_total: int | None = None
    """What the buyer was shown; another total → `PriceChanged`."""
    coupons: tuple[str, ...] = ()
    shipping_method: str | None = None
    ship_to: Address | None = None
    capture: Literal["automatic", "manual"] = "automatic"
    """manual: the money is authorised now, and staff capture it later."""

    @property
    def staff_priced(self) -> bool:
        """A sale that has happened elsewhere, at its own prices: this shop's rules do not apply to it."""
        return self.placed_at is not None or any(line.unit_price is not None for line in self.lines)


class PlacedLine(msgspec.Struct, frozen=True):
    """A line as it was sold. `amount` is what it comes to: pieces times price, less `discount`, and with `tax` where tax is
    added to prices."""

    sku: str
    title: str
    quantity: int
    unit_price: int
    amount: int
    discount: int = 0
    tax: int = 0
    tax_rate_bp: int | None = None
    """Basis points: 2000 is 20 %."""


class AppliedPromotion(msgspec.Struct, frozen=True):
    """A promotion that gave something, and how much."""

    label: str
    amount: int


class Extras(msgspec.Struct, frozen=True, kw_only=True):
    """What an order has beyond pieces times prices, and where it goes."""

    discount: int = 0
    shipping: int = 0
    shipping_tax: int = 0
    tax: int = 0
    """All of it, with shipping's."""
    tax_added: bool = False
    shipping_method: str | None = None
    ship_to: Address | None = None
    applied: tuple[AppliedPromotion, ...] = ()


class PlacedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted order, durable on the primary and its synchronous standby. A replay gives the same answer."""

    id: UUID
    status: str = "placed"
    currency: str
    total: int
    lines: tuple[PlacedLine, ...]
    email: str
    placed_at: datetime
    reference: str | None = None
    replayed: bool = False
    extras: Extras | None = None


class SoldOut(msgspec.Struct, frozen=True):
    """A line asks for more than is available; the whole order is refused and nothing changed."""

    sku: str
    available: int
    requested: int


class UnknownSku(msgspec.Struct, frozen=True):
    """These SKUs are not in the catalogue."""

    skus: tuple[str, ...]


class Unpriced(msgspec.Struct, frozen=True):
    """These SKUs have no price in the catalogue and the request brought none."""

    skus: tuple[str, ...]


class KeyReused(msgspec.Struct, frozen=True):
    """The idempotency key was used before, for another request."""


class ReferenceTaken(msgspec.Struct, frozen=True):
    """Another order carries this reference."""

    reference: str


class CartChanged(msgspec.Struct, frozen=True):
    """The cart was changed (or checked out) since its lines were read."""


class NoLines(msgspec.Struct, frozen=True):
    """There is nothing to order: no lines, and the key is new."""


class TooDear(msgspec.Struct, frozen=True):
    """The order comes to more than `ORDER_TOTAL_MAX`."""


class PriceChanged(msgspec.Struct, frozen=True):
    """The order comes to `total` and not to what the buyer expected; nothing changed."""

    total: int
    currency: str


class NotForSale(msgspec.Struct, frozen=True):
    """These SKUs are in the catalogue but not published."""

    skus: tuple[str, ...]


class OverLimit(msgspec.Struct, frozen=True):
    """One buyer gets only so many of the SKU, and this one may have only `left` more."""

    sku: str
    left: int
    requested: int


class Unquotable(msgspec.Struct, frozen=True):
    """The shop's rules say no: a coupon, or where it goes. `detail` is a sentence for the buyer."""

    reason: Literal[
        "unknown-coupon", "coupon-expired", "coupon-used-up", "not-shippable", "no-shipping-method"
    ]
    detail: str


class Stale(msgspec.Struct, frozen=True):
    """Rules or prices have changed since the order was quoted; it is quoted again."""


class PricesMoving(msgspec.Struct, frozen=True):
    """Rules or prices changed again and again while the order was quoted."""


Outcome = (
    PlacedOrder
    | SoldOut
    | UnknownSku
    | Unpriced
    | KeyReused
    | ReferenceTaken
    | CartChanged
    | NoLines
    | TooDear
    | PriceChanged
    | NotForSale
    | OverLimit
    | Unquotable
    | Stale
    | PricesMoving
)


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it is now. `refunded` is what was promised back to the customer so far; `paid_at` is None as long as its
    money was not captured."""

    id: UUID
    status: OrderStatus
    currency: str
    total: int
    refunded: int
    lines: tuple[PlacedLine, ...]
    email: str
    placed_at: datetime
    reference: str | None
    paid_at: datetime | None = None
    extras: Extras | None = None


class NotFound(msgspec.Struct, frozen=True):
    """There is no such order."""


class WrongState(msgspec.Struct, frozen=True):
    """The order's state doesn't allow this; `status` says which one it is in, `why` what stands against it."""

    status: str
    why: str = ""


class TooMuch(msgspec.Struct, frozen=True):
    """More would be given back than was sold and not yet given back."""

    sku: str
    refundable: int
    requested: int


class RefundLine(msgspec.Struct, frozen=True):
    """So many of a SKU to take back."""

    sku: str
    quantity: int


class Refunded(msgspec.Struct, frozen=True, kw_only=True):
    """Money promised back to a customer (a refund of an order, or a stand-alone credit: `order_id` None)."""

    id: UUID
    order_id: UUID | None
    currency: str
    amount: int
    lines: tuple[PlacedLine, ...]
    reason: str
    reference: str | None
    created_at: datetime
    shipping: int = 0
    """Of the amount: what was charged for shipping."""
    tax: int = 0
    """Of the amount: all tax."""
    replayed: bool = False


class Cancelled(msgspec.Struct, frozen=True):
    """The unpaid order was taken back and its stock released."""

    order_id: UUID
    replayed: bool = False


RefundOutcome = Refunded | NotFound | WrongState | TooMuch | UnknownSku | KeyReused | ReferenceTaken
CancelOutcome = Cancelled | NotFound | WrongState | KeyReused
CreditOutcome = Refunded | UnknownSku | Unpriced | KeyReused | ReferenceTaken


class StockItem(msgspec.Struct, frozen=True):
    """A change of what lies on the shelf: receipts are positive, corrections have either sign."""

    sku: str
    quantity: int


class StockChanged(msgspec.Struct, frozen=True):
    """The goods were booked; `items` is how many SKUs changed."""

    items: int
    replayed: bool = False


class NotTracked(msgspec.Struct, frozen=True):
    """These SKUs have no stock to change (postage, fees, discounts)."""

    skus: tuple[str, ...]


StockOutcome = StockChanged | UnknownSku | NotTracked | SoldOut | KeyReused


class ProductInput(msgspec.Struct, frozen=True):
    """A product to add or change. `unit_price` None: in the catalogue but sold only at a price staff names."""

    sku: str
    title: str
    unit_price: int | None
    description: str = ""
    tracks_stock: bool = True
    """False for postage, fees and discounts. It can't change once the SKU exists."""


class ProductsChanged(msgspec.Struct, frozen=True):
    """How many products were added and how many already existed."""

    added: int
    updated: int
    replayed: bool = False


ProductsOutcome = ProductsChanged | KeyReused


class Product(msgspec.Struct, frozen=True):
    """A product as customers see it. `available` None: the SKU has no stock to run out of."""

    sku: str
    title: str
    description: str
    unit_price: int | None
    currency: str
    tracks_stock: bool
    available: int | None


class CartLine(msgspec.Struct, frozen=True):
    """A line of a cart at today's price. `price_was`: what the buyer last saw, where that is another price. `short`: how many
    pieces of it are not available now."""

    sku: str
    title: str
    quantity: int
    unit_price: int | None
    available: int | None
    price_was: int | None = None
    short: int = 0


class Cart(msgspec.Struct, frozen=True):
    """A cart. Hand `id` and `version` to `OrderRequest` at checkout. `replayed`: the key had changed it before, so it is
    shown as it is now."""

    id: UUID
    version: int
    currency: str
    lines: tuple[CartLine, ...]
    replayed: bool = False


class CartFull(msgspec.Struct, frozen=True):
    """The cart would hold more lines, or a line more pieces, than an order may have; `most` is the limit."""

    most: int
