"""Carts and checkout. A cart belongs to a session (a cookie), lives in the store, and is emptied by the very transaction
that accepts its order: a buyer never holds both the order and the full cart, nor neither."""

from __future__ import annotations

import time
from uuid import UUID

from everopen.api import answers
from everopen.api.catalogue import replay_header
from everopen.api.hot import extras_of, fingerprint, require_provider
from everopen.api.problems import QUOTE_REFUSALS, Headers, Refusal
from everopen.api.quotas import client_of
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.sessions import new_session, session_of
from everopen.api.shapes import CartAnswer, CartLineBody, CheckoutBody, OrderAnswer, QuantityBody
from everopen.api.shop import Shop
from everopen.base.ids import uuid7
from everopen.trading.carts import AddOutcome
from everopen.trading.orders import (
    Cart,
    CartChanged,
    LineRequest,
    OrderRequest,
    PlacedOrder,
    UnknownSku,
)

TRIES = 5
"""A cart that changes under its checkout is read again so often."""


async def cart_of(shop: Shop, call: Call) -> CartAnswer:
    """The visitor's cart; an empty one without a session."""
    cart_id = await find_cart_id(shop, call)
    return answers.cart(None if cart_id is None else await shop.cart(cart_id), shop.currency)


async def find_cart_id(shop: Shop, call: Call) -> UUID | None:
    """The cart of the visitor's session; None without a session that is still known."""
    session = await shop.session(session_of(call))
    return None if session is None else session.cart_id


def changed(shop: Shop, outcome: AddOutcome) -> CartAnswer:
    """The cart after a change. Raises a `Refusal`."""
    if not isinstance(outcome, Cart):
        answers.refuse(outcome)
    return answers.cart(outcome, shop.currency)


async def get_cart(shop: Shop, call: Call) -> Answer:
    """What lies in the cart."""
    return Answer(await cart_of(shop, call))


async def add_line(shop: Shop, call: Call) -> Answer:
    """Puts more of a product into the cart."""
    body: CartLineBody = call.body
    cart, headers = await add(shop, call, body.sku, body.quantity, key=call.key)
    return Answer(cart, headers)


async def add(shop: Shop, call: Call, sku: str, quantity: int, *, key: str) -> tuple[CartAnswer, Headers]:
    """The cart with the product in it (added once per key), and the cookie of a new session. Raises a `Refusal`."""
    cart_id, headers, token = await find_cart_id(shop, call), Headers(), None
    if cart_id is None:
        shop.quotas.require(
            "sessions", client_of(call.headers.get(b"x-forwarded-for", b"")), time.monotonic()
        )
        cart_id = uuid7()
        token, headers = new_session(days=shop.session_days, secure=shop.settings.secure_cookies)
        if not shop.sessions.beside_carts and await shop.product(sku) is None:
            answers.refuse(UnknownSku((sku,)))  # no session for what can't be put into its cart
    outcome = await shop.add_to_cart(
        cart_id, sku, quantity, key=key, fingerprint=fingerprint("cart", sku, quantity), new_session=token
    )
    cart = changed(shop, outcome)
    return cart, [*headers, *replay_header(isinstance(outcome, Cart) and outcome.replayed)]


async def set_line(shop: Shop, call: Call) -> Answer:
    """Sets how many of a product are in the cart."""
    body: QuantityBody = call.body
    return Answer(await set_to(shop, call, call.parameters["sku"], body.quantity))


async def set_to(shop: Shop, call: Call, sku: str, quantity: int) -> CartAnswer:
    """The cart with so many of a product that lies in it; 0 takes it out, and taking out what is not in it is no error
    (the gateway may send it twice). Raises a `Refusal`."""
    cart_id = await find_cart_id(shop, call)
    outcome = UnknownSku((sku,)) if cart_id is None else await shop.set_cart_line(cart_id, sku, quantity)
    if isinstance(outcome, UnknownSku) and quantity == 0:
        return answers.cart(None if cart_id is None else await shop.cart(cart_id), shop.currency)
    if isinstance(outcome, UnknownSku):
        raise Refusal("not-found", f"“{sku[:80]}” does not lie in the cart.")
    return changed(shop, outcome)


async def remove_line(shop: Shop, call: Call) -> Answer:
    """Takes a product out of the cart."""
    return Answer(await set_to(shop, call, call.parameters["sku"], 0))


async def clear_cart(shop: Shop, call: Call) -> Answer:
    """Empties the cart."""
    cart_id = await find_cart_id(shop, call)
    if cart_id is not None:
        await shop.clear_cart(cart_id)
    return Answer(answers.cart(None, shop.currency))


async def checkout(shop: Shop, call: Call) -> Answer:
    """Orders what is in the cart."""
    order = await check_out(shop, call, call.body, key=call.key)
    headers = [(b"location", f"/api/orders/{order.id}".encode()), *replay_header(order.replayed)]
    return Answer(answers.placed(order), headers)


async def check_out(shop: Shop, call: Call, body: CheckoutBody, *, key: str) -> PlacedOrder:
    """Places the order of the visitor's cart, for the customer who is logged in. The fingerprint leaves the lines out: the
    same key after success finds an empty cart, and must give the same answer. Raises a `Refusal`."""
    email, payment = body.customer.email, body.payment
    require_provider(payment.provider, shop.providers)
    extras, meaning = extras_of(body, shop.currency)
    session = await shop.session(session_of(call))
    if session is None:
        raise Refusal("empty-cart", "There is no session with a cart; put something into the cart first.")
    mark = fingerprint(
        "checkout", session.cart_id, email, payment.provider, payment.token, body.reference, *meaning
    )
    for _ in range(TRIES):
        cart = await shop.cart(session.cart_id)
        outcome = await shop.place(
            OrderRequest(
                key=key,
                fingerprint=mark,
                lines=tuple(LineRequest(line.sku, line.quantity) for line in cart.lines),
                email=email,
                provider=payment.provider,
                token=payment.token,
                reference=body.reference,
                cart_id=session.cart_id,
                cart_version=cart.version,
                customer_id=session.customer_id,
                **extras,
            )
        )
        if isinstance(outcome, PlacedOrder):
            return outcome
        if not isinstance(outcome, CartChanged):
            answers.refuse(outcome)
    raise answers.refusal(CartChanged())


_SKU = Parameter("sku", "The product.", "path")
ROUTES: tuple[Route, ...] = (
    Route("GET", "/api/cart", "getCart", "What lies in the session's cart", get_cart, CartAnswer),
    Route("DELETE", "/api/cart", "clearCart", "Empty the cart", clear_cart, CartAnswer),
    Route(
        "POST",
        "/api/cart/lines",
        "addToCart",
        "Put more of a product into the cart",
        add_line,
        CartAnswer,
        CartLineBody,
        refusals=("unknown-sku", "not-for-sale", "no-price", "conflict"),
        keyed=True,
    ),
    Route(
        "PATCH",
        "/api/cart/lines/{sku:path}",
        "setCartLine",
        "Set how many of a product are in the cart",
        set_line,
        CartAnswer,
        QuantityBody,
        refusals=("not-found",),
        parameters=(_SKU,),
    ),
    Route(
        "DELETE",
        "/api/cart/lines/{sku:path}",
        "removeCartLine",
        "Take a product out of the cart",
        remove_line,
        CartAnswer,
        parameters=(_SKU,),
    ),
    Route(
        "POST",
        "/api/checkout",
        "checkout",
        "Order what is in the cart",
        checkout,
        OrderAnswer,
        CheckoutBody,
        201,
        (
            "sold-out",
            "empty-cart",
            "unknown-provider",
            "no-price",
            "conflict",
            "price-changed",
            "buyer-limit",
            *QUOTE_REFUSALS,
        ),
        keyed=True,
    ),
)
