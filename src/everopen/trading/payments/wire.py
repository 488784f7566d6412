"""A small HTTP/1.1 client for one Unix socket: kept-alive connections, JSON in and out, one deadline.

httpx was measured first: 0.6 ms of CPU per call, ten times the order itself. This one knows only what a provider on
the same machine needs. A broken connection is not tried again here: only the caller knows whether asking twice is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
import msgspec


class WireError(OSError):
    """The other side gave no complete answer."""


class _Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self._spoil()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(WireError(str(error)))

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_begin(self) -> None:
        if self._answer is not None and self._answer.done():
            self._spoil()  # a second answer in the same breath

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), bytes(self._body)))

    def _spoil(self) -> None:
        """What comes unasked would be read as the answer to the next question: this connection is no good any more."""
        if self.transport is not None:
            self.transport.abort()
            self.transport = None

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._fail(WireError("The connection was closed before the answer."))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        if self.transport is None:
            raise WireError("The connection is closed.")
        self._begin()
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer


class Wire:
    """Calls to one socket over as many connections as there are calls at once."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._free: list[_Connection] = []

    async def call(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        timeout_s: float,
        belongs: Callable[[Any], bool] = lambda answer: True,
    ) -> tuple[int, Any]:
        """Status and decoded JSON. Raises OSError when no complete answer came in time, and when it `belongs` to another
        question; then the connection is dropped, because every later answer would be out of step too."""
        content = b"" if body is None else msgspec.json.encode(body)
        head = f"{method} {target} HTTP/1.1\r\nhost: provider\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._connection()
                status, text = await connection.ask(head.encode() + content)
                answer = _decoded(text)
                if not belongs(answer):
                    raise WireError("The answer belongs to another question.")
        except BaseException:  # also when cancelled: half an answer must not be read as the next one's
            if connection is not None and connection.transport is not None:
                connection.transport.abort()
            raise
        self._free.append(connection)
        return status, answer

    async def _connection(self) -> _Connection:
        while self._free:
            connection = self._free.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                return connection
        _, connection = await asyncio.get_running_loop().create_unix_connection(_Connection, self._path)
        return connection

    async def close(self) -> None:
        """Closes what is kept alive."""
        while self._free:
            transport = self._free.pop().transport
            if transport is not None:
                transport.close()


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text) if text else None
    except msgspec.DecodeError as error:
        raise WireError("The answer is not JSON.") from error
