"""Looks at orders: what was first answered (immutable) and how they are now."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

import msgspec

from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.batches import Batch
from everopen.trading.orders import Address, AppliedPromotion, Extras, OrderView, PlacedLine, PlacedOrder

SQL = load_statements("everopen.trading", "orders.sql")


class _Quote(msgspec.Struct, frozen=True):
    """Of `orders.quote`, what is shown."""

    applied: tuple[AppliedPromotion, ...] = ()


_quote = msgspec.json.Decoder(_Quote).decode
_address = msgspec.json.Decoder(Address).decode


def _line(row: Any) -> PlacedLine:
    discount, tax = row["discount"] or 0, row["line_tax"] or 0
    return PlacedLine(
        row["sku"],
        row["title"],
        row["quantity"],
        row["unit_price"],
        row["quantity"] * row["unit_price"] - discount + (tax if row["tax_added"] else 0),
        discount,
        tax,
        row["tax_rate_bp"],
    )


def _extras(rows: Sequence[Any]) -> Extras | None:
    """What the rows of an order say beyond its lines; None for one without extras."""
    first = rows[0]
    if first["quote"] is None and first["ship_to"] is None:
        return None
    return Extras(
        discount=sum(row["discount"] or 0 for row in rows),
        shipping=first["shipping"] or 0,
        shipping_tax=first["shipping_tax"] or 0,
        tax=first["tax"] or 0,
        tax_added=bool(first["tax_added"]),
        shipping_method=first["shipping_method"],
        ship_to=None if first["ship_to"] is None else _address(first["ship_to"]),
        applied=() if first["quote"] is None else _quote(first["quote"]).applied,
    )


async def placed_orders(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, PlacedOrder]:
    """The answers that these orders were first given, marked as replays."""
    found: dict[UUID, PlacedOrder] = {}
    rows = await connection.fetch(SQL["placed_facts"], ids)
    for order_id, group in groupby(rows, key=lambda row: row["id"]):
        lines = list(group)
        first = lines[0]
        found[order_id] = PlacedOrder(
            id=order_id,
            currency=first["currency"],
            total=first["total"],
            lines=tuple(_line(row) for row in lines),
            email=first["email"],
            placed_at=first["placed_at"],
            reference=first["reference"],
            replayed=True,
            extras=_extras(lines),
        )
    return found


async def find_orders(connection: Connection, ids: Sequence[UUID]) -> list[OrderView | None]:
    """Orders as they are now, in the order of `ids`."""
    found: dict[UUID, OrderView] = {}
    all_rows: Any = await connection.fetch(SQL["find_orders"], list(dict.fromkeys(ids)))
    for order_id, group in groupby(all_rows, key=lambda row: row["id"]):
        rows = list(group)
        first = rows[0]
        found[order_id] = OrderView(
            id=first["id"],
            status=first["status"],
            currency=first["currency"],
            total=first["total"],
            refunded=first["refunded"],
            lines=tuple(_line(row) for row in rows),
            email=first["email"],
            placed_at=first["placed_at"],
            reference=first["reference"],
            paid_at=first["paid_at"],
            extras=_extras(rows),
        )
    return [found.get(order_id) for order_id in ids]


def order_reads(primary: Primary) -> Batch[UUID, OrderView | None]:
    """Looks at orders in groups: those who wait for a payment look at theirs again and again."""
    return Batch(primary, "orders", find_orders)


async def find_order(primary: Primary, order_id: UUID) -> OrderView | None:
    """The order as it is now, or None."""
    return (await primary.run(lambda connection: find_orders(connection, [order_id])))[0]


async def find_order_by_reference(primary: Primary, reference: str) -> OrderView | None:
    """The order that carries a reference, or None."""
    order_id = await primary.run(lambda connection: connection.fetchval(SQL["find_order_id"], reference))
    return None if order_id is None else await find_order(primary, order_id)
