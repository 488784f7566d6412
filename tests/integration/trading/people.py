"""People in tests: cheap passwords, a clock that a test moves, and the workers' own code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pyotp

from everopen.api.access import OPERATOR
from everopen.base.clock import VirtualClock
from everopen.trading import Trading
from everopen.trading.people import People, PeopleSettings
from everopen.trading.people.once import Once
from everopen.trading.people.outcomes import Bearer, StaffEntry, StaffMade
from everopen.trading.sessions.postgres import PostgresSessions
from tests.integration.trading.conftest import Shop

PASSWORD = "correct horse battery"
NEW = "staple of another kind"
_numbers = count(1)


def once(kind: str = "test", key: str | None = None, fingerprint: bytes = b"f") -> Once:
    """A request's key; a new one unless it is named."""
    return Once(kind, key or f"once-{next(_numbers)}", fingerprint)


class Scene:
    """One worker's people, on a clock of their own."""

    def __init__(self, worker: Trading, settings: PeopleSettings) -> None:
        self.worker = worker
        self.clock = VirtualClock(1_800_000_000.0)
        self.sessions = PostgresSessions(worker.primary, days=30)
        self.people = People(worker.primary, settings, self.sessions, clock=self.clock)

    async def register(self, email: str = "ann@example.org", password: str = PASSWORD, **facts: Any) -> Any:
        named = {"address": "192.0.2.1", "key": f"register-{next(_numbers)}", "fingerprint": b"f", **facts}
        return await self.people.customers.register(email, password, "Ann", **named)

    async def login(
        self,
        email: str = "ann@example.org",
        password: str = PASSWORD,
        *,
        address: str = "192.0.2.1",
        token: str | None = None,
    ) -> Any:
        return await self.people.customers.login(email, password, address=address, token=token)

    async def staff(self, login: str, *roles: str, by: Bearer = OPERATOR) -> StaffMade:
        made = await self.people.staff.add(login, "", roles, by=by, once=once("staff"))
        assert isinstance(made, StaffMade), made
        return made

    async def staff_login(
        self, login: str, password: str, code: str = "", *, address: str = "192.0.2.9", **facts: Any
    ) -> Any:
        return await self.people.entry.login(
            login, password, code, address=address, once=facts.get("once") or once("staff-login")
        )

    async def bearer(self, entry: StaffEntry) -> Bearer:
        found = await self.people.identify(entry.token)
        assert found is not None
        return found

    async def whole(self, login: str, *roles: str) -> tuple[StaffEntry, str]:
        """An account with a password of its own and a second factor: its session and its secret."""
        made = await self.staff(login, *roles)
        entry = await self.staff_login(login, made.password)
        me = await self.bearer(entry)
        where = {"address": "192.0.2.9"}
        await self.people.entry.change_password(me, made.password, PASSWORD, once=once("p"), **where)
        offer: Any = await self.people.entry.offer_second_factor(me, PASSWORD, "", issuer="Shop", **where)
        codes = await self.people.entry.confirm_second_factor(me, self.code(offer.secret), once=once("c"))
        assert isinstance(codes, list)
        self.clock.advance(30)
        return entry, offer.secret

    def code(self, secret: str, *, steps: int = 0) -> str:
        """The code of a secret, so many steps from now."""
        return pyotp.TOTP(secret).at(int(self.clock.wall_s()) + 30 * steps)


@asynccontextmanager
async def people_of(shop: Shop, **settings: Any) -> AsyncIterator[Scene]:
    """A worker's people."""
    cheap = {"argon2_memory_kib": 8192, "argon2_passes": 1, **settings}
    async with shop.worker() as worker:
        scene = Scene(worker, PeopleSettings(**cheap))
        yield scene
        scene.people.close()
        await scene.sessions.stop()
