"""Calls of `catalogue`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

from everopen.api.shapes_range import ProductAnswer, ProductsAnswer
from everopen.client.caller import Caller


class CatalogueCalls(Caller):
    """Calls of `catalogue`."""

    async def list_products(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        q: str | None = None,
        category: str | None = None,
        group: str | None = None,
        price_min: int | None = None,
        price_max: int | None = None,
        attribute: list[str] | None = None,
        in_stock: bool | None = None,
        sort: str | None = None,
        facets: bool | None = None,
        deadline_s: float | None = None,
    ) -> ProductsAnswer:
        """Find products: `GET /api/products`."""
        found: ProductsAnswer = await self.call(
            "GET",
            "/api/products",
            ProductsAnswer,
            query={
                "limit": limit,
                "after": after,
                "q": q,
                "category": category,
                "group": group,
                "price_min": price_min,
                "price_max": price_max,
                "attribute": attribute,
                "in_stock": in_stock,
                "sort": sort,
                "facets": facets,
            },
            deadline_s=deadline_s,
        )
        return found

    async def each_products(
        self,
        *,
        limit: int | None = None,
        q: str | None = None,
        category: str | None = None,
        group: str | None = None,
        price_min: int | None = None,
        price_max: int | None = None,
        attribute: list[str] | None = None,
        in_stock: bool | None = None,
        sort: str | None = None,
        facets: bool | None = None,
        deadline_s: float | None = None,
    ) -> AsyncIterator[ProductAnswer]:
        """Find products, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_products(
                limit=limit,
                q=q,
                category=category,
                group=group,
                price_min=price_min,
                price_max=price_max,
                attribute=attribute,
                in_stock=in_stock,
                sort=sort,
                facets=facets,
                deadline_s=deadline_s,
                after=after,
            )
            for entry in page.products:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def get_product(
        self, sku: str, *, as_of: str | None = None, deadline_s: float | None = None
    ) -> ProductAnswer:
        """One product with what is left: `GET /api/products/{sku}`."""
        found: ProductAnswer = await self.call(
            "GET",
            "/api/products/{sku}",
            ProductAnswer,
            places={"sku": sku},
            query={"as_of": as_of},
            deadline_s=deadline_s,
        )
        return found
