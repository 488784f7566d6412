"""What is sent, and what has arrived.

A shipment takes pieces that were paid for, are not given back and not sent yet; the order's row is held while they are
counted, so two packers at once send each piece once. An order is shipped when nothing of it is left in the house, and
completed when staff say so or enough days have gone by (carriers that report arrivals call the same function)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from itertools import groupby
from typing import Any
from uuid import UUID

import msgspec

from everopen.base.errors import InvariantBroken
from everopen.store import Primary, load_statements
from everopen.trading.orders import KeyReused, NotFound, RefundLine, UnknownSku, WrongState
from everopen.trading.payments import staff
from everopen.trading.settings import TradingSettings
from everopen.trading.stock import NotThere, UnknownLocation

SQL = load_statements("everopen.trading", "shipments.sql")
BATCH = 200
CAPTURE_S_MAX = 3.0
"""So long a parcel waits for its money."""


class ShippedLine(msgspec.Struct, frozen=True):
    """So many of a SKU in a parcel."""

    sku: str
    title: str
    quantity: int


class Shipment(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel of an order. `status` is the order's, as it is now."""

    order_id: UUID
    number: int
    carrier: str
    tracking: str
    shipped_at: datetime
    delivered_at: datetime | None
    lines: tuple[ShippedLine, ...]
    status: str = ""
    replayed: bool = False


class TooMany(msgspec.Struct, frozen=True):
    """More would be sent than was sold, not given back and not sent yet."""

    sku: str
    available: int
    requested: int


class Completed(msgspec.Struct, frozen=True):
    """The order has arrived."""

    order_id: UUID
    replayed: bool = False


ShipOutcome = Shipment | NotFound | WrongState | TooMany | UnknownSku | KeyReused | UnknownLocation | NotThere
CompleteOutcome = Completed | NotFound | WrongState | KeyReused


async def ship(
    primary: Primary,
    order_id: UUID,
    lines: Sequence[RefundLine],
    *,
    carrier: str,
    tracking: str,
    key: str,
    fingerprint: bytes,
    location: str | None = None,
    actor: str = "staff",
) -> ShipOutcome:
    """Sends pieces of a paid order; no lines means all that are left. They are picked at `location`, or where the priority of
    locations says. Of an authorised one the money is captured first; when
    the provider takes longer than a moment, WrongState says so, and the same call sends the parcel later."""
    arguments = (
        order_id, key, fingerprint, [line.sku for line in lines], [line.quantity for line in lines], carrier, tracking, actor,
        location,
    )  # fmt: skip
    outcome = await _ship(primary, order_id, *arguments)
    if outcome != WrongState("authorised"):
        return outcome
    await staff.capture(
        primary,
        order_id,
        None,
        final=True,
        key=f"ship-{blake2b(f'{order_id} {key}'.encode(), digest_size=16).hexdigest()}",
        fingerprint=fingerprint,
        reason="shipped",
    )
    deadline = primary.clock.monotonic_s() + CAPTURE_S_MAX
    while primary.clock.monotonic_s() < deadline:
        await asyncio.sleep(0.05)
        outcome = await _ship(primary, order_id, *arguments)
        if outcome != WrongState("authorised"):
            return outcome
    return WrongState("authorised", "its money was asked for just now; send it once it is paid")


async def _ship(primary: Primary, order_id: UUID, *arguments: Any) -> ShipOutcome:
    row: Any = await primary.run(lambda connection: connection.fetchrow(SQL["ship_order"], *arguments))
    match row["code"]:
        case 0 | 1:
            found = next(
                shipment
                for shipment in await shipments_of(primary, order_id)
                if shipment.number == row["shipment"]
            )
            return msgspec.structs.replace(found, replayed=row["code"] == 1)
        case 2:
            return KeyReused()
        case 4:
            return UnknownSku((row["detail"],))
        case 9:
            return NotFound()
        case 10:
            return WrongState(row["detail"])
        case 11:
            return TooMany(row["detail"], row["available"], row["requested"])
        case 18:
            return UnknownLocation(str(arguments[-1]))
        case 19:
            return NotThere(row["detail"], str(arguments[-1]), row["available"], row["requested"])
    raise InvariantBroken(f"ship_order answered {row['code']}.")


async def complete(
    primary: Primary, order_id: UUID, *, key: str, fingerprint: bytes, why: str, actor: str = "staff"
) -> CompleteOutcome:
    """All of a shipped order has arrived."""
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(SQL["complete_order"], order_id, key, fingerprint, actor, why)
    )
    match row["code"]:
        case 0 | 1:
            return Completed(order_id, replayed=row["code"] == 1)
        case 2:
            return KeyReused()
        case 9:
            return NotFound()
        case _:
            return WrongState(row["detail"])


async def shipments_of(primary: Primary, order_id: UUID) -> list[Shipment]:
    """The parcels of an order, the first one first."""

    async def work(connection: Any) -> tuple[Any, Any]:
        rows = await connection.fetch(SQL["shipments"], order_id)
        return rows, await connection.fetchval(SQL["order_status"], order_id)

    rows, status = await primary.run(work)
    found = []
    for number, group in groupby(rows, key=lambda row: row["number"]):
        lines = list(group)
        found.append(
            Shipment(
                order_id=order_id,
                number=number,
                carrier=lines[0]["carrier"],
                tracking=lines[0]["tracking"],
                shipped_at=lines[0]["shipped_at"],
                delivered_at=lines[0]["delivered_at"],
                lines=tuple(ShippedLine(row["sku"], row["title"], row["quantity"]) for row in lines),
                status=status,
            )
        )
    return found


async def complete_shipped(primary: Primary, settings: TradingSettings) -> str:
    """A round of what time does: parcels that were on their way for long enough have arrived. Says what was done."""
    completed = 0
    while True:
        row: Any = await primary.run(
            lambda connection: connection.fetchrow(
                SQL["complete_due"], settings.complete_after_days * 86_400, BATCH
            )
        )
        completed += row["completed"]
        if row["looked_at"] == 0:
            return f"Completed {completed} orders that were on their way for {settings.complete_after_days:g} days."
