"""Staff accounts: who works here, in which roles, and what becomes of an account whose owner forgot or left.

An account never gets more rights than the one who makes or changes it has. A password that somebody else has set must be
changed before anything else opens, so only its owner ever uses it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from everopen.base.ids import uuid7
from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import KeyReused
from everopen.trading.people.doors import Doors
from everopen.trading.people.once import Once, note
from everopen.trading.people.outcomes import (
    Bearer,
    Forbidden,
    Missing,
    NameTaken,
    StaffAccount,
    StaffMade,
)
from everopen.trading.people.passwords import Passwords, name_key
from everopen.trading.people.roles import ROLES, scopes_of

SQL = load_statements("everopen.trading", "staff.sql")
DOOR = "staff"
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""What nobody mistakes when it is read out."""


def account_of_row(row: Any) -> StaffAccount:
    """An account of a row."""
    return StaffAccount(
        id=row["id"],
        login=row["login"],
        name=row["name"],
        roles=tuple(row["roles"]),
        active=row["active"],
        must_change_password=row["must_change_password"],
        second_factor=row["totp_secret"] is not None,
        created_at=row["created_at"],
        last_login_at=row["last_login_at"],
    )


def new_password() -> str:
    """A first password: 20 letters in groups, some 98 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))


def refuse_roles(roles: Iterable[str], by: Bearer) -> Forbidden | None:
    """Why somebody can't give these roles."""
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        return Forbidden(f"There is no role “{unknown[0]}”; there are {', '.join(ROLES)}.")
    beyond = scopes_of(roles) - by.scopes
    if beyond:
        return Forbidden(f"You can't give what you don't have: {', '.join(sorted(beyond))}.")
    return None


def refuse_account(row: Any, by: Bearer) -> Forbidden | None:
    """Why somebody can't change this account: it may do what he may not."""
    if scopes_of(row["roles"]) <= by.scopes:
        return None
    return Forbidden(f"“{row['login']}” may do more than you; somebody with those rights has to do this.")


class Staff:
    """Accounts of staff, as those see them who may change them."""

    def __init__(self, primary: Primary, passwords: Passwords, doors: Doors) -> None:
        self._primary = primary
        self._passwords = passwords
        self._doors = doors

    async def all(self) -> list[StaffAccount]:
        """All accounts, by login."""
        rows = await self._primary.run(lambda c: c.fetch(SQL["list_staff"]))
        return [account_of_row(row) for row in rows]

    async def find(self, staff_id: UUID) -> StaffAccount | None:
        """One account."""
        row = await self._primary.run(lambda c: c.fetchrow(SQL["find_staff"], staff_id))
        return None if row is None else account_of_row(row)

    async def add(
        self, login: str, name: str, roles: tuple[str, ...], *, by: Bearer, once: Once
    ) -> StaffMade | NameTaken | Forbidden | KeyReused:
        """Makes an account with a first password. A repeat, whose first answer was lost, makes another first password, as
        long as nobody has logged in."""
        refused = refuse_roles(roles, by)
        if refused is not None:
            return refused
        password, staff_id = new_password(), uuid7()
        kept = await self._passwords.digest(password)

        async def work(connection: Connection) -> StaffMade | NameTaken | KeyReused:
            async with connection.transaction():
                known = await once.known(connection)
                if isinstance(known, KeyReused):
                    return known
                if known is not None:
                    return await self._again(connection, known, kept, password)
                if await connection.fetchrow(SQL["find_staff_by_login"], name_key(login)) is not None:
                    return NameTaken()
                row = await connection.fetchrow(
                    SQL["add_staff"], staff_id, login.strip(), name_key(login), name, list(roles), kept
                )
                await note(
                    connection, "staff-added", once.key, staff_id, f"{login.strip()}: {', '.join(roles)}"
                )
                await once.keep(connection, staff_id)
                return StaffMade(account_of_row(row), password)

        return await self._primary.run(work)

    async def _again(self, connection: Connection, staff_id: UUID, kept: str, password: str) -> StaffMade:
        row: Any = await connection.fetchrow(SQL["lock_staff"], staff_id)
        if not row["must_change_password"]:
            return StaffMade(account_of_row(row), "")
        row = await connection.fetchrow(SQL["set_staff_password"], staff_id, kept, True)
        return StaffMade(account_of_row(row), password)

    async def change(
        self,
        staff_id: UUID,
        *,
        name: str | None,
        roles: tuple[str, ...] | None,
        active: bool | None,
        by: Bearer,
        key: str,
    ) -> StaffAccount | Missing | Forbidden:
        """Changes name and roles, or ends an account (its sessions and API keys end with it)."""

        async def work(connection: Connection) -> StaffAccount | Missing | Forbidden:
            async with connection.transaction():
                row: Any = await connection.fetchrow(SQL["lock_staff"], staff_id)
                if row is None:
                    return Missing("staff account")
                wanted = tuple(row["roles"]) if roles is None else roles
                refused = refuse_roles(wanted if roles is not None else (), by) or refuse_account(row, by)
                if refused is not None:
                    return refused
                changed: Any = await connection.fetchrow(
                    SQL["set_staff"],
                    staff_id,
                    row["name"] if name is None else name,
                    list(wanted),
                    row["active"] if active is None else active,
                )
                if not changed["active"]:
                    await connection.execute(SQL["close_staff_sessions"], staff_id, None)
                said = f"{row['login']}: {', '.join(wanted)}, {'active' if changed['active'] else 'ended'}"
                await note(connection, "staff-changed", key, staff_id, said)
                return account_of_row(changed)

        return await self._primary.run(work)

    async def reset(
        self, staff_id: UUID, *, second_factor: bool, by: Bearer, once: Once, address: str
    ) -> StaffMade | Missing | Forbidden | KeyReused:
        """Gives another first password, ends all sessions, forgets wrong guesses; with `second_factor` that one is taken
        away too, for somebody who has lost it with all recovery codes."""
        password = new_password()
        kept = await self._passwords.digest(password)

        async def work(connection: Connection) -> StaffMade | Missing | Forbidden | KeyReused:
            async with connection.transaction():
                row: Any = await connection.fetchrow(SQL["lock_staff"], staff_id)
                known = await once.known(connection)
                if isinstance(known, KeyReused):
                    return known
                if row is None:
                    return Missing("staff account")
                if known is not None:
                    return await self._again(connection, staff_id, kept, password)
                refused = refuse_account(row, by)
                if refused is not None:
                    return refused
                if second_factor:
                    await connection.execute(SQL["drop_second_factor"], staff_id)
                    await connection.execute(SQL["drop_recovery_codes"], staff_id)
                await connection.execute(SQL["close_staff_sessions"], staff_id, None)
                await self._doors.clear(connection, DOOR, row["login_key"], address)
                changed = await connection.fetchrow(SQL["set_staff_password"], staff_id, kept, True)
                said = "password and second factor" if second_factor else "password"
                await note(connection, "staff-reset", once.key, staff_id, f"{row['login']}: {said}")
                await once.keep(connection, staff_id)
                return StaffMade(account_of_row(changed), password)

        return await self._primary.run(work)
