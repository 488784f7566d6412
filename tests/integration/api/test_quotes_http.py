"""What an order can ask for beyond lines and a card, over HTTP: quotes, expected totals, coupons, shipping, currencies."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.api.conftest import ShopUnderTest, order_body
from tests.integration.api.test_pages import form_of

ADDRESS = {"recipient": "Ann", "line1": "1 High St", "city": "Leeds", "postcode": "LS1 4DY", "country": "GB"}
VERSION = "(SELECT version FROM pricing_rules)"
PROMOTION = str(uuid.uuid4())
RULES = f"""
UPDATE pricing_rules SET version = version + 1;
INSERT INTO promotions (id, version, label, rule, coupon_only)
VALUES ('{PROMOTION}', {VERSION}, 'Spring', '{{"kind": "percentage", "off_bp": 1000}}', true);
INSERT INTO coupons (id, version, code, promotion_id, limit_total)
VALUES (gen_random_uuid(), {VERSION}, 'SPRING', '{PROMOTION}', 1), (gen_random_uuid(), {VERSION}, 'SPRING2', '{PROMOTION}', NULL);
INSERT INTO tax_rates (id, version, country, tax_category, rate_bp) VALUES (gen_random_uuid(), {VERSION}, 'GB', 'standard', 2000);
INSERT INTO shipping_methods (code, version, label, currency, basis, countries)
VALUES ('parcel', {VERSION}, 'Post', 'GBP', 'value', '{{GB}}');
INSERT INTO shipping_steps VALUES ('parcel', 0, 300);
UPDATE pricing_rules SET shipping_required = false;
"""
NO_RULES = """
UPDATE pricing_rules SET version = version + 1, shipping_required = true;
UPDATE promotions SET ended_at = now(), version = (SELECT version FROM pricing_rules);
UPDATE coupons SET ended_at = now(), version = (SELECT version FROM pricing_rules);
UPDATE tax_rates SET ended_at = now(), version = (SELECT version FROM pricing_rules);
UPDATE shipping_methods SET ended_at = now(), version = (SELECT version FROM pricing_rules);
"""


def execute(shop: ShopUnderTest, script: str) -> None:
    """Runs a script as the superuser."""

    async def run() -> None:
        async with shop.database.connect("postgres") as connection, connection.transaction():
            await connection.execute(script)

    asyncio.run(run())


@pytest.fixture(scope="module")
def ruled(shop: ShopUnderTest) -> Iterator[ShopUnderTest]:
    """The shop with rules, which end with the module."""
    execute(shop, RULES)
    yield shop
    execute(shop, NO_RULES)


def pounds(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "GBP"}


def test_a_quote_is_what_the_order_then_costs(ruled: ShopUnderTest) -> None:
    sku = ruled.product(stock=10, price=250)
    asked = {
        "lines": [{"sku": sku, "quantity": 4}],
        "coupons": ["spring2"],
        "shipping": {"method": "parcel", "country": "GB"},
    }
    quote = ruled.client.post("/api/quotes", json=asked)
    assert quote.status_code == 200
    shown = quote.json()
    assert shown["total"] == pounds(1200)
    assert shown["goods"] == pounds(1000)
    assert shown["discount"] == pounds(100)
    assert shown["tax"] == {"amount": pounds(200), "included": True}
    assert shown["shipping"] == {"amount": pounds(300), "method": "parcel", "address": None}
    assert shown["promotions"] == [{"label": "Spring", "amount": pounds(100)}]
    body = {
        **order_body(sku, 4),
        "coupons": ["spring2"],
        "shipping": {"method": "parcel", "address": ADDRESS},
        "expected_total": shown["total"],
    }
    headers = {"idempotency-key": str(uuid.uuid4())}
    first = ruled.client.post("/api/orders", json=body, headers=headers)
    assert first.status_code == 201, first.text
    order = first.json()
    assert (order["total"], order["discount"], order["tax"]) == (
        shown["total"],
        shown["discount"],
        shown["tax"],
    )
    assert order["lines"] == shown["lines"]
    sent_to = {name: text for name, text in order["shipping"]["address"].items() if text}
    assert sent_to == ADDRESS
    again = ruled.client.post("/api/orders", json=body, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    later = ruled.settled(order["id"])
    assert later["status"] == "paid"
    assert {name: later[name] for name in order if name != "status"} == {
        name: order[name] for name in order if name != "status"
    }
    page = ruled.client.get(f"/orders/{order['id']}", headers={"accept": "text/html"}).text
    assert "Discounts" in page
    assert "£3.00" in page


def test_another_total_than_expected_is_refused_with_the_true_one(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=10, price=250)
    before = shop.counts()
    answer = shop.client.post(
        "/api/orders", json={**order_body(sku, 2), "expected_total": {"amount": 499, "currency": "GBP"}}
    )
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/price-changed")
    assert answer.json()["total"]["amount"] == 500
    assert "5.00 GBP" in answer.json()["detail"]
    other = shop.client.post(
        "/api/orders", json={**order_body(sku, 2), "expected_total": {"amount": 500, "currency": "EUR"}}
    )
    assert (other.status_code, other.json()["type"]) == (422, "/problems/bad-input")
    assert shop.counts() == before


@pytest.mark.parametrize(
    ("extra", "status", "problem"),
    [
        ({"coupons": ["NOPE"]}, 422, "unknown-coupon"),
        ({"shipping": {"method": "pigeon"}}, 422, "no-shipping-method"),
        ({"shipping": {"method": "parcel", "address": {**ADDRESS, "country": "FR"}}}, 422, "not-shippable"),
        ({"currency": "EUR"}, 422, "no-price"),
        ({"currency": "euro"}, 422, "bad-input"),
        ({"shipping": {"address": {**ADDRESS, "country": "GB\n"}}}, 422, "bad-input"),
        ({"coupons": ["C"] * 11}, 422, "bad-input"),
    ],
)
def test_what_the_rules_refuse_is_said(
    ruled: ShopUnderTest, extra: dict[str, Any], status: int, problem: str
) -> None:
    sku = ruled.product(stock=10)
    before = ruled.counts()
    answer = ruled.client.post("/api/orders", json={**order_body(sku), **extra})
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}"), answer.text
    assert ruled.counts() == before


def test_a_used_up_coupon_keeps_the_cart(ruled: ShopUnderTest) -> None:
    sku = ruled.product(stock=10)
    first = ruled.client.post("/api/orders", json={**order_body(sku), "coupons": ["SPRING"]})
    assert first.status_code == 201, first.text
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(ruled.worker.socket)), base_url="http://shop", timeout=30
    ) as visitor:
        visitor.post("/api/cart/lines", json={"sku": sku, "quantity": 2})
        buyer = {name: order_body(sku)[name] for name in ("customer", "payment")}
        refused = visitor.post("/api/checkout", json={**buyer, "coupons": ["SPRING"]})
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/coupon-used-up")
        assert visitor.get("/api/cart").json()["units"] == 2
        changed = visitor.post("/api/checkout", json={**buyer, "expected_total": pounds(1)})
        assert (changed.status_code, changed.json()["type"]) == (409, "/problems/price-changed")
        placed = visitor.post(
            "/api/checkout", json={**buyer, "coupons": ["SPRING2"], "expected_total": pounds(459)}
        )
        assert placed.status_code == 201, placed.text
        assert visitor.get("/api/cart").json()["units"] == 0


def test_what_is_not_published_or_beyond_a_limit_is_refused(shop: ShopUnderTest) -> None:
    hidden, scarce = shop.product(stock=10), shop.product(stock=10)
    execute(shop, f"UPDATE products SET published = false WHERE sku = '{hidden}'")
    execute(shop, f"UPDATE products SET buyer_limit = 2 WHERE sku = '{scarce}'")
    answer = shop.order(hidden)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/not-for-sale")
    quote = shop.client.post("/api/quotes", json={"lines": [{"sku": hidden}]})
    assert (quote.status_code, quote.json()["type"]) == (422, "/problems/not-for-sale")
    assert shop.order(scarce, 2).status_code == 201
    beyond = shop.order(scarce)
    assert (beyond.status_code, beyond.json()["type"]) == (409, "/problems/buyer-limit")
    assert (beyond.json()["sku"], beyond.json()["available"]) == (scarce, 0)


def test_the_same_key_with_another_coupon_is_refused(ruled: ShopUnderTest) -> None:
    sku = ruled.product(stock=10)
    headers = {"idempotency-key": str(uuid.uuid4())}
    assert ruled.client.post("/api/orders", json=order_body(sku), headers=headers).status_code == 201
    other = ruled.client.post(
        "/api/orders", json={**order_body(sku), "coupons": ["SPRING2"]}, headers=headers
    )
    assert (other.status_code, other.json()["type"]) == (422, "/problems/key-reused")


def test_money_of_another_currency_is_ordered_and_shown(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=10)
    execute(
        shop,
        f"INSERT INTO prices SELECT id, 'JPY', 1200 FROM products WHERE sku = '{sku}'",
    )
    answer = shop.client.post("/api/orders", json={**order_body(sku, 2), "currency": "JPY"})
    assert answer.status_code == 201
    assert answer.json()["total"] == {"amount": 2400, "currency": "JPY"}
    page = shop.client.get(f"/orders/{answer.json()['id']}", headers={"accept": "text/html"}).text
    assert "¥2,400" in page


def test_the_carts_page_asks_for_what_the_rules_need_and_nobody_pays_another_total_than_was_shown(
    ruled: ShopUnderTest,
) -> None:
    sku = ruled.product(stock=10, price=250)
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(ruled.worker.socket)),
        base_url="http://shop",
        timeout=30,
        headers={"accept": "text/html", "sec-fetch-site": "same-origin"},
        follow_redirects=True,
    ) as browser:
        product = browser.get(f"/products/{sku}").text
        assert "Buy now" not in product, "its price isn't all that there is to pay"
        page = browser.post("/cart/lines", data=form_of(product, "/buy") | {"quantity": "2"}).text
        assert "Order and pay</button>" in page  # no country yet, so no total
        home = {"recipient": "Ann", "line1": "1 High St", "city": "Leeds", "country": "GB"}
        fields = form_of(page, "/checkout") | {
            "email": "a@example.com",
            "token": "tok_approve",
            "method": "parcel",
        }
        fields |= home | {"coupon": "spring2"}
        changed = browser.post("/checkout", data=fields)
        assert changed.status_code == 409
        assert "comes to 7.50 GBP now" in changed.text
        assert "Order and pay £7.50" in changed.text
        assert 'value="Leeds"' in changed.text
        shown = browser.post("/checkout", data=fields | {"show": "1", "country": "FR"})
        assert "doesn’t send to FR" in shown.text.replace("&#x27;", "’")
        again = form_of(changed.text, "/checkout")
        order = browser.post("/checkout", data=fields | again)
        assert order.url.path.startswith("/orders/"), order.text
        assert "£7.50" in order.text
        assert browser.post("/checkout", data=fields | again).url == order.url
