"""Reads requests from a client's bytes, strictly, and writes them anew.

Most of what goes wrong between a proxy and its backends is a disagreement on where a request ends. So nothing of the
client's framing is passed on: llhttp (through httptools) parses in its strict mode, this module refuses what is left
of the ambiguous, and what goes to a worker is composed from the parts. No sockets here: bytes in, requests out.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

import httptools

from everopen.gateway.problems import Refusal
from everopen.gateway.settings import GatewaySettings

IDLE, HEAD, BODY = 0, 1, 2
"""Where the reader is: between requests, inside a head, inside a body."""

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS"))

_KEEP, _CONNECTION, _LENGTH, _CODING, _HOST, _KEY, _EXPECT, _DROP = range(8)
_HEADERS: dict[bytes, int] = {
    b"connection": _CONNECTION,
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"host": _HOST,
    b"idempotency-key": _KEY,
    b"expect": _EXPECT,
    # meaningful for one hop only (RFC 9110, 7.6.1)
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"proxy-authorization": _DROP,
    b"te": _DROP,
    b"trailer": _DROP,
    b"upgrade": _DROP,
    b"http2-settings": _DROP,
    # claims about the client that only we may make
    b"forwarded": _DROP,
    b"x-forwarded-for": _DROP,
    b"x-forwarded-proto": _DROP,
    b"x-forwarded-host": _DROP,
    b"x-forwarded-port": _DROP,
    b"x-forwarded-server": _DROP,
    b"x-forwarded-prefix": _DROP,
    b"x-forwarded": _DROP,
    b"x-real-ip": _DROP,
    b"x-everopen-retry": _DROP,
}
_PROTECTED = frozenset(
    (b"host", b"content-length", b"idempotency-key", b"content-type", b"cookie", b"authorization")
)
_TARGET = re.compile(rb"/[!-\"$-~]*").fullmatch  # origin-form: visible ASCII without a fragment
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)([/?][!-\"$-~]*)?").fullmatch
_AUTHORITY = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?").fullmatch
_DIGITS = re.compile(rb"[0-9]{1,18}").fullmatch


class Request:
    """One request as it goes to a worker. `wire` is complete, so that it can be sent again."""

    __slots__ = ("expects", "is_head", "keep_alive", "old", "path", "repeatable", "size", "wire")

    def __init__(
        self,
        wire: bytes,
        path: bytes,
        *,
        is_head: bool,
        keep_alive: bool,
        old: bool,
        repeatable: bool,
        size: int,
    ) -> None:
        self.wire = wire
        self.path = path
        self.is_head = is_head
        self.keep_alive = keep_alive
        self.old = old
        """HTTP/1.0: no chunks in the answer, kept alive only when it says so."""
        self.repeatable = repeatable
        """May be sent to another worker although one may have seen it."""
        self.size = size
        """Body bytes charged to the budget; whoever ends the request gives them back."""


class Budget:
    """Body bytes that all connections of the process hold together, and how many they may."""

    __slots__ = ("held_bytes", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.held_bytes = 0
        self.max_bytes = max_bytes


class _Stop(Exception):
    """Ends the parser's run; why stands in `_refusal`."""


class RequestReader:
    """Feed it bytes; `ready` fills with requests and, last, at most one refusal."""

    def __init__(
        self, settings: GatewaySettings, forwarded: bytes, budget: Budget, new_key: Callable[[], bytes]
    ) -> None:
        self.ready: deque[Request | Refusal] = deque()
        self.state = IDLE
        self.ended = False
        """Nothing after this counts: the client asked to close, or was refused."""
        self.wants_continue = False
        """The client waits for `100 Continue` before it sends the body."""
        self._settings = settings
        self._forwarded = forwarded + b"\r\n"
        self._budget = budget
        self._charged = 0
        self._new_key = new_key
        self._max_headers = settings.max_headers
        self._max_header_bytes = settings.max_header_bytes
        self._stamp_methods = frozenset(method.encode() for method in settings.stamp_methods)
        self._stamp_paths = tuple(path.encode() for path in settings.stamp_paths)
        self._parser = httptools.HttpRequestParser(self)
        self._refusal: Refusal | None = None
        self._head_bytes = 0
        self._clear()

    def _clear(self) -> None:
        self._url = b""
        self._lines: list[bytes] = []
        self._count = 0
        self._size = 0
        self._host: bytes | None = None
        self._length: bytes | None = None
        self._chunked = False
        self._connection: bytes | None = None
        self._keyed: bytes | None = None
        self._expect: bytes | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._quiet_bytes = 0

    def feed(self, data: bytes) -> None:
        """Takes what the client sent. Raises nothing: what is wrong becomes a `Refusal` in `ready`."""
        if self.ended:
            return
        body_bytes = self._body_bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade(data, int(upgrade.args[0]))
        except httptools.HttpParserError as error:
            if self.ended:  # bytes after a request that closes the connection
                return
            if isinstance(error, httptools.HttpParserCallbackError) and not isinstance(
                error.__context__, _Stop
            ):
                raise
            self._refuse_for_good(self._refusal or Refusal(_status_of(error), _sentence(error)))
        else:
            if self.state == HEAD:
                self._head_bytes += len(data)
                if self._head_bytes > self._max_header_bytes + self._settings.max_target_bytes:
                    self._refuse_for_good(Refusal(431, "The request head is too large."))
            elif self.state == BODY and self._chunked:
                # neither data nor an end: a chunk extension or a trailer that may go on for ever
                self._quiet_bytes = self._quiet_bytes + len(data) if self._body_bytes == body_bytes else 0
                if self._quiet_bytes > self._max_header_bytes:
                    self._refuse_for_good(
                        Refusal(431, "The chunk extensions or trailer fields are too large.")
                    )

    def refuse(self, refusal: Refusal) -> None:
        """Ends the reading with a refusal that was decided elsewhere (a timeout, no memory left)."""
        self._refuse_for_good(refusal)

    def _refuse_for_good(self, refusal: Refusal) -> None:
        self.ready.append(refusal)
        self.ended = True
        self.state = IDLE

    def _stop(self, status: int, detail: str) -> _Stop:
        self._refusal = Refusal(status, detail)
        return _Stop()

    def _after_upgrade(self, data: bytes, offset: int) -> None:
        """An upgrade is declined by serving the request without it (RFC 9110, 7.8). llhttp takes such a message as
        bodiless; ones that declare a body were refused, so what follows is the next request."""
        self._parser = httptools.HttpRequestParser(self)
        rest = data[offset:]
        if rest:
            self.feed(rest)

    # ── what httptools calls ─────────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        if self.ended:
            raise _Stop
        self.state = HEAD
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url
        if len(self._url) > self._settings.max_target_bytes:
            raise self._stop(
                414, f"The request target is longer than {self._settings.max_target_bytes} bytes."
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.state == BODY:  # a trailer: nothing reads them, and merging them into the head is unsafe
            self._count += 1
            if self._count > self._max_headers:
                raise self._stop(431, "Too many trailer fields.")
            return
        self._count += 1
        self._size += len(name) + len(value) + 4
        if self._count > self._max_headers or self._size > self._max_header_bytes:
            raise self._stop(
                431,
                f"More than {self._max_headers} header fields or {self._max_header_bytes} bytes of them.",
            )
        value = value.strip(b" \t")
        kind = _HEADERS.get(name.lower(), _KEEP)
        if kind == _KEEP:
            if b"_" not in name:  # `X_Forwarded_For` would pass for `X-Forwarded-For` behind CGI-like servers
                self._lines.append(name + b": " + value + b"\r\n")
        elif kind == _HOST:
            if self._host is not None:
                raise self._stop(400, "The request has more than one Host.")
            self._host = value
        elif kind == _LENGTH:
            if self._length is not None or not _DIGITS(value):
                raise self._stop(400, "Content-Length must be given once, as a plain number.")
            self._length = value
        elif kind == _KEY:
            if self._keyed is not None:
                raise self._stop(400, "The request has more than one Idempotency-Key.")
            self._keyed = value
            self._lines.append(b"Idempotency-Key: " + value + b"\r\n")
        elif kind == _CONNECTION:
            self._connection = value if self._connection is None else self._connection + b"," + value
        elif kind == _CODING:
            if self._chunked or value.lower() != b"chunked":
                raise self._stop(400, "The only transfer coding understood here is `chunked`, given once.")
            self._chunked = True
        elif kind == _EXPECT:
            self._expect = value

    def on_headers_complete(self) -> None:
        if self._chunked and self._length is not None:
            raise self._stop(400, "Content-Length and Transfer-Encoding exclude each other.")
        method = self._parser.get_method()
        if method not in METHODS:
            raise self._stop(501, f"The method {method.decode('latin-1')} is not offered here.")
        version = self._parser.get_http_version()
        self._old = version == "1.0"
        if version != "1.1":
            if not self._old:
                raise self._stop(505, "Please speak HTTP/1.1.")
            if self._chunked:
                raise self._stop(400, "HTTP/1.0 knows no transfer codings.")
        self._method = method
        self._target = self._checked_target()
        if self._length is not None and int(self._length) > self._settings.max_body_bytes:
            raise self._stop(413, f"The body is larger than {self._settings.max_body_bytes} bytes.")
        if self._parser.should_upgrade() and (self._chunked or self._length not in (None, b"0")):
            raise self._stop(400, "An Upgrade together with a body is not understood here.")
        self.state = BODY
        if self._expect is not None and not self._old:
            if self._expect.lower() != b"100-continue":
                raise self._stop(417, "The only expectation understood here is `100-continue`.")
            self.wants_continue = self._chunked or self._length not in (None, b"0")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._settings.max_body_bytes:
            raise self._stop(413, f"The body is larger than {self._settings.max_body_bytes} bytes.")
        self._charge(len(body))  # what came, not what was announced: announcing costs a client nothing
        self._body.append(body)
        self.wants_continue = False

    def on_message_complete(self) -> None:
        method, target, body = self._method, self._target, self._body
        self.wants_continue = False
        keep_alive = self._parser.should_keep_alive()
        if self._connection is not None:
            keep_alive = self._apply_connection(self._connection) and keep_alive
        parts = [method, b" ", target, b" HTTP/1.1\r\n"]
        if self._host is not None:
            parts += (b"Host: ", self._host, b"\r\n")
        parts += self._lines
        repeatable = method in SAFE
        if method in self._stamp_methods and target.startswith(self._stamp_paths):
            if self._keyed is None:
                parts += (b"Idempotency-Key: eo-", self._new_key(), b"\r\n")
            repeatable = repeatable or self._keyed != b""
        if body or self._length is not None or self._chunked:
            parts.append(b"Content-Length: %d\r\n" % self._body_bytes)
        parts.append(self._forwarded)
        parts += body
        if len(self.ready) + 1 >= self._settings.max_pipelined:
            keep_alive = False  # the client sees `Connection: close` and knows that later ones were not taken
        self.ready.append(
            Request(
                b"".join(parts),
                target,
                is_head=method == b"HEAD",
                keep_alive=keep_alive,
                old=self._old,
                repeatable=repeatable,
                size=self._charged,
            )
        )
        self._charged = 0
        self.state = IDLE
        if not keep_alive:
            self.ended = True
        self._clear()

    def release(self) -> None:
        """Gives back what requests that will never start have charged."""
        self._budget.held_bytes -= self._charged
        self._charged = 0
        for item in self.ready:
            if isinstance(item, Request):
                self._budget.held_bytes -= item.size
        self.ready.clear()

    # ── helpers ──────────────────────────────────────────────────────────────────────────────────────────

    def _charge(self, size: int) -> None:
        if self._budget.held_bytes + size > self._budget.max_bytes:
            raise self._stop(503, "Too many request bodies are held in memory; please try again in a moment.")
        self._budget.held_bytes += size
        self._charged += size

    def _checked_target(self) -> bytes:
        """The target in origin-form; refuses what is neither that nor an absolute-form of the same host."""
        url, host = self._url, self._host
        if host is None:
            if not self._old:
                raise self._stop(400, "An HTTP/1.1 request needs a Host.")
        elif host and not _AUTHORITY(host):
            raise self._stop(400, "The Host is not a host name with an optional port.")
        if _TARGET(url):
            return url
        if url == b"*" and self._method == b"OPTIONS":
            return url
        absolute = _ABSOLUTE(url)
        if absolute is None:
            raise self._stop(400, "The request target is not a path.")
        if host is not None and absolute[1].lower() != host.lower():
            raise self._stop(400, "The request target names another host than Host does.")
        rest: bytes = absolute[2] or b"/"
        return rest if rest.startswith(b"/") else b"/" + rest

    def _apply_connection(self, connection: bytes) -> bool:
        """Removes the fields that Connection names; False when it says `close`."""
        keep = True
        for token in connection.lower().split(b","):
            token = token.strip()
            if token == b"close":
                keep = False
            elif token and token not in _PROTECTED:
                prefix = token + b":"
                self._lines = [line for line in self._lines if not line.lower().startswith(prefix)]
        return keep


def _status_of(error: Exception) -> int:
    return 501 if isinstance(error, httptools.HttpParserInvalidMethodError) else 400


def _sentence(error: Exception) -> str:
    return f"The request is not well-formed HTTP/1.1: {error}."
