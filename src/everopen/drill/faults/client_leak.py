"""Client connections that do nothing: opened to the shop's own port and left, as by a browser's pool or a broken app, and
opened again when the gateway closes them."""

from __future__ import annotations

import resource
import selectors
import socket
import threading
from urllib.parse import urlsplit

from everopen.base.clock import Rng
from everopen.drill.faults.fault import CRASH, Injected
from everopen.drill.ground import Ground

CONNECTIONS = 1500
SPARE_FILES = 300


class _Idlers(threading.Thread):
    """Keeps so many idle connections open."""

    def __init__(self, host: str, port: int, wanted: int) -> None:
        super().__init__(daemon=True, name="drill-idlers")
        self._target, self._wanted = (host, port), wanted
        self._selector = selectors.DefaultSelector()
        self._open: set[socket.socket] = set()
        self.enough = threading.Event()
        self.filled = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            try:
                while len(self._open) < self._wanted and not self.enough.is_set():
                    connection = socket.create_connection(self._target, timeout=2.0)
                    connection.setblocking(False)
                    self._open.add(connection)
                    self._selector.register(connection, selectors.EVENT_READ)
                self.filled.set()
            except OSError:
                self.filled.set()  # as many as there can be
                self.enough.wait(0.2)
            for key, _ in self._selector.select(0.2):
                self._drop(key.fileobj)  # type: ignore[arg-type]  # the gateway closed it
        for connection in list(self._open):
            self._drop(connection)
        self._selector.close()

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        self._open.discard(connection)
        connection.close()


class ClientLeak:
    """Idle client connections on the gateways."""

    name = "client-connections"
    description = f"Up to {CONNECTIONS:,} idle client connections are held open on the gateways."
    promise = CRASH
    hold_s = 4.0

    def __init__(self) -> None:
        self._running: dict[int, _Idlers] = {}

    def missing(self, ground: Ground) -> str | None:
        """Always possible; how many depends on how many files this process may open."""
        return None

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Opens them."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wished = CONNECTIONS + SPARE_FILES
        allowed = wished if hard == resource.RLIM_INFINITY else min(wished, hard)
        if soft != resource.RLIM_INFINITY and soft < allowed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        count = max(1, min(CONNECTIONS, allowed - SPARE_FILES))
        parts = urlsplit(ground.url)
        idlers = _Idlers(parts.hostname or "127.0.0.1", parts.port or 80, count)
        self._running[id(idlers)] = idlers
        idlers.start()
        idlers.filled.wait(10.0)
        return Injected(f"{count:,} idle connections", data={"idlers": id(idlers), "connections": count})

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Closes them."""
        idlers = self._running.pop(injected.data["idlers"], None)
        if idlers is not None:
            idlers.enough.set()
            idlers.join(5.0)
