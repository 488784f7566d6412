"""How benchmarks print: machine, versions and settings first, so that a pasted table can be repeated."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from everopen.drill.machine import machine

__all__ = ["facts", "machine", "number", "program_version", "table"]


def program_version(program: str, *arguments: str) -> str:
    """First line of what a program says about itself."""
    try:
        answer = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except OSError:
        return "not installed"
    lines = (answer.stdout + answer.stderr).strip().splitlines()
    return lines[0] if lines else "unknown"


def facts(console: Console, title: str, values: Mapping[str, Any]) -> None:
    """One line of `name value` pairs under a title."""
    console.print(
        f"[bold]{title}[/]  " + "  ".join(f"[dim]{name}[/] {value}" for name, value in values.items()),
        highlight=False,
    )


def table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A plain table; numbers to the right."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for index, name in enumerate(header):
        shown.add_column(name, justify="left" if index == 0 else "right")
    for row in rows:
        shown.add_row(*(number(cell) for cell in row))
    console.print()
    console.print(shown, highlight=False)


def number(value: Any) -> str:
    """A figure as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return (
            f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}"
        )
    return str(value)
