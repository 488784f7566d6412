"""Housekeeping: forgets used idempotency keys, expired sessions and jobs that ended long ago, in small batches.

(Reservations that expire are not here: only the provider can say that no money moved, so the payer ends them.)"""

from __future__ import annotations

from everopen.store import load_statements
from everopen.store.primary import Connection
from everopen.trading.jobs import queue
from everopen.trading.jobs.job import JobContext

SQL = load_statements("everopen.trading", "housekeeping.sql")
BATCH = 5000


async def forget(context: JobContext) -> str:
    """One round; returns a sentence that says what was done."""
    settings = context.settings

    async def batch(connection: Connection) -> tuple[int, int, int]:
        keys = await connection.fetch(SQL["purge_keys"], settings.idempotency_days * 86_400, BATCH)
        carts = await connection.fetch(SQL["purge_sessions"], BATCH)
        jobs = await queue.purge(connection, settings.jobs_keep_days, BATCH)
        return len(keys), len(carts), jobs

    keys, carts, jobs = await context.primary.run(batch)
    return f"Forgot {keys} idempotency keys, {carts} expired sessions and {jobs} jobs that ended long ago."
