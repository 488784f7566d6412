"""`everopen ledger`: the books for people and their accountants, read beside the shop as the read-only role."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click
import msgspec
from rich.table import Table

from everopen.base.errors import InputError
from everopen.base.home import Home, home_from_environment
from everopen.base.money import Money
from everopen.cli.audit import connect
from everopen.telemetry.screen import open_screen
from everopen.trading import ledger


def at(text: str) -> datetime:
    """A time or a day, in UTC unless it says otherwise. Raises InputError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no time.", "Write 2026-11-01 or 2026-11-01T08:30:00Z.") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@click.group("ledger")
def ledger_group() -> None:
    """Read the shop's books: double entry, append-only.

    \b
    Examples:
      everopen ledger balance
      everopen ledger statement cash --since 2026-11-01 --until 2026-12-01 > cash.csv
    """


@ledger_group.command("balance")
@click.option("--before", help="Entries posted before this time (UTC); all by default.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for scripts.")
def balance_command(before: str | None, as_json: bool) -> int:
    """The trial balance: what each account holds in each currency. Exit status 1 where debit and credit differ.

    \b
    everopen ledger balance
    everopen ledger balance --before 2026-12-01 --json
    """
    moment = datetime.now(UTC) if before is None else at(before)
    found = asyncio.run(_balance(home_from_environment(), moment))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return 0 if found.balanced else 1
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("account")
    for column in ("debit", "credit", "balance"):
        table.add_column(column, justify="right")
    for currency in found.currencies:
        for one in currency.accounts:
            amounts = (
                str(Money(amount, currency.currency)) for amount in (one.debit, one.credit, one.balance)
            )
            table.add_row(one.account, *amounts)
        sums = (str(Money(amount, currency.currency)) for amount in (currency.debit, currency.credit))
        table.add_row("[bold]all[/]", *sums, str(Money(currency.debit - currency.credit, currency.currency)))
    console = open_screen()
    console.print(table)
    console.print(
        "[green]The books balance.[/]" if found.balanced else "[bold red]The books do not balance.[/]"
    )
    return 0 if found.balanced else 1


async def _balance(home: Home, before: datetime) -> ledger.TrialBalance:
    connection = await connect(home)
    try:
        return await ledger.trial_balance(connection, before)
    finally:
        await connection.close()


@ledger_group.command("statement")
@click.argument("account")
@click.option("--since", required=True, help="First moment of the period (UTC).")
@click.option("--until", help="First moment after it; now by default.")
@click.option("--currency", default="GBP", show_default=True, help="ISO 4217.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="File; the screen by default."
)
def statement_command(account: str, since: str, until: str | None, currency: str, output: Path | None) -> int:
    """The statement of an account as CSV: the balance before, each entry with the balance after it, the balance at the end.

    \b
    everopen ledger statement cash --since 2026-11-01 --until 2026-12-01 --output cash-november.csv
    """
    period = at(since), datetime.now(UTC) if until is None else at(until)

    async def write(to: TextIO) -> None:
        connection = await connect(home_from_environment())
        try:
            async for piece in ledger.statement(connection, account, currency, *period):
                to.write(piece)
        finally:
            await connection.close()

    if output is None:
        asyncio.run(write(sys.stdout))
    else:
        with open(output, "w", encoding="utf-8", newline="") as file:
            asyncio.run(write(file))
    return 0
