"""Calls of `products`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

from everopen.api.shapes_range import (
    CatalogueAnswer,
    CatalogueEntry,
    DifferenceAnswer,
    HistoryAnswer,
    PricesAnswer,
    PricesBody,
    ProductPatchBody,
    ProductsBody,
    ProductsChangedAnswer,
    PutAnswer,
    VersionAnswer,
)
from everopen.client.caller import Caller


class ProductsCalls(Caller):
    """Calls of `products`."""

    async def put_products(
        self, body: ProductsBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> ProductsChangedAnswer:
        """Add or change products: `PUT /api/products`."""
        found: ProductsChangedAnswer = await self.call(
            "PUT", "/api/products", ProductsChangedAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def get_product_history(
        self, sku: str, *, limit: int | None = None, after: str | None = None, deadline_s: float | None = None
    ) -> HistoryAnswer:
        """Who changed what of a product, when and why: `GET /api/products/{sku}/history`."""
        found: HistoryAnswer = await self.call(
            "GET",
            "/api/products/{sku}/history",
            HistoryAnswer,
            places={"sku": sku},
            query={"limit": limit, "after": after},
            deadline_s=deadline_s,
        )
        return found

    async def each_get_product_history(
        self, sku: str, *, limit: int | None = None, deadline_s: float | None = None
    ) -> AsyncIterator[VersionAnswer]:
        """Who changed what of a product, when and why, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.get_product_history(sku=sku, limit=limit, deadline_s=deadline_s, after=after)
            for entry in page.versions:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def get_prices(
        self, sku: str, *, as_of: str | None = None, deadline_s: float | None = None
    ) -> PricesAnswer:
        """The prices with validity of a product: `GET /api/products/{sku}/prices`."""
        found: PricesAnswer = await self.call(
            "GET",
            "/api/products/{sku}/prices",
            PricesAnswer,
            places={"sku": sku},
            query={"as_of": as_of},
            deadline_s=deadline_s,
        )
        return found

    async def put_prices(
        self,
        sku: str,
        body: PricesBody,
        *,
        if_match: str | None = None,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> PutAnswer:
        """Set all prices with validity of a product: `PUT /api/products/{sku}/prices`."""
        found: PutAnswer = await self.call(
            "PUT",
            "/api/products/{sku}/prices",
            PutAnswer,
            places={"sku": sku},
            headers={"If-Match": if_match},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def patch_product(
        self,
        sku: str,
        body: ProductPatchBody | None = None,
        *,
        if_match: str | None = None,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> CatalogueEntry:
        """Change a product: `PATCH /api/products/{sku}`."""
        found: CatalogueEntry = await self.call(
            "PATCH",
            "/api/products/{sku}",
            CatalogueEntry,
            places={"sku": sku},
            headers={"If-Match": if_match},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def list_catalogue(
        self, *, limit: int | None = None, after: str | None = None, deadline_s: float | None = None
    ) -> CatalogueAnswer:
        """All products as staff keep them: `GET /api/catalogue`."""
        found: CatalogueAnswer = await self.call(
            "GET",
            "/api/catalogue",
            CatalogueAnswer,
            query={"limit": limit, "after": after},
            deadline_s=deadline_s,
        )
        return found

    async def each_catalogue(
        self, *, limit: int | None = None, deadline_s: float | None = None
    ) -> AsyncIterator[CatalogueEntry]:
        """All products as staff keep them, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_catalogue(limit=limit, deadline_s=deadline_s, after=after)
            for entry in page.products:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def get_catalogue_entry(self, sku: str, *, deadline_s: float | None = None) -> CatalogueEntry:
        """One product as staff keep it: `GET /api/catalogue/{sku}`."""
        found: CatalogueEntry = await self.call(
            "GET", "/api/catalogue/{sku}", CatalogueEntry, places={"sku": sku}, deadline_s=deadline_s
        )
        return found

    async def compare_products(
        self, body: ProductsBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> DifferenceAnswer:
        """What a batch of products would change; nothing is changed: `POST /api/catalogue/difference`."""
        found: DifferenceAnswer = await self.call(
            "POST", "/api/catalogue/difference", DifferenceAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found
