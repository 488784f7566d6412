"""Goods on the shelf: receipts and corrections. (Sales and reservations are part of orders and payments.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from everopen.store import Primary, load_statements
from everopen.trading.orders import (
    KeyReused,
    NotTracked,
    SoldOut,
    StockChanged,
    StockItem,
    StockOutcome,
    UnknownSku,
)

SQL = load_statements("everopen.trading", "catalogue.sql")


async def receive_stock(
    primary: Primary, items: Sequence[StockItem], *, key: str, fingerprint: bytes, reason: str
) -> StockOutcome:
    """Goods came in: quantities are positive."""
    return await _move(primary, "receipt", items, key, fingerprint, reason)


async def correct_stock(
    primary: Primary, items: Sequence[StockItem], *, key: str, fingerprint: bytes, reason: str
) -> StockOutcome:
    """The shelf was counted: quantities are differences of either sign. Never below what is reserved for customers;
    that is SoldOut, and nothing of the batch is booked."""
    return await _move(primary, "correction", items, key, fingerprint, reason)


async def _move(
    primary: Primary, kind: str, items: Sequence[StockItem], key: str, fingerprint: bytes, reason: str
) -> StockOutcome:
    skus, deltas = [item.sku for item in items], [item.quantity for item in items]
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(
            SQL["move_stock"], kind, key, fingerprint, skus, deltas, reason
        )
    )
    match row["code"]:
        case 0 | 1:
            return StockChanged(row["items"], replayed=row["code"] == 1)
        case 2:
            return KeyReused()
        case 3:
            return SoldOut(row["detail"], row["available"], row["requested"])
        case 4:
            return UnknownSku(tuple(row["detail"].split("\n")))
        case _:
            return NotTracked(tuple(row["detail"].split("\n")))
