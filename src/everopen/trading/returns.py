"""Returns: asked for, received, inspected, refunded.

Money goes back for what was looked at, and only good pieces go on the shelf again; damaged ones are accepted and refunded,
rejected ones are neither. Until inspection a return holds nothing, so one that nobody ends does no harm."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Literal
from uuid import UUID

import msgspec

from everopen.base.errors import InvariantBroken
from everopen.base.ids import uuid7
from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import KeyReused, NotFound, RefundLine, UnknownSku, WrongState
from everopen.trading.settings import TradingSettings
from everopen.trading.states import ReturnStatus

SQL = load_statements("everopen.trading", "returns.sql")
ReturnEvent = Literal["receive", "withdraw", "refuse"]


class ReturnLine(msgspec.Struct, frozen=True):
    """So many pieces of a line; None: not inspected yet."""

    sku: str
    title: str
    quantity: int
    good: int | None
    damaged: int | None
    rejected: int | None


class Return(msgspec.Struct, frozen=True, kw_only=True):
    """A return as it is now. `rma` is what the customer writes on the parcel."""

    id: UUID
    rma: int
    order_id: UUID
    status: ReturnStatus
    reason: str
    note: str
    requested_at: datetime
    received_at: datetime | None
    closed_at: datetime | None
    refund_id: UUID | None
    lines: tuple[ReturnLine, ...]
    replayed: bool = False


class Inspected(msgspec.Struct, frozen=True):
    """What was found of a SKU in the parcel; pieces that nobody names are rejected."""

    sku: str
    good: int
    damaged: int


class NoReturn(msgspec.Struct, frozen=True):
    """The order has no such return."""


class NotWithCustomer(msgspec.Struct, frozen=True):
    """More would come back than was sent, is not given back, and is in no other return."""

    sku: str
    available: int
    requested: int


class TooLate(msgspec.Struct, frozen=True):
    """The time for returns is over."""

    days: float


ReturnOutcome = Return | NotFound | NoReturn | WrongState | NotWithCustomer | UnknownSku | TooLate | KeyReused


async def request_return(
    primary: Primary,
    settings: TradingSettings,
    order_id: UUID,
    lines: Sequence[RefundLine],
    *,
    key: str,
    fingerprint: bytes,
    reason: str,
    actor: str = "customer",
) -> ReturnOutcome:
    """The customer wants to send pieces back; no lines means all that they have."""
    arguments = (
        uuid7(), order_id, key, fingerprint, [line.sku for line in lines], [line.quantity for line in lines], reason, actor,
        settings.return_days * 86_400, settings.returns_unsent,
    )  # fmt: skip
    outcome = await _ask(primary, "request_return", *arguments)
    return TooLate(settings.return_days) if isinstance(outcome, TooLate) else outcome


async def move_return(
    primary: Primary,
    order_id: UUID,
    rma: int,
    event: ReturnEvent,
    *,
    key: str,
    fingerprint: bytes,
    why: str = "",
    actor: str = "staff",
) -> ReturnOutcome:
    """The parcel came, the customer changed their mind, or staff say no."""
    return await _ask(primary, "move_return", order_id, rma, key, fingerprint, event, actor, why)


async def inspect_return(
    primary: Primary,
    order_id: UUID,
    rma: int,
    found: Sequence[Inspected],
    *,
    key: str,
    fingerprint: bytes,
    shipping: bool = False,
    why: str = "",
    actor: str = "staff",
) -> ReturnOutcome:
    """The pieces were looked at: what is good or damaged is refunded (with `shipping`, what was charged for that too), what
    is good goes on the shelf."""
    arguments = (
        order_id, rma, key, fingerprint, uuid7(), [item.sku for item in found], [item.good for item in found],
        [item.damaged for item in found], shipping, actor, why,
    )  # fmt: skip
    return await _ask(primary, "inspect_return", *arguments)


async def returns_of(primary: Primary, order_id: UUID) -> list[Return]:
    """The returns of an order, the first one first."""

    async def work(connection: Connection) -> list[Return]:
        ids = [row["id"] for row in await connection.fetch(SQL["returns_of_order"], order_id)]
        return await _facts(connection, ids)

    return await primary.run(work)


async def search_returns(
    primary: Primary, *, status: str | None, rma: int | None, before: int | None, limit: int
) -> list[Return]:
    """Returns for staff, the newest first."""

    async def work(connection: Connection) -> list[Return]:
        rows = await connection.fetch(SQL["search_returns"], status, rma, before, limit)
        found = await _facts(connection, [row["id"] for row in rows])
        return found[::-1]

    return await primary.run(work)


async def _ask(primary: Primary, statement: str, *arguments: Any) -> ReturnOutcome:
    async def work(connection: Connection) -> tuple[Any, list[Return]]:
        row: Any = await connection.fetchrow(SQL[statement], *arguments)
        return row, await _facts(connection, [row["result_id"]]) if row["code"] < 2 else []

    row, found = await primary.run(work)
    match row["code"]:
        case 0 | 1:
            return msgspec.structs.replace(found[0], replayed=row["code"] == 1)
        case 2:
            return KeyReused()
        case 4:
            return UnknownSku((row["detail"],))
        case 9:
            return NotFound() if statement == "request_return" else NoReturn()
        case 10:
            return WrongState(row["detail"])
        case 11:
            return NotWithCustomer(row["detail"], row["available"], row["requested"])
        case 12:
            return TooLate(0.0)
    raise InvariantBroken(f"{statement} answered {row['code']}.")


async def _facts(connection: Connection, ids: Sequence[UUID]) -> list[Return]:
    rows: Any = await connection.fetch(SQL["return_facts"], ids)
    found = []
    for _, group in groupby(rows, key=lambda row: row["rma"]):
        lines = list(group)
        first = lines[0]
        found.append(
            Return(
                **{name: first[name] for name in _PLAIN},
                lines=tuple(
                    ReturnLine(*(row[name] for name in ReturnLine.__struct_fields__)) for row in lines
                ),
            )
        )
    return found


_PLAIN = tuple(name for name in Return.__struct_fields__ if name not in ("lines", "replayed"))
