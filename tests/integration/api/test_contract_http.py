"""What holds for all calls: versions, methods, quotas."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.api.conftest import STAFF, ShopUnderTest, order_body
from tests.integration.api.worker_process import Running, running_shop


@pytest.fixture(scope="module")
def strict(shop: ShopUnderTest) -> Iterator[Running]:
    """A worker with small quotas."""
    settings = {
        "api": {
            "quota_carts_per_s": 0.5,
            "quota_sessions_per_s": 0.1,
            "quota_writes_per_s": 0.1,
            "quota_orders_per_s": 0.1,
            "quota_burst_s": 20.0,
        }
    }
    with tempfile.TemporaryDirectory(prefix="everopen-q-", dir="/tmp") as folder:
        with running_shop(Path(folder), shop.database.topology_file, **settings) as worker:
            yield worker


def client_from(worker: Running, address: str) -> httpx.Client:
    """A client as the gateway names it."""
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=str(worker.socket)), base_url="http://shop", timeout=30,
        headers={"x-forwarded-for": address},
    )  # fmt: skip


def test_every_answer_of_the_api_names_its_version(shop: ShopUnderTest) -> None:
    sku = shop.product()
    for answer in (
        shop.client.get("/api/products"),
        shop.client.get(f"/api/v1/products/{sku}"),
        shop.client.get("/api/products/no-such"),
        shop.client.post("/api/orders", json=order_body(sku)),
        shop.client.post("/api/v1/orders", json=order_body(sku)),
        shop.client.post("/api/orders", json={}),
        shop.client.delete("/api/orders"),
    ):
        assert answer.headers["everopen-version"] == "1", answer.request.url


def test_the_name_of_the_version_leads_to_the_same_calls(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=7)
    assert shop.client.get(f"/api/v1/products/{sku}").json() == shop.client.get(f"/api/products/{sku}").json()
    key = {"idempotency-key": f"v-{sku}"}
    first = shop.client.post("/api/v1/orders", json=order_body(sku), headers=key)
    again = shop.client.post("/api/orders", json=order_body(sku), headers=key)
    assert (first.status_code, again.content) == (201, first.content)
    assert shop.client.get("/api/v2/products").status_code == 404


def test_an_address_says_what_it_takes(shop: ShopUnderTest) -> None:
    for path, allowed in (
        ("/api/products", "GET, HEAD, OPTIONS, PUT"),
        ("/api/cart", "DELETE, GET, HEAD, OPTIONS"),
        ("/api/checkout", "OPTIONS, POST"),
    ):
        answer = shop.client.options(path)
        assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")
    refused = shop.client.patch("/api/cart")
    assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS")
    assert refused.headers["content-type"] == "application/problem+json"
    assert shop.client.options("/api/nowhere").status_code == 404


def test_head_is_get_without_its_body(shop: ShopUnderTest) -> None:
    sku = shop.product()
    got, headed = shop.client.get(f"/api/products/{sku}"), shop.client.head(f"/api/products/{sku}")
    assert headed.content == b""
    assert headed.status_code == 200
    for name in ("content-type", "content-length", "cache-control"):
        assert headed.headers[name] == got.headers[name]
    assert shop.client.head("/api/products/no-such").status_code == 404


def test_usual_clients_see_their_quota_and_never_meet_it(shop: ShopUnderTest) -> None:
    sku = shop.product()
    with client_from(shop.worker, "198.51.100.9") as client:
        answer = client.post("/api/cart/lines", json={"sku": sku})
        assert answer.headers["ratelimit-policy"] == '"carts";q=10000;w=20'
        assert answer.headers["ratelimit"] == '"carts";r=9999;t=1'
        assert "ratelimit" not in client.get("/api/cart").headers
        assert "ratelimit" not in client.post("/api/orders", json=order_body(sku)).headers


def test_one_client_that_writes_too_much_waits_and_others_do_not(
    shop: ShopUnderTest, strict: Running
) -> None:
    sku = shop.product(stock=1000)
    with client_from(strict, "198.51.100.1") as greedy, client_from(strict, "198.51.100.2") as other:
        answers = [greedy.post("/api/cart/lines", json={"sku": sku}) for _ in range(12)]
        assert [answer.status_code for answer in answers[:10]] == [200] * 10
        late = answers[-1]
        assert (late.status_code, late.json()["type"]) == (429, "/problems/rate-limited")
        assert late.headers["content-type"] == "application/problem+json"
        assert 1 <= int(late.headers["retry-after"]) <= 2
        assert late.headers["ratelimit"].startswith('"carts";r=0;t=')
        assert greedy.get("/api/cart").json()["units"] == sum(answer.status_code == 200 for answer in answers)
        assert other.post("/api/cart/lines", json={"sku": sku}).status_code == 200


def test_sessions_orders_and_other_writes_are_counted_apart(shop: ShopUnderTest, strict: Running) -> None:
    sku = shop.product(stock=1000)
    with client_from(strict, "198.51.100.3") as client:
        opened = []
        for _ in range(3):
            client.cookies.clear()
            opened.append(client.post("/api/cart/lines", json={"sku": sku}).status_code)
        assert opened == [200, 200, 429]
        orders = [client.post("/api/orders", json=order_body(sku)) for _ in range(3)]
        assert [answer.status_code for answer in orders] == [201, 201, 429]
        assert orders[0].headers["ratelimit"] == '"orders";r=1;t=10'
        body = {"items": [{"sku": sku, "quantity": 1}]}
        moved = [client.post("/api/stock/receipts", json=body, headers=STAFF).status_code for _ in range(3)]
        assert moved == [201, 201, 429]
        assert client.get(f"/api/products/{sku}").status_code == 200


def test_a_look_at_an_order_may_wait_for_its_payment(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=10)
    paid = shop.client.get(f"/api/orders/{shop.order(sku).json()['id']}?wait=15")
    assert (paid.status_code, paid.json()["status"]) == (200, "paid")
    slow = shop.order(sku, token="tok_slow").json()["id"]  # three seconds
    begun = time.monotonic()
    assert shop.client.get(f"/api/orders/{slow}?wait=1").json()["status"] == "placed"
    assert 0.9 < time.monotonic() - begun < 2.5
    assert shop.client.get(f"/api/orders/{slow}?wait=15").json()["status"] == "paid"
    for wrong in ("-1", "21", "x", "1.5"):
        assert shop.client.get(f"/api/orders/{slow}?wait={wrong}").status_code == 422
    assert shop.client.get("/api/orders/00000000-0000-7000-8000-000000000000?wait=5").status_code == 404
