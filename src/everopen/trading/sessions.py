"""Sessions: a random token in a cookie, its hash in the store, so any worker serves any visitor and a copy of the
database opens nobody's session."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import UUID

from everopen.base.ids import uuid7
from everopen.store import Primary, load_statements
from everopen.store.primary import Connection

SQL = load_statements("everopen.trading", "carts.sql")


def hashed(token: str) -> bytes:
    """What the store keeps of a token. Plain SHA-256: the token itself has 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


async def open_session(primary: Primary, token: str, *, days: float) -> UUID:
    """Creates a session with an empty cart and returns the cart's id. Safe to run again with the same token."""
    cart_id = uuid7()

    async def work(connection: Connection) -> UUID:
        async with connection.transaction():
            await connection.execute(SQL["open_cart"], cart_id)
            await connection.execute(SQL["open_session"], hashed(token), cart_id, timedelta(days=days))
            found: UUID = await connection.fetchval(SQL["find_session"], hashed(token))
            return found

    return await primary.run(work)


async def find_cart_id(primary: Primary, token: str) -> UUID | None:
    """The cart of a session; None when the session is unknown or has expired."""

    async def work(connection: Connection) -> UUID | None:
        row = await connection.fetchrow(SQL["find_session"], hashed(token))
        if row is None:
            return None
        if row["stale"]:
            await connection.execute(SQL["touch_session"], hashed(token))
        found: UUID = row["cart_id"]
        return found

    return await primary.run(work)
