"""The table of all calls: dispatch and the OpenAPI document are made from it. Each subject brings its own rows."""

from __future__ import annotations

from functools import cache

from everopen import __version__
from everopen.api import (
    carts,
    catalogue,
    events,
    jobs,
    ledger,
    lifecycle,
    money,
    orders,
    pages,
    pages_orders,
    people,
    pricing,
    products,
    quotes,
    range,
    returns,
    shapes,
    staff,
    stock,
    tax_shipping,
)
from everopen.api.openapi import document
from everopen.api.routes import Answer, Call, Route
from everopen.api.shop import Shop


async def ready(shop: Shop, _call: Call) -> Answer:
    """Whether this worker can take an order now."""
    epoch = shop.require_ready()
    return Answer(shapes.Ready("ok", epoch))


async def openapi(shop: Shop, _call: Call) -> Answer:
    """This document."""
    return Answer(
        _document(shop.settings.shop_name),
        [(b"content-type", b"application/json"), (b"cache-control", b"public, max-age=60")],
    )


@cache
def _document(shop_name: str) -> bytes:
    return shapes.encode(document(TABLE, shop_name=shop_name, version=__version__))


TABLE: tuple[Route, ...] = (
    *orders.ROUTES,
    *lifecycle.ROUTES,
    *returns.ROUTES,
    *products.ROUTES,
    *catalogue.ROUTES,
    *range.ROUTES,
    *stock.ROUTES,
    *carts.ROUTES,
    *money.ROUTES,
    *ledger.ROUTES,
    *quotes.ROUTES,
    *pricing.ROUTES,
    *tax_shipping.ROUTES,
    *people.ROUTES,
    *staff.ROUTES,
    *events.ROUTES,
    *jobs.ROUTES,
    Route("GET", "/readyz", "ready", "Whether an order can be taken now", ready, shapes.Ready),
    Route("GET", "/api/openapi.json", "openapi", "This document", openapi, dict),
    *pages.ROUTES,
    *pages_orders.ROUTES,
)
