"""From the lines of a sales file to what is sent: a pure function, so that the whole month can be planned in a test.

A cancellation in the file names no sale. It is matched with the customer's latest earlier sale of the same article at the
same price that is not yet taken back; what finds none becomes a stand-alone credit. Latest first, because people bring
back what they just bought; and never for guests, since two guests are not one person. Matching by article alone was
turned down: a refund pays back the price of the sale, so another price would let money and file drift apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import count
from typing import Any

import msgspec

from everopen.cli.online_retail import (
    CURRENCY,
    Finding,
    SalesLine,
    invoices_of,
    is_stock_correction,
    track_stock,
)

KEY_PREFIX = "online-retail"
GUEST = "guest@history.invalid"
REASON_CHARS_MAX = 500


class Line(msgspec.Struct, frozen=True):
    """So many of an article at a price in pence."""

    sku: str
    quantity: int
    price: int


class Sale(msgspec.Struct, frozen=True):
    """One order."""

    reference: str
    at: datetime
    email: str
    lines: tuple[Line, ...]


class Refund(msgspec.Struct, frozen=True):
    """Goods of one earlier sale that came back, and go on the shelf again (postage and fees have no shelf)."""

    reference: str
    at: datetime
    sale: str
    """Reference of the sale, which must be sent and paid before."""
    lines: tuple[Line, ...]


class Credit(msgspec.Struct, frozen=True):
    """Money back for what the file doesn't show being sold."""

    reference: str
    at: datetime
    email: str
    lines: tuple[Line, ...]


class Correction(msgspec.Struct, frozen=True):
    """Goods lost (negative) or found (positive)."""

    reference: str
    at: datetime
    items: tuple[tuple[str, int], ...]
    reason: str


Step = Sale | Refund | Credit | Correction


class Figures(msgspec.Struct, frozen=True):
    """Documents, units and money (pence) of one kind."""

    documents: int = 0
    units: int = 0
    amount: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(self.documents + other.documents, self.units + other.units, self.amount + other.amount)


class Books(msgspec.Struct, frozen=True):
    """One column of the reconciliation: what the file, the shop or the ledger says happened."""

    sales: Figures = Figures()
    refunds: Figures = Figures()
    credits: Figures = Figures()
    corrections: Figures = Figures()

    @property
    def net(self) -> int:
        """Money that stays with the shop, in pence."""
        return self.sales.amount - self.refunds.amount - self.credits.amount


class Plan(msgspec.Struct, frozen=True):
    """What a replay sends, in order."""

    steps: tuple[Step, ...]
    receipts: dict[str, int]
    """Goods to receive first: all that is ever sold or lost of an article, so that the history is sellable in any order."""
    invoices: int
    findings: tuple[Finding, ...]


def plan_of(lines: Sequence[SalesLine], *, limit: int | None = None, lines_max: int = 1000) -> Plan:
    """Plans the first `limit` invoices (None: all). Receipts are planned for the whole file whatever the limit, so that a
    longer replay later needs no second delivery. Invoices of more than `lines_max` lines become several orders."""
    invoices = invoices_of(lines)
    findings: list[Finding] = []
    matcher = _Matcher()
    steps: list[Step] = []
    receipts: Counter[str] = Counter()
    for index, (invoice, members) in enumerate(invoices.items()):
        sent = _steps_of(
            invoice, members, matcher, findings if limit is None or index < limit else [], lines_max
        )
        for step in sent:
            if isinstance(step, Sale):
                receipts.update(
                    {sku: quantity for sku, quantity in units_of(step.lines).items() if track_stock(sku)}
                )
            elif isinstance(step, Correction):
                receipts.update({sku: -delta for sku, delta in step.items if delta < 0})
        if limit is None or index < limit:
            steps.extend(sent)
    count = len(invoices) if limit is None else min(limit, len(invoices))
    return Plan(tuple(steps), dict(sorted(receipts.items())), count, tuple(findings))


def _steps_of(
    invoice: str, members: list[SalesLine], matcher: _Matcher, findings: list[Finding], lines_max: int
) -> list[Step]:
    first = members[0]
    if is_stock_correction(members):
        items: Counter[str] = Counter()
        for line in members:
            items[line.sku] += line.quantity
        said = (
            ", ".join(dict.fromkeys(line.title for line in members if line.title)) or "no reason in the file"
        )
        reason = f"invoice {invoice}: {said}"[:REASON_CHARS_MAX]
        changes = tuple((sku, delta) for sku, delta in items.items() if delta and track_stock(sku))
        return [Correction(invoice, first.at, changes, reason)] if changes else []
    steps: list[Step] = []
    email = f"customer-{first.customer}@history.invalid" if first.customer else GUEST
    sold = summed((line.sku, line.price, line.quantity) for line in members if line.quantity > 0)
    for part, start in enumerate(range(0, len(sold), lines_max), 1):
        sale = Sale(numbered(invoice, part), first.at, email, tuple(sold[start : start + lines_max]))
        matcher.sold(first.customer, sale)
        steps.append(sale)
    back = [line for line in members if line.quantity < 0]
    if back:
        steps.extend(_returned(invoice, back, email, matcher, findings))
    return steps


def _returned(
    invoice: str, back: list[SalesLine], email: str, matcher: _Matcher, findings: list[Finding]
) -> Iterable[Step]:
    at = back[0].at
    refunds: dict[str, list[tuple[str, int, int]]] = {}
    unmatched: list[tuple[str, int, int]] = []
    for line in back:
        rest = -line.quantity
        for sale, quantity in matcher.take(line.customer, line.sku, line.price, rest):
            refunds.setdefault(sale, []).append((line.sku, line.price, quantity))
            rest -= quantity
        if rest:
            unmatched.append((line.sku, line.price, rest))
            other_price = matcher.bought_otherwise(line.customer, line.sku, line.price)
            kind = "credit_other_price" if other_price else "credit_not_in_file"
            why = (
                "was not sold to this customer at this price"
                if other_price
                else "has no earlier sale to this customer that is not yet taken back"
            )
            of = "" if rest == -line.quantity else f" of {-line.quantity}"
            findings.append(
                Finding(
                    line.number,
                    kind,
                    invoice,
                    f"{rest}{of} × {line.sku} at {line.price / 100:.2f} {why} in the file",
                )
            )
    documents = count(1)
    for sale, taken in refunds.items():
        yield Refund(numbered(invoice, next(documents)), at, sale, tuple(summed(taken)))
    if unmatched:
        yield Credit(numbered(invoice, next(documents)), at, email, tuple(summed(unmatched)))


class _Matcher:
    """Remembers what each customer bought and has not brought back."""

    def __init__(self) -> None:
        self._open: defaultdict[tuple[str, str], list[list[Any]]] = defaultdict(list)

    def sold(self, customer: str, sale: Sale) -> None:
        if not customer:
            return
        prices = Counter(line.sku for line in sale.lines)
        for line in sale.lines:
            if (
                prices[line.sku] == 1
            ):  # a refund names article and quantity: at two prices it would not be clear which
                self._open[customer, line.sku].append([sale.reference, line.price, line.quantity])

    def bought_otherwise(self, customer: str, sku: str, price: int) -> bool:
        """Whether the customer bought the article, but never at this price."""
        entries = self._open.get((customer, sku), [])
        return bool(entries) and all(entry[1] != price for entry in entries)

    def take(self, customer: str, sku: str, price: int, wanted: int) -> Iterable[tuple[str, int]]:
        for entry in reversed(self._open.get((customer, sku), []) if customer else []):
            taken = min(wanted, entry[2]) if entry[1] == price else 0
            if taken:
                entry[2] -= taken
                wanted -= taken
                yield entry[0], taken


def summed(entries: Iterable[tuple[str, int, int]]) -> list[Line]:
    """(article, price, quantity) with equal article and price added up, in order of first appearance."""
    total: dict[tuple[str, int], int] = {}
    for sku, price, quantity in entries:
        total[sku, price] = total.get((sku, price), 0) + quantity
    return [Line(sku, quantity, price) for (sku, price), quantity in total.items()]


def numbered(invoice: str, part: int) -> str:
    """536365, 536365/2, …: the documents that one invoice becomes."""
    return invoice if part == 1 else f"{invoice}/{part}"


def units_of(lines: Iterable[Line]) -> Counter[str]:
    """Units by article."""
    found: Counter[str] = Counter()
    for line in lines:
        found[line.sku] += line.quantity
    return found


def amount_of(lines: Iterable[Line]) -> int:
    """Money in pence."""
    return sum(line.quantity * line.price for line in lines)


def books_of_steps(steps: Iterable[Step]) -> Books:
    """What the plan says the shop must show afterwards."""
    columns: dict[type[Any], Figures] = {
        Sale: Figures(),
        Refund: Figures(),
        Credit: Figures(),
        Correction: Figures(),
    }
    for step in steps:
        if isinstance(step, Correction):
            added = Figures(1, sum(delta for _, delta in step.items), 0)
        else:
            added = Figures(1, sum(line.quantity for line in step.lines), amount_of(step.lines))
        columns[type(step)] += added
    return Books(columns[Sale], columns[Refund], columns[Credit], columns[Correction])


class FileTotals(msgspec.Struct, frozen=True):
    """Straight sums over the lines of the file, made without the plan, so that a mistake in the plan shows."""

    invoices: int
    lines: int
    sold: Figures
    taken_back: Figures
    corrections: Figures


def totals_of(lines: Iterable[SalesLine], *, limit: int | None = None) -> FileTotals:
    """Sums of the first `limit` invoices, line by line. Corrections of what has no stock, or that come to nothing, are
    not counted: there is nothing to send."""
    sold = taken_back = corrections = Figures()
    invoices = count = 0
    for members in list(invoices_of(lines).values())[:limit]:
        count += len(members)
        if is_stock_correction(members):
            changes: Counter[str] = Counter()
            for line in members:
                changes[line.sku] += line.quantity if track_stock(line.sku) else 0
            if any(changes.values()):
                invoices += 1
                corrections += Figures(1, sum(changes.values()), 0)
            continue
        invoices += 1
        plus = [line for line in members if line.quantity > 0]
        minus = [line for line in members if line.quantity < 0]
        if plus:
            sold += Figures(1, sum(x.quantity for x in plus), sum(x.quantity * x.price for x in plus))
        if minus:
            taken_back += Figures(
                1, -sum(x.quantity for x in minus), -sum(x.quantity * x.price for x in minus)
            )
    return FileTotals(invoices, count, sold, taken_back, corrections)


# --- bodies -------------------------------------------------------------------------------------------------------


def key_of(step: Step) -> str:
    """The idempotency key: the same document of the same file is the same request in every replay."""
    return f"{KEY_PREFIX}:{type(step).__name__.lower()}:{step.reference}"


def body_of(step: Step) -> dict[str, Any]:
    """The JSON body of a step."""
    if isinstance(step, Sale):
        return {
            "lines": [_line(line) for line in step.lines],
            "customer": {"email": step.email},
            "payment": {"provider": "sandbox", "token": "tok_approve"},
            "reference": step.reference,
            "placed_at": step.at.isoformat(),
        }
    if isinstance(step, Refund):
        return {
            "lines": [{"sku": line.sku, "quantity": line.quantity} for line in step.lines],
            "reason": f"cancellation {step.reference}",
            "restock": True,
        }
    if isinstance(step, Credit):
        return {
            "lines": [_line(line) for line in step.lines],
            "customer": {"email": step.email},
            "reason": f"cancellation {step.reference}; its sale is not in the file",
            "reference": step.reference,
            "restock": True,
        }
    return {"items": [{"sku": sku, "delta": delta} for sku, delta in step.items], "reason": step.reason}


def _line(line: Line) -> dict[str, Any]:
    return {
        "sku": line.sku,
        "quantity": line.quantity,
        "unit_price": {"amount": line.price, "currency": CURRENCY},
    }
