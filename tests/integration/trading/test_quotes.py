"""Orders at what the shop's rules make of them: discounts, tax and shipping, and rules that change under a rush."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest

from everopen.trading import refunds
from everopen.trading.orders import (
    Address,
    AppliedPromotion,
    LineRequest,
    PlacedOrder,
    PriceChanged,
    Refunded,
    RefundLine,
    SoldOut,
    Unquotable,
)
from everopen.trading.quoting import PricedQuote, QuoteRequest
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.test_placement import SETTLE, execute

HOME = Address(recipient="Ann", line1="1 High St", city="Leeds", country="GB")


async def rules(shop: Shop, *statements: str) -> None:
    """Changes the rules in one transaction, as staff do."""
    async with shop.database.connect("postgres") as connection, connection.transaction():
        await connection.execute("UPDATE pricing_rules SET version = version + 1")
        for statement in statements:
            await connection.execute(statement)


async def promote(shop: Shop, bp: int, *, code: str | None = None, limits: str = "NULL, NULL") -> UUID:
    """A percentage off everything, for everybody or by coupon."""
    promotion, coupon = uuid4(), uuid4()
    version = "(SELECT version FROM pricing_rules)"
    rule = f'{{"kind": "percentage", "off_bp": {bp}}}'
    more = []
    if code is not None:
        more.append(
            "INSERT INTO coupons (id, version, code, promotion_id, limit_total, limit_per_customer) "
            f"VALUES ('{coupon}', {version}, '{code}', '{promotion}', {limits})"
        )
    await rules(
        shop,
        f"INSERT INTO promotions (id, version, label, rule, coupon_only) "
        f"VALUES ('{promotion}', {version}, '{bp // 100} % off', '{rule}', {code is not None})",
        *more,
    )
    return coupon


TAX = "INSERT INTO tax_rates (id, version, country, tax_category, rate_bp) SELECT gen_random_uuid(), version, 'GB', 'standard', 2000 FROM pricing_rules"
POST = (
    "INSERT INTO shipping_methods (code, version, label, currency, basis) SELECT 'post', version, 'Post', 'GBP', 'value' FROM pricing_rules",
    "INSERT INTO shipping_steps VALUES ('post', 0, 300)",
)


@pytest.mark.parametrize("included", [True, False])
def test_an_order_has_its_discount_tax_and_shipping_and_the_ledger_splits_them(
    shop: Shop, included: bool
) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100, pear=100)
            await promote(shop, 1000)
            await rules(shop, TAX, *POST, f"UPDATE pricing_rules SET prices_include_tax = {included}")
            order = shop.order(
                ("apple", 3), ("pear", 1), key="k", shipping_method="post", ship_to=HOME, fingerprint=b"f"
            )
            first = await worker.place(order)
            again = await worker.place(order)
            assert isinstance(first, PlacedOrder)
            assert isinstance(again, PlacedOrder)
            # 4 × 2.50, 10 % off, 3.00 for the post; 20 % tax.
            assert first.extras is not None
            assert (first.extras.discount, first.extras.shipping) == (100, 300)
            assert first.extras.tax == (200 if included else 240)
            assert first.total == (1200 if included else 1440)
            assert sum(line.amount for line in first.lines) == (900 if included else 1080)
            assert [line.discount for line in first.lines] == [75, 25]
            assert first.extras.applied == (AppliedPromotion("10 % off", 100),)
            assert (again.total, again.lines, again.extras) == (first.total, first.lines, first.extras)
            tax, post = (200, 250) if included else (240, 300)
            assert await postings(shop, first.id) == {
                ("placed", "receivable"): first.total,
                ("placed", "sales"): tax + post - first.total,
                ("placed", "tax"): -tax,
                ("placed", "shipping"): -post,
            }
            other = await worker.place(shop.order(("apple", 1), shipping_method="post", ship_to=HOME))
            assert isinstance(other, PlacedOrder)
            await shop.value(SETTLE, [other.id, first.id], ["declined", "approved"], ["a", "b"])
            posted = await postings(shop, other.id)
            assert {
                account: posted["placed", account] + posted["released", account] for _, account in posted
            } == {"receivable": 0, "sales": 0, "tax": 0, "shipping": 0}
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


async def postings(shop: Shop, order_id: UUID) -> dict[tuple[str, str], int]:
    rows = await shop.fetch("SELECT event, account, amount FROM ledger_entries WHERE order_id = $1", order_id)
    return {(row["event"], row["account"]): row["amount"] for row in rows}


def test_rules_and_prices_that_change_in_a_rush_sell_nothing_at_old_prices(shop: Shop) -> None:
    """Each order says what it came to; the price and the discount that were in force when it was committed must give that."""

    async def scenario() -> None:
        async with shop.worker(group_max=7) as one, shop.worker(group_max=7) as two:
            await shop.stock(one, apple=100_000)
            shown: list[tuple[Any, Any]] = []
            done = asyncio.Event()

            async def customer(worker: Any) -> None:
                while not done.is_set():
                    expected = await worker.quoting.quote(QuoteRequest(lines=shop.order(("apple", 2)).lines))
                    if isinstance(expected, PricedQuote):
                        order = shop.order(("apple", 2), expected_total=expected.quote.total)
                        shown.append((expected.quote.total, await worker.place(order)))

            async def staff() -> None:
                for number in range(12):
                    await promote(shop, 100)
                    await asyncio.sleep(0.02)
                    await execute(shop, f"UPDATE products SET unit_price = {1000 + number * 7}")
                    await asyncio.sleep(0.02)
                done.set()

            await asyncio.gather(staff(), *(customer(worker) for worker in (one, two) for _ in range(5)))
            assert one.stats()["quotes_stale_total"] + two.stats()["quotes_stale_total"] > 0
        kinds = Counter(type(outcome) for _, outcome in shown)
        assert set(kinds) <= {PlacedOrder, PriceChanged}
        assert kinds[PlacedOrder] > 0
        for expected, outcome in shown:
            assert isinstance(outcome, PriceChanged) or outcome.total == expected
        # Staff changed them by turns, so a price tells which promotions were in force with it.
        rows = await shop.fetch(
            "SELECT l.unit_price, jsonb_array_length(coalesce(o.quote -> 'applied', '[]')) AS promotions "
            "FROM orders o JOIN order_lines l ON l.order_id = o.id"
        )
        for row in rows:
            changes = 0 if row["unit_price"] == 250 else (row["unit_price"] - 1000) // 7 + 1
            assert row["promotions"] - changes in (0, 1), tuple(row)
        assert len({tuple(row) for row in rows}) > 5
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_worker_that_knows_of_no_rules_learns_of_the_first_one_with_its_next_order(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100)
            before = await worker.place(shop.order(("apple", 2)))
            await promote(shop, 5000)
            after = await worker.place(shop.order(("apple", 2)))
            assert isinstance(before, PlacedOrder)
            assert isinstance(after, PlacedOrder)
            assert (before.total, after.total) == (500, 250)

    asyncio.run(scenario())


def test_a_coupon_is_used_as_often_as_it_may_be_under_a_rush(shop: Shop) -> None:
    async def scenario() -> None:
        async with (
            shop.worker(lanes=2, second_lane_orders=1, group_max=5) as one,
            shop.worker(lanes=2, second_lane_orders=1, group_max=5) as two,
        ):
            await shop.stock(one, apple=10_000)
            await promote(shop, 2000, code="ONCE", limits="17, 1")
            orders = [
                shop.order(("apple", 1), coupons=("once",), email=f"{number % 40}@example.com")
                for number in range(80)
            ]
            outcomes = await asyncio.gather(
                *((one if number % 3 else two).place(order) for number, order in enumerate(orders))
            )
            placed = [outcome for outcome in outcomes if isinstance(outcome, PlacedOrder)]
            assert len(placed) == 17
            assert len({outcome.email for outcome in placed}) == 17
            assert {outcome.total for outcome in placed} == {200}
            assert {outcome.reason for outcome in outcomes if isinstance(outcome, Unquotable)} == {
                "coupon-used-up"
            }
            assert await shop.value("SELECT used FROM coupons") == 17
            # Given up: given back.
            ids = [outcome.id for outcome in placed[:5]]
            await shop.value(SETTLE, ids, ["declined"] * 5, ["x"] * 5)
            assert await shop.value("SELECT used FROM coupons") == 12
            again = await one.place(shop.order(("apple", 1), coupons=("ONCE",), email=placed[0].email))
            assert isinstance(again, PlacedOrder)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_an_order_that_is_refused_uses_no_coupon_and_one_with_a_used_up_coupon_takes_no_goods(
    shop: Shop,
) -> None:
    async def scenario() -> None:
        async with shop.worker(lanes=1) as worker:
            await shop.stock(worker, apple=10)
            await promote(shop, 2000, code="TWO", limits="2, NULL")
            await worker.quoting.quote(
                QuoteRequest(lines=shop.order(("apple", 1)).lines)
            )  # it knows of the rules
            outcomes = await asyncio.gather(
                worker.place(shop.order(("apple", 11), coupons=("TWO",))),
                worker.place(shop.order(("apple", 1), coupons=("TWO",), expected_total=1)),
                worker.place(shop.order(("apple", 4), coupons=("TWO",))),
                worker.place(shop.order(("apple", 1), coupons=("TWO",))),
                worker.place(shop.order(("apple", 5), coupons=("TWO",))),
                worker.place(shop.order(("apple", 5))),
            )
            assert outcomes[0] == SoldOut("apple", 10, 11)
            assert outcomes[1] == PriceChanged(200, "GBP")
            assert isinstance(outcomes[2], PlacedOrder)
            assert isinstance(outcomes[3], PlacedOrder)
            assert isinstance(outcomes[4], Unquotable)
            assert isinstance(outcomes[5], PlacedOrder), "what the refused order wanted must be free"
            assert await shop.value("SELECT used FROM coupons") == 2
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_replay_gets_its_answer_though_the_coupon_has_ended(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            await promote(shop, 2000, code="GONE")
            order = shop.order(("apple", 1), key="k", coupons=("GONE",))
            first = await worker.place(order)
            await rules(
                shop, "UPDATE coupons SET ended_at = now(), version = (SELECT version FROM pricing_rules)"
            )
            again = await worker.place(order)
            assert isinstance(first, PlacedOrder)
            assert isinstance(again, PlacedOrder)
            assert (again.id, again.total, again.replayed) == (first.id, 200, True)
            refused = await worker.place(shop.order(("apple", 1), coupons=("GONE",)))
            assert isinstance(refused, Unquotable)
            assert refused.reason == "coupon-expired"
            unknown = await worker.place(shop.order(("apple", 1), coupons=("NOPE",)))
            assert isinstance(unknown, Unquotable)
            assert unknown.reason == "unknown-coupon"
            before = worker.stats()["rules_loaded_total"]
            for _ in range(5):
                assert await worker.place(shop.order(("apple", 1), coupons=("NOPE",))) == unknown
            assert worker.stats()["rules_loaded_total"] == before, (
                "guesses must not have the rules read again"
            )

    asyncio.run(scenario())


def test_a_quote_shows_what_the_order_will_cost_and_keeps_nothing(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker, shop.worker() as other:
            await shop.stock(worker, apple=10)
            asked = QuoteRequest(lines=shop.order(("apple", 4)).lines, shipping_method="post", country="GB")
            refused = await worker.quoting.quote(asked)
            assert isinstance(refused, Unquotable)
            await rules(shop, TAX, *POST)
            for one in (worker, other):
                found = await one.quoting.quote(asked)
                assert isinstance(found, PricedQuote)
                assert (found.quote.total, found.quote.tax, found.titles) == (1300, 217, ("Title of apple",))
            order = shop.order(("apple", 4), shipping_method="post", ship_to=HOME, expected_total=1300)
            assert isinstance(await other.place(order), PlacedOrder)
        assert await shop.value("SELECT count(*) FROM orders") == 1

    asyncio.run(scenario())


def test_a_free_shipped_order_of_nothing_is_paid_at_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            await promote(shop, 10_000)
            placed = await worker.place(shop.order(("apple", 1)))
            assert isinstance(placed, PlacedOrder)
            assert placed.total == 0
        assert await shop.value("SELECT status FROM orders") == "paid"
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("included", [True, False])
def test_all_of_an_order_with_discount_tax_and_shipping_goes_back_to_the_penny(
    shop: Shop, included: bool
) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100, pear=100)
            await promote(shop, 333)
            await rules(shop, TAX, *POST, f"UPDATE pricing_rules SET prices_include_tax = {included}")
            order = shop.order(("apple", 3), ("pear", 7), shipping_method="post", ship_to=HOME)
            placed = await worker.place(order)
            assert isinstance(placed, PlacedOrder)
            await shop.value(SETTLE, [placed.id], ["approved"], ["a"])
            facts: dict[str, Any] = {"fingerprint": b"f", "restock": True, "reason": "r"}
            back = 0
            for number, (sku, pieces) in enumerate((("apple", 1), ("pear", 2), ("apple", 2), ("pear", 5))):
                refunded = await refunds.refund(
                    worker.primary, "GBP", placed.id, [RefundLine(sku, pieces)], key=f"r{number}",
                    shipping=number == 3, **facts,
                )  # fmt: skip
                assert isinstance(refunded, Refunded), refunded
                back += refunded.amount
            assert back == placed.total
            left = await shop.fetch("SELECT account, sum(amount)::int FROM ledger_entries GROUP BY account")
            assert {row[0]: row[1] for row in left if row[0] in ("tax", "shipping")} == {
                "tax": 0,
                "shipping": 0,
            }
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_an_order_that_is_captured_by_hand_is_authorised_and_keeps_goods_and_coupon(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            await promote(shop, 1000, code="ONE", limits="1, NULL")
            order = shop.order(("apple", 2), capture="manual", coupons=("ONE",))
            assert isinstance(await worker.place(order), PlacedOrder)
            for _ in range(300):
                if await shop.value("SELECT status FROM orders") != "placed":
                    break
                await asyncio.sleep(0.02)
        assert await shop.value("SELECT status FROM orders") == "authorised"
        assert tuple((await shop.fetch("SELECT on_hand, reserved FROM stock"))[0]) == (10, 2)
        assert await shop.value("SELECT used FROM coupons") == 1
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_sale_from_elsewhere_keeps_its_price_in_a_group_with_quoted_orders(shop: Shop) -> None:
    """The shop's promotions and taxes say nothing about what was sold somewhere else at a price that staff name."""

    async def scenario() -> None:
        async with shop.worker(lanes=1) as worker:
            await shop.stock(worker, apple=100)
            await promote(shop, 1000)
            await rules(shop, TAX)
            await worker.quoting.quote(
                QuoteRequest(lines=shop.order(("apple", 1)).lines)
            )  # it knows of the rules
            async with shop.database.connect("postgres") as connection:
                transaction = connection.transaction()
                await transaction.start()
                await connection.execute("SELECT FROM stock FOR UPDATE")  # the lane waits, the others gather
                first = asyncio.create_task(worker.place(shop.order(("apple", 1), ship_to=HOME)))
                while not worker.lanes.busy() and not await shop.value(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                ):
                    await asyncio.sleep(0.01)
                rest = [
                    asyncio.create_task(worker.place(order))
                    for order in (
                        shop.order(lines=(LineRequest("apple", 2, 99),), reference="OLD-1"),
                        shop.order(("apple", 2), ship_to=HOME, reference="NEW-1"),
                        shop.order(lines=(LineRequest("apple", 1, 101), LineRequest("apple", 1))),
                    )
                ]
                while worker.lanes.waiting < 3:
                    await asyncio.sleep(0.01)
                await transaction.rollback()
            outcomes = await asyncio.gather(first, *rest)
            assert [getattr(outcome, "total", outcome) for outcome in outcomes] == [225, 198, 450, 351]
            assert worker.stats()["lane_groups_total"] == 2
            old = outcomes[1]
            assert isinstance(old, PlacedOrder)
            assert (old.extras, old.lines[0].tax_rate_bp) == (None, None)
        rows = await shop.fetch("SELECT total, tax, quote IS NULL AS plain FROM orders ORDER BY total")
        assert [tuple(row) for row in rows] == [
            (198, None, True),
            (225, 38, False),
            (351, None, True),
            (450, 75, False),
        ]
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())
