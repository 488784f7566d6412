"""The relay empties the outbox: each worker tries, one at a time succeeds.

Its commit waits for the standby like an order's: a number that somebody has seen must not be given to another event after
a failover. Whoever waits for events (deliverer, followers) is woken in this worker; in others their own look finds them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from everopen.base.clock import Rng
from everopen.base.errors import StoreUnavailable
from everopen.trading.events.facts import SQL
from everopen.trading.events.line import Runs
from everopen.trading.events.settings import EventsSettings

if TYPE_CHECKING:
    from everopen.trading.jobs.job import JobContext

PURGE_MOST = 20_000
log = logging.getLogger(__name__)


class Relay:
    """One worker's share of the relay."""

    def __init__(
        self,
        settings: EventsSettings,
        primary: Runs,
        *,
        rng: Rng,
        busy: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._primary = primary
        self._rng = rng
        self._busy = busy
        self._wake = wake
        self._task: asyncio.Task[None] | None = None
        self.counters = {"events_relayed_total": 0}

    async def start(self) -> None:
        """Starts; returns at once."""
        self._task = asyncio.create_task(self._run(), name="event-relay")

    async def stop(self) -> None:
        """Ends; what is still in the outbox is moved by another worker, or by the next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def turn(self) -> int:
        """Moves what is there; returns how many events (-1: another worker is at it)."""
        moved: int = await self._primary.run(
            lambda connection: connection.fetchval(SQL["relay"], self._settings.relay_most), deadline_s=10.0
        )
        if moved > 0:
            self.counters["events_relayed_total"] += moved
            self._wake()
        return moved

    async def _run(self) -> None:
        settings = self._settings
        while True:
            pause_s = settings.poll_s * (4.0 if self._busy() else 1.0)
            await asyncio.sleep(pause_s * (0.75 + 0.5 * self._rng.random()))
            try:
                while await self.turn() >= settings.relay_most:
                    pass
            except StoreUnavailable:
                continue
            except Exception:
                log.exception("Relaying events failed; the next turn tries again.")


async def forget_events(context: JobContext) -> str:
    """Job: forgets events that are older than the setting and that nobody waits for."""
    keep = timedelta(days=context.settings.events_keep_days)
    gone = 0
    while True:
        batch: int = await context.primary.run(
            lambda connection: connection.fetchval(SQL["purge_events"], keep, PURGE_MOST)
        )
        gone += batch
        if batch < PURGE_MOST:
            return f"Forgot {gone} events that were older than {context.settings.events_keep_days:g} days."
        await asyncio.sleep(0.05)
