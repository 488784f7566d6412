"""Sessions in Redis, through real workers: good on every worker, and what happens when Redis is away."""

from __future__ import annotations

import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.api.conftest import ShopUnderTest, order_body
from tests.integration.api.worker_process import Running, running_shop
from tests.support.redis import MISSING, PROGRAM, RedisServer, running_redis

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
BUYER = {"customer": {"email": "ann@example.com"}, "payment": {"provider": "sandbox", "token": "tok_approve"}}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module")
def workers(shop: ShopUnderTest, redis: RedisServer) -> Iterator[tuple[Running, Running]]:
    """Two workers that keep sessions in one Redis."""
    settings = {"api": {"session_store": "redis", "session_redis_url": redis.url}}
    topology_file = shop.database.topology_file
    with tempfile.TemporaryDirectory(prefix="everopen-r1-", dir="/tmp") as one:
        with tempfile.TemporaryDirectory(prefix="everopen-r2-", dir="/tmp") as two:
            with running_shop(Path(one), topology_file, **settings) as first:
                with running_shop(Path(two), topology_file, **settings) as second:
                    yield first, second


def test_a_session_of_one_worker_is_good_on_the_other(
    shop: ShopUnderTest, workers: tuple[Running, Running]
) -> None:
    one, two = (worker.client for worker in workers)
    sku = shop.product(stock=5, price=100)
    added = one.post("/api/cart/lines", json={"sku": sku, "quantity": 2})
    cookie = {"cookie": added.headers["set-cookie"].partition(";")[0]}
    assert two.get("/api/cart", headers=cookie).json() == added.json()
    more = two.post("/api/cart/lines", json={"sku": sku}, headers=cookie)
    assert "set-cookie" not in more.headers
    assert one.get("/api/cart", headers=cookie).json()["units"] == 3
    bought = two.post("/api/checkout", json=BUYER, headers=cookie)
    assert (bought.status_code, bought.json()["total"]["amount"]) == (201, 300)
    assert one.get("/api/cart", headers=cookie).json()["units"] == 0


def test_a_lost_first_answer_is_asked_for_again(
    shop: ShopUnderTest, workers: tuple[Running, Running]
) -> None:
    sku = shop.product(stock=5)
    asked = {"json": {"sku": sku}, "headers": {"idempotency-key": str(uuid.uuid4())}}
    first, again = (worker.client.post("/api/cart/lines", **asked) for worker in workers)
    assert (first.json()["units"], again.json()["units"]) == (1, 1)
    assert workers[0].client.post("/api/cart/lines", json={"sku": "no such"}).status_code == 422


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_without_redis_carts_wait_with_a_reason_and_guests_still_buy(
    shop: ShopUnderTest, workers: tuple[Running, Running], redis: RedisServer, way: str
) -> None:
    client, sku = workers[0].client, shop.product(stock=5)
    client.cookies.clear()
    added = client.post("/api/cart/lines", json={"sku": sku})
    cookie = {"cookie": added.headers["set-cookie"].partition(";")[0]}
    client.cookies.clear()
    if way == "killed":
        redis.kill()
    else:
        redis.send(signal.SIGSTOP)
    try:
        for answer in (
            client.get("/api/cart", headers=cookie),
            client.post("/api/cart/lines", json={"sku": sku}, headers=cookie),
            client.post("/api/cart/lines", json={"sku": sku}),
            client.post("/api/checkout", json=BUYER, headers=cookie),
        ):
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
            assert "session store (Redis)" in answer.json()["detail"]
            assert answer.headers["retry-after"]
        assert client.get("/api/cart").json()["units"] == 0
        assert client.get(f"/api/products/{sku}").status_code == 200
        assert client.get("/readyz").status_code == 200
        assert client.post("/api/orders", json=order_body(sku)).status_code == 201
    finally:
        if way == "killed":
            redis.start()
        else:
            redis.send(signal.SIGCONT)
    assert client.get("/api/cart", headers=cookie).json()["units"] == 1


def test_a_session_store_without_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from everopen.base.errors import ConfigError
    from everopen.trading.sessions import SESSION_STORES

    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.delitem(sys.modules, "everopen.trading.sessions.redis", raising=False)
    with pytest.raises(ConfigError, match="pip install everopen"):
        SESSION_STORES["redis"](None, "redis://x", 1.0)  # type: ignore[arg-type]


def test_a_worker_needs_nothing_more_from_the_disk_for_it(workers: tuple[Running, Running]) -> None:
    """After giving up its privileges a worker may not be able to read the installation; such an import would have failed."""
    assert "was imported after" not in workers[0].log.read_text()
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(workers[0].socket)), base_url="http://shop"
    ) as client:
        assert client.get("/api/cart", headers={"cookie": "everopen_session=" + "x" * 43}).status_code == 200
