"""The catalogue: what can be bought, at which price, and how much of it is left; and how staff change it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET

from everopen.store import Primary, load_statements
from everopen.trading.orders import KeyReused, NotFound, ProductInput, ProductsChanged
from everopen.trading.range import (
    Category,
    CategoryCircle,
    Difference,
    Group,
    Price,
    PricesOverlap,
    Product,
    ProductChange,
    Put,
    Stale,
    UnknownCategory,
    UnknownGroup,
    differences,
)
from everopen.trading.search import encoded, product_of

SQL = load_statements("everopen.trading", "catalogue.sql")
ProductsOutcome = ProductsChanged | KeyReused | Stale | UnknownCategory | UnknownGroup | NotFound


async def find_product(
    primary: Primary, currency: str, sku: str, *, unpublished: bool = False
) -> Product | None:
    """One product, or None; also one that visitors don't see, if wanted."""
    found = await products_named(primary, currency, [sku])
    product = found.get(sku)
    return product if product is not None and (product.published or unpublished) else None


async def products_named(primary: Primary, currency: str, skus: Sequence[str]) -> dict[str, Product]:
    """These products by SKU, published or not, as far as there are any."""
    rows = await primary.run(lambda connection: connection.fetch(SQL["find_named"], list(skus), currency))
    return {row["sku"]: product_of(row, currency) for row in rows}


async def preview(primary: Primary, currency: str, items: Sequence[ProductChange]) -> Difference:
    """What `upsert_products` would change; nothing is."""
    existing = await products_named(primary, currency, [item.sku for item in items])
    return differences(items, existing)


async def upsert_products(
    primary: Primary,
    currency: str,
    items: Sequence[ProductInput | ProductChange],
    *,
    key: str,
    fingerprint: bytes,
    known_only: bool = False,
    reason: str = "",
) -> ProductsOutcome:
    """Adds or changes products in one transaction. Of a SKU that comes twice the last one counts. `known_only`: a SKU that is
    not there is NotFound. The versions that this makes bear `reason`."""
    wanted = encoded([_columns(item) for item in items])
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(
            SQL["upsert_products"], key, fingerprint, wanted, known_only, reason
        )
    )
    match row["code"]:
        case 0 | 1:
            return ProductsChanged(row["added"], row["updated"], replayed=row["code"] == 1)
        case 9:
            return NotFound()
        case 15:
            return Stale(tuple(row["detail"].split("\n")))
        case 16:
            return UnknownCategory(tuple(row["detail"].split("\n")))
        case 17:
            return UnknownGroup(tuple(row["detail"].split("\n")))
        case _:
            return KeyReused()


def _columns(item: ProductInput | ProductChange) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(item).items() if value is not UNSET}


async def put_prices(
    primary: Primary,
    currency: str,
    sku: str,
    prices: Sequence[Price],
    *,
    key: str,
    fingerprint: bytes,
    version: int | None = None,
    reason: str = "",
) -> Put | KeyReused | NotFound | PricesOverlap | Stale:
    """Sets all prices with validity of a product. With some in the shop's currency it is sold at them and at nothing else;
    without, at its catalogue price. `version`: what `prices_version` must still be."""
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(
            SQL["put_prices"],
            key,
            fingerprint,
            sku,
            currency,
            [price.currency for price in prices],
            [price.amount for price in prices],
            [price.valid_from for price in prices],
            [price.valid_to for price in prices],
            version,
            reason,
        )
    )
    match row["code"]:
        case 0 | 1:
            return Put(row["items"], replayed=row["code"] == 1)
        case 9:
            return NotFound()
        case 15:
            return Stale((sku,))
        case 21:
            return PricesOverlap(row["detail"])
        case _:
            return KeyReused()


async def prices_version(primary: Primary, sku: str) -> int | None:
    """A number that every change of a product's prices moves on; None without such a product."""
    found: int | None = await primary.run(lambda connection: connection.fetchval(SQL["prices_version"], sku))
    return found


async def find_prices(primary: Primary, sku: str, at: datetime) -> list[Price]:
    """The prices with validity of a product as they were recorded at a time."""
    rows = await primary.run(lambda connection: connection.fetch(SQL["find_prices"], sku, at))
    return [Price(row["amount"], row["currency"], row["valid_from"], row["valid_to"]) for row in rows]


async def list_categories(primary: Primary) -> list[Category]:
    """All categories, each after its parent, siblings by position and name."""
    rows = await primary.run(lambda connection: connection.fetch(SQL["list_categories"]))
    return [
        Category(
            id=row["id"],
            name=row["name"],
            parent=row["parent_id"],
            position=row["position"],
            path=list(row["path"]),
            products=row["products"],
        )
        for row in rows
    ]


async def put_categories(
    primary: Primary, items: Sequence[Category], *, key: str, fingerprint: bytes
) -> Put | KeyReused | UnknownCategory | CategoryCircle:
    """Adds or changes categories; a parent may be one of the batch. The tree stays a tree."""
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(
            SQL["put_categories"],
            key,
            fingerprint,
            [item.id for item in items],
            [item.name for item in items],
            [item.parent for item in items],
            [item.position for item in items],
        )
    )
    match row["code"]:
        case 0 | 1:
            return Put(row["items"], replayed=row["code"] == 1)
        case 16:
            return UnknownCategory(tuple(row["detail"].split("\n")))
        case 20:
            return CategoryCircle(tuple(row["detail"].split("\n")))
        case _:
            return KeyReused()


async def find_group(primary: Primary, group_id: str) -> Group | None:
    """One product group, or None. Its variants are the products that name it (`Wish.group`)."""
    row = await primary.run(lambda connection: connection.fetchrow(SQL["find_group"], group_id))
    if row is None:
        return None
    return Group(
        id=row["id"], title=row["title"], description=row["description"], varies_by=list(row["varies_by"])
    )


async def list_groups(primary: Primary, *, limit: int, after: str = "") -> list[Group]:
    """Product groups in the order of their ids."""
    rows = await primary.run(lambda connection: connection.fetch(SQL["list_groups"], after, limit))
    return [
        Group(
            id=row["id"], title=row["title"], description=row["description"], varies_by=list(row["varies_by"])
        )
        for row in rows
    ]


async def put_groups(
    primary: Primary, items: Sequence[Group], *, key: str, fingerprint: bytes
) -> Put | KeyReused:
    """Adds or changes product groups."""
    wanted = encoded([msgspec.structs.asdict(item) for item in items])
    row: Any = await primary.run(
        lambda connection: connection.fetchrow(SQL["put_groups"], key, fingerprint, wanted)
    )
    return Put(row["items"], replayed=row["code"] == 1) if row["code"] in (0, 1) else KeyReused()
