"""Slow payments do not hold up fast ones, and a settlement that was told is on the standby too."""

from __future__ import annotations

import asyncio
import time

from everopen.trading.orders import PlacedOrder
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.test_captures import all_settled, eventually


def test_fast_payments_pass_slow_ones_of_the_same_provider(shop: Shop) -> None:
    """Two askers, twenty payments of 0.3 s each in front of forty quick ones: one after the other they would take 3 s."""

    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker(payer_concurrency=2, payer_slow_ms=40.0) as worker:
            await shop.stock(worker, apple=1000)
            await asyncio.gather(
                *(worker.place(shop.order(("apple", 1), token="tok_slow")) for _ in range(20))
            )
            started = time.monotonic()
            await asyncio.gather(*(worker.place(shop.order(("apple", 1))) for _ in range(40)))

            async def quick_are_paid() -> bool:
                return bool(
                    await shop.value(
                        "SELECT count(*) = 40 FROM orders o JOIN payment_intents i USING (id) "
                        "WHERE o.status = 'paid' AND i.token = 'tok_approve'"
                    )
                )

            await eventually(quick_are_paid)
            assert time.monotonic() - started < 2.0
            await eventually(lambda: all_settled(shop))
            assert worker.stats()["payments_slow_total"] >= 10
            # Those who took the place of slow calls have ended: no more askers than at the start.
            assert len(worker.payer._askers) == 2
        assert problems(await shop.audit(books=True)) == []

    asyncio.run(scenario())


def test_a_settlement_waits_for_the_standby_before_anybody_sees_it(shop: Shop) -> None:
    """`paid` is told to customers and subscribers: a failover must not take it back."""

    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            async with shop.database.connect("postgres") as connection:

                async def standbys(names: str) -> None:
                    await connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
                    await connection.execute("SELECT pg_reload_conf()")

                placed = await worker.place(shop.order(("apple", 1), token="tok_slow"))
                assert isinstance(placed, PlacedOrder)
                await standbys("ghost")
                try:

                    async def waits() -> bool:
                        found = await connection.fetchval(
                            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' "
                            "AND application_name = 'everopen payer' AND datname = $1",
                            shop.database.name,
                        )
                        return bool(found)

                    await eventually(waits)
                    assert await shop.value("SELECT status FROM orders") == "placed"
                    told = "(SELECT topic FROM outbox UNION ALL SELECT topic FROM events) e WHERE topic = 'order.paid'"
                    assert await shop.value(f"SELECT count(*) FROM {told}") == 0
                finally:
                    await standbys("")
                await eventually(lambda: all_settled(shop))
                assert await shop.value("SELECT status FROM orders") == "paid"

    asyncio.run(scenario())


def test_a_worker_leaves_payments_of_a_provider_that_it_does_not_have_to_those_who_have_it(
    shop: Shop,
) -> None:
    """While a new provider is rolled out, workers differ; who can't ask must not use up the pauses of who can."""

    async def scenario() -> None:
        shop.sandbox.start()
        async with shop.worker(payer_lease_s=0.1) as first:
            await shop.stock(first, apple=10)
            await first.place(shop.order(("apple", 1)))
        async with shop.worker() as without:
            without.providers.clear()
            await asyncio.sleep(0.5)
            assert await shop.value("SELECT attempts FROM payment_intents") == 0
            async with shop.worker():
                await eventually(lambda: all_settled(shop))
        assert await shop.value("SELECT status FROM orders") == "paid"

    asyncio.run(scenario())
