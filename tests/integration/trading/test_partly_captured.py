"""Orders of which the money was held first: the parcel asks for it, and what was never captured is never given back."""

from __future__ import annotations

import asyncio
from uuid import UUID

from everopen.trading import Trading, invoices, shipments
from everopen.trading.invoices import Document
from everopen.trading.orders import Refunded, WrongState
from everopen.trading.payments.staff import Asked, capture
from everopen.trading.shipments import Shipment
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.lifecycle import SETTLE, Desk, charge, placed_order
from tests.integration.trading.test_payments import all_settled, eventually


async def held(shop: Shop, worker: Trading, *lines: tuple[str, int]) -> UUID:
    """An order whose money is held."""
    order = await placed_order(shop, worker, *lines, capture="manual")

    async def is_held() -> bool:
        return await Desk(shop, worker).status(order) == "authorised"

    await eventually(is_held)
    return order


def test_a_parcel_of_an_authorised_order_captures_its_money_first(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            order = await held(shop, worker, ("apple", 3))
            parcel = await Desk(shop, worker).ship(order, apple=1)
            assert isinstance(parcel, Shipment)
            assert parcel.status == "partly_shipped"
            assert await shop.value("SELECT sum(amount) FROM ledger_entries WHERE account = 'cash'") == 750
            await eventually(lambda: all_settled(shop))
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_a_parcel_does_not_leave_while_its_money_is_only_held(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            order = await held(shop, worker, ("apple", 3))
            shop.sandbox.stop()

            async def ship() -> shipments.ShipOutcome:
                return await shipments.ship(
                    worker.primary, order, [], carrier="", tracking="", key="parcel", fingerprint=b"f"
                )

            refused = await ship()
            assert isinstance(refused, WrongState)
            assert (refused.status, "once it is paid" in refused.why) == ("authorised", True)
            assert await shop.value("SELECT count(*) FROM shipments") == 0
            shop.sandbox.start()
            await eventually(lambda: all_settled(shop), 30)
            assert isinstance(await ship(), Shipment), "the same call, later"
            assert await shop.value("SELECT count(*) FROM payment_intents WHERE kind = 'capture'") == 1
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_of_an_order_that_was_captured_in_part_only_that_part_is_invoiced_and_given_back(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10, pear=10)
            desk = Desk(shop, worker)
            order = await placed_order(shop, worker, ("apple", 3), ("pear", 1), capture="manual")
            total = await charge(
                shop, order, discounts={1: 10}, taxes={1: (123, 2000)}, shipping=333, shipping_tax=55
            )
            await shop.value(SETTLE, order)
            assert await desk.status(order) == "authorised"
            asked = await capture(worker.primary, order, 700, final=True, key="c", fingerprint=b"", reason="")
            assert isinstance(asked, Asked)
            await shop.value(SETTLE, asked.id)
            assert await desk.status(order) == "paid"
            found = await invoices.invoice_of(worker.primary, worker.settings, order)
            assert isinstance(found, Document)
            assert (found.total, found.waived, found.net + found.tax) == (700, total - 700, 700)
            first = await desk.refund(order, apple=2)
            rest = await desk.refund(order, shipping=True)
            assert isinstance(first, Refunded)
            assert isinstance(rest, Refunded)
            assert 697 <= first.amount + rest.amount <= 700, "less than a penny per line stays"
            assert await desk.status(order) == "cancelled"
            await desk.issue()
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())
