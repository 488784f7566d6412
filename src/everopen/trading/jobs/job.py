"""What a job is to those who write one.

A job may run more than once: its worker may die after the work and before the result is written. So its function is
idempotent, or it makes its change in one transaction together with `JobContext.claim`, which holds the row and refuses a
worker that was overtaken (paused for longer than its lease, and another one has the job by now)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from everopen.base.clock import Clock
from everopen.store import Primary
from everopen.store.primary import Connection
from everopen.trading.settings import TradingSettings

if TYPE_CHECKING:
    from everopen.trading.payments.provider import Provider


class Overtaken(Exception):
    """Another worker has this job by now; what this one would still write is refused."""


class JobContext(Struct, frozen=True):
    """What a job gets: the shop's things, and what was asked."""

    primary: Primary
    settings: TradingSettings
    clock: Clock
    payload: Mapping[str, Any]
    providers: Mapping[str, Provider]
    id: int = 0
    attempt: int = 1
    """1 at the first try."""
    due_at: datetime | None = None
    """The due time that this run stands for."""

    async def claim(self, connection: Connection) -> None:
        """Holds the job for the caller's transaction. Raises Overtaken when it is no longer ours: so the work of a
        transaction that begins with this is done by exactly one attempt at a time."""
        row = await connection.fetchrow(
            "SELECT attempt, status FROM jobs WHERE id = $1 FOR NO KEY UPDATE", self.id
        )
        if row is None or row["attempt"] != self.attempt or row["status"] != "running":
            raise Overtaken


class Job(Struct, frozen=True):
    """A kind of work. `run` answers one sentence that says what was done."""

    name: str
    run: Callable[[JobContext], Awaitable[str]]
    every_s: Callable[[TradingSettings], float] | None = None
    """How often it is due by itself, on the grid of UTC (3600: each full hour); None: only when enqueued."""
    attempts_max: int = 10
    """After so many failures it is dead: it stays visible, and staff may retry it."""
    timeout_s: float = 300.0
    """A run that takes longer has failed."""
