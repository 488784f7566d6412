"""Orders over HTTP, on a real database with a real payment process."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.api.conftest import STAFF, ShopUnderTest, order_body


def test_an_order_is_placed_then_paid(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5, price=255)
    answer = shop.order(sku, 2)
    assert answer.status_code == 201
    order = answer.json()
    assert order["status"] == "placed"
    assert order["total"] == {"amount": 510, "currency": "GBP"}
    sold = ("sku", "title", "quantity", "unit_price", "amount")
    assert [
        {name: line[name] for name in sold} for line in order["lines"]
    ] == [  # once a shop has rules, lines say more
        {
            "sku": sku,
            "title": "White metal lantern",
            "quantity": 2,
            "unit_price": {"amount": 255, "currency": "GBP"},
            "amount": {"amount": 510, "currency": "GBP"},
        }
    ]
    assert order["customer"] == {"email": "ann@example.com"}
    assert answer.headers["location"] == f"/api/orders/{order['id']}"
    assert "idempotency-replayed" not in answer.headers
    assert shop.available(sku) == 3
    later = shop.settled(order["id"])
    assert later["status"] == "paid"
    assert later["refunded"] == {"amount": 0, "currency": "GBP"}
    assert {name: later[name] for name in order if name != "status"} == {
        name: order[name] for name in order if name != "status"
    }


def test_a_declined_card_gives_the_goods_back(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5)
    order = shop.order(sku, 2, token="tok_decline").json()
    assert shop.settled(order["id"])["status"] == "declined"
    assert shop.available(sku) == 5


def test_the_same_key_and_meaning_gives_the_same_answer_again(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5)
    key = str(uuid.uuid4())
    first = shop.order(sku, idempotency_key=key)
    spaced = (
        f'{{ "payment": {{"token":"tok_approve", "provider":"sandbox"}},\n "customer": {{"email":"ann@example.com"}},'
        f' "lines": [ {{"quantity": 1, "sku": "{sku}"}} ] }}'
    )
    headers = {"idempotency-key": key, "content-type": "application/json"}
    again = shop.client.post("/api/orders", content=spaced, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.content == first.content
    assert shop.available(sku) == 4


def test_the_same_key_with_another_body_is_refused(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5)
    key = str(uuid.uuid4())
    shop.order(sku, idempotency_key=key)
    other = shop.order(sku, 2, idempotency_key=key)
    assert other.status_code == 422
    assert other.json()["type"] == "/problems/key-reused"
    assert shop.available(sku) == 4


def test_one_key_from_many_clients_at_once_is_one_order(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=50)
    key = str(uuid.uuid4())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: shop.order(sku, idempotency_key=key), range(16)))
    assert {answer.status_code for answer in found} == {201}
    assert len({answer.json()["id"] for answer in found}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in found) == 1
    assert shop.available(sku) == 49


def test_the_last_ones_are_sold_once(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: shop.order(sku), range(12)))
    assert sorted(answer.status_code for answer in found) == [201] * 5 + [409] * 7
    problem = next(answer for answer in found if answer.status_code == 409).json()
    assert problem["detail"] == f"“{sku}”: 1 requested, none is left. Nothing was changed."
    assert (problem["sku"], problem["available"], problem["requested"]) == (sku, 0, 1)


def test_duplicate_lines_are_summed(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5)
    body = order_body(sku)
    body["lines"] = [{"sku": sku, "quantity": 2}, {"sku": sku, "quantity": 3}]
    order = shop.client.post("/api/orders", json=body).json()
    assert [line["quantity"] for line in order["lines"]] == [5]
    assert shop.available(sku) == 0


def test_a_thousand_lines_fit_one_order(shop: ShopUnderTest) -> None:
    products = [
        {"sku": f"K{number:04d}", "title": "Bead", "price": {"amount": 1, "currency": "GBP"}}
        for number in range(1000)
    ]
    shop.staff("PUT", "/api/products", {"products": products})
    items = [{"sku": product["sku"], "quantity": 1} for product in products]
    shop.staff("POST", "/api/stock/receipts", {"items": items})
    order = shop.client.post("/api/orders", json={**order_body(""), "lines": items})
    assert order.status_code == 201
    assert order.json()["total"]["amount"] == 1000


def test_staff_replay_history_at_its_prices_and_times(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5, price=None)
    body = {
        **order_body(sku),
        "lines": [
            {"sku": sku, "quantity": 1, "unit_price": {"amount": 100, "currency": "GBP"}},
            {"sku": sku, "quantity": 2, "unit_price": {"amount": 90, "currency": "GBP"}},
        ],
        "reference": "536365",
        "placed_at": "2010-12-01T08:26:00+00:00",
    }
    assert shop.client.post("/api/orders", json=body).status_code == 401
    wrong = {"authorization": "Bearer nope"}
    assert shop.client.post("/api/orders", json=body, headers=wrong).status_code == 403
    elsewhere = {**body, "placed_at": "2010-12-01T13:56:00+05:30"}
    keyed = {**STAFF, "idempotency-key": "history-536365"}
    first = shop.client.post("/api/orders", json=elsewhere, headers=keyed)
    again = shop.client.post("/api/orders", json=body, headers=keyed)
    assert (again.status_code, again.content) == (201, first.content)
    order = first.json()
    assert order["total"]["amount"] == 280
    assert order["placed_at"] == "2010-12-01T08:26:00Z"
    assert order["reference"] == "536365"
    taken = shop.client.post("/api/orders", json=body, headers=STAFF)
    assert (taken.status_code, taken.json()["type"]) == (409, "/problems/conflict")
    assert shop.order(sku).json()["type"] == "/problems/no-price"


def test_a_paid_order_is_refunded_in_parts_and_never_beyond(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5, price=200)
    order = shop.order(sku, 3).json()
    shop.settled(order["id"])
    path = f"/api/orders/{order['id']}/refunds"
    body = {"lines": [{"sku": sku, "quantity": 2}], "reason": "broken"}
    headers = STAFF | {"idempotency-key": str(uuid.uuid4())}
    first = shop.client.post(path, json=body, headers=headers)
    assert first.status_code == 201
    assert first.json()["amount"] == {"amount": 400, "currency": "GBP"}
    again = shop.client.post(path, json=body, headers=headers)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    beyond = shop.client.post(path, json=body, headers=STAFF)
    assert (beyond.status_code, beyond.json()["type"]) == (409, "/problems/conflict")
    assert shop.client.get(f"/api/orders/{order['id']}").json()["refunded"]["amount"] == 400
    assert shop.available(sku) == 4


def test_a_paid_order_cannot_be_cancelled(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5)
    order = shop.order(sku).json()
    shop.settled(order["id"])
    answer = shop.client.post(f"/api/orders/{order['id']}/cancel", headers=STAFF)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")


def test_a_credit_needs_no_order(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=1)
    body = {
        "lines": [{"sku": sku, "quantity": 2, "unit_price": {"amount": 150, "currency": "GBP"}}],
        "customer": {"email": "ann@example.com"},
        "reason": "sold elsewhere",
        "reference": "C536379",
        "restock": True,
    }
    assert shop.client.post("/api/credits", json=body).status_code == 401
    credit = shop.staff("POST", "/api/credits", body)
    assert credit["order_id"] is None
    assert credit["amount"]["amount"] == 300
    assert shop.available(sku) == 3


def test_stock_is_corrected_but_never_below_what_is_reserved(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5)
    body = {"items": [{"sku": sku, "delta": -2}], "reason": "count"}
    assert shop.staff("POST", "/api/stock/corrections", body) == {"items": 1}
    body["items"][0]["delta"] = -4  # type: ignore[index]
    assert shop.client.post("/api/stock/corrections", json=body, headers=STAFF).status_code == 409
    assert shop.available(sku) == 3


@pytest.mark.parametrize("order_id", ["0", "nope", str(uuid.uuid4()), "0" * 3000])
def test_an_order_that_is_not_there_is_not_found(shop: ShopUnderTest, order_id: str) -> None:
    for path in (f"/api/orders/{order_id}", f"/orders/{order_id}"):
        answer = shop.client.get(path)
        assert answer.status_code == 404
        assert answer.json()["type"] == "/problems/not-found"


@pytest.mark.parametrize(
    "title", ["Café “Zoë” 😀", "שלום עולם", "<b>bold</b> & 'quoted'", "e\u0301 \u200f \ufeff"]
)
def test_titles_in_any_script_come_back_as_they_went_in(shop: ShopUnderTest, title: str) -> None:
    sku = shop.product(title=title)
    assert shop.client.get(f"/api/products/{sku}").json()["title"] == title
    assert shop.order(sku).json()["lines"][0]["title"] == title


def test_an_sku_may_hold_anything_but_nul(shop: ShopUnderTest) -> None:
    for sku in ("BANK CHARGES", "A/B", "ключ", "100%", "?x=1#y", "{id}"):
        shop.staff(
            "PUT",
            "/api/products",
            {"products": [{"sku": sku, "title": "T", "price": {"amount": 1, "currency": "GBP"}}]},
        )
        from urllib.parse import quote

        assert shop.client.get(f"/api/products/{quote(sku, safe='')}").json()["sku"] == sku


def test_products_are_paged_and_searched(shop: ShopUnderTest) -> None:
    for _ in range(3):
        shop.product(title="Zinc watering can")
    seen: list[str] = []
    after = ""
    while True:
        page = shop.client.get(
            "/api/products", params={"limit": 2, "q": "ZINC watering", "after": after}
        ).json()
        seen += [product["sku"] for product in page["products"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert len(seen) == 3
    assert seen == sorted(seen)
