"""A scratch shop for a benchmark: started like any other, with its own home and free ports, and removed afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx

from everopen.base import process
from everopen.base.errors import EveropenError, StartError
from everopen.base.home import Home
from everopen.base.secrets import Secrets, load_or_create
from everopen.base.topology import Topology, TopologyReader

START_S_MAX = 180.0
STOP_S_MAX = 60.0
WHOLE_S_MAX = 60.0
STOCK_EACH = 500_000_000
BATCH = 1000


class ScratchShop:
    """Use as `with`. Environment variables (`EVEROPEN_SECTION_NAME`) change its settings."""

    def __init__(self, settings: Mapping[str, str] | None = None, *, keep: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="everopen-bench-"))
        self.folder.chmod(0o711)  # the unprivileged account must be able to pass through
        (self.folder / "everopen.toml").write_text("")
        self.settings = dict(settings or {})
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EVEROPEN_")},
            "EVEROPEN_HOME": str(self.folder / "home"),
            "EVEROPEN_CONFIG": str(self.folder / "everopen.toml"),
            "EVEROPEN_SHOP_PORT": "0",
            "EVEROPEN_CONSOLE_PORT": "0",
            "EVEROPEN_SHOP_CATALOGUE": "none",
            **self.settings,
        }
        self.url = ""
        self._keep = keep
        self._home: Home | None = None
        self._topology: TopologyReader | None = None
        self._child: subprocess.Popen[bytes] | None = None

    # -- life ----------------------------------------------------------------------------------------------------

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
                shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def home(self) -> Home:
        """Its places on disk."""
        if self._home is None:
            self._home = Home(self.environment["EVEROPEN_HOME"])
        return self._home

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
        try:
            registry = json.loads(self.home.processes_file.read_bytes())
        except (OSError, ValueError):
            return False
        url = str(registry.get("shop_url") or "")
        if not url:
            return False
        self.url = url if url.startswith("http") else f"http://{url}"
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2.0, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """Closes it; every process it had is gone when this returns."""
        if self._child is None:
            return
        identities = [
            identity for entry in self._entries() if (identity := process.identify(int(entry["pid"] or 0)))
        ]
        guardian = next(
            (int(e["pid"]) for e in self._entries() if e["role"] == "guardian" and e["pid"]), None
        )
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

    def _entries(self) -> list[dict[str, Any]]:
        try:
            return list(self.status()["processes"])
        except (EveropenError, KeyError):
            return []

    # -- looking -------------------------------------------------------------------------------------------------

    def command(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Runs an `everopen` command on this shop."""
        return subprocess.run(
            [sys.executable, "-m", "everopen.cli", *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """`everopen status --json`."""
        return self._json("status", "--json")

    def audit(self) -> dict[str, Any]:
        """`everopen audit --json`."""
        return self._json("audit", "--json")

    def _json(self, *arguments: str) -> dict[str, Any]:
        answer = self.command(*arguments)
        try:
            found = json.loads(answer.stdout)
        except ValueError:
            raise EveropenError(
                f"`everopen {' '.join(arguments)}` said: {(answer.stderr or answer.stdout).strip()[-500:]}"
            ) from None
        return dict(found)

    def topology(self) -> Topology | None:
        """What the supervisor published last."""
        if self._topology is None:
            self._topology = TopologyReader(self.home.topology_file)
        return self._topology.current()

    def wait_whole(self, *, after_epoch: int | None = None, gone: int | None = None) -> float:
        """Waits until every process runs and a standby confirms (under a new primary, if `after_epoch`; without the process
        `gone`), and answers since when. A new primary is seen in the topology within milliseconds, the rest in the status.
        Raises EveropenError when it takes too long."""
        deadline = time.monotonic() + WHOLE_S_MAX
        synchronous_at: float | None = None
        while time.monotonic() < deadline:
            if not self._synchronous(after_epoch):
                synchronous_at = None
                time.sleep(0.005)
                continue
            synchronous_at = synchronous_at or time.time()
            status = self.status()
            pids = {entry["pid"] for entry in status["processes"]}
            if status["state"] == "open" and gone not in pids and all(pids):
                return synchronous_at if after_epoch is not None else time.time()
        sentence = self.status()["sentence"]
        raise EveropenError(
            f"The shop was not whole after {WHOLE_S_MAX:.0f} s: {sentence}",
            "Run with --keep and see its logs.",
        )

    def _synchronous(self, after_epoch: int | None) -> bool:
        topology = self.topology()
        return (
            topology is not None
            and topology.durability == "synchronous"
            and any(standby.synchronous and standby.state == "up" for standby in topology.standbys)
            and (after_epoch is None or topology.epoch > after_epoch)
        )

    @property
    def secrets(self) -> Secrets:
        """Its generated credentials."""
        return load_or_create(self.home.secrets_file)[0]

    def pids(self, role: str) -> list[int]:
        """Living processes of a role, by `everopen status --json`."""
        return [
            int(entry["pid"])
            for entry in self.status()["processes"]
            if entry["role"] == role and entry["pid"]
        ]

    def processes_by_role(self) -> dict[str, list[int]]:
        """All living pids by role; the children of a PostgreSQL node are under `primary: walwriter` and the like."""
        found: dict[str, list[int]] = {}
        for entry in self.status()["processes"]:
            if not entry["pid"]:
                continue
            found.setdefault(entry["role"], []).append(int(entry["pid"]))
            if entry["role"] in ("primary", "standby"):
                for child in node_processes(int(entry["pid"])):
                    if child != int(entry["pid"]):
                        found.setdefault(f"{entry['role']}: {postgres_kind(title_of(child))}", []).append(
                            child
                        )
        return found

    # -- goods and rows ------------------------------------------------------------------------------------------

    def stock_up(self, skus: Sequence[str], *, price: int = 500) -> None:
        """Puts products into the catalogue with plenty of stock."""
        bearer = {"Authorization": f"Bearer {self.secrets.operator_key}"}
        with httpx.Client(base_url=self.url, headers=bearer, timeout=60.0, trust_env=False) as client:
            for start in range(0, len(skus), BATCH):
                batch = skus[start : start + BATCH]
                products = [
                    {"sku": sku, "title": f"Benchmark {sku}", "price": {"amount": price, "currency": "GBP"}}
                    for sku in batch
                ]
                client.put("/api/products", json={"products": products}).raise_for_status()
                items = [{"sku": sku, "quantity": STOCK_EACH} for sku in batch]
                body = {"items": items, "reason": "benchmark"}
                key = {"Idempotency-Key": f"bench-stock-{start}"}
                client.post("/api/stock/receipts", json=body, headers=key).raise_for_status()

    async def connect(self) -> asyncpg.Connection[Any]:
        """A superuser connection to the primary."""
        topology = self.topology()
        if topology is None or topology.primary is None:
            raise EveropenError("The scratch shop has no primary.")
        endpoint = topology.primary.endpoint
        connection: asyncpg.Connection[Any] = await asyncpg.connect(
            host=endpoint.path,
            port=endpoint.port,
            user="postgres",
            password=self.secrets.superuser,
            database="everopen",
            timeout=10,
        )
        return connection


def node_processes(postmaster: int) -> list[int]:
    """A PostgreSQL node's processes, postmaster first: all that work in its data folder."""
    try:
        folder = Path(os.readlink(f"/proc/{postmaster}/cwd"))
    except OSError:
        return []
    return [postmaster, *(pid for pid in process.processes_in(folder) if pid != postmaster)]


def title_of(pid: int) -> str:
    """A process's title, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def postgres_kind(title: str) -> str:
    """What a PostgreSQL child does, from its process title: `postgres: walwriter` → walwriter."""
    if not title.startswith("postgres: "):
        return "postmaster"
    rest = title.removeprefix("postgres: ")
    first, _, others = rest.partition(": ")
    rest = others if others and " " not in first else rest  # a cluster name stands before
    for kind in (
        "walwriter",
        "walsender",
        "walreceiver",
        "walsummarizer",
        "checkpointer",
        "background writer",
        "startup",
        "io worker",
        "archiver",
    ):
        if rest.startswith(kind):
            return kind
    if rest.startswith(("autovacuum", "logical replication")):
        return " ".join(rest.split()[:2])
    if rest.startswith("everopen_app"):
        return "lanes and payer"
    return "other sessions"
