"""Choosing and touching processes of the shop under drill, and no others."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from everopen.base import process
from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.base.process import Identity
from everopen.drill.ground import NODE_ROLES, Ground, node_processes


class Victim(msgspec.Struct, frozen=True):
    """One process of a role with everything that lives and dies with it (a node's children)."""

    name: str
    role: str
    main: Identity
    all: tuple[Identity, ...]

    @property
    def pids(self) -> tuple[int, ...]:
        """The process itself first."""
        return tuple(identity.pid for identity in self.all)


def living(ground: Ground, role: str) -> list[Victim]:
    """All living processes of a role, by name."""
    found = []
    for entry in sorted(ground.processes(), key=lambda each: each.name):
        if entry.role != role or not entry.alive:
            continue
        main = Identity(entry.pid, entry.start_ticks)
        pids = node_processes(entry.pid) if role in NODE_ROLES else [entry.pid]
        rest = (process.identify(pid) for pid in pids if pid != entry.pid)
        found.append(Victim(entry.name, role, main, (main, *(one for one in rest if one is not None))))
    return found


def choose(ground: Ground, role: str, rng: Rng) -> Victim:
    """One of them. Raises EveropenError when none lives."""
    candidates = living(ground, role)
    if not candidates:
        raise EveropenError(f"No {role} lives just now.", "`everopen status` shows what does.")
    return rng.choice(candidates)


def missing_role(ground: Ground, role: str) -> str | None:
    """A sentence when this shop has no such process."""
    if any(entry.role == role for entry in ground.processes()):
        return None
    return f"This shop has no {role}."


def identities(data: object) -> list[Identity]:
    """Reads back what `as_data` wrote."""
    return msgspec.convert(data, list[Identity])


def as_data(found: tuple[Identity, ...] | list[Identity]) -> list[dict[str, int]]:
    """Identities in plain form, for `Injected.data`."""
    return [{"pid": one.pid, "start_ticks": one.start_ticks} for one in found]


def data_folder(postmaster: int) -> Path:
    """The data folder of a node. Raises EveropenError when it is gone."""
    try:
        return Path(os.readlink(f"/proc/{postmaster}/cwd"))
    except OSError:
        raise EveropenError(f"The node of process {postmaster} is gone.") from None


def may_touch(ground: Ground, role: str) -> str | None:
    """A sentence when a process of a role belongs to another user, and we are not root."""
    if ground.root:
        return None
    for victim in living(ground, role):
        try:
            owner = os.stat(f"/proc/{victim.main.pid}").st_uid
        except OSError:
            continue
        if owner != os.geteuid():
            return f"The {role} runs as another user; that needs root."
    return None
