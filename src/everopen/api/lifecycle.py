"""An order's later life over HTTP: parcels, arrival, its story, its invoice and credit notes.

An order's id can't be guessed, and is what shows that one may see it: whoever has it reads the story and the documents."""

from __future__ import annotations

import msgspec

from everopen.api import answers, answers_range
from everopen.api.catalogue import replay_header
from everopen.api.hot import fingerprint
from everopen.api.orders import ORDER, order_id, pieces
from everopen.api.problems import Refusal
from everopen.api.routes import Answer, Call, Route
from everopen.api.shapes_lifecycle import (
    CompleteAnswer,
    CompleteBody,
    CreditNotesAnswer,
    MomentAnswer,
    ShipmentAnswer,
    ShipmentBody,
    ShipmentsAnswer,
    ShippedLineAnswer,
    TimelineAnswer,
)
from everopen.api.shop import Shop
from everopen.trading import invoices, shipments, timeline
from everopen.trading.invoices import Document
from everopen.trading.shipments import Completed, Shipment, TooMany


async def ship(shop: Shop, call: Call) -> Answer:
    """A parcel leaves the house."""
    body: ShipmentBody = call.body
    order = order_id(call)
    lines = pieces(shop, body.lines)
    outcome = await shipments.ship(
        shop.primary,
        order,
        lines,
        carrier=body.carrier,
        tracking=body.tracking,
        key=call.key,
        fingerprint=fingerprint("shipment", order, lines, body.carrier, body.tracking, body.location),
        location=body.location,
    )
    match outcome:
        case Shipment():
            return Answer(_parcel(outcome), replay_header(outcome.replayed))
        case TooMany(sku="", available=0):
            raise Refusal("conflict", "Nothing of the order is left to send.")
        case TooMany(sku, available, requested):
            raise Refusal(
                "conflict",
                f"“{sku}”: {requested:,} to send, but only {available:,} are paid for, not given back and not sent yet.",
            )
    return answers_range.refuse(outcome, "order")


async def list_shipments(shop: Shop, call: Call) -> Answer:
    """The parcels of an order."""
    await _require_order(shop, call)
    found = await shipments.shipments_of(shop.primary, order_id(call))
    return Answer(ShipmentsAnswer([_parcel(one) for one in found]))


async def complete(shop: Shop, call: Call) -> Answer:
    """All of a shipped order has arrived."""
    body: CompleteBody = call.body
    order = order_id(call)
    outcome = await shipments.complete(
        shop.primary, order, key=call.key, fingerprint=fingerprint("complete", order, body.why), why=body.why
    )
    if not isinstance(outcome, Completed):
        answers.refuse(outcome)
    return Answer(CompleteAnswer(order), replay_header(outcome.replayed))


async def get_timeline(shop: Shop, call: Call) -> Answer:
    """What happened to an order."""
    order = order_id(call)
    found = await timeline.timeline_of(shop.primary, order)
    if found is None:
        raise Refusal("not-found", "There is no such order.")
    return Answer(TimelineAnswer(order, [MomentAnswer(one.at, one.what, one.text) for one in found]))


async def one_invoice(shop: Shop, call: Call) -> Document:
    """The invoice of the order in the path, issued now where it has none yet. Raises a 404 or 409 `Refusal`."""
    found = await invoices.invoice_of(shop.primary, shop.desk.settings, order_id(call))
    if not isinstance(found, Document):
        answers.refuse(found)
    return found


async def get_invoice(shop: Shop, call: Call) -> Answer:
    """The invoice of a paid order."""
    return Answer(await one_invoice(shop, call))


async def credit_notes(shop: Shop, call: Call) -> list[Document]:
    """The credit notes of the order in the path. Raises a 404 `Refusal`."""
    await _require_order(shop, call)
    return await invoices.credit_notes_of(shop.primary, shop.desk.settings, order_id(call))


async def list_credit_notes(shop: Shop, call: Call) -> Answer:
    """The credit notes of an order."""
    return Answer(CreditNotesAnswer(await credit_notes(shop, call)))


async def _require_order(shop: Shop, call: Call) -> None:
    if await shop.order(order_id(call)) is None:
        raise Refusal("not-found", "There is no such order.")


def _parcel(found: Shipment) -> ShipmentAnswer:
    lines = [ShippedLineAnswer(**msgspec.structs.asdict(line)) for line in found.lines]
    return ShipmentAnswer(
        found.order_id,
        found.number,
        found.carrier,
        found.tracking,
        found.shipped_at,
        found.delivered_at,
        lines,
    )


ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/api/orders/{id}/shipments",
        "shipOrder",
        "Send a parcel of a paid order",
        ship,
        ShipmentAnswer,
        ShipmentBody,
        201,
        ("not-found", "conflict", "unknown-sku", "unknown-location"),
        (ORDER,),
        scope="orders:write",
        keyed=True,
    ),
    Route(
        "GET",
        "/api/orders/{id}/shipments",
        "listShipments",
        "The parcels of an order",
        list_shipments,
        ShipmentsAnswer,
        refusals=("not-found",),
        parameters=(ORDER,),
    ),
    Route(
        "POST",
        "/api/orders/{id}/complete",
        "completeOrder",
        "Say that all of a shipped order has arrived",
        complete,
        CompleteAnswer,
        CompleteBody,
        200,
        ("not-found", "conflict"),
        (ORDER,),
        scope="orders:write",
        keyed=True,
    ),
    Route(
        "GET",
        "/api/orders/{id}/timeline",
        "getTimeline",
        "What happened to an order",
        get_timeline,
        TimelineAnswer,
        refusals=("not-found",),
        parameters=(ORDER,),
    ),
    Route(
        "GET",
        "/api/orders/{id}/invoice",
        "getInvoice",
        "The invoice of a paid order",
        get_invoice,
        Document,
        refusals=("not-found", "conflict"),
        parameters=(ORDER,),
    ),
    Route(
        "GET",
        "/api/orders/{id}/credit-notes",
        "listCreditNotes",
        "The credit notes of an order",
        list_credit_notes,
        CreditNotesAnswer,
        refusals=("not-found",),
        parameters=(ORDER,),
    ),
)
