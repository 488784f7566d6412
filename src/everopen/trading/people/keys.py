"""API keys, for programs: a name, scopes, an end, and a token that is shown once and kept as a digest.

A key never does more than its maker may do at that moment, and ends with its maker's account; one that was made with the
operator key belongs to the shop and ends by itself or by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from everopen.base.ids import secret_token, uuid7
from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import KeyReused
from everopen.trading.people.once import Once, note
from everopen.trading.people.outcomes import ApiKey, Bearer, Forbidden, KeyMade, Missing
from everopen.trading.people.roles import SCOPES, scopes_of
from everopen.trading.sessions import digest

SQL = load_statements("everopen.trading", "staff.sql")
KEY = "eok_"
"""How a key's token begins."""


def key_of_row(row: Any) -> ApiKey:
    """A key of a row."""
    return ApiKey(
        id=row["id"],
        name=row["name"],
        scopes=tuple(row["scopes"]),
        made_by=row["made_by"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )


class Keys:
    """All API keys."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary

    async def all(self) -> list[ApiKey]:
        """All of them, newest first."""
        rows = await self._primary.run(lambda c: c.fetch(SQL["list_api_keys"]))
        return [key_of_row(row) for row in rows]

    async def add(
        self, name: str, scopes: tuple[str, ...], days: float | None, *, by: Bearer, once: Once
    ) -> KeyMade | Forbidden | KeyReused:
        """Makes a key. A repeat, whose first answer was lost, gives it another token, as long as none was used."""
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown:
            return Forbidden(f"There is no scope “{unknown[0]}”; there are {', '.join(SCOPES)}.")
        beyond = frozenset(scopes) - by.scopes
        if beyond:
            return Forbidden(f"You can't give what you don't have: {', '.join(sorted(beyond))}.")
        token, key_id = KEY + secret_token(), uuid7()
        life = None if days is None else timedelta(days=days)

        async def work(connection: Connection) -> KeyMade | KeyReused:
            async with connection.transaction():
                known = await once.known(connection)
                if isinstance(known, KeyReused):
                    return known
                if known is not None:
                    row = await connection.fetchrow(SQL["renew_api_key"], known, digest(token))
                    if row is None:
                        return KeyMade(
                            key_of_row(await connection.fetchrow(SQL["find_key_by_id"], known)), ""
                        )
                    return KeyMade(key_of_row(row), token)
                row = await connection.fetchrow(
                    SQL["add_api_key"],
                    key_id,
                    name,
                    digest(token),
                    sorted(set(scopes)),
                    by.account,
                    by.actor,
                    life,
                )
                await note(
                    connection, "key-added", once.key, key_id, f"{name}: {', '.join(sorted(set(scopes)))}"
                )
                await once.keep(connection, key_id)
                return KeyMade(key_of_row(row), token)

        return await self._primary.run(work)

    async def revoke(self, key_id: UUID, *, key: str) -> ApiKey | Missing:
        """Ends a key; one that has ended already stays as it is."""

        async def work(connection: Connection) -> ApiKey | Missing:
            async with connection.transaction():
                row: Any = await connection.fetchrow(SQL["revoke_api_key"], key_id)
                if row is not None:
                    await note(connection, "key-revoked", key, key_id, row["name"])
                else:
                    row = await connection.fetchrow(SQL["find_key_by_id"], key_id)
                return Missing("API key") if row is None else key_of_row(row)

        return await self._primary.run(work)

    async def identify(self, token: str) -> Bearer | None:
        """Who a key's token stands for."""
        row: Any = await self._primary.run(lambda c: c.fetchrow(SQL["find_api_key"], digest(token)))
        if row is None:
            return None
        if row["stale"]:
            await self._primary.run(lambda c: c.execute(SQL["touch_api_key"], row["id"]))
        scopes = frozenset(row["scopes"]) & SCOPES.keys()
        if row["maker"] is not None:
            scopes &= scopes_of(row["roles"])
        return Bearer(f"key:{row['name']}", scopes, account=row["maker"])
