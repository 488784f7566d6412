"""Products: what anybody can look up, and what staff change of the catalogue and of stock."""

from __future__ import annotations

from everopen.api import answers
from everopen.api.hot import fingerprint
from everopen.api.problems import Refusal
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shapes import (
    CorrectionBody,
    ProductAnswer,
    ProductsAnswer,
    ProductsBody,
    ProductsChangedAnswer,
    ReceiptBody,
    StockAnswer,
)
from everopen.api.shop import Shop
from everopen.trading.orders import ProductInput, ProductsChanged, StockChanged, StockItem

LIMIT_MAX = 200
QUERY_MAX = 100


async def list_products(shop: Shop, call: Call) -> Answer:
    """A page of products in the order of their SKUs."""
    limit = call.parameters.get("limit", "50")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= LIMIT_MAX):
        raise Refusal("bad-input", f"`limit` must be a whole number from 1 to {LIMIT_MAX}.")
    return Answer(await page_of(shop, call, int(limit)))


async def page_of(shop: Shop, call: Call, limit: int) -> ProductsAnswer:
    """Products that match `q`, after the SKU `after`."""
    query, after = call.parameters.get("q", "").strip(), call.parameters.get("after", "")
    if len(query) > QUERY_MAX or len(after) > QUERY_MAX:
        raise Refusal("bad-input", f"`q` and `after` have at most {QUERY_MAX} characters.")
    found = await shop.products(
        query=query, after=after, limit=limit + 1
    )  # one more tells whether there is a next page
    shown = [answers.product(product) for product in found[:limit]]
    return ProductsAnswer(shown, shown[-1].sku if len(found) > limit else None)


async def one_product(shop: Shop, sku: str) -> ProductAnswer:
    """One product. Raises a 404 `Refusal`."""
    found = await shop.product(sku) if 0 < len(sku) <= 64 else None
    if found is None:
        raise Refusal("not-found", f"The catalogue has no product “{sku[:80]}”.")
    return answers.product(found)


async def get_product(shop: Shop, call: Call) -> Answer:
    """One product with what is left of it."""
    return Answer(await one_product(shop, call.parameters["sku"]))


async def put_products(shop: Shop, call: Call) -> Answer:
    """Adds or changes products."""
    body: ProductsBody = call.body
    within_batch(shop, "products", len(body.products))
    seen: set[str] = set()
    items = []
    for index, product in enumerate(body.products):
        if product.sku in seen:
            raise Refusal("bad-input", f"`products[{index}].sku`: “{product.sku}” is in the batch twice.")
        seen.add(product.sku)
        if product.price is not None and product.price.currency != shop.currency:
            raise Refusal("bad-input", f"`products[{index}].price` must be in {shop.currency}.")
        price = None if product.price is None else product.price.amount
        items.append(
            ProductInput(product.sku, product.title, price, product.description, product.tracks_stock)
        )
    outcome = await shop.upsert_products(items, key=call.key, fingerprint=fingerprint("products", items))
    if not isinstance(outcome, ProductsChanged):
        answers.refuse(outcome)
    return Answer(answers.products_changed(outcome), replay_header(outcome.replayed))


async def receive_stock(shop: Shop, call: Call) -> Answer:
    """Books goods that arrived."""
    body: ReceiptBody = call.body
    items = _items(shop, [(item.sku, item.quantity) for item in body.items])
    outcome = await shop.receive_stock(
        items, reason=body.reason, key=call.key, fingerprint=fingerprint("receipt", items, body.reason)
    )
    if not isinstance(outcome, StockChanged):
        answers.refuse(outcome)
    return Answer(answers.stock_changed(outcome), replay_header(outcome.replayed))


async def correct_stock(shop: Shop, call: Call) -> Answer:
    """Books what a count found."""
    body: CorrectionBody = call.body
    items = _items(shop, [(item.sku, item.delta) for item in body.items])
    outcome = await shop.correct_stock(
        items, reason=body.reason, key=call.key, fingerprint=fingerprint("correction", items, body.reason)
    )
    if not isinstance(outcome, StockChanged):
        answers.refuse(outcome)
    return Answer(answers.stock_changed(outcome), replay_header(outcome.replayed))


def _items(shop: Shop, pairs: list[tuple[str, int]]) -> list[StockItem]:
    within_batch(shop, "items", len(pairs))
    found: dict[str, int] = {}
    for sku, quantity in pairs:
        found[sku] = found.get(sku, 0) + quantity
    return [StockItem(sku, quantity) for sku, quantity in found.items() if quantity]


def within_batch(shop: Shop, name: str, count: int) -> None:
    """Raises a 422 `Refusal` for a batch that is too long."""
    if count > shop.settings.batch_items_max:
        raise Refusal(
            "bad-input",
            f"`{name}` has {count:,} entries; at most {shop.settings.batch_items_max:,} fit one batch.",
        )


def replay_header(replayed: bool) -> list[tuple[bytes, bytes]]:
    """Says that the key was answered before."""
    return [(b"idempotency-replayed", b"true")] if replayed else []


_SKU = Parameter("sku", "The product.", "path")
_LIST = (
    Parameter("limit", f"Products per page, 1 to {LIMIT_MAX}; 50 by default.", kind="integer"),
    Parameter("after", "`next` of the page before."),
    Parameter("q", "Text to look for in titles and SKUs."),
)
ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/api/products",
        "listProducts",
        "A page of products",
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
        scope="catalogue:write",
        keyed=True,
        batch=True,
    ),
    Route(
        "GET",
        "/api/products/{sku:path}",
        "getProduct",
        "One product with what is left",
        get_product,
        ProductAnswer,
        refusals=("not-found",),
        parameters=(_SKU,),
    ),
    Route(
        "POST",
        "/api/stock/receipts",
        "receiveStock",
        "Book goods that arrived",
        receive_stock,
        StockAnswer,
        ReceiptBody,
        201,
        ("unknown-sku",),
        scope="stock:write",
        keyed=True,
        batch=True,
    ),
    Route(
        "POST",
        "/api/stock/corrections",
        "correctStock",
        "Book what a count found",
        correct_stock,
        StockAnswer,
        CorrectionBody,
        201,
        ("unknown-sku", "sold-out"),
        scope="stock:write",
        keyed=True,
        batch=True,
    ),
)
