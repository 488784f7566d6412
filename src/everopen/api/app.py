"""The worker's ASGI application: the hot call first, probes next, then the table; and a net under all of it.

Nothing leaves without being a good answer or a problem document. What nobody foresaw is logged with an id, and the client
gets the id, never the traceback.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import Any

from everopen.api.access import Access
from everopen.api.bodies import ClientGone, Message, Receive, Scope, Send
from everopen.api.hot import OrderEntrance
from everopen.api.pages import problem_answer
from everopen.api.problems import Refusal, unavailable
from everopen.api.quotas import client_of, kind_of
from everopen.api.routes import Limits, Router
from everopen.api.sessions import customer_of
from everopen.api.shapes import encode
from everopen.api.shop import Shop
from everopen.api.table import TABLE
from everopen.base.clock import SystemClock
from everopen.base.errors import StoreUnavailable
from everopen.base.ids import uuid7

log = logging.getLogger(__name__)

V1 = "/api/v1/"
"""The same calls under the name of their version, for clients that want to say it."""
LINGER_S = 2.0
LINGER_BYTES = 16 * 1024 * 1024
_OK = encode({"status": "ok"})
_JSON = (b"content-type", b"application/json")


class Api:
    """One worker's HTTP."""

    def __init__(self, shop: Shop, *, operator_key: str) -> None:
        self._shop = shop
        access = shop.access = Access(shop.people, operator_key, clock=SystemClock())
        self._counters = shop.counters
        settings = shop.settings
        self._order = OrderEntrance(
            shop.desk,
            settings,
            currency=shop.currency,
            access=access,
            counters=shop.counters,
            customer_of=partial(customer_of, shop),
            providers=shop.providers,
        )
        self._router = Router(
            TABLE,
            shop,
            Limits(settings.body_bytes_max, settings.batch_body_bytes_max, settings.body_timeout_s),
            access,
        )
        self._in_flight = 0
        self._quotas = shop.quotas
        self._orders_are_limited = shop.quotas.has("orders")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        self._counters["requests"] += 1
        self._in_flight += 1
        try:
            path = scope["path"]
            if path.startswith(V1):
                path = scope["path"] = "/api" + path[len(V1) - 1 :]
            if path == "/api/orders" and scope["method"] == "POST":
                if self._orders_are_limited:
                    send = self._counted(scope, send)
                await self._order(scope, receive, send)
            elif path == "/healthz":
                await _send_json(send, _OK)
            elif path == "/stats" and not _from_outside(scope):
                await _send_json(send, encode(self.stats()))
            else:
                send = self._counted(scope, send)
                await self._router(scope, receive, send)
        except Refusal as refusal:
            await self._refuse(refusal, scope, receive, send)
        except ClientGone:
            self._counters["clients_gone"] += 1
        except StoreUnavailable as error:
            await self._refuse(self._unavailable(error.cause), scope, receive, send)
        except asyncio.CancelledError:
            if not self._shop.ending:
                raise
            # The grace of SIGTERM is over: the outcome is unknown here, and another worker finds it by the key.
            await self._refuse(self._unavailable("The worker is ending."), scope, receive, send)
        except Exception as error:
            instance = f"urn:uuid:{uuid7()}"
            log.exception("%s %s failed as %s", scope["method"], scope["path"], instance, exc_info=error)
            told = Refusal("internal", "Something went wrong here; it was logged.", instance=instance)
            await self._refuse(told, scope, receive, send)
        finally:
            self._in_flight -= 1

    def _counted(self, scope: Scope, send: Send) -> Send:
        """`send`, adding what is left of the client's quota. Raises a 429 `Refusal`."""
        kind = kind_of(scope["method"], scope["path"])
        if kind is None or not self._quotas.has(kind):
            return send
        left = self._quotas.require(kind, client_of(_forwarded(scope)), time.monotonic())

        async def say_too(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *left]
            await send(message)

        return say_too

    def _unavailable(self, cause: str) -> Refusal:
        return unavailable(cause, self._shop.settings.retry_after_s, elsewhere=self._shop.ending)

    def stats(self) -> dict[str, float]:
        """Counters and gauges, flat."""
        return {
            **{f"api_{name}_total": value for name, value in self._counters.items()},
            "api_in_flight": self._in_flight,
            **self._shop.stats(),
        }

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        self._counters["refused"] += 1
        if refusal.status >= 500:
            self._counters["failed"] += 1
        if _wants_page(scope):
            status, headers, body = problem_answer(refusal, self._shop.settings.shop_name)
        else:
            status, headers, body = refusal.wire()
        closing = any(name == b"connection" for name, _ in headers)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": closing})
        if closing:
            await _linger(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_json(send: Send, body: bytes) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _linger(receive: Receive) -> None:
    """Drops what the client still sends, for a while: a socket that is closed over unread bytes is reset, and the client
    would lose the answer that says why."""
    dropped = 0
    try:
        async with asyncio.timeout(LINGER_S):
            while dropped < LINGER_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _forwarded(scope: Scope) -> bytes:
    found: bytes = next((value for name, value in scope["headers"] if name == b"x-forwarded-for"), b"")
    return found


def _from_outside(scope: Scope) -> bool:
    """Whether a gateway passed it on (it names the client on each request); the console asks the worker's socket itself."""
    return any(name == b"x-forwarded-for" for name, _ in scope["headers"])


def _wants_page(scope: Scope) -> bool:
    """Whether a person looks at it: not the API, and a client that asks for HTML."""
    if scope["path"].startswith(("/api/", "/readyz")):
        return False
    accept: Any = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    return b"text/html" in accept
