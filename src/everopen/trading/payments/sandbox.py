"""The sandbox provider as a worker sees it: HTTP over a Unix socket (see `sandbox_server`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from everopen.trading.payments.provider import (
    Answer,
    BadNotice,
    Booked,
    Kind,
    Movement,
    Notice,
    ProviderSilent,
    Reply,
)
from everopen.trading.payments.signing import verify
from everopen.trading.payments.wire import Wire

SIGNATURE = b"everopen-signature"
TOLERANCE_S = 300.0
PREFIXES: dict[Kind, str] = {
    "charge": "ch",
    "authorise": "ch",
    "capture": "ca",
    "void": "vo",
    "refund": "re",
}


class Books(msgspec.Struct, frozen=True):
    """Sums of a provider's books, for the audit: minor units and counts."""

    charges_approved: int
    charges_declined: int
    captured: int
    refunds: int
    refunded: int


class _Subject(msgspec.Struct):
    key: str


class _Event(msgspec.Struct):
    """What of a webhook is read."""

    type: str
    data: _Subject


class SandboxProvider:
    """Money in the sandbox process."""

    def __init__(self, socket: Path, timeout_s: float, secret: str = "") -> None:
        self._wire = Wire(str(socket))
        self._timeout_s = timeout_s
        self._secret = secret
        self._event = msgspec.json.Decoder(_Event).decode

    async def charge(self, movement: Movement) -> Reply:
        """Asks for money; safe to repeat."""
        return await self._ask("charge", movement, "/charges", _charge_body(movement))

    async def authorise(self, movement: Movement) -> Reply:
        """Asks to hold money; safe to repeat."""
        body = {**_charge_body(movement), "capture": False}
        return await self._ask("authorise", movement, "/charges", body)

    async def capture(self, movement: Movement) -> Reply:
        """Takes held money; safe to repeat."""
        body = {**_part_body(movement), "final": movement.final}
        return await self._ask("capture", movement, "/captures", body)

    async def void(self, movement: Movement) -> Reply:
        """Gives held money back; safe to repeat."""
        body = {"idempotency_key": str(movement.id), "charge": str(movement.charge_id)}
        return await self._ask("void", movement, "/voids", body)

    async def refund(self, movement: Movement) -> Reply:
        """Gives money of a charge back; safe to repeat."""
        return await self._ask("refund", movement, "/refunds", _part_body(movement))

    async def withdraw(self, movement: Movement) -> Reply:
        """Takes the question for a charge back; safe to repeat."""
        return await self._ask("charge", movement, f"/charges/{movement.id}/withdraw", None)

    async def look(self, kind: Kind, movement: Movement) -> Reply:
        """What became of it."""
        return await self._ask(kind, movement, f"/payments/{kind}/{movement.id}", None, method="GET")

    async def books(self) -> Books:
        """The provider's sums. Raises OSError when it can't be reached."""
        _, answer = await self._wire.call("GET", "/books", timeout_s=self._timeout_s)
        return msgspec.convert(answer, Books)

    def read_notice(self, headers: Mapping[bytes, bytes], raw: bytes, now_s: float) -> Notice:
        """See `Provider`."""
        signature = headers.get(SIGNATURE, b"").decode("latin-1")
        verify(signature, raw, (self._secret,), now_s, TOLERANCE_S)
        try:
            event = self._event(raw)
        except msgspec.DecodeError as error:
            raise BadNotice(f"The body is no event: {error}.") from None
        return Notice(uuid_or_none(event.data.key), event.type)

    async def booked(self, since_s: float, until_s: float) -> AsyncIterator[Booked]:
        """See `Provider`."""
        after = ""
        while True:
            target = f"/movements?since={since_s!r}&until={until_s!r}&after={after}"
            try:
                status, page = await self._wire.call("GET", target, timeout_s=self._timeout_s)
            except (OSError, TimeoutError) as error:
                raise ProviderSilent(f"The sandbox does not answer: {error}.") from error
            if status != 200:
                raise ProviderSilent(f"The sandbox answered {status}.")
            for row in page["movements"]:
                yield Booked(
                    row["kind"],
                    uuid_or_none(row["id"]),
                    row["reference"],
                    row["amount"],
                    row["currency"],
                    row["at"],
                )
            after = page["next"]
            if not after:
                return

    async def close(self) -> None:
        """Closes the connections."""
        await self._wire.close()

    async def _ask(
        self, kind: Kind, movement: Movement, target: str, body: Any, *, method: str = "POST"
    ) -> Reply:
        """Asks, and takes only an answer that names the very movement: one payment's answer must never settle another."""
        wanted = f"{PREFIXES[kind]}_{movement.id}"

        def belongs(answer: Any) -> bool:
            return isinstance(answer, dict) and answer.get("id") == wanted

        try:
            status, answer = await self._wire.call(
                method, target, body, timeout_s=self._timeout_s, belongs=belongs
            )
        except (OSError, TimeoutError):
            return Reply(Answer.UNKNOWN)
        return read_reply(status, answer)


def _charge_body(movement: Movement) -> dict[str, Any]:
    return {
        "idempotency_key": str(movement.id),
        "amount": movement.amount,
        "currency": movement.currency,
        "token": movement.token,
    }


def _part_body(movement: Movement) -> dict[str, Any]:
    return {
        "idempotency_key": str(movement.id),
        "charge": str(movement.charge_id),
        "amount": movement.amount,
        "currency": movement.currency,
    }


def uuid_or_none(text: str) -> UUID | None:
    """A payment's id that a provider gives back; None for what is none of ours."""
    try:
        return UUID(text)
    except ValueError:
        return None


WORDS = {
    "approved": Answer.APPROVED,
    "authorised": Answer.APPROVED,
    "captured": Answer.APPROVED,
    "declined": Answer.DECLINED,
    "lapsed": Answer.LAPSED,
    "voided": Answer.LAPSED,
}


def read_reply(status: int, answer: Any) -> Reply:
    """An HTTP answer as a reply; whatever is not clear is unknown."""
    if status == 404:
        return Reply(Answer.ABSENT)
    if status == 200 and isinstance(answer, dict) and answer.get("status") in WORDS:
        return Reply(WORDS[answer["status"]], str(answer.get("id", "")))
    return Reply(Answer.UNKNOWN)
