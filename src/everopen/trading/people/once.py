"""Once per idempotency key: the two statements around every write here (see `known_key`).

What a request means goes into its fingerprint, and a password never does: a fast digest of it beside the slow one would undo
the slow one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from everopen.store import load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import KeyReused

SQL = load_statements("everopen.trading", "people.sql")


class Once:
    """The key of one request."""

    __slots__ = ("fingerprint", "key", "kind")

    def __init__(self, kind: str, key: str, fingerprint: bytes) -> None:
        self.kind = kind
        self.key = key
        self.fingerprint = fingerprint

    async def known(self, connection: Connection) -> UUID | KeyReused | None:
        """What the first request with this key made; None when this is the first. In the caller's transaction, which has to
        commit: a replay waits for the standby that way."""
        row: Any = await connection.fetchrow(SQL["known_key"], self.key, self.fingerprint, self.kind)
        if row["code"] == 0:
            return None
        found: UUID = row["result_id"]
        return found if row["code"] == 1 else KeyReused()

    async def known_alone(self, connection: Connection) -> UUID | KeyReused | None:
        """`known` in a transaction of its own."""
        async with connection.transaction():
            return await self.known(connection)

    async def keep(self, connection: Connection, result_id: UUID) -> None:
        """Notes the key, last in the transaction."""
        await connection.execute(SQL["keep_key"], self.key, self.fingerprint, self.kind, result_id)


async def announce(connection: Connection, topic: str, subject: UUID, payload: dict[str, Any]) -> None:
    """An event for whoever listens: the operator's mailer, for example."""
    await connection.execute(SQL["announce"], topic, subject, payload_of(payload))


async def note(
    connection: Connection,
    action: str,
    key: str,
    subject: UUID | None,
    detail: str,
    *,
    actor: str | None = None,
) -> None:
    """A row of the audit log; None: whoever acts on this connection. Its lock is held to the end of the transaction, so it
    comes late in it."""
    await connection.execute(SQL["note"], actor, action, key, subject, detail)


def payload_of(payload: dict[str, Any]) -> str:
    """The payload of an event as PostgreSQL's jsonb takes it."""
    return msgspec.json.encode(payload).decode()
