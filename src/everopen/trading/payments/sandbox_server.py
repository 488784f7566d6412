"""A payment provider to try the shop with: a process of its own with its own books, so that the shop's books can be
compared with somebody else's.

Tokens decide what happens: `tok_approve`; `tok_decline` (as any token it doesn't know); `tok_slow` answers after three
seconds; `tok_lost` charges, then breaks the connection the first time, which is how money gets lost in other shops.
Requests that arrive together are written in one SQLite transaction. The books survive `kill -9` of the process; after a
power cut the last moments may be missing (synchronous=NORMAL), which a real provider would not allow itself."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import uvicorn
import uvicorn.lifespan.off
import uvicorn.protocols.http.httptools_impl  # loaded now: after dropping privileges the files may be out of reach

from everopen.trading.payments.settings import SandboxSettings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

TABLES = """
CREATE TABLE IF NOT EXISTS charges (
    key TEXT PRIMARY KEY, amount INTEGER NOT NULL, currency TEXT NOT NULL, token TEXT NOT NULL,
    status TEXT NOT NULL, answers INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refunds (
    key TEXT PRIMARY KEY, charge TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL, status TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS refunds_charge ON refunds (charge);
"""

BOOKS = """
SELECT (SELECT count(*) FROM charges WHERE status = 'approved') AS charges_approved,
       (SELECT count(*) FROM charges WHERE status = 'declined') AS charges_declined,
       (SELECT coalesce(sum(amount), 0) FROM charges WHERE status = 'approved') AS captured,
       (SELECT count(*) FROM refunds WHERE status = 'approved') AS refunds,
       (SELECT coalesce(sum(amount), 0) FROM refunds WHERE status = 'approved') AS refunded
"""


class ChargeBody(msgspec.Struct, frozen=True):
    """POST /charges."""

    idempotency_key: str
    amount: Annotated[int, msgspec.Meta(ge=0)]
    currency: str
    token: str


class RefundBody(msgspec.Struct, frozen=True):
    """POST /refunds. `charge` is the key of the charge."""

    idempotency_key: str
    charge: str
    amount: Annotated[int, msgspec.Meta(ge=0)]
    currency: str


class Withdrawal(msgspec.Struct, frozen=True):
    """POST /charges/KEY/withdraw: the charge, if it was not made by now, is never made."""

    idempotency_key: str


Movement = ChargeBody | RefundBody | Withdrawal


class Ledger:
    """The provider's books in SQLite, opened for this process alone."""

    def __init__(self, path: Path | str) -> None:
        self._base = sqlite3.connect(path, isolation_level=None)
        self._base.row_factory = sqlite3.Row
        for pragma in (
            "locking_mode=EXCLUSIVE",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "temp_store=MEMORY",
        ):
            self._base.execute(f"PRAGMA {pragma}")
        self._base.executescript(TABLES)
        self._base.execute("BEGIN IMMEDIATE")  # opens every file now, while this process may
        self._base.execute("COMMIT")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction."""
        self._base.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    def charge(self, body: ChargeBody) -> tuple[str, int] | None:
        """Status and how often it was asked before; None when the key belongs to another charge."""
        run = self._base.execute
        status = "approved" if body.token in ("tok_approve", "tok_slow", "tok_lost") else "declined"
        run(
            "INSERT OR IGNORE INTO charges (key, amount, currency, token, status) VALUES (?, ?, ?, ?, ?)",
            (body.idempotency_key, body.amount, body.currency, body.token, status),
        )
        row = run("SELECT * FROM charges WHERE key = ?", (body.idempotency_key,)).fetchone()
        if row["status"] == "withdrawn":
            return "declined", 0
        if (row["amount"], row["currency"]) != (body.amount, body.currency):
            return None
        if row["token"] == "tok_lost":
            run("UPDATE charges SET answers = answers + 1 WHERE key = ?", (body.idempotency_key,))
        return row["status"], row["answers"]

    def refund(self, body: RefundBody) -> str:
        """Status: approved while the refunds of a charge don't exceed it."""
        run = self._base.execute
        known = run("SELECT status FROM refunds WHERE key = ?", (body.idempotency_key,)).fetchone()
        if known is not None:
            return str(known["status"])
        charge = run("SELECT amount, status, currency FROM charges WHERE key = ?", (body.charge,)).fetchone()
        given = run(
            "SELECT coalesce(sum(amount), 0) FROM refunds WHERE charge = ? AND status = 'approved'",
            (body.charge,),
        ).fetchone()[0]
        fits = (
            charge is not None
            and charge["status"] == "approved"
            and charge["currency"] == body.currency
            and given + body.amount <= charge["amount"]
        )
        status = "approved" if fits else "declined"
        run(
            "INSERT INTO refunds (key, charge, amount, currency, status) VALUES (?, ?, ?, ?, ?)",
            (body.idempotency_key, body.charge, body.amount, body.currency, status),
        )
        return status

    def withdraw(self, body: Withdrawal) -> str | None:
        """The status of a charge; None when there was none, and then there will be none."""
        key = (body.idempotency_key,)
        self._base.execute("INSERT OR IGNORE INTO charges VALUES (?, 0, '', '', 'withdrawn', 0)", key)
        status = str(self._base.execute("SELECT status FROM charges WHERE key = ?", key).fetchone()["status"])
        return None if status == "withdrawn" else status

    def write(self, body: Movement) -> Any:
        """`charge`, `refund` or `withdraw`."""
        match body:
            case ChargeBody():
                return self.charge(body)
            case RefundBody():
                return self.refund(body)
            case Withdrawal():
                return self.withdraw(body)

    def sums(self) -> dict[str, int]:
        """Counts and amounts of all books."""
        return dict(self._base.execute(BOOKS).fetchone())

    def close(self) -> None:
        """Closes the books."""
        self._base.close()


class Sandbox:
    """The provider as a raw ASGI application."""

    def __init__(self, ledger: Ledger, settings: SandboxSettings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._writes: list[tuple[Movement, asyncio.Future[Any]]] = []
        self._charge_body = msgspec.json.Decoder(ChargeBody).decode
        self._refund_body = msgspec.json.Decoder(RefundBody).decode
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.requests += 1
        method, path = scope["method"], scope["path"]
        try:
            if method == "POST" and path == "/charges":
                await self._charge(self._charge_body(await _body(receive)), send)
            elif method == "POST" and path == "/refunds":
                refund = self._refund_body(await _body(receive))
                status = await self._write(refund)
                await _answer(send, 200, {"status": status, "id": f"re_{refund.idempotency_key}"})
            elif method == "POST" and path.startswith("/charges/") and path.endswith("/withdraw"):
                key = path.removeprefix("/charges/").removesuffix("/withdraw")
                found = await self._write(Withdrawal(key))
                await _answer(send, 404 if found is None else 200, {"status": found, "id": f"ch_{key}"})
            elif method == "GET" and path == "/books":
                await _answer(send, 200, self._ledger.sums())
            elif method == "GET" and path == "/stats":
                await _answer(
                    send, 200, {"payments_requests_total": self.requests, **_prefixed(self._ledger.sums())}
                )
            elif method == "GET" and path == "/healthz":
                await _answer(send, 200, {"status": "ok"})
            else:
                await _answer(send, 404, {"error": "There is nothing here."})
        except msgspec.DecodeError as error:
            await _answer(send, 422, {"error": str(error)})

    async def _charge(self, body: ChargeBody, send: Send) -> None:
        found = await self._write(body)
        if found is None:
            await _answer(send, 422, {"error": "This key belongs to another charge."})
            return
        status, answers = found
        if body.token == "tok_slow":
            await asyncio.sleep(self._settings.slow_s)
        if body.token == "tok_lost" and answers == 0:
            # An answer that is begun and never ended: the server closes the connection under the client.
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99")]}
            )
            return
        await _answer(send, 200, {"status": status, "id": f"ch_{body.idempotency_key}"})

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


def run(settings: SandboxSettings, *, socket: Path, books: Path, drop_privileges: Callable[[], None]) -> None:
    """Serves until SIGTERM. The books' folder must exist; a stale socket is replaced."""
    socket.unlink(missing_ok=True)
    ledger = Ledger(books)
    config = uvicorn.Config(
        Sandbox(ledger, settings),
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
