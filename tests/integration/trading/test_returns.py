"""Returns: money for what was looked at, goods on the shelf for what was found good, each once."""

from __future__ import annotations

import asyncio
from typing import NamedTuple
from uuid import UUID

import pytest

from everopen.base.ids import uuid7
from everopen.trading import returns
from everopen.trading.orders import KeyReused, NotFound, Refunded, UnknownSku, WrongState
from everopen.trading.returns import Inspected, NoReturn, NotWithCustomer, Return, TooLate
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.lifecycle import SETTLE, Desk, charge, paid_order, pieces, placed_order


def test_a_parcel_comes_back_is_inspected_and_only_what_is_accepted_is_refunded(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10, pear=10)
            desk = Desk(shop, worker)
            order = await placed_order(shop, worker, ("apple", 5), ("pear", 1))
            await charge(shop, order, discounts={1: 100}, shipping=400)
            await shop.value(SETTLE, order)
            await desk.ship(order)
            asked = await desk.request(order, apple=4)
            assert isinstance(asked, Return)
            assert (asked.status, asked.rma, asked.reason) == ("requested", 1, "too small")
            assert await shop.value("SELECT count(*) FROM refunds") == 0
            assert await desk.inspect(asked, apple=(1, 0)) == WrongState("requested")
            received = await desk.move(asked, "receive")
            assert isinstance(received, Return)
            assert received.received_at is not None
            assert await desk.move(asked, "withdraw") == WrongState("received")
            done = await desk.inspect(asked, apple=(2, 1))
            assert isinstance(done, Return)
            assert [(line.good, line.damaged, line.rejected) for line in done.lines] == [(2, 1, 1)]
            rows = await shop.fetch(
                "SELECT quantity, restocked, amount, unshipped FROM refund_lines ORDER BY line_no"
            )
            assert [tuple(row) for row in rows] == [(2, True, 460, 0), (1, False, 230, 0)], (
                "a share of 12.50 - 1.00"
            )
            assert await shop.value("SELECT amount FROM refunds") == 690
            rows = await shop.fetch("SELECT on_hand FROM stock ORDER BY sku_id")
            assert [row[0] for row in rows] == [10 - 5 + 2, 9]
            assert await desk.status(order) == "shipped"
            again = await desk.request(order)
            assert isinstance(again, Return)
            assert [(line.sku, line.quantity) for line in again.lines] == [("apple", 2), ("pear", 1)]
            await desk.move(again, "receive")
            whole = await desk.inspect(again, shipping=True, apple=(2, 0), pear=(0, 1))
            assert isinstance(whole, Return)
            assert await desk.status(order) == "returned"
            assert await shop.value("SELECT sum(amount) FROM refunds") == 5 * 250 - 100 + 250 + 400
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_return_may_be_withdrawn_or_refused_and_then_its_pieces_can_be_asked_for_again(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            desk = Desk(shop, worker)
            order = await paid_order(shop, worker, ("apple", 2))
            assert await desk.request(order) == WrongState("paid"), "nothing of it is with the customer"
            await desk.ship(order, apple=1)
            assert await desk.request(order, apple=2) == NotWithCustomer("apple", 1, 2)
            assert await desk.request(order, plum=1) == UnknownSku(("plum",))
            for event, status in (("withdraw", "withdrawn"), ("refuse", "refused")):
                asked = await desk.request(order, apple=1)
                assert isinstance(asked, Return)
                assert await desk.request(order, apple=1) == NotWithCustomer("apple", 0, 1)
                moved = await desk.move(asked, event)  # type: ignore[arg-type]
                assert isinstance(moved, Return)
                assert (moved.status, moved.closed_at is not None, moved.refund_id) == (status, True, None)
                assert await desk.move(asked, "receive") == WrongState(status)
            assert await desk.request(uuid7()) == NotFound()
            assert await desk.move(Named(order, 77), "receive") == NoReturn()
            assert await desk.move(Named(uuid7(), 1), "receive") == NoReturn()
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


class Named(NamedTuple):
    """A return that may not be there."""

    order_id: UUID
    rma: int


def test_two_inspections_at_once_give_the_money_back_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            await shop.stock(one, apple=100)
            for _ in range(5):
                order = await paid_order(shop, one, ("apple", 2))
                await Desk(shop, one).ship(order)
                asked = await Desk(shop, one).request(order)
                await Desk(shop, one).move(asked, "receive")
                outcomes = await asyncio.gather(
                    *(
                        Desk(shop, (one, two)[n % 2]).inspect(asked, apple=(2 - n % 2, n % 2))
                        for n in range(6)
                    )
                )
                assert sum(isinstance(outcome, Return) for outcome in outcomes) == 1
                assert await shop.value("SELECT sum(amount) FROM refunds WHERE order_id = $1", order) == 500
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_customers_who_click_twice_ask_once_and_pieces_are_in_one_return_only(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            desk = Desk(shop, worker)
            order = await paid_order(shop, worker, ("apple", 3))
            await desk.ship(order)

            async def ask(fingerprint: bytes = b"f") -> returns.ReturnOutcome:
                return await returns.request_return(
                    worker.primary,
                    worker.settings,
                    order,
                    pieces(apple=1),
                    key="k",
                    fingerprint=fingerprint,
                    reason="",
                )

            answers = await asyncio.gather(*(ask() for _ in range(6)))
            assert {answer.rma for answer in answers if isinstance(answer, Return)} == {1}
            assert len([answer for answer in answers if isinstance(answer, Return)]) == 6
            assert await ask(b"other") == KeyReused()
            others = await asyncio.gather(*(desk.request(order, apple=1) for _ in range(6)))
            assert sum(isinstance(other, Return) for other in others) == 2
            assert [item.rma for item in await returns.returns_of(worker.primary, order)] == [
                item.rma for item in sorted(
                    [other for other in others if isinstance(other, Return)] + [answers[0]], key=lambda one: one.rma  # type: ignore[list-item, union-attr]
                )
            ]  # fmt: skip
            newest = await returns.search_returns(
                worker.primary, status="requested", rma=None, before=None, limit=2
            )
            assert [item.rma for item in newest] == sorted((item.rma for item in newest), reverse=True)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_what_was_refunded_while_the_parcel_was_on_its_way_is_not_refunded_again(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            desk = Desk(shop, worker)
            order = await paid_order(shop, worker, ("apple", 2))
            await desk.ship(order)
            asked = await desk.request(order)
            await desk.move(asked, "receive")
            assert isinstance(await desk.refund(order, apple=1, restock=False), Refunded)
            assert await desk.inspect(asked, apple=(2, 0)) == NotWithCustomer("apple", 1, 2)
            assert await desk.inspect(asked, plum=(1, 0)) == UnknownSku(("plum",))
            done = await desk.inspect(asked, apple=(1, 0))
            assert isinstance(done, Return)
            assert await desk.status(order) == "returned"
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_parcel_of_which_nothing_is_accepted_gives_nothing_back(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            desk = Desk(shop, worker)
            order = await paid_order(shop, worker, ("apple", 2))
            await desk.ship(order)
            asked = await desk.request(order)
            await desk.move(asked, "receive")
            done = await returns.inspect_return(
                worker.primary, order, 1, [Inspected("apple", 0, 0)], key="i", fingerprint=b"", why="worn"
            )
            assert isinstance(done, Return)
            assert (done.status, done.refund_id, done.note, done.lines[0].rejected) == (
                "inspected",
                None,
                "worn",
                2,
            )
            assert await desk.status(order) == "shipped"
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_the_same_sku_on_two_lines_comes_back_from_the_first_line_on(shop: Shop) -> None:
    async def scenario() -> None:
        from everopen.trading.orders import LineRequest, PlacedOrder

        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            desk = Desk(shop, worker)
            lines = (LineRequest("apple", 2, 100), LineRequest("apple", 3, 200))
            placed = await worker.place(shop.order(lines=lines))
            assert isinstance(placed, PlacedOrder)
            await shop.value(SETTLE, placed.id)
            await desk.ship(placed.id, apple=4)
            await desk.ship(placed.id)
            asked = await desk.request(placed.id, apple=4)
            await desk.move(asked, "receive")
            await desk.inspect(asked, apple=(1, 2))
            rows = await shop.fetch("SELECT good, damaged, rejected FROM return_lines ORDER BY order_line_no")
            assert [tuple(row) for row in rows] == [(1, 1, 0), (0, 1, 1)]
            assert await shop.value("SELECT amount FROM refunds") == 100 + 100 + 200
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_returns_end_with_their_time_and_need_a_parcel_unless_the_shop_says_otherwise(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(return_days=30.0) as strict, shop.worker(returns_unsent=True) as counter:
            await shop.stock(strict, apple=10)
            desk = Desk(shop, strict)
            order = await paid_order(shop, strict, ("apple", 2))
            await desk.ship(order)
            await shop.fetch("UPDATE shipments SET shipped_at = shipped_at - interval '31 days'")
            assert await desk.request(order) == TooLate(30.0)
            await desk.complete(order)
            assert isinstance(await desk.request(order, apple=1), Return), "counted from its arrival"
            handed_over = await paid_order(shop, strict, ("apple", 1))
            asked = await Desk(shop, counter).request(handed_over)
            assert isinstance(asked, Return)
            await desk.move(asked, "receive")
            await desk.inspect(asked, apple=(1, 0))
            assert await desk.history(handed_over) == [("paid", "return_all", "returned")]
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("table", ["order_history", "shipment_lines", "documents"])
def test_the_application_adds_to_what_is_recorded_and_changes_none_of_it(shop: Shop, table: str) -> None:
    async def scenario() -> None:
        from asyncpg import InsufficientPrivilegeError

        async with shop.database.connect("everopen_app") as connection:
            for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET order_id = order_id"):
                with pytest.raises(InsufficientPrivilegeError):
                    await connection.execute(statement)

    asyncio.run(scenario())
