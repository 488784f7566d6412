"""Products as staff keep them: changed in batches or one by one under preconditions, priced over time, looked back at."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET

from everopen.api import answers_range as answers
from everopen.api.catalogue import AS_OF, SKU, as_of, etag, replay_header, within_batch
from everopen.api.cursors import cut, encode, page_parameters, read_page
from everopen.api.hot import fingerprint
from everopen.api.problems import Refusal
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shapes_range import (
    CatalogueAnswer,
    CatalogueEntry,
    DifferenceAnswer,
    HistoryAnswer,
    PricesAnswer,
    PricesBody,
    ProductBody,
    ProductPatchBody,
    ProductsBody,
    ProductsChangedAnswer,
    PutAnswer,
    given,
)
from everopen.api.shop import Shop
from everopen.base.money import EXPONENTS
from everopen.trading import catalogue, search, versions
from everopen.trading.orders import ProductsChanged
from everopen.trading.range import Price, ProductChange, Put, Stale
from everopen.trading.search import Wish

INTEGER_MAX = 2**31 - 1
FAR = datetime(9999, 1, 1, tzinfo=UTC)
COLUMNS = {"category": "category_id", "group": "group_id"}
"""Names in the API whose column is called otherwise."""


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
    version = await matched(call, sku, lambda: version_of(shop, sku))
    change = msgspec.structs.replace(
        change_of(shop, body, sku), version=UNSET if version is None else min(version, INTEGER_MAX)
    )
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
        raise _not_matched(sku, await version_of(shop, sku))
    if not isinstance(outcome, ProductsChanged):
        answers.refuse(outcome)
    found = await catalogue.find_product(shop.primary, shop.currency, sku, unpublished=True)
    if found is None:
        raise _missing(sku)
    return Answer(answers.entry(found), [*etag(found.version), *replay_header(outcome.replayed)])


async def version_of(shop: Shop, sku: str) -> int | None:
    """A product's version; None without such a product."""
    found = await catalogue.find_product(shop.primary, shop.currency, sku, unpublished=True)
    return None if found is None else found.version


async def matched(call: Call, sku: str, current: Callable[[], Awaitable[int | None]]) -> int | None:
    """The version that `If-Match` demands; None without the header, and for `*`. Raises a 404 or 412 `Refusal`."""
    asked = call.header(b"if-match").strip()
    if not asked or asked == "*":
        return None
    # A weak tag never matches (RFC 9110, 13.1.1).
    tags = [int(text) for text in re.findall(r'(?<!W/)"([0-9]{1,18})"', asked)]
    if len(tags) == 1:
        return tags[0]
    found = await current()
    if found is None:
        raise _missing(sku)
    if found in tags:
        return found
    raise _not_matched(sku, found)


def _not_matched(sku: str, version: int | None) -> Refusal:
    return Refusal(
        "precondition-failed",
        f"“{sku}” is at version {version or 0}; `If-Match` names another one.",
        headers=etag(version or 0),
    )


def _missing(sku: str) -> Refusal:
    return Refusal("not-found", f"The catalogue has no product “{sku[:80]}”.")


async def get_history(shop: Shop, call: Call) -> Answer:
    """Who changed what of a product, when and why."""
    sku = call.parameters["sku"]
    limit, after = read_page(call, "versions", tuple[int])
    before = None if after is None else min(after[0], INTEGER_MAX)
    found, following = await versions.history(shop.primary, sku, limit=limit, before=before)
    if not found and before is None:
        raise _missing(sku)
    token = None if following is None else encode("versions", (following,))
    return Answer(answers.history(sku, found, token, shop.currency))


async def get_prices(shop: Shop, call: Call) -> Answer:
    """The prices with validity of a product."""
    sku, at = call.parameters["sku"], as_of(call)
    version = await catalogue.prices_version(
        shop.primary, sku
    )  # first: prices that change now fail a PUT, never pass it
    if version is None:
        raise _missing(sku)
    found = await catalogue.find_prices(shop.primary, sku, at or FAR)
    return Answer(
        PricesAnswer(sku, [answers.price(price) for price in found]), [] if at is not None else etag(version)
    )


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
    version = await matched(call, sku, lambda: catalogue.prices_version(shop.primary, sku))
    outcome = await catalogue.put_prices(
        shop.primary,
        shop.currency,
        sku,
        prices,
        key=call.key,
        fingerprint=fingerprint("prices", sku, prices, reason),
        version=version,
        reason=reason,
    )
    if isinstance(outcome, Stale):
        raise _not_matched(sku, await catalogue.prices_version(shop.primary, sku))
    if not isinstance(outcome, Put):
        answers.refuse(outcome)
    return Answer(PutAnswer(outcome.items), replay_header(outcome.replayed))


def in_utc(time: datetime | None, where: str) -> datetime | None:
    """The same moment in UTC. Raises a 422 `Refusal`."""
    try:
        return None if time is None else time.astimezone(UTC)
    except OverflowError:
        raise Refusal("bad-input", f"`{where}` has a time that no calendar here has.") from None


async def get_catalogue_entry(shop: Shop, call: Call) -> Answer:
    """One product as staff keep it, published or not."""
    sku = call.parameters["sku"]
    found = await catalogue.find_product(shop.primary, shop.currency, sku, unpublished=True)
    if found is None:
        raise _missing(sku)
    return Answer(answers.entry(found), etag(found.version))


async def list_catalogue(shop: Shop, call: Call) -> Answer:
    """All products as staff keep them."""
    limit, after = read_page(call, "catalogue", tuple[str])
    place = None if after is None else (after[0], after[0])
    page = await search.find_products(
        shop.primary, shop.currency, Wish(unpublished=True), limit=limit + 1, sort="sku", after=place
    )
    shown, following = cut(page.products, limit, "catalogue", lambda product: (product.sku,))
    return Answer(CatalogueAnswer([answers.entry(product) for product in shown], following))


_IF_MATCH = Parameter(
    "If-Match", "The `ETag` that the change is made from; with another version: 412.", "header"
)
ROUTES: tuple[Route, ...] = (
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
        refusals=("not-found", "precondition-failed"),
        parameters=(SKU, _IF_MATCH),
        scope="catalogue:write",
        keyed=True,
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
        "GET",
        "/api/catalogue/{sku:path}",
        "getCatalogueEntry",
        "One product as staff keep it",
        get_catalogue_entry,
        CatalogueEntry,
        refusals=("not-found",),
        parameters=(SKU,),
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
"""Before those of `catalogue.py`: there an SKU is all that is left of the address."""
