"""Routes: one row says how a call looks from outside and who answers it.

Dispatch and the OpenAPI document are both made from these rows (see `table.py` and `openapi.py`), so the document can't
describe a call that isn't there. A framework's decorators were turned down: they spread the table over the files that
it should hold together.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import cache
from typing import Any, NamedTuple, Protocol

import msgspec
from starlette.requests import cookie_parser
from starlette.routing import compile_path

from everopen.api.bodies import Receive, Scope, Send, decode, read_body, require_json
from everopen.api.hot import idempotency_key
from everopen.api.problems import PROBLEMS, VERSION, Headers, Refusal
from everopen.api.shapes import encode
from everopen.api.streams import send_pieces
from everopen.trading.people.outcomes import Bearer, Customer


class Stream(NamedTuple):
    """An answer that goes on: pieces of its body, sent as they come."""

    pieces: AsyncIterator[bytes]


class Answer(NamedTuple):
    """What a handler gives back: a struct to encode, or ready bytes (a page) or a `Stream` with their type in `headers`."""

    value: Any
    headers: Headers = []  # noqa: RUF012  # never changed
    status: int | None = None
    """None: the route's own."""


class Call:
    """A request as handlers see it: checked, decoded."""

    __slots__ = ("bearer", "body", "customer", "headers", "key", "parameters", "path", "query", "raw")

    def __init__(
        self, path: str, headers: dict[bytes, bytes], parameters: dict[str, str], query: bytes
    ) -> None:
        self.path = path
        self.headers = headers
        self.parameters = parameters
        """From the path and the query; of one that comes more than once, the first."""
        self.query = urllib.parse.parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, encoding="utf-8", max_num_fields=50
        )
        for name, value in self.query:
            parameters.setdefault(name, value)
        self.bearer: Bearer | None = None
        """Who of staff calls; set where the route has a scope."""
        self.customer: Customer | None = None
        """Who is logged in; set where the route's scope is `CUSTOMER`."""
        self.body: Any = None
        self.raw = b""
        self.key = ""

    def all(self, name: str) -> list[str]:
        """Every value of a parameter that may come more than once."""
        return [value for key, value in self.query if key == name]

    def header(self, name: bytes) -> str:
        """A header's text, empty when it is missing."""
        return self.headers.get(name, b"").decode("latin-1")

    def cookie(self, name: str) -> str | None:
        """A cookie's value."""
        return cookie_parser(self.header(b"cookie")).get(name)


Handler = Callable[[Any, Call], Awaitable[Answer]]


class Parameter(NamedTuple):
    """A path or query parameter in the OpenAPI document."""

    name: str
    description: str
    place: str = "query"
    kind: str = "string"
    least: int | None = None
    most: int | None = None
    """Of an integer."""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    """Of a text."""


class Route(NamedTuple):
    """One call."""

    method: str
    path: str
    name: str
    """The operation's id; unique."""
    summary: str
    handler: Handler | None
    """None: answered before routing (`hot.py`, `app.py`)."""
    answer: type | None = None
    body: type | None = None
    status: int = 200
    refusals: tuple[str, ...] = ()
    """Names of `PROBLEMS` it can answer, beyond those that any call can."""
    parameters: tuple[Parameter, ...] = ()
    scope: str = ""
    """What staff (or their API key) must be allowed to do for it; empty: anybody may call. Two are no scopes of staff: `SELF`
    (a staff session, for its own account) and `CUSTOMER` (a customer who is logged in)."""
    keyed: bool = False
    """Takes an `Idempotency-Key`."""
    batch: bool = False
    """Takes the larger body."""
    page: bool = False
    """HTML for people; not in the OpenAPI document."""
    form: bool = False
    """Takes a form (`application/x-www-form-urlencoded`) instead of JSON."""
    streams: bool = False
    """Answers server-sent events, without end."""
    raw: bool = False
    """Takes JSON that only its handler reads, as bytes (`Call.raw`): a signature was made over them."""
    media: str = "application/json"
    """What the answer is; others than JSON have the type `bytes`."""


SELF = "self"
CUSTOMER = "customer"


class Gate(Protocol):
    """Who is it, and may they (`access.Access`)."""

    async def admit(self, scope: str, call: Call) -> None:
        """Notes in the call who it is. Raises a `Refusal`."""
        ...


class Limits(NamedTuple):
    """What routing needs of the settings."""

    body_bytes_max: int
    batch_body_bytes_max: int
    body_timeout_s: float


class Router:
    """Finds the route of a request and runs its handler."""

    def __init__(self, table: Iterable[Route], shop: Any, limits: Limits, gate: Gate) -> None:
        self._shop = shop
        self._limits = limits
        self._gate = gate
        self._paths: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[Any, dict[str, Route]]] = []
        self._decoders: dict[type, msgspec.json.Decoder[Any]] = {}
        for route in table:
            self._add(route)

    def _add(self, route: Route) -> None:
        methods = self._paths.setdefault(route.path, {})
        if not methods and "{" in route.path:
            pattern, _, _ = compile_path(route.path)
            self._patterns.append((pattern, methods))
        methods[route.method] = route
        if route.method == "GET":
            methods["HEAD"] = route
        if route.body is not None and not route.form:
            self._decoders[route.body] = msgspec.json.Decoder(route.body)

    def _find(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        methods = self._paths.get(path) if "{" not in path else None
        if methods is not None:
            return methods, {}
        for pattern, methods in self._patterns:
            found = pattern.match(path)
            if found is not None:
                return methods, found.groupdict()
        raise Refusal("not-found", f"There is nothing at {path[:200]}.")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Raises `Refusal` before anything was sent, or `ClientGone`."""
        methods, parameters = self._find(scope["path"])
        if scope["method"] == "OPTIONS":
            await _say_methods(methods, send)
            return
        route = methods.get(scope["method"])
        if route is None or route.handler is None:
            allowed = allowed_of(methods)
            raise Refusal(
                "bad-method",
                f"{scope['method']} is not possible here; {allowed} is.",
                headers=[(b"allow", allowed.encode())],
            )
        headers = dict(scope["headers"])
        try:
            call = Call(scope["path"], headers, parameters, scope["query_string"])
        except ValueError:
            raise Refusal("bad-input", "The query has too many parameters.") from None
        if any("\0" in value for value in (*call.parameters.values(), *(value for _, value in call.query))):
            raise Refusal("bad-input", "The address holds a NUL character; nothing can be stored under it.")
        if route.scope:
            await self._gate.admit(route.scope, call)
        if route.keyed:
            call.key = idempotency_key(headers)
        await self._take_body(route, call, receive)
        value, extra, status = await route.handler(self._shop, call)
        if isinstance(value, Stream):
            reply = [(b"cache-control", b"no-store"), VERSION, *extra]
            await send({"type": "http.response.start", "status": status or route.status, "headers": reply})
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
            else:
                await send_pieces(value.pieces, receive, send)
            return
        if isinstance(value, bytes):
            content, reply = value, [*extra]
        else:
            content = b"" if value is None else encode(value)
            reply = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), VERSION, *extra]
        reply.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": status or route.status, "headers": reply})
        await send({"type": "http.response.body", "body": content})

    async def _take_body(self, route: Route, call: Call, receive: Receive) -> None:
        if route.body is None and not route.form and not route.raw:
            return
        limits = self._limits
        optional = route.body is not None and not route.form and _all_default(route.body)
        if not route.form and not (optional and _bodiless(call.headers)):
            require_json(call.headers)
        bytes_max = limits.batch_body_bytes_max if route.batch else limits.body_bytes_max
        call.raw = await read_body(
            call.headers, receive, bytes_max=bytes_max, timeout_s=limits.body_timeout_s
        )
        if route.form:
            call.body = read_form(call)
        elif optional and not call.raw:
            call.body = route.body() if route.body is not None else None
        elif route.body is not None:
            call.body = decode(self._decoders[route.body], call.raw)


def allowed_of(methods: Iterable[str]) -> str:
    """The value of an `Allow` header."""
    return ", ".join(sorted({*methods, "OPTIONS"}))


async def _say_methods(methods: Iterable[str], send: Send) -> None:
    headers = [(b"allow", allowed_of(methods).encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@cache
def _all_default(body: type) -> bool:
    return not any(field.required for field in msgspec.structs.fields(body))


def _bodiless(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers


def read_form(call: Call) -> dict[str, str]:
    """The fields of a page's form. Raises a `Refusal`."""
    if (
        call.headers.get(b"content-type", b"").partition(b";")[0].strip()
        != b"application/x-www-form-urlencoded"
    ):
        raise Refusal("bad-content-type", "This address takes the form of the shop's own page.")
    try:
        fields = urllib.parse.parse_qsl(
            call.raw.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=50,
        )
    except ValueError:
        raise Refusal("bad-input", "The form could not be read.") from None
    if any("\0" in value for _, value in fields):
        raise Refusal("bad-input", "A field of the form holds a NUL character; it cannot be stored.")
    return dict(fields)


def refusals_of(route: Route) -> tuple[str, ...]:
    """Every problem that a call can answer, with those that follow from its row."""
    found = [*route.refusals]
    if route.body is not None or route.raw:
        found += ["too-large", "bad-content-type", "slow-body"]
    if route.scope == CUSTOMER:
        found += ["not-logged-in"]
    elif route.scope:
        found += ["no-operator", "not-operator", "not-allowed"]
    if route.keyed:
        found += ["bad-key", "key-reused"]
    if route.method not in ("GET", "HEAD"):
        found += ["rate-limited"]
    found += ["bad-input", "internal", "unavailable"]  # an address may hold a NUL, or too many parameters
    return tuple(sorted(set(found), key=lambda name: (PROBLEMS[name].status, name)))
