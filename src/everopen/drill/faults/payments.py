"""The payment provider misbehaves, as seen by the workers: down, slow, answering twice, its answer lost.

The interposer stands on the provider's socket. The provider's own process is well and its supervisor sees it so: what is
broken is only the way there, as with a real provider.
"""

from __future__ import annotations

from everopen.base.clock import Rng
from everopen.drill.faults.fault import CRASH, Injected
from everopen.drill.faults.network import missing_interposing, step_in, step_out
from everopen.drill.ground import Ground

LINK = "worker-payments"
SLOW_S = 2.0
WORDS = {
    "down": "Every connection to the payment provider is closed at once.",
    "slow": f"The payment provider's answers wait {SLOW_S:.0f} s.",
    "twice": "The payment provider gets each request twice, and gives each answer twice, the second one 50 ms later.",
    "lost": "The payment provider carries out each request, and its answer never comes.",
}


class Payments:
    """One way to misbehave. Orders are answered before their payment is asked for, so no request may feel it."""

    hold_s = 5.0
    promise = CRASH

    def __init__(self, way: str) -> None:
        self.way = way
        self.name = f"payments-{way}"
        self.description = WORDS[way]

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        return missing_interposing(ground, LINK)

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Misbehaves from the first connection on."""
        injected = step_in(ground, rng, LINK, way=self.way, delay_s=SLOW_S)
        injected.what = f"{self.way}: {injected.what}"
        return injected

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Steps out."""
        step_out(injected)
