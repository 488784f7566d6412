"""What is given back of a line with discount and tax: a fair share each time, and all of it together exactly the charge."""

from __future__ import annotations

import asyncio
import random

import pytest

from everopen.trading.orders import Refunded, TooMuch, WrongState
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.lifecycle import SETTLE, Desk, charge, placed_order


def test_a_piece_is_worth_its_share_of_the_charge_and_all_pieces_are_worth_the_charge(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10, pear=10)
            desk = Desk(shop, worker)
            order = await placed_order(shop, worker, ("apple", 3), ("pear", 2))
            # 3 x 2.50 - 0.50 = 7.00, of which 1.17 tax; 2 x 2.50 = 5.00 without tax
            total = await charge(
                shop, order, discounts={1: 50}, taxes={1: (117, 2000)}, shipping=499, shipping_tax=83
            )
            assert total == 1699
            await shop.value(SETTLE, order)
            amounts = []
            for _ in range(3):
                back = await desk.refund(order, apple=1)
                assert isinstance(back, Refunded)
                amounts.append((back.amount, back.tax))
            assert amounts == [(233, 39), (233, 39), (234, 39)]
            rest = await desk.refund(order, shipping=True)
            assert isinstance(rest, Refunded)
            assert (rest.amount, rest.shipping, rest.tax) == (500 + 499, 499, 83)
            assert await desk.refund(order, shipping=True) == TooMuch("", 0, 1), "shipping goes back once"
            rows = await shop.fetch(
                "SELECT account, sum(amount) FROM ledger_entries WHERE event IN ('placed', 'refund') GROUP BY 1 ORDER BY 1"
            )
            assert {row[0]: row[1] for row in rows} == {
                "receivable": 0, "sales": -1083, "returns": 1083, "tax": 0, "shipping": 0
            }  # fmt: skip
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_shipping_alone_can_be_given_back(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            desk = Desk(shop, worker)
            order = await placed_order(shop, worker, ("apple", 2))
            await charge(shop, order, shipping=499, shipping_tax=100, tax_added=True, taxes={1: (100, 2000)})
            await shop.value(SETTLE, order)
            await desk.ship(order)
            first = await desk.refund(order)
            assert isinstance(first, Refunded)
            assert (first.amount, first.shipping) == (600, 0)
            assert await desk.status(order) == "returned"
            carriage = await desk.refund(order, shipping=True)
            assert isinstance(carriage, Refunded)
            assert (carriage.amount, carriage.lines, carriage.tax) == (599, (), 100)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_cancelling_all_before_anything_is_sent_gives_shipping_back_too(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            desk = Desk(shop, worker)
            order = await placed_order(shop, worker, ("apple", 2))
            total = await charge(shop, order, shipping=300, discounts={1: 33})
            await shop.value(SETTLE, order)
            first = await desk.cancel_pieces(order, apple=1)
            rest = await desk.cancel_pieces(order, apple=1)
            assert isinstance(first, Refunded)
            assert isinstance(rest, Refunded)
            assert (first.amount, rest.amount, rest.shipping) == (233, 234 + 300, 300)
            assert first.amount + rest.amount == total
            assert await desk.status(order) == "cancelled"
            assert await desk.cancel_pieces(order) == WrongState("cancelled")
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(4))
def test_in_whatever_portions_and_however_many_at_once_the_sum_is_the_charge(shop: Shop, seed: int) -> None:
    async def scenario() -> None:
        chance = random.Random(seed)
        async with shop.worker() as one, shop.worker() as two:
            await shop.stock(one, apple=1000, pear=1000)
            order = await placed_order(shop, one, ("apple", chance.randint(5, 40)), ("pear", 7))
            total = await charge(
                shop, order, discounts={1: chance.randint(0, 999), 2: chance.randint(0, 1750)},
                taxes={1: (chance.randint(0, 2000), 2000), 2: (chance.randint(0, 100), 700)},
                shipping=chance.randint(0, 999), tax_added=seed % 2 == 0,
            )  # fmt: skip
            await shop.value(SETTLE, order)
            desks = (Desk(shop, one), Desk(shop, two))
            back = []
            while await desks[0].status(order) == "paid":
                wishes = [{chance.choice(("apple", "pear")): chance.randint(1, 4)} for _ in range(4)]
                outcomes = await asyncio.gather(
                    *(desks[number % 2].refund(order, **wish) for number, wish in enumerate(wishes))
                )
                back += [outcome for outcome in outcomes if isinstance(outcome, Refunded)]
                if not any(isinstance(outcome, Refunded) for outcome in outcomes):
                    back.append(await desks[0].refund(order))
            carriage = await desks[1].refund(order, shipping=True)
            given = sum(refund.amount for refund in back) + (
                carriage.amount if isinstance(carriage, Refunded) else 0
            )
            assert given == total
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())
