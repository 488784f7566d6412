"""Calls of `catalogue`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

from everopen.api.shapes import (
    CorrectionBody,
    ProductAnswer,
    ProductsAnswer,
    ProductsBody,
    ProductsChangedAnswer,
    ReceiptBody,
    StockAnswer,
)
from everopen.client.caller import Caller


class CatalogueCalls(Caller):
    """Calls of `catalogue`."""

    async def list_products(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        q: str | None = None,
        deadline_s: float | None = None,
    ) -> ProductsAnswer:
        """A page of products: `GET /api/products`."""
        found: ProductsAnswer = await self.call(
            "GET",
            "/api/products",
            ProductsAnswer,
            query={"limit": limit, "after": after, "q": q},
            deadline_s=deadline_s,
        )
        return found

    async def each_products(
        self, *, limit: int | None = None, q: str | None = None, deadline_s: float | None = None
    ) -> AsyncIterator[ProductAnswer]:
        """A page of products, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_products(limit=limit, q=q, deadline_s=deadline_s, after=after)
            for entry in page.products:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def put_products(
        self, body: ProductsBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> ProductsChangedAnswer:
        """Add or change products: `PUT /api/products`."""
        found: ProductsChangedAnswer = await self.call(
            "PUT", "/api/products", ProductsChangedAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def get_product(self, sku: str, *, deadline_s: float | None = None) -> ProductAnswer:
        """One product with what is left: `GET /api/products/{sku}`."""
        found: ProductAnswer = await self.call(
            "GET", "/api/products/{sku}", ProductAnswer, places={"sku": sku}, deadline_s=deadline_s
        )
        return found

    async def receive_stock(
        self, body: ReceiptBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> StockAnswer:
        """Book goods that arrived: `POST /api/stock/receipts`."""
        found: StockAnswer = await self.call(
            "POST", "/api/stock/receipts", StockAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def correct_stock(
        self, body: CorrectionBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> StockAnswer:
        """Book what a count found: `POST /api/stock/corrections`."""
        found: StockAnswer = await self.call(
            "POST", "/api/stock/corrections", StockAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found
