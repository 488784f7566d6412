"""Housekeeping: forgets used idempotency keys, expired sessions and jobs that ended long ago, in small batches.

(Reservations that expire are not here: only the provider can say that no money moved, so the payer ends them.)"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from everopen.store import load_statements
from everopen.store.primary import Connection
from everopen.trading.jobs import queue
from everopen.trading.jobs.job import JobContext

SQL = load_statements("everopen.trading", "housekeeping.sql")
BATCH = 5000


async def forget(context: JobContext) -> str:
    """One round; returns a sentence that says what was done."""
    settings = context.settings

    async def batch(connection: Connection) -> tuple[int, int, int, int]:
        keys = await connection.fetch(SQL["purge_keys"], settings.idempotency_days * 86_400, BATCH)
        sessions, carts = await forget_carts(connection, settings.cart_days, context.clock.wall_s())
        jobs = await queue.purge(connection, settings.jobs_keep_days, BATCH)
        return len(keys), sessions, carts, jobs

    keys, sessions, carts, jobs = await context.primary.run(batch)
    return (
        f"Forgot {keys} idempotency keys, {sessions} expired sessions, {carts} carts "
        f"and {jobs} jobs that ended long ago."
    )


async def forget_carts(connection: Connection, cart_days: float, now_s: float) -> tuple[int, int]:
    """Forgets sessions that have expired, guests' carts whose last session that was, and whatever cart was not changed for
    `cart_days` and has no session; how many of each."""
    ended: Any = await connection.fetch(SQL["purge_sessions"], BATCH)
    guests = await connection.fetch(SQL["purge_guest_carts"], [row["cart_id"] for row in ended])
    before = UUID(int=max(0, int((now_s - cart_days * 86_400) * 1000)) << 80)  # the least id of that moment
    old = await connection.fetch(SQL["purge_old_carts"], before, cart_days * 86_400, BATCH)
    return len(ended), len(guests) + len(old)
