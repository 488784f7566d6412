"""Money in and out: the port to payment providers, the sandbox, and the payer that follows every payment to its end.

A new provider is one file and one line in `PROVIDERS`; the contract test takes it in by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from everopen.trading.payments.provider import Answer, Movement, Provider, Reply
from everopen.trading.payments.sandbox import Books, SandboxProvider
from everopen.trading.payments.settings import SandboxSettings

PROVIDERS: dict[str, Callable[[Path, float], Provider]] = {
    "sandbox": SandboxProvider,
}
"""By name: makes a provider from the payments socket and the timeout in seconds."""

__all__ = [
    "PROVIDERS",
    "Answer",
    "Books",
    "Movement",
    "Provider",
    "Reply",
    "SandboxProvider",
    "SandboxSettings",
]
