"""One PostgreSQL and one sandbox provider for the trading tests; a fresh shop per test."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from everopen.base.clock import SystemClock
from everopen.store import StoreSettings
from everopen.trading import Trading, TradingSettings, audit, catalogue, stock
from everopen.trading.orders import LineRequest, OrderRequest, ProductInput, StockItem
from everopen.trading.payments import SandboxProvider
from tests.support.postgres import Database, Node, running_node

SERVE = """
import sys; from pathlib import Path; from everopen.trading.payments.sandbox_server import SandboxSettings, run
run(SandboxSettings(slow_s=0.3), socket=Path(sys.argv[1]), books=Path(sys.argv[2]), drop_privileges=lambda: None)
"""


class SandboxProcess:
    """The provider's process with books of its own."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "payments.sock"
        self.books = folder / "books.sqlite"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", SERVE, str(self.socket), str(self.books)])
        deadline = time.monotonic() + 20
        while not self.socket.exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(10)
        self.process = None
        if number == signal.SIGKILL:
            self.socket.unlink(missing_ok=True)
        return status


class Shop:
    """A database, a provider and ways to use them in a test."""

    def __init__(self, database: Database, sandbox: SandboxProcess) -> None:
        self.database = database
        self.sandbox = sandbox
        self._numbers = iter(range(10**9))

    @asynccontextmanager
    async def worker(self, **settings: Any) -> AsyncIterator[Trading]:
        """A worker's trading, started and connected."""
        defaults: dict[str, Any] = {
            "payer_poll_s": 0.05,
            "payer_settle_pause_ms": 1.0,
            "payer_timeout_s": 1.0,
            "documents_s": 1e9,  # tests issue documents themselves
        }
        trading = Trading(
            TradingSettings(**{**defaults, **settings}),
            StoreSettings(),
            topology_file=self.database.topology_file,
            app_password="-",
            payments_socket=self.sandbox.socket,
            clock=SystemClock(),
            rng=random.Random(1),
            database=self.database.name,
        )
        await trading.start()
        try:
            yield trading
        finally:
            await trading.stop()

    async def stock(self, trading: Trading, **items: int | None) -> None:
        """Adds products for 2.50 each, with so many on the shelf (None: a SKU without stock)."""
        products = [
            ProductInput(sku, f"Title of {sku}", 250, "", number is not None) for sku, number in items.items()
        ]
        await catalogue.upsert_products(trading.primary, "GBP", products, key=self.key(), fingerprint=b"p")
        received = [StockItem(sku, number) for sku, number in items.items() if number]
        if received:
            await stock.receive_stock(
                trading.primary, received, key=self.key(), fingerprint=b"r", reason="test"
            )

    def key(self) -> str:
        """A key not used before."""
        return f"test-{next(self._numbers)}"

    def order(
        self, *lines: tuple[str, int], key: str | None = None, token: str = "tok_approve", **facts: Any
    ) -> OrderRequest:
        """A request for so many of each SKU."""
        wanted = tuple(LineRequest(sku, quantity) for sku, quantity in lines)
        return OrderRequest(
            **{
                "key": key or self.key(),
                "fingerprint": repr(lines).encode(),
                "lines": wanted,
                "email": "zoë@example.com",
                "provider": "sandbox",
                "token": token,
                **facts,
            }
        )

    async def audit(self, *, books: bool = False) -> audit.AuditReport:
        """The audit, as the audit role."""
        provider = SandboxProvider(self.sandbox.socket, 2.0)
        try:
            async with self.database.connect("everopen_audit") as connection:
                return await audit.run(connection, books=provider.books if books else None)
        finally:
            await provider.close()

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        """Rows, as the superuser."""
        async with self.database.connect("postgres") as connection:
            return list(await connection.fetch(statement, *arguments))

    async def value(self, statement: str, *arguments: Any) -> Any:
        """One value, as the superuser."""
        return (await self.fetch(statement, *arguments))[0][0]


def problems(report: audit.AuditReport) -> list[str]:
    """The failed checks of a report, in words."""
    return [f"{check.name}: {check.detail}" for check in report.checks if not check.ok]


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    with running_node() as running:
        yield running


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    with tempfile.TemporaryDirectory(prefix="everopen-pay-", dir="/tmp") as folder:
        process = SandboxProcess(Path(folder))
        try:
            yield process
        finally:
            if process.process is not None:
                process.stop()


@pytest.fixture
def shop(node: Node, sandbox: SandboxProcess) -> Shop:
    """A fresh shop. Its provider is not running until a test starts it."""
    return Shop(node.create_database_now(), sandbox)
