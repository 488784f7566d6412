"""`everopen bench orders`: durable orders per second, hot and wide, beside PostgreSQL doing the same by itself.

All in one run on the same nodes and the same cores, load generator included, in turns, because figures from two runs (or
two machines) compare nothing. What counts as an order is the whole durable acceptance: stock reserved, order with lines,
payment intent, ledger, outbox and idempotency row, on both nodes. Payment follows by itself and has a rate of its own.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from typing import Any

import asyncpg
import msgspec
from rich.console import Console

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.bench import cpu, report
from everopen.bench.pgbench import HOT, WIDE, find_pgbench, run_pgbench, yardstick_sql
from everopen.bench.profile import Sampling, Share, find_py_spy
from everopen.bench.wrk import find_wrk, run_wrk
from everopen.drill.load import run_load
from everopen.drill.shop import ScratchShop
from everopen.drill.workload import LoadSettings

HOT_SKU = "BENCH-HOT"
WIDE_SKUS = 1000
YARDSTICK_CLIENTS = (16, 64)
DRAIN_S_MAX = 120.0
MEMORY_MAX = 600 * 2**20
POSTPONE = "UPDATE payment_intents SET next_attempt_at = now() + interval '1 day' WHERE status = 'pending'"
"""After a run of pgbench: nobody follows its payments, and paying them during the next run would slow that one down."""
NEGLIGIBLE_US = 0.5
COUNTS = """
SELECT (SELECT count(*) FROM orders) AS orders,
       (SELECT count(*) FROM payment_intents WHERE status IN ('pending', 'unknown')) AS waiting,
       (SELECT count(*) FROM payment_intents WHERE status = 'captured') AS captured
"""


class OrdersSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure."""

    seconds: float = 10.0
    rounds: int = 3
    clients: int = 128
    cores: int = 2
    wrk: bool = True
    yardstick: bool = True
    keep: bool = False


class Phase(msgspec.Struct, frozen=True):
    """One run of one kind of load. `orders` were counted in the database, not by the load generator."""

    kind: str
    orders: int
    seconds: float
    per_second: float
    failed: int
    wait_ms: dict[str, float]
    cpu_us: dict[str, float]
    captured_per_second: float
    drain_per_second: float


def bench_orders(settings: OrdersSettings, console: Console) -> dict[str, Any]:
    """Runs everything and returns the figures. Raises EveropenError."""
    available = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, available[: settings.cores])
    with ScratchShop(keep=settings.keep) as shop:
        console.print("Starting a shop in a scratch home …", highlight=False)
        first_start_s = shop.start()
        shop.until_whole()
        shop.stop()
        start_s = shop.start()
        shop.until_whole()
        wide = [f"BENCH-{number}" for number in range(WIDE_SKUS)]
        shop.stock_up([HOT_SKU, *wide], title="Benchmark")
        time.sleep(3.0)
        memory = cpu.memory_by_role(shop.processes_by_role())
        phases: list[Phase] = []
        for turn in range(settings.rounds):
            for kind, skus in (("hot", [HOT_SKU]), ("wide", wide)):
                console.print(f"round {turn + 1} of {settings.rounds}: {kind} …", highlight=False)
                phases.append(_phase(shop, kind, skus, settings, f"bench-{turn}-{kind}"))
        profile = _profile(shop, settings, console)
        yardstick = _yardstick(shop, settings, console) if settings.yardstick else []
        audit = shop.audit()
        status = shop.status()
    figures = _figures(settings, phases, yardstick, memory, first_start_s, start_s, audit, status)
    return {**figures, "profile": [msgspec.to_builtins(share) for share in profile]}


def _profile(shop: ScratchShop, settings: OrdersSettings, console: Console) -> list[Share]:
    """One more run of hot, sampled and not counted: the sampler costs time of its own."""
    py_spy = find_py_spy()
    if py_spy is None:
        console.print("py-spy is not installed: no profile by part of the program.", highlight=False)
        return []
    console.print("one more round of hot, sampled …", highlight=False)
    chosen = {role: shop.pids(role)[0] for role in ("gateway", "worker", "payments")}
    sampling = Sampling(py_spy, chosen, seconds=max(2, int(settings.seconds * 0.6)))
    _phase(shop, "hot", [HOT_SKU], settings, "bench-profile")
    return sampling.shares()


def _phase(shop: ScratchShop, kind: str, skus: list[str], settings: OrdersSettings, run: str) -> Phase:
    before = asyncio.run(_counts(shop))
    pids = shop.processes_by_role()
    cpu_before, generator_before = cpu.sample(pids), _own_cpu_s()
    wrk = find_wrk() if settings.wrk else None
    begun = time.monotonic()
    if wrk is not None:
        measured = run_wrk(
            wrk, shop.url, skus, clients=settings.clients, threads=1, seconds=settings.seconds, run=run
        )
        failed, wait_ms, seconds = measured.failed, measured.wait_ms(), measured.duration_us / 1e6
    else:
        load = LoadSettings(
            skus=tuple(skus),
            seconds=settings.seconds,
            clients=settings.clients,
            mix=((kind, 1.0),),
            key_prefix=run,
        )
        summary = run_load(load, shop.url, ledger=None, rng=Rng(1)).summary
        failed, wait_ms, seconds = summary.failed, summary.wait_ms, summary.seconds
    took = time.monotonic() - begun
    used, generator = cpu.sample(pids), _own_cpu_s() - generator_before
    after = asyncio.run(_counts(shop))
    orders = after["orders"] - before["orders"]
    cpu_us = cpu.used_us_per_order(cpu_before, used, orders)
    cpu_us["load generator"] = round(generator * 1e6 / max(1, orders), 2)
    drained = asyncio.run(_drain(shop, after["captured"]))
    return Phase(
        kind,
        orders,
        round(seconds, 3),
        orders / seconds,
        failed,
        wait_ms,
        cpu_us,
        (after["captured"] - before["captured"]) / took,
        drained,
    )


def _own_cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


async def _counts(shop: ScratchShop) -> dict[str, int]:
    connection = await shop.connect()
    try:
        row = await connection.fetchrow(COUNTS)
    finally:
        await connection.close()
    return dict(row or {})


async def _drain(shop: ScratchShop, captured: int) -> float:
    """Waits until all payments are through; how many a second that was (0 when hardly any were left)."""
    begun = time.monotonic()
    connection = await shop.connect()
    try:
        while True:
            row = dict(await connection.fetchrow(COUNTS) or {})
            elapsed = time.monotonic() - begun
            if row["waiting"] == 0:
                gained = row["captured"] - captured
                return float(gained / elapsed) if elapsed > 0.5 else 0.0
            if elapsed > DRAIN_S_MAX:
                raise EveropenError(f"{row['waiting']:,} payments still wait after {DRAIN_S_MAX:.0f} s.")
            await asyncio.sleep(0.1)
    finally:
        await connection.close()


def _yardstick(shop: ScratchShop, settings: OrdersSettings, console: Console) -> list[dict[str, Any]]:
    async def execute(text: str) -> None:
        connection = await shop.connect()
        try:
            await connection.execute(text)
        finally:
            await connection.close()

    try:
        asyncio.run(execute(yardstick_sql()))
    except (OSError, asyncpg.PostgresError) as problem:
        raise EveropenError(
            f"The yardstick can't be installed: {problem}.", "Leave it out with --no-pgbench."
        ) from problem
    found = []
    scripts = {"hot": HOT.format(sku=HOT_SKU), "wide": WIDE.format(last=WIDE_SKUS - 1, prefix="BENCH-")}
    for kind, text in scripts.items():
        for clients in YARDSTICK_CLIENTS:
            console.print(f"pgbench: {kind}, {clients} clients …", highlight=False)
            topology = shop.topology()
            if topology is None or topology.primary is None:
                raise EveropenError("The scratch shop has no primary.")
            figures = run_pgbench(
                topology.primary.endpoint,
                shop.secrets.superuser,
                text,
                clients=clients,
                seconds=settings.seconds,
            )
            found.append({"kind": kind, **msgspec.to_builtins(figures)})
            asyncio.run(execute(POSTPONE))
    return found


def _figures(
    settings: OrdersSettings,
    phases: list[Phase],
    yardstick: list[dict[str, Any]],
    memory: dict[str, int],
    first_start_s: float,
    start_s: float,
    audit: dict[str, Any],
    status: dict[str, Any],
) -> dict[str, Any]:
    by_kind = {kind: [phase for phase in phases if phase.kind == kind] for kind in ("hot", "wide")}
    rate = {kind: statistics.median(phase.per_second for phase in found) for kind, found in by_kind.items()}
    best = {
        kind: max((entry["per_second"] for entry in yardstick if entry["kind"] == kind), default=None)
        for kind in ("hot", "wide")
    }
    total = sum(memory.values())
    ratio = rate["hot"] / best["hot"] if best["hot"] else None
    return {
        "machine": report.machine(),
        "settings": {
            **msgspec.to_builtins(settings),
            "load_generator": report.program_version("wrk", "-v").split(" [")[0]
            if settings.wrk and find_wrk()
            else "built in",
            "pgbench": report.program_version(find_pgbench(), "--version") if yardstick else None,
            "processes": {
                role: sum(1 for entry in status["processes"] if entry["role"] == role)
                for role in sorted({entry["role"] for entry in status["processes"]})
            },
        },
        "phases": [msgspec.to_builtins(phase) for phase in phases],
        "yardstick": yardstick,
        "memory_pss_bytes": memory,
        "summary": {
            "hot_per_second": rate["hot"],
            "wide_per_second": rate["wide"],
            "hot_to_wide": rate["hot"] / rate["wide"],
            "pgbench_hot_best": best["hot"],
            "pgbench_wide_best": best["wide"],
            "hot_to_pgbench_hot": ratio,
            "failed": sum(phase.failed for phase in phases),
            "idle_memory_bytes": total,
            "first_start_s": first_start_s,
            "start_s": start_s,
            "audit_ok": bool(audit.get("ok")),
        },
        "musts": {
            "hot at least 3,000/s": rate["hot"] >= 3000,
            "hot at least 0.9 × wide": rate["hot"] >= 0.9 * rate["wide"],
            "hot at least 4 × pgbench hot": None if ratio is None else ratio >= 4,
            "idle memory under 600 MB": total < MEMORY_MAX,
            "second start under 5 s": start_s < 5.0,
            "the audit holds": bool(audit.get("ok")),
        },
    }


def print_orders(console: Console, figures: dict[str, Any]) -> None:
    """The figures as tables."""
    report.facts(console, "Machine", figures["machine"])
    report.facts(console, "Settings", figures["settings"])
    report.table(
        console,
        "Durable orders through gateway, worker, primary and synchronous standby",
        ["", "orders/s", "p50 ms", "p99 ms", "max ms", "failed", "payments/s meanwhile", "payments/s after"],
        [
            [
                *(
                    phase["kind"],
                    phase["per_second"],
                    *(phase["wait_ms"].get(name) for name in ("p50", "p99", "max")),
                ),
                *(phase["failed"], phase["captured_per_second"], phase["drain_per_second"]),
            ]
            for phase in figures["phases"]
        ],
    )
    if figures["yardstick"]:
        report.table(
            console,
            "pgbench: the same rows by one stored function on the same two nodes, one order per transaction",
            ["", "clients", "orders/s", "mean ms", "failed"],
            [
                [
                    entry["kind"],
                    entry["clients"],
                    entry["per_second"],
                    entry["latency_ms_mean"],
                    entry["failed"],
                ]
                for entry in figures["yardstick"]
            ],
        )
    shares = {
        kind: cpu.mean([p["cpu_us"] for p in figures["phases"] if p["kind"] == kind])
        for kind in ("hot", "wide")
    }
    shown = [
        role
        for role, used in shares["hot"].items()
        if max(used, shares["wide"].get(role, 0.0)) >= NEGLIGIBLE_US
    ]
    report.table(
        console,
        "Where the microseconds go: processor time per order, its payment included",
        ["process", "hot µs", "wide µs"],
        [[role, shares["hot"][role], shares["wide"].get(role)] for role in shown]
        + [["all", sum(shares["hot"].values()), sum(shares["wide"].values())]],
    )
    if figures["profile"]:
        report.table(
            console,
            "Where their own time goes, by part of the program (sampled, innermost Python frame)",
            ["process", "part", "share"],
            [[share["process"], share["part"], f"{share['share']:.0%}"] for share in figures["profile"]],
        )
    report.table(
        console,
        "Memory of the idle shop (PSS)",
        ["process", "MB"],
        [[role, size / 1e6] for role, size in figures["memory_pss_bytes"].items()]
        + [["all", sum(figures["memory_pss_bytes"].values()) / 1e6]],
    )
    report.table(console, "Summary", ["", ""], [[name, value] for name, value in figures["summary"].items()])
    report.table(console, "Must", ["", ""], [[name, value] for name, value in figures["musts"].items()])
