"""Durable jobs on a real PostgreSQL: once per due time, taken up when their worker dies, written by one attempt only."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from everopen.base.clock import SystemClock
from everopen.base.topology import TopologyReader
from everopen.store import Primary, StoreSettings
from everopen.trading import TradingSettings
from everopen.trading.jobs import Job, JobContext, Overtaken, enqueue, queue
from everopen.trading.jobs.runner import Runner
from everopen.trading.jobs.table import JOBS
from tests.integration.trading.conftest import Shop
from tests.support.postgres import Database

FAST: dict[str, Any] = {"jobs_poll_s": 0.03, "jobs_lease_s": 0.6}


@asynccontextmanager
async def primary_of(database: Database) -> AsyncIterator[Primary]:
    primary = Primary(
        StoreSettings(),
        TopologyReader(database.topology_file),
        password="-",
        clock=SystemClock(),
        jitter=random.random,
        database=database.name,
    )
    await primary.start()
    try:
        yield primary
    finally:
        await primary.close()


@asynccontextmanager
async def runner_of(database: Database, *jobs: Job, **settings: Any) -> AsyncIterator[Runner]:
    """A worker's runner with connections of its own."""
    async with primary_of(database) as primary:
        runner = Runner(
            TradingSettings(**{**FAST, **settings}),
            primary,
            {job.name: job for job in jobs},
            {},
            clock=SystemClock(),
            rng=random.Random(),
            worker="test",
        )
        await runner.start()
        try:
            yield runner
        finally:
            await runner.stop()


async def until(true: Callable[[], Any], timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.01)


def counting(name: str = "count", **facts: Any) -> tuple[Job, list[JobContext]]:
    seen: list[JobContext] = []

    async def run(context: JobContext) -> str:
        seen.append(context)
        return "Counted."

    return Job(name, run, **facts), seen


def test_a_job_of_a_committed_transaction_runs_once_and_one_of_a_rolled_back_one_never(shop: Shop) -> None:
    async def scenario() -> None:
        job, seen = counting()
        async with runner_of(shop.database, job) as runner, shop.database.connect() as connection:
            async with connection.transaction():
                await enqueue(connection, "count", {"number": 1})
                await asyncio.sleep(0.2)
                assert seen == []
            undone = connection.transaction()
            await undone.start()
            await enqueue(connection, "count", {"number": 2})
            await undone.rollback()
            await until(lambda: runner.counters["jobs_done_total"] == 1)
            await asyncio.sleep(0.2)
        assert [context.payload for context in seen] == [{"number": 1}]
        assert await shop.value("SELECT said FROM jobs") == "Counted."

    asyncio.run(scenario())


def test_a_job_waits_for_its_time(shop: Shop) -> None:
    async def scenario() -> None:
        job, seen = counting()
        async with runner_of(shop.database, job), shop.database.connect() as connection:
            await enqueue(connection, "count", at=datetime.now(UTC) + timedelta(seconds=0.5))
            await asyncio.sleep(0.3)
            assert seen == []
            await until(lambda: seen)

    asyncio.run(scenario())


def test_a_repeating_job_runs_once_per_due_time_with_any_number_of_workers(shop: Shop) -> None:
    async def scenario() -> None:
        job, seen = counting("tick", every_s=lambda _settings: 0.5)
        async with (
            runner_of(shop.database, job),
            runner_of(shop.database, job),
            runner_of(shop.database, job),
            runner_of(shop.database, job),
        ):
            await until(lambda: len(seen) >= 6)
        due = [context.due_at for context in seen]
        assert len(due) == len(set(due))
        assert all(time is not None and time.timestamp() % 0.5 == 0 for time in due)

    asyncio.run(scenario())


def test_a_repeating_job_never_runs_twice_at_a_time(shop: Shop) -> None:
    async def scenario() -> None:
        running, most = 0, 0

        async def slow(_context: JobContext) -> str:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.7)
            running -= 1
            return "Slept."

        job = Job("slow", slow, every_s=lambda _settings: 0.2)
        async with runner_of(shop.database, job), runner_of(shop.database, job) as runner:
            await asyncio.sleep(2.5)
            assert runner.counters["jobs_failed_total"] == 0
        assert most == 1

    asyncio.run(scenario())


def test_many_workers_do_each_of_many_jobs_exactly_once(shop: Shop) -> None:
    async def scenario() -> None:
        job, seen = counting()
        async with shop.database.connect() as connection:
            for number in range(200):
                await enqueue(connection, "count", {"number": number})
        async with (
            runner_of(shop.database, job, jobs_concurrency=16),
            runner_of(shop.database, job, jobs_concurrency=16),
            runner_of(shop.database, job, jobs_concurrency=16),
        ):
            await until(lambda: len(seen) >= 200)
            await asyncio.sleep(0.2)
        assert sorted(context.payload["number"] for context in seen) == list(range(200))

    asyncio.run(scenario())


def test_a_failing_job_is_tried_again_and_in_the_end_dead_and_can_be_retried(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everopen.trading.jobs.runner.FIRST_PAUSE_S", 0.01)

    async def scenario() -> None:
        tries = 0
        well = False

        async def fail(_context: JobContext) -> str:
            nonlocal tries
            tries += 1
            if not well:
                raise RuntimeError("no luck")
            return "Luck."

        job = Job("fail", fail, attempts_max=3)
        async with runner_of(shop.database, job) as runner, primary_of(shop.database) as primary:
            job_id = await primary.run(lambda connection: enqueue(connection, "fail"))
            await until(lambda: runner.counters["jobs_dead_total"] == 1)
            assert tries == 3
            dead = await queue.list_jobs(primary, status="dead")
            assert [(job.id, job.said) for job in dead] == [(job_id, "RuntimeError: no luck")]
            well = True
            first = await queue.retry(primary, job_id, key="again", fingerprint=b"1")
            again = await queue.retry(primary, job_id, key="again", fingerprint=b"1")
            assert isinstance(first, queue.JobView)
            assert isinstance(again, queue.JobView)
            assert isinstance(await queue.retry(primary, job_id, key="x", fingerprint=b"1"), queue.NotDead)
            assert await queue.retry(primary, 10**6, key="y", fingerprint=b"1") is None
            await until(lambda: runner.counters["jobs_done_total"] == 1)
            assert (await queue.list_jobs(primary))[0].said == "Luck."

    asyncio.run(scenario())


def test_a_job_that_takes_too_long_has_failed(shop: Shop) -> None:
    async def scenario() -> None:
        async def hang(_context: JobContext) -> str:
            await asyncio.sleep(60)
            return "Never."

        job = Job("hang", hang, timeout_s=0.2, attempts_max=1)
        async with runner_of(shop.database, job) as runner, shop.database.connect() as connection:
            await enqueue(connection, "hang")
            await until(lambda: runner.counters["jobs_dead_total"] == 1)
        assert await shop.value("SELECT said FROM jobs") == "It took longer than 0.2 s."

    asyncio.run(scenario())


def test_a_long_job_keeps_its_lease(shop: Shop) -> None:
    async def scenario() -> None:
        runs = 0

        async def long(_context: JobContext) -> str:
            nonlocal runs
            runs += 1
            await asyncio.sleep(2.0)
            return "Done."

        job = Job("long", long)
        async with runner_of(shop.database, job) as one, runner_of(shop.database, job) as two:
            async with shop.database.connect() as connection:
                await enqueue(connection, "long")
            await until(lambda: one.counters["jobs_done_total"] + two.counters["jobs_done_total"] == 1)
        assert runs == 1

    asyncio.run(scenario())


def test_who_was_overtaken_can_neither_write_his_result_nor_claim_his_job(shop: Shop) -> None:
    async def scenario() -> None:
        async with primary_of(shop.database) as primary:
            await primary.run(lambda connection: enqueue(connection, "x"))
            take = lambda connection: queue.take(connection, ["x"], most=1, lease_s=0.05, worker="w")  # noqa: E731
            (first,) = await primary.run(take)
            await asyncio.sleep(0.1)
            (second,) = await primary.run(take)
            assert (first.attempt, second.attempt) == (1, 2)
            assert not await primary.run(lambda connection: queue.finish(connection, first, "I did it."))
            context = JobContext(
                primary, TradingSettings(), SystemClock(), {}, {}, id=first.id, attempt=first.attempt
            )

            async def claim(connection: Any) -> None:
                async with connection.transaction():
                    await context.claim(connection)

            with pytest.raises(Overtaken):
                await primary.run(claim)
            assert await primary.run(lambda connection: queue.finish(connection, second, "I did."))

    asyncio.run(scenario())


WORKER = """
import asyncio, json, random, sys
from pathlib import Path
from everopen.base.clock import SystemClock
from everopen.base.topology import TopologyReader
from everopen.store import Primary, StoreSettings
from everopen.trading import TradingSettings
from everopen.trading.jobs import Job
from everopen.trading.jobs.runner import Runner

async def hang(context):
    print(f"begun {context.attempt}", flush=True)
    await asyncio.sleep(600)

async def main():
    asked = json.loads(sys.argv[1])
    primary = Primary(StoreSettings(), TopologyReader(Path(asked["topology"])), password="-", clock=SystemClock(),
                      jitter=random.random, database=asked["database"])
    await primary.start()
    runner = Runner(TradingSettings(jobs_poll_s=0.03, jobs_lease_s=0.6), primary, {"precious": Job("precious", hang)}, {},
                    clock=SystemClock(), rng=random.Random(), worker="victim")
    await runner.start()
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_job_whose_worker_is_killed_is_taken_up_by_another_when_its_lease_ends(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.database.connect() as connection:
            await enqueue(connection, "precious")
        asked = {"topology": str(shop.database.topology_file), "database": shop.database.name}
        victim = subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(asked)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
        )
        assert victim.stdout is not None
        with victim.stdout:
            assert (await asyncio.to_thread(victim.stdout.readline)) == b"begun 1\n"
            victim.send_signal(signal.SIGKILL)
            victim.wait(10)
        job, seen = counting("precious")
        began = asyncio.get_running_loop().time()
        async with runner_of(shop.database, job) as runner:
            await until(lambda: runner.counters["jobs_done_total"] == 1)
        assert [context.attempt for context in seen] == [2]
        assert asyncio.get_running_loop().time() - began < 5

    asyncio.run(scenario())


def test_a_runner_goes_on_after_its_connections_were_lost(shop: Shop) -> None:
    async def scenario() -> None:
        job, seen = counting("tick", every_s=lambda _settings: 0.2)
        async with runner_of(shop.database, job):
            await until(lambda: len(seen) >= 2)
            shop.database.publish(1, gone=True)
            await shop.database.kill_backends()
            await asyncio.sleep(0.5)
            before = len(seen)
            shop.database.publish(1)
            await until(lambda: len(seen) >= before + 2)
        due = [context.due_at for context in seen]
        assert len(due) == len(set(due))

    asyncio.run(scenario())


def test_ended_jobs_are_forgotten_but_for_the_last_of_each_repeating_one(shop: Shop) -> None:
    async def scenario() -> None:
        await shop.fetch(
            "INSERT INTO jobs (name, repeats, due_at, next_at, status, finished_at) "
            "SELECT 'daily', true, now() - n * interval '1 day', now(), 'done', now() - n * interval '1 day' "
            "FROM generate_series(20, 30) AS n"
        )
        async with primary_of(shop.database) as primary:
            context = JobContext(primary, TradingSettings(), SystemClock(), {}, {})
            assert "10 jobs" in await JOBS["forget"].run(context)
        assert await shop.value("SELECT count(*) FROM jobs") == 1

    asyncio.run(scenario())
