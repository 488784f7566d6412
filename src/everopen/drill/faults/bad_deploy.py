"""A bad deploy: one worker starts, says on /healthz that it is well, and answers everything else with 500.

The interposer answers in its place. The gateway asks another worker what this one answered with 500, so no request that may
be repeated fails; and once it has seen that the fault is this worker's, it leaves it alone.
"""

from __future__ import annotations

from everopen.base.clock import Rng
from everopen.drill.faults.fault import CRASH, Injected
from everopen.drill.faults.network import missing_interposing, step_in, step_out
from everopen.drill.ground import Ground

LINK = "gateway-worker"


class BadDeploy:
    """One worker fails at all but its health check."""

    name = "bad-deploy"
    description = "One worker answers everything with 500, except /healthz."
    promise = CRASH
    hold_s = 4.0

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        return missing_interposing(ground, LINK)

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Answers in its place."""
        injected = step_in(ground, rng, LINK, way="broken")
        injected.what = f"500 {injected.what}"
        return injected

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Steps out."""
        step_out(injected)
