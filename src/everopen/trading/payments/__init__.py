"""Money in and out: the port to payment providers, the sandbox, Stripe, and the payer that follows every payment to its end.

A new provider is one file and one line in `PROVIDERS`; the contract test takes it in by itself."""

from __future__ import annotations

from collections.abc import Callable

from everopen.trading.payments.provider import (
    Answer,
    BadNotice,
    Booked,
    Movement,
    Notice,
    Provider,
    ProviderSilent,
    Reply,
    Setup,
    StripeSetup,
)
from everopen.trading.payments.sandbox import Books, SandboxProvider
from everopen.trading.payments.settings import SandboxSettings, StripeSettings


def _sandbox(setup: Setup) -> Provider:
    return SandboxProvider(setup.socket, setup.timeout_s, setup.sandbox_secret)


def _stripe(setup: Setup) -> Provider | None:
    if setup.stripe is None:
        return None
    from everopen.trading.payments.stripe import StripeProvider  # httpx is a third of a worker's start

    return StripeProvider(setup.stripe, setup.timeout_s)


PROVIDERS: dict[str, Callable[[Setup], Provider | None]] = {
    "sandbox": _sandbox,
    "stripe": _stripe,
}
"""By name: makes a provider, or None where it is not configured."""


def make_providers(setup: Setup) -> dict[str, Provider]:
    """The providers that this shop has."""
    made = {name: make(setup) for name, make in PROVIDERS.items()}
    return {name: provider for name, provider in made.items() if provider is not None}


__all__ = [
    "PROVIDERS",
    "Answer",
    "BadNotice",
    "Booked",
    "Books",
    "Movement",
    "Notice",
    "Provider",
    "ProviderSilent",
    "Reply",
    "SandboxProvider",
    "SandboxSettings",
    "Setup",
    "StripeSettings",
    "StripeSetup",
    "make_providers",
]
