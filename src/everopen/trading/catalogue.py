"""The catalogue: what can be bought, at which price, and how much of it is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from everopen.store import Primary, load_statements
from everopen.trading.orders import KeyReused, Product, ProductInput, ProductsChanged, ProductsOutcome

SQL = load_statements("everopen.trading", "catalogue.sql")


def _product(row: Any, currency: str) -> Product:
    return Product(
        row["sku"],
        row["title"],
        row["description"],
        row["unit_price"],
        currency,
        row["tracks_stock"],
        row["available"] if row["tracks_stock"] else None,
    )


def pattern(search: str | None) -> str | None:
    """A text as a LIKE pattern that finds it anywhere; its own wildcards are taken literally."""
    if not search:
        return None
    literal = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{literal}%"


async def list_products(
    primary: Primary, currency: str, *, limit: int, after: str | None = None, search: str | None = None
) -> list[Product]:
    """At most `limit` products whose SKU comes after `after`; `search` looks into SKU and title."""
    wanted = pattern(search)
    rows = await primary.run(lambda connection: connection.fetch(SQL["list_products"], after, wanted, limit))
    return [_product(row, currency) for row in rows]


async def find_product(primary: Primary, currency: str, sku: str) -> Product | None:
    """One product, or None."""
    row = await primary.run(lambda connection: connection.fetchrow(SQL["find_product"], sku))
    return None if row is None else _product(row, currency)


async def upsert_products(
    primary: Primary, currency: str, items: Sequence[ProductInput], *, key: str, fingerprint: bytes
) -> ProductsOutcome:
    """Adds or changes products in one transaction. Of a SKU that comes twice the last one counts."""
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(
            SQL["upsert_products"],
            key,
            fingerprint,
            [item.sku for item in items],
            [item.title for item in items],
            [item.unit_price for item in items],
            [item.description for item in items],
            [item.tracks_stock for item in items],
        )
    )
    if row["code"] == 2:
        return KeyReused()
    return ProductsChanged(row["added"], row["updated"], replayed=row["code"] == 1)
