"""The rules that placing an order must keep, and the bug reports of others that each of them answers (see the notes of the
trading core). Each test would fail on the design that the report is about."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import asyncpg
import pytest

from everopen.trading import refunds
from everopen.trading.orders import (
    LineRequest,
    OrderRequest,
    PlacedOrder,
    PriceChanged,
    SoldOut,
    Unquotable,
)
from everopen.trading.quoting import PricedQuote, QuoteRequest
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.test_placement import SETTLE, execute
from tests.integration.trading.test_quotes import promote, rules


async def deadlocks(shop: Shop) -> int:
    """How many deadlocks PostgreSQL had to break in this database."""
    async with shop.database.connect("postgres") as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        found: int = await connection.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    return found


def test_rule_1_the_database_itself_refuses_stock_below_zero(shop: Shop) -> None:
    """Even for code that forgets to look: the CHECK stands behind the conditional update."""

    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=3)
        async with shop.database.connect("everopen_app") as connection:
            for change in ("reserved = 4", "on_hand = -1", "reserved = -1"):
                with pytest.raises(asyncpg.CheckViolationError):
                    await connection.execute(f"UPDATE stock SET {change}")

    asyncio.run(scenario())


def test_rule_1_check_then_allocate_in_two_steps_oversells_and_one_step_does_not(shop: Shop) -> None:
    """vendure#4930, medusa#16569, medusa#16502, oscar's unconditional allocation: many see the last piece, all get it."""

    async def scenario() -> None:
        async with (
            shop.worker(lanes=4, second_lane_orders=1, group_max=2) as one,
            shop.worker(lanes=4, second_lane_orders=1, group_max=2) as two,
        ):
            await shop.stock(one, drop=20, other=15)
            baskets = [
                (("drop", 1),),
                (("drop", 2), ("other", 1)),
                (("other", 2),),
                (("other", 1), ("drop", 1)),
            ]
            orders = [shop.order(*baskets[number % 4]) for number in range(200)]
            outcomes = await asyncio.gather(
                *((one if number % 2 else two).place(order) for number, order in enumerate(orders))
            )
            assert {type(outcome) for outcome in outcomes} == {PlacedOrder, SoldOut}
            sold: Counter[str] = Counter()
            for outcome in outcomes:
                if isinstance(outcome, PlacedOrder):
                    sold.update({line.sku: line.quantity for line in outcome.lines})
            assert sold["drop"] == 20
            assert 14 <= sold["other"] <= 15
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_rule_1_locks_are_taken_in_one_order_so_nothing_deadlocks(shop: Shop) -> None:
    """saleor#14891, oscar#4594: checkouts against each other and against webhooks. Here all at once: orders in any order of
    lines, coupons, carts, limits, settlements, cancellations, refunds."""

    async def scenario() -> None:
        rng = random.Random(7)
        async with (
            shop.worker(lanes=3, second_lane_orders=1, group_max=3) as one,
            shop.worker(lanes=3, second_lane_orders=1, group_max=3) as two,
        ):
            skus = ("a", "b", "c", "d")
            await shop.stock(one, **dict.fromkeys(skus, 5000), ticket=None)
            await execute(shop, "UPDATE products SET buyer_limit = 1000 WHERE sku IN ('a', 'ticket')")
            await promote(shop, 1000, code="ONE")
            await promote(shop, 500, code="TWO")
            placed: list[PlacedOrder] = []

            async def customer(number: int) -> None:
                worker = one if number % 2 else two
                for _ in range(20):
                    lines = [(sku, 1) for sku in rng.sample([*skus, "ticket"], 4)]
                    codes = tuple(rng.sample(["ONE", "TWO"], rng.randint(0, 2)))
                    outcome = await worker.place(
                        shop.order(*lines, coupons=codes, email=f"{number % 3}@example.com")
                    )
                    assert isinstance(outcome, PlacedOrder)
                    placed.append(outcome)

            async def webhooks() -> None:
                done = 0
                while done < 200:
                    fresh, done = placed[done:][:9], done + len(placed[done:][:9])
                    outcomes = [rng.choice(["approved", "declined"]) for _ in fresh]
                    ids = [order.id for order in fresh]
                    rng.shuffle(ids)
                    await shop.value(SETTLE, ids, outcomes, ["x"] * len(ids))
                    await asyncio.sleep(0.005)

            async def staff() -> None:
                for number in range(80):
                    await asyncio.sleep(0.01)
                    if placed:
                        order = rng.choice(placed)
                        facts: dict[str, Any] = {"fingerprint": b"f", "reason": "r"}
                        await refunds.cancel(one.primary, order.id, key=f"cancel-{number}", **facts)
                        await refunds.refund(
                            two.primary, "GBP", order.id, [], key=f"refund-{number}", restock=True, **facts
                        )

            await asyncio.gather(webhooks(), staff(), *(customer(number) for number in range(16)))
        assert await deadlocks(shop) == 0
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_rule_3_a_second_request_in_flight_waits_for_the_first_and_is_no_second_order(shop: Shop) -> None:
    """spree keeps keys in a cache: read, run, write, and nothing guards a request in flight. The first one here has committed
    nothing yet when the second arrives at another worker."""

    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            await shop.stock(one, apple=10)
            await promote(shop, 1000, code="ONE", limits="1, 1")
            async with shop.database.connect("postgres") as connection:
                transaction = connection.transaction()
                await transaction.start()
                await connection.execute("SELECT FROM stock FOR UPDATE")
                order = shop.order(("apple", 1), key="k", coupons=("ONE",), expected_total=225)
                both = [asyncio.create_task(worker.place(order)) for worker in (one, two)]
                waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                while await shop.value(waiting) < 2:
                    await asyncio.sleep(0.01)
                await transaction.rollback()
            outcomes = await asyncio.gather(*both)
            assert all(isinstance(outcome, PlacedOrder) for outcome in outcomes), outcomes
            assert len({outcome.id for outcome in outcomes if isinstance(outcome, PlacedOrder)}) == 1
        assert await shop.value("SELECT used FROM coupons") == 1
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_rule_3_a_twin_is_answered_the_same_however_its_first_copy_used_things_up(shop: Shop) -> None:
    """The coupon's last use, the buyer's limit, the last piece: all taken by the request's own twin."""

    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two, shop.worker() as three:
            await shop.stock(one, apple=30)
            await execute(shop, "UPDATE products SET buyer_limit = 1")
            await promote(shop, 1000, code="FEW", limits="30, 1")
            for number in range(30):
                order = shop.order(
                    ("apple", 1),
                    key=f"k{number}",
                    email=f"{number}@example.com",
                    coupons=("FEW",),
                    expected_total=225,
                )
                outcomes = await asyncio.gather(*(worker.place(order) for worker in (one, two, three)))
                ids = {outcome.id for outcome in outcomes if isinstance(outcome, PlacedOrder)}
                assert len(ids) == 1
                assert all(isinstance(outcome, PlacedOrder) for outcome in outcomes), outcomes
        assert await shop.value("SELECT used FROM coupons") == 30
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_rule_4_nobody_is_charged_for_an_order_that_is_not_there(shop: Shop) -> None:
    """vendure#3065, saleor#14733, oscar#4246: charged first, then out of stock, or the order could not be made. Here the
    order, its goods, its coupon and the intent are committed before the provider hears of it."""

    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker(lanes=2, second_lane_orders=1, group_max=4) as worker:
            await shop.stock(worker, drop=10)
            await promote(shop, 1000, code="FEW", limits="4, NULL")
            orders: list[OrderRequest] = []
            for number in range(60):
                facts = {0: {}, 1: {"coupons": ("FEW",)}, 2: {"expected_total": 1}}[number % 3]
                orders.append(shop.order(("drop", 1), email=f"{number}@example.com", **facts))
            outcomes = await asyncio.gather(*(worker.place(order) for order in orders))
            kinds = Counter(type(outcome) for outcome in outcomes)
            assert kinds[PlacedOrder] == 10
            assert set(kinds) <= {PlacedOrder, SoldOut, PriceChanged, Unquotable}
            for _ in range(300):
                if not await shop.value("SELECT count(*) FROM orders WHERE status = 'placed'"):
                    break
                await asyncio.sleep(0.02)
        assert await shop.value("SELECT count(*) FROM payment_intents") == 10
        assert await shop.value("SELECT count(*) FROM orders WHERE status = 'paid'") == 10
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_rule_11_a_basket_is_read_once_however_long_it_is_and_however_many_promotions_there_are(
    shop: Shop,
) -> None:
    """vendure#3075 (0.3 to 6 s), medusa#13335: carts that get slower with each line and each promotion. The engine's work is
    counted in its own tests; here it is what the database is asked."""

    async def statements(worker: Any, number: int) -> int:
        """The fewest of five tries, since jobs of the worker ask the database too."""
        return min([await once(worker, number) for _ in range(5)])

    async def once(worker: Any, number: int) -> int:
        asked = 0
        run = worker.primary.run

        async def counted(work: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            return await run(work, **options)

        lines = tuple(LineRequest(f"p{place}", 1) for place in range(number))
        worker.primary.run = counted
        try:
            found = await worker.quoting.quote(QuoteRequest(lines=lines))
        finally:
            worker.primary.run = run
        assert isinstance(found, PricedQuote)
        assert found.quote.discount > 0
        return asked

    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, **{f"p{place}": 100 for place in range(500)})
            await promote(shop, 100)
            assert isinstance(await worker.place(shop.order(("p1", 1))), PlacedOrder)  # it knows of the rules
            few = await statements(worker, 2)
            await rules(
                shop,
                "INSERT INTO promotions (id, version, label, rule) SELECT gen_random_uuid(), "
                "(SELECT version FROM pricing_rules), 'p' || i, jsonb_build_object('kind', 'percentage', 'off_bp', 100, "
                "'target', jsonb_build_object('skus', jsonb_build_array('p' || i))) FROM generate_series(0, 499) AS i",
            )
            assert isinstance(await worker.place(shop.order(("p1", 1))), PlacedOrder)
            assert await statements(worker, 500) == few == 1
            placed = await worker.place(shop.order(*((f"p{place}", 1) for place in range(500))))
            assert isinstance(placed, PlacedOrder)
            assert placed.extras is not None
            assert len(placed.extras.applied) > 100
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_of_many_orders_with_one_reference_one_is_placed_and_one_use_of_the_coupon_counted(
    shop: Shop,
) -> None:
    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            await shop.stock(one, apple=10)
            await promote(shop, 1000, code="MANY")
            orders = [
                shop.order(
                    ("apple", 1), key=f"k{number}", coupons=("MANY",), fingerprint=b"c", reference="R1"
                )
                for number in range(8)
            ]
            outcomes = await asyncio.gather(
                *((one if number % 2 else two).place(order) for number, order in enumerate(orders))
            )
            assert sum(isinstance(outcome, PlacedOrder) for outcome in outcomes) == 1
        assert await shop.value("SELECT used FROM coupons") == 1
        assert await shop.value("SELECT count(*) FROM coupon_uses") == 1
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_rule_9_backends_killed_under_quoted_orders_lose_none_and_use_each_coupon_once(shop: Shop) -> None:
    """A crash at any step goes on from the last commit: the order, its goods, its coupon and its buyer's count are one."""

    async def scenario() -> None:
        async with shop.worker(lanes=2, second_lane_orders=1, group_max=10) as worker:
            await shop.stock(worker, apple=100_000)
            await execute(shop, "UPDATE products SET buyer_limit = 30")
            await promote(shop, 1000, code="MANY")
            outcomes: list[Any] = []

            async def customer(number: int) -> None:
                for _ in range(30):
                    order = shop.order(
                        ("apple", 1), coupons=("MANY",), email=f"{number}@example.com", expected_total=225
                    )
                    outcomes.append(await worker.place(order))

            async def administrator() -> None:
                for _ in range(15):
                    await shop.database.kill_backends()
                    await asyncio.sleep(0.02)

            await asyncio.gather(administrator(), *(customer(number) for number in range(20)))
            assert worker.stats()["store_connections_lost_total"] > 0
        assert all(isinstance(outcome, PlacedOrder) and not outcome.replayed for outcome in outcomes)
        assert await shop.value("SELECT count(*) FROM orders") == 600
        assert await shop.value("SELECT used FROM coupons") == 600
        assert await shop.value("SELECT count(*) FROM limited_sales") == 600
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())
