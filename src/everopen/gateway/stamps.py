"""What the gateway writes on requests and answers that lack it: idempotency keys and `Date`.

Both show the time. It is looked at on the gateway's regular turns, not per request: a clock call and a formatted date for
each request would cost more than the rest of the stamping."""

from __future__ import annotations

import os
from email.utils import formatdate

KEY_DIGITS = 32
_TIME_DIGITS = 11
_RANDOM_DIGITS = KEY_DIGITS - _TIME_DIGITS


class Stamps:
    """Keys and the date of one process; `look` tells it the time."""

    __slots__ = ("_at", "_hex", "_second", "_time", "date_line")

    def __init__(self, wall_s: float) -> None:
        self._hex = b""
        self._at = 0
        self._second = -1
        self._time = b""
        self.date_line = b""
        """`Date: …` with its line end, for answers that have none (RFC 9110, 6.6.1)."""
        self.look(wall_s)

    def look(self, wall_s: float) -> None:
        """Takes over the time (Unix seconds)."""
        self._time = b"%011x" % (int(wall_s * 1000) & (1 << 44) - 1)
        if int(wall_s) != self._second:
            self._second = int(wall_s)
            self.date_line = f"Date: {formatdate(self._second, usegmt=True)}\r\n".encode()

    def new_key(self) -> bytes:
        """32 hexadecimal digits: 11 of Unix milliseconds, so that new keys lie side by side in the index of the used ones,
        and 21 random ones (84 bits), fetched from the system many at a time."""
        at = self._at
        if at + _RANDOM_DIGITS > len(self._hex):
            self._hex = os.urandom(4096).hex().encode()
            at = 0
        self._at = end = at + _RANDOM_DIGITS
        return self._time + self._hex[at:end]
