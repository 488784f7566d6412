"""`everopen bench failover`: faults under an open loop of orders, and what the clients felt.

The load runs in a process of its own and keeps its own history; this one only breaks things, one at a time, and waits until
the shop is whole again (every process back, a standby confirming). Each fault is judged by the orders that were due in its
time. At the end every acknowledged order is asked for.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import msgspec
from rich.console import Console

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.bench import report
from everopen.drill.ground import node_processes
from everopen.drill.history import Acknowledged, Check, compare, outage_after, read_ledger
from everopen.drill.shop import ScratchShop
from everopen.drill.wire import Target, ask_all

SKUS = [f"BENCH-{number}" for number in range(100)]
SETTLE_S = 0.5
"""Calm before the next fault, so that one can't be blamed for another."""
CRASH_WAIT_S_MAX = 1.0
HANG_WAIT_S_MAX = 3.0


class FailoverSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What to break and how often."""

    faults: tuple[tuple[str, int], ...]
    rate: float = 500.0
    standbys: int = 1
    durability: str = "available"
    keep: bool = False
    seed: int = 1


class Reachable(Protocol):
    """Anything with an address."""

    @property
    def url(self) -> str: ...


class Fault(msgspec.Struct, frozen=True):
    """One fault: when it struck, when the shop was whole again, and how many connections the victim held (a gateway)."""

    kind: str
    at: float
    whole_at: float
    held_connections: int = 0


class Felt(msgspec.Struct, frozen=True):
    """What the clients felt of one fault."""

    kind: str
    at: float
    longest_wait_s: float
    first_write_s: float
    whole_s: float
    failed: int
    broken_connections: int
    held_connections: int


def bench_failover(settings: FailoverSettings, console: Console) -> dict[str, Any]:
    """Runs everything and returns the figures. Raises EveropenError."""
    environment = {
        "EVEROPEN_CLUSTER_STANDBYS": str(settings.standbys),
        "EVEROPEN_CLUSTER_DURABILITY": settings.durability,
    }
    with ScratchShop(environment, keep=settings.keep) as shop:
        console.print("Starting a shop in a scratch home …", highlight=False)
        shop.start()
        shop.stock_up(SKUS, title="Benchmark")
        shop.until_whole()
        before = int(shop.audit()["counts"]["orders"])
        out, ledger = shop.folder / "load.json", shop.folder / "acknowledged.jsonl"
        load = _start_load(shop, settings, out, ledger)
        faults: list[Fault] = []
        try:
            time.sleep(2.0)
            for kind, times in settings.faults:
                for number in range(times):
                    console.print(f"{kind} {number + 1} of {times} …", highlight=False)
                    faults.append(strike(shop, kind, Rng(settings.seed * 1000 + number)))
                    time.sleep(SETTLE_S)
        finally:
            load.send_signal(signal.SIGTERM)
            try:
                load.wait(60)
            except subprocess.TimeoutExpired:
                load.kill()
                load.wait()
        if load.returncode:
            raise EveropenError(f"The load clients failed: {(shop.folder / 'load.log').read_text()[-1000:]}")
        console.print("Asking for every acknowledged order …", highlight=False)
        result = msgspec.json.decode(out.read_bytes())
        orders = list(read_ledger(ledger))
        added = int(shop.audit()["counts"]["orders"]) - before
        check = check_orders(shop, orders, added, int(result["summary"]["uncertain"]))
        audit = shop.audit()
    felt = felt_of(faults, orders, result["broken_at"], result["failures"])
    return _figures(settings, felt, result["summary"], check, audit)


def _start_load(
    shop: ScratchShop, settings: FailoverSettings, out: Path, ledger: Path
) -> subprocess.Popen[bytes]:
    with open(shop.folder / "load.log", "wb") as log:
        return subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "everopen.drill.load",
                    "--url",
                    shop.url,
                    "--skus",
                    ",".join(SKUS),
                    "--mix",
                    "wide",
                ),
                *("--rate", str(settings.rate), "--seconds", "80000", "--retry", "--timeout", "30"),
                *("--seed", str(settings.seed), "--out", str(out), "--ledger", str(ledger)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=shop.folder,
            start_new_session=True,
        )


# --- striking -----------------------------------------------------------------------------------------------------


def strike(shop: ScratchShop, kind: str, rng: Rng) -> Fault:
    """Breaks one process of a role and waits until the shop is whole again. Raises EveropenError."""
    role, _, way = kind.partition(" ")
    candidates = shop.pids(role)
    if not candidates:
        raise EveropenError(
            f"There is no {role} to break.", "Run with --keep and see the scratch shop's logs."
        )
    victim = rng.choice(sorted(candidates))
    topology = shop.topology()
    held = connections_of(victim) if role == "gateway" else 0
    targets = node_processes(victim) if role == "primary" else [victim]
    for pid in targets:  # the postmaster first: it can't tidy up after its children
        try:
            os.kill(pid, signal.SIGSTOP if way == "hang" else signal.SIGKILL)
        except ProcessLookupError:
            continue
    at = time.time()
    epoch = topology.epoch if topology is not None and role == "primary" else None
    whole_at = shop.until_whole(after_epoch=epoch, gone=targets)
    return Fault(kind, at, whole_at, held)


def connections_of(pid: int) -> int:
    """Established TCP connections that a process holds."""
    try:
        links = {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")}
        rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return 0
    return sum(1 for fields in map(str.split, rows) if fields[3] == "01" and f"socket:[{fields[9]}]" in links)


# --- judging ------------------------------------------------------------------------------------------------------


def felt_of(
    faults: list[Fault], orders: list[Acknowledged], broken_at: list[float], failures: list[tuple[float, str]]
) -> list[Felt]:
    """Each fault with the orders, failures and broken connections from then until the next one."""
    ends = [fault.at for fault in faults[1:]] + [float("inf")]
    found = []
    for fault, until in zip(faults, ends, strict=True):
        outage = outage_after(orders, fault.at, until)
        found.append(
            Felt(
                fault.kind,
                fault.at,
                round(outage.longest_wait_s, 4),
                round(outage.first_write_s, 4),
                round(fault.whole_at - fault.at, 3),
                sum(1 for at, _ in failures if fault.at - 0.1 <= at < until - 0.1),
                sum(1 for at in broken_at if fault.at <= at < until),
                fault.held_connections,
            )
        )
    return found


def check_orders(shop: Reachable, orders: list[Acknowledged], added: int, uncertain: int) -> Check:
    target = Target.from_url(shop.url)
    ids = sorted({order.id for order in orders})
    replies = asyncio.run(
        ask_all(target, [target.request("GET", f"/api/orders/{order_id}") for order_id in ids])
    )
    found: dict[str, tuple[int, int] | None] = {}
    for order_id, reply in zip(ids, replies, strict=True):
        if reply.status == 404:
            found[order_id] = None
        elif reply.status == 200:
            order = msgspec.json.decode(reply.body)
            found[order_id] = (
                sum(line["quantity"] for line in order["lines"]),
                int(order["total"]["amount"]),
            )
        else:
            raise EveropenError(f"Order {order_id} can't be looked at: the shop answered {reply.status}.")
    return compare(orders, found, orders_added=added, uncertain=uncertain)


def _figures(
    settings: FailoverSettings, felt: list[Felt], summary: dict[str, Any], check: Check, audit: dict[str, Any]
) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for kind, _ in settings.faults:
        chosen = [entry for entry in felt if entry.kind == kind]
        if not chosen:
            continue
        waits = [entry.longest_wait_s for entry in chosen]
        rows.append(
            {
                "kind": kind,
                "times": len(chosen),
                "failed": sum(entry.failed for entry in chosen),
                "broken_connections": sum(entry.broken_connections for entry in chosen),
                "held_connections": sum(entry.held_connections for entry in chosen),
                "longest_wait_s_p50": statistics.median(waits),
                "longest_wait_s_max": max(waits),
                "first_write_s_p50": statistics.median(entry.first_write_s for entry in chosen),
                "first_write_s_max": max(entry.first_write_s for entry in chosen),
                "whole_s_p50": statistics.median(entry.whole_s for entry in chosen),
                "whole_s_max": max(entry.whole_s for entry in chosen),
            }
        )
    musts: dict[str, bool | None] = {
        "no request failed": summary["failed"] == 0,
        "no acknowledged order was lost": not check.lost,
        "no acknowledged order was changed": not check.wrong,
        "no order was doubled": check.doubled == 0,
        "the audit holds": bool(audit.get("ok")),
    }
    for row in rows:
        if row["kind"] != "gateway crash":
            musts[f"{row['kind']}: no connection broke"] = row["broken_connections"] == 0
        else:
            musts["gateway crash: only its own connections broke"] = (
                row["broken_connections"] <= row["held_connections"]
            )
        most = HANG_WAIT_S_MAX if row["kind"].endswith("hang") else CRASH_WAIT_S_MAX
        musts[f"{row['kind']}: longest wait ≤ {most:.0f} s"] = row["longest_wait_s_max"] <= most
    return {
        "machine": report.machine(),
        "settings": msgspec.to_builtins(settings),
        "load": summary,
        "faults": [msgspec.to_builtins(entry) for entry in felt],
        "rows": rows,
        "acknowledged": check.acknowledged,
        "lost": len(check.lost),
        "changed": len(check.wrong),
        "doubled": check.doubled,
        "musts": musts,
    }


def print_failover(console: Console, figures: dict[str, Any]) -> None:
    """The figures as tables."""
    report.facts(console, "Machine", figures["machine"])
    chosen = {name: value for name, value in figures["settings"].items() if name != "faults"}
    report.facts(console, "Settings", chosen)
    load = figures["load"]
    report.table(
        console,
        f"Faults under an open loop of {figures['settings']['rate']:,.0f} orders per second (seconds)",
        [
            *("", "times", "failed", "broken conn.", "held conn.", "longest wait p50", "max"),
            *("first write p50", "max", "whole again p50", "max"),
        ],
        [
            [
                *(row["kind"], row["times"], row["failed"], row["broken_connections"]),
                row["held_connections"] if row["kind"] == "gateway crash" else None,
                *(
                    row["longest_wait_s_p50"],
                    row["longest_wait_s_max"],
                    row["first_write_s_p50"],
                    row["first_write_s_max"],
                ),
                *(row["whole_s_p50"], row["whole_s_max"]),
            ]
            for row in figures["rows"]
        ],
    )
    report.table(
        console,
        "All of it",
        ["", ""],
        [
            ["orders acknowledged", figures["acknowledged"]],
            ["requests failed", load["failed"]],
            ["acknowledged orders lost", figures["lost"]],
            ["acknowledged orders changed", figures["changed"]],
            ["orders doubled", figures["doubled"]],
            *([f"wait {name} (ms)", value] for name, value in load["wait_ms"].items()),
        ],
    )
    report.table(console, "Must", ["", ""], [[name, value] for name, value in figures["musts"].items()])
