"""Doors: how many guesses one takes, counted in the database, so that it holds over all workers.

Each attempt is counted before the password is looked at and taken off again when it was right; so a hundred guesses sent at
once are no better than a hundred in a row. Two counts run beside each other: of the account that is named (whether it exists
or not, so that nothing can be learnt from it) and of the address that asks. After a few free ones each attempt waits, twice
as long each time up to a limit.

The true owner is not kept out by somebody who guesses on and on: an address from which he has logged in before has a count of
its own for his account, waits are bounded, and a password reset clears the count. (To lock the account until staff look was
turned down: it hands everybody a switch for everybody else's account.)"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from datetime import timedelta
from typing import Any

from msgspec import Struct

from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.people.outcomes import TooManyAttempts
from everopen.trading.people.settings import PeopleSettings

SQL = load_statements("everopen.trading", "doors.sql")


class Attempt(Struct, frozen=True):
    """An attempt that was let through and counted."""

    account: bytes
    """The bucket it was counted in: the account's, or the account's from a place that is known."""
    address: bytes | None
    place: bytes


class Doors:
    """One kind of door per name (`customer`, `staff`, `reset`, …)."""

    def __init__(self, primary: Primary, settings: PeopleSettings) -> None:
        self._primary = primary
        self._settings = settings

    async def enter(self, door: str, name: str, address: str) -> Attempt | TooManyAttempts:
        """Counts an attempt under a name (`name_key`) and from an address, unless one of the two has to wait."""
        settings = self._settings
        network = network_of(address)
        place = digest(door, "place", name, network)
        counted_address = digest(door, "address", network) if settings.login_attempts_per_address else None

        async def work(connection: Connection) -> Attempt | TooManyAttempts:
            transaction = connection.transaction()
            await transaction.start()
            try:
                known = await connection.fetchval(SQL["is_known_place"], place)
                attempt = Attempt(place if known else digest(door, "account", name), counted_address, place)
                limits = {attempt.account: settings.login_attempts}
                if counted_address is not None:
                    limits[counted_address] = settings.login_attempts_per_address
                for bucket in sorted(limits):  # one order of locks
                    wait_s = await self._take(connection, bucket, limits[bucket])
                    if wait_s is not None:
                        await transaction.rollback()  # an attempt that was refused is not counted
                        return TooManyAttempts(max(1, math.ceil(wait_s)))
                await transaction.commit()
                return attempt
            except BaseException:
                if not connection.is_closed() and connection.is_in_transaction():
                    await transaction.rollback()
                raise

        return await self._primary.run(work)

    async def _take(self, connection: Connection, bucket: bytes, free: int) -> float | None:
        """None when the attempt may go on, else how many seconds to wait."""
        settings = self._settings
        taken = await connection.fetchval(
            SQL["take_attempt"],
            bucket,
            timedelta(hours=settings.login_forget_hours),
            free,
            settings.login_backoff_s,
            settings.login_backoff_max_s,
        )
        if taken is not None:
            return None
        left: Any = await connection.fetchval(SQL["wait_left"], bucket)
        return float(left)

    async def opened(self, connection: Connection, attempt: Attempt) -> None:
        """The guess was right: it counts no more, and its place is known from now on. In the caller's transaction."""
        for bucket in sorted(found for found in (attempt.account, attempt.address) if found is not None):
            if bucket == attempt.account:
                await connection.execute(SQL["forget_attempts"], [bucket])
            else:
                await connection.execute(
                    SQL["give_attempt_back"], bucket, self._settings.login_attempts_per_address
                )
        await connection.execute(SQL["know_place"], attempt.place)

    async def clear(self, connection: Connection, door: str, name: str, address: str) -> None:
        """Forgets the guesses at an account: its owner has shown by another way that it is his."""
        place = digest(door, "place", name, network_of(address))
        await connection.execute(SQL["forget_attempts"], sorted([digest(door, "account", name), place]))


def digest(*parts: str) -> bytes:
    """A bucket: names and addresses of people are not kept for counting guesses."""
    return hashlib.sha256("\0".join(parts).encode()).digest()


def network_of(address: str) -> str:
    """What one client can choose among its addresses is one address: an IPv6 /64."""
    try:
        found = ipaddress.ip_address(address.strip())
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
