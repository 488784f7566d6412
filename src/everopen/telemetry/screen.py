"""The terminal: tables are as wide as it is; where output goes to a file or a pipe, wide enough not to wrap."""

from __future__ import annotations

from rich.console import Console

PIPE_COLUMNS = 150


def open_screen(*, stderr: bool = False) -> Console:
    """A console for tables and progress."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=PIPE_COLUMNS)
