"""The part of an order's page that tells its later life, and invoices and credit notes as one prints them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as esc

from everopen.api.markup import money, name_of
from everopen.api.shapes import OrderAnswer
from everopen.base.money import Money
from everopen.trading.invoices import Document, DocumentLine
from everopen.trading.orders import Address
from everopen.trading.returns import Return
from everopen.trading.shipments import Shipment
from everopen.trading.timeline import Moment

RETURNABLE = ("partly_shipped", "shipped", "completed")
_RETURNS = {
    "requested": "Send it to us with this number on the parcel.",
    "received": "It is here; we look at it.",
    "inspected": "We have looked at it.",
    "withdrawn": "You keep the goods.",
    "refused": "We could not accept it.",
}


def later(
    order: OrderAnswer,
    moments: Sequence[Moment],
    parcels: Sequence[Shipment],
    sent_back: Sequence[Return],
    notes: Sequence[Document],
    *,
    key: str,
) -> str:
    """Parcels, returns, documents and the story."""
    told = "".join(
        f'<li><time datetime="{moment.at.isoformat()}">{moment.at:%-d %B %Y, %H:%M} UTC</time>{esc(moment.text)}</li>'
        for moment in moments
    )
    story = f'<div class="panel"><h2>What happened</h2><ol class="story">{told}</ol></div>'
    side = _documents(order, notes) + _parcels(parcels) + _returns(order, sent_back)
    if order.status in RETURNABLE:
        side += _return_form(order, key)
    beside = f'<div class="panel">{side}</div>' if side else ""
    return f'<div class="two wide-left later">{story}{beside}</div>'


def _documents(order: OrderAnswer, notes: Sequence[Document]) -> str:
    if not order.paid_at:
        return ""
    links = [f'<a class="button quiet" href="/orders/{order.id}/invoice">Invoice</a>']
    links += [
        f'<a class="button quiet" href="/orders/{order.id}/credit-notes/{note.number}">Credit note {esc(note.number)}</a>'
        for note in notes
    ]
    return f'<h2>Documents</h2><p class="links">{"".join(links)}</p>'


def _parcels(parcels: Sequence[Shipment]) -> str:
    if not parcels:
        return ""
    rows = "".join(
        f"<dt>Parcel {one.number}</dt><dd>{esc(' '.join(part for part in (one.carrier, one.tracking) if part) or 'on its way')}"
        f"<br>{_pieces([(line.title, line.quantity) for line in one.lines])}</dd>"
        for one in parcels
    )
    return f"<h2>Parcels</h2><dl>{rows}</dl>"


def _returns(order: OrderAnswer, sent_back: Sequence[Return]) -> str:
    if not sent_back:
        return ""
    rows = "".join(
        f"<dt>RMA-{one.rma:06d}</dt><dd>{_RETURNS[one.status]}<br>{_pieces([(line.title, line.quantity) for line in one.lines])}</dd>"
        for one in sent_back
    )
    return f"<h2>Returns</h2><dl>{rows}</dl>"


def _pieces(lines: Sequence[tuple[str, int]]) -> str:
    return f'<span class="sku">{", ".join(f"{quantity:,} × {esc(name_of(title))}" for title, quantity in lines)}</span>'


def _return_form(order: OrderAnswer, key: str) -> str:
    choices = "".join(
        f'<option value="{esc(line.sku)}">{esc(name_of(line.title))}</option>' for line in order.lines
    )
    return f"""<h2>Send something back</h2><form action="/orders/{order.id}/returns" method="post"><input type="hidden" name="key" value="{esc(key)}">
<div class="field"><label for="back-sku">What</label><select id="back-sku" name="sku"><option value="">All that I have</option>{choices}</select></div>
<div class="field"><label for="back-quantity">How many of it</label><input class="number" id="back-quantity" name="quantity" type="number" min="1" max="1000000" value="1"></div>
<div class="field"><label for="back-reason">Why</label><input id="back-reason" name="reason" maxlength="500"></div>
<button class="wide quiet">Ask for a return</button></form>"""


def paper(found: Document) -> str:
    """An invoice or a credit note."""
    title = "Invoice" if found.kind == "invoice" else "Credit note"
    seller = [esc(found.seller.name), esc(found.seller.address)]
    if found.seller.tax_number:
        seller.append(f"Tax number {esc(found.seller.tax_number)}")
    facts = [("Number", found.number), ("Issued", f"{found.issued_at:%-d %B %Y}")]
    if found.order_id is not None:
        facts.append(("Order", str(found.order_id)))
    if found.reference:
        facts.append(("Reference", found.reference))
    if found.paid_at is not None:
        facts.append(("Paid", f"{found.paid_at:%-d %B %Y}"))
    if found.invoice is not None:
        facts.append(("For invoice", found.invoice))
    if found.reason:
        facts.append(("Reason", found.reason))
    told = "".join(f"<dt>{name}</dt><dd>{esc(value)}</dd>" for name, value in facts)
    address = "\n".join(esc(part) for part in _address(found.ship_to))
    back = (
        f'<p class="back"><a href="/orders/{found.order_id}">← To the order</a></p>' if found.order_id else ""
    )
    sums = "".join(
        f'<tr><td colspan="3">{label}</td><td class="num">{_amount(found, amount)}</td></tr>'
        for label, amount in _sums(found)
    )
    rows = "".join(_row(found, line) for line in found.lines)
    return f"""{back}<article class="panel paper"><h1>{title} {esc(found.number)}</h1>
<div class="parties"><div><h2>From</h2><p>{chr(10).join(part for part in seller if part)}</p></div>
<div><h2>To</h2><p>{esc(found.email)}{chr(10) if address else ""}{address}</p></div></div>
<dl>{told}</dl>
<table><thead><tr><th scope="col">Product</th><th scope="col" class="num">Quantity</th><th scope="col" class="num">Tax</th>
<th scope="col" class="num">Amount</th></tr></thead><tbody>{rows}</tbody><tfoot>{sums}</tfoot></table></article>"""


def _address(to: Address | None) -> list[str]:
    if to is None:
        return []
    parts = [to.recipient, to.line1, to.line2, f"{to.postcode} {to.city}".strip(), to.region, to.country]
    return [part for part in parts if part]


def _row(found: Document, line: DocumentLine) -> str:
    off = f"<br>− {_amount(found, line.discount)} discount" if line.discount else ""
    rate = f"{line.tax_rate_bp / 100:g} %" if line.tax else "–"
    return f"""<tr><td>{esc(name_of(line.title))}<br><span class="sku">{esc(line.sku)} · {_amount(found, line.unit_price)} each{off}</span></td>
<td class="num">{line.quantity:,}</td><td class="num">{rate}</td><td class="num">{_amount(found, line.amount)}</td></tr>"""


def _sums(found: Document) -> list[tuple[str, int]]:
    rows = []
    if found.shipping:
        rows.append(
            (f"Shipping{f' ({esc(found.shipping_method)})' if found.shipping_method else ''}", found.shipping)
        )
    if found.waived:
        rows += [
            ("Ordered", found.total + found.waived),
            ("Not charged", -found.waived),
            ("Net", found.net),
            ("Tax", found.tax),
        ]
    else:
        rows.append(("Net", found.net))
        for rate in found.taxes:
            if rate.tax:
                of = (
                    "shipping"
                    if rate.rate_bp is None
                    else f"{rate.rate_bp / 100:g} % of {_amount(found, rate.net)}"
                )
                rows.append((f"Tax, {of}", rate.tax))
    rows.append(("Total" if found.kind == "invoice" else "Given back", found.total))
    return rows


def _amount(found: Document, amount: int) -> str:
    return money(Money(amount, found.currency))
