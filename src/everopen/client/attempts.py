"""Whether to try again, and when: pure, on numbers that are passed in.

Each call has a deadline, and its tries wait longer each time (full jitter: a crowd of clients must not come back in step).
All calls of a client share a budget of retries: every first try earns a fifth of one. A shop that is down then sees one
fifth more requests, and not many times as many (Finagle's retry budget is the model)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from everopen.base.clock import Rng

RETRIED = frozenset((408, 429, 502, 503, 504))
"""Answers that say "later". 500 is not among them: the request met a bug and would meet it again."""
FIRST_PAUSE_S = 0.05
PAUSE_S_MAX = 2.0


class Budget:
    """How many retries a client may still make."""

    def __init__(self, *, share: float = 0.2, reserve: float = 50.0) -> None:
        self._share = share
        self._most = reserve
        self._left = reserve

    def first_try(self) -> None:
        """A call began."""
        self._left = min(self._most, self._left + self._share)

    def retry(self) -> bool:
        """Takes one retry, if one is left."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def pause_s(attempt: int, retry_after: str | None, rng: Rng, wall_s: float) -> float:
    """How long to wait after try number `attempt` (from 1): what the shop asked for, else twice as long each time."""
    asked = _seconds(retry_after, wall_s)
    if asked is not None:
        return asked + float(rng.random()) * FIRST_PAUSE_S
    return float(rng.random()) * min(PAUSE_S_MAX, FIRST_PAUSE_S * 2.0 ** min(attempt, 10))


def _seconds(retry_after: str | None, wall_s: float) -> float | None:
    """`Retry-After` as seconds from now: a number, or a date (RFC 9110)."""
    if not retry_after:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - wall_s)
    except ValueError:
        return None
