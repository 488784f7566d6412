"""Goods at several locations on a real PostgreSQL: what is sellable stays one row, what is where adds up to it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from everopen.trading import Trading, shipments, stock
from everopen.trading.orders import (
    KeyReused,
    NotFound,
    NotTracked,
    PlacedOrder,
    RefundLine,
    SoldOut,
    StockChanged,
    StockItem,
    UnknownSku,
)
from everopen.trading.range import Put
from everopen.trading.stock import Location, NotThere, StockView, UnknownLocation
from tests.integration.trading.conftest import Shop, problems


async def locations(shop: Shop, worker: Trading) -> None:
    """A warehouse and a store; goods are picked in the store last."""
    outcome = await stock.put_locations(
        worker.primary,
        [Location("store", "The store", 9), Location("leeds", "Leeds", 1)],
        key=shop.key(),
        fingerprint=b"l",
    )
    assert outcome == Put(2)


async def move(
    shop: Shop, worker: Trading, sku: str, quantity: int, location: str | None, **extra: Any
) -> Any:
    """A receipt, or a correction when the quantity is negative."""
    book = stock.receive_stock if quantity > 0 else stock.correct_stock
    return await book(
        worker.primary,
        [StockItem(sku, quantity)],
        locations=[location],
        **{"key": shop.key(), "fingerprint": b"m", "reason": "test", **extra},
    )


async def transfer(
    shop: Shop, worker: Trading, sku: str, quantity: int, source: Any, target: Any, **extra: Any
) -> Any:
    return await stock.transfer_stock(
        worker.primary,
        [StockItem(sku, quantity)],
        source=source,
        target=target,
        **{"key": shop.key(), "fingerprint": b"t", "reason": "test", **extra},
    )


async def places(worker: Trading, sku: str, at: datetime | None = None) -> dict[str | None, int]:
    found = await stock.find_stock(worker.primary, sku, at)
    assert isinstance(found, StockView)
    assert found.on_hand == sum(place.on_hand for place in found.places)
    return {place.location: place.on_hand for place in found.places}


def test_goods_lie_at_locations_and_the_sellable_total_is_one_row(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await locations(shop, worker)
            await shop.stock(worker, apple=10)
            await move(shop, worker, "apple", 20, "leeds")
            await move(shop, worker, "apple", 5, "store")
            assert await places(worker, "apple") == {"leeds": 20, "store": 5, None: 10}
            assert await transfer(shop, worker, "apple", 10, None, "store") == StockChanged(1)
            assert await transfer(shop, worker, "apple", 3, "store", "leeds") == StockChanged(1)
            assert await places(worker, "apple") == {"leeds": 23, "store": 12}
            assert await shop.value("SELECT on_hand FROM stock") == 35
            assert await transfer(shop, worker, "apple", 24, "leeds", "store") == NotThere(
                "apple", "leeds", 23, 24
            )
            assert await move(shop, worker, "apple", -13, "store") == NotThere("apple", "store", 12, 13)
            assert await move(shop, worker, "apple", -2, "store") == StockChanged(1)
            assert await move(shop, worker, "apple", 1, "mars") == UnknownLocation("mars")
            assert await move(shop, worker, "pear", 1, None) == UnknownSku(("pear",))
            assert await places(worker, "apple") == {"leeds": 23, "store": 10}
            assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_correction_never_takes_what_customers_count_on(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await locations(shop, worker)
            await shop.stock(worker, apple=0)
            await move(shop, worker, "apple", 5, "leeds")
            assert isinstance(await worker.place(shop.order(("apple", 3))), PlacedOrder)
            assert await move(shop, worker, "apple", -3, "leeds") == SoldOut("apple", 2, 3)
            assert await move(shop, worker, "apple", -2, "leeds") == StockChanged(1)

    asyncio.run(scenario())


def test_a_move_that_comes_again_under_its_key_counts_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await locations(shop, worker)
            await shop.stock(worker, apple=0)
            for replayed in (False, True):
                moved = await move(shop, worker, "apple", 5, "leeds", key="in")
                assert moved == StockChanged(1, replayed)
                # The second time nothing would be left to move: the key is looked at first.
                assert await transfer(shop, worker, "apple", 5, "leeds", "store", key="t") == StockChanged(
                    1, replayed
                )
            assert (
                await transfer(shop, worker, "apple", 5, "leeds", "store", key="t", fingerprint=b"x")
                == KeyReused()
            )
            assert await places(worker, "apple") == {"leeds": 0, "store": 5}

    asyncio.run(scenario())


def test_many_who_take_from_one_location_never_take_more_than_lies_there(shop: Shop) -> None:
    """Check, then allocate, in two steps is how peers come to negative levels (medusa#16569)."""

    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            await locations(shop, one)
            await shop.stock(one, apple=0)
            await move(shop, one, "apple", 10, "leeds")
            outcomes = await asyncio.gather(
                *(
                    transfer(shop, worker, "apple", 1, "leeds", "store")
                    for worker in (one, two)
                    for _ in range(12)
                ),
                *(move(shop, worker, "apple", -1, "leeds") for worker in (one, two) for _ in range(6)),
            )
            assert sum(isinstance(outcome, StockChanged) for outcome in outcomes) == 10
            assert (await places(one, "apple"))["leeds"] == 0
            assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_sold_goods_leave_the_total_at_once_and_their_location_when_they_are_picked(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await locations(shop, worker)
            await shop.stock(worker, apple=0)
            await move(shop, worker, "apple", 4, "leeds")
            await move(shop, worker, "apple", 6, "store")
            order = await worker.place(shop.order(("apple", 7)))
            assert isinstance(order, PlacedOrder)
            while await shop.value("SELECT status FROM orders") != "paid":
                await asyncio.sleep(0.02)
            assert await places(worker, "apple") == {"leeds": 4, "store": 6, None: -7}
            apple = await shop.value("SELECT id FROM products WHERE sku = 'apple'")

            async def pick(quantity: int, location: str | None) -> int:
                return int(await shop.value(
                    "SELECT code FROM pick_stock($1, $2, $3, 'k', 'shipment')", [apple], [quantity], location
                ))  # fmt: skip

            assert await pick(5, "leeds") == 19
            assert await pick(1, "mars") == 18
            # By the rule: Leeds first, the rest from the store.
            assert await pick(5, None) == 0
            assert await places(worker, "apple") == {"leeds": 0, "store": 5, None: -2}
            assert await pick(2, "store") == 0
            assert await places(worker, "apple") == {"leeds": 0, "store": 3}
            assert await shop.value("SELECT on_hand FROM stock") == 3
            assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_a_shipment_takes_the_goods_from_where_they_lie(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await locations(shop, worker)
            await shop.stock(worker, apple=0, gift=None)
            await move(shop, worker, "apple", 4, "leeds")
            await move(shop, worker, "apple", 6, "store")
            order = await worker.place(shop.order(("apple", 7), ("gift", 1)))
            assert isinstance(order, PlacedOrder)
            while await shop.value("SELECT status FROM orders") != "paid":
                await asyncio.sleep(0.02)

            async def ship(key: str, *lines: RefundLine, location: str | None = None) -> Any:
                return await shipments.ship(
                    worker.primary,
                    order.id,
                    lines,
                    carrier="",
                    tracking="",
                    key=key,
                    fingerprint=b"s",
                    location=location,
                )

            few = await ship("leeds", RefundLine("apple", 5), location="leeds")
            assert few == NotThere("apple", "leeds", 4, 5)
            assert await ship("mars", RefundLine("apple", 1), location="mars") == UnknownLocation("mars")
            assert await shop.value("SELECT count(*) FROM shipments") == 0
            await ship("named", RefundLine("apple", 1), location="store")
            assert await places(worker, "apple") == {"leeds": 4, "store": 5, None: -6}
            await ship("first", RefundLine("apple", 5))
            assert await places(worker, "apple") == {"leeds": 0, "store": 4, None: -1}
            await ship("first", RefundLine("apple", 5))
            assert (await places(worker, "apple"))["store"] == 4
            await asyncio.gather(*(ship(f"rest-{number}") for number in range(5)))
            assert await places(worker, "apple") == {"leeds": 0, "store": 3}
            assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_without_locations_there_is_nothing_to_pick(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=5)
            assert (
                await shop.value("SELECT code FROM pick_stock(ARRAY[1], ARRAY[3]::bigint[], NULL, 'k', 's')")
                == 0
            )
            assert await shop.value("SELECT count(*) FROM stock_movements WHERE kind = 'pick'") == 0
            assert await places(worker, "apple") == {None: 5}

    asyncio.run(scenario())


def test_stock_is_told_as_it_was(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await locations(shop, worker)
            await shop.stock(worker, apple=10)
            then = datetime.now(UTC)
            await transfer(shop, worker, "apple", 10, None, "leeds")
            await move(shop, worker, "apple", -4, "leeds")
            assert await places(worker, "apple", then) == {"leeds": 0, None: 10}
            assert await places(worker, "apple") == {"leeds": 6}
            found = await stock.find_stock(worker.primary, "apple", then)
            assert isinstance(found, StockView)
            assert (found.on_hand, found.reserved, found.available) == (10, None, None)

    asyncio.run(scenario())


def test_movements_come_page_by_page_newest_first(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await locations(shop, worker)
            await shop.stock(worker, apple=10)
            await transfer(shop, worker, "apple", 4, None, "leeds")
            await move(shop, worker, "apple", -1, "leeds", reason="broken")
            found = await stock.find_movements(worker.primary, "apple", limit=10)
            assert [(item.kind, item.delta, item.location) for item in found] == [
                ("correction", -1, "leeds"),
                ("transfer", 4, "leeds"),
                ("transfer", -4, None),
                ("receipt", 10, None),
            ]
            assert found[0].reason == "broken"
            paged: list[Any] = []
            while part := await stock.find_movements(
                worker.primary, "apple", limit=1, before=(paged[-1].moved_at, paged[-1].id) if paged else None
            ):
                paged += part
            assert paged == found

    asyncio.run(scenario())


def test_back_orders_can_be_sold_and_not_taken_back_from_who_counts_on_them(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=2, postage=None)

            async def allow(sku: str, backorder: int) -> Any:
                return await stock.set_stock(
                    worker.primary, sku, backorder=backorder, low_at=None, key=shop.key(), fingerprint=b"s"
                )

            assert await allow("apple", 3) == Put(1)
            assert isinstance(await worker.place(shop.order(("apple", 4))), PlacedOrder)
            found = await stock.find_stock(worker.primary, "apple")
            assert isinstance(found, StockView)
            assert (found.on_hand, found.reserved, found.available, found.backorder) == (2, 4, 1, 3)
            assert await allow("apple", 1) == SoldOut("apple", 1, 2)
            assert await allow("apple", 2) == Put(1)
            assert await allow("nothing", 1) == NotFound()
            assert await allow("postage", 1) == NotTracked(("postage",))

    asyncio.run(scenario())


async def announced(shop: Shop) -> list[str]:
    """What was told of low stock, whether the relay has numbered it or not."""
    rows = await shop.fetch(
        "SELECT payload::text AS payload FROM outbox WHERE topic = 'stock.low' "
        "UNION ALL SELECT payload::text FROM events WHERE topic = 'stock.low'"
    )
    return [row["payload"] for row in rows]


def test_low_stock_is_announced_once_per_crossing_however_many_look(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            await shop.stock(one, apple=5, pear=5)
            for sku in ("apple", "pear"):
                await stock.set_stock(
                    one.primary, sku, backorder=None, low_at=3, key=shop.key(), fingerprint=b"s"
                )

            async def look() -> int:
                await asyncio.gather(
                    *(stock.announce_low_stock(worker.primary) for worker in (one, two) for _ in range(5))
                )
                return len(await announced(shop))

            assert await look() == 0
            assert isinstance(await one.place(shop.order(("apple", 2))), PlacedOrder)
            assert await look() == 1
            assert isinstance(await one.place(shop.order(("apple", 1))), PlacedOrder)
            assert await look() == 1
            await move(shop, one, "apple", 9, None)
            assert await look() == 1
            await move(shop, one, "apple", -9, None)
            assert await look() == 2
            for payload in await announced(shop):
                assert '"available": 3' in payload or '"available": 2' in payload
                assert '"sku": "apple"' in payload
            await stock.set_stock(
                one.primary, "apple", backorder=None, low_at=-1, key=shop.key(), fingerprint=b"n"
            )
            found = await stock.find_stock(one.primary, "apple")
            assert isinstance(found, StockView)
            assert (found.low_at, found.low_since) == (None, None)

    asyncio.run(scenario())


@pytest.mark.parametrize("table", ["stock_at", "stock_movements", "locations"])
def test_the_application_takes_nothing_away_from_where_goods_lie(shop: Shop, table: str) -> None:
    async def scenario() -> None:
        from asyncpg import InsufficientPrivilegeError

        async with shop.database.connect() as connection:
            with pytest.raises(InsufficientPrivilegeError):
                await connection.execute(f"DELETE FROM {table}")

    asyncio.run(scenario())
