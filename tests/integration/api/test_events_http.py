"""Events over HTTP: live streams and webhooks of real workers, some of which are killed."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.api.conftest import STAFF, ShopUnderTest, order_body, wait_for
from tests.integration.api.worker_process import Running, can_connect, create_shop_database, running_shop
from tests.support.postgres import Database, running_node
from tests.support.receiver import Receiver, verify
from tests.support.sse import Follower

FAST = {
    "private_addresses": True,
    "poll_s": 0.05,
    "heartbeat_s": 0.3,
    "retry_first_s": 0.1,
    "rest_max_s": 0.5,
    "lease_s": 2.0,
}


@pytest.fixture(scope="module")
def api_database() -> Iterator[Database]:
    """A node of its own: any worker may serve any subscriber, so all workers of a shop have the same settings, and those of
    the other tests in this folder have others."""
    with running_node() as node:
        yield asyncio.run(create_shop_database(node))


@contextmanager
def worker_of(database: Database, **settings: Any) -> Iterator[ShopUnderTest]:
    with tempfile.TemporaryDirectory(prefix="everopen-api-", dir="/tmp") as folder:
        with running_shop(
            Path(folder),
            database.topology_file,
            events={**FAST, **settings},
            trading={"payer_poll_s": 0.1, "payer_lease_s": 4.0, "payer_timeout_s": 1.0},
        ) as worker:
            yield ShopUnderTest(worker, database)


@pytest.fixture(scope="module")
def teller(api_database: Database) -> Iterator[ShopUnderTest]:
    """A worker that tells events quickly, to private addresses too."""
    with worker_of(api_database) as shop:
        yield shop


def client_of(worker: Running) -> httpx.Client:
    if not can_connect(worker.socket):
        raise httpx.ConnectError("Nobody listens.")
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=str(worker.socket)), base_url="http://shop", timeout=30
    )


def follower(shop: ShopUnderTest, path: str = "/api/events") -> Follower:
    return Follower(lambda: client_of(shop.worker), path, STAFF)


def sku_of(shop: ShopUnderTest, name: str) -> str:
    product = {"sku": name, "title": "T", "price": {"amount": 100, "currency": "GBP"}, "tracks_stock": False}
    shop.staff("PUT", "/api/products", {"products": [product]})
    return name


def test_a_follower_hears_of_an_order_as_it_happens(teller: ShopUnderTest) -> None:
    sku = sku_of(teller, "LIVE")
    with follower(teller) as heard, follower(teller, "/api/events?topics=order.paid") as paid:
        placed = teller.order(sku).json()
        heard.until(lambda: heard.told(placed["id"]) == ["order.placed", "order.paid"])
        paid.until(lambda: paid.told(placed["id"]) == ["order.paid"])
        event = next(event for event in heard.events if event["subject"] == placed["id"])
        assert event["data"]["total"] == placed["total"]
        assert event["data"]["lines"][0]["sku"] == sku


def test_a_buyer_follows_his_own_order_only(teller: ShopUnderTest) -> None:
    sku = sku_of(teller, "OWN")
    mine, other = teller.order(sku).json()["id"], teller.order(sku).json()["id"]
    with Follower(lambda: client_of(teller.worker), f"/api/orders/{mine}/events?after=evt_0") as heard:
        heard.until(lambda: heard.told(mine) == ["order.placed", "order.paid"])
        assert heard.told(other) == []
    assert teller.client.get("/api/events").status_code == 401
    assert teller.client.get(f"/api/orders/{'0' * 8}/events").status_code == 404


def test_who_comes_again_by_the_last_id_has_missed_nothing(
    teller: ShopUnderTest, api_database: Database
) -> None:
    sku = sku_of(teller, "AGAIN")
    with worker_of(api_database) as other:
        with follower(teller) as heard:
            first = teller.order(sku).json()["id"]
            heard.until(lambda: len(heard.told(first)) == 2)
        last = heard.last
        missed = [teller.order(sku).json()["id"] for _ in range(3)]
        with follower(other, f"/api/events?after={last}") as again:
            again.until(lambda: all(len(again.told(order)) == 2 for order in missed))
            assert again.told(first) == []
            numbers = [int(event["id"].removeprefix("evt_")) for event in again.events]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_follower_of_a_killed_worker_goes_on_at_another_one(
    teller: ShopUnderTest, api_database: Database
) -> None:
    sku = sku_of(teller, "KILLED")
    with worker_of(api_database) as other, worker_of(api_database) as victim:
        chosen = [victim]
        with Follower(lambda: client_of(chosen[0].worker), "/api/events", STAFF) as heard:
            orders = [teller.order(sku).json()["id"] for _ in range(3)]
            heard.until(lambda: heard.told(orders[0]))
            chosen[0] = other
            victim.worker.process.kill()
            orders += [teller.order(sku).json()["id"] for _ in range(3)]
            heard.until(lambda: all(len(heard.told(order)) == 2 for order in orders))
        assert heard.connections >= 2
        assert all(heard.told(order) == ["order.placed", "order.paid"] for order in orders)


def test_a_stream_goes_on_through_the_loss_of_the_primary(
    teller: ShopUnderTest, api_database: Database
) -> None:
    sku = sku_of(teller, "FAILOVER")
    with follower(teller) as heard:
        api_database.publish(1, gone=True)
        asyncio.run(api_database.kill_backends())
        beats = heard.heartbeats
        heard.until(lambda: heard.heartbeats > beats)
        api_database.publish(1)
        order = teller.order(sku).json()["id"]
        heard.until(lambda: heard.told(order) == ["order.placed", "order.paid"])
        assert heard.connections == 1


def test_who_reads_slowly_holds_up_nobody_and_gets_everything(
    teller: ShopUnderTest, api_database: Database
) -> None:
    """More than the worker remembers is announced while one follower reads nothing; he gets it from the store."""
    many = 6000

    async def announce() -> None:
        async with api_database.connect("postgres") as connection:
            await connection.execute(
                "INSERT INTO outbox (topic, subject) SELECT 'stock.low', gen_random_uuid() FROM generate_series(1, $1::int)",
                many,
            )

    path = "/api/events?topics=stock.low"
    with follower(teller, path) as quick, client_of(teller.worker) as client:
        with client.stream("GET", path, headers=STAFF) as slow:
            lines = slow.iter_lines()
            assert next(lines) == "retry: 1000"
            asyncio.run(announce())
            quick.until(lambda: len(quick.events) == many, 60)
            told = []
            for line in lines:
                if line.startswith("id: "):
                    told.append(line.removeprefix("id: "))
                    if len(told) == many:
                        break
    assert told == [event["id"] for event in quick.events]


def test_quiet_streams_have_heartbeats_and_their_end_asks_to_come_again(api_database: Database) -> None:
    with worker_of(api_database, stream_s=1.0) as shop:
        with follower(shop) as heard:
            heard.until(lambda: heard.heartbeats >= 2)
            heard.until(lambda: heard.connections >= 2)


def test_more_followers_than_allowed_are_sent_elsewhere(api_database: Database) -> None:
    with worker_of(api_database, followers_max=1) as shop:
        with follower(shop):
            refused = shop.client.get("/api/events", headers=STAFF)
            assert refused.status_code == 503
            assert refused.headers["x-everopen-retry"] == "1"
        wait_for(lambda: shop.client.get("/stats").json()["event_followers"], lambda count: count == 0)
        with follower(shop):
            pass


def test_followers_of_single_orders_leave_room_for_staff(api_database: Database) -> None:
    with worker_of(api_database, followers_max=2) as shop:
        order = shop.order(sku_of(shop, "ROOM")).json()["id"]
        path = f"/api/orders/{order}/events"
        with Follower(lambda: client_of(shop.worker), path):
            assert shop.client.get(path).status_code == 503
            with follower(shop):
                pass


def test_sigterm_ends_streams_at_once(api_database: Database) -> None:
    with worker_of(api_database) as shop:
        with Follower(lambda: client_of(shop.worker), "/api/events", STAFF, again=False):
            began = time.monotonic()
            shop.worker.process.send_signal(signal.SIGTERM)
            assert shop.worker.process.wait(10) == 0
            assert time.monotonic() - began < 3.5
        assert "Traceback" not in shop.worker.log.read_text()


def test_the_head_of_a_stream_can_be_asked_for(teller: ShopUnderTest) -> None:
    answer = teller.client.head("/api/events", headers=STAFF)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"


@pytest.mark.parametrize(
    "query", ["after=x", "after=evt_", "topics=order.nothing", "topics=customer.password_reset"]
)
def test_a_stream_that_can_not_be_is_refused(teller: ShopUnderTest, query: str) -> None:
    assert teller.client.get(f"/api/events?{query}", headers=STAFF).status_code == 422


def subscribe(shop: ShopUnderTest, url: str, *topics: str) -> Any:
    return shop.staff("POST", "/api/subscribers", {"url": url, "topics": list(topics)})


def test_a_subscriber_is_told_its_secret_once_and_gets_signed_events(teller: ShopUnderTest) -> None:
    with Receiver() as receiver:
        key = {"idempotency-key": "subscribe-once", **STAFF}
        body = {"url": receiver.url, "topics": ["order.placed"]}
        first = teller.client.post("/api/subscribers", json=body, headers=key)
        again = teller.client.post("/api/subscribers", json=body, headers=key)
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json()["secret"] == again.json()["secret"]
        place = f"/api/subscribers/{first.json()['id']}"
        shown = teller.client.get(place, headers=STAFF).json()
        assert "secret" not in shown
        order = teller.order(sku_of(teller, "HOOK")).json()["id"]
        wait_for(lambda: receiver.topics(order), lambda topics: topics == ["order.placed"])
        headers, content = receiver.requests[-1]
        verify(first.json()["secret"], headers, content)
        assert headers["webhook-id"].startswith("evt_")
        listed = teller.client.get("/api/subscribers?limit=200", headers=STAFF).json()["subscribers"]
        assert first.json()["id"] in [one["id"] for one in listed]
        assert teller.client.delete(place, headers=STAFF).status_code == 204
        assert teller.client.get(place, headers=STAFF).status_code == 404
        assert teller.client.delete(place, headers=STAFF).status_code == 404


INSIDE = [
    "http://example.com/hook",
    "https://10.0.0.1/",
    "https://127.0.0.1:5432/",
    "https://[::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://169.254.169.254/latest",
    "https://user:password@example.com/",
    "https://example.com/#part",
    "ftp://example.com/",
    "https://example.com:99999/",
    "https:///nothing",
]


def test_a_url_that_leads_inside_is_refused(api_database: Database) -> None:
    with worker_of(api_database, private_addresses=False) as shop:
        for url in INSIDE:
            answer = shop.client.post("/api/subscribers", json={"url": url}, headers=STAFF)
            assert answer.status_code == 422, (url, answer.text)


def test_subscribers_are_staffs_business(teller: ShopUnderTest) -> None:
    assert teller.client.post("/api/subscribers", json={"url": "https://example.com/"}).status_code == 401
    assert teller.client.get("/api/subscribers").status_code == 401
    assert teller.client.get("/api/jobs").status_code == 401


def test_dead_letters_are_shown_and_replayed() -> None:
    well = False
    with (
        running_node() as node,
        Receiver(lambda event: 200 if well else 400) as receiver,
        worker_of(asyncio.run(create_shop_database(node)), attempts_max=1) as shop,
    ):
        place = f"/api/subscribers/{subscribe(shop, receiver.url, 'order.placed')['id']}"
        order = shop.order(sku_of(shop, "DEAD")).json()["id"]
        found = wait_for(
            lambda: shop.client.get(f"{place}/deliveries?status=dead", headers=STAFF).json()["deliveries"],
            lambda found: found,
        )
        assert (found[0]["subject"], found[0]["problem"]) == (order, "It answered 400.")
        well = True
        assert shop.staff("POST", f"{place}/replay", {}) == {"revived": 1}
        wait_for(lambda: receiver.topics(order), lambda topics: topics == ["order.placed"])
        shop.client.delete(place, headers=STAFF)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_rule_9_a_worker_killed_in_mid_delivery_loses_nothing_and_keeps_each_orders_order(
    teller: ShopUnderTest, api_database: Database, number: signal.Signals
) -> None:
    """Rule 9: a crash at any step resumes from the last committed one; medusa#14357: events lost in a crash. One that only
    stops is overtaken, and when it wakes up it neither sends nor writes what is another one's by now."""

    def slowly(event: dict[str, Any]) -> int:
        time.sleep(0.02)
        return 200

    sku = sku_of(teller, "MIDWAY")
    with Receiver(slowly) as receiver:
        place = f"/api/subscribers/{subscribe(teller, receiver.url)['id']}"
        orders: list[str] = []

        def missing() -> list[str]:
            return [order for order in orders if len(receiver.topics(order)) < 2]

        for _ in range(3):
            with worker_of(api_database) as victim:
                orders += [victim.order(sku).json()["id"] for _ in range(20)]
                tried = len(receiver.tried)
                wait_for(lambda: len(receiver.tried), lambda count, tried=tried: count > tried + 5)
                victim.worker.process.send_signal(number)
                if number == signal.SIGSTOP:
                    wait_for(missing, lambda found: not found)
                    victim.worker.process.send_signal(signal.SIGCONT)
                else:
                    victim.worker.process.wait(10)
        wait_for(missing, lambda found: not found)
        assert {tuple(receiver.topics(order)) for order in orders} == {("order.placed", "order.paid")}
        teller.client.delete(place, headers=STAFF)


def test_jobs_are_shown_and_a_dead_one_is_retried(teller: ShopUnderTest, api_database: Database) -> None:
    found = wait_for(
        lambda: teller.client.get("/api/jobs?name=forget&status=done", headers=STAFF).json()["jobs"],
        lambda jobs: jobs,
    )
    assert found[0]["said"].startswith("Forgot ")
    retried = teller.client.post(f"/api/jobs/{found[0]['id']}/retry", headers=STAFF)
    assert retried.status_code == 409

    async def die() -> int:
        async with api_database.connect("postgres") as connection:
            return int(
                await connection.fetchval(
                    "INSERT INTO jobs (name, due_at, next_at, status, attempt, finished_at) "
                    "VALUES ('forget', now(), now(), 'dead', 3, now()) RETURNING id"
                )
            )

    number = asyncio.run(die())
    answer = teller.client.post(f"/api/jobs/{number}/retry", headers=STAFF)
    assert answer.status_code == 200, answer.text
    wait_for(
        lambda: teller.client.get("/api/jobs?limit=200", headers=STAFF).json()["jobs"],
        lambda jobs: any(job["id"] == number and job["status"] == "done" for job in jobs),
    )
    assert teller.client.post("/api/jobs/999999999/retry", headers=STAFF).status_code == 404
    assert teller.client.get("/api/jobs?status=lost", headers=STAFF).status_code == 422


def test_an_order_body_still_answers_beside_streams(teller: ShopUnderTest) -> None:
    """A stream on one connection holds up nobody on another."""
    with follower(teller), follower(teller), follower(teller):
        assert teller.client.post("/api/orders", json=order_body(sku_of(teller, "BESIDE"))).status_code == 201
