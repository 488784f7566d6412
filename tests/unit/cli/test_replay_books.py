"""The reconciliation: agreement is exact, and any gap shows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from everopen.cli.replay_books import LedgerFigures, balanced, invoices_in_shop, reconcile, shop_books
from everopen.cli.replay_plan import Books, Correction, Credit, Figures, FileTotals, Line, Refund, Sale
from everopen.cli.replay_run import Done, Failed

AT = datetime(2010, 12, 1, tzinfo=UTC)
SALE = Sale("1", AT, "a@b", (Line("A", 5, 100),))
REFUND = Refund("C2", AT, "1", (Line("A", 1, 100),))
CREDIT = Credit("C2/2", AT, "a@b", (Line("B", 2, 30),))
CORRECTION = Correction("3", AT, (("A", -4),), "damages")
FILE = FileTotals(3, 4, Figures(1, 5, 500), Figures(1, 3, 160), Figures(1, -4, 0))
PLANNED = Books(Figures(1, 5, 500), Figures(1, 1, 100), Figures(1, 2, 60), Figures(1, -4, 0))
LEDGER = LedgerFigures(sales=500, captured=500, refunds=100, credits=60, sum=0, corrected=-4)


def order(status: str = "paid", total: int = 500) -> dict[str, Any]:
    return {"id": "o", "status": status, "total": {"amount": total}, "lines": [{"quantity": 5}]}


def answered() -> list[Done]:
    back = {"amount": {"amount": 100}, "lines": [{"quantity": 1}]}
    credited = {"amount": {"amount": 60}, "lines": [{"quantity": 2}]}
    return [
        Done(SALE, {"id": "o"}, False),
        Done(REFUND, back, False),
        Done(CREDIT, credited, False),
        Done(CORRECTION, {"items": 1}, False),
    ]


def test_three_equal_columns_balance() -> None:
    shop = shop_books(answered(), [order()])
    assert shop == PLANNED
    rows = reconcile(FILE, PLANNED, shop, invoices_in_shop(answered(), [], [order()]), LEDGER)
    assert balanced(rows), [row for row in rows if row.difference]


def test_a_penny_less_in_the_ledger_or_an_unpaid_order_is_a_difference() -> None:
    shop = shop_books(answered(), [order()])
    short = LedgerFigures(sales=499, captured=500, refunds=100, credits=60, sum=0, corrected=-4)
    assert [row.what for row in reconcile(FILE, PLANNED, shop, 3, short) if row.difference] == [
        "money of sales",
        "money that stays",
    ]
    unpaid = shop_books(answered(), [order("declined")])
    assert not balanced(reconcile(FILE, PLANNED, unpaid, 3, None))
    assert invoices_in_shop(answered(), [], [order("declined")]) == 2


def test_an_invoice_counts_only_when_all_its_documents_arrived() -> None:
    failed = [Failed(CREDIT, "refused")]
    assert invoices_in_shop([entry for entry in answered() if entry.step != CREDIT], failed, [order()]) == 2


def test_without_a_ledger_the_other_two_are_compared() -> None:
    assert balanced(reconcile(FILE, PLANNED, PLANNED, 3, None))


def test_a_ledger_that_does_not_sum_to_zero_is_a_difference() -> None:
    crooked = LedgerFigures(sales=500, captured=500, refunds=100, credits=60, sum=1, corrected=-4)
    rows = reconcile(FILE, PLANNED, PLANNED, 3, crooked)
    assert [row.what for row in rows if row.difference] == ["sum over all ledger accounts"]
