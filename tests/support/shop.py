"""A whole shop of its own for tests: scratch home, free ports, closed (and killed by pid) at the end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

STAFF_STOCK = 1_000_000


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Shop:
    """A running shop, seen from outside: HTTP, the command line, signals."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port, self.console_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.console_url = f"http://127.0.0.1:{self.console_port}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("EVEROPEN_")}
        self.environment = {
            **kept,
            "EVEROPEN_HOME": str(home),
            "EVEROPEN_SHOP_PORT": str(self.port),
            "EVEROPEN_CONSOLE_PORT": str(self.console_port),
            "EVEROPEN_URL": self.url,
            "EVEROPEN_CLUSTER_SHARED_BUFFERS_MB": "64",
            **settings,
        }

    def run(
        self, *arguments: str, check: bool = False, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """One `everopen` command."""
        return subprocess.run(
            [sys.executable, "-m", "everopen.cli", *arguments],
            env=self.environment,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
            stdin=subprocess.DEVNULL,
        )

    def up(self) -> None:
        """Opens the shop in the background."""
        done = self.run("up", "--detach")
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        """`everopen status --json`."""
        document: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return document

    def pids(self, role: str) -> list[int]:
        """Pids of the living processes of a role."""
        return [
            entry["pid"] for entry in self.status()["processes"] if entry["role"] == role and entry["pid"]
        ]

    def until(self, true: Callable[[dict[str, Any]], bool], *, timeout: float = 40) -> dict[str, Any]:
        """Waits until the status satisfies a condition."""
        deadline = time.monotonic() + timeout
        while True:
            document = self.status()
            if true(document):
                return document
            assert time.monotonic() < deadline, document
            time.sleep(0.1)

    def until_whole(self) -> dict[str, Any]:
        """Waits until everything runs and commits are confirmed by a standby."""
        return self.until(lambda document: document["state"] == "open")

    @property
    def operator_key(self) -> str:
        """The key for staff calls."""
        key: str = json.loads((self.home / "secrets.json").read_text())["operator_key"]
        return key

    def staff(self, method: str, path: str, body: Any, key: str | None = None) -> httpx.Response:
        """A staff call."""
        headers = {
            "Authorization": f"Bearer {self.operator_key}",
            **({"Idempotency-Key": key} if key else {}),
        }
        return httpx.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=40)

    def order(
        self, sku: str, quantity: int = 1, *, key: str | None = None, token: str = "tok_approve"
    ) -> httpx.Response:
        """One guest order."""
        body = {
            "lines": [{"sku": sku, "quantity": quantity}],
            "customer": {"email": "ann@example.org"},
            "payment": {"provider": "sandbox", "token": token},
        }
        return httpx.post(
            f"{self.url}/api/orders", json=body, headers={"Idempotency-Key": key} if key else {}, timeout=40
        )

    def close(self) -> None:
        """Closes the shop; whatever is left is killed by pid."""
        self.run("down", check=False)
        for entry in self.status()["processes"]:
            if entry["pid"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(entry["pid"], signal.SIGKILL)


@contextlib.contextmanager
def scratch_home() -> Iterator[Path]:
    """A home under the temporary folder that an unprivileged account may enter."""
    folder = Path(tempfile.mkdtemp(prefix="everopen-test-"))
    folder.chmod(0o711)
    try:
        yield folder / "home"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_shop(**settings: str) -> Iterator[Shop]:
    """A shop that is open, with its sample catalogue."""
    with scratch_home() as home:
        shop = Shop(home, **settings)
        try:
            shop.up()
            yield shop
        finally:
            shop.close()
