"""Giving back: refunds of paid orders, cancellations of unpaid ones and of pieces that were not sent, stand-alone credits.

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
from everopen.trading.states import RESERVING

SQL = load_statements("everopen.trading", "refunds.sql")
WHOLE_ONLY = "it is not paid yet, and can only be cancelled as a whole (leave the lines out)"


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
    shipping: bool = False,
    actor: str = "staff",
) -> RefundOutcome:
    """Refunds lines of a paid order with their share of discount and tax; no lines means all that is left. Never more than
    was sold and not yet given back. `shipping`: what was charged for it too. WrongState("placed") means that payment is
    still under way: try again later."""
    arguments = (
        uuid7(), order_id, key, fingerprint, [line.sku for line in lines], [line.quantity for line in lines],
        restock, reason, reference, shipping, actor,
    )  # fmt: skip
    return await _give_back(primary, "refund_order", *arguments)


async def cancel_pieces(
    primary: Primary,
    order_id: UUID,
    lines: Sequence[RefundLine],
    *,
    key: str,
    fingerprint: bytes,
    reason: str,
    actor: str = "staff",
) -> RefundOutcome:
    """Takes pieces of a paid order back that have not left the house: they go on the shelf again and are refunded. Of an
    unpaid order there is nothing to refund: WrongState, it can be cancelled as a whole."""
    arguments = (
        uuid7(), order_id, key, fingerprint, [line.sku for line in lines], [line.quantity for line in lines], reason, actor,
    )  # fmt: skip
    outcome = await _give_back(primary, "cancel_pieces", *arguments)
    if isinstance(outcome, WrongState):
        return WrongState(outcome.status, WHOLE_ONLY if outcome.status in RESERVING else "")
    return outcome


async def _give_back(primary: Primary, statement: str, *arguments: Any) -> RefundOutcome:
    async def work(connection: Connection) -> tuple[Any, Refunded | None]:
        row: Any = await connection.fetchrow(SQL[statement], *arguments)
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
    raise InvariantBroken(f"{statement} answered {row['code']}.")


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
    primary: Primary, order_id: UUID, *, key: str, fingerprint: bytes, reason: str, actor: str = "staff"
) -> CancelOutcome:
    """Takes an order back that is not paid yet and releases its stock. If its payment turns out to have gone through,
    it is given back by itself."""
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(SQL["cancel_order"], order_id, key, fingerprint, reason, actor)
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
                row["line_amount"],
            )
            for row in rows
            if row["sku"] is not None
        ),
        reason=first["reason"],
        reference=first["reference"],
        created_at=first["created_at"],
        shipping=first["shipping"],
        tax=first["tax"],
        replayed=answer["code"] == 1,
    )
