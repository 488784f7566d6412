"""Stripe: PaymentIntents, refunds, webhooks (docs.stripe.com/api).

A payment takes two calls: create an intent under our key (nothing moves), then confirm it. One call that does both was
turned down: with it, a payment whose answer was lost has no name, and can only be asked for again, never withdrawn. So the
intent's name is known before money can move; a confirmation can't happen twice, because an intent succeeds once; and an
intent that is cancelled can't be confirmed any more, which is what `withdraw` needs.

Stripe forgets keys after a day, and repeats a 500 for as long: after that the intent is looked for by the id that we put
into its metadata."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from everopen.base.errors import ConfigError
from everopen.trading.payments.provider import (
    Answer,
    BadNotice,
    Booked,
    Kind,
    Movement,
    Notice,
    ProviderSilent,
    Reply,
    StripeSetup,
)
from everopen.trading.payments.sandbox import uuid_or_none
from everopen.trading.payments.settings import StripeSettings
from everopen.trading.payments.signing import verify
from everopen.trading.payments.stripe_wire import Refused, Silent, StripeWire, from_stripe, to_stripe

KEY_LIFE_S = 23 * 3600.0
"""Stripe keeps idempotency keys for at least 24 hours."""
FINDABLE_S = 120.0
"""A new intent is found by its metadata after a minute at most."""
MARK = "everopen_intent"
CAPTURE_MARK = "everopen_capture"
PAGE = 100
log = logging.getLogger(__name__)
Json = dict[str, Any]


class StripeProvider:
    """Money at Stripe."""

    def __init__(self, setup: StripeSetup, timeout_s: float) -> None:
        self._setup = setup
        self._wire = StripeWire(setup, timeout_s)

    async def charge(self, movement: Movement) -> Reply:
        """See `Provider`."""
        return await self._pay(movement)

    async def authorise(self, movement: Movement) -> Reply:
        """See `Provider`."""
        return await self._pay(movement)

    async def _pay(self, movement: Movement) -> Reply:
        intent: Json | None = None
        try:
            intent = await self._intent(movement)
            if intent is None:
                return Reply(Answer.ABSENT)
            if _is_fresh(intent):
                confirmation = {"error_on_requires_action": True}
                if movement.token.startswith("ctoken_"):
                    confirmation["confirmation_token"] = movement.token  # type: ignore[assignment]
                intent = await self._wire.post(f"/v1/payment_intents/{intent['id']}/confirm", confirmation)
            return read_intent(intent, hold=movement.hold)
        except Refused as refusal:
            return await self._refused(refusal, intent, movement)
        except Silent as silence:
            log.info("Stripe left %s unknown: %s", movement.id, silence)
            return Reply(Answer.UNKNOWN, _id(intent))
        except ValueError as error:
            log.error("%s can't be charged: %s", movement.id, error)
            return Reply(Answer.DECLINED)

    async def _refused(self, refusal: Refused, intent: Json | None, movement: Movement) -> Reply:
        """A refused creation or confirmation: the intent's own state says what became of it."""
        if intent is None:
            return Reply(Answer.DECLINED)
        try:
            intent = await self._wire.get(f"/v1/payment_intents/{intent['id']}")
        except (Silent, Refused):
            return Reply(Answer.UNKNOWN, _id(intent))
        reply = read_intent(intent, hold=movement.hold)
        if reply.answer is Answer.UNKNOWN and _is_fresh(intent):
            log.info("Stripe refused %s: %s", movement.id, refusal)
            return Reply(Answer.DECLINED, _id(intent))
        return reply

    async def _intent(self, movement: Movement, *, create: bool = True) -> Json | None:
        """The intent of a charge or authorisation: the one that is known, else a new one under our key; None when there is
        none and none will be made. Raises Silent, Refused, ValueError."""
        if movement.reference:
            return _ours(await self._wire.get(f"/v1/payment_intents/{movement.reference}"), movement)
        if movement.age_s < KEY_LIFE_S and create:
            values = {
                "amount": to_stripe(movement.amount, movement.currency),
                "currency": movement.currency.lower(),
                "capture_method": "manual" if movement.hold else "automatic",
                "payment_method": None if movement.token.startswith("ctoken_") else movement.token,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                "metadata": {MARK: movement.id},
            }
            try:
                return await self._wire.post("/v1/payment_intents", values, key=str(movement.id))
            except Silent:
                if movement.age_s < FINDABLE_S:
                    raise
                found = await self._search(movement)
                if found is None:
                    raise
                return found
        return await self._search(movement)

    async def _search(self, movement: Movement) -> Json | None:
        query = f"metadata['{MARK}']:'{movement.id}'"
        found = await self._wire.get("/v1/payment_intents/search", {"query": query, "limit": 1})
        return found["data"][0] if found.get("data") else None

    async def withdraw(self, movement: Movement) -> Reply:
        """See `Provider`."""
        try:
            try:
                intent = await self._intent(movement)
            except Silent:
                # Creation is answered with an old 500: without a name nobody can have confirmed it.
                if movement.age_s < FINDABLE_S or movement.reference:
                    raise
                intent = await self._search(movement)
            if intent is None:
                return Reply(Answer.ABSENT)
            if intent["status"] not in ("canceled", "succeeded"):
                intent = await self._cancel(intent["id"])
            return Reply(Answer.ABSENT) if intent["status"] == "canceled" else read_intent(intent, hold=False)
        except Refused as refusal:
            log.info("Stripe refused to take %s back: %s", movement.id, refusal)
            # Refused at its creation: there is no intent, and none can be made of this.
            return Reply(Answer.ABSENT) if not movement.reference else Reply(Answer.UNKNOWN)
        except (Silent, ValueError) as error:
            return Reply(Answer.ABSENT if isinstance(error, ValueError) else Answer.UNKNOWN)

    async def _cancel(self, name: str) -> Json:
        """Cancels an intent, or says in which state it is that this can't be. Raises Silent, Refused."""
        try:
            return await self._wire.post(
                f"/v1/payment_intents/{name}/cancel", {"cancellation_reason": "abandoned"}
            )
        except Refused as refusal:
            if refusal.code != "payment_intent_unexpected_state":
                raise
            return refusal.intent or await self._wire.get(f"/v1/payment_intents/{name}")

    async def capture(self, movement: Movement) -> Reply:
        """See `Provider`. Stripe gives back by itself what the only capture leaves; several captures of one hold are a
        feature that an account must have (`final_capture`), and are declined where it has not."""
        name = movement.charge_reference
        try:
            values = {
                "amount_to_capture": to_stripe(movement.amount, movement.currency),
                "final_capture": None if movement.final else False,
                "metadata": {CAPTURE_MARK: movement.id},
            }
            intent = await self._wire.post(
                f"/v1/payment_intents/{name}/capture", values, key=str(movement.id)
            )
            return Reply(Answer.APPROVED, _id(intent))
        except Refused as refusal:
            log.info("Stripe refused capture %s: %s", movement.id, refusal)
            found = await self.look("capture", movement)
            return Reply(Answer.DECLINED, name) if found.answer is Answer.ABSENT else found
        except Silent:
            return Reply(Answer.UNKNOWN)
        except ValueError:
            return Reply(Answer.DECLINED)

    async def void(self, movement: Movement) -> Reply:
        """See `Provider`."""
        try:
            intent = await self._cancel(movement.charge_reference)
        except Refused:
            return Reply(Answer.DECLINED)
        except Silent:
            return Reply(Answer.UNKNOWN)
        return Reply(_voided(intent), _id(intent))

    async def refund(self, movement: Movement) -> Reply:
        """See `Provider`."""
        try:
            if movement.reference:
                return read_refund(await self._wire.get(f"/v1/refunds/{movement.reference}"))
            if movement.age_s > KEY_LIFE_S:
                known = await self._known_refund(movement)
                if known is not None:
                    return read_refund(known)
            values = {
                "payment_intent": movement.charge_reference,
                "amount": to_stripe(movement.amount, movement.currency),
                "metadata": {MARK: movement.id},
            }
            return read_refund(await self._wire.post("/v1/refunds", values, key=str(movement.id)))
        except Refused as refusal:
            log.info("Stripe refused refund %s: %s", movement.id, refusal)
            return Reply(Answer.DECLINED)
        except Silent:
            return Reply(Answer.UNKNOWN)
        except ValueError as error:
            log.error("Refund %s can't be made: %s", movement.id, error)
            return Reply(Answer.DECLINED)

    async def _known_refund(self, movement: Movement) -> Json | None:
        values = {"payment_intent": movement.charge_reference, "limit": PAGE}
        found = await self._wire.get("/v1/refunds", values)
        marked = (row for row in found["data"] if row.get("metadata", {}).get(MARK) == str(movement.id))
        return next(marked, None)

    async def look(self, kind: Kind, movement: Movement) -> Reply:
        """See `Provider`."""
        try:
            if kind == "refund":
                if movement.reference:
                    refund = await self._wire.get(f"/v1/refunds/{movement.reference}")
                else:
                    known = await self._known_refund(movement)
                    if known is None:
                        return Reply(Answer.ABSENT)
                    refund = known
                return read_refund(refund)
            if kind in ("capture", "void"):
                intent = await self._wire.get(f"/v1/payment_intents/{movement.charge_reference}")
                if kind == "void":
                    return Reply(_voided(intent) if _has_ended(intent) else Answer.ABSENT, _id(intent))
                if intent.get("metadata", {}).get(CAPTURE_MARK) == str(movement.id):
                    return Reply(Answer.APPROVED, _id(intent))
                return Reply(Answer.DECLINED if _has_ended(intent) else Answer.ABSENT, _id(intent))
            found = await self._intent(movement, create=False)
            if found is None:
                return Reply(Answer.ABSENT)
            return read_intent(found, hold=movement.hold)
        except (Silent, Refused):
            return Reply(Answer.UNKNOWN)

    def read_notice(self, headers: Mapping[bytes, bytes], raw: bytes, now_s: float) -> Notice:
        """See `Provider`. An event about a payment intent, a charge or a refund leads to the payment that its metadata name."""
        signature = headers.get(b"stripe-signature", b"").decode("latin-1")
        verify(signature, raw, self._setup.webhook_secrets, now_s, self._setup.tolerance_s)
        try:
            event: Any = msgspec.json.decode(raw)
            subject = event["data"]["object"]
            kind = str(event["type"])
        except (msgspec.DecodeError, KeyError, TypeError, IndexError) as error:
            raise BadNotice(f"The body is no event: {error!r}.") from None
        marked = (subject.get("metadata") or {}).get(MARK) if isinstance(subject, dict) else None
        named = subject.get("id") if isinstance(subject, dict) else None
        known = isinstance(subject, dict) and subject.get("object") in ("payment_intent", "refund")
        payment_id = uuid_or_none(marked) if isinstance(marked, str) else None
        return Notice(payment_id, kind, str(named) if known else "")

    async def booked(self, since_s: float, until_s: float) -> AsyncIterator[Booked]:
        """See `Provider`: the balance's own list, in which a capture has the time at which its money moved."""
        after: str | None = None
        while True:
            values = {
                "created": {"gte": int(since_s), "lt": int(until_s)},
                "limit": PAGE,
                "starting_after": after,
                "expand": ["data.source"],
            }
            try:
                page = await self._wire.get("/v1/balance_transactions", values)
            except (Silent, Refused) as error:
                raise ProviderSilent(f"Stripe does not show its list: {error}.") from error
            for row in page["data"]:
                movement = read_balance(row)
                if movement is not None:
                    yield movement
            if not page.get("has_more"):
                return
            after = page["data"][-1]["id"]

    async def close(self) -> None:
        """Closes the connections."""
        await self._wire.close()


def read_intent(intent: Json, *, hold: bool) -> Reply:
    """A PaymentIntent as a reply. Pure."""
    match intent.get("status"):
        case "succeeded":
            answer = Answer.APPROVED
        case "requires_capture":
            answer = Answer.APPROVED if hold else Answer.UNKNOWN
        case "canceled":
            answer = Answer.LAPSED if hold else Answer.DECLINED
        case "requires_payment_method" if intent.get("last_payment_error"):
            answer = Answer.DECLINED
        case _:
            answer = Answer.UNKNOWN
    return Reply(answer, _id(intent))


def read_refund(refund: Json) -> Reply:
    """A Refund as a reply. Pure."""
    match refund.get("status"):
        case "succeeded":
            answer = Answer.APPROVED
        case "failed" | "canceled":
            answer = Answer.DECLINED
        case _:
            answer = Answer.UNKNOWN
    return Reply(answer, _id(refund))


def read_balance(row: Json) -> Booked | None:
    """A line of the balance as money that moved; None for fees, payouts and the like. Pure."""
    source = row.get("source")
    if not isinstance(source, dict):
        return None
    currency = str(source.get("currency", "")).upper()
    marked = (source.get("metadata") or {}).get(MARK)
    payment_id = uuid_or_none(marked) if isinstance(marked, str) else None
    at_s = float(row.get("created", 0))
    match row.get("type"):
        case "charge" | "payment":
            amount = from_stripe(int(source.get("amount_captured") or source.get("amount", 0)), currency)
            return Booked("capture", payment_id, _id(source), amount, currency, at_s)
        case "refund" | "payment_refund":
            amount = from_stripe(int(source.get("amount", 0)), currency)
            return Booked("refund", payment_id, _id(source), amount, currency, at_s)
        case "refund_failure":
            amount = from_stripe(int(source.get("amount", 0)), currency)
            return Booked("refund", payment_id, _id(source), -amount, currency, at_s)
    return None


def _id(thing: Json | None) -> str:
    return "" if thing is None else str(thing.get("id", ""))


def _is_fresh(intent: Json) -> bool:
    """Whether it was created and never confirmed."""
    return intent.get("status") in ("requires_confirmation", "requires_payment_method") and not intent.get(
        "last_payment_error"
    )


def _has_ended(intent: Json) -> bool:
    return intent.get("status") in ("canceled", "succeeded")


def _voided(intent: Json) -> Answer:
    """What became of a void: nothing is held any more, or all of it was captured."""
    if intent.get("status") == "canceled":
        return Answer.APPROVED
    if intent.get("status") == "succeeded":
        part = intent.get("amount_received", 0) < intent.get("amount", 0)
        return Answer.APPROVED if part else Answer.DECLINED
    return Answer.UNKNOWN


def _ours(intent: Json, movement: Movement) -> Json:
    """An intent that is another payment's must never settle this one."""
    if (intent.get("metadata") or {}).get(MARK) != str(movement.id):
        raise Silent(f"{_id(intent)} is not the intent of {movement.id}.")
    return intent


def stripe_setup(
    settings: StripeSettings, environment: Mapping[str, str] | None = None
) -> StripeSetup | None:
    """What the provider needs, from files or the environment; None without a secret key: the shop has no Stripe then. To be
    called before privileges are given away. Raises ConfigError for a file that can't be read."""
    env = os.environ if environment is None else environment
    key = _secret(settings.secret_key_file, env.get("STRIPE_SECRET_KEY", "")).strip()
    if not key:
        return None
    secrets = _secret(settings.webhook_secrets_file, env.get("STRIPE_WEBHOOK_SECRETS", ""))
    plain = settings.base_url.startswith("http://")
    if plain and not settings.base_url.startswith(("http://127.0.0.1", "http://localhost")):
        raise ConfigError(
            f"stripe.base_url = {settings.base_url!r} would send the secret key over plain HTTP."
        )
    return StripeSetup(
        secret_key=key,
        webhook_secrets=tuple(secrets.replace(",", " ").split()),
        base_url=settings.base_url,
        api_version=settings.api_version,
        tolerance_s=settings.tolerance_s,
        tls=None if plain else ssl.create_default_context(),
    )


def _secret(file: str, given: str) -> str:
    if not file:
        return given
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The secret in {file} can't be read: {error}.") from error
