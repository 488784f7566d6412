"""Mutations inside the database: a product's function with one piece of its text replaced, by the superuser, until the
`with` ends. A piece that is not there any more fails the test, so these can't silently come to mean nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import asyncpg

from everopen.base.topology import Endpoint
from everopen.drill.ground import Ground

Change = tuple[str, str, str]
"""(function, what stands there, what stands there instead)"""

OVERSELL: tuple[Change, ...] = (
    ("place_orders", "coalesce(bool_and(s.need <= s.free), true)", "true"),
    ("place_orders", "NOT (plain AND fits AND NOT has_gap)", "has_gap"),
)
NO_KEYS: tuple[Change, ...] = (
    (
        "place_orders",
        "AS o (code, key, fingerprint, id)\n     WHERE o.code = 0",
        "AS o (code, key, fingerprint, id)\n     WHERE false",
    ),
)
NO_LEDGER_ROW: tuple[Change, ...] = (
    ("place_orders", "(VALUES ('receivable', 1), ('sales', -1))", "(VALUES ('receivable', 1))"),
)
NO_EVENT: tuple[Change, ...] = (
    ("place_orders", "AS o (code, id) WHERE o.code = 0;\n\n    INSERT INTO idempotency", "AS o (code, id) WHERE false;\n\n    INSERT INTO idempotency"),
)  # fmt: skip
TWO_EVENTS: tuple[Change, ...] = (
    ("place_orders", "AS o (code, id) WHERE o.code = 0;\n\n    INSERT INTO idempotency", "AS o (code, id), generate_series(1, 2) WHERE o.code = 0;\n\n    INSERT INTO idempotency"),
)  # fmt: skip
SETTLE_AGAIN: tuple[Change, ...] = (
    ("settle_payments", "x.id = a.id AND x.status IN ('pending', 'unknown')", "x.id = a.id"),
)
GOODS_LEAVE_TWICE: tuple[Change, ...] = (
    (
        "take_reserved",
        "on_hand = t.on_hand - coalesce(sold[",
        "on_hand = t.on_hand - 2 * coalesce(sold[",
    ),
)
GOODS_LEAVE_TWICE_WITH_PAPERS: tuple[Change, ...] = (
    *GOODS_LEAVE_TWICE,
    ("take_reserved", "SELECT s.sku_id, -s.sold, 'sale'", "SELECT s.sku_id, -2 * s.sold, 'sale'"),
)


async def _connect(ground: Ground, at: Endpoint | None = None) -> asyncpg.Connection[Any]:
    if at is None:
        return await ground.connect()
    connection: asyncpg.Connection[Any] = await asyncpg.connect(
        host=at.path,
        port=at.port,
        user="postgres",
        password=ground.secrets.superuser,
        database="everopen",
        timeout=10,
    )
    return connection


def execute(ground: Ground, *statements: str, at: Endpoint | None = None) -> None:
    """Runs statements as superuser on the primary (or on another node), in one transaction."""

    async def work() -> None:
        connection = await _connect(ground, at)
        try:
            async with connection.transaction():
                for statement in statements:
                    await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(work())


def fetch(ground: Ground, statement: str, *arguments: Any) -> list[Any]:
    """Rows of one query as superuser on the primary."""

    async def work() -> list[Any]:
        connection = await _connect(ground)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    return asyncio.run(work())


@contextlib.contextmanager
def changed(ground: Ground, changes: tuple[Change, ...]) -> Iterator[None]:
    """The functions with their changes."""
    names = sorted({name for name, _, _ in changes})
    before = {
        name: str(fetch(ground, f"SELECT pg_get_functiondef('{name}'::regproc) AS text")[0]["text"])
        for name in names
    }
    after = dict(before)
    for name, old, new in changes:
        assert after[name].count(old) == 1, f"{name} has no longer exactly one {old!r}"
        after[name] = after[name].replace(old, new)
    try:
        execute(ground, *after.values())
        yield
    finally:
        execute(ground, *before.values())


@contextlib.contextmanager
def unchecked_stock(ground: Ground) -> Iterator[None]:
    """Stock without its constraints. Put back by whoever empties the tables next (see `Scene.clear`)."""
    rows = fetch(
        ground,
        "SELECT conname, pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE conrelid = 'stock'::regclass AND contype = 'c'",
    )
    execute(ground, *(f"ALTER TABLE stock DROP CONSTRAINT {row['conname']}" for row in rows))
    try:
        yield
    finally:
        execute(
            ground,
            *(f"ALTER TABLE stock ADD CONSTRAINT {row['conname']} {row['text']} NOT VALID" for row in rows),
        )
