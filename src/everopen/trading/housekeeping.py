"""Housekeeping: forgets used idempotency keys and expired sessions, in small batches, one worker at a time.

(Reservations that expire are not here: only the provider can say that no money moved, so the payer ends them.)"""

from __future__ import annotations

import asyncio
import logging

from everopen.base.errors import StoreUnavailable
from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.settings import TradingSettings

SQL = load_statements("everopen.trading", "housekeeping.sql")
BATCH = 5000
log = logging.getLogger(__name__)


async def keep_house(connection: Connection, settings: TradingSettings) -> str:
    """One round; returns a sentence that says what was done."""
    async with connection.transaction():
        if not await connection.fetchval(SQL["try_lock"]):
            return "Another worker keeps house."
        keys = await connection.fetch(SQL["purge_keys"], settings.idempotency_days * 86_400, BATCH)
        carts = await connection.fetch(SQL["purge_sessions"], BATCH)
    return f"Forgot {len(keys)} idempotency keys and {len(carts)} expired sessions."


class Housekeeper:
    """Keeps house from time to time."""

    def __init__(self, settings: TradingSettings, primary: Primary) -> None:
        self._settings = settings
        self._primary = primary
        self._task: asyncio.Task[None] | None = None
        self.counters = {"housekeeping_rounds_total": 0}

    async def start(self) -> None:
        """Starts; the first round comes after the first pause."""
        self._task = asyncio.create_task(self._run(), name="housekeeping")

    async def stop(self) -> None:
        """Ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._settings.housekeeping_s)
            try:
                said = await self._primary.run(
                    lambda connection: keep_house(connection, self._settings), deadline_s=10.0
                )
                self.counters["housekeeping_rounds_total"] += 1
                log.info("%s", said)
            except StoreUnavailable:
                continue
            except Exception:
                log.exception("Housekeeping failed; the next round tries again.")
