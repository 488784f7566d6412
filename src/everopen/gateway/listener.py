"""Takes connections from a listening socket that several gateway processes share.

Each process takes one connection per wake-up and then looks after the ones it has; so a busy process takes less. The
kernel's SO_REUSEPORT was turned down: it gives every process its own queue, and the queue of a killed process is lost.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket

from everopen.gateway.client import Client
from everopen.gateway.dispatcher import Dispatcher

log = logging.getLogger("everopen.gateway")

_OUT_OF_FILES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Listener:
    """The shared socket and the clients that this process took from it."""

    def __init__(self, listening: socket.socket, dispatcher: Dispatcher) -> None:
        self.draining = False
        self.clients: set[Client] = set()
        self._socket = listening
        self._dispatcher = dispatcher
        self._counters = dispatcher.counters
        self._loop = dispatcher.loop
        self._accepting = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._looked_s = 0.0

    def start(self) -> None:
        """Begins to accept."""
        self._socket.setblocking(False)
        self._accept(True)

    def stop(self) -> None:
        """Accepts no more; answers from now on close their connections."""
        self.draining = True
        self._accept(False)

    def opened(self, client: Client) -> None:
        """A client's transport is up."""
        self.clients.add(client)

    def closed(self, client: Client) -> None:
        """A client is gone; there is room for another."""
        self.clients.discard(client)
        self._left()

    def tick(self, now_s: float) -> None:
        """Lets all clients look at their timeouts, some times per second."""
        if now_s - self._looked_s > 0.1:
            self._looked_s = now_s
            for client in list(self.clients):
                client.look(now_s)

    def _accept(self, wanted: bool) -> None:
        if wanted and not self._accepting and not self.draining:
            self._loop.add_reader(self._socket.fileno(), self._take_one)
        elif not wanted and self._accepting:
            self._loop.remove_reader(self._socket.fileno())
        self._accepting = wanted and not self.draining

    def _take_one(self) -> None:
        try:
            connection, address = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client left
        except OSError as error:
            if error.errno in _OUT_OF_FILES:
                log.warning("no connection can be taken just now: %s", error)
                self._accept(False)
                self._loop.call_later(0.1, self._accept, True)
                return
            raise
        connection.setblocking(False)
        self._counters.accepted += 1
        self._counters.connections += 1
        if self._counters.connections >= self._dispatcher.settings.max_connections:
            self._accept(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        who = address[0] if isinstance(address, tuple) else "unknown"
        task = self._loop.create_task(self._open(connection, who))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, connection: socket.socket, who: str) -> None:
        client = Client(self, self._dispatcher, who)
        try:
            await self._loop.connect_accepted_socket(lambda: client, connection)
        except OSError:
            connection.close()
            if client not in self.clients:
                self._left()

    def _left(self) -> None:
        self._counters.connections -= 1
        if not self._accepting and self._counters.connections < self._dispatcher.settings.max_connections:
            self._accept(True)
