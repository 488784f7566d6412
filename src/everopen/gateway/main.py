"""A gateway process: wires the parts together and runs them until SIGTERM."""

from __future__ import annotations

import asyncio
import encodings.idna  # noqa: F401  host names need it, and nothing can be imported once privileges are dropped
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import uvloop

from everopen.base.clock import Rng, SystemClock
from everopen.base.topology import TopologyReader
from everopen.gateway.admin import Admin
from everopen.gateway.counters import Counters
from everopen.gateway.dispatcher import Dispatcher
from everopen.gateway.listener import Listener
from everopen.gateway.settings import GatewaySettings

log = logging.getLogger("everopen.gateway")


def run(
    settings: GatewaySettings,
    *,
    name: str,
    listen_fd: int,
    topology_file: Path,
    admin_socket: Path,
    drop_privileges: Callable[[], None],
) -> None:
    """Serves the inherited listening socket `listen_fd` until SIGTERM, then ends what is in flight and returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_serve(settings, name, listen_fd, topology_file, admin_socket, drop_privileges))


async def _serve(
    settings: GatewaySettings,
    name: str,
    listen_fd: int,
    topology_file: Path,
    admin_socket: Path,
    drop_privileges: Callable[[], None],
) -> None:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    counters = Counters()
    dispatcher = Dispatcher(settings, loop, SystemClock(), Rng(), counters)
    listener = Listener(socket.socket(fileno=listen_fd), dispatcher)
    topology = TopologyReader(topology_file)

    def stats() -> dict[str, float]:
        backends = dispatcher.backends.all()
        healthy = sum(backend.state == "healthy" for backend in backends)
        return counters.as_dict() | {
            "backends": len(backends),
            "backends_healthy": healthy,
            "buffered_bytes": dispatcher.budget.held_bytes,
        }

    admin_socket.unlink(missing_ok=True)
    admin = await asyncio.start_unix_server(Admin(stats).serve, str(admin_socket))
    os.chmod(admin_socket, 0o666)
    drop_privileges()

    due_s = loop.time()

    def tick() -> None:
        nonlocal due_s
        now_s = loop.time()
        dispatcher.backends.follow(topology.current())
        dispatcher.tick(now_s, now_s - due_s)
        listener.tick(now_s)
        due_s = now_s + settings.topology_poll_s
        if not stopped:
            loop.call_later(settings.topology_poll_s, tick)

    stopped = False
    gc.collect()
    gc.freeze()  # what is alive now stays alive: no need to look at it again
    gc.set_threshold(20_000, 20, 50)
    tick()
    listener.start()
    log.info("gateway %s takes connections", name)

    await ending.wait()
    log.info("gateway %s drains", name)
    listener.stop()
    await _drain(listener, settings)
    stopped = True
    dispatcher.backends.close()
    admin.close()
    for client in list(listener.clients):
        client.abort()
    await asyncio.sleep(0)


async def _drain(listener: Listener, settings: GatewaySettings) -> None:
    """Idle connections may send one last request (it is answered with `Connection: close`); then they close, and
    requests in flight have the rest of the time."""
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    while listener.clients and (waited_s := loop.time() - started_s) < settings.drain_s:
        if waited_s >= settings.drain_idle_s:
            for client in list(listener.clients):
                if client.idle:
                    client.close()
        await asyncio.sleep(0.01)
