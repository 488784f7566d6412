"""One worker on one real database for all tests of the room; each test takes SKUs of its own."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api.worker_process import OPERATOR_KEY, Running, create_shop_database, running_shop
from tests.support.postgres import Database, running_node

STAFF = {"authorization": f"Bearer {OPERATOR_KEY}"}


class ShopUnderTest:
    """The worker's client, and shorthands for what most tests need."""

    def __init__(self, worker: Running, database: Database) -> None:
        self.worker = worker
        self.client = worker.client
        self.database = database
        self._numbers = count(1)

    def staff(self, method: str, path: str, body: Any) -> Any:
        """A staff call that must succeed."""
        answer = self.client.request(method, path, json=body, headers=STAFF)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def product(
        self, stock: int = 100, price: int | None = 255, *, title: str = "White metal lantern"
    ) -> str:
        """A new product with its stock; answers its SKU."""
        sku = f"T{next(self._numbers):05d}"
        amount = None if price is None else {"amount": price, "currency": "GBP"}
        self.staff("PUT", "/api/products", {"products": [{"sku": sku, "title": title, "price": amount}]})
        if stock:
            self.staff("POST", "/api/stock/receipts", {"items": [{"sku": sku, "quantity": stock}]})
        return sku

    def available(self, sku: str) -> int:
        """How many can be ordered."""
        return int(self.client.get(f"/api/products/{sku}").json()["available"])

    def order(self, sku: str, quantity: int = 1, *, token: str = "tok_approve", **headers: str) -> Any:
        """The answer to an order of one line."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/api/orders", json=order_body(sku, quantity, token=token), headers=named)

    def counts(self) -> dict[str, int]:
        """Rows that a refused request must not change."""

        async def ask() -> dict[str, int]:
            async with self.database.connect("postgres") as connection:
                row = await connection.fetchrow(
                    "SELECT (SELECT count(*) FROM orders) AS orders, (SELECT count(*) FROM order_lines) AS lines, "
                    "(SELECT count(*) FROM idempotency) AS keys, (SELECT sum(reserved) FROM stock) AS reserved, "
                    "(SELECT sum(on_hand) FROM stock) AS on_hand, (SELECT count(*) FROM products) AS products"
                )
                return dict(row)

        return asyncio.run(ask())

    def settled(self, order_id: str) -> dict[str, Any]:
        """The order once its payment is decided."""
        return wait_for(
            lambda: self.client.get(f"/api/orders/{order_id}").json(),
            lambda order: order["status"] != "placed",
        )


def wait_for(look: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """Looks until it is good, at most twenty seconds."""
    import time

    deadline = time.monotonic() + 20
    while not good(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def order_body(sku: str, quantity: Any = 1, *, token: str = "tok_approve") -> dict[str, Any]:
    """The body of an order of one line."""
    return {
        "lines": [{"sku": sku, "quantity": quantity}],
        "customer": {"email": "ann@example.com"},
        "payment": {"provider": "sandbox", "token": token},
    }


@pytest.fixture(scope="session")
def api_database() -> Iterator[Database]:
    """A migrated database on a node of its own."""
    with running_node() as node:
        yield asyncio.run(create_shop_database(node))


@pytest.fixture(scope="session")
def shop(api_database: Database) -> Iterator[ShopUnderTest]:
    """The running worker."""
    with tempfile.TemporaryDirectory(prefix="everopen-api-", dir="/tmp") as folder:
        with running_shop(Path(folder), api_database.topology_file) as worker:
            yield ShopUnderTest(worker, api_database)
