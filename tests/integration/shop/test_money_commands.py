"""Money in a whole shop: the sandbox's webhooks come in through the gateway, and the books are read on the command line."""

from __future__ import annotations

import csv
import io
import json
import time
from datetime import UTC, datetime

import httpx

from tests.support.shop import Shop


def test_a_webhook_finds_its_way_in_and_the_books_are_read_on_the_command_line(shop: Shop) -> None:
    """`tok_webhook_only`: the provider's answers never come, only its webhook tells."""
    sku = httpx.get(f"{shop.url}/api/products?limit=1").json()["products"][0]["sku"]
    body = {
        "lines": [{"sku": sku, "quantity": 1}],
        "customer": {"email": "ann@example.com"},
        "payment": {"provider": "sandbox", "token": "tok_webhook_only"},
    }
    order = httpx.post(f"{shop.url}/api/orders", json=body).json()
    path = f"{shop.url}/api/orders/{order['id']}"
    deadline = time.monotonic() + 30
    while httpx.get(path).json()["status"] == "placed":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert httpx.get(path).json()["status"] == "paid"

    balance = json.loads(shop.run("ledger", "balance", "--json", check=True).stdout)
    assert balance["balanced"] is True
    cash = {
        account["account"]: account["balance"]
        for currency in balance["currencies"]
        for account in currency["accounts"]
    }["cash"]
    today = datetime.now(UTC).date().isoformat()
    text = shop.run("ledger", "statement", "cash", "--since", today, check=True).stdout
    lines = list(csv.DictReader(io.StringIO(text)))
    assert order["id"] in [line["order_id"] for line in lines]
    assert lines[-1]["event"] == "closing balance"
    assert int(lines[-1]["balance"]) == cash
    assert "The books balance." in shop.run("ledger", "balance", check=True).stdout

    told = shop.run("reconcile", "--day", today)
    assert (told.returncode, "no differences" in told.stdout) == (0, True), told.stdout + told.stderr
    report = json.loads(shop.run("reconcile", "--day", today, "--json", check=True).stdout)
    assert report["movements"] >= 1
    assert shop.run("ledger", "statement", "cash", "--since", "yesterday").returncode == 2
    assert shop.run("audit").returncode == 0
