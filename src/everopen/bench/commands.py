"""`everopen bench`: the commands."""

from __future__ import annotations

import json
from typing import Any

import click

from everopen.base.errors import EveropenError
from everopen.bench.audit import AuditSettings, bench_audit, print_audit
from everopen.bench.failover import FailoverSettings, bench_failover, print_failover
from everopen.bench.orders import OrdersSettings, bench_orders, print_orders
from everopen.bench.plain import PlainSettings, bench_plain, print_plain
from everopen.bench.trading import TradingSettings, bench_trading, print_trading
from everopen.telemetry.screen import open_screen


class BenchFailed(EveropenError):
    """A figure that must hold does not."""


@click.group("bench")
def bench_group() -> None:
    """Measure this machine: orders per second, and what a crash costs.

    Each benchmark starts a shop of its own in a scratch home and removes it afterwards; a running shop is left alone (but
    shares the processor). Exit status 1 when a figure that must hold does not.

    \b
    Examples:
      everopen bench orders
      everopen bench failover --kills 20
      everopen bench trading
    """


@bench_group.command("orders")
@click.option(
    "--seconds", type=click.FloatRange(1, 3600), default=10.0, show_default=True, help="Length of each run."
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="Runs of hot and wide, in turns.",
)
@click.option(
    "--clients", type=click.IntRange(1, 1000), default=128, show_default=True, help="Keep-alive clients."
)
@click.option(
    "--cores",
    type=click.IntRange(1, 1024),
    default=2,
    show_default=True,
    help="Cores for everything, load included.",
)
@click.option("--no-wrk", is_flag=True, help="Use the built-in load client even where wrk is installed.")
@click.option("--no-pgbench", is_flag=True, help="Leave the yardstick out.")
@click.option("--keep", is_flag=True, help="Keep the scratch home (its logs).")
@click.option("--json", "as_json", is_flag=True, help="All figures as one JSON document.")
def orders_command(
    seconds: float,
    rounds: int,
    clients: int,
    cores: int,
    no_wrk: bool,
    no_pgbench: bool,
    keep: bool,
    as_json: bool,
) -> None:
    """Durable orders per second, for one hot product and for a thousand, beside plain PostgreSQL.

    \b
    Examples:
      everopen bench orders
      everopen bench orders --seconds 30 --json > orders.json
      everopen bench orders --no-pgbench --no-wrk --rounds 1
    """
    settings = OrdersSettings(
        seconds=seconds,
        rounds=rounds,
        clients=clients,
        cores=cores,
        wrk=not no_wrk,
        yardstick=not no_pgbench,
        keep=keep,
    )
    figures = bench_orders(settings, open_screen(stderr=True))
    _finish(figures, as_json, print_orders)


@bench_group.command("failover")
@click.option(
    "--kills",
    type=click.IntRange(0, 10_000),
    default=20,
    show_default=True,
    help="kill -9 of the whole primary.",
)
@click.option(
    "--hangs",
    type=click.IntRange(0, 10_000),
    default=5,
    show_default=True,
    help="SIGSTOP of the whole primary.",
)
@click.option(
    "--workers", type=click.IntRange(0, 10_000), default=5, show_default=True, help="kill -9 of a worker."
)
@click.option(
    "--gateways", type=click.IntRange(0, 10_000), default=5, show_default=True, help="kill -9 of a gateway."
)
@click.option(
    "--supervisors",
    type=click.IntRange(0, 10_000),
    default=3,
    show_default=True,
    help="kill -9 of the supervisor.",
)
@click.option(
    "--guardians",
    type=click.IntRange(0, 10_000),
    default=3,
    show_default=True,
    help="kill -9 of the guardian.",
)
@click.option(
    "--rate",
    type=click.FloatRange(1, 50_000),
    default=500.0,
    show_default=True,
    help="Orders per second that are due.",
)
@click.option("--standbys", type=click.IntRange(1, 2), default=1, show_default=True)
@click.option(
    "--durability", type=click.Choice(["available", "strict"]), default="available", show_default=True
)
@click.option("--keep", is_flag=True, help="Keep the scratch home (its logs).")
@click.option("--json", "as_json", is_flag=True, help="All figures as one JSON document.")
def failover_command(
    kills: int,
    hangs: int,
    workers: int,
    gateways: int,
    supervisors: int,
    guardians: int,
    rate: float,
    standbys: int,
    durability: str,
    keep: bool,
    as_json: bool,
) -> None:
    """What crashes and hangs cost under load: failed requests, lost or doubled orders, the longest wait.

    \b
    Examples:
      everopen bench failover --kills 20
      everopen bench failover --kills 1 --hangs 0 --workers 0 --gateways 0 --supervisors 0 --guardians 0
    """
    settings = FailoverSettings(
        faults=(
            ("primary crash", kills),
            ("primary hang", hangs),
            ("worker crash", workers),
            ("gateway crash", gateways),
            ("supervisor crash", supervisors),
            ("guardian crash", guardians),
        ),
        rate=rate,
        standbys=standbys,
        durability=durability,
        keep=keep,
    )
    figures = bench_failover(settings, open_screen(stderr=True))
    _finish(figures, as_json, print_failover)


@bench_group.command("plain")
@click.option(
    "--primaries", type=click.IntRange(0, 1000), default=10, show_default=True, help="kill -9 of PostgreSQL."
)
@click.option(
    "--workers", type=click.IntRange(0, 1000), default=10, show_default=True, help="kill -9 of a worker."
)
@click.option(
    "--gateways",
    type=click.IntRange(0, 1000),
    default=5,
    show_default=True,
    help="kill -9 of a gateway (of an nginx worker).",
)
@click.option(
    "--rate",
    type=click.FloatRange(1, 50_000),
    default=300.0,
    show_default=True,
    help="Orders per second that are due.",
)
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.5, 600),
    default=4.0,
    show_default=True,
    help="Seconds between kills.",
)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--keep", is_flag=True, help="Keep the scratch home (its logs).")
@click.option("--json", "as_json", is_flag=True, help="All figures as one JSON document.")
def plain_command(
    primaries: int,
    workers: int,
    gateways: int,
    rate: float,
    every_s: float,
    seed: int,
    keep: bool,
    as_json: bool,
) -> None:
    """The same kills against a plain stack: one PostgreSQL, shell loops that restart, nginx in front.

    \b
    Examples:
      everopen bench plain
      everopen bench plain --primaries 3 --workers 3 --gateways 3 --json
    """
    kills = (("primary", primaries), ("worker", workers), ("gateway", gateways))
    if not primaries + workers + gateways:
        raise click.UsageError("There is nothing to kill.")
    settings = PlainSettings(kills=kills, rate=rate, every_s=every_s, seed=seed, keep=keep)
    _finish(bench_plain(settings, open_screen(stderr=True)), as_json, print_plain)


@bench_group.command("trading")
@click.option(
    "--seconds", type=click.FloatRange(1, 3600), default=10.0, show_default=True, help="Length of each run."
)
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Runs, in turns.")
@click.option(
    "--buyers",
    type=click.IntRange(1, 2000),
    multiple=True,
    default=(16, 64),
    show_default=True,
    help="How many buy at once.",
)
@click.option("--rush-stock", type=click.IntRange(1, 100_000), default=200, show_default=True)
@click.option("--rush-buyers", type=click.IntRange(1, 5000), default=400, show_default=True)
@click.option(
    "--kills", type=click.IntRange(0, 1000), default=3, show_default=True, help="kill -9 of the primary."
)
@click.option(
    "--cores",
    type=click.IntRange(1, 1024),
    default=2,
    show_default=True,
    help="Cores for everything, load included.",
)
@click.option("--profile", is_flag=True, help="One more run, sampled by py-spy.")
@click.option("--keep", is_flag=True, help="Keep the scratch home (its logs).")
@click.option("--json", "as_json", is_flag=True, help="All figures as one JSON document.")
def trading_command(as_json: bool, **options: Any) -> None:
    """Whole guest purchases of one hot product: into the cart, checkout, payment, seen paid.

    \b
    Examples:
      everopen bench trading
      everopen bench trading --seconds 30 --json > trading.json
      everopen bench trading --buyers 64 --rounds 1 --kills 0 --profile
    """
    _finish(bench_trading(TradingSettings(**options), open_screen(stderr=True)), as_json, print_trading)


@bench_group.command("audit")
@click.option("--orders", type=click.IntRange(1, 100_000_000), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Audits.")
@click.option("--keep", is_flag=True, help="Keep the scratch home (its logs).")
@click.option("--json", "as_json", is_flag=True, help="All figures as one JSON document.")
def audit_command(as_json: bool, **options: Any) -> None:
    """How long `everopen audit` takes over so many orders, placed and paid for real (a million take some ten minutes).

    \b
    Examples:
      everopen bench audit
      everopen bench audit --orders 100000 --rounds 1
    """
    _finish(bench_audit(AuditSettings(**options), open_screen(stderr=True)), as_json, print_audit)


def _finish(figures: dict[str, Any], as_json: bool, show: Any) -> None:
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    else:
        show(open_screen(), figures)
    broken = [name for name, held in figures["musts"].items() if held is False]
    if broken:
        raise BenchFailed(f"Not held: {'; '.join(broken)}.", "The tables show by how much.")
