"""Passwords: argon2id in threads of its own, so that a worker goes on taking orders while somebody logs in.

A digest is made to be slow, so a handful of logins would stop the event loop; argon2 lets go of the interpreter's lock, and
few threads bound what passwords may take from the machine. More wait in a queue, and past that they are told to come back.
A login for an account that does not exist is given a digest to fail at, so that it takes as long as a wrong password."""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from everopen.base.errors import StoreUnavailable
from everopen.trading.people.outcomes import WeakPassword
from everopen.trading.people.settings import PeopleSettings

T = TypeVar("T")
PASSWORD_MAX = 256


class Passwords:
    """Makes and checks digests. Raises StoreUnavailable when too many wait already."""

    def __init__(self, settings: PeopleSettings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_passes,
            memory_cost=settings.argon2_memory_kib,
            parallelism=1,
            hash_len=32,
            salt_len=16,
            type=Type.ID,
        )
        self._threads = ThreadPoolExecutor(settings.password_threads, thread_name_prefix="argon2")
        self._queue_max = settings.password_queue_max
        self._waiting = 0
        self._decoy: str | None = None

    async def digest(self, password: str) -> str:
        """What is kept of a new password (PHC string: parameters, salt and digest)."""
        return await self._run(partial(self._hasher.hash, normal(password)))

    async def fits(self, kept: str | None, password: str) -> bool:
        """Whether it is the password of that digest. None: there is none; takes as long and is False."""
        if kept is None or not kept.startswith("$argon2"):
            if self._decoy is None:
                self._decoy = await self.digest(secrets.token_hex(16))
            await self._run(partial(self._verify, self._decoy, normal(password)))
            return False
        return await self._run(partial(self._verify, kept, normal(password)))

    def outdated(self, kept: str) -> bool:
        """Whether a digest was made with other parameters than today's."""
        try:
            return self._hasher.check_needs_rehash(kept)
        except InvalidHashError:
            return True

    def close(self) -> None:
        """Lets the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: partial[T]) -> T:
        if self._waiting >= self._queue_max:
            raise StoreUnavailable("Too many logins at once; please try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def normal(password: str) -> str:
    """The password as two keyboards agree on it (NFKC, RFC 8265)."""
    return unicodedata.normalize("NFKC", password)


def name_key(name: str) -> str:
    """An e-mail address or login as two spellings of it are compared."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def weakness(password: str, characters_min: int, name: str) -> WeakPassword | None:
    """Why a password is not accepted: length is what counts (NIST SP 800-63B); no rules about kinds of characters."""
    given = normal(password)
    if len(given) < characters_min:
        return WeakPassword(f"A password has at least {characters_min} characters.")
    if len(given) > PASSWORD_MAX:
        return WeakPassword(f"A password has at most {PASSWORD_MAX} characters.")
    if given.casefold() in (name_key(name), name_key(name).partition("@")[0]) or len(set(given)) < 4:
        return WeakPassword("This password is the first that anybody would try.")
    return None
