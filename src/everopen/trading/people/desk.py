"""The desk of people: customers, staff and their keys, wired together for one worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from everopen.base.clock import Clock
from everopen.store import Primary, load_statements
from everopen.trading.carts import customer_cart
from everopen.trading.jobs.job import JobContext
from everopen.trading.people.belongings import Belongings
from everopen.trading.people.customers import Customers
from everopen.trading.people.doors import Doors
from everopen.trading.people.entry import SESSION, Entry
from everopen.trading.people.keys import KEY, Keys
from everopen.trading.people.outcomes import Bearer, LogEntry
from everopen.trading.people.passwords import Passwords
from everopen.trading.people.settings import PeopleSettings
from everopen.trading.people.staff import Staff
from everopen.trading.sessions import SessionStore

LOG = load_statements("everopen.trading", "people.sql")
PURGES = load_statements("everopen.trading", "customers.sql", "staff.sql", "doors.sql")
BATCH = 5000


class People:
    """Everybody, as handlers see them."""

    def __init__(
        self, primary: Primary, settings: PeopleSettings, sessions: SessionStore, *, clock: Clock
    ) -> None:
        self._primary = primary
        self.settings = settings
        self.passwords = Passwords(settings)
        doors = Doors(primary, settings)
        self.customers = Customers(primary, settings, self.passwords, doors, sessions, customer_cart)
        self.belongings = Belongings(primary)
        self.staff = Staff(primary, self.passwords, doors)
        self.entry = Entry(primary, settings, self.passwords, doors, clock)
        self.keys = Keys(primary)

    async def identify(self, token: str) -> Bearer | None:
        """Who a token of staff stands for: a session's, or an API key's."""
        if token.startswith(SESSION):
            return await self.entry.identify(token)
        if token.startswith(KEY):
            return await self.keys.identify(token)
        return None

    async def log(
        self, *, before: int | None, actor: str | None, action: str | None, limit: int
    ) -> list[LogEntry]:
        """Rows of the audit log, newest first."""
        rows: Any = await self._primary.run(
            lambda c: c.fetch(LOG["list_audit_log"], before, actor, action, limit), deadline_s=10.0
        )
        return [LogEntry(*row) for row in rows]

    def close(self) -> None:
        """Ends the threads of passwords."""
        self.passwords.close()


async def forget_people(context: JobContext) -> str:
    """Forgets what no door needs any more: old guesses and places, spent tokens, sessions of staff that have ended."""

    async def batch(connection: Any) -> tuple[int, int]:
        attempts = await connection.fetch(PURGES["purge_attempts"], timedelta(days=7), BATCH)
        places = await connection.fetch(PURGES["purge_places"], BATCH)
        resets = await connection.fetch(PURGES["purge_resets"], BATCH)
        sessions = await connection.fetch(PURGES["purge_staff_sessions"], BATCH)
        return len(attempts) + len(places), len(resets) + len(sessions)

    doors, tokens = await context.primary.run(batch)
    return f"Forgot {doors} old counts of doors and {tokens} tokens that had ended."
