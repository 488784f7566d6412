"""From numbered rows to events as the outside sees them: reads them, looks up their facts, encodes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct

from everopen.base.money import Money
from everopen.store import load_statements
from everopen.store.primary import Connection
from everopen.trading.events.catalogue import Kind, LineFacts, OrderData, PaymentData, RefundData, topic_of

SQL = load_statements("everopen.trading", "events.sql")
_ID = re.compile(r"(?:evt_)?(\d{1,18})").fullmatch
_encode = msgspec.json.Encoder().encode


class Event(Struct, frozen=True):
    """What the outside gets."""

    id: str
    topic: str
    subject: UUID
    created_at: datetime
    data: dict[str, Any]


class Row(NamedTuple):
    """An event in the store."""

    seq: int
    topic: str
    subject: UUID
    stream: UUID
    payload: str | None
    created_at: datetime


class Encoded(NamedTuple):
    """An event that is ready to leave."""

    seq: int
    topic: str
    stream: UUID
    body: bytes


def event_id(seq: int) -> str:
    """The event's name outside."""
    return f"evt_{seq}"


def parse_id(text: str) -> int | None:
    """The number in an event's name (or the bare number); None for what is none."""
    found = _ID(text.strip())
    return None if found is None else int(found[1])


async def bounds(connection: Connection) -> tuple[int, int]:
    """The newest number that is forgotten, and the newest that is given out. Whatever is read after this shows each event
    up to the second one."""
    row: Any = await connection.fetchrow(SQL["bounds"])
    return row["purged_seq"], row["last_seq"]


async def read_after(
    connection: Connection, after: int, upto: int, topics: Sequence[str], limit: int
) -> list[Row]:
    """Events after a number, oldest first."""
    return [Row(*row) for row in await connection.fetch(SQL["read_events"], after, upto, list(topics), limit)]


async def read_stream(
    connection: Connection, stream: UUID, topics: Sequence[str], after: int, upto: int, limit: int
) -> list[Row]:
    """Events of one order after a number, oldest first."""
    rows = await connection.fetch(SQL["read_stream"], stream, after, upto, list(topics), limit)
    return [Row(*row) for row in rows]


async def read_some(connection: Connection, seqs: Iterable[int]) -> list[Row]:
    """Events by number; those that are forgotten are missing."""
    return [Row(*row) for row in await connection.fetch(SQL["read_some"], list(seqs))]


async def encode(connection: Connection, rows: Sequence[Row]) -> list[Encoded]:
    """The events with their facts as of now: one query per kind of subject, however many events."""
    wanted: dict[Kind, set[UUID]] = {"order": set(), "refund": set(), "payment": set()}
    for row in rows:
        kind = topic_of(row.topic).kind
        if kind != "other":
            wanted[kind].add(row.subject)
    facts: dict[tuple[Kind, UUID], Struct] = {}
    for kind, ids in wanted.items():
        if ids:
            for found in await connection.fetch(SQL[f"{kind}_facts"], list(ids)):
                facts[kind, found["id"]] = _FACTS[kind](found)
    return [_encoded(row, facts.get((topic_of(row.topic).kind, row.subject))) for row in rows]


def _encoded(row: Row, known: Struct | None) -> Encoded:
    data: dict[str, Any] = {} if known is None else msgspec.structs.asdict(known)
    if row.payload is not None:
        snapshot = msgspec.json.decode(row.payload)
        data |= snapshot if isinstance(snapshot, dict) else {"value": snapshot}
    event = Event(event_id(row.seq), row.topic, row.subject, row.created_at.astimezone(UTC), data)
    return Encoded(row.seq, row.topic, row.stream, _encode(event))


def _lines(row: Any) -> list[LineFacts]:
    columns = (row["skus"] or (), row["titles"] or (), row["quantities"] or (), row["prices"] or ())
    return [
        LineFacts(sku, title, quantity, Money(price, row["currency"]))
        for sku, title, quantity, price in zip(*columns, strict=True)
    ]


def _order(row: Any) -> OrderData:
    return OrderData(
        row["id"],
        row["status"],
        Money(row["total"], row["currency"]),
        _lines(row),
        row["email"],
        row["placed_at"].astimezone(UTC),
        row["reference"],
    )


def _refund(row: Any) -> RefundData:
    return RefundData(
        row["id"],
        row["order_id"],
        Money(row["amount"], row["currency"]),
        row["status"],
        row["reason"],
        _lines(row),
    )


def _payment(row: Any) -> PaymentData:
    return PaymentData(
        row["id"],
        row["order_id"],
        row["kind"],
        row["status"],
        Money(row["amount"], row["currency"]),
        row["provider"],
    )


_FACTS: dict[Kind, Any] = {"order": _order, "refund": _refund, "payment": _payment}
