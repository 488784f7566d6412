"""A checker that can't fail is worthless: each check is shown a shop that was tampered with."""

from __future__ import annotations

import asyncio

import pytest

from everopen.trading import audit, refunds
from everopen.trading.orders import LineRequest, PlacedOrder, RefundLine
from everopen.trading.payments import Books
from tests.integration.trading import test_audit_coupons
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.test_audit_lifecycle import TAMPERINGS as LIFECYCLE
from tests.support.postgres import Database, Node

TAMPERINGS = {
    "locations_match_movements": "INSERT INTO locations (id, name) VALUES ('leeds', 'Leeds'); INSERT INTO stock_at SELECT sku_id, 'leeds', 3 FROM stock LIMIT 1",
    "picks_within_sales": "INSERT INTO stock_movements (sku_id, delta, kind) SELECT sku_id, 1000, 'pick' FROM stock LIMIT 1",
    "moves_between_places_sum_to_zero": "INSERT INTO stock_movements (sku_id, delta, kind, key) SELECT sku_id, 1, 'transfer', 'k' FROM stock LIMIT 1",
    "versions_are_complete": "ALTER TABLE products DISABLE TRIGGER USER; UPDATE products SET unit_price = 1",
    "price_versions_are_complete": "ALTER TABLE prices DISABLE TRIGGER USER; INSERT INTO prices (sku_id, currency, amount) SELECT id, 'GBP', 1 FROM products LIMIT 1",
    "scheduled_products_have_prices": "INSERT INTO prices (sku_id, currency, amount) SELECT id, 'GBP', 1 FROM products LIMIT 1; DELETE FROM prices; UPDATE products SET scheduled = true",
    "categories_are_a_tree": "INSERT INTO categories (id, name) VALUES ('a', 'A'), ('b', 'B'); UPDATE categories SET parent_id = CASE id WHEN 'a' THEN 'b' ELSE 'a' END",
    "stock_within_bounds": "ALTER TABLE stock DROP CONSTRAINT stock_reserved_within_on_hand; UPDATE stock SET reserved = on_hand + 1",
    "stock_for_each_product": "DELETE FROM stock WHERE sku_id = (SELECT id FROM products WHERE sku = 'apple')",
    "reserved_matches_open_orders": "UPDATE stock SET reserved = reserved - 1 WHERE reserved > 0",
    "on_hand_matches_movements": "UPDATE stock SET on_hand = on_hand + 1",
    "sales_match_paid_orders": "UPDATE stock_movements SET delta = delta * 2 WHERE kind = 'sale'",
    "returns_match_refunds": "DELETE FROM stock_movements WHERE kind = 'return'",
    "ledger_balances": "UPDATE ledger_entries SET amount = amount + 1 WHERE account = 'sales'",
    "ledger_matches_orders": "DELETE FROM ledger_entries WHERE event = 'captured'",
    "ledger_splits_orders": "UPDATE orders SET tax = 1",
    "limited_sales_match_lines": "INSERT INTO limited_sales SELECT sku_id, 'x', order_id, 99 FROM order_lines LIMIT 1",
    "ledger_matches_refunds": "DELETE FROM ledger_entries WHERE event = 'credit'",
    "money_captured_matches_orders": "UPDATE payment_intents SET amount = amount + 1 WHERE status = 'captured'",
    "orders_match_payments": "UPDATE orders SET status = 'paid' WHERE status = 'placed'",
    "orders_have_lines": "DELETE FROM order_lines WHERE order_id = (SELECT id FROM orders WHERE status = 'placed' LIMIT 1)",
    "orders_are_announced": "INSERT INTO outbox (topic, subject) SELECT 'order.placed', id FROM orders LIMIT 1",
    "events_are_numbered": "UPDATE event_relay SET last_seq = last_seq + 1",
    "keys_match_orders": "DELETE FROM idempotency WHERE kind = 'order'",
    "references_are_unique": "DROP INDEX orders_reference_key; UPDATE orders SET reference = 'same'",
    "refunds_within_sales": "UPDATE refund_lines SET quantity = quantity + 100 WHERE order_line_no IS NOT NULL",
    "refunds_have_lines": "UPDATE refunds SET amount = amount + 1",
    "sessions_lead_to_own_carts": "WITH c AS (INSERT INTO carts (id, customer_id) VALUES (gen_random_uuid(), gen_random_uuid()) RETURNING id) "
    "INSERT INTO sessions (token_hash, cart_id, customer_id, expires_at) SELECT 'x', id, gen_random_uuid(), now() FROM c",
    "audit_log_is_chained": "UPDATE audit_log SET detail = 'nothing' WHERE sequence = 2",
    "payments_back_have_reasons": "INSERT INTO payment_intents (id, order_id, kind, status, amount, currency, provider, token, next_attempt_at) "
    "SELECT gen_random_uuid(), id, 'refund', 'refunded', 1, currency, 'sandbox', 't', now() FROM orders WHERE status = 'paid' LIMIT 1",
    "captures_within_authorisations": "UPDATE payment_intents SET kind = 'capture', id = gen_random_uuid() WHERE kind = 'charge' AND status = 'captured'",
    "refunds_within_captures": "UPDATE payment_intents SET amount = amount * 100 WHERE kind = 'refund'",
    "authorised_orders_are_held": "UPDATE payment_intents SET kind = 'authorise', status = 'authorised' WHERE kind = 'charge' AND status = 'captured'",
    "payments_are_taken_up_once": "UPDATE payment_intents SET retry_of = order_id WHERE kind = 'refund'",
    "cart_lines_have_carts": "INSERT INTO sessions (token_hash, cart_id, expires_at) VALUES ('x', gen_random_uuid(), now())",
    "reconciliations_add_up": "INSERT INTO reconciliations VALUES (gen_random_uuid(), 'sandbox', now(), now(), 1, 1, '[]', '[]')",
}


@pytest.fixture(scope="module")
def busy(node: Node) -> Database:
    """A shop with a paid, an open, a declined and a refunded order and a credit."""
    database = node.create_database_now()
    shop = Shop(database, None)  # type: ignore[arg-type]  # its provider is never asked here

    async def fill() -> None:
        from pathlib import Path

        shop.sandbox = type("Nowhere", (), {"socket": Path("/nonexistent/payments.sock")})()  # type: ignore[assignment]
        async with shop.worker() as worker:
            await shop.stock(worker, apple=50, pear=50, postage=None)
            ids = []
            for number in range(4):
                placed = await worker.place(shop.order(("apple", 2), ("postage", 1), reference=f"R{number}"))
                assert isinstance(placed, PlacedOrder)
                ids.append(placed.id)
            settle = "SELECT settle_payments($1::uuid[], $2::text[], $3::text[])"
            await shop.value(settle, ids[:3], ["approved", "approved", "declined"], ["a", "b", "c"])
            facts = {"fingerprint": b"", "restock": True, "reason": "test"}
            await refunds.refund(
                worker.primary, "GBP", ids[0], [RefundLine("apple", 1)], key="refund", **facts
            )  # type: ignore[arg-type]
            refund = await shop.value("SELECT id FROM refunds")
            await shop.value(settle, [refund], ["approved"], ["d"])
            credit = [LineRequest("pear", 1, 99)]
            await refunds.credit(
                worker.primary, "GBP", credit, email="", reference="C1", key="credit", **facts
            )  # type: ignore[arg-type]

    asyncio.run(fill())
    return database


def test_an_honest_shop_passes_every_check(busy: Database) -> None:
    async def scenario() -> None:
        async with busy.connect("everopen_audit") as connection:
            report = await audit.run(connection)
        assert problems(report) == []
        assert report.ok
        assert {check.name for check in report.checks} == set(audit.CHECKS)
        counts = report.counts
        assert (
            counts["orders"],
            counts["acknowledged"],
            counts["units_sold"],
            counts["refunds"],
            counts["credits"],
        ) == (4, 4, 9, 1, 1)

    asyncio.run(scenario())


def test_there_is_a_tampering_for_every_check() -> None:
    assert set(TAMPERINGS) | set(test_audit_coupons.TAMPERINGS) | set(LIFECYCLE) == set(audit.CHECKS)


@pytest.mark.parametrize("name", sorted(TAMPERINGS))
def test_a_check_fails_when_its_table_is_tampered_with(busy: Database, name: str) -> None:
    async def scenario() -> None:
        async with busy.connect("postgres") as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(TAMPERINGS[name])
            wrong = await connection.fetch(audit.SQL[name], *([600_000.0] if "$1" in audit.SQL[name] else []))
            assert wrong, f"{name} did not notice"
            await transaction.rollback()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("before", "after", "ok"),
    [
        ((100, 0), (100, 0), True),
        ((110, 0), (110, 0), True),  # 10 of our open charges went through meanwhile
        ((100, 0), (90, 0), False),  # we believe in money that nobody captured
        ((111, 0), (111, 0), False),  # charged without an order
        ((100, 6), (100, 6), False),  # given back without a refund
    ],
)
def test_the_provider_may_be_ahead_only_by_what_is_under_way(
    before: tuple[int, int], after: tuple[int, int], ok: bool
) -> None:
    def books(sums: tuple[int, int]) -> Books:
        return Books(1, 0, sums[0], 1, sums[1])

    counts = {"captured": 100, "refunded": 0, "charges_open": 10, "refunds_open": 5}
    assert audit.compare(books(before), books(after), counts).ok is ok


@pytest.mark.parametrize(
    "table",
    ["ledger_entries", "audit_log", "stock_movements", "order_lines", "refund_lines", "reconciliations"],
)
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_application_can_add_to_the_books_and_never_change_them(
    busy: Database, table: str, statement: str
) -> None:
    async def scenario() -> None:
        async with busy.connect("everopen_app") as connection:
            column = await connection.fetchval(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum = 1", table
            )
            from asyncpg import InsufficientPrivilegeError

            with pytest.raises(InsufficientPrivilegeError):
                await connection.execute(statement.format(table, column, column))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE orders SET total = 0",
        "UPDATE payment_intents SET amount = 0",
        "DELETE FROM orders",
        "DROP TABLE outbox",
        "CREATE TABLE mine (x integer)",
        "ALTER TABLE ledger_entries DISABLE TRIGGER ALL",
    ],
)
def test_the_application_cannot_change_facts_or_the_schema(busy: Database, statement: str) -> None:
    async def scenario() -> None:
        from asyncpg import InsufficientPrivilegeError

        async with busy.connect("everopen_app") as connection:
            with pytest.raises(InsufficientPrivilegeError):
                await connection.execute(statement)
        async with busy.connect("everopen_audit") as connection:
            with pytest.raises(InsufficientPrivilegeError):
                await connection.execute("INSERT INTO audit_log (action, key) VALUES ('a', 'b')")

    asyncio.run(scenario())
