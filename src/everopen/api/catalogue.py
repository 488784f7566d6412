"""Products: what anybody can find and look up, also as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from everopen.api import answers_range as answers
from everopen.api.cursors import decode, encode, page_parameters, read_limit
from everopen.api.problems import Headers, Refusal
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shapes_range import (
    ProductAnswer,
    ProductsAnswer,
)
from everopen.api.shop import Shop
from everopen.trading import catalogue, search, versions
from everopen.trading.orders import UNIT_PRICE_MAX
from everopen.trading.range import Product
from everopen.trading.search import PLACES, SORTS, Wish

QUERY_MAX = 100


async def list_products(shop: Shop, call: Call) -> Answer:
    """A page of products that visitors see."""
    return Answer(await page_of(shop, call, read_limit(call)))


async def page_of(shop: Shop, call: Call, limit: int, *, facets: bool = False) -> ProductsAnswer:
    """Products that are as the address says, with facets if it or the caller asks for them."""
    wish = wish_of(call)
    sort = choice(call, "sort", tuple(SORTS)) or None
    order = search.order_of(wish, sort)
    after = call.parameters.get("after", "")
    place: Any = decode(after, f"products {order}", PLACES.get(order, tuple[int, str])) if after else None
    page = await search.find_products(shop.primary, shop.currency, wish, limit=limit, sort=sort, after=place)
    following = None if page.next is None else encode(f"products {order}", page.next)
    found: Any = UNSET
    if facets or flag(call, "facets"):
        found = answers.facets(await search.find_facets(shop.primary, shop.currency, wish), shop.currency)
    return ProductsAnswer([answers.product(product) for product in page.products], following, found)


def wish_of(call: Call) -> Wish:
    """What is looked for. Raises a 422 `Refusal`."""
    query = call.parameters.get("q", "").strip()
    if len(query) > QUERY_MAX:
        raise Refusal("bad-input", f"`q` has at most {QUERY_MAX} characters.")
    attributes: dict[str, list[str]] = {}
    for text in call.all("attribute"):
        name, colon, value = text.partition(":")
        if not (name and colon and value):
            raise Refusal(
                "bad-input", "`attribute` is a name and a value with a colon between: `colour:red`."
            )
        attributes.setdefault(name, []).append(value)
    return Wish(
        query=query,
        category=call.parameters.get("category") or None,
        group=call.parameters.get("group") or None,
        price_min=amount(call, "price_min"),
        price_max=amount(call, "price_max"),
        attributes=attributes,
        in_stock=flag(call, "in_stock"),
    )


def amount(call: Call, name: str) -> int | None:
    """A parameter in minor units. Raises a 422 `Refusal`."""
    text = call.parameters.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= UNIT_PRICE_MAX):
        raise Refusal(
            "bad-input", f"`{name}` must be a whole number of minor units, 0 to {UNIT_PRICE_MAX:,}."
        )
    return int(text)


def flag(call: Call, name: str) -> bool:
    """A parameter that is true or false. Raises a 422 `Refusal`."""
    text = call.parameters.get(name, "false")
    if text not in ("true", "false", "1", "0", ""):
        raise Refusal("bad-input", f"`{name}` must be true or false.")
    return text in ("true", "1")


def choice(call: Call, name: str, choices: tuple[str, ...]) -> str:
    """A parameter that is one of a few words, or empty. Raises a 422 `Refusal`."""
    text = call.parameters.get(name, "")
    if text and text not in choices:
        raise Refusal("bad-input", f"`{name}` must be one of {', '.join(choices)}.")
    return text


def as_of(call: Call) -> datetime | None:
    """The time that the address names, in UTC. Raises a 422 `Refusal`."""
    text = call.parameters.get("as_of", "")
    if not text:
        return None
    try:
        found = msgspec.convert(text.replace(" ", "+"), datetime)  # a plus in an address may mean a space
        if found.tzinfo is None:
            raise ValueError
        return found.astimezone(UTC)
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise Refusal(
            "bad-input", "`as_of` must be a time with its zone such as 2010-12-01T08:26:00Z."
        ) from None


async def find(shop: Shop, sku: str, at: datetime | None = None) -> Product:
    """A product that visitors see, as it is or was. Raises a 404 `Refusal`."""
    found = None
    if 0 < len(sku) <= 64:
        if at is None:
            found = await catalogue.find_product(shop.primary, shop.currency, sku)
        else:
            found = await versions.find_product_then(shop.primary, shop.currency, sku, at)
    if found is None or not found.published:
        then = " at that time" if at is not None else ""
        raise Refusal("not-found", f"The catalogue has no product “{sku[:80]}”{then}.")
    return found


async def one_product(shop: Shop, sku: str) -> ProductAnswer:
    """One product. Raises a 404 `Refusal`."""
    return answers.product(await find(shop, sku))


async def get_product(shop: Shop, call: Call) -> Answer:
    """One product with what is left of it, or as it was."""
    at = as_of(call)
    found = await find(shop, call.parameters["sku"], at)
    return Answer(answers.product(found, past=at is not None), etag(found.version))


def etag(version: int) -> Headers:
    """The header that names a version."""
    return [(b"etag", b'"%d"' % version)]


def within_batch(shop: Shop, name: str, count: int) -> None:
    """Raises a 422 `Refusal` for a batch that is too long."""
    if count > shop.settings.batch_items_max:
        raise Refusal(
            "bad-input",
            f"`{name}` has {count:,} entries; at most {shop.settings.batch_items_max:,} fit one batch.",
        )


def replay_header(replayed: bool) -> Headers:
    """Says that the key was answered before."""
    return [(b"idempotency-replayed", b"true")] if replayed else []


SKU = Parameter("sku", "The product.", "path")
AS_OF = Parameter("as_of", "How it was at that time (RFC 3339, with its zone).")
_LIST = (
    *page_parameters(),
    Parameter(
        "q",
        'Words to look for in titles, attributes, descriptions and SKUs; "…" for a phrase, OR, and - for without.',
    ),
    Parameter("category", "Only products of this category and those below it."),
    Parameter("group", "Only the variants of this product group."),
    Parameter("price_min", "Only products that cost at least so many minor units.", kind="integer", least=0),
    Parameter("price_max", "Only products that cost at most so many minor units.", kind="integer", least=0),
    Parameter(
        "attribute",
        "`name:value`; several of one name mean any of them, several names all of them.",
        kind="array",
    ),
    Parameter("in_stock", "Only products that can be ordered now.", kind="boolean"),
    Parameter(
        "sort",
        "The order; `relevance` where there is a `q`, else `sku`.",
        choices=tuple(SORTS),
    ),
    Parameter("facets", "Adds what the products can be narrowed by, with counts.", kind="boolean"),
)
ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/api/products",
        "listProducts",
        "Find products",
        list_products,
        ProductsAnswer,
        refusals=("bad-input",),
        parameters=_LIST,
    ),
    Route(
        "GET",
        "/api/products/{sku:path}",
        "getProduct",
        "One product with what is left",
        get_product,
        ProductAnswer,
        refusals=("not-found",),
        parameters=(SKU, AS_OF),
    ),
)
