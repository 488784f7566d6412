"""How staff change the rules: one after the other, each under a new version.

Every change is one transaction that holds the lock of the one row of `pricing_rules`; it moves the version on, writes the
audit log and keeps its idempotency key. Orders never take that lock: they are told the version by whoever priced them, and
are refused as stale when it has moved on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from everopen.store import Primary
from everopen.store.primary import Connection
from everopen.trading.orders import KeyReused
from everopen.trading.pricing.rules import SQL

R = TypeVar("R")


class Key(NamedTuple):
    """A request's idempotency key, with the fingerprint of what it asks for."""

    text: str
    fingerprint: bytes


class Changed(msgspec.Struct, frozen=True):
    """The change was made: what it was about (promotion or tax rate), how many were added and replaced (coupons)."""

    id: UUID | None = None
    added: int = 0
    updated: int = 0
    replayed: bool = False


class Missing(msgspec.Struct, frozen=True):
    """There is nothing of this name to change."""


class Done(NamedTuple):
    """A change that can be committed, with what the audit log says of it."""

    detail: str
    id: UUID | None = None
    counts: tuple[int, int] = (0, 0)


async def change(
    primary: Primary, kind: str, key: Key, work: Callable[[Connection, int], Awaitable[Done | R]]
) -> Changed | KeyReused | R:
    """Runs a change under the rules' lock with their next version. What isn't done changes nothing."""

    async def attempt(connection: Connection) -> Changed | KeyReused | R:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.fetchval(SQL["lock_rules"])
            known: Any = await connection.fetchrow(SQL["known_pricing_key"], key.text, key.fingerprint, kind)
            if known["code"] == 2:
                await transaction.rollback()
                return KeyReused()
            if known["code"] == 1:
                await (
                    transaction.commit()
                )  # not a rollback: the commit waits until the standby has the first one
                added, updated = known["result"]
                return Changed(known["result_id"], added, updated, replayed=True)
            outcome = await work(connection, await connection.fetchval(SQL["next_version"]))
            if not isinstance(outcome, Done):
                await transaction.rollback()
                return outcome
            await connection.execute(
                SQL["note_change"],
                key.text,
                key.fingerprint,
                kind,
                outcome.id,
                outcome.detail,
                [*outcome.counts],
            )
            await transaction.commit()
            return Changed(outcome.id, *outcome.counts)
        except BaseException:
            if not connection.is_closed() and connection.is_in_transaction():
                await transaction.rollback()
            raise

    return await primary.run(attempt)
