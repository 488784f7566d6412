"""Money over HTTP: webhooks of a provider that sends them twice, late and out of order, captures, books, reconciliation."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from everopen.trading.payments.signing import sandbox_secret, sign
from tests.integration.api.calls_money import authorised, refused_refund
from tests.integration.api.conftest import STAFF, ShopUnderTest, order_body, wait_for
from tests.integration.api.worker_process import OPERATOR_KEY, running_shop
from tests.support.postgres import Database
from tests.support.providers import STRIPE_SECRETS
from tests.support.stripe_server import KEY, RunningStripe, running_stripe

WEBHOOKS = "/api/payments/sandbox/webhooks"


def rows(shop: ShopUnderTest, statement: str, *arguments: Any) -> list[Any]:
    async def ask() -> list[Any]:
        async with shop.database.connect("postgres") as connection:
            return [tuple(row) for row in await connection.fetch(statement, *arguments)]

    return asyncio.run(ask())


def payments(shop: ShopUnderTest, order: str) -> list[tuple[str, str, int]]:
    found = shop.client.get(f"/api/orders/{order}/payments", headers=STAFF).json()["payments"]
    return [(one["kind"], one["status"], one["amount"]["amount"]) for one in found]


def notify(shop: ShopUnderTest, payment: str, kind: str = "charge.approved", **headers: str) -> Any:
    """A webhook as the sandbox would sign it."""
    body = json.dumps({"id": "evt_1", "type": kind, "data": {"key": payment}}).encode()
    signed = {
        "everopen-signature": sign(sandbox_secret(OPERATOR_KEY), body),
        "content-type": "application/json",
    }
    return shop.client.post(WEBHOOKS, content=body, headers={**signed, **headers})


def settled_once(shop: ShopUnderTest, order: str) -> bool:
    events = rows(
        shop,
        "SELECT topic FROM (SELECT topic, subject FROM outbox UNION ALL SELECT topic, subject FROM events) e "
        "WHERE subject = $1 AND topic <> 'order.placed'",
        uuid.UUID(order),
    )
    cash = rows(
        shop,
        "SELECT amount FROM ledger_entries WHERE order_id = $1 AND account = 'cash'",
        uuid.UUID(order),
    )
    return events == [("order.paid",)] and len(cash) == 1


@pytest.mark.parametrize(
    "token",
    ["tok_webhook", "tok_webhook_twice", "tok_webhook_reordered", "tok_webhook_first", "tok_webhook_only"],
)
def test_rule_5_an_answer_and_webhooks_for_it_settle_a_payment_once_in_any_order(
    shop: ShopUnderTest, token: str
) -> None:
    """vendure#2620, medusa#13301, saleor#19220, spree#13938, pinelab-vendure-plugins#620: the confirm call races the webhook."""
    sku = shop.product(stock=20)
    with ThreadPoolExecutor(5) as pool:
        orders = [one.json()["id"] for one in pool.map(lambda _: shop.order(sku, token=token), range(5))]
    for order in orders:
        assert shop.settled(order)["status"] == "paid"
        with ThreadPoolExecutor(4) as pool:
            said = list(pool.map(lambda _, order=order: notify(shop, order), range(8)))
        assert {answer.status_code for answer in said} == {200}
    assert all(settled_once(shop, order) for order in orders)
    assert rows(
        shop, "SELECT on_hand, reserved FROM stock s JOIN products p ON p.id = s.sku_id WHERE sku = $1", sku
    ) == [(15, 0)]


def test_rule_5_a_lying_webhook_settles_nothing_that_the_provider_does_not_say_itself(
    shop: ShopUnderTest,
) -> None:
    sku = shop.product(stock=5)
    order = shop.order(sku, token="tok_decline").json()["id"]
    assert shop.settled(order)["status"] == "declined"
    assert notify(shop, order, "charge.approved").status_code == 200
    assert shop.client.get(f"/api/orders/{order}").json()["status"] == "declined"
    paid = shop.order(sku).json()["id"]
    shop.settled(paid)
    for kind in ("charge.declined", "charge.cancelled", "authorise.lapsed"):
        assert notify(shop, paid, kind).json()["said"] == f"charge {paid} is as it was."
    assert shop.client.get(f"/api/orders/{paid}").json()["status"] == "paid"


def test_a_webhook_for_a_hold_that_was_cancelled_there_releases_the_order(shop: ShopUnderTest) -> None:
    """medusa#16398: webhooks for cancel and failure are ignored."""
    sku = shop.product(stock=5)
    order = authorised(shop, sku, "tok_lapse")
    assert shop.available(sku) == 4
    found = wait_for(
        lambda: shop.client.get(f"/api/orders/{order}").json(), lambda one: one["status"] != "authorised"
    )
    assert found["status"] == "cancelled"
    assert shop.available(sku) == 5
    assert payments(shop, order) == [("authorise", "voided", 255)]
    assert notify(shop, order, "authorise.lapsed").status_code == 200, "and once more"
    assert payments(shop, order) == [("authorise", "voided", 255)]


def test_a_webhook_for_a_refund_that_failed_makes_it_owed_again_and_staff_pay_it_by_hand(
    shop: ShopUnderTest,
) -> None:
    """medusa#16398, the other half: a refund that was approved comes back from the bank."""
    sku = shop.product(stock=5)
    order = shop.order(sku, token="tok_refund_returned").json()["id"]
    shop.settled(order)
    body = {"lines": [{"sku": sku, "quantity": 1}], "reason": "broken"}
    refund = shop.staff("POST", f"/api/orders/{order}/refunds", body)["id"]
    path = f"/api/payments/{refund}"
    wait_for(lambda: shop.client.get(path, headers=STAFF).json(), lambda one: one["status"] == "refunded")
    wait_for(lambda: shop.client.get(path, headers=STAFF).json(), lambda one: one["status"] == "declined")
    failed = shop.client.get("/api/payments/failed?limit=200", headers=STAFF).json()["payments"]
    assert refund in [one["id"] for one in failed]
    key = {**STAFF, "idempotency-key": str(uuid.uuid4())}
    hand = {"by_hand": True, "reason": "bank transfer"}
    first = shop.client.post(f"{path}/retries", json=hand, headers=key)
    again = shop.client.post(f"{path}/retries", json=hand, headers=key)
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert payments(shop, order) == [
        ("charge", "captured", 255), ("refund", "declined", 255), ("refund", "refunded", 255),
    ]  # fmt: skip
    twice = shop.client.post(f"{path}/retries", json=hand, headers=STAFF)
    assert (twice.status_code, twice.json()["detail"]) == (409, "It was taken up already.")
    cash = rows(
        shop,
        "SELECT sum(amount)::int FROM ledger_entries WHERE order_id = $1 AND account = 'cash'",
        uuid.UUID(order),
    )
    assert cash == [(0,)], "taken once, given back once, in whichever way"


def test_a_declined_refund_is_shown_to_staff_and_tried_again_under_a_new_key(shop: ShopUnderTest) -> None:
    refund = refused_refund(shop, shop.product(stock=5))
    answer = shop.client.post(f"/api/payments/{refund}/retries", json={"reason": "once more"}, headers=STAFF)
    second = answer.json()["payment_id"]
    found = wait_for(
        lambda: shop.client.get(f"/api/payments/{second}", headers=STAFF).json(),
        lambda one: one["status"] == "declined",
    )
    assert found["retry_of"] == refund
    failed = shop.client.get("/api/payments/failed?limit=200", headers=STAFF).json()["payments"]
    assert second in [one["id"] for one in failed]
    assert refund not in [one["id"] for one in failed], "what was taken up is shown as what became of it"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"everopen-signature": ""}, 400),
        ({"everopen-signature": "t=1,v1=00"}, 400),
        ({"everopen-signature": sign("another secret", b"{}")}, 400),
        ({"content-type": "text/plain"}, 415),
    ],
)
def test_only_the_provider_can_notify(shop: ShopUnderTest, change: dict[str, str], status: int) -> None:
    answer = notify(shop, str(uuid.uuid4()), **change)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_webhook_is_read_as_bytes_and_believed_for_five_minutes(shop: ShopUnderTest) -> None:
    body = json.dumps({"id": "e", "type": "charge.approved", "data": {"key": str(uuid.uuid4())}}).encode()
    secret = sandbox_secret(OPERATOR_KEY)
    for content, at_s, status in (
        (body, time.time(), 200),
        (body.replace(b": ", b":"), time.time(), 400),
        (body, time.time() - 301, 400),
        (body, time.time() + 301, 400),
        (b"[]", time.time(), 400),
    ):
        signature = sign(secret, body if content != b"[]" else content, at_s)
        headers = {"everopen-signature": signature, "content-type": "application/json"}
        assert shop.client.post(WEBHOOKS, content=content, headers=headers).status_code == status


def test_a_webhook_about_nothing_of_ours_is_answered_and_left_alone(shop: ShopUnderTest) -> None:
    for payment in (str(uuid.uuid4()), "cus_123"):
        assert notify(shop, payment).status_code == 200
    for provider in ("stripe", "nobody"):
        assert shop.client.post(f"/api/payments/{provider}/webhooks", json={}).status_code == 404


def test_a_hold_is_captured_in_parts_and_the_rest_is_voided(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5, price=1000)
    order = authorised(shop, sku)
    path = f"/api/orders/{order}/captures"

    def capture(amount: int | None, currency: str = "GBP", **more: Any) -> Any:
        body = {**more} if amount is None else {"amount": {"amount": amount, "currency": currency}, **more}
        return shop.client.post(path, json=body, headers=STAFF)

    assert shop.client.post(path, json={}).status_code == 401
    assert capture(1, "EUR").status_code == 422
    assert capture(0).status_code == 422
    assert capture(1001).json()["type"] == "/problems/conflict"
    assert capture(300).status_code == 202
    assert capture(500, final=True).status_code == 202
    assert shop.settled(order)["status"] in ("authorised", "paid")
    found = wait_for(
        lambda: shop.client.get(f"/api/orders/{order}").json(), lambda one: one["status"] == "paid"
    )
    assert found["total"]["amount"] == 1000
    wait_for(lambda: payments(shop, order), lambda all_of: ("void", "voided", 200) in all_of)
    assert capture(1).json()["type"] == "/problems/conflict"
    back = shop.client.post(
        f"/api/orders/{order}/refunds",
        json={"lines": [{"sku": sku, "quantity": 1}], "reason": "r"},
        headers=STAFF,
    )
    assert (back.status_code, back.json()["amount"]["amount"]) == (201, 800), (
        "what was never taken can't go back"
    )


def test_voiding_over_http_cancels_the_order(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=5)
    order = authorised(shop, sku)
    answer = shop.client.post(f"/api/orders/{order}/voids", json={"reason": "lost"}, headers=STAFF)
    assert (answer.status_code, answer.json()) == (202, {"order_id": order})
    assert shop.client.get(f"/api/orders/{order}").json()["status"] == "cancelled"
    assert shop.available(sku) == 5


def test_the_trial_balance_balances_and_a_statement_leads_from_one_balance_to_the_next(
    shop: ShopUnderTest,
) -> None:
    sku = shop.product(stock=5, price=700)
    since = datetime.now(UTC)
    order = shop.order(sku, 2).json()["id"]
    shop.settled(order)
    assert shop.client.get("/api/ledger/trial-balance").status_code == 401
    balance = shop.client.get("/api/ledger/trial-balance", headers=STAFF).json()
    assert balance["balanced"] is True
    for currency in balance["currencies"]:
        assert currency["debit"] == currency["credit"]
        assert sum(account["balance"] for account in currency["accounts"]) == 0
    before = shop.client.get(
        "/api/ledger/trial-balance", params={"before": since.isoformat()}, headers=STAFF
    ).json()
    asked = {"account": "cash", "since": since.isoformat()}
    answer = shop.client.get("/api/ledger/statement", params=asked, headers=STAFF)
    assert answer.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    cash = {
        account["account"]: account["balance"]
        for currency in before["currencies"]
        if currency["currency"] == "GBP"
        for account in currency["accounts"]
    }.get("cash", 0)
    assert (lines[0]["event"], int(lines[0]["balance"])) == ("opening balance", cash)
    assert (lines[-1]["event"], int(lines[-1]["balance"])) == ("closing balance", cash + 1400)
    ours = [line for line in lines if line["order_id"] == order]
    assert [(line["event"], line["debit"], line["credit"]) for line in ours] == [("captured", "1400", "")]
    for wrong in (
        {},
        {"account": "gold", "since": "2026-01-01"},
        {"account": "cash"},
        {**asked, "until": "2020-01-01"},
        {**asked, "currency": "pounds"},
    ):
        assert shop.client.get("/api/ledger/statement", params=wrong, headers=STAFF).status_code == 422


def test_today_is_compared_with_the_providers_list_and_the_report_kept(shop: ShopUnderTest) -> None:
    shop.settled(shop.order(shop.product(stock=5)).json()["id"])
    today = datetime.now(UTC).date()
    body = {"provider": "sandbox", "day": today.isoformat()}
    report = shop.client.post("/api/payments/reconciliations", json=body, headers=STAFF)
    assert report.status_code == 201
    found = report.json()
    assert found["movements"] >= 1
    listed = shop.client.get("/api/payments/reconciliations?limit=1", headers=STAFF).json()
    assert listed["reconciliations"][0] == found
    for wrong in ({**body, "day": (today + timedelta(days=1)).isoformat()}, {**body, "provider": "nobody"}):
        answer = shop.client.post("/api/payments/reconciliations", json=wrong, headers=STAFF)
        assert answer.status_code == 422


def test_stripe_is_there_only_once_it_is_configured(shop: ShopUnderTest) -> None:
    body = order_body(shop.product(stock=1))
    body["payment"] = {"provider": "stripe", "token": "pm_card_visa"}
    answer = shop.client.post("/api/orders", json=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unknown-provider")
    assert "“sandbox”" in answer.json()["detail"]
    assert "stripe" not in answer.json()["detail"].partition(";")[2]


@pytest.fixture(scope="module")
def stripe() -> Iterator[RunningStripe]:
    with running_stripe() as server:
        yield server


@pytest.fixture(scope="module")
def stripe_shop(api_database: Database, stripe: RunningStripe) -> Iterator[ShopUnderTest]:
    """A worker with Stripe; it has given its privileges away and can import nothing more."""
    setup = {"secret_key": KEY, "base_url": stripe.url, "webhook_secrets": list(STRIPE_SECRETS)}
    with tempfile.TemporaryDirectory(prefix="everopen-api-", dir="/tmp") as folder:
        with running_shop(Path(folder), api_database.topology_file, stripe=setup) as worker:
            yield ShopUnderTest(worker, api_database)


def stripe_order(shop: ShopUnderTest, sku: str, token: str, **payment: str) -> str:
    body = order_body(sku)
    body["payment"] = {"provider": "stripe", "token": token, **payment}
    answer = shop.client.post("/api/orders", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_stripe_takes_holds_captures_and_gives_back(
    stripe_shop: ShopUnderTest, stripe: RunningStripe
) -> None:
    shop = stripe_shop
    shop._numbers = iter(range(70_000, 80_000))  # type: ignore[assignment]  # the database is the other worker's too
    sku = shop.product(stock=10, price=1000)
    paid, lost, declined = (
        stripe_order(shop, sku, token) for token in ("pm_card_visa", "pm_lost", "pm_card_chargeDeclined")
    )
    held = stripe_order(shop, sku, "pm_card_visa", capture="manual")
    assert [shop.settled(order)["status"] for order in (paid, lost, declined, held)] == [
        "paid", "paid", "declined", "authorised",
    ]  # fmt: skip
    capture = {"amount": {"amount": 600, "currency": "GBP"}, "final": True}
    assert shop.client.post(f"/api/orders/{held}/captures", json=capture, headers=STAFF).status_code == 202
    wait_for(lambda: shop.client.get(f"/api/orders/{held}").json(), lambda one: one["status"] == "paid")
    body = {"lines": [{"sku": sku, "quantity": 1}], "reason": "broken"}
    refund = shop.staff("POST", f"/api/orders/{paid}/refunds", body)["id"]
    path = f"/api/payments/{refund}"
    given = wait_for(
        lambda: shop.client.get(path, headers=STAFF).json(), lambda one: one["status"] == "refunded"
    )
    assert given["reference"].startswith("re_")

    stripe.books.refund_fails(given["reference"])
    event = {
        "id": "evt_9", "object": "event", "type": "refund.failed",
        "data": {"object": {"id": given["reference"], "object": "refund", "metadata": {"everopen_intent": refund}}},
    }  # fmt: skip
    raw = json.dumps(event).encode()
    headers = {"stripe-signature": sign(STRIPE_SECRETS[0], raw), "content-type": "application/json"}
    answer = shop.client.post("/api/payments/stripe/webhooks", content=raw, headers=headers)
    assert answer.json() == {"said": f"refund {refund} is declined."}
    assert shop.client.get(path, headers=STAFF).json()["status"] == "declined"

    today = datetime.now(UTC).date().isoformat()
    wait_for(lambda: payments(shop, held), lambda all_of: ("void", "voided", 400) in all_of)
    report = shop.client.post(
        "/api/payments/reconciliations", json={"provider": "stripe", "day": today}, headers=STAFF
    ).json()
    assert (report["differences"], report["movements"]) == ([], 4)
