"""`everopen replay`: a real sales history, sent through the public API, and reconciled to the penny."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from everopen.base.errors import EveropenError, InputError
from everopen.base.home import home_from_environment
from everopen.base.money import Money
from everopen.cli import replay_books
from everopen.cli.import_catalog import print_findings, products_of
from everopen.cli.online_retail import CURRENCY, Finding, SalesFile, read_sales, summary_of
from everopen.cli.replay_books import LedgerFigures, Row
from everopen.cli.replay_client import ShopClient, find_operator_key, find_url
from everopen.cli.replay_ledger import ledger_figures
from everopen.cli.replay_plan import (
    Correction,
    Credit,
    Plan,
    Refund,
    Sale,
    Step,
    books_of_steps,
    key_of,
    plan_of,
    totals_of,
)
from everopen.cli.replay_run import Done, Failed, prepare, send_steps, settled_orders
from everopen.telemetry.screen import open_screen

FAILURES_SHOWN = 10


class ReplayFailed(EveropenError):
    """The replay did not reconcile."""


class Report(msgspec.Struct, frozen=True):
    """Everything that a replay can say at its end."""

    rows: list[Row]
    done: list[Done]
    failed: list[Failed]
    findings: list[Finding]
    products_added: int
    received_before: bool
    received_units: int
    seconds: float
    retries: int
    ledger_note: str

    @property
    def reconciled(self) -> bool:
        """File, shop and ledger agree and nothing was refused."""
        return not self.failed and replay_books.balanced(self.rows)


async def replay(
    sales: SalesFile,
    client: ShopClient,
    *,
    limit: int | None,
    concurrency: int,
    speed: float | None,
    progress: Progress | None = None,
) -> Report:
    """Plans, sends and reconciles. Raises EveropenError when the shop can't be reached."""
    plan = plan_of(sales.lines, limit=limit)
    begun = time.monotonic()
    products, _ = products_of(sales.lines)
    added, received_before = await prepare(client, plan, products)
    bar = progress.add_task("documents", total=len(plan.steps)) if progress else None

    def advance(_: Step) -> None:
        if progress is not None and bar is not None:
            progress.advance(bar)

    done, failed = await send_steps(
        client, plan.steps, concurrency=concurrency, speed=speed, progress=advance
    )
    seconds = time.monotonic() - begun
    ids = [str(entry.answer["id"]) for entry in done if isinstance(entry.step, Sale)]
    orders = await settled_orders(client, ids, concurrency=concurrency)
    ledger, note = await _ledger(done, ids)
    rows = replay_books.reconcile(
        totals_of(sales.lines, limit=limit),
        books_of_steps(plan.steps),
        replay_books.shop_books(done, orders),
        replay_books.invoices_in_shop(done, failed, orders),
        ledger,
    )
    return Report(
        rows,
        done,
        failed,
        sorted([*sales.findings, *plan.findings], key=lambda finding: finding.line),
        added,
        received_before,
        sum(plan.receipts.values()),
        seconds,
        client.retries,
        note,
    )


async def _ledger(done: list[Done], orders: list[str]) -> tuple[LedgerFigures | None, str]:
    refunds = [str(entry.answer["id"]) for entry in done if isinstance(entry.step, Refund)]
    credited = [str(entry.answer["id"]) for entry in done if isinstance(entry.step, Credit)]
    corrections = [key_of(entry.step) for entry in done if isinstance(entry.step, Correction)]
    return await ledger_figures(
        home_from_environment(), orders=orders, refunds=refunds, credited=credited, corrections=corrections
    )


# --- the command --------------------------------------------------------------------------------------------------


@click.command(name="replay")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--speed",
    type=click.FloatRange(min=0.001),
    help="So many times faster than it happened (1000: a month in 45 min).",
)
@click.option("--as-fast-as-possible", is_flag=True, help="Without pauses. The default.")
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=16, show_default=True, help="Documents at a time."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many invoices.")
@click.option("--url", help="Where the shop is (default: EVEROPEN_URL, else http://127.0.0.1:8080).")
@click.option(
    "--findings",
    type=click.Path(path_type=Path),
    help="Write every finding, line by line, to this file (JSON lines).",
)
@click.option("--dry-run", is_flag=True, help="Read, check and plan; send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON document.")
def replay_command(
    file: Path,
    speed: float | None,
    as_fast_as_possible: bool,
    concurrency: int,
    limit: int | None,
    url: str | None,
    findings: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Send the sales history in FILE (CSV of "Online Retail", or compressed with gzip) through the shop's own API.

    Goods receipts come first, because the file has no stock levels. Then each invoice in its order: sales as orders,
    cancellations as refunds of the customer's earlier sale, or as stand-alone credits where the file doesn't have that
    sale, write-offs as corrections of stock. At the end file, shop and ledger are compared; any difference exits with 1.

    A replay may be interrupted and run again: keys come from the invoice numbers, so nothing is booked twice.

    \b
    Examples:
      everopen replay online-retail-2010-12.csv
      everopen replay online-retail-2010-12.csv --speed 1000
      everopen replay online-retail-2010-12.csv.gz --limit 100 --json | jq .reconciled
    """
    if speed is not None and as_fast_as_possible:
        raise InputError("--speed and --as-fast-as-possible exclude each other.", "Give one of them.")
    sales = read_sales(file)
    screen = open_screen(stderr=as_json)
    plan = plan_of(sales.lines, limit=limit)
    _announce(screen, file, sales, plan, limit)
    if dry_run:
        odd = sorted([*sales.findings, *plan.findings], key=lambda finding: finding.line)
        _write_findings(findings, odd)
        if as_json:
            click.echo(
                json.dumps(
                    {"dry_run": True, **_planned(plan), "findings": msgspec.to_builtins(odd)},
                    ensure_ascii=False,
                )
            )
        else:
            print_findings(odd, findings)
        return

    async def work() -> Report:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        async with ShopClient(
            find_url(url), operator_key=find_operator_key(), connections=concurrency
        ) as client:
            with Progress(*columns, console=screen, disable=not screen.is_terminal) as progress:
                return await replay(
                    sales, client, limit=limit, concurrency=concurrency, speed=speed, progress=progress
                )

    report = asyncio.run(work())
    _write_findings(findings, report.findings)
    if as_json:
        click.echo(json.dumps(as_document(report), ensure_ascii=False))
    else:
        _print(screen, report, findings)
    if not report.reconciled:
        raise ReplayFailed(
            _why(report), "The table above shows where; a second run sends only what is missing."
        )


def _planned(plan: Plan) -> dict[str, Any]:
    kinds = Counter(type(step).__name__.lower() for step in plan.steps)
    return {
        "invoices": plan.invoices,
        "documents": dict(kinds),
        "units_received_first": sum(plan.receipts.values()),
    }


def _announce(screen: Console, file: Path, sales: SalesFile, plan: Plan, limit: int | None) -> None:
    kinds = Counter(type(step) for step in plan.steps)
    first = f"the first {plan.invoices:,} invoices" if limit is not None else f"{plan.invoices:,} invoices"
    screen.print(f"{file}: {len(sales.lines):,} lines; {first} are sent.", highlight=False)
    refunds, credited = kinds[Refund], kinds[Credit]
    corrections = sum(kinds.values()) - kinds[Sale] - refunds - credited
    screen.print(
        f"They become {kinds[Sale]:,} orders, {refunds:,} refunds (the sale is in the file), {credited:,} stand-alone "
        f"credits (it is not) and {corrections:,} corrections of stock.\nThe file has no stock levels: "
        f"{sum(plan.receipts.values()):,} units of {len(plan.receipts):,} articles are received first, so that the history can be sold.",
        highlight=False,
    )


def _write_findings(target: Path | None, findings: list[Finding]) -> None:
    if target is not None:
        target.write_bytes(b"".join(msgspec.json.encode(finding) + b"\n" for finding in findings))


def _why(report: Report) -> str:
    if report.failed:
        return f"{len(report.failed):,} documents were refused by the shop, the first: {report.failed[0].sentence}"
    worst = next(row for row in report.rows if row.difference)
    return f"File, shop and ledger differ in {worst.what} by {_shown(worst.difference, worst.money)}."


def _shown(value: int | None, money: bool) -> str:
    if value is None:
        return "–"
    return str(Money(value, CURRENCY)) if money else f"{value:,}"


def _print(screen: Console, report: Report, findings: Path | None) -> None:
    table = Table(title="Reconciliation", title_justify="left")
    table.add_column("")
    for name in ("file", "shop", "ledger", "difference"):
        table.add_column(name, justify="right")
    for row in report.rows:
        cells = [_shown(value, row.money) for value in (row.file, row.shop, row.ledger, row.difference)]
        table.add_row(row.what, *cells, style="bold red" if row.difference else None)
    screen.print(table)
    if report.ledger_note:
        screen.print(report.ledger_note, highlight=False)
    replayed = sum(entry.replayed for entry in report.done)
    if replayed:
        screen.print(
            f"{replayed:,} of {len(report.done):,} documents were in the shop already, from an earlier replay; they were not booked again.",
            highlight=False,
        )
    if report.received_before:
        screen.print("The goods had been received by an earlier replay.", highlight=False)
    if report.products_added:
        screen.print(
            f"{report.products_added:,} products were not in the catalogue and were added.", highlight=False
        )
    for entry in report.failed[:FAILURES_SHOWN]:
        screen.print(
            f"refused: {type(entry.step).__name__.lower()} {entry.step.reference}: {entry.sentence}",
            style="red",
            highlight=False,
        )
    rate = len(report.done) / report.seconds if report.seconds else 0.0
    retries = f", {report.retries:,} sent again after a lost connection or a 503" if report.retries else ""
    screen.print(
        f"{len(report.done):,} documents in {report.seconds:.1f} s ({rate:,.0f}/s){retries}.", highlight=False
    )
    print_findings(report.findings, findings)
    verdict = "File, shop and ledger agree." if report.reconciled else "They do NOT agree."
    screen.print(verdict, style="bold green" if report.reconciled else "bold red", highlight=False)


def as_document(report: Report) -> dict[str, Any]:
    """The report for scripts."""
    kinds = Counter(type(entry.step).__name__.lower() for entry in report.done)
    return {
        "reconciled": report.reconciled,
        "rows": [
            {
                "what": row.what,
                "file": row.file,
                "shop": row.shop,
                "ledger": row.ledger,
                "difference": row.difference,
            }
            for row in report.rows
        ],
        "documents": dict(kinds),
        "replayed": sum(entry.replayed for entry in report.done),
        "failed": [{"reference": entry.step.reference, "what": entry.sentence} for entry in report.failed],
        "products_added": report.products_added,
        "units_received_first": report.received_units,
        "seconds": round(report.seconds, 3),
        "retries": report.retries,
        "ledger_note": report.ledger_note,
        "summary": summary_of(report.findings),
        "findings": msgspec.to_builtins(report.findings),
    }
