"""What load clients send and when: pure, from settings and a random source to a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from everopen.base.clock import Rng
from everopen.base.errors import InputError


class LoadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What to send and how. `rate` for an open loop, `clients` for a closed one; exactly one of them."""

    skus: tuple[str, ...]
    """hot: always the first; wide: any of them."""
    seconds: float
    rate: float | None = None
    """Requests per second that are due."""
    arrivals: str = "poisson"
    """poisson | fixed"""
    clients: int | None = None
    """Closed loop: so many keep-alive clients, each with one request at a time."""
    mix: tuple[tuple[str, float], ...] = (("hot", 1.0),)
    """Kinds of request with their weights: hot, wide (orders), browse (a product)."""
    quantity: int = 1
    token: str = "tok_approve"
    retry: bool = False
    timeout_s: float = 30.0
    """From the intended start; then a request counts as failed."""
    connections_max: int = 512
    queue_max: int = 20_000
    requests_max: int = 5_000_000
    key_prefix: str = ""


KINDS = ("hot", "wide", "browse")


def parse_mix(text: str) -> tuple[tuple[str, float], ...]:
    """`hot`, or `wide=0.8,browse=0.2`. Raises InputError."""
    found: list[tuple[str, float]] = []
    for part in text.split(","):
        kind, _, weight = part.strip().partition("=")
        try:
            value = float(weight or 1)
        except ValueError:
            value = -1.0
        if kind not in KINDS or not 0 < value < 1e9:
            raise InputError(
                f"{part.strip()!r} is no part of a mix.",
                f"Expected e.g. hot=0.8,browse=0.2 of {', '.join(KINDS)}.",
            )
        found.append((kind, value))
    return tuple(found)


def arrival_times(rate: float, seconds: float, arrivals: str, rng: Rng) -> Iterator[float]:
    """When requests are due, in seconds from the start."""
    at, number = 0.0, 0
    while True:
        number += 1
        at = at + rng.expovariate(rate) if arrivals == "poisson" else number / rate
        if at >= seconds:
            return
        yield at


def read_skus(text: str) -> tuple[str, ...]:
    """`A,B,C` or `@FILE` with one SKU per line. Raises InputError."""
    try:
        found = Path(text[1:]).read_text().splitlines() if text.startswith("@") else text.split(",")
    except OSError as problem:
        raise InputError(f"{text[1:]} can't be read: {problem.strerror}.", "Check the path.") from None
    skus = tuple(sku.strip() for sku in found if sku.strip())
    if not skus:
        raise InputError("There are no SKUs to order.", "Give --skus A,B,C or --skus @FILE.")
    return skus
