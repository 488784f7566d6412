"""One shop for the tests of this folder; each test leaves it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.shop import Shop, running_shop


@pytest.fixture(scope="session")
def open_shop() -> Iterator[Shop]:
    with running_shop() as shop:
        answer = shop.staff(
            "POST",
            "/api/stock/receipts",
            {"items": [{"sku": "85123A", "quantity": 1_000_000}], "reason": "test"},
            "stock",
        )
        assert answer.status_code < 300, answer.text
        yield shop


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    """The shop, whole again after what an earlier test did to it."""
    open_shop.until_whole()
    return open_shop
