"""What is told to the outside through the whole shop: gateways, workers, nodes, some of which are killed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.shop.test_kills import SKU, Load, kill_tree
from tests.support.receiver import Receiver
from tests.support.shop import Shop, running_shop
from tests.support.sse import Follower


@pytest.fixture(scope="module")
def telling_shop() -> Iterator[Shop]:
    """A shop that tells events to this machine."""
    with running_shop(EVEROPEN_EVENTS_PRIVATE_ADDRESSES="true", EVEROPEN_EVENTS_LEASE_S="3") as shop:
        shop.until_whole()
        yield shop


def test_streams_and_webhooks_lose_nothing_when_worker_and_primary_die(telling_shop: Shop) -> None:
    shop = telling_shop
    staff = {"Authorization": f"Bearer {shop.operator_key}"}
    stock = {"items": [{"sku": SKU, "quantity": 100_000}], "reason": "test"}
    assert shop.staff("POST", "/api/stock/receipts", stock, "events-stock").status_code < 300
    with Receiver() as receiver:
        answer = shop.staff("POST", "/api/subscribers", {"url": receiver.url}, "events-subscribe")
        assert answer.status_code == 201, answer.text
        with Follower(lambda: httpx.Client(base_url=shop.url), "/api/events", staff) as heard:
            with Load(shop, 3) as load:
                load.until(20)
                heard.until(lambda: len(heard.events) > 20)  # through the gateway, piece by piece
                os.kill(shop.pids("worker")[0], signal.SIGKILL)
                load.until(60)
                kill_tree(shop.pids("primary")[0])
                load.until(120)
                shop.until_whole()
            orders = {order for status, _, order in load.answers if status == 201}
            assert load.broken == []
            wanted = ["order.placed", "order.paid"]
            heard.until(lambda: all(heard.told(order) == wanted for order in orders), 60)
            heard.until(lambda: all(receiver.topics(order) == wanted for order in orders), 60)
        numbers = [int(event["id"].removeprefix("evt_")) for event in heard.events]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))  # each one, once, in order


def test_the_command_line_shows_jobs_and_subscribers_and_replays(telling_shop: Shop) -> None:
    shop = telling_shop
    with Receiver() as receiver:
        subscriber = shop.staff("POST", "/api/subscribers", {"url": receiver.url}, "events-cli").json()["id"]
        assert shop.order(SKU).status_code == 201
        receiver_got(receiver, 2)
        listed = {one["id"]: one for one in json.loads(shop.run("subscribers", "--json").stdout)}
        assert (listed[subscriber]["status"], listed[subscriber]["dead"]) == ("active", 0)
        assert receiver.url in shop.run("subscribers").stdout.replace("\n", "")
        first = receiver.got[0]["id"]
        said = shop.run("events", "replay", subscriber, "--after", first).stdout
        assert said == f"Everything since {first} is sent again.\n"
        receiver_got(receiver, 3)
        assert shop.run("events", "replay", subscriber).stdout == "0 dead letters are sent again.\n"
    jobs = json.loads(shop.run("jobs", "--json", "--name", "forget").stdout)["jobs"]
    assert jobs[0]["status"] in ("done", "running", "waiting")
    assert "forget" in shop.run("jobs").stdout
    assert shop.run("jobs", "retry", str(jobs[0]["id"])).returncode != 0
    assert "promot" in shop.run("events", "--last", "200").stdout


def receiver_got(receiver: Receiver, wanted: int) -> None:
    deadline = time.monotonic() + 20
    while len(receiver.got) < wanted:
        assert time.monotonic() < deadline, receiver.got
        time.sleep(0.02)
