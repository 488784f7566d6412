"""`everopen bench trading`: whole guest purchases of one hot product, as the other shops were measured.

A purchase is what a guest does: a product into a new cart, checkout, payment approved by the sandbox provider's process, and
the order seen paid. Three scenes: as many as possible for a while (16 and 64 buyers), a rush of 400 for a stock of 200, and
`kill -9` of the whole primary while 16 buy. Load generator included, on the same cores; the shop's limits per address are
off, because all buyers share one.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import threading
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import uvloop
from rich.console import Console

from everopen.base.clock import Rng
from everopen.bench import cpu, report
from everopen.bench.failover import Fault, strike
from everopen.bench.profile import Sampling, Share, find_py_spy
from everopen.bench.purchases import Tally, for_a_while, once_each
from everopen.drill.shop import ScratchShop

HOT, RUSH = "BENCH-HOT", "BENCH-RUSH"
MUST_PER_SECOND = 300.0
UNLIMITED = {f"EVEROPEN_API_QUOTA_{kind}_PER_S": "0" for kind in ("CARTS", "SESSIONS", "WRITES", "ORDERS")}
UNITS = """
SELECT coalesce(sum(l.quantity), 0)::bigint FROM order_lines l JOIN orders o ON o.id = l.order_id
  JOIN products p ON p.id = l.sku_id WHERE p.sku = $1 AND o.status NOT IN ('declined', 'cancelled')
"""


class TradingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure."""

    seconds: float = 10.0
    rounds: int = 3
    buyers: tuple[int, ...] = (16, 64)
    rush_stock: int = 200
    rush_buyers: int = 400
    kills: int = 3
    cores: int = 2
    profile: bool = False
    keep: bool = False


class Phase(msgspec.Struct, frozen=True):
    """One run of buyers."""

    buyers: int
    purchases: int
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float
    steps_ms: tuple[float, float, float]
    """Median of: into the cart, checkout, from then until seen paid."""
    requests: float
    """Per purchase."""
    failed: int
    cpu_us: dict[str, float]


class Rush(msgspec.Struct, frozen=True):
    """More buyers than goods."""

    stock: int
    buyers: int
    paid: int
    sold_out: int
    failed: int
    units: int
    """Sold, by the database."""


class Kill(msgspec.Struct, frozen=True):
    """The primary dies while guests buy."""

    purchases: int
    failed: int
    longest_request_s: float
    lost: int
    """Purchases that were seen paid and whose order is not there, or not paid."""


def bench_trading(settings: TradingSettings, console: Console) -> dict[str, Any]:
    """Runs everything and returns the figures. Raises EveropenError."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: settings.cores])
    shares: list[Share] = []
    with ScratchShop(UNLIMITED, keep=settings.keep) as shop:
        console.print("Starting a shop in a scratch home …", highlight=False)
        shop.start()
        shop.stock_up([HOT], title="Benchmark")
        shop.stock_up([RUSH], title="Rush", each=settings.rush_stock, key="bench-rush")
        shop.until_whole()
        _buy(shop, buyers=16, seconds=min(2.0, settings.seconds), run="warm")
        phases = [
            _phase(shop, buyers, settings.seconds, f"bench-{turn}-{buyers}", console)
            for turn in range(settings.rounds)
            for buyers in settings.buyers
        ]
        if settings.profile:
            shares = _profile(shop, settings, console)
        rush = _rush(shop, settings, console)
        kills = [_kill(shop, number, console) for number in range(settings.kills)]
        console.print("The audit …", highlight=False)
        audit = shop.audit()
    return _figures(settings, phases, rush, kills, shares, audit)


def _buy(shop: ScratchShop, *, buyers: int, seconds: float, run: str) -> tuple[Tally, float]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(for_a_while(shop.url, HOT, buyers=buyers, seconds=seconds, run=run))


def _phase(shop: ScratchShop, buyers: int, seconds: float, run: str, console: Console) -> Phase:
    console.print(f"{buyers} buyers for {seconds:.0f} s …", highlight=False)
    pids = shop.processes_by_role()
    before, own = cpu.sample(pids), time.process_time()
    tally, took = _buy(shop, buyers=buyers, seconds=seconds, run=run)
    count = len(tally.paid)
    used = cpu.used_us_per_order(before, cpu.sample(pids), count)
    used["load generator"] = round((time.process_time() - own) * 1e6 / max(1, count), 2)
    waits = sorted(tally.waits_s) or [0.0]
    columns = zip(*tally.steps_s, strict=True) if tally.steps_s else [(0.0,)] * 3
    cart, checkout, payment = (round(statistics.median(column) * 1000, 2) for column in columns)
    steps = (cart, checkout, payment)
    return Phase(
        buyers,
        count,
        round(took, 3),
        round(count / took, 1),
        round(waits[len(waits) // 2] * 1000, 2),
        round(waits[min(len(waits) - 1, int(len(waits) * 0.99))] * 1000, 2),
        steps,
        round(tally.requests / max(1, count), 2),
        len(tally.failures),
        used,
    )


def _profile(shop: ScratchShop, settings: TradingSettings, console: Console) -> list[Share]:
    """One more run, sampled and not counted: the sampler costs time of its own."""
    py_spy = find_py_spy()
    if py_spy is None:
        console.print("py-spy is not installed: no profile by part of the program.", highlight=False)
        return []
    console.print("one more run, sampled …", highlight=False)
    chosen = {role: shop.pids(role)[0] for role in ("gateway", "worker", "payments")}
    sampling = Sampling(py_spy, chosen, seconds=max(2, int(settings.seconds * 0.6)))
    _buy(shop, buyers=max(settings.buyers), seconds=settings.seconds, run="bench-profile")
    return sampling.shares()


def _rush(shop: ScratchShop, settings: TradingSettings, console: Console) -> Rush:
    console.print(f"{settings.rush_buyers} buyers for a stock of {settings.rush_stock} …", highlight=False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tally = runner.run(once_each(shop.url, RUSH, buyers=settings.rush_buyers, run="bench-rush"))
    return Rush(
        settings.rush_stock,
        settings.rush_buyers,
        len(tally.paid),
        tally.sold_out,
        len(tally.failures),
        asyncio.run(_value(shop, UNITS, RUSH)),
    )


def _kill(shop: ScratchShop, number: int, console: Console) -> Kill:
    console.print(f"kill -9 of the primary while 16 buy, {number + 1} …", highlight=False)
    faults: list[Fault] = []

    def break_it() -> None:
        time.sleep(2.0)
        faults.append(strike(shop, "primary crash", Rng(number)))

    breaking = threading.Thread(target=break_it)
    breaking.start()
    tally, _ = _buy(shop, buyers=16, seconds=6.0, run=f"bench-kill-{number}")
    breaking.join()
    paid = "SELECT count(*) FROM orders WHERE id = ANY ($1::text[]::uuid[]) AND status = 'paid'"
    there = asyncio.run(_value(shop, paid, tally.paid))
    return Kill(
        len(tally.paid), len(tally.failures), round(tally.longest_request_s, 3), len(tally.paid) - there
    )


async def _value(shop: ScratchShop, statement: str, *arguments: Any) -> int:
    connection = await shop.connect()
    try:
        return int(await connection.fetchval(statement, *arguments))
    finally:
        await connection.close()


def _figures(
    settings: TradingSettings,
    phases: list[Phase],
    rush: Rush,
    kills: list[Kill],
    shares: list[Share],
    audit: dict[str, Any],
) -> dict[str, Any]:
    rates = {
        buyers: sorted(phase.per_second for phase in phases if phase.buyers == buyers)
        for buyers in settings.buyers
    }
    medians = {buyers: found[len(found) // 2] for buyers, found in rates.items()}
    books = [check for check in audit.get("checks", ()) if not check["ok"]]
    return {
        "machine": report.machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "settings": msgspec.to_builtins(settings),
        "phases": [msgspec.to_builtins(phase) for phase in phases],
        "rush": msgspec.to_builtins(rush),
        "kills": [msgspec.to_builtins(kill) for kill in kills],
        "profile": [msgspec.to_builtins(share) for share in shares],
        "summary": {f"purchases_per_second_{buyers}": rate for buyers, rate in medians.items()},
        "audit_failed": [check["name"] for check in books],
        "musts": {
            **{
                f"at least {MUST_PER_SECOND:,.0f} purchases/s with {buyers} buyers": rate >= MUST_PER_SECOND
                for buyers, rate in medians.items()
            },
            "no purchase failed": all(phase.failed == 0 for phase in phases) and rush.failed == 0,
            "none oversold": rush.units == rush.stock and rush.paid == rush.stock,
            "all others were told that it is sold out": rush.sold_out == rush.buyers - rush.stock,
            "no purchase failed while the primary died": all(kill.failed == 0 for kill in kills),
            "no paid purchase without its order": all(kill.lost == 0 for kill in kills),
            "the audit holds, the provider's books with it": bool(audit.get("ok")),
        },
    }


def print_trading(console: Console, figures: dict[str, Any]) -> None:
    """The figures as tables."""
    report.facts(console, "Machine", {**figures["machine"], "date": figures["date"]})
    report.facts(console, "Settings", figures["settings"])
    report.table(
        console,
        "Whole guest purchases of one hot product: into the cart, checkout, paid",
        [
            "buyers",
            "purchases/s",
            "p50 ms",
            "p99 ms",
            "cart",
            "checkout",
            "until paid",
            "requests each",
            "failed",
        ],
        [
            [
                str(phase["buyers"]),
                *(phase[name] for name in ("per_second", "p50_ms", "p99_ms")),
                *phase["steps_ms"],
                *(phase[name] for name in ("requests", "failed")),
            ]
            for phase in figures["phases"]
        ],
    )
    roles = list(dict.fromkeys(role for phase in figures["phases"] for role in phase["cpu_us"]))
    shown = {
        buyers: cpu.mean([phase["cpu_us"] for phase in figures["phases"] if phase["buyers"] == buyers])
        for buyers in figures["settings"]["buyers"]
    }
    report.table(
        console,
        "Where the microseconds go: processor time per purchase",
        ["process", *(f"{buyers} buyers, µs" for buyers in shown)],
        [[role, *(used.get(role) for used in shown.values())] for role in roles]
        + [["all", *(sum(used.values()) for used in shown.values())]],
    )
    if figures["profile"]:
        report.table(
            console,
            "Where their own time goes, by part of the program (sampled, innermost Python frame)",
            ["process", "part", "share"],
            [[share["process"], share["part"], f"{share['share']:.0%}"] for share in figures["profile"]],
        )
    rush = figures["rush"]
    report.table(
        console,
        f"{rush['buyers']} buyers, stock {rush['stock']}",
        ["", ""],
        [[name, rush[name]] for name in ("paid", "sold_out", "failed", "units")]
        + [["oversold", max(0, rush["units"] - rush["stock"])]],
    )
    if figures["kills"]:
        report.table(
            console,
            "kill -9 of the whole primary while 16 buy",
            ["", "purchases", "failed", "longest request s", "paid without order"],
            [
                [str(number), *(kill[name] for name in ("purchases", "failed", "longest_request_s", "lost"))]
                for number, kill in enumerate(figures["kills"], 1)
            ],
        )
    report.table(console, "Summary", ["", ""], [[name, value] for name, value in figures["summary"].items()])
    report.table(console, "Must", ["", ""], [[name, value] for name, value in figures["musts"].items()])
