"""A shop of the first version, with everything that it could hold, is upgraded: its books still add up, and it goes on."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from alembic import command
from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from everopen.store import migrations
from everopen.store.migrations.runner import config
from everopen.trading import find, refunds
from everopen.trading.orders import Cancelled, PlacedOrder, Refunded, RefundLine
from tests.integration.trading.conftest import SandboxProcess, Shop, problems
from tests.support.postgres import Database, Node

FIRST_SHOP = """
INSERT INTO products (sku, title, unit_price, tracks_stock) VALUES ('apple', 'Apple', 250, true), ('post', 'Post', 100, false);
INSERT INTO stock SELECT id, 13, 2 FROM products WHERE sku = 'apple';
INSERT INTO stock_movements (sku_id, delta, kind) SELECT id, d, k FROM products,
    (VALUES (15, 'receipt'), (-3, 'sale'), (1, 'return')) AS m (d, k) WHERE sku = 'apple';
INSERT INTO orders (id, status, currency, total, email, placed_at, settled_at, reference)
SELECT ('00000000-0000-7000-8000-00000000000' || n)::uuid, s, 'GBP', 250 * q + 100, 'a@example.com', now(),
       CASE WHEN s <> 'placed' THEN now() END, 'R' || n
  FROM (VALUES (1, 'paid', 3), (2, 'placed', 2), (3, 'declined', 1), (4, 'cancelled', 1)) AS o (n, s, q);
INSERT INTO order_lines SELECT o.id, 1, p.id, (o.total - 100) / 250, 250, true, 'Apple' FROM orders o, products p WHERE p.sku = 'apple';
INSERT INTO order_lines SELECT o.id, 2, p.id, 1, 100, false, 'Post' FROM orders o, products p WHERE p.sku = 'post';
INSERT INTO payment_intents (id, order_id, kind, status, amount, currency, provider, token, next_attempt_at, settled_at)
SELECT o.id, o.id, 'charge', CASE o.status WHEN 'paid' THEN 'captured' WHEN 'placed' THEN 'pending' ELSE 'declined' END,
       o.total, 'GBP', 'sandbox', 'tok_approve', now() + interval '1 hour', o.settled_at FROM orders o;
INSERT INTO ledger_entries (order_id, event, account, amount, currency)
SELECT o.id, e.event, e.account, e.sign * o.total, 'GBP' FROM orders o,
    (VALUES ('placed', 'receivable', 1), ('placed', 'sales', -1), ('captured', 'cash', 1), ('captured', 'receivable', -1),
            ('released', 'sales', 1), ('released', 'receivable', -1)) AS e (event, account, sign)
 WHERE e.event = 'placed' OR (e.event = 'captured' AND o.status = 'paid') OR (e.event = 'released' AND o.status IN ('declined', 'cancelled'));
INSERT INTO outbox (topic, subject) SELECT 'order.placed', id FROM orders;
INSERT INTO idempotency (key, fingerprint, kind, result_id) SELECT reference, 'f', 'order', id FROM orders;
INSERT INTO refunds (id, order_id, currency, amount, email, reason, restocked)
SELECT '00000000-0000-7000-8000-000000000009', id, 'GBP', 250, email, 'r', true FROM orders WHERE status = 'paid';
INSERT INTO refund_lines SELECT '00000000-0000-7000-8000-000000000009', 1, 1, id, 1, 250, true, 'Apple' FROM products WHERE sku = 'apple';
INSERT INTO payment_intents (id, order_id, kind, status, amount, currency, provider, token, next_attempt_at, settled_at)
SELECT '00000000-0000-7000-8000-000000000009', id, 'refund', 'refunded', 250, 'GBP', 'sandbox', 't', now(), now() FROM orders WHERE status = 'paid';
INSERT INTO ledger_entries (order_id, refund_id, event, account, amount, currency)
SELECT o.id, '00000000-0000-7000-8000-000000000009', e.event, e.account, e.amount, 'GBP' FROM orders o,
    (VALUES ('refund', 'returns', 250), ('refund', 'receivable', -250), ('refund_paid', 'receivable', 250), ('refund_paid', 'cash', -250))
    AS e (event, account, amount) WHERE o.status = 'paid';
INSERT INTO outbox (topic, subject) VALUES ('order.refund', '00000000-0000-7000-8000-000000000009');
INSERT INTO carts (id) VALUES ('00000000-0000-7000-8000-000000000005');
INSERT INTO cart_lines (cart_id, sku_id, quantity) SELECT '00000000-0000-7000-8000-000000000005', id, 2 FROM products WHERE sku = 'apple';
"""


async def first_shop(node: Node) -> Database:
    """A database as the first version left it."""
    database = Database(node, f"first_{os.getpid()}")
    async with Database(node, "postgres").connect("postgres") as connection:
        await connection.execute(f"CREATE DATABASE {database.name} OWNER everopen_owner")
    url = URL.create("postgresql+asyncpg", username="postgres", database=database.name)
    engine = create_async_engine(url, connect_args={"host": str(node.folder), "port": node.port})

    def upgrade(connection: Connection) -> None:
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0001")
        connection.commit()

    async with engine.connect() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()
    async with database.connect("postgres") as raw:
        await raw.execute(FIRST_SHOP)
    return database


def test_a_shop_of_the_first_version_is_upgraded_with_all_that_it_holds(
    node: Node, sandbox: SandboxProcess
) -> None:
    async def scenario() -> None:
        database = await first_shop(node)
        shop = Shop(database, sandbox)
        await migrations.upgrade(str(node.folder), node.port, "postgres", None, database.name)
        assert problems(await shop.audit()) == []
        facts: dict[str, Any] = {"fingerprint": b"f", "reason": "r"}
        async with shop.worker() as worker:
            ids = {
                row["reference"]: row["id"] for row in await shop.fetch("SELECT reference, id FROM orders")
            }
            seen = await find.find_order(worker.primary, ids["R1"])
            assert seen is not None
            assert (seen.status, seen.total, seen.refunded, seen.extras) == ("paid", 850, 250, None)
            again = await worker.place(shop.order(key="R2", fingerprint=b"f"))
            assert isinstance(again, PlacedOrder)
            assert (again.id, again.replayed) == (ids["R2"], True)
            assert isinstance(await worker.place(shop.order(("apple", 4), ("post", 1))), PlacedOrder)
            assert isinstance(await refunds.cancel(worker.primary, ids["R2"], key="c", **facts), Cancelled)
            rest = [RefundLine("apple", 2), RefundLine("post", 1)]
            back = await refunds.refund(
                worker.primary, "GBP", ids["R1"], rest, key="b", restock=True, **facts
            )
            assert isinstance(back, Refunded)
            assert back.amount == 600
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())
