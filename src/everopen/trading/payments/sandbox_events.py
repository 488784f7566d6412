"""Webhooks of the sandbox: signed events, and the ways in which real providers send them badly.

    tok_webhook             one event
    tok_webhook_twice       three times the same
    tok_webhook_reordered   what happened first comes last
    tok_webhook_delayed     after `slow_s`
    tok_webhook_first       the event is delivered before the call is answered
    tok_webhook_only        the call is never answered; only the event (and a look) tells
    tok_lapse               a hold lapses after `slow_s`
    tok_refund_returned     a refund is approved, and comes back after `slow_s`

An event that is not answered with 2xx is sent again, with growing pauses, for about a minute."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec

from everopen.trading.payments.signing import sign

PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 20.0)
TIMEOUT_S = 10.0
log = logging.getLogger(__name__)


class Event(msgspec.Struct, frozen=True):
    """What is to be sent, and when."""

    type: str
    after_s: float = 0.0


def plan(token: str, kind: str, status: str, slow_s: float) -> tuple[Event, ...]:
    """Which events a movement has. Pure."""
    happened = Event(f"{kind}.{status}")
    match token:
        case "tok_webhook" | "tok_webhook_only" | "tok_webhook_first":
            return (happened,)
        case "tok_webhook_twice":
            return (happened, happened, Event(happened.type, 0.2))
        case "tok_webhook_reordered":
            return (happened, Event(f"{kind}.pending", 0.1))
        case "tok_webhook_delayed":
            return (Event(happened.type, slow_s),)
    return ()


class Sender:
    """Sends events to one address."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret
        self._tasks: set[asyncio.Task[None]] = set()
        self.delivered = 0

    def send(
        self, events: tuple[Event, ...], key: str, before: Callable[[], Awaitable[None]] | None = None
    ) -> list[asyncio.Task[None]]:
        """Starts to send; `before` runs after an event's pause and before it."""
        if not self._url and before is None:
            return []
        tasks = [asyncio.create_task(self._deliver(event, key, before)) for event in events]
        for task in tasks:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return tasks

    async def _deliver(self, event: Event, key: str, before: Callable[[], Awaitable[None]] | None) -> None:
        await asyncio.sleep(event.after_s)
        if before is not None:
            await before()
        if not self._url:
            return
        body = msgspec.json.encode(
            {
                "id": f"evt_{secrets.token_hex(12)}",
                "type": event.type,
                "created": int(time.time()),
                "data": {"key": key, "status": event.type.rpartition(".")[2]},
            }
        )
        for pause_s in PAUSES_S:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    status = await post(self._url, body, {"everopen-signature": sign(self._secret, body)})
                if 200 <= status < 300:
                    self.delivered += 1
                    return
            except (OSError, TimeoutError, ValueError) as error:
                log.info("%s was not delivered: %s", event.type, error)
            await asyncio.sleep(pause_s)


async def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Sends one POST and reads the status. `url` is http://host:port/path, or unix:SOCKET:/path. (An HTTP library would read
    its files after this process gave its privileges away.)"""
    if url.startswith("unix:"):
        socket, _, path = url.removeprefix("unix:").partition(":")
        host = "shop"
        reader, writer = await asyncio.open_unix_connection(socket)
    else:
        parts = urlsplit(url)
        host, path = parts.netloc, parts.path or "/"
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        lines = [
            f"POST {path} HTTP/1.1", f"host: {host}", "connection: close", "content-type: application/json",
            f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items()),
        ]  # fmt: skip
        writer.write("\r\n".join((*lines, "", "")).encode() + body)
        status = (await reader.readline()).split(b" ", 2)
        if len(status) < 2 or not status[1].isdigit():
            raise OSError("There was no answer.")
        return int(status[1])
    finally:
        writer.close()
