"""Events use one of the worker's shared connections at a time, however many subscribers and followers there are: the others
stay free for what customers wait for. (A connection of their own was turned down: sixteen workers would come near to what a
node allows, for something that waits well.)"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from everopen.store import Primary
from everopen.store.primary import Connection

T = TypeVar("T")


class Runs(Protocol):
    """What runs work on the primary: a `Line`, or the `Primary` itself."""

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        retry: bool = True,
        deadline_s: float | None = None,
    ) -> T: ...


class Line:
    """`Primary.run`, one call at a time, in the order of arrival."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        self._free = asyncio.Lock()

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        retry: bool = True,
        deadline_s: float | None = None,
    ) -> T:
        """`Primary.run` when it is this call's turn; the deadline counts from then."""
        async with self._free:
            return await self._primary.run(work, retry=retry, deadline_s=deadline_s)
