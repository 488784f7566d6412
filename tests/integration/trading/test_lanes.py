"""Orders through lanes on a real PostgreSQL: each its own outcome, each exactly once."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

import pytest

from everopen.base.errors import StoreUnavailable
from everopen.trading.orders import (
    ORDER_TOTAL_MAX,
    UNIT_PRICE_MAX,
    KeyReused,
    LineRequest,
    NoLines,
    PlacedOrder,
    ReferenceTaken,
    SoldOut,
    TooDear,
    UnknownSku,
    Unpriced,
)
from tests.integration.trading.conftest import Shop, problems


def test_each_order_of_a_group_has_its_own_outcome(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(lanes=1) as worker:
            await shop.stock(worker, apple=5, pear=1, postage=None)
            outcomes = await asyncio.gather(
                worker.place(shop.order(("apple", 2), ("postage", 1))),
                worker.place(shop.order(("pear", 1), ("apple", 9))),
                worker.place(shop.order(("apple", 1), ("plum", 1), ("plüm", 2))),
                worker.place(shop.order(("pear", 1), ("apple", 3))),
                worker.place(shop.order(("apple", 1))),
                worker.place(shop.order()),
            )
            assert worker.stats()["lane_groups_total"] <= 2
        first, sold_out, unknown, last, late, nothing = outcomes
        assert isinstance(first, PlacedOrder)
        assert (first.total, first.status, first.replayed) == (750, "placed", False)
        assert [line.title for line in first.lines] == ["Title of apple", "Title of postage"]
        assert sold_out == SoldOut("apple", 3, 9)
        assert unknown == UnknownSku(("plum", "plüm"))
        assert isinstance(last, PlacedOrder), (
            "what the refused order had taken of its first line must be free again"
        )
        assert late == SoldOut("apple", 0, 1)
        assert nothing == NoLines()
        assert await shop.value("SELECT count(*) FROM orders") == 2
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_of_a_hundred_who_want_the_last_seventeen_exactly_seventeen_get_one(shop: Shop) -> None:
    async def scenario() -> None:
        async with (
            shop.worker(lanes=3, second_lane_orders=1, group_max=7) as one,
            shop.worker(lanes=2, group_max=5) as two,
        ):
            await shop.stock(one, drop=17, other=10_000)
            requests = [shop.order(("drop", 1)) for _ in range(100)] + [
                shop.order(("other", 3), ("drop", 1)) for _ in range(50)
            ]
            outcomes = await asyncio.gather(
                *((one if i % 2 else two).place(request) for i, request in enumerate(requests))
            )
        assert Counter(type(outcome) for outcome in outcomes) == {PlacedOrder: 17, SoldOut: 133}
        assert (
            await shop.value("SELECT reserved FROM stock JOIN products ON id = sku_id WHERE sku = 'drop'")
            == 17
        )
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_orders_in_opposite_line_order_do_not_deadlock(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(lanes=4, second_lane_orders=1, group_max=3) as worker:
            await shop.stock(worker, a=1000, b=1000, c=1000)
            lines = [("a", 1), ("b", 1), ("c", 1)]
            orders = [shop.order(*(lines if number % 2 else reversed(lines))) for number in range(200)]
            outcomes = await asyncio.gather(*(worker.place(order) for order in orders))
            assert all(isinstance(outcome, PlacedOrder) for outcome in outcomes)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_the_same_key_gives_the_same_answer_and_another_body_is_refused(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            first = await worker.place(shop.order(("apple", 2), key="k"))
            again = await worker.place(shop.order(("apple", 2), key="k"))
            other = await worker.place(shop.order(("apple", 3), key="k"))
            assert isinstance(first, PlacedOrder)
            assert isinstance(again, PlacedOrder)
            assert (again.id, again.total, again.lines, again.placed_at) == (
                first.id,
                first.total,
                first.lines,
                first.placed_at,
            )
            assert again.replayed
            assert not first.replayed
            assert other == KeyReused()
        assert await shop.value("SELECT count(*) FROM orders") == 1

    asyncio.run(scenario())


def test_a_refused_order_leaves_its_key_free(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=1)
            assert await worker.place(shop.order(("apple", 2), key="k")) == SoldOut("apple", 1, 2)
            assert isinstance(await worker.place(shop.order(("apple", 1), key="k")), PlacedOrder)

    asyncio.run(scenario())


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_key_at_once_makes_one_order(shop: Shop, workers: int) -> None:
    """In one worker the second waits for the first; across workers the unique key decides."""

    async def scenario() -> None:
        async with shop.worker() as one, shop.worker() as two:
            await shop.stock(one, apple=1000)
            places = [one.place, two.place if workers == 2 else one.place]
            for number in range(20):
                key = f"twin-{number}"
                outcomes = await asyncio.gather(
                    *(places[i % 2](shop.order(("apple", 1), key=key)) for i in range(6)),
                    places[1](shop.order(("apple", 7), key=key)),
                )
                placed = [outcome for outcome in outcomes if isinstance(outcome, PlacedOrder)]
                assert len({outcome.id for outcome in placed}) == 1
                assert sum(not outcome.replayed for outcome in placed) == 1
                assert outcomes.count(KeyReused()) in (1, 6)
        assert await shop.value("SELECT count(*) FROM orders") == 20
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_backends_killed_under_load_fail_no_order_and_double_none(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(lanes=2, second_lane_orders=1, group_max=20) as worker:
            await shop.stock(worker, apple=100_000)
            outcomes = []

            async def customer() -> None:
                for _ in range(60):
                    outcomes.append(await worker.place(shop.order(("apple", 1))))

            async def administrator() -> None:
                for _ in range(15):
                    await shop.database.kill_backends()
                    await asyncio.sleep(0.02)

            await asyncio.gather(administrator(), *(customer() for _ in range(20)))
            assert worker.stats()["store_connections_lost_total"] > 0
        assert all(isinstance(outcome, PlacedOrder) and not outcome.replayed for outcome in outcomes)
        assert len({outcome.id for outcome in outcomes if isinstance(outcome, PlacedOrder)}) == 1200
        assert await shop.value("SELECT count(*) FROM orders") == 1200
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_orders_wait_for_a_primary_and_give_up_at_the_deadline(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(order_deadline_s=1.0) as worker:
            await shop.stock(worker, apple=10)
            shop.database.publish(2, gone=True)  # a new epoch without a primary: old connections are dropped
            while worker.ready():
                await asyncio.sleep(0.005)
            with pytest.raises(StoreUnavailable):
                await worker.place(shop.order(("apple", 1)))
            waiting = asyncio.create_task(worker.place(shop.order(("apple", 1))))
            await asyncio.sleep(0.1)
            shop.database.publish(1)
            assert isinstance(await waiting, PlacedOrder)

    asyncio.run(scenario())


def test_a_node_of_another_epoch_is_not_written_to(shop: Shop) -> None:
    async def scenario() -> None:
        shop.database.publish(7)
        async with shop.worker(order_deadline_s=0.4) as worker:
            with pytest.raises(StoreUnavailable):
                await worker.place(shop.order(("apple", 1)))
            assert not worker.ready()

    asyncio.run(scenario())


def test_an_order_that_the_database_cannot_hold_fails_alone(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(lanes=1) as worker:
            await shop.stock(worker, apple=10)
            outcomes = await asyncio.gather(
                worker.place(shop.order(("apple", 1))),
                worker.place(shop.order(("apple", 1), email="nul\x00byte")),
                worker.place(shop.order(("apple", 2**40))),
                worker.place(shop.order(("apple", 1))),
                return_exceptions=True,
            )
            assert [type(outcome) is PlacedOrder for outcome in outcomes] == [True, False, False, True]
            assert all(isinstance(outcome, Exception) for outcome in outcomes[1:3])

    asyncio.run(scenario())


def test_an_order_of_too_much_money_is_refused_alone(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker(lanes=1) as worker:
            await shop.stock(worker, apple=202, postage=None)
            many = tuple(LineRequest("postage", 1_000_000, UNIT_PRICE_MAX) for _ in range(1000))
            outcomes = await asyncio.gather(
                worker.place(shop.order(("apple", 1))),
                worker.place(shop.order(lines=(LineRequest("apple", 100, UNIT_PRICE_MAX),))),
                worker.place(shop.order(lines=(LineRequest("apple", 101, UNIT_PRICE_MAX),))),
                worker.place(shop.order(lines=many)),
                worker.place(shop.order(("apple", 101))),  # the very last ones: the refused took none
            )
            assert worker.stats()["lane_failures_total"] == 0
        assert [getattr(outcome, "total", outcome) for outcome in outcomes] == [
            250,
            ORDER_TOTAL_MAX,
            TooDear(),
            TooDear(),
            25250,
        ]
        assert await shop.value("SELECT sum(reserved)::int + sum(202 - on_hand)::int FROM stock") == 202
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_staff_prices_references_and_missing_prices(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=10)
            async with shop.database.connect("postgres") as connection:
                await connection.execute("UPDATE products SET unit_price = NULL")
            assert await worker.place(shop.order(("apple", 1))) == Unpriced(("apple",))
            outcomes = await asyncio.gather(
                *(
                    worker.place(shop.order(lines=(LineRequest("apple", 2, 199),), reference="536365"))
                    for _ in range(3)
                )
            )
            assert sorted(type(outcome).__name__ for outcome in outcomes) == [
                "PlacedOrder",
                "ReferenceTaken",
                "ReferenceTaken",
            ]
            assert await worker.place(shop.order(("apple", 1), reference="536365")) == ReferenceTaken(
                "536365"
            )
            assert next(outcome.total for outcome in outcomes if isinstance(outcome, PlacedOrder)) == 398

    asyncio.run(scenario())


def test_an_order_of_nothing_to_pay_is_paid_at_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, sample=3)
            placed = await worker.place(shop.order(lines=(LineRequest("sample", 2, 0),)))
            assert isinstance(placed, PlacedOrder)
        rows = await shop.fetch("SELECT status, on_hand, reserved FROM orders, stock")
        assert [tuple(row) for row in rows] == [("paid", 1, 0)]
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())


def test_the_end_of_a_worker_commits_what_waits(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100)
            waiting = [asyncio.create_task(worker.place(shop.order(("apple", 1)))) for _ in range(30)]
            await asyncio.sleep(0)
        outcomes = await asyncio.gather(*waiting)
        assert all(isinstance(outcome, PlacedOrder) for outcome in outcomes)

    asyncio.run(scenario())


def test_a_cancelled_wait_for_the_standby_acknowledges_nothing_until_the_standby_has_it(shop: Shop) -> None:
    """The commit is local and visible after the cancel. Neither it nor its replay may be answered before the standby
    confirms: a failover could still take the order back."""

    async def synchronous(names: str) -> None:
        async with shop.database.connect("postgres") as connection:
            await connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
            await connection.execute("SELECT pg_reload_conf()")
            while await connection.fetchval("SHOW synchronous_standby_names") != names:
                await asyncio.sleep(0.01)

    async def waiting_backends(signal: str) -> int:
        rows = await shop.fetch(
            f"SELECT {signal}(pid) FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'SyncRep' "
            "AND query LIKE '%place_orders%'",  # and not a job that commits at this moment
            shop.database.name,
        )
        return len(rows)

    async def scenario() -> None:
        async with shop.worker(lanes=1) as worker:
            await shop.stock(worker, apple=10)
            await synchronous("ghost")
            try:
                waiting = asyncio.create_task(worker.place(shop.order(("apple", 1))))
                for signal in ("pg_cancel_backend", "pg_terminate_backend", "pg_cancel_backend"):
                    async with asyncio.timeout(10):
                        while not await waiting_backends(signal):
                            await asyncio.sleep(0.01)
                    await asyncio.sleep(0.1)
                    assert await shop.value("SELECT count(*) FROM orders") == 1, "committed here, and visible"
                    assert not waiting.done()
            finally:
                await synchronous("")
            outcome = await waiting
            assert isinstance(outcome, PlacedOrder)
            assert not outcome.replayed
        assert await shop.value("SELECT count(*) FROM orders") == 1

    asyncio.run(scenario())


BUYER = """
import asyncio, random, sys
from pathlib import Path
from everopen.base.clock import SystemClock
from everopen.store import StoreSettings
from everopen.trading import Trading, TradingSettings
from everopen.trading.orders import LineRequest, OrderRequest, PlacedOrder

async def main():
    topology, database, name = sys.argv[1:]
    worker = Trading(
        TradingSettings(lanes=2, second_lane_orders=1, group_max=8), StoreSettings(), topology_file=Path(topology),
        app_password="-", payments_socket=Path("/nonexistent"), clock=SystemClock(), rng=random.Random(), database=database,
    )
    await worker.start()
    lines = (LineRequest("drop", 1),)
    requests = [
        OrderRequest(key=f"{name if i % 2 else 'shared'}-{i}", fingerprint=b"f", lines=lines, email="", provider="sandbox", token="t")
        for i in range(200)
    ]
    outcomes = await asyncio.gather(*(worker.place(request) for request in requests))
    print(" ".join(str(outcome.id) for outcome in outcomes if isinstance(outcome, PlacedOrder)))
    await worker.stop(0.1)

asyncio.run(main())
"""


def test_processes_that_share_keys_and_goods_sell_each_unit_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, drop=250)
        command = (sys.executable, "-c", BUYER, str(shop.database.topology_file), shop.database.name)
        processes = [
            await asyncio.create_subprocess_exec(
                *command, f"process-{number}", stdout=asyncio.subprocess.PIPE
            )
            for number in range(3)
        ]
        sold: set[bytes] = set()
        for process in processes:
            output, _ = await process.communicate()
            assert process.returncode == 0
            sold.update(output.split())
        assert len(sold) == 250
        assert tuple((await shop.fetch("SELECT on_hand, reserved FROM stock"))[0]) == (250, 250)
        assert problems(await shop.audit()) == []

    asyncio.run(scenario())
