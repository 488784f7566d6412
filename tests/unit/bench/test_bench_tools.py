"""Parsers and figures of the benchmarks; wrk itself against a tiny server where it is installed."""

from __future__ import annotations

import http.server
import io
import json
import os
import threading
from typing import Any

import pytest
from rich.console import Console

from everopen.base.errors import EveropenError
from everopen.bench import cpu, pgbench, report, wrk
from everopen.bench.failover import FailoverSettings, Fault, _figures, connections_of, felt_of, print_failover
from everopen.drill.ground import node_processes, postgres_kind
from everopen.drill.history import Acknowledged, Check

PGBENCH = """pgbench (18.0)
transaction type: order.sql
number of transactions actually processed: 15234
number of failed transactions: 0 (0.000%)
latency average = 10.502 ms
initial connection time = 20.1 ms
tps = 1523.456789 (without initial connection time)
"""


def test_pgbench_figures_are_read() -> None:
    assert pgbench.parse(PGBENCH, "", 16) == pgbench.PgbenchFigures(16, 15234, 0, 1523.456789, 10.502)
    with pytest.raises(EveropenError, match="function bench_place_one does not exist"):
        pgbench.parse("", "ERROR: function bench_place_one does not exist", 16)


def test_wrk_figures_are_read_and_missing_ones_are_an_error() -> None:
    line = (
        wrk.MARK
        + '{"requests":10,"duration_us":2000000,"connect":0,"read":0,"write":0,"status":1,"timeout":0,"p50":1000,"p90":2000,"p99":3000,"p999":4000,"max":5000}'
    )
    figures = wrk.parse(f"Running 1s test\n{line}\n")
    assert (figures.orders, figures.per_second, figures.failed, figures.wait_ms()["p99"]) == (9, 4.5, 1, 3.0)
    with pytest.raises(EveropenError, match="unable to connect"):
        wrk.parse("", "unable to connect to 127.0.0.1")


def test_wrk_sends_orders_with_keys_of_their_own() -> None:
    program = wrk.find_wrk()
    if program is None:
        pytest.skip("wrk is not installed")
    seen: list[tuple[str, dict[str, Any]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            seen.append((self.headers["idempotency-key"], json.loads(body)))
            self.send_response(201)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        figures = wrk.run_wrk(program, url, ['A"1', "B é"], clients=2, threads=1, seconds=1, run="t")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert 0 < figures.requests <= len(seen)
    assert figures.failed == 0
    assert len({key for key, _ in seen}) == len(seen)
    assert {body["lines"][0]["sku"] for _, body in seen} == {'A"1', "B é"}


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("postgres: walwriter ", "walwriter"),
        ("postgres: walsender everopen_replication [local] streaming 0/3000", "walsender"),
        ("postgres: io worker 1", "io worker"),
        ("postgres: node-1: checkpointer ", "checkpointer"),
        ("postgres: everopen_app everopen [local] idle", "lanes and payer"),
        ("postgres: autovacuum launcher", "autovacuum launcher"),
        ("postgres: postgres everopen [local] idle", "other sessions"),
        ("/somewhere/bin/postgres -D data", "postmaster"),
    ],
)
def test_postgresql_processes_are_told_apart_by_their_titles(title: str, kind: str) -> None:
    assert postgres_kind(title) == kind


def test_processor_time_is_shared_out_per_order() -> None:
    before = {"worker": {1: 1.0, 2: 2.0}}
    after = {"worker": {1: 1.5, 2: 2.5}, "gateway": {3: 0.25}}
    assert cpu.used_us_per_order(before, after, 10_000) == {"worker": 100.0, "gateway": 25.0}


def test_runs_are_averaged_by_role() -> None:
    assert cpu.mean([{"worker": 1.0, "gateway": 8.0}, {"worker": 3.0}]) == {"gateway": 4.0, "worker": 2.0}


def test_own_time_and_memory_can_be_read_and_a_gone_process_counts_nothing() -> None:
    assert cpu.cpu_s(os.getpid()) > 0
    assert cpu.pss_bytes(os.getpid()) > 1_000_000
    assert (
        cpu.cpu_s(2**22 + 1),
        cpu.pss_bytes(2**22 + 1),
        connections_of(2**22 + 1),
        node_processes(2**22 + 1),
    ) == (0, 0, 0, [])


def test_the_machine_is_named() -> None:
    found = report.machine()
    assert found["cores_used"] >= 1
    assert found["processor"]


def acknowledged(number: int, intended: float, answered: float) -> Acknowledged:
    return Acknowledged(f"k{number}", f"i{number}", "A", 1, 5, intended, answered, 1, False)


def test_each_fault_is_judged_by_its_own_time_and_the_musts_follow() -> None:
    faults = [Fault("primary crash", 10.0, 12.0), Fault("gateway crash", 20.0, 21.0, held_connections=2)]
    orders = [acknowledged(n, n / 10, n / 10 + 0.01) for n in range(300)] + [acknowledged(999, 10.1, 10.4)]
    felt = felt_of(faults, orders, [20.01], [(20.02, "broken")])
    assert [(entry.longest_wait_s, entry.failed, entry.broken_connections) for entry in felt] == [
        (0.3, 0, 0),
        (0.01, 1, 1),
    ]
    summary = {"failed": 1, "uncertain": 1, "wait_ms": {"p50": 1.0}}
    settings = FailoverSettings(faults=(("primary crash", 1), ("gateway crash", 1), ("worker crash", 0)))
    figures = _figures(settings, felt, summary, Check(301, [], [], 0), {"ok": True})
    assert [name for name, held in figures["musts"].items() if not held] == ["no request failed"]
    screen = io.StringIO()
    print_failover(Console(file=screen, width=200), figures)
    assert "primary crash" in screen.getvalue()
