"""`POST /api/orders`, the one call that must be cheap: bytes in, lane, bytes out.

Everything else goes through routing, parameter parsing and response objects; in a flash sale those would cost more than
the order. So this is one plain ASGI function: one dict of the headers, one typed decode, one `place`, one encode. A cache
of encoded answers was turned down: keys rarely come twice, and trading rebuilds a replay from the order itself.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Protocol
from uuid import UUID

import msgspec

from everopen.api import answers
from everopen.api.bodies import Receive, Scope, Send, decode, read_body, require_json
from everopen.api.problems import VERSION, Headers, Refusal
from everopen.api.settings import ApiSettings
from everopen.api.shapes import CheckoutBody, LineBody, OrderBody, encode
from everopen.trading.orders import Address, LineRequest, OrderRequest, Outcome, PlacedOrder
from everopen.trading.payments import PROVIDERS

QUANTITY_MAX = 1_000_000
_JSON = (b"content-type", b"application/json")
_REPLAYED = (b"idempotency-replayed", b"true")
_KEY = re.compile(rb"[\x21-\x7e]{1,255}").fullmatch
_pack = msgspec.msgpack.Encoder().encode


class Places(Protocol):
    """What takes orders: trading's desk."""

    async def place(self, request: OrderRequest) -> Outcome: ...


class Staffed(Protocol):
    """What knows who of staff calls (`access.Access`)."""

    async def require(self, headers: dict[bytes, bytes], scope: str) -> object: ...


class OrderEntrance:
    """The ASGI application of one path and method. Problems go out as `Refusal`; the caller writes them."""

    def __init__(
        self,
        desk: Places,
        settings: ApiSettings,
        *,
        currency: str,
        access: Staffed,
        counters: dict[str, int],
        customer_of: Callable[[bytes], Awaitable[UUID | None]],
        providers: Collection[str] = PROVIDERS,
    ) -> None:
        self._customer_of = customer_of
        self._providers = providers
        self._place = desk.place
        self._settings = settings
        self._currency = currency
        self._access = access
        self._counters = counters
        self._decoder = msgspec.json.Decoder(OrderBody)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Takes one order. Before anything was sent it may raise `Refusal`, `StoreUnavailable` or `ClientGone`."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        settings = self._settings
        require_json(headers)
        key = idempotency_key(headers)
        body = await read_body(
            headers, receive, bytes_max=settings.body_bytes_max, timeout_s=settings.body_timeout_s
        )
        asked = decode(self._decoder, body)
        request = order_request(
            asked,
            key,
            currency=self._currency,
            lines_max=settings.lines_max,
            providers=self._providers,
        )
        if needs_operator(asked):
            await self._access.require(headers, "orders:write")
        cookies = headers.get(b"cookie")
        if cookies is not None and (customer_id := await self._customer_of(cookies)) is not None:
            request = msgspec.structs.replace(request, customer_id=customer_id)
        outcome = await self._place(request)
        if type(outcome) is not PlacedOrder:
            self._counters["orders_refused"] += 1
            raise answers.refusal(outcome)
        content = encode(answers.placed(outcome))
        self._counters["orders_replayed" if outcome.replayed else "orders_placed"] += 1
        reply: Headers = [
            _JSON,
            (b"content-length", b"%d" % len(content)),
            (b"location", b"/api/orders/" + content[7:43]),  # {"id":"<36 characters>"
            VERSION,
        ]
        if outcome.replayed:
            reply.append(_REPLAYED)
        await send({"type": "http.response.start", "status": 201, "headers": reply})
        await send({"type": "http.response.body", "body": content})


def idempotency_key(headers: dict[bytes, bytes]) -> str:
    """The request's key; a random one when it has none. Raises a 422 `Refusal`."""
    key = headers.get(b"idempotency-key")
    if key is None:
        return secrets.token_hex(16)
    if _KEY(key) is None:
        raise Refusal("bad-key", "The `Idempotency-Key` must be 1 to 255 visible ASCII characters.")
    return key.decode("ascii")


def needs_operator(body: OrderBody) -> bool:
    """Whether the order says things that only staff may say: its prices or its time."""
    return body.placed_at is not None or any(line.unit_price is not None for line in body.lines)


def order_request(
    body: OrderBody, key: str, *, currency: str, lines_max: int, providers: Collection[str] = PROVIDERS
) -> OrderRequest:
    """What trading is asked: duplicates summed, with the fingerprint of the meaning (not of the bytes)."""
    if len(body.lines) > lines_max:
        raise Refusal(
            "bad-input", f"`lines` has {len(body.lines):,} entries; at most {lines_max:,} fit one order."
        )
    lines = summed(body.lines, body.currency or currency)
    customer, payment = body.customer, body.payment
    require_provider(payment.provider, providers)
    placed_at = None if body.placed_at is None else _in_utc(body.placed_at)
    extras, meaning = extras_of(body, currency)
    return OrderRequest(
        key=key,
        fingerprint=fingerprint(
            "order",
            customer.email,
            payment.provider,
            payment.token,
            body.reference,
            placed_at,
            [(line.sku, line.quantity, line.unit_price) for line in lines],
            *meaning,
        ),
        lines=lines,
        email=customer.email,
        provider=payment.provider,
        token=payment.token,
        reference=body.reference,
        placed_at=placed_at,
        **extras,
    )


_NO_EXTRAS: tuple[dict[str, Any], tuple[Any, ...]] = ({}, ())


def extras_of(body: OrderBody | CheckoutBody, currency: str) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """What most orders don't bring, as fields of `OrderRequest` and as a part of the fingerprint, which stays for the others
    as it always was. Raises a 422 `Refusal`."""
    shipping, expected, manual = body.shipping, body.expected_total, body.payment.capture == "manual"
    if shipping is None and expected is None and body.currency is None and not body.coupons and not manual:
        return _NO_EXTRAS
    if expected is not None and expected.currency != (body.currency or currency):
        raise Refusal("bad-input", f"`expected_total` must be in {body.currency or currency}.")
    address = None if shipping is None else shipping.address
    ship_to = (
        None
        if address is None
        else Address(**{name: getattr(address, name) for name in address.__struct_fields__})
    )
    found = {
        "currency": None if body.currency == currency else body.currency,
        "expected_total": None if expected is None else expected.amount,
        "coupons": tuple(body.coupons),
        "shipping_method": None if shipping is None else shipping.method,
        "ship_to": ship_to,
        "capture": body.payment.capture,
    }
    return found, tuple(found.values())


def _in_utc(placed_at: datetime) -> datetime:
    """The same moment as the store will give it back, so that a replay has the same bytes. Raises a 422 `Refusal`."""
    try:
        return placed_at.astimezone(UTC)
    except OverflowError:
        raise Refusal("bad-input", "`placed_at` is a time that no calendar here has.") from None


def require_provider(name: str, providers: Collection[str]) -> None:
    """Raises a 422 `Refusal` for a payment provider that this shop does not have."""
    if name not in providers:
        known = ", ".join(f"“{provider}”" for provider in sorted(providers))
        raise Refusal("unknown-provider", f"There is no payment provider “{name}”; this shop takes {known}.")


def summed(lines: list[LineBody], currency: str) -> tuple[LineRequest, ...]:
    """One line per SKU and price, in the order of their first mention."""
    if len(lines) == 1 and lines[0].unit_price is None:
        return (LineRequest(lines[0].sku, lines[0].quantity),)
    found: dict[tuple[str, int | None], int] = {}
    for index, line in enumerate(lines):
        price = None
        if line.unit_price is not None:
            price = line.unit_price.amount
            if line.unit_price.currency != currency:
                raise Refusal("bad-input", f"`lines[{index}].unit_price` must be in {currency}.")
        place = (line.sku, price)
        found[place] = found.get(place, 0) + line.quantity
        if found[place] > QUANTITY_MAX:
            raise Refusal("bad-input", f"The lines of “{line.sku}” add up to more than {QUANTITY_MAX:,}.")
    return tuple(LineRequest(sku, quantity, price) for (sku, price), quantity in found.items())


def fingerprint(*meaning: Any) -> bytes:
    """A digest of what a request means; two requests with one key must agree in it."""
    return blake2b(_pack(meaning), digest_size=16).digest()
