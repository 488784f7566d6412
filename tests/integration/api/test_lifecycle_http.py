"""An order's later life over HTTP: parcels, cancelled pieces, returns, documents, timeline, search."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.integration.api.conftest import STAFF, ShopUnderTest, order_body


def paid(shop: ShopUnderTest, sku: str, quantity: int = 1, email: str | None = None) -> str:
    """The id of a paid order."""
    body = order_body(sku, quantity)
    if email is not None:
        body["customer"]["email"] = email
    order = shop.client.post("/api/orders", json=body).json()
    assert shop.settled(order["id"])["status"] == "paid"
    return str(order["id"])


def staff(shop: ShopUnderTest, path: str, body: Any = None, **headers: str) -> Any:
    return shop.client.post(path, json=body or {}, headers=STAFF | headers)


def test_parcels_are_sent_by_staff_and_read_by_whoever_has_the_order(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=9)
    order = paid(shop, sku, 3)
    path = f"/api/orders/{order}/shipments"
    body = {"lines": [{"sku": sku, "quantity": 2}], "carrier": "DHL", "tracking": "JD1"}
    assert shop.client.post(path, json=body).status_code == 401
    key = {"idempotency-key": str(uuid.uuid4())}
    first = staff(shop, path, body, **key)
    again = staff(shop, path, body, **key)
    assert (first.status_code, first.json()["number"], again.json()) == (201, 1, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    too_many = staff(shop, path, body)
    assert too_many.status_code == 409
    assert "only 1 are paid for" in too_many.json()["detail"]
    assert shop.client.get(f"/api/orders/{order}").json()["status"] == "partly_shipped"
    early = staff(shop, f"/api/orders/{order}/complete")
    assert (early.status_code, "partly shipped" in early.json()["detail"]) == (409, True)
    assert staff(shop, path).json()["lines"] == [{"sku": sku, "title": "White metal lantern", "quantity": 1}]
    assert staff(shop, path).status_code == 409
    found = shop.client.get(path).json()["shipments"]
    assert [(one["number"], one["carrier"]) for one in found] == [(1, "DHL"), (2, "")]
    assert staff(shop, f"/api/orders/{order}/complete").json() == {"order_id": order, "status": "completed"}
    assert shop.client.get(f"/api/orders/{order}").json()["paid_at"] is not None


def test_pieces_of_a_paid_order_are_cancelled_and_refunded(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5, price=200)
    order = paid(shop, sku, 3)
    path = f"/api/orders/{order}/cancel"
    part = staff(shop, path, {"lines": [{"sku": sku, "quantity": 1}]}).json()
    assert (part["status"], part["refund"]["amount"]["amount"]) == ("paid", 200)
    assert shop.available(sku) == 3
    whole = staff(shop, path)
    assert (whole.status_code, whole.json()["type"]) == (409, "/problems/conflict")
    rest = staff(shop, path, {"lines": [{"sku": sku, "quantity": 2}]}).json()
    assert rest["status"] == "cancelled"
    assert shop.available(sku) == 5
    order = shop.order(sku, token="tok_slow").json()["id"]
    refused = staff(shop, f"/api/orders/{order}/cancel", {"lines": [{"sku": sku, "quantity": 1}]})
    assert "can only be cancelled as a whole" in refused.json()["detail"]
    unpaid = staff(shop, f"/api/orders/{order}/cancel").json()
    assert unpaid == {"order_id": order, "status": "cancelled", "refund": None}


def test_a_return_goes_from_the_customer_s_wish_to_the_refund(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5, price=200)
    order = paid(shop, sku, 3)
    path = f"/api/orders/{order}/returns"
    early = shop.client.post(path, json={"reason": "too small"})
    assert (early.status_code, "nothing of it is with the customer" in early.json()["detail"]) == (409, True)
    staff(shop, f"/api/orders/{order}/shipments")
    asked = shop.client.post(path, json={"lines": [{"sku": sku, "quantity": 2}], "reason": "too small"})
    assert asked.status_code == 201
    rma = asked.json()["rma"]
    over = shop.client.post(path, json={"lines": [{"sku": sku, "quantity": 2}]})
    assert (over.status_code, "only 1 were sent" in over.json()["detail"]) == (409, True)
    assert shop.client.post(f"{path}/{rma}/receive", json={}).status_code == 401
    assert staff(shop, f"{path}/{rma}/inspect", {"lines": []}).status_code == 409
    assert staff(shop, f"{path}/{rma}/receive").json()["status"] == "received"
    assert shop.client.post(f"{path}/{rma}/withdraw", json={}).status_code == 409
    done = staff(
        shop,
        f"{path}/{rma}/inspect",
        {"lines": [{"sku": sku, "good": 1, "damaged": 1}], "why": "one chipped"},
    ).json()
    assert (done["status"], done["note"], done["lines"][0]["damaged"]) == ("inspected", "one chipped", 1)
    assert done["refund_id"] is not None
    assert shop.available(sku) == 3
    assert shop.client.get(f"/api/orders/{order}").json()["refunded"]["amount"] == 400
    second = shop.client.post(path).json()
    assert shop.client.post(f"{path}/{second['rma']}/withdraw").json()["status"] == "withdrawn"
    assert [one["status"] for one in shop.client.get(path).json()["returns"]] == ["inspected", "withdrawn"]
    assert staff(shop, f"{path}/RMA-999999/receive").status_code == 404
    assert staff(shop, f"{path}/nonsense/receive").status_code == 404
    found = shop.client.get("/api/returns", params={"rma": rma, "status": "inspected"}, headers=STAFF).json()
    assert [one["rma"] for one in found["returns"]] == [rma]
    page = shop.client.get("/api/returns", params={"limit": 1}, headers=STAFF).json()
    following = shop.client.get(
        "/api/returns", params={"limit": 1, "after": page["next"]}, headers=STAFF
    ).json()
    assert [page["returns"][0]["rma"], following["returns"][0]["rma"]] == [second["rma"], rma]
    assert shop.client.get("/api/returns").status_code == 401


def test_invoice_credit_notes_and_timeline_are_for_whoever_has_the_order(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5, price=200)
    order = paid(shop, sku, 2)
    staff(
        shop,
        f"/api/orders/{order}/cancel",
        {"lines": [{"sku": sku, "quantity": 1}], "reason": "one is enough"},
    )
    invoice = shop.client.get(f"/api/orders/{order}/invoice").json()
    assert (invoice["kind"], invoice["total"], invoice["order_id"]) == ("invoice", 400, order)
    assert shop.client.get(f"/api/orders/{order}/invoice").json() == invoice
    notes = shop.client.get(f"/api/orders/{order}/credit-notes").json()["credit_notes"]
    assert [(note["total"], note["invoice"], note["reason"]) for note in notes] == [
        (200, invoice["number"], "one is enough")
    ]
    moments = shop.client.get(f"/api/orders/{order}/timeline").json()["moments"]
    assert [moment["what"] for moment in moments][:3] == ["placed", "paid", "refund"]
    assert "£2.00 is given back to you: one is enough." in [moment["text"] for moment in moments]
    waiting = shop.order(sku, token="tok_decline").json()["id"]
    shop.settled(waiting)
    refused = shop.client.get(f"/api/orders/{waiting}/invoice")
    assert (refused.status_code, "once it is paid" in refused.json()["detail"]) == (409, True)


@pytest.mark.parametrize("what", ["invoice", "credit-notes", "timeline", "shipments", "returns"])
@pytest.mark.parametrize("order", ["nope", str(uuid.uuid4())])
def test_of_an_order_that_is_not_there_nothing_is_found(shop: ShopUnderTest, what: str, order: str) -> None:
    assert shop.client.get(f"/api/orders/{order}/{what}").status_code == 404


def test_staff_search_orders_and_nobody_else(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=9)
    email = f"{uuid.uuid4()}@Example.com"
    ids = [paid(shop, sku, 1, email) for _ in range(3)]
    assert shop.client.get("/api/orders").status_code == 401
    asked: dict[str, Any] = {"email": email.lower(), "status": "paid", "limit": 2}
    first = shop.client.get("/api/orders", params=asked, headers=STAFF).json()
    second = shop.client.get("/api/orders", params=asked | {"after": first["next"]}, headers=STAFF).json()
    assert [order["id"] for order in first["orders"] + second["orders"]] == ids[::-1]
    assert second["next"] is None
    assert first["orders"][0]["customer"] == {"email": email}
    some = {"email": email, "from": "2020-01-01", "to": "2020-12-31T00:00:00Z"}
    assert shop.client.get("/api/orders", params=some, headers=STAFF).json()["orders"] == []
    for wrong in ({"status": "lost"}, {"from": "yesterday"}, {"customer": "ann"}, {"after": "x"}):
        assert shop.client.get("/api/orders", params=wrong, headers=STAFF).status_code == 422


def test_shipping_is_given_back_only_when_it_is_asked_for(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5, price=200)
    order = paid(shop, sku, 2)
    path = f"/api/orders/{order}/refunds"
    body = {"lines": [{"sku": sku, "quantity": 2}], "reason": "broken", "shipping": True}
    answer = staff(shop, path, body)
    assert (answer.status_code, answer.json()["amount"]["amount"], "shipping" in answer.json()) == (
        201,
        400,
        False,
    )
