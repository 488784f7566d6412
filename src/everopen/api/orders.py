"""Orders after they were placed: look one up, give money back, cancel, credit a sale from elsewhere."""

from __future__ import annotations

from uuid import UUID

from everopen.api import answers
from everopen.api.catalogue import replay_header
from everopen.api.hot import fingerprint, summed
from everopen.api.problems import QUOTE_REFUSALS, Refusal
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shapes import (
    CancelAnswer,
    CancelBody,
    CreditBody,
    LineBody,
    OrderAnswer,
    OrderBody,
    RefundAnswer,
    RefundBody,
)
from everopen.api.shop import Shop
from everopen.trading.orders import ORDER_TOTAL_MAX, Cancelled, Refunded, RefundLine


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
    """An order as it is now. Its id can't be guessed, and is what shows that one may see it."""
    return Answer(await one_order(shop, call))


async def refund_order(shop: Shop, call: Call) -> Answer:
    """Gives money back for lines of an order."""
    body: RefundBody = call.body
    order = order_id(call)
    within_lines(shop, len(body.lines))
    found: dict[str, int] = {}
    for line in body.lines:
        found[line.sku] = found.get(line.sku, 0) + line.quantity
    lines = [RefundLine(sku, quantity) for sku, quantity in found.items()]
    outcome = await shop.refund(
        order,
        lines,
        restock=body.restock,
        reason=body.reason,
        key=call.key,
        fingerprint=fingerprint("refund", order, lines, body.restock, body.reason),
    )
    if not isinstance(outcome, Refunded):
        answers.refuse(outcome)
    return Answer(answers.refunded(outcome), replay_header(outcome.replayed))


async def cancel_order(shop: Shop, call: Call) -> Answer:
    """Takes back an order that is not paid yet."""
    body: CancelBody = call.body
    order = order_id(call)
    outcome = await shop.cancel(
        order, reason=body.reason, key=call.key, fingerprint=fingerprint("cancel", order, body.reason)
    )
    if not isinstance(outcome, Cancelled):
        answers.refuse(outcome)
    return Answer(answers.cancelled(outcome), replay_header(outcome.replayed))


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


_ORDER = Parameter("id", "The order's id.", "path")
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
        "/api/orders/{id}",
        "getOrder",
        "An order as it is now",
        get_order,
        OrderAnswer,
        refusals=("not-found",),
        parameters=(_ORDER,),
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
        (_ORDER,),
        scope="refunds:write",
        keyed=True,
    ),
    Route(
        "POST",
        "/api/orders/{id}/cancel",
        "cancelOrder",
        "Take back an unpaid order",
        cancel_order,
        CancelAnswer,
        CancelBody,
        200,
        ("not-found", "conflict"),
        (_ORDER,),
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
