"""Returns over HTTP: customers ask and change their minds, staff receive, refuse and inspect.

A customer's calls need nothing but the order's id, as for reading it: what they ask for moves no money by itself."""

from __future__ import annotations

import re

import msgspec

from everopen.api import answers, cursors
from everopen.api.catalogue import replay_header
from everopen.api.hot import fingerprint
from everopen.api.orders import ORDER, order_id, pieces, within_lines
from everopen.api.problems import Refusal
from everopen.api.routes import Answer, Call, Handler, Parameter, Route
from everopen.api.shapes_lifecycle import (
    InspectionBody,
    ReturnAnswer,
    ReturnBody,
    ReturnLineAnswer,
    ReturnNoteBody,
    ReturnsAnswer,
)
from everopen.api.shop import Shop
from everopen.trading import returns
from everopen.trading.orders import WrongState
from everopen.trading.returns import (
    Inspected,
    NoReturn,
    NotWithCustomer,
    Return,
    ReturnEvent,
    ReturnOutcome,
    TooLate,
)
from everopen.trading.states import RETURN_STATUSES

_RMA = re.compile(r"(?:RMA-)?([0-9]{1,15})", re.IGNORECASE).fullmatch


def rma_of(text: str) -> int | None:
    """The number in `RMA-000042` or `42`; None for what is neither."""
    found = _RMA(text)
    return None if found is None else int(found[1])


def _rma(call: Call) -> int:
    found = rma_of(call.parameters["rma"])
    if found is None:
        raise Refusal("not-found", "There is no such return.")
    return found


async def ask(shop: Shop, call: Call) -> Answer:
    """The customer wants to send goods back."""
    body: ReturnBody = call.body
    order = order_id(call)
    lines = pieces(shop, body.lines)
    return answered(
        await returns.request_return(
            shop.primary,
            shop.desk.settings,
            order,
            lines,
            key=call.key,
            fingerprint=fingerprint("return", order, lines, body.reason),
            reason=body.reason,
        )
    )


async def list_returns(shop: Shop, call: Call) -> Answer:
    """The returns of an order."""
    order = order_id(call)
    if await shop.order(order) is None:
        raise Refusal("not-found", "There is no such order.")
    return Answer(ReturnsAnswer([shown(one) for one in await returns.returns_of(shop.primary, order)]))


def _moves(event: ReturnEvent, actor: str) -> Handler:
    async def move(shop: Shop, call: Call) -> Answer:
        body: ReturnNoteBody = call.body
        order, rma = order_id(call), _rma(call)
        return answered(
            await returns.move_return(
                shop.primary,
                order,
                rma,
                event,
                key=call.key,
                fingerprint=fingerprint(event, order, rma, body.why),
                why=body.why,
                actor=actor,
            )
        )

    return move


async def inspect(shop: Shop, call: Call) -> Answer:
    """What was found in the parcel."""
    body: InspectionBody = call.body
    within_lines(shop, len(body.lines))
    order, rma = order_id(call), _rma(call)
    found = [Inspected(line.sku, line.good, line.damaged) for line in body.lines]
    return answered(
        await returns.inspect_return(
            shop.primary,
            order,
            rma,
            found,
            key=call.key,
            fingerprint=fingerprint("inspect", order, rma, found, body.shipping, body.why),
            shipping=body.shipping,
            why=body.why,
        )
    )


async def search(shop: Shop, call: Call) -> Answer:
    """Returns for staff, the newest first."""
    status, number = call.parameters.get("status"), call.parameters.get("rma", "")
    if status is not None and status not in RETURN_STATUSES:
        raise Refusal("bad-input", f"`status` is one of {', '.join(RETURN_STATUSES)}.")
    rma = rma_of(number) if number else None
    if number and rma is None:
        raise Refusal("bad-input", "`rma` is a number such as RMA-000042.")
    limit, after = cursors.read_page(call, "returns", tuple[int])
    before = after[0] if after else None
    if before is not None and not 0 <= before < 2**63:
        raise Refusal("bad-input", "`after` is no cursor of this list; take the `next` of the page before.")
    found = await returns.search_returns(shop.primary, status=status, rma=rma, before=before, limit=limit + 1)
    page, following = cursors.cut(found, limit, "returns", lambda one: (one.rma,))
    return Answer(ReturnsAnswer([shown(one) for one in page], following))


def answered(outcome: ReturnOutcome) -> Answer:
    """The return, or the refusal that the outcome stands for."""
    match outcome:
        case Return():
            return Answer(shown(outcome), replay_header(outcome.replayed))
        case NoReturn():
            raise Refusal("not-found", "The order has no such return.")
        case WrongState(status) if status in RETURN_STATUSES:
            raise Refusal(
                "conflict", f"The return is {status}; this cannot be done to it any more or not yet."
            )
        case WrongState(status):
            raise Refusal(
                "conflict",
                f"The order is {status.replace('_', ' ')}; nothing of it is with the customer to come back.",
            )
        case NotWithCustomer(sku="", available=0):
            raise Refusal("conflict", "Nothing of the order is left to send back.")
        case NotWithCustomer(sku, available, requested):
            raise Refusal(
                "conflict",
                f"“{sku}”: {requested:,} to come back, but only {available:,} were sent, are not given back and in no other return.",
            )
        case TooLate(days):
            raise Refusal(
                "conflict", f"Returns are possible for {days:g} days after the last parcel; these are over."
            )
    raise answers.refusal(outcome)


def shown(found: Return) -> ReturnAnswer:
    """A return as it is answered."""
    return ReturnAnswer(
        f"RMA-{found.rma:06d}",
        found.order_id,
        found.status,
        found.reason,
        found.note,
        found.requested_at,
        found.received_at,
        found.closed_at,
        found.refund_id,
        [ReturnLineAnswer(**msgspec.structs.asdict(line)) for line in found.lines],
    )


_NUMBER = Parameter("rma", "The return's number, such as RMA-000042.", "path")


def _move(event: ReturnEvent, name: str, summary: str, actor: str, scope: str) -> Route:
    return Route(
        "POST",
        f"/api/orders/{{id}}/returns/{{rma}}/{event}",
        name,
        summary,
        _moves(event, actor),
        ReturnAnswer,
        ReturnNoteBody,
        200,
        ("not-found", "conflict"),
        (ORDER, _NUMBER),
        scope=scope,
        keyed=True,
    )


ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/api/orders/{id}/returns",
        "requestReturn",
        "Ask to send goods back",
        ask,
        ReturnAnswer,
        ReturnBody,
        201,
        ("not-found", "conflict", "unknown-sku"),
        (ORDER,),
        keyed=True,
    ),
    Route(
        "GET",
        "/api/orders/{id}/returns",
        "listReturns",
        "The returns of an order",
        list_returns,
        ReturnsAnswer,
        refusals=("not-found",),
        parameters=(ORDER,),
    ),
    _move("withdraw", "withdrawReturn", "Keep the goods after all", "customer", ""),
    _move("receive", "receiveReturn", "Say that a return's parcel is here", "staff", "orders:write"),
    _move("refuse", "refuseReturn", "Say no to a return", "staff", "orders:write"),
    Route(
        "POST",
        "/api/orders/{id}/returns/{rma}/inspect",
        "inspectReturn",
        "Say what was found in a return's parcel, and give back the money of what is accepted",
        inspect,
        ReturnAnswer,
        InspectionBody,
        200,
        ("not-found", "conflict", "unknown-sku"),
        (ORDER, _NUMBER),
        scope="refunds:write",
        keyed=True,
    ),
    Route(
        "GET",
        "/api/returns",
        "searchReturns",
        "Find returns, the newest first",
        search,
        ReturnsAnswer,
        parameters=(
            Parameter("status", "Only returns in this state.", choices=RETURN_STATUSES),
            Parameter("rma", "Only the return with this number."),
            *cursors.page_parameters(),
        ),
        scope="orders:read",
    ),
)
