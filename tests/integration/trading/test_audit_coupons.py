"""The audit's checks of coupons and quotes pass for an honest shop and fail for one that was tampered with."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from everopen.trading import audit, refunds
from everopen.trading.orders import PlacedOrder, Unquotable
from tests.integration.trading.conftest import Shop, problems
from tests.integration.trading.test_coupons import coupon
from tests.support.postgres import Database, Node

TAMPERINGS = {
    "coupon_uses_match_orders": "UPDATE coupon_uses SET order_id = gen_random_uuid()",
    "coupons_count_their_uses": "UPDATE coupons SET used = used - 1 WHERE used > 0",
    "coupons_within_customer_limits": "UPDATE coupon_uses SET customer = 'ann'",
}
MORE = {
    "a use that no order has": (
        "coupon_uses_match_orders",
        "INSERT INTO coupon_uses SELECT gen_random_uuid(), id, 'x' FROM coupons",
    ),
    "an order whose use was lost": ("coupon_uses_match_orders", "DELETE FROM coupon_uses"),
    "a released order that kept its use": (
        "coupon_uses_match_orders",
        "INSERT INTO coupon_uses SELECT o.id, c.id, 'x' FROM orders o, coupons c WHERE o.status = 'declined'",
    ),
    "a counter that forgot": ("coupons_count_their_uses", "DELETE FROM coupon_uses"),
    "a counter of a coupon that is gone": ("coupons_count_their_uses", "DELETE FROM coupons"),
    "a counter above its limit": (
        "coupons_count_their_uses",
        "ALTER TABLE coupons DROP CONSTRAINT coupons_used_within_limit; UPDATE coupons SET limit_total = 1",
    ),
    "a quote of another discount": (
        "orders_have_lines",
        """UPDATE orders SET quote = jsonb_set(quote, '{discount}', '1')""",
    ),
    "a quote of other goods": (
        "orders_have_lines",
        """UPDATE orders SET quote = jsonb_set(quote, '{goods}', '1')""",
    ),
}


@pytest.fixture(scope="module")
def couponed(node: Node) -> Database:
    """A shop in which a coupon that each customer may use once was used by two, given back by two, and refused to one."""
    database = node.create_database_now()
    shop = Shop(database, SimpleNamespace(socket="/nonexistent/payments.sock"))  # type: ignore[arg-type]

    async def fill() -> None:
        async with shop.worker() as worker:
            await shop.stock(worker, apple=100)
            await coupon(shop, worker, limit_total=3, limit_per_customer=1)

            async def buy(email: str) -> Any:
                return await worker.place(shop.order(("apple", 2), email=email, coupons=("ten",)))

            ann, bob, cid = [await buy(f"{name}@example.com") for name in ("ann", "bob", "cid")]
            assert ann.total == bob.total == cid.total == 450
            assert isinstance(await buy("dan@example.com"), Unquotable), "three are all"
            settle = "SELECT settle_payments($1::uuid[], $2::text[], $3::text[])"
            await shop.value(settle, [ann.id, bob.id], ["approved", "declined"], ["a", "b"])
            assert isinstance(await buy("ANN@example.com"), Unquotable), "once per customer"
            dan = await buy("dan@example.com")
            assert isinstance(dan, PlacedOrder)
            await refunds.cancel(worker.primary, dan.id, key="cancel", fingerprint=b"", reason="test")
            assert isinstance(await worker.place(shop.order(("apple", 1))), PlacedOrder)

    asyncio.run(fill())
    return database


def test_what_was_given_back_is_free_and_the_honest_shop_passes(couponed: Database) -> None:
    shop = Shop(couponed, SimpleNamespace(socket="/nonexistent"))  # type: ignore[arg-type]

    async def look() -> None:
        assert problems(await shop.audit()) == []
        assert await shop.value("SELECT used FROM coupons") == 2
        uses = await shop.fetch("SELECT customer FROM coupon_uses ORDER BY customer")
        assert [row["customer"] for row in uses] == ["ann@example.com", "cid@example.com"]

    asyncio.run(look())


@pytest.mark.parametrize(
    ("name", "statement"), [*TAMPERINGS.items(), *MORE.values()], ids=[*TAMPERINGS, *MORE]
)
def test_a_check_fails_when_its_table_is_tampered_with(couponed: Database, name: str, statement: str) -> None:
    async def scenario() -> None:
        async with couponed.connect("postgres") as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(statement)
            assert await connection.fetch(audit.SQL[name]), f"{name} did not notice"
            await transaction.rollback()

    asyncio.run(scenario())
