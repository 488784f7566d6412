"""Orders after they were placed: look one up, give money back, cancel, credit a sale from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from everopen.api import answers, cursors
from everopen.api.catalogue import replay_header
from everopen.api.hot import QUANTITY_MAX, fingerprint, summed
from everopen.api.problems import QUOTE_REFUSALS, Refusal
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shapes import (
    CancelAnswer,
    CancelBody,
    CreditBody,
    CustomerAnswer,
    LineBody,
    OrderAnswer,
    OrderBody,
    RefundAnswer,
    RefundBody,
    RefundLineBody,
)
from everopen.api.shapes_lifecycle import OrderRowAnswer, OrdersAnswer
from everopen.api.shop import Shop
from everopen.base.money import Money
from everopen.trading import refunds, timeline
from everopen.trading.orders import ORDER_TOTAL_MAX, Cancelled, Refunded, RefundLine
from everopen.trading.states import ORDER_STATUSES

WAIT_S_MAX = 20
"""How long a look at an order may wait for its payment; less than the gateway's patience."""


def order_id(call: Call) -> UUID:
    """The order's id in the path. Raises a 404 `Refusal` for what can't be one."""
    try:
        return UUID(call.parameters["id"])
    except ValueError:
        raise Refusal("not-found", "There is no such order.") from None


async def one_order(shop: Shop, call: Call) -> OrderAnswer:
    """The order of the path as it is now. Raises a 404 `Refusal`."""
    found = await shop.order(order_id(call))
    if found is None:
        raise Refusal("not-found", "There is no such order.")
    return answers.viewed(found)


async def get_order(shop: Shop, call: Call) -> Answer:
    """An order as it is now, or once its payment has ended. Its id can't be guessed, and is what shows that one may see it."""
    wait = call.parameters.get("wait", "0")
    if not (wait.isascii() and wait.isdigit() and int(wait[:4]) <= WAIT_S_MAX):
        raise Refusal("bad-input", f"`wait` must be a whole number of seconds from 0 to {WAIT_S_MAX}.")
    if wait == "0":
        return Answer(await one_order(shop, call))
    found = await shop.order_decided(order_id(call), float(wait))
    if found is None:
        raise Refusal("not-found", "There is no such order.")
    return Answer(answers.viewed(found))


async def refund_order(shop: Shop, call: Call) -> Answer:
    """Gives money back for lines of an order."""
    body: RefundBody = call.body
    order = order_id(call)
    lines = pieces(shop, body.lines)
    extra = ("shipping",) if body.shipping else ()
    outcome = await shop.refund(
        order,
        lines,
        restock=body.restock,
        reason=body.reason,
        shipping=body.shipping,
        key=call.key,
        fingerprint=fingerprint("refund", order, lines, body.restock, body.reason, *extra),
    )
    if not isinstance(outcome, Refunded):
        answers.refuse(outcome)
    return Answer(answers.refunded(outcome), replay_header(outcome.replayed))


async def cancel_order(shop: Shop, call: Call) -> Answer:
    """Takes back an order that is not paid yet, or pieces of a paid one that are still here."""
    body: CancelBody = call.body
    order = order_id(call)
    if body.lines:
        return await _cancel_pieces(shop, call, order, body)
    outcome = await shop.cancel(
        order, reason=body.reason, key=call.key, fingerprint=fingerprint("cancel", order, body.reason)
    )
    if not isinstance(outcome, Cancelled):
        answers.refuse(outcome)
    return Answer(answers.cancelled(outcome), replay_header(outcome.replayed))


async def _cancel_pieces(shop: Shop, call: Call, order: UUID, body: CancelBody) -> Answer:
    lines = pieces(shop, body.lines)
    outcome = await refunds.cancel_pieces(
        shop.primary,
        order,
        lines,
        key=call.key,
        fingerprint=fingerprint("cancel", order, lines, body.reason),
        reason=body.reason,
    )
    if not isinstance(outcome, Refunded):
        answers.refuse(outcome)
    now = await one_order(shop, call)
    answer = CancelAnswer(order, now.status, answers.refunded(outcome))
    return Answer(answer, replay_header(outcome.replayed))


async def search_orders(shop: Shop, call: Call) -> Answer:
    """Orders for staff, the newest first."""
    statuses = call.all("status")
    for status in statuses:
        if status not in ORDER_STATUSES:
            raise Refusal("bad-input", f"`status` is one of {', '.join(ORDER_STATUSES)}.")
    limit, after = cursors.read_page(call, "orders", tuple[UUID])
    found = await timeline.search_orders(
        shop.primary,
        statuses=statuses or None,
        email=call.parameters.get("email") or None,
        customer_id=_customer_id(call.parameters.get("customer", "")),
        since=_time(call, "from"),
        until=_time(call, "to"),
        before=after[0] if after else None,
        limit=limit + 1,
    )
    shown, following = cursors.cut(found, limit, "orders", lambda row: (row.id,))
    return Answer(OrdersAnswer([_row(row) for row in shown], following))


def _row(row: timeline.OrderRow) -> OrderRowAnswer:
    return OrderRowAnswer(
        row.id,
        row.status,
        Money(row.total, row.currency),
        row.units,
        CustomerAnswer(row.email),
        row.placed_at,
        row.reference,
    )


def _customer_id(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise Refusal("bad-input", "`customer` is the id of a customer.") from None


def _time(call: Call, name: str) -> datetime | None:
    text = call.parameters.get(name, "")
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refusal(
            "bad-input", f"`{name}` must be a date or a time such as 2026-11-23T08:26:00Z."
        ) from None


def pieces(shop: Shop, lines: Sequence[RefundLineBody]) -> list[RefundLine]:
    """So many of each SKU, summed. Raises a 422 `Refusal` for too many lines."""
    within_lines(shop, len(lines))
    found: dict[str, int] = {}
    for line in lines:
        found[line.sku] = found.get(line.sku, 0) + line.quantity
        if found[line.sku] > QUANTITY_MAX:
            raise Refusal("bad-input", f"The lines of “{line.sku}” add up to more than {QUANTITY_MAX:,}.")
    return [RefundLine(sku, quantity) for sku, quantity in found.items()]


async def credit(shop: Shop, call: Call) -> Answer:
    """Money back for a sale that this shop has no order of."""
    body: CreditBody = call.body
    within_lines(shop, len(body.lines))
    lines = summed([LineBody(line.sku, line.quantity, line.unit_price) for line in body.lines], shop.currency)
    if sum(line.quantity * line.unit_price.amount for line in body.lines) > ORDER_TOTAL_MAX:
        raise answers.too_dear("credit")
    outcome = await shop.credit(
        lines,
        email=body.customer.email,
        reason=body.reason,
        reference=body.reference,
        restock=body.restock,
        key=call.key,
        fingerprint=fingerprint(
            "credit", lines, body.customer.email, body.reason, body.reference, body.restock
        ),
    )
    if not isinstance(outcome, Refunded):
        answers.refuse(outcome)
    return Answer(answers.refunded(outcome), replay_header(outcome.replayed))


def within_lines(shop: Shop, count: int) -> None:
    """Raises a 422 `Refusal` for too many lines."""
    if count > shop.settings.lines_max:
        raise Refusal(
            "bad-input", f"`lines` has {count:,} entries; at most {shop.settings.lines_max:,} are possible."
        )


ORDER = Parameter("id", "The order's id.", "path")
ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/api/orders",
        "placeOrder",
        "Place an order",
        None,
        OrderAnswer,
        OrderBody,
        201,
        (
            "sold-out",
            "unknown-sku",
            "unknown-provider",
            "no-price",
            "conflict",
            "no-operator",
            "not-operator",
            "price-changed",
            "buyer-limit",
            *QUOTE_REFUSALS,
        ),
        keyed=True,
    ),
    Route(
        "GET",
        "/api/orders",
        "searchOrders",
        "Find orders, the newest first",
        search_orders,
        OrdersAnswer,
        parameters=(
            Parameter(
                "status", "Only orders in this state; may come more than once.", choices=ORDER_STATUSES
            ),
            Parameter("email", "Only orders of this address, in capitals or not."),
            Parameter("customer", "Only orders of this customer's id."),
            Parameter("from", "Only orders that were placed at this time or later."),
            Parameter("to", "Only orders that were placed before this time."),
            *cursors.page_parameters(),
        ),
        scope="orders:read",
    ),
    Route(
        "GET",
        "/api/orders/{id}",
        "getOrder",
        "An order as it is now",
        get_order,
        OrderAnswer,
        refusals=("not-found",),
        parameters=(
            ORDER,
            Parameter(
                "wait",
                "While its payment is under way, wait so many seconds for its end.",
                kind="integer",
                least=0,
                most=WAIT_S_MAX,
            ),
        ),
    ),
    Route(
        "POST",
        "/api/orders/{id}/refunds",
        "refundOrder",
        "Give money back for lines of an order",
        refund_order,
        RefundAnswer,
        RefundBody,
        201,
        ("not-found", "conflict", "unknown-sku"),
        (ORDER,),
        scope="refunds:write",
        keyed=True,
    ),
    Route(
        "POST",
        "/api/orders/{id}/cancel",
        "cancelOrder",
        "Take back an unpaid order, or pieces of a paid one that were not sent",
        cancel_order,
        CancelAnswer,
        CancelBody,
        200,
        ("not-found", "conflict", "unknown-sku"),
        (ORDER,),
        scope="orders:write",
        keyed=True,
    ),
    Route(
        "POST",
        "/api/credits",
        "credit",
        "Give money back for a sale from elsewhere",
        credit,
        RefundAnswer,
        CreditBody,
        201,
        ("unknown-sku", "no-price", "conflict"),
        scope="refunds:write",
        keyed=True,
    ),
)
