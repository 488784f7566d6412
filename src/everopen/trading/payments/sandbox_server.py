"""A payment provider to try the shop with: a process of its own with its own books, so that the shop's books can be
compared with somebody else's.

Tokens decide what happens: `tok_approve`; `tok_decline` (as any token it doesn't know); `tok_slow` answers after three
seconds; `tok_lost` charges, then breaks the connection the first time, which is how money gets lost in other shops;
`tok_down` answers 503; `tok_capture_declined`, `tok_refund_declined`; and those that send webhooks (`sandbox_events`).
Requests that arrive together are written in one SQLite transaction (`sandbox_books`)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import uvicorn
import uvicorn.lifespan.off
import uvicorn.protocols.http.httptools_impl  # loaded now: after dropping privileges the files may be out of reach

from everopen.trading.payments.sandbox_books import (
    CaptureBody,
    ChargeBody,
    Later,
    Ledger,
    Movement,
    RefundBody,
    VoidBody,
    Withdrawal,
)
from everopen.trading.payments.sandbox_events import Event, Sender, plan
from everopen.trading.payments.settings import SandboxSettings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Sandbox:
    """The provider as a raw ASGI application."""

    def __init__(self, ledger: Ledger, settings: SandboxSettings, secret: str = "") -> None:
        self._ledger = ledger
        self._settings = settings
        self._sender = Sender(settings.webhook_url, secret)
        self._writes: list[tuple[Movement, asyncio.Future[Any]]] = []
        self._decoders: dict[str, Callable[[bytes], Any]] = {
            "/charges": msgspec.json.Decoder(ChargeBody).decode,
            "/captures": msgspec.json.Decoder(CaptureBody).decode,
            "/voids": msgspec.json.Decoder(VoidBody).decode,
            "/refunds": msgspec.json.Decoder(RefundBody).decode,
        }
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.requests += 1
        method, path = scope["method"], scope["path"]
        try:
            if method == "POST" and path in self._decoders:
                body = self._decoders[path](await _body(receive))
                if path == "/charges":
                    await self._charge(body, send)
                else:
                    await self._part(body, send)
            elif method == "POST" and path.startswith("/charges/") and path.endswith("/withdraw"):
                key = path.removeprefix("/charges/").removesuffix("/withdraw")
                found = await self._write(Withdrawal(key))
                await _answer(send, 404 if found is None else 200, {"status": found, "id": f"ch_{key}"})
            elif method == "GET":
                await self._tell(path, scope["query_string"], send)
            else:
                await _answer(send, 404, {"error": "There is nothing here."})
        except (msgspec.DecodeError, ValueError) as error:
            await _answer(send, 422, {"error": str(error)})

    async def _tell(self, path: str, query: bytes, send: Send) -> None:
        sums = self._ledger.sums
        if path == "/books":
            await _answer(send, 200, sums())
        elif path == "/stats":
            counts = {
                "payments_requests_total": self.requests,
                "payments_webhooks_total": self._sender.delivered,
            }
            await _answer(send, 200, {**counts, **_prefixed(sums())})
        elif path == "/healthz":
            await _answer(send, 200, {"status": "ok"})
        elif path == "/movements":
            asked = {name: values[0] for name, values in parse_qs(query.decode("ascii")).items()}
            since_s, until_s = float(asked.get("since", 0)), float(asked.get("until", "inf"))
            await _answer(send, 200, self._ledger.movements(since_s, until_s, asked.get("after", "")))
        elif path.startswith("/payments/"):
            kind, _, key = path.removeprefix("/payments/").partition("/")
            found = self._ledger.look(kind, key)
            prefix = {"capture": "ca", "void": "vo", "refund": "re"}.get(kind, "ch")
            await _answer(send, 404 if found is None else 200, {"status": found, "id": f"{prefix}_{key}"})
        else:
            await _answer(send, 404, {"error": "There is nothing here."})

    async def _charge(self, body: ChargeBody, send: Send) -> None:
        key, token = body.idempotency_key, body.token
        if token == "tok_down":
            await _answer(send, 503, {"error": "This provider is down."})
            return
        found = await self._write(body)
        if found is None:
            await _answer(send, 422, {"error": "This key belongs to another charge."})
            return
        status, answers = found
        kind = "charge" if body.capture else "authorise"
        sent = self._sender.send(plan(token, kind, status, self._settings.slow_s), key)
        if token == "tok_lapse" and status == "authorised":
            self._turn(kind, key, "lapsed")
        if token == "tok_slow":
            await asyncio.sleep(self._settings.slow_s)
        if token == "tok_webhook_first" and sent:
            await asyncio.wait(sent, timeout=self._settings.slow_s)
        if (token == "tok_lost" and answers == 0) or token == "tok_webhook_only":
            # An answer that is begun and never ended: the server closes the connection under the client.
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99")]}
            )
            return
        await _answer(send, 200, {"status": status, "id": f"ch_{key}"})

    async def _part(self, body: CaptureBody | VoidBody | RefundBody, send: Send) -> None:
        """A capture, void or refund of a charge; the charge's token says how its webhooks come."""
        status = await self._write(body)
        key = body.idempotency_key
        kind, prefix = {CaptureBody: ("capture", "ca"), VoidBody: ("void", "vo")}.get(
            type(body), ("refund", "re")
        )
        token = self._ledger.token_of(body.charge)
        self._sender.send(plan(token, kind, status, self._settings.slow_s), key)
        if token == "tok_refund_returned" and kind == "refund" and status == "approved":
            self._turn(kind, key, "declined")
        await _answer(send, 200, {"status": status, "id": f"{prefix}_{key}"})

    def _turn(self, kind: str, key: str, status: str) -> None:
        """What was approved is taken back after a while."""

        async def turn() -> None:
            await self._write(Later(kind, key))

        self._sender.send((Event(f"{kind}.{status}", self._settings.slow_s),), key, turn)

    def _write(self, body: Movement) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._writes:
            loop.call_soon(self._flush)
        self._writes.append((body, future))
        return future

    def _flush(self) -> None:
        writes, self._writes = self._writes, []
        try:
            with self._ledger.writing():
                results = [self._ledger.write(body) for body, _ in writes]
        except sqlite3.Error as error:
            for _, future in writes:
                future.set_exception(error)
            return
        for (_, future), result in zip(writes, results, strict=True):
            if not future.done():
                future.set_result(result)


def _prefixed(sums: dict[str, int]) -> dict[str, int]:
    return {f"payments_books_{name}": value for name, value in sums.items()}


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _answer(send: Send, status: int, content: Any) -> None:
    body = msgspec.json.encode(content)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Server(uvicorn.Server):
    """Gives privileges away once the socket is bound; ends with status 0 at SIGTERM; leaves SIGINT to the parent."""

    def __init__(self, config: uvicorn.Config, drop_privileges: Callable[[], None]) -> None:
        super().__init__(config)
        self._drop_privileges = drop_privileges

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self._drop_privileges()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        signal.signal(signal.SIGTERM, self.handle_exit)
        yield


def run(
    settings: SandboxSettings,
    *,
    socket: Path,
    books: Path,
    drop_privileges: Callable[[], None],
    webhook_secret: str = "",
) -> None:
    """Serves until SIGTERM. The books' folder must exist; a stale socket is replaced."""
    socket.unlink(missing_ok=True)
    ledger = Ledger(books)
    config = uvicorn.Config(
        Sandbox(ledger, settings, webhook_secret),
        uds=str(socket),
        http="httptools",
        loop="uvloop",
        lifespan="off",
        ws="none",
        access_log=False,
        timeout_keep_alive=3600,
        log_level="critical",
        timeout_graceful_shutdown=max(1, round(settings.grace_s)),
    )
    try:
        _Server(config, drop_privileges).run()
    finally:
        ledger.close()
