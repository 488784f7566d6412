"""The topology: who is primary, who stands by, which workers take requests, stamped with the epoch.

The supervisor publishes it as one JSON file, replaced atomically. Readers look at the file's identity (a stat, about
a microsecond) and keep their last copy when the file is gone or broken, so they go on without the supervisor. A
push channel was turned down: it would be one more thing that can hang, and a stat every few milliseconds while
waiting for a failover costs less than one HTTP request.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Literal

import msgspec


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where something listens: a Unix socket path, or host and port. A PostgreSQL node on a Unix socket has
    its socket folder in `path` and its number in `port`, as libpq wants them."""

    path: str | None = None
    host: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        if self.path is None:
            return f"{self.host}:{self.port}"
        return self.path if self.port is None else f"{self.path}/.s.PGSQL.{self.port}"


class NodeView(msgspec.Struct, frozen=True):
    """A PostgreSQL node as readers need it."""

    name: str
    endpoint: Endpoint
    state: str = "up"
    """up | starting | rejoining | down"""
    synchronous: bool = False
    """A standby only: the primary waits for it (so it holds every acknowledged commit)."""


class WorkerView(msgspec.Struct, frozen=True):
    """A worker as gateways need it. A restarted worker has a new endpoint, so it is a new backend."""

    name: str
    endpoint: Endpoint
    state: Literal["up", "draining"] = "up"
    weight: float = 1.0


class Topology(msgspec.Struct, frozen=True):
    """Published value. `epoch` grows at each change of primary, `version` at each publication."""

    epoch: int
    version: int = 0
    primary: NodeView | None = None
    standbys: tuple[NodeView, ...] = ()
    workers: tuple[WorkerView, ...] = ()
    durability: Literal["synchronous", "alone", "waiting"] = "synchronous"
    """synchronous: a standby confirms each commit; alone: the primary leads by itself (policy `available`);
    waiting: no standby exists and policy `strict` holds commits until one does."""


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644, durable: bool = False) -> None:
    """Replaces `path` in one step; with `durable`, content and name are on disk when it returns."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fchmod(handle.fileno(), mode)
            if durable:
                os.fsync(handle.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def publish(path: Path, topology: Topology) -> None:
    """Writes the topology for all readers."""
    write_atomically(path, msgspec.json.encode(topology))


class TopologyReader:
    """Keeps the last good topology of a file. `current()` re-reads when the file was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int, int] | None = None
        self._last: Topology | None = None
        self._decode = msgspec.json.Decoder(Topology).decode

    def current(self) -> Topology | None:
        """The last good copy, None before the first one. Costs one stat when nothing changed."""
        try:
            stat = os.stat(self._path)
            identity = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if identity != self._identity:
                self._last = self._decode(self._path.read_bytes())
                self._identity = identity
        except (OSError, msgspec.DecodeError):
            pass  # static stability: whatever is wrong with the file, the last copy still holds
        return self._last

    async def wait_for_change(self, seen: Topology | None, *, poll_s: float = 0.01) -> Topology:
        """Returns as soon as a topology other than `seen` is published."""
        while True:
            topology = self.current()
            if topology is not None and topology != seen:
                return topology
            await asyncio.sleep(poll_s)
