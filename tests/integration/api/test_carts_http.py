"""Carts and checkout over HTTP."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from tests.integration.api.conftest import ShopUnderTest

BUYER = {"customer": {"email": "ann@example.com"}, "payment": {"provider": "sandbox", "token": "tok_approve"}}


@pytest.fixture
def visitor(shop: ShopUnderTest) -> Any:
    """A client with cookies of its own."""
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(shop.worker.socket)), base_url="http://shop", timeout=30
    ) as client:
        yield client


def test_a_cart_is_filled_changed_and_emptied(shop: ShopUnderTest, visitor: httpx.Client) -> None:
    one, two = shop.product(price=100), shop.product(price=250)
    assert visitor.get("/api/cart").json() == {
        "lines": [],
        "units": 0,
        "total": {"amount": 0, "currency": "GBP"},
    }
    assert not visitor.cookies
    first = visitor.post("/api/cart/lines", json={"sku": one, "quantity": 2})
    assert "HttpOnly; SameSite=Lax" in first.headers["set-cookie"]
    visitor.post("/api/cart/lines", json={"sku": one})
    cart = visitor.post("/api/cart/lines", json={"sku": two}).json()
    assert {line["sku"]: line["quantity"] for line in cart["lines"]} == {one: 3, two: 1}
    assert (cart["units"], cart["total"]["amount"]) == (4, 550)
    cart = visitor.patch(f"/api/cart/lines/{one}", json={"quantity": 1}).json()
    assert cart["total"]["amount"] == 350
    cart = visitor.delete(f"/api/cart/lines/{one}").json()
    assert [line["sku"] for line in cart["lines"]] == [two]
    assert visitor.delete(f"/api/cart/lines/{one}").json() == cart
    assert visitor.patch(f"/api/cart/lines/{one}", json={"quantity": 1}).status_code == 404
    assert visitor.get("/api/cart").json() == cart
    assert visitor.delete("/api/cart").json()["lines"] == []
    assert visitor.get("/api/cart").json()["lines"] == []


def test_checkout_orders_the_cart_and_empties_it(shop: ShopUnderTest, visitor: httpx.Client) -> None:
    sku = shop.product(stock=5, price=100)
    visitor.post("/api/cart/lines", json={"sku": sku, "quantity": 2})
    headers = {"idempotency-key": str(uuid.uuid4())}
    first = visitor.post("/api/checkout", json=BUYER, headers=headers)
    assert first.status_code == 201
    assert first.json()["total"]["amount"] == 200
    assert visitor.get("/api/cart").json()["lines"] == []
    again = visitor.post("/api/checkout", json=BUYER, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert shop.available(sku) == 3


def test_a_sold_out_checkout_keeps_the_cart(shop: ShopUnderTest, visitor: httpx.Client) -> None:
    sku = shop.product(stock=1)
    visitor.post("/api/cart/lines", json={"sku": sku, "quantity": 2})
    answer = visitor.post("/api/checkout", json=BUYER)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/sold-out")
    assert visitor.get("/api/cart").json()["units"] == 2


def test_an_empty_cart_cannot_be_checked_out(shop: ShopUnderTest, visitor: httpx.Client) -> None:
    assert visitor.post("/api/checkout", json=BUYER).json()["type"] == "/problems/empty-cart"
    sku = shop.product()
    visitor.post("/api/cart/lines", json={"sku": sku})
    visitor.delete("/api/cart")
    assert visitor.post("/api/checkout", json=BUYER).json()["type"] == "/problems/empty-cart"


def test_carts_of_two_visitors_are_apart(shop: ShopUnderTest, visitor: httpx.Client) -> None:
    visitor.post("/api/cart/lines", json={"sku": shop.product()})
    assert (
        shop.client.get("/api/cart", headers={"cookie": "everopen_session=" + "x" * 43}).json()["lines"] == []
    )


def test_a_repeated_addition_counts_once(shop: ShopUnderTest, visitor: httpx.Client) -> None:
    sku = shop.product(price=100)
    line = {"json": {"sku": sku, "quantity": 2}, "headers": {"idempotency-key": str(uuid.uuid4())}}
    first = visitor.post("/api/cart/lines", **line)
    again = visitor.post("/api/cart/lines", **line)
    assert (again.status_code, again.json()) == (200, first.json())
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    other = visitor.post("/api/cart/lines", json={"sku": sku, "quantity": 3}, headers=line["headers"])
    assert (other.status_code, other.json()["type"]) == (422, "/problems/key-reused")
    visitor.cookies.clear()  # as a gateway repeats a first visit: without the cookie that was lost with the answer
    lost = visitor.post("/api/cart/lines", **line)
    assert (lost.status_code, lost.json()) == (200, first.json())
    assert "set-cookie" in lost.headers
    assert visitor.get("/api/cart").json() == first.json()
