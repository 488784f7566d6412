"""A subscriber of the drill's own: it notes every event that the shop delivers to it, in the order of arrival.

It listens in a thread, on the loopback, and answers 200 as soon as an event is noted. A shop that allows no private
addresses (`[events] private_addresses`) refuses it; then nobody listened, and the verdict about deliveries says so. Scratch
shops allow it."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Self

import httptools
import httpx
import msgspec

from everopen.base.errors import EveropenError
from everopen.drill.evidence import Event
from everopen.drill.ground import Ground

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_LATER = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
START_S_MAX = 10.0


class _Body(msgspec.Struct):
    id: str
    topic: str
    subject: str


class _Connection(asyncio.Protocol):
    """A kept-alive connection of the shop."""

    def __init__(self, take: Callable[[bytes], bool], open_now: set[asyncio.Transport]) -> None:
        self._take = take
        self._open = open_now
        self._parts: list[bytes] = []
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._open.add(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        body, self._parts = b"".join(self._parts), []
        self._transport.write(_OK if self._take(body) else _LATER)


class Listener:
    """Use as `with`. `refuse` says of which events the receiver asks for another attempt."""

    def __init__(self, ground: Ground, *, refuse: Callable[[Event], bool] = lambda event: False) -> None:
        self._ground = ground
        self._refuse = refuse
        self._events: list[Event] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="listener")
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Transport] = set()
        self._subscriber = ""

    def __enter__(self) -> Self:
        self._thread.start()
        listening = self._loop.create_server(lambda: _Connection(self._take, self._open), "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(START_S_MAX)
        port = self._server.sockets[0].getsockname()[1]
        body = {"url": f"http://127.0.0.1:{port}/", "description": "drill"}
        answer = self._ground.staff("POST", "/api/subscribers", body, uuid.uuid4().hex)
        if answer.status_code == 201:
            self._subscriber = answer.json()["id"]
        elif answer.status_code != 422:
            raise EveropenError(f"The drill could not subscribe to events: {answer.status_code}.")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._subscriber:
                self._ground.staff("DELETE", f"/api/subscribers/{self._subscriber}", key=uuid.uuid4().hex)
        except httpx.HTTPError:
            pass  # a shop that is broken for good; its subscriber is paused after some days
        if self._server is not None:
            asyncio.run_coroutine_threadsafe(self._close(self._server), self._loop).result(START_S_MAX)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for transport in list(self._open):
            transport.abort()
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn

    def events(self, patience_s: float) -> tuple[Event, ...] | None:
        """What was delivered, once the shop says that nothing is left to deliver. None: it refused the subscription."""
        if not self._subscriber:
            return None
        deadline = time.monotonic() + patience_s
        while not self._caught_up() and time.monotonic() < deadline:
            time.sleep(0.2)
        return tuple(self._events)

    def _caught_up(self) -> bool:
        try:
            seen = self._ground.staff("GET", f"/api/subscribers/{self._subscriber}")
        except httpx.HTTPError:
            return False
        if seen.status_code != 200:
            return False
        found = seen.json()
        return bool(found["behind"] == 0 and found["waiting"] == 0)

    def _take(self, body: bytes) -> bool:
        told = msgspec.json.decode(body, type=_Body)
        event = Event(told.id, told.topic, told.subject)
        if self._refuse(event):
            return False
        self._events.append(event)
        return True
