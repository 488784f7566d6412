"""For each payment provider a bench to try it on: the real other side, and tokens for what should happen."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from everopen.trading.payments import Setup, StripeSetup
from everopen.trading.payments.signing import sign
from tests.support import stripe_server

SANDBOX_SECRET = "secret-of-the-sandbox"
STRIPE_SECRETS = ("whsec_new", "whsec_old")
SERVE = """
import sys; from pathlib import Path; from everopen.trading.payments.sandbox_server import SandboxSettings, run
run(SandboxSettings(slow_s=0.3), socket=Path(sys.argv[1]), books=Path(sys.argv[2]), drop_privileges=lambda: None)
"""


@dataclass
class Bench:
    """A provider's other side."""

    name: str
    setup: Setup
    tokens: dict[str, str]
    """What should happen → the token for it: approve, decline, lost."""
    stop: Callable[[], object]
    event: Callable[[str], dict[str, object]]
    """A notification about a payment, as this provider words it."""
    header: bytes
    secret: str

    def notice(
        self, payment_id: str, at_s: float, *, body: bytes | None = None
    ) -> tuple[dict[bytes, bytes], bytes]:
        """A signed notification: headers and body."""
        said = json.dumps(self.event(payment_id)).encode() if body is None else body
        return {self.header: sign(self.secret, said, at_s).encode()}, said


@contextmanager
def sandbox() -> Iterator[Bench]:
    """The sandbox's own process."""
    with tempfile.TemporaryDirectory(prefix="everopen-pay-", dir="/tmp") as folder:
        socket, books = Path(folder) / "payments.sock", Path(folder) / "books.sqlite"
        process = subprocess.Popen([sys.executable, "-c", SERVE, str(socket), str(books)])
        deadline = time.monotonic() + 20
        while not socket.exists() and time.monotonic() < deadline:
            time.sleep(0.01)

        def stop() -> None:
            if process.poll() is None:
                process.terminate()
                assert process.wait(10) == 0, "SIGTERM ends it with status 0"

        try:
            yield Bench(
                "sandbox",
                Setup(socket=socket, timeout_s=2.0, sandbox_secret=SANDBOX_SECRET),
                {"approve": "tok_approve", "decline": "tok_decline", "lost": "tok_lost"},
                stop,
                lambda payment_id: {"id": "evt_1", "type": "charge.approved", "data": {"key": payment_id}},
                b"everopen-signature",
                SANDBOX_SECRET,
            )
        finally:
            stop()


@contextmanager
def stripe() -> Iterator[Bench]:
    """A server that speaks Stripe's API."""
    with stripe_server.running_stripe() as server:
        yield Bench(
            "stripe",
            stripe_bench_setup(server),
            {"approve": "pm_card_visa", "decline": "pm_card_chargeDeclined", "lost": "pm_lost"},
            server.stop,
            lambda payment_id: {
                "id": "evt_1",
                "object": "event",
                "type": "payment_intent.succeeded",
                "data": {
                    "object": {
                        "id": "pi_1",
                        "object": "payment_intent",
                        "metadata": {"everopen_intent": payment_id},
                    }
                },
            },
            b"stripe-signature",
            STRIPE_SECRETS[1],
        )


def stripe_bench_setup(server: stripe_server.RunningStripe) -> Setup:
    """A setup for that server."""
    return Setup(
        socket=Path("/nonexistent/payments.sock"),
        timeout_s=2.0,
        stripe=StripeSetup(secret_key=stripe_server.KEY, webhook_secrets=STRIPE_SECRETS, base_url=server.url),
    )


BENCHES: dict[str, Callable[[], AbstractContextManager[Bench]]] = {"sandbox": sandbox, "stripe": stripe}
