"""`everopen bench audit`: how long the proof takes over a million orders.

The orders are real: placed over HTTP, paid at the sandbox provider, in its books and in ours. Rows made up by SQL were turned
down: they would lie in the tables as nothing ever writes them, and every new check would need them made up anew.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import msgspec
from rich.console import Console

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.bench import report
from everopen.bench.wrk import find_wrk, run_wrk
from everopen.drill.load import run_load
from everopen.drill.shop import ScratchShop
from everopen.drill.workload import LoadSettings

SKUS = 1000
TURN_S = 15.0
SETTLED_S_MAX = 3600.0
SIZE = """
SELECT (SELECT count(*) FROM orders) AS orders,
       (SELECT count(*) FROM payment_intents WHERE status IN ('pending', 'unknown')) AS waiting,
       pg_database_size(current_database()) AS bytes
"""


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How many orders, and how often they are audited."""

    orders: int = 1_000_000
    rounds: int = 3
    clients: int = 128
    keep: bool = False


def bench_audit(settings: AuditSettings, console: Console) -> dict[str, Any]:
    """Fills a shop, waits until all is paid, and audits it. Raises EveropenError."""
    with ScratchShop(keep=settings.keep) as shop:
        console.print("Starting a shop in a scratch home …", highlight=False)
        shop.start()
        shop.until_whole()
        skus = [f"BENCH-{number}" for number in range(SKUS)]
        shop.stock_up(skus, title="Benchmark")
        begun = time.monotonic()
        turn = 0
        while (size := asyncio.run(_size(shop)))["orders"] < settings.orders:
            console.print(f"{size['orders']:,} of {settings.orders:,} orders …", highlight=False)
            _order(shop, skus, settings, f"bench-{turn}", settings.orders - size["orders"])
            turn += 1
        filled_s = time.monotonic() - begun
        console.print("waiting until all is paid …", highlight=False)
        while asyncio.run(_size(shop))["waiting"]:
            if time.monotonic() - begun > SETTLED_S_MAX:
                raise EveropenError(f"Payments still wait after {SETTLED_S_MAX:,.0f} s.")
            time.sleep(1.0)
        settled_s = time.monotonic() - begun
        size = asyncio.run(_size(shop))
        took, audits = [], []
        for turn in range(settings.rounds):
            console.print(f"audit {turn + 1} of {settings.rounds} …", highlight=False)
            before = time.monotonic()
            audits.append(shop.audit())
            took.append(time.monotonic() - before)
    seconds = statistics.median(took)
    checks = [
        (check["name"], statistics.median(audit["checks"][place]["seconds"] for audit in audits))
        for place, check in enumerate(audits[0]["checks"])
    ]
    return {
        "machine": report.machine(),
        "settings": msgspec.to_builtins(settings),
        "orders": size["orders"],
        "gigabytes": round(size["bytes"] / 1e9, 2),
        "filled_s": round(filled_s, 1),
        "settled_s": round(settled_s, 1),
        "audit_s": [round(value, 2) for value in took],
        "audit_median_s": round(seconds, 2),
        "checks": [{"name": name, "seconds": round(value, 3)} for name, value in checks],
        "wrong": [check for audit in audits for check in audit["checks"] if not check["ok"]],
        "musts": {
            "every check holds": all(audit["ok"] for audit in audits),
            "a million orders in under 10 s": seconds < 10.0 if size["orders"] >= 1_000_000 else None,
        },
    }


def _order(shop: ScratchShop, skus: list[str], settings: AuditSettings, run: str, wanted: int) -> None:
    """Orders for a while."""
    wrk = find_wrk()
    seconds = min(TURN_S, max(1.0, wanted / 5000))
    if wrk is not None:
        run_wrk(wrk, shop.url, skus, clients=settings.clients, threads=1, seconds=seconds, run=run)
        return
    load = LoadSettings(
        skus=tuple(skus), seconds=seconds, clients=settings.clients, mix=(("wide", 1.0),), key_prefix=run
    )
    run_load(load, shop.url, ledger=None, rng=Rng(1))


async def _size(shop: ScratchShop) -> dict[str, int]:
    connection = await shop.connect()
    try:
        return dict(await connection.fetchrow(SIZE) or {})
    finally:
        await connection.close()


def print_audit(console: Console, figures: dict[str, Any]) -> None:
    """Machine, size, and the time of each check."""
    report.facts(console, "Machine", figures["machine"])
    report.facts(
        console,
        "Shop",
        {
            "orders": f"{figures['orders']:,}",
            "database_gb": figures["gigabytes"],
            "filled_s": figures["filled_s"],
            "all_paid_after_s": figures["settled_s"],
        },
    )
    rows = sorted(((check["name"], check["seconds"]) for check in figures["checks"]), key=lambda row: -row[1])
    report.table(console, "Checks (median)", ("check", "s"), rows)
    report.table(
        console,
        "The whole command",
        ("", "s"),
        [
            ("median", figures["audit_median_s"]),
            *((f"run {n}", s) for n, s in enumerate(figures["audit_s"], 1)),
        ],
    )
    for check in figures["wrong"]:
        console.print(f"[red]{check['name']}[/]: {check['detail']}")
    report.table(console, "Musts", ("", "holds"), list(figures["musts"].items()))
