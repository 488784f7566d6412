"""Goods on the shelf: receipts, corrections, transfers, thresholds, and what is where. (Sales and reservations are part of
orders and payments; goods leave a location when they are picked for a shipment: `pick_stock` in the database.)"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import (
    KeyReused,
    NotFound,
    NotTracked,
    SoldOut,
    StockChanged,
    StockItem,
    UnknownSku,
)
from everopen.trading.range import Put

if TYPE_CHECKING:
    from everopen.trading.jobs.job import JobContext

SQL = load_statements("everopen.trading", "stock.sql")


class UnknownLocation(msgspec.Struct, frozen=True):
    """There is no such location."""

    id: str


class NotThere(msgspec.Struct, frozen=True):
    """A location does not hold so many pieces; nothing was moved."""

    sku: str
    location: str
    held: int
    requested: int


StockOutcome = StockChanged | UnknownSku | NotTracked | SoldOut | KeyReused | UnknownLocation | NotThere


class Location(msgspec.Struct, frozen=True):
    """A place where goods lie. Goods are picked where `priority` is lowest. `on_hand`: pieces of all SKUs."""

    id: str
    name: str
    priority: int = 0
    on_hand: int = 0


class Held(msgspec.Struct, frozen=True):
    """So many pieces at a location; `location` None: at none of them (sold and not picked yet: less than nothing; or not
    put away yet)."""

    location: str | None
    on_hand: int


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """One change of what is on hand."""

    id: int
    moved_at: datetime
    delta: int
    kind: str
    key: str | None
    reason: str
    location: str | None
    actor: str | None


class StockView(msgspec.Struct, frozen=True, kw_only=True):
    """A SKU's goods: the sellable total, and where they lie. The total is the sum of `places`. At a past time nothing is said
    about reservations, which are not kept."""

    sku: str
    on_hand: int
    reserved: int | None
    available: int | None
    """How many can be ordered: on hand less reserved, with what is on back-order."""
    backorder: int
    low_at: int | None
    low_since: datetime | None
    places: list[Held]


async def receive_stock(
    primary: Primary,
    items: Sequence[StockItem],
    *,
    key: str,
    fingerprint: bytes,
    reason: str,
    locations: Sequence[str | None] | None = None,
) -> StockOutcome:
    """Goods came in: quantities are positive. `locations` has one element per item; None: not put away yet."""
    return await _move(primary, "receipt", items, locations, key, fingerprint, reason)


async def correct_stock(
    primary: Primary,
    items: Sequence[StockItem],
    *,
    key: str,
    fingerprint: bytes,
    reason: str,
    locations: Sequence[str | None] | None = None,
) -> StockOutcome:
    """The shelf was counted: quantities are differences of either sign. Never below what is reserved for customers;
    that is SoldOut, and nothing of the batch is booked."""
    return await _move(primary, "correction", items, locations, key, fingerprint, reason)


async def _move(
    primary: Primary,
    kind: str,
    items: Sequence[StockItem],
    locations: Sequence[str | None] | None,
    key: str,
    fingerprint: bytes,
    reason: str,
) -> StockOutcome:
    skus, deltas = [item.sku for item in items], [item.quantity for item in items]
    places = list(locations) if locations is not None else [None] * len(skus)
    row = await primary.run(
        lambda connection: connection.fetchrow(
            SQL["move_stock"], kind, key, fingerprint, skus, deltas, places, reason
        )
    )
    return _outcome(row)


async def transfer_stock(
    primary: Primary,
    items: Sequence[StockItem],
    *,
    source: str | None,
    target: str | None,
    key: str,
    fingerprint: bytes,
    reason: str,
) -> StockOutcome:
    """Goods go from one location to another, all or nothing; None is "at no location" (to put goods away, name only the
    target). What can be sold stays the same."""
    skus, quantities = [item.sku for item in items], [item.quantity for item in items]
    row = await primary.run(
        lambda connection: connection.fetchrow(
            SQL["transfer_stock"], key, fingerprint, skus, quantities, source, target, reason
        )
    )
    return _outcome(row)


def _outcome(row: Any) -> StockOutcome:
    match row["code"]:
        case 0 | 1:
            return StockChanged(row["items"], replayed=row["code"] == 1)
        case 2:
            return KeyReused()
        case 3:
            return SoldOut(row["detail"], row["available"], row["requested"])
        case 4:
            return UnknownSku(tuple(row["detail"].split("\n")))
        case 18:
            return UnknownLocation(row["detail"])
        case 19:
            location, _, sku = row["detail"].partition("\n")
            return NotThere(sku, location, row["available"], row["requested"])
        case _:
            return NotTracked(tuple(row["detail"].split("\n")))


async def set_stock(
    primary: Primary, sku: str, *, backorder: int | None, low_at: int | None, key: str, fingerprint: bytes
) -> Put | KeyReused | NotFound | NotTracked | SoldOut:
    """Sets how many pieces more than there are may be sold, and at how many left the SKU counts as low (-1: never). None leaves
    it as it is. SoldOut: customers already count on more back-orders than that."""
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(SQL["set_stock"], key, fingerprint, sku, backorder, low_at)
    )
    match row["code"]:
        case 0 | 1:
            return Put(1, replayed=row["code"] == 1)
        case 3:
            return SoldOut(sku, row["available"], row["requested"])
        case 9:
            return NotFound()
        case 12:
            return NotTracked((sku,))
        case _:
            return KeyReused()


async def put_locations(
    primary: Primary, items: Sequence[Location], *, key: str, fingerprint: bytes
) -> Put | KeyReused:
    """Adds or changes locations."""
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(
            SQL["put_locations"],
            key,
            fingerprint,
            [item.id for item in items],
            [item.name for item in items],
            [item.priority for item in items],
        )
    )
    return Put(row["items"], replayed=row["code"] == 1) if row["code"] in (0, 1) else KeyReused()


async def list_locations(primary: Primary) -> list[Location]:
    """All locations in the order of picking."""
    rows = await primary.run(lambda connection: connection.fetch(SQL["list_locations"]))
    return [Location(row["id"], row["name"], row["priority"], row["on_hand"]) for row in rows]


async def find_stock(primary: Primary, sku: str, at: datetime | None = None) -> StockView | NotTracked | None:
    """A SKU's goods as they are, or as they were at a time. None: unknown SKU."""

    async def look(connection: Connection) -> StockView | NotTracked | None:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            row: Any = await connection.fetchrow(SQL["find_stock"], sku)
            if row is None:
                return None
            if not row["tracks_stock"]:
                return NotTracked((sku,))
            held = {
                found["location_id"]: found["on_hand"]
                for found in await connection.fetch(SQL["find_stock_at"], row["id"])
            }
            total = row["on_hand"]
            held[None] = total - sum(held.values())
            if at is None:
                reserved = row["reserved"]
            else:
                reserved = None
                for moved in await connection.fetch(SQL["moved_since"], row["id"], at):
                    total -= moved["delta"]
                    held[moved["location_id"]] = held.get(moved["location_id"], 0) - moved["delta"]
        places = [
            Held(location, number) for location, number in held.items() if number or location is not None
        ]
        return StockView(
            sku=sku,
            on_hand=total,
            reserved=reserved,
            available=None if reserved is None else total + row["backorder"] - reserved,
            backorder=row["backorder"],
            low_at=row["low_at"],
            low_since=row["low_since"],
            places=places,
        )

    return await primary.run(look)


async def find_movements(
    primary: Primary, sku_id_of: str, *, limit: int, before: tuple[datetime, int] | None = None
) -> list[Movement]:
    """A page of a SKU's movements, the newest first; `before`: time and id of the last one shown."""

    async def look(connection: Connection) -> list[Any]:
        row: Any = await connection.fetchrow(SQL["find_stock"], sku_id_of)
        if row is None:
            return []
        at, number = before if before is not None else (None, None)
        return list(await connection.fetch(SQL["find_movements"], row["id"], at, number, limit))

    return [
        Movement(
            id=row["id"],
            moved_at=row["moved_at"],
            delta=row["delta"],
            kind=row["kind"],
            key=row["key"],
            reason=row["reason"],
            location=row["location_id"],
            actor=row["actor"],
        )
        for row in await primary.run(look)
    ]


async def announce_low_stock(primary: Primary) -> str:
    """Announces `stock.low` for each SKU that has come down to its threshold, once per crossing. A job's round; says what it
    did. The threshold lies beside the stock row, so this locks nothing that orders wait for."""

    async def look(connection: Connection) -> tuple[int, int]:
        async with connection.transaction():
            above = await connection.fetch(SQL["end_low"])
            low = await connection.fetch(SQL["announce_low"])
        return len(low), len(above)

    low, above = await primary.run(look)
    return f"Announced {low} SKUs as low; {above} are above their threshold again."


async def announce(context: JobContext) -> str:
    """The job of it."""
    return await announce_low_stock(context.primary)
