"""Sessions in PostgreSQL: nothing more to run, and they fail over with everything else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from everopen.base.errors import StoreUnavailable
from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.batches import Batch
from everopen.trading.sessions.store import Session, digest

SQL = load_statements("everopen.trading", "sessions.sql")


class PostgresSessions:
    """Rows of the table `sessions`; expired ones are deleted by housekeeping."""

    beside_carts = True

    def __init__(self, primary: Primary, *, days: float) -> None:
        self._primary = primary
        self._life = timedelta(days=days)
        self._reads: Batch[bytes, tuple[Session, bool] | None] = Batch(primary, "sessions", _find)

    async def open(self, token: str, cart_id: UUID, customer_id: UUID | None = None) -> Session:
        """See `SessionStore`."""
        key = digest(token)

        async def work(connection: Connection) -> Session:
            async with connection.transaction():
                await connection.execute(SQL["open_cart"], cart_id)
                await connection.execute(SQL["open_session"], key, cart_id, customer_id, self._life)
                found = (await _find(connection, [key]))[0]
                if found is None:
                    raise StoreUnavailable("The token of the new session is one that has expired.")
                return found[0]

        return await self._primary.run(work)

    async def find(self, token: str) -> Session | None:
        """See `SessionStore`."""
        key = digest(token)
        found = await self._reads.ask(key)
        if found is None:
            return None
        session, stale = found
        if stale:
            await self._primary.run(
                lambda connection: connection.execute(SQL["touch_session"], key, self._life)
            )
        return session

    async def close(self, token: str) -> None:
        """See `SessionStore`."""
        await self._primary.run(lambda connection: connection.execute(SQL["close_session"], digest(token)))

    async def close_all(self, customer_id: UUID, *, but: str | None = None) -> int:
        """See `SessionStore`."""
        kept = None if but is None else digest(but)
        gone = await self._primary.run(lambda c: c.fetch(SQL["close_sessions_of"], customer_id, kept))
        return len(gone)

    async def stop(self) -> None:
        """See `SessionStore`."""
        await self._reads.close()


async def _find(connection: Connection, keys: Sequence[bytes]) -> list[tuple[Session, bool] | None]:
    rows: Any = await connection.fetch(SQL["find_sessions"], list(dict.fromkeys(keys)))
    found = {
        row["token_hash"]: (Session(row["cart_id"], row["customer_id"], row["created_at"]), row["stale"])
        for row in rows
    }
    return [found.get(key) for key in keys]
