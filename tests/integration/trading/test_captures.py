"""Authorise, capture, capture in parts, void: what is taken is never more than what is held, whoever asks at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from everopen.base.ids import uuid7
from everopen.trading import Trading, find, refunds
from everopen.trading.orders import Cancelled, KeyReused, NotFound, PlacedOrder, Refunded, WrongState
from everopen.trading.payments import staff
from everopen.trading.payments.staff import Asked, TooMuchMoney
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


async def status_of(worker: Trading, order_id: UUID) -> str:
    view = await find.find_order(worker.primary, order_id)
    assert view is not None
    return view.status


async def authorised(shop: Shop, worker: Trading, quantity: int = 4, token: str = "tok_approve") -> UUID:
    """An order whose money is held."""
    placed = await worker.place(shop.order(("apple", quantity), token=token, capture="manual"))
    assert isinstance(placed, PlacedOrder)

    async def is_held() -> bool:
        return await status_of(worker, placed.id) == "authorised"

    await eventually(is_held)
    return placed.id


async def take(
    worker: Trading, order: UUID, amount: int | None = None, *, key: str, final: bool = False
) -> Any:
    return await staff.capture(
        worker.primary,
        order,
        amount,
        final=final,
        key=key,
        fingerprint=repr((amount, final)).encode(),
        reason="r",
    )


async def sums(shop: Shop) -> dict[str, int]:
    rows = await shop.fetch("SELECT account, sum(amount)::bigint FROM ledger_entries GROUP BY 1")
    return {account: amount for account, amount in map(tuple, rows) if amount}


def test_an_order_is_authorised_then_captured_and_only_then_do_its_goods_leave(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            order = await authorised(shop, worker)
            assert tuple((await shop.fetch("SELECT on_hand, reserved FROM stock"))[0]) == (10, 4)
            assert (await sums(shop)).get("cash") is None, "a hold is no money"
            assert problems(await shop.audit(books=True)) == []
            first = await take(worker, order, key="c1")
            again = await take(worker, order, key="c1")
            assert isinstance(first, Asked)
            assert again == Asked(first.id, replayed=True)
            assert await take(worker, order, 1, key="c1") == KeyReused()
            assert await take(worker, order, key="c2") in (WrongState("capturing"), WrongState("paid"))
            await eventually(lambda: all_settled(shop))
            assert await status_of(worker, order) == "paid"
            assert tuple((await shop.fetch("SELECT on_hand, reserved FROM stock"))[0]) == (6, 0)
            assert await sums(shop) == {"cash": 1000, "sales": -1000}
            back = await refunds.refund(
                worker.primary, "GBP", order, [], key="r", fingerprint=b"", restock=True, reason="r"
            )
            assert isinstance(back, Refunded)
            await eventually(lambda: all_settled(shop))
        report = await shop.audit(books=True)
        assert problems(report) == []
        assert (report.counts["captured"], report.counts["refunded"]) == (1000, 1000)

    asyncio.run(scenario())


def test_rule_6_captures_at_once_never_take_more_than_was_authorised(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker, shop.worker() as other:
            await shop.stock(worker, apple=10)
            order = await authorised(shop, worker)
            asked = await asyncio.gather(
                *(take((worker, other)[n % 2], order, 300, key=f"k{n}") for n in range(8))
            )
            assert sum(isinstance(one, Asked) for one in asked) == 3
            assert {one for one in asked if not isinstance(one, Asked)} == {TooMuchMoney(100)}
            await eventually(lambda: all_settled(shop))
            assert await status_of(worker, order) == "authorised", "a part is still held"
            assert problems(await shop.audit(books=True)) == []
            assert isinstance(await take(worker, order, key="rest"), Asked)
            await eventually(lambda: all_settled(shop))
            assert await status_of(worker, order) == "paid"
            assert await sums(shop) == {"cash": 1000, "sales": -1000}
            told = (
                "(SELECT topic FROM outbox UNION ALL SELECT topic FROM events) e WHERE topic = 'order.paid'"
            )
            assert await shop.value(f"SELECT count(*) FROM {told}") == 1
            assert await shop.value("SELECT count(*) FROM payment_intents WHERE kind = 'void'") == 0
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_what_a_final_capture_leaves_is_voided_and_waived(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            order = await authorised(shop, worker)
            assert isinstance(await take(worker, order, 250, key="a"), Asked)
            assert isinstance(await take(worker, order, 350, key="b", final=True), Asked)
            assert await take(worker, order, 1, key="c") == WrongState("capturing")
            await eventually(lambda: all_settled(shop))
            assert await status_of(worker, order) == "paid"
            payments = await staff.payments_of(worker.primary, order)
            assert sorted((one.kind, one.status, one.amount) for one in payments) == [
                ("authorise", "authorised", 1000),
                ("capture", "captured", 250),
                ("capture", "captured", 350),
                ("void", "voided", 400),
            ]
            assert await sums(shop) == {"cash": 600, "sales": -600}
            books = await worker.providers["sandbox"].books()  # type: ignore[attr-defined]
            assert books.captured == 600
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_rule_6_refunds_never_exceed_captures_whoever_adds_them(shop: Shop) -> None:
    """The trigger behind the functions: even a statement that forgets to look is refused, also two at once."""

    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            order = await authorised(shop, worker)
            assert isinstance(await take(worker, order, 600, key="a", final=True), Asked)
            await eventually(lambda: all_settled(shop))
        add = (
            "INSERT INTO payment_intents (id, order_id, kind, amount, currency, provider, token, next_attempt_at) "
            "VALUES ($1, $2, $3, $4, 'GBP', 'sandbox', '', 'infinity')"
        )

        async def give(kind: str, amount: int) -> bool:
            async with shop.database.connect("everopen_app") as connection:
                try:
                    await connection.execute(add, uuid7(), order, kind, amount)
                except asyncpg.CheckViolationError:
                    return False
                return True

        assert sum(await asyncio.gather(*(give("refund", 250) for _ in range(6)))) == 2
        assert not await give("refund", 101)
        assert not await give("capture", 401)
        for kind in ("refund", "capture"):
            with pytest.raises(asyncpg.CheckViolationError):
                await shop.value(add + " RETURNING 1", uuid7(), uuid7(), kind, 1)

    asyncio.run(scenario())


def test_voiding_cancels_an_order_of_which_nothing_was_captured(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            voided, cancelled = await authorised(shop, worker), await authorised(shop, worker)
            facts = {"key": "v", "fingerprint": b"v", "reason": "r"}
            assert await staff.void(worker.primary, voided, **facts) == Asked(voided)
            assert await staff.void(worker.primary, voided, **facts) == Asked(voided, replayed=True)
            assert (
                await staff.void(worker.primary, uuid7(), key="n", fingerprint=b"", reason="r") == NotFound()
            )
            assert await refunds.cancel(
                worker.primary, cancelled, key="c", fingerprint=b"c", reason="r"
            ) == Cancelled(cancelled)
            await eventually(lambda: all_settled(shop))
            assert await take(worker, voided, key="late") == WrongState("cancelled")
            books = await worker.providers["sandbox"].books()  # type: ignore[attr-defined]
            assert books.captured == 0
        rows = await shop.fetch(
            "SELECT DISTINCT o.status, i.status FROM orders o JOIN payment_intents i ON i.order_id = o.id AND kind = 'void'"
        )
        assert [tuple(row) for row in rows] == [("cancelled", "voided")]
        assert tuple((await shop.fetch("SELECT on_hand, reserved FROM stock"))[0]) == (10, 0)
        assert await sums(shop) == {}
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_voiding_the_rest_of_a_captured_order_makes_it_paid(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            order = await authorised(shop, worker)
            assert isinstance(await take(worker, order, 250, key="a"), Asked)
            facts = {"fingerprint": b"v", "reason": "r"}
            early = await staff.void(worker.primary, order, key="v1", **facts)
            await eventually(lambda: all_settled(shop))
            assert early in (WrongState("capturing"), Asked(order))
            assert isinstance(await refunds.cancel(worker.primary, order, key="c", **facts), WrongState)
            await staff.void(worker.primary, order, key="v2", **facts)
            await eventually(lambda: all_settled(shop))
            assert await status_of(worker, order) == "paid"
            assert await sums(shop) == {"cash": 250, "sales": -250}
        assert tuple((await shop.fetch("SELECT on_hand, reserved FROM stock"))[0]) == (6, 0)
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("order_of_news", ["cancel, hold", "hold, cancel"])
def test_a_hold_that_comes_after_its_order_was_cancelled_is_given_back(
    shop: Shop, order_of_news: str
) -> None:
    async def scenario() -> None:
        async with shop.worker(payer_lease_s=0.1) as worker:
            await shop.stock(worker, apple=10)
            placed = await worker.place(shop.order(("apple", 4), capture="manual"))
            assert isinstance(placed, PlacedOrder)
            for news in order_of_news.split(", "):
                if news == "hold":
                    settle = "SELECT settle_payments(ARRAY[$1::uuid], ARRAY['approved'], ARRAY['x'])"
                    assert await shop.value(settle, placed.id) == 1
                else:
                    done = await refunds.cancel(
                        worker.primary, placed.id, key="c", fingerprint=b"c", reason="r"
                    )
                    assert done == Cancelled(placed.id)
            assert await status_of(worker, placed.id) == "cancelled"
        rows = await shop.fetch("SELECT kind, status, amount FROM payment_intents ORDER BY kind")
        assert [tuple(row) for row in rows] == [("authorise", "authorised", 1000), ("void", "pending", 1000)]
        assert tuple((await shop.fetch("SELECT on_hand, reserved FROM stock"))[0]) == (10, 0)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_a_declined_hold_releases_the_goods_and_a_declined_capture_is_shown_to_staff(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            declined = await worker.place(shop.order(("apple", 1), token="tok_decline", capture="manual"))
            assert isinstance(declined, PlacedOrder)
            order = await authorised(shop, worker, 4, "tok_capture_declined")
            await take(worker, order, key="c")
            await eventually(lambda: all_settled(shop))
            assert await status_of(worker, declined.id) == "declined"
            assert await status_of(worker, order) == "authorised"
            failed = await staff.failed_payments(worker.primary, worker.settings, after=None, limit=10)
            assert [(one.kind, one.status, one.order_id) for one in failed] == [
                ("capture", "declined", order)
            ]
            assert isinstance(await take(worker, order, key="again"), Asked)
            await eventually(lambda: all_settled(shop))
            assert problems(await shop.audit(books=True)) == []
            await staff.void(worker.primary, order, key="v", fingerprint=b"", reason="r")
            await eventually(lambda: all_settled(shop))
            assert await staff.failed_payments(worker.primary, worker.settings, after=None, limit=10) == []
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_a_hold_whose_answer_was_lost_and_captures_of_a_killed_provider_come_through_once(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker(payer_lease_s=2.5, payer_retry_s_max=0.3) as worker:
            await shop.stock(worker, apple=100)
            orders = [await authorised(shop, worker, 1, "tok_lost") for _ in range(5)]
            shop.sandbox.stop(9)
            for order in orders:
                assert isinstance(await take(worker, order, 100, key=f"p{order}"), Asked)
                assert isinstance(await take(worker, order, key=f"r{order}"), Asked)
            await asyncio.sleep(0.3)
            shop.sandbox.start()
            await eventually(lambda: all_settled(shop))
            assert {await status_of(worker, order) for order in orders} == {"paid"}
            books = await worker.providers["sandbox"].books()  # type: ignore[attr-defined]
            assert books.captured == 5 * 250
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_an_authorisation_that_nobody_captures_is_cancelled_in_time(shop: Shop) -> None:
    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker(authorisation_days=1.0) as worker:
            await shop.stock(worker, apple=20)
            old, young, begun = [await authorised(shop, worker) for _ in range(3)]
            await take(worker, begun, 100, key="b")
            await eventually(lambda: all_settled(shop))
            await shop.fetch(
                "UPDATE payment_intents SET settled_at = now() - interval '25 hours' WHERE id <> $1", young
            )
            said = await staff.end_old_authorisations(worker.primary, worker.settings)
            assert said == "Cancelled 1 orders whose authorisation was not captured in time."
            await staff.end_old_authorisations(worker.primary, worker.settings)
            await eventually(lambda: all_settled(shop))
            assert [await status_of(worker, order) for order in (old, young, begun)] == [
                "cancelled", "authorised", "authorised",
            ]  # fmt: skip
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())
