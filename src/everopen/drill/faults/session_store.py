"""Session store down: the Redis that keeps sessions stops.

Sessions in PostgreSQL have no process to take away: they lie in the same database as everything else, so their loss is what
kill-primary and its kin drill. Where a shop keeps them in Redis (`[api] session_store`), that Redis is stopped, if it runs on
this machine. It is not a process of the shop's own, and whoever else uses it will notice.
"""

from __future__ import annotations

import json
import os
import signal
from urllib.parse import urlsplit

import psutil

from everopen.base import process
from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.base.process import Identity
from everopen.drill.faults.fault import NOT_COVERED, Injected
from everopen.drill.faults.victims import as_data, identities
from everopen.drill.ground import Ground


class SessionStoreDown:
    """Stops the session store, where it is a process of its own."""

    name = "session-store-down"
    description = "SIGSTOP to the Redis that keeps sessions."
    promise = NOT_COVERED
    hold_s = 5.0

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        address = redis_of(ground)
        if address is None:
            return (
                "Sessions are kept in PostgreSQL here; its loss is what kill-primary and stop-primary drill."
            )
        host, port = address
        found = listening(port) if host in ("127.0.0.1", "localhost", "::1") else None
        if found is None:
            return f"The Redis that keeps sessions ({host}:{port}) does not run on this machine, or is not ours to see."
        if os.geteuid() not in (0, os.stat(f"/proc/{found.pid}").st_uid):
            return "The Redis that keeps sessions runs as another user; that needs root."
        return None

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Stops it."""
        address = redis_of(ground)
        found = None if address is None else listening(address[1])
        if found is None or not process.send(found, signal.SIGSTOP):
            raise EveropenError("The Redis that keeps sessions does not run just now.")
        return Injected("stopped the Redis of sessions", (found.pid,), {"identities": as_data([found])})

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Continues it."""
        for identity in identities(injected.data["identities"]):
            process.send(identity, signal.SIGCONT)


def redis_of(ground: Ground) -> tuple[str, int] | None:
    """Host and port of the Redis that the shop's settings name; None when sessions are elsewhere."""
    answer = ground.command("config", "--json", "api")
    if answer.returncode:
        raise EveropenError(f"The shop's settings can't be read: {answer.stderr.strip()[-300:]}")
    values = {entry["name"]: entry["value"] for entry in json.loads(answer.stdout)}
    if values.get("api.session_store") != "redis":
        return None
    parts = urlsplit(str(values["api.session_redis_url"]))
    return parts.hostname or "", parts.port or 6379


def listening(port: int) -> Identity | None:
    """The process that listens on a TCP port of this machine; None when there is none, or we may not see it."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return process.identify(connection.pid)
    return None
