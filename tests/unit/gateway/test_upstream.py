"""The one piece of flow control that a test over sockets can't hit at will: the client stops reading at the very piece
that completes the answer."""

from __future__ import annotations

import asyncio

from everopen.base.clock import Rng, VirtualClock
from everopen.base.topology import Endpoint
from everopen.gateway.backends import Backend
from everopen.gateway.counters import Counters
from everopen.gateway.dispatcher import Dispatcher, Exchange
from everopen.gateway.request_reader import Request
from everopen.gateway.settings import GatewaySettings
from everopen.gateway.upstream import Upstream


class Wire(asyncio.Transport):
    """Notes whether it was asked to stop reading."""

    paused = False

    def write(self, data: object) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class FullClient:
    """Its buffer is full at each piece, as `Client.pause_writing` would find it."""

    gone = False
    exchange: Exchange
    ended = False

    def begin(self, *_: object) -> None:
        pass

    def more(self, body: bytes) -> None:
        if self.exchange.upstream is not None:
            self.exchange.upstream.pause()

    def end(self) -> None:
        self.ended = True


def test_a_connection_goes_back_to_the_pool_readable_even_when_the_last_piece_fills_the_client() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        dispatcher = Dispatcher(GatewaySettings(), loop, VirtualClock(), Rng(1), Counters())
        backend = Backend("a", Endpoint(path="/nowhere"), 0.0)
        upstream, wire, client = Upstream(dispatcher, backend), Wire(), FullClient()
        upstream.connection_made(wire)
        request = Request(b"", b"/", is_head=False, keep_alive=True, old=False, repeatable=True, size=0)
        exchange = client.exchange = Exchange(client, request, 1e9)  # type: ignore[arg-type]
        exchange.backend = backend
        backend.in_flight = 1
        upstream.send(exchange)
        upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
        assert wire.paused, "in the middle of an answer the worker is held back"
        upstream.resume()
        upstream.data_received(b"x" * 50_000)
        assert client.ended
        assert backend.idle == [upstream]
        assert not wire.paused
        assert (backend.in_flight, backend.busy) == (0, set())

    asyncio.run(run())
