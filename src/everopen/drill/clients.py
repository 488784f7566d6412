"""The clients of a drill: a load process of its own, so that the drill's waiting and killing can't slow it down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from everopen.base.errors import EveropenError
from everopen.drill.baskets import read_baskets
from everopen.drill.ground import Ground
from everopen.drill.load import Result
from everopen.drill.plan import LoadPlan

PREFIX = "DRILL-"
PLENTY = 50_000_000
STOP_S_MAX = 90.0


class Clients:
    """Products to order, and the process that orders them."""

    def __init__(self, plan: LoadPlan, ground: Ground, folder: Path, *, url: str, seed: int) -> None:
        self.operations = folder / "operations.jsonl"
        self.skus = [f"{PREFIX}{seed}-{number:04d}" for number in range(plan.skus)]
        self._plan = plan
        self._ground = ground
        self._folder = folder
        self._url = url
        self._seed = seed
        self._out = folder / "load.json"
        self._log = folder / "load.log"
        self._child: subprocess.Popen[bytes] | None = None

    def stock_up(self, run: str) -> None:
        """Puts the products into the shop, with plenty of stock (but of the hot one, where the plan says so)."""
        hot, others = self.skus[:1], self.skus[1:]
        if self._plan.baskets:
            path = None if self._plan.baskets == "sample" else Path(self._plan.baskets)
            found = {sku for basket in read_baskets(path, prefix=PREFIX) for sku, _ in basket.lines}
            others += sorted(found)
            self.skus += sorted(found)
        self._ground.stock_up(hot, each=self._plan.hot_stock or PLENTY, key=f"{run}-hot")
        self._ground.stock_up(others, each=PLENTY, key=run)

    def start(self, seconds: float) -> None:
        """Opens the doors; at the latest after `seconds` they close by themselves."""
        plan = self._plan
        own = self.skus[: plan.skus]
        (self._folder / "skus.txt").write_text("\n".join(own) + "\n")
        command = [
            *(sys.executable, "-m", "everopen.drill.load", "--url", self._url),
            *("--skus", f"@{self._folder / 'skus.txt'}", "--mix", plan.mix, "--seconds", str(seconds)),
            *(("--steps", plan.steps) if plan.steps else ("--rate", str(plan.rate))),
            *("--arrivals", plan.arrivals, "--connections", str(plan.connections), "--retry"),
            *("--attempt", str(plan.attempt_s), "--timeout", str(plan.timeout_s)),
            *("--slow", str(plan.slow_ms / 1000), "--seed", str(self._seed)),
            *("--secrets", str(self._ground.home.secrets_file), "--parent", str(os.getpid())),
            *("--operations", str(self.operations), "--out", str(self._out)),
        ]
        if plan.baskets:
            command += ["--baskets", plan.baskets, "--sku-prefix", PREFIX]
        with open(self._log, "wb") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C is the drill's; it ends its clients itself
            )

    def check(self) -> None:
        """Raises EveropenError when the clients are gone."""
        if self._child is not None and self._child.poll() is not None:
            raise EveropenError(f"The load clients ended: {self._said() or 'without a word'}.")

    def _said(self) -> str:
        try:
            return self._log.read_text(errors="replace")[-1000:].strip()
        except OSError:
            return ""

    def stop(self) -> None:
        """Closes the doors and waits for what is under way."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def result(self) -> Result:
        """What they saw in sum. Raises EveropenError."""
        try:
            return msgspec.json.decode(self._out.read_bytes(), type=Result)
        except (OSError, msgspec.DecodeError) as problem:
            raise EveropenError(f"The load clients left no figures: {self._said() or problem}.") from None
