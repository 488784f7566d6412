"""One keep-alive HTTP/1.1 connection, as lean as Python allows: a load generator shares the machine with what it measures.

Bytes in, bytes out, one request at a time; httptools parses in C. A client library was turned down: at several thousand
requests a second it would use more of the processor than the shop does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httptools
import msgspec

from everopen.base.errors import InputError


class Target(msgspec.Struct, frozen=True):
    """Where the shop is."""

    host: str
    port: int

    @classmethod
    def from_url(cls, url: str) -> Target:
        """Raises InputError for anything but http://host[:port]."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise InputError(
                f"{url!r} is no address for a load client.", "Expected e.g. http://127.0.0.1:8080."
            )
        return cls(parts.hostname, parts.port or 80)

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        key: str | None = None,
        bearer: str | None = None,
        cookie: str = "",
    ) -> bytes:
        """The bytes of a request."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        if bearer is not None:
            lines.append(f"Authorization: Bearer {bearer}")
        if key is not None:
            lines.append(f"Idempotency-Key: {key}")
        if cookie:
            lines.append(f"Cookie: {cookie}")
        if body or method != "GET":
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


class Reply(msgspec.Struct, frozen=True):
    """A complete answer. `status` 0: the connection was lost before it was complete."""

    status: int
    body: bytes = b""
    replayed: bool = False
    cookie: str = ""
    """NAME=VALUE of a cookie that was set."""


class Wire(asyncio.Protocol):
    """A connection. `ask` sends a request and calls back once, with a Reply."""

    __slots__ = ("_body", "_callback", "_cookie", "_on_lost", "_parser", "_replayed", "_transport", "open")

    def __init__(self, on_lost: Callable[[Wire], None]) -> None:
        self.open = False
        self._on_lost = on_lost
        self._callback: Callable[[Wire, Reply], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._body: list[bytes] = []
        self._replayed = False
        self._cookie = ""

    def ask(self, request: bytes, callback: Callable[[Wire, Reply], None]) -> None:
        """Sends; at most one request is under way."""
        self._callback = callback
        self._body = []
        self._replayed = False
        self._cookie = ""
        self._parser = httptools.HttpResponseParser(self)
        assert self._transport is not None
        self._transport.write(request)

    def abort(self) -> None:
        """Cuts the connection; a request under way is told that it was lost."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream, always
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        callback, self._callback = self._callback, None
        self._on_lost(self)
        if callback is not None:
            callback(self, Reply(0))

    def data_received(self, data: bytes) -> None:
        if self._callback is None:
            self.abort()  # an answer to nothing: out of step, don't guess
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"idempotency-replayed":
            self._replayed = value == b"true"
        elif name == b"set-cookie":
            self._cookie = value.partition(b";")[0].decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            return
        callback, self._callback = self._callback, None
        if not self._parser.should_keep_alive() and self._transport is not None:
            self.open = False
            self._transport.close()
        if callback is not None:
            callback(self, Reply(status, b"".join(self._body), self._replayed, self._cookie))


class Wires:
    """A bounded set of connections to one target, lent out one request at a time."""

    def __init__(self, target: Target, *, most: int) -> None:
        self.target = target
        self.most = most
        self.opened = 0
        self.refused = 0
        """Attempts to connect that failed."""
        self._idle: list[Wire] = []
        self._count = 0

    def take(self) -> Wire | None:
        """An open connection that is idle."""
        while self._idle:
            wire = self._idle.pop()
            if wire.open:
                return wire
        return None

    def give_back(self, wire: Wire) -> None:
        """A request is over."""
        if wire.open:
            self._idle.append(wire)

    @property
    def can_open(self) -> bool:
        """Whether one more connection is allowed."""
        return self._count < self.most

    async def open(self) -> Wire | None:
        """A new connection; None when it was refused."""
        self._count += 1
        try:
            _, wire = await asyncio.get_running_loop().create_connection(
                lambda: Wire(self._lost), self.target.host, self.target.port
            )
        except OSError:
            self._count -= 1
            self.refused += 1
            return None
        self.opened += 1
        return wire

    def _lost(self, _: Wire) -> None:
        self._count -= 1

    def close(self) -> None:
        """Cuts all idle connections."""
        while self._idle:
            self._idle.pop().abort()


async def ask_all(
    target: Target, requests: list[bytes], *, connections: int = 16, tries: int = 20
) -> list[Reply]:
    """Sends all requests over a few connections and answers in their order. A request whose connection breaks is sent
    again; only for what may safely be repeated."""
    replies: list[Reply] = [Reply(0)] * len(requests)
    pending = iter(range(len(requests)))
    wires = Wires(target, most=connections + 1)
    loop = asyncio.get_running_loop()

    async def client() -> None:
        for index in pending:
            for attempt in range(tries):
                wire = wires.take() or await wires.open()
                if wire is not None:
                    answered: asyncio.Future[Reply] = loop.create_future()
                    wire.ask(requests[index], lambda _, reply, f=answered: f.set_result(reply))  # type: ignore[misc]
                    replies[index] = await answered
                    wires.give_back(wire)
                    if replies[index].status not in (0, 502, 503, 504):
                        break
                await asyncio.sleep(min(0.02 * 2**attempt, 1.0))

    await asyncio.gather(*(client() for _ in range(min(connections, len(requests) or 1))))
    wires.close()
    return replies
