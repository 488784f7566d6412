"""The storefront: pages for people, made on the server, working without JavaScript.

Forms follow post-redirect-get, and each form that buys or adds to the cart carries its own idempotency key: a double
click, a reload or a gateway that sends it again counts once. A form that is refused comes back as the page it was on, with the reason on top.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from everopen.api import answers, markup, markup_range
from everopen.api.bodies import explain
from everopen.api.carts import add, cart_of, check_out, set_to
from everopen.api.catalogue import one_product, page_of
from everopen.api.hot import order_request
from everopen.api.problems import PROBLEMS, Headers, Refusal
from everopen.api.range import categories_of, group_of
from everopen.api.routes import Answer, Call, Route
from everopen.api.sessions import customer_of, require_same_origin, session_of
from everopen.api.shapes import CartLineBody, CheckoutBody, OrderBody
from everopen.api.shapes_range import FacetsAnswer, ProductAnswer
from everopen.api.shop import Shop
from everopen.api.till import asked_of, checkout_form, till_of
from everopen.base.ids import secret_token
from everopen.base.money import EXPONENTS
from everopen.trading.orders import PlacedOrder

T = TypeVar("T")
PROVIDER = "sandbox"
_HTML = (b"content-type", b"text/html; charset=utf-8")
SECURITY: Headers = [
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self' data: https: http:; form-action 'self'; base-uri 'none'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
_PAGE: Headers = [_HTML, (b"cache-control", b"no-store"), *SECURITY]
_KEY = re.compile(r"[A-Za-z0-9_-]{20,80}").fullmatch


async def framed(shop: Shop, call: Call, title: str, body: str, **extra: Any) -> Answer:
    """A page of the shop around a body."""
    units = extra.pop("units", None)
    if units is None:
        units = (await cart_of(shop, call)).units if session_of(call) is not None else 0
    content = markup.frame(
        title, body, shop_name=shop.settings.shop_name, units=units, query=extra.pop("query", "")
    )
    return Answer(content, [*_PAGE, *extra.pop("headers", ())], extra.pop("status", None))


def see(path: str, headers: Headers | None = None) -> Answer:
    """Sends the browser to another page, after a form was taken."""
    return Answer(b"", [(b"location", path.encode()), (b"cache-control", b"no-store"), *(headers or ())], 303)


async def home(shop: Shop, call: Call) -> Answer:
    """Products with search, categories, filters and paging."""
    for name, limit in (("from", "price_min"), ("to", "price_max")):
        call.parameters[limit] = minor(call.parameters.get(name, ""), shop.currency)
    kept = markup_range.kept(call.query)
    narrowed = any(name != "sort" for name, _ in kept)
    found = await page_of(shop, call, shop.settings.page_products, facets=narrowed)
    categories = await categories_of(shop)
    query, after = call.parameters.get("q", "").strip(), call.parameters.get("after", "")
    chosen = next((item.name for item in categories if item.id == call.parameters.get("category")), "")
    facets = found.facets if isinstance(found.facets, FacetsAnswer) else None
    body = markup.catalogue(
        found,
        query=query,
        after=after,
        key=secret_token(),
        heading=chosen,
        kept=kept,
        toolbar=markup_range.toolbar(kept, shop.currency),
        aside=markup_range.aside(kept, categories, facets),
    )
    title = f"Results for “{query}”" if query else chosen or "Products"
    return await framed(shop, call, title, body, query=query)


def minor(text: str, currency: str) -> str:
    """A price that a person typed (12, 12.50 or 12,50), in minor units. Raises a 422 `Refusal`."""
    found = re.fullmatch(r"\s*([0-9]{1,9})(?:[.,]([0-9]{1,4}))?\s*", text)
    digits = EXPONENTS[currency]
    if found is None:
        if text.strip():
            raise Refusal("bad-input", "A price to look for is a number such as 12.50.")
        return ""
    return str(int(found[1] + (found[2] or "")[:digits].ljust(digits, "0")))


async def product(shop: Shop, call: Call) -> Answer:
    """One product, with the form that buys it."""
    found = await one_product(shop, call.parameters["sku"])
    return await _product(shop, call, found)


async def _product(shop: Shop, call: Call, found: ProductAnswer, **extra: Any) -> Answer:
    shown = {name: extra.pop(name) for name in ("email", "quantity", "notice") if name in extra}
    categories = await categories_of(shop) if found.category is not None else []
    variants = ""
    if found.group is not None and (group := await group_of(shop, found.group)) is not None:
        variants = markup_range.variants(found, group.variants, group.varies_by)
    rules = await shop.desk.quoting.rules()
    body = markup.product_page(
        found,
        key=extra.pop("key", None) or secret_token(),
        crumbs=markup_range.crumbs(found, categories),
        variants=variants,
        facts=markup_range.facts(found),
        at_once=rules.empty,
        **shown,
    )
    return await framed(shop, call, markup.name_of(found.title), body, **extra)


async def buy(shop: Shop, call: Call) -> Answer:
    """Buys one product at once."""
    require_same_origin(call)
    form: dict[str, str] = call.body
    key = form_key(form)
    quantity, price = whole(form.get("quantity", "")), whole(form.get("price", ""))
    shown = {}
    if isinstance(quantity, int) and isinstance(price, int):
        shown["expected_total"] = {"amount": quantity * price, "currency": shop.currency}
    try:
        asked = _read(
            OrderBody,
            {
                "lines": [{"sku": form.get("sku"), "quantity": quantity}],
                **shown,
                "customer": {"email": form.get("email", "").strip()},
                "payment": {"provider": PROVIDER, "token": form.get("token")},
            },
        )
        request = order_request(
            asked,
            key,
            currency=shop.currency,
            lines_max=shop.settings.lines_max,
            providers=shop.providers,
        )
        customer_id = await customer_of(shop, call.headers.get(b"cookie", b""))
        outcome = await shop.place(msgspec.structs.replace(request, customer_id=customer_id))
        if isinstance(outcome, PlacedOrder):
            return see(f"/orders/{outcome.id}")
        answers.refuse(outcome)
    except Refusal as refusal:
        return await _refused_product(shop, call, form, refusal, key)


async def _refused_product(
    shop: Shop, call: Call, form: dict[str, str], refusal: Refusal, key: str
) -> Answer:
    found = await one_product(shop, form.get("sku", ""))
    return await _product(
        shop,
        call,
        found,
        email=form.get("email", "")[:254],
        quantity=form.get("quantity", "1")[:9],
        notice=said(refusal),
        status=refusal.status,
        key=key_after(refusal, key),
    )


async def cart(shop: Shop, call: Call) -> Answer:
    """The cart with the checkout form."""
    return await _cart(shop, call)


async def _cart(shop: Shop, call: Call, form: dict[str, str] | None = None, **extra: Any) -> Answer:
    found, form = await cart_of(shop, call), form or {}
    shown = await till_of(shop, found, form)
    key, email = extra.pop("key", None) or secret_token(), form.get("email", "")[:254]
    body = markup.cart_page(found, checkout_form(shown, key=key, email=email), notice=extra.pop("notice", ""))
    return await framed(shop, call, "Your cart", body, units=found.units, **extra)


async def add_to_cart(shop: Shop, call: Call) -> Answer:
    """Puts a product into the cart, then shows the cart."""
    require_same_origin(call)
    form: dict[str, str] = call.body
    key = form_key(form, "cart")
    try:
        asked = _read(CartLineBody, {"sku": form.get("sku"), "quantity": whole(form.get("quantity", ""))})
        _, headers = await add(shop, call, asked.sku, asked.quantity, key=key)
    except Refusal as refusal:
        return await _refused_product(shop, call, form, refusal, key)
    return see("/cart", headers)


async def set_in_cart(shop: Shop, call: Call) -> Answer:
    """Changes or removes a line of the cart."""
    require_same_origin(call)
    form: dict[str, str] = call.body
    try:
        wanted = 0 if "remove" in form else whole(form.get("quantity", ""))
        if wanted == 0:
            await set_to(shop, call, form.get("sku", ""), 0)
        else:
            asked = _read(CartLineBody, {"sku": form.get("sku"), "quantity": wanted})
            await set_to(shop, call, asked.sku, asked.quantity)
    except Refusal as refusal:
        return await _cart(shop, call, notice=said(refusal), status=refusal.status)
    return see("/cart")


async def checkout(shop: Shop, call: Call) -> Answer:
    """Orders the cart."""
    require_same_origin(call)
    form: dict[str, str] = call.body
    if "show" in form:
        return await _cart(shop, call, form)
    key = form_key(form)
    try:
        asked = _read(
            CheckoutBody,
            {
                "customer": {"email": form.get("email", "").strip()},
                "payment": {"provider": PROVIDER, "token": form.get("token")},
                **asked_of(form, shop.currency),
            },
        )
        order = await check_out(shop, call, asked, key=key)
    except Refusal as refusal:
        return await _cart(
            shop,
            call,
            form,
            notice=said(refusal),
            status=refusal.status,
            key=key_after(refusal, key),
        )
    return see(f"/orders/{order.id}")


async def problem(shop: Shop, call: Call) -> Answer:
    """What the `type` of a problem document means."""
    kind = PROBLEMS.get(call.parameters["name"])
    if kind is None:
        raise Refusal("not-found", "There is no such kind of problem.")
    body = markup.problem_page(kind.title, f"Status {kind.status}", kind.meaning)
    return await framed(shop, call, kind.title, body)


async def stylesheet(_shop: Shop, _call: Call) -> Answer:
    """The style sheet; its address changes with its content."""
    return Answer(
        markup.CSS,
        [
            (b"content-type", b"text/css; charset=utf-8"),
            (b"cache-control", b"public, max-age=31536000, immutable"),
            (b"x-content-type-options", b"nosniff"),
        ],
    )


def problem_answer(refusal: Refusal, shop_name: str) -> tuple[int, Headers, bytes]:
    """A refusal as a page, for people."""
    kind = PROBLEMS[refusal.name]
    content = markup.frame(kind.title, markup.problem_page(kind.title, refusal.detail), shop_name=shop_name)
    return kind.status, [*_PAGE, *refusal.headers, (b"content-length", b"%d" % len(content))], content


def form_key(form: dict[str, str], kind: str = "form") -> str:
    """The key of a form. A page has one key and may have two buttons (buy, add to the cart); they must not meet in it."""
    key = form.get("key", "")
    if _KEY(key) is None:
        raise Refusal("bad-input", "The form has lost its key; open the page again and send it from there.")
    return f"{kind}-{key}"


def key_after(refusal: Refusal, key: str) -> str | None:
    """After a clear refusal the next try is a new purchase; while the outcome is unknown it is the same one."""
    return key.partition("-")[2] if refusal.name == "unavailable" else None


def said(refusal: Refusal) -> str:
    """A refusal for people: without the back quotes that field names carry."""
    if refusal.name == "key-reused":
        return "This page was already sent once, with something else in it. Look whether all is right, then send it again."
    return re.sub(
        r"`(?:lines\[\d+\]|customer|payment)?\.?(\w+)`", lambda found: found[1].capitalize(), refusal.detail
    )


def whole(text: str) -> int | str:
    """A form's number; other text stays, and is refused with its type."""
    stripped = text.strip()
    return int(stripped) if re.fullmatch(r"-?[0-9]{1,15}", stripped) else text


def _read(kind: type[T], fields: dict[str, Any]) -> T:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise explain(str(error)) from None


ROUTES: tuple[Route, ...] = (
    Route("GET", "/", "home", "Storefront", home, page=True),
    Route("GET", "/products/{sku:path}", "productPage", "A product", product, page=True),
    Route("GET", "/cart", "cartPage", "The cart", cart, page=True),
    Route("GET", "/problems/{name}", "problemPage", "What a problem means", problem, page=True),
    Route("GET", markup.CSS_PATH, "stylesheet", "Style sheet", stylesheet, page=True),
    Route("POST", "/buy", "buyForm", "Buy one product", buy, page=True, form=True),
    Route("POST", "/cart/lines", "addForm", "Add to the cart", add_to_cart, page=True, form=True),
    Route("POST", "/cart/lines/set", "setForm", "Change the cart", set_in_cart, page=True, form=True),
    Route("POST", "/checkout", "checkoutForm", "Order the cart", checkout, page=True, form=True),
)
