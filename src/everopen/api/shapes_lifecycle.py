"""Bodies and answers of an order's later life: parcels, returns, documents, its story."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from everopen.api.shapes import CustomerAnswer, RefundLineBody, Sku
from everopen.api.shapes_range import Slug
from everopen.base.money import Money
from everopen.trading.invoices import Document
from everopen.trading.states import OrderStatus, ReturnStatus

Note = Annotated[str, Meta(max_length=500)]
Pieces = Annotated[int, Meta(ge=0, le=1_000_000)]


class ShipmentBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A parcel. No lines: all that has not been sent yet."""

    lines: list[RefundLineBody] = []
    carrier: Annotated[str, Meta(max_length=100)] = ""
    tracking: Annotated[str, Meta(max_length=200)] = ""
    location: Slug | None = None
    """Where the goods are picked; null: where the priority of locations says."""


class CompleteBody(Struct, frozen=True, forbid_unknown_fields=True):
    """All of a shipped order has arrived."""

    why: Note = "delivered"


class ReturnBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Goods that the customer wants to send back. No lines: all that they have."""

    lines: list[RefundLineBody] = []
    reason: Note = ""


class ReturnNoteBody(Struct, frozen=True, forbid_unknown_fields=True):
    why: Note = ""


class InspectedLineBody(Struct, frozen=True, forbid_unknown_fields=True):
    """good: accepted, back on the shelf. damaged: accepted, not for sale any more."""

    sku: Sku
    good: Pieces = 0
    damaged: Pieces = 0


class InspectionBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What was found in a parcel. Pieces of the return that are neither good nor damaged are rejected: no money goes back for
    them."""

    lines: list[InspectedLineBody]
    shipping: bool = False
    """Give back what was charged for shipping too."""
    why: Note = ""


class ShippedLineAnswer(Struct, frozen=True):
    sku: str
    title: str
    quantity: int


class ShipmentAnswer(Struct, frozen=True):
    """A parcel of an order; `number` counts within the order."""

    order_id: UUID
    number: int
    carrier: str
    tracking: str
    shipped_at: datetime
    delivered_at: datetime | None
    lines: list[ShippedLineAnswer]


class ShipmentsAnswer(Struct, frozen=True):
    shipments: list[ShipmentAnswer]


class CompleteAnswer(Struct, frozen=True):
    order_id: UUID
    status: OrderStatus = "completed"


class ReturnLineAnswer(Struct, frozen=True):
    """good, damaged, rejected: null until the parcel was inspected."""

    sku: str
    title: str
    quantity: int
    good: int | None
    damaged: int | None
    rejected: int | None


class ReturnAnswer(Struct, frozen=True):
    """A return. `rma` is the number to write on the parcel; `refund_id` what was given back for it."""

    rma: str
    order_id: UUID
    status: ReturnStatus
    reason: str
    note: str
    requested_at: datetime
    received_at: datetime | None
    closed_at: datetime | None
    refund_id: UUID | None
    lines: list[ReturnLineAnswer]


class ReturnsAnswer(Struct, frozen=True):
    returns: list[ReturnAnswer]
    next: str | None = None
    """`after` of the next page; null on the last one."""


class MomentAnswer(Struct, frozen=True):
    """Something that happened: `what` for programs, `text` for people."""

    at: datetime
    what: str
    text: str


class TimelineAnswer(Struct, frozen=True):
    """What happened to an order, the first thing first."""

    order_id: UUID
    moments: list[MomentAnswer]


class CreditNotesAnswer(Struct, frozen=True):
    credit_notes: list[Document]


class OrderRowAnswer(Struct, frozen=True):
    """An order in a list; `units` is how many pieces were ordered."""

    id: UUID
    status: OrderStatus
    total: Money
    units: int
    customer: CustomerAnswer
    placed_at: datetime
    reference: str | None


class OrdersAnswer(Struct, frozen=True):
    orders: list[OrderRowAnswer]
    next: str | None
    """`after` of the next page; null on the last one."""
