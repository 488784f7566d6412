"""Outcomes of trading as HTTP: an answer, or a refusal with a sentence for the buyer.

Pure functions from values to values. Nothing is decided here: the outcome already says what happened.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec
from msgspec import UNSET

from everopen.api.problems import Refusal
from everopen.api.shapes import (
    AddressBody,
    AppliedAnswer,
    CancelAnswer,
    CartAnswer,
    CartLineAnswer,
    CustomerAnswer,
    OrderAnswer,
    OrderLineAnswer,
    QuoteAnswer,
    RefundAnswer,
    ShippingAnswer,
    TaxAnswer,
)
from everopen.base.money import Money
from everopen.trading import orders as trading
from everopen.trading.group import extras_of, quoted_lines
from everopen.trading.quoting import PricedQuote

SKUS_SHOWN = 20
"""A sentence names so many SKUs at most; the document's `skus` has all."""


def placed(order: trading.PlacedOrder) -> OrderAnswer:
    """The order as it was accepted."""
    if order.extras is not None:
        return _with_extras(placed(msgspec.structs.replace(order, extras=None)), order.extras, order.currency)
    return OrderAnswer(
        order.id,
        order.status,  # type: ignore[arg-type]  # trading answers a plain str here
        Money(order.total, order.currency),
        lines(order.lines, order.currency),
        CustomerAnswer(order.email),
        order.placed_at,
        order.reference,
    )


def viewed(order: trading.OrderView) -> OrderAnswer:
    """The order as it is now."""
    if order.extras is not None:
        return _with_extras(viewed(msgspec.structs.replace(order, extras=None)), order.extras, order.currency)
    return OrderAnswer(
        order.id,
        order.status,
        Money(order.total, order.currency),
        lines(order.lines, order.currency),
        CustomerAnswer(order.email),
        order.placed_at,
        order.reference,
        Money(order.refunded, order.currency),
        order.paid_at,
    )


def lines(found: tuple[trading.PlacedLine, ...], currency: str) -> list[OrderLineAnswer]:
    """Lines with their money."""
    return [
        OrderLineAnswer(
            line.sku,
            line.title,
            line.quantity,
            Money(line.unit_price, currency),
            Money(line.amount, currency),
        )
        if line.tax_rate_bp is None
        else OrderLineAnswer(
            line.sku,
            line.title,
            line.quantity,
            Money(line.unit_price, currency),
            Money(line.amount, currency),
            Money(line.discount, currency),
            Money(line.tax, currency),
            line.tax_rate_bp,
        )
        for line in found
    ]


def _with_extras(answer: OrderAnswer, extras: trading.Extras, currency: str) -> OrderAnswer:
    """The answer with what the rules made of the order, and where it goes."""
    return msgspec.structs.replace(
        answer,
        discount=Money(extras.discount, currency),
        tax=TaxAnswer(Money(extras.tax, currency), not extras.tax_added),
        shipping=_shipping(extras, currency),
        promotions=_promotions(extras, currency),
    )


def _shipping(extras: trading.Extras, currency: str) -> ShippingAnswer:
    address = extras.ship_to
    return ShippingAnswer(
        Money(extras.shipping, currency),
        extras.shipping_method,
        None if address is None else AddressBody(**msgspec.structs.asdict(address)),
    )


def _promotions(extras: trading.Extras, currency: str) -> list[AppliedAnswer]:
    return [AppliedAnswer(found.label, Money(found.amount, currency)) for found in extras.applied]


def quote(found: PricedQuote) -> QuoteAnswer:
    """What a basket would cost."""
    currency = found.quote.currency
    extras = extras_of(found.quote, None)
    return QuoteAnswer(
        Money(found.quote.total, currency),
        Money(found.quote.goods, currency),
        Money(extras.discount, currency),
        TaxAnswer(Money(extras.tax, currency), not extras.tax_added),
        _shipping(extras, currency),
        _promotions(extras, currency),
        lines(quoted_lines(found.quote, found.titles), currency),
    )


def cart(found: trading.Cart | None, currency: str) -> CartAnswer:
    """A cart at today's prices; None is the empty one of a visitor without a session."""
    shown = [
        CartLineAnswer(
            line.sku,
            line.title,
            line.quantity,
            None if line.unit_price is None else Money(line.unit_price, currency),
            None if line.unit_price is None else Money(line.unit_price * line.quantity, currency),
            line.available,
            None if line.price_was is None else Money(line.price_was, currency),
            line.short,
        )
        for line in (found.lines if found is not None else ())
    ]
    total = sum(line.amount.amount for line in shown if line.amount is not None)
    return CartAnswer(shown, sum(line.quantity for line in shown), Money(total, currency))


def refunded(found: trading.Refunded) -> RefundAnswer:
    """A refund or a stand-alone credit."""
    return RefundAnswer(
        found.id,
        found.order_id,
        Money(found.amount, found.currency),
        lines(found.lines, found.currency),
        found.reason,
        found.reference,
        found.created_at,
        Money(found.shipping, found.currency) if found.shipping else UNSET,
        Money(found.tax, found.currency) if found.tax else UNSET,
    )


def cancelled(found: trading.Cancelled) -> CancelAnswer:
    """A cancelled order."""
    return CancelAnswer(found.order_id)


def refuse(outcome: msgspec.Struct) -> NoReturn:
    """Raises the refusal that an outcome stands for."""
    raise refusal(outcome)


def refusal(outcome: msgspec.Struct) -> Refusal:
    """The refusal that an outcome stands for."""
    match outcome:
        case trading.SoldOut(sku, available, requested):
            left = (
                "none is left"
                if available <= 0
                else f"{available:,} {'is' if available == 1 else 'are'} left"
            )
            return Refusal(
                "sold-out",
                f"{_name(sku)}: {requested:,} requested, {left}. Nothing was changed.",
                sku=sku,
                available=available,
                requested=requested,
            )
        case trading.UnknownSku(skus):
            return Refusal("unknown-sku", f"The catalogue does not have {_names(skus)}.", skus=skus)
        case trading.Unpriced(skus):
            return Refusal("no-price", f"The catalogue has no price for {_names(skus)}.", skus=skus)
        case trading.NotTracked(skus):
            return Refusal(
                "bad-input", f"{_names(skus)} has no stock to change (postage, fees, discounts).", skus=skus
            )
        case trading.KeyReused():
            return Refusal(
                "key-reused", "This `Idempotency-Key` was already used for another request. Use a fresh key."
            )
        case trading.ReferenceTaken(reference):
            return Refusal("conflict", f"The reference {_name(reference)} is already taken.")
        case trading.CartChanged():
            return Refusal("conflict", "The cart was changed meanwhile. Look at it again, then check out.")
        case trading.CartFull(most):
            return Refusal("conflict", f"That is more than a cart holds: at most {most:,}.")
        case trading.TooDear():
            return too_dear("order")
        case trading.PriceChanged(total, currency):
            now = Money(total, currency)
            return Refusal("price-changed", f"The order comes to {now} now. Nothing was changed.", total=now)
        case trading.NotForSale(skus):
            return Refusal("not-for-sale", f"{_names(skus)} is not for sale at the moment.", skus=skus)
        case trading.OverLimit(sku, left, requested):
            more = "no more" if left == 0 else f"only {left:,} more"
            return Refusal(
                "buyer-limit",
                f"{_name(sku)}: {requested:,} requested, but you may buy {more} of it. Nothing was changed.",
                sku=sku,
                available=left,
                requested=requested,
            )
        case trading.Unquotable(reason, detail):
            return Refusal(reason, detail)
        case trading.PricesMoving():
            return Refusal("conflict", "Prices are being changed at this very moment. Try again.")
        case trading.NoLines():
            return Refusal("empty-cart", "The cart is empty; there is nothing to check out.")
        case trading.NotFound():
            return Refusal("not-found", "There is no such order.")
        case trading.WrongState(status, why):
            stands = why or "this cannot be done to it any more or not yet"
            return Refusal("conflict", f"The order is {status.replace('_', ' ')}; {stands}.")
        case trading.TooMuch(sku="", refundable=0):
            return Refusal("conflict", "Nothing of the order is left for this.")
        case trading.TooMuch(sku, refundable, requested):
            return Refusal(
                "conflict",
                f"{_name(sku)}: {requested:,} to give back, but only {refundable:,} were sold and not yet given back.",
            )
    raise TypeError(f"No problem document is known for {type(outcome).__name__}.")


def too_dear(what: str) -> Refusal:
    """A 422 for more money than one order or credit may come to."""
    return Refusal(
        "bad-input",
        f"The {what} comes to more than {trading.ORDER_TOTAL_MAX:,} minor units, the most that one may.",
    )


def _name(text: str) -> str:
    return f"“{text}”"


def _names(skus: tuple[str, ...]) -> str:
    shown = ", ".join(_name(sku) for sku in skus[:SKUS_SHOWN])
    return shown if len(skus) <= SKUS_SHOWN else f"{shown} and {len(skus) - SKUS_SHOWN} more"
