"""How staff get in: password, second factor, a bearer token that lives for a working day; and what each of them does with
the own account.

Two logins with one code at once: the code's time step is taken by a conditional update, so one of them comes second and is
refused. A repeated request (the gateway sends it again when a worker dies) is known by its key: it gets another token for
the session that the first one opened, within two minutes and for the right password only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from everopen.base.clock import Clock
from everopen.base.ids import secret_token, uuid7
from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import KeyReused
from everopen.trading.people import totp
from everopen.trading.people.doors import Attempt, Doors
from everopen.trading.people.once import Once, note
from everopen.trading.people.outcomes import (
    Bearer,
    CodeNeeded,
    Missing,
    Secret,
    StaffAccount,
    StaffEntry,
    TooManyAttempts,
    WeakPassword,
    WrongCode,
    WrongLogin,
)
from everopen.trading.people.passwords import Passwords, name_key, weakness
from everopen.trading.people.roles import scopes_of
from everopen.trading.people.settings import PeopleSettings
from everopen.trading.people.staff import DOOR, account_of_row
from everopen.trading.sessions import digest

SQL = load_statements("everopen.trading", "staff.sql")
SESSION = "eos_"
"""How a session's token begins, so that whoever finds one (a scanner of repositories too) knows what it is."""
R = TypeVar("R")
Refused = WrongLogin | TooManyAttempts | Missing


class Entry:
    """Logins of staff, and their own accounts."""

    def __init__(
        self, primary: Primary, settings: PeopleSettings, passwords: Passwords, doors: Doors, clock: Clock
    ) -> None:
        self._primary = primary
        self._settings = settings
        self._passwords = passwords
        self._doors = doors
        self._clock = clock

    async def login(
        self, login: str, password: str, code: str, *, address: str, once: Once
    ) -> StaffEntry | WrongLogin | CodeNeeded | WrongCode | TooManyAttempts | KeyReused:
        """Opens a session."""
        attempt = await self._doors.enter(DOOR, name_key(login), address)
        if isinstance(attempt, TooManyAttempts):
            return attempt
        row: Any = await self._primary.run(lambda c: c.fetchrow(SQL["find_staff_by_login"], name_key(login)))
        kept = row["password_hash"] if row is not None and row["active"] else None
        if not await self._passwords.fits(kept, password) or kept is None:
            return WrongLogin()
        renewed = await self._passwords.digest(password) if self._passwords.outdated(kept) else kept
        token, session_id, staff_id = SESSION + secret_token(), uuid7(), row["id"]

        async def work(
            connection: Connection,
        ) -> StaffEntry | WrongLogin | CodeNeeded | WrongCode | KeyReused:
            account: Any = await connection.fetchrow(SQL["lock_staff"], staff_id)
            if not account["active"] or account["password_hash"] not in (kept, renewed):
                return WrongLogin()
            known = await once.known(connection)
            if isinstance(known, KeyReused):
                return known
            if known is not None:
                ends = await connection.fetchval(SQL["renew_staff_session"], known, digest(token))
                return WrongCode() if ends is None else await self._entry(connection, staff_id, token, ends)
            refused = await self._take_code(connection, account, code)
            if refused is not None:
                return refused
            await connection.execute(SQL["note_login"], staff_id, renewed)
            await self._doors.opened(connection, attempt)
            life = timedelta(hours=self._settings.staff_session_hours)
            ends = await connection.fetchval(
                SQL["open_staff_session"], session_id, digest(token), staff_id, address, life
            )
            actor = actor_of(account["login"])
            how = " with a recovery code" if totp.is_recovery_code(code) else ""
            said = f"from {address or '?'}{how}"
            await note(connection, "staff-login", once.key, staff_id, said, actor=actor)
            await once.keep(connection, session_id)
            return await self._entry(connection, staff_id, token, ends)

        return await self._commit_if(work, StaffEntry)

    async def _entry(self, connection: Connection, staff_id: UUID, token: str, ends: Any) -> StaffEntry:
        left = await connection.fetchval(SQL["count_recovery_codes"], staff_id)
        row = await connection.fetchrow(SQL["find_staff"], staff_id)
        return StaffEntry(account_of_row(row), token, ends, left)

    async def _take_code(
        self, connection: Connection, account: Any, code: str
    ) -> CodeNeeded | WrongCode | None:
        """Takes the second factor's code, or a recovery code, once."""
        secret = account["totp_secret"]
        if secret is None:
            return None
        if not code:
            return CodeNeeded()
        if totp.is_recovery_code(code):
            used = await connection.fetchval(
                SQL["use_recovery_code"], totp.recovery_digest(code), account["id"]
            )
            return None if used else WrongCode()
        step = totp.step_of(secret, code, self._clock.wall_s(), after=account["totp_counter"])
        if step is None or not await connection.fetchval(SQL["take_step"], account["id"], step):
            return WrongCode()
        return None

    async def identify(self, token: str) -> Bearer | None:
        """Who a session's token stands for."""
        idle = timedelta(minutes=self._settings.staff_idle_minutes)
        row: Any = await self._primary.run(
            lambda c: c.fetchrow(SQL["find_staff_session"], digest(token), idle)
        )
        if row is None:
            return None
        if row["stale"]:
            await self._primary.run(lambda c: c.execute(SQL["touch_staff_session"], row["session_id"]))
        missing = []
        if row["must_change_password"]:
            missing.append("password")
        if self._settings.staff_second_factor == "required" and not row["second_factor"]:
            missing.append("second-factor")
        return Bearer(
            actor_of(row["login"]),
            frozenset() if missing else scopes_of(row["roles"]),
            account=row["id"],
            session_id=row["session_id"],
            missing=tuple(missing),
        )

    async def logout(self, me: Bearer) -> None:
        """Ends the own session."""
        await self._primary.run(lambda c: c.execute(SQL["close_staff_session"], me.session_id))

    async def me(self, me: Bearer) -> StaffAccount | Missing:
        """The own account."""
        row = await self._primary.run(lambda c: c.fetchrow(SQL["find_staff"], me.account))
        return Missing("staff account") if row is None else account_of_row(row)

    async def change_password(
        self, me: Bearer, current: str, new: str, *, address: str, once: Once
    ) -> StaffAccount | Refused | WeakPassword | KeyReused:
        """Takes another password and ends all other sessions."""
        row: Any = await self._primary.run(lambda c: c.fetchrow(SQL["find_staff"], me.account))
        weak = weakness(new, self._settings.staff_password_min, row["login"])
        if weak is not None:
            return weak
        if new == current:
            return WeakPassword("The new password is the present one.")
        known = await self._primary.run(once.known_alone)
        if known is None:
            checked = await self._check(row, current, address)
            if not isinstance(checked, Attempt):
                return checked
            attempt, kept = checked, await self._passwords.digest(new)

            async def work(connection: Connection) -> UUID | WrongLogin | KeyReused:
                account: Any = await connection.fetchrow(SQL["lock_staff"], row["id"])
                twin = await once.known(connection)
                if twin is not None:
                    return twin
                if account["password_hash"] != row["password_hash"]:
                    return WrongLogin()
                await connection.execute(SQL["set_staff_password"], row["id"], kept, False)
                await connection.execute(SQL["close_staff_sessions"], row["id"], me.session_id)
                await self._doors.opened(connection, attempt)
                await note(connection, "staff-password", once.key, row["id"], row["login"])
                await once.keep(connection, row["id"])
                found: UUID = row["id"]
                return found

            done = await self._commit_if(work, UUID)
            if isinstance(done, WrongLogin):
                return done
            known = done
        if isinstance(known, KeyReused):
            return known
        # No fingerprint holds a password: whether a repeat names the same one, the account itself tells.
        row = await self._primary.run(lambda c: c.fetchrow(SQL["find_staff"], me.account))
        return account_of_row(row) if await self._passwords.fits(row["password_hash"], new) else KeyReused()

    async def offer_second_factor(
        self, me: Bearer, password: str, code: str, *, issuer: str, address: str
    ) -> Secret | Refused | CodeNeeded | WrongCode:
        """Shows a new secret. Who has a second factor already needs a code of that one: a stolen session must not be enough
        to put another telephone in its place."""
        row: Any = await self._primary.run(lambda c: c.fetchrow(SQL["find_staff"], me.account))
        checked = await self._check(row, password, address)
        if not isinstance(checked, Attempt):
            return checked
        secret = totp.new_secret()

        async def work(connection: Connection) -> Secret | CodeNeeded | WrongCode:
            account: Any = await connection.fetchrow(SQL["lock_staff"], row["id"])
            refused = await self._take_code(connection, account, code)
            if refused is not None:
                return refused
            await connection.execute(SQL["offer_secret"], row["id"], secret)
            await self._doors.opened(connection, checked)
            return Secret(secret, totp.address_of(secret, login=row["login"], issuer=issuer))

        return await self._commit_if(work, Secret)

    async def confirm_second_factor(
        self, me: Bearer, code: str, *, once: Once
    ) -> list[str] | WrongCode | KeyReused:
        """The offered secret counts from now on; answers recovery codes, which are shown this once. (A repeat, whose first
        answer was lost, gets others.)"""
        codes = totp.new_recovery_codes()

        async def work(connection: Connection) -> list[str] | WrongCode | KeyReused:
            account: Any = await connection.fetchrow(SQL["lock_staff"], me.account)
            known = await once.known(connection)
            if isinstance(known, KeyReused):
                return known
            if known is None:
                offered = account["totp_offered"]
                step = offered and totp.step_of(offered, code, self._clock.wall_s(), after=0)
                if not step:
                    return WrongCode()
                await connection.execute(SQL["take_offered"], me.account, step, offered)
            await self._renew_codes(connection, me, codes)
            if known is None:
                await note(connection, "staff-second-factor", once.key, me.account, account["login"])
                await once.keep(connection, account["id"])
            return codes

        return await self._commit_if(work, list)

    async def renew_recovery_codes(
        self, me: Bearer, code: str, *, once: Once
    ) -> list[str] | CodeNeeded | WrongCode | KeyReused:
        """Other recovery codes in the place of those that are left."""
        codes = totp.new_recovery_codes()

        async def work(connection: Connection) -> list[str] | CodeNeeded | WrongCode | KeyReused:
            account: Any = await connection.fetchrow(SQL["lock_staff"], me.account)
            known = await once.known(connection)
            if isinstance(known, KeyReused):
                return known
            if known is None:
                if account["totp_secret"] is None:
                    return WrongCode()
                refused = await self._take_code(connection, account, code)
                if refused is not None:
                    return refused
            await self._renew_codes(connection, me, codes)
            if known is None:
                await note(connection, "staff-recovery-codes", once.key, me.account, account["login"])
                await once.keep(connection, account["id"])
            return codes

        return await self._commit_if(work, list)

    async def _renew_codes(self, connection: Connection, me: Bearer, codes: list[str]) -> None:
        await connection.execute(SQL["drop_recovery_codes"], me.account)
        digests = [totp.recovery_digest(code) for code in codes]
        await connection.execute(SQL["add_recovery_codes"], digests, me.account)

    async def _check(self, row: Any, password: str, address: str) -> Attempt | WrongLogin | TooManyAttempts:
        attempt = await self._doors.enter(DOOR, row["login_key"], address)
        if isinstance(attempt, TooManyAttempts):
            return attempt
        return attempt if await self._passwords.fits(row["password_hash"], password) else WrongLogin()

    async def _commit_if(self, work: Callable[[Connection], Awaitable[R]], good: type) -> R:
        """Runs it in a transaction, which is rolled back unless the outcome is good: what is refused has written nothing."""

        async def run(connection: Connection) -> R:
            transaction = connection.transaction()
            await transaction.start()
            try:
                outcome = await work(connection)
                await (transaction.commit() if isinstance(outcome, good) else transaction.rollback())
                return outcome
            except BaseException:
                if not connection.is_closed() and connection.is_in_transaction():
                    await transaction.rollback()
                raise

        return await self._primary.run(run)


def actor_of(login: str) -> str:
    """The name of an account in the audit log."""
    return f"staff:{login}"
