"""What a sales file becomes: orders, refunds matched with their sales, credits, corrections."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

from everopen.cli.import_catalog import shipped_file
from everopen.cli.online_retail import SalesLine, read_sales
from everopen.cli.replay_plan import (
    Correction,
    Credit,
    Figures,
    Line,
    Refund,
    Sale,
    amount_of,
    body_of,
    books_of_steps,
    key_of,
    plan_of,
    totals_of,
)

AT = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
NUMBERS = count(2)


def line(
    invoice: str, sku: str, quantity: int, price: int = 100, customer: str = "7", title: str = "LAMP"
) -> SalesLine:
    return SalesLine(next(NUMBERS), invoice, sku, title, quantity, AT, price, customer)


def test_a_sale_is_one_order_with_equal_lines_added_up_and_prices_kept_apart() -> None:
    plan = plan_of([line("1", "A", 2), line("1", "B1", 1, 50), line("1", "A", 3), line("1", "A", 1, 90)])
    sale = plan.steps[0]
    assert sale == Sale(
        "1", AT, "customer-7@history.invalid", (Line("A", 5, 100), Line("B1", 1, 50), Line("A", 1, 90))
    )
    assert body_of(sale)["lines"][0] == {
        "sku": "A",
        "quantity": 5,
        "unit_price": {"amount": 100, "currency": "GBP"},
    }
    assert body_of(sale)["placed_at"] == "2010-12-01T08:26:00+00:00"
    assert key_of(sale) == "online-retail:sale:1"
    assert plan.receipts == {"A": 6, "B1": 1}


def test_a_cancellation_is_a_refund_of_the_latest_sale_and_then_of_earlier_ones() -> None:
    plan = plan_of([line("1", "A", 2), line("2", "A", 3), line("C3", "A", -4)])
    refunds = [step for step in plan.steps if isinstance(step, Refund)]
    assert [(step.reference, step.sale, step.lines) for step in refunds] == [
        ("C3", "2", (Line("A", 3, 100),)),
        ("C3/2", "1", (Line("A", 1, 100),)),
    ]
    assert all(body_of(step)["restock"] for step in refunds)


def test_nothing_is_refunded_twice_and_the_rest_becomes_a_credit() -> None:
    plan = plan_of([line("1", "A", 2), line("C2", "A", -2), line("C3", "A", -1)])
    assert [type(step) for step in plan.steps] == [Sale, Refund, Credit]
    assert [(finding.kind, finding.invoice) for finding in plan.findings] == [("credit_not_in_file", "C3")]


def test_a_part_that_was_not_bought_here_is_credited() -> None:
    plan = plan_of([line("1", "A", 2), line("C2", "A", -5)])
    assert [(type(step), step.lines) for step in plan.steps[1:] if not isinstance(step, Correction)] == [
        (Refund, (Line("A", 2, 100),)),
        (Credit, (Line("A", 3, 100),)),
    ]
    assert "3 of 5 × A" in plan.findings[0].what


def test_another_price_another_customer_a_guest_or_a_later_sale_do_not_match() -> None:
    plan = plan_of(
        [
            *(line("1", "A", 2), line("C2", "A", -1, 90), line("C3", "A", -1, customer="8")),
            *(line("4", "B1", 1, customer=""), line("C5", "B1", -1, customer="")),
            *(line("C6", "D1", -1), line("7", "D1", 1)),
        ]
    )
    assert [type(step) for step in plan.steps] == [Sale, Credit, Credit, Sale, Credit, Credit, Sale]
    assert [f.kind for f in plan.findings] == ["credit_other_price"] + ["credit_not_in_file"] * 3


def test_an_article_at_two_prices_in_one_invoice_is_not_refunded_by_guess() -> None:
    plan = plan_of([line("1", "A", 1, 100), line("1", "A", 1, 90), line("C2", "A", -1, 90)])
    assert [type(step) for step in plan.steps] == [Sale, Credit]


def test_one_cancellation_of_several_unknown_sales_is_one_credit() -> None:
    plan = plan_of([line("C1", "A", -1), line("C1", "AMAZONFEE", -1, 1_354_133)])
    assert [(step.reference, len(step.lines)) for step in plan.steps if isinstance(step, Credit)] == [
        ("C1", 2)
    ]


def test_invoices_without_price_and_customer_correct_the_stock() -> None:
    plan = plan_of([line("1", "A", -3, 0, "", "damages"), line("2", "A", 4, 0, "", "")])
    assert [(step.items, step.reason) for step in plan.steps if isinstance(step, Correction)] == [
        ((("A", -3),), "invoice 1: damages"),
        ((("A", 4),), "invoice 2: no reason in the file"),
    ]
    assert plan.receipts == {"A": 3}


def test_an_invoice_of_many_lines_becomes_several_orders() -> None:
    plan = plan_of([line("1", f"A{number}", 1) for number in range(5)] + [line("C2", "A4", -1)], lines_max=2)
    assert [step.reference for step in plan.steps] == ["1", "1/2", "1/3", "C2"]
    assert isinstance(plan.steps[3], Refund)
    assert plan.steps[3].sale == "1/3"


def test_a_limit_sends_fewer_invoices_but_receives_for_all() -> None:
    lines = [line("1", "A", 2), line("2", "A", 3), line("C3", "A", -1, 5)]
    plan = plan_of(lines, limit=1)
    assert (len(plan.steps), plan.receipts, plan.invoices, plan.findings) == (1, {"A": 5}, 1, ())
    assert totals_of(lines, limit=1).sold == Figures(1, 2, 200)


def test_the_plan_of_the_shipped_month_adds_up_with_the_file() -> None:
    lines = read_sales(shipped_file()).lines
    plan, totals = plan_of(lines), totals_of(lines)
    books = books_of_steps(plan.steps)
    back = books.refunds + books.credits
    assert totals.invoices == 2025
    assert (totals.sold, totals.corrections) == (books.sales, books.corrections)
    assert (totals.taken_back.units, totals.taken_back.amount) == (back.units, back.amount)
    assert books.sales == Figures(1559, 359_511, 82_374_614)
    assert (books.refunds.documents, books.credits.documents, books.corrections.units) == (159, 205, -1241)
    assert books.net == sum(entry.quantity * entry.price for entry in lines)
    assert max(len(step.lines) for step in plan.steps if isinstance(step, Sale)) <= 1000
    assert len({key_of(step) for step in plan.steps}) == len(plan.steps)
    assert amount_of([Line("A", 2, 3)]) == 6
