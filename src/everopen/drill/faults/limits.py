"""Resource limits of other processes.

The kernel lets a process change the limits of another one of the same user, and root only where it holds CAP_SYS_RESOURCE,
which containers often lack. So as root it is asked as the victim's own user, through the small program `prlimit`.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from pathlib import Path

from everopen.base import process
from everopen.base.process import Identity

Limits = tuple[int, int]
"""Soft and hard; -1 is none (resource.RLIM_INFINITY)."""
ROWS = {
    resource.RLIMIT_AS: ("Max address space", "--as"),
    resource.RLIMIT_NOFILE: ("Max open files", "--nofile"),
    resource.RLIMIT_FSIZE: ("Max file size", "--fsize"),
}


def limits_of(pid: int, kind: int) -> Limits:
    """The present limits. Raises OSError when the process is gone."""
    title = ROWS[kind][0]
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith(title):
            soft, hard = line.removeprefix(title).split()[:2]
            return _number(soft), _number(hard)
    raise ProcessLookupError(pid)


def set_limits(victim: Identity, kind: int, wanted: Limits) -> bool:
    """Changes them; False when the process is gone. Raises PermissionError."""
    if not process.alive(victim):
        return False
    try:
        resource.prlimit(victim.pid, kind, wanted)
    except ProcessLookupError:
        return False
    except PermissionError:
        if os.geteuid() != 0 or shutil.which("prlimit") is None:
            raise
        return _as_its_user(victim, kind, wanted)
    return True


def _as_its_user(victim: Identity, kind: int, wanted: Limits) -> bool:
    try:
        lines = Path(f"/proc/{victim.pid}/status").read_text().splitlines()
    except OSError:
        return False
    ids = {line.split()[0]: int(line.split()[1]) for line in lines if line.startswith(("Uid:", "Gid:"))}
    value = ":".join("unlimited" if each < 0 else str(each) for each in wanted)
    done = subprocess.run(
        ["prlimit", f"--pid={victim.pid}", f"{ROWS[kind][1]}={value}"],
        user=ids["Uid:"],
        group=ids["Gid:"],
        extra_groups=[],
        capture_output=True,
        check=False,
        cwd="/",
    )
    if done.returncode and process.alive(victim):
        raise PermissionError(done.stderr.decode(errors="replace").strip())
    return done.returncode == 0


def may_limit(victim: Identity, kind: int) -> str | None:
    """Why its limits can't be changed; None: they can (tried with the ones it has)."""
    try:
        set_limits(victim, kind, limits_of(victim.pid, kind))
    except PermissionError:
        return "The limits of its processes can't be changed: that needs the same user, or root with CAP_SYS_RESOURCE or the program prlimit."
    except OSError:
        return None
    return None


def _number(text: str) -> int:
    return resource.RLIM_INFINITY if text == "unlimited" else int(text)
