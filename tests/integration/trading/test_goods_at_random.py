"""Goods moved at random by many at once: whatever was accepted adds up, wherever it lies, and nothing is left over.

The sums are kept here, from the outcomes alone; the shop's own audit is asked as well, so that the two would have to be wrong
in the same way."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from everopen.trading import Trading, shipments, stock
from everopen.trading.orders import PlacedOrder, StockChanged, StockItem
from everopen.trading.shipments import Shipment
from everopen.trading.stock import Location, StockView
from tests.integration.trading.conftest import SandboxProcess, Shop, problems
from tests.support.postgres import Node

SKUS = ("apple", "pear")
PLACES = ("leeds", "york", None)
pieces = st.integers(1, 9)
sku = st.sampled_from(SKUS)
place = st.sampled_from(PLACES)
ACTIONS = st.one_of(
    st.tuples(st.just("receive"), sku, pieces, place),
    st.tuples(st.just("correct"), sku, pieces, place),
    st.tuples(st.just("transfer"), sku, pieces, place, place).filter(lambda action: action[3] != action[4]),
    st.tuples(st.just("order"), sku, pieces),
    st.tuples(st.just("ship"), st.integers(0, 20)),
    st.tuples(st.just("backorder"), sku, st.integers(0, 5)),
)


class Ledger:
    """What the outcomes say must be there."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.at: Counter[tuple[str, str | None]] = Counter()
        self.orders: list[PlacedOrder] = []
        self.shipped: set[Any] = set()

    def moved(self, name: str, delta: int, where: str | None) -> None:
        self.total[name] += delta
        self.at[name, where] += delta


async def act(shop: Shop, worker: Trading, books: Ledger, action: Any) -> None:
    """Does one thing and notes it when it was accepted."""
    kind, *rest = action
    named: Any = {"key": shop.key(), "fingerprint": b"x"}
    match kind:
        case "receive" | "correct":
            name, number, where = rest
            delta = number if kind == "receive" else -number
            book = stock.receive_stock if kind == "receive" else stock.correct_stock
            outcome = await book(
                worker.primary, [StockItem(name, delta)], locations=[where], reason="r", **named
            )
            if isinstance(outcome, StockChanged):
                books.moved(name, delta, where)
        case "transfer":
            name, number, source, target = rest
            outcome = await stock.transfer_stock(
                worker.primary, [StockItem(name, number)], source=source, target=target, reason="r", **named
            )
            if isinstance(outcome, StockChanged):
                books.at[name, source] -= number
                books.at[name, target] += number
        case "order":
            placed = await worker.place(shop.order((rest[0], rest[1])))
            if isinstance(placed, PlacedOrder):
                books.orders.append(placed)
        case "ship":
            if books.orders:
                order = books.orders[rest[0] % len(books.orders)]
                sent = await shipments.ship(worker.primary, order.id, [], carrier="", tracking="", **named)
                if isinstance(sent, Shipment):
                    assert order.id not in books.shipped, "one order left the house twice"
                    books.shipped.add(order.id)
        case "backorder":
            await stock.set_stock(worker.primary, rest[0], backorder=rest[1], low_at=2, **named)
            await stock.announce_low_stock(worker.primary)


async def scenario(shop: Shop, rounds: list[list[Any]]) -> None:
    async with shop.worker() as one, shop.worker() as two:
        await stock.put_locations(
            one.primary,
            [Location("leeds", "Leeds", 1), Location("york", "York", 2)],
            key=shop.key(),
            fingerprint=b"l",
        )
        await shop.stock(one, apple=0, pear=0)
        books = Ledger()
        for actions in rounds:
            await asyncio.gather(
                *(act(shop, (one, two)[number % 2], books, action) for number, action in enumerate(actions))
            )
        while await shop.value("SELECT count(*) FROM orders WHERE status = 'placed'"):
            await asyncio.sleep(0.02)
        for order in books.orders:
            for line in order.lines:
                books.moved(line.sku, -line.quantity, None)
        for name in SKUS:
            found = await stock.find_stock(one.primary, name)
            assert isinstance(found, StockView)
            there = {place.location: place.on_hand for place in found.places}
            picked = sum(
                line.quantity
                for order in books.orders
                if order.id in books.shipped
                for line in order.lines
                if line.sku == name
            )
            assert (found.on_hand, found.reserved) == (books.total[name], 0)
            assert sum(there.values()) == found.on_hand
            # What was picked left a location, as far as any had it; so locations never give more than was sold.
            left = sum(books.at[name, where] - there.get(where, 0) for where in PLACES[:2])
            assert 0 <= left <= picked
            assert all(number >= 0 for where, number in there.items() if where is not None)
        assert problems(await shop.audit()) == []


@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.lists(ACTIONS, min_size=2, max_size=12), min_size=1, max_size=5))
def test_whatever_is_moved_sold_and_sent_at_once_adds_up(
    node: Node, sandbox: SandboxProcess, rounds: list[list[Any]]
) -> None:
    if sandbox.process is None:
        sandbox.start()
    # (The provider's books go on over all examples: they can be compared with no single shop.)
    asyncio.run(scenario(Shop(node.create_database_now(), sandbox), rounds))
