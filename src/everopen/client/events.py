"""Follows the shop's events (server-sent events, WHATWG HTML § 9.2), and goes on where it was when the connection ends.

Each event has an id; after a break it is sent back as `Last-Event-ID`, and the shop begins after it. So a follower that
notes the id of what it has worked through loses nothing over its own restarts either."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One event. `data` is its decoded JSON."""

    id: str
    topic: str
    data: Any


class Parser:
    """Lines in, events out."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_s: float | None = None
        self._topic = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Iterator[Event]:
        """Takes one line without its end; an empty one ends an event."""
        if not line:
            if self._data:
                yield Event(self.last_id, self._topic or "message", _decoded("\n".join(self._data)))
            self._topic, self._data = "", []
            return
        if line.startswith(":"):
            return  # a heartbeat
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id" if "\0" not in value:
                self.last_id = value
            case "event":
                self._topic = value
            case "data":
                self._data.append(value)
            case "retry" if value.isascii() and value.isdigit():
                self.retry_s = int(value) / 1000


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return text


async def parsed(lines: AsyncIterator[str], parser: Parser) -> AsyncIterator[Event]:
    """The events of a stream of lines."""
    async for line in lines:
        for event in parser.feed(line):
            yield event
