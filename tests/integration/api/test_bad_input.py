"""Whatever is wrong with a request, it gets a problem document with a useful sentence, and nothing changes."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.integration.api.conftest import STAFF, ShopUnderTest, order_body

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def sku(shop: ShopUnderTest) -> str:
    return shop.product(stock=1_000, price=100)


def changed(**changes: Any) -> dict[str, Any]:
    return {**order_body("SKU"), **changes}


def history(placed_at: str) -> dict[str, Any]:
    return changed(placed_at=placed_at)


def lines(*quantities: Any) -> dict[str, Any]:
    return changed(lines=[{"sku": "SKU", "quantity": quantity} for quantity in quantities])


BODIES: dict[str, tuple[Any, int, str]] = {
    # what is wrong: body, status, words of the sentence
    "empty": (b"", 422, "empty"),
    "no json": (b"hello", 422, "not valid JSON"),
    "cut off": (b'{"lines": [', 422, "ends too early"),
    "broken utf-8": (b'{"x\xff": 1}', 422, "UTF-8"),
    "a list": ([], 422, "must be an object"),
    "null": (None, 422, "must be an object"),
    "no fields": ({}, 422, "lacks the field `lines`"),
    "no customer": ({"lines": [{"sku": "SKU", "quantity": 1}]}, 422, "lacks the field `customer`"),
    "no payment": (
        {"lines": [{"sku": "SKU", "quantity": 1}], "customer": {"email": "a@b"}},
        422,
        "lacks the field `payment`",
    ),
    "no lines": (changed(lines=[]), 422, "`lines` must not be empty"),
    "lines is a text": (changed(lines="SKU"), 422, "must be a list, not a text"),
    "quantity 0": (lines(0), 422, "at least 1"),
    "quantity negative": (lines(-1), 422, "at least 1"),
    "quantity huge": (lines(10**30), 422, "at most 1,000,000"),
    "quantity above bigint": (lines(2**63), 422, "at most 1,000,000"),
    "quantity 1.5": (lines(1.5), 422, "must be a whole number"),
    "quantity a text": (lines("1"), 422, "must be a whole number, not a text"),
    "quantity true": (lines(True), 422, "must be a whole number, not true or false"),
    "quantity null": (lines(None), 422, "must be a whole number, not null"),
    "quantities that add up to too many": (lines(900_000, 900_000), 422, "add up to more than 1,000,000"),
    "quantity beyond the stock": (lines(1_000_000), 409, "1,000 are left"),
    "10,000 lines": (lines(*[1] * 10_000), 422, "10,000 entries; at most 1,000"),
    "unknown sku": (changed(lines=[{"sku": "no such", "quantity": 1}]), 422, "does not have “no such”"),
    "one unknown of two": (
        changed(lines=[{"sku": "SKU", "quantity": 1}, {"sku": "x😀", "quantity": 1}]),
        422,
        "does not have “x😀”",
    ),
    "very long sku": (changed(lines=[{"sku": "S" * 100_000, "quantity": 1}]), 422, "at most 64 characters"),
    "right-to-left sku": (changed(lines=[{"sku": "\u202eUKS", "quantity": 1}]), 422, "does not have"),
    "nul in sku": (changed(lines=[{"sku": "S\0", "quantity": 1}]), 422, "NUL"),
    "nul in e-mail": (changed(customer={"email": "a\0@example.com"}), 422, "e-mail address"),
    "nul in token": (changed(payment={"provider": "sandbox", "token": "t\0"}), 422, "NUL"),
    "nul in reference": (changed(reference="\0"), 422, "NUL"),
    "lone surrogate": (b'{"lines":[{"sku":"\\udc00","quantity":1}]}', 422, "surrogate"),
    "bad e-mail": (changed(customer={"email": "nobody"}), 422, "e-mail address"),
    "very long e-mail": (changed(customer={"email": "a" * 300 + "@b"}), 422, "at most 254"),
    "unknown provider": (changed(payment={"provider": "bitcoin", "token": "t"}), 422, "“bitcoin”"),
    "unknown field": (changed(coupon="X"), 422, "`coupon`"),
    "deep nesting": (b'{"lines":' + b"[" * 100_000, 422, "`lines[0]` must be an object"),
    "deep nesting, unknown": (b'{"x":' * 50_000, 422, "`x`"),
    "a negative price": (
        changed(lines=[{"sku": "SKU", "quantity": 1, "unit_price": {"amount": -1, "currency": "GBP"}}]),
        422,
        "at least 0",
    ),
    "a price that no bigint holds": (
        changed(lines=[{"sku": "SKU", "quantity": 1, "unit_price": {"amount": 2**63, "currency": "GBP"}}]),
        422,
        "at most 10,000,000,000",
    ),
    "a line feed after the e-mail": (changed(customer={"email": "ann@example.com\n"}), 422, "e-mail address"),
    "a price in another currency": (
        changed(lines=[{"sku": "SKU", "quantity": 1, "unit_price": {"amount": 1, "currency": "EUR"}}]),
        422,
        "must be in GBP",
    ),
    "a price by a customer": (
        changed(lines=[{"sku": "SKU", "quantity": 1, "unit_price": {"amount": 1, "currency": "GBP"}}]),
        401,
        "staff",
    ),
    "a time by a customer": (changed(placed_at="2010-12-01T08:26:00Z"), 401, "staff"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_order_is_told_why_and_changes_nothing(shop: ShopUnderTest, sku: str, name: str) -> None:
    body, status, words = BODIES[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    before = shop.counts()
    answer = shop.client.post(
        "/api/orders", content=content.replace(b'"SKU"', json.dumps(sku).encode()), headers=JSON
    )
    check_problem(answer, status, words)
    assert shop.counts() == before


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({"content-type": "text/plain"}, 415, "`text/plain`"),
        ({"content-type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        ({"content-type": "application/json; charset=utf-16"}, 415, "UTF-8"),
        ({**JSON, "idempotency-key": "two words"}, 422, "visible ASCII"),
        ({**JSON, "idempotency-key": "k" * 256}, 422, "1 to 255"),
        ({**JSON, "idempotency-key": ""}, 422, "1 to 255"),
        ({**JSON, "idempotency-key": b"\xc3\xa9"}, 422, "visible ASCII"),
    ],
)
def test_bad_headers_are_told_why_and_change_nothing(
    shop: ShopUnderTest, sku: str, headers: dict[str, Any], status: int, words: str
) -> None:
    before = shop.counts()
    answer = shop.client.post("/api/orders", content=json.dumps(order_body(sku)), headers=headers)
    check_problem(answer, status, words)
    assert shop.counts() == before


def test_ten_megabytes_are_refused_without_being_read(shop: ShopUnderTest) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(shop.worker.socket))
        client.sendall(
            b"POST /api/orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: 10000000\r\n\r\n{"
        )
        answer = b""
        while b"}" not in answer:  # the answer comes although nothing more of the body is sent
            answer += client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    assert b"/problems/too-large" in answer


def test_a_client_that_sends_ten_megabytes_reads_why_they_were_refused(shop: ShopUnderTest) -> None:
    before = shop.counts()
    content = json.dumps(order_body("x")).encode().ljust(10_000_000)
    check_problem(shop.client.post("/api/orders", content=content, headers=JSON), 413, "1,048,576")
    chunks = (content[start : start + 65536] for start in range(0, len(content), 65536))
    check_problem(shop.client.post("/api/orders", content=chunks, headers=JSON), 413, "1,048,576")
    assert shop.counts() == before


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/nowhere", None, 404, "nothing at /nowhere"),
        ("GET", "/api/products/no%20such", None, 404, "“no such”"),
        ("GET", "/api/products/%00", None, 422, "NUL"),
        ("GET", "/api/products?q=%00", None, 422, "NUL"),
        ("GET", "/api/products?limit=0", None, 422, "1 to 200"),
        ("GET", "/api/products?limit=9999999999", None, 422, "1 to 200"),
        ("GET", "/api/products?limit=%D9%A3", None, 422, "1 to 200"),
        ("GET", "/api/products?q=" + "x" * 101, None, 422, "at most 100"),
        ("DELETE", "/api/orders", None, 405, "POST is"),
        ("GET", "/api/orders", None, 401, "staff"),
        ("PUT", "/api/cart", {}, 405, "DELETE, GET"),
        ("POST", "/api/cart/lines", {"sku": "no such"}, 422, "“no such”"),
        ("POST", "/api/cart/lines", {"sku": "x", "quantity": 0}, 422, "at least 1"),
        ("PATCH", "/api/cart/lines/x", {"quantity": "2"}, 422, "whole number"),
        ("POST", "/api/checkout", {}, 422, "lacks the field `customer`"),
        ("PUT", "/api/products", {"products": []}, 401, "staff"),
        ("POST", "/api/stock/receipts", {}, 401, "staff"),
        ("POST", "/api/stock/corrections", {}, 401, "staff"),
        ("POST", "/api/credits", {}, 401, "staff"),
        ("POST", "/api/orders/0/refunds", {}, 401, "staff"),
        ("POST", "/api/orders/0/cancel", {}, 401, "staff"),
    ],
)
def test_other_calls_refuse_with_a_sentence_too(
    shop: ShopUnderTest, method: str, path: str, body: Any, status: int, words: str
) -> None:
    answer = shop.client.request(method, path, json=body)
    check_problem(answer, status, words)
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("PUT", "/api/products", {"products": []}, "must not be empty"),
        ("PUT", "/api/products", {"products": [{"sku": "a", "title": ""}]}, "must not be empty"),
        ("PUT", "/api/products", {"products": [{"sku": "a", "title": "A\0"}]}, "NUL"),
        ("PUT", "/api/products", {"products": [{"sku": "a", "title": "A"}] * 2}, "twice"),
        ("PUT", "/api/products", {"products": [{"sku": "a\nb", "title": "A"}]}, "control characters"),
        ("PUT", "/api/products", {"products": [{"sku": "a\n", "title": "A"}]}, "control characters"),
        (
            "PUT",
            "/api/products",
            {"products": [{"sku": "a", "title": "A", "price": {"amount": 1, "currency": "EUR"}}]},
            "in GBP",
        ),
        ("POST", "/api/stock/receipts", {"items": [{"sku": "no such", "quantity": 1}]}, "“no such”"),
        ("POST", "/api/stock/receipts", {"items": [{"sku": "a", "quantity": 1}] * 5001}, "at most 5,000"),
        ("POST", "/api/stock/corrections", {"items": [{"sku": "a", "delta": 1}]}, "lacks the field `reason`"),
        ("POST", "/api/credits", {"lines": []}, "must not be empty"),
        (
            "POST",
            "/api/credits",
            {
                "lines": [
                    {"sku": "a", "quantity": 10**6, "unit_price": {"amount": 10**10, "currency": "GBP"}}
                ],
                "customer": {"email": "a@b"},
                "reason": "r",
            },
            "more than 1,000,000,000,000 minor units",
        ),
        ("POST", "/api/orders", history("0001-01-01T00:00:00+01:00"), "`placed_at`"),
        ("POST", "/api/orders", history("9999-12-31T23:59:59-01:00"), "`placed_at`"),
    ],
)
def test_staff_are_told_too(shop: ShopUnderTest, method: str, path: str, body: Any, words: str) -> None:
    before = shop.counts()
    check_problem(shop.client.request(method, path, json=body, headers=STAFF), 422, words)
    assert shop.counts() == before


def check_problem(answer: Any, status: int, words: str) -> None:
    """A complete problem document whose sentence has these words."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("/problems/")
    assert problem["title"]
    assert words in problem["detail"], problem["detail"]
    assert problem["detail"].endswith(".")
    assert "Traceback" not in answer.text
