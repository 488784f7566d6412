"""What belongs to a customer: his addresses, and the orders that he placed while he was logged in.

An order that somebody placed as a guest under the same e-mail address is not in the list: nobody has shown whose address
that is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from everopen.base.ids import uuid7
from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import KeyReused
from everopen.trading.people.once import Once
from everopen.trading.people.outcomes import Address, AddressFields, Full, Missing, OwnOrder

SQL = load_statements("everopen.trading", "customers.sql")
ADDRESSES_MOST = 50
_FIELDS = ("recipient", "line1", "line2", "city", "region", "postcode", "country", "phone")
"""In the order of the statements."""


def _address(row: Any) -> Address:
    return Address(row["id"], AddressFields(**{name: row[name] for name in _FIELDS}))


def _values(fields: AddressFields) -> list[str]:
    found = msgspec.structs.asdict(fields)
    return [found[name] for name in _FIELDS]


class Belongings:
    """Addresses and orders of customers; whose they are is part of each statement."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary

    async def addresses(self, customer_id: UUID) -> list[Address]:
        """All of them, oldest first."""
        rows = await self._primary.run(lambda c: c.fetch(SQL["list_addresses"], customer_id))
        return [_address(row) for row in rows]

    async def address(self, customer_id: UUID, address_id: UUID) -> Address | None:
        """One of them."""
        row = await self._primary.run(lambda c: c.fetchrow(SQL["find_address"], address_id, customer_id))
        return None if row is None else _address(row)

    async def add_address(
        self, customer_id: UUID, fields: AddressFields, *, once: Once
    ) -> Address | Full | KeyReused | Missing:
        """Keeps one more."""
        address_id = uuid7()

        async def work(connection: Connection) -> Address | Full | KeyReused | Missing:
            async with connection.transaction():
                await connection.execute(SQL["lock_customer"], customer_id)
                known = await once.known(connection)
                if isinstance(known, KeyReused):
                    return known
                if known is not None:
                    row = await connection.fetchrow(SQL["find_address"], known, customer_id)
                    return Missing("address") if row is None else _address(row)
                made = await connection.fetchval(
                    SQL["add_address"], address_id, customer_id, *_values(fields), ADDRESSES_MOST
                )
                if made is None:
                    return Full(ADDRESSES_MOST)
                await once.keep(connection, address_id)
                return Address(address_id, fields)

        return await self._primary.run(work)

    async def set_address(
        self, customer_id: UUID, address_id: UUID, fields: AddressFields
    ) -> Address | Missing:
        """Changes one; the same change again changes nothing."""
        found = await self._primary.run(
            lambda c: c.fetchval(SQL["set_address"], address_id, customer_id, *_values(fields))
        )
        return Missing("address") if found is None else Address(address_id, fields)

    async def drop_address(self, customer_id: UUID, address_id: UUID) -> None:
        """Forgets one; one that is gone already is no error (a request may come twice)."""
        await self._primary.run(lambda c: c.execute(SQL["drop_address"], address_id, customer_id))

    async def orders(self, customer_id: UUID, *, before: UUID | None, limit: int) -> list[OwnOrder]:
        """His orders, newest first."""
        rows: Any = await self._primary.run(lambda c: c.fetch(SQL["own_orders"], customer_id, before, limit))
        return [
            OwnOrder(
                row["id"],
                row["status"],
                row["total"],
                row["currency"],
                row["units"] or 0,
                row["placed_at"],
                row["reference"],
            )
            for row in rows
        ]
