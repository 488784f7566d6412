"""Control groups of the kernel, both versions: a bound on what some processes may use, taken back without a trace.

A group of our own is made beside the victims' one, they are moved in (their later children follow by themselves), and
moved back before the group is removed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

ROOT = Path("/sys/fs/cgroup")


class Group(msgspec.Struct, frozen=True):
    """Our group and where its processes came from."""

    folder: str
    home: str


def controller(name: str, proof: str) -> tuple[Path, int] | None:
    """The folder under which groups with a controller can be made by us, and the version (1 or 2); None: there is none.
    `proof` is a file that a new group must have."""
    unified = ROOT if (ROOT / "cgroup.controllers").exists() else ROOT / "unified"
    version_1 = {"io": "blkio"}.get(name, name)
    for folder, version in ((unified, 2), (ROOT / version_1, 1)):
        if not os.access(folder, os.W_OK):
            continue
        trial = folder / f"everopen-trial-{secrets.token_hex(4)}"
        try:
            if version == 2 and name not in (folder / "cgroup.subtree_control").read_text().split():
                continue
            trial.mkdir()
        except OSError:
            continue
        try:
            if (trial / (proof if version == 2 else PROOFS_1[proof])).exists():
                return folder, version
        finally:
            with contextlib.suppress(OSError):
                trial.rmdir()
    return None


PROOFS_1 = {"cpu.max": "cpu.cfs_quota_us", "io.max": "blkio.throttle.write_iops_device"}


def enter(folder: Path, pids: Iterable[int], limits: dict[str, str]) -> Group:
    """A new group with these limits and these processes in it. Raises OSError when it can't be made."""
    chosen = list(pids)
    group = folder / f"everopen-drill-{secrets.token_hex(4)}"
    home = _home_of(folder, chosen[0]) if chosen else folder
    group.mkdir()
    try:
        for name, value in limits.items():
            (group / name).write_text(value)
    except OSError:
        group.rmdir()
        raise
    _move(chosen, group)
    return Group(str(group), str(home))


def leave(group: Group) -> None:
    """Moves everybody back and removes the group; safe to repeat."""
    folder = Path(group.folder)
    for _ in range(50):  # children may be born meanwhile
        try:
            pids = [int(line) for line in (folder / "cgroup.procs").read_text().split()]
        except OSError:
            return
        _move(pids, Path(group.home))
        with contextlib.suppress(OSError):
            folder.rmdir()
            return


def _move(pids: list[int], folder: Path) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):  # it ended
            (folder / "cgroup.procs").write_text(str(pid))


def _home_of(folder: Path, pid: int) -> Path:
    """The present group of a process in the hierarchy of `folder`."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return folder
    for line in lines:
        _, names, path = line.split(":", 2)
        if (names == "" and folder in (ROOT, ROOT / "unified")) or folder.name in names.split(","):
            return folder / path.lstrip("/")
    return folder
