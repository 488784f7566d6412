"""Operating-system processes by identity, not by number alone.

A pid may be used again; pid plus start time is one process for good. Exits are seen through a pidfd: readable the
moment the process ends, for our own children and for adopted ones alike, without polling. (A child watcher would
see only own children, and a supervisor that restarts has none.)
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec


class Identity(msgspec.Struct, frozen=True):
    """One process for good: pid and kernel start time in clock ticks since boot."""

    pid: int
    start_ticks: int


def start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None when there is no such process or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def identify(pid: int) -> Identity | None:
    """The identity of a living process."""
    ticks = start_ticks(pid)
    return None if ticks is None else Identity(pid, ticks)


def alive(identity: Identity) -> bool:
    """Whether that very process still lives."""
    return start_ticks(identity.pid) == identity.start_ticks


def boot_id() -> str:
    """Changes at each boot; start ticks are comparable only within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def open_pidfd(identity: Identity) -> int | None:
    """A descriptor for exactly that process, None when it is gone."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except OSError:
        return None
    if alive(identity):  # checked after opening: the descriptor can't have come to mean another process
        return descriptor
    os.close(descriptor)
    return None


def watch_exit(identity: Identity, callback: Callable[[], None]) -> None:
    """Calls back once, from the running event loop, when the process ends (at once if it has)."""
    loop = asyncio.get_running_loop()
    descriptor = open_pidfd(identity)
    if descriptor is None:
        reap(identity.pid)
        loop.call_soon(callback)
        return

    def ended() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        reap(identity.pid)
        callback()

    loop.add_reader(descriptor, ended)


def reap(pid: int) -> None:
    """Collects an own child that ended; does nothing for others."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except (ChildProcessError, OSError):
        pass


def send(identity: Identity, number: int) -> bool:
    """Signals exactly that process; False when it is gone."""
    descriptor = open_pidfd(identity)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


async def wait_gone(identity: Identity, timeout_s: float) -> bool:
    """True when the process ended within the time."""
    gone = asyncio.Event()
    watch_exit(identity, gone.set)
    try:
        await asyncio.wait_for(gone.wait(), timeout_s)
    except TimeoutError:
        return False
    return True


async def stop(identity: Identity, *, number: int = signal.SIGTERM, grace_s: float = 5.0) -> None:
    """Asks a process to end, and kills it when it has not after `grace_s`."""
    if not send(identity, number):
        return
    send(identity, signal.SIGCONT)
    if not await wait_gone(identity, grace_s):
        send(identity, signal.SIGKILL)
        await wait_gone(identity, 5.0)


def spawn(
    command: Sequence[str],
    *,
    log: Path | None,
    keep_descriptors: Iterable[int] = (),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    user: tuple[int, int] | None = None,
    own_session: bool = True,
) -> Identity:
    """Starts a process with its output appended to `log` (None: our own output); `user` is (uid, gid) to run as.

    Raises OSError when it can't be started."""
    keep = tuple(keep_descriptors)
    with contextlib.ExitStack() as stack:
        output = None if log is None else stack.enter_context(open(log, "ab", buffering=0))
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if log is None else subprocess.STDOUT,
            close_fds=True,
            pass_fds=keep,
            start_new_session=own_session,
            env=None if environment is None else dict(environment),
            cwd=folder,
            user=user and user[0],
            group=user and user[1],
            extra_groups=[] if user else None,
        )
    child.returncode = 0  # we reap through the pidfd; keeps Popen from warning about a running child
    return identify(child.pid) or Identity(child.pid, -1)


def running_with(*arguments: str) -> list[Identity]:
    """Living processes whose command line has all these arguments."""
    wanted = {argument.encode() for argument in arguments}
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                given = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            identity = identify(int(entry)) if wanted <= set(given) else None
            if identity is not None:
                found.append(identity)
    return found


@contextlib.contextmanager
def _seeing_as(user: tuple[int, int] | None) -> Iterator[None]:
    """Looks through /proc with the eyes of `user`. Root without CAP_SYS_PTRACE (any ordinary container) may not read
    what processes of others work on; their own account may. Only this thread changes, and only in its looking."""
    if user is None or os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.setfsgid(user[1])
    libc.setfsuid(user[0])
    try:
        yield
    finally:
        libc.setfsuid(0)
        libc.setfsgid(os.getegid())


def _in_a_terminal(pid: int) -> bool:
    """Whether a process has a controlling terminal: a person's shell that stands in the folder, not a server."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    return rest[4] != "0" and not name.startswith(("postgres", "pg_", "initdb"))


def processes_in(folder: Path, user: tuple[int, int] | None = None) -> list[int]:
    """Pids whose working directory is `folder`, also one that was removed since: a postmaster and all its children,
    also orphaned ones. `user` is the (uid, gid) that they run as where that is not us."""
    wanted = os.path.realpath(folder)
    found = []
    with _seeing_as(user):
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    if os.readlink(f"/proc/{entry}/cwd") in (wanted, f"{wanted} (deleted)"):
                        found.append(int(entry))
                except OSError:
                    continue
    return [pid for pid in found if not _in_a_terminal(pid)]


def kill_all_in(
    folder: Path,
    *,
    user: tuple[int, int] | None = None,
    timeout_s: float = 5.0,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """SIGKILLs every process working in `folder` until none is left; True when the set is proven empty.

    A SIGKILL of the postmaster alone is no fence: its children live on for milliseconds and may commit."""
    deadline = time.monotonic() + timeout_s
    while True:
        pids = [pid for pid in processes_in(folder, user) if start_ticks(pid) is not None]
        if not pids:
            return True
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            return False
        sleep(0.001)
