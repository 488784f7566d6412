"""`everopen status`, and what `everopen events` shows."""

from __future__ import annotations

import sys
import time
from typing import Any

import click
import msgspec
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from everopen.base import process
from everopen.base.home import Home, home_from_environment
from everopen.base.topology import TopologyReader
from everopen.recover import registry
from everopen.recover.status import describe
from everopen.telemetry.events import read_events
from everopen.telemetry.screen import open_screen

COLOURS = {
    "open": "bold green",
    "degraded": "bold yellow",
    "closed": "bold red",
    "running": "green",
    "down": "red",
}


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for scripts.")
@click.option("--once", is_flag=True, help="Print the table once instead of keeping it up to date.")
def status_command(as_json: bool, once: bool) -> int:
    """Show what runs, who leads and who confirms. Live on a terminal; exit status 4 when the shop is closed.

    \b
    everopen status                              a live table (Ctrl-C ends it)
    everopen status --once
    everopen status --json | jq -r .state        open, degraded or closed
    """
    home = home_from_environment()
    if as_json:
        document = look(home)
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
        return 4 if document["state"] == "closed" else 0
    if once or not sys.stdout.isatty():
        document = look(home)
        open_screen().print(render(document, home))
        return 4 if document["state"] == "closed" else 0
    with Live(render(look(home), home), refresh_per_second=4, screen=False) as live:
        try:
            while True:
                time.sleep(0.25)
                live.update(render(look(home), home))
        except KeyboardInterrupt:
            return 0


def show_events(last: int, as_json: bool) -> None:
    """Prints what happened to the shop lately, newest last."""
    for event in read_events(home_from_environment().events_file, last=last):
        if as_json:
            click.echo(msgspec.json.encode(event))
        else:
            click.echo(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(event.at))}  {event.sentence}")


def look(home: Home) -> dict[str, Any]:
    """The present state, from the files of the home."""
    return describe(
        registry.load(home.processes_file), TopologyReader(home.topology_file).current(), process.alive
    )


def render(document: dict[str, Any], home: Home) -> Group:
    """The status as people read it."""
    head = Text.assemble(
        ("The shop is ", ""), (document["state"].upper(), COLOURS[document["state"]]),
        (f"   {document['shop_url'] or ''}   epoch {document['epoch']}", ""),
        (f"   durability: {document['durability']}" if document["durability"] else "", "bold red" if document["durability"] == "alone" else ""),
    )  # fmt: skip
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("name", "role", "pid", "state", "since", "endpoint"):
        table.add_column(column, justify="right" if column == "pid" else "left", overflow="fold")
    for entry in document["processes"]:
        role = entry["role"] + (" (confirms)" if entry["name"] in document["synchronous"] else "")
        table.add_row(
            entry["name"], role, str(entry["pid"] or "–"), Text(entry["state"], COLOURS.get(entry["state"], "yellow")),
            ago(time.time() - entry["since"]) if entry["since"] else "–", entry["endpoint"] or "",
        )  # fmt: skip
    parts: list[Any] = [head, Text(document["sentence"], "dim")]
    if document["processes"]:
        parts.append(table)
    recent = read_events(home.events_file, last=5)
    if recent:
        parts.append(
            Text(
                "\n".join(
                    f"{time.strftime('%H:%M:%S', time.localtime(event.at))}  {event.sentence}"
                    for event in recent
                ),
                "dim",
            )
        )
    return Group(*parts)


def ago(seconds: float) -> str:
    """A duration as people say it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
