"""The audit of what comes after payment is shown shops in which something of it was tampered with."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from everopen.trading import audit
from everopen.trading.orders import LineRequest, Refunded
from everopen.trading.returns import Return
from everopen.trading.states import ORDER_TRANSITIONS, RETURN_TRANSITIONS
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.lifecycle import SETTLE, Desk, charge, paid_order, placed_order
from tests.support.postgres import Database, Node

TAMPERINGS: dict[str, tuple[str, ...]] = {
    "orders_follow_the_table": (
        "UPDATE orders SET status = 'completed' WHERE status = 'paid'",
        "UPDATE orders SET status = 'shipped' WHERE status = 'completed'",
        "UPDATE orders SET status = 'declined' WHERE status = 'returned'",
        "UPDATE order_history SET event = 'complete' WHERE event = 'ship_all'",
        "UPDATE order_history SET to_status = 'shipped' WHERE to_status = 'partly_shipped'",
        "DELETE FROM order_history WHERE from_status = 'shipped' AND to_status = 'completed'",
        "DELETE FROM order_history WHERE event = 'ship_all'",
        "DELETE FROM order_history WHERE event = 'cancel'",
        "DELETE FROM orders WHERE status = 'returned'",
    ),
    "shipments_within_sales": (
        "UPDATE shipment_lines SET quantity = quantity + 1",
        "UPDATE refund_lines SET unshipped = quantity",
        "DELETE FROM shipment_lines",
        "UPDATE orders SET status = 'paid' WHERE status = 'shipped'",
        "UPDATE orders SET status = 'shipped' WHERE status = 'partly_shipped'",
        "UPDATE orders SET status = 'partly_shipped' WHERE status = 'shipped'",
    ),
    "returns_were_inspected": (
        "UPDATE return_lines SET good = good + 1, damaged = damaged - 1 WHERE damaged > 0",
        "UPDATE refund_lines SET restocked = true",
        "UPDATE returns SET refund_id = NULL",
        "UPDATE returns SET status = 'received' WHERE status = 'inspected'",
        "UPDATE returns SET received_at = now() WHERE status = 'withdrawn'",
        "UPDATE return_lines SET good = 0, damaged = 0, rejected = quantity WHERE good IS NULL",
        "DELETE FROM return_lines",
    ),
    "refunds_within_charges": (
        "UPDATE refund_lines SET amount = amount + 1",
        "UPDATE refund_lines SET tax = tax + 1",
        "UPDATE refunds SET shipping = shipping + 1 WHERE shipping > 0",
    ),
    "documents_have_no_gaps": (
        "DELETE FROM documents WHERE kind = 'invoice' AND number = 2",
        "DELETE FROM documents WHERE kind = 'invoice' AND number = (SELECT max(number) FROM documents WHERE kind = 'invoice')",
        "DELETE FROM documents WHERE kind = 'credit_note' AND number = 1",
        "UPDATE document_series SET last = last + 1",
        "DELETE FROM document_series",
    ),
    "paid_orders_have_invoices": (
        "DELETE FROM documents; UPDATE invoicing SET since = '-infinity'; UPDATE orders SET settled_at = now() - interval '2 days'",
        "UPDATE documents SET total = total + 1 WHERE kind = 'invoice' AND number = 1",
        "UPDATE orders SET status = 'declined' WHERE status = 'paid'",
        "DELETE FROM orders WHERE status = 'paid'",
    ),
    "refunds_have_credit_notes": (
        "DELETE FROM documents; UPDATE invoicing SET since = '-infinity'; UPDATE refunds SET created_at = now() - interval '2 days'",
        "UPDATE documents SET total = total + 1 WHERE kind = 'credit_note' AND number = 1",
    ),
}


@pytest.fixture(scope="module")
def lived(node: Node) -> Database:
    """A shop with an order in each state that comes after payment, returns in each state, documents."""
    database = node.create_database_now()
    shop = Shop(database, type("Nowhere", (), {"socket": Path("/nonexistent/payments.sock")})())  # type: ignore[arg-type]

    async def fill() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100, pear=100, postage=None)
            desk = Desk(shop, worker)
            orders = [await paid_order(shop, worker, ("apple", 4), ("postage", 1)) for _ in range(5)]
            await desk.ship(orders[0], apple=1)
            await desk.cancel_pieces(orders[0], apple=1)
            await desk.ship(orders[1], apple=3)
            await desk.cancel_pieces(orders[1])
            await desk.ship(orders[2])
            await desk.complete(orders[2])
            await desk.cancel_pieces(orders[3])
            await desk.cancel(await placed_order(shop, worker, ("apple", 1)))
            taxed = await placed_order(shop, worker, ("apple", 3), ("pear", 1))
            await charge(
                shop, taxed, discounts={1: 100}, taxes={1: (130, 2000)}, shipping=400, shipping_tax=66
            )
            await shop.value(SETTLE, taxed)
            await desk.ship(taxed)
            for found, move in ((2, "receive"), (1, "withdraw"), (1, None)):
                asked = await desk.request(taxed, apple=found)
                assert isinstance(asked, Return)
                if move is not None:
                    await desk.move(asked, move)  # type: ignore[arg-type]
                if move == "receive":
                    await desk.inspect(asked, apple=(1, 1))
            assert isinstance(await desk.refund(taxed, apple=1, pear=1, shipping=True), Refunded)
            await refund_elsewhere(worker)
            said = await desk.issue()
            assert said == "Issued 6 invoices and 6 credit notes."

    async def refund_elsewhere(worker: object) -> None:
        from everopen.trading import refunds

        await refunds.credit(
            worker.primary, "GBP", [LineRequest("pear", 1, 99)], email="", reference="C1", key="credit",  # type: ignore[attr-defined]
            fingerprint=b"", restock=True, reason="elsewhere",
        )  # fmt: skip

    asyncio.run(fill())
    return database


def test_an_honest_life_passes_every_check(lived: Database) -> None:
    async def scenario() -> None:
        async with lived.connect("everopen_audit") as connection:
            report = await audit.run(connection)
        assert problems(report) == []
        async with lived.connect("postgres") as connection:
            found = {row[0] for row in await connection.fetch("SELECT DISTINCT status FROM orders")}
        assert found == {"paid", "partly_shipped", "shipped", "completed", "cancelled", "returned"}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("name", "tampering"), [(name, each) for name, several in TAMPERINGS.items() for each in several]
)
def test_a_check_fails_when_its_table_is_tampered_with(lived: Database, name: str, tampering: str) -> None:
    async def scenario() -> None:
        async with lived.connect("postgres") as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(
                "ALTER TABLE return_lines DROP CONSTRAINT return_lines_are_inspected_whole"
            )
            await connection.execute("SET CONSTRAINTS ALL DEFERRED; SET session_replication_role = replica")
            await connection.execute(tampering)
            wrong = await connection.fetch(audit.SQL[name])
            assert wrong, f"{name} did not notice"
            await transaction.rollback()

    asyncio.run(scenario())


def test_the_database_has_the_rows_of_the_tables_and_no_others(lived: Database) -> None:
    async def scenario() -> None:
        async with lived.connect("postgres") as connection:
            for function, table in (
                ("order_transitions", ORDER_TRANSITIONS),
                ("return_transitions", RETURN_TRANSITIONS),
            ):
                rows = await connection.fetch(f"SELECT * FROM {function}()")
                assert [tuple(row) for row in rows] == [(row.source, row.event, row.target) for row in table]

    asyncio.run(scenario())
