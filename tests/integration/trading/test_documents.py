"""Invoices and credit notes: one for each, numbers without gaps whoever issues and whatever fails, content that stays."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from everopen.base.ids import uuid7
from everopen.trading import invoices
from everopen.trading.invoices import Document, TaxSum
from everopen.trading.orders import NotFound, WrongState
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.lifecycle import SETTLE, Desk, charge, paid_order, placed_order

YEAR = datetime.now(UTC).year


async def numbers(shop: Shop, kind: str = "invoice") -> list[int]:
    rows = await shop.fetch(
        "SELECT number FROM documents WHERE kind = $1 ORDER BY series, year, number", kind
    )
    return [row[0] for row in rows]


def test_an_invoice_says_what_was_sold_by_whom_with_tax_by_rate(shop: Shop) -> None:
    async def scenario() -> None:
        facts = {
            "seller_name": "Ann & Co",
            "seller_address": "1 High Street\nLeeds",
            "seller_tax_number": "GB 123",
        }
        async with shop.worker(**facts) as worker:
            await shop.stock(worker, apple=10, pear=10, plum=10)
            order = await placed_order(shop, worker, ("apple", 2), ("pear", 1), ("plum", 1), reference="R1")
            total = await charge(
                shop, order, discounts={1: 20}, taxes={1: (80, 2000), 2: (12, 500), 3: (42, 2000)}, shipping=300, shipping_tax=50
            )  # fmt: skip
            assert await invoices.invoice_of(worker.primary, worker.settings, order) == WrongState(
                "placed", "an invoice is written once it is paid"
            )
            assert await invoices.invoice_of(worker.primary, worker.settings, uuid7()) == NotFound()
            await shop.value(SETTLE, order)
            found = await invoices.invoice_of(worker.primary, worker.settings, order)
            assert isinstance(found, Document)
            assert found.number == f"INV-{YEAR}-000001"
            assert found.seller == invoices.Seller("Ann & Co", "1 High Street\nLeeds", "GB 123")
            assert [(line.sku, line.quantity, line.discount, line.tax, line.amount) for line in found.lines] == [
                ("apple", 2, 20, 80, 480), ("pear", 1, 0, 12, 250), ("plum", 1, 0, 42, 250)
            ]  # fmt: skip
            assert found.taxes == [TaxSum(500, 238, 12), TaxSum(2000, 608, 122), TaxSum(None, 250, 50)]
            assert (found.net, found.tax, found.total, found.shipping) == (total - 184, 184, total, 300)
            assert sum(rate.net + rate.tax for rate in found.taxes) == total
            assert (found.email, found.reference, found.order_id) == ("zoë@example.com", "R1", order)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_what_was_printed_stays_as_it_was_printed(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            order = await paid_order(shop, worker, ("apple", 1))
            first = await invoices.invoice_of(worker.primary, worker.settings, order)
            moved = msgspec.structs.replace(worker.settings, seller_name="Another")
            await shop.fetch("UPDATE products SET title = 'Quince'")
            assert await invoices.invoice_of(worker.primary, moved, order) == first
            assert "Issued 0 invoices" in await Desk(shop, worker).issue()
            assert await invoices.invoice_of(worker.primary, moved, order) == first

    asyncio.run(scenario())


def test_invoices_are_issued_in_the_order_of_payment_and_credit_notes_after_their_invoice(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100)
            desk = Desk(shop, worker)
            orders = [await placed_order(shop, worker, ("apple", 2)) for _ in range(5)]
            for order in reversed(orders):
                await shop.value(SETTLE, order)
            await desk.cancel_pieces(orders[4], apple=1)
            refunded = await invoices.credit_notes_of(worker.primary, worker.settings, orders[4])
            assert [(note.number, note.invoice, note.total) for note in refunded] == [
                (f"CRN-{YEAR}-000001", f"INV-{YEAR}-000001", 250)
            ], "the invoice is written first, on demand too"
            assert await desk.issue() == "Issued 4 invoices and 0 credit notes."
            rows = await shop.fetch("SELECT order_id FROM documents WHERE kind = 'invoice' ORDER BY number")
            assert [row[0] for row in rows] == orders[::-1]
            assert await invoices.credit_notes_of(worker.primary, worker.settings, orders[4]) == refunded
            assert refunded[0].lines[0].quantity == 1
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_numbers_have_no_gap_when_many_issue_at_once_and_some_fail(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            await shop.stock(one, apple=1000)
            orders = [await paid_order(shop, one, ("apple", 1)) for _ in range(40)]
            for order in orders[::3]:
                await Desk(shop, one).cancel_pieces(order)

            async def fail(number: int) -> None:
                """Takes a number and dies before it commits."""
                async with shop.database.connect() as connection:
                    transaction = connection.transaction()
                    await transaction.start()
                    await connection.fetchval(
                        "SELECT issue_invoices($1, 'INV', '{\"name\": \"x\"}', 1, false)", [orders[number]]
                    )
                    connection.terminate()

            workers = (one, two)
            await asyncio.gather(
                *(
                    invoices.invoice_of(workers[n % 2].primary, one.settings, orders[n])
                    for n in range(0, 40, 2)
                ),
                *(
                    invoices.credit_notes_of(workers[n % 2].primary, one.settings, orders[n])
                    for n in range(0, 40, 3)
                ),
                *(invoices.issue_documents(worker.primary, worker.settings) for worker in workers),
                *(fail(number) for number in (1, 5, 7, 11)),
            )
            await Desk(shop, one).issue()
            assert await numbers(shop) == list(range(1, 41))
            assert await numbers(shop, "credit_note") == list(range(1, 15))
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_each_year_and_each_series_counts_for_itself(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            order = await paid_order(shop, worker, ("apple", 1))
            await shop.fetch("INSERT INTO document_series VALUES ('INV', $1, 0)", YEAR - 1)
            other = msgspec.structs.replace(worker.settings, invoice_series="SHOP2")
            found = await invoices.invoice_of(worker.primary, other, order)
            assert isinstance(found, Document)
            assert found.number == f"SHOP2-{YEAR}-000001"
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_payment_that_commits_late_is_invoiced_all_the_same(shop: Shop) -> None:
    """Its time is that of its transaction's beginning: the job has looked at later ones meanwhile."""

    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10, pear=10)
            desk = Desk(shop, worker)
            late = await placed_order(shop, worker, ("pear", 1))
            early = await placed_order(shop, worker, ("apple", 1))
            async with shop.database.connect() as connection, connection.transaction():
                await connection.execute(SETTLE, late)
                await shop.value(SETTLE, early)
                assert "Issued 1 invoices" in await desk.issue()
            assert "Issued 1 invoices" in await desk.issue()
            last = await paid_order(shop, worker, ("apple", 1))
            await shop.fetch(
                "UPDATE orders SET settled_at = settled_at - interval '20 hours' WHERE id = $1", last
            )
            await shop.fetch("UPDATE invoicing SET since = '-infinity'")
            assert "Issued 0 invoices" in await desk.issue()
            await shop.fetch("UPDATE invoicing SET done_to = now() - interval '1 day'")
            assert "Issued 1 invoices" in await desk.issue(), "once a day it looks back by far"
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_what_was_paid_before_this_shop_wrote_documents_is_invoiced_on_demand_only(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            order = await paid_order(shop, worker, ("apple", 1))
            await shop.fetch("UPDATE orders SET settled_at = now() - interval '3 days'")
            assert "Issued 0 invoices" in await Desk(shop, worker).issue()
            assert problems(await shop.audit()) == []
            assert isinstance(await invoices.invoice_of(worker.primary, worker.settings, order), Document)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("batch", [1, 3])
def test_a_backlog_is_worked_off_in_batches_without_loss(
    shop: Shop, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100)
            for _ in range(7):
                await Desk(shop, worker).cancel_pieces(await paid_order(shop, worker, ("apple", 1)))
            monkeypatch.setattr(invoices, "BATCH", batch)
            assert await Desk(shop, worker).issue() == "Issued 7 invoices and 7 credit notes."
            assert await numbers(shop) == list(range(1, 8))
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())
