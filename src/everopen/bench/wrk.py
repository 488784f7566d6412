"""Drives wrk, a load generator in C, where it is installed: it takes less of the two cores than one in Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from everopen.base.errors import EveropenError

MARK = "everopen-figures "

SCRIPT = """
-- Every request is a new order under a key of its own; "wide" takes its SKU at random.
local before, after = {before}, {after}
local bodies = {{ {bodies} }}
local threads, sent = 0, 0

function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

function init(arguments)
  math.randomseed({seed} + id * 7919)
end

function request()
  sent = sent + 1
  local body = bodies[#bodies == 1 and 1 or math.random(#bodies)]
  return before .. id .. "-" .. sent .. after .. #body .. "\\r\\n\\r\\n" .. body
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{mark}{{"requests":%d,"duration_us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,' ..
    '"p50":%d,"p90":%d,"p99":%d,"p999":%d,"max":%d}}\\n',
    summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.status, errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9), latency.max))
end
"""


class WrkFigures(msgspec.Struct, frozen=True):
    """What wrk measured. `requests` are answers; those that were no 2xx are in `status`."""

    requests: int
    duration_us: int
    connect: int
    read: int
    write: int
    status: int
    timeout: int
    p50: int
    p90: int
    p99: int
    p999: int
    max: int

    @property
    def failed(self) -> int:
        """Requests without a good answer."""
        return self.connect + self.read + self.write + self.status + self.timeout

    @property
    def orders(self) -> int:
        """Acknowledged orders."""
        return self.requests - self.status

    @property
    def per_second(self) -> float:
        """Acknowledged orders per second."""
        return self.orders * 1e6 / max(1, self.duration_us)

    def wait_ms(self) -> dict[str, float]:
        """Percentiles in milliseconds, named as those of the built-in client."""
        return {
            "p50": self.p50 / 1000,
            "p90": self.p90 / 1000,
            "p99": self.p99 / 1000,
            "p99.9": self.p999 / 1000,
            "max": self.max / 1000,
        }


def find_wrk() -> str | None:
    """The program, None when it isn't installed."""
    return shutil.which("wrk")


def script(host: str, skus: Sequence[str], *, run: str, seed: int, token: str = "tok_approve") -> str:
    """The Lua program for wrk."""
    head = f"POST /api/orders HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nIdempotency-Key: {run}-"
    bodies = [
        {
            "lines": [{"sku": sku, "quantity": 1}],
            "customer": {"email": "load@example.com"},
            "payment": {"provider": "sandbox", "token": token},
        }
        for sku in skus
    ]
    return SCRIPT.format(
        before=_lua(head),
        after=_lua("\r\nContent-Length: "),
        bodies=", ".join(_lua(json.dumps(body)) for body in bodies),
        seed=seed,
        mark=MARK,
    )


def _lua(text: str) -> str:
    escaped = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\' else f"\\{byte:03d}"
        for byte in text.encode()
    )
    return f'"{escaped}"'


def run_wrk(
    program: str,
    url: str,
    skus: Sequence[str],
    *,
    clients: int,
    threads: int,
    seconds: float,
    run: str,
    seed: int = 1,
) -> WrkFigures:
    """One run. Raises EveropenError with what wrk said."""
    host = url.partition("://")[2].rstrip("/")
    with tempfile.TemporaryDirectory(prefix="everopen-wrk-") as folder:
        program_file = Path(folder) / "orders.lua"
        program_file.write_text(script(host, skus, run=run, seed=seed))
        answer = subprocess.run(
            [
                program,
                "-t",
                str(threads),
                "-c",
                str(clients),
                "-d",
                f"{max(1, round(seconds))}s",
                "--timeout",
                "30s",
                "-s",
                str(program_file),
                url,
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
    return parse(answer.stdout, answer.stderr)


def parse(output: str, errors: str = "") -> WrkFigures:
    """Figures from wrk's output. Raises EveropenError."""
    for line in output.splitlines():
        if line.startswith(MARK):
            return msgspec.json.decode(line[len(MARK) :], type=WrkFigures)
    raise EveropenError(
        f"wrk gave no figures: {(errors or output).strip()[-500:]}",
        "Run with --no-wrk for the built-in client.",
    )
