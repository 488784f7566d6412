"""Finding products: full text, filters, facets, pages by cursor; PostgreSQL does all of it.

A search is one statement, put together from the named pieces in `search.sql` for the filters that are set: with every
filter in one statement (`$3 IS NULL OR …`) no plan could use an index for any of them. A search engine beside the database
was turned down: it would have to be kept true to the shop through every failover, for a range that fits one index.

Facets count what a buyer would see after one more click: the values of an attribute are counted under all filters but that
attribute's own, since several values of one attribute mean any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from everopen.store import Primary, load_statements
from everopen.trading.range import Product

SQL = load_statements("everopen.trading", "search.sql")
"""Named pieces of statements; `:name` in a piece is a value, `{name}` another piece."""
SORTS: dict[str, str] = {
    "sku": "order_sku",
    "relevance": "order_relevance",
    "price": "order_price",
    "-price": "order_price_down",
    "title": "order_title",
    "newest": "order_newest",
}
"""Order to the piece that says it, which ends with its direction."""
PLACES: dict[str, type] = {"relevance": tuple[float, str], "sku": tuple[str, str], "title": tuple[str, str]}
"""What a place in an order is made of; of the others, a number and an SKU."""
FACET_VALUES_MAX = 200


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; None and empty mean everything."""

    query: str = ""
    category: str | None = None
    """With all categories below it."""
    group: str | None = None
    price_min: int | None = None
    price_max: int | None = None
    attributes: dict[str, list[str]] = {}
    """Any of the values, of each of the attributes."""
    in_stock: bool = False
    unpublished: bool = False
    """Shows also what visitors don't see."""


class FacetValue(msgspec.Struct, frozen=True):
    """A value and how many products have it."""

    value: str
    count: int


class Facets(msgspec.Struct, frozen=True):
    """What the products that were found could be narrowed by. Categories count the products below them, too."""

    total: int
    in_stock: int
    price_min: int | None
    price_max: int | None
    categories: list[FacetValue]
    attributes: dict[str, list[FacetValue]]


Place = tuple[int | float | str, str]
"""Where a page ended: the value that it is sorted by, and the SKU."""


class Page(msgspec.Struct, frozen=True):
    """Products and where the page ended, None on the last."""

    products: list[Product]
    next: Place | None


class Filters:
    """The conditions of a statement with the values of its parameters."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.pieces: list[str] = []
        self.price = ""
        """The piece that says what a product costs now."""

    def value(self, value: Any) -> str:
        """The parameter that stands for a value."""
        self.values.append(value)
        return f"${len(self.values)}"

    def add(self, name: str, inner: str = "", **values: Any) -> None:
        """Adds a piece as a condition."""
        self.pieces.append(self.filled(name, inner, **values))

    def filled(self, name: str, inner: str = "", **values: Any) -> str:
        """A piece in which `:name` is the parameter of that value, and `{price}` or `{key}` is `inner`."""
        text = SQL[name].replace("{price}", inner).replace("{key}", inner)
        for key, value in values.items():
            text = text.replace(f":{key}", self.value(value))
        return text

    @property
    def condition(self) -> str:
        """All pieces at once."""
        return " AND ".join(self.pieces) or "true"


def filters_of(wish: Wish, currency: str, *, attributes: bool = True) -> Filters:
    """The conditions of a wish."""
    found = Filters()
    price = found.price = found.filled("price", currency=currency)
    if not wish.unpublished:
        found.add("is_published")
    if wish.query:
        found.add("matches", query=wish.query, sku=sku_pattern(wish.query))
    if wish.category is not None:
        found.add("in_category", category=wish.category)
    if wish.group is not None:
        found.add("in_group", group=wish.group)
    if wish.price_min is not None:
        found.add("price_from", price, amount=wish.price_min)
    if wish.price_max is not None:
        found.add("price_to", price, amount=wish.price_max)
    if wish.in_stock:
        found.add("is_in_stock")
    if attributes:
        for name, values in sorted(wish.attributes.items()):
            found.add("has_attribute", any=[encoded({name: [value]}) for value in values])
    return found


def encoded(value: Any) -> str:
    """A value as the text of a jsonb parameter."""
    return msgspec.json.encode(value).decode()


def sku_pattern(query: str) -> str:
    """What a buyer typed as the beginning of an SKU, for LIKE."""
    literal = query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"{literal}%"


def order_of(wish: Wish, sort: str | None) -> str:
    """The order that counts: by relevance where there is a query, else by SKU, unless another one is asked for."""
    order = sort or ("relevance" if wish.query else "sku")
    return "sku" if order == "relevance" and not wish.query else order


async def find_products(
    primary: Primary,
    currency: str,
    wish: Wish,
    *,
    limit: int,
    sort: str | None = None,
    after: Place | None = None,
) -> Page:
    """A page of what is looked for."""
    order = order_of(wish, sort)
    filters = filters_of(wish, currency)
    inner = filters.filled("rank", query=wish.query) if order == "relevance" else filters.price
    key, direction = filters.filled(SORTS[order], inner).rsplit(" ", 1)
    if after is not None and order == "sku":
        filters.add("after_sku", sku=after[1])
    elif after is not None:
        filters.add("after_desc" if direction == "DESC" else "after_asc", key, value=after[0], sku=after[1])
    statement = SQL["find_products"].format(
        price=filters.price,
        key=key,
        where=filters.condition,
        direction=direction,
        limit=filters.value(limit + 1),
    )
    rows = await primary.run(lambda connection: connection.fetch(statement, *filters.values))
    shown = [product_of(row, currency) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(shown, None if last is None else (last["sort_key"], last["sku"]))


def product_of(row: Any, currency: str) -> Product:
    """A row as a product."""
    return Product(
        sku=row["sku"],
        title=row["title"],
        description=row["description"],
        unit_price=row["unit_price"],
        price=row["price"],
        currency=currency,
        tracks_stock=row["tracks_stock"],
        available=row["available"] if row["tracks_stock"] else None,
        published=row["published"],
        buyer_limit=row["buyer_limit"],
        category_id=row["category_id"],
        group_id=row["group_id"],
        tax_category=row["tax_category"],
        weight_g=row["weight_g"],
        attributes=msgspec.json.decode(row["attributes"]),
        images=list(row["images"]),
        version=row["version"],
        scheduled=row["scheduled"],
    )


async def find_facets(primary: Primary, currency: str, wish: Wish) -> Facets:
    """What a search could be narrowed by, with counts."""
    filters = filters_of(wish, currency, attributes=False)
    statement = SQL["find_facets"].format(
        price=filters.price,
        where=filters.condition,
        attributes=filters.value(encoded(wish.attributes)),
        most=filters.value(FACET_VALUES_MAX),
    )
    rows = await primary.run(lambda connection: connection.fetch(statement, *filters.values))
    return facets_of(rows)


def facets_of(rows: Sequence[Any]) -> Facets:
    """Rows of (kind, name, value, count) as facets."""
    figures: dict[str, int | None] = {}
    categories: list[FacetValue] = []
    attributes: dict[str, list[FacetValue]] = {}
    for row in rows:
        match row["kind"]:
            case "category":
                categories.append(FacetValue(row["value"], row["count"]))
            case "attribute":
                attributes.setdefault(row["name"], []).append(FacetValue(row["value"], row["count"]))
            case _:
                figures[row["name"]] = row["count"]
    return Facets(
        figures.get("total") or 0,
        figures.get("in_stock") or 0,
        figures.get("price_min"),
        figures.get("price_max"),
        categories,
        attributes,
    )
