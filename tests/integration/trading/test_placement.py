"""What an order can be: expected totals, published products, limits per buyer, back-orders, prices by time and currency."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import uuid4

import asyncpg
import pytest

from everopen.base.ids import uuid7
from everopen.trading.orders import (
    Address,
    Extras,
    LineRequest,
    NotForSale,
    OverLimit,
    PlacedOrder,
    PriceChanged,
    SoldOut,
    UnknownSku,
    Unpriced,
)
from tests.integration.trading.conftest import Shop, problems

SETTLE = "SELECT settle_payments($1::uuid[], $2::text[], $3::text[])"


async def execute(shop: Shop, *statements: str) -> None:
    """Runs statements as the superuser."""
    async with shop.database.connect("postgres") as connection:
        for statement in statements:
            await connection.execute(statement)


def test_an_order_costs_what_the_buyer_was_shown_or_is_not_placed(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(lanes=1) as worker:
            await shop.stock(worker, apple=10)
            outcomes = await asyncio.gather(
                worker.place(shop.order(("apple", 2), expected_total=500)),
                worker.place(shop.order(("apple", 7), expected_total=1)),
                worker.place(shop.order(("apple", 8))),
            )
            assert isinstance(outcomes[0], PlacedOrder)
            assert outcomes[1] == PriceChanged(1750, "GBP")
            assert isinstance(outcomes[2], PlacedOrder), "the refused order must take no goods"
            # A refusal leaves its key free for the order at the true price.
            changed = shop.order(("apple", 1), key="k", expected_total=1)
            assert await worker.place(changed) == SoldOut("apple", 0, 1)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_an_unexpected_total_of_an_order_that_its_twin_has_placed_is_a_replay(shop: Shop) -> None:
    """The price went up between the first answer (that was lost) and the repetition."""

    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            order = shop.order(("apple", 2), key="k", expected_total=500)
            first = await worker.place(order)
            await execute(shop, "UPDATE products SET unit_price = 300")
            again = await worker.place(order)
            assert isinstance(first, PlacedOrder)
            assert isinstance(again, PlacedOrder)
            assert (again.id, again.total, again.replayed) == (first.id, 500, True)

    asyncio.run(scenario())


def test_what_is_not_published_is_not_for_sale_but_may_have_been_sold_elsewhere(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(lanes=1) as worker:
            await shop.stock(worker, apple=10, pear=10)
            await execute(shop, "UPDATE products SET published = false WHERE sku = 'pear'")
            outcomes = await asyncio.gather(
                worker.place(shop.order(("apple", 9), ("pear", 1))),
                worker.place(shop.order(("pear", 1), ("plum", 1))),
                worker.place(shop.order(("apple", 10))),
                worker.place(shop.order(lines=(LineRequest("pear", 1, 99),))),
            )
            assert outcomes[:2] == [NotForSale(("pear",)), NotForSale(("pear",))]
            assert [type(outcome) for outcome in outcomes[2:]] == [PlacedOrder, PlacedOrder]
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_one_buyer_gets_no_more_than_the_limit_however_he_asks(shop: Shop) -> None:
    async def scenario() -> None:
        async with (
            shop.worker(lanes=3, second_lane_orders=1, group_max=3) as one,
            shop.worker(lanes=2, second_lane_orders=1, group_max=3) as two,
        ):
            await shop.stock(one, drop=1000, ticket=None)
            await execute(shop, "UPDATE products SET buyer_limit = 4")
            customer = uuid4()
            greedy = [
                shop.order((sku, 1), email=email, customer_id=customer)
                for number in range(20)
                for sku in ("drop", "ticket")
                for email in ("Ann@example.com", f"ann+{number}@example.com")
            ]
            guests = [
                shop.order((sku, 1), email=email)
                for _ in range(10)
                for sku in ("ticket", "drop")
                for email in ("bob@example.com", "BOB@example.com")
            ]
            outcomes = await asyncio.gather(
                *(
                    (one if number % 2 else two).place(order)
                    for number, order in enumerate(greedy + guests + [shop.order(("drop", 5))])
                )
            )
            kinds = Counter(
                (order.customer_id is not None, order.lines[0].sku, type(outcome))
                for order, outcome in zip(greedy + guests, outcomes, strict=False)
            )
            assert {key: count for key, count in kinds.items() if key[2] is PlacedOrder} == {
                (True, "drop", PlacedOrder): 4,
                (True, "ticket", PlacedOrder): 4,
                (False, "drop", PlacedOrder): 4,
                (False, "ticket", PlacedOrder): 4,
            }
            assert {key[2] for key in kinds} == {PlacedOrder, OverLimit}
            assert outcomes[-1] == OverLimit("drop", 4, 5)
            # Logged in or not: what the address has bought counts.
            assert await one.place(
                shop.order(("drop", 1), email="bob@example.com", customer_id=uuid4())
            ) == OverLimit("drop", 0, 1)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_an_order_that_was_given_up_counts_no_longer_towards_the_limit(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, drop=10, apple=1)
            await execute(shop, "UPDATE products SET buyer_limit = 2 WHERE sku = 'drop'")
            # A refused order leaves nothing behind either.
            assert await worker.place(shop.order(("drop", 2), ("apple", 2))) == SoldOut("apple", 1, 2)
            first = await worker.place(shop.order(("drop", 2)))
            assert isinstance(first, PlacedOrder)
            assert await worker.place(shop.order(("drop", 1))) == OverLimit("drop", 0, 1)
            await shop.value(SETTLE, [first.id], ["declined"], ["no"])
            assert isinstance(await worker.place(shop.order(("drop", 2))), PlacedOrder)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_an_order_at_its_buyers_limit_is_not_refused_because_its_twin_reached_it(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            await shop.stock(one, drop=100)
            await execute(shop, "UPDATE products SET buyer_limit = 1")
            for number in range(10):
                order = shop.order(("drop", 1), key=f"twin-{number}", email=f"{number}@example.com")
                outcomes = await asyncio.gather(*(worker.place(order) for worker in (one, two)))
                assert len({outcome.id for outcome in outcomes if isinstance(outcome, PlacedOrder)}) == 1
                assert all(isinstance(outcome, PlacedOrder) for outcome in outcomes)

    asyncio.run(scenario())


def test_more_than_there_is_is_sold_up_to_the_back_order_and_not_one_beyond(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(lanes=3, second_lane_orders=1, group_max=4) as worker:
            await shop.stock(worker, drop=5)
            await execute(shop, "UPDATE stock SET backorder = 7")
            outcomes = await asyncio.gather(*(worker.place(shop.order(("drop", 1))) for _ in range(30)))
            placed = [outcome for outcome in outcomes if isinstance(outcome, PlacedOrder)]
            assert Counter(type(outcome) for outcome in outcomes) == {PlacedOrder: 12, SoldOut: 18}
            assert problems(await shop.audit()) == []
            ids = [outcome.id for outcome in placed]
            await shop.value(SETTLE, ids, ["approved"] * 11 + ["declined"], ["x"] * 12)
            assert tuple((await shop.fetch("SELECT on_hand, reserved FROM stock"))[0]) == (-6, 0)
            assert isinstance(await worker.place(shop.order(("drop", 1))), PlacedOrder)
            assert await worker.place(shop.order(("drop", 1))) == SoldOut("drop", 0, 1)
            with pytest.raises(asyncpg.CheckViolationError):
                await execute(shop, "UPDATE stock SET reserved = reserved + 1")
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_scheduled_price_holds_in_its_time(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100)
            await execute(
                shop,
                "UPDATE products SET scheduled = true",
                "INSERT INTO prices SELECT id, 'GBP', 100, '-infinity', now() - interval '1 hour' FROM products",
                "INSERT INTO prices SELECT id, 'GBP', 80, now() - interval '1 hour', now() + interval '1 hour' FROM products",
                "INSERT INTO prices SELECT id, 'GBP', 120, now() + interval '2 hours' FROM products",
            )
            placed = await worker.place(shop.order(("apple", 2)))
            assert isinstance(placed, PlacedOrder)
            assert placed.total == 160
            await execute(shop, "UPDATE prices SET valid_to = now() WHERE amount = 80")
            assert await worker.place(shop.order(("apple", 2))) == Unpriced(("apple",))
            await execute(shop, "UPDATE prices SET valid_from = now() WHERE amount = 120")
            assert await worker.place(shop.order(("apple", 2), expected_total=160)) == PriceChanged(
                240, "GBP"
            )
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_two_prices_of_one_time_are_impossible(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=1, pear=1)
        june = "INSERT INTO prices SELECT id, {}, 1, '2026-06-01', '2026-07-01' FROM products WHERE sku = {}"
        await execute(shop, *(june.format(*which) for which in (("'GBP'", "'apple'"), ("'EUR'", "'apple'"))))
        await execute(shop, june.format("'GBP'", "'pear'"))
        await execute(shop, "INSERT INTO prices SELECT sku_id, currency, 2, valid_to FROM prices")
        for start, end in (("2026-05-01", "2026-06-02"), ("2026-06-30", "2026-07-01"), ("2027-01-01", None)):
            with pytest.raises(asyncpg.ExclusionViolationError):
                async with shop.database.connect("postgres") as connection:
                    await connection.execute(
                        "INSERT INTO prices SELECT id, 'GBP', 3, $1::text::timestamptz, $2::text::timestamptz "
                        "FROM products WHERE sku = 'apple'",
                        start,
                        end,
                    )

    asyncio.run(scenario())


def test_an_order_in_another_currency_costs_its_price_there(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(lanes=1) as worker:
            await shop.stock(worker, apple=100, pear=100)
            await execute(shop, "INSERT INTO prices SELECT id, 'EUR', 300 FROM products WHERE sku = 'apple'")
            pounds, euros, none = await asyncio.gather(
                worker.place(shop.order(("apple", 1))),
                worker.place(shop.order(("apple", 2), currency="EUR", key="euros")),
                worker.place(shop.order(("apple", 1), ("pear", 1), currency="EUR")),
            )
            assert isinstance(pounds, PlacedOrder)
            assert isinstance(euros, PlacedOrder)
            assert (pounds.currency, pounds.total) == ("GBP", 250)
            assert (euros.currency, euros.total) == ("EUR", 600)
            assert none == Unpriced(("pear",))
            again = await worker.place(shop.order(("apple", 2), currency="EUR", key="euros"))
            assert isinstance(again, PlacedOrder)
            assert (again.currency, again.total, again.lines) == ("EUR", 600, euros.lines)
            await shop.value(SETTLE, [euros.id, pounds.id], ["declined", "approved"], ["a", "b"])
        sums = await shop.fetch(
            "SELECT event, account, currency, sum(amount)::int FROM ledger_entries GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        assert [tuple(row) for row in sums] == [
            ("captured", "cash", "GBP", 250),
            ("captured", "receivable", "GBP", -250),
            ("placed", "receivable", "EUR", 600),
            ("placed", "receivable", "GBP", 250),
            ("placed", "sales", "EUR", -600),
            ("placed", "sales", "GBP", -250),
            ("released", "receivable", "EUR", -600),
            ("released", "sales", "EUR", 600),
        ]
        assert [row[0] for row in await shop.fetch("SELECT currency FROM payment_intents ORDER BY 1")] == [
            "EUR",
            "GBP",
        ]
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_an_order_keeps_who_bought_and_where_it_goes(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100, sample=None)
            home = Address(
                recipient="Ann O’Neill", line1="1 High St", city="Łódź", country="PL", postcode="90-001"
            )
            customer = uuid7()
            order = shop.order(
                ("apple", 1),
                key="k",
                ship_to=home,
                customer_id=customer,
                capture="manual",
                expected_total=250,
            )
            first, plain = await asyncio.gather(worker.place(order), worker.place(shop.order(("apple", 1))))
            again = await worker.place(order)
            assert isinstance(first, PlacedOrder)
            assert isinstance(again, PlacedOrder)
            assert isinstance(plain, PlacedOrder)
            assert first.extras == again.extras == Extras(ship_to=home)
            assert plain.extras is None
            free = await worker.place(shop.order(lines=(LineRequest("sample", 1, 0),), capture="manual"))
            assert isinstance(free, PlacedOrder)
        rows = await shop.fetch(
            "SELECT o.id, o.customer_id, i.kind, o.status FROM orders o JOIN payment_intents i USING (id)"
        )
        assert {row["id"]: tuple(row)[1:] for row in rows} == {
            first.id: (customer, "authorise", "placed"),
            plain.id: (None, "charge", "placed"),
            free.id: (None, "charge", "paid"),  # nothing to pay, so nothing to capture later
        }

    asyncio.run(scenario())


def test_an_unknown_sku_comes_before_any_look_at_rules(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100)
            wanted = shop.order(("plum", 1), coupons=("SPRING",))
            assert await worker.place(wanted) == UnknownSku(("plum",))

    asyncio.run(scenario())
