"""Signatures of webhooks, after the Standard Webhooks specification (1.0): HMAC-SHA256 over `id.timestamp.body`.

The time is signed too, so that whoever overhears a delivery can't send it again next week. A scheme of our own was turned
down: receivers have libraries for this one in every language."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

PREFIX = "whsec_"


def new_secret() -> str:
    """A secret of 256 random bits, written as the specification has it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
