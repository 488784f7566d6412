"""A request that is sent again while its first copy still commits (its worker died, its transaction did not): the copy
must wait for it and answer what it did, whatever the first copy took away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from everopen.base.ids import uuid7
from everopen.trading import Trading, refunds, stock
from everopen.trading.group import arguments
from everopen.trading.lanes import SQL
from everopen.trading.orders import (
    Cancelled,
    OrderRequest,
    PlacedOrder,
    Refunded,
    RefundLine,
    StockChanged,
    StockItem,
)
from tests.integration.trading.conftest import Shop


async def place_raw(connection: asyncpg.Connection[Any], request: OrderRequest) -> Any:
    return await connection.fetchrow(SQL["place_orders"], *arguments("GBP", 15.0, [uuid7()], [request]))


async def beside_its_twin(
    shop: Shop,
    first: Callable[[asyncpg.Connection[Any]], Awaitable[Any]],
    again: Callable[[], Awaitable[Any]],
) -> Any:
    """Runs `first` in a transaction that stays open until `again` waits for its locks."""
    async with shop.database.connect() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await first(connection)
        copy = asyncio.create_task(again())
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while not await shop.value(waiting) and not copy.done():
            await asyncio.sleep(0.01)
        await transaction.commit()
        return await copy


@pytest.mark.parametrize("reference", [None, "R-1"])
def test_an_order_for_the_last_unit_is_not_refused_because_its_twin_took_it(
    shop: Shop, reference: str | None
) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, drop=1)
            request = shop.order(("drop", 1), reference=reference)
            outcome = await beside_its_twin(
                shop, lambda c: place_raw(c, request), lambda: worker.place(request)
            )
            assert isinstance(outcome, PlacedOrder)
        assert await shop.value("SELECT count(*) FROM orders") == 1

    asyncio.run(scenario())


async def paid_order(shop: Shop, worker: Trading) -> PlacedOrder:
    await shop.stock(worker, apple=5)
    placed = await worker.place(shop.order(("apple", 2)))
    assert isinstance(placed, PlacedOrder)
    settle = "SELECT settle_payments($1::uuid[], ARRAY['approved'], ARRAY['x'])"
    await shop.value(settle, [placed.id])
    return placed


def test_a_refund_is_not_refused_because_its_twin_gave_all_back(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            placed = await paid_order(shop, worker)

            def refund() -> Awaitable[Any]:
                return refunds.refund(
                    worker.primary,
                    "GBP",
                    placed.id,
                    [RefundLine("apple", 2)],
                    key="twin",
                    fingerprint=b"f",
                    restock=True,
                    reason="r",
                )

            async def first(connection: asyncpg.Connection[Any]) -> None:
                code = await connection.fetchval(
                    "SELECT code FROM refund_order($1, $2, 'twin', 'f', ARRAY['apple'], ARRAY[2], true, 'r', NULL, false, 'staff')",
                    uuid7(),
                    placed.id,
                )
                assert code == 0

            outcome = await beside_its_twin(shop, first, refund)
            assert isinstance(outcome, Refunded)
        assert await shop.value("SELECT count(*) FROM refunds") == 1

    asyncio.run(scenario())


def test_a_cancellation_is_not_refused_because_its_twin_cancelled(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=5)
            row = None
            async with shop.database.connect() as connection:
                row = await place_raw(connection, shop.order(("apple", 1)))
            assert row["o_codes"] == [0]
            order = await shop.value("SELECT id FROM orders")

            async def first(connection: asyncpg.Connection[Any]) -> None:
                assert (
                    await connection.fetchval(
                        "SELECT code FROM cancel_order($1, 'twin', 'f', 'r', 'staff')", order
                    )
                    == 0
                )

            outcome = await beside_its_twin(
                shop,
                first,
                lambda: refunds.cancel(worker.primary, order, key="twin", fingerprint=b"f", reason="r"),
            )
            assert isinstance(outcome, Cancelled)

    asyncio.run(scenario())


def test_a_correction_is_not_refused_because_its_twin_took_the_stock(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=5)

            async def first(connection: asyncpg.Connection[Any]) -> None:
                moved = "SELECT code FROM move_stock('correction', 'twin', 'f', ARRAY['apple'], ARRAY[-4]::bigint[], ARRAY[NULL]::text[], 'r')"
                assert await connection.fetchval(moved) == 0

            outcome = await beside_its_twin(
                shop,
                first,
                lambda: stock.correct_stock(
                    worker.primary, [StockItem("apple", -4)], key="twin", fingerprint=b"f", reason="r"
                ),
            )
            assert isinstance(outcome, StockChanged)
        assert await shop.value("SELECT on_hand FROM stock") == 1

    asyncio.run(scenario())
