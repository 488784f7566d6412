"""Customers: how somebody gets an account in the shop, gets in, and gets in again who forgot his password.

A password is looked at outside any transaction (it takes tens of milliseconds), so what it decided is checked once more
where it counts: the row is locked only while it still holds the digest that was looked at.

Answers to a login and to a wish for a new password are the same whether there is an account or not, and take as long. A
registration does say that an address is taken (whoever registers has to know), so it is limited per address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from everopen.base.ids import secret_token, uuid7
from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import KeyReused
from everopen.trading.people.doors import Doors
from everopen.trading.people.once import Once, announce, note
from everopen.trading.people.outcomes import (
    Customer,
    LoggedIn,
    Missing,
    NameTaken,
    TokenSpent,
    TooManyAttempts,
    WeakPassword,
    WrongLogin,
)
from everopen.trading.people.passwords import Passwords, name_key, weakness
from everopen.trading.people.settings import PeopleSettings
from everopen.trading.sessions import SessionStore, digest

SQL = load_statements("everopen.trading", "customers.sql")
OwnCart = Callable[[Connection, UUID, UUID | None], Awaitable[UUID]]
"""Gives a customer's own cart, with what the guest's cart held that he comes with (`carts.customer_cart`)."""
DOOR = "customer"


def customer_of_row(row: Any) -> Customer:
    """A customer of a row."""
    return Customer(row["id"], row["email"], row["name"], row["created_at"])


class Customers:
    """Accounts of customers."""

    def __init__(
        self,
        primary: Primary,
        settings: PeopleSettings,
        passwords: Passwords,
        doors: Doors,
        sessions: SessionStore,
        own_cart: OwnCart,
    ) -> None:
        self._primary = primary
        self._settings = settings
        self._passwords = passwords
        self._doors = doors
        self._sessions = sessions
        self._own_cart = own_cart

    async def register(
        self, email: str, password: str, name: str, *, address: str, key: str, fingerprint: bytes
    ) -> Customer | NameTaken | WeakPassword | TooManyAttempts | KeyReused:
        """Makes an account. Does not log in."""
        weak = weakness(password, self._settings.customer_password_min, email)
        if weak is not None:
            return weak
        refused = await self._doors.enter("register", name_key(email), address)
        if isinstance(refused, TooManyAttempts):
            return refused
        kept, customer_id = await self._passwords.digest(password), uuid7()
        once = Once("customer", key, fingerprint)

        async def work(connection: Connection) -> Customer | NameTaken | KeyReused | UUID:
            async with connection.transaction():
                known = await once.known(connection)
                if known is not None:
                    return known
                if await connection.fetchrow(SQL["find_by_email"], name_key(email)) is not None:
                    return NameTaken()
                row = await connection.fetchrow(
                    SQL["add_customer"], customer_id, email.strip(), name_key(email), name, kept
                )
                await announce(
                    connection, "customer.registered", customer_id, {"email": email.strip(), "name": name}
                )
                await once.keep(connection, customer_id)
                return customer_of_row(row)

        outcome = await self._primary.run(work)
        return await self._same(outcome, password) if isinstance(outcome, UUID) else outcome

    async def _same(self, customer_id: UUID, password: str) -> Customer | KeyReused:
        """Whether a repeated request names the password that the first one did: no fingerprint can tell."""
        row: Any = await self._primary.run(lambda c: c.fetchrow(SQL["find_customer"], customer_id))
        if row is None or not await self._passwords.fits(row["password_hash"], password):
            return KeyReused()
        return customer_of_row(row)

    async def login(
        self, email: str, password: str, *, address: str, token: str | None
    ) -> LoggedIn | WrongLogin | TooManyAttempts:
        """Lets a customer in: a new token takes the place of `token` (somebody may have planted that one), and what lay in
        the guest's cart comes along."""
        attempt = await self._doors.enter(DOOR, name_key(email), address)
        if isinstance(attempt, TooManyAttempts):
            return attempt
        row: Any = await self._primary.run(lambda c: c.fetchrow(SQL["find_by_email"], name_key(email)))
        kept = None if row is None else row["password_hash"]
        if not await self._passwords.fits(kept, password) or kept is None:
            return WrongLogin()
        renewed = await self._passwords.digest(password) if self._passwords.outdated(kept) else None
        visit = None if token is None else await self._sessions.find(token)
        guest_cart = visit.cart_id if visit is not None and visit.customer_id is None else None

        async def work(connection: Connection) -> UUID | None:
            async with connection.transaction():
                # A run whose answer was lost may have renewed the digest already.
                if not any(
                    [
                        await connection.fetchrow(SQL["lock_if_unchanged"], row["id"], found)
                        for found in {kept, renewed or kept}
                    ]
                ):
                    return None
                if renewed is not None:
                    await connection.execute(SQL["renew_digest"], row["id"], renewed)
                await self._doors.opened(connection, attempt)
                return await self._own_cart(connection, row["id"], guest_cart)

        cart_id = await self._primary.run(work)
        if cart_id is None:
            return WrongLogin()
        new = secret_token()
        await self._sessions.open(new, cart_id, row["id"])
        # Whoever changed the password meanwhile has ended all sessions, perhaps just before this one was opened.
        now_kept = renewed or kept
        if not await self._primary.run(lambda c: c.fetchval(SQL["is_unchanged"], row["id"], now_kept)):
            await self._sessions.close(new)
            return WrongLogin()
        if token is not None:
            await self._sessions.close(token)
        return LoggedIn(customer_of_row(row), new, cart_id)

    async def logout(self, token: str) -> None:
        """Ends a session; the customer's cart waits for his next login."""
        await self._sessions.close(token)

    async def find(self, customer_id: UUID) -> Customer | None:
        """A customer; None for an unknown or erased one."""
        row = await self._primary.run(lambda c: c.fetchrow(SQL["find_customer"], customer_id))
        return None if row is None else customer_of_row(row)

    async def of_session(self, token: str) -> Customer | None:
        """Who is logged in under a token."""
        session = await self._sessions.find(token)
        if session is None or session.customer_id is None:
            return None
        return await self.find(session.customer_id)

    async def change_profile(
        self, customer_id: UUID, *, name: str | None, email: str | None, password: str | None, address: str
    ) -> Customer | WrongLogin | NameTaken | TooManyAttempts | Missing:
        """Changes name and address. Another address needs the password: it is the way to a new one."""
        row: Any = await self._primary.run(lambda c: c.fetchrow(SQL["find_customer"], customer_id))
        if row is None:
            return Missing("customer")
        wanted = row["email"] if email is None else email.strip()
        if wanted != row["email"]:
            checked = await self._check(row, password or "", address)
            if checked is not None:
                return checked

        async def work(connection: Connection) -> Customer | NameTaken | Missing:
            async with connection.transaction():
                other = await connection.fetchrow(SQL["find_by_email"], name_key(wanted))
                if other is not None and other["id"] != customer_id:
                    return NameTaken()
                changed = await connection.fetchrow(
                    SQL["set_profile"],
                    customer_id,
                    row["name"] if name is None else name,
                    wanted,
                    name_key(wanted),
                )
                if changed is None:
                    return Missing("customer")
                if wanted != row["email"]:
                    await connection.execute(SQL["drop_resets"], customer_id)
                    await announce(
                        connection,
                        "customer.email_changed",
                        customer_id,
                        {"email": wanted, "former": row["email"]},
                    )
                return customer_of_row(changed)

        return await self._primary.run(work)

    async def change_password(
        self, customer_id: UUID, current: str, new: str, *, token: str, address: str, once: Once
    ) -> Customer | WrongLogin | WeakPassword | TooManyAttempts | KeyReused | Missing:
        """Takes another password and ends all other sessions."""
        row: Any = await self._primary.run(lambda c: c.fetchrow(SQL["find_customer"], customer_id))
        if row is None:
            return Missing("customer")
        weak = weakness(new, self._settings.customer_password_min, row["email"])
        if weak is not None:
            return weak
        known = await self._primary.run(once.known_alone)
        if known is not None:
            same = known if isinstance(known, KeyReused) else await self._same(known, new)
            if isinstance(same, KeyReused):
                return same
        else:
            refused = await self._check(row, current, address)
            if refused is not None:
                return refused
            outcome = await self._set_password(
                row["id"], row["password_hash"], await self._passwords.digest(new), once
            )
            if not outcome:
                return WrongLogin()
        await self._sessions.close_all(customer_id, but=token)
        return customer_of_row(row)

    async def _set_password(self, customer_id: UUID, looked_at: str, kept: str, once: Once) -> bool:
        async def work(connection: Connection) -> bool:
            async with connection.transaction():
                if await once.known(connection) is not None:
                    return True
                if not await connection.fetchrow(SQL["lock_if_unchanged"], customer_id, looked_at):
                    return False
                await self._renew(connection, customer_id, kept)
                await once.keep(connection, customer_id)
                return True

        return await self._primary.run(work)

    async def _renew(self, connection: Connection, customer_id: UUID, kept: str) -> Any:
        row: Any = await connection.fetchrow(SQL["set_password"], customer_id, kept)
        await connection.execute(SQL["drop_resets"], customer_id)
        await announce(connection, "customer.password_changed", customer_id, {"email": row["email"]})
        return row

    async def _check(self, row: Any, password: str, address: str) -> WrongLogin | TooManyAttempts | None:
        """Whether somebody with a session knows the password too; guesses count as at the login."""
        attempt = await self._doors.enter(DOOR, row["email_key"], address)
        if isinstance(attempt, TooManyAttempts):
            return attempt
        if not await self._passwords.fits(row["password_hash"], password):
            return WrongLogin()

        async def opened(connection: Connection) -> None:
            async with connection.transaction():
                await self._doors.opened(connection, attempt)

        await self._primary.run(opened)
        return None

    async def ask_reset(self, email: str, *, address: str, once: Once) -> KeyReused | TooManyAttempts | None:
        """Sends a token to the owner of an address, if it has an account; which of the two it was is not said."""
        refused = await self._doors.enter("reset", name_key(email), address)
        if isinstance(refused, TooManyAttempts):
            return refused
        token, nobody = secret_token(), uuid7()

        async def work(connection: Connection) -> KeyReused | None:
            async with connection.transaction():
                known = await once.known(connection)
                if known is not None:
                    return known if isinstance(known, KeyReused) else None
                row: Any = await connection.fetchrow(SQL["find_by_email"], name_key(email))
                if row is not None:
                    ends = await connection.fetchval(
                        SQL["add_reset"],
                        digest(token),
                        row["id"],
                        timedelta(minutes=self._settings.reset_minutes),
                    )
                    facts = {"email": row["email"], "name": row["name"], "token": token, "expires_at": ends}
                    await announce(connection, "customer.password_reset", row["id"], facts)
                await once.keep(connection, nobody if row is None else row["id"])
                return None

        return await self._primary.run(work)

    async def reset(
        self, token: str, password: str, *, address: str, once: Once
    ) -> Customer | TokenSpent | WeakPassword | KeyReused:
        """Takes a new password from whoever holds a token of a reset, which is spent by that; all sessions end."""
        key = digest(token)
        known = await self._primary.run(once.known_alone)
        if isinstance(known, KeyReused):
            return known
        if known is None:
            found = await self._primary.run(lambda c: c.fetchval(SQL["find_reset"], key))
            customer = None if found is None else await self.find(found)
            if customer is None:
                return TokenSpent()
            weak = weakness(password, self._settings.customer_password_min, customer.email)
            if weak is not None:
                return weak
            kept = await self._passwords.digest(password)

            async def work(connection: Connection) -> UUID | KeyReused | None:
                async with connection.transaction():
                    used = await connection.fetchval(SQL["use_reset"], key)
                    twin = await once.known(connection)  # may have used it while we waited for it
                    if used is None or twin is not None:
                        return twin
                    row = await self._renew(connection, used, kept)
                    await self._doors.clear(connection, DOOR, row["email_key"], address)
                    await once.keep(connection, used)
                    return customer.id

            known = await self._primary.run(work)
            if known is None:
                return TokenSpent()
            if isinstance(known, KeyReused):
                return known
        same = await self._same(known, password)
        if isinstance(same, Customer):
            await self._sessions.close_all(known)
        return same

    # --- for staff

    async def page(self, *, before: UUID | None, email: str | None, limit: int) -> list[Customer]:
        """Customers, newest first."""
        beginning = None if not email else name_key(email)
        rows = await self._primary.run(
            lambda c: c.fetch(SQL["list_customers"], before, beginning, limit), deadline_s=10.0
        )
        return [customer_of_row(row) for row in rows]

    async def erase(self, customer_id: UUID, *, once: Once) -> KeyReused | Missing | None:
        """Takes away what says who a customer is, for good. His orders stay in the books."""

        async def work(connection: Connection) -> KeyReused | Missing | None:
            async with connection.transaction():
                known = await once.known(connection)
                if known is not None:
                    return known if isinstance(known, KeyReused) else None
                if await connection.fetchval(SQL["erase_customer"], customer_id) is None:
                    return Missing("customer")
                await connection.execute(SQL["drop_addresses"], customer_id)
                await connection.execute(SQL["drop_resets"], customer_id)
                await note(connection, "customer-erased", once.key, customer_id, "")
                await once.keep(connection, customer_id)
                return None

        outcome = await self._primary.run(work)
        if outcome is None:
            await self._sessions.close_all(customer_id)
        return outcome
