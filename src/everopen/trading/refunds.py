"""Giving back: refunds of paid orders, cancellations of unpaid ones, stand-alone credits.

Each is one transaction, found again by its key. The provider is not called here: a refund leaves an intent, and the
payer carries it out with the same machinery as a charge."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from everopen.base.errors import InvariantBroken
from everopen.base.ids import uuid7
from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import (
    Cancelled,
    CancelOutcome,
    CreditOutcome,
    KeyReused,
    LineRequest,
    NotFound,
    PlacedLine,
    ReferenceTaken,
    Refunded,
    RefundLine,
    RefundOutcome,
    TooMuch,
    UnknownSku,
    Unpriced,
    WrongState,
)

SQL = load_statements("everopen.trading", "refunds.sql")


async def refund(
    primary: Primary,
    currency: str,
    order_id: UUID,
    lines: Sequence[RefundLine],
    *,
    key: str,
    fingerprint: bytes,
    restock: bool,
    reason: str,
    reference: str | None = None,
) -> RefundOutcome:
    """Refunds lines of a paid order at the price they were sold for; no lines means all that is left. Never more than
    was sold and not yet given back. WrongState("placed") means that payment is still under way: try again later."""
    arguments = (
        uuid7(), order_id, key, fingerprint, [line.sku for line in lines], [line.quantity for line in lines],
        restock, reason, reference,
    )  # fmt: skip

    async def work(connection: Connection) -> tuple[Any, Refunded | None]:
        row: Any = await connection.fetchrow(SQL["refund_order"], *arguments)
        return row, await _facts(connection, row)

    row, done = await primary.run(work)
    if done is not None:
        return done
    match row["code"]:
        case 2:
            return KeyReused()
        case 4:
            return UnknownSku((row["detail"],))
        case 6:
            return ReferenceTaken(row["detail"])
        case 9:
            return NotFound()
        case 10:
            return WrongState(row["detail"])
        case 11:
            return TooMuch(row["detail"], row["refundable"], row["requested"])
    raise InvariantBroken(f"refund_order answered {row['code']}.")


async def credit(
    primary: Primary,
    currency: str,
    lines: Sequence[LineRequest],
    *,
    email: str,
    reference: str | None,
    key: str,
    fingerprint: bytes,
    restock: bool,
    reason: str,
    at: datetime | None = None,
) -> CreditOutcome:
    """Credits a customer for goods whose sale is not in this shop. The amount stays as customer credit in the ledger:
    there is no charge that a provider could give back."""
    arguments = (
        uuid7(), currency, key, fingerprint, [line.sku for line in lines], [line.quantity for line in lines],
        [line.unit_price for line in lines], email, restock, reason, reference, at,
    )  # fmt: skip

    async def work(connection: Connection) -> tuple[Any, Refunded | None]:
        row: Any = await connection.fetchrow(SQL["credit"], *arguments)
        return row, await _facts(connection, row)

    row, done = await primary.run(work)
    if done is not None:
        return done
    match row["code"]:
        case 2:
            return KeyReused()
        case 4:
            return UnknownSku(tuple(row["detail"].split("\n")))
        case 5:
            return Unpriced(tuple(row["detail"].split("\n")))
        case 6:
            return ReferenceTaken(row["detail"])
    raise InvariantBroken(f"credit answered {row['code']}.")


async def cancel(
    primary: Primary, order_id: UUID, *, key: str, fingerprint: bytes, reason: str
) -> CancelOutcome:
    """Takes an order back that is not paid yet and releases its stock. If its payment turns out to have gone through,
    it is given back by itself."""
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(SQL["cancel_order"], order_id, key, fingerprint, reason)
    )
    match row["code"]:
        case 0 | 1:
            return Cancelled(row["result_id"], replayed=row["code"] == 1)
        case 2:
            return KeyReused()
        case 9:
            return NotFound()
        case _:
            return WrongState(row["detail"])


async def _facts(connection: Connection, answer: Any) -> Refunded | None:
    if answer["code"] > 1:
        return None
    rows: Any = await connection.fetch(SQL["refund_facts"], answer["result_id"])
    first = rows[0]
    return Refunded(
        id=first["id"],
        order_id=first["order_id"],
        currency=first["currency"],
        amount=first["amount"],
        lines=tuple(
            PlacedLine(
                row["sku"],
                row["title"],
                row["quantity"],
                row["unit_price"],
                row["quantity"] * row["unit_price"],
            )
            for row in rows
        ),
        reason=first["reason"],
        reference=first["reference"],
        created_at=first["created_at"],
        replayed=answer["code"] == 1,
    )
