"""A group of orders as arguments of one SQL call, and the call's answer as one outcome per order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from everopen.trading.orders import (
    Address,
    AppliedPromotion,
    CartChanged,
    Extras,
    KeyReused,
    NoLines,
    NotForSale,
    OrderRequest,
    Outcome,
    OverLimit,
    PlacedLine,
    PlacedOrder,
    PriceChanged,
    ReferenceTaken,
    SoldOut,
    Stale,
    TooDear,
    UnknownSku,
    Unpriced,
    Unquotable,
)
from everopen.trading.pricing.quote import Quote, recorded

_json = msgspec.json.Encoder().encode


class Replay:
    """The key is known for this very request: the answer is in the order of that id."""

    __slots__ = ("order_id",)

    def __init__(self, order_id: UUID) -> None:
        self.order_id = order_id


class Quoted(NamedTuple):
    """What a worker knows of an order's price: the version of the rules that it went by (None: they don't apply), and the
    quote, if the rules give or take anything."""

    version: int | None
    quote: Quote | None


PLAIN = Quoted(None, None)


def arguments(
    currency: str,
    lease_s: float,
    ids: Sequence[UUID],
    group: Sequence[OrderRequest],
    quotes: Sequence[Quoted] = (),
) -> list[Any]:
    """Arrays for `place_orders`; a fact that no order of the group has is NULL as a whole."""
    line_orders: list[int] = []
    line_numbers: list[int] = []
    skus: list[str] = []
    quantities: list[int] = []
    prices: list[int | None] = []
    references = carts = times = priced = extras = False
    for ordinal, request in enumerate(group, 1):
        references = references or request.reference is not None
        carts = carts or request.cart_id is not None
        times = times or request.placed_at is not None
        extras = extras or has_extras(request)
        for number, line in enumerate(request.lines, 1):
            line_orders.append(ordinal)
            line_numbers.append(number)
            skus.append(line.sku)
            quantities.append(line.quantity)
            prices.append(line.unit_price)
            priced = priced or line.unit_price is not None
    return [
        currency,
        timedelta(seconds=lease_s),
        ids,
        [request.key for request in group],
        [request.fingerprint for request in group],
        [request.email for request in group],
        [request.provider for request in group],
        [request.token for request in group],
        [request.reference for request in group] if references else None,
        [request.cart_id for request in group] if carts else None,
        [request.cart_version for request in group] if carts else None,
        [request.placed_at for request in group] if times else None,
        line_orders,
        line_numbers,
        skus,
        quantities,
        prices if priced else None,
        *(_extras(group) if extras else _NONE),
        *(_quotes(group, quotes) if quotes else _NO_QUOTES),
    ]


_NONE = (None,) * 5
_NO_QUOTES = (None,) * 13


def has_extras(request: OrderRequest) -> bool:
    """Whether an order has facts that most have not."""
    return (
        request.currency is not None
        or request.customer_id is not None
        or request.expected_total is not None
        or request.ship_to is not None
        or request.capture != "automatic"
    )


def _whole(column: list[Any]) -> list[Any] | None:
    return column if any(value is not None for value in column) else None


def _extras(group: Sequence[OrderRequest]) -> list[Any]:
    """Currencies, customers, kinds of payment, addresses, expected totals."""
    return [
        _whole([request.currency for request in group]),
        _whole([request.customer_id for request in group]),
        _whole([None if request.capture == "automatic" else "authorise" for request in group]),
        _whole([None if request.ship_to is None else _json(request.ship_to).decode() for request in group]),
        _whole([request.expected_total for request in group]),
    ]


def _quotes(group: Sequence[OrderRequest], quotes: Sequence[Quoted]) -> list[Any]:
    """Versions of the rules, then what the quotes say of orders, lines and coupons."""
    versions = _whole([version for version, _ in quotes])
    found = [quote for _, quote in quotes]
    if not any(found):
        return [versions, *_NO_QUOTES[1:]]
    lines = [
        line
        for request, quote in zip(group, found, strict=True)
        for line in (quote.lines if quote is not None else (None,) * len(request.lines))
    ]
    coupons = [
        (ordinal, coupon)
        for ordinal, quote in enumerate(found, 1)
        if quote is not None
        for coupon in quote.coupons
    ]
    return [
        versions,
        [quote and _json(recorded(quote)).decode() for quote in found],
        [quote and quote.total for quote in found],
        [quote and quote.shipping for quote in found],
        [quote and quote.shipping_tax for quote in found],
        [quote and quote.tax_added for quote in found],
        [quote and quote.shipping_method for quote in found],
        [line and line.unit_price for line in lines],
        [line and line.discount for line in lines],
        [line and line.tax for line in lines],
        [line and line.tax_rate_bp for line in lines],
        [ordinal for ordinal, _ in coupons] if coupons else None,
        [coupon for _, coupon in coupons] if coupons else None,
    ]


def outcomes(
    currency: str,
    ids: Sequence[UUID],
    group: Sequence[OrderRequest],
    row: Mapping[str, Any],
    quotes: Sequence[Quoted] = (),
) -> list[Outcome | Replay]:
    """One outcome per order, in the group's order."""
    codes, totals = row["o_codes"], row["o_totals"]
    prices, titles, now = row["o_prices"], row["o_titles"], row["o_now"]
    answer: list[Outcome | Replay] = []
    spot = 0
    for index, request in enumerate(group):
        first, spot = spot, spot + len(request.lines)
        code = codes[index]
        if code == 0:
            quote = quotes[index].quote if quotes else None
            if quote is None:
                lines = tuple(
                    PlacedLine(line.sku, titles[at], line.quantity, prices[at], line.quantity * prices[at])
                    for at, line in enumerate(request.lines, first)
                )
            else:
                lines = quoted_lines(quote, titles[first:spot])
            answer.append(
                PlacedOrder(
                    id=ids[index],
                    currency=request.currency or currency,
                    total=totals[index],
                    lines=lines,
                    email=request.email,
                    placed_at=request.placed_at or now,
                    reference=request.reference,
                    extras=None
                    if quote is None and request.ship_to is None
                    else extras_of(quote, request.ship_to),
                )
            )
        elif code == 1:
            answer.append(Replay(row["o_replay_ids"][index]))
        else:
            answer.append(_refusal(currency, code, index, first, request, row))
    return answer


def quoted_lines(quote: Quote, titles: Sequence[str]) -> tuple[PlacedLine, ...]:
    """Lines as the rules made them."""
    return tuple(
        PlacedLine(
            line.sku,
            title,
            line.quantity,
            line.unit_price,
            line.quantity * line.unit_price - line.discount + (line.tax if quote.tax_added else 0),
            line.discount,
            line.tax,
            line.tax_rate_bp,
        )
        for line, title in zip(quote.lines, titles, strict=True)
    )


def extras_of(quote: Quote | None, ship_to: Address | None) -> Extras:
    """What the order has beyond its lines."""
    if quote is None:
        return Extras(ship_to=ship_to)
    return Extras(
        discount=quote.discount,
        shipping=quote.shipping,
        shipping_tax=quote.shipping_tax,
        tax=quote.tax,
        tax_added=quote.tax_added,
        shipping_method=quote.shipping_method,
        ship_to=ship_to,
        applied=tuple(AppliedPromotion(found.label, found.amount) for found in quote.applied),
    )


def _refusal(
    currency: str, code: int, index: int, first: int, request: OrderRequest, row: Mapping[str, Any]
) -> Outcome:
    match code:
        case 2:
            return KeyReused()
        case 3:
            return SoldOut(
                row["o_detail_skus"][index],
                row["o_detail_available"][index],
                row["o_detail_requested"][index],
            )
        case 4:
            titles = row["o_titles"]
            return UnknownSku(
                _distinct(line.sku for at, line in enumerate(request.lines, first) if titles[at] is None)
            )
        case 5:
            prices = row["o_prices"]
            return Unpriced(
                _distinct(line.sku for at, line in enumerate(request.lines, first) if prices[at] is None)
            )
        case 6:
            return ReferenceTaken(request.reference or "")
        case 7:
            return CartChanged()
        case 13:
            return TooDear()
        case 14:
            return Stale()
        case 15:
            return PriceChanged(row["o_totals"][index], request.currency or currency)
        case 16:
            return NotForSale((row["o_detail_skus"][index],))
        case 17:
            return OverLimit(
                row["o_detail_skus"][index],
                row["o_detail_available"][index],
                row["o_detail_requested"][index],
            )
        case 18:
            return Unquotable("coupon-used-up", "The coupon has been used as often as it may be.")
        case _:
            return NoLines()


def _distinct(skus: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(skus))
