"""Load clients: `python -m everopen.drill.load --url … --rate 500 --seconds 30`.

Open loop (`--rate`): requests are due at times that nobody can delay, and each wait is measured from when its request was
due. A closed loop alone was turned down: its clients politely stop while the shop is down, and the outage vanishes from
the figures (coordinated omission, G. Tene). Closed loop (`--clients`) is for throughput.

A client behaves like a client: it has one request under way per connection, and with `--retry` sends a request whose
connection broke once more under the same key. Everything is bounded: connections, queue, requests, time.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError, InputError
from everopen.base.secrets import load_or_create
from everopen.drill.baskets import Basket, read_baskets
from everopen.drill.history import History, Second, Summary
from everopen.drill.history_operations import OperationLog
from everopen.drill.sender import Load
from everopen.drill.wire import Target
from everopen.drill.workload import (
    KINDS,
    LoadSettings,
    parse_mix,
    parse_steps,
    read_skus,
)


class Result(msgspec.Struct, frozen=True):
    """What a run writes to its file."""

    settings: LoadSettings
    begun: float
    summary: Summary
    broken_at: list[float]
    failures: list[tuple[float, str]]
    troubled: list[tuple[float, float, bool]] = []
    """(due, over, failed) of slow or failed requests."""
    seconds: list[Second] = []


def run_load(
    settings: LoadSettings,
    url: str,
    *,
    ledger: Path | None,
    rng: Rng,
    operations: Path | None = None,
    operator_key: str | None = None,
    baskets: Sequence[Basket] = (),
) -> Result:
    """One run in this process, on a loop of its own; SIGTERM and Ctrl-C end it early, with its figures. Raises
    InputError."""
    target = Target.from_url(url)
    begun = time.time()
    history = History(ledger, slow_s=settings.slow_s)

    async def work() -> Summary:
        load = Load(
            settings,
            target,
            history,
            rng,
            operations=OperationLog(operations) if operations is not None else None,
            operator_key=operator_key,
            baskets=baskets,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, load.stop)
        return await load.run()

    summary = uvloop.run(work())
    return Result(
        settings,
        begun,
        summary,
        list(history.broken_at),
        history.failures,
        history.troubled,
        history.seconds,
    )


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where the shop is.")
@click.option(
    "--skus", required=True, help="SKUs to order: A,B,C or @FILE. `hot` is the first, `wide` any of them."
)
@click.option(
    "--rate", type=click.FloatRange(0.01, 100_000), help="Open loop: requests per second that are due."
)
@click.option(
    "--arrivals", type=click.Choice(["poisson", "fixed", "history"]), default="poisson", show_default=True
)
@click.option("--steps", help="Open loop with a course: 0:50,20:400,40:50 (second:rate) instead of --rate.")
@click.option("--clients", type=click.IntRange(1, 4096), help="Closed loop: so many keep-alive clients.")
@click.option("--seconds", type=click.FloatRange(0.1, 86_400), default=30.0, show_default=True)
@click.option(
    "--mix", default="hot", show_default=True, help=f"{', '.join(KINDS)} with weights: wide=0.8,browse=0.2"
)
@click.option("--retry", is_flag=True, help="Send again, under the same key, when the connection breaks.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 600), default=30.0, show_default=True)
@click.option("--attempt", "attempt_s", type=click.FloatRange(0.1, 600), help="Patience with one try.")
@click.option("--slow", "slow_s", type=click.FloatRange(0.001, 60), default=0.25, show_default=True)
@click.option(
    "--connections",
    type=click.IntRange(1, 20_000),
    default=512,
    show_default=True,
    help="At most (open loop).",
)
@click.option("--parent", type=int, default=0, help="End when this parent process is gone.")
@click.option("--seed", type=int, help="Repeats arrivals and choices.")
@click.option(
    "--ledger", type=click.Path(path_type=Path), help="Write acknowledged orders here (JSON lines)."
)
@click.option(
    "--operations",
    type=click.Path(path_type=Path),
    help="Write every request and what it saw here (JSON lines).",
)
@click.option(
    "--secrets", "secrets_file", type=click.Path(path_type=Path), help="For returns: HOME/secrets.json."
)
@click.option(
    "--baskets", "baskets_file", help="A sales history (CSV, .gz), or `sample` for the shipped month."
)
@click.option("--sku-prefix", default="", help="Put before the SKUs of the baskets.")
@click.option("--key-prefix", default="", help="Put before the idempotency keys (default: random).")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the figures here (JSON); else to the screen."
)
def main(
    url: str,
    skus: str,
    seed: int | None,
    mix: str,
    steps: str | None,
    ledger: Path | None,
    operations: Path | None,
    secrets_file: Path | None,
    baskets_file: str | None,
    sku_prefix: str,
    connections: int,
    out: Path | None,
    **rest: Any,
) -> None:
    """Order from a running shop and measure how long the orders wait.

    \b
    Examples:
      python -m everopen.drill.load --skus 85123A --rate 500 --seconds 30 --retry --ledger orders.jsonl
      python -m everopen.drill.load --skus @skus.txt --mix wide=0.9,browse=0.1 --clients 128 --seconds 10
    """
    try:
        settings = LoadSettings(
            skus=read_skus(skus),
            mix=parse_mix(mix),
            steps=parse_steps(steps) if steps else (),
            connections_max=connections,
            **rest,
        )
        baskets: list[Basket] = []
        if baskets_file is not None:
            path = None if baskets_file == "sample" else Path(baskets_file)
            baskets = read_baskets(path, prefix=sku_prefix)
        if secrets_file is not None and not secrets_file.exists():
            raise InputError(f"{secrets_file} does not exist.", "Give the secrets.json of the shop's home.")
        result = run_load(
            settings,
            url,
            ledger=ledger,
            rng=Rng(seed),
            operations=operations,
            operator_key=load_or_create(secrets_file)[0].operator_key if secrets_file else None,
            baskets=baskets,
        )
    except EveropenError as problem:
        click.echo(f"{problem.cause}\n{problem.next_step}", err=True)
        sys.exit(problem.exit_code)
    shown = msgspec.structs.replace(settings, skus=settings.skus[:10])
    document = msgspec.json.encode(msgspec.structs.replace(result, settings=shown))
    if out is not None:
        out.write_bytes(document + b"\n")
    else:
        click.echo(document)


if __name__ == "__main__":
    main()
