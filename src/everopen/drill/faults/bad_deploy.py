"""A bad deploy: one worker starts, says on /healthz that it is well, and answers everything else with 500.

The interposer answers in its place. Not covered by a promise: a 500 is an answer, and a gateway that sent it again
elsewhere would have to guess whether the fault lies in the worker or in the request. Comparing a worker with its
fellows (outlier ejection) would tell the two apart; the shop does not do that yet.
"""

from __future__ import annotations

from everopen.base.clock import Rng
from everopen.drill.faults.fault import NOT_COVERED, Injected
from everopen.drill.faults.network import missing_interposing, step_in, step_out
from everopen.drill.ground import Ground

LINK = "gateway-worker"


class BadDeploy:
    """One worker fails at all but its health check."""

    name = "bad-deploy"
    description = "One worker answers everything with 500, except /healthz."
    promise = NOT_COVERED
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
