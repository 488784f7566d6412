"""The table of all calls: dispatch and the OpenAPI document are made from it."""

from __future__ import annotations

from functools import cache

from everopen import __version__
from everopen.api import carts, catalogue, orders, pages, shapes
from everopen.api.markup import CSS_PATH
from everopen.api.openapi import document
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shop import Shop

_SKU = Parameter("sku", "The product.", "path")
_ORDER = Parameter("id", "The order's id.", "path")
_LIST = (
    Parameter("limit", f"Products per page, 1 to {catalogue.LIMIT_MAX}; 50 by default.", kind="integer"),
    Parameter("after", "`next` of the page before."),
    Parameter("q", "Text to look for in titles and SKUs."),
)


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


# fmt: off
TABLE: tuple[Route, ...] = (
    # --- orders
    Route(
        "POST",
        "/api/orders",
        "placeOrder",
        "Place an order",
        None,
        shapes.OrderAnswer,
        shapes.OrderBody,
        201,
        (
            "sold-out",
            "unknown-sku",
            "unknown-provider",
            "no-price",
            "conflict",
            "no-operator",
            "not-operator",
        ),
        keyed=True,
    ),
    Route(
        "GET",
        "/api/orders/{id}",
        "getOrder",
        "An order as it is now",
        orders.get_order,
        shapes.OrderAnswer,
        refusals=("not-found",),
        parameters=(_ORDER,),
    ),
    Route(
        "POST",
        "/api/orders/{id}/refunds",
        "refundOrder",
        "Give money back for lines of an order",
        orders.refund_order,
        shapes.RefundAnswer,
        shapes.RefundBody,
        201,
        ("not-found", "conflict", "unknown-sku"),
        (_ORDER,),
        staff=True,
        keyed=True,
    ),
    Route(
        "POST",
        "/api/orders/{id}/cancel",
        "cancelOrder",
        "Take back an unpaid order",
        orders.cancel_order,
        shapes.CancelAnswer,
        shapes.CancelBody,
        200,
        ("not-found", "conflict"),
        (_ORDER,),
        staff=True,
        keyed=True,
    ),
    Route(
        "POST",
        "/api/credits",
        "credit",
        "Give money back for a sale from elsewhere",
        orders.credit,
        shapes.RefundAnswer,
        shapes.CreditBody,
        201,
        ("unknown-sku", "no-price", "conflict"),
        staff=True,
        keyed=True,
    ),
    # --- products and stock
    Route(
        "GET",
        "/api/products",
        "listProducts",
        "A page of products",
        catalogue.list_products,
        shapes.ProductsAnswer,
        refusals=("bad-input",),
        parameters=_LIST,
    ),
    Route(
        "PUT",
        "/api/products",
        "putProducts",
        "Add or change products",
        catalogue.put_products,
        shapes.ProductsChangedAnswer,
        shapes.ProductsBody,
        staff=True,
        keyed=True,
        batch=True,
    ),
    Route(
        "GET",
        "/api/products/{sku:path}",
        "getProduct",
        "One product with what is left",
        catalogue.get_product,
        shapes.ProductAnswer,
        refusals=("not-found",),
        parameters=(_SKU,),
    ),
    Route(
        "POST",
        "/api/stock/receipts",
        "receiveStock",
        "Book goods that arrived",
        catalogue.receive_stock,
        shapes.StockAnswer,
        shapes.ReceiptBody,
        201,
        ("unknown-sku",),
        staff=True,
        keyed=True,
        batch=True,
    ),
    Route(
        "POST",
        "/api/stock/corrections",
        "correctStock",
        "Book what a count found",
        catalogue.correct_stock,
        shapes.StockAnswer,
        shapes.CorrectionBody,
        201,
        ("unknown-sku", "sold-out"),
        staff=True,
        keyed=True,
        batch=True,
    ),
    # --- cart and checkout
    Route(
        "GET", "/api/cart", "getCart", "What lies in the session's cart", carts.get_cart, shapes.CartAnswer
    ),
    Route("DELETE", "/api/cart", "clearCart", "Empty the cart", carts.clear_cart, shapes.CartAnswer),
    Route(
        "POST",
        "/api/cart/lines",
        "addToCart",
        "Put more of a product into the cart",
        carts.add_line,
        shapes.CartAnswer,
        shapes.CartLineBody,
        refusals=("unknown-sku", "no-price", "conflict"),
        keyed=True,
    ),
    Route(
        "PATCH",
        "/api/cart/lines/{sku:path}",
        "setCartLine",
        "Set how many of a product are in the cart",
        carts.set_line,
        shapes.CartAnswer,
        shapes.QuantityBody,
        refusals=("not-found",),
        parameters=(_SKU,),
    ),
    Route(
        "DELETE",
        "/api/cart/lines/{sku:path}",
        "removeCartLine",
        "Take a product out of the cart",
        carts.remove_line,
        shapes.CartAnswer,
        parameters=(_SKU,),
    ),
    Route(
        "POST",
        "/api/checkout",
        "checkout",
        "Order what is in the cart",
        carts.checkout,
        shapes.OrderAnswer,
        shapes.CheckoutBody,
        201,
        ("sold-out", "empty-cart", "unknown-provider", "no-price", "conflict"),
        keyed=True,
    ),
    # --- the worker itself
    Route("GET", "/readyz", "ready", "Whether an order can be taken now", ready, shapes.Ready),
    Route("GET", "/api/openapi.json", "openapi", "This document", openapi, dict),
    # --- pages for people
    Route("GET", "/", "home", "Storefront", pages.home, page=True),
    Route("GET", "/products/{sku:path}", "productPage", "A product", pages.product, page=True),
    Route("GET", "/cart", "cartPage", "The cart", pages.cart, page=True),
    Route("GET", "/orders/{id}", "orderPage", "An order", pages.order, page=True),
    Route("GET", "/problems/{name}", "problemPage", "What a problem means", pages.problem, page=True),
    Route("GET", CSS_PATH, "stylesheet", "Style sheet", pages.stylesheet, page=True),
    Route("POST", "/buy", "buyForm", "Buy one product", pages.buy, page=True, form=True),
    Route("POST", "/cart/lines", "addForm", "Add to the cart", pages.add_to_cart, page=True, form=True),
    Route("POST", "/cart/lines/set", "setForm", "Change the cart", pages.set_in_cart, page=True, form=True),
    Route("POST", "/checkout", "checkoutForm", "Order the cart", pages.checkout, page=True, form=True),
)
# fmt: on
