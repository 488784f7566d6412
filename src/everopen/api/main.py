"""A worker process: binds its Unix socket, gives up its privileges, serves until SIGTERM.

uvicorn carries the HTTP (uvloop, httptools); everything it can leave out is left out (access log, proxy headers, lifespan,
websockets, Date and Server headers, which the gateway sees to). Signals are ours: uvicorn would end by raising the signal
again, and a graceful end is exit status 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import random
import signal
import socket as sockets
from collections.abc import Callable, Generator
from pathlib import Path

import uvicorn
import uvloop

from everopen.api.app import Api
from everopen.api.protocol import JoinedProtocol
from everopen.api.settings import ApiSettings
from everopen.api.shop import Shop
from everopen.base.clock import SystemClock
from everopen.store.settings import StoreSettings
from everopen.trading.desk import Trading
from everopen.trading.events.sender import tls_context
from everopen.trading.events.settings import EventsSettings
from everopen.trading.payments import StripeSetup
from everopen.trading.payments.signing import sandbox_secret
from everopen.trading.people import PeopleSettings
from everopen.trading.settings import TradingSettings

PRELOADED = (
    "asyncpg.protocol.protocol",
    "concurrent.futures.thread",
    "encodings.idna",
    "http.cookies",
    "traceback",
    "uvicorn.lifespan.off",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
)
"""Imported lazily by others; after `drop_privileges` the Python installation may not be readable any more."""

PRELOADED_FOR = {
    "redis": ("everopen.trading.sessions.redis", "redis.asyncio.connection", "redis._parsers.resp2")
}
"""The same for what a setting chooses."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leaves the signals alone; `_serve` has them."""
        yield


def run(
    api: ApiSettings,
    trading: TradingSettings,
    store: StoreSettings,
    people: PeopleSettings | None = None,
    *,
    name: str,
    socket: Path,
    topology_file: Path,
    app_password: str,
    operator_key: str,
    payments_socket: Path,
    stripe: StripeSetup | None = None,
    drop_privileges: Callable[[], None],
    events: EventsSettings | None = None,
) -> None:
    """Runs one worker until SIGTERM. Blocks; returns after requests in flight were answered."""
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    for module in (*PRELOADED, *PRELOADED_FOR.get(api.session_store, ())):
        importlib.import_module(module)
    tls_context()
    if stripe is not None:
        importlib.import_module("everopen.trading.payments.stripe")
    listener = bind(socket, api.backlog)
    tune_memory()
    drop_privileges()

    async def serve() -> None:
        desk = Trading(
            trading,
            store,
            topology_file=topology_file,
            app_password=app_password,
            payments_socket=payments_socket,
            sandbox_secret=sandbox_secret(operator_key),
            stripe=stripe,
            clock=SystemClock(),
            rng=random.Random(),
            name=name,
            events=events,
        )
        shop = Shop(api, desk, people)
        await desk.start()
        try:
            await serve_on(listener, Api(shop, operator_key=operator_key), shop)
        finally:
            shop.people.close()
            await shop.carts.close()
            await shop.sessions.stop()
            await desk.stop(1.0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


def tune_memory() -> None:
    """Keeps the cyclic collector from walking the whole program every few hundred requests: what is loaded now stays, and
    requests make almost no cycles. Saves some 3 µs per order."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def bind(path: Path, backlog: int) -> sockets.socket:
    """A listening Unix socket that everybody who can reach its folder may connect to; a stale one is replaced."""
    path.unlink(missing_ok=True)
    listener = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    listener.bind(str(path))
    os.chmod(path, 0o666)
    listener.listen(backlog)
    listener.setblocking(False)
    return listener


async def serve_on(listener: sockets.socket, app: Api, shop: Shop) -> None:
    """Serves until SIGTERM, then ends what is in flight."""
    settings = shop.settings
    server = _Server(
        uvicorn.Config(
            app,
            loop="none",
            http=JoinedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=settings.backlog,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=settings.grace_s,
        )
    )

    def end() -> None:
        shop.end()
        server.should_exit = True

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    await server.serve(sockets=[listener])
