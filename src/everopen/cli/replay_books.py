"""The reconciliation at the end of a replay: file = shop = ledger, to the unit and to the penny.

Three columns from three places that don't know of each other. The file's is summed line by line, without the plan. The
shop's is summed from what the shop answers when asked again for each document of this replay. The ledger's comes from the
ledger's own rows for those documents. Sums over the whole shop were turned down: another order meanwhile would look like
a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from everopen.cli.replay_plan import Books, Correction, Credit, Figures, FileTotals, Refund, Sale
from everopen.cli.replay_run import Done, Failed, was_paid


class Row(msgspec.Struct, frozen=True):
    """One line of the reconciliation. None: that column knows nothing of it."""

    what: str
    file: int | None
    shop: int | None
    ledger: int | None
    money: bool = False
    zero: bool = False
    """It must be 0, whatever other columns know."""

    @property
    def difference(self) -> int:
        """0 when all columns that know of it agree; else the widest gap."""
        known = [value for value in (self.file, self.shop, self.ledger) if value is not None]
        known += [0] if self.zero else []
        return max(known) - min(known) if known else 0


class LedgerFigures(msgspec.Struct, frozen=True):
    """What the books in the database say about the documents of this replay, in pence. `sum` is over all accounts: must be 0."""

    sales: int
    captured: int
    refunds: int
    credits: int
    sum: int
    corrected: int
    """Units in the movements of stock that these corrections made."""


def shop_books(done: Iterable[Done], orders: Sequence[dict[str, Any]]) -> Books:
    """What the shop says: orders as it shows them now, refunds and credits as it answered them."""
    sales = Figures()
    for order in orders:
        if was_paid(order):
            sales += Figures(1, sum(line["quantity"] for line in order["lines"]), order["total"]["amount"])
    columns = {Refund: Figures(), Credit: Figures(), Correction: Figures()}
    for entry in done:
        if isinstance(entry.step, Sale):
            continue
        if isinstance(entry.step, Correction):
            columns[Correction] += Figures(1, sum(delta for _, delta in entry.step.items), 0)
        else:
            units = sum(line["quantity"] for line in entry.answer["lines"])
            columns[type(entry.step)] += Figures(1, units, entry.answer["amount"]["amount"])
    return Books(sales, columns[Refund], columns[Credit], columns[Correction])


def invoices_in_shop(done: Iterable[Done], failed: Iterable[Failed], orders: Sequence[dict[str, Any]]) -> int:
    """Invoices that the shop holds in full: each of the documents that it became is there, and paid if it is a sale."""
    paid = {order["id"] for order in orders if was_paid(order)}
    held: set[str] = set()
    lacking = {entry.step.reference.partition("/")[0] for entry in failed}
    for entry in done:
        there = not isinstance(entry.step, Sale) or str(entry.answer["id"]) in paid
        (held if there else lacking).add(entry.step.reference.partition("/")[0])
    return len(held - lacking)


def reconcile(
    file: FileTotals, planned: Books, shop: Books, invoices: int, ledger: LedgerFigures | None
) -> list[Row]:
    """The rows of the table. How money given back splits into refunds and credits is what the plan made of the file."""
    back = shop.refunds + shop.credits
    said = ledger
    rows = [
        Row("invoices", file.invoices, invoices, None),
        Row("invoices that sell / orders", file.sold.documents, shop.sales.documents, None),
        Row("units sold", file.sold.units, shop.sales.units, None),
        Row("money of sales", file.sold.amount, shop.sales.amount, said.sales if said else None, money=True),
        Row(
            "money captured", file.sold.amount, shop.sales.amount, said.captured if said else None, money=True
        ),
        Row("units taken back", file.taken_back.units, back.units, None),
        Row(
            "money given back",
            file.taken_back.amount,
            back.amount,
            said.refunds + said.credits if said else None,
            money=True,
        ),
        Row(
            "… refunds of orders",
            planned.refunds.amount,
            shop.refunds.amount,
            said.refunds if said else None,
            money=True,
        ),
        Row(
            "… stand-alone credits",
            planned.credits.amount,
            shop.credits.amount,
            said.credits if said else None,
            money=True,
        ),
        Row(
            "units corrected in stock",
            file.corrections.units,
            shop.corrections.units,
            said.corrected if said else None,
        ),
        Row(
            "money that stays",
            file.sold.amount - file.taken_back.amount,
            shop.net,
            said.sales - said.refunds - said.credits if said else None,
            money=True,
        ),
    ]
    if said is not None:
        rows.append(Row("sum over all ledger accounts", None, None, said.sum, money=True, zero=True))
    return rows


def balanced(rows: Iterable[Row]) -> bool:
    """Whether nothing differs."""
    return all(row.difference == 0 for row in rows)
