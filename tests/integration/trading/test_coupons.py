"""Coupons keep their limits whoever comes at once, and an order counts once however often it is sent."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from everopen.base.ids import uuid7
from everopen.trading import Trading
from everopen.trading.orders import PlacedOrder
from everopen.trading.pricing import staff
from everopen.trading.pricing.changes import Changed, Key
from everopen.trading.pricing.promotions import Percentage
from everopen.trading.pricing.rules import Promotion
from tests.integration.trading.conftest import Shop, problems

USE = "SELECT use_coupons($1::uuid[], $2::uuid[], $3::text[])"


def key(shop: Shop) -> Key:
    """A key not used before."""
    return Key(shop.key(), b"f")


async def coupon(shop: Shop, worker: Trading, code: str = "TEN", **limits: Any) -> UUID:
    """A coupon for ten per cent; answers its id."""
    promotion = Promotion(id=uuid7(), label="Ten", rule=Percentage(off_bp=1000), coupon_only=True)
    await staff.add_promotion(worker.primary, promotion, key(shop))
    made = [staff.KnownCoupon(code=code, promotion_id=promotion.id, **limits)]
    assert isinstance(await staff.put_coupons(worker.primary, made, key(shop)), Changed)
    found: UUID = await shop.value("SELECT id FROM coupons WHERE code = $1", code)
    return found


async def use(shop: Shop, *pairs: tuple[UUID, UUID, str]) -> list[int]:
    """One call of use_coupons in a transaction of its own, as the application."""
    async with shop.database.connect() as connection:
        return await use_on(connection, *pairs)


async def use_on(connection: asyncpg.Connection[Any], *pairs: tuple[UUID, UUID, str]) -> list[int]:
    """One call of use_coupons on a connection."""
    orders, coupons, customers = zip(*pairs, strict=True)
    found: list[int] = await connection.fetchval(USE, orders, coupons, customers)
    return found


def scenario(steps: Any) -> None:
    asyncio.run(steps())


def test_a_coupon_of_limit_1_is_used_by_exactly_1_of_20_at_once(shop: Shop) -> None:
    async def steps() -> None:
        async with shop.worker() as worker:
            once = await coupon(shop, worker, limit_total=1)
        answers = await asyncio.gather(*(use(shop, (uuid7(), once, f"c{n}")) for n in range(20)))
        assert sorted(answers) == [[0]] + [[1]] * 19
        assert await shop.value("SELECT used FROM coupons") == 1
        assert await shop.value("SELECT count(*) FROM coupon_uses") == 1

    scenario(steps)


def test_a_limit_per_customer_holds_when_one_customer_comes_twenty_times_at_once(shop: Shop) -> None:
    async def steps() -> None:
        async with shop.worker() as worker:
            twice = await coupon(shop, worker, limit_per_customer=2)
        answers = await asyncio.gather(
            *(use(shop, (uuid7(), twice, ("ann", "bob")[n % 2])) for n in range(20))
        )
        assert sorted(answers) == [[0]] * 4 + [[1]] * 16
        uses = await shop.fetch("SELECT customer, count(*) FROM coupon_uses GROUP BY 1 ORDER BY 1")
        assert [tuple(row) for row in uses] == [("ann", 2), ("bob", 2)]

    scenario(steps)


def test_a_group_is_decided_in_the_order_of_arrival(shop: Shop) -> None:
    async def steps() -> None:
        async with shop.worker() as worker:
            three = await coupon(shop, worker, "THREE", limit_total=3, limit_per_customer=1)
        orders = [uuid7() for _ in range(5)]
        customers = ["ann", "ann", "bob", "cid", "dan"]
        pairs = [(order, three, customer) for order, customer in zip(orders, customers, strict=True)]
        assert await use(shop, *pairs) == [0, 1, 0, 0, 1]
        assert await shop.value("SELECT used FROM coupons") == 3

    scenario(steps)


def test_an_order_uses_all_of_its_coupons_or_none(shop: Shop) -> None:
    async def steps() -> None:
        async with shop.worker() as worker:
            plenty = await coupon(shop, worker, "PLENTY")
            scarce = await coupon(shop, worker, "SCARCE", limit_total=1)
        first, second, third = uuid7(), uuid7(), uuid7()
        pairs = [(first, scarce, "a"), (second, plenty, "b"), (second, scarce, "b"), (third, plenty, "c")]
        assert await use(shop, *pairs) == [0, 0, 1, 0]
        used = await shop.fetch("SELECT code, used FROM coupons ORDER BY code")
        assert [tuple(row) for row in used] == [("PLENTY", 1), ("SCARCE", 1)]
        assert await shop.value("SELECT count(*) FROM coupon_uses WHERE order_id = $1", second) == 0
        assert await use(shop, (uuid7(), uuid7(), "d")) == [1]  # a coupon that isn't there

    scenario(steps)


def test_an_order_that_is_sent_again_is_not_counted_twice(shop: Shop) -> None:
    async def steps() -> None:
        async with shop.worker() as worker:
            once = await coupon(shop, worker, limit_total=1, limit_per_customer=1)
            twice = await coupon(shop, worker, "TWICE", limit_total=2)
        order = uuid7()
        for _ in range(3):
            assert await use(shop, (order, once, "ann")) == [0]
        assert await use(shop, (order, once, "ann"), (order, once, "ann")) == [0, 0]
        assert await shop.value("SELECT used FROM coupons WHERE code = 'TEN'") == 1
        assert await use(shop, (order, twice, "ann")) == [0]
        assert await use(shop, (order, twice, "ann"), (uuid7(), twice, "bob")) == [0, 0], (
            "the replay took a place"
        )
        assert await shop.value("SELECT used FROM coupons WHERE code = 'TWICE'") == 2

    scenario(steps)


def test_what_a_released_order_used_can_be_used_again(shop: Shop) -> None:
    async def steps() -> None:
        async with shop.worker() as worker:
            once = await coupon(shop, worker, limit_total=1)
        order = uuid7()
        assert await use(shop, (order, once, "ann")) == [0]
        assert await use(shop, (uuid7(), once, "bob")) == [1]
        async with shop.database.connect() as connection:
            free = "SELECT free_coupons($1::uuid[])"
            assert await connection.fetchval(free, [order, uuid7()]) == 1
            assert await connection.fetchval(free, [order]) == 0
            assert await connection.fetchval(free, []) == 0
        assert await use(shop, (uuid7(), once, "bob")) == [0]
        assert await shop.value("SELECT used FROM coupons") == 1

    scenario(steps)


def test_an_order_that_is_not_placed_after_all_leaves_no_use(shop: Shop) -> None:
    async def steps() -> None:
        async with shop.worker() as worker:
            once = await coupon(shop, worker, limit_total=1)
        async with shop.database.connect() as connection:
            transaction = connection.transaction()
            await transaction.start()
            order = uuid7()
            assert await use_on(connection, (order, once, "ann")) == [0]
            assert await connection.fetchval("SELECT free_coupons($1::uuid[])", [order]) == 1
            await transaction.commit()
        assert await shop.value("SELECT (SELECT used FROM coupons) + (SELECT count(*) FROM coupon_uses)") == 0

    scenario(steps)


@pytest.mark.parametrize("seed", range(3))
def test_uses_in_any_order_and_changes_by_staff_never_deadlock(shop: Shop, seed: int) -> None:
    """saleor#14891, oscar#4594: checkouts that lock the same rows in different orders."""
    rng = random.Random(seed)

    async def steps() -> None:
        async with shop.worker() as worker:
            ids = [await coupon(shop, worker, f"C{n}", limit_total=10_000) for n in range(6)]
            promotion = await shop.value("SELECT promotion_id FROM coupons LIMIT 1")

            async def buyer() -> None:
                async with shop.database.connect() as connection:
                    for _ in range(15):
                        orders = [uuid7() for _ in range(4)]
                        pairs = [
                            (order, one, "ann")
                            for order in orders
                            for one in rng.sample(ids, rng.randint(1, 4))
                        ]
                        assert set(await use_on(connection, *pairs)) == {0}
                        if rng.random() < 0.5:
                            rng.shuffle(orders)
                            await connection.fetchval("SELECT free_coupons($1::uuid[])", orders)

            async def manager() -> None:
                for _ in range(10):
                    codes = rng.sample(range(6), 6)
                    again = [
                        staff.KnownCoupon(code=f"C{n}", promotion_id=promotion, limit_total=20_000)
                        for n in codes
                    ]
                    changed = await staff.put_coupons(worker.primary, again, key(shop))
                    assert isinstance(changed, Changed)

            before = await shop.value(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            )
            await asyncio.gather(*(buyer() for _ in range(8)), manager(), manager())
        counted = "SELECT count(*) FROM coupons c WHERE used <> (SELECT count(*) FROM coupon_uses u WHERE u.coupon_id = c.id)"
        assert await shop.value(counted) == 0
        after = await shop.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert before == after == 0

    scenario(steps)


def test_a_counter_above_its_limit_is_impossible_even_for_a_program_that_errs(shop: Shop) -> None:
    async def steps() -> None:
        async with shop.worker() as worker:
            await coupon(shop, worker, limit_total=1)
        async with shop.database.connect() as connection:
            with pytest.raises(asyncpg.CheckViolationError):
                await connection.execute("UPDATE coupons SET used = 2")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("DELETE FROM coupons")

    scenario(steps)


def test_orders_with_coupons_that_are_placed_paid_and_declined_at_once_never_deadlock(shop: Shop) -> None:
    """saleor#14891, oscar#4594: checkouts against each other and against webhooks."""
    rng = random.Random(5)
    settle = "SELECT settle_payments($1::uuid[], $2::text[], $3::text[])"

    async def steps() -> None:
        async with shop.worker(lanes=2) as one, shop.worker(lanes=2) as two:
            skus = {f"sku{n}": 10_000 for n in range(6)}
            await shop.stock(one, **skus)
            codes = [f"C{n}" for n in range(4)]
            for code in codes:
                await coupon(shop, one, code, limit_total=1000)

            async def buyer(worker: Trading) -> None:
                for _ in range(8):
                    lines = [(sku, 1) for sku in rng.sample(list(skus), 3)]
                    coupons = tuple(rng.sample(codes, rng.randint(1, 4)))
                    placed = await worker.place(shop.order(*lines, coupons=coupons))
                    assert isinstance(placed, PlacedOrder), placed
                    answer = rng.choice(["approved", "declined"])
                    await shop.value(settle, [placed.id], [answer], ["x"])

            await asyncio.gather(*(buyer(worker) for worker in (one, two) for _ in range(10)))
            assert (
                one.primary.counters["store_retries_total"]
                == two.primary.counters["store_retries_total"]
                == 0
            )
        assert (
            await shop.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
        )
        assert problems(await shop.audit()) == []

    scenario(steps)
