"""Orders in the states that tests of their later life need."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from everopen.trading import Trading, invoices, refunds, returns, shipments
from everopen.trading.orders import PlacedOrder, RefundLine
from tests.integration.trading.conftest import Shop

SETTLE = "SELECT settle_payments(ARRAY[$1::uuid], ARRAY['approved'], ARRAY['x'])"


async def placed_order(shop: Shop, worker: Trading, *lines: tuple[str, int], **facts: Any) -> UUID:
    """An order that waits for its payment."""
    placed = await worker.place(shop.order(*lines, **facts))
    assert isinstance(placed, PlacedOrder)
    return placed.id


async def paid_order(shop: Shop, worker: Trading, *lines: tuple[str, int], **facts: Any) -> UUID:
    """An order that is paid, by settling it directly."""
    order_id = await placed_order(shop, worker, *lines, **facts)
    assert await shop.value(SETTLE, order_id) == 1
    return order_id


async def charge(
    shop: Shop,
    order_id: UUID,
    *,
    discounts: dict[int, int] | None = None,
    taxes: dict[int, tuple[int, int]] | None = None,
    shipping: int = 0,
    shipping_tax: int = 0,
    tax_added: bool = False,
) -> int:
    """Gives a placed order a discount, tax (amount, rate) per line number and shipping, as if it had been priced so; answers
    its total."""
    async with shop.database.connect("postgres") as connection, connection.transaction():
        for line, amount in (discounts or {}).items():
            await connection.execute(
                "UPDATE order_lines SET discount = $3 WHERE order_id = $1 AND line_no = $2",
                order_id,
                line,
                amount,
            )
        for line, (amount, rate) in (taxes or {}).items():
            await connection.execute(
                "UPDATE order_lines SET tax = $3, tax_rate_bp = $4 WHERE order_id = $1 AND line_no = $2",
                order_id, line, amount, rate,
            )  # fmt: skip
        total: int = await connection.fetchval(
            """
            WITH l AS (SELECT sum(quantity * unit_price - coalesce(discount, 0)) AS net, coalesce(sum(tax), 0) AS tax
                         FROM order_lines WHERE order_id = $1)
            UPDATE orders SET shipping = $2::bigint, shipping_tax = $3::bigint, tax_added = $4::boolean, tax = l.tax + $3::bigint,
                   total = l.net + $2::bigint + CASE WHEN $4::boolean THEN l.tax + $3::bigint ELSE 0 END
              FROM l WHERE id = $1 RETURNING total
            """,
            order_id, shipping, shipping_tax, tax_added,
        )  # fmt: skip
        await connection.execute("UPDATE payment_intents SET amount = $2 WHERE id = $1", order_id, total)
        await connection.execute("DELETE FROM ledger_entries WHERE order_id = $1", order_id)
        await connection.execute(
            """
            INSERT INTO ledger_entries (order_id, event, account, amount, currency)
            SELECT id, 'placed', e.account, e.amount, currency
              FROM orders o CROSS JOIN LATERAL (SELECT shipping - CASE WHEN tax_added THEN 0 ELSE shipping_tax END AS carriage) n
              CROSS JOIN LATERAL (VALUES ('receivable', total), ('sales', tax + n.carriage - total), ('tax', -tax),
                                         ('shipping', -n.carriage)) AS e (account, amount)
             WHERE id = $1 AND (e.account IN ('receivable', 'sales') OR e.amount <> 0)
            """,
            order_id,
        )
    return total


def pieces(**wished: int) -> list[RefundLine]:
    """So many of each SKU."""
    return [RefundLine(sku, quantity) for sku, quantity in wished.items()]


class Desk:
    """The calls of the later life, each with a fresh key."""

    def __init__(self, shop: Shop, worker: Trading) -> None:
        self.shop = shop
        self.worker = worker

    def _facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        return {"key": self.shop.key(), "fingerprint": b"f", **facts}

    async def ship(self, order_id: UUID, /, **wished: int) -> shipments.ShipOutcome:
        facts = self._facts({"carrier": "DHL", "tracking": "JD01"})
        return await shipments.ship(self.worker.primary, order_id, pieces(**wished), **facts)

    async def complete(self, order_id: UUID) -> shipments.CompleteOutcome:
        return await shipments.complete(self.worker.primary, order_id, **self._facts({"why": "signed for"}))

    async def refund(
        self, order_id: UUID, /, *, restock: bool = True, shipping: bool = False, **wished: int
    ) -> Any:
        facts = self._facts({"restock": restock, "shipping": shipping, "reason": "broken"})
        return await refunds.refund(self.worker.primary, "GBP", order_id, pieces(**wished), **facts)

    async def cancel_pieces(self, order_id: UUID, /, **wished: int) -> Any:
        facts = self._facts({"reason": "changed my mind"})
        return await refunds.cancel_pieces(self.worker.primary, order_id, pieces(**wished), **facts)

    async def cancel(self, order_id: UUID) -> Any:
        return await refunds.cancel(
            self.worker.primary, order_id, **self._facts({"reason": "changed my mind"})
        )

    async def request(self, order_id: UUID, /, **wished: int) -> returns.ReturnOutcome:
        return await returns.request_return(
            self.worker.primary,
            self.worker.settings,
            order_id,
            pieces(**wished),
            **self._facts({"reason": "too small"}),
        )

    async def move(self, asked: Any, event: returns.ReturnEvent) -> returns.ReturnOutcome:
        return await returns.move_return(
            self.worker.primary, asked.order_id, asked.rma, event, **self._facts({})
        )

    async def inspect(
        self, asked: Any, /, *, shipping: bool = False, **found: tuple[int, int]
    ) -> returns.ReturnOutcome:
        seen = [returns.Inspected(sku, good, damaged) for sku, (good, damaged) in found.items()]
        return await returns.inspect_return(
            self.worker.primary, asked.order_id, asked.rma, seen, **self._facts({"shipping": shipping})
        )

    async def status(self, order_id: UUID) -> str:
        return str(await self.shop.value("SELECT status FROM orders WHERE id = $1", order_id))

    async def history(self, order_id: UUID) -> list[tuple[str, str, str]]:
        rows = await self.shop.fetch(
            "SELECT from_status, event, to_status FROM order_history WHERE order_id = $1 ORDER BY id",
            order_id,
        )
        return [tuple(row) for row in rows]

    async def issue(self) -> str:
        """Invoices and credit notes for all that was paid and given back until now."""
        await self.shop.value("SELECT pg_sleep(1.01)")
        return await invoices.issue_documents(self.worker.primary, self.worker.settings)
