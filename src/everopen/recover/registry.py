"""Which processes belong to the shop, on disk: how a new supervisor finds the living ones, and how `status` works
without asking anybody."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from everopen.base import process
from everopen.base.process import Identity
from everopen.base.topology import Endpoint, write_atomically
from everopen.telemetry.events import Event


class ProcessRecord(msgspec.Struct, frozen=True):
    """One process. `since` is Unix time; pid 0 means it should be there and is not."""

    name: str
    role: str
    pid: int
    start_ticks: int
    state: str
    endpoint: Endpoint
    since: float
    socket: bool = False
    """The endpoint's path is the process's own Unix socket (else `admin` may name it)."""
    admin: str | None = None

    @property
    def identity(self) -> Identity:
        """Pid and start time."""
        return Identity(self.pid, self.start_ticks)


class Registry(msgspec.Struct, frozen=True):
    """All processes of a shop as its supervisor last knew them."""

    boot: str
    phase: Literal["starting", "open", "stopping"]
    sentence: str
    shop_url: str
    console_url: str
    processes: tuple[ProcessRecord, ...] = ()
    recent: tuple[Event, ...] = ()
    """The last events, for readers that can't reach the log."""


def save(path: Path, registry: Registry) -> None:
    """Publishes the registry."""
    write_atomically(path, msgspec.json.encode(registry), mode=0o644)


def load(path: Path) -> Registry | None:
    """The registry, with pids of another boot forgotten; None when there is none."""
    try:
        registry = msgspec.json.decode(path.read_bytes(), type=Registry)
    except (OSError, msgspec.DecodeError):
        return None
    return registry if registry.boot == process.boot_id() else None


def serving(path: Path) -> bool:
    """Whether anything but guardian and supervisor lives: a shop that must not be left to itself."""
    return any(record.role not in ("guardian", "supervisor") for record in living(load(path)))


def living(registry: Registry | None) -> list[ProcessRecord]:
    """The records whose very process still lives."""
    return (
        []
        if registry is None
        else [record for record in registry.processes if record.pid and process.alive(record.identity)]
    )
