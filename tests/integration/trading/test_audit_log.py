"""The audit log on a real PostgreSQL: chained, gapless, with names, and never on the path of an order."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from everopen.base.actor import ACTOR
from everopen.store import migrations
from everopen.store.migrations.runner import config
from everopen.trading import audit
from tests.integration.trading.conftest import Shop, problems
from tests.support.postgres import Node

INSERT = "INSERT INTO audit_log (action, key, detail) VALUES ($1, $2, $3)"
FORGERIES = {
    "a row that was changed": ("UPDATE audit_log SET detail = 'nothing' WHERE sequence = 3", "row 3"),
    "a row under another name": ("UPDATE audit_log SET actor = 'staff:bob' WHERE sequence = 4", "row 4"),
    "a row that was moved in time": (
        "UPDATE audit_log SET happened_at = happened_at + interval '1 microsecond' WHERE sequence = 2",
        "row 2",
    ),
    "a row that was removed": ("DELETE FROM audit_log WHERE sequence = 3", "row 4"),
    "the first row removed": ("DELETE FROM audit_log WHERE sequence = 1", "row 2"),
    "rows cut off at the end": (
        "DELETE FROM audit_log WHERE sequence > 4",
        "ends with row 4, its recorded end is row 6",
    ),
    "a row changed with its digest": (
        "UPDATE audit_log SET detail = 'nothing', digest = sha256('forged') WHERE sequence = 3",
        "row 3",
    ),
    "a row slipped in without the trigger": (
        "SET session_replication_role = replica; INSERT INTO audit_log (sequence, actor, action, key, previous, digest) "
        "SELECT 7, 'x', 'y', 'z', digest, sha256('forged') FROM audit_log WHERE sequence = 6",
        "row 7",
    ),
    "everything emptied": ("TRUNCATE audit_log", "ends with row 0"),
}


async def insert(connection: asyncpg.Connection, *, key: str, detail: str) -> None:
    await connection.execute(INSERT, "test", key, detail)


async def fill(shop: Shop, rows: int = 6) -> None:
    async with shop.database.connect() as connection:
        for number in range(rows):
            await connection.execute(INSERT, "test", f"k{number}", f"row {number}")


def test_each_row_carries_the_digest_of_the_one_before(shop: Shop) -> None:
    async def scenario() -> None:
        await fill(shop)
        rows = await shop.fetch("SELECT sequence, previous, digest FROM audit_log ORDER BY sequence")
        assert [row["sequence"] for row in rows] == [1, 2, 3, 4, 5, 6]
        assert [row["previous"] for row in rows] == [b"", *(row["digest"] for row in rows[:-1])]
        assert len({row["digest"] for row in rows}) == 6
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_by_the_superuser_is_found_and_its_first_row_named(shop: Shop, name: str) -> None:
    statement, named = FORGERIES[name]

    async def scenario() -> None:
        await fill(shop)
        async with shop.database.connect("postgres") as connection:
            await connection.execute(statement)
        (check,) = [check for check in (await shop.audit()).checks if check.name == "audit_log_is_chained"]
        assert not check.ok
        assert named in check.detail.split("; ")[0]

    asyncio.run(scenario())


def test_the_chain_holds_under_twenty_writers(shop: Shop) -> None:
    async def writer(number: int) -> None:
        async with shop.database.connect() as connection:
            for turn in range(15):
                transaction = connection.transaction()
                await transaction.start()
                await connection.execute(INSERT, "test", f"{number}-{turn}", "one")
                if turn % 3 == 0:
                    await connection.execute(INSERT, "test", f"{number}-{turn}", "two")
                # what is taken back leaves no gap
                await (transaction.rollback() if turn % 5 == 0 else transaction.commit())

    async def scenario() -> None:
        await asyncio.gather(*(writer(number) for number in range(20)))
        count, last = (await shop.fetch("SELECT count(*), max(sequence) FROM audit_log"))[0]
        assert count == last == 20 * (12 + 4)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_many_rows_of_one_statement_are_chained_too(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.database.connect() as connection:
            await connection.execute(
                "INSERT INTO audit_log (action, key) SELECT 'bulk', n::text FROM generate_series(1, 3000) AS n"
            )
        assert await shop.value("SELECT sequence FROM audit_head") == 3000
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_the_application_can_neither_number_rows_nor_move_the_end(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.database.connect() as connection:
            await connection.execute(
                "INSERT INTO audit_log (sequence, action, key, previous, digest) VALUES (99, 'a', 'b', 'x', 'y')"
            )
            assert await connection.fetchval("SELECT sequence FROM audit_log") == 1
            for statement in ("UPDATE audit_head SET sequence = 0", "DELETE FROM audit_head"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_rows_carry_the_name_of_whoever_acts_and_nobody_elses(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:

            async def act(name: str) -> None:
                ACTOR.set(name)
                for turn in range(10):
                    key = f"{name}/{turn}"
                    await worker.primary.run(partial(insert, key=key, detail=name))

            # tasks of their own, as requests have; they share three connections
            await asyncio.gather(
                *(asyncio.create_task(act(name)) for name in ("staff:ann", "key:erp", "", "operator"))
            )
            rows = await shop.fetch("SELECT actor, detail FROM audit_log")
            assert len(rows) == 40
            assert all(row["actor"] == (row["detail"] or "system") for row in rows)

    asyncio.run(scenario())


def test_a_call_that_ends_early_leaves_no_name_behind(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            link = worker.primary.link("own")

            async def act(name: str, cancel_after_s: float | None) -> None:
                ACTOR.set(name)
                work = link.run(partial(insert, key="k", detail=name))
                try:
                    await asyncio.wait_for(work, cancel_after_s)
                except TimeoutError:
                    pass

            for turn in range(30):
                await asyncio.create_task(act("staff:ann", turn * 0.0001))
                await asyncio.create_task(act("", None))
            rows = await shop.fetch("SELECT actor, detail FROM audit_log")
            assert all(row["actor"] == (row["detail"] or "system") for row in rows)

    asyncio.run(scenario())


def test_nothing_on_the_path_of_an_order_writes_there(shop: Shop) -> None:
    """Its lock is held to the end of a transaction: orders would queue for it one by one."""

    async def scenario() -> None:
        rows = await shop.fetch(
            "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        )
        sources = {row["proname"]: row["prosrc"] for row in rows}
        reached, todo = set(), ["place_orders", "settle_payments"]
        while todo:
            name = todo.pop()
            reached.add(name)
            called = {other for other in sources if re.search(rf"\b{other}\s*\(", sources[name])}
            todo.extend(called - reached)
        assert len(reached) > 2
        assert [name for name in reached if "audit_log" in sources[name]] == []

    asyncio.run(scenario())


def test_rows_of_a_former_version_are_chained_in_their_order(node: Node) -> None:
    async def scenario() -> None:
        database = await node.create_database()
        database.name = f"{database.name}_old"
        connection = await asyncpg.connect(
            host=str(node.folder), port=node.port, user="postgres", database="postgres"
        )
        await connection.execute(f"CREATE DATABASE {database.name} OWNER everopen_owner")
        await connection.close()
        url = URL.create("postgresql+asyncpg", username="postgres", database=database.name)
        engine = create_async_engine(
            url, poolclass=NullPool, connect_args={"host": str(node.folder), "port": node.port}
        )
        async with engine.connect() as first:

            def to_0001(bind: object) -> None:
                settings = config()
                settings.attributes["connection"] = bind
                command.upgrade(settings, "0001")

            await first.run_sync(to_0001)
            await first.commit()
        await engine.dispose()
        async with database.connect("postgres") as connection:
            await connection.execute(
                "INSERT INTO audit_log (happened_at, action, key, detail) "
                "SELECT now() - n * interval '1 minute', 'products', n::text, 'ä' FROM generate_series(1, 2000) AS n"
            )
            await connection.execute("INSERT INTO carts (id) VALUES (gen_random_uuid())")
            await connection.execute(
                "INSERT INTO sessions (token_hash, cart_id, expires_at) SELECT 'x', id, now() + interval '1 day' FROM carts"
            )
        await migrations.upgrade(str(node.folder), node.port, "postgres", None, database.name)
        async with database.connect("everopen_audit") as connection:
            rows = await connection.fetch("SELECT sequence, key, actor FROM audit_log ORDER BY sequence")
            assert [int(row["key"]) for row in rows] == list(range(2000, 0, -1))
            assert {row["actor"] for row in rows} == {"unknown"}
            assert problems(await audit.run(connection)) == []
        async with database.connect() as connection:
            await connection.execute(INSERT, "test", "k", "and on it goes")
            assert await connection.fetchval("SELECT customer_id FROM sessions") is None
        async with database.connect("everopen_audit") as connection:
            assert problems(await audit.run(connection)) == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "table", ["customers", "staff", "staff_recovery_codes", "api_keys", "password_resets"]
)
def test_the_audit_role_reads_no_secrets(shop: Shop, table: str) -> None:
    async def scenario() -> None:
        async with shop.database.connect("everopen_audit") as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {table}")

    asyncio.run(scenario())


def test_the_log_is_written_last_in_each_function_so_its_lock_waits_for_no_other() -> None:
    """Whoever held it and then waited for an order or a shelf would make all staff wait, or deadlock."""
    folder = Path(migrations.__file__).parent / "functions"
    after = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM|PERFORM|FOR (?:NO KEY )?UPDATE OF)\s+(\w+)")
    wrong = []
    for path in folder.glob("*.sql"):
        for name, body in re.findall(
            r"CREATE FUNCTION (\w+)\(.*?\$\$(.*?)\$\$;", path.read_text(), re.DOTALL
        ):
            _, found, rest = body.partition("INSERT INTO audit_log")
            if found and set(after.findall(rest)) - {"idempotency"}:
                wrong.append((path.name, name))
    assert wrong == []
