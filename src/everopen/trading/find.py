"""Looks at orders: what was first answered (immutable) and how they are now."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import OrderView, PlacedLine, PlacedOrder

SQL = load_statements("everopen.trading", "orders.sql")


def _line(row: Any) -> PlacedLine:
    return PlacedLine(
        row["sku"], row["title"], row["quantity"], row["unit_price"], row["quantity"] * row["unit_price"]
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
        )
    return found


async def find_order(primary: Primary, order_id: UUID) -> OrderView | None:
    """The order as it is now, or None."""
    rows = await primary.run(lambda connection: connection.fetch(SQL["find_order"], order_id))
    if not rows:
        return None
    first = rows[0]
    return OrderView(
        id=first["id"],
        status=first["status"],
        currency=first["currency"],
        total=first["total"],
        refunded=first["refunded"],
        lines=tuple(_line(row) for row in rows),
        email=first["email"],
        placed_at=first["placed_at"],
        reference=first["reference"],
    )


async def find_order_by_reference(primary: Primary, reference: str) -> OrderView | None:
    """The order that carries a reference, or None."""
    order_id = await primary.run(lambda connection: connection.fetchval(SQL["find_order_id"], reference))
    return None if order_id is None else await find_order(primary, order_id)
