"""Database connections that a fault holds open: a thread with an event loop of its own, since faults are plain functions
and connections must be kept alive (or at least kept) meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import asyncpg

T = TypeVar("T")
END_S_MAX = 5.0


class Held:
    """A loop in a thread, and the connections that were opened on it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="drill-held")
        self._thread.start()
        self.connections: list[asyncpg.Connection[Any]] = []

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Runs something on the loop. Raises what it raises, and TimeoutError."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout_s), self._loop).result()

    def end(self) -> None:
        """Drops all connections without a goodbye, and the thread; safe to repeat."""
        if self._loop.is_closed():
            return

        async def drop() -> None:
            for connection in self.connections:
                connection.terminate()
            for _ in range(3):  # transports close on the next turns of the loop
                await asyncio.sleep(0)

        self.run(drop(), END_S_MAX)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_S_MAX)
        self._loop.close()
