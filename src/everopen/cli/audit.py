"""`everopen audit`: prove that stock, money and orders add up."""

from __future__ import annotations

import asyncio

import asyncpg
import click
import msgspec
from rich.table import Table

from everopen.base.errors import NotRunning
from everopen.base.home import Home, home_from_environment
from everopen.base.secrets import load_or_create
from everopen.base.topology import TopologyReader
from everopen.store.primary import Connection
from everopen.telemetry.screen import open_screen
from everopen.trading.audit import AuditReport, run
from everopen.trading.payments import SandboxProvider


@click.command("audit")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for scripts.")
def audit_command(as_json: bool) -> int:
    """Check every promise about stock, money and orders against the rows themselves. Exit status 1 where one fails.

    \b
    everopen audit
    everopen audit --json | jq .counts
    """
    report = asyncio.run(audit(home_from_environment()))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
        return 0 if report.ok else 1
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "check", "detail"):
        table.add_column(column, overflow="fold")
    for check in report.checks:
        table.add_row("[green]ok[/]" if check.ok else "[bold red]FAILED[/]", check.name, check.detail)
    console = open_screen()
    console.print(table)
    console.print("  ".join(f"{name} {value:,}" for name, value in report.counts.items()), style="dim")
    console.print(
        "[green]Everything adds up.[/]" if report.ok else "[bold red]Books do not add up; see above.[/]"
    )
    return 0 if report.ok else 1


async def connect(home: Home) -> Connection:
    """A connection to the primary as the role that may only read. Raises NotRunning."""
    topology = TopologyReader(home.topology_file).current()
    if topology is None or topology.primary is None or not home.secrets_file.exists():
        raise NotRunning
    secrets, _ = load_or_create(home.secrets_file)
    endpoint = topology.primary.endpoint
    try:
        return await asyncpg.connect(
            host=endpoint.path,
            port=endpoint.port,
            user="everopen_audit",
            password=secrets.audit,
            database="everopen",
            timeout=5.0,
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise NotRunning(
            f"The primary does not answer: {error}.",
            "`everopen status` shows what the supervisor is doing about it.",
        ) from error


async def audit(home: Home) -> AuditReport:
    """Runs the audit on the primary as the read-only role. Raises NotRunning."""
    connection = await connect(home)
    provider = SandboxProvider(home.run / "payments.sock", 10.0)
    try:
        return await run(connection, books=provider.books)
    finally:
        await provider.close()
        await connection.close()
