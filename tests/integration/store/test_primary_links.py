"""Links follow the primary on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from everopen.base.clock import SystemClock
from everopen.base.errors import StoreUnavailable
from everopen.base.topology import TopologyReader
from everopen.store import Primary, StoreSettings
from tests.support.postgres import Database, running_node


@asynccontextmanager
async def open_primary(database: Database, **settings: Any) -> AsyncIterator[Primary]:
    primary = Primary(
        StoreSettings(**{"deadline_s": 10.0, **settings}),
        TopologyReader(database.topology_file),
        password="-",
        clock=SystemClock(),
        jitter=lambda: 0.5,
        database=database.name,
    )
    await primary.start()
    try:
        yield primary
    finally:
        await primary.close()


def one(connection: Any) -> Any:
    return connection.fetchval("SELECT 1")


def test_an_idle_link_that_lost_its_server_is_filled_again_by_itself(database: Database) -> None:
    async def scenario() -> None:
        async with open_primary(database) as primary:
            assert await primary.run(one) == 1
            await database.kill_backends()
            async with asyncio.timeout(5):
                while primary.counters["store_connections_total"] < 4:
                    await asyncio.sleep(0.01)
            assert primary.ready()

    asyncio.run(scenario())


def test_a_call_whose_server_dies_runs_again_unless_told_not_to(database: Database) -> None:
    async def scenario() -> None:
        async with open_primary(database, pool_connections=1) as primary:
            tries = 0

            async def die_once(connection: Any) -> int:
                nonlocal tries
                tries += 1
                if tries == 1:
                    await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
                return tries

            assert await primary.run(die_once) == 2
            tries = 0
            with pytest.raises(StoreUnavailable):
                await primary.run(die_once, retry=False)

    asyncio.run(scenario())


def test_an_error_of_the_statement_reaches_the_caller_and_keeps_the_connection(database: Database) -> None:
    async def scenario() -> None:
        async with open_primary(database, pool_connections=1) as primary:
            before = await primary.run(lambda connection: connection.fetchval("SELECT pg_backend_pid()"))
            with pytest.raises(asyncpg.DivisionByZeroError):
                await primary.run(lambda connection: connection.fetchval("SELECT 1 / 0"))
            assert (
                await primary.run(lambda connection: connection.fetchval("SELECT pg_backend_pid()")) == before
            )

    asyncio.run(scenario())


def test_a_standby_or_a_node_of_another_epoch_is_never_used(database: Database) -> None:
    async def scenario() -> None:
        database.publish(9)
        async with open_primary(database, deadline_s=0.5) as primary:
            with pytest.raises(StoreUnavailable):
                await primary.run(one)
            assert not primary.ready()
            database.publish(1)
            assert await primary.run(one) == 1

    asyncio.run(scenario())


def test_a_call_on_a_stopped_node_moves_on_when_the_epoch_does() -> None:
    """A SIGSTOP breaks no connection: only the change of the epoch frees the call."""

    async def scenario(stopped: Database, other: Database) -> None:
        backends: list[int] = []

        async def work(connection: Any) -> str:
            backends.append(await connection.fetchval("SELECT pg_backend_pid()"))
            if len(backends) == 1:
                os.kill(stopped.node.process.pid, signal.SIGSTOP)
                os.kill(backends[0], signal.SIGSTOP)
            return str(await connection.fetchval("SHOW everopen.epoch"))

        async with open_primary(stopped, pool_connections=1) as primary:
            call = asyncio.create_task(primary.run(work))
            while not backends:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            assert not call.done()
            stopped.topology_file.write_bytes(other.topology_file.read_bytes())
            try:
                assert await asyncio.wait_for(call, 5) == "2"
            finally:
                os.kill(backends[0], signal.SIGCONT)
                os.kill(stopped.node.process.pid, signal.SIGCONT)

    with running_node() as first, running_node("-c", "everopen.epoch=2") as second:
        one_database = first.create_database_now()
        other_database = second.create_database_now()
        other_database.name = one_database.name
        asyncio.run(rename(second, one_database.name))
        other_database.publish(2)
        asyncio.run(scenario(one_database, other_database))


async def rename(node: Any, name: str) -> None:
    """Gives the second node a database of the wanted name."""
    connection = await asyncpg.connect(
        host=str(node.folder), port=node.port, user="postgres", database="postgres"
    )
    if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name):
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE shop_template")
    await connection.close()


def test_a_call_that_hangs_ends_at_its_deadline(database: Database) -> None:
    async def scenario() -> None:
        async with open_primary(database, pool_connections=1) as primary:
            with pytest.raises(StoreUnavailable):
                await primary.run(
                    lambda connection: connection.fetchval("SELECT pg_sleep(20)"), deadline_s=0.5
                )
            assert await primary.run(one) == 1

    asyncio.run(scenario())
