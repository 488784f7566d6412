"""The ground of a drill: a running shop, seen and touched from outside.

Everything that a fault, a workload or a checker needs to know of the shop comes through here: the files of its home, its
command line, HTTP and signals. Importing the shop's own rooms was turned down: a drill that trusts the code under test would
share its mistakes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec

from everopen.base import process
from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.base.home import Home
from everopen.base.process import Identity
from everopen.base.secrets import Secrets, load_or_create
from everopen.base.topology import Endpoint, Topology, TopologyReader

WHOLE_S_MAX = 60.0
POLL_S = 0.01
BATCH = 1000
NODE_ROLES = ("primary", "standby")


class NotWhole(EveropenError):
    """The shop did not become whole in time."""


class Living(msgspec.Struct, frozen=True):
    """A process of the shop as its supervisor wrote it down. pid 0: it should be there and is not."""

    name: str
    role: str
    pid: int
    start_ticks: int
    state: str
    endpoint: Endpoint
    since: float

    @property
    def alive(self) -> bool:
        """Whether that very process lives."""
        return bool(self.pid) and process.alive(Identity(self.pid, self.start_ticks))


class _Registry(msgspec.Struct, frozen=True):
    phase: str
    shop_url: str
    console_url: str
    processes: tuple[Living, ...] = ()


class Ground:
    """One shop. `folder` is the drill's own: everybody may pass through it, nothing of the shop lies in it (a scratch
    shop's home does)."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        folder: Path,
        scratch: bool,
        rng: Rng | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.environment = dict(environment)
        self.folder = folder
        self.scratch = scratch
        self.rng = rng or Rng(1)
        self.root = os.geteuid() == 0
        self._say = say
        self._home: Home | None = None
        self._url = ""
        self._console_url = ""
        self._topology: TopologyReader | None = None
        self._decode = msgspec.json.Decoder(_Registry).decode

    # -- where it is ---------------------------------------------------------------------------------------------

    @property
    def home(self) -> Home:
        """Its places on disk."""
        if self._home is None:
            self._home = Home(self.environment["EVEROPEN_HOME"])
        return self._home

    @property
    def url(self) -> str:
        """The shop's address, e.g. http://127.0.0.1:8080; empty before it ran."""
        self._addresses()
        return self._url

    @property
    def console_url(self) -> str:
        """The console's address."""
        self._addresses()
        return self._console_url

    def _addresses(self) -> None:
        if (registry := self._registry()) is not None:
            self._url = _with_scheme(registry.shop_url) or self._url
            self._console_url = _with_scheme(registry.console_url) or self._console_url

    @property
    def secrets(self) -> Secrets:
        """Its generated credentials."""
        return load_or_create(self.home.secrets_file)[0]

    # -- looking -------------------------------------------------------------------------------------------------

    def command(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Runs an `everopen` command on this shop."""
        return subprocess.run(
            [sys.executable, "-m", "everopen.cli", *arguments],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """`everopen status --json`: what a user is told. A process start each time; `processes` costs a file read."""
        return self._json("status", "--json")

    def audit(self) -> dict[str, Any]:
        """`everopen audit --json`."""
        return self._json("audit", "--json", timeout_s=600.0)

    def _json(self, *arguments: str, timeout_s: float = 120.0) -> dict[str, Any]:
        answer = self.command(*arguments, timeout_s=timeout_s)
        try:
            found = json.loads(answer.stdout)
        except ValueError:
            raise EveropenError(
                f"`everopen {' '.join(arguments)}` said: {(answer.stderr or answer.stdout).strip()[-500:]}"
            ) from None
        return dict(found)

    def _registry(self) -> _Registry | None:
        try:
            return self._decode(self.home.processes_file.read_bytes())
        except (OSError, msgspec.DecodeError):
            return None

    def processes(self) -> tuple[Living, ...]:
        """What the supervisor wrote down last, read from the file; entries may be dead (see `Living.alive`)."""
        registry = self._registry()
        return () if registry is None else registry.processes

    def pids(self, role: str) -> list[int]:
        """Living processes of a role: guardian, supervisor, gateway, worker, primary, standby, console, payments."""
        return [entry.pid for entry in self.processes() if entry.role == role and entry.alive]

    def topology(self) -> Topology | None:
        """What the supervisor published last."""
        if self._topology is None:
            self._topology = TopologyReader(self.home.topology_file)
        return self._topology.current()

    def node_processes(self, postmaster: int) -> list[int]:
        """A PostgreSQL node's processes, postmaster first."""
        return node_processes(postmaster)

    def processes_by_role(self) -> dict[str, list[int]]:
        """All living pids by role; the children of a PostgreSQL node are under `primary: walwriter` and the like."""
        found: dict[str, list[int]] = {}
        for entry in self.processes():
            if not entry.alive:
                continue
            found.setdefault(entry.role, []).append(entry.pid)
            if entry.role in NODE_ROLES:
                for child in node_processes(entry.pid)[1:]:
                    kind = f"{entry.role}: {postgres_kind(title_of(child))}"
                    found.setdefault(kind, []).append(child)
        return found

    # -- waiting -------------------------------------------------------------------------------------------------

    def whole(self, *, after_epoch: int | None = None, gone: Sequence[int] = ()) -> bool:
        """Whether every process runs and a standby confirms commits (under a new primary, if `after_epoch`; without the
        processes `gone`). Two file reads."""
        processes, topology = self.processes(), self.topology()
        return (
            topology is not None
            and topology.primary is not None
            and (after_epoch is None or topology.epoch > after_epoch)
            and _confirmed(topology)
            and bool(processes)
            and all(entry.alive and entry.state == "running" for entry in processes)
            and not {entry.pid for entry in processes}.intersection(gone)
        )

    def until_whole(
        self,
        timeout_s: float = WHOLE_S_MAX,
        *,
        after_epoch: int | None = None,
        gone: Sequence[int] = (),
    ) -> float:
        """Waits until the shop is whole, asks its status command to confirm, and returns since when (Unix time). Raises
        NotWhole."""
        deadline = time.monotonic() + timeout_s
        since: float | None = None
        while time.monotonic() < deadline:
            if not self.whole(after_epoch=after_epoch, gone=gone):
                since = None
                time.sleep(POLL_S)
                continue
            since = since or time.time()
            if self.status()["state"] == "open" and self.whole(after_epoch=after_epoch, gone=gone):
                return since
        raise NotWhole(
            f"The shop was not whole after {timeout_s:.0f} s: {self.status()['sentence']}",
            f"See the logs in {self.home.logs}.",
        )

    # -- touching ------------------------------------------------------------------------------------------------

    def owns(self, pid: int) -> bool:
        """Whether a process belongs to this shop: written down by its supervisor, or working in one of its nodes."""
        for entry in self.processes():
            if entry.pid == pid and entry.alive:
                return True
            if entry.role in NODE_ROLES and entry.alive and pid in node_processes(entry.pid):
                return True
        return False

    def send(self, pid: int, number: int) -> bool:
        """Signals a process of this shop, and no other; False when it is gone."""
        identity = process.identify(pid)
        if identity is None:
            return False
        if not self.owns(pid):
            raise EveropenError(f"Process {pid} is not one of this shop's; it was left alone.")
        return process.send(identity, number)

    def staff(self, method: str, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
        """A staff call. Raises httpx.HTTPError."""
        headers = {"Authorization": f"Bearer {self.secrets.operator_key}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        with httpx.Client(base_url=self.url, headers=headers, timeout=60.0, trust_env=False) as client:
            return client.request(method, path, json=body)

    def stock_up(
        self,
        skus: Sequence[str],
        *,
        price: int = 500,
        each: int = 500_000_000,
        title: str = "Drill",
        key: str = "drill",
    ) -> None:
        """Puts products into the catalogue, and `each` of them into stock (repeatable under the same key)."""
        for start in range(0, len(skus), BATCH):
            batch = skus[start : start + BATCH]
            products = [
                {"sku": sku, "title": f"{title} {sku}", "price": {"amount": price, "currency": "GBP"}}
                for sku in batch
            ]
            items = [{"sku": sku, "quantity": each} for sku in batch]
            self.staff("PUT", "/api/products", {"products": products}).raise_for_status()
            self.staff(
                "POST",
                "/api/stock/receipts",
                {"items": items, "reason": title.lower()},
                f"{key}-stock-{start}",
            ).raise_for_status()

    async def connect(self) -> asyncpg.Connection[Any]:
        """A superuser connection to the primary."""
        topology = self.topology()
        if topology is None or topology.primary is None:
            raise EveropenError("The shop has no primary.")
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

    def note(self, text: str) -> None:
        """A line of progress."""
        if self._say is not None:
            self._say(text)


def _with_scheme(url: str) -> str:
    return url if not url or url.startswith("http") else f"http://{url}"


def _confirmed(topology: Topology) -> bool:
    if not topology.standbys:
        return True
    return topology.durability == "synchronous" and any(
        standby.synchronous and standby.state == "up" for standby in topology.standbys
    )


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
