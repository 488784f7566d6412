"""The checkout form of the cart's page: what the cart comes to as the form stands, and what the shop's rules have it ask for.

The form sends back the total that it showed, so nobody pays another one: when it isn't the true one any more (another
country, a price that changed) the page comes back with the true one. A shop without rules asks for nothing but a card.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape as esc
from typing import Any, NamedTuple

from everopen.api import answers
from everopen.api.markup import money, order_sums, payer
from everopen.api.shapes import CartAnswer
from everopen.api.shop import Shop
from everopen.base.money import Money
from everopen.trading.orders import LineRequest
from everopen.trading.quoting import PricedQuote, QuoteRequest

ADDRESS = ("recipient", "line1", "city", "postcode", "country")
FIELDS = ("email", "coupon", "method", *ADDRESS)
_LABELS = {
    "recipient": ("Name", "name"),
    "line1": ("Street and number", "address-line1"),
    "city": ("Town", "address-level2"),
    "postcode": ("Postcode", "postal-code"),
    "country": ("Country (two letters)", "country"),
}


class Till(NamedTuple):
    """What the cart's page shows beside the cart."""

    total: Money | None
    """None: it can't be said yet."""
    sums: list[tuple[str, Money]]
    methods: list[tuple[str, str]]
    """Ways of shipping: code and label."""
    asks_coupon: bool
    asks_address: bool
    chosen: Mapping[str, str]
    """What the visitor has filled in."""
    why: str = ""
    """Why there is no total."""


async def till_of(shop: Shop, cart: CartAnswer, form: Mapping[str, str]) -> Till:
    """What a cart comes to as its form stands."""
    rules = await shop.desk.quoting.rules()
    methods = [(found.code, found.label) for found in rules.shipping_methods]
    chosen = {name: form.get(name, "").strip()[:200] for name in FIELDS}
    chosen["country"] = chosen["country"].upper() or rules.terms.home_country or ""
    if methods and chosen["method"] not in dict(methods):
        chosen["method"] = methods[0][0]
    blank = Till(None, [], methods, bool(rules.coupons), bool(methods or rules.tax_rates), chosen)
    found = await shop.quote(
        QuoteRequest(
            lines=tuple(LineRequest(line.sku, line.quantity) for line in cart.lines),
            coupons=(chosen["coupon"][:40],) if chosen["coupon"] else (),
            shipping_method=chosen["method"] or None,
            country=chosen["country"] or None,
        )
    )
    if not isinstance(found, PricedQuote):
        return blank._replace(why="" if not cart.lines else answers.refusal(found).detail)
    quote = answers.quote(found)
    return blank._replace(total=quote.total, sums=order_sums(quote.discount, quote.shipping, quote.tax))


def asked_of(form: Mapping[str, str], currency: str) -> dict[str, Any]:
    """What a sent form asks of the checkout beyond buyer and card."""
    asked: dict[str, Any] = {}
    if form.get("expected", "").isdecimal() and len(form["expected"]) < 16:
        asked["expected_total"] = {"amount": int(form["expected"]), "currency": currency}
    if form.get("coupon", "").strip():
        asked["coupons"] = [form["coupon"].strip()]
    if form.get("method") or form.get("country"):
        address = {name: form.get(name, "").strip() for name in ADDRESS}
        address["country"] = address["country"].upper()
        asked["shipping"] = {"method": form.get("method") or None, "address": address}
    return asked


def checkout_form(till: Till, *, key: str, email: str) -> str:
    """The form, with what it comes to."""
    rows = "".join(f"<dt>{label}</dt><dd>{money(amount)}</dd>" for label, amount in till.sums)
    sums = f"<dl>{rows}</dl>" if rows else ""
    # Where no total was shown none is expected: the first try shows it.
    shown = 0 if till.total is None else till.total.amount
    expected = f'<input type="hidden" name="expected" value="{shown}">'
    button = "Order and pay" if till.total is None else f"Order and pay {money(till.total)}"
    why = f'<p class="hint">{esc(till.why)}</p>' if till.why else ""
    again = '<button class="quiet" name="show" value="1" formnovalidate>Show the total</button>'
    return f"""<form action="/checkout" method="post"><input type="hidden" name="key" value="{esc(key)}">{expected}
{_coupon(till)}{_shipping(till)}{_address(till)}{payer(email)}{why}{sums}
{again if till.asks_coupon or till.asks_address else ""}<button class="wide">{button}</button></form>"""


def _coupon(till: Till) -> str:
    if not till.asks_coupon:
        return ""
    return f"""<div class="field"><label for="coupon">Coupon</label>
<input id="coupon" name="coupon" maxlength="40" autocomplete="off" value="{esc(till.chosen["coupon"])}"></div>"""


def _shipping(till: Till) -> str:
    if not till.methods:
        return ""
    choices = "".join(
        f'<option value="{esc(code)}"{" selected" if code == till.chosen["method"] else ""}>{esc(label)}</option>'
        for code, label in till.methods
    )
    return (
        f'<div class="field"><label for="method">Shipping</label><select id="method" name="method">{choices}'
        "</select></div>"
    )


def _address(till: Till) -> str:
    if not till.asks_address:
        return ""
    return "".join(
        f"""<div class="field"><label for="{name}">{label}</label>
<input id="{name}" name="{name}" autocomplete="{hint}" maxlength="{2 if name == "country" else 200}" value="{esc(till.chosen[name])}"
{"" if name == "postcode" else "required"}></div>"""
        for name, (label, hint) in _LABELS.items()
    )
