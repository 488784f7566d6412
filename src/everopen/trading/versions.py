"""What was: products as they were at a time, and who changed what, when and why.

Versions are written by triggers, so nothing that changes a product can forget one; stock has its movements, so what lay on
the shelf is computed back from today. Temporal tables by an extension were turned down: the shop runs on any PostgreSQL, and
one more row per change of a product costs nothing that anybody would notice.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.range import FIELDS, Product, Version, changes_between

SQL = load_statements("everopen.trading", "versions.sql")


async def find_product_then(primary: Primary, currency: str, sku: str, at: datetime) -> Product | None:
    """A product as it was at a time, with what lay on the shelf then; None when it did not exist yet. (What was reserved then
    is not kept, so nothing is said about what was available.)"""

    async def look(connection: Connection) -> Product | None:
        row: Any = await connection.fetchrow(SQL["find_version"], sku, at)
        if row is None:
            return None
        content: dict[str, Any] = msgspec.json.decode(row["content"])
        on_hand = await connection.fetchval(SQL["on_hand_then"], row["id"], at)
        known = {name: content[name] for name in FIELDS if name in content}
        price = content["unit_price"]
        if content.get("scheduled"):
            price = await connection.fetchval(SQL["price_then"], row["id"], currency, at)
        return Product(
            sku=sku,
            price=price,
            currency=currency,
            scheduled=content.get("scheduled", False),
            tracks_stock=content["tracks_stock"],
            available=None,
            version=row["version"],
            on_hand=on_hand,
            **known,
        )

    return await primary.run(look)


async def history(
    primary: Primary, sku: str, *, limit: int, before: int | None = None
) -> tuple[list[Version], int | None]:
    """A page of a product's versions, the newest first, and the version that the next page comes before."""
    rows = await primary.run(
        lambda connection: connection.fetch(SQL["list_versions"], sku, before, limit + 1)
    )
    contents = [msgspec.json.decode(row["content"]) for row in rows]
    found = [
        Version(
            row["version"],
            row["changed_at"],
            row["actor"],
            row["reason"],
            changes_between(contents[index + 1] if index + 1 < len(contents) else {}, contents[index]),
        )
        for index, row in enumerate(rows[:limit])
    ]
    return found, found[-1].version if len(rows) > limit else None
