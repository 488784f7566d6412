"""`everopen config`."""

from __future__ import annotations

import click
import msgspec
from rich.table import Table

from everopen.config import load
from everopen.telemetry.screen import open_screen


@click.command("config")
@click.option("--json", "as_json", is_flag=True, help="A list of {name, value, source, description}.")
@click.option("--changed", is_flag=True, help="Only what differs from the defaults.")
@click.argument("section", required=False)
def config_command(as_json: bool, changed: bool, section: str | None) -> int:
    """Show every setting, its value, and where the value came from.

    \b
    everopen config cluster
    everopen config --changed
    EVEROPEN_CLUSTER_DURABILITY=strict everopen config cluster
    """
    _, settings = load()
    known = sorted({setting.name.split(".")[0] for setting in settings})
    if section is not None and section not in known:
        raise click.UsageError(f"There is no section {section!r}; there are {', '.join(known)}.")
    chosen = [
        setting
        for setting in settings
        if (section is None or setting.name.split(".")[0] == section)
        and not (changed and setting.source == "default")
    ]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(chosen)).decode())
        return 0
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("setting", "value", "from", "meaning"):
        table.add_column(column, overflow="fold")
    for setting in chosen:
        table.add_row(setting.name, str(setting.value), setting.source, setting.description)
    open_screen().print(table)
    return 0
