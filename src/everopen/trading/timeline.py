"""What happened to an order, told to its customer; and the search by which staff find orders.

The timeline is read from what is recorded anyway (times of the order, history, parcels, returns, refunds, documents), so
nothing is written for it and it can't disagree with the books."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from everopen.base.money import format_money
from everopen.store import Primary, load_statements
from everopen.trading.states import OrderStatus

SQL = load_statements("everopen.trading", "timeline.sql")
SKEW_MS = 3_600_000
"""An order's id carries its worker's clock; so much may that be wrong before a search by time misses it."""


class Moment(msgspec.Struct, frozen=True):
    """Something that happened: `what` for programs, `text` for people."""

    at: datetime
    what: str
    text: str


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """An order in a list. `units` is how many pieces were ordered."""

    id: UUID
    status: OrderStatus
    currency: str
    total: int
    units: int
    email: str
    placed_at: datetime
    reference: str | None


SENTENCES: dict[str, str] = {
    "placed": "You placed the order over {amount}.",
    "authorised": "Your bank set {amount} aside.",
    "paid": "Your payment arrived.",
    "declined": "The payment was declined; nothing was charged.",
    "cancel": "The order was cancelled{note}.",
    "expire": "The order was cancelled, because it was not paid in time.",
    "shipped": "Parcel {amount_n} with {pieces} was sent{note}.",
    "complete": "The order was delivered.",
    "refund": "{amount} is given back to you{note}.",
    "refund_paid": "{amount} was given back to you.",
    "refund_failed": "Your bank did not take {amount} back; we look after it.",
    "refund_all": "The whole order was taken back before it was sent.",
    "return_all": "All of the order was given back.",
    "return_requested": "You asked to send {pieces} back (RMA-{amount_n:06d}){note}.",
    "return_received": "Your return RMA-{amount_n:06d} arrived.",
    "return_inspected": "Your return RMA-{amount_n:06d} was inspected{note}.",
    "return_withdrawn": "Your return RMA-{amount_n:06d} was withdrawn{note}.",
    "return_refused": "Your return RMA-{amount_n:06d} was not accepted{note}.",
    "invoice": "Invoice {note_plain} was issued.",
    "credit_note": "Credit note {note_plain} was issued.",
}
"""One per kind of moment."""


def tell(what: str, note: str, amount: int | None, quantity: int | None, currency: str) -> str:
    """The sentence of a moment. Pure."""
    pieces = "" if quantity is None else "1 piece" if quantity == 1 else f"{quantity:,} pieces"
    return SENTENCES[what].format(
        amount=format_money(amount or 0, currency),
        amount_n=amount or 0,
        pieces=pieces,
        note=f": {note}" if note else "",
        note_plain=note,
    )


async def timeline_of(primary: Primary, order_id: UUID) -> list[Moment] | None:
    """What happened to an order, the first thing first; None: there is no such order."""

    async def work(connection: Any) -> tuple[Any, Any]:
        currency = await connection.fetchval("SELECT currency FROM orders WHERE id = $1", order_id)
        return currency, await connection.fetch(SQL["timeline"], order_id)

    currency, rows = await primary.run(work)
    if currency is None:
        return None
    return [
        Moment(
            row["at"], row["what"], tell(row["what"], row["note"], row["amount"], row["quantity"], currency)
        )
        for row in rows
    ]


async def search_orders(
    primary: Primary,
    *,
    statuses: Sequence[str] | None = None,
    email: str | None = None,
    customer_id: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: UUID | None = None,
    limit: int,
) -> list[OrderRow]:
    """Orders for staff, the newest first: those before `before`, and of a time from `since` to `until`."""
    first = None if since is None else first_id(since)
    rows: Any = await primary.run(
        lambda connection: connection.fetch(
            SQL["search_orders"], statuses, email, customer_id, since, until, first, before, limit
        )
    )
    return [OrderRow(**{name: row[name] for name in OrderRow.__struct_fields__}) for row in rows]


def first_id(since: datetime) -> UUID:
    """No order that was placed at this time or later has a smaller id (UUID version 7: the time comes first)."""
    milliseconds = max(0, int(since.timestamp() * 1000) - SKEW_MS)
    return UUID(int=min(milliseconds, 2**48 - 1) << 80)
