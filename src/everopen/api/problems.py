"""Problem documents (RFC 9457): one table of everything that a request can be told instead of an answer.

A handler raises or returns a `Refusal`; only this module knows how it looks on the wire. `type` is a path of this
shop (`/problems/sold-out`) that opens as a page with the meaning and what to do, so the URI in a log line can be
followed. A full class per problem was turned down: they differ in three words.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from everopen.base.money import Money


class Kind(NamedTuple):
    """A row of the table."""

    status: int
    title: str
    meaning: str


PROBLEMS: dict[str, Kind] = {
    "bad-input": Kind(
        422,
        "The request is not right",
        "Nothing was changed. `detail` says what to put right; then send it again.",
    ),
    "bad-key": Kind(
        422,
        "The idempotency key is not right",
        "An `Idempotency-Key` is 1 to 255 visible ASCII characters; a random UUID is a good one.",
    ),
    "key-reused": Kind(
        422,
        "The idempotency key was used for another request",
        "The first request with this key stands. Take a fresh key for each new purchase.",
    ),
    "unknown-sku": Kind(
        422, "Unknown SKU", "The catalogue has no such product. `GET /api/products` lists what there is."
    ),
    "unknown-provider": Kind(
        422, "Unknown payment provider", "`detail` names the providers that this shop accepts."
    ),
    "no-price": Kind(422, "The product has no price", "It is not for sale until staff give it a price."),
    "empty-cart": Kind(422, "The cart is empty", "Put something into the cart first."),
    "sold-out": Kind(
        409,
        "Sold out",
        "Not enough is left. Nothing of the order was taken; order less or leave the line out.",
    ),
    "price-changed": Kind(
        409,
        "The price has changed",
        "It is not what the request expected. `total` is what it would cost now; nothing was changed.",
    ),
    "not-for-sale": Kind(422, "Not for sale", "The product is in the catalogue but not published."),
    "buyer-limit": Kind(
        409,
        "No more for one buyer",
        "One buyer gets only so many of this product. `available` says how many more; nothing was changed.",
    ),
    "unknown-coupon": Kind(422, "Unknown coupon", "There is no such coupon; check its spelling."),
    "coupon-expired": Kind(409, "The coupon is not valid now", "Leave it out, or come back in its time."),
    "coupon-used-up": Kind(
        409,
        "The coupon is used up",
        "It has been used as often as it may be. Leave it out; nothing was changed.",
    ),
    "not-shippable": Kind(
        422, "Not sent like this", "This way of shipping does not serve the country, the weight or the value."
    ),
    "no-shipping-method": Kind(
        422, "No way of shipping", "Name one of the shop's ways of shipping in `shipping.method`."
    ),
    "conflict": Kind(
        409,
        "The request does not fit what is recorded",
        "`detail` says what stands against it. Nothing was changed.",
    ),
    "changed-meanwhile": Kind(
        409,
        "Changed meanwhile",
        "What the request was made from is not what is recorded any more. Nothing was changed; look again, then decide.",
    ),
    "precondition-failed": Kind(
        412,
        "The precondition does not hold",
        "`If-Match` names another version than the one recorded (the answer's `ETag`). Nothing was changed; look again.",
    ),
    "unknown-category": Kind(422, "Unknown category", "`GET /api/categories` lists what there is."),
    "unknown-group": Kind(422, "Unknown product group", "`GET /api/groups` lists what there is."),
    "unknown-location": Kind(422, "Unknown location", "`GET /api/stock/locations` lists what there is."),
    "bad-signature": Kind(
        400,
        "The signature is not right",
        "Only the payment provider itself may notify this shop; check the secret and the clock.",
    ),
    "provider-silent": Kind(
        503, "The payment provider does not answer", "Nothing was changed. Send it again in a moment."
    ),
    "no-operator": Kind(
        401,
        "Staff only",
        "Send `Authorization: Bearer …` with the token of a staff login, an API key, or the operator key (see secrets.json in "
        "the home).",
    ),
    "not-operator": Kind(
        403,
        "Unknown key",
        "The token in the `Authorization` header is none of this shop's, or none any more. Log in again.",
    ),
    "not-allowed": Kind(
        403,
        "Not among your rights",
        "`detail` names what is missing. Somebody with the role for it has to do this, or give you that role.",
    ),
    "not-logged-in": Kind(401, "Nobody is logged in", "Log in with `POST /api/login` and send its cookie."),
    "wrong-login": Kind(
        401, "The login is not right", "Name, password or code do not go together. Check them and try again."
    ),
    "code-needed": Kind(
        401, "A second factor is needed", "Send the same with `code`: six digits of the authenticator app."
    ),
    "too-many-attempts": Kind(
        429,
        "Too many attempts",
        "Wait as long as `Retry-After` says. A new password (for customers: `POST /api/password-resets`) ends the wait.",
    ),
    "token-spent": Kind(
        409, "The token is spent", "It is unknown, was used, or is too old. Ask for another one."
    ),
    "weak-password": Kind(422, "The password is not accepted", "`detail` says why. Take a longer one."),
    "foreign-form": Kind(
        403, "The form came from another site", "Open the shop itself and send the form from there."
    ),
    "not-found": Kind(404, "Not found", "There is nothing at this address."),
    "bad-method": Kind(405, "Method not allowed", "The `Allow` header lists what this address takes."),
    "slow-body": Kind(
        408, "The request came too slowly", "Its body was not complete in time. Send it again."
    ),
    "too-large": Kind(413, "The request is too large", "Nothing of it was used. Send less at once."),
    "bad-content-type": Kind(
        415, "Unsupported content type", "Send JSON with the header `Content-Type: application/json`."
    ),
    "rate-limited": Kind(
        429,
        "Too many requests from your address",
        "Nothing was changed. Wait as long as `Retry-After` says; `RateLimit` on each answer tells what is left.",
    ),
    "internal": Kind(500, "Something went wrong here", "It is in the shop's log under the id in `instance`."),
    "unavailable": Kind(
        503,
        "The shop cannot take requests at the moment",
        "Whether it was recorded is not known. Send it again with the same `Idempotency-Key`; it counts once.",
    ),
}


QUOTE_REFUSALS = (
    "not-for-sale",
    "unknown-coupon",
    "coupon-expired",
    "coupon-used-up",
    "not-shippable",
    "no-shipping-method",
)
"""What a basket can be refused for by the shop's rules."""


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong in a body: a JSON pointer (RFC 6901, as a URI fragment) and a sentence."""

    pointer: str
    detail: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client reads instead of an answer (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    """Id of the log entry (500 only)."""
    errors: tuple[FieldError, ...] = ()
    """Which fields of the body are wrong (bad-input only)."""
    sku: str | None = None
    """sold-out: which product."""
    available: int | None = None
    """sold-out: how many are left."""
    requested: int | None = None
    """sold-out: how many were asked for."""
    total: Money | None = None
    """price-changed: what it would cost now."""
    skus: tuple[str, ...] = ()
    """unknown-sku: all of them."""


Headers = list[tuple[bytes, bytes]]

VERSION = (b"everopen-version", b"1")
"""On every answer of the API: which version of the contract it keeps (see docs/architecture.md)."""
_encode = msgspec.json.Encoder().encode
_PROBLEM_TYPE = (b"content-type", b"application/problem+json")
_STATUS_HEADERS: dict[str, Headers] = {
    "no-operator": [(b"www-authenticate", b'Bearer realm="everopen"')],
    "too-large": [(b"connection", b"close")],
    "slow-body": [(b"connection", b"close")],
}


class Refusal(Exception):
    """A request that gets a problem document: a name of `PROBLEMS` and a sentence for the person who sent it."""

    def __init__(self, name: str, detail: str, *, headers: Headers | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail
        self.headers: Headers = [*_STATUS_HEADERS.get(name, ()), *(headers or ())]
        self.extra = extra

    @property
    def status(self) -> int:
        return PROBLEMS[self.name].status

    def document(self) -> Problem:
        """The body."""
        kind = PROBLEMS[self.name]
        return Problem(
            type=f"/problems/{self.name}",
            title=kind.title,
            status=kind.status,
            detail=self.detail,
            **self.extra,
        )

    def wire(self) -> tuple[int, Headers, bytes]:
        """Status, headers (with length) and body as ASGI wants them."""
        body = _encode(self.document())
        headers = [
            _PROBLEM_TYPE,
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            VERSION,
            *self.headers,
        ]
        return self.status, headers, body


def unavailable(detail: str, retry_after_s: int, *, elsewhere: bool = False) -> Refusal:
    """503. The gateway may send it to another worker only when this one is ending (`elsewhere`); else this worker has
    already waited through the failover, and another one would wait as long again."""
    return Refusal(
        "unavailable",
        detail,
        headers=[(b"retry-after", b"%d" % retry_after_s), (b"x-everopen-retry", b"1" if elsewhere else b"0")],
    )
