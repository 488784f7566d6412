"""The timeline tells the whole story, and staff find orders by what they know of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from everopen.base.ids import uuid7
from everopen.trading import timeline
from everopen.trading.returns import Return
from tests.integration.trading.conftest import Shop
from tests.integration.trading.lifecycle import SETTLE, Desk, paid_order, placed_order


def test_a_customer_reads_what_happened_to_their_order(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10, pear=10)
            desk = Desk(shop, worker)
            order = await paid_order(shop, worker, ("apple", 3), ("pear", 1))
            await desk.ship(order, apple=2)
            await desk.cancel_pieces(order, pear=1)
            await desk.ship(order)
            asked = await desk.request(order, apple=3)
            assert isinstance(asked, Return)
            await desk.move(asked, "receive")
            await desk.inspect(asked, apple=(3, 0))
            for row in await shop.fetch("SELECT id FROM refunds"):
                await shop.value(SETTLE, row[0])
            await desk.issue()
            found = await timeline.timeline_of(worker.primary, order)
            assert found is not None
            assert [moment.at for moment in found] == sorted(moment.at for moment in found)
            number = str(datetime.now(UTC).year)
            assert [moment.text for moment in found] == [
                "You placed the order over £10.00.",
                "Your payment arrived.",
                "Parcel 1 with 2 pieces was sent: DHL JD01.",
                "£2.50 is given back to you: changed my mind.",
                "Parcel 2 with 1 piece was sent: DHL JD01.",
                "You asked to send 3 pieces back (RMA-000001): too small.",
                "Your return RMA-000001 arrived.",
                "Your return RMA-000001 was inspected.",
                "£7.50 is given back to you: return RMA-000001.",
                "All of the order was given back.",
                "£2.50 was given back to you.",
                "£7.50 was given back to you.",
                f"Invoice INV-{number}-000001 was issued.",
                f"Credit note CRN-{number}-000001 was issued.",
                f"Credit note CRN-{number}-000002 was issued.",
            ]
            assert await timeline.timeline_of(worker.primary, uuid7()) is None
            gone = await placed_order(shop, worker, ("apple", 1))
            await desk.cancel(gone)
            texts = [moment.text for moment in await timeline.timeline_of(worker.primary, gone) or []]
            assert texts == ["You placed the order over £2.50.", "The order was cancelled: changed my mind."]
            refused = await placed_order(shop, worker, ("apple", 1))
            await shop.value(
                "SELECT settle_payments(ARRAY[$1::uuid], ARRAY['declined'], ARRAY['x'])", refused
            )
            texts = [moment.text for moment in await timeline.timeline_of(worker.primary, refused) or []]
            assert texts[1:] == ["The payment was declined; nothing was charged."]

    asyncio.run(scenario())


def test_every_kind_of_moment_has_a_sentence_that_can_be_told() -> None:
    for what in timeline.SENTENCES:
        told = timeline.tell(what, "{note}", 250, 2, "GBP")
        assert told.endswith(".")
        assert "{" not in told.replace("{note}", "")


def test_staff_find_orders_by_state_buyer_and_time_page_by_page(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100)
            ids = [
                await placed_order(shop, worker, ("apple", 1), email=f"b{number % 2}@example.com")
                for number in range(6)
            ]
            await shop.value(SETTLE, ids[0])
            await shop.value(SETTLE, ids[3])
            old = datetime.now(UTC) - timedelta(days=400)
            history = await placed_order(shop, worker, ("apple", 2), placed_at=old)

            async def find(**asked: object) -> list[object]:
                return [
                    row.id for row in await timeline.search_orders(worker.primary, **{"limit": 50, **asked})
                ]  # type: ignore[arg-type]

            assert await find() == [history, *ids[::-1]]
            assert await find(statuses=["paid"]) == [ids[3], ids[0]]
            assert await find(email="B1@Example.com") == [ids[5], ids[3], ids[1]]
            assert await find(email="b1@example.com", statuses=["paid"]) == [ids[3]]
            assert await find(since=datetime.now(UTC) - timedelta(hours=1)) == ids[::-1], (
                "the old one is older than its id"
            )
            assert await find(until=datetime.now(UTC) - timedelta(days=1)) == [history]
            assert await find(limit=2, before=ids[5]) == [ids[4], ids[3]]
            assert await find(since=datetime.now(UTC) + timedelta(days=1)) == []
            row = (await timeline.search_orders(worker.primary, limit=1))[0]
            assert (row.units, row.total, row.status) == (2, 500, "placed")

    asyncio.run(scenario())
