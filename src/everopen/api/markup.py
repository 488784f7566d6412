"""The storefront's HTML: values in, text out, everything escaped.

Functions with f-strings instead of a template engine: five pages need no second language, mypy checks them, and a page can
do nothing but show what it is given. Whatever comes from the catalogue or a visitor goes through `esc`.
"""

from __future__ import annotations

import string
import urllib.parse
import zlib
from collections.abc import Sequence
from html import escape as esc
from importlib import resources

from msgspec import UnsetType

from everopen.api.shapes import (
    CartAnswer,
    CartLineAnswer,
    OrderAnswer,
    OrderLineAnswer,
    ShippingAnswer,
    TaxAnswer,
)
from everopen.api.shapes_range import ProductAnswer, ProductsAnswer
from everopen.base.money import EXPONENTS, Money, format_money

CSS = resources.files("everopen.api").joinpath("storefront.css").read_bytes()
CSS_PATH = f"/storefront-{zlib.crc32(CSS):08x}.css"
"""Changes with its content, so browsers may keep it for ever."""

ATTRIBUTION = (
    'Catalogue: <a href="https://archive.ics.uci.edu/dataset/352/online+retail">UCI Online Retail</a>, '
    '<a href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>'
)
TOKENS = {
    "tok_approve": "Test card that is approved",
    "tok_decline": "Test card that is declined",
    "tok_slow": "Test card that takes three seconds",
    "tok_lost": "Test card whose answer gets lost",
}
STATUS = {
    "placed": ("Placed", "Your order is safe with us. The payment is under way; this page renews itself."),
    "paid": ("Paid", "Thank you. Your payment has arrived."),
    "declined": ("Declined", "The payment was declined. Nothing was charged and the goods were released."),
    "cancelled": ("Cancelled", "The order was cancelled. What was charged, if anything, is given back."),
    "authorised": ("Confirmed", "Your bank has set the money aside; it is charged when the goods leave."),
    "partly_shipped": ("Partly shipped", "A part of your order is on its way; the rest follows."),
    "shipped": ("Shipped", "Your order is on its way."),
    "completed": ("Completed", "Your order has arrived. Thank you."),
    "returned": ("Returned", "All of it was given back."),
}
LOW = 10
LANGUAGE = "en"
format_money(0, "GBP", LANGUAGE)  # reads babel's data now: once its privileges are dropped a worker can't
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' height='32' "
    "rx='8' fill='%230e3d21'/%3E%3Cpath d='M22 11a8 8 0 1 0 0 10' fill='none' stroke='%238fd6a9' stroke-width='4'/%3E%3C/svg%3E"
)


def money(value: Money) -> str:
    """£1,234.50, ¥1,200, CHF 1,234.50: as the pages' language writes it."""
    if value.currency not in EXPONENTS:
        return str(value)
    shown = format_money(value.amount, value.currency, LANGUAGE)
    return shown.replace("-", "−").replace(value.currency, f"{value.currency}\N{NO-BREAK SPACE}")


def name_of(title: str) -> str:
    """Titles that shout (WHITE METAL LANTERN) in a calmer voice; others as they are."""
    return string.capwords(title) if title.isupper() else title


def product_path(sku: str) -> str:
    """The address of a product's page."""
    return "/products/" + urllib.parse.quote(sku, safe="")


def frame(title: str, body: str, *, shop_name: str, units: int = 0, query: str = "") -> bytes:
    """A whole page around `body`."""
    head, tail = (shop_name[:4], shop_name[4:]) if shop_name == "Everopen" else (shop_name, "")
    items = "" if units == 0 else " · 1 item" if units == 1 else f" · {units:,} items"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{esc(title)} · {esc(shop_name)}</title>
<link rel="icon" href="{_ICON}">
<link rel="stylesheet" href="{CSS_PATH}">
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="top"><div class="wrap">
<a class="brand" href="/">{esc(head)}<span>{esc(tail)}</span></a>
<form class="search" action="/" method="get" role="search">
<input type="search" name="q" value="{esc(query)}" placeholder="Search products" aria-label="Search products" maxlength="100">
<button>Search</button>
</form>
<a class="cart-link" href="/cart">Cart{items}</a>
</div></header>
<main id="main"><div class="wrap">
{body}
</div></main>
<footer><div class="wrap"><span>{ATTRIBUTION}</span><span>Demonstration shop: no goods are sent, no real money moves.
<a href="/api/openapi.json">API</a></span></div></footer>
</body>
</html>
""".encode()


def catalogue(
    found: ProductsAnswer,
    *,
    query: str,
    after: str,
    key: str,
    heading: str = "",
    kept: Sequence[tuple[str, str]] = (),
    toolbar: str = "",
    aside: str = "",
) -> str:
    """The grid of products with search and paging. `key`: the page's; each card's form makes its own of it. `kept`: how the
    list is narrowed, in the address of its other pages; `toolbar` and `aside` narrow it further."""
    lead = ""
    if query:
        heading = f"Results for “{esc(query)}”" + (f" in {esc(heading)}" if heading else "")
    elif heading:
        heading = esc(heading)
    else:
        heading, lead = "Everything for the house", "Small gifts and homeware, in stock and ready to go."
    if not found.products:
        inside = """<div class="empty"><p>Nothing was found.</p>
<p><a class="button quiet" href="/">Show all products</a></p></div>"""
    else:
        cards = "\n".join(_card(product, f"{key}-{number}") for number, product in enumerate(found.products))
        inside = f'<ul class="grid">{cards}</ul>\n{_paging(found, kept, after)}'
    top = f"<h1>{heading}</h1>" + (f'<p class="lead">{lead}</p>' if lead else "")
    if aside:
        return f'{top}\n<div class="browse">{aside}<div>{toolbar}{inside}</div></div>'
    return f"{top}\n{toolbar}{inside}"


def _paging(found: ProductsAnswer, kept: Sequence[tuple[str, str]], after: str) -> str:
    links = []
    if after:
        links.append(f'<a class="button quiet" href="{_page(kept, "")}">First page</a>')
    if found.next is not None:
        links.append(f'<a class="button" rel="next" href="{_page(kept, found.next)}">More products</a>')
    return f'<nav class="paging" aria-label="Pages">{"".join(links)}</nav>' if links else ""


def _page(kept: Sequence[tuple[str, str]], after: str) -> str:
    fields = [*kept, *([("after", after)] if after else [])]
    return esc("/" + (f"?{urllib.parse.urlencode(fields)}" if fields else ""))


def _card(product: ProductAnswer, key: str) -> str:
    path = esc(product_path(product.sku))
    can_buy = product.price is not None and product.available != 0
    button = (
        f"""<form action="/cart/lines" method="post"><input type="hidden" name="sku" value="{esc(product.sku)}">
<input type="hidden" name="key" value="{esc(key)}"><input type="hidden" name="quantity" value="1"><button aria-label="Add {esc(name_of(product.title))} to cart">Add</button></form>"""
        if can_buy
        else ""
    )
    return f"""<li class="card">{_tile(product, path)}<div class="text">
<a class="name" href="{path}">{esc(name_of(product.title))}</a>
<span class="sku">{esc(product.sku)}</span>{_stock(product.available)}
<div class="foot">{_price(product.price)}{button}</div></div></li>"""


def _tile(product: ProductAnswer, path: str | None = None) -> str:
    """The main picture; without one, the title's initials."""
    words = [word for word in product.title.split() if word[0].isalnum()][:2]
    initials = esc("".join(word[0] for word in words).upper() or "·")
    tone = f"tone-{zlib.crc32(product.sku.encode()) % 8}"
    if product.images:
        loading = "" if path is None else ' loading="lazy"'
        alt = esc(name_of(product.title)) if path is None else ""
        initials = f'<img src="{esc(product.images[0])}" alt="{alt}"{loading} referrerpolicy="no-referrer">'
        tone = "picture"
    if path is None:
        hidden = "" if product.images else ' aria-hidden="true"'
        return f'<div class="tile big {tone}"{hidden}>{initials}</div>{_more_pictures(product)}'
    return f'<a class="tile {tone}" href="{path}" aria-hidden="true" tabindex="-1">{initials}</a>'


def _more_pictures(product: ProductAnswer) -> str:
    title = esc(name_of(product.title))
    shown = "".join(
        f'<li><img src="{esc(image)}" alt="{title}, picture {number}" loading="lazy" referrerpolicy="no-referrer"></li>'
        for number, image in enumerate(product.images[1:], start=2)
    )
    return f'<ul class="pictures">{shown}</ul>' if shown else ""


def _price(price: Money | None) -> str:
    return f'<span class="price">{money(price) if price is not None else "On request"}</span>'


def _stock(available: int | None) -> str:
    if available is None:
        return ""
    if available <= 0:
        return '<span class="stock none">Sold out</span>'
    if available <= LOW:
        return f'<span class="stock low">Only {available} left</span>'
    return '<span class="stock">In stock</span>'


def product_page(
    product: ProductAnswer,
    *,
    key: str,
    email: str = "",
    quantity: str = "1",
    notice: str = "",
    crumbs: str = '<a href="/">← All products</a>',
    variants: str = "",
    facts: str = "",
    at_once: bool = True,
) -> str:
    """One product, with the form that buys it: at once where its price is all that there is to pay. `crumbs`, `variants` and `facts`: see `markup_range.py`."""
    description = f"<p>{esc(product.description)}</p>" if product.description else ""
    forms = ""
    if product.price is not None and product.available != 0:
        sku = f'<input type="hidden" name="sku" value="{esc(product.sku)}">'
        now = ""
        if at_once:
            now = f"""<input type="hidden" name="price" value="{product.price.amount}"><h2>Or buy it now</h2>{payer(email)}
<button class="wide">Buy now</button>"""
        most = 1_000_000 if product.available is None else max(product.available, 1)
        forms = f"""<div class="panel"><form action="/buy" method="post">{sku}<input type="hidden" name="key" value="{esc(key)}">
<div class="row"><div class="field"><label for="quantity">Quantity</label>
<input class="number" id="quantity" name="quantity" type="number" min="1" max="{most}" value="{esc(quantity)}" required></div>
<button class="quiet" formaction="/cart/lines" formnovalidate>Add to cart</button></div>
{now}</form></div>"""
    return f"""{_notice(notice)}<p class="back">{crumbs}</p>
<div class="two"><div>{_tile(product)}</div><div>
<h1>{esc(name_of(product.title))}</h1><p class="sku">SKU {esc(product.sku)}</p>
<p>{_price(product.price)} &nbsp; {_stock(product.available)}</p>{variants}{description}{facts}{forms}</div></div>"""


def payer(email: str) -> str:
    """The fields that every purchase needs."""
    choices = "".join(f'<option value="{token}">{text}</option>' for token, text in TOKENS.items())
    return f"""<div class="field"><label for="email">E-mail</label>
<input id="email" name="email" type="email" autocomplete="email" maxlength="254" value="{esc(email)}" required></div>
<div class="field"><label for="token">Payment</label><select id="token" name="token">{choices}</select>
<p class="hint">This shop charges a sandbox: pick how the payment should go.</p></div>"""


def cart_page(cart: CartAnswer, checkout: str, *, notice: str = "") -> str:
    """The cart with the checkout form (see `till.py`)."""
    if not cart.lines:
        return f"""{_notice(notice)}<h1>Your cart</h1><div class="empty"><p>There is nothing in it yet.</p>
<p><a class="button" href="/">Look around</a></p></div>"""
    rows = "".join(_cart_row(line) for line in cart.lines)
    return f"""{_notice(notice)}<h1>Your cart</h1><div class="two wide-left"><div class="panel">
<table class="stack"><thead><tr><th scope="col">Product</th><th scope="col">Quantity</th><th scope="col" class="num">Amount</th></tr></thead>
<tbody>{rows}</tbody><tfoot><tr><td colspan="2">Goods</td><td class="num">{money(cart.total)}</td></tr></tfoot></table></div>
<div class="panel"><h2>Checkout</h2>{checkout}</div></div>"""


def _cart_row(line: CartLineAnswer) -> str:
    sku, title = esc(line.sku), esc(name_of(line.title))
    short = line.available is not None and line.available < line.quantity
    left = ""
    if short:
        left = (
            '<br><span class="stock none">'
            + (f"Only {line.available} left" if line.available else "Sold out")
            + "</span>"
        )
    each = f"{money(line.unit_price)} each" if line.unit_price is not None else "No price"
    return f"""<tr><td><a class="name" href="{esc(product_path(line.sku))}">{title}</a><br><span class="sku">{sku} · {each}</span>{left}</td>
<td><form action="/cart/lines/set" method="post" class="row"><input type="hidden" name="sku" value="{sku}">
<input class="number" name="quantity" type="number" min="0" max="1000000" value="{line.quantity}" aria-label="Quantity of {title}" required>
<button class="quiet">Set</button><button class="quiet" name="remove" value="1" formnovalidate aria-label="Remove {title}">Remove</button></form></td>
<td class="num">{money(line.amount) if line.amount is not None else "–"}</td></tr>"""


def order_page(order: OrderAnswer, *, later: str = "", notice: str = "") -> str:
    """What was ordered and how it stands. `later`: see `markup_orders.py`."""
    label, sentence = STATUS[order.status]
    rows = "".join(_order_row(line) for line in order.lines)
    back = ""
    if isinstance(order.refunded, Money) and order.refunded.amount:
        back = f"<dt>Given back</dt><dd>{money(order.refunded)}</dd>"
    reference = f"<dt>Reference</dt><dd>{esc(order.reference)}</dd>" if order.reference else ""
    sums = "".join(
        f'<tr><td colspan="2">{label}</td><td class="num">{money(amount)}</td></tr>'
        for label, amount in order_sums(order.discount, order.shipping, order.tax)
    )
    return f"""{_notice(notice)}<h1>Your order <span class="badge {order.status}" role="status">{label}</span></h1><p class="lead">{sentence}</p>
<div class="two wide-left"><div class="panel"><table class="stack">
<thead><tr><th scope="col">Product</th><th scope="col" class="num">Price</th><th scope="col" class="num">Amount</th></tr></thead><tbody>{rows}</tbody>
<tfoot>{sums}<tr><td colspan="2">Total</td><td class="num">{money(order.total)}</td></tr></tfoot></table></div>
<div class="panel"><h2>Details</h2><dl><dt>Number</dt><dd>{order.id}</dd><dt>Placed</dt><dd>{order.placed_at:%-d %B %Y, %H:%M} UTC</dd>
<dt>E-mail</dt><dd>{esc(order.customer.email)}</dd>{reference}{back}</dl>
<p><a class="button quiet" href="/">Go on shopping</a></p></div></div>{later}"""


def order_sums(
    discount: Money | UnsetType, shipping: ShippingAnswer | UnsetType, tax: TaxAnswer | UnsetType
) -> list[tuple[str, Money]]:
    """What an order has beside its lines and its total, where there is any of it."""
    found: list[tuple[str, Money]] = []
    if isinstance(discount, Money) and discount.amount:
        found.append(("Discounts", Money(-discount.amount, discount.currency)))
    if isinstance(shipping, ShippingAnswer) and (shipping.method or shipping.amount.amount):
        found.append(("Shipping", shipping.amount))
    if isinstance(tax, TaxAnswer) and tax.amount.amount:
        found.append(("Tax, included" if tax.included else "Tax, added", tax.amount))
    return found


def _order_row(line: OrderLineAnswer) -> str:
    return f"""<tr><td><a class="name" href="{esc(product_path(line.sku))}">{esc(name_of(line.title))}</a><br><span class="sku">{esc(line.sku)}</span></td>
<td class="num">{line.quantity:,} × {money(line.unit_price)}</td><td class="num">{money(line.amount)}</td></tr>"""


def problem_page(title: str, detail: str, meaning: str = "") -> str:
    """Something that can't be shown or done."""
    more = f'<p class="lead">{esc(meaning)}</p>' if meaning else ""
    return f"""<h1>{esc(title)}</h1><div class="notice bad" role="alert"><p>{esc(detail)}</p></div>{more}
<p><a class="button" href="/">To the shop</a></p>"""


def _notice(text: str) -> str:
    return f'<div class="notice bad" role="alert"><p>{esc(text)}</p></div>' if text else ""
