"""Staff, customers, webhooks, two payers and a provider that dies, all at the same few orders at random: the books add up at
every moment, and in the end everything has ended."""

from __future__ import annotations

import asyncio
import random
import signal
from uuid import UUID

import pytest

from everopen.trading import Trading, refunds
from everopen.trading.orders import PlacedOrder, RefundLine
from everopen.trading.payments import ProviderSilent, staff
from everopen.trading.payments.reconcile import reconcile_day
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.test_captures import all_settled, eventually
from tests.integration.trading.test_reconcile import TODAY

TOKENS = ("tok_approve",) * 6 + (
    "tok_lost",
    "tok_decline",
    "tok_slow",
    "tok_capture_declined",
    "tok_refund_declined",
    "tok_lapse",
)
ORDERS = 32
TURNS = 20


@pytest.mark.parametrize("number", [1, 2, 3])
def test_whoever_does_what_at_once_no_money_is_lost_or_made(shop: Shop, number: int) -> None:
    chance = random.Random(number)

    async def place(worker: Trading) -> UUID:
        capture = chance.choice(("manual", "manual", "automatic"))
        placed = await worker.place(
            shop.order(("apple", chance.randint(1, 4)), token=chance.choice(TOKENS), capture=capture)
        )
        assert isinstance(placed, PlacedOrder)
        return placed.id

    async def meddle(worker: Trading, order: UUID) -> None:
        """One thing that somebody does to an order; most of the time it is refused."""
        facts = {"key": shop.key(), "fingerprint": b"", "reason": "r"}
        match chance.choices(range(7), (8, 2, 1, 1, 6, 6, 4))[0]:
            case 0:
                amount = chance.choice((None, 1, 100, 250, 600))
                await staff.capture(worker.primary, order, amount, final=chance.random() < 0.3, **facts)  # type: ignore[arg-type]
            case 1:
                await staff.capture(worker.primary, order, None, final=False, **facts)  # type: ignore[arg-type]
            case 2:
                await staff.void(worker.primary, order, **facts)  # type: ignore[arg-type]
            case 3:
                await refunds.cancel(worker.primary, order, **facts)  # type: ignore[arg-type]
            case 4:
                lines = [] if chance.random() < 0.3 else [RefundLine("apple", 1)]
                await refunds.refund(worker.primary, "GBP", order, lines, restock=True, **facts)  # type: ignore[arg-type]
            case 5:
                for payment in await staff.payments_of(worker.primary, order):
                    try:
                        await worker.payer.hear("sandbox", payment.id)
                    except ProviderSilent:
                        pass
            case 6:
                for payment in await staff.payments_of(worker.primary, order):
                    if payment.status == "declined":
                        by_hand = chance.random() < 0.5
                        again = {**facts, "key": shop.key()}
                        await staff.retry(worker.primary, payment.id, by_hand=by_hand, **again)  # type: ignore[arg-type]

    async def scenario() -> None:
        shop.sandbox.start()
        settings = {
            "payer_lease_s": 2.2,
            "payer_timeout_s": 0.7,
            "payer_retry_s_max": 0.3,
            "payer_slow_ms": 50.0,
        }
        async with shop.worker(**settings) as one, shop.worker(**settings) as two:
            await shop.stock(one, apple=1000)
            workers = (one, two)
            orders = [await place(chance.choice(workers)) for _ in range(ORDERS)]

            async def actor() -> None:
                for _ in range(TURNS):
                    await meddle(chance.choice(workers), chance.choice(orders))
                    await asyncio.sleep(chance.random() * 0.05)

            acting = asyncio.gather(*(actor() for _ in range(8)))
            killed = False
            while not acting.done():
                assert problems(await shop.audit()) == []
                if not killed:
                    killed = True
                    shop.sandbox.stop(signal.SIGKILL)
                    await asyncio.sleep(0.3)
                    shop.sandbox.start()
                await asyncio.sleep(0.05)
            await acting
            for order in orders:  # what is held and not taken is given back in the end
                await eventually(lambda: all_settled(shop), 30)
                facts = {"key": shop.key(), "fingerprint": b"", "reason": "r"}
                await staff.void(one.primary, order, **facts)  # type: ignore[arg-type]
            await eventually(lambda: all_settled(shop), 30)
            report = await reconcile_day(one.primary, "sandbox", one.providers["sandbox"], TODAY)
            by_hand = await shop.fetch(
                "SELECT DISTINCT order_id FROM payment_intents WHERE provider = 'hand' OR retry_of IS NOT NULL"
            )
            assert report.differences == [], f"{len(by_hand)} orders were paid back by hand"
            left = await shop.value("SELECT count(*) FROM orders WHERE status IN ('placed', 'authorised')")
            assert left == 0
        assert problems(await shop.audit(books=True)) == []
        owed = await shop.value(
            "SELECT coalesce(sum(amount), 0)::bigint FROM ledger_entries WHERE account = 'receivable'"
        )
        still = await shop.value(
            "SELECT coalesce(sum(i.amount), 0)::bigint FROM payment_intents i WHERE kind = 'refund' AND status = 'declined' "
            "AND NOT EXISTS (SELECT FROM payment_intents n WHERE n.retry_of = i.id)"
        )
        assert owed == -still, "nobody owes us anything, and we owe what was refused to be given back"

    asyncio.run(scenario())
