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
    """poisson | fixed | history (the gaps of the baskets, squeezed to the rate)"""
    clients: int | None = None
    """Closed loop: so many keep-alive clients, each with one request at a time."""
    mix: tuple[tuple[str, float], ...] = (("hot", 1.0),)
    """Kinds of request with their weights; see KINDS."""
    steps: tuple[tuple[float, float], ...] = ()
    """(seconds from the start, requests per second from then on): a flash sale. Empty: `rate` all the time."""
    quantity: int = 1
    token: str = "tok_approve"
    retry: bool = False
    attempt_s: float | None = None
    """A client's patience with one try; then it hangs up and, with `retry`, sends the same key again."""
    slow_s: float = 0.25
    """From this wait on a request counts as troubled."""
    timeout_s: float = 30.0
    """From the intended start; then a request counts as failed."""
    connections_max: int = 512
    queue_max: int = 20_000
    requests_max: int = 5_000_000
    key_prefix: str = ""
    parent: int = 0
    """Pid of the process that wants this load; without it the load ends. 0: nobody."""


KINDS = {
    "hot": "an order of the first SKU",
    "wide": "an order of any SKU",
    "browse": "a look at any product",
    "visit": "a session: look, fill a cart, look at the cart, check out (or leave)",
    "return": "a refund, with the goods back in stock, of an order acknowledged earlier (needs the operator's key)",
    "basket": "the next basket of a real history",
}


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


def stepped_times(
    steps: tuple[tuple[float, float], ...], seconds: float, arrivals: str, rng: Rng
) -> Iterator[float]:
    """When requests are due with a rate that changes: each step is a stretch of its own (Poisson arrivals forget)."""
    for index, (start, rate) in enumerate(steps):
        until = min(seconds, steps[index + 1][0] if index + 1 < len(steps) else seconds)
        if rate > 0 and until > start:
            for at in arrival_times(rate, until - start, arrivals, rng):
                yield start + at


def parse_steps(text: str) -> tuple[tuple[float, float], ...]:
    """`0:50,20:400,40:50`: from the start 50 a second, after 20 s 400, after 40 s 50 again. Raises InputError."""
    found: list[tuple[float, float]] = []
    for part in text.split(","):
        at, _, rate = part.partition(":")
        try:
            found.append((float(at), float(rate)))
        except ValueError:
            found.append((-1.0, -1.0))
    if any(not 0 <= at < 1e6 or not 0 <= rate <= 1e5 for at, rate in found) or found != sorted(found):
        raise InputError(
            f"{text!r} is no course of a load.", "Expected e.g. 0:50,20:400,40:50 (seconds:rate)."
        )
    return tuple(found)


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
