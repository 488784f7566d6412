"""A real worker (and a real sandbox of payments) for tests: processes of their own, over Unix sockets.

Run as a script it is such a process; imported, it starts them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.support.postgres import Database, Node

OPERATOR_KEY = "operator-key-of-the-tests"
SOURCES = Path(__file__).parents[3] / "src"


class _NoMoreImports:
    """What `drop_privileges` does to an installation that can't be read any more."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        raise ImportError(f"{name} was imported after drop_privileges()")


def _drop_privileges() -> None:
    sys.meta_path.insert(0, _NoMoreImports())  # type: ignore[arg-type]


def _main() -> None:
    asked: dict[str, Any] = json.loads(sys.argv[2])
    if sys.argv[1] == "payments":
        from everopen.trading.payments import sandbox_server
        from everopen.trading.payments.signing import sandbox_secret

        sandbox_server.run(
            sandbox_server.SandboxSettings(**asked.get("sandbox", {})),
            socket=Path(asked["socket"]),
            books=Path(asked["books"]),
            drop_privileges=lambda: None,
            webhook_secret=sandbox_secret(OPERATOR_KEY),
        )
        return
    if asked.get("steps"):
        from tests.integration.api import steps

        steps.watch(Path(asked["steps"]), asked.get("die_at"))
    import msgspec

    from everopen.api.main import run
    from everopen.api.settings import ApiSettings
    from everopen.store.settings import StoreSettings
    from everopen.trading.events.settings import EventsSettings
    from everopen.trading.payments import StripeSetup
    from everopen.trading.people import PeopleSettings
    from everopen.trading.settings import TradingSettings

    run(
        msgspec.convert(asked.get("api", {}), ApiSettings),
        msgspec.convert(asked.get("trading", {}), TradingSettings),
        msgspec.convert(asked.get("store", {}), StoreSettings),
        msgspec.convert(
            {"argon2_memory_kib": 8192, "argon2_passes": 1, **asked.get("people", {})}, PeopleSettings
        ),
        name="worker-1",
        socket=Path(asked["socket"]),
        topology_file=Path(asked["topology_file"]),
        app_password="-",
        operator_key=OPERATOR_KEY,
        payments_socket=Path(asked["payments_socket"]),
        stripe=msgspec.convert(asked["stripe"], StripeSetup) if "stripe" in asked else None,
        drop_privileges=_drop_privileges,
        events=msgspec.convert(asked.get("events", {}), EventsSettings),
    )


class Running:
    """A started process and a client of its socket."""

    def __init__(self, role: str, path: Path, **asked: Any) -> None:
        self.socket = path
        self.log = path.with_suffix(".log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, __file__, role, json.dumps({"socket": str(path), **asked})],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(SOURCES)},
            )
        self.client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(path)), base_url="http://shop", timeout=30.0
        )

    def wait_until(self, path: str) -> None:
        """Returns when `path` answers 200."""
        deadline = time.monotonic() + 20
        while True:
            if can_connect(self.socket) and self.client.get(path).status_code == 200:
                return
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(self.log.read_text())
            time.sleep(0.02)

    def end(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.client.close()
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def can_connect(path: Path) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


async def create_shop_database(node: Node) -> Database:
    """A migrated database under the name that workers connect to."""
    connection = await asyncpg.connect(
        host=str(node.folder), port=node.port, user="postgres", database="postgres"
    )
    await connection.execute("CREATE DATABASE everopen TEMPLATE shop_template OWNER everopen_owner")
    await connection.close()
    return Database(node, "everopen")


@contextmanager
def running_shop(folder: Path, topology_file: Path, **settings: Any) -> Iterator[Running]:
    """A worker with its payments process; ready when it comes."""
    hook = f"unix:{folder / 'worker.sock'}:/api/payments/sandbox/webhooks"
    payments = Running(
        "payments",
        folder / "payments.sock",
        books=str(folder / "books.sqlite"),
        sandbox={"webhook_url": hook},
    )
    worker = Running(
        "worker",
        folder / "worker.sock",
        topology_file=str(topology_file),
        payments_socket=str(folder / "payments.sock"),
        **settings,
    )
    try:
        worker.wait_until("/readyz")
        yield worker
    finally:
        worker.end()
        payments.end()


if __name__ == "__main__":
    _main()
