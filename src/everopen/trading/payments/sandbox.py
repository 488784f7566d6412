"""The sandbox provider as a worker sees it: HTTP over a Unix socket (see `sandbox_server`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from everopen.trading.payments.provider import Answer, Movement, Reply
from everopen.trading.payments.wire import Wire


class Books(msgspec.Struct, frozen=True):
    """Sums of a provider's books, for the audit: minor units and counts."""

    charges_approved: int
    charges_declined: int
    captured: int
    refunds: int
    refunded: int


class SandboxProvider:
    """Charges and refunds in the sandbox process."""

    def __init__(self, socket: Path, timeout_s: float) -> None:
        self._wire = Wire(str(socket))
        self._timeout_s = timeout_s

    async def charge(self, movement: Movement) -> Reply:
        """Asks for money; safe to repeat."""
        body = {
            "idempotency_key": str(movement.id),
            "amount": movement.amount,
            "currency": movement.currency,
            "token": movement.token,
        }
        return await self._ask("POST", "/charges", body, f"ch_{movement.id}")

    async def refund(self, movement: Movement) -> Reply:
        """Gives money of a charge back; safe to repeat."""
        body = {
            "idempotency_key": str(movement.id),
            "charge": str(movement.charge_id),
            "amount": movement.amount,
            "currency": movement.currency,
        }
        return await self._ask("POST", "/refunds", body, f"re_{movement.id}")

    async def withdraw(self, movement: Movement) -> Reply:
        """Takes the question for a charge back; safe to repeat."""
        return await self._ask("POST", f"/charges/{movement.id}/withdraw", None, f"ch_{movement.id}")

    async def books(self) -> Books:
        """The provider's sums. Raises OSError when it can't be reached."""
        _, answer = await self._wire.call("GET", "/books", timeout_s=self._timeout_s)
        return msgspec.convert(answer, Books)

    async def close(self) -> None:
        """Closes the connections."""
        await self._wire.close()

    async def _ask(self, method: str, target: str, body: Any, wanted: str) -> Reply:
        """Asks, and takes only an answer that names the very movement: one payment's answer must never settle another."""

        def belongs(answer: Any) -> bool:
            return isinstance(answer, dict) and answer.get("id") == wanted

        try:
            status, answer = await self._wire.call(
                method, target, body, timeout_s=self._timeout_s, belongs=belongs
            )
        except (OSError, TimeoutError):
            return Reply(Answer.UNKNOWN)
        return read_reply(status, answer)


def read_reply(status: int, answer: Any) -> Reply:
    """An HTTP answer as a reply; whatever is not clear is unknown."""
    if status == 404:
        return Reply(Answer.ABSENT)
    if status == 200 and isinstance(answer, dict) and answer.get("status") in ("approved", "declined"):
        return Reply(Answer(answer["status"]), str(answer.get("id", "")))
    return Reply(Answer.UNKNOWN)
