"""Reads a worker's answer and rewrites its head. No sockets here: bytes in, parts of an answer out.

An answer whose length is known and small is kept until it is whole (until then the request can still be sent to
another worker); everything else is handed on as it comes.
"""

from __future__ import annotations

import httptools

WHOLE_BYTES = 65536
"""Answers up to this size are forwarded only when complete."""
HEAD_BYTES = 65536
"""Largest response head that is believed."""

_KEEP, _CONNECTION, _LENGTH, _CODING, _RETRY, _DATE, _DROP = range(7)
_HEADERS: dict[bytes, int] = {
    b"connection": _CONNECTION,
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"x-everopen-retry": _RETRY,
    b"date": _DATE,
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"te": _DROP,
    b"trailer": _DROP,
    b"upgrade": _DROP,
}


class ResponseReader:
    """One per worker connection; `start` before each request."""

    __slots__ = (
        "_connection", "_head_bytes", "_is_head", "_parser", "_size", "_trailing", "body", "chunked", "complete",
        "dated", "declared", "has_head", "keep_alive", "lines", "retry_elsewhere", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.start(is_head=False)

    def start(self, *, is_head: bool) -> None:
        """Gets ready for the answer to the next request."""
        self._is_head = is_head
        self._size = 0
        self._reset()

    def _reset(self) -> None:
        self.lines: list[bytes] = []
        self.body: list[bytes] = []
        self.status = 0
        self.declared: int | None = None
        self.chunked = False
        self.dated = False
        self.has_head = False
        self.complete = False
        self.keep_alive = True
        self.retry_elsewhere = False
        self._connection: bytes | None = None

    def feed(self, data: bytes) -> None:
        """Takes bytes of the worker. Raises `httptools.HttpParserError` for what is not a proper answer."""
        if self.complete:
            raise httptools.HttpParserError("bytes after the answer")
        self._parser.feed_data(data)
        if not self.has_head:
            self._size += len(data)
            if self._size > HEAD_BYTES:
                raise httptools.HttpParserError("the response head is too large")
        if self._is_head and self.complete:
            self._parser = httptools.HttpResponseParser(self)  # llhttp still waits for a body that won't come

    def ended(self) -> bool:
        """The worker closed: True when that completes the answer (its length was told by the closing)."""
        if self.has_head and not self.complete and self.declared is None and not self.chunked:
            self.complete = True
            self.keep_alive = False
        return self.complete

    @property
    def forward_now(self) -> bool:
        """Whether to hand on what is there although more will come."""
        return self.has_head and (self.declared is None or self.declared > WHOLE_BYTES)

    def bodiless(self) -> bool:
        """The answer has no body whatever its Content-Length says."""
        return self._is_head or self.status == 204 or self.status == 304

    # ── what httptools calls ─────────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        if self.complete:
            raise httptools.HttpParserError("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.has_head:  # a trailer
            return
        kind = _HEADERS.get(name.lower(), _KEEP)
        if kind == _KEEP:
            self.lines.append(name + b": " + value + b"\r\n")
        elif kind == _LENGTH:
            self.declared = int(value)
        elif kind == _CODING:
            if value.lower() != b"chunked":
                raise httptools.HttpParserError("an unknown transfer coding")
            self.chunked = True
        elif kind == _DATE:
            self.dated = True
            self.lines.append(name + b": " + value + b"\r\n")
        elif kind == _RETRY:
            self.retry_elsewhere = value == b"1"
        elif kind == _CONNECTION:
            self._connection = value if self._connection is None else self._connection + b"," + value

    def on_headers_complete(self) -> None:
        status = self.status = self._parser.get_status_code()
        if status < 200:
            return
        self.has_head = True
        if self._connection is not None:
            for token in self._connection.lower().split(b","):
                token = token.strip()
                if token == b"close":
                    self.keep_alive = False
                elif token:
                    prefix = token + b":"
                    self.lines = [line for line in self.lines if not line.lower().startswith(prefix)]
        if self._is_head:
            self.complete = True

    def on_body(self, body: bytes) -> None:
        if not self._is_head:
            self.body.append(body)

    def on_message_complete(self) -> None:
        if self.status < 200:  # 100 Continue, 103 Early Hints: the real answer follows
            self._reset()
            return
        self.keep_alive = self.keep_alive and self._parser.should_keep_alive()
        self.complete = True
