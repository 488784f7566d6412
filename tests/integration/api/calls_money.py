"""One good request for each call of money, for the test that holds answers against the OpenAPI document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.integration.api.conftest import STAFF, ShopUnderTest, order_body, wait_for

ELSEWHERE = {"getStatement", "hearProvider"}
"""Called in test_money_http.py: one answers CSV, the other takes what only a provider can sign."""


def authorised(shop: ShopUnderTest, sku: str, token: str = "tok_approve") -> str:
    """An order whose money is held."""
    body = order_body(sku, token=token)
    body["payment"]["capture"] = "manual"
    order = str(shop.client.post("/api/orders", json=body).json()["id"])
    assert shop.settled(order)["status"] == "authorised"
    return order


def refused_refund(shop: ShopUnderTest, sku: str) -> str:
    """A refund that the provider declined."""
    order = shop.order(sku, token="tok_refund_declined").json()["id"]
    shop.settled(order)
    body = {"lines": [{"sku": sku, "quantity": 1}], "reason": "broken"}
    refund = str(shop.staff("POST", f"/api/orders/{order}/refunds", body)["id"])
    wait_for(
        lambda: shop.client.get(f"/api/payments/{refund}", headers=STAFF).json(),
        lambda payment: payment["status"] == "declined",
    )
    return refund


def calls(shop: ShopUnderTest, sku: str) -> dict[str, tuple[str, Any]]:
    """Operation ids with path and body."""
    captured, voided, refund = authorised(shop, sku), authorised(shop, sku), refused_refund(shop, sku)
    capture = {"amount": {"amount": 100, "currency": "GBP"}, "reason": "sent"}
    return {
        "captureOrder": (f"/api/orders/{captured}/captures", capture),
        "voidOrder": (f"/api/orders/{voided}/voids", {"reason": "lost"}),
        "listOrderPayments": (f"/api/orders/{captured}/payments", None),
        "getPayment": (f"/api/payments/{captured}", None),
        "listFailedPayments": ("/api/payments/failed", None),
        "retryPayment": (f"/api/payments/{refund}/retries", {"by_hand": True, "reason": "paid in cash"}),
        "reconcile": (
            "/api/payments/reconciliations",
            {"provider": "sandbox", "day": datetime.now(UTC).date().isoformat()},
        ),
        "listReconciliations": ("/api/payments/reconciliations?limit=1", None),
        "getTrialBalance": ("/api/ledger/trial-balance", None),
    }
