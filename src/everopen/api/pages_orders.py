"""Pages of an order: how it stands and what happened, the form that asks for a return, invoice and credit notes to print."""

from __future__ import annotations

from everopen.api import lifecycle, markup, markup_orders, returns
from everopen.api.hot import fingerprint
from everopen.api.orders import one_order
from everopen.api.pages import form_key, framed, key_after, said, see, whole
from everopen.api.problems import Headers, Refusal
from everopen.api.routes import Answer, Call, Route
from everopen.api.sessions import require_same_origin
from everopen.api.shop import Shop
from everopen.base.ids import secret_token
from everopen.trading import shipments, timeline
from everopen.trading.orders import RefundLine
from everopen.trading.returns import request_return, returns_of


async def order(shop: Shop, call: Call) -> Answer:
    """An order as it stands; renews itself until the payment has ended."""
    return await _order(shop, call)


async def _order(
    shop: Shop, call: Call, *, notice: str = "", status: int | None = None, key: str | None = None
) -> Answer:
    found = await one_order(shop, call)
    later = markup_orders.later(
        found,
        await timeline.timeline_of(shop.primary, found.id) or [],
        await shipments.shipments_of(shop.primary, found.id),
        await returns_of(shop.primary, found.id),
        await lifecycle.credit_notes(shop, call) if found.paid_at else [],
        key=key or secret_token(),
    )
    headers: Headers = [(b"refresh", b"2")] if found.status == "placed" else []
    body = markup.order_page(found, later=later, notice=notice)
    return await framed(shop, call, "Your order", body, headers=headers, status=status)


async def ask_return(shop: Shop, call: Call) -> Answer:
    """Takes the form of a return, then shows the order."""
    require_same_origin(call)
    form: dict[str, str] = call.body
    key = form_key(form, "return")
    try:
        found = await one_order(shop, call)
        lines = []
        if sku := form.get("sku", ""):
            quantity = whole(form.get("quantity", ""))
            if not isinstance(quantity, int) or not 1 <= quantity <= 1_000_000:
                raise Refusal("bad-input", "`quantity` must be a whole number of at least 1.")
            lines = [RefundLine(sku, quantity)]
        reason = form.get("reason", "")[:500]
        outcome = await request_return(
            shop.primary,
            shop.desk.settings,
            found.id,
            lines,
            key=key,
            fingerprint=fingerprint("return", found.id, lines, reason),
            reason=reason,
        )
        returns.answered(outcome)
    except Refusal as refusal:
        if refusal.name == "not-found":
            raise
        return await _order(
            shop, call, notice=said(refusal), status=refusal.status, key=key_after(refusal, key)
        )
    return see(f"/orders/{found.id}")


async def invoice(shop: Shop, call: Call) -> Answer:
    """The invoice, as one prints it."""
    found = await lifecycle.one_invoice(shop, call)
    return await framed(shop, call, f"Invoice {found.number}", markup_orders.paper(found))


async def credit_note(shop: Shop, call: Call) -> Answer:
    """A credit note, as one prints it."""
    for note in await lifecycle.credit_notes(shop, call):
        if note.number == call.parameters["number"]:
            return await framed(shop, call, f"Credit note {note.number}", markup_orders.paper(note))
    raise Refusal("not-found", "The order has no such credit note.")


ROUTES: tuple[Route, ...] = (
    Route("GET", "/orders/{id}", "orderPage", "An order", order, page=True),
    Route(
        "POST",
        "/orders/{id}/returns",
        "returnForm",
        "Ask to send goods back",
        ask_return,
        page=True,
        form=True,
    ),
    Route("GET", "/orders/{id}/invoice", "invoicePage", "An invoice", invoice, page=True),
    Route(
        "GET", "/orders/{id}/credit-notes/{number}", "creditNotePage", "A credit note", credit_note, page=True
    ),
)
