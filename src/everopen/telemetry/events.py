"""The event history: one JSON line per thing that happened, with the sentence a person reads.

Appending a line needs no lock and survives a crash; the file is renamed to `.1` when it grows past its cap, so the
history is bounded. A failing disk must not stop the supervisor, so writing never raises.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One line of the history. `at` is Unix time in seconds."""

    at: float
    kind: str
    sentence: str
    fields: dict[str, Any] = {}


class EventLog:
    """Appends events to a file and echoes their sentence (the terminal, unless told otherwise)."""

    def __init__(
        self, path: Path, *, cap_bytes: int = 8 * 2**20, echo: Callable[[str], None] | None = None
    ) -> None:
        self._path = path
        self._cap_bytes = cap_bytes
        self._echo = print_safely if echo is None else echo
        self.recent: tuple[Event, ...] = ()
        """The last twelve."""

    def write(self, kind: str, sentence: str, *, quiet: bool = False, **fields: Any) -> None:
        """Records one event; `quiet` keeps it off the terminal."""
        event = Event(time.time(), kind, sentence, fields)
        self.recent = (*self.recent[-11:], event)
        try:
            if self._path.exists() and self._path.stat().st_size > self._cap_bytes:
                self._path.replace(self._path.with_suffix(".jsonl.1"))
            with open(self._path, "ab") as handle:
                handle.write(msgspec.json.encode(event) + b"\n")
        except OSError:
            pass
        if not quiet:
            self._echo(sentence)


def print_safely(sentence: str) -> None:
    """A line on the terminal with the time; a terminal that is gone is no reason to fail."""
    try:
        print(f"{time.strftime('%H:%M:%S')}  {sentence}", flush=True)
    except OSError:
        pass


def read_events(path: Path, *, last: int = 200) -> list[Event]:
    """The last events, oldest first; broken lines (a crash while writing) are skipped."""
    try:
        lines = path.read_bytes().splitlines()[-last:]
    except OSError:
        return []
    events = []
    for line in lines:
        try:
            events.append(msgspec.json.decode(line, type=Event))
        except msgspec.DecodeError:
            continue
    return events


def complain(sentence: str) -> None:
    """A line on standard error."""
    try:
        print(sentence, file=sys.stderr, flush=True)
    except OSError:
        pass
