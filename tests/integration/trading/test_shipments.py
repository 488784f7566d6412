"""Parcels: never a piece that was not paid for, was given back, or was sent before, whoever else is at it."""

from __future__ import annotations

import asyncio

import pytest

from everopen.base.ids import uuid7
from everopen.trading import shipments
from everopen.trading.orders import Cancelled, KeyReused, NotFound, Refunded, TooMuch, UnknownSku, WrongState
from everopen.trading.shipments import Completed, Shipment, TooMany
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.lifecycle import SETTLE, Desk, paid_order, pieces, placed_order


def test_an_order_is_sent_in_parts_and_then_completed(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10, pear=10, postage=None)
            desk = Desk(shop, worker)
            order = await paid_order(shop, worker, ("apple", 3), ("pear", 2), ("postage", 1))
            first = await desk.ship(order, apple=2, pear=1)
            assert isinstance(first, Shipment)
            assert (first.number, first.status, first.carrier, first.tracking) == (
                1,
                "partly_shipped",
                "DHL",
                "JD01",
            )
            assert [(line.sku, line.quantity) for line in first.lines] == [("apple", 2), ("pear", 1)]
            assert await desk.ship(order, apple=2) == TooMany("apple", 1, 2)
            assert await desk.ship(order, plum=1) == UnknownSku(("plum",))
            assert await desk.complete(order) == WrongState("partly_shipped")
            second = await desk.ship(order)
            assert isinstance(second, Shipment)
            assert [(line.sku, line.quantity) for line in second.lines] == [("apple", 1), ("pear", 1)], (
                "postage is no parcel"
            )
            assert second.status == "shipped"
            assert await desk.ship(order) == WrongState("shipped")
            assert await desk.complete(order) == Completed(order)
            assert await desk.complete(order) == WrongState("completed")
            assert await desk.history(order) == [
                ("paid", "ship_part", "partly_shipped"),
                ("partly_shipped", "ship_all", "shipped"),
                ("shipped", "complete", "completed"),
            ]
            assert await shop.value("SELECT count(*) FROM shipments WHERE delivered_at IS NOT NULL") == 2
            assert await desk.ship(uuid7()) == NotFound()
            assert await desk.complete(uuid7()) == NotFound()
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_the_same_key_sends_once_and_answers_the_same(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            order = await paid_order(shop, worker, ("apple", 3))

            async def ship(fingerprint: bytes = b"f") -> shipments.ShipOutcome:
                return await shipments.ship(
                    worker.primary,
                    order,
                    pieces(apple=2),
                    carrier="",
                    tracking="",
                    key="k",
                    fingerprint=fingerprint,
                )

            answers = await asyncio.gather(*(ship() for _ in range(8)))
            assert {answer.number for answer in answers if isinstance(answer, Shipment)} == {1}
            assert sum(not answer.replayed for answer in answers if isinstance(answer, Shipment)) == 1
            assert await ship(b"other") == KeyReused()
            assert await shop.value("SELECT sum(quantity) FROM shipment_lines") == 2
            done = {"key": "c", "fingerprint": b"f", "why": ""}
            await shipments.ship(
                worker.primary, order, [], carrier="", tracking="", key="k2", fingerprint=b"f"
            )
            found = await asyncio.gather(
                *(shipments.complete(worker.primary, order, **done) for _ in range(6))
            )  # type: ignore[arg-type]
            assert (
                sorted(answer.replayed for answer in found if isinstance(answer, Completed))
                == [False] + [True] * 5
            )
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_packers_at_once_send_each_piece_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            await shop.stock(one, apple=100)
            order = await paid_order(shop, one, ("apple", 5))
            outcomes = await asyncio.gather(
                *(Desk(shop, (one, two)[n % 2]).ship(order, apple=1) for n in range(12))
            )
            assert sum(isinstance(outcome, Shipment) for outcome in outcomes) == 5
            assert {type(outcome) for outcome in outcomes} == {Shipment, WrongState}
            assert await Desk(shop, one).status(order) == "shipped"
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_parcel_and_a_refund_race_for_the_same_pieces_and_none_is_both_sent_and_withheld(
    shop: Shop,
) -> None:
    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            await shop.stock(one, apple=500)
            for _ in range(10):
                order = await paid_order(shop, one, ("apple", 4))
                sent, back, cancelled = await asyncio.gather(
                    Desk(shop, one).ship(order, apple=3),
                    Desk(shop, two).refund(order, apple=2),
                    Desk(shop, one).cancel_pieces(order, apple=2),
                )
                assert isinstance(back, Refunded)
                away, kept = await _away(shop, order)
                assert away + kept <= 4
                assert isinstance(sent, Shipment) or isinstance(cancelled, Refunded) or kept == 2
                assert problems(await shop.audit()) == []

    async def _away(shop: Shop, order: object) -> tuple[int, int]:
        row = (
            await shop.fetch(
                "SELECT (SELECT coalesce(sum(quantity), 0) FROM shipment_lines WHERE order_id = $1), "
                "(SELECT coalesce(sum(unshipped), 0) FROM refund_lines l JOIN refunds r ON r.id = l.refund_id WHERE r.order_id = $1)",
                order,
            )
        )[0]
        return row[0], row[1]

    asyncio.run(scenario())


def test_cancelling_races_the_payment_and_one_of_them_decides(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=500)
            desk = Desk(shop, worker)
            ends = set()
            for _ in range(12):
                order = await placed_order(shop, worker, ("apple", 2))
                cancelled, _ = await asyncio.gather(desk.cancel(order), shop.value(SETTLE, order))
                status = await desk.status(order)
                assert (cancelled == Cancelled(order)) == (status == "cancelled")
                assert status in ("paid", "cancelled")
                ends.add(status)
            assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_nothing_is_sent_before_it_is_paid(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            desk = Desk(shop, worker)
            order = await placed_order(shop, worker, ("apple", 1))
            assert await desk.ship(order) == WrongState("placed")
            await desk.cancel(order)
            assert await desk.ship(order) == WrongState("cancelled")
            assert await desk.history(order) == [("placed", "cancel", "cancelled")]
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_pieces_that_were_not_sent_are_cancelled_one_by_one_back_to_the_shelf(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10, pear=10)
            desk = Desk(shop, worker)
            order = await paid_order(shop, worker, ("apple", 3), ("pear", 1))
            await desk.ship(order, apple=1)
            assert await desk.cancel_pieces(order, apple=3) == TooMuch("apple", 2, 3), "one is on its way"
            back = await desk.cancel_pieces(order, apple=1)
            assert isinstance(back, Refunded)
            assert back.amount == 250
            assert await desk.status(order) == "partly_shipped"
            assert await desk.ship(order, apple=2) == TooMany("apple", 1, 2)
            await desk.cancel_pieces(order)
            assert await desk.status(order) == "shipped", "nothing is left to send"
            assert await desk.history(order) == [
                ("paid", "ship_part", "partly_shipped"),
                ("partly_shipped", "refund_rest", "shipped"),
            ]
            rows = await shop.fetch("SELECT on_hand FROM stock ORDER BY sku_id")
            assert [row[0] for row in rows] == [9, 10]
            kinds = await shop.fetch(
                "SELECT kind, sum(delta) FROM stock_movements WHERE kind <> 'receipt' GROUP BY 1 ORDER BY 1"
            )
            assert [tuple(row) for row in kinds] == [("cancellation", 3), ("sale", -4)]
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_paid_order_of_which_all_is_cancelled_is_cancelled(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10, postage=None)
            desk = Desk(shop, worker)
            order = await paid_order(shop, worker, ("apple", 3), ("postage", 1))
            await desk.cancel_pieces(order, apple=1)
            assert await desk.status(order) == "paid"
            await desk.cancel_pieces(order, apple=2)
            assert await desk.status(order) == "cancelled"
            assert await desk.history(order) == [("paid", "refund_all", "cancelled")]
            rest = await desk.refund(order)
            assert isinstance(rest, Refunded)
            assert [line.sku for line in rest.lines] == ["postage"], (
                "it was paid for, so it can be given back"
            )
            assert await desk.cancel(order) == WrongState("cancelled")
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_an_unpaid_order_is_cancelled_as_a_whole_and_the_refusal_says_why(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            desk = Desk(shop, worker)
            order = await placed_order(shop, worker, ("apple", 3))
            refused = await desk.cancel_pieces(order, apple=1)
            assert isinstance(refused, WrongState)
            assert (refused.status, "as a whole" in refused.why) == ("placed", True)
            assert await desk.cancel_pieces(uuid7(), apple=1) == NotFound()
            assert await desk.cancel(order) == Cancelled(order)
            assert await shop.value("SELECT reserved FROM stock") == 0
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_what_was_on_its_way_for_long_enough_has_arrived(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(complete_after_days=14.0) as worker:
            await shop.stock(worker, apple=1000)
            desk = Desk(shop, worker)
            old = [await paid_order(shop, worker, ("apple", 2)) for _ in range(3)]
            for order in old:
                await desk.ship(order, apple=1)
            await shop.fetch("UPDATE shipments SET shipped_at = shipped_at - interval '15 days'")
            await desk.ship(old[0])  # its second parcel left just now
            await shop.fetch(
                "UPDATE shipments SET shipped_at = shipped_at - interval '1 day' WHERE number = 2"
            )
            await desk.cancel_pieces(old[1])
            said = await asyncio.gather(
                *(shipments.complete_shipped(worker.primary, worker.settings) for _ in range(3))
            )
            assert sum(int(sentence.split()[1]) for sentence in said) == 1
            assert [await desk.status(order) for order in old] == ["shipped", "completed", "partly_shipped"]
            assert await shop.value("SELECT count(*) FROM shipments WHERE delivered_at IS NULL") == 1
            await shop.fetch("UPDATE shipments SET shipped_at = shipped_at - interval '20 days'")
            assert "Completed 1 " in await shipments.complete_shipped(worker.primary, worker.settings)
            assert await desk.status(old[0]) == "completed"
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("event", ["ship_all", "return_all", "authorise", "nonsense"])
def test_no_function_moves_an_order_along_a_way_that_the_table_lacks(shop: Shop, event: str) -> None:
    async def scenario() -> None:
        from asyncpg import CheckViolationError

        async with shop.worker() as worker:
            await shop.stock(worker, apple=1)
            order = await placed_order(shop, worker, ("apple", 1))
            await Desk(shop, worker).cancel(order)
            with pytest.raises(CheckViolationError, match="leads nowhere"):
                await shop.value("SELECT move_order($1, $2, 'test', '')", order, event)
            assert await Desk(shop, worker).status(order) == "cancelled"

    asyncio.run(scenario())
