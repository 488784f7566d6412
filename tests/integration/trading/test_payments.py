"""Payments, refunds and the provider's process: every payment ends, and both books say the same."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from everopen.base.ids import uuid7
from everopen.trading import Trading, find, refunds
from everopen.trading.orders import (
    Cancelled,
    KeyReused,
    LineRequest,
    NotFound,
    PlacedOrder,
    Refunded,
    RefundLine,
    TooMuch,
    UnknownSku,
    WrongState,
)
from tests.integration.trading.conftest import Shop, problems


async def eventually(what: Callable[[], Awaitable[bool]], deadline_s: float = 15.0) -> None:
    """Waits until it is true."""
    async with asyncio.timeout(deadline_s):
        while not await what():
            await asyncio.sleep(0.02)


async def all_settled(shop: Shop) -> bool:
    return bool(
        await shop.value("SELECT count(*) = 0 FROM payment_intents WHERE status IN ('pending', 'unknown')")
    )


async def paid_order(shop: Shop, worker: Trading, *lines: tuple[str, int]) -> UUID:
    """An order that is paid, by settling it directly."""
    placed = await worker.place(shop.order(*lines))
    assert isinstance(placed, PlacedOrder)
    await shop.value("SELECT settle_payments(ARRAY[$1::uuid], ARRAY['approved'], ARRAY['x'])", placed.id)
    return placed.id


def test_approved_is_paid_declined_is_released_and_a_lost_answer_is_asked_for_again(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100)
            tokens = (
                ["tok_approve"] * 10
                + ["tok_decline"] * 3
                + ["tok_lost"] * 4
                + ["tok_slow"] * 2
                + ["tok_what"]
            )
            await asyncio.gather(*(worker.place(shop.order(("apple", 1), token=token)) for token in tokens))
            await eventually(lambda: all_settled(shop))
            assert worker.stats()["payments_unknown_total"] >= 4
        rows = await shop.fetch(
            "SELECT token, array_agg(DISTINCT o.status) FROM orders o JOIN payment_intents USING (id) GROUP BY 1"
        )
        assert dict(map(tuple, rows)) == {
            "tok_approve": ["paid"], "tok_decline": ["declined"], "tok_lost": ["paid"], "tok_slow": ["paid"], "tok_what": ["declined"],
        }  # fmt: skip
        assert tuple((await shop.fetch("SELECT on_hand, reserved FROM stock"))[0]) == (84, 0)
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_payments_wait_for_a_provider_that_is_killed_and_are_charged_once(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker(payer_lease_s=2.5, payer_retry_s_max=0.3) as worker:
            await shop.stock(worker, apple=1000)
            orders = [asyncio.create_task(worker.place(shop.order(("apple", 1)))) for _ in range(300)]
            await asyncio.sleep(0.02)
            shop.sandbox.stop(signal.SIGKILL)
            await asyncio.gather(*orders)
            await asyncio.sleep(0.1)
            shop.sandbox.start()
            await eventually(lambda: all_settled(shop))
        assert await shop.value("SELECT count(*) FROM orders WHERE status = 'paid'") == 300
        report = await shop.audit(books=True)
        assert problems(report) == []
        assert report.counts["captured"] == 300 * 250

    asyncio.run(scenario())


def test_payments_of_a_dead_worker_are_taken_up_by_another(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(payer_lease_s=0.1) as dying:  # its lease leaves no time to ask
            await shop.stock(dying, apple=10)
            await dying.place(shop.order(("apple", 1)))
        shop.sandbox.start()
        async with shop.worker():
            await eventually(lambda: all_settled(shop))
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_settling_is_idempotent_and_the_first_answer_stays(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            one = await worker.place(shop.order(("apple", 1)))
            two = await worker.place(shop.order(("apple", 1)))
            assert isinstance(one, PlacedOrder)
            assert isinstance(two, PlacedOrder)
            settle = "SELECT settle_payments($1::uuid[], $2::text[], $3::text[])"
            assert (
                await shop.value(
                    settle, [one.id, one.id, two.id], ["approved", "approved", "declined"], ["a", "a", "b"]
                )
                == 2
            )
            before = await shop.fetch("SELECT * FROM ledger_entries")
            assert await shop.value(settle, [two.id, one.id], ["approved", "declined"], ["c", "d"]) == 0
            assert await shop.fetch("SELECT * FROM ledger_entries") == before
            view = await find.find_order(worker.primary, one.id)
            assert view is not None
            assert view.status == "paid"
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("cancel_first", [True, False])
def test_cancel_and_capture_end_the_same_in_any_order(shop: Shop, cancel_first: bool) -> None:
    """Cancelled first: the late capture is given back. Captured first: the cancellation is refused."""

    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            placed = await worker.place(shop.order(("apple", 4)))
            assert isinstance(placed, PlacedOrder)

            async def cancel() -> object:
                return await refunds.cancel(
                    worker.primary, placed.id, key="c", fingerprint=b"c", reason="changed my mind"
                )

            settle = "SELECT settle_payments(ARRAY[$1::uuid], ARRAY['approved'], ARRAY['x'])"
            if cancel_first:
                assert await cancel() == Cancelled(placed.id)
                assert await cancel() == Cancelled(placed.id, replayed=True)
                assert await shop.value(settle, placed.id) == 1
                refund = await shop.value(
                    "SELECT id FROM payment_intents WHERE kind = 'refund' AND amount = 1000"
                )
                assert problems(await shop.audit()) == []
                assert await shop.value(settle, refund) == 1
                expected = ("cancelled", 10, 0, 0)
            else:
                assert await shop.value(settle, placed.id) == 1
                assert await cancel() == WrongState("paid")
                expected = ("paid", 6, 0, 1000)
            cash = "(SELECT coalesce(sum(amount), 0) FROM ledger_entries WHERE account = 'cash')"
            rows = await shop.fetch(f"SELECT status, on_hand, reserved, {cash} FROM orders, stock")
            assert tuple(rows[0]) == expected
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_charge_that_is_still_on_its_way_is_not_made_after_its_order_was_given_up(shop: Shop) -> None:
    """A hung provider finds the charges and the questions about them in its sockets, in any order."""

    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker(payer_lease_s=2.2, payer_timeout_s=1.0) as worker:
            await shop.stock(worker, apple=100)
            # Connections for the charges and for the questions, so that both are read at the same moment.
            await asyncio.gather(*(worker.place(shop.order(("apple", 1))) for _ in range(40)))
            await eventually(lambda: all_settled(shop))
            asked = worker.payer.counters
            claimed = asked["payments_claimed_total"]
            assert shop.sandbox.process is not None
            shop.sandbox.process.send_signal(signal.SIGSTOP)
            outcomes = [await worker.place(shop.order(("apple", 1))) for _ in range(3)]
            for outcome in outcomes:
                assert isinstance(outcome, PlacedOrder)
                await refunds.cancel(worker.primary, outcome.id, key=shop.key(), fingerprint=b"c", reason="r")
            await eventually(lambda: returned(asked["payments_claimed_total"] > claimed))
            await asyncio.sleep(0.3)
            shop.sandbox.process.send_signal(signal.SIGCONT)
            await eventually(lambda: all_settled(shop))
            await asyncio.sleep(0.3)
            books = await worker.providers["sandbox"].books()  # type: ignore[attr-defined]
            assert books.captured - books.refunded == 40 * 250
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


async def returned(value: bool) -> bool:
    return value


def test_rule_2_a_reservation_expires_when_the_provider_knows_of_no_charge_and_never_while_it_is_silent(
    shop: Shop,
) -> None:
    async def scenario() -> None:
        facts = {"reservation_minutes": 0.0001, "payer_lease_s": 0.2, "payer_retry_s_max": 0.2}
        async with shop.worker(**facts) as worker:
            await shop.stock(worker, apple=10)
            await worker.place(shop.order(("apple", 1)))

            with pytest.raises(TimeoutError):
                await eventually(lambda: all_settled(shop), 0.8)
            assert await shop.value("SELECT status FROM orders") == "placed"
        shop.sandbox.start()
        async with shop.worker(reservation_minutes=0.0001, payer_lease_s=5.0):
            await eventually(lambda: all_settled(shop))
        rows = await shop.fetch("SELECT status, on_hand, reserved FROM orders, stock")
        assert tuple(rows[0]) == ("declined", 10, 0)
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_rule_2_paying_consumes_the_reservation_in_the_transaction_that_marks_the_order_paid(
    shop: Shop,
) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        look = (
            "SELECT s.on_hand, s.reserved, count(*) FILTER (WHERE o.status = 'paid') AS paid,"
            " count(*) FILTER (WHERE o.status = 'placed') AS placed FROM stock s, orders o GROUP BY s.on_hand, s.reserved"
        )
        seen = set()
        async with shop.worker(payer_settle_max=3) as worker:
            await shop.stock(worker, apple=1000)
            orders = [asyncio.create_task(worker.place(shop.order(("apple", 1)))) for _ in range(120)]
            while not (all(order.done() for order in orders) and await all_settled(shop)):
                for row in await shop.fetch(look):  # one statement: one moment
                    seen.add(tuple(row))
        assert all((on_hand, reserved) == (1000 - paid, placed) for on_hand, reserved, paid, placed in seen)
        assert len({paid for _, _, paid, _ in seen if 0 < paid < 120}) > 3  # seen on the way, too
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_refunds_go_back_by_line_and_never_exceed_the_sale_under_concurrency(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100, postage=None)
            placed = await worker.place(
                shop.order(
                    lines=(
                        LineRequest("apple", 3, 100),
                        LineRequest("apple", 5, 200),
                        LineRequest("postage", 1),
                    )
                )
            )
            assert isinstance(placed, PlacedOrder)
            await eventually(lambda: all_settled(shop))

            async def back(*lines: RefundLine, key: str, restock: bool = True) -> object:
                return await refunds.refund(
                    worker.primary,
                    "GBP",
                    placed.id,
                    lines,
                    key=key,
                    fingerprint=repr(lines).encode(),
                    restock=restock,
                    reason="r",
                )

            first = await back(RefundLine("apple", 4), key="r1")
            assert isinstance(first, Refunded)
            assert [(line.sku, line.quantity, line.unit_price) for line in first.lines] == [
                ("apple", 3, 100),
                ("apple", 1, 200),
            ]
            assert first.amount == 500
            again = await back(RefundLine("apple", 4), key="r1")
            assert isinstance(again, Refunded)
            assert (again.id, again.amount, again.replayed) == (first.id, 500, True)
            assert await back(RefundLine("apple", 3), key="r1") == KeyReused()
            assert await back(RefundLine("apple", 5), key="r2") == TooMuch("apple", 4, 5)
            assert await back(RefundLine("pear", 1), key="r3") == UnknownSku(("pear",))
            many = await asyncio.gather(
                *(back(RefundLine("apple", 1), key=f"m{i}", restock=False) for i in range(7))
            )
            assert sum(isinstance(outcome, Refunded) for outcome in many) == 4
            rest = await back(key="rest")
            assert isinstance(rest, Refunded)
            assert [(line.sku, line.quantity) for line in rest.lines] == [("postage", 1)]
            assert isinstance(await back(key="nothing"), TooMuch)
            await eventually(lambda: all_settled(shop))
            view = await find.find_order(worker.primary, placed.id)
            assert view is not None
            assert (view.total, view.refunded) == (1550, 1550)
        rows = await shop.fetch("SELECT on_hand, reserved FROM stock")
        assert tuple(rows[0]) == (100 - 8 + 4, 0)
        report = await shop.audit(books=True)
        assert problems(report) == []
        assert report.counts["refunded"] == 1550

    asyncio.run(scenario())


def test_a_refund_needs_a_paid_order(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            placed = await worker.place(shop.order(("apple", 1)))
            assert isinstance(placed, PlacedOrder)
            facts = {"key": "r", "fingerprint": b"", "restock": True, "reason": ""}
            assert await refunds.refund(worker.primary, "GBP", placed.id, [], **facts) == WrongState("placed")  # type: ignore[arg-type]
            assert await refunds.refund(worker.primary, "GBP", uuid7(), [], **facts) == NotFound()  # type: ignore[arg-type]

    asyncio.run(scenario())


def test_a_credit_needs_no_sale_and_stays_in_the_ledger(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10, manual=None)
            lines = [LineRequest("apple", 2, 130), LineRequest("manual", 1, 70)]
            facts = {"email": "a@b.c", "key": "k", "fingerprint": b"f", "restock": True, "reason": "C536379"}
            done = await refunds.credit(worker.primary, "GBP", lines, reference="C536379", **facts)  # type: ignore[arg-type]
            again = await refunds.credit(worker.primary, "GBP", lines, reference="C536379", **facts)  # type: ignore[arg-type]
            assert isinstance(done, Refunded)
            assert isinstance(again, Refunded)
            assert (done.amount, done.order_id, again.id, again.replayed) == (330, None, done.id, True)
        assert await shop.value("SELECT on_hand FROM stock") == 12
        assert (
            await shop.value("SELECT sum(amount) FROM ledger_entries WHERE account = 'customer_credit'")
            == -330
        )
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_orders_and_settlements_of_the_same_goods_at_once_add_up(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        chance = random.Random(5)
        async with (
            shop.worker(lanes=2, second_lane_orders=1) as one,
            shop.worker(lanes=2, second_lane_orders=1) as two,
        ):
            await shop.stock(one, a=400, b=400, c=400)

            async def customer(worker: Trading) -> None:
                for _ in range(20):
                    lines = [
                        (sku, chance.randint(1, 3)) for sku in chance.sample("abc", chance.randint(1, 3))
                    ]
                    token = chance.choice(["tok_approve", "tok_approve", "tok_decline"])
                    placed = await worker.place(shop.order(*lines, token=token))
                    if isinstance(placed, PlacedOrder) and chance.random() < 0.3:
                        arguments = {"key": shop.key(), "fingerprint": b"", "reason": ""}
                        await refunds.cancel(worker.primary, placed.id, **arguments)  # type: ignore[arg-type]

            workers = itertools.cycle((one, two))
            jobs = asyncio.gather(*(customer(next(workers)) for _ in range(16)))
            while not jobs.done():
                assert problems(await shop.audit(books=True)) == [], "a shop in trade adds up at any moment"
                await asyncio.sleep(0.05)
            await jobs
            await eventually(lambda: all_settled(shop), 40)
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())
