"""Events out on a real PostgreSQL, to real HTTP receivers: nothing lost, in order per order, whoever fails."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from everopen.base.clock import SystemClock
from everopen.base.topology import TopologyReader
from everopen.store import Primary, StoreSettings
from everopen.trading import TradingSettings
from everopen.trading.events import facts, subscribers
from everopen.trading.events.catalogue import TOPICS
from everopen.trading.events.deliverer import Deliverer
from everopen.trading.events.relay import Relay, forget_events
from everopen.trading.events.sender import Sender
from everopen.trading.events.settings import EventsSettings
from everopen.trading.events.subscribers import Added
from everopen.trading.jobs import JobContext
from tests.integration.trading.conftest import Shop
from tests.support.postgres import Database
from tests.support.receiver import Receiver, until, verify

FAST: dict[str, Any] = {
    "poll_s": 0.02,
    "private_addresses": True,
    "timeout_s": 1.0,
    "retry_first_s": 0.05,
    "retry_max_s": 0.2,
    "rest_max_s": 0.3,
    "lease_s": 1.5,
}


class Worker:
    """A worker's relay and deliverer, with connections of their own."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.settings = EventsSettings(**{**FAST, **settings})
        clock, rng = SystemClock(), random.Random()
        self.primary = Primary(
            StoreSettings(),
            TopologyReader(database.topology_file),
            password="-",
            clock=clock,
            jitter=rng.random,
            database=database.name,
        )
        self.deliverer = Deliverer(self.settings, self.primary, Sender(self.settings), clock=clock, rng=rng)
        self.relay = Relay(self.settings, self.primary, rng=rng, busy=lambda: False, wake=self.deliverer.wake)

    async def subscribe(self, url: str, *topics: str) -> Added:
        added = await subscribers.add(self.primary, url, topics, "", key=str(uuid4()), fingerprint=b"x")
        assert isinstance(added, Added)
        return added


@asynccontextmanager
async def worker_of(database: Database, **settings: Any) -> AsyncIterator[Worker]:
    worker = Worker(database, **settings)
    await worker.primary.start()
    await worker.relay.start()
    await worker.deliverer.start()
    try:
        yield worker
    finally:
        await worker.relay.stop()
        await worker.deliverer.stop()
        await worker.primary.close()


async def announce(shop: Shop, *events: tuple[str, UUID]) -> None:
    """Announces events in one transaction, as the application does."""
    async with shop.database.connect() as connection, connection.transaction():
        for topic, subject in events:
            await connection.execute("INSERT INTO outbox (topic, subject) VALUES ($1, $2)", topic, subject)


def test_rule_8_an_order_is_told_in_order_and_signed(shop: Shop) -> None:
    """Rule 8: transactional outbox, signed webhooks."""
    shop.sandbox.start()

    async def scenario(receiver: Receiver) -> None:
        async with worker_of(shop.database) as worker, shop.worker() as trading:
            added = await worker.subscribe(receiver.url)
            await shop.stock(trading, LAMP=5)
            placed = await trading.place(shop.order(("LAMP", 2)))
            await until(lambda: len(receiver.got) >= 2)
            assert receiver.topics(str(placed.id)) == ["order.placed", "order.paid"]  # type: ignore[union-attr]
            for headers, body in receiver.requests:
                verify(added.secret, headers, body)
                event = msgspec.json.decode(body, type=facts.Event)
                data = msgspec.convert(event.data, TOPICS[event.topic].payload)
                assert data.lines[0].sku == "LAMP"  # type: ignore[attr-defined]
                assert data.total.amount == 500  # type: ignore[attr-defined]
            with pytest.raises(AssertionError):
                verify(added.secret, headers, body + b" ")

    with Receiver() as receiver:
        asyncio.run(scenario(receiver))


def test_a_row_that_commits_late_under_a_small_id_is_not_passed_over(shop: Shop) -> None:
    """Ids come in blocks of a hundred per connection, and rows show at their commit: a cursor by id would lose these."""

    async def scenario(receiver: Receiver) -> None:
        async with worker_of(shop.database) as worker, shop.database.connect() as slow:
            await worker.subscribe(receiver.url)
            late, early = uuid4(), uuid4()
            transaction = slow.transaction()
            await transaction.start()
            await slow.execute("INSERT INTO outbox (topic, subject) VALUES ('order.placed', $1)", late)
            await announce(shop, ("order.placed", early))
            await until(lambda: len(receiver.got) == 1)
            await transaction.commit()
            await until(lambda: len(receiver.got) == 2)
            assert [event["subject"] for event in receiver.got] == [str(early), str(late)]
        # (A second connection's ids begin a hundred further on, so the order above is not that of the ids.)

    with Receiver() as receiver:
        asyncio.run(scenario(receiver))


def test_two_events_of_an_order_keep_their_order_although_ids_and_transactions_say_otherwise(
    shop: Shop,
) -> None:
    """The transaction that began first and has the smaller id and number waits for the other one's lock."""

    async def scenario(receiver: Receiver) -> None:
        order = uuid4()
        async with shop.database.connect() as first, shop.database.connect() as second:
            worker = Worker(shop.database)
            await worker.primary.start()
            one, two = first.transaction(), second.transaction()
            await one.start()
            await first.execute("INSERT INTO outbox (topic, subject) VALUES ('order.placed', $1)", uuid4())
            await two.start()
            await second.execute("SELECT pg_advisory_xact_lock(1)")
            await second.execute("INSERT INTO outbox (topic, subject) VALUES ('order.placed', $1)", order)
            waiting = asyncio.create_task(first.execute("SELECT pg_advisory_xact_lock(1)"))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await two.commit()
            await waiting
            await first.execute("INSERT INTO outbox (topic, subject) VALUES ('order.paid', $1)", order)
            await one.commit()
            await worker.relay.turn()
            rows = await shop.fetch("SELECT topic FROM events WHERE subject = $1 ORDER BY seq", order)
            assert [row["topic"] for row in rows] == ["order.placed", "order.paid"]
            await worker.primary.close()

    with Receiver() as receiver:
        asyncio.run(scenario(receiver))


def test_many_writers_and_relays_lose_and_double_nothing(shop: Shop) -> None:
    async def scenario() -> None:
        orders = [uuid4() for _ in range(40)]

        async def write(mine: list[UUID]) -> None:
            async with shop.database.connect() as connection:
                for topic in ("order.placed", "order.paid", "order.cancelled"):
                    for order in mine:
                        await connection.execute(
                            "INSERT INTO outbox (topic, subject) VALUES ($1, $2)", topic, order
                        )

        async with worker_of(shop.database), worker_of(shop.database), worker_of(shop.database):
            await asyncio.gather(*(write(orders[index::8]) for index in range(8)))
            async with asyncio.timeout(60):
                while await shop.value("SELECT count(*) FROM outbox"):
                    await asyncio.sleep(0.02)
        rows = await shop.fetch("SELECT seq, topic, subject FROM events ORDER BY seq")
        assert [row["seq"] for row in rows] == list(range(1, 121))
        for order in orders:
            told = [row["topic"] for row in rows if row["subject"] == order]
            assert told == ["order.placed", "order.paid", "order.cancelled"]

    asyncio.run(scenario())


def test_events_of_a_refund_stand_in_the_line_of_their_order(shop: Shop) -> None:
    shop.sandbox.start()

    async def scenario() -> None:
        from everopen.trading import refunds
        from everopen.trading.orders import Refunded, RefundLine

        async with shop.worker() as trading:
            await shop.stock(trading, LAMP=5)
            placed: Any = await trading.place(shop.order(("LAMP", 2)))
            async with asyncio.timeout(10):
                while await shop.value("SELECT status FROM orders") != "paid":
                    await asyncio.sleep(0.02)
            refunded = await refunds.refund(
                trading.primary, "GBP", placed.id, [RefundLine("LAMP", 1)], key="r", fingerprint=b"r",
                restock=True, reason="broken",
            )  # fmt: skip
            assert isinstance(refunded, Refunded)
            async with asyncio.timeout(10):
                while await shop.value("SELECT count(*) FROM events") < 4:
                    await asyncio.sleep(0.02)
            rows = await shop.fetch("SELECT topic, stream FROM events ORDER BY seq")
            assert [row["topic"] for row in rows] == [
                "order.placed",
                "order.paid",
                "order.refund",
                "refund.paid",
            ]
            assert {row["stream"] for row in rows} == {placed.id}

            async def told(connection: Any) -> list[Any]:
                found = await facts.read_after(connection, 0, 100, (), 100)
                return [
                    msgspec.json.decode(event.body, type=facts.Event)
                    for event in await facts.encode(connection, found)
                ]

            for event in await trading.primary.run(told):
                msgspec.convert(event.data, TOPICS[event.topic].payload)

    asyncio.run(scenario())


def test_rule_8_a_failing_event_is_tried_again_and_holds_up_its_order_only(shop: Shop) -> None:
    """Rule 8: retries with backoff; later events of the same order wait behind it, other orders go on."""
    bad, good = uuid4(), uuid4()
    well = False

    async def scenario(receiver: Receiver) -> None:
        nonlocal well
        async with worker_of(shop.database) as worker:
            added = await worker.subscribe(receiver.url)
            await announce(shop, ("order.placed", bad), ("order.placed", good))
            await announce(shop, ("order.paid", bad), ("order.paid", good))
            await until(lambda: len(receiver.got) == 2)
            assert {event["subject"] for event in receiver.got} == {str(good)}
            await until(lambda: len(receiver.tried) > 4)
            (waiting,) = [view for view in await subscribers.deliveries(
                worker.primary, added.subscriber.id, status="waiting", before=None, limit=10) if view.attempts]  # fmt: skip
            assert (waiting.subject, waiting.problem) == (bad, "It answered 500.")
            well = True
            await until(lambda: len(receiver.got) == 4)
            assert [e["topic"] for e in receiver.got if e["subject"] == str(bad)] == [
                "order.placed",
                "order.paid",
            ]
            await until_no_rows(shop, "deliveries")

    def answer(event: dict[str, Any]) -> int:
        return 500 if event["subject"] == str(bad) and not well else 204

    with Receiver(answer) as receiver:
        asyncio.run(scenario(receiver))


async def until_no_rows(shop: Shop, table: str) -> None:
    async with asyncio.timeout(10):
        while await shop.value(f"SELECT count(*) FROM {table}"):
            await asyncio.sleep(0.02)


def test_rule_8_after_enough_failures_an_event_is_a_dead_letter_and_can_be_replayed(shop: Shop) -> None:
    """Rule 8: dead letter, replay."""
    bad = uuid4()
    well = False

    async def scenario(receiver: Receiver) -> None:
        nonlocal well
        async with worker_of(shop.database, attempts_max=3) as worker:
            added = await worker.subscribe(receiver.url)
            for _ in range(5):  # others go through meanwhile, so that the subscriber does not rest
                await announce(shop, ("order.placed", uuid4()))
            await announce(shop, ("order.placed", bad), ("order.paid", bad))
            async with asyncio.timeout(20):
                while True:
                    view = await subscribers.find(worker.primary, added.subscriber.id)
                    assert view is not None
                    if view.dead == 1 and not view.waiting:
                        break
                    await announce(shop, ("order.placed", uuid4()))
                    await asyncio.sleep(0.05)
            assert [event["topic"] for event in receiver.got if event["subject"] == str(bad)] == [
                "order.paid"
            ]
            well = True
            revived = await subscribers.replay(
                worker.primary, added.subscriber.id, None, key="replay", fingerprint=b"1"
            )
            assert revived == subscribers.Replayed(1)
            await until(lambda: receiver.topics(str(bad)) == ["order.paid", "order.placed"])
            await until_no_rows(shop, "deliveries")

    def answer(event: dict[str, Any]) -> int:
        return 400 if event["subject"] == str(bad) and event["topic"] == "order.placed" and not well else 200

    with Receiver(answer) as receiver:
        asyncio.run(scenario(receiver))


def test_a_replay_from_an_event_sends_everything_since_again(shop: Shop) -> None:
    async def scenario(receiver: Receiver) -> None:
        async with worker_of(shop.database) as worker:
            added = await worker.subscribe(receiver.url)
            for _ in range(5):
                await announce(shop, ("order.placed", uuid4()))
            await until(lambda: len(receiver.got) == 5)
            await subscribers.replay(worker.primary, added.subscriber.id, 2, key="k", fingerprint=b"1")
            await until(lambda: len(receiver.got) == 8)
            assert sorted(receiver.ids()[5:]) == [3, 4, 5]

    with Receiver() as receiver:
        asyncio.run(scenario(receiver))


def test_a_slow_subscriber_does_not_hold_up_the_others(shop: Shop) -> None:
    def sleep(event: dict[str, Any]) -> int:
        time.sleep(0.8)
        return 200

    async def scenario(slow: Receiver, quick: Receiver) -> None:
        async with worker_of(shop.database) as worker:
            await worker.subscribe(slow.url)
            await worker.subscribe(quick.url)
            began = time.monotonic()
            for _ in range(40):
                await announce(shop, ("order.placed", uuid4()))
            await until(lambda: len(quick.got) == 40)
            assert time.monotonic() - began < 3
            assert len(slow.got) < 40

    with Receiver(sleep) as slow, Receiver() as quick:
        asyncio.run(scenario(slow, quick))


def test_deliveries_give_way_to_a_rush_of_orders(shop: Shop) -> None:
    async def scenario(receiver: Receiver) -> None:
        rush = True
        async with worker_of(shop.database, yield_ms=100.0) as worker:
            worker.deliverer._busy = lambda: rush
            await worker.subscribe(receiver.url)
            await announce(shop, *(("order.placed", uuid4()) for _ in range(100)))
            await asyncio.sleep(1.5)
            assert 1 <= len(receiver.got) <= 16
            rush = False
            await until(lambda: len(receiver.got) == 100)

    with Receiver() as receiver:
        asyncio.run(scenario(receiver))


def test_bug_events_of_a_time_when_the_subscriber_was_down_are_all_delivered(shop: Shop) -> None:
    """Events never delivered after a crash (medusa#14357); no sweep of pending deliveries (Saleor)."""

    async def scenario(receiver: Receiver) -> None:
        async with worker_of(shop.database) as worker:
            added = await worker.subscribe(receiver.url)
            for _ in range(150):
                await announce(shop, ("order.placed", uuid4()))
            await asyncio.sleep(1.0)
            view = await subscribers.find(worker.primary, added.subscriber.id)
            assert view is not None
            assert view.failing_since is not None
            assert view.waiting < 20  # the rest is not written down one by one: it lies behind the position
            receiver.start()
            await until(lambda: len(set(receiver.ids())) == 150)
            await until_no_rows(shop, "deliveries")

    receiver = Receiver()
    try:
        asyncio.run(scenario(receiver))
    finally:
        receiver.stop()


def test_topics_choose_what_is_told_and_the_rest_does_not_pile_up(shop: Shop) -> None:
    async def scenario(receiver: Receiver) -> None:
        async with worker_of(shop.database) as worker:
            added = await worker.subscribe(receiver.url, "order.paid")
            for _ in range(100):
                await announce(shop, ("order.placed", uuid4()))
            await announce(shop, ("order.paid", uuid4()))
            await until(lambda: len(receiver.got) == 1)
            assert receiver.got[0]["topic"] == "order.paid"
            await announce(shop, *(("order.placed", uuid4()) for _ in range(10)))
            async with asyncio.timeout(5):
                while (view := await subscribers.find(worker.primary, added.subscriber.id)) and view.behind:
                    await asyncio.sleep(0.02)

    with Receiver() as receiver:
        asyncio.run(scenario(receiver))


def test_410_pauses_a_subscriber_and_a_resume_goes_on_where_it_stopped(shop: Shop) -> None:
    gone = True

    async def scenario(receiver: Receiver) -> None:
        nonlocal gone
        async with worker_of(shop.database) as worker:
            added = await worker.subscribe(receiver.url)
            await announce(shop, ("order.placed", uuid4()))
            async with asyncio.timeout(5):
                while (
                    view := await subscribers.find(worker.primary, added.subscriber.id)
                ) and view.status == "active":
                    await asyncio.sleep(0.02)
            assert view is not None
            assert "410" in view.reason
            gone = False
            await announce(shop, ("order.placed", uuid4()))
            await subscribers.resume(worker.primary, added.subscriber.id, key="k", fingerprint=b"1")
            await until(lambda: len(receiver.got) == 2)

    with Receiver(lambda event: 410 if gone else 200) as receiver:
        asyncio.run(scenario(receiver))


def test_a_redirect_is_a_failure_and_is_not_followed(shop: Shop) -> None:
    async def scenario(receiver: Receiver) -> None:
        async with worker_of(shop.database) as worker:
            added = await worker.subscribe(receiver.url)
            await announce(shop, ("order.placed", uuid4()))
            await until(lambda: worker.deliverer.counters["events_failed_total"])
            found = await subscribers.deliveries(
                worker.primary, added.subscriber.id, status=None, before=None, limit=5
            )
            assert found[0].problem == "It answered 302."

    with Receiver(lambda event: 302) as receiver:
        asyncio.run(scenario(receiver))


def test_no_private_address_is_reached_whatever_the_name_says(shop: Shop) -> None:
    async def scenario(receiver: Receiver) -> None:
        async with worker_of(shop.database, private_addresses=False) as worker:
            await worker.subscribe(f"http://localhost:{receiver.port}/hook")
            await worker.subscribe(receiver.url)
            await announce(shop, ("order.placed", uuid4()))
            await until(lambda: worker.deliverer.counters["events_failed_total"] >= 2)
            rows = await shop.fetch("SELECT problem FROM deliveries")
            assert all("private address" in row["problem"] for row in rows)
        assert receiver.tried == []

    with Receiver() as receiver:
        asyncio.run(scenario(receiver))


def test_connections_to_a_subscriber_are_kept(shop: Shop) -> None:
    async def scenario(receiver: Receiver) -> None:
        async with worker_of(shop.database, concurrency=1) as worker:
            await worker.subscribe(receiver.url)
            for _ in range(20):
                await announce(shop, ("order.placed", uuid4()))
            await until(lambda: len(receiver.got) == 20)
        assert len(receiver.peers) == 1

    with Receiver() as receiver:
        asyncio.run(scenario(receiver))


def test_a_lost_primary_in_mid_relay_loses_nothing(shop: Shop) -> None:
    async def scenario(receiver: Receiver) -> None:
        async with worker_of(shop.database) as worker, worker_of(shop.database):
            await worker.subscribe(receiver.url)
            subjects: list[UUID] = []

            async def write() -> None:
                async with shop.database.connect("postgres") as connection:
                    for _ in range(300):
                        subjects.append(uuid4())
                        await connection.execute(
                            "INSERT INTO outbox (topic, subject) VALUES ('order.placed', $1)", subjects[-1]
                        )
                        await asyncio.sleep(0.003)

            writing = asyncio.create_task(write())
            for _ in range(4):
                await asyncio.sleep(0.25)
                shop.database.publish(1, gone=True)
                await shop.database.kill_backends()
                await asyncio.sleep(0.1)
                shop.database.publish(1)
            await writing
            await until(lambda: {event["subject"] for event in receiver.got} == set(map(str, subjects)))
        rows = await shop.fetch("SELECT seq FROM events ORDER BY seq")
        assert [row["seq"] for row in rows] == list(range(1, 301))

    with Receiver() as receiver:
        asyncio.run(scenario(receiver))


def test_old_events_are_forgotten_but_never_what_a_subscriber_has_not_got(shop: Shop) -> None:
    async def scenario() -> None:
        worker = Worker(shop.database)
        await worker.primary.start()
        await worker.subscribe("http://127.0.0.1:1/")
        for _ in range(10):
            await announce(shop, ("order.placed", uuid4()))
        await worker.relay.turn()
        context = JobContext(worker.primary, TradingSettings(events_keep_days=1e-9), SystemClock(), {}, {})
        assert await forget_events(context) == "Forgot 0 events that were older than 1e-09 days."
        await shop.fetch("UPDATE subscribers SET position = 7")
        assert "Forgot 7 " in await forget_events(context)
        await shop.fetch("UPDATE subscribers SET status = 'paused'")
        assert "Forgot 3 " in await forget_events(context)
        assert await shop.value("SELECT purged_seq FROM event_relay") == 10
        await announce(shop, ("order.placed", uuid4()))
        await worker.relay.turn()
        assert await shop.value("SELECT max(seq) FROM events") == 11
        await worker.primary.close()

    asyncio.run(scenario())
