"""Starting, steering and ending an interposer (`interpose`), and cutting the connections that pass it by.

Connections that were there before the interposer would go on undisturbed. They are cut from outside: the descriptor of the
accepted end is borrowed (pidfd_getfd) and shut down, which both ends feel as a lost connection.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from everopen.base import process
from everopen.base.errors import EveropenError
from everopen.base.process import Identity
from everopen.drill.interpose import UNIX_PEER, Place, belongs

READY_S_MAX = 10.0
END_S_MAX = 5.0
SYS_PIDFD_GETFD = 438
_libc = ctypes.CDLL(None, use_errno=True)
_running: dict[int, subprocess.Popen[bytes]] = {}
"""Interposers of this drill by pid."""


def start(place: Place, log: Path) -> Identity:
    """Puts an interposer in place, letting everything pass. Raises EveropenError when it can't take the place."""
    with open(log, "ab") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "everopen.drill.interpose", msgspec.json.encode(place).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is the drill's to handle; when the drill ends, standard input does
        )
    _running[child.pid] = child
    identity = process.identify(child.pid) or Identity(child.pid, -1)
    if _read(child) is None:
        end(identity)
        raise EveropenError(f"The place of {place.path} can't be taken.", f"See {log}.")
    return identity


def steer(identity: Identity, **way: Any) -> dict[str, int]:
    """Changes how it misbehaves; without arguments only asks. Returns its counts: hurt, passed, open."""
    child = _running.get(identity.pid)
    if child is None or child.stdin is None:
        return {}
    try:
        child.stdin.write(json.dumps(way).encode() + b"\n")
        child.stdin.flush()
    except OSError:
        return {}
    return _read(child) or {}


def until_used(identity: Identity, timeout_s: float) -> bool:
    """Waits until a connection that will be hurt goes through it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        counts = steer(identity)
        if not counts:
            return False
        if counts["open"] > 0:
            return True
        time.sleep(0.02)
    return False


def end(identity: Identity) -> None:
    """Has the real socket put back; safe to repeat."""
    child = _running.pop(identity.pid, None)
    process.send(identity, signal.SIGTERM)
    if child is None:
        return
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        child.wait(END_S_MAX)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _read(child: subprocess.Popen[bytes]) -> dict[str, int] | None:
    """One line, or None when it ended. Its promptness is bounded by its own life."""
    assert child.stdout is not None
    line = child.stdout.readline()
    return None if not line else dict(json.loads(line))


# -- cutting -------------------------------------------------------------------------------------------------------


def borrow(identity: Identity, number: int) -> socket.socket | None:
    """A copy of a socket of another process. Raises PermissionError; None when it is gone."""
    descriptor = process.open_pidfd(identity)
    if descriptor is None:
        return None
    try:
        copied = _libc.syscall(SYS_PIDFD_GETFD, descriptor, number, 0)
    finally:
        os.close(descriptor)
    if copied < 0:
        if ctypes.get_errno() in (1, 13):
            raise PermissionError(ctypes.get_errno(), "pidfd_getfd")
        return None
    try:
        return socket.socket(fileno=copied)
    except OSError:
        os.close(copied)
        return None


def may_cut(identity: Identity) -> bool:
    """Whether descriptors of a process can be borrowed by us (root, or the same user without restrictions)."""
    try:
        numbers = [int(name) for name in os.listdir(f"/proc/{identity.pid}/fd")]
        found = next((number for number in sorted(numbers) if is_socket(identity.pid, number)), None)
        if found is None:
            return True
        copied = borrow(identity, found)
    except OSError:
        return False
    if copied is not None:
        copied.close()
    return True


def is_socket(pid: int, number: int) -> bool:
    """Whether a descriptor is a socket."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:")
    except OSError:
        return False


def cut(holders: Iterable[Identity], bound: str, callers: set[int]) -> int:
    """Cuts connections that the holders accepted on the socket bound as `bound` from any of the callers (or a child of
    one); returns how many. Raises PermissionError."""
    inodes = accepted_inodes(bound)
    count = 0
    for holder in holders:
        try:
            names = os.listdir(f"/proc/{holder.pid}/fd")
        except OSError:
            continue
        for name in names:
            try:
                link = os.readlink(f"/proc/{holder.pid}/fd/{name}")
            except OSError:
                continue
            if link.removeprefix("socket:") not in inodes:
                continue
            connection = borrow(holder, int(name))
            if connection is None:
                continue
            with connection:
                try:
                    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UNIX_PEER.size)
                    if belongs(UNIX_PEER.unpack(raw)[0], callers):
                        connection.shutdown(socket.SHUT_RDWR)
                        count += 1
                except OSError:
                    continue
    return count


def accepted_inodes(bound: str) -> set[str]:
    """The accepted sockets of a bound path, as `[INODE]`, from /proc/net/unix (state 3 is connected)."""
    found = set()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[7] == bound and fields[5] == "03":
            found.add(f"[{fields[6]}]")
    return found
