"""What a basket would cost now: prices, promotions, tax, shipping. Nothing is kept; the order names the total that it
expects, and the database makes sure of it."""

from __future__ import annotations

from everopen.api import answers
from everopen.api.hot import QUANTITY_MAX
from everopen.api.orders import within_lines
from everopen.api.problems import QUOTE_REFUSALS, Refusal
from everopen.api.routes import Answer, Call, Route
from everopen.api.shapes import QuoteAnswer, QuoteBody
from everopen.api.shop import Shop
from everopen.trading.orders import LineRequest
from everopen.trading.quoting import PricedQuote, QuoteRequest


async def quote(shop: Shop, call: Call) -> Answer:
    """What the lines of the body would cost."""
    body: QuoteBody = call.body
    within_lines(shop, len(body.lines))
    pieces: dict[str, int] = {}
    for line in body.lines:
        pieces[line.sku] = pieces.get(line.sku, 0) + line.quantity
        if pieces[line.sku] > QUANTITY_MAX:
            raise Refusal("bad-input", f"The lines of “{line.sku}” add up to more than {QUANTITY_MAX:,}.")
    shipping = body.shipping
    found = await shop.quote(
        QuoteRequest(
            lines=tuple(LineRequest(sku, quantity) for sku, quantity in pieces.items()),
            currency=body.currency,
            coupons=tuple(body.coupons),
            shipping_method=None if shipping is None else shipping.method,
            country=None if shipping is None else shipping.country,
        )
    )
    if not isinstance(found, PricedQuote):
        answers.refuse(found)
    return Answer(answers.quote(found))


ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/api/quotes",
        "quote",
        "What a basket would cost now",
        quote,
        QuoteAnswer,
        QuoteBody,
        refusals=("unknown-sku", "no-price", "conflict", *QUOTE_REFUSALS),
    ),
)
