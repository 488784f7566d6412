"""`everopen reconcile`: our ledger against a payment provider's own list, now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import msgspec
from rich.table import Table

from everopen.base.money import Money
from everopen.cli.replay_client import ShopClient, find_operator_key, find_url
from everopen.telemetry.screen import open_screen


@click.command("reconcile")
@click.option("--provider", default="sandbox", show_default=True, help="The payment provider.")
@click.option("--day", help="The day (UTC); yesterday by default.")
@click.option("--url", help="Where the shop is (default: EVEROPEN_URL, else http://127.0.0.1:8080).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for scripts.")
def reconcile_command(provider: str, day: str | None, url: str | None, as_json: bool) -> int:
    """Compare a day of our ledger with the provider's list, and keep the report. Exit status 1 where they differ.

    The shop does so by itself each day; `GET /api/payments/reconciliations` has the reports.

    \b
    everopen reconcile
    everopen reconcile --provider stripe --day 2026-11-23 --json
    """
    asked = day or (datetime.now(UTC).date() - timedelta(days=1)).isoformat()

    async def work() -> dict[str, Any]:
        async with ShopClient(find_url(url), operator_key=find_operator_key()) as client:
            body = {"provider": provider, "day": asked}
            found: dict[str, Any] = (await client.call("POST", "/api/payments/reconciliations", body))[0]
            return found

    report = asyncio.run(work())
    alike = report["differences_n"] == 0
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
        return 0 if alike else 1
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("difference", "of", "payment", "at the provider", "ours", "theirs"):
        table.add_column(column, overflow="fold")
    for one in report["differences"]:
        ours, theirs = (Money(one[side]["amount"], one[side]["currency"]) for side in ("ours", "theirs"))
        table.add_row(one["what"], one["kind"], one["id"], one["reference"], str(ours), str(theirs))
    console = open_screen()
    if not alike:
        console.print(table)
    console.print(
        f"{provider} {report['day']}: {report['movements']:,} orders and refunds compared, "
        + ("[green]no differences.[/]" if alike else f"[bold red]{report['differences_n']:,} differences.[/]")
    )
    return 0 if alike else 1
