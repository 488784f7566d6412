"""Invoices and credit notes, with numbers that have no gaps.

Orders are not made to wait for the one row that hands out numbers: a job invoices what was paid, in the order of payment, in
batches, and one order is invoiced at once when somebody asks for it. What was printed is kept: a change of the seller's
address, or of this code, changes no document that exists. (A number from a sequence, taken when the order is placed, was
turned down: a transaction that fails takes its number with it, and tax offices ask for the missing one.)"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import Address, NotFound, WrongState
from everopen.trading.settings import TradingSettings

SQL = load_statements("everopen.trading", "documents.sql")
BATCH = 500


class Seller(msgspec.Struct, frozen=True):
    """Who sells."""

    name: str
    address: str = ""
    tax_number: str = ""


class DocumentLine(msgspec.Struct, frozen=True):
    """A line. `amount` is what it comes to with discount, and with tax where the prices have it or it was added."""

    sku: str
    title: str
    quantity: int
    unit_price: int
    discount: int
    tax_rate_bp: int
    tax: int
    amount: int


class TaxSum(msgspec.Struct, frozen=True):
    """Net and tax of all that has one rate, in basis points; None: shipping."""

    rate_bp: int | None
    net: int
    tax: int


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice or a credit note as it was issued. All amounts are minor units of `currency`; those of a credit note are
    what is given back."""

    number: str
    kind: Literal["invoice", "credit_note"]
    issued_at: datetime
    seller: Seller
    email: str
    ship_to: Address | None = None
    order_id: UUID | None
    refund_id: UUID | None = None
    invoice: str | None = None
    """Of a credit note: the invoice that it is about."""
    reference: str | None = None
    reason: str = ""
    ordered_at: datetime | None = None
    paid_at: datetime | None = None
    given_back_at: datetime | None = None
    currency: str
    lines: list[DocumentLine]
    shipping: int = 0
    """With its tax, where that is in the prices or was added."""
    shipping_tax: int = 0
    shipping_method: str | None = None
    tax_added: bool = False
    """Whether tax came on top of the prices; else it is in them."""
    taxes: list[TaxSum] = []
    waived: int = 0
    """Of an invoice: what was authorised and never captured. It is taken off net and tax; `taxes` are those before it."""
    net: int
    tax: int
    total: int


_decode = msgspec.json.Decoder(Document).decode


async def issue_documents(primary: Primary, settings: TradingSettings) -> str:
    """A round of issuing: invoices for what was paid, credit notes for what was given back. Safe to run anywhere, at any time,
    by many at once. Says what was done."""
    invoices = notes = 0
    seller = _seller(settings)
    issued = 1
    begins = True
    while issued and invoices < settings.documents_max:
        arguments = (None, settings.invoice_series, seller, BATCH, begins)
        issued = await primary.run(
            lambda connection, given=arguments: connection.fetchval(SQL["issue_invoices"], *given)  # type: ignore[misc]
        )
        invoices += issued
        begins = False
    issued = 1
    while issued and notes < settings.documents_max:
        issued = await primary.run(
            lambda connection: connection.fetchval(
                SQL["issue_credit_notes"],
                None,
                settings.credit_note_series,
                settings.invoice_series,
                seller,
                BATCH,
            )
        )
        notes += issued
    return f"Issued {invoices} invoices and {notes} credit notes."


async def invoice_of(
    primary: Primary, settings: TradingSettings, order_id: UUID
) -> Document | NotFound | WrongState:
    """The invoice of a paid order; issued now, if it has none yet. WrongState: it was never paid."""

    async def work(connection: Connection) -> Any:
        row = await connection.fetchrow(SQL["invoice_of"], order_id)
        if row is not None and row["content"] is None and row["was_paid"]:
            await connection.fetchval(
                SQL["issue_invoices"], [order_id], settings.invoice_series, _seller(settings), 1, False
            )
            row = await connection.fetchrow(SQL["invoice_of"], order_id)
        return row

    row = await primary.run(work)
    if row is None:
        return NotFound()
    if row["content"] is None:
        return WrongState(row["status"], "an invoice is written once it is paid")
    return _decode(row["content"])


async def credit_notes_of(primary: Primary, settings: TradingSettings, order_id: UUID) -> list[Document]:
    """The credit notes of an order, the first one first; those that are not issued yet are, now."""

    async def work(connection: Connection) -> list[Any]:
        refunds = [row["id"] for row in await connection.fetch(SQL["refunds_of"], order_id)]
        rows = await connection.fetch(SQL["credit_notes_of"], order_id)
        if len(rows) < len(refunds):
            await connection.fetchval(
                SQL["issue_credit_notes"],
                refunds,
                settings.credit_note_series,
                settings.invoice_series,
                _seller(settings),
                len(refunds),
            )
            rows = await connection.fetch(SQL["credit_notes_of"], order_id)
        return list(rows)

    return [_decode(row["content"]) for row in await primary.run(work)]


def _seller(settings: TradingSettings) -> str:
    seller = Seller(settings.seller_name, settings.seller_address, settings.seller_tax_number)
    return msgspec.json.encode(seller).decode()
