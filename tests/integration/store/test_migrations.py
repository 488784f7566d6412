"""The schema's versions on a real PostgreSQL."""

from __future__ import annotations

import asyncio

from alembic.script import ScriptDirectory

from everopen.store import migrations
from everopen.store.migrations.runner import config
from tests.support.postgres import Database


def test_the_newest_migration_is_the_one_the_code_needs() -> None:
    assert ScriptDirectory.from_config(config()).get_current_head() == migrations.HEAD


def test_upgrades_can_be_repeated_and_run_at_once(database: Database) -> None:
    async def scenario() -> None:
        node = database.node
        async with database.connect("postgres") as connection:
            await connection.execute("CREATE DATABASE empty_one")
        arguments = (str(node.folder), node.port, "postgres", None, "empty_one")
        await asyncio.gather(migrations.upgrade(*arguments), migrations.upgrade(*arguments))
        await migrations.upgrade(*arguments)
        database.name = "empty_one"
        async with database.connect() as connection:
            assert await migrations.is_current(connection)

    asyncio.run(scenario())


def test_an_empty_database_is_not_current(database: Database) -> None:
    async def scenario() -> None:
        async with database.connect("postgres") as connection:
            await connection.execute("CREATE DATABASE empty_two")
        database.name = "empty_two"
        async with database.connect() as connection:
            assert not await migrations.is_current(connection)

    asyncio.run(scenario())


def test_nothing_belongs_to_a_role_that_can_log_in(database: Database) -> None:
    async def scenario() -> None:
        async with database.connect("postgres") as connection:
            owners = await connection.fetch(
                "SELECT DISTINCT relowner::regrole::text FROM pg_class "
                "WHERE relnamespace = 'public'::regnamespace AND relname !~ '^alembic'"
            )
            assert [row[0] for row in owners] == ["everopen_owner"]

    asyncio.run(scenario())
