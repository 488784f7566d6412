"""`everopen drill`: the commands."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError, InputError
from everopen.base.home import home_from_environment
from everopen.drill import results
from everopen.drill.checkers import CHECKERS
from everopen.drill.faults import FAULTS
from everopen.drill.faults.clock_jump import ClockJump
from everopen.drill.ground import Ground
from everopen.drill.page import render
from everopen.drill.plan import BUILT_IN, Plan, built_in, load_plan, wanted
from everopen.drill.report import print_report
from everopen.drill.run import run_plan
from everopen.drill.shop import ScratchShop
from everopen.telemetry.screen import open_screen


class DrillRefused(EveropenError):
    """The shop is marked production."""

    exit_code = 2
    default_next_step = (
        "Drill a scratch shop (--scratch), or say --yes-production: faults will hit real buyers."
    )


@click.group("drill")
def drill_group() -> None:
    """Break the shop on purpose, under load, and prove that nothing was lost.

    \b
    Examples:
      everopen drill list
      everopen drill run                          a minute on a shop of its own
      everopen drill run --plan bad-day --scratch --html bad-day.html
    """


@drill_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_command(as_json: bool) -> int:
    """Show the plans, the faults and the checkers there are.

    \b
    Examples:
      everopen drill list
      everopen drill list --json | jq -r '.faults[].name'
    """
    plans = [
        {"name": plan.name, "seconds": plan.seconds, "description": plan.description} for plan in built_in()
    ]
    faults = [
        {"name": name, "description": fault.description, "promise": fault.promise.failed, "hold_s": fault.hold_s}
        for name, fault in FAULTS.items()
    ]  # fmt: skip
    checkers = [{"name": name, "description": checker.description} for name, checker in CHECKERS.items()]
    if as_json:
        click.echo(json.dumps({"plans": plans, "faults": faults, "checkers": checkers}, indent=2))
        return 0
    console = open_screen()
    for title, rows in (("plans", plans), ("faults", faults), ("checkers", checkers)):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
        for _ in range(2):
            table.add_column(overflow="fold")
        for row in rows:
            table.add_row(f"[bold]{row['name']}[/]", str(row["description"]))
        console.print(table, highlight=False)
        console.print()
    folder = Path(__file__).parent / "plans"
    console.print(f"[dim]A plan of your own is a TOML file like those in {folder}.[/]", highlight=False)
    return 0


@drill_group.command("run")
@click.option(
    "--plan", "name", default="quick", show_default=True, help=f"{', '.join(BUILT_IN)}, or a TOML file."
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Same seed, same faults at the same times. 0: by chance.",
)
@click.option("--seconds", type=click.FloatRange(8, 14 * 86_400), help="Cut the plan short.")
@click.option("--rate", type=click.FloatRange(1, 50_000), help="Clients per second instead of the plan's.")
@click.option(
    "--only",
    multiple=True,
    help="Only faults of this name or pattern (kill-*), as often as the plan has strikes.",
)
@click.option(
    "--scratch", is_flag=True, help="On a shop of its own, removed afterwards (the default when none runs)."
)
@click.option(
    "--home", type=click.Path(path_type=Path), help="Home of the running shop (default: EVEROPEN_HOME)."
)
@click.option("--url", help="Where clients order, if not at the shop's own address.")
@click.option("--yes-production", is_flag=True, help="Also on a shop that is marked production.")
@click.option("--keep", is_flag=True, help="Keep the clients' ledger (large) and a scratch shop's files.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON document.")
@click.option("--html", type=click.Path(path_type=Path), help="Write the report as a page here too.")
def run_command(
    name: str,
    seed: int,
    seconds: float | None,
    rate: float | None,
    only: tuple[str, ...],
    scratch: bool,
    home: Path | None,
    url: str | None,
    yes_production: bool,
    keep: bool,
    as_json: bool,
    html: Path | None,
) -> int:
    """Run a plan: clients order, faults strike, checkers judge. Exit status 1 when a checker fails.

    Needs no running shop: without one (or with --scratch) it opens a shop of its own. On a running shop it sells products of
    its own (DRILL-…), which stay in the catalogue.

    \b
    Examples:
      everopen drill run
      everopen drill run --plan flash-sale --seed 7
      everopen drill run --plan bad-day --scratch --html bad-day.html
      everopen drill run --only 'network-*' --seconds 60
      EVEROPEN_HOME=/srv/shop everopen drill run --plan my-day.toml
    """
    plan = _adjusted(load_plan(name), rate, only)
    seed = seed or Rng().getrandbits(31)
    environment = dict(os.environ)
    if home is not None:
        environment["EVEROPEN_HOME"] = str(home.absolute())
    drills = Path(_home_of(environment)) / "drills"
    screen = open_screen(stderr=True)
    begun = time.monotonic()

    def say(text: str) -> None:
        screen.print(
            f"[dim]{time.monotonic() - begun:7.1f} s[/]  {text}", markup=True, soft_wrap=True, highlight=False
        )

    with _ground(plan, scratch, environment, seed, keep=keep, say=say) as ground:
        if not ground.scratch and not yes_production and marked_production(ground):
            raise DrillRefused
        folder = results.new_folder(drills, plan.name, seed, datetime.now())
        try:
            report = run_plan(plan, ground, seed=seed, folder=folder, seconds=seconds, url=url)
        except BaseException:
            if not any(folder.glob("*.jsonl")):
                shutil.rmtree(folder, ignore_errors=True)
            raise
    results.save(report, folder, keep_operations=keep)
    if html is not None:
        shutil.copyfile(folder / "report.html", html)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        print_report(open_screen(), report)
        click.echo(f"Kept in {folder} (report.html, report.json, telemetry.jsonl).")
    return 0 if report.ok else 1


@drill_group.command("report")
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="List what was run.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.option("--html", type=click.Path(path_type=Path), help="Write it as a page here.")
def report_command(name: str | None, every: bool, as_json: bool, html: Path | None) -> int:
    """Show the latest report, or the one whose name has NAME in it. Exit status 1 when a checker failed in it.

    \b
    Examples:
      everopen drill report
      everopen drill report --all
      everopen drill report bad-day --html bad-day.html
    """
    drills = home_from_environment().root / "drills"
    if every:
        return _list_runs(drills, as_json)
    report, folder = results.load(drills, name)
    if html is not None:
        html.write_text(render(report))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        print_report(open_screen(), report)
        click.echo(f"Kept in {folder}.")
    return 0 if report.ok else 1


def _list_runs(drills: Path, as_json: bool) -> int:
    rows = []
    for path in results.runs(drills):
        with contextlib.suppress(EveropenError):
            report, _ = results.load(drills, path.name)
            rows.append(
                {"name": path.name, "ok": report.ok, "faults": report.injections, "lost": report.lost,
                 "failed": report.summary.failed, "orders": report.acknowledged}
            )  # fmt: skip
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return 0
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "drill", "faults", "orders", "failed", "lost"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            "[green]ok[/]" if row["ok"] else "[bold red]FAILED[/]", str(row["name"]),
            *(f"{row[key]:,}" for key in ("faults", "orders", "failed", "lost")),
        )  # fmt: skip
    open_screen().print(table)
    return 0


def _adjusted(plan: Plan, rate: float | None, only: tuple[str, ...]) -> Plan:
    if rate is not None:
        plan = msgspec.structs.replace(plan, load=msgspec.structs.replace(plan.load, rate=rate, steps=""))
    if only:
        phases = tuple(msgspec.structs.replace(phase, faults=only) for phase in plan.phase)
        plan = msgspec.structs.replace(plan, phase=phases)
    return plan


@contextlib.contextmanager
def _ground(
    plan: Plan, scratch: bool, environment: Mapping[str, str], seed: int, *, keep: bool, say: Any
) -> Iterator[Ground]:
    if not scratch:
        folder = Path(tempfile.mkdtemp(prefix="everopen-drill-"))
        folder.chmod(0o711)
        try:
            config = environment.get("EVEROPEN_CONFIG", "everopen.toml")
            ground = Ground(
                environment={**environment, "EVEROPEN_HOME": str(_home_of(environment))}
                | ({"EVEROPEN_CONFIG": os.path.abspath(config)} if Path(config).exists() else {}),
                folder=folder,
                scratch=False,
                rng=Rng(seed),
                say=say,
            )
            if any(entry.alive for entry in ground.processes()):
                yield ground
                return
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if "EVEROPEN_HOME" in environment:
            say(f"No shop runs in {_home_of(environment)}; the drill opens one of its own.")
    with ScratchShop(
        plan.shop,
        keep=keep,
        disk_mb=plan.scratch_disk_mb,
        clock_can_leap=ClockJump.name in wanted(plan, list(FAULTS)),
        rng=Rng(seed),
        say=say,
    ) as shop:
        say("Opening a scratch shop …")
        shop.start()
        yield shop


def _home_of(environment: Mapping[str, str]) -> str:
    return os.path.abspath(environment.get("EVEROPEN_HOME") or "var")


def marked_production(ground: Ground) -> bool:
    """Whether the shop's configuration says `[shop] production = true`. Raises InputError when it can't be told."""
    answer = ground.command("config", "--json", "shop")
    try:
        settings = {entry["name"]: entry["value"] for entry in json.loads(answer.stdout)}
    except (ValueError, KeyError, TypeError):
        raise InputError(f"The shop's settings can't be read: {answer.stderr.strip()[-300:]}") from None
    return bool(settings.get("shop.production", False))
