"""Identifiers that nobody can guess and that B-trees like."""

from __future__ import annotations

import os
import secrets
import time
from uuid import UUID


def uuid7(wall_ms: int | None = None) -> UUID:
    """A time-ordered UUID with 74 random bits (RFC 9562, version 7): new rows land at the right edge of an
    index, and an order id still can't be guessed from another."""
    milliseconds = time.time_ns() // 1_000_000 if wall_ms is None else wall_ms
    value = (milliseconds & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def secret_token() -> str:
    """256 random bits, URL-safe: sessions, passwords, operator keys."""
    return secrets.token_urlsafe(32)
