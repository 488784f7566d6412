"""One connection to a worker: takes one request at a time and hands its answer to the client it is for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import httptools

from everopen.gateway.response_reader import ResponseReader

if TYPE_CHECKING:
    from everopen.gateway.backends import Backend
    from everopen.gateway.dispatcher import Dispatcher, Exchange


class Upstream(asyncio.Protocol):
    """Idle (in `backend.idle`), busy with one exchange, or closed."""

    __slots__ = (
        "_closed",
        "_dispatcher",
        "_reader",
        "_reused",
        "_transport",
        "backend",
        "exchange",
        "since_s",
    )

    _transport: asyncio.Transport

    def __init__(self, dispatcher: Dispatcher, backend: Backend) -> None:
        self.backend = backend
        self.exchange: Exchange | None = None
        self.since_s = 0.0
        """When it last became idle."""
        self._dispatcher = dispatcher
        self._reader = ResponseReader()
        self._closed = False
        self._reused = False

    def send(self, exchange: Exchange) -> None:
        """Sends a request; the outcome goes to the exchange's dispatcher."""
        self.exchange = exchange
        exchange.upstream = self
        self.backend.busy.add(self)
        request = exchange.request
        self._reader.start(is_head=request.is_head)
        self._transport.write(request.wire)

    def abandon(self) -> None:
        """Closes without a word to anybody: what was on it is decided elsewhere."""
        self.exchange = None
        self.backend.busy.discard(self)
        if not self._closed:
            self._closed = True
            self._transport.abort()

    def give_up_waiting(self) -> None:
        """The worker hangs: a request that may be repeated goes elsewhere, others wait on."""
        exchange = self.exchange
        if exchange is not None and exchange.request.repeatable and not exchange.begun:
            self.abandon()
            self._dispatcher.attempt_failed(exchange, "hung")

    def pause(self) -> None:
        """The client can't keep up."""
        if not self._closed:
            self._transport.pause_reading()

    def resume(self) -> None:
        """The client reads again."""
        if not self._closed:
            self._transport.resume_reading()

    # ── asyncio.Protocol ─────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:  # nobody asked
            self._drop_idle()
            self.abandon()
            return
        reader = self._reader
        try:
            reader.feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError):
            self.abandon()
            self._dispatcher.attempt_failed(exchange, "garbled")
            return
        if reader.complete:
            self._finish(exchange)
        elif reader.forward_now and not reader.retry_elsewhere:
            self._forward(exchange)

    def eof_received(self) -> bool:
        exchange = self.exchange
        if exchange is not None and self._reader.ended():
            self._finish(exchange)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        exchange = self.exchange
        if exchange is None:
            self._drop_idle()
            return
        self.exchange = None
        self.backend.busy.discard(self)
        self._dispatcher.attempt_failed(
            exchange, "stale" if self._reused and not self._reader.status else "reset"
        )

    # ── helpers ──────────────────────────────────────────────────────────────────────────────────────────

    def _drop_idle(self) -> None:
        if self in self.backend.idle:
            self.backend.idle.remove(self)

    def _forward(self, exchange: Exchange) -> None:
        reader = self._reader
        client = exchange.client
        if not exchange.begun:
            exchange.begun = True
            if not reader.dated:
                reader.lines.append(self._dispatcher.stamps.date_line)
            client.begin(reader.status, reader.lines, reader.declared)
        if reader.body:
            client.more(b"".join(reader.body))
            reader.body.clear()
        exchange.moved_s = self._dispatcher.loop.time()

    def _finish(self, exchange: Exchange) -> None:
        reader = self._reader
        self.exchange = None
        exchange.upstream = None  # from here on a client that can't keep up must not pause this connection
        backend = self.backend
        backend.busy.discard(self)
        dispatcher = self._dispatcher
        now_s = dispatcher.loop.time()
        backend.last_answer_s = now_s
        if (
            not reader.keep_alive
            or backend.removed
            or self._closed
            or len(backend.idle) >= dispatcher.settings.max_idle_per_backend
            or self._transport.get_write_buffer_size()  # it answered before it had read the whole request
        ):
            self.abandon()
        else:
            self._reused = True
            self.since_s = now_s
            backend.idle.append(self)
        if reader.retry_elsewhere and reader.status == 503 and not exchange.begun:
            dispatcher.attempt_failed(exchange, "declined")
            return
        if reader.status == 500:
            if dispatcher.second_opinion(exchange):
                return
        elif exchange.doubted is not None:
            dispatcher.backends.blame(exchange.doubted)
        elif backend.blame:
            backend.blame = max(0.0, backend.blame - 0.05)
        client = exchange.client
        if exchange.begun:
            if reader.body:
                client.more(b"".join(reader.body))
            dispatcher.finished(exchange)
            client.end()
        else:
            body = b"".join(reader.body) if reader.body else b""
            length = reader.declared if reader.bodiless() else len(body)
            status, lines = reader.status, reader.lines
            if not reader.dated:
                lines.append(dispatcher.stamps.date_line)
            dispatcher.finished(exchange)
            client.answer(status, lines, length, body)
