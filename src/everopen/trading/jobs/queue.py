"""Jobs as rows: put one in, take due ones, write results, look at them. Every result is written under the attempt's number,
so whoever was overtaken writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from msgspec import Struct

from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import KeyReused

SQL = load_statements("everopen.trading", "jobs.sql")
Status = Literal["waiting", "running", "done", "dead"]
SAID_MAX = 500


class Taken(Struct, frozen=True):
    """A job that this worker holds."""

    id: int
    name: str
    payload: dict[str, Any]
    due_at: datetime
    attempt: int
    """Its number; only the newest one counts."""
    tries: int
    """Attempts since it was made, or since staff had it retried."""


class JobView(Struct, frozen=True):
    """A job as people see it. `said`: what its last run said, or how it failed."""

    id: int
    name: str
    status: Status
    payload: dict[str, Any]
    repeats: bool
    due_at: datetime
    next_at: datetime
    """waiting: not before; running: until then its worker has it."""
    attempt: int
    worker: str
    said: str
    created_at: datetime
    finished_at: datetime | None


class NotDead(Struct, frozen=True):
    """Only a dead job can be retried, and a repeating one only before its next due time."""


async def enqueue(
    connection: Connection,
    name: str,
    payload: Mapping[str, Any] | None = None,
    *,
    at: datetime | None = None,
) -> int:
    """Has a job done once, soon or not before `at`; returns its id. Part of the caller's transaction: it is there exactly
    when the rest of it is. `name` is one of `table.JOBS`."""
    text = msgspec.json.encode(payload or {}).decode()
    job_id: int = await connection.fetchval(SQL["enqueue_job"], name, text, at)
    return job_id


async def plan(connection: Connection, repeating: Mapping[str, float]) -> None:
    """Makes sure that each repeating job exists for its present due time, unless an earlier one is still open."""
    if repeating:
        await connection.execute(SQL["plan_jobs"], list(repeating), list(repeating.values()))


async def take(
    connection: Connection, names: Iterable[str], *, most: int, lease_s: float, worker: str
) -> list[Taken]:
    """Takes due jobs, oldest first; others skip them until the lease ends."""
    rows = await connection.fetch(SQL["take_jobs"], list(names), most, timedelta(seconds=lease_s), worker)
    return [
        Taken(
            row["id"],
            row["name"],
            msgspec.json.decode(row["payload"]),
            row["due_at"],
            row["attempt"],
            row["tries"],
        )
        for row in rows
    ]


async def keep(connection: Connection, held: Mapping[int, int], *, lease_s: float) -> set[int]:
    """Lengthens the leases of jobs (id to attempt); returns the ids that are still ours."""
    rows = await connection.fetch(
        SQL["keep_jobs"], list(held), list(held.values()), timedelta(seconds=lease_s)
    )
    return {row["id"] for row in rows}


async def finish(connection: Connection, job: Taken, said: str) -> bool:
    """Writes that the job is done; False when another worker has it by now."""
    return bool(await connection.fetchval(SQL["finish_job"], job.id, job.attempt, said[:SAID_MAX]))


async def fail(connection: Connection, job: Taken, said: str, *, pause_s: float, dead: bool) -> bool:
    """Writes that the job failed: it is tried again after the pause, or is dead. False when another worker has it by now."""
    return bool(
        await connection.fetchval(
            SQL["fail_job"], job.id, job.attempt, said[:SAID_MAX], timedelta(seconds=pause_s), dead
        )
    )


async def list_jobs(
    primary: Primary,
    *,
    status: Status | None = None,
    name: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[JobView]:
    """Jobs, newest first; `before` is the id of the last one seen."""
    rows: Any = await primary.run(
        lambda connection: connection.fetch(SQL["list_jobs"], status, name, before, limit)
    )
    return [_view(row) for row in rows]


async def retry(
    primary: Primary, job_id: int, *, key: str, fingerprint: bytes
) -> JobView | NotDead | KeyReused | None:
    """Gives a dead job its attempts back, once per key; None when there is no such job."""

    async def work(connection: Connection) -> JobView | NotDead | KeyReused | None:
        async with connection.transaction():
            known: Any = await connection.fetchrow(SQL["known_retry"], key, fingerprint)
            if known["code"] == 2:
                return KeyReused()
            changed = known["code"] == 1 or await connection.fetchval(SQL["retry_job"], job_id)
            row = await connection.fetchrow(SQL["find_job"], job_id)
            if row is None:
                return None
            if not changed:
                return NotDead()
            if known["code"] == 0:
                await connection.execute(SQL["remember_retry"], key, fingerprint, f"{row['name']} {job_id}")
            return _view(row)

    return await primary.run(work)


def _view(row: Any) -> JobView:
    return JobView(**{**dict(row), "payload": msgspec.json.decode(row["payload"])})


async def purge(connection: Connection, keep_days: float, most: int) -> int:
    """Forgets done and dead jobs that are older; returns how many."""
    rows = await connection.fetch(SQL["purge_jobs"], keep_days * 86_400, most)
    return len(rows)
