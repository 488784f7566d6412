"""What a call can come back with instead of an answer.

    ClientError
    ├── Refused              the shop said no, with a problem document (RFC 9457)
    │   ├── SoldOut · Conflict · NotFound · KeyReused · NotAllowed · RateLimited · Unavailable
    └── OutcomeUnknown       no answer before the deadline: it may have been carried out

`OutcomeUnknown` and `Unavailable` carry the idempotency key: the same call with the same key, minutes or a restart later,
finds out what happened and does it at most once.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class ClientError(Exception):
    """A call that has no answer."""


class Refused(ClientError):
    """The shop's problem document. `name` is the last part of its type, such as `sold-out`."""

    def __init__(self, document: dict[str, Any], status: int, *, key: str | None = None) -> None:
        self.document = document
        self.status = status
        self.name = str(document.get("type", "about:blank")).rpartition("/")[2]
        self.detail = str(document.get("detail") or document.get("title") or f"status {status}")
        self.key = key
        """The idempotency key that was sent."""
        super().__init__(f"{self.name} ({status}): {self.detail}")


class SoldOut(Refused):
    """Not enough is left; nothing of the order was taken."""

    @property
    def sku(self) -> str:
        """Which product."""
        return str(self.document.get("sku", ""))

    @property
    def available(self) -> int:
        """How many are left."""
        return int(self.document.get("available", 0))


class Conflict(Refused):
    """It does not fit what is recorded (409, 412)."""


class NotFound(Refused):
    """There is nothing at this address (404)."""


class KeyReused(Refused):
    """The idempotency key was used for another request."""


class NotAllowed(Refused):
    """No key, a wrong one, or one that may not do this (401, 403)."""


class RateLimited(Refused):
    """Too many requests for longer than the deadline (429)."""


class Unavailable(Refused):
    """The shop could not take requests for longer than the deadline (5xx); whether it was recorded is not known."""


class OutcomeUnknown(ClientError):
    """No answer came before the deadline. The call may have been carried out: repeat it with the same key."""

    why: ClassVar[str] = "No answer before the deadline"

    def __init__(self, cause: str, *, key: str | None) -> None:
        self.key = key
        super().__init__(f"{self.why} ({cause}); repeat it with key={key!r}.")


_BY_NAME: dict[str, type[Refused]] = {"sold-out": SoldOut, "key-reused": KeyReused}
_BY_STATUS: dict[int, type[Refused]] = {
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: RateLimited,
}


def refused(status: int, body: bytes, *, key: str | None = None) -> Refused:
    """The error that an answer stands for."""
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        document = {"detail": body[:200].decode("utf-8", "replace")}
    name = str(document.get("type", "")).rpartition("/")[2]
    usual = Unavailable if status >= 500 else Refused
    return _BY_NAME.get(name, _BY_STATUS.get(status, usual))(document, status, key=key)
