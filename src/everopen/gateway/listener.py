"""Takes connections from a listening socket that several gateway processes share.

Each process takes a few connections per wake-up; when that did not empty the queue it pauses for a millisecond, so the
other processes get their share of a rush, and takes twice as many after the pause, so a storm is not held up. The
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

FEWEST, MOST = 2, 32
"""Connections taken per wake-up, at first and in a long rush."""
PAUSE_S = 0.001

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
        self._batch = FEWEST
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
            self._loop.add_reader(self._socket.fileno(), self._take_some)
        elif not wanted and self._accepting:
            self._loop.remove_reader(self._socket.fileno())
        self._accepting = wanted and not self.draining

    def _take_some(self) -> None:
        for _ in range(self._batch):
            try:
                connection, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._batch = FEWEST  # the queue is empty, another process was faster, or the client left
                return
            except OSError as error:
                if error.errno in _OUT_OF_FILES:
                    log.warning("no connection can be taken just now: %s", error)
                    self._pause(0.1)
                    return
                raise
            self._take(connection, address)
            if not self._accepting:
                return
        self._batch = min(self._batch * 2, MOST)
        self._pause(PAUSE_S)

    def _pause(self, seconds: float) -> None:
        self._accept(False)
        self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._counters.connections < self._dispatcher.settings.max_connections:
            self._accept(True)

    def _take(self, connection: socket.socket, address: object) -> None:
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
