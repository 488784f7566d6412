"""One client connection: reads requests, has them dispatched one after the other, writes the answers.

Pipelined requests wait in the reader; while one is under way, at most one more read is taken from the socket. All
timeouts are looked after by a regular `look` of the listener, because a timer per request costs more than parsing it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from everopen.gateway.dispatcher import Dispatcher, Exchange
from everopen.gateway.problems import STATUS_LINES, Refusal, problem
from everopen.gateway.request_reader import BODY, HEAD, IDLE, Request, RequestReader

if TYPE_CHECKING:
    from everopen.gateway.listener import Listener

log = logging.getLogger("everopen.gateway")

_CLOSE = b"Connection: close\r\n\r\n"
_KEEP_OLD = b"Connection: keep-alive\r\n\r\n"


class Client(asyncio.Protocol):
    """A connection of a client, from accept to close."""

    _transport: asyncio.Transport

    def __init__(self, listener: Listener, dispatcher: Dispatcher, address: str) -> None:
        self.gone = False
        self._listener = listener
        self._dispatcher = dispatcher
        self._counters = dispatcher.counters
        self._settings = settings = dispatcher.settings
        scheme = settings.scheme.encode()
        forwarded = b"X-Forwarded-For: %s\r\nX-Forwarded-Proto: %s\r\n" % (address.encode(), scheme)
        self._reader = RequestReader(settings, forwarded, dispatcher.budget, dispatcher.stamps.new_key)
        self._exchange: Exchange | None = None
        self._keep_alive = True
        self._chunked = False
        self._starting = False
        self._reading = True
        self._writable = True
        self._half_closed = False
        self._closing = False
        self._lingering = False
        self._used = False
        self._phase = IDLE
        self._since_s = dispatcher.loop.time()
        """When the present phase (idle, head, body, lingering) began."""
        self._blocked_s = 0.0
        """Since when the client takes nothing."""

    # ── asyncio.Protocol ─────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._listener.opened(self)

    def data_received(self, data: bytes) -> None:
        self._counters.bytes_in += len(data)
        if self._lingering or self._closing:
            return
        reader = self._reader
        reader.feed(data)
        if self._exchange is None:
            if reader.ready:
                self._start_next()
            elif reader.wants_continue:
                self._say_continue()
        if self._exchange is not None and (reader.ready or reader.state != IDLE) and self._reading:
            self._reading = False
            self._transport.pause_reading()
        if reader.state != self._phase:
            self._phase = reader.state
            self._since_s = self._dispatcher.loop.time()

    def eof_received(self) -> bool:
        if self._exchange is None or self._lingering:
            return False
        self._half_closed = (
            True  # a client may close its side after the last request and still want the answer
        )
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        self._listener.closed(self)
        self._reader.release()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._dispatcher.client_left(exchange)

    def pause_writing(self) -> None:
        self._writable = False
        self._blocked_s = self._dispatcher.loop.time()
        exchange = self._exchange
        if exchange is not None and exchange.upstream is not None and exchange.begun:
            exchange.upstream.pause()

    def resume_writing(self) -> None:
        self._writable = True
        exchange = self._exchange
        if exchange is not None:
            if exchange.upstream is not None:
                exchange.moved_s = self._dispatcher.loop.time()
                exchange.upstream.resume()
        else:
            self._start_next()

    # ── what the dispatcher calls ────────────────────────────────────────────────────────────────────────

    def answer(self, status: int, lines: list[bytes], length: int | None, body: bytes) -> None:
        """Writes a whole answer in one piece."""
        self._counters.answered(status)
        exchange, self._exchange = self._exchange, None
        if self.gone or exchange is None:
            return
        keep_alive = self._may_keep(exchange.request)
        parts = [STATUS_LINES[status], *lines]
        if length is not None:
            parts.append(b"Content-Length: %d\r\n" % length)
        parts.append(self._ending(exchange.request, keep_alive))
        parts.append(body)
        self._write(b"".join(parts))
        self._ended(keep_alive)

    def answer_problem(self, status: int, detail: str) -> None:
        """Writes a problem document."""
        lines, body = problem(status, detail, retry_after_s=1 if status == 503 else None)
        lines.append(self._dispatcher.stamps.date_line)
        exchange = self._exchange
        if exchange is not None and exchange.request.is_head:
            self.answer(status, lines, len(body), b"")
        else:
            self.answer(status, lines, len(body), body)

    def begin(self, status: int, lines: list[bytes], length: int | None) -> None:
        """Writes the head of an answer whose body comes in pieces."""
        exchange = self._exchange
        if self.gone or exchange is None:
            return
        self._counters.answered(status)
        request = exchange.request
        self._keep_alive = self._may_keep(request) and (length is not None or not request.old)
        self._chunked = length is None and not request.old
        parts = [STATUS_LINES[status], *lines]
        if length is not None:
            parts.append(b"Content-Length: %d\r\n" % length)
        elif self._chunked:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        parts.append(self._ending(request, self._keep_alive))
        self._write(b"".join(parts))

    def more(self, body: bytes) -> None:
        """Writes a piece of the body."""
        if not self.gone:
            self._write(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)

    def end(self) -> None:
        """The answer is complete."""
        self._exchange = None
        if self.gone:
            return
        if self._chunked:
            self._write(b"0\r\n\r\n")
        self._ended(self._keep_alive)

    def cut(self) -> None:
        """The answer can't be completed: closing is the only way to say so."""
        self._exchange = None
        self._closing = True
        if not self.gone:
            self._transport.abort()

    # ── what the listener calls ──────────────────────────────────────────────────────────────────────────

    def look(self, now_s: float) -> None:
        """Enforces the timeouts."""
        settings = self._settings
        exchange = self._exchange
        waited_s = now_s - self._since_s
        if not self._writable and now_s - self._blocked_s > settings.send_timeout_s:
            self._transport.abort()
        elif exchange is not None:
            started_s = (
                exchange.moved_s + settings.request_deadline_s if exchange.begun else exchange.deadline_s
            )
            if now_s > started_s and self._writable:
                self._dispatcher.expire(exchange)
        elif self._lingering:
            if waited_s > settings.linger_s:
                self._transport.abort()
        elif self._phase == HEAD:
            if waited_s > settings.header_timeout_s:
                self._refuse_late(f"The request head did not arrive within {settings.header_timeout_s:g} s.")
        elif self._phase == BODY:
            if waited_s > settings.body_timeout_s:
                self._refuse_late(f"The request body did not arrive within {settings.body_timeout_s:g} s.")
        elif waited_s > (settings.idle_timeout_s if self._used else settings.header_timeout_s):
            self.close()

    @property
    def idle(self) -> bool:
        """Nothing of a request is here."""
        return self._exchange is None and self._phase == IDLE and not self._reader.ready

    def close(self) -> None:
        """Closes after what was written has gone out."""
        self._closing = True
        self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        self._closing = True
        self._transport.abort()

    # ── helpers ──────────────────────────────────────────────────────────────────────────────────────────

    def _start_next(self) -> None:
        """Dispatches what the reader has, one at a time."""
        if self._starting:
            return
        self._starting = True
        ready = self._reader.ready
        while ready and self._exchange is None and self._writable and not self.gone and not self._closing:
            item = ready.popleft()
            self._used = True
            if isinstance(item, Refusal):
                self._refuse(item)
                break
            deadline_s = self._dispatcher.loop.time() + self._settings.request_deadline_s
            exchange = self._exchange = Exchange(self, item, deadline_s)
            if item.path == b"/healthz":
                self._dispatcher.budget.held_bytes -= item.size
                body = b'{"status":"ok"}'
                lines = [
                    b"Content-Type: application/json\r\n",
                    b"Cache-Control: no-store\r\n",
                    self._dispatcher.stamps.date_line,
                ]
                self.answer(200, lines, len(body), b"" if item.is_head else body)
            else:
                self._dispatcher.submit(exchange)
        self._starting = False

    def _ended(self, keep_alive: bool) -> None:
        """An answer is out: the next request, or the end."""
        if not keep_alive:
            if self._reading:
                self.close()
            else:
                self._linger()  # closing on unread bytes would take the answer from the client
            return
        self._since_s = self._dispatcher.loop.time()
        reader = self._reader
        if reader.ready:
            self._start_next()
        elif reader.wants_continue:
            self._say_continue()
        if not self._reading and self._exchange is None and not reader.ready and not self._closing:
            self._reading = True
            self._transport.resume_reading()

    def _may_keep(self, request: Request) -> bool:
        return (
            request.keep_alive
            and not self._listener.draining
            and not (self._half_closed and not self._reader.ready)
        )

    def _ending(self, request: Request, keep_alive: bool) -> bytes:
        if not keep_alive:
            return _CLOSE
        return _KEEP_OLD if request.old else b"\r\n"

    def _write(self, data: bytes) -> None:
        self._counters.bytes_out += len(data)
        self._transport.write(data)

    def _say_continue(self) -> None:
        self._reader.wants_continue = False
        self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse_late(self, detail: str) -> None:
        self._counters.timeouts += 1
        self._reader.refuse(Refusal(408, detail))
        self._start_next()

    def _refuse(self, refusal: Refusal) -> None:
        self._counters.refused += 1
        self._counters.answered(refusal.status)
        lines, body = problem(
            refusal.status, refusal.detail, retry_after_s=1 if refusal.status == 503 else None
        )
        lines.append(self._dispatcher.stamps.date_line)
        self._write(
            b"".join(
                (STATUS_LINES[refusal.status], *lines, b"Content-Length: %d\r\n" % len(body), _CLOSE, body)
            )
        )
        self._reader.release()
        self._linger()

    def _linger(self) -> None:
        """Sends our end of stream and throws away what still comes, for a bounded time."""
        self._lingering = True
        self._since_s = self._dispatcher.loop.time()
        if not self.gone:
            if not self._reading:
                self._reading = True
                self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
