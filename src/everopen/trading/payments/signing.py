"""Signatures of webhooks that come in: HMAC-SHA256 over "time.body", as Stripe documents it (scheme `v1`).

The time is part of what is signed, so an old message can't be sent again later under a new time. Several secrets may hold at
once while one is being replaced, and a header may carry several signatures for the same reason. The bytes are compared as
they came: a body that is decoded and encoded again first is another body."""

from __future__ import annotations

import hashlib
import hmac
import time

from everopen.trading.payments.provider import BadNotice

HEADER_MAX = 4096


def sandbox_secret(operator_key: str) -> str:
    """The secret between the sandbox's process and the workers: derived, so that there is no other one to keep."""
    return hmac.new(operator_key.encode(), b"everopen sandbox webhooks", hashlib.sha256).hexdigest()


def sign(secret: str, body: bytes, at_s: float | None = None) -> str:
    """The header's value: `t=1700000000,v1=…`."""
    at = int(time.time() if at_s is None else at_s)
    return f"t={at},v1={_digest(secret, at, body)}"


def verify(header: str, body: bytes, secrets: tuple[str, ...], now_s: float, tolerance_s: float) -> None:
    """Raises BadNotice unless one of the signatures was made with one of the secrets, at most `tolerance_s` ago (or ahead:
    clocks differ)."""
    at: int | None = None
    given: list[str] = []
    for part in header[:HEADER_MAX].split(","):
        name, _, value = part.strip().partition("=")
        if name == "t" and at is None and value.isascii() and value.isdigit() and len(value) <= 12:
            at = int(value)
        elif name == "v1":
            given.append(value)
    if at is None or not given:
        raise BadNotice("The signature header is missing or is not `t=…,v1=…`.")
    expected = [_digest(secret, at, body) for secret in secrets if secret]
    good = [hmac.compare_digest(one.encode(), other.encode()) for one in given for other in expected]
    if not any(good):
        raise BadNotice("The signature was not made over this body with this shop's secret.")
    if abs(now_s - at) > tolerance_s:
        raise BadNotice(
            f"The message was signed {now_s - at:.0f} s ago; at most {tolerance_s:.0f} s are believed."
        )


def _digest(secret: str, at: int, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
