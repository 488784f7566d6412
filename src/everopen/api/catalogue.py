"""Products: what anybody can look up and find, and what staff change of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from everopen.api import answers_range as answers
from everopen.api.cursors import cut, decode, encode, page_parameters, read_limit, read_page
from everopen.api.hot import fingerprint
from everopen.api.problems import Headers, Refusal
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shapes_range import (
    CatalogueAnswer,
    CatalogueEntry,
    DifferenceAnswer,
    HistoryAnswer,
    PricesAnswer,
    PricesBody,
    ProductAnswer,
    ProductBody,
    ProductPatchBody,
    ProductsAnswer,
    ProductsBody,
    ProductsChangedAnswer,
    PutAnswer,
    given,
)
from everopen.api.shop import Shop
from everopen.base.money import EXPONENTS
from everopen.trading import catalogue, search, versions
from everopen.trading.orders import UNIT_PRICE_MAX, ProductsChanged
from everopen.trading.range import Price, Product, ProductChange, Put, Stale
from everopen.trading.search import PLACES, SORTS, Wish

QUERY_MAX = 100
COLUMNS = {"category": "category_id", "group": "group_id"}
"""Names in the API whose column is called otherwise."""


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


async def put_products(shop: Shop, call: Call) -> Answer:
    """Adds or changes products."""
    body: ProductsBody = call.body
    items = changes_of(shop, body)
    reason = "" if body.reason is UNSET else body.reason
    outcome = await catalogue.upsert_products(
        shop.primary,
        shop.currency,
        items,
        key=call.key,
        fingerprint=fingerprint("products", items, reason),
        reason=reason,
    )
    if not isinstance(outcome, ProductsChanged):
        answers.refuse(outcome)
    return Answer(ProductsChangedAnswer(outcome.added, outcome.updated), replay_header(outcome.replayed))


async def compare_products(shop: Shop, call: Call) -> Answer:
    """What `PUT /api/products` would change."""
    items = changes_of(shop, call.body)
    found = await catalogue.preview(shop.primary, shop.currency, items)
    return Answer(answers.difference(found, shop.currency))


def changes_of(shop: Shop, body: ProductsBody) -> list[ProductChange]:
    """The changes of a batch, each SKU once. Raises a 422 `Refusal`."""
    within_batch(shop, "products", len(body.products))
    seen: set[str] = set()
    items = []
    for index, product in enumerate(body.products):
        if product.sku in seen:
            raise Refusal("bad-input", f"`products[{index}].sku`: “{product.sku}” is in the batch twice.")
        seen.add(product.sku)
        items.append(change_of(shop, product, product.sku, f"products[{index}]."))
    return items


def change_of(shop: Shop, body: ProductBody | ProductPatchBody, sku: str, where: str = "") -> ProductChange:
    """A product's change by columns. Raises a 422 `Refusal`."""
    fields = given(body, "sku", "price", "reason")
    if body.price is not UNSET:
        if body.price is not None and body.price.currency != shop.currency:
            raise Refusal("bad-input", f"`{where}price` must be in {shop.currency}.")
        fields["unit_price"] = None if body.price is None else body.price.amount
    if body.attributes is not UNSET:
        fields["attributes"] = {
            name: list(dict.fromkeys(values)) for name, values in sorted(body.attributes.items())
        }
    return ProductChange(sku=sku, **{COLUMNS.get(name, name): value for name, value in fields.items()})


async def patch_product(shop: Shop, call: Call) -> Answer:
    """Changes a product; with `If-Match`, only from that version on."""
    body: ProductPatchBody = call.body
    sku = call.parameters["sku"]
    version = await matched_version(shop, call, sku)
    change = msgspec.structs.replace(change_of(shop, body, sku), version=version or UNSET)
    reason = "" if body.reason is UNSET else body.reason
    outcome = await catalogue.upsert_products(
        shop.primary,
        shop.currency,
        [change],
        key=call.key,
        fingerprint=fingerprint("patch", change, reason),
        known_only=True,
        reason=reason,
    )
    if isinstance(outcome, Stale):
        raise await _not_matched(shop, sku)
    if not isinstance(outcome, ProductsChanged):
        answers.refuse(outcome)
    found = await catalogue.find_product(shop.primary, shop.currency, sku, unpublished=True)
    if found is None:
        raise Refusal("not-found", f"The catalogue has no product “{sku[:80]}”.")
    return Answer(answers.entry(found), [*etag(found.version), *replay_header(outcome.replayed)])


async def matched_version(shop: Shop, call: Call, sku: str) -> int | None:
    """The version that `If-Match` demands; None without the header, and for `*`. Raises a 404 or 412 `Refusal`."""
    asked = call.header(b"if-match").strip()
    if not asked or asked == "*":
        return None
    # A weak tag never matches (RFC 9110, 13.1.1).
    tags = [int(text) for text in re.findall(r'(?<!W/)"([0-9]{1,9})"', asked)]
    if len(tags) == 1:
        return tags[0]
    found = await catalogue.find_product(shop.primary, shop.currency, sku, unpublished=True)
    if found is None:
        raise Refusal("not-found", f"The catalogue has no product “{sku[:80]}”.")
    if found.version in tags:
        return found.version
    raise await _not_matched(shop, sku)


async def _not_matched(shop: Shop, sku: str) -> Refusal:
    found = await catalogue.find_product(shop.primary, shop.currency, sku, unpublished=True)
    version = 0 if found is None else found.version
    return Refusal(
        "precondition-failed",
        f"“{sku}” is at version {version}; `If-Match` names another one.",
        headers=etag(version),
    )


async def get_history(shop: Shop, call: Call) -> Answer:
    """Who changed what of a product, when and why."""
    sku = call.parameters["sku"]
    limit, after = read_page(call, "versions", tuple[int])
    before = None if after is None else min(after[0], 2**31 - 1)
    found, following = await versions.history(shop.primary, sku, limit=limit, before=before)
    if not found and before is None:
        raise Refusal("not-found", f"The catalogue has no product “{sku[:80]}”.")
    token = None if following is None else encode("versions", (following,))
    return Answer(answers.history(sku, found, token, shop.currency))


async def get_prices(shop: Shop, call: Call) -> Answer:
    """The prices with validity of a product."""
    sku = call.parameters["sku"]
    if await catalogue.find_product(shop.primary, shop.currency, sku, unpublished=True) is None:
        raise Refusal("not-found", f"The catalogue has no product “{sku[:80]}”.")
    found = await catalogue.find_prices(shop.primary, sku, as_of(call) or datetime.now(UTC))
    return Answer(PricesAnswer(sku, [answers.price(price) for price in found]))


async def put_prices(shop: Shop, call: Call) -> Answer:
    """Sets all prices with validity of a product."""
    body: PricesBody = call.body
    sku = call.parameters["sku"]
    prices = []
    for index, item in enumerate(body.prices):
        if item.price.currency not in EXPONENTS:
            raise Refusal(
                "bad-input", f"`prices[{index}].price`: there is no currency {item.price.currency}."
            )
        since, till = (in_utc(time, f"prices[{index}]") for time in (item.valid_from, item.valid_to))
        if since is not None and till is not None and till <= since:
            raise Refusal("bad-input", f"`prices[{index}].valid_to` must be after `valid_from`.")
        prices.append(Price(item.price.amount, item.price.currency, since, till))
    reason = "" if body.reason is UNSET else body.reason
    outcome = await catalogue.put_prices(
        shop.primary,
        shop.currency,
        sku,
        prices,
        key=call.key,
        fingerprint=fingerprint("prices", sku, prices, reason),
        reason=reason,
    )
    if not isinstance(outcome, Put):
        answers.refuse(outcome)
    return Answer(PutAnswer(outcome.items), replay_header(outcome.replayed))


def in_utc(time: datetime | None, where: str) -> datetime | None:
    """The same moment in UTC. Raises a 422 `Refusal`."""
    try:
        return None if time is None else time.astimezone(UTC)
    except OverflowError:
        raise Refusal("bad-input", f"`{where}` has a time that no calendar here has.") from None


async def list_catalogue(shop: Shop, call: Call) -> Answer:
    """All products as staff keep them."""
    limit, after = read_page(call, "catalogue", tuple[str])
    place = None if after is None else (after[0], after[0])
    page = await search.find_products(
        shop.primary, shop.currency, Wish(unpublished=True), limit=limit + 1, sort="sku", after=place
    )
    shown, following = cut(page.products, limit, "catalogue", lambda product: (product.sku,))
    return Answer(CatalogueAnswer([answers.entry(product) for product in shown], following))


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
_IF_MATCH = Parameter(
    "If-Match", "The `ETag` that the change is made from; with another version: 412.", "header"
)
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
        "PUT",
        "/api/products",
        "putProducts",
        "Add or change products",
        put_products,
        ProductsChangedAnswer,
        ProductsBody,
        refusals=("unknown-category", "unknown-group", "changed-meanwhile"),
        scope="catalogue:write",
        keyed=True,
        batch=True,
    ),
    Route(
        "GET",
        "/api/products/{sku:path}/history",
        "getProductHistory",
        "Who changed what of a product, when and why",
        get_history,
        HistoryAnswer,
        refusals=("not-found",),
        parameters=(SKU, *page_parameters()),
        scope="catalogue:write",
    ),
    Route(
        "GET",
        "/api/products/{sku:path}/prices",
        "getPrices",
        "The prices with validity of a product",
        get_prices,
        PricesAnswer,
        refusals=("not-found",),
        parameters=(SKU, AS_OF),
        scope="catalogue:write",
    ),
    Route(
        "PUT",
        "/api/products/{sku:path}/prices",
        "putPrices",
        "Set all prices with validity of a product",
        put_prices,
        PutAnswer,
        PricesBody,
        refusals=("not-found",),
        parameters=(SKU,),
        scope="catalogue:write",
        keyed=True,
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
    Route(
        "PATCH",
        "/api/products/{sku:path}",
        "patchProduct",
        "Change a product",
        patch_product,
        CatalogueEntry,
        ProductPatchBody,
        refusals=("not-found", "precondition-failed", "unknown-category", "unknown-group"),
        parameters=(SKU, _IF_MATCH),
        scope="catalogue:write",
        keyed=True,
    ),
    Route(
        "GET",
        "/api/catalogue",
        "listCatalogue",
        "All products as staff keep them",
        list_catalogue,
        CatalogueAnswer,
        parameters=page_parameters(),
        scope="catalogue:write",
    ),
    Route(
        "POST",
        "/api/catalogue/difference",
        "compareProducts",
        "What a batch of products would change; nothing is changed",
        compare_products,
        DifferenceAnswer,
        ProductsBody,
        scope="catalogue:write",
        batch=True,
    ),
)
