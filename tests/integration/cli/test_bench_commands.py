"""Benchmarks end to end, briefly: their figures are whole and nothing is lost. No figure of time is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def bench(folder: Path, *arguments: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EVEROPEN_")}
    done = subprocess.run(
        [sys.executable, "-m", "everopen.cli", "bench", *arguments, "--json"],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr[-3000:]  # 1: a must of speed, on a slow machine
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_failover_benchmark_breaks_things_and_finds_every_order_again(tmp_path: Path) -> None:
    found = bench(
        tmp_path,
        *("failover", "--rate", "50", "--kills", "1", "--hangs", "0", "--workers", "1", "--gateways", "1"),
        *("--supervisors", "0", "--guardians", "0"),
    )
    assert [(row["kind"], row["times"]) for row in found["rows"]] == [
        ("primary crash", 1),
        ("worker crash", 1),
        ("gateway crash", 1),
    ]
    assert found["acknowledged"] > 100
    assert (found["load"]["failed"], found["lost"], found["changed"], found["doubled"]) == (0, 0, 0, 0)
    assert found["musts"]["the audit holds"]


def test_the_orders_benchmark_has_all_its_figures(tmp_path: Path) -> None:
    found = bench(tmp_path, "orders", "--seconds", "1", "--rounds", "1", "--clients", "16", "--no-wrk")
    assert [phase["kind"] for phase in found["phases"]] == ["hot", "wide"]
    assert all(
        phase["orders"] > 0 and phase["failed"] == 0 and phase["cpu_us"]["worker"] > 0
        for phase in found["phases"]
    )
    assert [(entry["kind"], entry["clients"]) for entry in found["yardstick"]] == [
        ("hot", 16),
        ("hot", 64),
        ("wide", 16),
        ("wide", 64),
    ]
    assert all(entry["per_second"] > 0 and entry["failed"] == 0 for entry in found["yardstick"])
    assert found["summary"]["audit_ok"]
    assert found["summary"]["idle_memory_bytes"] > 50_000_000


def test_the_trading_benchmark_sells_what_is_there_and_keeps_every_purchase(tmp_path: Path) -> None:
    found = bench(
        tmp_path,
        *("trading", "--seconds", "1", "--rounds", "1", "--buyers", "8", "--rush-stock", "20"),
        *("--rush-buyers", "50", "--kills", "1"),
    )
    (phase,) = found["phases"]
    assert phase["purchases"] > 0
    assert phase["failed"] == 0
    rush = found["rush"]
    assert [rush[name] for name in ("paid", "sold_out", "failed", "units")] == [20, 30, 0, 20]
    (kill,) = found["kills"]
    assert (kill["failed"], kill["lost"]) == (0, 0)
    assert kill["purchases"] > 0
    assert found["musts"]["the audit holds, the provider's books with it"]
