"""A shop of the first version, with orders in each of its states, is upgraded with all that it has recorded."""

from __future__ import annotations

import asyncio

from alembic import command
from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from everopen.store import migrations
from everopen.store.migrations.runner import config
from everopen.trading import audit
from tests.support.postgres import Database

FIRST_SHOP = """
INSERT INTO products (sku, title, unit_price) VALUES ('apple', 'Apple', 250);
INSERT INTO stock (sku_id, on_hand, reserved) VALUES (1, 8, 1);
INSERT INTO stock_movements (sku_id, delta, kind) VALUES (1, 10, 'receipt'), (1, -3, 'sale'), (1, 1, 'return');
INSERT INTO orders (id, status, currency, total, email, placed_at, settled_at)
SELECT ('00000000-0000-7000-8000-00000000000' || n)::uuid, s, 'GBP', CASE s WHEN 'paid' THEN 750 ELSE 250 END, 'a@b.c', now(),
       CASE s WHEN 'placed' THEN NULL ELSE now() END
  FROM unnest(ARRAY['placed', 'paid', 'declined', 'cancelled']) WITH ORDINALITY AS u (s, n);
INSERT INTO order_lines (order_id, line_no, sku_id, quantity, unit_price, tracked, title)
SELECT id, 1, 1, total / 250, 250, true, 'Apple' FROM orders;
INSERT INTO payment_intents (id, order_id, kind, status, amount, currency, provider, token, next_attempt_at)
SELECT id, id, 'charge', CASE status WHEN 'placed' THEN 'pending' WHEN 'paid' THEN 'captured' ELSE 'declined' END, total, 'GBP',
       'sandbox', 't', now() FROM orders;
INSERT INTO ledger_entries (order_id, event, account, amount, currency)
SELECT id, e.event, e.account, e.sign * total, 'GBP' FROM orders
  JOIN (VALUES ('placed', 'receivable', 1), ('placed', 'sales', -1), ('captured', 'cash', 1), ('captured', 'receivable', -1),
               ('released', 'sales', 1), ('released', 'receivable', -1)) AS e (event, account, sign)
    ON e.event = 'placed' OR (e.event = 'captured' AND status = 'paid') OR (e.event = 'released' AND status IN ('declined', 'cancelled'));
INSERT INTO outbox (topic, subject) SELECT 'order.placed', id FROM orders;
INSERT INTO idempotency (key, fingerprint, kind, result_id) SELECT id::text, '', 'order', id FROM orders;
INSERT INTO refunds (id, order_id, currency, amount, restocked)
SELECT '00000000-0000-7000-8000-0000000000aa', id, 'GBP', 250, true FROM orders WHERE status = 'paid';
INSERT INTO refund_lines (refund_id, line_no, order_line_no, sku_id, quantity, unit_price, restocked, title)
SELECT id, 1, 1, 1, 1, 250, true, 'Apple' FROM refunds;
INSERT INTO payment_intents (id, order_id, kind, status, amount, currency, provider, token, next_attempt_at)
SELECT id, order_id, 'refund', 'refunded', 250, 'GBP', 'sandbox', 't', now() FROM refunds;
INSERT INTO ledger_entries (order_id, refund_id, event, account, amount, currency)
SELECT order_id, id, e.event, e.account, e.amount, 'GBP' FROM refunds,
       (VALUES ('refund', 'returns', 250), ('refund', 'receivable', -250), ('refund_paid', 'receivable', 250), ('refund_paid', 'cash', -250))
       AS e (event, account, amount);
"""


def test_a_shop_of_the_first_version_adds_up_after_its_upgrade_and_goes_on(database: Database) -> None:
    async def scenario() -> None:
        node = database.node
        async with database.connect("postgres") as connection:
            await connection.execute("CREATE DATABASE first_home OWNER everopen_owner")
        await _to_first(str(node.folder), node.port)
        database.name = "first_home"
        async with database.connect("postgres") as connection:
            await connection.execute(FIRST_SHOP)
        await migrations.upgrade(str(node.folder), node.port, "postgres", None, "first_home")
        async with database.connect("everopen_audit") as connection:
            report = await audit.run(connection)
        assert [f"{check.name}: {check.detail}" for check in report.checks if not check.ok] == []
        async with database.connect() as connection:
            order = await connection.fetchval("SELECT id FROM orders WHERE status = 'paid'")
            code = await connection.fetchval(
                "SELECT code FROM ship_order($1, 'k', '', '{apple}', '{3}', '', '', 'staff', NULL)", order
            )
            assert code == 11, "one of three was given back before there were parcels"
            assert (
                await connection.fetchval(
                    "SELECT code FROM ship_order($1, 'k', '', '{}', '{}', '', '', 'staff', NULL)", order
                )
                == 0
            )
            history = await connection.fetch(
                "SELECT from_status, event, to_status FROM order_history ORDER BY id"
            )
        assert [tuple(row) for row in history] == [
            ("placed", "cancel", "cancelled"),
            ("paid", "ship_all", "shipped"),
        ]
        async with database.connect("everopen_audit") as connection:
            assert (await audit.run(connection)).ok

    asyncio.run(scenario())


async def _to_first(host: str, port: int) -> None:
    url = URL.create("postgresql+asyncpg", username="postgres", database="first_home")
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"host": host, "port": port})

    def upgrade(connection: Connection) -> None:
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0001")
        connection.commit()

    async with engine.connect() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()
