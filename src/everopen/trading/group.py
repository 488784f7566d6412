"""A group of orders as arguments of one SQL call, and the call's answer as one outcome per order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from everopen.trading.orders import (
    CartChanged,
    KeyReused,
    NoLines,
    OrderRequest,
    Outcome,
    PlacedLine,
    PlacedOrder,
    ReferenceTaken,
    SoldOut,
    TooDear,
    UnknownSku,
    Unpriced,
)


class Replay:
    """The key is known for this very request: the answer is in the order of that id."""

    __slots__ = ("order_id",)

    def __init__(self, order_id: UUID) -> None:
        self.order_id = order_id


def arguments(currency: str, lease_s: float, ids: Sequence[UUID], group: Sequence[OrderRequest]) -> list[Any]:
    """Arrays for `place_orders`; a fact that no order of the group has is NULL as a whole."""
    line_orders: list[int] = []
    line_numbers: list[int] = []
    skus: list[str] = []
    quantities: list[int] = []
    prices: list[int | None] = []
    references = carts = times = priced = False
    for ordinal, request in enumerate(group, 1):
        references = references or request.reference is not None
        carts = carts or request.cart_id is not None
        times = times or request.placed_at is not None
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
    ]


def outcomes(
    currency: str, ids: Sequence[UUID], group: Sequence[OrderRequest], row: Mapping[str, Any]
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
            lines = tuple(
                PlacedLine(line.sku, titles[at], line.quantity, prices[at], line.quantity * prices[at])
                for at, line in enumerate(request.lines, first)
            )
            answer.append(
                PlacedOrder(
                    id=ids[index],
                    currency=currency,
                    total=totals[index],
                    lines=lines,
                    email=request.email,
                    placed_at=request.placed_at or now,
                    reference=request.reference,
                )
            )
        elif code == 1:
            answer.append(Replay(row["o_replay_ids"][index]))
        else:
            answer.append(_refusal(code, index, first, request, row))
    return answer


def _refusal(code: int, index: int, first: int, request: OrderRequest, row: Mapping[str, Any]) -> Outcome:
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
        case _:
            return NoLines()


def _distinct(skus: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(skus))
