"""Processes by identity, with real ones."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from everopen.base import process
from everopen.base.process import Identity

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_reused_pid_is_not_the_same_process() -> None:
    own = process.identify(os.getpid())
    assert own is not None
    assert process.alive(own)
    assert not process.alive(Identity(own.pid, own.start_ticks + 1))
    assert not process.send(Identity(own.pid, own.start_ticks + 1), signal.SIGKILL)


def test_an_exit_is_seen_through_the_pidfd(tmp_path: Path) -> None:
    async def watch() -> None:
        identity = process.spawn(SLEEP, log=tmp_path / "log")
        ended = asyncio.Event()
        process.watch_exit(identity, ended.set)
        process.send(identity, signal.SIGKILL)
        await asyncio.wait_for(ended.wait(), 10)
        assert not process.alive(identity)

    asyncio.run(watch())


def test_a_stopped_process_is_ended_too(tmp_path: Path) -> None:
    async def stop() -> None:
        identity = process.spawn(SLEEP, log=tmp_path / "log")
        process.send(identity, signal.SIGSTOP)
        await process.stop(identity, grace_s=5)
        assert not process.alive(identity)

    asyncio.run(stop())


def test_the_fence_kills_orphans_that_work_in_the_folder(tmp_path: Path) -> None:
    """A parent that is killed leaves its child behind; the child is found by its working directory."""
    script = f"import subprocess, time; print(subprocess.Popen({SLEEP!r}).pid, flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert process.start_ticks(child) is not None
    assert process.kill_all_in(tmp_path)
    assert process.start_ticks(child) is None


def test_the_fence_of_root_sees_what_another_account_runs_even_without_the_right_to_trace() -> None:
    """In an ordinary container root has no CAP_SYS_PTRACE and may not read where processes of others work. A fence
    that sees nobody and calls that proof leaves the former primary alive."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        victim = subprocess.Popen(
            ["sleep", "60"], cwd=folder, user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[]
        )
        script = (
            "from pathlib import Path; from everopen.base import process;"
            f"print(process.kill_all_in(Path({folder!r}), user=({nobody.pw_uid}, {nobody.pw_gid})))"
        )
        done = subprocess.run(
            ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace", sys.executable, "-c", script],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        try:
            assert done.stdout.strip() == "True", done.stderr
            assert victim.wait(5) == -signal.SIGKILL
        finally:
            victim.kill()
