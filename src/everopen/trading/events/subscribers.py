"""Who wants to be told: added, looked at, removed; dead letters and replays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID

from msgspec import Struct

from everopen.base.ids import uuid7
from everopen.store import Primary
from everopen.store.primary import Connection
from everopen.trading.events import sign
from everopen.trading.events.facts import SQL, event_id
from everopen.trading.orders import KeyReused

T = TypeVar("T")


class NoSuchSubscriber(Struct, frozen=True):
    """There is none with this id."""


class Added(Struct, frozen=True):
    """A new subscriber, with the secret that nobody is told again (but whoever sends the same request again)."""

    subscriber: SubscriberView
    secret: str
    replayed: bool


class SubscriberView(Struct, frozen=True):
    """A subscriber as staff see it. `behind`: events that it has not been offered yet; `waiting`: failed ones that will be tried
    again; `dead`: failed for good, until a replay."""

    id: UUID
    url: str
    topics: tuple[str, ...]
    description: str
    status: Literal["active", "paused"]
    reason: str
    position: str
    behind: int
    waiting: int
    dead: int
    failures: int
    failing_since: datetime | None
    created_at: datetime


class DeliveryView(Struct, frozen=True):
    """An event that did not go through at once."""

    event: str
    topic: str
    subject: UUID
    status: Literal["waiting", "dead"]
    attempts: int
    next_at: datetime
    problem: str
    announced_at: datetime
    changed_at: datetime


class Replayed(Struct, frozen=True):
    """How many dead letters are sent again; None: the subscriber goes back to an event, everything since is sent again."""

    revived: int | None


async def _once(
    primary: Primary,
    kind: str,
    key: str,
    fingerprint: bytes,
    change: Callable[[Connection], Awaitable[tuple[UUID, T] | NoSuchSubscriber]],
    replay: Callable[[Connection, UUID], Awaitable[T | NoSuchSubscriber]],
) -> tuple[T | NoSuchSubscriber | KeyReused, bool]:
    """Runs a change once per key, in one transaction with its key; the second value says that it was carried out before."""

    async def work(connection: Connection) -> tuple[T | NoSuchSubscriber | KeyReused, bool]:
        async with connection.transaction():
            row: Any = await connection.fetchrow(SQL["known_key"], key, fingerprint, kind)
            if row["code"] == 2:
                return KeyReused(), False
            if row["code"] == 1:
                return await replay(connection, row["result_id"]), True
            outcome = await change(connection)
            if isinstance(outcome, NoSuchSubscriber):
                return outcome, False
            result_id, result = outcome
            await connection.execute(SQL["note_audit"], kind, key, result_id, "")
            await connection.execute(SQL["remember_key"], key, fingerprint, kind, result_id)
            return result, False

    return await primary.run(work)


async def add(
    primary: Primary,
    url: str,
    topics: Sequence[str],
    description: str,
    *,
    key: str,
    fingerprint: bytes,
) -> Added | KeyReused:
    """A new subscriber, which hears what is announced from now on."""

    async def change(connection: Connection) -> tuple[UUID, tuple[UUID, str]]:
        new_id, secret = uuid7(), sign.new_secret()
        await connection.execute(SQL["add_subscriber"], new_id, url, list(topics), description, secret)
        return new_id, (new_id, secret)

    async def known(connection: Connection, known_id: UUID) -> tuple[UUID, str] | NoSuchSubscriber:
        secret: str | None = await connection.fetchval(SQL["subscriber_secret"], known_id)
        return NoSuchSubscriber() if secret is None else (known_id, secret)

    outcome, replayed = await _once(primary, "subscriber", key, fingerprint, change, known)
    if isinstance(outcome, KeyReused):
        return outcome
    if isinstance(outcome, NoSuchSubscriber):
        return KeyReused()  # it was added under this key and removed since
    subscriber_id, secret = outcome
    view = await find(primary, subscriber_id)
    return KeyReused() if view is None else Added(view, secret, replayed)


async def find(primary: Primary, subscriber_id: UUID) -> SubscriberView | None:
    """One subscriber."""
    rows: Any = await primary.run(
        lambda connection: connection.fetch(SQL["find_subscribers"], subscriber_id, None, 1)
    )
    return _view(rows[0]) if rows else None


async def list_all(primary: Primary, *, after: UUID | None, limit: int) -> list[SubscriberView]:
    """Subscribers in the order in which they were added."""
    rows: Any = await primary.run(
        lambda connection: connection.fetch(SQL["find_subscribers"], None, after, limit)
    )
    return [_view(row) for row in rows]


async def remove(
    primary: Primary, subscriber_id: UUID, *, key: str, fingerprint: bytes
) -> NoSuchSubscriber | KeyReused | None:
    """It hears nothing more."""

    async def change(connection: Connection) -> tuple[UUID, None] | NoSuchSubscriber:
        gone = await connection.fetchval(SQL["remove_subscriber"], subscriber_id)
        return NoSuchSubscriber() if gone is None else (subscriber_id, None)

    async def known(_connection: Connection, _id: UUID) -> None:
        return None

    outcome, _ = await _once(primary, "unsubscribe", key, fingerprint, change, known)
    return outcome


async def resume(
    primary: Primary, subscriber_id: UUID, *, key: str, fingerprint: bytes
) -> SubscriberView | NoSuchSubscriber | KeyReused:
    """A paused one is served again, from where it stopped."""

    async def change(connection: Connection) -> tuple[UUID, None] | NoSuchSubscriber:
        found = await connection.fetchval(SQL["resume_subscriber"], subscriber_id)
        return NoSuchSubscriber() if found is None else (subscriber_id, None)

    async def known(_connection: Connection, _id: UUID) -> None:
        return None

    outcome, _ = await _once(primary, "resume subscriber", key, fingerprint, change, known)
    if isinstance(outcome, KeyReused | NoSuchSubscriber):
        return outcome
    return await find(primary, subscriber_id) or NoSuchSubscriber()


async def replay(
    primary: Primary, subscriber_id: UUID, after: int | None, *, key: str, fingerprint: bytes
) -> Replayed | NoSuchSubscriber | KeyReused:
    """Sends dead letters again, or, with the number of an event, everything that came after it."""

    async def change(connection: Connection) -> tuple[UUID, Replayed] | NoSuchSubscriber:
        if after is None:
            found = await connection.fetch(SQL["find_subscribers"], subscriber_id, None, 1)
            if not found:
                return NoSuchSubscriber()
            revived = await connection.fetch(SQL["revive_deliveries"], subscriber_id)
            return subscriber_id, Replayed(len(revived))
        if await connection.fetchval(SQL["rewind_subscriber"], subscriber_id, after) is None:
            return NoSuchSubscriber()
        await connection.execute(SQL["drop_rewound"], subscriber_id, after)
        return subscriber_id, Replayed(None)

    async def known(_connection: Connection, _id: UUID) -> Replayed:
        return Replayed(None if after is not None else 0)

    outcome, _ = await _once(primary, "replay", key, fingerprint, change, known)
    return outcome


async def deliveries(
    primary: Primary,
    subscriber_id: UUID,
    *,
    status: Literal["waiting", "dead"] | None,
    before: int | None,
    limit: int,
) -> list[DeliveryView]:
    """What waits for another attempt and what is dead, newest first."""
    rows: Any = await primary.run(
        lambda connection: connection.fetch(SQL["list_deliveries"], subscriber_id, status, before, limit)
    )
    return [
        DeliveryView(
            event_id(row["seq"]),
            row["topic"],
            row["subject"],
            row["status"],
            row["attempts"],
            row["next_at"],
            row["problem"],
            row["created_at"],
            row["changed_at"],
        )
        for row in rows
    ]


def _view(row: Any) -> SubscriberView:
    return SubscriberView(
        row["id"],
        row["url"],
        tuple(row["topics"]),
        row["description"],
        row["status"],
        row["reason"],
        event_id(row["position"]),
        row["behind"],
        row["waiting"],
        row["dead"],
        row["failures"],
        row["failing_since"],
        row["created_at"],
    )
