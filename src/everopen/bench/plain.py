"""`everopen bench plain`: the yardstick. The same PostgreSQL, the same workers, the same clients and the same kills, but held
together as one would by hand: shell loops restart what ends, nginx stands in front, there is no standby, no supervisor and
no gateway. Then Everopen itself, killed at the same seconds.

The workers keep what is theirs (keys, groups, waiting for the database), so the difference is what supervisor, standby and
gateway add, and not what a worse shop would lose.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import httpx
import msgspec
from rich.console import Console

from everopen.base import process
from everopen.base.clock import Rng
from everopen.base.errors import EveropenError, StartError
from everopen.base.topology import Endpoint, NodeView, Topology, WorkerView, publish
from everopen.bench import report
from everopen.bench.failover import SKUS, Fault, check_orders, connections_of, felt_of
from everopen.drill.ground import Ground, node_processes
from everopen.drill.history import read_ledger
from everopen.drill.shop import ScratchShop

START_S_MAX = 30.0
WARM_UP_S = 2.0
DRAIN_S = 5.0
ROLES = ("primary", "worker", "gateway")
LOOP = "while :; do {prepare} {command}; sleep 0.1; done"
NGINX = """
{user}
worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log error;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  upstream workers {{ {servers} keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://workers; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }}
  }}
}}
"""
"""As its documentation has it: a POST is not sent to another worker, because nginx can't know that it is safe."""


class PlainSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What to kill and how often."""

    kills: tuple[tuple[str, int], ...]
    rate: float = 300.0
    every_s: float = 4.0
    keep: bool = False
    seed: int = 1


class Victim(Protocol):
    """What can be loaded and killed."""

    @property
    def url(self) -> str: ...

    def pids(self, role: str) -> list[int]: ...


class PlainStack:
    """Use as `with`, on the home of a scratch shop that was started once and closed."""

    def __init__(self, shop: ScratchShop, commands: dict[str, list[str]], node: NodeView, epoch: int) -> None:
        self._shop = shop
        self._commands = commands
        self._node = node
        self._epoch = epoch
        self._loops: dict[str, subprocess.Popen[bytes]] = {}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._folder = shop.folder / "plain"

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o711)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        home = self._shop.home
        home.create()
        socket_folder = Path(self._node.endpoint.path or "")
        sockets = {name: home.run / f"plain-{name}.sock" for name in ("worker-1", "worker-2", "payments")}
        workers = tuple(
            WorkerView(name, Endpoint(path=str(sockets[name]))) for name in ("worker-1", "worker-2")
        )
        publish(home.topology_file, Topology(self._epoch, 1, self._node, (), workers, "alone"))
        data = self._data
        account = data.stat()
        as_user = (
            ["setpriv", f"--reuid={account.st_uid}", f"--regid={account.st_gid}", "--clear-groups"]
            if os.geteuid() == 0
            else []
        )
        if not socket_folder.exists():
            socket_folder.mkdir(parents=True)
            if as_user:
                os.chown(socket_folder, account.st_uid, account.st_gid)
        self._loop("primary", [*as_user, *self._commands["primary"]], self._folder)
        for name, path in sockets.items():
            command = [sys.executable, "-m", "everopen.compose", name.split("-")[0], "--home", str(home.root),
                       "--name", name, "--socket", str(path)]  # fmt: skip
            self._loop(name, command, home.run, prepare=f"rm -f {shlex.quote(str(path))};")
        nginx = self._folder / "nginx.conf"
        owner = f"user {data.owner()} {data.group()};" if os.geteuid() == 0 else ""
        servers = " ".join(f"server unix:{sockets[worker.name]};" for worker in workers)
        nginx.write_text(NGINX.format(user=owner, folder=self._folder, servers=servers, port=self._port))
        self._loop(
            "gateway", [str(shutil.which("nginx")), "-p", str(self._folder), "-c", str(nginx)], self._folder
        )
        deadline = time.monotonic() + START_S_MAX
        while True:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2.0, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            if time.monotonic() > deadline:
                logs = "".join(
                    f"\n{path.name}: {path.read_text(errors='replace')[-500:]}"
                    for path in self._folder.glob("*.log")
                )
                raise StartError(f"The plain stack did not open:{logs}", "Run with --keep and see its logs.")
            time.sleep(0.05)

    @property
    def _data(self) -> Path:
        return (self._shop.home.nodes / self._node.name / "data").resolve()

    def _loop(self, name: str, command: Sequence[str], folder: Path, *, prepare: str = "") -> None:
        with open(self._folder / f"{name}.log", "wb") as log:
            self._loops[name] = subprocess.Popen(
                ["sh", "-c", LOOP.format(prepare=prepare, command=shlex.join(command))],
                env=self._shop.environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def pids(self, role: str) -> list[int]:
        """What is to be killed: the postmaster, workers, nginx's own workers."""
        if role == "primary":
            try:
                found = int((self._data / "postmaster.pid").read_text().split()[0])
            except (OSError, ValueError, IndexError):
                return []
            return [found] if process.identify(found) and found in process.processes_in(self._data) else []
        if role == "gateway":
            return [pid for master in children_of(self._loops["gateway"].pid) for pid in children_of(master)]
        return [pid for name in ("worker-1", "worker-2") for pid in children_of(self._loops[name].pid)]

    def __exit__(self, *_: object) -> None:
        for loop in self._loops.values():  # the shells first: they would start everything again
            loop.kill()
            loop.wait()
        left = {pid for loop in self._loops.values() for pid in _session(loop.pid)}
        left |= {pid for pid in process.processes_in(self._data) if self._loops}
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def children_of(pid: int) -> list[int]:
    """Living children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _session(leader: int) -> list[int]:
    """All processes of a session (a shell's loop starts one)."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.getsid(int(entry)) == leader:
                    found.append(int(entry))
            except ProcessLookupError:
                continue
    return found


# --- the run ------------------------------------------------------------------------------------------------------


def bench_plain(settings: PlainSettings, console: Console) -> dict[str, Any]:
    """Runs both and returns the figures. Raises EveropenError."""
    if shutil.which("nginx") is None:
        raise EveropenError(
            "nginx is not installed.", "The plain stack needs it; on Debian: apt-get install nginx."
        )
    runs = {}
    console.print("The plain stack …", highlight=False)
    alone = {"EVEROPEN_CLUSTER_STANDBYS": "0", "EVEROPEN_RECOVER_WORKERS": "2"}
    with ScratchShop(alone, keep=settings.keep) as shop:
        shop.start()
        shop.stock_up(SKUS, title="Benchmark")
        shop.until_whole()
        commands = {role: _command_of(shop.pids(role)[0]) for role in ("primary",)}
        topology = shop.topology()
        if topology is None or topology.primary is None:
            raise EveropenError("The scratch shop has no primary.")
        node, epoch = topology.primary, topology.epoch
        shop.stop()
        with PlainStack(shop, commands, node, epoch) as plain:
            runs["plain"] = _run(plain, shop, settings, console)
    console.print("Everopen …", highlight=False)
    with ScratchShop({"EVEROPEN_RECOVER_WORKERS": "2"}, keep=settings.keep) as shop:
        shop.start()
        shop.stock_up(SKUS, title="Benchmark")
        shop.until_whole()
        runs["everopen"] = _run(shop, shop, settings, console)
    return {
        "machine": report.machine(),
        "settings": msgspec.to_builtins(settings),
        "nginx": report.program_version("nginx", "-v"),
        "runs": runs,
        "musts": {
            "everopen: no request failed": runs["everopen"]["failed"] == 0,
            "everopen: no acknowledged order was lost": runs["everopen"]["lost"] == 0,
            "everopen: no order was doubled": runs["everopen"]["doubled"] == 0,
        },
    }


def _command_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0 ").split("\0")


def plan_of(settings: PlainSettings) -> list[tuple[float, str, int]]:
    """(seconds from the start, role, seed): the same for both."""
    rng = Rng(settings.seed)
    roles = [role for role, times in settings.kills for _ in range(times)]
    rng.shuffle(roles)
    return [
        (WARM_UP_S + number * settings.every_s, role, rng.getrandbits(32))
        for number, role in enumerate(roles)
    ]


def _run(victim: Victim, ground: Ground, settings: PlainSettings, console: Console) -> dict[str, Any]:
    folder = ground.folder
    out, ledger, log = folder / "load.json", folder / "acknowledged.jsonl", folder / "load.log"
    plan = plan_of(settings)
    before = int(ground.audit()["counts"]["orders"])
    seconds = plan[-1][0] + settings.every_s
    with open(log, "wb") as output:
        load = subprocess.Popen(
            [
                *(sys.executable, "-m", "everopen.drill.load", "--url", victim.url, "--skus", ",".join(SKUS)),
                *("--mix", "wide", "--rate", str(settings.rate), "--seconds", str(seconds), "--retry"),
                *("--timeout", "30", "--seed", str(settings.seed), "--parent", str(os.getpid())),
                *("--out", str(out), "--ledger", str(ledger)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    faults = []
    began = time.time()
    try:
        for at, role, seed in plan:
            time.sleep(max(0.0, began + at - time.time()))
            if (fault := _kill(victim, role, Rng(seed))) is not None:
                faults.append(fault)
            else:
                console.print(f"No {role} to kill at {at:.0f} s.", highlight=False)
        status = load.wait(seconds + 90)
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()
    if status:
        raise EveropenError(f"The load clients failed: {log.read_text(errors='replace')[-1000:]}")
    time.sleep(DRAIN_S)
    result = msgspec.json.decode(out.read_bytes())
    orders = list(read_ledger(ledger))
    audit = ground.audit()
    added = int(audit["counts"]["orders"]) - before
    check = check_orders(victim, orders, added, int(result["summary"]["uncertain"]))
    felt = felt_of(faults, orders, result["broken_at"], result["failures"])
    rows = []
    for role in ROLES:
        chosen = [entry for entry in felt if entry.kind == role]
        if chosen:
            rows.append(
                {
                    "kind": role,
                    "times": len(chosen),
                    "failed": sum(entry.failed for entry in chosen),
                    "broken_connections": sum(entry.broken_connections for entry in chosen),
                    "held_connections": sum(entry.held_connections for entry in chosen),
                    "longest_wait_s": max(entry.longest_wait_s for entry in chosen),
                    "first_write_s": max(entry.first_write_s for entry in chosen),
                }
            )
    return {
        "rows": rows,
        "acknowledged": check.acknowledged,
        "failed": result["summary"]["failed"],
        "outcomes": result["summary"]["outcomes"],
        "broken_connections": result["summary"]["broken_connections"],
        "lost": len(check.lost),
        "doubled": check.doubled,
        "wait_ms": result["summary"]["wait_ms"],
        "audit_ok": bool(audit["ok"]),
    }


def _kill(victim: Victim, role: str, rng: Rng) -> Fault | None:
    candidates = sorted(victim.pids(role))
    if not candidates:
        return None
    chosen = rng.choice(candidates)
    held = connections_of(chosen) if role == "gateway" else 0
    for pid in node_processes(chosen) if role == "primary" else [chosen]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    now = time.time()
    return Fault(role, now, now, held)


def print_plain(console: Console, figures: dict[str, Any]) -> None:
    """The figures as tables."""
    report.facts(console, "Machine", {**figures["machine"], "nginx": figures["nginx"]})
    rows = []
    for role in ROLES:
        for name, run in figures["runs"].items():
            rows += [
                [f"{role} killed: {name}", row["times"], row["failed"], row["broken_connections"],
                 row["longest_wait_s"], row["first_write_s"]]
                for row in run["rows"]
                if row["kind"] == role
            ]  # fmt: skip
    report.table(
        console,
        f"The same kills at the same seconds, {figures['settings']['rate']:,.0f} orders a second due",
        ["", "times", "failed", "broken conn.", "longest wait s", "first write s"],
        rows,
    )
    facts: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
        ("orders acknowledged", lambda run: run["acknowledged"]),
        ("requests failed", lambda run: run["failed"]),
        ("acknowledged orders lost", lambda run: run["lost"]),
        ("orders doubled", lambda run: run["doubled"]),
        ("wait p50 (ms)", lambda run: run["wait_ms"].get("p50")),
        ("wait p99 (ms)", lambda run: run["wait_ms"].get("p99")),
        ("longest wait (ms)", lambda run: run["wait_ms"].get("max")),
        ("the audit holds", lambda run: run["audit_ok"]),
    ]
    names = list(figures["runs"])
    report.table(
        console,
        "All of it",
        ["", *names],
        [[name, *(of(figures["runs"][run]) for run in names)] for name, of in facts],
    )
    report.table(console, "Must", ["", ""], [[name, value] for name, value in figures["musts"].items()])
