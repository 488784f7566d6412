"""A scratch shop for drills and benchmarks: started like any other, with its own home and free ports, removed afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import httpx

from everopen.base import process
from everopen.base.clock import Rng
from everopen.base.errors import EveropenError, StartError
from everopen.drill.faults.clock_jump import preloaded
from everopen.drill.faults.disks import small_disk
from everopen.drill.ground import Ground

START_S_MAX = 180.0
STOP_S_MAX = 60.0


class ScratchShop(Ground):
    """Use as `with`. Environment variables (`EVEROPEN_SECTION_NAME`) change its settings. `disk_mb`: its home lies on a file
    system of its own of that size, where this machine lets us (root, loop devices), so that it can be filled to the brim.
    `clock_can_leap`: its processes are started so that the drill can move their wall clock."""

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        keep: bool = False,
        disk_mb: int = 0,
        clock_can_leap: bool = False,
        rng: Rng | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="everopen-drill-"))
        folder.chmod(0o711)  # the unprivileged account must be able to pass through
        (folder / "everopen.toml").write_text("")
        self._disk = contextlib.ExitStack()
        if disk_mb:
            with contextlib.suppress(EveropenError):  # a fault that needs it says so by itself
                self._disk.enter_context(small_disk(folder / "home", disk_mb))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EVEROPEN_")},
            "EVEROPEN_HOME": str(folder / "home"),
            "EVEROPEN_CONFIG": str(folder / "everopen.toml"),
            "EVEROPEN_SHOP_PORT": "0",
            "EVEROPEN_CONSOLE_PORT": "0",
            "EVEROPEN_SHOP_CATALOGUE": "none",
            "EVEROPEN_EVENTS_PRIVATE_ADDRESSES": "true",  # the drill's own subscriber is on this machine
            **(preloaded(folder) if clock_can_leap else {}),
            **(settings or {}),
        }
        super().__init__(environment=environment, folder=folder, scratch=True, rng=rng, say=say)
        self._keep = keep
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            if not self._keep:
                shutil.rmtree(self.home.run, ignore_errors=True)
                for path in (
                    self.home.nodes,
                    self.home.payments_books.parent,
                ):  # links, when the home can't be entered
                    shutil.rmtree(path.resolve(), ignore_errors=True)
            self._disk.close()
            if not self._keep:
                shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> float:
        """Opens the shop and returns after how many seconds it could take an order. Raises StartError with its log."""
        begun = time.monotonic()
        log = self.folder / "up.log"
        with open(log, "wb") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "everopen.cli", "up"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.folder,
                start_new_session=True,
            )
        while time.monotonic() - begun < START_S_MAX:
            if self._child.poll() is not None:
                break
            if self._ready():
                return time.monotonic() - begun
            time.sleep(0.02)
        raise StartError(
            f"The scratch shop did not open: {log.read_text(errors='replace')[-2000:].strip()}",
            "Run with --keep and see its logs.",
        )

    def _ready(self) -> bool:
        if not (url := self.url):
            return False
        try:
            return httpx.get(f"{url}/readyz", timeout=2.0, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """Closes it; every process it had is gone when this returns."""
        if self._child is None:
            return
        entries = self.processes()
        identities = [process.Identity(entry.pid, entry.start_ticks) for entry in entries if entry.alive]
        guardian = next((entry.pid for entry in entries if entry.role == "guardian" and entry.alive), None)
        for pid in {guardian or self._child.pid, self._child.pid}:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + STOP_S_MAX
        while time.monotonic() < deadline and (
            any(map(process.alive, identities)) or self._child.poll() is None
        ):
            time.sleep(0.05)
        for identity in identities:
            process.send(identity, signal.SIGCONT)
            process.send(identity, signal.SIGKILL)
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        self._child = None
