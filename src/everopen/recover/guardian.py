"""The guardian: holds the listening sockets and the lock, and keeps a supervisor alive. Nothing else, so that nothing
else can break it. It also takes in the orphans of a dead supervisor (child subreaper), so that none stays a zombie."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from everopen.base import process
from everopen.base.process import Identity
from everopen.telemetry.events import print_safely

PR_SET_CHILD_SUBREAPER = 36
FATAL = 3
"""Exit status of a supervisor whose start can't succeed."""


def guard(
    command: Sequence[str],
    *,
    descriptors: Sequence[int],
    environment: Mapping[str, str],
    beat: Path,
    beat_deadline_s: float,
    serving: Callable[[], bool],
    supervisor: Identity | None = None,
) -> int:
    """Keeps a supervisor running until a signal asks to close; returns the exit status for the shell.

    `serving` says whether the shop's processes live. `supervisor` is a living one to watch (this guardian replaces one
    that was killed). `command` gets `--guardian PID:TICKS` appended."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    closing = told = False
    begun: list[float] = []
    own = process.identify(os.getpid())
    assert own is not None
    while True:
        if supervisor is None:
            begun = [at for at in begun if time.monotonic() - at < 30.0] + [time.monotonic()]
            time.sleep(min(5.0, 0.2 * max(0, len(begun) - 3)))
            beat.unlink(missing_ok=True)
            supervisor = process.spawn(
                [*command, "--guardian", f"{own.pid}:{own.start_ticks}"],
                log=None,
                keep_descriptors=descriptors,
                environment=environment,
            )
        started = time.monotonic()
        status: int | None = None
        while status is None:
            poller = select.poll()
            poller.register(reading, select.POLLIN)
            poller.poll(1000)
            for received in _drain(reading):
                if received in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) and not closing:
                    closing = told = True
                    process.send(supervisor, signal.SIGCONT)
                    process.send(supervisor, signal.SIGTERM)
            if closing and not told and beat.exists():  # it listens to signals from its first beat on
                told = process.send(supervisor, signal.SIGTERM)
            status = _ended(supervisor)
            if status is None and not closing and _silent_s(beat, started) > beat_deadline_s:
                print_safely(
                    f"The supervisor has not turned for {beat_deadline_s:.0f} s; starting another (the shop goes on meanwhile)."
                )
                process.send(supervisor, signal.SIGKILL)
                started = time.monotonic()
        if status == FATAL:
            return FATAL
        if closing and (status == 0 or not serving() or len(begun) > 5):
            return 0 if not serving() else 1
        if closing:
            print_safely(
                "The supervisor ended in the middle of closing; starting another that goes on with it."
            )
        else:
            print_safely("The supervisor ended unasked; starting another (the shop goes on meanwhile).")
        supervisor, told = None, False


def _drain(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 512)
    except BlockingIOError:
        return b""


def _ended(supervisor: Identity) -> int | None:
    """Exit status of the supervisor (-1 when it was not our child), None while it lives. Reaps orphans on the way."""
    status: int | None = None
    while True:
        try:
            pid, raw = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            break
        if pid == supervisor.pid:
            status = os.waitstatus_to_exitcode(raw)
    if status is None and not process.alive(supervisor):
        return -1
    return status


def _silent_s(beat: Path, started: float) -> float:
    try:
        return min(time.time() - beat.stat().st_mtime, time.monotonic() - started)
    except OSError:
        return time.monotonic() - started
