"""One good request for each call of an order's later life, for the test that holds answers against the OpenAPI document."""

from __future__ import annotations

from typing import Any

from tests.integration.api.conftest import ShopUnderTest


def calls(shop: ShopUnderTest) -> dict[str, tuple[str, Any]]:
    """Operation ids with path and body, in an order in which each can be done."""
    sku = shop.product(stock=50)
    order, sent = (shop.order(sku, 5).json()["id"] for _ in range(2))
    for one in (order, sent):
        shop.settled(one)
    shop.staff("POST", f"/api/orders/{sent}/shipments", {})
    path = f"/api/orders/{sent}/returns"
    piece = {"lines": [{"sku": sku, "quantity": 1}]}
    received, withdrawn, refused = (shop.client.post(path, json=piece).json()["rma"] for _ in range(3))
    return {
        "searchOrders": ("/api/orders?status=paid&status=shipped&from=2020-01-01&limit=2&email=ann%40example.com", None),
        "shipOrder": (f"/api/orders/{order}/shipments", {**piece, "carrier": "DHL", "tracking": "JD1"}),
        "listShipments": (f"/api/orders/{order}/shipments", None),
        "requestReturn": (f"/api/orders/{order}/returns", {**piece, "reason": "too small"}),
        "listReturns": (path, None),
        "withdrawReturn": (f"{path}/{withdrawn}/withdraw", {}),
        "refuseReturn": (f"{path}/{refused}/refuse", {"why": "worn"}),
        "receiveReturn": (f"{path}/{received}/receive", {"why": ""}),
        "inspectReturn": (f"{path}/{received}/inspect", {"lines": [{"sku": sku, "good": 1}], "shipping": True}),
        "searchReturns": ("/api/returns?status=inspected&limit=1", None),
        "completeOrder": (f"/api/orders/{sent}/complete", {"why": "signed for"}),
        "getInvoice": (f"/api/orders/{sent}/invoice", None),
        "listCreditNotes": (f"/api/orders/{sent}/credit-notes", None),
        "getTimeline": (f"/api/orders/{sent}/timeline", None),
    }  # fmt: skip
